/* load_trim.c - preloaded into a server, it has the allocator give back what is free, whenever SIGRTMIN comes.
 *
 * Idea.       What a program frees is not at once gone from its memory: each arena of glibc keeps it up to a bound, and
 *             whatever lies below something that is in use. How much that is after the same load is chance, several MiB
 *             more or less. Once it is given back, two moments can be compared, and a leak of one MiB shows.
 *             malloc_trim() leaves the free end of each arena but the first. That is kept small by the threshold that
 *             free() gives it back at, which glibc would raise with the largest block that was ever freed (mallopt(3)).
 *             A thread waits for the signal and tells by its name how often it was done: "trimmed 7".
 */
#define _GNU_SOURCE
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#define TRIM_THRESHOLD_BYTES (128 << 10) /* as glibc begins */

static sigset_t asked;

static void *trim(void *arg)
{
    int number;

    for (unsigned count = 0; sigwait(&asked, &number) == 0; count++) {
        char name[16]; /* the most that one may have: pthread_setname_np(3) */

        malloc_trim(0);
        snprintf(name, sizeof name, "trimmed %u", count + 1);
        pthread_setname_np(pthread_self(), name);
    }
    return arg;
}

/* Before main(): threads inherit the mask of their maker, so the signal comes to this thread, and no other one does. */
__attribute__((constructor)) static void begin(void)
{
    pthread_t thread;
    sigset_t all, before;

    sigfillset(&all);
    sigemptyset(&asked);
    sigaddset(&asked, SIGRTMIN);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    mallopt(M_TRIM_THRESHOLD, TRIM_THRESHOLD_BYTES); /* a sanitizer's allocator refuses, and does not need it */
    if (pthread_create(&thread, NULL, trim, NULL) != 0)
        abort();
    sigaddset(&before, SIGRTMIN);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}
