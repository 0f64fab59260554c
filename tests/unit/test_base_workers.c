/* test_base_workers.c - the pool: every job done once, in order, within the bound, by threads that disturb nobody. */
#include "support.h"

#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "base/workers.h"

struct job {
    struct worker_job base; /* first: a pointer to it is one to the job */
    atomic_int runs, dones;
    int number;
};

static int order[8];
static atomic_int order_count;
static sem_t gate;    /* what a job of block() waits for */
static sem_t started; /* what it tells */
static atomic_int done_count;

static void count_run(struct worker_job *base)
{
    struct job *job = (struct job *)base;

    assert_int_equal(job->dones, job->runs);
    atomic_fetch_add(&job->runs, 1);
}

static void count_done(struct worker_job *base)
{
    struct job *job = (struct job *)base;

    atomic_fetch_add(&job->dones, 1);
    atomic_fetch_add(&done_count, 1);
}

static void note_order(struct worker_job *base)
{
    order[atomic_fetch_add(&order_count, 1)] = ((struct job *)base)->number;
}

static void block(struct worker_job *base)
{
    count_run(base);
    sem_post(&started);
    sem_wait(&gate);
}

static struct job *make_jobs(size_t count, void (*run)(struct worker_job *job))
{
    struct job *jobs = calloc(count, sizeof *jobs);

    assert_non_null(jobs);
    for (size_t i = 0; i < count; i++) {
        jobs[i].base = (struct worker_job){.run = run, .done = count_done};
        jobs[i].number = (int)i;
    }
    return jobs;
}

static void without_threads_the_caller_runs_them_in_order(void **state)
{
    struct workers *workers = workers_new(0, 3);
    struct job *jobs = make_jobs(4, note_order);

    (void)state;
    order_count = 0;
    assert_non_null(workers);
    assert_false(workers_run_one(workers));
    for (int i = 0; i < 3; i++)
        assert_true(workers_submit(workers, &jobs[i].base));
    assert_false(workers_submit(workers, &jobs[3].base)); /* the bound */
    assert_int_equal(order_count, 0);
    assert_true(workers_run_one(workers));
    assert_int_equal(jobs[0].dones, 1);
    assert_true(workers_submit(workers, &jobs[3].base)); /* room again */
    while (workers_run_one(workers))
        continue;
    assert_int_equal(order_count, 4);
    for (int i = 0; i < 4; i++)
        assert_int_equal(order[i], i);
    workers_stop(workers);
    workers_free(workers);
    free(jobs);
}

static void stop_gives_back_what_has_not_begun(void **state)
{
    struct workers *workers = workers_new(0, 8);
    struct job *jobs = make_jobs(3, count_run);

    (void)state;
    assert_true(workers_submit(workers, &jobs[0].base));
    assert_true(workers_submit(workers, &jobs[1].base));
    workers_stop(workers);
    assert_int_equal(jobs[0].runs, 0);
    assert_int_equal(jobs[0].dones, 1);
    assert_int_equal(jobs[1].dones, 1);
    assert_false(workers_submit(workers, &jobs[2].base)); /* stays the caller's */
    assert_int_equal(jobs[2].dones, 0);
    workers_free(workers);
    free(jobs);
}

/* The one that runs does not count; those that wait do. Stopping while one runs waits for it alone. */
static void a_busy_worker_leaves_the_queue_bounded(void **state)
{
    struct workers *workers = workers_new(1, 2);
    struct job *blocked = make_jobs(1, block), *jobs = make_jobs(3, count_run);

    (void)state;
    assert_true(workers_submit(workers, &blocked->base));
    sem_wait(&started);
    assert_true(workers_submit(workers, &jobs[0].base));
    assert_true(workers_submit(workers, &jobs[1].base));
    assert_false(workers_submit(workers, &jobs[2].base));
    assert_int_equal(jobs[0].runs, 0);
    sem_post(&gate);
    workers_stop(workers);
    assert_int_equal(blocked->dones, 1);
    assert_int_equal(jobs[0].dones, 1);
    assert_int_equal(jobs[1].dones, 1);
    assert_int_equal(jobs[2].dones, 0);
    workers_free(workers);
    free(blocked);
    free(jobs);
}

#define SUBMITTERS 3
#define JOBS_EACH 500

struct submitter {
    pthread_t thread;
    struct workers *workers;
    struct job *jobs;
    size_t refused;
};

static void *submit_all(void *arg)
{
    struct submitter *submitter = arg;

    for (size_t i = 0; i < JOBS_EACH; i++)
        while (!workers_submit(submitter->workers, &submitter->jobs[i].base)) {
            submitter->refused++;
            sched_yield();
        }
    return NULL;
}

static void every_job_is_done_once(void **state)
{
    struct workers *workers = workers_new(4, 16);
    struct submitter submitters[SUBMITTERS] = {0};

    (void)state;
    atomic_store(&done_count, 0);
    for (size_t i = 0; i < SUBMITTERS; i++) {
        submitters[i].workers = workers;
        submitters[i].jobs = make_jobs(JOBS_EACH, count_run);
        assert_int_equal(pthread_create(&submitters[i].thread, NULL, submit_all, &submitters[i]), 0);
    }
    for (size_t i = 0; i < SUBMITTERS; i++)
        pthread_join(submitters[i].thread, NULL);
    while (atomic_load(&done_count) < SUBMITTERS * JOBS_EACH)
        sched_yield();
    workers_stop(workers);
    for (size_t i = 0; i < SUBMITTERS; i++) {
        for (size_t k = 0; k < JOBS_EACH; k++) {
            assert_int_equal(submitters[i].jobs[k].runs, 1);
            assert_int_equal(submitters[i].jobs[k].dones, 1);
        }
        free(submitters[i].jobs);
    }
    workers_free(workers);
}

struct surroundings {
    sigset_t blocked;
    int nice;
    char name[16];
};

static struct surroundings seen;

static void look_around(struct worker_job *base)
{
    (void)base;
    pthread_sigmask(SIG_SETMASK, NULL, &seen.blocked);
    seen.nice = getpriority(PRIO_PROCESS, 0);
    pthread_getname_np(pthread_self(), seen.name, sizeof seen.name);
    sem_post(&started);
}

static void workers_take_no_signals_and_little_time(void **state)
{
    int own_nice = getpriority(PRIO_PROCESS, 0);
    struct workers *workers = workers_new(1, 1);
    struct job *job = make_jobs(1, look_around);
    sigset_t own;

    (void)state;
    pthread_sigmask(SIG_SETMASK, NULL, &own);
    assert_false(sigismember(&own, SIGTERM)); /* the maker's mask is as it was */
    assert_true(workers_submit(workers, &job->base));
    sem_wait(&started);
    workers_stop(workers);
    assert_true(sigismember(&seen.blocked, SIGTERM));
    assert_true(sigismember(&seen.blocked, SIGINT));
    assert_true(sigismember(&seen.blocked, SIGUSR1));
    assert_int_equal(seen.nice, own_nice + 10 < 19 ? own_nice + 10 : 19);
    assert_int_equal(getpriority(PRIO_PROCESS, 0), own_nice);
    assert_string_equal(seen.name, "worker");
    workers_free(workers);
    free(job);
}

static void half_of_the_cores(void **state)
{
    (void)state;
    assert_true(workers_available_cores() >= 1);
    assert_true(workers_default_threads() >= 1);
    assert_true(workers_default_threads() == 1 || workers_default_threads() == workers_available_cores() / 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_threads_the_caller_runs_them_in_order),
        cmocka_unit_test(stop_gives_back_what_has_not_begun),
        cmocka_unit_test(a_busy_worker_leaves_the_queue_bounded),
        cmocka_unit_test(every_job_is_done_once),
        cmocka_unit_test(workers_take_no_signals_and_little_time),
        cmocka_unit_test(half_of_the_cores),
    };

    sem_init(&gate, 0, 0);
    sem_init(&started, 0, 0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
