/* test_base_log.c - the log's lines and quoting; clocks and counters, which have little to test. */
#include "support.h"

#include <errno.h>
#include <regex.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/counters.h"
#include "base/log.h"

static char logged[8192];

static int call(void *arg)
{
    void (*function)(void) = *(void (**)(void))arg;

    function();
    return 0;
}

static const char *log_of(void (*function)(void))
{
    support_capture(STDERR_FILENO, logged, sizeof logged, call, &function);
    return logged;
}

static void assert_matches(const char *text, const char *pattern)
{
    regex_t regex;
    int result;

    assert_int_equal(regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB), 0);
    result = regexec(&regex, text, 0, NULL, 0);
    regfree(&regex);
    if (result != 0)
        fail_msg("\"%s\" does not match %s", text, pattern);
}

static void say_numbers(void)
{
    log_warn("%d of %s", 3, "four");
}

static void a_line_has_time_level_and_text(void **state)
{
    (void)state;
    assert_matches(log_of(say_numbers),
                   "^20[0-9]{2}-[01][0-9]-[0-3][0-9]T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{3}Z warn  3 of four\n$");
}

static void say_line_breaks(void)
{
    log_warn("%s", "a path\n2026-01-01T00:00:00.000Z error of two\r\nlines\x1B[2J\x7F\xC3\xA9");
}

/* S-2: one line each, whatever a path or a library's message holds. */
static void a_record_is_one_line(void **state)
{
    (void)state;
    assert_matches(log_of(say_line_breaks),
                   "Z warn  a path 2026-01-01T00:00:00.000Z error of two  lines \\[2J \xC3\xA9\n$");
    assert_ptr_equal(strchr(logged, '\n'), logged + strlen(logged) - 1);
}

static void say_all_levels(void)
{
    log_error("e");
    log_warn("w");
    log_info("i");
    log_debug("d");
}

static size_t count_lines(const char *text)
{
    size_t lines = 0;

    for (; (text = strchr(text, '\n')); text++)
        lines++;
    return lines;
}

static void levels_above_are_left_out(void **state)
{
    (void)state;
    assert_int_equal(log_get_level(), LOG_INFO);
    assert_int_equal(count_lines(log_of(say_all_levels)), 3);
    log_set_level(LOG_ERROR);
    assert_int_equal(count_lines(log_of(say_all_levels)), 1);
    log_set_level(LOG_DEBUG);
    assert_int_equal(count_lines(log_of(say_all_levels)), 4);
    log_set_level(LOG_INFO);
}

static void say_too_much(void)
{
    static char text[4000];

    memset(text, 'x', sizeof text - 1);
    log_info("%s", text);
}

static void a_long_line_is_cut_and_ends(void **state)
{
    size_t length = strlen(log_of(say_too_much));

    (void)state;
    assert_in_range(length, 1000, 4096); /* what a pipe takes in one piece */
    assert_int_equal(logged[length - 1], '\n');
    assert_int_equal(count_lines(logged), 1);
}

static void say_errno(void)
{
    errno = EADDRINUSE;
    log_info("%m");
    assert_int_equal(errno, EADDRINUSE);
}

static void errno_is_told_and_stays(void **state)
{
    (void)state;
    assert_non_null(strstr(log_of(say_errno), "Address already in use"));
}

static void quoting_makes_bytes_printable(void **state)
{
    char out[64];

    (void)state;
    assert_string_equal(log_quote(out, sizeof out, "plain text", 10), "plain text");
    assert_string_equal(log_quote(out, sizeof out, "", 0), "");
    assert_string_equal(log_quote(out, sizeof out, NULL, 0), "");
    assert_string_equal(log_quote(out, sizeof out, "a\nb\0c", 5), "a\\x0Ab\\x00c");
    assert_string_equal(log_quote(out, sizeof out, "\"it's\\\"", 7), "\\\"it\\'s\\\\\\\"");
    assert_string_equal(log_quote(out, sizeof out, "\x7F\xC3\xA4~", 4), "\\x7F\\xC3\\xA4~");
}

static void quoting_cuts_between_characters(void **state)
{
    char out[16];

    (void)state;
    assert_string_equal(log_quote(out, 8, "1234567", 7), "1234567"); /* fits, NUL included */
    assert_string_equal(log_quote(out, 8, "12345678", 8), "1234...");
    assert_string_equal(log_quote(out, 8, "\n\n", 2), "\\x0A...");
    assert_string_equal(log_quote(out, 8, "1\n\n", 3), "1...");
    assert_string_equal(log_quote(out, 4, "12345", 5), "...");
    assert_string_equal(log_quote(out, 3, "12345", 5), "..");
    assert_string_equal(log_quote(out, 1, "12345", 5), "");
    out[0] = 'k';
    log_quote(out, 0, "12345", 5);
    assert_int_equal(out[0], 'k'); /* nowhere to write, nothing written */
}

static void quoting_never_writes_past_the_end(void **state)
{
    uint64_t seed = 7;

    (void)state;
    for (int round = 0; round < 5000; round++) {
        unsigned char bytes[40];
        char out[64];
        size_t length = (size_t)support_random(&seed, sizeof bytes + 1);
        size_t room = 1 + (size_t)support_random(&seed, sizeof out - 1);

        for (size_t i = 0; i < length; i++)
            bytes[i] = (unsigned char)support_random(&seed, 256);
        memset(out, '#', sizeof out);
        log_quote(out, room, bytes, length);
        assert_true(strlen(out) < room);
        for (size_t i = room; i < sizeof out; i++)
            assert_int_equal(out[i], '#');
    }
}

static void clocks_go_forward(void **state)
{
    uint64_t first = clock_monotonic_ms();

    (void)state;
    assert_true(clock_system.monotonic_ms(clock_system.arg) >= first);
    assert_true(clock_unix_ms() > 1700000000000); /* in this millennium, and in milliseconds */
    assert_true(clock_system.unix_ms(clock_system.arg) > 1700000000000);
}

static void counters_add_up(void **state)
{
    struct counters one = {0}, other = {0}, sum = {0};

    (void)state;
    COUNTER_ADD(&one, connections, 3);
    COUNTER_SUBTRACT(&one, connections, 1);
    COUNTER_ADD(&other, connections, 5);
    COUNTER_ADD(&other, store_queue, 9);
    counters_add(&sum, &one);
    counters_add(&sum, &other);
    assert_int_equal(COUNTER_READ(&sum, connections), 7);
    assert_int_equal(COUNTER_READ(&sum, store_queue), 9);
    assert_int_equal(COUNTER_READ(&sum, sessions), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_has_time_level_and_text),
        cmocka_unit_test(a_record_is_one_line),
        cmocka_unit_test(levels_above_are_left_out),
        cmocka_unit_test(a_long_line_is_cut_and_ends),
        cmocka_unit_test(errno_is_told_and_stays),
        cmocka_unit_test(quoting_makes_bytes_printable),
        cmocka_unit_test(quoting_cuts_between_characters),
        cmocka_unit_test(quoting_never_writes_past_the_end),
        cmocka_unit_test(clocks_go_forward),
        cmocka_unit_test(counters_add_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
