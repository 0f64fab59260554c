/* ceiling_sends.c - how much a core can send, if it does nothing else: the same bytes, in the same pieces, to the same
 *                   number of sockets as a server that is measured.
 *
 *      ceiling_sends SOCKETS BYTES SECONDS [CORE READER_CORE]      prints sends a second of CPU time
 *
 * Idea.       One thread goes round the sockets and sends each a piece. Another process reads, with large reads, and never
 *             looks at a byte. What a server's deliveries could be at most is this, times the messages that it puts into
 *             one piece. A round begins when all of the last one was read, as a sender with a window waits for its
 *             messages. Without that the sockets fill, and it is slower than a server: pieces are cut, and each comes into
 *             memory that no cache has.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "process.h"

enum { READ_BYTES = 512 << 10, EVENTS_MAX = 1024, PIECE_MAX_BYTES = 4 << 20, SOCKETS_MAX = 20000 };

static void fail(const char *what)
{
    fprintf(stderr, "ceiling_sends: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* The reader's end of each connection is watched; what comes is thrown away. Tells `read_all` after each `round_bytes`. */
static void read_for_ever(int epoll, uint64_t round_bytes, int read_all)
{
    static char buffer[READ_BYTES];
    struct epoll_event events[EVENTS_MAX];
    uint64_t missing = round_bytes;

    for (;;) {
        int count = epoll_wait(epoll, events, EVENTS_MAX, -1);

        for (int i = 0; i < count; i++) {
            ssize_t length = recv(events[i].data.fd, buffer, sizeof buffer, 0);

            if (length <= 0)
                _exit(0);
            missing -= (uint64_t)length; /* of one round: the next begins when this one is read */
        }
        if (missing == 0 && eventfd_write(read_all, 1) == 0)
            missing = round_bytes;
    }
}

static int listen_anywhere(struct sockaddr_in *address)
{
    socklen_t length = sizeof *address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    *address = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (listener < 0 || bind(listener, (struct sockaddr *)address, length) != 0 || listen(listener, SOMAXCONN) != 0 ||
        getsockname(listener, (struct sockaddr *)address, &length) != 0)
        fail("listen");
    return listener;
}

/* Fill `sockets` with the ends to send on, and `epoll` with the others. */
static void connect_all(int *sockets, int count, int epoll)
{
    struct sockaddr_in address;
    int listener = listen_anywhere(&address);
    const int no_delay = 1;

    for (int i = 0; i < count; i++) {
        struct epoll_event event = {.events = EPOLLIN};

        event.data.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (event.data.fd < 0 || connect(event.data.fd, (struct sockaddr *)&address, sizeof address) != 0 ||
            epoll_ctl(epoll, EPOLL_CTL_ADD, event.data.fd, &event) != 0)
            fail("connect");
        sockets[i] = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (sockets[i] < 0 || setsockopt(sockets[i], IPPROTO_TCP, TCP_NODELAY, &no_delay, sizeof no_delay) != 0)
            fail("accept");
    }
    close(listener);
}

static void send_piece(int socket, const char *piece, size_t bytes)
{
    while (bytes > 0) {
        ssize_t length = send(socket, piece, bytes, MSG_NOSIGNAL);

        if (length > 0) {
            piece += length;
            bytes -= (size_t)length;
        } else if (errno == EAGAIN) {
            struct pollfd room = {.fd = socket, .events = POLLOUT};

            (void)poll(&room, 1, -1);
        } else if (errno != EINTR) {
            fail("send");
        }
    }
}

/* Sends a second of CPU time. */
static double send_for(double seconds, const int *sockets, int count, size_t bytes, int read_all)
{
    char *piece = calloc(1, bytes);
    eventfd_t rounds;
    uint64_t until_ns = time_ns() + (uint64_t)(seconds * 1e9);
    uint64_t cpu_ns = own_cpu_ns();
    uint64_t sends = 0;

    if (piece == NULL)
        fail("memory");
    while (time_ns() < until_ns) {
        for (int i = 0; i < count; i++)
            send_piece(sockets[i], piece, bytes);
        if (eventfd_read(read_all, &rounds) != 0)
            fail("wait");
        sends += (uint64_t)count;
    }
    free(piece);
    return (double)sends * 1e9 / (double)(own_cpu_ns() - cpu_ns);
}

static void raise_descriptor_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

int main(int argc, char **argv)
{
    static int sockets[SOCKETS_MAX];
    int count = argc > 1 ? atoi(argv[1]) : 0;
    long bytes = argc > 2 ? atol(argv[2]) : 0;
    double seconds = argc > 3 ? atof(argv[3]) : 0;
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    int read_all = eventfd(0, EFD_CLOEXEC);
    pid_t reader;

    if (count < 1 || count > SOCKETS_MAX || bytes < 1 || bytes > PIECE_MAX_BYTES || seconds <= 0) {
        fputs("usage: ceiling_sends SOCKETS BYTES SECONDS [CORE READER_CORE]\n", stderr);
        return 2;
    }
    raise_descriptor_limit();
    connect_all(sockets, count, epoll);
    reader = fork();
    if (reader == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        read_for_ever(epoll, (uint64_t)count * (uint64_t)bytes, read_all);
    }
    if (argc > 5 && (!process_pin(getpid(), atoi(argv[4])) || !process_pin(reader, atoi(argv[5]))))
        fail("pin");
    printf("%.0f\n", send_for(seconds, sockets, count, (size_t)bytes, read_all));
    kill(reader, SIGKILL);
    return 0;
}
