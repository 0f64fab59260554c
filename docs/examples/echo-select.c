/* echo-select.c - an echo server: one thread, select, sockets that do not block.
 *
 * Build.      gcc -Wall -O2 -D_GNU_SOURCE -o echo-select echo-select.c
 * Idea.       The program keeps the list of what is watched, and hands it to the kernel on every call. select(2) puts
 *             what is ready in its place: so it gets copies, and a turn costs by the highest descriptor.
 * Invariants. I1  bytes wait in `buffer`: the socket is watched for room. None wait: for input. Never both, so who does
 *                 not read is not read from, and a connection costs BUFFER_BYTES at most.
 *             I2  no descriptor from FD_SETSIZE on comes into a set: FD_SET would write behind its end.
 * Missing.    A chat writes to others: input and output are watched at once. A pipe that wakes select(2) for signals
 *             and other threads. Timeouts, a stop that loses nothing, IPv6. All of it: 02-select/server.c.
 */
#include <err.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BUFFER_BYTES = 65536, PAUSE_US = 100000 };

static struct connection {
    size_t length, sent; /* of the buffer: what was read, and how much of it is written */
    char buffer[BUFFER_BYTES];
} connections[FD_SETSIZE]; /* by descriptor; memory only for those that were in use */
static fd_set want_read, want_write;
static int highest;

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

/* False, here and below: the connection is over. A FIN ends it at once: nothing waits to be written (I1). */
static bool connection_read(int fd)
{
    ssize_t length = recv(fd, connections[fd].buffer, BUFFER_BYTES, 0);

    if (length > 0)
        connections[fd].length = (size_t)length;
    return length > 0 || (length < 0 && (errno == EAGAIN || errno == EINTR));
}

/* The system takes what it has room for; the rest stays where it is. No SIGPIPE: a peer that is gone is EPIPE. */
static bool connection_write(int fd)
{
    struct connection *connection = &connections[fd];
    size_t rest = connection->length - connection->sent;
    ssize_t length = rest == 0 ? 0 : send(fd, connection->buffer + connection->sent, rest, MSG_NOSIGNAL);

    if (length < 0)
        return errno == EAGAIN || errno == EINTR;
    connection->sent += (size_t)length;
    if (connection->sent == connection->length)
        connection->sent = connection->length = 0;
    return true;
}

/* One read and one write a turn: the others have their turn, too. What is left is reported again. */
static void connection_ready(int fd)
{
    bool open = (connections[fd].length > 0 || connection_read(fd)) && connection_write(fd);

    FD_CLR(fd, &want_read);
    FD_CLR(fd, &want_write);
    if (open)
        FD_SET(fd, connections[fd].length > 0 ? &want_write : &want_read); /* I1 */
    else
        close(fd);
}

static void listener_ready(int listener)
{
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

    if (fd < 0) { /* most likely EMFILE; and it stays ready: watched on, it would make us spin */
        FD_CLR(listener, &want_read);
    } else if (fd >= FD_SETSIZE) { /* I2 */
        close(fd);
    } else {
        connections[fd].length = connections[fd].sent = 0;
        FD_SET(fd, &want_read);
        highest = fd > highest ? fd : highest;
    }
}

int main(int argc, char **argv)
{
    int listener = listener_open(argc > 1 ? argv[1] : "8000"), count;

    if (listener >= FD_SETSIZE) /* I2 */
        errx(1, "too many descriptors are open already");
    FD_SET(listener, &want_read);
    highest = listener;
    do {
        fd_set readable = want_read, writable = want_write;
        struct timeval pause = {.tv_usec = PAUSE_US};

        count = select(highest + 1, &readable, &writable, NULL, FD_ISSET(listener, &want_read) ? NULL : &pause);
        FD_SET(listener, &want_read);
        for (int fd = 0; count > 0 && fd <= highest; fd++)
            if (fd == listener && FD_ISSET(fd, &readable))
                listener_ready(listener);
            else if (FD_ISSET(fd, &readable) || FD_ISSET(fd, &writable))
                connection_ready(fd);
    } while (count >= 0 || errno == EINTR); /* after EINTR, the sets say nothing */
    err(1, "select");
}
