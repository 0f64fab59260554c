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
 * Invariants. I1  connections[fd] is the connection of an open descriptor, else NULL.
 *             I2  readable and session_wants_read(): the connection is in the ready list, until it is read.
 *             I3  writable and session_has_output(): it is written before the turn ends.
 *             I4  an event names descriptor and generation; one whose generation is not that of connections[fd] belongs
 *                 to a connection that was closed earlier in the same batch, and falls on the floor.
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
    IOV_MAX_PIECES = 64,     /* a write */
    ACCEPT_PAUSE_MS = 1000,  /* without a free descriptor; a close ends it earlier */
    DESCRIPTORS_BESIDES = 16 /* standard streams, listener, epoll, eventfd, signalfd, store */
};

struct connection {
    int fd;
    uint32_t generation;     /* I4 */
    struct session *session; /* NULL: closed, and only still in the ready list */
    struct connection *next_ready;
    bool in_ready;
    bool readable;
    bool writable;
    bool ending;   /* the peer's end was signalled: a short read does not mean that the socket is empty */
    bool sent_fin; /* shutdown(SHUT_WR) was called */
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
    uint32_t generation; /* of the newest connection */
    struct connection **connections;
    size_t connection_capacity;
    struct connection *ready_first, *ready_last;
    char read_buffer[READ_BUFFER_BYTES];
    char scratch[OUTPUT_GATHER_BYTES];
};

static void connection_close(struct server *server, struct connection *connection, bool reset);

/* ---- what epoll watches ---- */

static uint64_t event_name(int fd, uint32_t generation)
{
    return (uint64_t)generation << 32 | (uint32_t)fd;
}

static bool watch(struct server *server, int fd, uint32_t generation, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.u64 = event_name(fd, generation)};

    return epoll_ctl(server->epoll, EPOLL_CTL_ADD, fd, &event) == 0;
}

/* The connection that an event names; NULL: it is closed (I4). */
static struct connection *connection_of(const struct server *server, uint64_t name)
{
    size_t fd = (uint32_t)name;
    struct connection *connection = fd < server->connection_capacity ? server->connections[fd] : NULL;

    return connection != NULL && connection->generation == name >> 32 ? connection : NULL;
}

static void make_ready(struct server *server, struct connection *connection)
{
    if (connection->in_ready)
        return;
    connection->in_ready = true;
    connection->next_ready = NULL;
    if (server->ready_last == NULL)
        server->ready_first = connection;
    else
        server->ready_last->next_ready = connection;
    server->ready_last = connection;
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
    if (server->accept_again_ms == 0 || server->listener < 0)
        return;
    if (watch(server, server->listener, 0, EPOLLIN))
        server->accept_again_ms = 0;
    else
        server->accept_again_ms = server->now_ms + ACCEPT_PAUSE_MS;
}

static bool reserve_table(struct server *server, int fd)
{
    size_t capacity = server->connection_capacity == 0 ? 64 : server->connection_capacity;
    struct connection **connections;

    while (capacity <= (size_t)fd)
        capacity *= 2;
    if (capacity == server->connection_capacity)
        return true;
    connections = realloc(server->connections, capacity * sizeof *connections);
    if (connections == NULL)
        return false;
    for (size_t i = server->connection_capacity; i < capacity; i++)
        connections[i] = NULL;
    server->connections = connections;
    server->connection_capacity = capacity;
    return true;
}

/* Own `fd` from here on. A new socket is writable, and readable as far as we know. */
static void connection_open(struct server *server, int fd, const struct sockaddr *peer)
{
    struct connection *connection = reserve_table(server, fd) ? calloc(1, sizeof *connection) : NULL;

    if (connection == NULL) {
        close(fd);
        return;
    }
    connection->fd = fd;
    connection->generation = ++server->generation;
    connection->writable = true;
    connection->session = hub_open(server->hub, peer, connection, server->now_ms);
    if (connection->session == NULL) {
        close(fd);
        free(connection);
        return;
    }
    server->connections[fd] = connection;
    if (!watch(server, fd, connection->generation, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET))
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
        case EMFILE:
        case ENFILE:
        case ENOBUFS:
        case ENOMEM:
            listener_pause(server, errno);
            return;
        default:
            break; /* EINTR, ECONNABORTED, and what accept(2) passes on of the network: not the listener's errors */
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
    if (length > 0) {
        /* A short read has emptied the socket, and what comes will be an edge: the call that would say EAGAIN is saved.
         * Not so when the peer's end was signalled: that edge is spent, and only the next call will say 0. */
        connection->readable = (size_t)length == sizeof server->read_buffer || connection->ending;
        session_receive(connection->session, server->read_buffer, (size_t)length, server->now_ms);
    } else if (length < 0 && errno == EAGAIN) {
        connection->readable = false;
    } else {
        connection->readable = false;
        session_end(connection->session, length == 0 ? PEER_FINISHED : PEER_GONE, server->now_ms);
    }
    tell_if_drained(server, connection);
    read_later(server, connection);
}

/* Until nothing waits, or the system takes no more: an outbox has a bound, so this loop has one. */
static void connection_write(struct server *server, struct connection *connection)
{
    struct iovec iov[IOV_MAX_PIECES];
    int count;

    while (connection->writable &&
           (count = session_output(connection->session, iov, IOV_MAX_PIECES, server->scratch)) > 0) {
        struct msghdr message = {.msg_iov = iov, .msg_iovlen = (size_t)count};
        ssize_t length;

        do {
            COUNTER_ADD(hub_counters(server->hub), write_calls_total, 1);
            length = sendmsg(connection->fd, &message, MSG_NOSIGNAL);
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
        return;
    case SESSION_RESET:
        connection_close(server, connection, true);
        return;
    }
    read_later(server, connection);
}

/* The end of every connection that had a session. */
static void connection_close(struct server *server, struct connection *connection, bool reset)
{
    static const struct linger abort_connection = {.l_onoff = 1, .l_linger = 0};

    if (reset)
        (void)setsockopt(connection->fd, SOL_SOCKET, SO_LINGER, &abort_connection, sizeof abort_connection);
    session_free(connection->session);
    connection->session = NULL;
    server->connections[connection->fd] = NULL; /* I1, I4 */
    close(connection->fd);                      /* which takes it out of epoll: there is no duplicate of it */
    if (!connection->in_ready)
        free(connection);
    listener_resume(server); /* there is a descriptor again */
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

    if (read(server->signals, &info, sizeof info) != sizeof info)
        return;
    log_info("stopping");
    server->draining = true;
    close(server->listener);
    server->listener = -1;
    hub_drain(server->hub, server->now_ms);
    for (size_t fd = 0; fd < server->connection_capacity; fd++) {
        if (server->connections[fd] == NULL)
            continue;
        server->connections[fd]->readable = true;
        make_ready(server, server->connections[fd]);
    }
    program_let_stop(&server->stop);
    close(server->signals);
    server->signals = -1;
}

static void connection_ready(struct server *server, struct connection *connection, uint32_t events)
{
    if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0)
        connection->ending = true;
    if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) {
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
    int fd = (int)(uint32_t)event->data.u64;
    struct connection *connection = connection_of(server, event->data.u64);

    if (connection != NULL)
        connection_ready(server, connection, event->events);
    else if (fd == server->listener)
        listener_ready(server);
    else if (fd == server->wake)
        wake_ready(server);
    else if (fd == server->signals)
        server_stop(server);
}

/* Everybody who is ready now, once; who becomes ready by it, or still is, comes in the next turn. */
static void read_ready(struct server *server)
{
    struct connection *connection = server->ready_first;

    server->ready_first = server->ready_last = NULL;
    while (connection != NULL) {
        struct connection *next = connection->next_ready;

        connection->in_ready = false;
        if (connection->session == NULL)
            free(connection);
        else if (connection->readable && session_wants_read(connection->session))
            connection_read(server, connection);
        connection = next;
    }
}

static int wait_ms(struct server *server)
{
    uint64_t deadline_ms = hub_deadline(server->hub);

    if (server->accept_again_ms != 0 && server->accept_again_ms < deadline_ms)
        deadline_ms = server->accept_again_ms;
    if (server->ready_first != NULL || deadline_ms <= server->now_ms)
        return 0;
    if (deadline_ms == UINT64_MAX)
        return -1;
    return deadline_ms - server->now_ms < INT32_MAX ? (int)(deadline_ms - server->now_ms) : INT32_MAX;
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
    }
}

/* ---- start and end ---- */

/* All level-triggered, and the listener, too: they are quiet when nothing happens, and nothing of them can be lost. */
static bool make_loop(struct server *server)
{
    server->epoll = epoll_create1(EPOLL_CLOEXEC);
    server->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    server->signals = signalfd(-1, &server->stop, SFD_CLOEXEC | SFD_NONBLOCK);
    return server->epoll >= 0 && server->wake >= 0 && server->signals >= 0 && watch(server, server->wake, 0, EPOLLIN) &&
           watch(server, server->signals, 0, EPOLLIN);
}

/* What can fail of the loop itself. False: logged. */
static bool server_init(struct server *server, const struct options *options)
{
    server->now_ms = clock_monotonic_ms();
    server->listener = -1;
    if (!make_loop(server)) {
        log_error("cannot make the event loop: %s", strerror(errno));
        return false;
    }
    server->listener = listener_open(options->host, options->port);
    return server->listener >= 0 && watch(server, server->listener, 0, EPOLLIN);
}

static void server_fini(struct server *server)
{
    free(server->connections);
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
