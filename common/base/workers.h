/* workers.h - a few threads for work that would hold up a loop: password hashing.
 *
 * Idea.       Jobs wait in one bounded queue; half of the cores (at least one thread) take them in order, at low
 *             priority (setpriority(2)), so that hashing uses what the loops leave.
 * Invariants. I1  every job that was taken is done exactly once, also at the end; one that had not begun when the stop
 *                 came is done without having been run.
 * Threads.    workers_submit() from any thread; `run` and then `done` are called on a worker's thread, without a lock.
 *             With no threads (tests), workers_run_one() runs them on the caller's.
 */
#ifndef CHAT_WORKERS_H
#define CHAT_WORKERS_H

#include <stdbool.h>
#include <stddef.h>

struct workers;

/* Embedded in the caller's own structure, which the job owns from submit to done. */
struct worker_job {
    struct worker_job *next;
    void (*run)(struct worker_job *job);
    void (*done)(struct worker_job *job); /* takes the job back */
};

/* `threads` 0: none, jobs are run by workers_run_one(). The threads have all signals blocked. NULL: no memory, or a
 * thread could not be made (logged). */
struct workers *workers_new(size_t threads, size_t queue_max);

/* How many cores this process may use (sched_getaffinity(2)). */
size_t workers_available_cores(void);

/* Half of them, at least 1. */
size_t workers_default_threads(void);

/* Take `job`; false: `queue_max` jobs wait (those being run do not count), or workers_stop() was called; the job stays the caller's. */
bool workers_submit(struct workers *workers, struct worker_job *job);

/* Run the oldest job here and now; false: there was none. */
bool workers_run_one(struct workers *workers);

/* Finish the jobs that have begun, join the threads, and call `done` of the others without `run`: who waited for them is
 * gone, and a stop must not take as long as the queue. Nothing is taken any more. */
void workers_stop(struct workers *workers);

/* After workers_stop(). */
void workers_free(struct workers *workers);

#endif
