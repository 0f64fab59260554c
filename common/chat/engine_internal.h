/* engine_internal.h - what the engine's files share: its state, and how its handlers change things and answer.
 *
 * Idea.       A handler has one shape: judge by the rules of Q-9, in their order, and answer when one refuses; then the
 *             store, then the model, then the effects. It never undoes anything: when something fails it returns
 *             false, and the whole batch is taken back (engine.c).
 *
 *      engine.c            queue, batches, commit and rollback
 *      engine_apply.c      from a request to its handler
 *      engine_passwords.c  register, login, passwd: to the workers and back
 *      engine_sessions.c   logged in, logged out, presence
 *      engine_profiles.c   engine_friends.c   engine_groups.c   engine_messages.c   engine_reading.c
 *      engine_output.c     payloads, replies, pushes
 *
 * Invariants. I1  a handler that returns true has added exactly one EFFECT_REPLY, or handed the request to the workers.
 *             I2  memory that effects could not get is remembered by engine->effects.failed; pushes need not be asked.
 * Threads.    Whoever runs the engine, but for the fields of the queue.
 */
#ifndef CHAT_ENGINE_INTERNAL_H
#define CHAT_ENGINE_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/buffer.h"
#include "chat/engine.h"
#include "chat/lockout.h"
#include "chat/model.h"
#include "wire/json_writer.h"

/* Journal entries that one request or job can need: a few changes of the model. */
enum { ENGINE_STEP_ENTRIES = 4 * MODEL_CHANGE_ENTRIES };

struct password_job;

/* What was taken from the queue, in the order in which it is applied: jobs, then requests, batch after batch. */
struct engine_work {
    struct password_job *job;
    struct engine_batch *batch;
    struct engine_request *request; /* next one in `batch` */
};

struct engine {
    struct engine_config config;
    struct model model;
    struct lockout lockout;
    struct counters counters;
    atomic_bool draining;

    /* The queue. */
    pthread_mutex_t mutex; /* guards the four pointers; the counts are changed with it held */
    struct engine_batch *queued, *queued_last;
    struct password_job *results, *results_last;
    atomic_size_t pending; /* batches and results, queued or taken, not yet done */
    atomic_size_t queued_bytes;

    /* The batch being applied. */
    struct engine_work work;
    struct journal journal;
    struct effects_batch effects;
    struct buffer payload; /* one being written; kept for its memory */
    struct buffer page;    /* messages of a history, before they are put in order */
    bool in_transaction;
    size_t messages; /* stored in this batch */
    int64_t unix_ms; /* the clock, read once a batch */
    uint64_t monotonic_ms;

    /* Passwords (engine_passwords.c). */
    struct link jobs;                              /* every job there is */
    struct password_job *fresh;                    /* made in this batch; started after it, or given up with it */
    struct password_job *released, *released_last; /* waited for others; started after this batch */

    bool stuck;        /* engine_stuck() */
    bool purge_due;    /* the store has rows of dismissed groups */
    bool purge_failed; /* try again after the next commit */
};

/* The store. A transaction is begun by the first change of a batch; reads need none. */
bool engine_begin(struct engine *engine);

#define STORE_WRITE(engine, operation, ...) \
    (engine_begin(engine) && (engine)->config.store->operations->operation((engine)->config.store, __VA_ARGS__))
#define STORE_READ(engine, operation, ...) \
    ((engine)->config.store->operations->operation((engine)->config.store, __VA_ARGS__))

/* Payloads. One is written at a time, into engine->payload: begin, json_key_...(), end. */
#define KEY(text) SLICE_LITERAL(text)

struct buffer *payload_begin(struct engine *engine);
struct slice payload_end(struct engine *engine);

/* The one reply of a request; False: no memory. */
bool reply(struct engine *engine, const struct engine_request *request, struct slice payload);
bool reply_success(struct engine *engine, const struct engine_request *request);

/* A reply with fields: reply_begin() has written the result. */
struct buffer *reply_begin(struct engine *engine, struct slice result);
bool reply_end(struct engine *engine, const struct engine_request *request);

/* Replies that refuse are literals: they need no memory but the effect, and each says why. */
#define REFUSAL(result, sentence) SLICE_LITERAL("{\"result\":\"" result "\",\"message\":\"" sentence "\"}")
#define REFUSAL_FAILURE(reason, sentence) \
    SLICE_LITERAL("{\"result\":\"failure\",\"reason\":\"" reason "\",\"message\":\"" sentence "\"}")
#define REFUSAL_FIELD(field, sentence) \
    SLICE_LITERAL("{\"result\":\"bad_request\",\"field\":\"" field "\",\"message\":\"" sentence "\"}")

#define REFUSE_USER_NOT_EXIST REFUSAL("user_not_exist", "There is no user of this name.")
#define REFUSE_GROUP_NOT_EXIST REFUSAL("group_not_exist", "There is no group of this name.")
#define REFUSE_NOT_MEMBER REFUSAL("not_member", "You are not a member of this group.")
#define REFUSE_SERVER_ERROR \
    REFUSAL("server_error", "The server could not store this. Nothing was changed; please try again later.")

/* Pushes. `except`: a session that gets none, 0: no such. */
void push_user(struct engine *engine, const struct user *user, session_handle except, uint16_t cmd,
               struct slice payload);
void push_group(struct engine *engine, const struct group *group, session_handle except, uint32_t except_user,
                uint16_t cmd, struct slice payload);

/* An effect of `kind` for `session`, with the group; for each session of `user`. */
void effect_for_sessions(struct engine *engine, const struct user *user, enum effect_kind kind, uint32_t group);

/* On each hub that has a session of a member. */
void effect_dismiss(struct engine *engine, const struct group *group);

/* Sessions. */
bool session_login(struct engine *engine, const struct engine_request *request, struct user *user);
bool session_end_of(struct engine *engine, const struct engine_request *request);

/* Lists that several replies have. */
void list_friends(struct buffer *out, const struct user *user);
void list_groups(struct buffer *out, const struct user *user);
void list_unread(const struct model *model, struct buffer *out, const struct user *user);
void list_requests(struct buffer *out, const struct user *user);

/* Apply one request; or, where the store failed and the table says `stored`, answer server_error.
 * False: the batch failed. */
bool engine_apply(struct engine *engine, const struct engine_request *request);
bool engine_refuse(struct engine *engine, const struct engine_request *request);

/* Queue a result of a worker. Any thread. */
void engine_queue_result(struct engine *engine, struct password_job *job);

/* The handlers: `asker` is the user of the session. */
typedef bool engine_handler(struct engine *engine, const struct engine_request *request, struct user *asker);

engine_handler apply_register, apply_login, apply_logout, apply_passwd;
engine_handler apply_profile_get, apply_profile_set;
engine_handler apply_friend_add, apply_friend_answer, apply_friend_remove, apply_friend_list;
engine_handler apply_group_create, apply_group_join, apply_group_leave, apply_group_info, apply_group_list,
    apply_group_kick, apply_group_dismiss;
engine_handler apply_private_chat, apply_group_chat, apply_typing;
engine_handler apply_history, apply_unread, apply_read;

#endif
