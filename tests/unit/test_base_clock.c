/* test_base_clock.c - from a deadline to what poll(2) and epoll_wait(2) take. */
#include "support.h"

#include <limits.h>

#include "base/clock.h"

static void a_wait_ends_at_its_deadline(void **state)
{
    (void)state;
    assert_int_equal(clock_wait_ms(1000, 1001), 1);
    assert_int_equal(clock_wait_ms(1000, 31000), 30000);
    assert_int_equal(clock_wait_ms(1000, 1000), 0);
    assert_int_equal(clock_wait_ms(1000, 999), 0);
    assert_int_equal(clock_wait_ms(1000, 0), 0);
}

/* Too long for an int: as long as it can be, and then the caller looks again. Never -1 by accident. */
static void a_wait_without_deadline_is_for_ever(void **state)
{
    (void)state;
    assert_int_equal(clock_wait_ms(1000, UINT64_MAX), -1);
    assert_int_equal(clock_wait_ms(1000, UINT64_MAX - 1), INT_MAX);
    assert_int_equal(clock_wait_ms(0, (uint64_t)INT_MAX + 1), INT_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_wait_ends_at_its_deadline),
        cmocka_unit_test(a_wait_without_deadline_is_for_ever),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
