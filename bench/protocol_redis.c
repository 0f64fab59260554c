/* protocol_redis.c - Redis, as publish and subscribe use it: RESP3, in which one connection may do both.
 *
 * A user is a channel, a group is a channel. `redis` tells the server to send no replies (CLIENT REPLY OFF): what a
 * sender publishes to its group comes back to it as to any subscriber, so a reply would say the same once more.
 * `redis-durable` puts each message into a stream before it publishes it; with `appendfsync always` Redis has both in its
 * file, flushed, before it sends anything of them.
 */
#include "protocol.h"

#include <stdio.h>
#include <stdlib.h>

enum { NUMBER_BYTES = 24, AGGREGATE_MAX = 1 << 20 };

/* $5\r\nhello\r\n */
static void append_bulk(struct buffer *out, struct slice bulk)
{
    char head[NUMBER_BYTES];
    int length = snprintf(head, sizeof head, "$%zu\r\n", bulk.length);

    buffer_append(out, head, (size_t)length);
    buffer_append(out, bulk.bytes, bulk.length);
    buffer_append(out, "\r\n", 2);
}

static unsigned redis_subscribe(struct buffer *out, struct slice channel)
{
    protocol_append(out, "*2\r\n$9\r\nSUBSCRIBE\r\n");
    append_bulk(out, channel);
    return 1;
}

static unsigned redis_enter(struct buffer *out, struct slice self)
{
    protocol_append(out, "*2\r\n$5\r\nHELLO\r\n$1\r\n3\r\n");
    return 1 + redis_subscribe(out, self);
}

static unsigned redis_be_silent(struct buffer *out)
{
    protocol_append(out, "*3\r\n$6\r\nCLIENT\r\n$5\r\nREPLY\r\n$3\r\nOFF\r\n");
    return 0;
}

static void redis_send(struct buffer *out, const struct address *to, struct slice text)
{
    protocol_append(out, "*3\r\n$7\r\nPUBLISH\r\n");
    append_bulk(out, to->name);
    append_bulk(out, text);
}

/* The stream of a conversation that is no group is the receiver's. Its key is not its channel's name: a key is no
 * channel, but who reads a log shall not have to know that. */
static void redis_send_durable(struct buffer *out, const struct address *to, struct slice text)
{
    char key[64];
    int length = snprintf(key, sizeof key, "log:%.*s", (int)to->name.length, to->name.bytes);

    protocol_append(out, "*5\r\n$4\r\nXADD\r\n");
    append_bulk(out, (struct slice){key, (size_t)length});
    protocol_append(out, "$1\r\n*\r\n$4\r\ntext\r\n");
    append_bulk(out, text);
    redis_send(out, to, text);
}

static void redis_reply(struct buffer *out, struct slice question)
{
    (void)out;
    (void)question;
}

/* The number behind the type of the line at `bytes`; `line` bytes with its end. -1: it is none, or too large. */
static long number_of_line(const char *bytes, size_t line)
{
    long number = 0;

    if (line < 4)
        return -1;
    for (size_t i = 1; i + 2 < line; i++) {
        if (bytes[i] < '0' || bytes[i] > '9' || number > AGGREGATE_MAX)
            return -1;
        number = number * 10 + (bytes[i] - '0');
    }
    return number;
}

/* Length of the one value that begins at `bytes`, without what an aggregate holds; 0: it is not complete. `values` gets
 * how many more values it announces. */
static size_t value_length(const char *bytes, size_t length, long *values, bool *broken)
{
    size_t line = protocol_line(bytes, length);
    long number;

    *values = 0;
    if (line == 0)
        return 0;
    switch (bytes[0]) {
    case '+':
    case '-':
    case ':':
    case '_':
    case '#':
    case ',':
    case '(':
        return line;
    case '$':
    case '=':
        number = number_of_line(bytes, line);
        *broken = number < 0;
        return !*broken && length - line >= (size_t)number + 2 ? line + (size_t)number + 2 : 0;
    case '*':
    case '~':
    case '>':
    case '%':
        number = number_of_line(bytes, line);
        *broken = number < 0;
        *values = bytes[0] == '%' ? 2 * number : number;
        return line;
    default:
        *broken = true;
        return 0;
    }
}

/* Length of a value and all that it holds, without recursion: what is announced is counted down. */
static size_t whole_length(const char *bytes, size_t length, bool *broken)
{
    size_t at = 0;
    long open = 1;

    while (open > 0) {
        long values;
        size_t one = value_length(bytes + at, length - at, &values, broken);

        if (one == 0 || *broken || values > AGGREGATE_MAX)
            return 0;
        at += one;
        open += values - 1;
    }
    return at;
}

/* The bulk at `bytes`; its length with head and end, 0: not complete. */
static size_t bulk_at(const char *bytes, size_t length, struct slice *bulk, bool *broken)
{
    long values;
    size_t whole = length > 0 && bytes[0] == '$' ? value_length(bytes, length, &values, broken) : 0;
    size_t line;

    *broken = *broken || (length > 0 && bytes[0] != '$');
    if (whole == 0 || *broken)
        return 0;
    line = protocol_line(bytes, length);
    *bulk = (struct slice){bytes + line, whole - line - 2};
    return whole;
}

/* Behind >3, "message": the channel and the text. */
static enum unit_kind next_message(const char *bytes, size_t length, size_t at, struct unit *unit)
{
    struct slice channel;
    bool broken = false;
    size_t one = bulk_at(bytes + at, length - at, &channel, &broken);
    size_t two = one > 0 ? bulk_at(bytes + at + one, length - at - one, &unit->text, &broken) : 0;

    if (broken)
        return UNIT_BROKEN;
    unit->bytes = at + one + two;
    return two > 0 ? UNIT_MESSAGE : UNIT_INCOMPLETE;
}

static enum unit_kind redis_next(const char *bytes, size_t length, struct unit *unit)
{
    static const struct slice message = SLICE_LITERAL(">3\r\n$7\r\nmessage\r\n");
    bool broken = false;

    if (length >= message.length && memcmp(bytes, message.bytes, message.length) == 0)
        return next_message(bytes, length, message.length, unit);
    unit->bytes = length > 0 ? whole_length(bytes, length, &broken) : 0;
    if (unit->bytes == 0)
        return broken ? UNIT_BROKEN : UNIT_INCOMPLETE;
    unit->text = (struct slice){bytes, unit->bytes};
    return bytes[0] == '-' ? UNIT_REFUSED : UNIT_ANSWER;
}

/* XADD is answered with the entry's number, a bulk; PUBLISH with an integer, which says nothing new. */
static enum unit_kind redis_next_durable(const char *bytes, size_t length, struct unit *unit)
{
    enum unit_kind kind = redis_next(bytes, length, unit);

    return kind == UNIT_ANSWER && bytes[0] == ':' ? UNIT_OTHER : kind;
}

enum { TEXT_MAX_BYTES = 65536 };

const struct protocol protocol_redis = {
    .name = "redis",
    .echoes = true,
    .text_max_bytes = TEXT_MAX_BYTES,
    .at_once = 64,
    .prepare = protocol_nothing_for,
    .enter = redis_enter,
    .create = protocol_nothing_for,
    .join = redis_subscribe,
    .settle = redis_be_silent,
    .send = redis_send,
    .reply = redis_reply,
    .next = redis_next,
};

const struct protocol protocol_redis_replies = {
    .name = "redis-replies",
    .answers = true,
    .echoes = true,
    .text_max_bytes = TEXT_MAX_BYTES,
    .at_once = 64,
    .prepare = protocol_nothing_for,
    .enter = redis_enter,
    .create = protocol_nothing_for,
    .join = redis_subscribe,
    .settle = protocol_nothing,
    .send = redis_send,
    .reply = redis_reply,
    .next = redis_next,
};

const struct protocol protocol_redis_durable = {
    .name = "redis-durable",
    .answers = true,
    .echoes = true,
    .text_max_bytes = TEXT_MAX_BYTES,
    .at_once = 64,
    .prepare = protocol_nothing_for,
    .enter = redis_enter,
    .create = protocol_nothing_for,
    .join = redis_subscribe,
    .settle = protocol_nothing,
    .send = redis_send_durable,
    .reply = redis_reply,
    .next = redis_next_durable,
};
