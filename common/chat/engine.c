/* engine.c - the sequencer: the queue, batches, commit and rollback. What requests do stands in engine_....c. */
#include "chat/engine.h"

#include <assert.h>
#include <stdlib.h>

#include "base/log.h"
#include "chat/engine_internal.h"
#include "chat/engine_passwords.h"

/* Members that forget a dismissed group (model_sweep()): a few a request, which keeps up with any traffic because each
 * of them once took a request to join; and more when there is nothing else to do. */
enum { SWEEP_PER_REQUEST = 2, SWEEP_WHEN_IDLE = 1024 };

struct engine *engine_new(const struct engine_config *config)
{
    struct engine *engine = calloc(1, sizeof *engine);

    if (engine == NULL) {
        log_error("no memory for the engine");
        return NULL;
    }
    engine->config = *config;
    pthread_mutex_init(&engine->mutex, NULL);
    links_init(&engine->jobs);
    effects_batch_init(&engine->effects);
    engine->purge_due = true; /* a process that was killed may have left rows */
    if (!lockout_init(&engine->lockout, config->options->lockout_window_ms, LOCKOUT_ENTRIES_MAX) ||
        !model_init(&engine->model)) {
        log_error("no memory for the engine");
        engine_free(engine);
        return NULL;
    }
    if (!model_load(&engine->model, config->store)) {
        engine_free(engine);
        return NULL;
    }
    return engine;
}

static void free_batches(struct engine_batch *batch)
{
    while (batch != NULL) {
        struct engine_batch *next = batch->next;

        engine_batch_free(batch);
        batch = next;
    }
}

void engine_free(struct engine *engine)
{
    passwords_free(engine);
    free_batches(engine->work.batch);
    free_batches(engine->queued);
    lockout_fini(&engine->lockout);
    model_fini(&engine->model);
    journal_fini(&engine->journal);
    buffer_fini(&engine->payload);
    buffer_fini(&engine->page);
    pthread_mutex_destroy(&engine->mutex);
    free(engine);
}

struct counters *engine_counters(struct engine *engine)
{
    return &engine->counters;
}

void engine_drain(struct engine *engine)
{
    atomic_store(&engine->draining, true);
}

/* ---- batches of requests ---- */

struct engine_batch *engine_batch_new(void)
{
    struct engine_batch *batch = malloc(BATCH_FIRST_BYTES);

    if (batch == NULL)
        return NULL;
    *batch = (struct engine_batch){0};
    arena_init_with(&batch->arena, batch->first_bytes, BATCH_FIRST_BYTES - sizeof *batch);
    return batch;
}

void engine_batch_free(struct engine_batch *batch)
{
    for (struct engine_request *request = batch->first; request != NULL; request = request->next)
        passwords_wipe(request);
    arena_fini(&batch->arena);
    free(batch);
}

struct engine_request *engine_batch_add(struct engine_batch *batch, enum request_kind kind, size_t value_count)
{
    size_t size = sizeof(struct engine_request) + value_count * sizeof(struct value);
    struct engine_request *request = arena_alloc(&batch->arena, size);

    if (request == NULL)
        return NULL;
    memset(request, 0, size);
    request->kind = kind;
    if (batch->first == NULL)
        batch->first = request;
    else
        batch->last->next = request;
    batch->last = request;
    batch->count++;
    return request;
}

/* ---- the queue ---- */

bool engine_submit(struct engine *engine, struct engine_batch *batch)
{
    bool was_empty;

    if (batch->count == 0) {
        engine_batch_free(batch);
        return false;
    }
    batch->next = NULL;
    pthread_mutex_lock(&engine->mutex);
    was_empty = engine->queued == NULL && engine->results == NULL;
    if (engine->queued == NULL)
        engine->queued = batch;
    else
        engine->queued_last->next = batch;
    engine->queued_last = batch;
    atomic_fetch_add(&engine->pending, 1);
    atomic_fetch_add(&engine->queued_bytes, batch->arena.used_bytes);
    COUNTER_ADD(&engine->counters, store_queue, batch->count);
    pthread_mutex_unlock(&engine->mutex);
    return was_empty;
}

void engine_queue_result(struct engine *engine, struct password_job *job)
{
    pthread_mutex_lock(&engine->mutex);
    job->next = NULL;
    if (engine->results == NULL)
        engine->results = job;
    else
        engine->results_last->next = job;
    engine->results_last = job;
    atomic_fetch_add(&engine->pending, 1);
    pthread_mutex_unlock(&engine->mutex);
}

bool engine_accepting(const struct engine *engine)
{
    return atomic_load_explicit(&engine->queued_bytes, memory_order_relaxed) < ENGINE_QUEUE_MAX_BYTES;
}

bool engine_pending(const struct engine *engine)
{
    return atomic_load(&engine->pending) > 0;
}

/* ---- work: a place in what was taken from the queue ---- */

static bool work_is_done(const struct engine_work *work)
{
    return work->job == NULL && work->batch == NULL;
}

static void work_take(struct engine *engine)
{
    pthread_mutex_lock(&engine->mutex);
    engine->work.job = engine->results;
    engine->work.batch = engine->queued;
    engine->work.request = engine->queued != NULL ? engine->queued->first : NULL;
    engine->results = engine->results_last = NULL;
    engine->queued = engine->queued_last = NULL;
    pthread_mutex_unlock(&engine->mutex);
}

/* No batch is empty (engine_submit()), so `request` is NULL only with `batch`. */
static void work_advance(struct engine_work *work)
{
    if (work->job != NULL) {
        work->job = work->job->next;
        return;
    }
    assert(work->request != NULL);
    work->request = work->request->next;
    if (work->request != NULL)
        return;
    work->batch = work->batch->next;
    work->request = work->batch != NULL ? work->batch->first : NULL;
}

/* ---- one transaction ---- */

bool engine_begin(struct engine *engine)
{
    struct store *store = engine->config.store;

    if (!engine->in_transaction)
        engine->in_transaction = store->operations->begin(store);
    return engine->in_transaction;
}

static bool apply_one(struct engine *engine, const struct engine_work *work, bool refuse)
{
    if (!journal_reserve(&engine->journal, ENGINE_STEP_ENTRIES))
        return false;
    if (work->job != NULL)
        return refuse ? password_refuse(engine, work->job) : password_apply(engine, work->job);
    return refuse ? engine_refuse(engine, work->request) : engine_apply(engine, work->request);
}

/* Apply up to `*count` pieces of work, advancing `work`; `*count` becomes how many were touched, the one that failed
 * included. False: one failed. */
static bool apply_some(struct engine *engine, struct engine_work *work, size_t *count, bool refuse)
{
    size_t limit = *count;
    bool done = true;

    engine->messages = 0;
    engine->unix_ms = engine->config.clock->unix_ms(engine->config.clock->arg);
    engine->monotonic_ms = engine->config.clock->monotonic_ms(engine->config.clock->arg);
    for (*count = 0; done && *count < limit && !work_is_done(work); ++*count) {
        if (!refuse && engine->effects.bytes >= ENGINE_BATCH_MAX_EFFECT_BYTES)
            break;
        done = apply_one(engine, work, refuse) && !engine->effects.failed;
        work_advance(work);
    }
    return done;
}

static bool commit(struct engine *engine)
{
    struct store *store = engine->config.store;

    if (!engine->in_transaction)
        return true;
    if (!store->operations->commit(store))
        return false;
    engine->in_transaction = false;
    engine->purge_due |= engine->purge_failed;
    engine->purge_failed = false;
    COUNTER_ADD(&engine->counters, store_commits_total, 1);
    return true;
}

/* As if nothing of the batch had been. */
static void take_back(struct engine *engine)
{
    struct store *store = engine->config.store;

    if (engine->in_transaction)
        store->operations->rollback(store);
    engine->in_transaction = false;
    journal_rollback(&engine->journal);
    passwords_discard(engine);
    effects_batch_discard(&engine->effects);
}

/* Before the replies are posted: who has one may ask for the counters at once, and is not waiting any more. */
static void uncount_waiting(struct engine *engine, const struct engine_work *end)
{
    for (const struct engine_batch *batch = engine->work.batch; batch != end->batch; batch = batch->next)
        COUNTER_SUBTRACT(&engine->counters, store_queue, batch->count);
}

/* What was applied, from engine->work up to `end`, is through. */
static void release_work(struct engine *engine, struct engine_work end)
{
    size_t released = 0;

    while (engine->work.job != end.job) {
        struct password_job *job = engine->work.job;

        engine->work.job = job->next;
        password_release(engine, job);
        released++;
    }
    while (engine->work.batch != end.batch) {
        struct engine_batch *batch = engine->work.batch;

        engine->work.batch = batch->next;
        atomic_fetch_sub(&engine->queued_bytes, batch->arena.used_bytes);
        engine_batch_free(batch);
        released++;
    }
    engine->work = end;
    atomic_fetch_sub(&engine->pending, released);
}

/* Apply a batch, or refuse it where the store fails. False: there is not even memory for that; the work stays. */
static bool run_batch(struct engine *engine)
{
    struct engine_work work = engine->work;
    size_t count = ENGINE_BATCH_MAX_REQUESTS;

    if (!apply_some(engine, &work, &count, false) || !commit(engine)) {
        take_back(engine);
        work = engine->work;
        if (!apply_some(engine, &work, &count, true)) {
            take_back(engine);
            return false;
        }
    }
    journal_commit(&engine->journal);
    COUNTER_ADD(&engine->counters, messages_total, engine->messages);
    uncount_waiting(engine, &work);
    inboxes_post(engine->config.inboxes, &engine->effects);
    release_work(engine, work);
    passwords_start(engine);
    model_sweep(&engine->model, SWEEP_PER_REQUEST * count);
    return true;
}

/* Something for idle times. Returns whether there is more. */
static bool clean_up(struct engine *engine)
{
    bool more = model_sweep(&engine->model, SWEEP_WHEN_IDLE);

    if (engine->purge_due && !STORE_READ(engine, purge, &engine->purge_due)) {
        engine->purge_due = false;
        engine->purge_failed = true;
    }
    return more || engine->purge_due;
}

bool engine_stuck(const struct engine *engine)
{
    return engine->stuck;
}

bool engine_run(struct engine *engine)
{
    engine->stuck = false;
    if (work_is_done(&engine->work))
        work_take(engine);
    if (work_is_done(&engine->work))
        return clean_up(engine) || engine_pending(engine);
    while (!work_is_done(&engine->work)) {
        engine->stuck = inboxes_full(engine->config.inboxes) || !run_batch(engine);
        if (engine->stuck)
            return false;
    }
    return engine_pending(engine) || engine->purge_due || !links_empty(&engine->model.dismissed);
}
