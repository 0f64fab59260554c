/* stats.c - see stats.h. */
#include "stats.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "protocol.h"
#include "wire/command.h"
#include "wire/frame.h"

enum { ANSWER_BYTES = 4096, PATIENCE_S = 10 };

/* Read until one unit is there, which is kept; nobody else makes the server send to this user. */
static bool read_answer(int fd, char *bytes, struct unit *unit)
{
    size_t length = 0;

    for (;;) {
        enum unit_kind kind = protocol_chat.next(bytes, length, unit);
        ssize_t got;

        if (kind == UNIT_ANSWER)
            return unit->bytes == length;
        if (kind != UNIT_INCOMPLETE || length == ANSWER_BYTES)
            return false;
        got = recv(fd, bytes + length, ANSWER_BYTES - length, 0);
        if (got <= 0)
            return false;
        length += (size_t)got;
    }
}

static bool ask(int fd, uint16_t cmd, struct slice payload, char *bytes, struct unit *unit)
{
    char request[256];
    size_t length = payload.length + FRAME_OVERHEAD_BYTES;

    frame_encode(request, cmd, 1, payload);
    return send(fd, request, length, MSG_NOSIGNAL) == (ssize_t)length && read_answer(fd, bytes, unit);
}

int stats_open(const struct addrinfo *address)
{
    static const struct slice account = SLICE_LITERAL("{\"user\":\"bench-stats\",\"passwd\":\"benchmark\"}");
    const struct timeval patience = {.tv_sec = PATIENCE_S};
    char bytes[ANSWER_BYTES];
    struct unit unit;
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -1;
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (connect(fd, address->ai_addr, address->ai_addrlen) == 0 && ask(fd, CMD_REGISTER, account, bytes, &unit) &&
        ask(fd, CMD_LOGIN, account, bytes, &unit))
        return fd;
    close(fd);
    return -1;
}

/* The number of a key of a flat object; `found` becomes false where it is not. */
static uint64_t number_of(struct slice json, const char *key, bool *found)
{
    char quoted[48];
    size_t length = (size_t)snprintf(quoted, sizeof quoted, "\"%s\":", key);
    const char *at = memmem(json.bytes, json.length, quoted, length);

    if (at == NULL) {
        *found = false;
        return 0;
    }
    return strtoull(at + length, NULL, 10); /* the object's brace ends it */
}

bool stats_ask(int fd, struct stats *stats)
{
    char bytes[ANSWER_BYTES];
    struct unit unit;
    bool found = true;

    if (!ask(fd, CMD_STATS, SLICE_LITERAL(""), bytes, &unit))
        return false;
#define STATS_READ(name) stats->name = number_of(unit.text, #name, &found);
    STATS_EACH(STATS_READ)
#undef STATS_READ
    return found;
}
