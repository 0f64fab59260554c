/* alarm.h - one thread waits until somebody rings, until the stop is asked for, or until a time comes.
 *
 * Idea.       A ring is a signal, as the stop is one (SIGTERM, SIGINT). All of them are blocked, in every thread: so one
 *             that comes early stays pending until sigtimedwait(2) takes it. There is no moment between a look and the
 *             wait in which it could be lost, as there is with a condition variable, which remembers nothing.
 * Threads.    alarm_init() and alarm_wait() by the one that waits; alarm_ring() by any, whatever mutex it holds.
 */
#ifndef ALARM_H
#define ALARM_H

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

struct alarm {
    pthread_t owner;
    sigset_t stop;
    bool stopping; /* the stop was asked for */
};

/* Before there are other threads: they inherit what is blocked. `stop`: the signals that ask for it, blocked already. */
void alarm_init(struct alarm *alarm, const sigset_t *stop);

void alarm_ring(const struct alarm *alarm);

/* Until the alarm has been rung since the last call, or `until_ms` (CLOCK_MONOTONIC) comes; UINT64_MAX: never. True: the
 * stop was asked for. That is said once; one more such signal has its default effect, and ends the process (L-7). */
bool alarm_wait(struct alarm *alarm, uint64_t until_ms);

#endif
