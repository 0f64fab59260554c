/* test_store_both.c - what every store does alike: messages, ids, ranges, counts, transactions. Each test runs in memory
 *                     and on SQLite; there once with all messages among the recent ones, and once settled at every other
 *                     commit, so that what is asked for is in the one place, in the other, or in both.
 */
#include "support_store.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct fixture {
    struct store *store;
    char directory[SUPPORT_PATH_BYTES]; /* of SQLite; "": memory */
};

static const struct store_history_range oldest_first = {UINT64_MAX, 0, true};

static int set_up_memory(void **state)
{
    static struct fixture fixture;

    fixture.directory[0] = '\0';
    fixture.store = store_memory_new();
    *state = &fixture;
    return fixture.store ? 0 : -1;
}

static int set_up_sqlite(void **state)
{
    static struct fixture fixture;

    support_directory_make(fixture.directory);
    fixture.store = store_sqlite_open(fixture.directory, OPTION_DURABILITY_NORMAL);
    *state = &fixture;
    return fixture.store ? 0 : -1;
}

static const struct store_operations *of_sqlite;
static unsigned commits;

static bool commit_and_settle(struct store *store)
{
    if (!of_sqlite->commit(store))
        return false;
    if (commits++ % 2 == 0)
        assert_true(support_settle(store));
    return true;
}

static int set_up_settling(void **state)
{
    static struct store_operations operations;
    struct store *store;

    if (set_up_sqlite(state) != 0)
        return -1;
    store = ((struct fixture *)*state)->store;
    of_sqlite = store->operations;
    operations = *of_sqlite;
    operations.commit = commit_and_settle;
    commits = 0;
    store->operations = &operations;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;

    fixture->store->operations->free(fixture->store);
    if (fixture->directory[0])
        support_directory_remove(fixture->directory);
    return 0;
}

static struct store *store_of(void **state)
{
    return ((struct fixture *)*state)->store;
}

/* M-6: an id is one sender's in one conversation. */
static void ids_belong_to_sender_and_conversation(void **state)
{
    struct store *s = store_of(state);

    assert_true(support_message_commit(s, 7, 1, 1, 1, 10, "a", "first"));
    assert_true(support_message_commit(s, 7, 2, 2, 1, 11, "a", "of another sender"));
    assert_true(support_message_commit(s, 8, 1, 1, 1, 12, "a", "elsewhere"));
    assert_true(support_message_commit(s, 7, 1, 3, 2, 13, "", "without"));
    assert_int_equal(support_find(s, 7, 1, "a"), 1);
    assert_int_equal(support_find(s, 7, 2, "a"), 2);
    assert_int_equal(support_find(s, 8, 1, "a"), 1);
    assert_int_equal(support_find(s, 8, 2, "a"), 0);
    assert_int_equal(support_find(s, 9, 1, "a"), 0);
    assert_int_equal(support_find(s, 7, 1, "b"), 0);
    assert_int_equal(support_find(s, 7, 1, ""), 0);
}

static void an_id_of_64_bytes_differs_in_its_last(void **state)
{
    struct store *s = store_of(state);
    char id[65], other[65];

    memset(id, 'x', 64);
    id[64] = '\0';
    memcpy(other, id, sizeof other);
    other[63] = 'y';
    assert_true(support_message_commit(s, 1, 1, 1, 1, 1, id, "t"));
    assert_int_equal(support_find(s, 1, 1, id), 1);
    assert_int_equal(support_find(s, 1, 1, other), 0);
}

static void a_rollback_leaves_nothing(void **state)
{
    struct store *s = store_of(state);
    char text[256];

    assert_true(support_message_commit(s, 1, 1, 1, 1, 1, "a", "kept"));
    assert_true(s->operations->begin(s));
    assert_true(support_message_add(s, 1, 1, 2, 2, 2, "b", "dropped"));
    assert_true(support_message_add(s, 2, 1, 1, 1, 3, "c", "dropped, and with it its conversation"));
    assert_int_equal(support_find(s, 1, 1, "b"), 2); /* a transaction sees itself */
    s->operations->rollback(s);
    assert_int_equal(support_find(s, 1, 1, "a"), 1);
    assert_int_equal(support_find(s, 1, 1, "b"), 0);
    assert_int_equal(support_find(s, 2, 1, "c"), 0);
    /* The numbers and the id are free again (M-1). */
    assert_true(support_message_commit(s, 1, 2, 2, 1, 2, "b", "instead"));
    support_history(s, 1, &oldest_first, 100, text, sizeof text);
    assert_string_equal(text, "1:1:1:1:1:a:kept\n2:2:1:2:2:b:instead\n");
}

/* I4: a message number that is not the next one fails, and with it the transaction. */
static void a_failed_change_fails_its_transaction(void **state)
{
    struct store *s = store_of(state);

    assert_true(support_message_commit(s, 1, 1, 1, 1, 1, "", "kept"));
    assert_true(s->operations->begin(s));
    assert_true(support_message_add(s, 1, 1, 2, 2, 2, "", "good"));
    assert_false(support_message_add(s, 1, 1, 1, 3, 3, "", "this number is taken"));
    assert_false(support_message_add(s, 1, 1, 3, 3, 3, "", "good, but too late"));
    assert_false(s->operations->commit(s));
    s->operations->rollback(s);
    assert_int_equal(support_count(s, 1), 1);
    assert_true(support_message_commit(s, 1, 1, 2, 2, 2, "", "again"));
    assert_int_equal(support_count(s, 1), 2);
}

static void no_change_without_a_transaction(void **state)
{
    struct store *s = store_of(state);

    assert_false(support_message_add(s, 1, 1, 1, 1, 1, "", "t"));
    assert_false(s->operations->commit(s));
    s->operations->rollback(s);
    assert_int_equal(support_count(s, 1), 0);
    assert_true(support_message_commit(s, 1, 1, 1, 1, 1, "", "t"));
}

static void texts_come_back_as_they_were(void **state)
{
    static const char text[] = "\x01\t\n\"'\\;--%s \x7f \xc3\xa9 \xe2\x82\xac \xef\xbf\xbf \xf0\x9f\x8d\xb5 e\xcc\x81";
    struct store *s = store_of(state);
    char long_text[8193], seen[8400];
    size_t length;

    memset(long_text, 0xc3, 8192);
    for (size_t i = 1; i < 8192; i += 2)
        long_text[i] = (char)0xa9;
    long_text[8192] = '\0';
    assert_true(support_message_commit(s, 1, 1, 1, 1, 1, "\xf0\x9f\x8d\xb5", text));
    assert_true(support_message_commit(s, 1, 1, 2, 2, 2, "", long_text));
    support_history(s, 1, &oldest_first, 1, seen, sizeof seen);
    length = strlen("1:1:1:1:1:\xf0\x9f\x8d\xb5:");
    assert_memory_equal(seen + length, text, sizeof text - 1);
    support_history(s, 1, &(struct store_history_range){UINT64_MAX, 1, true}, 1, seen, sizeof seen);
    length = strlen("2:1:2:2:2::");
    assert_memory_equal(seen + length, long_text, 8192);
}

/* M-8, against a loop over all numbers. */
static void ranges_of_history(void **state)
{
    enum { COUNT = 40, OUT = 8192 };
    struct store *s = store_of(state);
    uint64_t random = 1;
    char seen[OUT], expected[OUT];

    for (uint64_t i = 1; i <= COUNT;) {
        assert_true(s->operations->begin(s));
        for (uint64_t end = i + COUNT / 2; i < end; i++) {
            assert_true(support_message_add(s, 5, 1, i, i, 2 * i, "", "t"));
            assert_true(support_message_add(s, 6, 1, i, i, 2 * i + 1, "", "of its neighbour"));
        }
        assert_true(s->operations->commit(s));
    }
    for (int round = 0; round < 1000; round++) {
        struct store_history_range range = {
            .before = support_random(&random, 5) == 0 ? UINT64_MAX : support_random(&random, COUNT + 3),
            .after = support_random(&random, 20) == 0 ? UINT64_MAX : support_random(&random, COUNT + 3),
            .from_oldest = support_random(&random, 2) == 0,
        };
        size_t limit = support_random(&random, COUNT + 2), length = 0, visited = 0;

        expected[0] = '\0';
        for (uint64_t i = 1; i <= COUNT && visited < limit; i++) {
            uint64_t msg_id = range.from_oldest ? i : COUNT + 1 - i;

            if (msg_id <= range.after || msg_id >= range.before)
                continue;
            visited++;
            length += (size_t)snprintf(expected + length, OUT - length,
                                       "%" PRIu64 ":1:%" PRIu64 ":%" PRIu64 ":%" PRIu64 "::t\n", msg_id, msg_id,
                                       2 * msg_id, 2 * msg_id);
        }
        support_history(s, 5, &range, limit, seen, sizeof seen);
        assert_string_equal(seen, expected);
    }
    assert_int_equal(support_count(s, 4), 0);
}

/* Random traffic with commits and rollbacks, against an array of who sent what. */
static void random_traffic(void **state)
{
    enum { CONVERSATIONS = 4, SENDERS = 5, MOST = 1000, ROUNDS = 400 };
    static uint32_t senders[CONVERSATIONS][MOST + 1]; /* by message number */
    struct store *s = store_of(state);
    uint64_t random = 2, sequence = 0, count[CONVERSATIONS] = {0};
    char id[32];

    for (int round = 0; round < ROUNDS; round++) {
        uint64_t before[CONVERSATIONS];
        uint64_t messages = support_random(&random, 8);

        memcpy(before, count, sizeof before);
        assert_true(s->operations->begin(s));
        for (uint64_t i = 0; i < messages; i++) {
            uint64_t c = support_random(&random, CONVERSATIONS), ordinal = 1;
            uint32_t sender = 1 + (uint32_t)support_random(&random, SENDERS);

            for (uint64_t n = 1; n <= count[c]; n++)
                ordinal += senders[c][n] == sender;
            senders[c][++count[c]] = sender;
            snprintf(id, sizeof id, "id-%" PRIu64, ordinal);
            assert_true(support_message_add(s, (uint32_t)c + 1, sender, count[c], ordinal, ++sequence,
                                            ordinal % 2 ? id : "", "text"));
        }
        if (support_random(&random, 4) > 0) {
            assert_true(s->operations->commit(s));
        } else {
            s->operations->rollback(s);
            memcpy(count, before, sizeof count);
        }
        for (uint64_t c = 0; c < CONVERSATIONS; c++) {
            uint32_t sender = 1 + (uint32_t)support_random(&random, SENDERS + 1); /* or one who sent nothing */
            uint64_t mark = support_random(&random, count[c] + 2), all, above, all_seen, above_seen, last = 0;

            all = above = 0;
            for (uint64_t n = 1; n <= count[c]; n++) {
                if (senders[c][n] != sender)
                    continue;
                all++;
                above += n > mark;
                last = all % 2 ? n : last;
            }
            assert_true(s->operations->own_count(s, (uint32_t)c + 1, sender, mark, &all_seen, &above_seen));
            assert_int_equal(all_seen, all);
            assert_int_equal(above_seen, above);
            snprintf(id, sizeof id, "id-%" PRIu64, all % 2 ? all : all - 1);
            assert_int_equal(support_find(s, (uint32_t)c + 1, sender, id), last);
        }
    }
    for (uint32_t c = 0; c < CONVERSATIONS; c++)
        assert_int_equal(support_count(s, c + 1), count[c]);
}

/* G-5: the history of a dismissed group is gone, its neighbours' are not. */
static void a_removed_group(void **state)
{
    struct store *s = store_of(state);
    struct store_group group = {.number = 2, .owner = 1, .name = SLICE_LITERAL("tea"), .title = SLICE_LITERAL("Tea")};

    assert_true(s->operations->begin(s));
    assert_true(s->operations->group_add(s, &group));
    for (uint64_t i = 1; i <= 1200; i++)
        assert_true(support_message_add(s, 2, 1, i, i, i, "", "t"));
    assert_true(support_message_add(s, 1, 1, 1, 1, 1201, "", "before"));
    assert_true(support_message_add(s, 3, 1, 1, 1, 1202, "", "behind"));
    assert_true(s->operations->commit(s));

    assert_true(s->operations->begin(s));
    assert_true(s->operations->group_remove(s, 2));
    s->operations->rollback(s);
    support_purge_all(s);
    assert_int_equal(support_count(s, 2), 1200);

    assert_true(s->operations->begin(s));
    assert_true(s->operations->group_remove(s, 2));
    assert_true(s->operations->commit(s));
    support_purge_all(s);
    assert_int_equal(support_count(s, 2), 0);
    assert_int_equal(support_count(s, 1), 1);
    assert_int_equal(support_count(s, 3), 1);
}

static void a_transaction_left_open_when_freed(void **state)
{
    struct store *s = store_of(state);

    assert_true(s->operations->begin(s));
    assert_true(support_message_add(s, 1, 1, 1, 1, 1, "a", "t"));
}

#define ON_BOTH(test)                                                \
    {"sqlite: " #test, test, set_up_sqlite, tear_down, NULL},        \
        {"settled: " #test, test, set_up_settling, tear_down, NULL}, \
    {                                                                \
        "memory: " #test, test, set_up_memory, tear_down, NULL       \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_BOTH(ids_belong_to_sender_and_conversation),
        ON_BOTH(an_id_of_64_bytes_differs_in_its_last),
        ON_BOTH(a_rollback_leaves_nothing),
        ON_BOTH(a_failed_change_fails_its_transaction),
        ON_BOTH(no_change_without_a_transaction),
        ON_BOTH(texts_come_back_as_they_were),
        ON_BOTH(ranges_of_history),
        ON_BOTH(random_traffic),
        ON_BOTH(a_removed_group),
        ON_BOTH(a_transaction_left_open_when_freed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
