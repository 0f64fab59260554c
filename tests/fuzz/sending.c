/* sending.c - see play.h. */
#include "play.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/param.h>

#include "wire/json_writer.h"

enum { TEXT_BUDGET_BYTES = 150000 }; /* of all messages of a story: it is to take milliseconds */

unsigned take(struct play *play, unsigned bound)
{
    if (play->input_length == 0)
        return 0;
    play->input_length--;
    return *play->input++ % bound;
}

/* ---- sending ---- */

void deliver(struct play *play, size_t peer, size_t length)
{
    struct buffer *pending = &play->pending[peer];

    length = MIN(length, pending->length);
    peer_send_bytes(&play->stage->peers[peer], pending->bytes, length);
    buffer_drop_front(pending, length);
}

void send_bytes(struct play *play, size_t peer, const void *bytes, size_t length)
{
    if (length == 0 || play->stage->peers[peer].finished)
        return;
    view_sends(&play->views[peer], bytes, length);
    buffer_append(&play->pending[peer], bytes, length);
    if (!play->held[peer])
        deliver(play, peer, SIZE_MAX);
}

static void send_frame(struct play *play, size_t peer, uint16_t cmd, struct slice payload)
{
    char *frame = malloc(payload.length + FRAME_OVERHEAD_BYTES);

    assert_non_null(frame);
    frame_encode(frame, cmd, play->seq++, payload);
    send_bytes(play, peer, frame, payload.length + FRAME_OVERHEAD_BYTES);
    free(frame);
}

/* ---- requests with fields that mean something ---- */

#define PICK(play, ...)      \
    (((const char *const[]){ \
        __VA_ARGS__})[take((play), sizeof((const char *const[]){__VA_ARGS__}) / sizeof(const char *))])

struct filling {
    size_t length;
    const char *with;
};

/* One of several lengths, and characters that need escapes among others. */
static struct filling pick_filling(struct play *play)
{
    static const size_t lengths[] = {0, 1, 2, 5, 20, 100, 800, 8150};
    size_t length = lengths[take(play, sizeof lengths / sizeof *lengths)];

    return (struct filling){length, PICK(play, "x", "\xc3\xa9", "\"", "\\", "\n", "\x1f", "\xf0\x9f\x98\x80", "/")};
}

/* A text that nobody else sends. */
static const char *new_text(struct play *play, size_t peer, struct filling filling)
{
    struct story *story = &play->story;
    size_t piece = strlen(filling.with);
    char *text;

    if (story->message_count == MESSAGES_MAX || play->text_bytes + filling.length > TEXT_BUDGET_BYTES)
        return "too many";
    play->text_bytes += filling.length;
    text = calloc(1, filling.length + 40);
    assert_non_null(text);
    /* Not to be guessed by an input that sends texts of its own. */
    snprintf(text, 40, "%u-%08x:", story->message_count, (story->message_count + 1) * 2654435761u);
    for (size_t at = strlen(text), end = at + filling.length; at + piece <= end; at += piece)
        memcpy(text + at, filling.with, piece);
    story->messages[story->message_count++] =
        (struct sent_message){.sender = &play->stage->peers[peer], .conversation = -1, .text = text};
    return text;
}

static const char *pick_string(struct play *play, size_t peer, const struct field *field)
{
    bool is_group = strcmp(field->name, "group") == 0;

    switch (field->type) {
    case FIELD_NAME:
    case FIELD_USER_OR_GROUP:
        return is_group ? PICK(play, "g0", "g1", "g0", "nothing") : PICK(play, "u0", "u1", "u2", "u3", "nobody", "!");
    case FIELD_TEXT:
        return new_text(play, peer, pick_filling(play));
    case FIELD_SEX:
        return PICK(play, "", "male", "female", "other", "both");
    case FIELD_EMAIL:
        return PICK(play, "", "a@b", "ab", "a@b@c");
    default:
        break;
    }
    if (strcmp(field->name, "id") == 0)
        return PICK(play, "i0", "i1", "i2");
    if (field->minimum == PASSWD_MIN_BYTES)
        return PICK(play, "pass0", "pass0", "pass0", "pass1", "wrong");
    return PICK(play, "", "a", "u1", "\xc3\xa9", "a\x7f", "long, long, long");
}

static void put_field(struct play *play, size_t peer, const struct field *field)
{
    static const int64_t integers[] = {0, 1, 2, 3, 5, 100, 101, 1000000, INT64_MAX, -1};
    struct slice key = {field->name, field->name_length};

    switch (field->type) {
    case FIELD_INTEGER:
        json_key_integer(&play->scratch, key, integers[take(play, sizeof integers / sizeof *integers)]);
        break;
    case FIELD_BOOLEAN:
        json_key_boolean(&play->scratch, key, take(play, 2) == 0);
        break;
    default:
        json_key_string(&play->scratch, key, slice_of(pick_string(play, peer, field)));
        break;
    }
}

/* Whether this field is put in: an optional one now and then, one of a pair, a needed one nearly always. */
static bool wants_field(struct play *play, const struct command *command, size_t i, unsigned *pair)
{
    const struct field *field = &command->fields[i];

    if (field->type == FIELD_USER_OR_GROUP)
        return (*pair = take(play, 8)) != 1 && *pair % 2 == 0;
    if (i > 0 && command->fields[i - 1].type == FIELD_USER_OR_GROUP)
        return *pair % 2 == 1 || *pair == 6;
    return take(play, 16) != 15 && (!field->optional || take(play, 3) == 0);
}

void send_command(struct play *play, size_t peer, const struct command *command)
{
    unsigned pair = 0;

    buffer_clear(&play->scratch);
    json_open_object(&play->scratch);
    for (size_t i = 0; i < command->field_count; i++)
        if (wants_field(play, command, i, &pair))
            put_field(play, peer, &command->fields[i]);
    json_close_object(&play->scratch);
    send_frame(play, peer, command->cmd, buffer_slice(&play->scratch));
}

static void send_json(struct play *play, size_t peer, uint16_t cmd, const char *format, const char *name)
{
    char payload[200];

    snprintf(payload, sizeof payload, format, name);
    send_frame(play, peer, cmd, slice_of(payload));
}

void send_probe(struct play *play, size_t peer)
{
    static const char *const users[USERS] = {"u0", "u1", "u2", "u3"}, *const groups[GROUPS] = {"g0", "g1"};

    for (int i = 0; i < USERS; i++)
        send_json(play, peer, CMD_HISTORY, "{\"user\":\"%s\",\"limit\":1}", users[i]);
    for (int i = 0; i < GROUPS; i++)
        send_json(play, peer, CMD_HISTORY, "{\"group\":\"%s\",\"limit\":1}", groups[i]);
    send_json(play, peer, CMD_FRIEND_LIST, "%s", "{}");
    send_json(play, peer, CMD_GROUP_LIST, "%s", "{}");
    send_json(play, peer, CMD_UNREAD, "%s", "{}");
}

void send_login(struct play *play, size_t peer)
{
    const char *name = PICK(play, "u0", "u1", "u2", "u3");

    send_json(play, peer, CMD_REGISTER, "{\"user\":\"%s\",\"passwd\":\"pass0\"}", name);
    send_json(play, peer, CMD_LOGIN, "{\"user\":\"%s\",\"passwd\":\"pass0\"}", name);
}

void send_burst(struct play *play, size_t peer)
{
    bool to_group = take(play, 4) > 0;
    unsigned messages = take(play, 64);
    struct filling filling = pick_filling(play);
    const char *to = to_group ? PICK(play, "g0", "g1") : PICK(play, "u0", "u1", "u2", "u3");

    for (unsigned i = 0; i < messages; i++) {
        buffer_clear(&play->scratch);
        json_open_object(&play->scratch);
        json_key_string(&play->scratch, to_group ? SLICE_LITERAL("group") : SLICE_LITERAL("user_to"), slice_of(to));
        json_key_string(&play->scratch, SLICE_LITERAL("text"), slice_of(new_text(play, peer, filling)));
        json_close_object(&play->scratch);
        send_frame(play, peer, to_group ? CMD_GROUP_CHAT : CMD_PRIVATE_CHAT, buffer_slice(&play->scratch));
    }
}

/* ---- rubbish ---- */

struct slice take_bytes(struct play *play, unsigned length_max)
{
    size_t wanted = take(play, length_max), length = MIN(wanted, play->input_length);
    struct slice bytes = {(const char *)play->input, length};

    play->input += length;
    play->input_length -= length;
    return bytes;
}

void send_payload(struct play *play, size_t peer)
{
    static const uint16_t odd[] = {0, 4, 0x0100, 0x0107, 0x4001, 0x8001, 0xFFFF};
    unsigned number = take(play, 33);
    const struct command *command = command_at(number);

    send_frame(play, peer, command != NULL ? command->cmd : odd[number % 7], take_bytes(play, 200));
}
