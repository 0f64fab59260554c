/* clock.h - what time it is, as the engine asks for it; tests bring a clock of their own.
 *
 * Durations and deadlines are CLOCK_MONOTONIC milliseconds: a step of the wall clock must neither drop everybody nor
 * nobody. The wall clock is only written into messages, for people (clock_gettime(2)).
 */
#ifndef CHAT_CLOCK_H
#define CHAT_CLOCK_H

#include <stdint.h>

struct clock {
    uint64_t (*monotonic_ms)(void *arg);
    int64_t (*unix_ms)(void *arg);
    void *arg;
};

extern const struct clock clock_system;

/* The two readings of clock_system, from any thread. */
uint64_t clock_monotonic_ms(void);
int64_t clock_unix_ms(void);

/* How long to wait from `now_ms` until `deadline_ms`, as poll(2) and epoll_wait(2) take it: 0 when that is over, -1 (for
 * ever) when it is UINT64_MAX. */
int clock_wait_ms(uint64_t now_ms, uint64_t deadline_ms);

#endif
