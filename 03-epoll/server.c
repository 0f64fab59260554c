/* server.c - 03-epoll: one thread, edge-triggered epoll, a reactor by hand.
 *
 * Idea.       A descriptor is registered once, for everything, and never touched again: no epoll_ctl a message. In
 *             exchange the kernel tells only of changes (edges), so this file has to remember what it was told. A
 *             direction of a connection has two properties (after haproxy):
 *
 *                  ready    the last call did not end with EAGAIN, so the next one may do something: `readable`,
 *                           `writable`. Set by an event, cleared by EAGAIN or by what is as good as it.
 *                  active   the session wants it: session_wants_read(), session_has_output().
 *
 *             A call is made when both hold. Whoever makes the second of them true sees to it that the call happens:
 *             there will be no further event. So a connection whose read stopped at the budget, or at the session's
 *             wish, is remembered in the ready list.
 * Invariants. I1  a connection is in `connections` while it is open, then in `closed` until the turn ends.
 *             I2  readable and session_wants_read(): the connection is in the ready list, until it is read.
 *             I3  writable and session_has_output(): it is written before the turn ends.
 *             I4  an event names its connection by address. If that was closed earlier in the batch, it is still there
 *                 (I1), without a session, and the event falls on the floor. By its descriptor, it could be taken for
 *                 one that was accepted since, and got the same number.
 * Threads.    One, but for server_wake(). Beside it run the workers (passwords) and, with --store sqlite, the engine's
 *             thread: a loop must never wait for a disk. They touch nothing here.
 */
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/queue.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/listener.h"
#include "base/log.h"
#include "base/options.h"
#include "base/program.h"
#include "chat/hub.h"

enum {
    EVENTS_MAX = 256,        /* a turn; what does not fit comes with the next */
    ACCEPTS_MAX = 64,        /* a turn, so that a storm of connections does not keep those there are waiting */
    ACCEPT_PAUSE_MS = 1000,  /* without a free descriptor; a close ends it earlier */
    DESCRIPTORS_BESIDES = 16 /* standard streams, listener, epoll, eventfd, signalfd, store */
};

struct connection {
    LIST_ENTRY(connection) link; /* I1 */
    TAILQ_ENTRY(connection) ready;
    int fd;
    struct session *session; /* NULL: closed */
    bool in_ready;
    bool readable;
    bool writable;
    bool read_until_again; /* the end, or urgent data, was signalled: a short read does not say that nothing is left */
    bool sent_fin;         /* shutdown(SHUT_WR) was called */
};

struct server {
    struct hub *hub;
    int listener; /* -1: closed */
    int epoll;
    int wake;
    int signals; /* -1: the first one came */
    sigset_t stop;
    uint64_t now_ms;
    uint64_t accept_again_ms; /* 0: accepting */
    bool draining;
    LIST_HEAD(, connection) connections, closed; /* I1 */
    TAILQ_HEAD(, connection) ready;              /* I2 */
    char read_buffer[READ_BUFFER_BYTES];
    char scratch[OUTPUT_GATHER_BYTES];
};

static void connection_close(struct server *server, struct connection *connection, bool reset);

/* ---- what epoll watches ---- */

/* `name` comes back with each event: a connection, or the member of struct server that has the descriptor. */
static bool watch(struct server *server, int fd, uint32_t events, void *name)
{
    struct epoll_event event = {.events = events, .data.ptr = name};

    return epoll_ctl(server->epoll, EPOLL_CTL_ADD, fd, &event) == 0;
}

static void make_ready(struct server *server, struct connection *connection)
{
    if (!connection->in_ready)
        TAILQ_INSERT_TAIL(&server->ready, connection, ready);
    connection->in_ready = true;
}

/* I2 */
static void read_later(struct server *server, struct connection *connection)
{
    if (connection->readable && session_wants_read(connection->session))
        make_ready(server, connection);
}

/* ---- accepting ---- */

/* The listener is level-triggered, unlike all else: after EMFILE an edge would be gone, and deaf is worse than busy. So
 * it is taken out while there is no descriptor: level-triggered and ignored would be a spin. */
static void listener_pause(struct server *server, int reason)
{
    if (epoll_ctl(server->epoll, EPOLL_CTL_DEL, server->listener, NULL) == 0) {
        server->accept_again_ms = server->now_ms + ACCEPT_PAUSE_MS;
        log_warn("accepting pauses: %s", strerror(reason));
    }
}

static void listener_resume(struct server *server)
{
    if (server->accept_again_ms != 0)
        server->accept_again_ms =
            watch(server, server->listener, EPOLLIN, &server->listener) ? 0 : server->now_ms + ACCEPT_PAUSE_MS;
}

/* Own `fd` from here on. A new socket is writable; its first event tells whether it is readable. */
static void connection_open(struct server *server, int fd, const struct sockaddr *peer)
{
    struct connection *connection = calloc(1, sizeof *connection);

    if (connection == NULL) {
        close(fd);
        return;
    }
    connection->fd = fd;
    connection->writable = true;
    connection->session = hub_open(server->hub, peer, connection, server->now_ms);
    if (connection->session == NULL) {
        close(fd);
        free(connection);
        return;
    }
    LIST_INSERT_HEAD(&server->connections, connection, link);
    if (!watch(server, fd, EPOLLIN | EPOLLPRI | EPOLLRDHUP | EPOLLOUT | EPOLLET, connection))
        connection_close(server, connection, true);
}

static void listener_ready(struct server *server)
{
    for (int i = 0; i < ACCEPTS_MAX && server->listener >= 0; i++) {
        struct sockaddr_storage peer;
        socklen_t length = sizeof peer;
        int fd = accept4(server->listener, (struct sockaddr *)&peer, &length, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd >= 0) {
            connection_open(server, fd, (struct sockaddr *)&peer);
            continue;
        }
        switch (errno) {
        case EAGAIN:
            return;
        case EINTR:
        case ECONNABORTED:
            break; /* that one is gone: the next */
        default:
            listener_pause(server, errno); /* EMFILE, ENFILE, ENOMEM and such: the next call would fail, too */
            return;
        }
    }
}

/* ---- a connection ---- */

/* After the stop was asked for: the socket was read until it was empty, which ends what is taken up of it (L-7). */
static void tell_if_drained(struct server *server, struct connection *connection)
{
    if (server->draining && !connection->readable)
        session_end(connection->session, PEER_DRAINED, server->now_ms);
}

/* One read of READ_BUFFER_BYTES a turn, however much there is: the others have their turn, too. */
static void connection_read(struct server *server, struct connection *connection)
{
    ssize_t length;

    do {
        COUNTER_ADD(hub_counters(server->hub), read_calls_total, 1);
        length = recv(connection->fd, server->read_buffer, sizeof server->read_buffer, 0);
    } while (length < 0 && errno == EINTR);
    /* A short read has emptied the socket, and what comes will be an edge: the call that would say EAGAIN is saved. Not
     * so after the peer's end, for that edge is spent, and only the next call says 0; nor before an urgent byte, at which
     * a read ends (tcp(7)). */
    connection->readable =
        length == (ssize_t)sizeof server->read_buffer || (length > 0 && connection->read_until_again);
    if (length > 0)
        session_receive(connection->session, server->read_buffer, (size_t)length, server->now_ms);
    else if (length == 0 || errno != EAGAIN)
        session_end(connection->session, length == 0 ? PEER_FINISHED : PEER_GONE, server->now_ms);
    tell_if_drained(server, connection);
    read_later(server, connection);
}

/* Until nothing waits, or the system takes no more: an outbox has a bound, so this loop has one. */
static void connection_write(struct server *server, struct connection *connection)
{
    struct slice output;

    while (connection->writable &&
           (output = session_output(connection->session, server->scratch, sizeof server->scratch)).length > 0) {
        ssize_t length;

        do {
            COUNTER_ADD(hub_counters(server->hub), write_calls_total, 1);
            length = send(connection->fd, output.bytes, output.length, MSG_NOSIGNAL);
        } while (length < 0 && errno == EINTR);
        if (length < 0 && errno != EAGAIN)
            session_end(connection->session, PEER_GONE, server->now_ms); /* EPIPE, ECONNRESET, ETIMEDOUT */
        /* Short means full, as EAGAIN does: an edge will come when there is room. */
        connection->writable = session_sent(connection->session, length > 0 ? (size_t)length : 0, server->now_ms);
    }
}

/* Bring the socket in line with its session, after hub_next_changed() reported it. */
static void connection_update(struct server *server, struct connection *connection)
{
    connection_write(server, connection);
    read_later(server, connection);
    switch (session_phase(connection->session)) {
    case SESSION_OPEN:
    case SESSION_FLUSH:
        break;
    case SESSION_HALF_CLOSE:
        if (!connection->sent_fin && shutdown(connection->fd, SHUT_WR) != 0)
            session_end(connection->session, PEER_GONE, server->now_ms);
        connection->sent_fin = true;
        break;
    case SESSION_CLOSE:
        connection_close(server, connection, false);
        break;
    case SESSION_RESET:
        connection_close(server, connection, true);
        break;
    }
}

/* The end of every connection that had a session. */
static void connection_close(struct server *server, struct connection *connection, bool reset)
{
    static const struct linger abort_connection = {.l_onoff = 1, .l_linger = 0};

    if (reset)
        (void)setsockopt(connection->fd, SOL_SOCKET, SO_LINGER, &abort_connection, sizeof abort_connection);
    session_free(connection->session);
    connection->session = NULL; /* I4 */
    if (connection->in_ready)
        TAILQ_REMOVE(&server->ready, connection, ready);
    LIST_REMOVE(connection, link);
    LIST_INSERT_HEAD(&server->closed, connection, link); /* I1 */
    close(connection->fd);                               /* which takes it out of epoll: there is no duplicate of it */
    listener_resume(server);                             /* there is a descriptor again */
}

/* I1: at the end of a turn, no event is left that may name them. */
static void free_closed(struct server *server)
{
    struct connection *connection;

    while ((connection = LIST_FIRST(&server->closed)) != NULL) {
        LIST_REMOVE(connection, link);
        free(connection);
    }
}

/* ---- the loop ---- */

/* The hub's wake: from any thread. EAGAIN: the counter is full, so the loop wakes anyway (eventfd(2)). */
static void server_wake(void *arg)
{
    const struct server *server = arg;
    const uint64_t one = 1;

    while (write(server->wake, &one, sizeof one) < 0 && errno == EINTR)
        ;
}

static void wake_ready(const struct server *server)
{
    uint64_t count;

    while (read(server->wake, &count, sizeof count) < 0 && errno == EINTR)
        ;
}

/* L-7. Each socket is read until it is empty, once: as if all of them had become readable. */
static void server_stop(struct server *server)
{
    struct signalfd_siginfo info;
    struct connection *connection;

    if (read(server->signals, &info, sizeof info) != sizeof info)
        return;
    log_info("stopping");
    server->draining = true;
    close(server->listener);
    server->listener = -1;
    server->accept_again_ms = 0;
    hub_drain(server->hub, server->now_ms);
    LIST_FOREACH (connection, &server->connections, link) {
        connection->readable = true;
        make_ready(server, connection);
    }
    program_let_stop(&server->stop);
    close(server->signals);
    server->signals = -1;
}

static void connection_ready(struct server *server, struct connection *connection, uint32_t events)
{
    if (connection->session == NULL)
        return; /* I4 */
    if ((events & (EPOLLPRI | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0)
        connection->read_until_again = true;
    if ((events & (EPOLLIN | EPOLLPRI | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) {
        connection->readable = true;
        make_ready(server, connection);
    }
    if ((events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0) {
        connection->writable = true;
        connection_update(server, connection); /* I3: what waited for room */
    }
}

static void dispatch(struct server *server, const struct epoll_event *event)
{
    if (event->data.ptr == &server->listener)
        listener_ready(server);
    else if (event->data.ptr == &server->wake)
        wake_ready(server);
    else if (event->data.ptr == &server->signals)
        server_stop(server);
    else
        connection_ready(server, event->data.ptr, event->events);
}

/* Everybody who is ready now, once; who becomes ready by it, or still is, comes in the next turn. */
static void read_ready(struct server *server)
{
    TAILQ_HEAD(, connection) now = TAILQ_HEAD_INITIALIZER(now);
    struct connection *connection;

    TAILQ_CONCAT(&now, &server->ready, ready);
    while ((connection = TAILQ_FIRST(&now)) != NULL) {
        TAILQ_REMOVE(&now, connection, ready);
        connection->in_ready = false;
        if (connection->readable && session_wants_read(connection->session))
            connection_read(server, connection);
    }
}

static int wait_ms(struct server *server)
{
    uint64_t deadline_ms = hub_deadline(server->hub);

    if (!TAILQ_EMPTY(&server->ready))
        return 0;
    if (server->accept_again_ms != 0 && server->accept_again_ms < deadline_ms)
        deadline_ms = server->accept_again_ms;
    return clock_wait_ms(server->now_ms, deadline_ms);
}

static void server_loop(struct server *server)
{
    struct epoll_event events[EVENTS_MAX];
    struct session *session;

    while (!server->draining || !hub_drained(server->hub)) {
        int count = epoll_wait(server->epoll, events, EVENTS_MAX, wait_ms(server));

        COUNTER_ADD(hub_counters(server->hub), wakeups_total, 1);
        server->now_ms = clock_monotonic_ms();
        for (int i = 0; i < count; i++)
            dispatch(server, &events[i]);
        if (server->accept_again_ms != 0 && server->accept_again_ms <= server->now_ms)
            listener_resume(server);
        read_ready(server);
        hub_turn(server->hub, server->now_ms);
        while ((session = hub_next_changed(server->hub)) != NULL)
            connection_update(server, session_connection(session));
        free_closed(server);
    }
}

/* ---- start and end ---- */

/* All level-triggered, and the listener, too: they are quiet when nothing happens, and nothing of them can be lost.
 * False: logged. */
static bool make_loop(struct server *server)
{
    server->epoll = epoll_create1(EPOLL_CLOEXEC);
    server->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    server->signals = signalfd(-1, &server->stop, SFD_CLOEXEC | SFD_NONBLOCK);
    if (server->epoll >= 0 && server->wake >= 0 && server->signals >= 0 &&
        watch(server, server->wake, EPOLLIN, &server->wake) &&
        watch(server, server->signals, EPOLLIN, &server->signals))
        return true;
    log_error("cannot make the event loop: %s", strerror(errno));
    return false;
}

/* What can fail of the loop itself. False: logged. */
static bool server_init(struct server *server, const struct options *options)
{
    TAILQ_INIT(&server->ready);
    server->now_ms = clock_monotonic_ms();
    server->listener = make_loop(server) ? listener_open(options->host, options->port) : -1;
    if (server->listener < 0)
        return false;
    if (watch(server, server->listener, EPOLLIN, &server->listener))
        return true;
    log_error("cannot watch the listener: %s", strerror(errno));
    return false;
}

static void server_fini(struct server *server)
{
    if (server->listener >= 0)
        close(server->listener);
    if (server->signals >= 0)
        close(server->signals);
    close(server->wake);
    close(server->epoll);
}

static bool server_run(struct server *server, struct chat *chat)
{
    if (!chat_start(chat) || listener_announce(server->listener) != 0)
        return false;
    server_loop(server);
    return true;
}

int main(int argc, char **argv)
{
    static struct server server;
    struct options options;
    struct chat *chat;
    int status;

    if (!program_begin(&options, "03-epoll", false, DESCRIPTORS_BESIDES, argc, argv, &server.stop, &status))
        return status;
    chat = chat_new(&options);
    if (chat == NULL)
        return 1;
    server.hub = hub_new(chat, server_wake, &server);
    if (server.hub == NULL)
        return 1;
    status = server_init(&server, &options) && server_run(&server, chat) ? 0 : 1;
    chat_stop(chat);
    hub_free(server.hub);
    chat_free(chat);
    server_fini(&server);
    return status;
}
