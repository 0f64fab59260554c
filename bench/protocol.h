/* protocol.h - what the generator says to a server, and how it takes the server's bytes apart: one table a protocol.
 *
 * Idea.       A workload knows users, groups and texts. A protocol turns them into bytes, and bytes into units: the
 *             smallest thing that means something, a frame or a line. A pure function looks at the bytes that are there,
 *             so how they were cut cannot matter.
 *             To add a server: a table here, and its name in protocol_find().
 * Threads.    Constant tables, pure functions; but for what they append to, which is the caller's.
 */
#ifndef CHAT_BENCH_PROTOCOL_H
#define CHAT_BENCH_PROTOCOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/slice.h"

enum unit_kind {
    UNIT_INCOMPLETE, /* more bytes are needed; nothing is set */
    UNIT_BROKEN,     /* this is not the protocol; nothing is set */
    UNIT_MESSAGE,    /* `text` is that of a message */
    UNIT_ANSWER,     /* something was done that one of us had asked for */
    UNIT_REFUSED,    /* ... was not done: `text` says why */
    UNIT_QUESTION,   /* the server wants a sign of life; `text` is what has to be given back */
    UNIT_OTHER       /* nothing that we need */
};

struct unit {
    size_t bytes;
    struct slice text; /* points into the bytes looked at */
};

/* Where a message goes: to a group, or to one user. */
struct address {
    struct slice self; /* who sends it */
    struct slice name;
    bool is_group;
};

/* Those that return a number append requests to `out`, and say how many answers will come. */
struct protocol {
    const char *name;
    bool answers;          /* each message sent is answered to its sender */
    bool echoes;           /* a sender in the group gets its own message, too */
    size_t text_max_bytes; /* that the server takes in a message */
    unsigned at_once;      /* so many log in at a time, at most */

    unsigned (*prepare)(struct buffer *out, struct slice self); /* an account, before the first enter of this user */
    unsigned (*enter)(struct buffer *out, struct slice self);   /* log in; private messages reach us */
    unsigned (*create)(struct buffer *out, struct slice group);
    unsigned (*join)(struct buffer *out, struct slice group);
    unsigned (*settle)(struct buffer *out); /* when everybody has joined: what came before is over */
    void (*send)(struct buffer *out, const struct address *to, struct slice text);
    void (*reply)(struct buffer *out, struct slice question); /* to UNIT_QUESTION */
    enum unit_kind (*next)(const char *bytes, size_t length, struct unit *unit);
};

extern const struct protocol protocol_chat;
extern const struct protocol protocol_redis;         /* without replies to PUBLISH; the sender's echo tells as much */
extern const struct protocol protocol_redis_replies; /* with them */
extern const struct protocol protocol_redis_durable; /* each message is an entry of a stream, too */
extern const struct protocol protocol_nats;
extern const struct protocol protocol_mqtt;
extern const struct protocol protocol_irc;
extern const struct protocol protocol_irc_echo; /* with the capability echo-message */

/* NULL: none of this name. */
const struct protocol *protocol_find(const char *name);

/* For protocols of which a step has nothing to say. */
unsigned protocol_nothing(struct buffer *out);
unsigned protocol_nothing_for(struct buffer *out, struct slice name);

/* Append a text of C. */
void protocol_append(struct buffer *out, const char *text);

/* For protocols of lines: the end of the line that begins at `bytes` (behind its \n); 0: it has not come. */
size_t protocol_line(const char *bytes, size_t length);

#endif
