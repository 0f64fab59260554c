/* clock.c - the clock of fuzz.h, in the place of common/base/clock.c: what is defined here is not taken from the
 *           library. And what every target begins with.
 */
#include "base/clock.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "fuzz.h"

uint64_t fuzz_monotonic_ms;
int64_t fuzz_unix_ms;

uint64_t clock_monotonic_ms(void)
{
    return fuzz_monotonic_ms;
}

int64_t clock_unix_ms(void)
{
    return fuzz_unix_ms;
}

static uint64_t monotonic_ms(void *arg)
{
    (void)arg;
    return fuzz_monotonic_ms;
}

static int64_t unix_ms(void *arg)
{
    (void)arg;
    return fuzz_unix_ms;
}

const struct clock clock_system = {.monotonic_ms = monotonic_ms, .unix_ms = unix_ms, .arg = NULL};

void fuzz_trace(const char *format, ...)
{
    va_list arguments;

    if (getenv("FUZZ_TRACE") == NULL)
        return;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    setenv("CMOCKA_TEST_ABORT", "1", 1); /* an assertion that fails is a crash, as a fuzzer understands it */
    log_set_level(LOG_ERROR);
    return 0;
}
