/* test_store_recent.c - a run that settles recent messages, looked at after each slice: what is asked has the same
 *                       answer, whatever was settled by then, and after a restart, too.
 */
#include "support_store.h"

#include "base/limits.h"
#include "store/sqlite_store.h"

#include <stdio.h>
#include <string.h>

enum { CONVERSATIONS = 7, EACH = 500 }; /* a conversation does not fit into a slice that others have begun */

#define ABOVE_ALL 1000000u /* sequences */

static char directory[SUPPORT_PATH_BYTES];
static struct store *store;

static void open_store(void)
{
    store = store_sqlite_open(directory, OPTION_DURABILITY_NORMAL);
    assert_non_null(store);
}

static void reopen(void)
{
    store->operations->free(store);
    open_store();
}

static int set_up(void **state)
{
    (void)state;
    support_directory_make(directory);
    open_store();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    store->operations->free(store);
    support_directory_remove(directory);
    return 0;
}

/* Rows of a table, with the store closed meanwhile. */
static int rows_of(const char *table)
{
    char path[SUPPORT_PATH_BYTES], sql[64];
    sqlite3_stmt *statement;
    sqlite3 *database;
    int count;

    store->operations->free(store);
    snprintf(sql, sizeof sql, "SELECT count(*) FROM %s", table);
    assert_int_equal(sqlite3_open(support_path(path, directory, "chat.db"), &database), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(database, sql, -1, &statement, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    count = sqlite3_column_int(statement, 0);
    sqlite3_finalize(statement);
    assert_int_equal(sqlite3_close(database), SQLITE_OK);
    open_store();
    return count;
}

/* The messages of one sender, from `first` to `last` of each conversation, in turn. */
static void add(uint64_t first, uint64_t last)
{
    assert_true(store->operations->begin(store));
    for (uint64_t i = first; i <= last; i++)
        for (uint32_t c = 1; c <= CONVERSATIONS; c++) {
            char id[32];

            snprintf(id, sizeof id, "%u-%u", c, (unsigned)i);
            assert_true(support_message_add(store, c, 1, i, i, CONVERSATIONS * i + c, id, "words"));
        }
    assert_true(store->operations->commit(store));
}

static void assert_has(uint32_t conversation, uint64_t count)
{
    uint64_t all, above;
    char id[32];

    assert_int_equal(support_count(store, conversation), count);
    assert_true(store->operations->own_count(store, conversation, 1, count / 2, &all, &above));
    assert_int_equal(all, count);
    assert_int_equal(above, count - count / 2);
    for (uint64_t i = 1; i <= count; i += 17) {
        snprintf(id, sizeof id, "%u-%u", conversation, (unsigned)i);
        assert_int_equal(support_find(store, conversation, 1, id), i);
    }
}

static void assert_all_have(uint64_t count)
{
    for (uint32_t c = 1; c <= CONVERSATIONS; c++)
        assert_has(c, count);
}

static bool in_a_run(void)
{
    return ((struct sqlite_store *)store)->run_last != 0;
}

/* What comes in the middle of a run is for the next one. */
static void every_state_of_a_run_answers(void **state)
{
    uint64_t count = EACH;

    (void)state;
    add(1, count);
    do {
        uint64_t run_last = ((struct sqlite_store *)store)->run_last;

        assert_in_range(count, EACH, EACH + 20);
        assert_true(store->operations->begin(store));
        store->operations->rollback(store); /* of something else: the run goes on */
        assert_int_equal(((struct sqlite_store *)store)->run_last, run_last);
        assert_true(support_settle_slice(store));
        assert_all_have(count);
        count++;
        add(count, count);
        assert_all_have(count);
    } while (in_a_run());
    assert_int_equal(rows_of("recent"), (count - EACH) * CONVERSATIONS);
    assert_int_equal(rows_of("message"), EACH * CONVERSATIONS);
}

/* Every time it begins anew, with what is left. */
static void a_run_goes_on_after_a_restart(void **state)
{
    (void)state;
    add(1, EACH);
    for (int slices = 0; rows_of("message") < EACH * CONVERSATIONS; slices++) {
        assert_in_range(slices, 0, 20);
        assert_true(support_settle_slice(store));
        assert_all_have(EACH);
        reopen();
        assert_all_have(EACH);
    }
    add(EACH + 1, EACH + 1);
    assert_all_have(EACH + 1);
    assert_true(support_settle(store));
    assert_int_equal(rows_of("recent"), 0);
    assert_all_have(EACH + 1);
}

/* Also with messages of its own in the slice, of a conversation that it has made. */
static void a_rollback_takes_its_slice_back(void **state)
{
    static char large[8193];
    struct sqlite_store *s = (struct sqlite_store *)store;

    (void)state;
    memset(large, 'x', sizeof large - 1);
    add(1, EACH);
    for (int i = 0; i < 3; i++) {
        assert_true(store->operations->begin(store));
        for (uint64_t n = 1; n <= RECENT_MESSAGES_BYTES / 8192; n++)
            assert_true(support_message_add(store, 100, 1, n, n, ABOVE_ALL + n, "", large));
        assert_int_equal(s->run_last, 0);
        sqlite_settle_when_due(s);
        assert_int_equal(s->run_last, s->recent.newest->content.sequence);
        store->operations->rollback(store);
        assert_int_equal(s->run_last, 0);
        assert_all_have(EACH);
        assert_int_equal(support_count(store, 100), 0);
        s->settle_after_ms = 0;
    }
    assert_true(support_settle(store));
    assert_all_have(EACH);
    assert_int_equal(rows_of("message"), EACH * CONVERSATIONS);
    assert_int_equal(rows_of("recent"), 0);
}

/* Whether or not the start was before: nothing of a dismissed group is left, and the others have all. */
static void a_group_is_purged_in_the_middle_of_a_run(void **state)
{
    struct store_group group = {.number = 2, .owner = 1, .name = SLICE_LITERAL("g"), .title = SLICE_LITERAL("")};

    for (int slices = 0; slices < 8; slices++) {
        assert_true(store->operations->begin(store));
        assert_true(store->operations->group_add(store, &group));
        assert_true(store->operations->commit(store));
        add(1, EACH);
        for (int i = 0; i < slices; i++)
            assert_true(support_settle_slice(store));
        assert_true(store->operations->begin(store));
        assert_true(store->operations->group_remove(store, 2));
        assert_true(store->operations->commit(store));
        if (*state)
            reopen();
        support_purge_all(store);
        assert_int_equal(support_count(store, 2), 0);
        reopen();
        assert_has(CONVERSATIONS, EACH);
        /* Rows that nobody needs may lie in `recent` until the end of the next run. */
        assert_true(
            support_message_commit(store, 1, 1, EACH + 1, EACH + 1, (uint64_t)CONVERSATIONS * (EACH + 2), "", "words"));
        assert_true(support_settle(store));
        assert_has(1, EACH + 1);
        assert_int_equal(rows_of("message"), EACH * (CONVERSATIONS - 1) + 1);
        assert_int_equal(rows_of("recent"), 0);
        store->operations->free(store);
        support_directory_remove(directory);
        support_directory_make(directory);
        open_store();
    }
}

/* Many short ones are there when long ones come: what is settled is as large as what comes, not only as many. */
static void short_messages_and_then_long_ones(void **state)
{
    const struct memory_messages *recent = &((struct sqlite_store *)store)->recent;
    static char large[8193];
    uint64_t count = RECENT_MESSAGES_BYTES / 200 / CONVERSATIONS;

    (void)state;
    memset(large, 'x', sizeof large - 1);
    add(1, count);
    for (uint64_t n = 1; n <= 5000; n++) {
        assert_true(support_message_commit(store, 100, 1, n, n, ABOVE_ALL + n, "", large));
        assert_in_range(recent->used_bytes, 0, RECENT_MESSAGES_BYTES * 2);
    }
    for (uint64_t n = 5001, batch = 0; batch < 10; batch++) {
        assert_true(store->operations->begin(store));
        for (uint64_t last = n + (batch % 2 ? 4096 : 1000); n < last; n++)
            assert_true(support_message_add(store, 100, 1, n, n, ABOVE_ALL + n, "", large));
        assert_true(store->operations->commit(store));
    }
    assert_all_have(count);
    assert_int_equal(support_count(store, 100), 5000 + 5 * (1000 + 4096));
    assert_in_range(rows_of("recent"), 0, 10000);
}

/* After a failure slices are transactions of their own, before those of a busy server, which gets all its messages in. */
static void a_busy_server_recovers_from_a_failure(void **state)
{
    struct sqlite_store *s = (struct sqlite_store *)store;
    uint64_t count = 0;
    int batches = 0;

    (void)state;
    s->settle_after_ms = UINT64_MAX; /* as long as it is not tried again */
    for (; s->recent.used_bytes < RECENT_MESSAGES_MAX_BYTES / 2; count += 200)
        add(count + 1, count + 200);
    s->settle_after_ms = 1;
    for (; s->settle_after_ms != 0 || s->recent.used_bytes > RECENT_MESSAGES_MAX_BYTES / 8; count += 200) {
        add(count + 1, count + 200);
        assert_in_range(batches++, 0, 200);
    }
    assert_all_have(count);
}

/* A conversation that goes on keeps no memory for the messages that it once had. */
static void what_was_settled_leaves_no_memory(void **state)
{
    const struct memory_messages *recent = &((struct sqlite_store *)store)->recent;
    uint64_t first = RECENT_MESSAGES_BYTES / 200 / CONVERSATIONS, count = first;

    (void)state;
    add(1, count);
    while (recent->oldest->content.msg_id <= first) {
        assert_in_range(count, first, first + 1000);
        assert_true(support_settle_slice(store));
        count++;
        add(count, count);
    }
    assert_in_range(recent->used_bytes, 1, RECENT_MESSAGES_BYTES / 10);
}

/* Small batches or large ones: what is recent stays within half as much again, and the table with it. */
static void what_is_recent_is_bounded(void **state)
{
    const struct memory_messages *recent = &((struct sqlite_store *)store)->recent;
    uint64_t count = 0;

    (void)state;
    for (int batch = 0; batch < 400; batch++) {
        uint64_t messages = batch % 2 ? 100 : 1;

        add(count + 1, count + messages);
        count += messages;
        assert_in_range(recent->used_bytes, 0, RECENT_MESSAGES_BYTES * 3 / 2 + (1 << 20));
    }
    assert_all_have(count);
    assert_true((uint64_t)rows_of("recent") < count * CONVERSATIONS / 2);
    assert_all_have(count);
}

int main(void)
{
    static int restart; /* a state that is not NULL */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_state_of_a_run_answers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_run_goes_on_after_a_restart, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_rollback_takes_its_slice_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_group_is_purged_in_the_middle_of_a_run, set_up, tear_down),
        cmocka_unit_test_prestate_setup_teardown(a_group_is_purged_in_the_middle_of_a_run, set_up, tear_down, &restart),
        cmocka_unit_test_setup_teardown(what_is_recent_is_bounded, set_up, tear_down),
        cmocka_unit_test_setup_teardown(short_messages_and_then_long_ones, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_busy_server_recovers_from_a_failure, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_was_settled_leaves_no_memory, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
