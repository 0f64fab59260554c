/* test_store_faults.c - every single write, flush and read of the SQLite store fails once, and after that it works.
 *
 * The n-th operation on a file fails; n goes from the first to the last of a fixed piece of work. After each fault: what
 * was committed is there, what failed is not, and both hold after a restart, too (M-5). What the chat makes of such
 * faults is the business of test_chat_store_faults.c.
 */
#include "support_faulty_vfs.h"
#include "support_store.h"

#include <string.h>

static char directory[SUPPORT_PATH_BYTES];

static int set_up(void **state)
{
    (void)state;
    support_directory_make(directory);
    return faulty_vfs_begin(false);
}

static int tear_down(void **state)
{
    (void)state;
    support_directory_remove(directory);
    return faulty_vfs_end();
}

/* ---- the work ---- */

static char text[4001];
static uint64_t committed; /* messages of conversation 1 */

static struct store *open_faulty(void)
{
    return store_sqlite_open_vfs(directory, OPTION_DURABILITY_FULL, "faulty");
}

/* A few transactions, enough for a checkpoint; `committed` counts those that were. */
static void work(struct store *s)
{
    for (int i = 0; i < 12; i++) {
        uint64_t count = i == 5 ? 1000 : 3; /* the large one is over the checkpoint's limit */
        bool done = s->operations->begin(s);

        for (uint64_t n = 1; done && n <= count; n++)
            done = support_message_add(s, 1, 1, committed + n, committed + n, committed + n, "", text);
        if (done && s->operations->commit(s))
            committed += count;
        else
            s->operations->rollback(s);
    }
}

static void check(struct store *s)
{
    assert_int_equal(support_count(s, 1), committed);
    assert_true(support_message_commit(s, 1, 1, committed + 1, committed + 1, committed + 1, "", text));
    committed++;
}

/* Work with the n-th operation failing; returns whether there was one. */
static bool work_with_fault(int n)
{
    struct store *s;

    committed = 0;
    faulty_vfs.failed = 0;
    s = open_faulty();
    assert_non_null(s);
    faulty_vfs.countdown = n;
    work(s);
    faulty_vfs.countdown = 0;
    check(s);
    s->operations->free(s);
    s = open_faulty();
    assert_non_null(s);
    check(s);
    s->operations->free(s);
    return faulty_vfs.failed > 0;
}

static void clear_directory(void)
{
    support_directory_remove(directory);
    support_directory_make(directory);
}

/* Each of the first, then some of the many that are alike. */
static void every_operation_fails_once(void **state)
{
    (void)state;
    memset(text, 'x', sizeof text - 1);
    for (int n = 1; work_with_fault(n); n += n < 30 ? 1 : 311)
        clear_directory();
}

static void all_operations_fail_from_one_on(void **state)
{
    (void)state;
    memset(text, 'x', sizeof text - 1);
    faulty_vfs.lasting = true;
    for (int n = 1; work_with_fault(n); n += n < 30 ? 4 : 577)
        clear_directory();
}

/* ---- settling ---- */

enum { CONVERSATIONS = 20, MESSAGES = 5 };

static void add_to_all(struct store *s, uint64_t msg_id)
{
    assert_true(s->operations->begin(s));
    for (uint32_t c = 1; c <= CONVERSATIONS; c++)
        assert_true(support_message_add(s, c, 1, msg_id, msg_id, CONVERSATIONS * msg_id + c, "", text));
    assert_true(s->operations->commit(s));
}

static void check_all(struct store *s, uint64_t count)
{
    for (uint32_t c = 1; c <= CONVERSATIONS; c++)
        assert_int_equal(support_count(s, c), count);
}

/* Settle with the n-th operation failing; returns whether there was one. */
static bool settle_with_fault(int n)
{
    struct store *s;
    bool settled;

    faulty_vfs.failed = 0;
    s = open_faulty();
    assert_non_null(s);
    for (uint64_t i = 1; i <= MESSAGES; i++)
        add_to_all(s, i);
    faulty_vfs.countdown = n;
    settled = support_settle(s);
    faulty_vfs.countdown = 0;
    assert_true(settled || faulty_vfs.failed > 0);
    check_all(s, MESSAGES);
    add_to_all(s, MESSAGES + 1);
    check_all(s, MESSAGES + 1);
    s->operations->free(s);
    s = open_faulty();
    assert_non_null(s);
    check_all(s, MESSAGES + 1);
    assert_true(support_settle(s));
    check_all(s, MESSAGES + 1);
    s->operations->free(s);
    return faulty_vfs.failed > 0;
}

static void settling_fails_and_then_works(void **state)
{
    int n;

    (void)state;
    memset(text, 'x', sizeof text - 1);
    for (n = 1; settle_with_fault(n); n++)
        clear_directory();
    assert_true(n > CONVERSATIONS); /* each has pages of its own */
}

/* ---- opening ---- */

/* Opening with the n-th operation failing; returns whether there was one. */
static bool open_with_fault(int n, uint64_t expected)
{
    struct store *s;

    faulty_vfs.failed = 0;
    faulty_vfs.countdown = n;
    s = open_faulty();
    faulty_vfs.countdown = 0;
    if (!s)
        s = open_faulty(); /* what the failure left is no hindrance */
    assert_non_null(s);
    assert_int_equal(support_count(s, 1), expected);
    s->operations->free(s);
    return faulty_vfs.failed > 0;
}

static void opening_fails_and_then_works(void **state)
{
    struct store *s;

    (void)state;
    for (int n = 1; open_with_fault(n, 0); n++)
        clear_directory();
    s = open_faulty();
    assert_non_null(s);
    assert_true(support_message_commit(s, 1, 1, 1, 1, 1, "", "t"));
    s->operations->free(s);
    for (int n = 1; open_with_fault(n, 1); n++)
        ;
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_operation_fails_once),
        TEST(all_operations_fail_from_one_on),
        TEST(settling_fails_and_then_works),
        TEST(opening_fails_and_then_works),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
