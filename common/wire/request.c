/* request.c - see request.h. */
#include "wire/request.h"

#include "wire/json_reader.h"

/* ---- strings ---- */

static bool is_letter_or_digit(char byte)
{
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || (byte >= '0' && byte <= '9');
}

static bool is_name(struct slice string)
{
    if (!is_letter_or_digit(string.bytes[0]))
        return false;
    for (size_t i = 1; i < string.length; i++) {
        char byte = string.bytes[i];

        if (!is_letter_or_digit(byte) && byte != '_' && byte != '.' && byte != '-')
            return false;
    }
    return true;
}

/* C-1: no U+0000 to U+001F, no U+007F. */
static bool has_control_character(struct slice string)
{
    for (size_t i = 0; i < string.length; i++) {
        if ((unsigned char)string.bytes[i] < 0x20 || string.bytes[i] == 0x7F)
            return true;
    }
    return false;
}

static bool is_sex(struct slice string)
{
    return string.length == 0 || slice_equal(string, SLICE_LITERAL("male")) ||
           slice_equal(string, SLICE_LITERAL("female")) || slice_equal(string, SLICE_LITERAL("other"));
}

static bool is_email(struct slice string)
{
    const char *end = string.bytes + string.length;
    const char *at;

    if (string.length == 0)
        return true;
    at = memchr(string.bytes, '@', string.length);
    if (!at || at == string.bytes || at + 1 == end)
        return false;
    return !memchr(at + 1, '@', (size_t)(end - at - 1));
}

static bool string_is_acceptable(const struct field *field, struct slice string)
{
    if ((int64_t)string.length < field->minimum || (int64_t)string.length > field->maximum)
        return false;
    switch (field->type) {
    case FIELD_NAME:
    case FIELD_USER_OR_GROUP:
        return is_name(string);
    case FIELD_TEXT:
        return true;
    case FIELD_SEX:
        return is_sex(string);
    case FIELD_EMAIL:
        return !has_control_character(string) && is_email(string);
    default:
        return !has_control_character(string);
    }
}

/* ---- fields ---- */

static bool take_string(const struct field *field, struct json_value *given, struct value *value)
{
    if (given->kind != JSON_KIND_STRING)
        return false;
    json_unescape(given);
    value->string = given->string;
    return string_is_acceptable(field, given->string);
}

static bool take_integer(const struct field *field, const struct json_value *given, struct value *value)
{
    if (given->kind != JSON_KIND_INTEGER)
        return false;
    value->integer = given->integer;
    return given->integer >= field->minimum && given->integer <= field->maximum;
}

static bool take_boolean(const struct json_value *given, struct value *value)
{
    value->boolean = given->kind == JSON_KIND_TRUE;
    return given->kind == JSON_KIND_TRUE || given->kind == JSON_KIND_FALSE;
}

static bool take_given(const struct field *field, struct json_value *given, struct value *value)
{
    value->present = true;
    switch (field->type) {
    case FIELD_INTEGER:
        return take_integer(field, given, value);
    case FIELD_BOOLEAN:
        return take_boolean(given, value);
    default:
        return take_string(field, given, value);
    }
}

static struct json_value *find_field(struct json_members *members, const struct field *field)
{
    return json_find(members, (struct slice){field->name, field->name_length});
}

static bool take_field(const struct field *field, struct json_members *members, struct value *value)
{
    struct json_value *given = find_field(members, field);

    /* C-3: exactly one of the two; the fault is the first one's, whatever they hold. */
    if (field->type == FIELD_USER_OR_GROUP && !given == !find_field(members, field + 1))
        return false;
    return given ? take_given(field, given, value) : field->optional;
}

/* The command's fields in its order, up to the first offender. */
static void take_fields(const struct command *command, struct json_members *members, struct request *request)
{
    request->bad_field = NULL;
    memset(request->values, 0, command->field_count * sizeof(request->values[0]));
    for (size_t i = 0; i < command->field_count; i++) {
        if (take_field(&command->fields[i], members, &request->values[i]))
            continue;
        request->bad_field = command->fields[i].name;
        request->values[i] = (struct value){0};
        return;
    }
}

bool request_parse(char *payload, size_t length, const struct command *command, struct request *request)
{
    struct json_members members;
    bool acceptable;

    json_members_init(&members);
    acceptable = length == 0 || json_read_object(payload, length, &members);
    if (acceptable && command)
        take_fields(command, &members, request);
    json_members_fini(&members);
    return acceptable;
}

/* ---- webSocket messages ---- */

static void take_envelope(struct json_members *members, struct envelope *envelope)
{
    struct json_value *cmd = json_find(members, SLICE_LITERAL("cmd"));
    struct json_value *seq = json_find(members, SLICE_LITERAL("seq"));

    *envelope = (struct envelope){0};
    if (cmd && cmd->kind == JSON_KIND_STRING) {
        json_unescape(cmd);
        envelope->cmd = cmd->string;
        envelope->command = command_find_name(cmd->string.bytes, cmd->string.length);
    }
    if (seq && seq->kind == JSON_KIND_INTEGER && seq->integer >= 0 && seq->integer <= UINT32_MAX) {
        envelope->has_seq = true;
        envelope->seq = (uint32_t)seq->integer;
    }
}

bool request_parse_message(char *payload, size_t length, struct envelope *envelope, struct request *request)
{
    struct json_members members;
    bool acceptable;

    json_members_init(&members);
    acceptable = json_read_object(payload, length, &members);
    if (acceptable) {
        take_envelope(&members, envelope);
        memset(request, 0, sizeof(*request));
        if (envelope->command)
            take_fields(envelope->command, &members, request);
        if (!envelope->has_seq)
            request->bad_field = "seq";
        if (!envelope->cmd.bytes)
            request->bad_field = "cmd";
    }
    json_members_fini(&members);
    return acceptable;
}
