/* calibrate.c - see calibrate.h. */
#include "calibrate.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

#include "process.h"

enum { LOOPS = 20, SENDS = 5000, BYTES = 100 };

/* Two ends of one TCP connection over loopback. */
static bool connect_pair(int ends[2])
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    const int no_delay = 1;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool made;

    ends[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    made = listener >= 0 && ends[0] >= 0 && bind(listener, (struct sockaddr *)&address, length) == 0 &&
           listen(listener, 1) == 0 && getsockname(listener, (struct sockaddr *)&address, &length) == 0 &&
           setsockopt(ends[0], IPPROTO_TCP, TCP_NODELAY, &no_delay, sizeof no_delay) == 0 &&
           connect(ends[0], (struct sockaddr *)&address, length) == 0;
    ends[1] = made ? accept4(listener, NULL, NULL, SOCK_CLOEXEC) : -1;
    close(listener);
    return ends[1] >= 0;
}

static bool send_and_receive(const int ends[2])
{
    char bytes[BYTES] = {0};

    for (int i = 0; i < SENDS; i++) {
        if (send(ends[0], bytes, sizeof bytes, MSG_NOSIGNAL) != BYTES ||
            recv(ends[1], bytes, sizeof bytes, MSG_WAITALL) != BYTES)
            return false;
    }
    return true;
}

double calibrate_send_ns(void)
{
    double best = -1;
    int ends[2];

    if (!connect_pair(ends))
        return -1;
    for (int i = 0; i < LOOPS; i++) {
        uint64_t began_ns = own_cpu_ns();
        double each;

        if (!send_and_receive(ends))
            return -1;
        each = (double)(own_cpu_ns() - began_ns) / SENDS;
        if (best < 0 || each < best)
            best = each;
    }
    close(ends[0]);
    close(ends[1]);
    return best;
}
