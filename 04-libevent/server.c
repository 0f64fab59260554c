/* server.c - 04-libevent: one thread, and a library that waits, reads and writes.
 *
 * Idea.       libevent's bufferevent is a connection with two buffers. It fills the one and empties the other by itself,
 *             and calls back: something was read, something was written, the end came. So here is no EAGAIN, no EINTR,
 *             no readiness and no epoll. What is left is to keep the library within bounds, for its buffers have none:
 *
 *                  input    is emptied by the callback that tells of it. While the session does not want to read,
 *                           EV_READ is off, and at most one read of the library (4 KiB) stays there.
 *                  output   is a loan. What session_output() gives is lent to the library by reference, and
 *                           session_sent() ends the loan: when all of it was written, or when the system is full. Then
 *                           the rest is taken back first. So all that waits is in the outbox, the session knows of it,
 *                           and its limits and deadlines hold as if there were no library (L-3, L-4, L-9, L-10).
 *
 * Invariants. I1  lent > 0: the library's output holds the last bytes of what session_output() gave, and session_sent()
 *                 is still to come; it is empty otherwise.
 *             I2  EV_READ is on when session_wants_read(), from the end of the turn on.
 *             I3  connections are closed between two passes of the loop, never in a callback: so none can be called
 *                 whose connection is gone, and no descriptor changes hands while events for it wait.
 * Threads.    One, but for server_wake(). Beside it run the workers (passwords) and, with --store sqlite, the engine's
 *             thread: a loop must never wait for a disk. They touch nothing here, so the library is not told to lock
 *             (evthread_use_pthreads()).
 */
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/queue.h>
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
    ACCEPTS_MAX = 64,        /* a turn, so that a storm of connections does not keep those there are waiting */
    IOV_MAX_PIECES = 64,     /* a write; the library takes up to 128 */
    ACCEPT_PAUSE_MS = 1000,  /* without a free descriptor; a close ends it earlier */
    DESCRIPTORS_BESIDES = 16 /* standard streams, listener, epoll, eventfd, the library's pair for signals, store */
};

struct connection {
    LIST_ENTRY(connection) link;
    struct server *server; /* a callback gets one argument */
    int fd;                /* stays ours: with BEV_OPT_CLOSE_ON_FREE it would be closed some time later */
    struct bufferevent *buffers;
    struct session *session;
    size_t lent;   /* I1 */
    bool reading;  /* I2: EV_READ is on */
    bool sent_fin; /* shutdown(SHUT_WR) was called */
};

struct server {
    struct hub *hub;
    struct event_base *base;
    struct evconnlistener *listener; /* NULL: closed; owns its descriptor */
    struct event *accept_again;      /* pending: accepting pauses, there was no descriptor */
    struct event *woken, *timer, *terminated, *interrupted;
    int wake;
    sigset_t stop;
    uint64_t now_ms; /* the library returns when all callbacks ran: each of them reads the clock */
    int accepts;     /* this turn */
    bool draining;
    LIST_HEAD(, connection) connections;
    char read_buffer[READ_BUFFER_BYTES];
    char scratch[OUTPUT_GATHER_BYTES];
};

static void connection_close(struct server *server, struct connection *connection, bool reset);
static void connection_read(struct bufferevent *buffers, void *arg);
static void connection_wrote(struct bufferevent *buffers, void *arg);
static void connection_ended(struct bufferevent *buffers, short what, void *arg);

/* ---- timers ---- */

static void start_timer(struct event *timer, uint64_t wait_ms)
{
    struct timeval wait = {.tv_sec = (time_t)(wait_ms / 1000), .tv_usec = (suseconds_t)(wait_ms % 1000 * 1000)};

    evtimer_add(timer, &wait);
}

/* The loop returns, which is all: hub_turn() looks what is due. */
static void timer_ready(evutil_socket_t fd, short events, void *arg)
{
    (void)fd, (void)events, (void)arg;
}

/* ---- accepting ---- */

/* The library watches the listener level-triggered: left in while there is no descriptor, it would be a spin. */
static void listener_pause(struct server *server, int reason)
{
    evconnlistener_disable(server->listener);
    start_timer(server->accept_again, ACCEPT_PAUSE_MS);
    log_warn("accepting pauses: %s", strerror(reason));
}

static void listener_resume(struct server *server)
{
    if (server->listener == NULL)
        return;
    if (evconnlistener_enable(server->listener) == 0)
        evtimer_del(server->accept_again);
    else
        start_timer(server->accept_again, ACCEPT_PAUSE_MS);
}

static void accept_again_ready(evutil_socket_t fd, short events, void *arg)
{
    (void)fd, (void)events;
    listener_resume(arg);
}

/* Own `fd` from here on. */
static void connection_open(struct server *server, int fd, const struct sockaddr *peer)
{
    struct connection *connection = calloc(1, sizeof *connection);
    struct bufferevent *buffers = bufferevent_socket_new(server->base, fd, 0);
    struct session *session =
        connection != NULL && buffers != NULL ? hub_open(server->hub, peer, connection, server->now_ms) : NULL;

    if (session == NULL) {
        if (buffers != NULL)
            bufferevent_free(buffers);
        close(fd);
        free(connection);
        return;
    }
    *connection =
        (struct connection){.server = server, .fd = fd, .buffers = buffers, .session = session, .reading = true};
    LIST_INSERT_HEAD(&server->connections, connection, link);
    bufferevent_setcb(buffers, connection_read, connection_wrote, connection_ended, connection);
    /* The low watermark asks to be called after each write, not only after the one that empties the buffer. */
    bufferevent_setwatermark(buffers, EV_WRITE, OUTPUT_MAX_BYTES, 0);
    bufferevent_set_max_single_write(buffers, OUTPUT_MAX_BYTES);
    if (bufferevent_enable(buffers, EV_READ) != 0)
        connection_close(server, connection, true);
}

/* The library accepts until there is nobody, unless the callback disables it. */
static void listener_ready(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *peer, int length,
                           void *arg)
{
    struct server *server = arg;

    (void)length;
    server->now_ms = clock_monotonic_ms();
    connection_open(server, fd, peer);
    if (++server->accepts == ACCEPTS_MAX)
        evconnlistener_disable(listener);
}

static void listener_failed(struct evconnlistener *listener, void *arg)
{
    (void)listener;
    switch (errno) {
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
        listener_pause(arg, errno);
        return;
    default:
        break; /* what accept(2) passes on of the network: not the listener's errors. EINTR and such, nobody tells */
    }
}

/* ---- a connection ---- */

/* After the stop was asked for: the socket was read until it was empty, which ends what is taken up of it (L-7). The
 * library does not say that, so the socket is asked. */
static void tell_if_drained(struct server *server, struct connection *connection)
{
    ssize_t length;
    char byte;

    if (!server->draining || evbuffer_get_length(bufferevent_get_input(connection->buffers)) > 0)
        return;
    do {
        length = recv(connection->fd, &byte, 1, MSG_PEEK);
    } while (length < 0 && errno == EINTR);
    if (length < 0)
        session_end(connection->session, errno == EAGAIN ? PEER_DRAINED : PEER_GONE, server->now_ms);
}

/* What the library has read goes to the session. The pushes of a turn may keep a session from reading after the library
 * has read for it: then it stays there until it is wanted. */
static void take_input(struct server *server, struct connection *connection)
{
    size_t length = 0;

    if (session_wants_read(connection->session))
        length = bufferevent_read(connection->buffers, server->read_buffer, sizeof server->read_buffer);
    if (length > 0)
        session_receive(connection->session, server->read_buffer, length, server->now_ms);
    tell_if_drained(server, connection);
}

/* I2 */
static void read_as_wanted(struct server *server, struct connection *connection)
{
    bool wanted = session_wants_read(connection->session);

    if (connection->reading == wanted)
        return;
    connection->reading = wanted;
    if ((wanted ? bufferevent_enable : bufferevent_disable)(connection->buffers, EV_READ) != 0)
        session_end(connection->session, PEER_GONE, server->now_ms);
}

/* The library has read, 4 KiB at most: evbuffer_read() takes no more, whatever bufferevent_set_max_single_read() says.
 * That is one read a turn, however much there is: the others have their turn, too. */
static void connection_read(struct bufferevent *buffers, void *arg)
{
    struct connection *connection = arg;
    struct server *server = connection->server;

    (void)buffers;
    server->now_ms = clock_monotonic_ms();
    COUNTER_ADD(hub_counters(server->hub), read_calls_total, 1);
    take_input(server, connection);
    read_as_wanted(server, connection);
}

/* A read or a write failed, or a read gave 0. The library has stopped that direction, and that one only: after the
 * peer's FIN it still writes. */
static void connection_ended(struct bufferevent *buffers, short what, void *arg)
{
    struct connection *connection = arg;
    struct server *server = connection->server;

    (void)buffers;
    server->now_ms = clock_monotonic_ms();
    session_end(connection->session, (what & BEV_EVENT_EOF) != 0 ? PEER_FINISHED : PEER_GONE, server->now_ms);
}

/* Whether the system takes bytes. The library does not say either: one whose turn to write has not come yet looks like
 * one whose peer does not read, and only the second is a slow consumer. */
static bool system_has_room(int fd)
{
    struct pollfd socket = {.fd = fd, .events = POLLOUT};

    return poll(&socket, 1, 0) != 0;
}

static void lend_output(struct server *server, struct connection *connection)
{
    struct evbuffer *output = bufferevent_get_output(connection->buffers);
    struct iovec iov[IOV_MAX_PIECES];
    int count = session_output(connection->session, iov, IOV_MAX_PIECES, server->scratch);

    for (int i = 0; i < count; i++) {
        const void *bytes = iov[i].iov_base;
        size_t length = iov[i].iov_len;

        /* The pieces stay until session_sent(); what was gathered in `scratch` has to be copied. */
        if ((bytes == server->scratch ? evbuffer_add(output, bytes, length)
                                      : evbuffer_add_reference(output, bytes, length, NULL, NULL)) != 0) {
            session_end(connection->session, PEER_GONE, server->now_ms);
            return;
        }
        connection->lent += length;
    }
}

/* I1. The library keeps others from changing the front of its output while it writes; it is not writing now. */
static void take_output_back(struct server *server, struct connection *connection)
{
    struct evbuffer *output = bufferevent_get_output(connection->buffers);
    size_t left = evbuffer_get_length(output), written = connection->lent - left;

    if (left > 0) {
        evbuffer_unfreeze(output, 1);
        evbuffer_drain(output, left);
        evbuffer_freeze(output, 1);
    }
    connection->lent = 0;
    session_sent(connection->session, written, server->now_ms);
}

/* End the loan if it is over, and lend what waits: the library writes it, in its next pass, and calls back. */
static void connection_write(struct server *server, struct connection *connection)
{
    if (connection->lent > 0) {
        if (evbuffer_get_length(bufferevent_get_output(connection->buffers)) > 0 && system_has_room(connection->fd))
            return;
        take_output_back(server, connection);
    }
    lend_output(server, connection);
}

static void connection_wrote(struct bufferevent *buffers, void *arg)
{
    struct connection *connection = arg;
    struct server *server = connection->server;

    (void)buffers;
    server->now_ms = clock_monotonic_ms();
    COUNTER_ADD(hub_counters(server->hub), write_calls_total, 1);
    connection_write(server, connection);
}

/* Bring the connection in line with its session, after hub_next_changed() reported it. */
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
    take_input(server, connection);
    read_as_wanted(server, connection);
}

/* The only place where a connection's descriptor is closed. */
static void connection_close(struct server *server, struct connection *connection, bool reset)
{
    static const struct linger abort_connection = {.l_onoff = 1, .l_linger = 0};

    if (reset)
        (void)setsockopt(connection->fd, SOL_SOCKET, SO_LINGER, &abort_connection, sizeof abort_connection);
    /* Its events are gone at once, its memory with the next pass. What was lent is not looked at any more. */
    bufferevent_free(connection->buffers);
    session_free(connection->session);
    LIST_REMOVE(connection, link);
    close(connection->fd);
    free(connection);
    if (evtimer_pending(server->accept_again, NULL))
        listener_resume(server); /* there is a descriptor again */
}

/* ---- the loop ---- */

/* The hub's wake: from any thread, so it is no call of the library, which has no locks. EAGAIN: the counter is full, so
 * the loop wakes anyway (eventfd(2)). */
static void server_wake(void *arg)
{
    const struct server *server = arg;
    const uint64_t one = 1;

    while (write(server->wake, &one, sizeof one) < 0 && errno == EINTR)
        ;
}

static void wake_ready(evutil_socket_t fd, short events, void *arg)
{
    uint64_t count;

    (void)events, (void)arg;
    while (read(fd, &count, sizeof count) < 0 && errno == EINTR)
        ;
}

/* L-7. Each socket is read until it is empty, once; those that are empty already are done with. */
static void server_stop(evutil_socket_t number, short events, void *arg)
{
    struct server *server = arg;
    struct connection *connection;

    (void)number, (void)events;
    if (server->draining)
        return;
    log_info("stopping");
    server->now_ms = clock_monotonic_ms();
    server->draining = true;
    evconnlistener_free(server->listener);
    server->listener = NULL;
    evtimer_del(server->accept_again);
    hub_drain(server->hub, server->now_ms);
    for (connection = LIST_FIRST(&server->connections); connection != NULL; connection = LIST_NEXT(connection, link))
        tell_if_drained(server, connection);
    /* Signals have their default effect again: one more ends the process at once. */
    event_del(server->terminated);
    event_del(server->interrupted);
}

/* Call it last before waiting, see hub_deadline(). */
static void set_timer(struct server *server)
{
    uint64_t deadline_ms = hub_deadline(server->hub);

    if (deadline_ms == UINT64_MAX)
        evtimer_del(server->timer);
    else
        start_timer(server->timer, deadline_ms > server->now_ms ? deadline_ms - server->now_ms : 0);
}

static void server_loop(struct server *server)
{
    struct session *session;

    while (!server->draining || !hub_drained(server->hub)) {
        set_timer(server);
        server->accepts = 0;
        event_base_loop(server->base, EVLOOP_ONCE); /* wait, and run all callbacks that are due */
        COUNTER_ADD(hub_counters(server->hub), wakeups_total, 1);
        server->now_ms = clock_monotonic_ms();
        if (server->accepts >= ACCEPTS_MAX)
            listener_resume(server);
        hub_turn(server->hub, server->now_ms);
        while ((session = hub_next_changed(server->hub)) != NULL)
            connection_update(server, session_connection(session));
    }
}

/* ---- start and end ---- */

static bool watch(struct event *event)
{
    return event != NULL && event_add(event, NULL) == 0;
}

static bool make_events(struct server *server)
{
    server->base = event_base_new();
    server->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (server->base == NULL || server->wake < 0)
        return false;
    server->timer = evtimer_new(server->base, timer_ready, server);
    server->accept_again = evtimer_new(server->base, accept_again_ready, server);
    server->woken = event_new(server->base, server->wake, EV_READ | EV_PERSIST, wake_ready, server);
    server->terminated = evsignal_new(server->base, SIGTERM, server_stop, server);
    server->interrupted = evsignal_new(server->base, SIGINT, server_stop, server);
    return server->timer != NULL && server->accept_again != NULL && watch(server->woken) && watch(server->terminated) &&
           watch(server->interrupted);
}

/* What can fail of the loop itself. False: logged. */
static bool server_init(struct server *server, const struct options *options)
{
    bool ready = make_events(server);
    int fd = listener_open(options->host, options->port);

    if (fd < 0)
        return false;
    server->now_ms = clock_monotonic_ms();
    if (ready)
        server->listener = evconnlistener_new(server->base, listener_ready, server,
                                              LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 0, fd);
    if (server->listener != NULL) {
        evconnlistener_set_error_cb(server->listener, listener_failed);
        return true;
    }
    log_error("cannot make the event loop: %s", strerror(errno));
    close(fd);
    return false;
}

static void free_event(struct event *event)
{
    if (event != NULL)
        event_free(event);
}

static void server_fini(struct server *server)
{
    if (server->listener != NULL)
        evconnlistener_free(server->listener);
    free_event(server->timer);
    free_event(server->accept_again);
    free_event(server->woken);
    free_event(server->terminated);
    free_event(server->interrupted);
    if (server->base != NULL)
        event_base_free(server->base);
    close(server->wake);
}

static bool server_run(struct server *server, struct chat *chat)
{
    if (!chat_start(chat) || listener_announce(evconnlistener_get_fd(server->listener)) != 0)
        return false;
    /* To the library a signal comes by its handler, so this thread lets it through; all others keep it blocked. */
    program_let_stop(&server->stop);
    server_loop(server);
    return true;
}

int main(int argc, char **argv)
{
    static struct server server;
    struct options options;
    struct chat *chat;
    int status;

    if (!program_begin(&options, "04-libevent", false, DESCRIPTORS_BESIDES, argc, argv, &server.stop, &status))
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
