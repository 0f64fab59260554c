/* alarm.h - wait until somebody rings, or until a time comes.
 *
 * Idea.       A condition variable remembers nothing: a signal that comes before the wait is lost. The flag beside it,
 *             under the same mutex, is what is waited for; the condition only says that it may have changed.
 * Threads.    alarm_ring() from any, with whatever mutex held: this one is taken last, and for moments. One waits.
 */
#ifndef ALARM_H
#define ALARM_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

struct alarm {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    bool rung; /* guarded by mutex */
};

void alarm_init(struct alarm *alarm);
void alarm_fini(struct alarm *alarm);

void alarm_ring(struct alarm *alarm);

/* Until the alarm has been rung since the last call, or `until_ms` (CLOCK_MONOTONIC) comes; UINT64_MAX: never. */
void alarm_wait(struct alarm *alarm, uint64_t until_ms);

/* A condition whose timed wait is by CLOCK_MONOTONIC (pthread_condattr_setclock(3)), and a time for it. */
void condition_init(pthread_cond_t *condition);
struct timespec condition_time(uint64_t ms);

#endif
