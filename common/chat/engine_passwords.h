/* engine_passwords.h - register, login and passwd: to the workers and back.
 *
 * Idea.       Such a request is looked at twice. First what can be said without the password is said; the rest becomes
 *             a job, with a copy of the request, for a worker to hash or verify. Its result comes back through the
 *             queue, and everything that may have changed meanwhile is judged again: names, sessions, the password.
 *
 *      apply_login ──▶ fresh ──batch is through──▶ worker ──▶ results ──▶ password_apply ──▶ freed
 *         │        └──waits for others──▶ released ──▲     ▲             └─ password changed meanwhile: again
 *         ▼                                                └─────┴── no room in the pool, or refused by then
 *      answered
 *
 * Invariants. I1  a job holds no pointer into the model: a batch that is taken back may take the user with it.
 *             I2  a job is started only after the batch that made it is through, so no batch that is taken back has
 *                 a worker on its mind.
 *             I3  what an attempt counts for is settled once, also when the batch of its result fails.
 * Threads.    job_run() and job_done() on a worker, all else by whoever runs the engine. In between, the job belongs
 *             to the worker.
 */
#ifndef CHAT_ENGINE_PASSWORDS_H
#define CHAT_ENGINE_PASSWORDS_H

#include "base/password.h"
#include "chat/engine.h"
#include "chat/links.h"
#include "chat/lockout.h"

enum password_outcome {
    OUTCOME_RIGHT, /* verified, and hashed where that was asked; register: hashed */
    OUTCOME_WRONG,
    OUTCOME_NO_MEMORY,
    OUTCOME_POOL_FULL,
    OUTCOME_REFUSED /* waited, and then there were too many failures */
};

struct password_job {
    struct worker_job worker; /* first: a cast gives the one from the other */
    struct engine *engine;
    struct link all;
    struct password_job *next; /* in fresh, released or the results */
    struct lockout_attempt attempt;
    enum password_outcome outcome;
    bool fresh;
    bool again;    /* the password changed meanwhile: not freed, but verified against the new one */
    uint32_t user; /* whose password; 0: register */
    char known_hash[PASSWORD_HASH_BYTES];
    char new_hash[PASSWORD_HASH_BYTES];
    size_t copy_bytes;
    struct engine_request request; /* a copy; its strings follow the values */
};

/* Judge the result and answer, or mark the job `again`; or say server_error. False: the batch failed. */
bool password_apply(struct engine *engine, struct password_job *job);
bool password_refuse(struct engine *engine, struct password_job *job);

/* After its batch is through: the job is freed, or started once more. */
void password_release(struct engine *engine, struct password_job *job);

/* After each batch. It is through: start what it asked for. It was taken back: give that up. */
void passwords_start(struct engine *engine);
void passwords_discard(struct engine *engine);

/* Passwords of a request that is through do not stay in memory. */
void passwords_wipe(struct engine_request *request);

/* Free every job, wherever it is; after workers_stop(). */
void passwords_free(struct engine *engine);

#endif
