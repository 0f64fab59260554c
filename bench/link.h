/* link.h - one connection of the generator: a socket, the partial unit that came, and what waits to be sent.
 *
 * Idea.       Reads are large and go into one buffer of all links; only what is incomplete is kept by its link. What is
 *             sent in a turn is one call. Level-triggered epoll: a socket that is drained by a short read needs no
 *             further call.
 * Invariants. I1  fd -1: closed, and in no set.
 *             I2  `blocked`: epoll watches for room, and nobody else writes.
 * Threads.    The generator's one.
 */
#ifndef CHAT_BENCH_LINK_H
#define CHAT_BENCH_LINK_H

#include <netdb.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buffer.h"
#include "order.h"
#include "protocol.h"

struct conversation;

enum link_end {
    LINK_GOES_ON,
    LINK_CLOSED, /* by the server */
    LINK_BROKEN, /* what came is not the protocol */
    LINK_FAILED  /* errno */
};

enum { LINK_NAME_BYTES = 16 };

struct link {
    int fd;
    char name[LINK_NAME_BYTES]; /* of the user */
    bool stalled;               /* does not read */
    bool blocked;               /* I2 */
    bool dirty;                 /* in the list of those that have something to send */
    uint32_t awaited;           /* answers, of what is under way while everybody is taken in */
    uint64_t answers;           /* since messages are sent */
    uint64_t sent;              /* messages */
    struct conversation *conversation;
    uint32_t place;       /* among the members of it */
    struct order *orders; /* one for each source of the conversation */
    struct buffer partial;
    struct buffer out;
    size_t out_done; /* bytes of `out` that the system has taken */
};

/* What to connect to, and how the sockets are watched. */
struct links_target {
    struct addrinfo *address;
    int epoll;
};

/* Connect (loopback is quick, so it may block), and watch for input. `number` chooses one of many loopback addresses to
 * come from: an address has 28,000 ports for one peer. False: errno. */
bool link_open(struct link *link, const struct links_target *target, uint32_t number);
void link_close(struct link *link);

/* Frees what it keeps; it may be open. */
void link_fini(struct link *link);

/* Send what waits, as far as the system takes it; the rest is sent when epoll tells of room. */
enum link_end link_flush(struct link *link, const struct links_target *target);

/* What link_read() does with each unit; UNIT_BROKEN and UNIT_INCOMPLETE never come. False: enough was read. */
typedef bool link_visitor(void *arg, struct link *link, enum unit_kind kind, const struct unit *unit);

/* One read of up to `size` bytes into `buffer`, and every unit that is complete by it. */
enum link_end link_read(struct link *link, const struct protocol *protocol, char *buffer, size_t size,
                        link_visitor *visit, void *arg);

#endif
