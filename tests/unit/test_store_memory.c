/* test_store_memory.c - the limits of the memory store (S-1), and what it tells of what it forgot.
 */
#include "support_store.h"

#include "base/limits.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEPT MEMORY_CONVERSATION_MESSAGES_MAX

static int set_up(void **state)
{
    *state = store_memory_new();
    return *state ? 0 : -1;
}

static int tear_down(void **state)
{
    struct store *s = *state;

    s->operations->free(s);
    return 0;
}

static bool keep_first(void *arg, const struct store_message *message)
{
    *(uint64_t *)arg = message->msg_id;
    return false;
}

/* The number of the oldest message that is kept; 0: none. */
static uint64_t oldest_of(struct store *s, uint32_t conversation)
{
    uint64_t msg_id = 0;

    assert_true(s->operations->history(s, conversation, &(struct store_history_range){UINT64_MAX, 0, true}, keep_first,
                                       &msg_id));
    return msg_id;
}

static void add_numbered(struct store *s, uint64_t first, uint64_t last)
{
    char id[32];

    assert_true(s->operations->begin(s));
    for (uint64_t i = first; i <= last; i++) {
        snprintf(id, sizeof id, "id-%" PRIu64, i);
        assert_true(support_message_add(s, 1, 1 + i % 2, i, (i + 1) / 2, i, id, "t"));
    }
    assert_true(s->operations->commit(s));
}

static void a_conversation_keeps_the_newest(void **state)
{
    struct store *s = *state;

    add_numbered(s, 1, KEPT);
    assert_int_equal(oldest_of(s, 1), 1);
    add_numbered(s, KEPT + 1, KEPT + 1);
    assert_int_equal(oldest_of(s, 1), 2);
    assert_int_equal(support_count(s, 1), KEPT);
    assert_int_equal(support_find(s, 1, 2, "id-1"), 0);
    assert_int_equal(support_find(s, 1, 1, "id-2"), 2);
    add_numbered(s, KEPT + 2, KEPT + 5000);
    assert_int_equal(oldest_of(s, 1), 5001);
    assert_int_equal(support_count(s, 1), KEPT);
}

/* A batch larger than a conversation may be. */
static void one_transaction_beyond_the_limit(void **state)
{
    struct store *s = *state;

    add_numbered(s, 1, 2 * KEPT + 500);
    assert_int_equal(support_count(s, 1), KEPT);
    assert_int_equal(oldest_of(s, 1), KEPT + 501);
}

static void a_rollback_brings_back_what_it_would_have_forgotten(void **state)
{
    struct store *s = *state;

    add_numbered(s, 1, KEPT);
    assert_true(s->operations->begin(s));
    for (uint64_t i = KEPT + 1; i <= KEPT + 3000; i++)
        assert_true(support_message_add(s, 1, 1, i, i, i, "", "t"));
    s->operations->rollback(s);
    assert_int_equal(support_count(s, 1), KEPT);
    assert_int_equal(oldest_of(s, 1), 1);
    assert_int_equal(support_find(s, 1, 2, "id-1"), 1);
    add_numbered(s, KEPT + 1, KEPT + 1);
    assert_int_equal(oldest_of(s, 1), 2);
}

/* Odd numbers are of sender 2, even ones of sender 1; 1 to 5,000 are forgotten. */
static void own_counts_over_what_was_forgotten(void **state)
{
    struct store *s = *state;
    uint64_t all, above;

    add_numbered(s, 1, KEPT + 5000);
    assert_true(s->operations->own_count(s, 1, 2, 10001, &all, &above));
    assert_int_equal(all, 7500);
    assert_int_equal(above, 2499);
    /* 5,000 is the last one forgotten: still exact. */
    assert_true(s->operations->own_count(s, 1, 2, 5000, &all, &above));
    assert_int_equal(above, 5000);
    /* Of the 1,000 forgotten ones above 4,000, 2,500 could be his: so all are taken for his. */
    assert_true(s->operations->own_count(s, 1, 2, 4000, &all, &above));
    assert_int_equal(above, 6000);
    assert_true(s->operations->own_count(s, 1, 2, 0, &all, &above));
    assert_int_equal(above, 7500);
    assert_true(s->operations->own_count(s, 1, 3, 0, &all, &above));
    assert_int_equal(all + above, 0);
    assert_true(s->operations->own_count(s, 1, 2, UINT64_MAX, &all, &above));
    assert_int_equal(above, 0);
}

static void all_together_keep_the_newest(void **state)
{
    enum { TEXT = 8192, CONVERSATIONS = 8, FITTING = MEMORY_STORE_MAX_BYTES / (TEXT + 400) };
    struct store *s = *state;
    static char text[TEXT + 1];
    uint64_t sequence = 0, latest = 0, kept = 0;

    memset(text, 'x', TEXT);
    assert_true(support_message_commit(s, CONVERSATIONS + 1, 1, 1, 1, ++sequence, "first", text));
    while (sequence < FITTING + FITTING / 4) {
        latest++;
        assert_true(s->operations->begin(s));
        for (uint32_t c = 1; c <= CONVERSATIONS; c++)
            assert_true(support_message_add(s, c, 1, latest, latest, ++sequence, "", text));
        assert_true(s->operations->commit(s));
    }
    /* The first of all is forgotten, its conversation and its id with it; a new one may begin where it likes. */
    assert_int_equal(support_count(s, CONVERSATIONS + 1), 0);
    assert_int_equal(support_find(s, CONVERSATIONS + 1, 1, "first"), 0);
    assert_true(support_message_commit(s, CONVERSATIONS + 1, 1, 2, 2, ++sequence, "first", "t"));
    assert_int_equal(support_find(s, CONVERSATIONS + 1, 1, "first"), 2);
    for (uint32_t c = 1; c <= CONVERSATIONS; c++) {
        size_t count = support_count(s, c);

        assert_int_equal(oldest_of(s, c) + count, latest + 1);
        assert_in_range(count, latest * 7 / 10, latest * 9 / 10);
        kept += count;
    }
    assert_in_range(kept * TEXT, MEMORY_STORE_MAX_BYTES / 10 * 9, MEMORY_STORE_MAX_BYTES);
}

/* Whatever is in the lists of a transaction: removed, over its limit, rolled back. */
static void removed_while_over_its_limit(void **state)
{
    struct store *s = *state;

    for (int last = 0; last < 2; last++) {
        assert_true(s->operations->begin(s));
        for (uint64_t i = 1; i <= KEPT + 10; i++)
            assert_true(support_message_add(s, 1, 1, i, i, i, "", "t"));
        assert_true(s->operations->group_remove(s, 1));
        assert_true(s->operations->group_remove(s, 1));
        assert_true(s->operations->group_remove(s, 77));
        if (last)
            assert_true(s->operations->commit(s));
        else
            s->operations->rollback(s);
        assert_int_equal(support_count(s, 1), 0);
    }
    assert_true(support_message_commit(s, 1, 1, 1, 1, 1, "a", "t"));
    assert_int_equal(support_count(s, 1), 1);
}

static void the_rest_succeeds_and_is_not_kept(void **state)
{
    struct store *s = *state;
    struct store_profile profile = {.name = SLICE_LITERAL("n")};
    struct store_group group = {.number = 1, .owner = 1, .name = SLICE_LITERAL("g")};
    static const struct store_loader loader; /* nobody is called */
    const struct store_operations *o = s->operations;

    assert_true(o->begin(s));
    assert_true(o->user_add(s, 1, SLICE_LITERAL("u"), SLICE_LITERAL("h"), &profile));
    assert_true(o->user_set_hash(s, 1, SLICE_LITERAL("h")) && o->user_set_profile(s, 1, &profile));
    assert_true(o->friendship_add(s, 1, 2) && o->friendship_remove(s, 1, 2));
    assert_true(o->friend_request_add(s, 1, 2, SLICE_LITERAL("")) && o->friend_request_remove(s, 1, 2));
    assert_true(o->private_add(s, 2, 1, 2) && o->group_add(s, &group));
    assert_true(o->member_add(s, 1, 1, 0) && o->member_set_mark(s, 1, 1, 0) && o->member_remove(s, 1, 1));
    assert_true(o->commit(s));
    assert_true(o->load(s, &loader, NULL));
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_conversation_keeps_the_newest),
        TEST(one_transaction_beyond_the_limit),
        TEST(a_rollback_brings_back_what_it_would_have_forgotten),
        TEST(own_counts_over_what_was_forgotten),
        TEST(all_together_keep_the_newest),
        TEST(removed_while_over_its_limit),
        TEST(the_rest_succeeds_and_is_not_kept),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
