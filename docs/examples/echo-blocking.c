/* echo-blocking.c - an echo server: a thread for each client, calls that block.
 *
 * Build.      gcc -Wall -O2 -D_GNU_SOURCE -pthread -o echo-blocking echo-blocking.c
 * Idea.       A call that cannot go on puts its thread to sleep, and the thread's stack remembers what it was doing. So
 *             the code of a client reads straight down, as if there were no other.
 * Invariants. I1  a descriptor belongs to its client's thread from connection_open() on, and is closed there alone:
 *                 nobody else can be in a call with a number that the next accept may give out again.
 *             I2  a thread has written all that it read before it reads again: who does not read is not read from, and
 *                 a connection costs a buffer and a stack.
 * Missing.    A chat writes to others, who may not read: that takes a second thread a client, and a lock for what the
 *             threads share. A peer that vanishes holds its thread for ever here: no timeouts. No stop that loses
 *             nothing, no limit for threads, no IPv6. All of it: 01-blocking/server.c.
 */
#include <err.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BUFFER_BYTES = 65536, PAUSE_US = 100000 };

struct connection {
    int fd;
    size_t length, sent; /* of the buffer: what was read, and how much of it is written */
    char buffer[BUFFER_BYTES];
};

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

/* Sleep until there is something. False, here and below: the connection is over; here it may be a FIN. */
static bool connection_read(struct connection *connection)
{
    ssize_t length;

    do
        length = recv(connection->fd, connection->buffer, BUFFER_BYTES, 0);
    while (length < 0 && errno == EINTR);
    connection->length = length > 0 ? (size_t)length : 0;
    connection->sent = 0;
    return length > 0;
}

/* Sleep until the system has taken all of it. Even a call that blocks may take a part only: when a signal comes, it
 * returns what it has done so far. No SIGPIPE: a peer that is gone is EPIPE. */
static bool connection_write(struct connection *connection)
{
    while (connection->sent < connection->length) {
        const char *rest = connection->buffer + connection->sent;
        ssize_t length = send(connection->fd, rest, connection->length - connection->sent, MSG_NOSIGNAL);

        if (length < 0 && errno != EINTR)
            return false;
        if (length > 0)
            connection->sent += (size_t)length;
    }
    return true;
}

static void *connection_run(void *arg)
{
    struct connection *connection = arg;

    while (connection_read(connection) && connection_write(connection)) /* I2 */
        ;
    close(connection->fd);
    free(connection);
    return NULL;
}

/* Own `fd` from here on (I1). A thread that nobody waits for frees itself when it ends. */
static void connection_open(int fd)
{
    struct connection *connection = malloc(sizeof *connection);
    pthread_t thread;

    if (connection != NULL)
        connection->fd = fd;
    if (connection == NULL || pthread_create(&thread, NULL, connection_run, connection) != 0) {
        free(connection);
        close(fd);
        return;
    }
    pthread_detach(thread);
}

int main(int argc, char **argv)
{
    int listener = listener_open(argc > 1 ? argv[1] : "8000");

    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

        if (fd >= 0)
            connection_open(fd);
        else /* most likely EMFILE, and the same at once if asked again: that would be a spin */
            usleep(PAUSE_US);
    }
}
