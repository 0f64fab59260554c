/* listener.c - see listener.h. The one file of common/ that makes a socket. */
#include "base/listener.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/log.h"

/* An address as people write it: 127.0.0.1:8000, [::1]:8000. */
struct address_text {
    char host[NI_MAXHOST];
    char port[NI_MAXSERV];
    const char *open, *close; /* brackets of IPv6 (S-5) */
};

static bool describe(const struct sockaddr *address, socklen_t length, struct address_text *text)
{
    bool ipv6 = address->sa_family == AF_INET6;
    int failure = getnameinfo(address, length, text->host, sizeof text->host, text->port, sizeof text->port,
                              NI_NUMERICHOST | NI_NUMERICSERV);

    text->open = ipv6 ? "[" : "";
    text->close = ipv6 ? "]" : "";
    if (failure != 0)
        log_error("cannot write down an address: %s", gai_strerror(failure));
    return failure == 0;
}

static bool make_listen(int listener, const struct addrinfo *address)
{
    static const int on = 1, low_water = NOT_SENT_LOW_WATER_BYTES;

    /* Accepted sockets inherit both from the listener (tcp(7)), which saves two calls a connection. Writes are gathered
     * already, so Nagle's algorithm would only hold them back. */
    (void)setsockopt(listener, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    (void)setsockopt(listener, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &low_water, sizeof low_water);
    /* A restarted server must not wait until the connections of the last one are forgotten (TIME_WAIT, socket(7)).
     * A port that another server listens on stays refused. */
    return setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
           bind(listener, address->ai_addr, address->ai_addrlen) == 0 && listen(listener, SOMAXCONN) == 0;
}

/* Listen on one address; -1: logged. */
static int open_one(const struct addrinfo *address)
{
    int listener =
        socket(address->ai_family, address->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, address->ai_protocol);
    struct address_text text;
    int reason;

    if (listener >= 0 && make_listen(listener, address))
        return listener;
    reason = errno;
    if (listener >= 0)
        close(listener);
    if (describe(address->ai_addr, address->ai_addrlen, &text))
        log_error("cannot listen on %s%s%s:%s: %s", text.open, text.host, text.close, text.port, strerror(reason));
    return -1;
}

int listener_open(const char *host, uint16_t port)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct addrinfo *addresses, *address;
    char service[8];
    int listener = -1;
    int failure;

    snprintf(service, sizeof service, "%u", (unsigned)port);
    failure = getaddrinfo(host, service, &hints, &addresses);
    if (failure != 0) {
        log_error("cannot find --host %s: %s", host, failure == EAI_SYSTEM ? strerror(errno) : gai_strerror(failure));
        return -1;
    }
    /* A name may have several addresses, in the order in which a client tries them: take the first that works. */
    for (address = addresses; address && listener < 0; address = address->ai_next)
        listener = open_one(address);
    freeaddrinfo(addresses);
    return listener;
}

int listener_announce(int listener)
{
    struct sockaddr_storage address = {0};
    socklen_t length = sizeof address;
    struct address_text text;

    if (getsockname(listener, (struct sockaddr *)&address, &length) < 0) {
        log_error("cannot ask for the listener's address: %s", strerror(errno));
        return -1;
    }
    if (!describe((struct sockaddr *)&address, length, &text))
        return -1;
    if (printf("listening on %s%s%s:%s\n", text.open, text.host, text.close, text.port) < 0 || fflush(stdout) != 0) {
        log_error("cannot write to standard output: %s", strerror(errno));
        return -1;
    }
    return 0;
}
