/* echo-libevent.c - an echo server: one thread, libevent's loop and its buffers.
 *
 * Build.      gcc -Wall -O2 -D_GNU_SOURCE -o echo-libevent echo-libevent.c -levent
 * Idea.       The library waits (with epoll, where there is), reads, keeps what could not be written, and writes it when
 *             there is room. The program says what is to happen when: it is callbacks only.
 * Invariants. I1  with OUTPUT_MAX bytes or more waiting, nothing is read until all are written: no buffer of libevent
 *                 has a bound by itself, and a peer that does not read would fill the memory.
 *             I2  after a FIN, what waits is still written, and then the connection is freed.
 * Missing.    What waits is the library's here. A chat has limits and deadlines for it, so it lends its output to the
 *             library by reference, and closes nothing in a callback. Timeouts, a stop that loses nothing, IPv6. All of
 *             it: 04-libevent/server.c.
 */
#include <err.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { OUTPUT_MAX = 65536, PAUSE_US = 100000 };

static int listener_open(const char *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    address.sin_port = htons((uint16_t)strtoul(port, NULL, 10));
    if (setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int)) != 0 ||
        bind(listener, (struct sockaddr *)&address, length) != 0 || listen(listener, SOMAXCONN) != 0 ||
        getsockname(listener, (struct sockaddr *)&address, &length) != 0)
        err(1, "cannot listen on port %s", port);
    dprintf(STDOUT_FILENO, "listening on 127.0.0.1:%d\n", ntohs(address.sin_port));
    return listener;
}

/* Input came: make it output. Blocks change their owner, no byte is copied. */
static void connection_read(struct bufferevent *connection, void *arg)
{
    (void)arg;
    if (bufferevent_write_buffer(connection, bufferevent_get_input(connection)) != 0)
        bufferevent_free(connection);
    else if (evbuffer_get_length(bufferevent_get_output(connection)) >= OUTPUT_MAX)
        bufferevent_disable(connection, EV_READ); /* I1 */
}

/* All output is written. */
static void connection_written(struct bufferevent *connection, void *arg)
{
    (void)arg;
    bufferevent_enable(connection, EV_READ);
}

/* The peer is gone, or it is a FIN. With output waiting the FIN can wait, too: when all is written, reading goes on, and
 * what it finds is the FIN again (I2). */
static void connection_ended(struct bufferevent *connection, short what, void *arg)
{
    (void)arg;
    if (what != (BEV_EVENT_READING | BEV_EVENT_EOF) || evbuffer_get_length(bufferevent_get_output(connection)) == 0)
        bufferevent_free(connection);
}

/* Own `fd` from here on. */
static void connection_open(struct event_base *base, int fd)
{
    struct bufferevent *connection = bufferevent_socket_new(base, fd, BEV_OPT_CLOSE_ON_FREE);

    if (connection == NULL) {
        close(fd);
        return;
    }
    bufferevent_setcb(connection, connection_read, connection_written, connection_ended, NULL);
    if (bufferevent_enable(connection, EV_READ) != 0) /* EV_WRITE is on, as ever */
        bufferevent_free(connection);
}

static void listener_ready(struct evconnlistener *listener, int fd, struct sockaddr *peer, int length, void *arg)
{
    (void)peer, (void)length, (void)arg;
    connection_open(evconnlistener_get_base(listener), fd);
}

static void listener_resume(int fd, short what, void *listener)
{
    (void)fd, (void)what;
    evconnlistener_enable(listener);
}

/* Most likely EMFILE; and it stays ready: watched on, it would make us spin. */
static void listener_failed(struct evconnlistener *listener, void *arg)
{
    static const struct timeval pause = {.tv_usec = PAUSE_US};

    (void)arg;
    if (event_base_once(evconnlistener_get_base(listener), -1, EV_TIMEOUT, listener_resume, listener, &pause) == 0)
        evconnlistener_disable(listener);
}

int main(int argc, char **argv)
{
    static const unsigned flags = LEV_OPT_CLOSE_ON_EXEC; /* which accept4(2) gives to each descriptor */
    int fd = listener_open(argc > 1 ? argv[1] : "8000");
    struct event_base *base = event_base_new();
    struct evconnlistener *listener =
        base == NULL ? NULL : evconnlistener_new(base, listener_ready, NULL, flags, 0, fd);

    if (listener == NULL)
        errx(1, "cannot make the event loop");
    evconnlistener_set_error_cb(listener, listener_failed);
    signal(SIGPIPE, SIG_IGN); /* libevent writes by writev(2), which has no MSG_NOSIGNAL */
    event_base_dispatch(base);
    errx(1, "the event loop ended");
}
