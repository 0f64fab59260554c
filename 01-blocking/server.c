/* server.c - 01-blocking: two threads a client, calls that block, one mutex.
 *
 * Idea.       A thread waits in recv(2) for its client, another waits until there is something to write and sends it.
 *             Each reads straight down, as a program that knows one client only. What they share, the hub, is behind
 *             one mutex. There are two threads because one would block in send(2), when its client does not read, and
 *             could not receive; and because whoever has news for a client must never write to its socket himself: one
 *             peer that does not read would hold up everybody.
 *
 *      acceptor   accept ──▶ lock: connection_open, turn ──▶ accept …
 *      reader     recv ──▶ lock: session_receive, turn ──▶ recv …                      one a client
 *      writer     wait for output ──▶ send ──▶ lock: session_sent, turn …              one a client
 *      main       wait for a signal, or a deadline ──▶ lock: close who is finished, turn …
 *
 * Invariants. See server.h. All but start and end is called with the mutex.
 * Threads.    As above; with --store sqlite the engine's thread, and the workers.
 */
#include "server.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/listener.h"
#include "base/log.h"
#include "base/options.h"
#include "base/program.h"
#include "client_threads.h"
#include "thread_limit.h"

enum {
    ACCEPT_PAUSE_MS = 1000,       /* without a free descriptor; a close ends it earlier */
    INTERRUPT_AGAIN_MS = 10,      /* see client_interrupt() */
    SEND_TIMEOUT_US = 100 * 1000, /* see let_calls_block() */
    DESCRIPTORS_BESIDES = 16      /* standard streams, listener, store */
};

static void connection_update(struct connection *connection);
static void server_wake(void *arg);

/* Writers come first (I5). A mutex goes to whoever happens to run: the reader of a fast peer could have it again and again,
 * and fill the outboxes of peers that do read before their writers had it once (L-3). So who finds that a writer waits for
 * the mutex leaves the turn to that one. From hub_deadline() on, a post wakes main. */
void server_turn(struct server *server)
{
    struct session *session;

    server->deadline_ms = UINT64_MAX;
    if (atomic_load(&server->writers_coming) > 0)
        return;
    hub_turn(server->hub, clock_monotonic_ms());
    while ((session = hub_next_changed(server->hub)) != NULL)
        connection_update(session_connection(session));
    server->deadline_ms = hub_deadline(server->hub);
    if (server->deadline_ms < server->main_until_ms) {
        server->main_until_ms = server->deadline_ms;
        server_wake(server);
    }
}

/* ---- accepting ---- */

/* No descriptor is free: accept(2) would fail again at once. Wait until a connection is closed, which may have happened since
 * there were `closes`; or for a while. */
static void listener_pause(struct server *server, int reason, uint64_t closes)
{
    uint64_t until_ms = clock_monotonic_ms() + ACCEPT_PAUSE_MS;
    struct timespec until = {.tv_sec = (time_t)(until_ms / 1000), .tv_nsec = (long)(until_ms % 1000) * 1000000L};
    int result = 0;

    if (server->closes == closes && !server->draining)
        log_warn("accepting pauses: %s", strerror(reason));
    while (server->closes == closes && !server->draining && result == 0)
        result = pthread_cond_clockwait(&server->has_closed, &server->mutex, CLOCK_MONOTONIC, &until);
}

/* L-6: where a thread cannot be made the client is refused: by its writer, or else here, for a socket that is new has room
 * for a bye. */
static void start_threads(struct connection *connection)
{
    char scratch[READ_BUFFER_BYTES];

    if (client_threads_start(connection))
        return;
    session_refuse(connection->session);
    if (connection->started == 0 && session_has_output(connection->session))
        connection_write(connection, scratch);
}

/* Own `fd` from here on. */
static void connection_open(struct server *server, int fd, const struct sockaddr *peer)
{
    struct connection *connection = calloc(1, sizeof *connection);

    if (connection == NULL) {
        close(fd);
        return;
    }
    connection->server = server;
    connection->fd = fd;
    connection->session = hub_open(server->hub, peer, connection, clock_monotonic_ms());
    if (connection->session == NULL) {
        close(fd);
        free(connection);
        return;
    }
    LIST_INSERT_HEAD(&server->connections, connection, siblings);
    start_threads(connection);
}

/* Wait for one client, without the mutex, and take it in. */
static void listener_ready(struct server *server)
{
    struct sockaddr_storage peer;
    socklen_t length = sizeof peer;
    uint64_t closes = server->closes;
    int fd, error;

    pthread_mutex_unlock(&server->mutex);
    fd = accept4(server->listener, (struct sockaddr *)&peer, &length, SOCK_CLOEXEC);
    error = errno;
    COUNTER_ADD(hub_counters(server->hub), wakeups_total, 1);
    pthread_mutex_lock(&server->mutex);
    if (fd >= 0) {
        connection_open(server, fd, (struct sockaddr *)&peer);
        return;
    }
    switch (error) {
    case EINTR:
    case ECONNABORTED: /* that one is gone: the next */
    case EINVAL:       /* after server_stop() */
        break;
    default:
        listener_pause(server, error, closes); /* EMFILE, ENFILE, ENOMEM and such: the next call would fail, too */
        break;
    }
}

static void *acceptor_main(void *arg)
{
    struct server *server = arg;

    pthread_mutex_lock(&server->mutex);
    while (!server->draining) {
        listener_ready(server);
        server_turn(server);
    }
    pthread_mutex_unlock(&server->mutex);
    return NULL;
}

/* ---- a connection ---- */

/* After the stop was asked for, the socket is read until it is empty (L-7): until then the calls do not block. */
void connection_read(struct connection *connection, char *buffer)
{
    struct server *server = connection->server;
    bool emptying = server->draining && session_phase(connection->session) == SESSION_OPEN;
    ssize_t length;
    int error;

    connection->in_recv = true;
    pthread_mutex_unlock(&server->mutex);
    length = recv(connection->fd, buffer, READ_BUFFER_BYTES, emptying ? MSG_DONTWAIT : 0);
    error = errno;
    COUNTER_ADD(hub_counters(server->hub), read_calls_total, 1);
    COUNTER_ADD(hub_counters(server->hub), wakeups_total, 1);
    pthread_mutex_lock(&server->mutex);
    connection->in_recv = false;
    if (length > 0)
        session_receive(connection->session, buffer, (size_t)length, clock_monotonic_ms());
    else if (length == 0)
        session_end(connection->session, PEER_FINISHED, clock_monotonic_ms());
    else if (error == EAGAIN)
        session_end(connection->session, PEER_DRAINED, clock_monotonic_ms());
    else if (error != EINTR)
        session_end(connection->session, PEER_GONE, clock_monotonic_ms());
}

void connection_write(struct connection *connection, char *scratch)
{
    struct server *server = connection->server;
    struct slice output = session_output(connection->session, scratch, READ_BUFFER_BYTES);
    ssize_t length;
    int error;

    server_turn(server);
    pthread_mutex_unlock(&server->mutex);
    length = send(connection->fd, output.bytes, output.length, MSG_NOSIGNAL);
    error = errno;
    COUNTER_ADD(hub_counters(server->hub), write_calls_total, 1);
    writer_lock(server);
    if (length < 0 && error != EAGAIN && error != EINTR)
        session_end(connection->session, PEER_GONE, clock_monotonic_ms()); /* EPIPE, ECONNRESET, ETIMEDOUT */
    session_sent(connection->session, length > 0 ? (size_t)length : 0, clock_monotonic_ms());
}

/* Make both threads leave, whatever they wait in: a call that blocks returns when its socket is shut. A
 * FIN must not come before a reset: the peer would take it for an orderly end. A sender that is left waiting by that
 * comes back after SEND_TIMEOUT_US. */
static void connection_shut(struct connection *connection, bool reset)
{
    static const struct linger abort_connection = {.l_onoff = 1, .l_linger = 0};

    if (connection->shut)
        return;
    if (reset)
        (void)setsockopt(connection->fd, SOL_SOCKET, SO_LINGER, &abort_connection, sizeof abort_connection);
    (void)shutdown(connection->fd, reset ? SHUT_RD : SHUT_RDWR);
    connection->shut = true;
    call_reader(connection);
    call_writer(connection);
    finish_if_left(connection); /* one without threads */
}

/* Bring the threads in line with the session, after hub_next_changed() reported it. */
static void connection_update(struct connection *connection)
{
    switch (session_phase(connection->session)) {
    case SESSION_OPEN:
    case SESSION_FLUSH:
        break;
    case SESSION_HALF_CLOSE:
        if (!connection->sent_fin && shutdown(connection->fd, SHUT_WR) != 0)
            session_end(connection->session, PEER_GONE, clock_monotonic_ms());
        connection->sent_fin = true;
        break;
    case SESSION_CLOSE:
        connection_shut(connection, false);
        return;
    case SESSION_RESET:
        connection_shut(connection, true);
        return;
    }
    if (session_has_output(connection->session))
        call_writer(connection);
    if (session_wants_read(connection->session))
        call_reader(connection);
}

/* The end of every connection that had a session (I4). */
static void connection_close(struct connection *connection)
{
    struct server *server = connection->server;

    client_threads_join(connection);
    session_free(connection->session);
    LIST_REMOVE(connection, siblings);
    close(connection->fd);
    free(connection);
    server->closes++;
    pthread_cond_signal(&server->has_closed);
}

/* ---- the loop: main ---- */

/* The hub's wake: from any thread, also with the mutex. It wakes main. */
static void server_wake(void *arg)
{
    const struct server *server = arg;

    alarm_ring(&server->alarm);
}

/* L-7. */
static void server_stop(struct server *server)
{
    log_info("stopping");
    server->draining = true;
    (void)shutdown(server->listener, SHUT_RDWR); /* accept(2) returns EINVAL */
    pthread_cond_signal(&server->has_closed);    /* the acceptor may wait for a descriptor */
    hub_drain(server->hub, clock_monotonic_ms());
}

/* In a stop: readers that block in recv(2) are to go on without blocking. Returns whether one has not come back yet. */
static bool interrupt_readers(struct server *server)
{
    struct connection *connection;
    bool again = false;

    for (connection = LIST_FIRST(&server->connections); connection != NULL;
         connection = LIST_NEXT(connection, siblings))
        if (session_phase(connection->session) == SESSION_OPEN)
            again |= client_interrupt(connection);
    return again;
}

/* Without the mutex, until the hub has something for main. Returns whether the stop was asked for. */
static bool wait_for_alarm(struct server *server)
{
    uint64_t until_ms = server->deadline_ms, again_ms = clock_monotonic_ms() + INTERRUPT_AGAIN_MS;
    bool stop;

    if (server->draining && interrupt_readers(server) && again_ms < until_ms)
        until_ms = again_ms;
    server->main_until_ms = until_ms;
    pthread_mutex_unlock(&server->mutex);
    stop = alarm_wait(&server->alarm, until_ms);
    COUNTER_ADD(hub_counters(server->hub), wakeups_total, 1);
    pthread_mutex_lock(&server->mutex);
    server->main_until_ms = 0;
    return stop;
}

static void close_finished(struct server *server)
{
    struct connection *connection;

    while ((connection = SLIST_FIRST(&server->finished)) != NULL) {
        SLIST_REMOVE_HEAD(&server->finished, finished);
        connection_close(connection);
    }
}

/* What no client's thread does: collect what the engine posts from a thread of its own, keep deadlines, and close. */
static void server_loop(struct server *server)
{
    pthread_mutex_lock(&server->mutex);
    while (!server->draining || !hub_drained(server->hub)) {
        if (wait_for_alarm(server))
            server_stop(server);
        close_finished(server);
        server_turn(server);
    }
    pthread_mutex_unlock(&server->mutex);
}

/* ---- start and end ---- */

/* Non-blocking is for those who poll. A send to a peer that does not read returns after the timeout with what was taken, so
 * that the session hears of it although the call blocks (L-3, L-10). Accepted sockets inherit it from the listener. */
static bool let_calls_block(int listener)
{
    static const struct timeval send_timeout = {.tv_usec = SEND_TIMEOUT_US};

    return fcntl(listener, F_SETFL, 0) == 0 &&
           setsockopt(listener, SOL_SOCKET, SO_SNDTIMEO, &send_timeout, sizeof send_timeout) == 0;
}

/* What can fail of the server itself. False: logged. */
static bool server_init(struct server *server, const struct options *options, const sigset_t *stop)
{
    alarm_init(&server->alarm, stop);
    client_threads_prepare();
    pthread_mutex_init(&server->mutex, NULL);
    pthread_cond_init(&server->has_closed, NULL);
    server->listener = listener_open(options->host, options->port);
    return server->listener >= 0 && let_calls_block(server->listener);
}

static bool server_run(struct server *server, struct chat *chat)
{
    pthread_t acceptor;
    int error;

    if (!chat_start(chat))
        return false;
    error = pthread_create(&acceptor, NULL, acceptor_main, server);
    if (error != 0) {
        log_error("cannot start a thread: %s", strerror(error));
        return false;
    }
    if (listener_announce(server->listener) != 0)
        return false;
    server_loop(server);
    pthread_join(acceptor, NULL);
    return true;
}

int main(int argc, char **argv)
{
    static struct server server;
    struct options options;
    struct chat *chat;
    sigset_t stop;
    int status;

    if (!program_begin(&options, "01-blocking", false, DESCRIPTORS_BESIDES, argc, argv, &stop, &status))
        return status;
    lower_connections_to_threads(&options, THREADS_A_CLIENT);
    chat = chat_new(&options);
    if (chat == NULL)
        return 1;
    server.hub = hub_new(chat, server_wake, &server);
    if (server.hub == NULL || !server_init(&server, &options, &stop) || !server_run(&server, chat))
        return 1; /* threads may be in the middle of things: the system takes back what there is */
    chat_stop(chat);
    hub_free(server.hub);
    chat_free(chat);
    close(server.listener);
    return 0;
}
