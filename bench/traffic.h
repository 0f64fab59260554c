/* traffic.h - who sends the next message, to whom, and whether each receiver got it.
 *
 * Idea.       A conversation has members and sources, the members that may send. A message is in flight until each of its
 *             receivers has it; what the server gives to the sender itself, a reply or an echo, is counted but not waited
 *             for. A message that lands makes its source, or in turn the next one, send another: so the window is kept
 *             without looking for work. At a fixed rate messages are sent by the clock instead, whatever has landed.
 * Invariants. I1  flights[sequence % capacity] of a source is that of its message `sequence`, while that is in flight.
 *             I2  a source is in the list of those that have to send exactly while `due` is not 0.
 * Threads.    The generator's one.
 */
#ifndef CHAT_BENCH_TRAFFIC_H
#define CHAT_BENCH_TRAFFIC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "histogram.h"
#include "link.h"
#include "order.h"
#include "protocol.h"

enum senders { SENDERS_ONE, SENDERS_IN_TURN, SENDERS_ALL };

struct shape {
    uint32_t groups;
    uint32_t members; /* of each */
    bool is_private;  /* two members that write to each other, and no group */
    enum senders senders;
    uint32_t window; /* messages in flight: of a sender, or where they take turns of the group */
    uint32_t text_bytes;
    uint32_t stalled; /* of each group: members that do not read, and are no receivers; the last ones */
    double rate;      /* messages a second of all; 0: as fast as they land */
};

struct flight {
    uint64_t intended_ns;
    uint32_t sequence; /* 0: none */
    uint32_t missing;  /* receivers */
};

struct source {
    struct conversation *conversation;
    struct link *link;
    uint32_t sent; /* the last number */
    uint32_t due;  /* messages to send now */
    struct flight *flights;
    struct source *next_due;
};

struct conversation {
    char name[LINK_NAME_BYTES];
    struct link **members;
    struct source *sources;
};

struct tally {
    uint64_t sent;
    uint64_t landed;     /* messages that each receiver has */
    uint64_t deliveries; /* a receiver's copies, and what the sender gets for its own: the echo, or else the answer */
    uint64_t answers;
};

struct traffic {
    struct shape shape;
    const struct protocol *protocol;
    struct conversation *conversations;
    uint32_t source_count; /* of a conversation */
    uint32_t receivers;    /* of a message */
    uint32_t flights_mask; /* capacity of a source's flights, less 1 */
    struct source *due_first, *due_last;
    char *text;
    struct tally tally;
    struct faults faults;
    struct histogram
        latency;        /* ns, from sending (at a rate: from when it was to be sent) until the last receiver has it */
    uint64_t limit;     /* messages to send; 0: none */
    bool stopping;      /* nothing more is sent */
    bool overrun;       /* at a rate: so many are in flight that there is no room for another */
    uint64_t begun_ns;  /* at a rate */
    uint64_t scheduled; /* messages that were due by the clock so far */
};

/* `links` are groups * members of them; each is told its conversation and place. False: no memory. */
bool traffic_init(struct traffic *traffic, const struct shape *shape, const struct protocol *protocol,
                  struct link *links);
void traffic_fini(struct traffic *traffic);

/* Make the first messages due. */
void traffic_begin(struct traffic *traffic, uint64_t now_ns);

/* Append all that is due by now to the outputs of its links, and have `wrote` told, perhaps more than once for a link. */
void traffic_send(struct traffic *traffic, uint64_t now_ns, void (*wrote)(void *arg, struct link *link), void *arg);

/* At a rate: when the next message is due. UINT64_MAX: none has a time. */
uint64_t traffic_next_ns(const struct traffic *traffic);

/* A text came to `link`. False: it is none that can have come here. */
bool traffic_take(struct traffic *traffic, struct link *link, struct slice text, uint64_t now_ns);

/* An answer came to `link`. */
void traffic_take_answer(struct traffic *traffic, struct link *link);

/* Whether everything that was sent has come: to its receivers, and to the senders. */
bool traffic_is_over(const struct traffic *traffic);

/* When nothing more will come: count what is lost. */
void traffic_finish(struct traffic *traffic);

#endif
