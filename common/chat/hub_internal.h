/* hub_internal.h - the hub's state, shared by hub.c, hub_effects.c and session*.c.
 *
 * Invariants. I1  slots[i].session is NULL for a free slot; a free slot's generation is that of its next session.
 *             I2  `collected` is what was taken from the inbox and is not delivered yet; while there is any, no request
 *                 is taken up: a hub collects before it takes up.
 *             I3  `run` holds pushes that are encoded but not yet in the outboxes; nothing else is delivered to a
 *                 session of its audience before it is settled (M-4).
 */
#ifndef CHAT_HUB_INTERNAL_H
#define CHAT_HUB_INTERNAL_H

#include "chat/hash_index.h"
#include "chat/session.h"

struct hub_slot {
    struct session *session; /* I1 */
    uint32_t generation;
    uint32_t next_free; /* index + 1; 0: end */
};

/* The sessions of this hub that are in one group. */
struct hub_group {
    uint32_t number; /* of the conversation */
    uint32_t count;
    uint32_t capacity;
    struct hub_group_member {
        struct session *session;
        uint32_t link; /* index in session->groups */
    } * members;
    struct hash_node node; /* in hub->groups, by number */
};

/* Consecutive pushes to the same audience: one range, and one walk over the members (I3). */
struct hub_run {
    struct hub_group *group; /* NULL: no run */
    session_handle except;
    uint32_t except_user;
    struct block *block; /* one reference */
    uint32_t offset;
    uint32_t length;
    uint32_t messages; /* for deliveries_total */
};

struct hub {
    struct chat *chat;
    const struct options *options;
    struct engine *engine;
    struct inbox inbox;
    unsigned number;
    uint64_t now_ms; /* of the latest call */
    struct counters counters;

    struct hub_slot *slots;
    uint32_t slot_count;
    uint32_t first_free; /* index + 1; 0: none */
    uint32_t live;       /* sessions in slots */

    struct hash_index groups; /* those with a session here */

    struct engine_batch *batch;  /* taken up, not yet submitted; NULL: nothing */
    struct effects *collected;   /* I2 */
    size_t collected_next;       /* index into collected->items */
    size_t encoded_bytes;        /* this turn: HUB_TURN_ENCODE_BYTES */
    struct hub_run run;          /* I3 */
    struct block_writer pushes;  /* of groups */
    struct block_writer replies; /* of single sessions; apart, so that runs stay contiguous */
    struct buffer scratch;

    struct session *changed_first, *changed_last;
    struct session *ready_first, *ready_last; /* something held back may go on */
    bool retry;                               /* an allocation failed, or the engine is full: try again soon */

    struct deadline_list idle, heartbeat, frame, stall, login, slow, linger;

    bool draining;
    bool quiet_told; /* to chat_hub_quiet() */
    bool byes_said;
    uint64_t drain_ms;
};

/* NULL: the session is forgotten. */
struct session *hub_find(const struct hub *hub, session_handle handle);

/* Whether requests may be taken up now (I2, and the bound of the engine's queue). */
bool hub_may_take_up(struct hub *hub);

/* Deliver what the engine posted, as far as this turn's budget goes. Returns whether there was anything. */
bool hub_collect(struct hub *hub);

/* Put the pushes of the run into the outboxes. */
void hub_settle(struct hub *hub);

/* The batch being filled; NULL: no memory. */
struct engine_batch *hub_batch(struct hub *hub);

/* Hand over what was taken up. */
void hub_submit(struct hub *hub);

/* The stage is to look at `session`. */
void hub_report(struct hub *hub, struct session *session);

/* `session` may be able to go on with what it holds back. */
void hub_ready(struct hub *hub, struct session *session);

/* A session that the stage has freed and the engine has forgotten: its slot is used again. Put off while it stands in
 * one of the hub's lists. */
void hub_forget(struct hub *hub, struct session *session);

/* In a stop: tell the others when all that came is answered here. Once; call it when that may have become true. */
void hub_tell_if_quiet(struct hub *hub);

/* hub_effects.c */
void hub_leave_groups(struct session *session);
void hub_groups_fini(struct hub *hub);

#endif
