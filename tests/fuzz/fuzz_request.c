/* fuzz_request.c - bytes that a stranger sends, from the frame to the checked fields, against oracles that are too simple
 *                  to be wrong.
 *
 * An input is the number of a command, a seed for cuts, and a text. The text is read
 *
 *   as JSON       by the reader and by jansson: what one accepts the other must, with the same members (F-5);
 *   as a request  by the table of commands and by the rules of C-1 and C-2 over jansson's tree;
 *   as frames     by frame_parse() on every prefix, and by F-2 and F-4 written down once more;
 *   by a server   whole, and cut at arbitrary places: it must answer the same (F-3).
 */
#include "support_hub.h"
#include "support_json.h"

#include <jansson.h>
#include <regex.h>
#include <stdlib.h>
#include <string.h>
#include <sys/param.h>
#include <zlib.h>

#include "fuzz.h"
#include "wire/request.h"

enum { INPUT_MAX_BYTES = 70000, PREFIXES = 64 };

/* ---- requests ---- */

static bool matches(const char *pattern, const json_t *string)
{
    regex_t expression;
    bool match;

    assert_int_equal(regcomp(&expression, pattern, REG_EXTENDED | REG_NOSUB), 0);
    match = regexec(&expression, json_string_value(string), 0, NULL, 0) == 0;
    regfree(&expression);
    return match;
}

static bool string_fits(const struct field *field, const json_t *given)
{
    int64_t length = (int64_t)json_string_length(given);

    if (!json_is_string(given) || length < field->minimum || length > field->maximum)
        return false;
    switch (field->type) {
    case FIELD_NAME:
    case FIELD_USER_OR_GROUP:
        return matches("^[A-Za-z0-9][A-Za-z0-9_.-]{0,31}$", given);
    case FIELD_TEXT:
        return true;
    case FIELD_SEX:
        return matches("^(male|female|other|)$", given);
    case FIELD_EMAIL:
        return matches("^([^@]+@[^@]+|)$", given) && !matches("[[:cntrl:]]", given);
    default:
        return !matches("[[:cntrl:]]", given);
    }
}

static bool value_fits(const struct field *field, const json_t *given)
{
    switch (field->type) {
    case FIELD_INTEGER:
        return json_is_integer(given) && json_integer_value(given) >= field->minimum &&
               json_integer_value(given) <= field->maximum;
    case FIELD_BOOLEAN:
        return json_is_boolean(given);
    default:
        return string_fits(field, given);
    }
}

static bool field_fits(const struct field *field, const json_t *tree)
{
    const json_t *given = json_object_get(tree, field->name);

    if (field->type == FIELD_USER_OR_GROUP && !given == !json_object_get(tree, field[1].name))
        return false; /* C-3 */
    return given ? value_fits(field, given) : field->optional;
}

static void check_value(const struct value *value, const json_t *given)
{
    assert_int_equal(value->present, given != NULL);
    if (json_is_integer(given))
        assert_true(value->integer == json_integer_value(given));
    else if (json_is_boolean(given))
        assert_int_equal(value->boolean, json_boolean_value(given));
    else if (json_is_string(given))
        assert_true(slice_equal(value->string, (struct slice){json_string_value(given), json_string_length(given)}));
}

static void check_fields(const struct command *command, const struct request *request, const json_t *tree)
{
    for (size_t i = 0; i < command->field_count; i++) {
        const struct field *field = &command->fields[i];

        if (!field_fits(field, tree)) {
            assert_non_null(request->bad_field);
            assert_string_equal(request->bad_field, field->name);
            return;
        }
        check_value(&request->values[i], json_object_get(tree, field->name));
    }
    assert_null(request->bad_field);
}

static char *copy_of(const void *bytes, size_t length)
{
    char *copy = malloc(length + !length);

    assert_non_null(copy);
    memcpy(copy, bytes, length);
    return copy;
}

static void check_request(const struct command *command, const char *text, size_t length)
{
    json_t *tree = length == 0 ? json_object() : oracle_load(text, length);
    char *payload = copy_of(text, length);
    struct request request;

    assert_int_equal(request_parse(payload, length, command, &request), tree != NULL);
    if (tree && command)
        check_fields(command, &request, tree);
    json_decref(tree);
    free(payload);
}

/* W-3: the fields with `cmd` and `seq` among them. */
static void check_message(const char *text, size_t length)
{
    json_t *tree = oracle_load(text, length);
    const json_t *cmd = json_object_get(tree, "cmd"), *seq = json_object_get(tree, "seq");
    bool has_seq = json_is_integer(seq) && json_integer_value(seq) >= 0 && json_integer_value(seq) <= UINT32_MAX;
    char *payload = copy_of(text, length);
    struct envelope envelope;
    struct request request;

    assert_int_equal(request_parse_message(payload, length, &envelope, &request), tree != NULL);
    if (tree) {
        assert_int_equal(envelope.has_seq, has_seq);
        assert_true(!has_seq || envelope.seq == json_integer_value(seq));
        if (!json_is_string(cmd))
            assert_string_equal(request.bad_field, "cmd");
        else if (!has_seq)
            assert_string_equal(request.bad_field, "seq");
        else if (envelope.command)
            check_fields(envelope.command, &request, tree);
    }
    json_decref(tree);
    free(payload);
}

/* ---- frames ---- */

static uint32_t big_endian(const uint8_t *bytes, size_t count)
{
    uint32_t value = 0;

    for (size_t i = 0; i < count; i++)
        value = value << 8 | bytes[i];
    return value;
}

/* F-4: the fault that byte `i` of a head shows, by F-2's table; NULL: none. */
static const char *fault_of_head_byte(const uint8_t *bytes, size_t i)
{
    static const uint8_t asked[] = {0xC4, 0xA7, 1, 0, 0, 0, 0, 0};
    static const char *const faults[] = {"bad_head", "bad_head", "bad_version", "bad_flags",
                                         NULL,       NULL,       "bad_flags",   "bad_flags"};

    if (i < sizeof asked)
        return faults[i] && bytes[i] != asked[i] ? faults[i] : NULL;
    if (i < 12)
        return NULL;
    /* The length, as if the bytes that have not come were 0. */
    return (uint64_t)big_endian(bytes + 12, i - 11) << 8 * (15 - i) > REQUEST_PAYLOAD_MAX_BYTES ? "too_long" : NULL;
}

static const char *fault_of(const uint8_t *bytes, size_t length, bool *complete)
{
    size_t end;

    *complete = false;
    for (size_t i = 0; i < MIN(length, FRAME_HEAD_BYTES); i++)
        if (fault_of_head_byte(bytes, i))
            return fault_of_head_byte(bytes, i);
    if (length < FRAME_HEAD_BYTES)
        return NULL;
    end = FRAME_HEAD_BYTES + big_endian(bytes + 12, 4);
    if ((length > end + 4 && bytes[end + 4] != '\r') || (length > end + 5 && bytes[end + 5] != '\n'))
        return "bad_tail";
    *complete = length >= end + FRAME_TAIL_BYTES;
    return *complete && crc32(0, bytes, (uInt)end) != big_endian(bytes + end, 4) ? "bad_crc" : NULL;
}

static void check_prefix(const uint8_t *bytes, size_t length)
{
    char *copy = copy_of(bytes, length);
    bool complete;
    const char *fault = fault_of(bytes, length, &complete);
    enum frame_error error;
    struct frame frame;
    enum frame_result result = frame_parse(copy, length, REQUEST_PAYLOAD_MAX_BYTES, &frame, &error);

    assert_int_equal(result, fault ? FRAME_BROKEN : complete ? FRAME_COMPLETE : FRAME_INCOMPLETE);
    if (fault)
        assert_string_equal(frame_error_name(error), fault);
    else if (complete)
        assert_true(frame.cmd == big_endian(bytes + 4, 2) && frame.seq == big_endian(bytes + 8, 4) &&
                    frame.payload_bytes == big_endian(bytes + 12, 4) &&
                    frame.frame_bytes == frame.payload_bytes + FRAME_OVERHEAD_BYTES);
    free(copy);
}

/* The prefixes in which a head and a tail come byte by byte, and the whole. */
static void check_prefixes(const uint8_t *bytes, size_t length)
{
    for (size_t i = 0; i < MIN(length, PREFIXES); i++)
        check_prefix(bytes, i);
    for (size_t i = length - MIN(length, PREFIXES); i <= length; i++)
        check_prefix(bytes, i);
}

/* ---- a server ---- */

/* What a server answers to `bytes` that come in pieces of at most `piece_max`. */
static struct buffer answers(const struct buffer *bytes, size_t piece_max, uint64_t random)
{
    struct options options = stage_options();
    struct stage *stage = stage_new(&options, 1);
    struct peer *peer = stage_connect(stage, 0);
    struct buffer received;

    for (size_t at = 0, piece; at < bytes->length; at += piece) {
        piece = 1 + support_random(&random, piece_max);
        piece = MIN(piece, bytes->length - at);
        peer_send_bytes(peer, bytes->bytes + at, piece);
        stage_settle(stage);
    }
    peer_finish(peer);
    stage_run(stage);
    received = peer->received;
    buffer_init(&peer->received);
    stage_free(stage);
    return received;
}

static void append_frame(struct buffer *stream, uint16_t cmd, const void *payload, size_t length)
{
    char *frame = malloc(length + FRAME_OVERHEAD_BYTES);

    assert_non_null(frame);
    frame_encode(frame, cmd, 7, (struct slice){payload, length});
    check_prefixes((const uint8_t *)frame, length + FRAME_OVERHEAD_BYTES);
    buffer_append(stream, frame, length + FRAME_OVERHEAD_BYTES);
    free(frame);
}

/* A request with the text, one behind it, and then the text as it is. */
static void check_cuts(uint16_t cmd, const uint8_t *text, size_t length, uint8_t seed)
{
    struct buffer stream = {0}, whole, cut;

    append_frame(&stream, cmd, text, length);
    append_frame(&stream, CMD_HELLO, "{}", 2);
    buffer_append(&stream, text, length);
    whole = answers(&stream, stream.length, 0);
    cut = answers(&stream, 1 + stream.length / (1 + seed % 32), seed);
    assert_int_equal(whole.length, cut.length);
    assert_memory_equal(whole.bytes, cut.bytes, cut.length);
    buffer_fini(&stream);
    buffer_fini(&whole);
    buffer_fini(&cut);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    const struct command *command;
    const uint8_t *text = bytes + 2;

    if (length < 2 || length > INPUT_MAX_BYTES)
        return 0;
    length -= 2;
    command = command_at(bytes[0] % 32);
    reader_accepts_as_oracle((const char *)text, length);
    check_request(command, (const char *)text, length);
    check_message((const char *)text, length);
    check_prefixes(text, length);
    check_cuts(command ? command->cmd : bytes[0], text, length, bytes[1]);
    return 0;
}
