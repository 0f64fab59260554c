/* link.c - see link.h. */
#include "link.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { SOURCE_ADDRESSES = 100 };

/* 127.0.0.1 to 127.0.0.100, in turn; where the server is elsewhere, the system chooses. */
static void choose_source(int fd, const struct addrinfo *target, uint32_t number)
{
    const int late = 1;
    struct sockaddr_in source = {.sin_family = AF_INET};

    if (target->ai_family != AF_INET)
        return;
    source.sin_addr = ((const struct sockaddr_in *)target->ai_addr)->sin_addr;
    if (ntohl(source.sin_addr.s_addr) >> 24 != IN_LOOPBACKNET)
        return;
    source.sin_addr.s_addr = htonl(INADDR_LOOPBACK + number % SOURCE_ADDRESSES);
    /* The port is chosen by connect(), which knows that the pair only has to be new (ip(7)). */
    (void)setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &late, sizeof late);
    (void)bind(fd, (struct sockaddr *)&source, sizeof source);
}

bool link_open(struct link *link, const struct links_target *target, uint32_t number)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = link};
    const int no_delay = 1;
    const struct addrinfo *address = target->address;
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return false;
    choose_source(fd, address, number);
    if (connect(fd, address->ai_addr, address->ai_addrlen) != 0 || fcntl(fd, F_SETFL, O_NONBLOCK) != 0 ||
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &no_delay, sizeof no_delay) != 0 ||
        epoll_ctl(target->epoll, EPOLL_CTL_ADD, fd, &event) != 0) {
        close(fd);
        return false;
    }
    link->fd = fd;
    return true;
}

void link_close(struct link *link)
{
    if (link->fd >= 0)
        close(link->fd);
    link->fd = -1;
    link->blocked = false;
    link->out_done = 0;
    buffer_clear(&link->out);
    buffer_clear(&link->partial);
}

void link_fini(struct link *link)
{
    link_close(link);
    buffer_fini(&link->partial);
    buffer_fini(&link->out);
}

static void watch_for_room(struct link *link, const struct links_target *target, bool wanted)
{
    struct epoll_event event = {.events = wanted ? EPOLLIN | EPOLLOUT : EPOLLIN, .data.ptr = link};

    if (link->blocked == wanted)
        return;
    link->blocked = wanted;
    (void)epoll_ctl(target->epoll, EPOLL_CTL_MOD, link->fd, &event);
}

enum link_end link_flush(struct link *link, const struct links_target *target)
{
    while (link->out_done < link->out.length) {
        ssize_t length =
            send(link->fd, link->out.bytes + link->out_done, link->out.length - link->out_done, MSG_NOSIGNAL);

        if (length >= 0) {
            link->out_done += (size_t)length;
        } else if (errno == EAGAIN) {
            watch_for_room(link, target, true);
            return LINK_GOES_ON;
        } else if (errno != EINTR) {
            return errno == EPIPE || errno == ECONNRESET ? LINK_CLOSED : LINK_FAILED;
        }
    }
    watch_for_room(link, target, false);
    link->out_done = 0;
    buffer_clear(&link->out);
    return LINK_GOES_ON;
}

/* Returns what is left at the end; *end is set when the bytes are not the protocol. */
static size_t visit_units(struct link *link, const struct protocol *protocol, const char *bytes, size_t length,
                          link_visitor *visit, void *arg, enum link_end *end)
{
    struct unit unit = {0};
    enum unit_kind kind;
    size_t at = 0;

    while ((kind = protocol->next(bytes + at, length - at, &unit)) != UNIT_INCOMPLETE) {
        if (kind == UNIT_BROKEN) {
            *end = LINK_BROKEN;
            break;
        }
        at += unit.bytes;
        if (!visit(arg, link, kind, &unit))
            break;
    }
    return length - at;
}

enum link_end link_read(struct link *link, const struct protocol *protocol, char *buffer, size_t size,
                        link_visitor *visit, void *arg)
{
    size_t kept = link->partial.length;
    enum link_end end = LINK_GOES_ON;
    size_t left;
    ssize_t length;

    if (kept > 0)
        memcpy(buffer, link->partial.bytes, kept);
    do
        length = recv(link->fd, buffer + kept, size - kept, 0);
    while (length < 0 && errno == EINTR);
    if (length < 0 && errno == EAGAIN)
        return LINK_GOES_ON;
    if (length <= 0)
        return length == 0 || errno == ECONNRESET ? LINK_CLOSED : LINK_FAILED;

    length += (ssize_t)kept;
    left = visit_units(link, protocol, buffer, (size_t)length, visit, arg, &end);
    buffer_clear(&link->partial);
    buffer_append(&link->partial, buffer + length - (ssize_t)left, left);
    return end;
}
