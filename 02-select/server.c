/* server.c - 02-select: one thread, level-triggered select, all descriptors in one question.
 *
 * Idea.       One thread serves everybody, so it must never wait for one client: every socket is non-blocking, and the
 *             only call that waits is select(2), which waits for all of them. Each turn asks it anew:
 *
 *                  reads    the sessions that want to be read from: session_wants_read()
 *                  writes   the sessions with something that the system did not take: session_has_output()
 *
 *             and it answers with those who can be served without waiting. The answer is level-triggered: it tells what
 *             is so, not what has changed. Whatever a turn leaves undone comes again in the next one, so nothing has to
 *             be remembered. The price: question and answer have a bit for every descriptor, and each turn goes through
 *             them three times: to ask, in the kernel, and to look who is meant.
 * Invariants. I1  connections[fd] is the connection of an open descriptor, else NULL.
 *             I2  session_wants_read(): the next question has the connection in `reads`.
 *             I3  session_has_output(): it is written before the turn ends; what is left then is in `writes`.
 *             I4  an answer is about the connections that were asked about. A number that is closed while the answer is
 *                 gone through can come back by accept(2) alone, so accepting comes after all of them.
 *             I5  what is put into a set is below FD_SETSIZE: FD_SET(3) would write past the set's end.
 * Threads.    One, but for server_wake(). Beside it run the workers (passwords) and, with --store sqlite, the engine's
 *             thread: a loop must never wait for a disk. They touch nothing here.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/listener.h"
#include "base/log.h"
#include "base/options.h"
#include "base/program.h"
#include "chat/hub.h"
#include "descriptor_limit.h"

enum {
    ACCEPTS_MAX = 64,        /* a turn, so that a storm of connections does not keep those there are waiting */
    ACCEPT_PAUSE_MS = 1000,  /* without a free descriptor; a close ends it earlier */
    DESCRIPTORS_BESIDES = 16 /* standard streams, listener, two pipes, store */
};

struct connection {
    int fd;
    struct session *session;
    bool writable; /* false: the system was full, and select has not yet said that there is room */
    bool sent_fin; /* shutdown(SHUT_WR) was called */
};

struct server {
    struct hub *hub;
    int listener;   /* -1: closed */
    int wake[2];    /* pipes: the end to read from, the end to write to */
    int signals[2]; /* -1: the first one came */
    sigset_t stop;
    uint64_t now_ms;
    uint64_t accept_again_ms; /* 0: accepting */
    bool draining;
    bool emptying;        /* somebody was not yet read until empty: do not wait */
    fd_set reads, writes; /* the question */
    int highest;          /* in it */
    struct connection *connections[FD_SETSIZE];
    char read_buffer[READ_BUFFER_BYTES];
    char scratch[OUTPUT_GATHER_BYTES];
};

static int signal_pipe; /* the end to write to: a handler is given nothing but a number */

static void connection_close(struct server *server, struct connection *connection, bool reset);

/* ---- what select watches ---- */

static void watch(struct server *server, int fd, fd_set *set)
{
    assert(fd < FD_SETSIZE); /* I5 */
    FD_SET(fd, set);
    if (fd > server->highest)
        server->highest = fd;
}

/* I2, I3 */
static void watch_connection(struct server *server, struct connection *connection)
{
    bool wants_read = session_wants_read(connection->session);

    if (wants_read)
        watch(server, connection->fd, &server->reads);
    if (session_has_output(connection->session))
        watch(server, connection->fd, &server->writes);
    if (server->draining && wants_read && session_phase(connection->session) == SESSION_OPEN)
        server->emptying = true;
}

/* The question of a turn, made anew: so it cannot be out of step with the sessions. */
static void watch_all(struct server *server)
{
    FD_ZERO(&server->reads);
    FD_ZERO(&server->writes);
    server->highest = -1;
    server->emptying = false;
    watch(server, server->wake[0], &server->reads);
    if (server->signals[0] >= 0)
        watch(server, server->signals[0], &server->reads);
    if (server->listener >= 0 && server->accept_again_ms == 0)
        watch(server, server->listener, &server->reads);
    for (int fd = 0; fd < FD_SETSIZE; fd++)
        if (server->connections[fd] != NULL)
            watch_connection(server, server->connections[fd]);
}

/* ---- accepting ---- */

/* Whoever waits at the listener makes it readable, also when there is no descriptor for him. So it is left out of the
 * question while there is none: level-triggered and ignored would be a spin. */
static void listener_pause(struct server *server, int reason)
{
    server->accept_again_ms = server->now_ms + ACCEPT_PAUSE_MS;
    log_warn("accepting pauses: %s", strerror(reason));
}

static void listener_resume(struct server *server)
{
    server->accept_again_ms = 0;
}

/* Own `fd` from here on. A new socket is writable. I5: descriptor_limit.c keeps larger ones away, but the limit of a
 * process can be raised from outside (prlimit(1)). */
static void connection_open(struct server *server, int fd, const struct sockaddr *peer)
{
    struct connection *connection = fd < FD_SETSIZE ? calloc(1, sizeof *connection) : NULL;

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
    server->connections[fd] = connection;
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

/* After the stop was asked for: select was asked whether the socket can be read from, and it cannot. So it is empty,
 * which ends what is taken up of it (L-7). */
static void tell_if_drained(struct server *server, struct connection *connection)
{
    if (server->draining && FD_ISSET(connection->fd, &server->reads))
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
    /* EAGAIN comes although select said otherwise: select(2), BUGS. */
    if (length > 0)
        session_receive(connection->session, server->read_buffer, (size_t)length, server->now_ms);
    else if (length == 0 || errno != EAGAIN)
        session_end(connection->session, length == 0 ? PEER_FINISHED : PEER_GONE, server->now_ms);
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
        /* Short means full, as EAGAIN does: the next question asks for room (I3). */
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
    server->connections[connection->fd] = NULL; /* I1 */
    close(connection->fd);
    free(connection);
    listener_resume(server); /* there is a descriptor again */
}

/* ---- the loop ---- */

/* The hub's wake: from any thread. EAGAIN: the pipe is full of wakes, so the loop wakes anyway (pipe(7)). */
static void server_wake(void *arg)
{
    const struct server *server = arg;

    while (write(server->wake[1], "", 1) < 0 && errno == EINTR)
        ;
}

static void wake_ready(const struct server *server)
{
    char bytes[64];

    while (read(server->wake[0], bytes, sizeof bytes) < 0 && errno == EINTR)
        ;
}

/* The handler of SIGTERM and SIGINT. It comes between any two instructions, so it may only call what signal-safety(7)
 * names, and it leaves errno as the interrupted code knows it. One more signal has its default effect, and ends the
 * process at once (L-7). The byte makes select return, also when the signal came just before the call: that is what the
 * pipe is for. */
static void stop_asked(int number)
{
    int error = errno;

    (void)number;
    signal(SIGTERM, SIG_DFL);
    signal(SIGINT, SIG_DFL);
    while (write(signal_pipe, "", 1) < 0 && errno == EINTR)
        ;
    errno = error;
}

/* L-7. Each socket is read until select says that it is empty. */
static void server_stop(struct server *server)
{
    log_info("stopping");
    server->draining = true;
    close(server->listener);
    server->listener = -1;
    server->accept_again_ms = 0;
    hub_drain(server->hub, server->now_ms);
    close(server->signals[0]); /* the handler is gone: nobody writes any more */
    close(server->signals[1]);
    server->signals[0] = server->signals[1] = -1;
}

/* Reading closes nobody, writing may: so that comes last. */
static void connection_ready(struct server *server, struct connection *connection, bool readable, bool writable)
{
    if (!readable)
        tell_if_drained(server, connection);
    else if (session_wants_read(connection->session)) /* still: what others sent may have changed it */
        connection_read(server, connection);
    if (writable) {
        connection->writable = true;
        connection_update(server, connection); /* I3: what waited for room */
    }
}

/* The answer. The order matters: accepting gives out the numbers of those who were closed here (I4), and draining
 * begins with the next question, for this one was asked before. */
static void dispatch(struct server *server, const fd_set *readable, const fd_set *writable)
{
    for (int fd = 0; fd <= server->highest; fd++)
        if (server->connections[fd] != NULL)
            connection_ready(server, server->connections[fd], FD_ISSET(fd, readable), FD_ISSET(fd, writable));
    if (FD_ISSET(server->wake[0], readable))
        wake_ready(server);
    if (server->listener >= 0 && FD_ISSET(server->listener, readable))
        listener_ready(server);
    if (server->signals[0] >= 0 && FD_ISSET(server->signals[0], readable))
        server_stop(server);
}

static int wait_ms(struct server *server)
{
    uint64_t deadline_ms = hub_deadline(server->hub);

    if (server->emptying)
        return 0;
    if (server->accept_again_ms != 0 && server->accept_again_ms < deadline_ms)
        deadline_ms = server->accept_again_ms;
    return clock_wait_ms(server->now_ms, deadline_ms);
}

/* select(2) writes the answer over the question, and may write the rest of the time over the time: it gets copies. */
static int server_select(struct server *server, fd_set *readable, fd_set *writable)
{
    int wait = wait_ms(server);
    struct timeval time = {.tv_sec = wait / 1000, .tv_usec = wait % 1000 * 1000L};

    *readable = server->reads;
    *writable = server->writes;
    return select(server->highest + 1, readable, writable, NULL, wait < 0 ? NULL : &time);
}

static void server_loop(struct server *server)
{
    struct session *session;

    while (!server->draining || !hub_drained(server->hub)) {
        fd_set readable, writable;
        int count;

        watch_all(server);
        count = server_select(server, &readable, &writable);
        COUNTER_ADD(hub_counters(server->hub), wakeups_total, 1);
        server->now_ms = clock_monotonic_ms();
        if (count >= 0) /* after EINTR, the sets are no answer */
            dispatch(server, &readable, &writable);
        if (server->accept_again_ms != 0 && server->accept_again_ms <= server->now_ms)
            listener_resume(server);
        hub_turn(server->hub, server->now_ms);
        while ((session = hub_next_changed(server->hub)) != NULL)
            connection_update(server, session_connection(session));
    }
}

/* ---- start and end ---- */

/* No end of a pipe may ever block: not the loop, and not who wakes it. SA_RESTART: no other call has to know of EINTR;
 * select(2) returns all the same (signal(7)). False: logged. */
static bool make_loop(struct server *server)
{
    struct sigaction action = {.sa_handler = stop_asked, .sa_mask = server->stop, .sa_flags = SA_RESTART};

    server->wake[0] = server->wake[1] = server->signals[0] = server->signals[1] = -1;
    if (pipe2(server->wake, O_CLOEXEC | O_NONBLOCK) != 0 || pipe2(server->signals, O_CLOEXEC | O_NONBLOCK) != 0) {
        log_error("cannot make the event loop: %s", strerror(errno));
        return false;
    }
    signal_pipe = server->signals[1];
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    program_let_stop(&server->stop);
    return true;
}

/* What can fail of the loop itself. False: logged. */
static bool server_init(struct server *server, const struct options *options)
{
    server->now_ms = clock_monotonic_ms();
    server->listener = make_loop(server) ? listener_open(options->host, options->port) : -1;
    return server->listener >= 0;
}

static void server_fini(struct server *server)
{
    if (server->listener >= 0)
        close(server->listener);
    if (server->signals[0] >= 0) {
        close(server->signals[0]);
        close(server->signals[1]);
    }
    close(server->wake[0]);
    close(server->wake[1]);
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

    if (!program_begin(&options, "02-select", false, DESCRIPTORS_BESIDES, argc, argv, &server.stop, &status))
        return status;
    if (!lower_connections_to_sets(&options, DESCRIPTORS_BESIDES))
        return 2;
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
