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
 *      keeper     wait for the engine's posts or the next deadline ──▶ lock: turn …
 *      reaper     wait until both threads of a client have left ──▶ join, close
 *      main       sigwait ──▶ server_stop
 *
 * Invariants. I1  hub, sessions and everything of struct server and struct connection that is not said to be a thread's
 *                 own are touched under `mutex` only.
 *             I2  no call that may block is made under the mutex; one hold takes up a whole read.
 *             I3  each hold that may have changed something ends with server_turn() (all that changed is told to the
 *                 threads concerned).
 *             I4  a descriptor is closed by the reaper alone, when both threads were joined: nobody else can be in a
 *                 call with its number, which the next accept may give out again.
 * Threads.    As above; with --store sqlite the engine's thread, and the workers.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/listener.h"
#include "base/log.h"
#include "base/options.h"
#include "chat/hub.h"
#include "limits.h"

enum {
    IOV_MAX_PIECES = 64,            /* a write */
    ACCEPT_PAUSE_MS = 1000,         /* without a free descriptor; a close ends it earlier */
    INTERRUPT_AGAIN_MS = 10,        /* see interrupt_readers() */
    SEND_TIMEOUT_MS = 100,          /* see connection_open() */
    CLIENT_STACK_BYTES = 256 << 10, /* the read buffer, and what parsing and the engine need */
    THREADS_BESIDES = 64,           /* of the server, and of whatever else its user runs */
    DESCRIPTORS_BESIDES = 64        /* standard streams, listener, store, refused connections */
};

struct connection {
    struct server *server;
    int fd;
    struct session *session;
    struct connection *next, *previous; /* server->connections */
    struct connection *next_finished;   /* server->finished */
    pthread_t reader, writer;
    pthread_cond_t may_read, may_write; /* with server->mutex */
    int threads;                        /* that have not left */
    bool in_recv;                       /* the reader is in recv(2), or on the way */
    bool sent_fin;                      /* shutdown(SHUT_WR) was called */
    bool shut;                          /* shutdown(SHUT_RDWR) was called: the threads leave */
};

struct server {
    pthread_mutex_t mutex; /* I1 */
    struct hub *hub;
    int listener;
    bool draining;
    bool ended; /* keeper and reaper leave */
    struct connection *connections;
    struct connection *finished; /* for the reaper */
    pthread_cond_t has_finished; /* for the reaper */
    pthread_cond_t has_closed;   /* a connection: for the acceptor that found no descriptor, and for server_stop() */
    uint64_t deadline_ms;        /* as hub_deadline() said last */
    uint64_t keeper_until_ms;    /* when the keeper comes by itself; 0: it is here */
    pthread_attr_t client_attributes;
    pthread_t acceptor, keeper, reaper;

    pthread_mutex_t wake_mutex; /* taken last, and for moments: server_wake() comes from anywhere */
    pthread_cond_t woken;
    bool is_woken; /* guarded by wake_mutex */
};

static void connection_update(struct server *server, struct connection *connection);
static void connection_close(struct server *server, struct connection *connection);
static void server_wake(void *arg);

/* ---- holding the hub ---- */

static struct timespec time_of(uint64_t ms)
{
    return (struct timespec){.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000L};
}

/* pthread_cond_wait(3), counted (S-7). */
static void server_wait(struct server *server, pthread_cond_t *condition)
{
    pthread_cond_wait(condition, &server->mutex);
    COUNTER_ADD(hub_counters(server->hub), wakeups_total, 1);
}

/* I3. The last call before the mutex is given back: from hub_deadline() on, a post wakes the keeper. */
static void server_turn(struct server *server)
{
    struct session *session;

    hub_turn(server->hub, clock_monotonic_ms());
    while ((session = hub_next_changed(server->hub)) != NULL)
        connection_update(server, session_connection(session));
    server->deadline_ms = hub_deadline(server->hub);
    if (server->deadline_ms < server->keeper_until_ms) {
        server->keeper_until_ms = server->deadline_ms;
        server_wake(server);
    }
}

/* ---- accepting ---- */

static bool start_thread(struct server *server, pthread_t *thread, void *(*run)(void *), struct connection *connection)
{
    int error = pthread_create(thread, &server->client_attributes, run, connection);

    if (error == 0)
        connection->threads++;
    return error == 0;
}

/* L-6: there is no thread for it. One attempt to say so, which cannot block, and that is all. */
static void refuse_here(struct connection *connection)
{
    struct iovec iov[1];
    static char scratch[OUTPUT_GATHER_BYTES]; /* under the mutex */

    session_refuse(connection->session);
    if (session_output(connection->session, iov, 1, scratch) > 0) {
        ssize_t sent = send(connection->fd, iov[0].iov_base, iov[0].iov_len, MSG_NOSIGNAL | MSG_DONTWAIT);

        session_sent(connection->session, sent > 0 ? (size_t)sent : 0, clock_monotonic_ms());
    }
}

static void *reader_main(void *arg);
static void *writer_main(void *arg);

/* With the mutex. Both threads, or the connection ends. */
static void start_threads(struct server *server, struct connection *connection)
{
    bool started = start_thread(server, &connection->writer, writer_main, connection) &&
                   start_thread(server, &connection->reader, reader_main, connection);

    if (started)
        return;
    log_warn("no thread for a client: refused");
    refuse_here(connection);
    if (connection->threads == 0) {
        connection_close(server, connection);
    } else {
        /* The writer runs already, and is the one that will leave. */
        connection->reader = connection->writer;
        session_end(connection->session, PEER_GONE, clock_monotonic_ms());
    }
}

static struct connection *connection_new(struct server *server, int fd)
{
    struct connection *connection = calloc(1, sizeof *connection);

    if (connection == NULL)
        return NULL;
    connection->server = server;
    connection->fd = fd;
    pthread_cond_init(&connection->may_read, NULL);
    pthread_cond_init(&connection->may_write, NULL);
    return connection;
}

static void connection_free(struct connection *connection)
{
    pthread_cond_destroy(&connection->may_read);
    pthread_cond_destroy(&connection->may_write);
    free(connection);
}

/* Own `fd` from here on. */
static void connection_open(struct server *server, int fd, const struct sockaddr *peer)
{
    /* A send to a peer that does not read returns after this time with what was taken, so that the session hears of it
     * (L-3, L-10) although the call blocks. */
    static const struct timeval send_timeout = {.tv_usec = SEND_TIMEOUT_MS * 1000};
    struct connection *connection = connection_new(server, fd);

    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &send_timeout, sizeof send_timeout);
    pthread_mutex_lock(&server->mutex);
    if (connection != NULL)
        connection->session = hub_open(server->hub, peer, connection, clock_monotonic_ms());
    if (connection != NULL && connection->session != NULL) {
        connection->next = server->connections;
        if (connection->next != NULL)
            connection->next->previous = connection;
        server->connections = connection;
        start_threads(server, connection);
    } else {
        close(fd);
        if (connection != NULL)
            connection_free(connection);
    }
    server_turn(server);
    pthread_mutex_unlock(&server->mutex);
}

/* accept(2): the errors of the connection that just ended, and of the network, are not the listener's. */
static bool accept_error_is_passing(int error)
{
    switch (error) {
    case EINTR:
    case ECONNABORTED:
    case EPROTO:
    case EPERM:
    case ENETDOWN:
    case ENOPROTOOPT:
    case EHOSTDOWN:
    case ENONET:
    case EHOSTUNREACH:
    case EOPNOTSUPP:
    case ENETUNREACH:
        return true;
    default:
        return false;
    }
}

/* No descriptor is free: accept(2) would fail again at once. Until a connection is closed, or for a while. */
static void listener_pause(struct server *server, int reason)
{
    struct timespec until = time_of(clock_monotonic_ms() + ACCEPT_PAUSE_MS);

    pthread_mutex_lock(&server->mutex);
    if (!server->draining) {
        log_warn("accepting pauses: %s", strerror(reason));
        pthread_cond_timedwait(&server->has_closed, &server->mutex, &until);
    }
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
    if (fd >= 0)
        connection_open(server, fd, (struct sockaddr *)&peer);
    else if (!accept_error_is_passing(error))
        listener_pause(server, error); /* EMFILE, ENFILE, ENOBUFS, ENOMEM; EINVAL: server_stop() has shut it */
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

/* With the mutex. The last of the two threads hands the connection to the reaper. */
static void thread_leaves(struct connection *connection)
{
    struct server *server = connection->server;

    if (--connection->threads > 0)
        return;
    connection->next_finished = server->finished;
    server->finished = connection;
    pthread_cond_signal(&server->has_finished);
}

/* With the mutex. Wait until the session wants to read; false: the thread has to leave. */
static bool wait_to_read(struct connection *connection)
{
    while (!connection->shut && !session_wants_read(connection->session))
        server_wait(connection->server, &connection->may_read);
    return !connection->shut;
}

/* With the mutex, which is given back during the call. After the stop was asked for, the socket is read until it is
 * empty (L-7): the calls do not block any more, until only the peer's end is waited for. */
static void connection_read(struct server *server, struct connection *connection, char *buffer)
{
    bool emptying = server->draining && session_phase(connection->session) == SESSION_OPEN;
    ssize_t length;
    int error;

    connection->in_recv = true;
    pthread_mutex_unlock(&server->mutex);
    COUNTER_ADD(hub_counters(server->hub), read_calls_total, 1);
    length = recv(connection->fd, buffer, READ_BUFFER_BYTES, emptying ? MSG_DONTWAIT : 0);
    error = errno;
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
    while (wait_to_read(connection)) {
        connection_read(server, connection, buffer);
        server_turn(server);
    }
    thread_leaves(connection);
    pthread_mutex_unlock(&server->mutex);
    return NULL;
}

/* With the mutex. Wait until there is something to write; false: the thread has to leave. */
static bool wait_to_write(struct connection *connection)
{
    while (!connection->shut && !session_has_output(connection->session))
        server_wait(connection->server, &connection->may_write);
    return !connection->shut;
}

/* With the mutex, which is given back during the call. */
static void connection_write(struct server *server, struct connection *connection, char *scratch)
{
    struct iovec iov[IOV_MAX_PIECES];
    struct msghdr message = {.msg_iov = iov};
    ssize_t length;
    int error;

    message.msg_iovlen = (size_t)session_output(connection->session, iov, IOV_MAX_PIECES, scratch);
    pthread_mutex_unlock(&server->mutex);
    COUNTER_ADD(hub_counters(server->hub), write_calls_total, 1);
    length = sendmsg(connection->fd, &message, MSG_NOSIGNAL);
    error = errno;
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
    while (wait_to_write(connection)) {
        connection_write(server, connection, scratch);
        server_turn(server);
    }
    thread_leaves(connection);
    pthread_mutex_unlock(&server->mutex);
    return NULL;
}

/* With the mutex. Make both threads leave, whatever they wait in: a call that blocks returns when its socket is shut. */
static void connection_shut(struct connection *connection, bool reset)
{
    static const struct linger abort_connection = {.l_onoff = 1, .l_linger = 0};

    if (connection->shut)
        return;
    connection->shut = true;
    if (reset)
        (void)setsockopt(connection->fd, SOL_SOCKET, SO_LINGER, &abort_connection, sizeof abort_connection);
    (void)shutdown(connection->fd, SHUT_RDWR);
    pthread_cond_signal(&connection->may_read);
    pthread_cond_signal(&connection->may_write);
}

/* With the mutex. Bring the threads in line with the session, after hub_next_changed() reported it. */
static void connection_update(struct server *server, struct connection *connection)
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
    (void)server;
    if (session_has_output(connection->session))
        pthread_cond_signal(&connection->may_write);
    if (session_wants_read(connection->session))
        pthread_cond_signal(&connection->may_read);
}

/* With the mutex. I4: the only place where a connection's descriptor is closed; its threads are gone. */
static void connection_close(struct server *server, struct connection *connection)
{
    session_free(connection->session);
    if (connection->previous != NULL)
        connection->previous->next = connection->next;
    else
        server->connections = connection->next;
    if (connection->next != NULL)
        connection->next->previous = connection->previous;
    close(connection->fd);
    connection_free(connection);
    pthread_cond_broadcast(&server->has_closed);
}

static void reap(struct server *server, struct connection *connection)
{
    /* The threads have given the mutex back, or are about to: they need it no more. */
    pthread_mutex_unlock(&server->mutex);
    pthread_join(connection->writer, NULL);
    if (!pthread_equal(connection->reader, connection->writer))
        pthread_join(connection->reader, NULL);
    pthread_mutex_lock(&server->mutex);
    connection_close(server, connection);
    server_turn(server);
}

static void *reaper_main(void *arg)
{
    struct server *server = arg;

    pthread_mutex_lock(&server->mutex);
    while (!server->ended) {
        struct connection *connection = server->finished;

        if (connection == NULL) {
            server_wait(server, &server->has_finished);
            continue;
        }
        server->finished = connection->next_finished;
        reap(server, connection);
    }
    pthread_mutex_unlock(&server->mutex);
    return NULL;
}

/* ---- the keeper ---- */

/* The hub's wake: from any thread, also with the mutex. */
static void server_wake(void *arg)
{
    struct server *server = arg;

    pthread_mutex_lock(&server->wake_mutex);
    server->is_woken = true;
    pthread_cond_signal(&server->woken);
    pthread_mutex_unlock(&server->wake_mutex);
}

/* Until the hub is woken, or `until_ms` comes. */
static void keeper_wait(struct server *server, uint64_t until_ms)
{
    struct timespec until = time_of(until_ms);
    int result = 0;

    pthread_mutex_lock(&server->wake_mutex);
    while (!server->is_woken && result == 0) {
        if (until_ms == UINT64_MAX)
            pthread_cond_wait(&server->woken, &server->wake_mutex);
        else
            result = pthread_cond_timedwait(&server->woken, &server->wake_mutex, &until);
    }
    server->is_woken = false;
    pthread_mutex_unlock(&server->wake_mutex);
    COUNTER_ADD(hub_counters(server->hub), wakeups_total, 1);
}

/* With the mutex. A reader that blocks in recv(2) does not learn of the stop. The signal's handler does nothing; it only
 * makes the call return EINTR. But a reader may have given the mutex back and not be in the call yet: then the signal
 * comes too early and is lost. So it is sent until the reader has come back. Returns whether one has not. */
static bool interrupt_readers(struct server *server)
{
    bool again = false;

    for (struct connection *connection = server->connections; connection != NULL; connection = connection->next) {
        if (connection->in_recv && session_phase(connection->session) == SESSION_OPEN) {
            pthread_kill(connection->reader, SIGUSR1);
            again = true;
        }
    }
    return again;
}

/* What no client's thread does: collect what the engine posts from its own thread, and deadlines. */
static void server_loop(struct server *server)
{
    pthread_mutex_lock(&server->mutex);
    while (!server->ended) {
        uint64_t until_ms, again_ms = UINT64_MAX;

        server->keeper_until_ms = 0;
        server_turn(server);
        if (server->draining && interrupt_readers(server))
            again_ms = clock_monotonic_ms() + INTERRUPT_AGAIN_MS;
        until_ms = server->deadline_ms < again_ms ? server->deadline_ms : again_ms;
        server->keeper_until_ms = until_ms;
        pthread_mutex_unlock(&server->mutex);
        keeper_wait(server, until_ms);
        pthread_mutex_lock(&server->mutex);
    }
    pthread_mutex_unlock(&server->mutex);
}

static void *keeper_main(void *arg)
{
    server_loop(arg);
    return NULL;
}

static sigset_t stop_signals(int how)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    pthread_sigmask(how, &set, NULL);
    return set;
}

/* L-7. Returns when the last connection is closed. */
static void server_stop(struct server *server)
{
    log_info("stopping");
    stop_signals(SIG_UNBLOCK); /* a second one has its default effect: it ends the process at once */
    pthread_mutex_lock(&server->mutex);
    server->draining = true;
    hub_drain(server->hub, clock_monotonic_ms());
    (void)shutdown(server->listener, SHUT_RDWR); /* accept(2) returns EINVAL */
    pthread_cond_broadcast(&server->has_closed); /* the acceptor may wait for a descriptor */
    server_wake(server);
    while (!hub_drained(server->hub))
        server_wait(server, &server->has_closed);
    server->ended = true;
    pthread_cond_signal(&server->has_finished);
    server_wake(server);
    pthread_mutex_unlock(&server->mutex);
}

/* ---- start and end ---- */

static void ignore_signal(int number)
{
    (void)number;
}

/* Without SA_RESTART: the call that SIGUSR1 interrupts is to return. */
static void allow_interrupts(void)
{
    struct sigaction action = {.sa_handler = ignore_signal};

    sigaction(SIGUSR1, &action, NULL);
}

static void init_condition(pthread_cond_t *condition)
{
    pthread_condattr_t attributes;

    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(condition, &attributes);
    pthread_condattr_destroy(&attributes);
}

/* What can fail of the server itself. False: logged. */
static bool server_init(struct server *server, const struct options *options)
{
    int flags;

    pthread_mutex_init(&server->mutex, NULL);
    pthread_mutex_init(&server->wake_mutex, NULL);
    init_condition(&server->has_finished);
    init_condition(&server->has_closed);
    init_condition(&server->woken);
    pthread_attr_init(&server->client_attributes);
    pthread_attr_setstacksize(&server->client_attributes, CLIENT_STACK_BYTES);
    server->listener = listener_open(options->host, options->port);
    if (server->listener < 0)
        return false;
    flags = fcntl(server->listener, F_GETFL);
    return flags >= 0 && fcntl(server->listener, F_SETFL, flags & ~O_NONBLOCK) == 0;
}

static void server_fini(struct server *server)
{
    if (server->listener >= 0)
        close(server->listener);
    pthread_attr_destroy(&server->client_attributes);
    pthread_cond_destroy(&server->has_finished);
    pthread_cond_destroy(&server->has_closed);
    pthread_cond_destroy(&server->woken);
    pthread_mutex_destroy(&server->mutex);
    pthread_mutex_destroy(&server->wake_mutex);
}

static bool start_service(pthread_t *thread, void *(*run)(void *), struct server *server)
{
    int error = pthread_create(thread, NULL, run, server);

    if (error != 0)
        log_error("cannot start a thread: %s", strerror(error));
    return error == 0;
}

static bool server_run(struct server *server, struct chat *chat, const sigset_t *signals)
{
    int number;

    if (!chat_start(chat) || !start_service(&server->keeper, keeper_main, server) ||
        !start_service(&server->reaper, reaper_main, server) || listener_announce(server->listener) != 0 ||
        !start_service(&server->acceptor, acceptor_main, server))
        return false;
    sigwait(signals, &number);
    server_stop(server);
    pthread_join(server->acceptor, NULL);
    pthread_join(server->reaper, NULL);
    pthread_join(server->keeper, NULL);
    return true;
}

/* A number in a file of /proc; `otherwise` when it cannot be read. */
static uint64_t read_number(const char *path, uint64_t otherwise)
{
    FILE *file = fopen(path, "re");
    unsigned long long number;

    if (file == NULL)
        return otherwise;
    if (fscanf(file, "%llu", &number) != 1)
        number = otherwise;
    fclose(file);
    return number;
}

/* S-6: two threads a client, of what the system allows; a thread's stack and its guard are two maps. */
static void lower_connections_to_threads(struct options *options)
{
    uint64_t threads = read_number("/proc/sys/kernel/threads-max", UINT64_MAX);
    uint64_t maps = read_number("/proc/sys/vm/max_map_count", UINT64_MAX) / 2;
    uint64_t pids = read_number("/proc/sys/kernel/pid_max", UINT64_MAX);
    struct rlimit limit;
    uint64_t clients;

    threads = maps < threads ? maps : threads;
    threads = pids < threads ? pids : threads;
    if (getrlimit(RLIMIT_NPROC, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY && limit.rlim_cur < threads)
        threads = limit.rlim_cur;
    clients = threads > 2 * THREADS_BESIDES ? (threads - THREADS_BESIDES) / 2 : THREADS_BESIDES / 2;
    if (options->max_connections_given || options->max_connections <= clients)
        return;
    options->max_connections = (size_t)clients;
    log_warn("--max-connections lowered to %zu: two threads each is what the system allows", options->max_connections);
}

int main(int argc, char **argv)
{
    static struct server server;
    struct options options;
    struct chat *chat;
    sigset_t signals;
    bool served = false;

    switch (options_parse(&options, "01-blocking", false, argc, argv)) {
    case OPTIONS_RUN:
        break;
    case OPTIONS_EXIT_SUCCESS:
        return 0;
    case OPTIONS_EXIT_USAGE:
        return 2;
    }
    log_set_level(options.log_level);
    signals = stop_signals(SIG_BLOCK); /* before there are threads: they are for sigwait(3) alone */
    signal(SIGPIPE, SIG_IGN);          /* a peer that is gone is EPIPE, not the end of the server */
    signal(SIGXFSZ, SIG_IGN);          /* a full quota is an error of the store */
    allow_interrupts();
    options_raise_descriptor_limit(&options, DESCRIPTORS_BESIDES);
    lower_connections_to_threads(&options);
    chat = chat_new(&options);
    if (chat == NULL)
        return 1;
    server.hub = hub_new(chat, server_wake, &server);
    if (server.hub != NULL && server_init(&server, &options))
        served = server_run(&server, chat, &signals);
    if (!served)
        return 1; /* with threads in the middle of it: the system takes back what there is */
    chat_stop(chat);
    hub_free(server.hub);
    chat_free(chat);
    server_fini(&server);
    return 0;
}
