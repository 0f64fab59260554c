#include "base/clock.h"

#include <limits.h>
#include <stddef.h>
#include <time.h>

static struct timespec read_clock(clockid_t id)
{
    struct timespec now = {0};

    /* Fails only for a clock that the kernel does not know (clock_gettime(2)); it knows both. */
    clock_gettime(id, &now);
    return now;
}

uint64_t clock_monotonic_ms(void)
{
    struct timespec now = read_clock(CLOCK_MONOTONIC);

    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

int64_t clock_unix_ms(void)
{
    struct timespec now = read_clock(CLOCK_REALTIME);

    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int clock_wait_ms(uint64_t now_ms, uint64_t deadline_ms)
{
    if (deadline_ms == UINT64_MAX)
        return -1;
    if (deadline_ms <= now_ms)
        return 0;
    return deadline_ms - now_ms < INT_MAX ? (int)(deadline_ms - now_ms) : INT_MAX;
}

static uint64_t system_monotonic_ms(void *arg)
{
    (void)arg;
    return clock_monotonic_ms();
}

static int64_t system_unix_ms(void *arg)
{
    (void)arg;
    return clock_unix_ms();
}

const struct clock clock_system = {.monotonic_ms = system_monotonic_ms, .unix_ms = system_unix_ms, .arg = NULL};
