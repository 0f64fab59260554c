/* protocol_chat.c - the frames of docs/protocol.md.
 *
 * A frame is cut by its length, and its tail flag is looked at. Its checksum is not computed: that is the conformance
 * suite's business, and would make the generator the bottleneck.
 */
#include "protocol.h"

#include "wire/command.h"
#include "wire/frame.h"

enum { PAYLOAD_MAX_BYTES = 262144, REQUEST_MAX_BYTES = 16384 };

#define PASSWORD "\",\"passwd\":\"benchmark\"}"

/* A request with a payload of up to three parts. */
static void append_request(struct buffer *out, uint16_t cmd, const struct slice *parts, size_t count)
{
    char payload[REQUEST_MAX_BYTES];
    size_t length = 0;

    for (size_t i = 0; i < count; i++) {
        if (parts[i].length > sizeof payload - length) {
            out->failed = true;
            return;
        }
        memcpy(payload + length, parts[i].bytes, parts[i].length);
        length += parts[i].length;
    }
    if (!buffer_reserve(out, length + FRAME_OVERHEAD_BYTES))
        return;
    frame_encode(out->bytes + out->length, cmd, 1, (struct slice){payload, length});
    out->length += length + FRAME_OVERHEAD_BYTES;
}

static unsigned chat_account(struct buffer *out, uint16_t cmd, struct slice self)
{
    const struct slice parts[] = {SLICE_LITERAL("{\"user\":\""), self, SLICE_LITERAL(PASSWORD)};

    append_request(out, cmd, parts, 3);
    return 1;
}

static unsigned chat_prepare(struct buffer *out, struct slice self)
{
    return chat_account(out, CMD_REGISTER, self);
}

static unsigned chat_enter(struct buffer *out, struct slice self)
{
    return chat_account(out, CMD_LOGIN, self);
}

static unsigned chat_group(struct buffer *out, uint16_t cmd, struct slice group)
{
    const struct slice parts[] = {SLICE_LITERAL("{\"group\":\""), group, SLICE_LITERAL("\"}")};

    append_request(out, cmd, parts, 3);
    return 1;
}

static unsigned chat_create(struct buffer *out, struct slice group)
{
    return chat_group(out, CMD_GROUP_CREATE, group);
}

static unsigned chat_join(struct buffer *out, struct slice group)
{
    return chat_group(out, CMD_GROUP_JOIN, group);
}

static unsigned chat_settle(struct buffer *out)
{
    append_request(out, CMD_PING, NULL, 0);
    return 1;
}

static void chat_send(struct buffer *out, const struct address *to, struct slice text)
{
    const struct slice parts[] = {
        to->is_group ? SLICE_LITERAL("{\"group\":\"") : SLICE_LITERAL("{\"user_to\":\""),
        to->name,
        SLICE_LITERAL("\",\"text\":\""),
        text,
        SLICE_LITERAL("\"}"),
    };

    append_request(out, to->is_group ? CMD_GROUP_CHAT : CMD_PRIVATE_CHAT, parts, 5);
}

static void chat_reply(struct buffer *out, struct slice question)
{
    (void)question;
    (void)chat_settle(out);
}

static uint32_t read_32(const char *from)
{
    uint32_t value;

    memcpy(&value, from, sizeof value);
    return __builtin_bswap32(value);
}

static bool begins(struct slice payload, struct slice with)
{
    return payload.length >= with.length && memcmp(payload.bytes, with.bytes, with.length) == 0;
}

/* An account or a group that is there already is as good as a new one. */
static enum unit_kind judge_reply(struct slice payload)
{
    if (begins(payload, SLICE_LITERAL("{\"result\":\"success\"")) ||
        begins(payload, SLICE_LITERAL("{\"result\":\"offline\"")))
        return UNIT_ANSWER;
    if (memmem(payload.bytes, payload.length, "\"user_exists\"", 13) != NULL ||
        memmem(payload.bytes, payload.length, "\"group_exists\"", 14) != NULL)
        return UNIT_ANSWER;
    return memmem(payload.bytes, payload.length, "\"result\":\"success\"", 18) != NULL ? UNIT_ANSWER : UNIT_REFUSED;
}

/* The text of a push. The names before it are of the generator, and hold nothing that looks like its key. All names are
 * of one length, so it mostly stands where it stood before: looking there first saves a search for each delivery. */
static enum unit_kind find_text(struct slice payload, struct slice *text)
{
    static const char key[] = "\"text\":\"";
    static _Thread_local size_t place;
    const char *found = payload.bytes + place;

    if (place + sizeof key > payload.length || memcmp(found, key, sizeof key - 1) != 0)
        found = memmem(payload.bytes, payload.length, key, sizeof key - 1);
    if (found == NULL)
        return UNIT_BROKEN;
    place = (size_t)(found - payload.bytes);
    found += sizeof key - 1;
    *text = (struct slice){found, (size_t)(payload.bytes + payload.length - found)};
    return UNIT_MESSAGE;
}

static enum unit_kind judge_frame(uint16_t cmd, struct unit *unit)
{
    if (cmd == PUSH_GROUP_CHAT_RECV || cmd == PUSH_PRIVATE_CHAT_RECV)
        return find_text(unit->text, &unit->text);
    if ((cmd & FRAME_REPLY_BIT) != 0)
        return judge_reply(unit->text);
    return cmd == PUSH_BYE ? UNIT_REFUSED : UNIT_OTHER;
}

static enum unit_kind chat_next(const char *bytes, size_t length, struct unit *unit)
{
    uint32_t payload_bytes;

    if (length < FRAME_HEAD_BYTES)
        return UNIT_INCOMPLETE;
    payload_bytes = read_32(bytes + 12);
    if (bytes[0] != (char)0xC4 || bytes[1] != (char)0xA7 || payload_bytes > PAYLOAD_MAX_BYTES)
        return UNIT_BROKEN;
    unit->bytes = payload_bytes + FRAME_OVERHEAD_BYTES;
    if (length < unit->bytes)
        return UNIT_INCOMPLETE;
    if (bytes[unit->bytes - 2] != '\r' || bytes[unit->bytes - 1] != '\n')
        return UNIT_BROKEN;
    unit->text = (struct slice){bytes + FRAME_HEAD_BYTES, payload_bytes};
    return judge_frame((uint16_t)(read_32(bytes + 4) >> 16), unit);
}

const struct protocol protocol_chat = {
    .name = "chat",
    .answers = true,
    .text_max_bytes = MESSAGE_TEXT_MAX_BYTES,
    .at_once = 64,
    .prepare = chat_prepare,
    .enter = chat_enter,
    .create = chat_create,
    .join = chat_join,
    .settle = chat_settle,
    .send = chat_send,
    .reply = chat_reply,
    .next = chat_next,
};
