/* session.h - one connection's side of the protocol, as the hub's own files see it. Stages see hub.h.
 *
 * Idea.       Bytes in, requests out; effects in, bytes out. What is told to the stage is derived from the fields here
 *             after each change, by session_update(), so that no caller has to remember what might have changed.
 *
 *             The life of a session; `phase` changes in session_enter() alone:
 *
 *      open ──▶ logged in ──▶ closing ──▶ FLUSH ──▶ HALF_CLOSE ──▶ CLOSE ──▶ freed ──▶ forgotten
 *       └───────────┴─────────────┘         (or RESET, from each)      session_free()    no request under way, and
 *        phase OPEN; `user` tells the                                                    EFFECT_ENDED has come:
 *        first two, `reason` the third                                                   the slot is used again
 *
 *             A peer that stops reading: session_sent() hears that the system is full ──▶ judge_slow_consumer() ──▶
 *             outbox_trim(), `bye`, FLUSH; after SLOW_CONSUMER_FLUSH_MS RESET, by the hub's list `slow` (L-3).
 *             Who frees: session_free() lets go for the stage, hub_forget() frees when the engine has let go, too.
 *
 *             closing: the reason is known, but requests that came before are still under way; nothing more is taken
 *             up, what comes is discarded, and when all is answered the `bye` follows (F-4).
 * Invariants. I1  `under_way` requests are at the engine; each comes back as one EFFECT_REPLY. While it is not 0, every
 *                 reply of the session goes through the engine, so replies stand in order.
 *             I2  while a barrier command is under way nothing else is: so `user` is exact when a request is judged.
 *             I3  `input` holds the bytes not taken up; at most one read behind one incomplete frame.
 *             I4  after OPEN no effect changes the outbox.
 * Threads.    The hub's owner.
 */
#ifndef CHAT_SESSION_H
#define CHAT_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/deadline_list.h"
#include "chat/engine.h"
#include "chat/hub.h"
#include "chat/outbox.h"
#include "wire/frame.h"

enum session_codec {
    CODEC_UNKNOWN, /* no byte has come */
    CODEC_FRAME,
    CODEC_TEXT /* the first byte was a letter: HTTP, or somebody with a terminal (F-1) */
};

/* Why a session ends; session_reason_name() gives the word of the `bye` and of the log. */
enum session_reason {
    REASON_NONE,
    REASON_PROTOCOL_ERROR,
    REASON_FRAME_TIMEOUT,
    REASON_LOGIN_TIMEOUT,
    REASON_IDLE_TIMEOUT,
    REASON_SLOW_CONSUMER,
    REASON_SERVER_FULL,
    REASON_SHUTDOWN,
    REASON_PEER_FINISHED, /* no bye from here on */
    REASON_PEER_GONE,
    REASON_STALLED,
    REASON_NOT_FRAMES,
    REASON_NO_MEMORY
};

struct hub_group;

/* That a session is in a group of its hub: where it stands there. */
struct session_group {
    struct hub_group *group;
    uint32_t position; /* in group->members */
};

struct session {
    struct hub *hub;
    void *connection; /* the stage's */
    session_handle handle;
    struct peer_address address;

    enum session_phase phase;
    enum session_reason reason;
    enum session_codec codec;
    enum frame_error frame_error; /* of REASON_PROTOCOL_ERROR */
    bool refused;                 /* past --max-connections (L-6) */
    bool peer_ended;              /* nothing more will be read */
    bool drained;                 /* nothing more will be taken (L-7), but read and discarded at the end */
    bool freed;                   /* by the stage */
    bool end_submitted;           /* REQUEST_END is at the engine */
    bool reading;                 /* session_wants_read() as of the last session_update() */
    bool write_blocked;           /* the system did not take all of the last write */
    bool overflowed;              /* pushes past the overshoot were dropped: a slow consumer, once that can be said */
    bool login_overdue;           /* the login timeout passed while a login was being checked (L-2) */
    bool frame_begun;             /* `input` begins with something incomplete (F-6) */
    bool held_for_barrier;        /* what is held back is a barrier, and waits for what is under way */
    bool held_back;               /* `input` begins with something that can be taken up later (I3) */

    uint32_t under_way;     /* I1 */
    size_t under_way_bytes; /* the largest replies they can have (L-4) */
    uint16_t barrier_cmd;   /* I2; 0: none */
    uint32_t user;          /* 0: not logged in */
    struct slice user_name; /* lasts as long as the engine */

    struct session_group *groups;
    uint32_t group_count;
    uint32_t group_capacity;

    struct buffer input; /* I3 */
    size_t drain_bytes;  /* received since the stop was asked for */
    struct outbox outbox;

    uint64_t rate_refilled_ms;
    uint64_t rate_tokens; /* thousandths of a request */

    /* Each is in its list while the rule can apply. */
    struct deadline_entry idle;      /* L-2, from the last byte received */
    struct deadline_entry heartbeat; /* L-1, from when something was last put into the outbox */
    struct deadline_entry frame;     /* F-6, from the first byte of a frame that is incomplete */
    struct deadline_entry stall;     /* L-10, from the last byte taken by the system; may be in with nothing to write */
    struct deadline_entry stage;     /* login timeout, flush of a slow consumer, or linger: never two of them */
    uint64_t read_paused_ms;         /* since when `reading` is false */

    struct session *next_changed; /* hub->changed; `in_changed` */
    struct session *next_ready;   /* hub->ready; `in_ready` */
    bool in_changed;
    bool in_ready;
};

/* The hub's part of making and unmaking one. */
void session_init(struct session *session, struct hub *hub, const struct sockaddr *peer, void *connection,
                  uint64_t now_ms);
void session_fini(struct session *session);

/* Bring what the stage is told in line with what holds: call it after any change to a session. */
void session_update(struct session *session);

/* Begin a timeout that does not count the time in which nothing is read: `entry` is in no list (F-6). */
void session_start_timeout(struct session *session, struct deadline_list *list, struct deadline_entry *entry);

/* Take up what may be taken up of the input that is held back. */
void session_go_on(struct session *session);

/* The one place where the phase changes; forward only. */
void session_enter(struct session *session, enum session_phase phase);

/* L-4: whether more is waiting, or may come of what is under way, than half of the limit. */
bool session_waits_for_too_much(const struct session *session);

/* End the session for `reason`, once what is under way is answered. */
void session_close(struct session *session, enum session_reason reason);

/* End it now: RESET, nothing more is written. */
void session_reset(struct session *session, enum session_reason reason);

/* Say `bye` now, whatever is under way, and enter FLUSH. */
void session_say_bye(struct session *session);

/* Whether session_go_on() would take something up, as far as the session is concerned. */
bool session_may_go_on(const struct session *session);

/* The 2 s after the last byte are over (L-9). */
void session_linger_over(struct session *session);

/* Whether all that came is answered, as far as it may be taken up (L-7). */
bool session_is_quiet(const struct session *session);

/* Append an encoded reply or push; ends the session when there is no memory. */
void session_append(struct session *session, struct block *block, uint32_t offset, uint32_t length, bool push);

/* Encode a message for this session alone, and append it. */
void session_send(struct session *session, uint16_t cmd, uint32_t seq, struct slice payload, bool push);

/* What a reply to `cmd` counts while it is under way (L-4). */
size_t session_reply_charge(uint16_t cmd);

/* Judge one request in the order of Q-9; answer it, or hand it to the engine (session_request.c).
 * False: not now; nothing has happened. */
bool session_request(struct session *session, const struct frame *frame, char *payload);

const char *session_reason_name(enum session_reason reason);

#endif
