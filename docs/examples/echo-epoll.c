/* echo-epoll.c - an echo server: one thread, level-triggered epoll, sockets that do not block.
 *
 * Build.      gcc -Wall -O2 -D_GNU_SOURCE -o echo-epoll echo-epoll.c
 * Idea.       The kernel keeps the list of what is watched, and epoll_wait(2) returns only what is ready: a turn costs
 *             what happens in it, however many are connected.
 * Invariants. I1  bytes wait in `buffer`: the socket is watched for room. None wait: for input. Never both, so who does
 *                 not read is not read from, and a connection costs BUFFER_BYTES at most.
 *             I2  a handler closes its own connection only: no event of the batch is left for one that is freed.
 * Missing.    A chat writes to others, which breaks I2: what is closed is freed later. Edges instead of an epoll_ctl(2)
 *             whenever a direction changes. Timeouts, a stop that loses nothing, IPv6. All of it: 03-epoll/server.c.
 */
#include <err.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BUFFER_BYTES = 65536, EVENTS_MAX = 64, PAUSE_MS = 100 };

struct connection {
    int fd;
    size_t length, sent; /* of the buffer: what was read, and how much of it is written */
    char buffer[BUFFER_BYTES];
};

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

static bool watch(int epoll, int operation, int fd, uint32_t events, void *connection)
{
    return epoll_ctl(epoll, operation, fd, &(struct epoll_event){.events = events, .data.ptr = connection}) == 0;
}

/* False, here and below: the connection is over. A FIN ends it at once: nothing waits to be written (I1). */
static bool connection_read(struct connection *connection)
{
    ssize_t length = recv(connection->fd, connection->buffer, BUFFER_BYTES, 0);

    if (length > 0)
        connection->length = (size_t)length;
    return length > 0 || (length < 0 && (errno == EAGAIN || errno == EINTR));
}

/* The system takes what it has room for; the rest stays where it is. No SIGPIPE: a peer that is gone is EPIPE. */
static bool connection_write(struct connection *connection)
{
    size_t rest = connection->length - connection->sent;
    ssize_t length = rest == 0 ? 0 : send(connection->fd, connection->buffer + connection->sent, rest, MSG_NOSIGNAL);

    if (length < 0)
        return errno == EAGAIN || errno == EINTR;
    connection->sent += (size_t)length;
    if (connection->sent == connection->length)
        connection->sent = connection->length = 0;
    return true;
}

/* One read and one write a turn: the others have their turn, too. Level-triggered, what is left is reported again. */
static void connection_ready(int epoll, struct connection *connection)
{
    bool waited = connection->length > 0;
    bool open = (waited || connection_read(connection)) && connection_write(connection);

    if (open && waited != (connection->length > 0)) /* I1 */
        open = watch(epoll, EPOLL_CTL_MOD, connection->fd, waited ? EPOLLIN : EPOLLOUT, connection);
    if (!open) {
        close(connection->fd); /* which takes it out of epoll */
        free(connection);
    }
}

/* False: not now, for want of a descriptor or of memory. */
static bool listener_ready(int epoll, int listener)
{
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    struct connection *connection = fd >= 0 ? calloc(1, sizeof *connection) : NULL;

    if (connection != NULL)
        connection->fd = fd;
    if (connection != NULL && watch(epoll, EPOLL_CTL_ADD, fd, EPOLLIN, connection))
        return true; /* NOLINT(clang-analyzer-unix.Malloc): no leak, epoll has it */
    free(connection);
    if (fd >= 0)
        close(fd);
    return false;
}

int main(int argc, char **argv)
{
    int listener = listener_open(argc > 1 ? argv[1] : "8000"), epoll = epoll_create1(EPOLL_CLOEXEC), count;
    bool accepting = watch(epoll, EPOLL_CTL_ADD, listener, EPOLLIN, NULL);
    struct epoll_event events[EVENTS_MAX];

    while ((count = epoll_wait(epoll, events, EVENTS_MAX, accepting ? -1 : PAUSE_MS)) >= 0 || errno == EINTR) {
        if (!accepting)
            accepting = watch(epoll, EPOLL_CTL_ADD, listener, EPOLLIN, NULL);
        for (int i = 0; i < count; i++)
            if (events[i].data.ptr != NULL)
                connection_ready(epoll, events[i].data.ptr);
            else if (!listener_ready(epoll, listener)) /* and it stays ready: watched on, it would make us spin */
                accepting = !watch(epoll, EPOLL_CTL_DEL, listener, 0, NULL);
    }
    err(1, "epoll_wait");
}
