/* server.c - 05-threaded: one acceptor, N I/O threads, each an event loop with connections of its own.
 *
 * Idea.       What 03 does on one core, N threads do on N. The main thread accepts, and hands each connection over to
 *             the thread that has the fewest; from then on only that thread touches it. What threads have in common is
 *             the chat, which each sees through a hub of its own: between them go requests and effects, never sockets.
 *
 *                                ┌──▶ io_thread ◀──▶ hub ◀──┐
 *                 accept ──▶ pipe┼──▶ io_thread ◀──▶ hub ◀──┼──▶ engine
 *                                └──▶ io_thread ◀──▶ hub ◀──┘
 *
 * Invariants. I1  of an accepted descriptor this thread knows until it has handed it over, and no longer.
 *             I2  accepting pauses while there is no descriptor, or no room in any pipe; `paused` is set before, so who
 *                 makes room afterwards sees it, and wakes us.
 *             I3  this thread never waits for another, but for the end of all.
 * Threads.    The acceptor (main) and the I/O threads (io_thread.c). Beside them run the workers (passwords) and, with
 *             --store sqlite, the engine's thread. No two share an event_base. server_wake() is for all.
 */
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/listener.h"
#include "base/log.h"
#include "base/options.h"
#include "base/program.h"
#include "io_thread.h"
#include "watch.h"

enum {
    ACCEPTS_MAX = 64,        /* a turn, so that a storm of connections does not hide a signal */
    ACCEPT_PAUSE_S = 1,      /* without a descriptor, or room in a pipe; who makes room ends it earlier */
    DESCRIPTORS_BESIDES = 16 /* standard streams, listener, epoll, eventfd, signals, store */
};

struct server {
    struct io_thread *threads[HUBS_MAX];
    unsigned thread_count;
    int listener; /* -1: closed */
    int wake;
    struct event_base *base;
    struct event *listener_event, *wake_event, *resume_event;
    struct event *terminate_event, *interrupt_event;
    sigset_t stop;
    struct accepted *pending; /* accepted, but all pipes were full; NULL: none */
    atomic_bool paused;       /* I2 */
    bool stopping;
};

/* ---- accepting ---- */

/* The listener is level-triggered: level-triggered and ignored would be a spin, so it is taken out. */
static void listener_pause(struct server *server, const char *reason)
{
    static const struct timeval pause = {.tv_sec = ACCEPT_PAUSE_S};

    event_del(server->listener_event);
    event_add(server->resume_event, &pause);
    log_warn("accepting pauses: %s", reason);
}

/* The thread with the fewest connections; where its pipe is full, the next ones. False: all are. */
static bool hand_over(struct server *server, struct accepted *accepted)
{
    unsigned fewest = 0;

    for (unsigned i = 1; i < server->thread_count; i++)
        if (io_thread_load(server->threads[i]) < io_thread_load(server->threads[fewest]))
            fewest = i;
    for (unsigned i = 0; i < server->thread_count; i++)
        if (io_thread_hand_over(server->threads[(fewest + i) % server->thread_count], accepted))
            return true;
    return false;
}

/* Hand over what is pending, if anything is. False: it still is, and accepting pauses. */
static bool hand_over_pending(struct server *server)
{
    while (server->pending != NULL && !hand_over(server, server->pending)) {
        if (atomic_exchange(&server->paused, true)) {
            listener_pause(server, "the pipes to all threads are full");
            return false;
        }
    }
    server->pending = NULL;
    return true;
}

/* Own `fd` until it is handed over (I1). False: accepting pauses. */
static bool connection_accepted(struct server *server, int fd, const struct sockaddr_storage *peer)
{
    struct accepted *accepted = malloc(sizeof *accepted);

    if (accepted == NULL) {
        close(fd);
        return true;
    }
    *accepted = (struct accepted){.fd = fd, .peer = *peer};
    server->pending = accepted;
    return hand_over_pending(server);
}

static void listener_ready(evutil_socket_t listener, short events, void *arg)
{
    struct server *server = arg;

    (void)events;
    for (int i = 0; i < ACCEPTS_MAX; i++) {
        struct sockaddr_storage peer;
        socklen_t length = sizeof peer;
        int fd = accept4(listener, (struct sockaddr *)&peer, &length, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd >= 0) {
            if (!connection_accepted(server, fd, &peer))
                return;
            continue;
        }
        switch (errno) {
        case EAGAIN:
            return;
        case EINTR:
        case ECONNABORTED:
            break; /* that one is gone: the next */
        default:
            /* EMFILE, ENFILE, ENOMEM and such: the next call would fail, too. But once more: a thread may have closed
             * one before it could see that we pause (I2). */
            if (!atomic_exchange(&server->paused, true))
                break;
            listener_pause(server, strerror(errno));
            return;
        }
    }
}

/* The pause is over, or somebody has made room. */
static void listener_resume(evutil_socket_t fd, short events, void *arg)
{
    struct server *server = arg;

    (void)fd, (void)events;
    if (server->listener < 0 || !hand_over_pending(server))
        return;
    event_del(server->resume_event);
    event_add(server->listener_event, NULL);
}

/* ---- the loop ---- */

/* An I/O thread has closed a descriptor, or emptied its pipe somewhat: in it. Nearly always this is one load. */
static void server_wake(void *arg)
{
    struct server *server = arg;
    const uint64_t one = 1;

    if (!atomic_load(&server->paused) || !atomic_exchange(&server->paused, false))
        return;
    while (write(server->wake, &one, sizeof one) < 0 && errno == EINTR)
        ;
}

static void wake_ready(evutil_socket_t fd, short events, void *arg)
{
    uint64_t count;

    while (read(fd, &count, sizeof count) < 0 && errno == EINTR)
        ;
    listener_resume(fd, events, arg);
}

/* L-7. The threads drain their hubs, each its own; the last ones handed over are in their pipes before the end is. */
static void server_stop(evutil_socket_t number, short events, void *arg)
{
    struct server *server = arg;

    (void)number, (void)events;
    if (server->stopping)
        return;
    server->stopping = true;
    log_info("stopping");
    event_del(server->terminate_event); /* the next signal has its default effect */
    event_del(server->interrupt_event);
    event_del(server->listener_event);
    close(server->listener);
    server->listener = -1;
    if (server->pending != NULL) {
        close(server->pending->fd);
        free(server->pending);
        server->pending = NULL;
    }
    for (unsigned i = 0; i < server->thread_count; i++)
        io_thread_stop(server->threads[i]);
}

static void server_loop(struct server *server)
{
    while (!server->stopping) {
        event_base_loop(server->base, EVLOOP_ONCE);
        COUNTER_ADD(io_thread_counters(server->threads[0]), wakeups_total, 1);
    }
}

/* ---- start and end ---- */

static bool make_threads(struct server *server, struct chat *chat, unsigned count)
{
    while (server->thread_count < count) {
        struct io_thread *thread = io_thread_new(chat, server_wake, server);

        if (thread == NULL)
            return false;
        server->threads[server->thread_count++] = thread;
    }
    return true;
}

/* What can fail of the acceptor itself. False: logged. */
static bool server_init(struct server *server, const struct options *options)
{
    server->listener = listener_open(options->host, options->port);
    if (server->listener < 0)
        return false;
    if ((server->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) >= 0 && (server->base = watch_base_new()) != NULL &&
        (server->wake_event = watch(server->base, server->wake, EV_READ, wake_ready, server)) != NULL &&
        (server->resume_event = evtimer_new(server->base, listener_resume, server)) != NULL &&
        (server->terminate_event = watch(server->base, SIGTERM, EV_SIGNAL, server_stop, server)) != NULL &&
        (server->interrupt_event = watch(server->base, SIGINT, EV_SIGNAL, server_stop, server)) != NULL &&
        (server->listener_event = watch(server->base, server->listener, EV_READ, listener_ready, server)) != NULL)
        return true;
    log_error("cannot make the event loop: %s", strerror(errno));
    return false;
}

static void server_fini(struct server *server)
{
    event_free(server->terminate_event);
    event_free(server->interrupt_event);
    event_free(server->listener_event);
    event_free(server->resume_event);
    event_free(server->wake_event);
    event_base_free(server->base);
    close(server->wake);
}

static bool server_run(struct server *server, struct chat *chat)
{
    if (!chat_start(chat))
        return false;
    for (unsigned i = 0; i < server->thread_count; i++)
        if (!io_thread_start(server->threads[i]))
            return false;
    if (listener_announce(server->listener) != 0)
        return false;
    program_let_stop(&server->stop); /* here only: in all other threads the signals stay blocked */
    server_loop(server);
    for (unsigned i = 0; i < server->thread_count; i++)
        io_thread_join(server->threads[i]);
    return true;
}

int main(int argc, char **argv)
{
    static struct server server;
    struct options options;
    struct chat *chat;
    int status;

    if (!program_begin(&options, "05-threaded", true, DESCRIPTORS_BESIDES, argc, argv, &server.stop, &status))
        return status;
    options_raise_descriptor_limit(&options, DESCRIPTORS_BESIDES + options.threads * IO_THREAD_DESCRIPTORS);
    chat = chat_new(&options);
    if (chat == NULL)
        return 1;
    if (!make_threads(&server, chat, options.threads) || !server_init(&server, &options) || !server_run(&server, chat))
        return 1; /* threads may be in the middle of things: the system takes back what there is */
    chat_stop(chat);
    for (unsigned i = 0; i < server.thread_count; i++)
        io_thread_free(server.threads[i]);
    chat_free(chat);
    server_fini(&server);
    return 0;
}
