/* engine.h - the one place where shared state changes: accounts, friends, groups, membership, presence, message
 *            numbers.
 *
 * Idea.       A sequencer. Requests of all hubs stand in one queue and are applied one after the other, in batches;
 *             each batch is one transaction of the store, and its effects are posted when that is durable. Order (M-1,
 *             M-4, Q-10), exactly-once registration and durable-before-visible (M-5) follow from there being one
 *             of it; no record has a lock of its own.
 *
 *      hubs ──engine_submit──▶ queue ──engine_run──▶ apply … apply, commit ──inboxes_post──▶ hubs
 *      workers ──(password known)──┘
 *
 *             A message gets its number in store_message() (engine_messages.c), and nowhere else.
 *             All that is asked often lives in memory (model.h); the store keeps it, and has the texts of messages.
 *             A failed commit undoes both: the store rolls back, and memory runs the batch's journal backwards
 *             (journal.h). Then each request that is `stored` in the command table is answered server_error, the others
 *             (ends of sessions, logouts, replies made by the hub) are applied again.
 * Invariants. I1  effects are posted after the commit of the batch that they come from, never before.
 *             I2  every request gets one EFFECT_REPLY, every end one EFFECT_ENDED.
 *             I3  no step is O(members) or O(history).
 * Threads.    engine_submit(), engine_accepting() and the result of a password from any thread; engine_run() one at a
 *             time: by the engine's own thread, or by any under the driver's lock (chat.h). In tests: the test.
 */
#ifndef CHAT_ENGINE_H
#define CHAT_ENGINE_H

#include <stdalign.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/counters.h"
#include "base/options.h"
#include "base/workers.h"
#include "chat/effect.h"
#include "chat/inbox.h"
#include "store/store.h"
#include "wire/command.h"
#include "wire/request.h"

struct engine;

/* Who tries passwords: an IPv6 address cut to its /64, an IPv4 one mapped into IPv6 (RFC 4291, 2.5.5.2). */
struct peer_address {
    uint8_t bytes[16];
};

enum request_kind {
    REQUEST_COMMAND,  /* apply `command` */
    REQUEST_ANSWERED, /* the hub knows the answer, `reply`; it only takes its place in the order */
    REQUEST_END       /* the session is over: the last word about it, when none of its requests is under way */
};

/* One request of a session, in the arena of its batch. */
struct engine_request {
    struct engine_request *next;
    session_handle session;
    const struct command *command;      /* REQUEST_COMMAND */
    const struct peer_address *address; /* of login and passwd; in the arena */
    struct slice reply;                 /* REQUEST_ANSWERED: in the arena, or a literal */
    enum request_kind kind;
    uint32_t user; /* number of the session's user, as EFFECT_LOGIN gave it; 0: not logged in */
    uint32_t seq;
    uint16_t cmd;
    struct value values[]; /* command->field_count of them; strings in the arena. Every field is checked, but for what
                              needs to know users and groups. */
};

/* What a hub took up in one turn. */
struct engine_batch {
    struct engine_batch *next;
    struct arena arena;
    struct engine_request *first, *last;
    size_t count;
    alignas(max_align_t) char first_bytes[]; /* of the arena; BATCH_FIRST_BYTES with what stands above */
};

struct engine_config {
    const struct options *options;
    struct store *store;     /* borrowed; opened */
    struct workers *workers; /* borrowed */
    struct inboxes *inboxes; /* borrowed */
    const struct clock *clock;
    void (*kick)(void *arg,
                 unsigned hub); /* called from a worker: there is a result for `hub` to run; no lock is held */
    void *kick_arg;
};

/* Load what the store has. NULL: no memory, or the store cannot be read (logged). */
struct engine *engine_new(const struct engine_config *config);

/* After the last engine_run() and workers_stop(). */
void engine_free(struct engine *engine);

/* An empty batch, or NULL: no memory. engine_batch_free() gives one up that was not submitted. */
struct engine_batch *engine_batch_new(void);
void engine_batch_free(struct engine_batch *batch);

/* A cleared request with room for `value_count` values, appended to the batch. NULL: no memory. */
struct engine_request *engine_batch_add(struct engine_batch *batch, enum request_kind kind, size_t value_count);

/* Queue `batch`, which the engine owns from here on. Never refuses. Returns whether the queue was empty. */
bool engine_submit(struct engine *engine, struct engine_batch *batch);

/* Whether hubs may take up requests: the queue is below ENGINE_QUEUE_MAX_BYTES. One atomic load. */
bool engine_accepting(const struct engine *engine);

/* Apply what is queued, in one or more transactions, until the queue is empty or an inbox is full. Rows of dismissed
 * groups are deleted in slices when there is nothing else to do. Returns whether there is more to do now (not when it
 * waits for an inbox). */
bool engine_run(struct engine *engine);

/* Whether the last engine_run() had to leave work: an inbox is full, or there is no memory even to refuse it. Then it is
 * to be called again after a while. For who runs the engine. */
bool engine_stuck(const struct engine *engine);

/* Whether engine_run() would find something. */
bool engine_pending(const struct engine *engine);

/* From here on the end of a session is not told to friends (L-7). */
void engine_drain(struct engine *engine);

/* What the engine counts: messages_total, store_commits_total, store_queue. */
struct counters *engine_counters(struct engine *engine);

#endif
