/* chat.c - the driver of engine, store and workers. See chat.h.
 *
 * Invariants. I1  engine_run() is called by one thread at a time: by the engine's thread, or under `run_mutex`.
 *             I2  whatever is queued is run: who queues signals the thread after queueing, runs it himself, or wakes a hub that will.
 */
#include "chat/chat.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/password.h"
#include "wire/json_writer.h"

enum { ENGINE_WAIT_MS = 5 }; /* how soon the engine's thread looks again whether what it is stuck in is over */

struct chat {
    const struct options *options;
    struct store *store;
    struct workers *workers;
    struct engine *engine;
    struct inboxes inboxes;
    struct counters *counters[HUBS_MAX];
    uint64_t started_ms;

    bool threaded; /* the store blocks: the engine has a thread of its own */
    pthread_t thread;
    bool thread_started;
    pthread_mutex_t run_mutex; /* not threaded: I1; threaded: guards `stop` and the condition */
    pthread_cond_t queued;
    bool stop;

    atomic_size_t open;
    atomic_size_t refused;
    atomic_uint quiet_hubs;
};

/* Returns whether the engine had to leave work. */
static bool run_here(struct chat *chat)
{
    bool stuck;

    pthread_mutex_lock(&chat->run_mutex);
    while (engine_run(chat->engine))
        ;
    stuck = engine_stuck(chat->engine);
    pthread_mutex_unlock(&chat->run_mutex);
    return stuck;
}

static void signal_thread(struct chat *chat)
{
    pthread_mutex_lock(&chat->run_mutex);
    pthread_cond_signal(&chat->queued);
    pthread_mutex_unlock(&chat->run_mutex);
}

/* It has to run the engine, in hub_turn(). */
static void wake_hub(struct chat *chat, unsigned hub)
{
    struct inbox *inbox = chat->inboxes.inboxes[hub];

    inbox->wake(inbox->wake_arg);
}

/* A worker has queued a result (I2). It does not run the engine itself: it is nice(2), and a hub that waits for the mutex
 * would wait for whoever the system prefers to the worker. A hub that has ended leaves the result to chat_stop(). */
static void result_queued(void *arg, unsigned hub)
{
    struct chat *chat = arg;

    if (chat->threaded)
        signal_thread(chat);
    else
        wake_hub(chat, hub);
}

void chat_submit(struct chat *chat, struct engine_batch *batch)
{
    bool was_empty = engine_submit(chat->engine, batch);

    if (chat->threaded && was_empty) /* the thread sleeps on an empty queue only */
        signal_thread(chat);
    if (!chat->threaded && run_here(chat))
        wake_hub(chat, 0); /* any: one has to look again */
}

bool chat_go_on(struct chat *chat)
{
    bool stuck;

    /* The engine's thread looks for itself, every ENGINE_WAIT_MS. */
    if (chat->threaded || !engine_pending(chat->engine))
        return false;
    /* Somebody runs it, and may be about to find that it is stuck. */
    if (pthread_mutex_trylock(&chat->run_mutex) != 0)
        return true;
    while (engine_run(chat->engine))
        ;
    stuck = engine_stuck(chat->engine);
    pthread_mutex_unlock(&chat->run_mutex);
    return stuck;
}

/* With the mutex. Until something is queued, or the thread has to stop. */
static void wait_for_requests(struct chat *chat)
{
    while (!engine_pending(chat->engine) && !chat->stop)
        pthread_cond_wait(&chat->queued, &chat->run_mutex);
}

/* With the mutex. The engine waits for a hub to empty its inbox, or for memory, which no condition tells. */
static void wait_a_while(struct chat *chat)
{
    struct timespec until;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += ENGINE_WAIT_MS * 1000000L;
    if (until.tv_nsec >= 1000000000L) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000L;
    }
    pthread_cond_timedwait(&chat->queued, &chat->run_mutex, &until);
}

static bool has_to_stop(struct chat *chat)
{
    bool stop;

    pthread_mutex_lock(&chat->run_mutex);
    stop = chat->stop;
    pthread_mutex_unlock(&chat->run_mutex);
    return stop;
}

static void *engine_thread(void *arg)
{
    struct chat *chat = arg;
    bool stop;

    do {
        pthread_mutex_lock(&chat->run_mutex);
        if (engine_stuck(chat->engine))
            wait_a_while(chat);
        else
            wait_for_requests(chat);
        stop = chat->stop;
        pthread_mutex_unlock(&chat->run_mutex);
        /* What is left without requests is the rows of dismissed groups. A stop has no time for that (L-7): the next start
         * sees to them. */
        while (engine_run(chat->engine) && (engine_pending(chat->engine) || !has_to_stop(chat)))
            ;
    } while (!stop);
    return NULL;
}

static bool start_engine_thread(struct chat *chat)
{
    int error = pthread_create(&chat->thread, NULL, engine_thread, chat);

    if (error != 0) {
        log_error("cannot start the engine's thread: %s", strerror(error));
        return false;
    }
    chat->thread_started = true;
    pthread_setname_np(chat->thread, "engine");
    return true;
}

/* Signals are for the thread that waits for them; none of ours may take one (pthread_sigmask(3)). */
bool chat_start(struct chat *chat)
{
    sigset_t all, before;
    bool started;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    started = !chat->threaded || start_engine_thread(chat);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return started;
}

void chat_stop(struct chat *chat)
{
    /* Passwords first: their results are requests to the engine. */
    workers_stop(chat->workers);
    if (!chat->threaded)
        (void)run_here(chat);
    if (chat->thread_started) {
        pthread_mutex_lock(&chat->run_mutex);
        chat->stop = true;
        pthread_cond_signal(&chat->queued);
        pthread_mutex_unlock(&chat->run_mutex);
        pthread_join(chat->thread, NULL);
        chat->thread_started = false;
    }
}

static struct store *open_store(const struct options *options)
{
    if (options->store == OPTION_STORE_MEMORY)
        return store_memory_new();
    return store_sqlite_open(options->data, options->durability);
}

static void init_locks(struct chat *chat)
{
    pthread_condattr_t attributes;

    pthread_mutex_init(&chat->run_mutex, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&chat->queued, &attributes);
    pthread_condattr_destroy(&attributes);
    inboxes_init(&chat->inboxes);
}

static bool make_parts(struct chat *chat, size_t worker_threads)
{
    struct engine_config config = {.options = chat->options,
                                   .inboxes = &chat->inboxes,
                                   .clock = &clock_system,
                                   .kick = result_queued,
                                   .kick_arg = chat};

    if (!password_init())
        return false;
    config.store = chat->store = open_store(chat->options);
    if (chat->store == NULL)
        return false;
    config.workers = chat->workers = workers_new(worker_threads, WORKER_QUEUE_MAX);
    if (chat->workers == NULL)
        return false;
    chat->engine = engine_new(&config);
    return chat->engine != NULL;
}

struct chat *chat_new(const struct options *options)
{
    return chat_new_with(options, workers_default_threads());
}

struct chat *chat_new_with(const struct options *options, size_t worker_threads)
{
    struct chat *chat = calloc(1, sizeof *chat);

    if (chat == NULL) {
        log_error("no memory");
        return NULL;
    }
    chat->options = options;
    chat->threaded = options->store == OPTION_STORE_SQLITE && worker_threads > 0;
    chat->started_ms = clock_monotonic_ms();
    init_locks(chat);
    if (!make_parts(chat, worker_threads)) {
        chat_free(chat);
        return NULL;
    }
    return chat;
}

void chat_free(struct chat *chat)
{
    if (chat->workers != NULL) {
        workers_stop(chat->workers);
        workers_free(chat->workers);
    }
    if (chat->engine != NULL)
        engine_free(chat->engine);
    if (chat->store != NULL)
        chat->store->operations->free(chat->store);
    inboxes_fini(&chat->inboxes);
    pthread_cond_destroy(&chat->queued);
    pthread_mutex_destroy(&chat->run_mutex);
    free(chat);
}

bool chat_run_worker(struct chat *chat)
{
    return workers_run_one(chat->workers);
}

const struct options *chat_options(const struct chat *chat)
{
    return chat->options;
}

struct engine *chat_engine(struct chat *chat)
{
    return chat->engine;
}

unsigned chat_add_hub(struct chat *chat, struct inbox *inbox, struct counters *counters, void (*wake)(void *arg),
                      void *wake_arg)
{
    unsigned number = inboxes_add(&chat->inboxes, inbox, wake, wake_arg);

    chat->counters[number] = counters;
    return number;
}

/* Count one more, unless there are `limit`. */
static bool admit(atomic_size_t *count, size_t limit)
{
    size_t now = atomic_load_explicit(count, memory_order_relaxed);

    do {
        if (now >= limit)
            return false;
    } while (!atomic_compare_exchange_weak_explicit(count, &now, now + 1, memory_order_relaxed, memory_order_relaxed));
    return true;
}

bool chat_admit(struct chat *chat)
{
    return admit(&chat->open, chat->options->max_connections);
}

void chat_leave(struct chat *chat)
{
    atomic_fetch_sub_explicit(&chat->open, 1, memory_order_relaxed);
}

bool chat_admit_refused(struct chat *chat)
{
    return admit(&chat->refused, REFUSED_CONNECTIONS_MAX);
}

void chat_leave_refused(struct chat *chat)
{
    atomic_fetch_sub_explicit(&chat->refused, 1, memory_order_relaxed);
}

void chat_hub_quiet(struct chat *chat)
{
    unsigned count = chat->inboxes.count;

    if (atomic_fetch_add_explicit(&chat->quiet_hubs, 1, memory_order_acq_rel) + 1 < count)
        return;
    for (unsigned hub = 0; hub < count; hub++)
        chat->inboxes.inboxes[hub]->wake(chat->inboxes.inboxes[hub]->wake_arg);
}

bool chat_all_quiet(const struct chat *chat)
{
    return atomic_load_explicit(&chat->quiet_hubs, memory_order_acquire) >= chat->inboxes.count;
}

void chat_stats(struct chat *chat, struct buffer *out)
{
    struct counters sum = {0};

    counters_add(&sum, engine_counters(chat->engine));
    for (unsigned hub = 0; hub < chat->inboxes.count; hub++)
        counters_add(&sum, chat->counters[hub]);
    json_open_object(out);
    json_key_string(out, SLICE_LITERAL("result"), SLICE_LITERAL("success"));
    json_key_string(out, SLICE_LITERAL("stage"), slice_of(chat->options->stage));
    json_key_integer(out, SLICE_LITERAL("uptime_ms"), (int64_t)(clock_monotonic_ms() - chat->started_ms));
#define CHAT_STATS_COUNTER(name) json_key_integer(out, SLICE_LITERAL(#name), (int64_t)COUNTER_READ(&sum, name));
    COUNTERS_EACH(CHAT_STATS_COUNTER)
#undef CHAT_STATS_COUNTER
    json_close_object(out);
}
