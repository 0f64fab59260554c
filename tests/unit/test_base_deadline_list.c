/* test_base_deadline_list.c - deadline lists, on a clock of their own: order, laziness, ticks, what handlers may do, and
 *                             random traffic against a model that looks at every entry each time.
 */
#include "support.h"

#include <stdbool.h>

#include "base/deadline_list.h"

static void nothing_is_due_in_an_empty_list(void **state)
{
    struct deadline_list list;

    (void)state;
    deadline_list_init(&list, 1000);
    assert_null(deadline_list_expire(&list, UINT64_MAX));
    assert_true(deadline_list_due_ms(&list) == UINT64_MAX);
}

static void entries_expire_in_order(void **state)
{
    struct deadline_list list;
    struct deadline_entry first = {0}, second = {0};

    (void)state;
    deadline_list_init(&list, 64); /* tick: 1 ms */
    deadline_list_put(&list, &first, 100);
    deadline_list_put(&list, &second, 110);
    assert_int_equal(deadline_list_due_ms(&list), 164);
    assert_null(deadline_list_expire(&list, 163));
    assert_ptr_equal(deadline_list_expire(&list, 200), &first);
    assert_false(deadline_entry_waits(&first));
    assert_ptr_equal(deadline_list_expire(&list, 200), &second);
    assert_null(deadline_list_expire(&list, 200));
}

/* Activity is a stamp: the list is looked at as early as before, and says then that there is time left. */
static void activity_moves_an_entry_when_it_is_looked_at(void **state)
{
    struct deadline_list list;
    struct deadline_entry busy = {0}, quiet = {0};

    (void)state;
    deadline_list_init(&list, 64);
    deadline_list_put(&list, &busy, 100);
    deadline_list_put(&list, &quiet, 101);
    busy.active_ms = 150;
    assert_int_equal(deadline_list_due_ms(&list), 164);
    assert_null(deadline_list_expire(&list, 164));
    assert_int_equal(deadline_list_due_ms(&list), 165); /* quiet is in front now */
    assert_ptr_equal(deadline_list_expire(&list, 165), &quiet);
    assert_int_equal(deadline_list_due_ms(&list), 214);
    assert_ptr_equal(deadline_list_expire(&list, 214), &busy);
}

static void deadlines_are_rounded_up_to_a_tick(void **state)
{
    static const struct {
        uint64_t duration_ms, tick_ms;
    } cases[] = {
        {0,       1  },
        {1,       1  },
        {127,     1  },
        {128,     2  },
        {30000,   468},
        {120000,  500},
        {1800000, 500}
    };
    struct deadline_list list;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint64_t duration_ms = cases[i].duration_ms, tick_ms = cases[i].tick_ms;

        deadline_list_init(&list, duration_ms);
        assert_int_equal(list.tick_ms, tick_ms);
        for (uint64_t now_ms = 1000000; now_ms < 1000000 + 3 * tick_ms; now_ms++) {
            struct deadline_entry entry = {0};

            deadline_list_put(&list, &entry, now_ms);
            assert_int_equal(entry.due_ms % tick_ms, 0);
            assert_true(entry.due_ms >= now_ms + duration_ms);
            assert_true(entry.due_ms < now_ms + duration_ms + tick_ms); /* I3 */
            deadline_list_drop(&entry);
        }
    }
}

static void entries_of_one_tick_share_a_wake_up(void **state)
{
    struct deadline_list list;
    struct deadline_entry entries[100] = {0};
    size_t expired = 0;
    uint64_t due_ms;

    (void)state;
    deadline_list_init(&list, 120000);
    for (size_t i = 0; i < 100; i++)
        deadline_list_put(&list, &entries[i], 1000001 + 4 * i);
    due_ms = deadline_list_due_ms(&list);
    while (deadline_list_expire(&list, due_ms))
        expired++;
    assert_int_equal(expired, 100);
}

static void a_duration_of_nothing_is_due_at_once(void **state)
{
    struct deadline_list list;
    struct deadline_entry entry = {0};

    (void)state;
    deadline_list_init(&list, 0);
    deadline_list_put(&list, &entry, 77);
    assert_ptr_equal(deadline_list_expire(&list, 77), &entry);
}

static void drop_is_harmless_twice(void **state)
{
    struct deadline_list list;
    struct deadline_entry entry = {0};

    (void)state;
    deadline_list_drop(&entry);
    deadline_list_init(&list, 10);
    deadline_list_put(&list, &entry, 0);
    deadline_list_drop(&entry);
    deadline_list_drop(&entry);
    assert_null(deadline_list_expire(&list, 1000));
}

/* What a handler does between two calls: drop the next one, put the expired one back, move one to another list. */
static void handlers_may_drop_and_put(void **state)
{
    struct deadline_list list, other;
    struct deadline_entry entries[4] = {0};

    (void)state;
    deadline_list_init(&list, 10);
    deadline_list_init(&other, 20);
    for (size_t i = 0; i < 4; i++)
        deadline_list_put(&list, &entries[i], i);

    assert_ptr_equal(deadline_list_expire(&list, 100), &entries[0]);
    deadline_list_drop(&entries[1]); /* it would be the next */
    deadline_list_put(&other, &entries[1], 100);
    deadline_list_put(&list, &entries[0], 100);
    assert_ptr_equal(deadline_list_expire(&list, 100), &entries[2]);
    deadline_list_put(&list, &entries[2], 0); /* due already: comes again, not for ever */
    assert_ptr_equal(deadline_list_expire(&list, 100), &entries[2]);
    assert_ptr_equal(deadline_list_expire(&list, 100), &entries[3]);
    assert_null(deadline_list_expire(&list, 100));
    assert_ptr_equal(deadline_list_expire(&list, 110), &entries[0]);
    assert_null(deadline_list_expire(&other, 119));
    assert_ptr_equal(deadline_list_expire(&other, 120), &entries[1]);
}

/* ---- against a model ---- */

#define MODEL_ENTRIES 40

struct model {
    struct deadline_list list;
    struct deadline_entry entries[MODEL_ENTRIES];
    bool in_list[MODEL_ENTRIES];
    uint64_t now_ms;
};

static void assert_invariants(const struct model *model)
{
    const struct deadline_list *list = &model->list;
    size_t linked = 0, expected = 0;

    for (const struct deadline_entry *entry = list->head.next; entry != &list->head; entry = entry->next, linked++) {
        assert_ptr_equal(entry->next->previous, entry);
        assert_true(entry->next == &list->head || entry->due_ms <= entry->next->due_ms);        /* I1 */
        assert_true(entry->due_ms <= entry->active_ms + list->duration_ms + list->tick_ms - 1); /* I3 */
    }
    for (size_t i = 0; i < MODEL_ENTRIES; i++) {
        assert_int_equal(deadline_entry_waits(&model->entries[i]), model->in_list[i]); /* I2 */
        expected += model->in_list[i];
    }
    assert_int_equal(linked, expected);
}

/* Whether the entry was inactive for the whole duration at the last tick: said without any list. */
static bool model_is_due(const struct model *model, size_t i)
{
    uint64_t last_tick_ms = model->now_ms - model->now_ms % model->list.tick_ms;

    return model->in_list[i] && model->entries[i].active_ms + model->list.duration_ms <= last_tick_ms;
}

static void expire_all(struct model *model)
{
    struct deadline_entry *entry;

    while ((entry = deadline_list_expire(&model->list, model->now_ms))) {
        size_t i = (size_t)(entry - model->entries);

        assert_true(model_is_due(model, i));
        model->in_list[i] = false;
    }
    for (size_t i = 0; i < MODEL_ENTRIES; i++)
        assert_false(model_is_due(model, i));
    assert_true(deadline_list_due_ms(&model->list) > model->now_ms);
}

static void random_step(struct model *model, uint64_t *seed)
{
    size_t i = (size_t)support_random(seed, MODEL_ENTRIES);
    struct deadline_entry *entry = &model->entries[i];

    switch (support_random(seed, 4)) {
    case 0:
        if (!model->in_list[i])
            deadline_list_put(&model->list, entry, model->now_ms);
        model->in_list[i] = true;
        break;
    case 1:
        if (support_random(seed, 4) == 0) {
            deadline_list_drop(entry);
            model->in_list[i] = false;
        }
        break;
    case 2:
        entry->active_ms = model->now_ms;
        break;
    default:
        model->now_ms += support_random(seed, model->list.duration_ms / 8 + 2);
        expire_all(model);
    }
}

static void random_traffic_agrees_with_the_model(void **state)
{
    static const uint64_t durations_ms[] = {0, 5, 64, 1000, 30000, 120000};
    uint64_t seed = 1;

    (void)state;
    for (size_t d = 0; d < sizeof durations_ms / sizeof durations_ms[0]; d++) {
        struct model model = {.now_ms = 5000};

        deadline_list_init(&model.list, durations_ms[d]);
        for (int step = 0; step < 10000; step++) {
            random_step(&model, &seed);
            assert_invariants(&model);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_due_in_an_empty_list),
        cmocka_unit_test(entries_expire_in_order),
        cmocka_unit_test(activity_moves_an_entry_when_it_is_looked_at),
        cmocka_unit_test(deadlines_are_rounded_up_to_a_tick),
        cmocka_unit_test(entries_of_one_tick_share_a_wake_up),
        cmocka_unit_test(a_duration_of_nothing_is_due_at_once),
        cmocka_unit_test(drop_is_harmless_twice),
        cmocka_unit_test(handlers_may_drop_and_put),
        cmocka_unit_test(random_traffic_agrees_with_the_model),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
