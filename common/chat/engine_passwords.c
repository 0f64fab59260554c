/* engine_passwords.c - see engine_passwords.h. */
#include "chat/engine_passwords.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#include "chat/engine_internal.h"

#define REFUSE_USER_EXISTS REFUSAL_FAILURE("user_exists", "This name is taken.")
#define REFUSE_PASSWORD REFUSAL("passwd_error", "The password is wrong.")
#define REFUSE_ATTEMPTS \
    REFUSAL("too_many_attempts", "There were too many wrong passwords from your address. Please try again later.")
#define TEXT_OF(number) TEXT_OF_EXPANDED(number)
#define TEXT_OF_EXPANDED(number) #number
#define REFUSE_BUSY                                                     \
    SLICE_LITERAL("{\"result\":\"rate_limited\",\"retry_ms\":" TEXT_OF( \
        WORKER_RETRY_MS) ",\"message\":\"The server is busy with other passwords. Please try again shortly.\"}")

/* ---- jobs ---- */

static size_t strings_bytes(const struct engine_request *request)
{
    size_t bytes = 0;

    for (size_t i = 0; i < request->command->field_count; i++)
        bytes += request->values[i].string.length;
    return bytes;
}

static void copy_request(struct engine_request *copy, const struct engine_request *request)
{
    size_t count = request->command->field_count;
    char *strings = (char *)&copy->values[count];

    memcpy(copy, request, sizeof *request + count * sizeof request->values[0]);
    for (size_t i = 0; i < count; i++) {
        struct slice *string = &copy->values[i].string;

        if (string->length == 0)
            continue;
        memcpy(strings, string->bytes, string->length);
        string->bytes = strings;
        strings += string->length;
    }
}

static void job_run(struct worker_job *worker);
static void job_done(struct worker_job *worker);

/* A fresh job (I2). NULL: no memory. */
static struct password_job *job_new(struct engine *engine, const struct engine_request *request, uint32_t user)
{
    size_t copy_bytes = request->command->field_count * sizeof request->values[0] + strings_bytes(request);
    struct password_job *job = calloc(1, sizeof *job + copy_bytes);

    if (job == NULL)
        return NULL;
    job->worker.run = job_run;
    job->worker.done = job_done;
    job->engine = engine;
    job->user = user;
    job->copy_bytes = copy_bytes;
    copy_request(&job->request, request);
    job->request.address = NULL;
    link_insert_after(&job->all, engine->jobs.previous);
    return job;
}

static void job_free(struct password_job *job)
{
    link_remove(&job->all);
    sodium_memzero(job, sizeof *job + job->copy_bytes);
    free(job);
}

static void make_fresh(struct engine *engine, struct password_job *job)
{
    job->fresh = true;
    job->next = engine->fresh;
    engine->fresh = job;
}

/* ---- on a worker. The passwords stand where their commands have them ---- */

static enum password_outcome hash_into(struct password_job *job, struct slice password)
{
    enum option_password_cost cost = job->engine->config.options->password_cost;

    return password_hash(job->new_hash, password, cost) ? OUTCOME_RIGHT : OUTCOME_NO_MEMORY;
}

static enum password_outcome verify(const struct password_job *job, struct slice password)
{
    switch (password_verify(job->known_hash, password)) {
    case PASSWORD_RIGHT:
        return OUTCOME_RIGHT;
    case PASSWORD_WRONG:
        return OUTCOME_WRONG;
    case PASSWORD_NO_MEMORY:
        break;
    }
    return OUTCOME_NO_MEMORY;
}

static void job_run(struct worker_job *worker)
{
    struct password_job *job = (struct password_job *)worker;
    const struct value *values = job->request.values;

    switch (job->request.cmd) {
    case CMD_REGISTER:
        job->outcome = hash_into(job, values[REGISTER_PASSWD].string);
        break;
    case CMD_LOGIN:
        job->outcome = verify(job, values[LOGIN_PASSWD].string);
        break;
    default:
        job->outcome = verify(job, values[PASSWD_OLD].string);
        if (job->outcome == OUTCOME_RIGHT)
            job->outcome = hash_into(job, values[PASSWD_NEW].string);
        break;
    }
}

static void job_done(struct worker_job *worker)
{
    struct password_job *job = (struct password_job *)worker;
    struct engine *engine = job->engine;
    unsigned hub = session_handle_hub(job->request.session);

    engine_queue_result(engine, job);
    /* From here on the job may be gone; the engine is not, it outlives its workers. */
    engine->config.kick(engine->config.kick_arg, hub);
}

/* ---- starting ---- */

static void job_start(struct engine *engine, struct password_job *job)
{
    const struct user *user = model_user(&engine->model, job->user);

    if (job->attempt.verdict == LOCKOUT_REFUSED) {
        job->outcome = OUTCOME_REFUSED;
        engine_queue_result(engine, job);
        return;
    }
    if (user != NULL)
        snprintf(job->known_hash, sizeof job->known_hash, "%s", user->password_hash);
    job->outcome = OUTCOME_POOL_FULL; /* unless job_run() says otherwise: a stop gives it back as it is */
    if (!workers_submit(engine->config.workers, &job->worker))
        engine_queue_result(engine, job);
}

/* In the order in which they were made: `fresh` has the last one first. */
static struct password_job *take_fresh(struct engine *engine)
{
    struct password_job *first = NULL, *job;

    while ((job = engine->fresh) != NULL) {
        engine->fresh = job->next;
        job->next = first;
        first = job;
    }
    return first;
}

void passwords_start(struct engine *engine)
{
    struct password_job *job = engine->released, *next;

    engine->released = engine->released_last = NULL;
    for (; job != NULL; job = next) {
        next = job->next;
        job_start(engine, job);
    }
    for (job = take_fresh(engine); job != NULL; job = next) {
        next = job->next;
        job->fresh = false;
        if (job->attempt.verdict != LOCKOUT_WAIT)
            job_start(engine, job);
    }
}

/* Attempts that waited and have a verdict now. Fresh ones are started, or given up, with their batch. */
static void take_released(struct engine *engine, struct lockout_attempt *attempt)
{
    for (; attempt != NULL; attempt = attempt->next) {
        struct password_job *job = LINK_OWNER(attempt, struct password_job, attempt);

        if (job->fresh)
            continue;
        job->next = NULL;
        if (engine->released == NULL)
            engine->released = job;
        else
            engine->released_last->next = job;
        engine->released_last = job;
    }
}

/* The attempt is over, if it is not yet (I3). */
static void settle(struct engine *engine, struct password_job *job, enum lockout_result result)
{
    if (job->attempt.entry == NULL)
        return;
    if (job->attempt.verdict == LOCKOUT_WAIT)
        lockout_abandon(&engine->lockout, &job->attempt);
    else
        take_released(engine, lockout_settle(&engine->lockout, &job->attempt, result, engine->monotonic_ms));
}

void passwords_discard(struct engine *engine)
{
    struct password_job *job = take_fresh(engine), *next;

    for (; job != NULL; job = next) {
        next = job->next;
        settle(engine, job, LOCKOUT_UNKNOWN);
        job_free(job);
    }
}

/* ---- what can be said without the password ---- */

bool apply_register(struct engine *engine, const struct engine_request *request, struct user *asker)
{
    struct password_job *job;

    (void)asker;
    if (model_user_named(&engine->model, request->values[REGISTER_USER].string) != NULL)
        return reply(engine, request, REFUSE_USER_EXISTS);
    job = job_new(engine, request, 0);
    if (job == NULL)
        return false;
    make_fresh(engine, job);
    return true;
}

static bool attempt(struct engine *engine, const struct engine_request *request, const struct user *user)
{
    struct password_job *job = job_new(engine, request, user->number);
    enum lockout_verdict verdict;

    if (job == NULL)
        return false;
    verdict = lockout_begin(&engine->lockout, &job->attempt, user->number, request->address, engine->monotonic_ms);
    if (verdict == LOCKOUT_CHECK || verdict == LOCKOUT_WAIT) {
        make_fresh(engine, job);
        return true;
    }
    job_free(job);
    return verdict == LOCKOUT_REFUSED && reply(engine, request, REFUSE_ATTEMPTS);
}

bool apply_login(struct engine *engine, const struct engine_request *request, struct user *asker)
{
    struct user *user = model_user_named(&engine->model, request->values[LOGIN_USER].string);

    (void)asker;
    if (user == NULL)
        return reply(engine, request, REFUSE_USER_NOT_EXIST); /* and never counted */
    return attempt(engine, request, user);
}

bool apply_passwd(struct engine *engine, const struct engine_request *request, struct user *asker)
{
    return attempt(engine, request, asker);
}

/* ---- with the password known ---- */

static bool finish_register(struct engine *engine, struct password_job *job)
{
    const struct value *values = job->request.values, *fields = &values[REGISTER_PROFILE];
    struct slice name = values[REGISTER_USER].string, hash = slice_of(job->new_hash);
    struct store_profile profile = {.name = fields[PROFILE_NAME].string,
                                    .sex = fields[PROFILE_SEX].string,
                                    .age = fields[PROFILE_AGE].integer,
                                    .address = fields[PROFILE_ADDRESS].string,
                                    .email = fields[PROFILE_EMAIL].string};
    uint32_t number = engine->model.user_count + 1;

    /* Of several at the same time one comes first. */
    if (model_user_named(&engine->model, name) != NULL)
        return reply(engine, &job->request, REFUSE_USER_EXISTS);
    if (!STORE_WRITE(engine, user_add, number, name, hash, &profile) ||
        model_add_user(&engine->model, &engine->journal, number, name, hash, &profile) == NULL)
        return false;
    return reply_success(engine, &job->request);
}

static bool finish_passwd(struct engine *engine, struct password_job *job, struct user *user)
{
    struct slice hash = slice_of(job->new_hash);

    if (!STORE_WRITE(engine, user_set_hash, user->number, hash) || !user_set_hash(user, &engine->journal, hash))
        return false;
    return reply_success(engine, &job->request);
}

static bool finish_attempt(struct engine *engine, struct password_job *job)
{
    struct user *user = model_user(&engine->model, job->user);

    if (strcmp(job->known_hash, user->password_hash) != 0) {
        job->again = true;
        return true;
    }
    settle(engine, job, job->outcome == OUTCOME_RIGHT ? LOCKOUT_RIGHT : LOCKOUT_WRONG);
    if (job->outcome == OUTCOME_WRONG)
        return reply(engine, &job->request, REFUSE_PASSWORD);
    if (job->request.cmd == CMD_LOGIN)
        return session_login(engine, &job->request, user);
    return finish_passwd(engine, job, user);
}

bool password_apply(struct engine *engine, struct password_job *job)
{
    switch (job->outcome) {
    case OUTCOME_NO_MEMORY:
    case OUTCOME_POOL_FULL:
        settle(engine, job, LOCKOUT_UNKNOWN);
        return reply(engine, &job->request, REFUSE_BUSY);
    case OUTCOME_REFUSED:
        return reply(engine, &job->request, REFUSE_ATTEMPTS);
    case OUTCOME_RIGHT:
    case OUTCOME_WRONG:
        break;
    }
    return job->request.cmd == CMD_REGISTER ? finish_register(engine, job) : finish_attempt(engine, job);
}

bool password_refuse(struct engine *engine, struct password_job *job)
{
    job->again = false;
    settle(engine, job, LOCKOUT_UNKNOWN);
    return reply(engine, &job->request, REFUSE_SERVER_ERROR);
}

void password_release(struct engine *engine, struct password_job *job)
{
    if (!job->again) {
        job_free(job);
        return;
    }
    job->again = false;
    job_start(engine, job);
}

void passwords_wipe(struct engine_request *request)
{
    if (request->kind != REQUEST_COMMAND || !request->command->barrier)
        return;
    for (size_t i = 0; i < request->command->field_count; i++)
        if (request->values[i].string.length > 0)
            sodium_memzero((char *)request->values[i].string.bytes, request->values[i].string.length);
}

void passwords_free(struct engine *engine)
{
    while (!links_empty(&engine->jobs))
        job_free(LINK_OWNER(links_take_first(&engine->jobs), struct password_job, all));
}
