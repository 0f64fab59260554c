/* hand_over.h - connections on their way from the acceptor to an I/O thread: a pipe of pointers.
 *
 * Idea.       A write of a pointer is atomic, and a pipe keeps the order (pipe(7)). So a successful write passes the
 *             connection on, whole; and the end of the pipe comes after every connection that was handed over.
 * Invariants. I1  who holds the pointer to a `struct accepted` owns it and its descriptor; there is one holder.
 * Threads.    The acceptor puts and ends, one I/O thread takes: neither end ever blocks.
 * You must    not use an `accepted` that was put; its descriptor may be closed, and its number be another's.
 */
#ifndef THREADED_HAND_OVER_H
#define THREADED_HAND_OVER_H

#include <stdbool.h>
#include <sys/socket.h>

enum { HAND_OVER_TAKE_MAX = 64 }; /* a turn, so that a storm of connections does not keep those there are waiting */

/* A connection that no thread has yet. */
struct accepted {
    int fd;
    struct sockaddr_storage peer;
};

struct hand_over {
    int take, put; /* the ends of the pipe; -1: closed */
};

/* False: errno tells. hand_over_fini() is allowed all the same. */
bool hand_over_init(struct hand_over *pipe);
void hand_over_fini(struct hand_over *pipe);

/* Pass `accepted` on. False: the pipe is full, and it is still the caller's. */
bool hand_over_put(const struct hand_over *pipe, struct accepted *accepted);

/* Nothing more will be put. */
void hand_over_end(struct hand_over *pipe);

/* Up to HAND_OVER_TAKE_MAX of those there are. Returns how many; 0: there will be no more; -1: there are none now. */
int hand_over_take(const struct hand_over *pipe, struct accepted **accepted);

#endif
