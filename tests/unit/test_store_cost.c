/* test_store_cost.c - no operation of the SQLite store reads all messages: counted in steps of SQLite's virtual machine,
 *                     which are the same in every run, on a conversation that has ten times as many as the other.
 */
#include "support_store.h"

#include <sqlite3.h>
#include <stdio.h>

enum { FEW = 1000, MANY = 10000, ABOVE_ALL = 2 * MANY /* sequences of the two */ };

static char directory[SUPPORT_PATH_BYTES];
static struct store *store;
static int steps; /* since it was set to 0 */

/* Called when a statement is finished (sqlite.org/c3ref/c_trace.html). */
static int count_steps(unsigned event, void *context, void *statement, void *nanoseconds)
{
    (void)event, (void)context, (void)nanoseconds;
    steps += sqlite3_stmt_status(statement, SQLITE_STMTSTATUS_VM_STEP, 1);
    return 0;
}

/* Called for each connection that is opened (sqlite.org/c3ref/auto_extension.html). */
static int watch(sqlite3 *database, const char **message, const struct sqlite3_api_routines *routines)
{
    (void)message, (void)routines;
    return sqlite3_trace_v2(database, SQLITE_TRACE_PROFILE, count_steps, NULL);
}

static void add_conversation(uint32_t number, uint64_t count)
{
    static uint64_t sequence;
    char name[32], id[32];
    struct store_group group = {.number = number, .owner = 1, .title = SLICE_LITERAL("")};

    snprintf(name, sizeof name, "group-%u", number);
    group.name = slice_of(name);
    assert_true(store->operations->begin(store));
    assert_true(store->operations->group_add(store, &group));
    assert_true(store->operations->member_add(store, number, 1, count / 2));
    for (uint64_t i = 1; i <= count; i++) {
        snprintf(id, sizeof id, "%u", (unsigned)i);
        assert_true(support_message_add(store, number, 1, i, i, ++sequence, id, "t"));
    }
    assert_true(store->operations->commit(store));
}

static int set_up(void **state)
{
    (void)state;
    if (sqlite3_auto_extension((void (*)(void))watch) != SQLITE_OK)
        return -1;
    support_directory_make(directory);
    store = store_sqlite_open(directory, OPTION_DURABILITY_NORMAL);
    return store ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    store->operations->free(store);
    support_directory_remove(directory);
    sqlite3_reset_auto_extension();
    return 0;
}

static bool take_group(void *arg, const struct store_group *group)
{
    (void)arg, (void)group;
    return true;
}

static bool take_member(void *arg, uint32_t conversation, uint32_t user, uint64_t mark, uint64_t own, uint64_t above)
{
    (void)arg, (void)conversation, (void)user;
    assert_int_equal(own, above + mark);
    return true;
}

static bool take_latest(void *arg, uint32_t conversation, uint64_t msg_id, uint64_t sequence, int64_t time_ms)
{
    (void)arg, (void)conversation, (void)msg_id, (void)sequence, (void)time_ms;
    return true;
}

static bool take_highest(void *arg, uint32_t conversation, uint64_t sequence)
{
    (void)arg, (void)conversation, (void)sequence;
    return true;
}

/* Two groups, two members: nothing else may count. */
static void loading(void **state)
{
    static const struct store_loader loader = {
        .group = take_group, .member = take_member, .latest = take_latest, .highest = take_highest};

    (void)state;
    add_conversation(1, FEW);
    add_conversation(2, MANY);
    assert_true(support_settle(store));
    steps = 0;
    assert_true(store->operations->load(store, &loader, NULL));
    assert_in_range(steps, 1, FEW / 2);
}

static bool stop_at_once(void *arg, const struct store_message *message)
{
    (void)arg, (void)message;
    return false;
}

/* The same request to each conversation costs the same. */
static int cost(void (*ask)(uint32_t conversation, uint64_t count), uint32_t conversation, uint64_t count)
{
    steps = 0;
    ask(conversation, count);
    assert_true(steps > 0);
    return steps;
}

static void ask_newest(uint32_t conversation, uint64_t count)
{
    struct store_history_range range = {count - 10, 5, false};

    assert_true(store->operations->history(store, conversation, &range, stop_at_once, NULL));
}

static void ask_oldest(uint32_t conversation, uint64_t count)
{
    struct store_history_range range = {count - 10, count / 2, true};

    assert_true(store->operations->history(store, conversation, &range, stop_at_once, NULL));
}

static void ask_own_count(uint32_t conversation, uint64_t count)
{
    uint64_t all, above;

    assert_true(store->operations->own_count(store, conversation, 1, count / 2, &all, &above));
    assert_int_equal(above, count / 2);
}

static void ask_find(uint32_t conversation, uint64_t count)
{
    (void)count;
    assert_int_equal(support_find(store, conversation, 1, "500"), 500);
}

static void send_one(uint32_t conversation, uint64_t count)
{
    assert_true(support_message_commit(store, conversation, 1, count + 1, count + 1, ABOVE_ALL + count, "new", "t"));
}

static void remove_group(uint32_t conversation, uint64_t count)
{
    (void)count;
    assert_true(store->operations->begin(store));
    assert_true(store->operations->group_remove(store, conversation));
    assert_true(store->operations->commit(store));
}

static void purge_a_slice(uint32_t conversation, uint64_t count)
{
    bool more;

    (void)conversation, (void)count;
    assert_true(store->operations->purge(store, &more));
}

static void requests(void **state)
{
    static void (*const asks[])(uint32_t conversation, uint64_t count) = {
        ask_newest, ask_oldest, ask_own_count, ask_find, send_one, remove_group, purge_a_slice,
    };

    (void)state;
    add_conversation(1, FEW);
    add_conversation(2, MANY);
    for (size_t i = 0; i < sizeof asks / sizeof asks[0]; i++) {
        int few;

        assert_true(support_settle(store));
        few = cost(asks[i], 1, FEW);

        /* A purge works on the first group until that is gone; its second slice is like the first. */
        assert_in_range(cost(asks[i], 2, MANY) + 20, few, few + 40);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(loading, set_up, tear_down),
        cmocka_unit_test_setup_teardown(requests, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
