/* server.c - 01-blocking: two threads a client, calls that block, one mutex.
 *
 * Idea.       A thread waits in recv(2) for its client, another waits until there is something to write and sends it.
 *             Each reads straight down, as a program that knows one client only. What they share, the hub, is behind
 *             one mutex. There are two threads because one would block in send(2), when its client does not read, and
 *             could not receive; and because whoever has news for a client must never write to its socket himself: one
 *             peer that does not read would hold up everybody.
 *
 *      acceptor   accept ──▶ connection_open
 *      reader     recv ──▶ lock: session_receive, turn ──▶ recv …                  one a client
 *      writer     wait for output ──▶ sendmsg ──▶ lock: session_sent, turn …       one a client
 *      keeper     wait for a post of the engine, or a deadline ──▶ lock: turn, close who is finished …
 *      main       sigwait ──▶ server_stop
 *
 * Invariants. I1  hub, sessions, struct server and struct connection are touched under `mutex` only.
 *             I2  no call that may block is made under the mutex; one hold takes up a whole read.
 *             I3  a hold that may have changed something ends with server_turn(): all that changed is told to the
 *                 threads concerned.
 *             I4  once threads know a descriptor, it is closed by the keeper alone, after both have left: nobody can be
 *                 in a call with its number, which the next accept may give out again.
 * Threads.    As above; with --store sqlite the engine's thread, and the workers.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "alarm.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/listener.h"
#include "base/log.h"
#include "base/options.h"
#include "base/program.h"
#include "chat/hub.h"
#include "thread_limit.h"

enum {
    IOV_MAX_PIECES = 64,            /* a write */
    ACCEPT_PAUSE_MS = 1000,         /* without a free descriptor; a close ends it earlier */
    INTERRUPT_AGAIN_MS = 10,        /* see interrupt_readers() */
    SEND_TIMEOUT_US = 100 * 1000,   /* see connection_open() */
    CLIENT_STACK_BYTES = 256 << 10, /* the read buffer, and what parsing and the engine need */
    DESCRIPTORS_BESIDES = 16        /* standard streams, listener, store */
};

enum { WRITER, READER, THREADS_A_CLIENT };

struct connection {
    struct server *server;
    int fd;
    struct session *session;
    struct connection *next, *previous; /* server->connections */
    struct connection *next_finished;   /* server->finished */
    pthread_t threads[THREADS_A_CLIENT];
    int started, left;                  /* of the threads; the writer is started first */
    pthread_cond_t may_read, may_write; /* with server->mutex */
    bool in_recv;                       /* the reader is in recv(2), or on the way */
    bool sent_fin;                      /* shutdown(SHUT_WR) was called */
    bool shut;                          /* shutdown(SHUT_RDWR) was called: the threads leave */
};

struct server {
    pthread_mutex_t mutex; /* I1 */
    struct hub *hub;
    int listener;
    bool draining;
    bool ended; /* the keeper leaves */
    struct connection *connections;
    struct connection *finished; /* their threads have left */
    pthread_cond_t has_closed;   /* a connection: for the acceptor that found no descriptor, and for server_stop() */
    uint64_t deadline_ms;        /* as hub_deadline() said last */
    uint64_t keeper_until_ms;    /* when the keeper comes by itself; 0: it is here */
    pthread_attr_t client_attributes;
    sigset_t stop;
    struct alarm alarm; /* wakes the keeper */
};

static void connection_update(struct connection *connection);
static void server_wake(void *arg);
static void *reader_main(void *arg);
static void *writer_main(void *arg);

/* pthread_cond_wait(3), counted (S-7). */
static void server_wait(struct server *server, pthread_cond_t *condition)
{
    pthread_cond_wait(condition, &server->mutex);
    COUNTER_ADD(hub_counters(server->hub), wakeups_total, 1);
}

/* With the mutex, last before it is given back (I3): from hub_deadline() on, a post wakes the keeper. */
static void server_turn(struct server *server)
{
    struct session *session;

    hub_turn(server->hub, clock_monotonic_ms());
    while ((session = hub_next_changed(server->hub)) != NULL)
        connection_update(session_connection(session));
    server->deadline_ms = hub_deadline(server->hub);
    if (server->deadline_ms < server->keeper_until_ms) {
        server->keeper_until_ms = server->deadline_ms;
        server_wake(server);
    }
}

/* ---- accepting ---- */

/* No descriptor is free: accept(2) would fail again at once. Wait until a connection is closed, or for a while. */
static void listener_pause(struct server *server, int reason)
{
    struct timespec until = condition_time(clock_monotonic_ms() + ACCEPT_PAUSE_MS);

    pthread_mutex_lock(&server->mutex);
    if (!server->draining) {
        log_warn("accepting pauses: %s", strerror(reason));
        pthread_cond_timedwait(&server->has_closed, &server->mutex, &until);
    }
    pthread_mutex_unlock(&server->mutex);
}

static void connection_free(struct connection *connection)
{
    close(connection->fd);
    pthread_cond_destroy(&connection->may_read);
    pthread_cond_destroy(&connection->may_write);
    free(connection);
}

static bool start_thread(struct connection *connection, void *(*run)(void *))
{
    pthread_t *thread = &connection->threads[connection->started];

    if (pthread_create(thread, &connection->server->client_attributes, run, connection) != 0)
        return false;
    connection->started++;
    return true;
}

/* With the mutex. There is not even a writer to say that the client is refused. A socket that is new has room for it. */
static void refuse_here(struct connection *connection)
{
    struct iovec iov;
    ssize_t length = 0;

    session_refuse(connection->session);
    if (session_output(connection->session, &iov, 1, NULL) > 0) {
        length = send(connection->fd, iov.iov_base, iov.iov_len, MSG_NOSIGNAL | MSG_DONTWAIT);
        session_sent(connection->session, length > 0 ? (size_t)length : 0, clock_monotonic_ms());
    }
    (void)shutdown(connection->fd, SHUT_WR);
}

/* With the mutex. L-6: with no thread for it the client is refused, by its writer if there is one. */
static bool start_threads(struct connection *connection)
{
    if (!start_thread(connection, writer_main)) {
        refuse_here(connection);
        return false;
    }
    if (!start_thread(connection, reader_main))
        session_refuse(connection->session);
    return true;
}

/* With the mutex. False: there is no session for it, or no thread. */
static bool connection_start(struct server *server, struct connection *connection, const struct sockaddr *peer)
{
    connection->session = hub_open(server->hub, peer, connection, clock_monotonic_ms());
    if (connection->session == NULL)
        return false;
    if (!start_threads(connection)) {
        session_free(connection->session);
        return false;
    }
    connection->next = server->connections;
    if (connection->next != NULL)
        connection->next->previous = connection;
    server->connections = connection;
    return true;
}

/* Own `fd` from here on. */
static void connection_open(struct server *server, int fd, const struct sockaddr *peer)
{
    /* A send to a peer that does not read returns after this time with what was taken, so that the session hears of it
     * (L-3, L-10) although the call blocks. */
    static const struct timeval send_timeout = {.tv_usec = SEND_TIMEOUT_US};
    struct connection *connection = calloc(1, sizeof *connection);

    if (connection == NULL) {
        close(fd);
        return;
    }
    *connection = (struct connection){.server = server, .fd = fd};
    pthread_cond_init(&connection->may_read, NULL);
    pthread_cond_init(&connection->may_write, NULL);
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &send_timeout, sizeof send_timeout);
    pthread_mutex_lock(&server->mutex);
    if (!connection_start(server, connection, peer))
        connection_free(connection);
    server_turn(server);
    pthread_mutex_unlock(&server->mutex);
}

/* Wait for one client and take it in. */
static void listener_ready(struct server *server)
{
    struct sockaddr_storage peer;
    socklen_t length = sizeof peer;
    int fd = accept4(server->listener, (struct sockaddr *)&peer, &length, SOCK_CLOEXEC);
    int error = errno;

    COUNTER_ADD(hub_counters(server->hub), wakeups_total, 1);
    if (fd >= 0) {
        connection_open(server, fd, (struct sockaddr *)&peer);
        return;
    }
    switch (error) {
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
        listener_pause(server, error);
        break;
    default:
        break; /* EINTR, ECONNABORTED, and what accept(2) passes on of the network; EINVAL after server_stop() */
    }
}

static void *acceptor_main(void *arg)
{
    struct server *server = arg;
    bool draining;

    do {
        listener_ready(server);
        pthread_mutex_lock(&server->mutex);
        draining = server->draining;
        pthread_mutex_unlock(&server->mutex);
    } while (!draining);
    return NULL;
}

/* ---- a connection ---- */

/* With the mutex, which a thread gives back last. The last of the two hands the connection to the keeper. */
static void thread_leaves(struct connection *connection)
{
    struct server *server = connection->server;

    if (++connection->left < connection->started)
        return;
    connection->next_finished = server->finished;
    server->finished = connection;
    server_wake(server);
}

/* With the mutex, which is given back during the call. After the stop was asked for, the socket is read until it is
 * empty (L-7): until then the calls do not block. */
static void connection_read(struct connection *connection, char *buffer)
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

static void *reader_main(void *arg)
{
    struct connection *connection = arg;
    struct server *server = connection->server;
    char buffer[READ_BUFFER_BYTES];

    pthread_mutex_lock(&server->mutex);
    while (!connection->shut) {
        if (session_wants_read(connection->session)) {
            connection_read(connection, buffer);
            server_turn(server);
        } else {
            server_wait(server, &connection->may_read);
        }
    }
    thread_leaves(connection);
    pthread_mutex_unlock(&server->mutex);
    return NULL;
}

/* With the mutex, which is given back during the call. */
static void connection_write(struct connection *connection, char *scratch)
{
    struct server *server = connection->server;
    struct iovec iov[IOV_MAX_PIECES];
    struct msghdr message = {.msg_iov = iov};
    ssize_t length;
    int error;

    message.msg_iovlen = (size_t)session_output(connection->session, iov, IOV_MAX_PIECES, scratch);
    pthread_mutex_unlock(&server->mutex);
    length = sendmsg(connection->fd, &message, MSG_NOSIGNAL);
    error = errno;
    COUNTER_ADD(hub_counters(server->hub), write_calls_total, 1);
    pthread_mutex_lock(&server->mutex);
    if (length < 0 && error != EAGAIN && error != EINTR)
        session_end(connection->session, PEER_GONE, clock_monotonic_ms()); /* EPIPE, ECONNRESET, ETIMEDOUT */
    session_sent(connection->session, length > 0 ? (size_t)length : 0, clock_monotonic_ms());
}

static void *writer_main(void *arg)
{
    struct connection *connection = arg;
    struct server *server = connection->server;
    char scratch[OUTPUT_GATHER_BYTES];

    pthread_mutex_lock(&server->mutex);
    while (!connection->shut) {
        if (session_has_output(connection->session)) {
            connection_write(connection, scratch);
            server_turn(server);
        } else {
            server_wait(server, &connection->may_write);
        }
    }
    thread_leaves(connection);
    pthread_mutex_unlock(&server->mutex);
    return NULL;
}

/* With the mutex. Make both threads leave, whatever they wait in: a call that blocks returns when its socket is shut. A
 * FIN must not come before a reset: the peer would take it for an orderly end. A sender that is left waiting by that
 * comes back after SEND_TIMEOUT_US. */
static void connection_shut(struct connection *connection, bool reset)
{
    static const struct linger abort_connection = {.l_onoff = 1, .l_linger = 0};

    if (reset)
        (void)setsockopt(connection->fd, SOL_SOCKET, SO_LINGER, &abort_connection, sizeof abort_connection);
    (void)shutdown(connection->fd, reset ? SHUT_RD : SHUT_RDWR);
    connection->shut = true;
    pthread_cond_signal(&connection->may_read);
    pthread_cond_signal(&connection->may_write);
}

/* With the mutex. Bring the threads in line with the session, after hub_next_changed() reported it. */
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
        pthread_cond_signal(&connection->may_write);
    if (session_wants_read(connection->session))
        pthread_cond_signal(&connection->may_read);
}

/* With the mutex. The end of every connection that had threads (I4). */
static void connection_close(struct connection *connection)
{
    struct server *server = connection->server;

    /* They have given the mutex back or are about to, and do nothing after it: this does not wait for anybody. */
    for (int i = 0; i < connection->started; i++)
        pthread_join(connection->threads[i], NULL);
    if (connection->previous != NULL)
        connection->previous->next = connection->next;
    else
        server->connections = connection->next;
    if (connection->next != NULL)
        connection->next->previous = connection->previous;
    session_free(connection->session);
    connection_free(connection);
    pthread_cond_broadcast(&server->has_closed);
}

/* ---- the loop: the keeper ---- */

/* The hub's wake: from any thread, also with the mutex. It wakes the keeper. */
static void server_wake(void *arg)
{
    struct server *server = arg;

    alarm_ring(&server->alarm);
}

/* L-7. Returns when the last connection is closed. */
static void server_stop(struct server *server)
{
    log_info("stopping");
    program_let_stop(&server->stop);
    pthread_mutex_lock(&server->mutex);
    server->draining = true;
    hub_drain(server->hub, clock_monotonic_ms());
    (void)shutdown(server->listener, SHUT_RDWR); /* accept(2) returns EINVAL */
    pthread_cond_broadcast(&server->has_closed); /* the acceptor may wait for a descriptor */
    server_wake(server);
    while (!hub_drained(server->hub))
        server_wait(server, &server->has_closed);
    server->ended = true;
    server_wake(server);
    pthread_mutex_unlock(&server->mutex);
}

/* With the mutex. A reader that blocks in recv(2) does not learn of the stop. The signal's handler does nothing; it only
 * makes the call return EINTR. But a reader may have given the mutex back and not be in the call yet: then the signal
 * comes too early and is lost. So it is sent until the reader has come back. Returns whether one has not. */
static bool interrupt_readers(struct server *server)
{
    bool again = false;

    for (struct connection *connection = server->connections; connection != NULL; connection = connection->next) {
        if (connection->in_recv && session_phase(connection->session) == SESSION_OPEN) {
            pthread_kill(connection->threads[READER], SIGUSR1);
            again = true;
        }
    }
    return again;
}

static void close_finished(struct server *server)
{
    while (server->finished != NULL) {
        struct connection *connection = server->finished;

        server->finished = connection->next_finished;
        connection_close(connection);
    }
}

/* What no client's thread does: collect what the engine posts from a thread of its own, keep deadlines, and close. */
static void server_loop(struct server *server)
{
    pthread_mutex_lock(&server->mutex);
    while (!server->ended) {
        uint64_t until_ms, again_ms = UINT64_MAX;

        server->keeper_until_ms = 0;
        close_finished(server);
        server_turn(server);
        if (server->draining && interrupt_readers(server))
            again_ms = clock_monotonic_ms() + INTERRUPT_AGAIN_MS;
        until_ms = server->deadline_ms < again_ms ? server->deadline_ms : again_ms;
        server->keeper_until_ms = until_ms;
        pthread_mutex_unlock(&server->mutex);
        alarm_wait(&server->alarm, until_ms);
        COUNTER_ADD(hub_counters(server->hub), wakeups_total, 1);
        pthread_mutex_lock(&server->mutex);
    }
    pthread_mutex_unlock(&server->mutex);
}

static void *keeper_main(void *arg)
{
    server_loop(arg);
    return NULL;
}

/* ---- start and end ---- */

static void ignore_signal(int number)
{
    (void)number;
}

/* Without SA_RESTART: the call that SIGUSR1 interrupts is to return (signal(7)). */
static void allow_interrupts(void)
{
    struct sigaction action = {.sa_handler = ignore_signal};

    sigaction(SIGUSR1, &action, NULL);
}

/* What can fail of the server itself. False: logged. */
static bool server_init(struct server *server, const struct options *options)
{
    allow_interrupts();
    pthread_mutex_init(&server->mutex, NULL);
    condition_init(&server->has_closed);
    alarm_init(&server->alarm);
    pthread_attr_init(&server->client_attributes);
    pthread_attr_setstacksize(&server->client_attributes, CLIENT_STACK_BYTES);
    server->listener = listener_open(options->host, options->port);
    /* Non-blocking is for those who poll. */
    return server->listener >= 0 && fcntl(server->listener, F_SETFL, 0) == 0;
}

static bool start_service(pthread_t *thread, void *(*run)(void *), struct server *server)
{
    int error = pthread_create(thread, NULL, run, server);

    if (error != 0)
        log_error("cannot start a thread: %s", strerror(error));
    return error == 0;
}

static bool server_run(struct server *server, struct chat *chat)
{
    pthread_t keeper, acceptor;
    int number;

    if (!chat_start(chat) || !start_service(&keeper, keeper_main, server) || listener_announce(server->listener) != 0 ||
        !start_service(&acceptor, acceptor_main, server))
        return false;
    sigwait(&server->stop, &number);
    server_stop(server);
    pthread_join(acceptor, NULL);
    pthread_join(keeper, NULL);
    return true;
}

int main(int argc, char **argv)
{
    static struct server server;
    struct options options;
    struct chat *chat;
    int status;

    if (!program_begin(&options, "01-blocking", false, DESCRIPTORS_BESIDES, argc, argv, &server.stop, &status))
        return status;
    lower_connections_to_threads(&options, THREADS_A_CLIENT);
    chat = chat_new(&options);
    if (chat == NULL)
        return 1;
    server.hub = hub_new(chat, server_wake, &server);
    if (server.hub == NULL || !server_init(&server, &options) || !server_run(&server, chat))
        return 1; /* threads may be in the middle of things: the system takes back what there is */
    chat_stop(chat);
    hub_free(server.hub);
    chat_free(chat);
    close(server.listener);
    return 0;
}
