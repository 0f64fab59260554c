/* test_wire_request.c - the fields of every command: missing, of a wrong type, at and beyond their bounds, and which
 *                       of several offenders is named (Q-3); and WebSocket messages (W-3).
 *
 * Bounds are taken from the table of commands here; that they are the protocol's is test_wire_protocol.c's.
 */
#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wire/request.h"

#define TEXT_BYTES 65536

/* The JSON of each field's value; NULL: the field is left out. */
struct values {
    const char *json[COMMAND_FIELDS_MAX];
};

/* ---- values ---- */

/* A string of `length` times `byte`, with its quotes; in one of a few buffers, taken in turn. */
static const char *string_of(size_t length, char byte)
{
    static char buffers[16][TEXT_BYTES];
    static unsigned turn;
    char *text = buffers[turn++ % 16];

    memset(text, byte, length + 2);
    text[0] = text[length + 1] = '"';
    text[length + 2] = 0;
    return text;
}

static const char *integer_of(int64_t value)
{
    static char buffers[16][32];
    static unsigned turn;
    char *text = buffers[turn++ % 16];

    snprintf(text, sizeof(buffers[0]), "%lld", (long long)value);
    return text;
}

static const char *good_value(const struct field *field)
{
    switch (field->type) {
    case FIELD_INTEGER:
        return integer_of(field->maximum);
    case FIELD_BOOLEAN:
        return "true";
    case FIELD_SEX:
        return "\"other\"";
    case FIELD_EMAIL:
        return "\"a@b\"";
    default:
        return string_of((size_t)field->maximum, 'x');
    }
}

/* Every field given; of a user or a group, the user. */
static struct values good_values(const struct command *command)
{
    struct values values = {0};

    for (size_t i = 0; i < command->field_count; i++) {
        bool is_second = i > 0 && command->fields[i - 1].type == FIELD_USER_OR_GROUP;

        values.json[i] = is_second ? NULL : good_value(&command->fields[i]);
    }
    return values;
}

/* ---- checks ---- */

/* The payload with its fields from the last to the first: their order must not matter. */
static size_t write_payload(char *payload, const struct command *command, const struct values *values)
{
    size_t length = (size_t)sprintf(payload, "{\"ignored\":{\"user\":[null]}");

    for (size_t i = command->field_count; i-- > 0;) {
        if (values->json[i])
            length += (size_t)sprintf(payload + length, ",\"%s\":%s", command->fields[i].name, values->json[i]);
    }
    return length + (size_t)sprintf(payload + length, "}");
}

static struct request parse(const struct command *command, const struct values *values)
{
    static char payload[TEXT_BYTES];
    struct request request;

    memset(&request, 0xA5, sizeof(request));
    assert_true(request_parse(payload, write_payload(payload, command, values), command, &request));
    return request;
}

static void assert_field(const struct command *command, const struct values *values, const char *bad_field)
{
    struct request request = parse(command, values);

    if (!bad_field && request.bad_field)
        fail_msg("%s: %s is refused", command->name, request.bad_field);
    if (bad_field && !request.bad_field)
        fail_msg("%s: %s is taken", command->name, bad_field);
    if (bad_field)
        assert_string_equal(request.bad_field, bad_field);
}

/* With `json` in field `index`, all others being good: NULL leaves it out. */
static void check_with(const struct command *command, size_t index, const char *json, bool good)
{
    struct values values = good_values(command);

    values.json[index] = json;
    assert_field(command, &values, good ? NULL : command->fields[index].name);
}

/* Call `check` for every field of every command. */
static void each_field(void (*check)(const struct command *command, size_t index))
{
    const struct command *command;

    for (size_t i = 0; (command = command_at(i)); i++) {
        for (size_t j = 0; j < command->field_count; j++) {
            if (j == 0 || command->fields[j - 1].type != FIELD_USER_OR_GROUP)
                check(command, j);
        }
    }
}

/* ---- each field alone ---- */

static void check_missing(const struct command *command, size_t index)
{
    const struct field *field = &command->fields[index];

    check_with(command, index, NULL, field->optional && field->type != FIELD_USER_OR_GROUP);
}

static void check_types(const struct command *command, size_t index)
{
    static const char *const strings[] = {"\"a1@b\"", "\"1\"", "\"true\""};
    static const char *const integers[] = {"1", "-1", "50"};
    static const char *const reals[] = {"1.0", "1e0", "1.5", "50.0", "5E1", "-0.0"};
    static const char *const others[] = {"null", "{}", "[]", "[1]", "{\"a\":\"b\"}"};
    enum field_type type = command->fields[index].type;
    bool takes_string = type != FIELD_INTEGER && type != FIELD_BOOLEAN;

    for (size_t i = 0; i < 3 && !takes_string; i++)
        check_with(command, index, strings[i], false);
    for (size_t i = 0; i < 3 && type != FIELD_INTEGER; i++)
        check_with(command, index, integers[i], false);
    for (size_t i = 0; i < 6; i++)
        check_with(command, index, reals[i], false);
    for (size_t i = 0; i < 5; i++)
        check_with(command, index, others[i], false);
    check_with(command, index, "true", type == FIELD_BOOLEAN);
    check_with(command, index, "false", type == FIELD_BOOLEAN);
}

static void check_integer_bounds(const struct command *command, size_t index)
{
    const struct field *field = &command->fields[index];

    if (field->type != FIELD_INTEGER)
        return;
    check_with(command, index, integer_of(field->minimum), true);
    check_with(command, index, integer_of(field->minimum - 1), false);
    check_with(command, index, integer_of(field->maximum), true);
    if (field->maximum < INT64_MAX)
        check_with(command, index, integer_of(field->maximum + 1), false);
    check_with(command, index, integer_of(INT64_MIN), false);
    check_with(command, index, "-0", field->minimum == 0);
}

static void check_string_bounds(const struct command *command, size_t index)
{
    const struct field *field = &command->fields[index];
    size_t least = (size_t)field->minimum;
    size_t most = (size_t)field->maximum;

    if (field->type == FIELD_INTEGER || field->type == FIELD_BOOLEAN || field->type == FIELD_SEX ||
        field->type == FIELD_EMAIL)
        return;
    check_with(command, index, string_of(least, 'x'), true);
    if (least > 0)
        check_with(command, index, string_of(least - 1, 'x'), false);
    check_with(command, index, string_of(most, 'x'), true);
    check_with(command, index, string_of(most + 1, 'x'), false);
    check_with(command, index, string_of(50000, 'x'), false);
}

/* The size is that of the unescaped text. */
static void check_escaped_size(const struct command *command, size_t index)
{
    const struct field *field = &command->fields[index];
    static char text[TEXT_BYTES];
    size_t length = 1;

    if (field->type == FIELD_INTEGER || field->type == FIELD_BOOLEAN || field->type == FIELD_SEX ||
        field->type == FIELD_EMAIL)
        return;
    text[0] = '"';
    for (int64_t i = 0; i < field->maximum; i++)
        length += (size_t)sprintf(text + length, "\\u0061");
    strcpy(text + length, "\"");
    check_with(command, index, text, true);
    strcpy(text + length, "b\"");
    check_with(command, index, text, false);
}

static void check_control_characters(const struct command *command, size_t index)
{
    enum field_type type = command->fields[index].type;
    char text[32];

    if (type == FIELD_INTEGER || type == FIELD_BOOLEAN)
        return;
    for (unsigned byte = 1; byte <= 0x80; byte++) {
        bool is_control = byte < 0x20 || byte == 0x7F;

        snprintf(text, sizeof(text), "\"abc\\u%04x@\"", byte);
        if (is_control || type == FIELD_TEXT)
            check_with(command, index, text, type == FIELD_TEXT);
    }
    check_with(command, index, "\"abc\x7f@d\"", type == FIELD_TEXT);
}

static void check_names(const struct command *command, size_t index)
{
    static const char *const good[] = {"a", "Z", "0", "9", "a_", "a.", "a-", "a..-__", "a\\u0062", "0-0", "A.b_C-d"};
    static const char *const bad[] = {"_a",    ".a",       "-a",        "_",        "a b", " a", "a ", "a@",
                                      "a/",    "\xc3\xa9", "a\xc3\xa9", "a:",       "a[",  "a`", "a{", "a\\n",
                                      "a\\\\", "a\\\"",    "a\\u00e9",  "\\u002da", "a+",  "a,"};
    enum field_type type = command->fields[index].type;
    char text[64];

    if (type != FIELD_NAME && type != FIELD_USER_OR_GROUP)
        return;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        snprintf(text, sizeof(text), "\"%s\"", good[i]);
        check_with(command, index, text, true);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        snprintf(text, sizeof(text), "\"%s\"", bad[i]);
        check_with(command, index, text, false);
    }
}

static void check_profile(const struct command *command, size_t index)
{
    static const char *const good_sexes[] = {"\"\"", "\"male\"", "\"female\"", "\"other\"", "\"\\u006dale\""};
    static const char *const bad_sexes[] = {"\"Male\"", "\"mal\"", "\"males\"", "\" \"", "\"f\"", "\"others\""};
    static const char *const good_emails[] = {"\"\"", "\"a@b\"", "\"a b@c\"", "\"\xc3\xa9@\xc3\xa9\"", "\"a\\u0040b\""};
    static const char *const bad_emails[] = {"\"a\"", "\"@\"", "\"@a\"", "\"a@\"", "\"a@b@c\"", "\"@@\"", "\"a@@b\""};
    enum field_type type = command->fields[index].type;
    size_t most = (size_t)command->fields[index].maximum;
    char email[300];

    for (size_t i = 0; i < 5 && type == FIELD_SEX; i++)
        check_with(command, index, good_sexes[i], true);
    for (size_t i = 0; i < 6 && type == FIELD_SEX; i++)
        check_with(command, index, bad_sexes[i], false);
    if (type != FIELD_EMAIL)
        return;
    for (size_t i = 0; i < 5; i++)
        check_with(command, index, good_emails[i], true);
    for (size_t i = 0; i < 7; i++)
        check_with(command, index, bad_emails[i], false);
    snprintf(email, sizeof(email), "\"a@%.*s\"", (int)most - 2, string_of(most, 'x') + 1);
    check_with(command, index, email, true);
    snprintf(email, sizeof(email), "\"a@%.*s\"", (int)most - 1, string_of(most, 'x') + 1);
    check_with(command, index, email, false);
}

static void test_each_field(void **state)
{
    (void)state;
    each_field(check_missing);
    each_field(check_types);
    each_field(check_integer_bounds);
    each_field(check_string_bounds);
    each_field(check_escaped_size);
    each_field(check_control_characters);
    each_field(check_names);
    each_field(check_profile);
}

/* ---- fields together ---- */

/* All from some field on are wrong: that one is named. */
static void check_first_offender(const struct command *command, size_t index)
{
    struct values values = good_values(command);

    for (size_t i = index; i < command->field_count; i++)
        values.json[i] = "null";
    assert_field(command, &values, command->fields[index].name);
}

static void test_first_offender(void **state)
{
    (void)state;
    each_field(check_first_offender);
}

static void test_user_or_group(void **state)
{
    static const uint16_t cmds[] = {CMD_HISTORY, CMD_READ, CMD_TYPING};
    static const struct {
        const char *user, *group, *bad_field;
    } pairs[] = {
        {"\"a\"",  NULL,     NULL   },
        {NULL,     "\"a\"",  NULL   },
        {NULL,     NULL,     "user" },
        {"\"a\"",  "\"a\"",  "user" },
        {"null",   "\"a\"",  "user" },
        {"\"a\"",  "null",   "user" },
        {"null",   NULL,     "user" },
        {NULL,     "null",   "group"},
        {"\"_a\"", "\"a\"",  "user" },
        {"\"_a\"", NULL,     "user" },
        {NULL,     "\"_a\"", "group"},
        {NULL,     "\"\"",   "group"},
        {"1",      NULL,     "user" },
        {NULL,     "1",      "group"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cmds) / sizeof(cmds[0]); i++) {
        const struct command *command = command_find(cmds[i]);
        struct values values = good_values(command);

        for (size_t j = 0; j < sizeof(pairs) / sizeof(pairs[0]); j++) {
            values.json[PEER_USER] = pairs[j].user;
            values.json[PEER_GROUP] = pairs[j].group;
            assert_field(command, &values, pairs[j].bad_field);
        }
    }
}

static void test_values(void **state)
{
    const struct command *history = command_find(CMD_HISTORY);
    const struct command *chat = command_find(CMD_PRIVATE_CHAT);
    struct request request = parse(history, &(struct values){
                                                {NULL, "\"tea\"", NULL, "9223372036854775807", "7"}
    });

    (void)state;
    assert_null(request.bad_field);
    assert_false(request.values[PEER_USER].present);
    assert_true(request.values[PEER_GROUP].present);
    assert_true(slice_equal(request.values[PEER_GROUP].string, SLICE_LITERAL("tea")));
    assert_false(request.values[HISTORY_BEFORE].present);
    assert_int_equal(request.values[HISTORY_BEFORE].integer, 0);
    assert_int_equal(request.values[HISTORY_AFTER].integer, INT64_MAX);
    assert_int_equal(request.values[HISTORY_LIMIT].integer, 7);

    request = parse(chat, &(struct values){
                              {"\"b\\u006fb\"", "\"\\\"a\\\\\\u00e9\\n\\ud83d\\ude00b\\/\"", "\"1\"", NULL}
    });
    assert_null(request.bad_field);
    assert_true(slice_equal(request.values[PRIVATE_USER_TO].string, SLICE_LITERAL("bob")));
    assert_true(slice_equal(request.values[PRIVATE_TEXT].string, SLICE_LITERAL("\"a\\\xc3\xa9\n\xf0\x9f\x98\x80"
                                                                               "b/")));

    request = parse(command_find(CMD_FRIEND_ANSWER), &(struct values){
                                                         {"\"bob\"", "false"}
    });
    assert_true(request.values[ANSWER_ACCEPT].present);
    assert_false(request.values[ANSWER_ACCEPT].boolean);
    request = parse(command_find(CMD_FRIEND_ANSWER), &(struct values){
                                                         {"\"bob\"", "true"}
    });
    assert_true(request.values[ANSWER_ACCEPT].boolean);
}

/* ---- webSocket messages ---- */

static struct request parse_message(const char *json, struct envelope *envelope)
{
    static char payload[1024];
    struct request request;

    strcpy(payload, json);
    assert_true(request_parse_message(payload, strlen(json), envelope, &request));
    return request;
}

static void check_message(const char *json, const char *cmd, const char *seq, const char *bad_field)
{
    struct envelope envelope;
    struct request request = parse_message(json, &envelope);

    assert_int_equal(envelope.cmd.bytes != NULL, cmd != NULL);
    if (cmd && envelope.cmd.bytes) {
        assert_true(slice_equal(envelope.cmd, slice_of(cmd)));
        assert_ptr_equal(envelope.command, command_find_name(cmd, strlen(cmd)));
    }
    assert_int_equal(envelope.has_seq, seq != NULL);
    if (seq)
        assert_int_equal(envelope.seq, strtoul(seq, NULL, 10));
    assert_int_equal(request.bad_field != NULL, bad_field != NULL);
    if (bad_field)
        assert_string_equal(request.bad_field, bad_field);
}

static void test_messages(void **state)
{
    char duplicate[] = "{\"cmd\":\"ping\",\"seq\":1,\"cmd\":\"ping\"}";
    struct envelope envelope;
    struct request request;

    (void)state;
    check_message("{\"cmd\":\"ping\",\"seq\":0}", "ping", "0", NULL);
    check_message("{\"seq\":4294967295,\"cmd\":\"ping\"}", "ping", "4294967295", NULL);
    check_message("{\"seq\":4294967296,\"cmd\":\"ping\"}", "ping", NULL, "seq");
    check_message("{\"seq\":-1,\"cmd\":\"login\"}", "login", NULL, "seq");
    check_message("{\"seq\":1.0,\"cmd\":\"ping\"}", "ping", NULL, "seq");
    check_message("{\"seq\":\"1\",\"cmd\":\"ping\"}", "ping", NULL, "seq");
    check_message("{\"cmd\":\"ping\"}", "ping", NULL, "seq");
    check_message("{\"seq\":5}", NULL, "5", "cmd");
    check_message("{}", NULL, NULL, "cmd");
    check_message("{\"cmd\":1,\"seq\":5}", NULL, "5", "cmd");
    check_message("{\"cmd\":null,\"seq\":5}", NULL, "5", "cmd");
    check_message("{\"cmd\":\"\",\"seq\":5}", "", "5", NULL);
    check_message("{\"cmd\":\"no\\\"pe\",\"seq\":5}", "no\"pe", "5", NULL);
    check_message("{\"cmd\":\"login\",\"seq\":5}", "login", "5", "user");
    check_message("{\"cmd\":\"login\",\"seq\":5,\"user\":\"a\"}", "login", "5", "passwd");

    request =
        parse_message("{\"user\":\"a\\u0062\",\"\\u0073eq\":5,\"passwd\":\"1234\",\"cmd\":\"l\\u006fgin\"}", &envelope);
    assert_null(request.bad_field);
    assert_ptr_equal(envelope.command, command_find(CMD_LOGIN));
    assert_int_equal(envelope.seq, 5);
    assert_true(slice_equal(request.values[LOGIN_USER].string, SLICE_LITERAL("ab")));
    assert_false(request_parse_message(duplicate, sizeof(duplicate) - 1, &envelope, &request));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_field), cmocka_unit_test(test_first_offender), cmocka_unit_test(test_user_or_group),
        cmocka_unit_test(test_values),     cmocka_unit_test(test_messages),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
