/* support_hub.h - a stage without a socket: it drives hubs as hub.h asks, under a clock that tests set.
 *
 * Idea.       A peer is a connection with both of its socket buffers: what a test sends waits in `to_server` until the
 *             stage reads it, and `takes` is how many bytes the system will take before it is full. A hub is turned only
 *             for the reasons that a real loop has: something to read, hub_deadline(), a wake. A wake-up that is
 *             forgotten is then a test that fails, and one too many (a spin) is, too.
 *             Passwords are hashed when stage_run() says so: what stage_settle() leaves is a login under way.
 */
#ifndef TESTS_UNIT_SUPPORT_HUB_H
#define TESTS_UNIT_SUPPORT_HUB_H

#include "support.h"

#include "base/buffer.h"
#include "base/limits.h"
#include "base/options.h"
#include "chat/chat.h"
#include "chat/hub.h"
#include "chat/session.h"
#include "wire/command.h"
#include "wire/frame.h"

#define STAGE_HUBS 3
#define STAGE_PEERS 200
#define TAKES_ALL SIZE_MAX

struct stage;

struct peer {
    struct stage *stage;
    unsigned hub;
    struct session *session;  /* NULL: the stage has closed the connection */
    enum session_phase phase; /* as of the last look; CLOSE or RESET: how it was closed */
    struct buffer to_server;  /* sent by the peer, not read by the stage */
    bool finished;            /* a FIN stands behind it */
    bool finish_told;
    bool drain_told;
    bool writable; /* the last write was not short */
    size_t takes;  /* bytes until the system is full */
    struct buffer received;
    size_t seen;      /* bytes of `received` that peer_next() gave */
    uint32_t seq;     /* of the latest request */
    unsigned reports; /* of hub_next_changed() */
};

struct stage {
    struct options options;
    struct chat *chat;
    struct hub *hubs[STAGE_HUBS];
    unsigned hub_count;
    unsigned wakes[STAGE_HUBS]; /* since the last turn */
    uint64_t now_ms;
    size_t read_max; /* bytes a read gives */
    bool draining;
    void (*inside)(bool running); /* called before and after code of the server runs; NULL: nobody cares */
    struct peer peers[STAGE_PEERS];
    size_t peer_count;
};

/* The defaults of S-1 with --store memory, --password-cost min and --rate-limit 0. */
struct options stage_options(void);

struct stage *stage_new(const struct options *options, unsigned hubs);
void stage_free(struct stage *stage);

/* ---- the loop ---- */

/* One turn of a hub: read each of its peers once, turn, write to those that changed. */
void stage_turn(struct stage *stage, unsigned hub);

/* Turns of all hubs until none has a reason for one; no passwords. Fails the test when that takes for ever. */
void stage_settle(struct stage *stage);

/* And everything else, until nothing is left to do. */
void stage_run(struct stage *stage);

/* Let time go by, with a turn at each deadline. */
void stage_pass(struct stage *stage, uint64_t ms);

/* hub_drain() of each hub. */
void stage_drain(struct stage *stage);

bool stage_drained(const struct stage *stage);

/* ---- peers ---- */

/* The session is NULL when the hub wants the connection closed at once. */
struct peer *stage_connect(struct stage *stage, unsigned hub);

/* Registered (where the name is new) and logged in; nothing of it is left to take. */
struct peer *stage_login(struct stage *stage, unsigned hub, const char *name);

/* Send a request; returns its seq. %-directives are filled in; "": an empty payload. */
uint32_t peer_send(struct peer *peer, uint16_t cmd, const char *json, ...) __attribute__((format(printf, 3, 4)));
void peer_send_bytes(struct peer *peer, const void *bytes, size_t length);
void peer_finish(struct peer *peer);
void peer_abort(struct peer *peer);

/* Send, run, and have success for an answer; pushes may stand before it. */
void peer_ask(struct peer *peer, uint16_t cmd, const char *json);

/* The system takes so many bytes more. */
void peer_reads(struct peer *peer, size_t bytes);

struct message {
    uint16_t cmd;
    uint32_t seq;
    size_t length;
    const char *json; /* terminated; until the next call */
};

/* The next whole frame that the peer got; false: none. A broken one fails the test. */
bool peer_next(struct peer *peer, struct message *message);

/* Forget what the peer got so far: whole frames. Returns how many. */
size_t peer_skip(struct peer *peer);

/* The next frame is this one, with `text` somewhere in its payload. */
#define peer_expect_reply(peer, cmd, seq, text) \
    peer_expect((peer), (uint16_t)((cmd) | FRAME_REPLY_BIT), (seq), (text), __FILE__, __LINE__)
#define peer_expect_push(peer, cmd, text) peer_expect((peer), (cmd), 0, (text), __FILE__, __LINE__)
#define peer_expect_bye(peer, reason) peer_expect((peer), PUSH_BYE, 0, "{\"reason\":\"" reason "\"", __FILE__, __LINE__)
void peer_expect(struct peer *peer, uint16_t cmd, uint32_t seq, const char *text, const char *file, int line);

/* There is nothing more, not even a part of a frame. */
#define peer_expect_nothing(peer) peer_expect_silence((peer), __FILE__, __LINE__)
void peer_expect_silence(struct peer *peer, const char *file, int line);

/* A counter of S-7, over all hubs. */
#define stage_counter(stage, name)                                         \
    ({                                                                     \
        uint64_t sum_ = 0;                                                 \
        for (unsigned hub_ = 0; hub_ < (stage)->hub_count; hub_++)         \
            sum_ += COUNTER_READ(hub_counters((stage)->hubs[hub_]), name); \
        sum_;                                                              \
    })

#endif
