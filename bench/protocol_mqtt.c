/* protocol_mqtt.c - MQTT 3.1.1 with quality of service 0, which promises what TCP does. A user is a topic, a group is a
 *                   topic; a sender that has subscribed gets its own message, too.
 */
#include "protocol.h"

enum {
    CONNECT = 0x10,
    CONNACK = 0x20,
    PUBLISH = 0x30,
    SUBSCRIBE = 0x82,
    SUBACK = 0x90,
    PINGREQ = 0xC0,
    PINGRESP = 0xD0,
    TYPE_MASK = 0xF0
};

enum { LENGTH_BYTES_MAX = 4, TEXT_MAX_BYTES = 65536 };

/* 7 bits a byte, the lowest first; bit 8 says that more follow. */
static void append_head(struct buffer *out, int type, size_t length)
{
    char head[1 + LENGTH_BYTES_MAX];
    size_t count = 0;

    head[count++] = (char)type;
    do {
        head[count++] = (char)((length & 127) | (length > 127 ? 128 : 0));
        length >>= 7;
    } while (length > 0);
    buffer_append(out, head, count);
}

static void append_string(struct buffer *out, struct slice string)
{
    const char length[] = {(char)(string.length >> 8), (char)string.length};

    buffer_append(out, length, sizeof length);
    buffer_append(out, string.bytes, string.length);
}

static unsigned mqtt_join(struct buffer *out, struct slice topic)
{
    append_head(out, SUBSCRIBE, 2 + 2 + topic.length + 1);
    buffer_append(out, "\0\1", 2);
    append_string(out, topic);
    buffer_append(out, "\0", 1);
    return 1;
}

/* A clean session, and no time after which silence is the end. */
static unsigned mqtt_enter(struct buffer *out, struct slice self)
{
    append_head(out, CONNECT, 10 + 2 + self.length);
    buffer_append(out, "\0\4MQTT\4\2\0\0", 10);
    append_string(out, self);
    return 1 + mqtt_join(out, self);
}

static unsigned mqtt_settle(struct buffer *out)
{
    append_head(out, PINGREQ, 0);
    return 1;
}

static void mqtt_send(struct buffer *out, const struct address *to, struct slice text)
{
    append_head(out, PUBLISH, 2 + to->name.length + text.length);
    append_string(out, to->name);
    buffer_append(out, text.bytes, text.length);
}

static void mqtt_reply(struct buffer *out, struct slice question)
{
    (void)out;
    (void)question;
}

/* The length that follows the type, and where it ends; 0: it is not complete. */
static size_t read_length(const char *bytes, size_t available, size_t *length, bool *broken)
{
    *length = 0;
    for (size_t i = 1; i < available; i++) {
        if (i > LENGTH_BYTES_MAX) {
            *broken = true;
            return 0;
        }
        *length |= (size_t)(bytes[i] & 127) << (7 * (i - 1));
        if ((bytes[i] & 128) == 0)
            return i + 1;
    }
    return 0;
}

static enum unit_kind judge_publish(const char *body, size_t length, struct unit *unit)
{
    size_t topic = length >= 2 ? (size_t)(uint8_t)body[0] << 8 | (uint8_t)body[1] : SIZE_MAX - 2;

    if (topic + 2 > length)
        return UNIT_BROKEN;
    unit->text = (struct slice){body + 2 + topic, length - 2 - topic};
    return UNIT_MESSAGE;
}

static enum unit_kind mqtt_next(const char *bytes, size_t available, struct unit *unit)
{
    bool broken = false;
    size_t length;
    size_t head = read_length(bytes, available, &length, &broken);

    if (head == 0)
        return broken ? UNIT_BROKEN : UNIT_INCOMPLETE;
    unit->bytes = head + length;
    if (available < unit->bytes)
        return UNIT_INCOMPLETE;
    unit->text = (struct slice){"a code of refusal", 17};
    switch (bytes[0] & TYPE_MASK) {
    case PUBLISH:
        return judge_publish(bytes + head, length, unit);
    case CONNACK:
        return length == 2 && bytes[head + 1] == 0 ? UNIT_ANSWER : UNIT_REFUSED;
    case SUBACK:
        return length == 3 && bytes[head + 2] == 0 ? UNIT_ANSWER : UNIT_REFUSED;
    case PINGRESP:
        return UNIT_ANSWER;
    default:
        return UNIT_BROKEN;
    }
}

const struct protocol protocol_mqtt = {
    .name = "mqtt",
    .echoes = true,
    .text_max_bytes = TEXT_MAX_BYTES,
    .at_once = 64,
    .prepare = protocol_nothing_for,
    .enter = mqtt_enter,
    .create = protocol_nothing_for,
    .join = mqtt_join,
    .settle = mqtt_settle,
    .send = mqtt_send,
    .reply = mqtt_reply,
    .next = mqtt_next,
};
