/* server.h - what the threads of 01 share: the server, its connections, and the mutex around both.
 *
 * Invariants. I1  hub, sessions, struct server and struct connection are touched under `mutex` only.
 *             I2  no call that may block is made under the mutex; one hold takes up a whole read.
 *             I3  a hold ends with server_turn(): all that it may have changed is told to the threads concerned.
 *             I4  once threads know a descriptor, it is closed by main alone, after both have left: nobody can be in a
 *                 call with its number, which the next accept may give out again.
 *             I5  the hub is not turned while a writer is on its way to the mutex: see server_turn().
 * Threads.    Everything here is called with the mutex.
 */
#ifndef BLOCKING_SERVER_H
#define BLOCKING_SERVER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "alarm.h"
#include "chat/hub.h"

enum { WRITER, READER, THREADS_A_CLIENT };

struct connection {
    struct server *server;
    int fd;
    struct session *session;
    LIST_ENTRY(connection) siblings;
    SLIST_ENTRY(connection) finished;
    pthread_t threads[THREADS_A_CLIENT];
    int started, left;                  /* of the threads; the writer is started first */
    pthread_cond_t may_read, may_write; /* with server->mutex */
    bool in_recv;                       /* the reader is in recv(2), or on the way */
    bool writer_waits;                  /* for may_write */
    bool sent_fin;                      /* shutdown(SHUT_WR) was called */
    bool shut;                          /* the socket is shut down: the threads leave */
};

struct server {
    pthread_mutex_t mutex; /* I1 */
    struct hub *hub;
    int listener;
    bool draining;
    LIST_HEAD(, connection) connections;
    SLIST_HEAD(, connection) finished; /* their threads have left */
    pthread_cond_t has_closed;         /* for the acceptor that found no descriptor, with server->mutex */
    uint64_t closes;                   /* of connections */
    atomic_uint writers_coming;        /* to the mutex (I5): the only field that is touched without it */
    uint64_t deadline_ms;              /* as hub_deadline() said last; UINT64_MAX: a turn is left to a writer */
    uint64_t main_until_ms;            /* when main comes by itself; 0: it is here */
    struct alarm alarm;                /* wakes main */
};

/* Turn the hub, and tell the threads what has changed; or leave that to a writer that is coming (I5). */
void server_turn(struct server *server);

/* Both give the mutex back during their call. */
void connection_read(struct connection *connection, char *buffer);
void connection_write(struct connection *connection, char *scratch);

#endif
