/* test_chat_inbox.c - effects on their way to the hubs: order, one step over several hubs, who is woken, whose memory. */
#include "support.h"

#include <string.h>

#include "chat/inbox.h"

enum { HUBS = 3 };

struct rig {
    struct inboxes all;
    struct inbox inbox[HUBS];
    unsigned wakes[HUBS];
    struct effects_batch batch;
};

static void count_wake(void *arg)
{
    ++*(unsigned *)arg;
}

static void rig_init(struct rig *rig)
{
    memset(rig, 0, sizeof *rig);
    inboxes_init(&rig->all);
    for (unsigned hub = 0; hub < HUBS; hub++)
        assert_int_equal(inboxes_add(&rig->all, &rig->inbox[hub], count_wake, &rig->wakes[hub]), hub);
    effects_batch_init(&rig->batch);
}

static void rig_fini(struct rig *rig)
{
    effects_batch_discard(&rig->batch);
    for (unsigned hub = 0; hub < HUBS; hub++)
        inbox_fini(&rig->inbox[hub]);
    inboxes_fini(&rig->all);
}

/* One more effect of the batch, known by its seq. */
static void add(struct rig *rig, unsigned hub, uint32_t seq, const char *payload)
{
    struct effect *effect = effects_add(&rig->batch, hub, EFFECT_REPLY);

    assert_non_null(effect);
    effect->seq = seq;
    effect->payload = effects_copy(&rig->batch, slice_of(payload));
}

static void post(struct rig *rig)
{
    inboxes_post(&rig->all, &rig->batch);
    assert_null(rig->batch.memory);
    assert_int_equal(rig->batch.bytes, 0);
}

static void free_all(struct effects *effects)
{
    while (effects != NULL) {
        struct effects *next = effects->next;

        effects_free(effects);
        effects = next;
    }
}

/* What waits has the numbers from `first` on, and there are `count` of them. */
static void take_and_check(struct inbox *inbox, uint32_t first, uint32_t count)
{
    struct effects *lists = inbox_take(inbox);
    uint32_t seq = first;

    for (struct effects *list = lists; list != NULL; list = list->next)
        for (size_t i = 0; i < list->count; i++)
            assert_int_equal(list->items[i].seq, seq++);
    assert_int_equal(seq, first + count);
    free_all(lists);
    assert_null(inbox_take(inbox));
}

/* M-4 */
static void test_effects_come_in_the_order_of_the_posts(void **state)
{
    struct rig rig;

    (void)state;
    rig_init(&rig);
    assert_null(inbox_take(&rig.inbox[0]));
    for (uint32_t seq = 0; seq < 100; seq++) {
        add(&rig, 0, seq, "{}");
        if (seq % 7 == 0 || seq > 60)
            post(&rig);
    }
    post(&rig);
    take_and_check(&rig.inbox[0], 0, 100);
    add(&rig, 0, 5, "{}");
    post(&rig);
    take_and_check(&rig.inbox[0], 5, 1);
    rig_fini(&rig);
}

/* what is posted is there in every hub that it concerns, before anybody is told of it. */
static void test_a_batch_reaches_all_hubs_in_one_step(void **state)
{
    struct rig rig;

    (void)state;
    rig_init(&rig);
    add(&rig, 2, 1, "two");
    add(&rig, 0, 1, "zero");
    add(&rig, 2, 2, "two");
    assert_null(inbox_take(&rig.inbox[2])); /* not before the post */
    post(&rig);
    assert_null(inbox_take(&rig.inbox[1]));
    take_and_check(&rig.inbox[0], 1, 1);
    take_and_check(&rig.inbox[2], 1, 2);
    rig_fini(&rig);
}

/* I2 of inbox.h */
static void test_who_sleeps_is_woken_once(void **state)
{
    struct rig rig;

    (void)state;
    rig_init(&rig);
    assert_true(inbox_sleep(&rig.inbox[0]));
    add(&rig, 0, 0, "{}");
    assert_int_equal(rig.wakes[0], 0);
    post(&rig);
    assert_int_equal(rig.wakes[0], 1);
    add(&rig, 0, 1, "{}");
    post(&rig);
    assert_int_equal(rig.wakes[0], 1); /* it is on its way already */
    assert_int_equal(rig.wakes[1], 0);
    inbox_wake_up(&rig.inbox[0]);
    take_and_check(&rig.inbox[0], 0, 2);
    assert_true(inbox_sleep(&rig.inbox[0]));
    add(&rig, 0, 2, "{}");
    post(&rig);
    assert_int_equal(rig.wakes[0], 2);
    rig_fini(&rig);
}

static void test_who_is_awake_is_not_woken(void **state)
{
    struct rig rig;

    (void)state;
    rig_init(&rig);
    add(&rig, 0, 0, "{}");
    post(&rig);
    assert_true(inbox_sleep(&rig.inbox[1]));
    inbox_wake_up(&rig.inbox[1]);
    add(&rig, 1, 0, "{}");
    post(&rig);
    assert_int_equal(rig.wakes[0] + rig.wakes[1], 0);
    rig_fini(&rig);
}

/* Nothing is lost between the last look and the sleep. */
static void test_nobody_falls_asleep_over_a_post(void **state)
{
    struct rig rig;

    (void)state;
    rig_init(&rig);
    add(&rig, 0, 0, "{}");
    post(&rig);
    assert_false(inbox_sleep(&rig.inbox[0]));
    add(&rig, 0, 1, "{}");
    post(&rig);
    assert_int_equal(rig.wakes[0], 0); /* it was told to stay awake */
    take_and_check(&rig.inbox[0], 0, 2);
    assert_true(inbox_sleep(&rig.inbox[0]));
    rig_fini(&rig);
}

/* A batch without effects for a hub leaves it asleep, also when room for some was made. */
static void test_an_empty_list_wakes_nobody(void **state)
{
    struct rig rig;

    (void)state;
    rig_init(&rig);
    for (unsigned hub = 0; hub < HUBS; hub++)
        assert_true(inbox_sleep(&rig.inbox[hub]));
    assert_true(effects_reserve(&rig.batch, 0, 3));
    assert_non_null(effects_alloc(&rig.batch, 100));
    post(&rig);
    assert_int_equal(rig.wakes[0] + rig.wakes[1] + rig.wakes[2], 0);
    assert_null(inbox_take(&rig.inbox[0]));
    rig_fini(&rig);
}

/* Who is woken may look at once: `wake` is called without the mutex. */
static void take_in_wake(void *arg)
{
    take_and_check(arg, 7, 1);
}

static void test_wake_may_take(void **state)
{
    struct rig rig;

    (void)state;
    rig_init(&rig);
    rig.inbox[1].wake = take_in_wake;
    rig.inbox[1].wake_arg = &rig.inbox[1];
    assert_true(inbox_sleep(&rig.inbox[1]));
    add(&rig, 1, 7, "{}");
    post(&rig);
    assert_null(inbox_take(&rig.inbox[1]));
    rig_fini(&rig);
}

/* when the first is woken, what the others got is there for them, too. */
static void look_at_last(void *rig_)
{
    struct rig *rig = rig_;

    take_and_check(&rig->inbox[0], 1, 1);
    take_and_check(&rig->inbox[HUBS - 1], 1, 1);
    rig->wakes[0]++;
}

static void test_who_is_woken_finds_all_of_a_post(void **state)
{
    struct rig rig;

    (void)state;
    rig_init(&rig);
    rig.inbox[0].wake = look_at_last;
    rig.inbox[0].wake_arg = &rig;
    assert_true(inbox_sleep(&rig.inbox[0]));
    add(&rig, 0, 1, "{}");
    add(&rig, HUBS - 1, 1, "{}");
    post(&rig);
    assert_int_equal(rig.wakes[0], 1);
    rig_fini(&rig);
}

/* The payloads of a batch last until the last hub has done its list, in whatever order they do. */
static void test_payloads_outlive_the_other_hubs(void **state)
{
    (void)state;
    for (unsigned first = 0; first < HUBS; first++) {
        struct rig rig;
        struct effects *taken[HUBS];

        rig_init(&rig);
        for (unsigned hub = 0; hub < HUBS; hub++)
            add(&rig, hub, 0, hub == 1 ? "one" : "other");
        post(&rig);
        for (unsigned hub = 0; hub < HUBS; hub++)
            taken[hub] = inbox_take(&rig.inbox[hub]);
        for (unsigned i = 0; i < HUBS; i++) {
            unsigned hub = (first + i) % HUBS;

            assert_true(slice_equal(taken[hub]->items[0].payload, slice_of(hub == 1 ? "one" : "other")));
            effects_free(taken[hub]);
        }
        rig_fini(&rig);
    }
}

/* A list keeps what it has when it grows, and each new effect is cleared. */
static void test_a_long_list(void **state)
{
    struct rig rig;

    (void)state;
    rig_init(&rig);
    for (uint32_t seq = 0; seq < 1000; seq++) {
        struct effect *effect = effects_add(&rig.batch, 0, EFFECT_PUSH);

        assert_int_equal(effect->kind, EFFECT_PUSH);
        assert_int_equal(effect->session | effect->group | effect->user | effect->group_count | effect->seq, 0);
        assert_null(effect->payload.bytes);
        effect->seq = seq;
        effect->session = effect->group = UINT32_MAX;
    }
    post(&rig);
    take_and_check(&rig.inbox[0], 0, 1000);
    rig_fini(&rig);
}

/* The effects of a reply must not fail for memory once its transaction is committed. */
static void test_what_is_reserved_does_not_move(void **state)
{
    struct rig rig;
    struct effect *items;

    (void)state;
    rig_init(&rig);
    assert_true(effects_reserve(&rig.batch, 1, 100));
    items = rig.batch.lists[1]->items;
    for (int i = 0; i < 100; i++)
        assert_ptr_equal(effects_add(&rig.batch, 1, EFFECT_PUSH), &items[i]);
    rig_fini(&rig);
}

/* M-5: a batch whose commit failed leaves nothing. */
static void test_a_discarded_batch_reaches_nobody(void **state)
{
    struct rig rig;

    (void)state;
    rig_init(&rig);
    assert_true(inbox_sleep(&rig.inbox[0]));
    add(&rig, 0, 1, "{}");
    add(&rig, 2, 1, "{}");
    rig.batch.failed = true;
    effects_batch_discard(&rig.batch);
    assert_false(rig.batch.failed);
    add(&rig, 2, 9, "{}");
    post(&rig);
    assert_int_equal(rig.wakes[0], 0);
    take_and_check(&rig.inbox[2], 9, 1);
    rig_fini(&rig);
}

static void test_a_batch_without_memory_fails(void **state)
{
    struct rig rig;

    (void)state;
    rig_init(&rig);
    assert_null(effects_alloc(&rig.batch, SIZE_MAX / 4));
    assert_true(rig.batch.failed);
    rig_fini(&rig);
}

/* The engine waits for the slowest hub, and goes on when that has taken its part. */
static void test_full(void **state)
{
    struct rig rig;

    (void)state;
    rig_init(&rig);
    add(&rig, 0, 0, "{}");
    add(&rig, 1, 0, "{}");
    assert_non_null(effects_alloc(&rig.batch, HUB_INBOX_MAX_BYTES / 2));
    post(&rig);
    assert_false(inboxes_full(&rig.all));
    add(&rig, 1, 1, "{}");
    assert_non_null(effects_alloc(&rig.batch, HUB_INBOX_MAX_BYTES / 2));
    post(&rig);
    assert_true(inboxes_full(&rig.all));
    take_and_check(&rig.inbox[0], 0, 1);
    assert_true(inboxes_full(&rig.all)); /* one full inbox is enough */
    take_and_check(&rig.inbox[1], 0, 2);
    assert_false(inboxes_full(&rig.all));
    rig_fini(&rig);
}

/* What nobody takes goes with the inbox. */
static void test_the_rest_is_given_up(void **state)
{
    struct rig rig;

    (void)state;
    rig_init(&rig);
    for (uint32_t seq = 0; seq < 10; seq++) {
        add(&rig, seq % HUBS, seq, "{}");
        if (seq % 2 == 0)
            post(&rig);
    }
    rig_fini(&rig);
    assert_null(rig.inbox[0].first);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_effects_come_in_the_order_of_the_posts),
        cmocka_unit_test(test_a_batch_reaches_all_hubs_in_one_step),
        cmocka_unit_test(test_who_sleeps_is_woken_once),
        cmocka_unit_test(test_who_is_awake_is_not_woken),
        cmocka_unit_test(test_nobody_falls_asleep_over_a_post),
        cmocka_unit_test(test_an_empty_list_wakes_nobody),
        cmocka_unit_test(test_wake_may_take),
        cmocka_unit_test(test_who_is_woken_finds_all_of_a_post),
        cmocka_unit_test(test_payloads_outlive_the_other_hubs),
        cmocka_unit_test(test_a_long_list),
        cmocka_unit_test(test_what_is_reserved_does_not_move),
        cmocka_unit_test(test_a_discarded_batch_reaches_nobody),
        cmocka_unit_test(test_a_batch_without_memory_fails),
        cmocka_unit_test(test_full),
        cmocka_unit_test(test_the_rest_is_given_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
