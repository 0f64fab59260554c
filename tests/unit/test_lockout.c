/* test_lockout.c - A-4, as a table alone: the limit, those that wait, the window, the bound. */
#include "support.h"

#include <string.h>

#include "chat/lockout.h"

enum { WINDOW_MS = 1000, ENTRIES = 4 };

static const struct peer_address here = {{1}}, there = {{2}};

static void try_wrong(struct lockout *lockout, uint32_t user, const struct peer_address *address, uint64_t now_ms)
{
    struct lockout_attempt attempt;

    assert_int_equal(lockout_begin(lockout, &attempt, user, address, now_ms), LOCKOUT_CHECK);
    assert_null(lockout_settle(lockout, &attempt, LOCKOUT_WRONG, now_ms));
}

/* What one more attempt would get; it counts for nothing. */
static enum lockout_verdict peek(struct lockout *lockout, uint32_t user, const struct peer_address *address,
                                 uint64_t now_ms)
{
    struct lockout_attempt attempt;
    enum lockout_verdict verdict = lockout_begin(lockout, &attempt, user, address, now_ms);

    if (verdict == LOCKOUT_CHECK)
        lockout_settle(lockout, &attempt, LOCKOUT_UNKNOWN, now_ms);
    if (verdict == LOCKOUT_WAIT)
        lockout_abandon(lockout, &attempt);
    return verdict;
}

static void begin(struct lockout *lockout)
{
    assert_true(lockout_init(lockout, WINDOW_MS, ENTRIES));
}

static void test_ten_failures_lock(void **state)
{
    struct lockout lockout;

    (void)state;
    begin(&lockout);
    for (int i = 0; i < PASSWORD_FAILURES_MAX; i++) {
        assert_int_equal(peek(&lockout, 1, &here, 100), LOCKOUT_CHECK);
        try_wrong(&lockout, 1, &here, 100);
    }
    assert_int_equal(peek(&lockout, 1, &here, 100), LOCKOUT_REFUSED);
    assert_int_equal(peek(&lockout, 2, &here, 100), LOCKOUT_CHECK);
    assert_int_equal(peek(&lockout, 1, &there, 100), LOCKOUT_CHECK);
    lockout_fini(&lockout);
}

/* It holds until fewer than ten are younger than the window, not until all are gone. */
static void test_the_window_slides(void **state)
{
    struct lockout lockout;

    (void)state;
    begin(&lockout);
    for (uint64_t i = 0; i < PASSWORD_FAILURES_MAX; i++)
        try_wrong(&lockout, 1, &here, 100 + i);
    assert_int_equal(peek(&lockout, 1, &here, 100 + WINDOW_MS - 1), LOCKOUT_REFUSED);
    assert_int_equal(peek(&lockout, 1, &here, 100 + WINDOW_MS), LOCKOUT_CHECK);
    try_wrong(&lockout, 1, &here, 100 + WINDOW_MS);
    assert_int_equal(peek(&lockout, 1, &here, 100 + WINDOW_MS), LOCKOUT_REFUSED);
    lockout_fini(&lockout);
}

static void test_success_clears(void **state)
{
    struct lockout lockout;
    struct lockout_attempt attempt;

    (void)state;
    begin(&lockout);
    for (int i = 0; i < PASSWORD_FAILURES_MAX - 1; i++)
        try_wrong(&lockout, 1, &here, 100);
    assert_int_equal(lockout_begin(&lockout, &attempt, 1, &here, 100), LOCKOUT_CHECK);
    lockout_settle(&lockout, &attempt, LOCKOUT_RIGHT, 100);
    assert_int_equal(lockout.entries.count, 0); /* I3 */
    for (int i = 0; i < PASSWORD_FAILURES_MAX; i++)
        try_wrong(&lockout, 1, &here, 100);
    assert_int_equal(peek(&lockout, 1, &here, 100), LOCKOUT_REFUSED);
    lockout_fini(&lockout);
}

/* Of many at once, those beyond what is left wait; wrong ones before them refuse them. */
static void test_many_at_once_do_not_pass_the_limit(void **state)
{
    struct lockout lockout;
    struct lockout_attempt attempts[15], *released;

    (void)state;
    begin(&lockout);
    for (int i = 0; i < 15; i++)
        assert_int_equal(lockout_begin(&lockout, &attempts[i], 1, &here, 100),
                         i < PASSWORD_FAILURES_MAX ? LOCKOUT_CHECK : LOCKOUT_WAIT);
    for (int i = 0; i < PASSWORD_FAILURES_MAX - 1; i++)
        assert_null(lockout_settle(&lockout, &attempts[i], LOCKOUT_WRONG, 100));
    released = lockout_settle(&lockout, &attempts[9], LOCKOUT_WRONG, 100);
    for (int i = PASSWORD_FAILURES_MAX; i < 15; i++, released = released->next) {
        assert_ptr_equal(released, &attempts[i]);
        assert_int_equal(released->verdict, LOCKOUT_REFUSED);
    }
    assert_null(released);
    lockout_fini(&lockout);
}

/* A right one among them is not refused: it makes room for those that wait, in their order. */
static void test_a_right_one_lets_others_go_on(void **state)
{
    struct lockout lockout;
    struct lockout_attempt attempts[25], *released;

    (void)state;
    begin(&lockout);
    for (int i = 0; i < 25; i++)
        lockout_begin(&lockout, &attempts[i], 1, &here, 100);
    for (int i = 0; i < 4; i++)
        assert_null(lockout_settle(&lockout, &attempts[i], LOCKOUT_WRONG, 100));
    released = lockout_settle(&lockout, &attempts[4], LOCKOUT_RIGHT, 100);
    for (int i = 10; i < 15; i++, released = released->next) {
        assert_ptr_equal(released, &attempts[i]);
        assert_int_equal(released->verdict, LOCKOUT_CHECK);
    }
    assert_null(released);
    assert_int_equal(attempts[15].verdict, LOCKOUT_WAIT);
    /* One that was not looked at gives its place to the next. */
    released = lockout_settle(&lockout, &attempts[10], LOCKOUT_UNKNOWN, 100);
    assert_ptr_equal(released, &attempts[15]);
    assert_null(released->next);
    lockout_fini(&lockout);
}

static void test_one_that_waits_can_be_abandoned(void **state)
{
    struct lockout lockout;
    struct lockout_attempt attempts[13], *released;

    (void)state;
    begin(&lockout);
    for (int i = 0; i < 13; i++)
        lockout_begin(&lockout, &attempts[i], 1, &here, 100);
    lockout_abandon(&lockout, &attempts[12]);
    lockout_abandon(&lockout, &attempts[10]);
    released = lockout_settle(&lockout, &attempts[0], LOCKOUT_UNKNOWN, 100);
    assert_ptr_equal(released, &attempts[11]);
    assert_null(released->next);
    for (int i = 1; i < 10; i++)
        assert_null(lockout_settle(&lockout, &attempts[i], LOCKOUT_UNKNOWN, 100));
    assert_null(lockout_settle(&lockout, &attempts[11], LOCKOUT_UNKNOWN, 100));
    assert_int_equal(lockout.entries.count, 0);
    lockout_fini(&lockout);
}

static void test_the_table_is_bounded(void **state)
{
    struct lockout lockout;
    struct lockout_attempt checking;

    (void)state;
    begin(&lockout);
    lockout_begin(&lockout, &checking, 99, &here, 100);
    for (uint32_t user = 1; user <= ENTRIES + 2; user++)
        try_wrong(&lockout, user, &here, 100 + user);
    assert_int_equal(lockout.resting_count, ENTRIES);
    assert_int_equal(lockout.entries.count, ENTRIES + 1); /* one being checked stays */
    /* The least recently failed went: of user 1 nothing is known, of the last one nine more are too many. */
    for (int i = 0; i < PASSWORD_FAILURES_MAX - 1; i++)
        try_wrong(&lockout, ENTRIES + 2, &here, 200);
    assert_int_equal(peek(&lockout, ENTRIES + 2, &here, 200), LOCKOUT_REFUSED);
    for (int i = 0; i < PASSWORD_FAILURES_MAX; i++)
        try_wrong(&lockout, 1, &here, 200);
    lockout_settle(&lockout, &checking, LOCKOUT_WRONG, 200);
    assert_int_equal(lockout.resting_count, ENTRIES);
    lockout_fini(&lockout);
}

static void test_old_entries_go_by_themselves(void **state)
{
    struct lockout lockout;

    (void)state;
    begin(&lockout);
    for (uint32_t user = 1; user <= 3; user++)
        try_wrong(&lockout, user, &here, 100);
    try_wrong(&lockout, 4, &here, 100 + WINDOW_MS);
    try_wrong(&lockout, 4, &here, 100 + WINDOW_MS);
    assert_int_equal(lockout.entries.count, 1);
    lockout_fini(&lockout);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ten_failures_lock),
        cmocka_unit_test(test_the_window_slides),
        cmocka_unit_test(test_success_clears),
        cmocka_unit_test(test_many_at_once_do_not_pass_the_limit),
        cmocka_unit_test(test_a_right_one_lets_others_go_on),
        cmocka_unit_test(test_one_that_waits_can_be_abandoned),
        cmocka_unit_test(test_the_table_is_bounded),
        cmocka_unit_test(test_old_entries_go_by_themselves),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
