/* echo-threaded.c - an echo server: a thread that accepts, two that do the I/O, each with an event loop of its own.
 *
 * Build.      gcc -Wall -O2 -D_GNU_SOURCE -pthread -o echo-threaded echo-threaded.c -levent
 * Idea.       A connection belongs to one thread for its whole life, so none needs a lock. What crosses from thread to
 *             thread is the number of a new descriptor, through a pipe: that wakes the loop, too.
 * Invariants. I1  an event base and all that is in it is touched by its thread alone, from pthread_create() on.
 *             I2  a descriptor belongs to the acceptor until it is in the pipe, and to the worker from then on.
 *             I3  the pipe has whole descriptors only: writes of up to PIPE_BUF bytes are not divided (pipe(7)).
 *             I4  as in echo-libevent.c: nothing is read with OUTPUT_MAX bytes waiting, nothing is lost after a FIN.
 * Missing.    A chat's connections write to each other, over threads: queues, a lock for what is shared, names for
 *             connections that may be gone. Timeouts, a stop that loses nothing: 05-threaded/io_thread.c, server.c.
 */
#include <err.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { WORKERS = 2, OUTPUT_MAX = 65536, PAUSE_US = 100000 };

static int listener_open(const char *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    address.sin_port = htons((uint16_t)strtoul(port, NULL, 10));
    if (setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int)) != 0 ||
        bind(listener, (struct sockaddr *)&address, length) != 0 || listen(listener, SOMAXCONN) != 0 ||
        getsockname(listener, (struct sockaddr *)&address, &length) != 0)
        err(1, "cannot listen on port %s", port);
    dprintf(STDOUT_FILENO, "listening on 127.0.0.1:%d\n", ntohs(address.sin_port));
    return listener;
}

static void connection_read(struct bufferevent *connection, void *arg)
{
    (void)arg;
    if (bufferevent_write_buffer(connection, bufferevent_get_input(connection)) != 0)
        bufferevent_free(connection);
    else if (evbuffer_get_length(bufferevent_get_output(connection)) >= OUTPUT_MAX)
        bufferevent_disable(connection, EV_READ); /* I4 */
}

static void connection_written(struct bufferevent *connection, void *arg)
{
    (void)arg;
    bufferevent_enable(connection, EV_READ);
}

/* The peer is gone, or it is a FIN: with output waiting, connection_written() reads on, and finds the FIN again. */
static void connection_ended(struct bufferevent *connection, short what, void *arg)
{
    (void)arg;
    if (what != (BEV_EVENT_READING | BEV_EVENT_EOF) || evbuffer_get_length(bufferevent_get_output(connection)) == 0)
        bufferevent_free(connection);
}

/* In the worker: a descriptor came, and maybe more; then the pipe is still ready, and we are called again. */
static void worker_ready(int pipe, short what, void *base)
{
    struct bufferevent *connection;
    int fd;

    (void)what;
    if (read(pipe, &fd, sizeof fd) != sizeof fd) /* I3 */
        return;
    connection = bufferevent_socket_new(base, fd, BEV_OPT_CLOSE_ON_FREE);
    if (connection == NULL) {
        close(fd);
        return;
    }
    bufferevent_setcb(connection, connection_read, connection_written, connection_ended, NULL);
    if (bufferevent_enable(connection, EV_READ) != 0)
        bufferevent_free(connection);
}

static void *worker_run(void *base)
{
    event_base_dispatch(base);
    errx(1, "an event loop ended");
}

static int worker_start(void)
{
    struct event_base *base = event_base_new();
    struct event *event;
    pthread_t thread;
    int ends[2];

    if (base == NULL || pipe2(ends, O_CLOEXEC) != 0 ||
        (event = event_new(base, ends[0], EV_READ | EV_PERSIST, worker_ready, base)) == NULL ||
        event_add(event, NULL) != 0 || pthread_create(&thread, NULL, worker_run, base) != 0)
        errx(1, "cannot start a worker");
    return ends[1]; /* to write descriptors into */
}

int main(int argc, char **argv)
{
    int listener = listener_open(argc > 1 ? argv[1] : "8000"), workers[WORKERS];

    signal(SIGPIPE, SIG_IGN); /* libevent writes by writev(2), which has no MSG_NOSIGNAL */
    for (int i = 0; i < WORKERS; i++)
        workers[i] = worker_start();
    for (unsigned next = 0;; next++) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd < 0) /* most likely EMFILE, and the same at once if asked again: that would be a spin */
            usleep(PAUSE_US);
        else if (write(workers[next % WORKERS], &fd, sizeof fd) != sizeof fd) /* I2; waits while the pipe is full */
            close(fd);
    }
}
