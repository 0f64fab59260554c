/* io_thread.c - the loop of one I/O thread: 03's reactor, with libevent to watch and a pipe instead of a listener. See
 *               io_thread.h.
 *
 * Idea.       As in 03, a descriptor is registered once, for everything, edge-triggered, and each connection remembers
 *             what it was told: `readable`, `writable` until EAGAIN; what the session wants is the other half. libevent
 *             does no more than wait. Its callbacks only note what happened, and the turn acts on it: so nothing is
 *             freed under a callback, and all of a turn happens at one time.
 *
 *                 event_base_loop(): callbacks note ─▶ what was handed over ─▶ the ready list ─▶ hub_turn() ─▶ writes
 *
 *             A short read has emptied the socket, nearly always: 03 knows from the event when it has not. libevent tells
 *             of the peer's end (EV_CLOSED), but reports a reset like an event of any other kind, and of urgent data
 *             nothing; and that edge is spent. So a short read is followed by one more call, for EAGAIN; but not where the
 *             peer is talking. There it is believed, and asked about once every BELIEVED_MS, for all at once: this saves
 *             a system call a message, and costs a wake-up when they fall silent.
 *
 * Invariants. I3  readable and session_wants_read(): the connection is in the ready list, until it is read. Writable and
 *                 session_has_output(): it is written before the turn ends.
 *             I4  no callback comes for a closed connection: event_free() takes back what libevent had noted. Only the
 *                 ready list may still hold it; it is freed from there.
 *             I5  base, hub and connections are touched by this thread alone (owned() asserts it), from its start to
 *                 its join. So the base needs no lock (EVENT_BASE_FLAG_NOLOCK).
 * Threads.    thread_wake(), io_thread_hand_over() and io_thread_load() are called by others, and touch only what the
 *             kernel or an atomic guards.
 */
#include "io_thread.h"

#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/queue.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "chat/hub.h"
#include "watch.h"

enum {
    RECEIVE_CALLS = 2, /* a turn and connection: one for what there is, one for EAGAIN */
    TALKING_MS = 50,   /* whose reads are closer than this is talking */
    BELIEVED_MS = 100  /* short for who waits to hear that a peer was reset */
};

struct connection {
    struct io_thread *thread; /* its owner, for the callback */
    struct event *event;
    struct session *session; /* NULL: closed, and only still in the ready list (I4) */
    LIST_ENTRY(connection) siblings;
    LIST_ENTRY(connection) believed; /* in thread->believed, if is_believed */
    uint64_t short_read_ms;          /* when the last one was */
    struct connection *next_ready;
    int fd;
    bool in_ready;
    bool is_believed;
    bool readable;
    bool writable;
    bool peer_ended; /* so the event said: a read will give 0, but for what came before */
    bool sent_fin;   /* shutdown(SHUT_WR) was called */
};

struct io_thread {
    struct hub *hub;
    struct event_base *base;
    struct event *wake_event, *hand_over_event, *deadline_event;
    int wake;
    struct hand_over pipe;
    uint64_t now_ms;
    bool handed_over; /* something is in the pipe */
    bool draining;
    uint64_t deadline_ms; /* of `deadline_event`; UINT64_MAX: it is not pending */
    LIST_HEAD(, connection) connections;
    struct connection *ready_first, *ready_last;
    LIST_HEAD(, connection) believed; /* those whose short reads were, until they are asked */
    uint64_t ask_ms;                  /* when they are; UINT64_MAX: not before another one is believed */
    void (*room)(void *arg);
    void *room_arg;
    pthread_t owner; /* I5; set by the thread itself */
    pthread_t thread;
    atomic_uint load;
    char read_buffer[READ_BUFFER_BYTES];
    char scratch[OUTPUT_GATHER_BYTES];
};

static void connection_update(struct io_thread *thread, struct connection *connection);
static void connection_close(struct io_thread *thread, struct connection *connection, bool reset);

static void owned(const struct io_thread *thread)
{
    assert(pthread_equal(pthread_self(), thread->owner)); /* I5 */
    (void)thread;
}

static void make_ready(struct io_thread *thread, struct connection *connection)
{
    if (connection->in_ready)
        return;
    connection->in_ready = true;
    connection->next_ready = NULL;
    if (thread->ready_last == NULL)
        thread->ready_first = connection;
    else
        thread->ready_last->next_ready = connection;
    thread->ready_last = connection;
}

/* I3 */
static void read_later(struct io_thread *thread, struct connection *connection)
{
    if (connection->readable && session_wants_read(connection->session))
        make_ready(thread, connection);
}

/* ---- what libevent tells ---- */

static void connection_ready(evutil_socket_t fd, short events, void *arg)
{
    struct connection *connection = arg;

    (void)fd;
    owned(connection->thread);
    if ((events & EV_CLOSED) != 0)
        connection->peer_ended = true;
    if ((events & (EV_READ | EV_CLOSED)) != 0)
        connection->readable = true;
    if ((events & EV_WRITE) != 0)
        connection->writable = true;
    make_ready(connection->thread, connection);
}

static void hand_over_ready(evutil_socket_t fd, short events, void *arg)
{
    struct io_thread *thread = arg;

    (void)fd, (void)events;
    thread->handed_over = true;
}

static void wake_ready(evutil_socket_t fd, short events, void *arg)
{
    uint64_t count;

    (void)events, (void)arg;
    while (read(fd, &count, sizeof count) < 0 && errno == EINTR)
        ;
}

/* The wait is over; that is all. */
static void deadline_passed(evutil_socket_t fd, short events, void *arg)
{
    struct io_thread *thread = arg;

    (void)fd, (void)events;
    thread->deadline_ms = UINT64_MAX;
}

/* ---- a connection ---- */

/* The one place where a descriptor is closed: it may be what the acceptor waits for. */
static void close_descriptor(struct io_thread *thread, int fd)
{
    close(fd);
    atomic_fetch_sub_explicit(&thread->load, 1, memory_order_relaxed); /* I2 */
    thread->room(thread->room_arg);
}

/* Own `fd` from here on. Its first event tells what it is ready for. */
static void connection_open(struct io_thread *thread, int fd, const struct sockaddr *peer)
{
    struct connection *connection = calloc(1, sizeof *connection);

    if (connection == NULL) {
        close_descriptor(thread, fd);
        return;
    }
    connection->thread = thread;
    connection->fd = fd;
    connection->writable = true;
    connection->session = hub_open(thread->hub, peer, connection, thread->now_ms);
    if (connection->session == NULL) {
        close_descriptor(thread, fd);
        free(connection);
        return;
    }
    LIST_INSERT_HEAD(&thread->connections, connection, siblings);
    connection->event = watch(thread->base, fd, EV_READ | EV_WRITE | EV_CLOSED | EV_ET, connection_ready, connection);
    if (connection->event == NULL)
        connection_close(thread, connection, true);
}

/* After the stop was asked for: the socket was read until it was empty, which ends what is taken up of it (L-7). */
static void tell_if_drained(struct io_thread *thread, struct connection *connection)
{
    if (thread->draining && !connection->readable)
        session_end(connection->session, PEER_DRAINED, thread->now_ms);
}

/* Whether the short read that has just been made is to be believed. */
static bool believe(struct io_thread *thread, struct connection *connection)
{
    bool talks = thread->now_ms - connection->short_read_ms < TALKING_MS;

    connection->short_read_ms = thread->now_ms;
    /* A stop has to know that the socket is empty, which only EAGAIN says for sure (epoll(7)). */
    if (!talks || connection->peer_ended || thread->draining)
        return false;
    if (LIST_EMPTY(&thread->believed))
        thread->ask_ms = thread->now_ms + BELIEVED_MS;
    if (!connection->is_believed)
        LIST_INSERT_HEAD(&thread->believed, connection, believed);
    connection->is_believed = true;
    return true;
}

static void believe_no_more(struct connection *connection)
{
    if (connection->is_believed)
        LIST_REMOVE(connection, believed);
    connection->is_believed = false;
}

/* True: it is worth another call. */
static bool receive_once(struct io_thread *thread, struct connection *connection)
{
    ssize_t length;

    do {
        COUNTER_ADD(hub_counters(thread->hub), read_calls_total, 1);
        length = recv(connection->fd, thread->read_buffer, sizeof thread->read_buffer, 0);
    } while (length < 0 && errno == EINTR);
    if (length > 0) {
        bool is_short = (size_t)length < sizeof thread->read_buffer;

        session_receive(connection->session, thread->read_buffer, (size_t)length, thread->now_ms);
        connection->readable = !is_short || !believe(thread, connection);
        return is_short && connection->readable;
    }
    connection->readable = false;
    if (length == 0 || errno != EAGAIN)
        session_end(connection->session, length == 0 ? PEER_FINISHED : PEER_GONE, thread->now_ms);
    return false;
}

/* Once READ_BUFFER_BYTES a turn, however much there is: the others have their turn, too. */
static void connection_read(struct io_thread *thread, struct connection *connection)
{
    int calls = 0;

    owned(thread);
    while (session_wants_read(connection->session) && calls++ < RECEIVE_CALLS && receive_once(thread, connection))
        ;
    tell_if_drained(thread, connection);
    read_later(thread, connection);
}

/* Until nothing waits, or the system takes no more: an outbox has a bound, so this loop has one. */
static void connection_write(struct io_thread *thread, struct connection *connection)
{
    struct slice output;

    while (connection->writable &&
           (output = session_output(connection->session, thread->scratch, sizeof thread->scratch)).length > 0) {
        ssize_t length;

        do {
            COUNTER_ADD(hub_counters(thread->hub), write_calls_total, 1);
            length = send(connection->fd, output.bytes, output.length, MSG_NOSIGNAL);
        } while (length < 0 && errno == EINTR);
        if (length < 0 && errno != EAGAIN)
            session_end(connection->session, PEER_GONE, thread->now_ms); /* EPIPE, ECONNRESET, ETIMEDOUT */
        /* Short means full, as EAGAIN does: an edge will come when there is room. */
        connection->writable = session_sent(connection->session, length > 0 ? (size_t)length : 0, thread->now_ms);
    }
}

/* Bring the socket in line with its session, after hub_next_changed() reported it. */
static void connection_update(struct io_thread *thread, struct connection *connection)
{
    owned(thread);
    connection_write(thread, connection);
    switch (session_phase(connection->session)) {
    case SESSION_OPEN:
    case SESSION_FLUSH:
        break;
    case SESSION_HALF_CLOSE:
        if (!connection->sent_fin && shutdown(connection->fd, SHUT_WR) != 0)
            session_end(connection->session, PEER_GONE, thread->now_ms);
        connection->sent_fin = true;
        break;
    case SESSION_CLOSE:
        connection_close(thread, connection, false);
        return;
    case SESSION_RESET:
        connection_close(thread, connection, true);
        return;
    }
    read_later(thread, connection);
}

/* The only place where a connection ends. */
static void connection_close(struct io_thread *thread, struct connection *connection, bool reset)
{
    static const struct linger abort_connection = {.l_onoff = 1, .l_linger = 0};

    owned(thread);
    if (reset)
        (void)setsockopt(connection->fd, SOL_SOCKET, SO_LINGER, &abort_connection, sizeof abort_connection);
    session_free(connection->session);
    connection->session = NULL;
    LIST_REMOVE(connection, siblings);
    believe_no_more(connection);
    watch_end(connection->event); /* before the close: libevent names events by descriptor, too (I4) */
    close_descriptor(thread, connection->fd);
    if (!connection->in_ready)
        free(connection);
}

/* ---- the loop ---- */

/* The hub's wake: from any thread. EAGAIN: the counter is full, so the loop wakes anyway (eventfd(2)). */
static void thread_wake(void *arg)
{
    const struct io_thread *thread = arg;
    const uint64_t one = 1;

    while (write(thread->wake, &one, sizeof one) < 0 && errno == EINTR)
        ;
}

/* L-7. Each socket is read until it is empty, once: as if all of them had become readable. */
static void thread_stop(struct io_thread *thread)
{
    struct connection *connection;

    event_del(thread->hand_over_event);
    thread->draining = true;
    hub_drain(thread->hub, thread->now_ms);
    for (connection = LIST_FIRST(&thread->connections); connection != NULL;
         connection = LIST_NEXT(connection, siblings)) {
        connection->readable = true;
        make_ready(thread, connection);
    }
}

/* As many as there are at once; the pipe is level-triggered, so the rest comes next turn. */
static void take_handed_over(struct io_thread *thread)
{
    struct accepted *accepted[HAND_OVER_TAKE_MAX];
    int count = hand_over_take(&thread->pipe, accepted);

    thread->handed_over = false;
    for (int i = 0; i < count; i++) {
        connection_open(thread, accepted[i]->fd, (struct sockaddr *)&accepted[i]->peer);
        free(accepted[i]);
    }
    if (count > 0)
        thread->room(thread->room_arg);
    else if (count == 0)
        thread_stop(thread);
}

/* All that were believed, when it is time: whether their socket is empty. */
static void ask_believed(struct io_thread *thread)
{
    struct connection *connection;

    if (thread->now_ms < thread->ask_ms)
        return;
    thread->ask_ms = UINT64_MAX;
    while ((connection = LIST_FIRST(&thread->believed)) != NULL) {
        believe_no_more(connection);
        connection->readable = true;
        read_later(thread, connection);
    }
}

/* What becomes of the session by it, hub_next_changed() reports. */
static void serve(struct io_thread *thread, struct connection *connection)
{
    connection_write(thread, connection); /* I3: what waited for room */
    if (connection->readable && session_wants_read(connection->session))
        connection_read(thread, connection);
}

/* Everybody who is ready now, once; who becomes ready by it, or still is, comes in the next turn. */
static void serve_ready(struct io_thread *thread)
{
    struct connection *connection = thread->ready_first;

    thread->ready_first = thread->ready_last = NULL;
    while (connection != NULL) {
        struct connection *next = connection->next_ready;

        connection->in_ready = false;
        if (connection->session == NULL)
            free(connection);
        else
            serve(thread, connection);
        connection = next;
    }
}

/* Most turns leave it as it is. libevent needs no memory for it: it was among its timers before (thread_init()). */
static void set_deadline(struct io_thread *thread, uint64_t deadline_ms)
{
    uint64_t wait_ms = deadline_ms - thread->now_ms;
    struct timeval wait = {.tv_sec = (time_t)(wait_ms / 1000), .tv_usec = (suseconds_t)(wait_ms % 1000 * 1000)};

    if (deadline_ms == thread->deadline_ms)
        return;
    if (deadline_ms == UINT64_MAX)
        event_del(thread->deadline_event);
    else
        event_add(thread->deadline_event, &wait);
    thread->deadline_ms = deadline_ms;
}

/* How to wait. A timer costs no system call: libevent makes the earliest one the timeout of epoll_wait(2). */
static int wait_flags(struct io_thread *thread)
{
    uint64_t deadline_ms = hub_deadline(thread->hub);

    if (thread->ask_ms < deadline_ms)
        deadline_ms = thread->ask_ms;
    if (thread->ready_first != NULL || deadline_ms <= thread->now_ms)
        return EVLOOP_ONCE | EVLOOP_NONBLOCK;
    set_deadline(thread, deadline_ms);
    return EVLOOP_ONCE;
}

static void thread_loop(struct io_thread *thread)
{
    struct session *session;

    while (!thread->draining || !hub_drained(thread->hub)) {
        event_base_loop(thread->base, wait_flags(thread));
        COUNTER_ADD(hub_counters(thread->hub), wakeups_total, 1);
        thread->now_ms = clock_monotonic_ms();
        if (thread->handed_over)
            take_handed_over(thread);
        ask_believed(thread);
        serve_ready(thread);
        hub_turn(thread->hub, thread->now_ms);
        while ((session = hub_next_changed(thread->hub)) != NULL)
            connection_update(thread, session_connection(session));
    }
}

static void *thread_main(void *arg)
{
    struct io_thread *thread = arg;

    thread->owner = pthread_self();
    thread->now_ms = clock_monotonic_ms();
    thread_loop(thread);
    serve_ready(thread); /* frees those that were closed last (I4) */
    return NULL;
}

/* ---- what the acceptor calls ---- */

unsigned io_thread_load(const struct io_thread *thread)
{
    return atomic_load_explicit(&thread->load, memory_order_relaxed);
}

bool io_thread_hand_over(struct io_thread *thread, struct accepted *accepted)
{
    atomic_fetch_add_explicit(&thread->load, 1, memory_order_relaxed); /* before: the close may be faster than we */
    if (hand_over_put(&thread->pipe, accepted))
        return true;
    atomic_fetch_sub_explicit(&thread->load, 1, memory_order_relaxed);
    return false;
}

void io_thread_stop(struct io_thread *thread)
{
    hand_over_end(&thread->pipe);
}

struct counters *io_thread_counters(struct io_thread *thread)
{
    return hub_counters(thread->hub);
}

/* ---- start and end ---- */

/* Wake and pipe are level-triggered: quiet when nothing happens, and nothing of them can be lost. False: logged. */
static bool thread_init(struct io_thread *thread, struct chat *chat)
{
    static const struct timeval at_once = {0};

    if (hand_over_init(&thread->pipe) && (thread->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) >= 0 &&
        (thread->base = watch_base_new()) != NULL &&
        (thread->wake_event = watch(thread->base, thread->wake, EV_READ, wake_ready, thread)) != NULL &&
        (thread->hand_over_event = watch(thread->base, thread->pipe.take, EV_READ, hand_over_ready, thread)) != NULL &&
        (thread->deadline_event = evtimer_new(thread->base, deadline_passed, thread)) != NULL &&
        event_add(thread->deadline_event, &at_once) == 0 && (thread->hub = hub_new(chat, thread_wake, thread)) != NULL)
        return true;
    log_error("cannot make an event loop with edge-triggered events: %s", strerror(errno));
    return false;
}

struct io_thread *io_thread_new(struct chat *chat, void (*room)(void *arg), void *arg)
{
    struct io_thread *thread = calloc(1, sizeof *thread);

    if (thread == NULL) {
        log_error("no memory");
        return NULL;
    }
    thread->wake = -1;
    thread->deadline_ms = UINT64_MAX;
    thread->ask_ms = UINT64_MAX;
    thread->room = room;
    thread->room_arg = arg;
    if (thread_init(thread, chat))
        return thread;
    io_thread_free(thread);
    return NULL;
}

bool io_thread_start(struct io_thread *thread)
{
    int error = pthread_create(&thread->thread, NULL, thread_main, thread);

    if (error != 0)
        log_error("cannot start an I/O thread: %s", strerror(error));
    else
        pthread_setname_np(thread->thread, "io");
    return error == 0;
}

void io_thread_join(struct io_thread *thread)
{
    pthread_join(thread->thread, NULL);
}

void io_thread_free(struct io_thread *thread)
{
    watch_end(thread->wake_event);
    watch_end(thread->hand_over_event);
    watch_end(thread->deadline_event);
    if (thread->base != NULL)
        event_base_free(thread->base);
    if (thread->hub != NULL)
        hub_free(thread->hub);
    hand_over_fini(&thread->pipe);
    if (thread->wake >= 0)
        close(thread->wake);
    free(thread);
}
