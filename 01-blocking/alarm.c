/* alarm.c - see alarm.h. */
#include "alarm.h"

#include <time.h>

#include "base/clock.h"
#include "base/program.h"

enum { SIGNAL_RING = SIGUSR2 };

void alarm_init(struct alarm *alarm, const sigset_t *stop)
{
    sigset_t ring;

    alarm->owner = pthread_self();
    alarm->stop = *stop;
    alarm->stopping = false;
    sigemptyset(&ring);
    sigaddset(&ring, SIGNAL_RING);
    pthread_sigmask(SIG_BLOCK, &ring, NULL);
}

void alarm_ring(const struct alarm *alarm)
{
    pthread_kill(alarm->owner, SIGNAL_RING);
}

bool alarm_wait(struct alarm *alarm, uint64_t until_ms)
{
    uint64_t now_ms = clock_monotonic_ms(), wait_ms = until_ms > now_ms ? until_ms - now_ms : 0;
    struct timespec wait = {.tv_sec = (time_t)(wait_ms / 1000), .tv_nsec = (long)(wait_ms % 1000) * 1000000L};
    sigset_t awaited;
    int number;

    sigemptyset(&awaited);
    if (!alarm->stopping)
        awaited = alarm->stop;
    sigaddset(&awaited, SIGNAL_RING);
    number = sigtimedwait(&awaited, NULL, until_ms == UINT64_MAX ? NULL : &wait);
    if (number < 0 || number == SIGNAL_RING)
        return false;
    alarm->stopping = true;
    program_let_stop(&alarm->stop);
    return true;
}
