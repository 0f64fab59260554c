/* client_threads.h - the two threads of a client: what each does, how it is called, called back, and joined.
 *
 * Threads.    Everything here is called with the server's mutex, but for writer_lock(), which takes it.
 */
#ifndef BLOCKING_CLIENT_THREADS_H
#define BLOCKING_CLIENT_THREADS_H

#include "server.h"

/* For the whole process, before there are other threads: what client_interrupt() does. */
void client_threads_prepare(void);

/* Start both. False: the system lets there be only so many as connection->started says. */
bool client_threads_start(struct connection *connection);

/* There is something to write; reading may go on; or the socket is shut. Harmless if it is not waited for. */
void call_writer(struct connection *connection);
void call_reader(struct connection *connection);

/* A writer's way to the mutex (I5). */
void writer_lock(struct server *server);

/* A reader that blocks in recv(2) comes back with EINTR. One that is about to call it does not notice, so call this again
 * while this is true: it has not come back. */
bool client_interrupt(struct connection *connection);

/* If both threads have left, or there were none, have main close the connection (I4). */
void finish_if_left(struct connection *connection);

/* Then: they have given the mutex back or are about to, and do nothing after it. So this waits for nobody. */
void client_threads_join(struct connection *connection);

#endif
