/* protocol_nats.c - NATS: lines, and payloads of a length that the line says. A user is a subject, a group is a subject;
 *                   a sender that has subscribed gets its own message, too.
 */
#include "protocol.h"

#include <stdio.h>
#include <stdlib.h>

enum { LINE_BYTES = 64, PAYLOAD_MAX_BYTES = 1 << 20, TEXT_MAX_BYTES = 65536 };

static unsigned nats_ping(struct buffer *out)
{
    protocol_append(out, "PING\r\n");
    return 1;
}

/* The number of the subscription comes with each message; who joins one group needs no more than two. */
static void subscribe(struct buffer *out, struct slice subject, const char *number)
{
    protocol_append(out, "SUB ");
    buffer_append(out, subject.bytes, subject.length);
    protocol_append(out, number);
}

static unsigned nats_enter(struct buffer *out, struct slice self)
{
    protocol_append(
        out, "CONNECT {\"verbose\":false,\"pedantic\":false,\"lang\":\"c\",\"version\":\"1\",\"protocol\":1}\r\n");
    subscribe(out, self, " 1\r\n");
    return nats_ping(out);
}

static unsigned nats_join(struct buffer *out, struct slice group)
{
    subscribe(out, group, " 2\r\n");
    return nats_ping(out);
}

static void nats_send(struct buffer *out, const struct address *to, struct slice text)
{
    char length[LINE_BYTES];

    snprintf(length, sizeof length, " %zu\r\n", text.length);
    protocol_append(out, "PUB ");
    buffer_append(out, to->name.bytes, to->name.length);
    protocol_append(out, length);
    buffer_append(out, text.bytes, text.length);
    protocol_append(out, "\r\n");
}

static void nats_reply(struct buffer *out, struct slice question)
{
    (void)question;
    protocol_append(out, "PONG\r\n");
}

/* The last word of a line, a number of bytes. */
static size_t last_number(const char *bytes, size_t line)
{
    size_t number = 0;
    size_t scale = 1;

    for (size_t i = line - 3; i > 0 && bytes[i] >= '0' && bytes[i] <= '9' && number <= PAYLOAD_MAX_BYTES; i--) {
        number += scale * (size_t)(bytes[i] - '0');
        scale *= 10;
    }
    return number;
}

/* MSG subject 1 64\r\n, the payload, \r\n */
static enum unit_kind next_message(const char *bytes, size_t length, size_t line, struct unit *unit)
{
    size_t payload = last_number(bytes, line);

    if (payload > PAYLOAD_MAX_BYTES)
        return UNIT_BROKEN;
    unit->bytes = line + payload + 2;
    unit->text = (struct slice){bytes + line, payload};
    return length < unit->bytes ? UNIT_INCOMPLETE : UNIT_MESSAGE;
}

static bool begins(const char *bytes, size_t line, const char *with)
{
    size_t length = strlen(with);

    return line >= length && memcmp(bytes, with, length) == 0;
}

static enum unit_kind nats_next(const char *bytes, size_t length, struct unit *unit)
{
    size_t line = protocol_line(bytes, length);

    if (line == 0)
        return UNIT_INCOMPLETE;
    if (begins(bytes, line, "MSG "))
        return next_message(bytes, length, line, unit);
    unit->bytes = line;
    unit->text = (struct slice){bytes, line};
    if (begins(bytes, line, "PING"))
        return UNIT_QUESTION;
    if (begins(bytes, line, "PONG"))
        return UNIT_ANSWER;
    if (begins(bytes, line, "-ERR"))
        return UNIT_REFUSED;
    return begins(bytes, line, "INFO ") || begins(bytes, line, "+OK") ? UNIT_OTHER : UNIT_BROKEN;
}

const struct protocol protocol_nats = {
    .name = "nats",
    .echoes = true,
    .text_max_bytes = TEXT_MAX_BYTES,
    .at_once = 64,
    .prepare = protocol_nothing_for,
    .enter = nats_enter,
    .create = protocol_nothing_for,
    .join = nats_join,
    .settle = nats_ping,
    .send = nats_send,
    .reply = nats_reply,
    .next = nats_next,
};
