/* effect.h - what a batch of requests brings about, on its way from the engine to the hubs.
 *
 * Idea.       The engine never touches a session. It writes down what is to happen, in order, and posts it when the
 *             batch is durable (M-5). One list a hub and batch; the lists and their payloads lie in one piece of memory
 *             that goes when the last hub has done its list.
 *
 *      engine                 inboxes (inbox.h)                hub
 *      effects_batch ──post──▶ [effects][effects] ──take──▶ deliver each, effects_free()
 *            └ effect_memory ◀──────────┴─ one reference a list
 *
 * Invariants. I1  a request has exactly one EFFECT_REPLY, also when its session is gone.
 *             I2  a hub changes its indexes (who is whose session, who is in which group) by effects alone, in their
 *                 order: a join, a kick or a login can then never race with a message.
 * Threads.    A batch belongs to who runs the engine; a posted list to the hub that took it.
 */
#ifndef CHAT_EFFECT_H
#define CHAT_EFFECT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/limits.h"
#include "base/slice.h"

/* Names a session over all hubs: hub in bits 56 to 63, slot in 32 to 55, generation in 0 to 31. A slot that is used
 * again has another generation, so what is addressed to a session that ended reaches nobody. 0: no session. */
typedef uint64_t session_handle;

static inline unsigned session_handle_hub(session_handle handle)
{
    return (unsigned)(handle >> 56);
}

enum effect_kind {
    EFFECT_REPLY,      /* to `session`: cmd and seq of the request, payload. It ends a request under way. */
    EFFECT_PUSH,       /* to `session`: cmd, payload */
    EFFECT_PUSH_GROUP, /* to each session of this hub that is in `group`, but `session` and those of `except_user` */
    EFFECT_LOGIN,      /* `session` is `user` from here on, named `payload`, and in `groups` */
    EFFECT_LOGOUT,     /* `session` is nobody's any more, and in no group */
    EFFECT_JOIN,       /* `session` is in `group` from here on */
    EFFECT_LEAVE,      /* `session` is not in `group` any more */
    EFFECT_DISMISS,    /* nobody is in `group` any more; its number will not come again */
    EFFECT_ENDED       /* the engine has forgotten `session`: the answer to a REQUEST_END */
};

struct effect {
    enum effect_kind kind;
    uint16_t cmd;
    uint32_t seq;
    session_handle session; /* EFFECT_PUSH_GROUP: the one left out, 0: none */
    uint32_t group;         /* number of the conversation */
    uint32_t user;          /* EFFECT_LOGIN: who; EFFECT_PUSH_GROUP: whose sessions are left out, 0: nobody's */
    uint32_t group_count;
    const uint32_t *groups; /* EFFECT_LOGIN: in the memory of the batch */
    struct slice
        payload; /* a JSON object; in the memory of the batch, or lasting as long as the engine. EFFECT_LOGIN: the
                               user's name, which lasts as long as the engine */
};

struct effect_memory;

/* What one batch has for one hub; in the memory of the batch. */
struct effects {
    struct effects *next;
    struct effect_memory *memory;
    struct effect *items;
    size_t count;
    size_t capacity;
    size_t bytes; /* for the bound of the inbox */
};

/* A batch being built: one list a hub. */
struct effects_batch {
    struct effect_memory *memory;
    uint64_t hubs;                   /* those that have a list: a bit each */
    struct effects *lists[HUBS_MAX]; /* by hub number; set where the bit is */
    size_t bytes;
    bool failed; /* an allocation failed; the batch must not be posted, but discarded */
};

/* Make an empty batch. */
void effects_batch_init(struct effects_batch *batch);

/* Give up everything that was added; empty again. */
void effects_batch_discard(struct effects_batch *batch);

/* Append a cleared effect of `kind` for `hub`. NULL: no memory, and the batch failed. */
struct effect *effects_add(struct effects_batch *batch, unsigned hub, enum effect_kind kind);

/* Make sure that the next `count` effects_add() for `hub` cannot fail. False: no memory (the batch has not failed). */
bool effects_reserve(struct effects_batch *batch, unsigned hub, size_t count);

/* Memory that lives as long as the batch's effects. NULL: no memory, and the batch failed. */
void *effects_alloc(struct effects_batch *batch, size_t size);

/* A copy of `payload` there. On failure an empty slice, and the batch failed. */
struct slice effects_copy(struct effects_batch *batch, struct slice payload);

/* The batch is complete: share its memory among its lists, and drop those that stayed empty. Returns which hubs have one;
 * the caller takes them out of batch->lists, each to be given up with effects_free(). */
uint64_t effects_batch_seal(struct effects_batch *batch);

/* Give up one list of a sealed batch. */
void effects_free(struct effects *effects);

#endif
