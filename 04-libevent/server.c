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
 * Invariants. I1  a connection is in `connections` while it is open.
 *             I2  session_wants_read(): EV_READ is on, from the end of the turn on.
 *             I3  session_has_output(): it is lent before the turn ends. lent > 0: the library's output holds the last
 *                 bytes of what session_output() gave, and session_sent() is still to come; it is empty otherwise.
 *             I4  connections are closed between two passes of the loop, never in a callback: so none can be called
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
    /* Enabled when it is made, the library would not say that it could not be. */
    LISTENER_FLAGS = LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC | LEV_OPT_DISABLED,
    ACCEPTS_MAX = 64,        /* a turn, so that a storm of connections does not keep those there are waiting */
    ACCEPT_PAUSE_MS = 1000,  /* without a free descriptor; a close ends it earlier */
    DESCRIPTORS_BESIDES = 16 /* standard streams, listener, epoll, eventfd, the library's pair for signals, store */
};

struct connection {
    LIST_ENTRY(connection) link; /* I1 */
    int fd;                      /* stays ours: with BEV_OPT_CLOSE_ON_FREE it would be closed some time later */
    struct session *session;
    struct server *server; /* a callback gets one argument */
    struct bufferevent *buffers;
    size_t lent;   /* I3 */
    bool sent_fin; /* shutdown(SHUT_WR) was called */
};

struct server {
    struct hub *hub;
    struct evconnlistener *listener; /* NULL: closed; owns its descriptor */
    struct event_base *base;
    int wake;
    struct event *timer, *woken, *terminated, *interrupted;
    sigset_t stop;
    uint64_t now_ms;          /* the library returns when all callbacks ran: each of them reads the clock */
    uint64_t accept_again_ms; /* 0: accepting */
    unsigned accepts;
    bool draining;
    LIST_HEAD(, connection) connections; /* I1 */
    char read_buffer[READ_BUFFER_BYTES];
    char scratch[OUTPUT_MAX_BYTES];
};

static void connection_close(struct server *server, struct connection *connection, bool reset);
static void connection_read(struct bufferevent *buffers, void *arg);
static void connection_wrote(struct bufferevent *buffers, void *arg);
static void connection_ended(struct bufferevent *buffers, short what, void *arg);
static void read_as_wanted(struct server *server, struct connection *connection);

/* ---- accepting ---- */

/* The library watches the listener level-triggered: left in while there is no descriptor, it would be a spin. */
static void listener_pause(struct server *server, int reason)
{
    evconnlistener_disable(server->listener);
    server->accept_again_ms = server->now_ms + ACCEPT_PAUSE_MS;
    log_warn("accepting pauses: %s", strerror(reason));
}

static void listener_resume(struct server *server)
{
    if (server->accept_again_ms != 0)
        server->accept_again_ms = evconnlistener_enable(server->listener) == 0 ? 0 : server->now_ms + ACCEPT_PAUSE_MS;
}

/* Own `fd` from here on. */
static void connection_open(struct server *server, int fd, const struct sockaddr *peer)
{
    struct connection *connection = calloc(1, sizeof *connection);
    struct bufferevent *buffers = bufferevent_socket_new(server->base, fd, 0);

    if (connection != NULL && buffers != NULL)
        connection->session = hub_open(server->hub, peer, connection, server->now_ms);
    if (connection == NULL || connection->session == NULL) {
        if (buffers != NULL)
            bufferevent_free(buffers);
        close(fd);
        free(connection);
        return;
    }
    connection->fd = fd;
    connection->server = server;
    connection->buffers = buffers;
    LIST_INSERT_HEAD(&server->connections, connection, link);
    bufferevent_setcb(buffers, connection_read, connection_wrote, connection_ended, connection);
    /* The low watermark asks to be called after each write, not only after the one that empties the buffer. */
    bufferevent_setwatermark(buffers, EV_WRITE, OUTPUT_MAX_BYTES, 0);
    bufferevent_set_max_single_write(buffers, OUTPUT_MAX_BYTES);
    read_as_wanted(server, connection);
}

/* The library accepts until there is nobody, unless the callback disables it. Then it goes on in the next turn. */
static void listener_ready(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *peer, int length,
                           void *arg)
{
    struct server *server = arg;

    (void)length;
    server->now_ms = clock_monotonic_ms();
    connection_open(server, fd, peer);
    if (++server->accepts % ACCEPTS_MAX == 0) {
        evconnlistener_disable(listener);
        server->accept_again_ms = server->now_ms;
    }
}

/* EAGAIN, EINTR and ECONNABORTED, nobody tells. This is EMFILE, ENFILE, ENOMEM and such: the next call would fail, too. */
static void listener_failed(struct evconnlistener *listener, void *arg)
{
    (void)listener;
    listener_pause(arg, errno);
}

/* ---- a connection ---- */

/* Whether the system has bytes for us (POLLIN), or takes some (POLLOUT). The library does not say: an input that is
 * empty may be one that is not yet read, and an output that is not may have missed its turn to be written. */
static bool socket_is_ready(int fd, short events)
{
    struct pollfd socket = {.fd = fd, .events = events};
    int count;

    do {
        count = poll(&socket, 1, 0);
    } while (count < 0 && errno == EINTR);
    return count != 0;
}

/* After the stop was asked for: the socket was read until it was empty, which ends what is taken up of it (L-7). */
static void tell_if_drained(struct server *server, struct connection *connection)
{
    if (server->draining && evbuffer_get_length(bufferevent_get_input(connection->buffers)) == 0 &&
        !socket_is_ready(connection->fd, POLLIN))
        session_end(connection->session, PEER_DRAINED, server->now_ms);
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
    bool reading = (bufferevent_get_enabled(connection->buffers) & EV_READ) != 0;

    if (reading != wanted && (wanted ? bufferevent_enable : bufferevent_disable)(connection->buffers, EV_READ) != 0)
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
    session_end(connection->session, what == (BEV_EVENT_READING | BEV_EVENT_EOF) ? PEER_FINISHED : PEER_GONE,
                server->now_ms);
}

static void lend_output(struct server *server, struct connection *connection)
{
    struct evbuffer *output = bufferevent_get_output(connection->buffers);
    struct slice piece = session_output(connection->session, server->scratch, sizeof server->scratch);

    if (piece.length == 0)
        return;
    /* It stays until session_sent(); only what was gathered in `scratch` has to be copied. */
    if ((piece.bytes == server->scratch ? evbuffer_add(output, piece.bytes, piece.length)
                                        : evbuffer_add_reference(output, piece.bytes, piece.length, NULL, NULL)) != 0)
        session_end(connection->session, PEER_GONE, server->now_ms);
    else
        connection->lent = piece.length;
}

/* I3. The library keeps others from changing the front of its output while it writes; it is not writing now. */
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

/* End the loan if it is over, and lend what waits: the library writes it, in its next pass, and calls back. While the
 * system takes some, the loan goes on: only one whose peer does not read is a slow consumer (L-3). */
static void connection_write(struct server *server, struct connection *connection)
{
    if (connection->lent > 0) {
        if (evbuffer_get_length(bufferevent_get_output(connection->buffers)) > 0 &&
            socket_is_ready(connection->fd, POLLOUT))
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

/* Bring the socket in line with its session, after hub_next_changed() reported it. */
static void connection_update(struct server *server, struct connection *connection)
{
    connection_write(server, connection);
    take_input(server, connection);
    read_as_wanted(server, connection);
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
    /* Its events are gone at once, its memory with the next pass. What was lent is not looked at any more. */
    bufferevent_free(connection->buffers);
    session_free(connection->session);
    LIST_REMOVE(connection, link); /* I1 */
    close(connection->fd);
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
    server->accept_again_ms = 0;
    hub_drain(server->hub, server->now_ms);
    LIST_FOREACH (connection, &server->connections, link)
        tell_if_drained(server, connection);
    /* Signals have their default effect again: one more ends the process at once. */
    event_del(server->terminated);
    event_del(server->interrupted);
}

static int wait_ms(struct server *server)
{
    uint64_t deadline_ms = hub_deadline(server->hub);

    if (server->accept_again_ms != 0 && server->accept_again_ms < deadline_ms)
        deadline_ms = server->accept_again_ms;
    return clock_wait_ms(server->now_ms, deadline_ms);
}

/* The loop returns, which is all: hub_turn() looks what is due. */
static void timer_ready(evutil_socket_t fd, short events, void *arg)
{
    (void)fd, (void)events, (void)arg;
}

/* Wait, and run all callbacks that are due. Without memory for the timer, do not wait. */
static void run_callbacks(struct server *server)
{
    int wait = wait_ms(server);
    struct timeval time = {.tv_sec = wait / 1000, .tv_usec = wait % 1000 * 1000L};
    bool timed = (wait < 0 ? evtimer_del(server->timer) : evtimer_add(server->timer, &time)) == 0;

    event_base_loop(server->base, timed ? EVLOOP_ONCE : EVLOOP_NONBLOCK);
}

static void server_loop(struct server *server)
{
    struct session *session;

    while (!server->draining || !hub_drained(server->hub)) {
        run_callbacks(server);
        COUNTER_ADD(hub_counters(server->hub), wakeups_total, 1);
        server->now_ms = clock_monotonic_ms();
        if (server->accept_again_ms != 0 && server->accept_again_ms <= server->now_ms)
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

/* False: logged. */
static bool make_loop(struct server *server)
{
    server->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    server->base = event_base_new();
    if (server->base != NULL) {
        server->timer = evtimer_new(server->base, timer_ready, server);
        server->woken = event_new(server->base, server->wake, EV_READ | EV_PERSIST, wake_ready, server);
        server->terminated = evsignal_new(server->base, SIGTERM, server_stop, server);
        server->interrupted = evsignal_new(server->base, SIGINT, server_stop, server);
    }
    if (server->wake >= 0 && server->timer != NULL && watch(server->woken) && watch(server->terminated) &&
        watch(server->interrupted))
        return true;
    log_error("cannot make the event loop: %s", strerror(errno));
    return false;
}

/* What can fail of the loop itself. False: logged. */
static bool server_init(struct server *server, const struct options *options)
{
    int fd = make_loop(server) ? listener_open(options->host, options->port) : -1;

    server->now_ms = clock_monotonic_ms();
    if (fd < 0)
        return false;
    server->listener = evconnlistener_new(server->base, listener_ready, server, LISTENER_FLAGS, 0, fd);
    if (server->listener == NULL)
        close(fd);
    else
        evconnlistener_set_error_cb(server->listener, listener_failed);
    if (server->listener == NULL || evconnlistener_enable(server->listener) != 0) {
        log_error("cannot watch the listener: %s", strerror(errno));
        return false;
    }
    return true;
}

static void server_fini(struct server *server)
{
    struct event *const events[] = {server->timer, server->woken, server->terminated, server->interrupted};

    if (server->listener != NULL)
        evconnlistener_free(server->listener);
    for (size_t i = 0; i < sizeof events / sizeof *events; i++)
        if (events[i] != NULL)
            event_free(events[i]);
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
