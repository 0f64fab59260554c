#include "base/workers.h"

#include <assert.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/log.h"

/* What a worker adds to its nice value: at 10, it gets about a tenth of what a loop gets that wants the same core
 * (sched(7)). */
#define WORKER_NICE 10

/* A job's memory, also that of Argon2, is on the heap; a thread's stack is 8 MiB unless said (pthread_create(3)). */
#define WORKER_STACK_BYTES (256u << 10)

struct workers {
    pthread_mutex_t lock; /* the queue, and `stopping` */
    pthread_cond_t changed;
    struct worker_job *first, **last; /* oldest first; last: where the next one is linked in */
    size_t queued;                    /* waiting, without those that are being run */
    size_t queue_max;
    bool stopping;
    size_t thread_count;
    pthread_t threads[];
};

/* The oldest job; NULL: none. Under the lock. */
static struct worker_job *take_job(struct workers *workers)
{
    struct worker_job *job = workers->first;

    if (!job)
        return NULL;
    workers->first = job->next;
    if (!workers->first)
        workers->last = &workers->first;
    workers->queued--;
    return job;
}

static void do_job(struct worker_job *job)
{
    job->run(job);
    job->done(job);
}

/* Wait for the oldest job. NULL: the stop has come. */
static struct worker_job *wait_for_job(struct workers *workers)
{
    struct worker_job *job;

    pthread_mutex_lock(&workers->lock);
    while (!workers->stopping && !workers->first)
        pthread_cond_wait(&workers->changed, &workers->lock);
    job = workers->stopping ? NULL : take_job(workers);
    pthread_mutex_unlock(&workers->lock);
    return job;
}

static void *worker_main(void *arg)
{
    struct workers *workers = arg;
    struct worker_job *job;

    /* On Linux a nice value belongs to the thread (setpriority(2)). Failing costs only fairness. */
    if (setpriority(PRIO_PROCESS, (id_t)gettid(), getpriority(PRIO_PROCESS, 0) + WORKER_NICE) < 0)
        log_warn("a worker keeps its priority: %m");
    while ((job = wait_for_job(workers)))
        do_job(job);
    return NULL;
}

static int start_thread(struct workers *workers)
{
    pthread_t *thread = &workers->threads[workers->thread_count];
    pthread_attr_t attributes;
    int failure = pthread_attr_init(&attributes);

    if (failure != 0)
        return failure;
    failure = pthread_attr_setstacksize(&attributes, WORKER_STACK_BYTES);
    if (failure == 0)
        failure = pthread_create(thread, &attributes, worker_main, workers);
    pthread_attr_destroy(&attributes);
    if (failure != 0)
        return failure;
    workers->thread_count++;
    pthread_setname_np(*thread, "worker");
    return 0;
}

/* All or none. */
static bool start_threads(struct workers *workers, size_t threads)
{
    sigset_t all, before;
    int failure = 0;

    /* A thread inherits the mask of its maker (pthread_sigmask(3)): signals are for the stage's own threads. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (failure == 0 && workers->thread_count < threads)
        failure = start_thread(workers);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failure != 0)
        log_error("cannot start a worker: %s", strerror(failure));
    return failure == 0;
}

struct workers *workers_new(size_t threads, size_t queue_max)
{
    struct workers *workers = calloc(1, sizeof *workers + threads * sizeof workers->threads[0]);

    if (!workers) {
        log_error("no memory for the workers");
        return NULL;
    }
    pthread_mutex_init(&workers->lock, NULL);
    pthread_cond_init(&workers->changed, NULL);
    workers->last = &workers->first;
    workers->queue_max = queue_max;
    if (start_threads(workers, threads))
        return workers;
    workers_stop(workers);
    workers_free(workers);
    return NULL;
}

size_t workers_available_cores(void)
{
    cpu_set_t cores;
    long count;

    /* Fails where a machine has more cores than the set has bits (sched_setaffinity(2)). */
    if (sched_getaffinity(0, sizeof cores, &cores) == 0)
        return (size_t)CPU_COUNT(&cores);
    count = sysconf(_SC_NPROCESSORS_ONLN);
    return count < 1 ? 1 : (size_t)count;
}

size_t workers_default_threads(void)
{
    size_t cores = workers_available_cores();

    return cores < 2 ? 1 : cores / 2;
}

bool workers_submit(struct workers *workers, struct worker_job *job)
{
    bool taken;

    pthread_mutex_lock(&workers->lock);
    taken = !workers->stopping && workers->queued < workers->queue_max;
    if (taken) {
        job->next = NULL;
        *workers->last = job;
        workers->last = &job->next;
        workers->queued++;
        pthread_cond_signal(&workers->changed);
    }
    pthread_mutex_unlock(&workers->lock);
    return taken;
}

bool workers_run_one(struct workers *workers)
{
    struct worker_job *job;

    pthread_mutex_lock(&workers->lock);
    job = take_job(workers);
    pthread_mutex_unlock(&workers->lock);
    if (job)
        do_job(job);
    return job != NULL;
}

void workers_stop(struct workers *workers)
{
    struct worker_job *job;

    pthread_mutex_lock(&workers->lock);
    workers->stopping = true;
    pthread_cond_broadcast(&workers->changed);
    pthread_mutex_unlock(&workers->lock);
    while (workers->thread_count > 0)
        pthread_join(workers->threads[--workers->thread_count], NULL);
    while ((job = take_job(workers))) /* I1; the queue is the caller's alone now */
        job->done(job);
}

void workers_free(struct workers *workers)
{
    assert(workers->stopping && !workers->first && workers->thread_count == 0);
    pthread_cond_destroy(&workers->changed);
    pthread_mutex_destroy(&workers->lock);
    free(workers);
}
