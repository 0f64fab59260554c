/* alarm.c - see alarm.h. */
#include "alarm.h"

void condition_init(pthread_cond_t *condition)
{
    pthread_condattr_t attributes;

    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(condition, &attributes);
    pthread_condattr_destroy(&attributes);
}

struct timespec condition_time(uint64_t ms)
{
    return (struct timespec){.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000L};
}

void alarm_init(struct alarm *alarm)
{
    pthread_mutex_init(&alarm->mutex, NULL);
    condition_init(&alarm->changed);
    alarm->rung = false;
}

void alarm_fini(struct alarm *alarm)
{
    pthread_cond_destroy(&alarm->changed);
    pthread_mutex_destroy(&alarm->mutex);
}

void alarm_ring(struct alarm *alarm)
{
    pthread_mutex_lock(&alarm->mutex);
    alarm->rung = true;
    pthread_cond_signal(&alarm->changed);
    pthread_mutex_unlock(&alarm->mutex);
}

void alarm_wait(struct alarm *alarm, uint64_t until_ms)
{
    struct timespec until = condition_time(until_ms);
    int result = 0;

    pthread_mutex_lock(&alarm->mutex);
    while (!alarm->rung && result == 0) {
        if (until_ms == UINT64_MAX)
            pthread_cond_wait(&alarm->changed, &alarm->mutex);
        else
            result = pthread_cond_timedwait(&alarm->changed, &alarm->mutex, &until);
    }
    alarm->rung = false;
    pthread_mutex_unlock(&alarm->mutex);
}
