/* test_wire_protocol.c - the table of commands is that of docs/protocol.md, section C: the test reads the document.
 *                        It runs in the top folder of the repository, or CHAT_PROTOCOL names the file.
 */
#include "support.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wire/command.h"

#define COMMANDS_MAX 64
#define CELL_BYTES 512

struct row {
    char cells[4][CELL_BYTES];
};

/* ---- the document ---- */

static char *protocol; /* its whole text */

static int load_protocol(void **state)
{
    const char *path = getenv("CHAT_PROTOCOL") ? getenv("CHAT_PROTOCOL") : "docs/protocol.md";
    FILE *file = fopen(path, "r");
    size_t length;

    (void)state;
    if (!file)
        return -1;
    protocol = calloc(1, 1 << 20);
    length = fread(protocol, 1, (1 << 20) - 1, file);
    assert_in_range(length, 1, (1 << 20) - 2);
    fclose(file);
    return 0;
}

static int free_protocol(void **state)
{
    (void)state;
    free(protocol);
    return 0;
}

/* The text between `from` and `to`, blanks at both ends left out, in `cell`. */
static void copy_cell(char *cell, const char *from, const char *to)
{
    while (from < to && *from == ' ')
        from++;
    while (to > from && to[-1] == ' ')
        to--;
    assert_in_range(to - from, 0, CELL_BYTES - 1);
    memcpy(cell, from, (size_t)(to - from));
    cell[to - from] = 0;
}

/* The row of a table that `*at` stands on; `*at` goes to the next line. False: it is none. */
static bool read_row(const char **at, struct row *row)
{
    const char *cell = *at;
    const char *end = strchr(cell, '\n');

    memset(row, 0, sizeof(*row));
    if (*cell != '|' || !end)
        return false;
    for (int i = 0; cell + 1 < end; i++) {
        const char *next = strchr(cell + 1, '|');

        assert_true(i < 4 && next && next < end);
        copy_cell(row->cells[i], cell + 1, next);
        cell = next;
    }
    *at = end + 1;
    return true;
}

/* The first row below the head of the table that follows the definition of `rule`. */
static const char *table_of(const char *rule)
{
    char definition[32];
    const char *at;
    struct row row;

    snprintf(definition, sizeof(definition), "\n- **%s** ", rule);
    at = strstr(protocol, definition);
    at = at ? strstr(at, "\n| ") : NULL;
    at = at ? at + 1 : "";
    for (int head = 0; head < 2; head++) { /* the names of the columns, and the line below them */
        if (!read_row(&at, &row))
            fail_msg("there is no table below rule %s", rule);
    }
    return at;
}

/* ---- what a cell says ---- */

/* Take "(...)" out. */
static void drop_parentheses(char *cell)
{
    char *open;

    while ((open = strchr(cell, '('))) {
        char *close = strchr(open, ')');

        memmove(open, close + 1, strlen(close + 1) + 1);
    }
}

/* Replace `from`, which ends `cell` or stands before a comma, by `to`. */
static void replace(char *cell, const char *from, const char *to)
{
    char *at = strstr(cell, from);
    char rest[CELL_BYTES];

    if (!at)
        return;
    snprintf(rest, sizeof(rest), "%s", at + strlen(from));
    assert_in_range(snprintf(at, CELL_BYTES - (size_t)(at - cell), "%s%s", to, rest), 0, 200);
}

/* Whether `cell` names `word` in backticks. */
static bool names(const char *cell, const char *word)
{
    char quoted[64];

    snprintf(quoted, sizeof(quoted), "`%s`", word);
    return strstr(cell, quoted) != NULL;
}

/* Take the commas out of numbers: "8,192". */
static void drop_number_commas(char *cell)
{
    for (char *at = cell; *at; at++) {
        if (*at == ',' && strspn(at + 1, "0123456789") == 3)
            memmove(at, at + 1, strlen(at));
    }
}

/* The numbers of "A to B" or "at most B" or "at least A". */
static void read_range(const char *limit, int64_t *minimum, int64_t *maximum)
{
    const char *at;
    long long low = 0;
    long long high = INT64_MAX;

    if ((at = strstr(limit, "at most ")))
        assert_int_equal(sscanf(at, "at most %lld", &high), 1);
    else if ((at = strstr(limit, "at least ")))
        assert_int_equal(sscanf(at, "at least %lld", &low), 1);
    else
        assert_int_equal(sscanf(limit + strcspn(limit, "0123456789"), "%lld to %lld", &low, &high), 2);
    *minimum = low;
    *maximum = high;
}

static enum field_type type_of(const struct field *field, const char *limit)
{
    if (strstr(limit, "match `[A-Za-z0-9][A-Za-z0-9_.-]{0,31}`"))
        return field->type == FIELD_USER_OR_GROUP ? FIELD_USER_OR_GROUP : FIELD_NAME;
    if (strstr(limit, "integer"))
        return FIELD_INTEGER;
    if (strcmp(limit, "bool") == 0)
        return FIELD_BOOLEAN;
    if (strstr(limit, "`@`"))
        return FIELD_EMAIL;
    return names(limit, "\"male\"") ? FIELD_SEX : FIELD_STRING;
}

/* `limit`, as C-1 or C-2 has it, is what the table has for `field`. */
static void check_limit(const struct command *command, const struct field *field, const char *limit)
{
    enum field_type type = type_of(field, limit);
    int64_t minimum;
    int64_t maximum;

    /* C-1: the text of a message is the one string that may hold control characters. */
    if (strcmp(field->name, "text") == 0 && command->cmd >= CMD_PRIVATE_CHAT)
        type = FIELD_TEXT;
    assert_int_equal(field->type, type);
    if (type == FIELD_NAME || type == FIELD_USER_OR_GROUP || type == FIELD_BOOLEAN || type == FIELD_SEX)
        return;
    read_range(limit, &minimum, &maximum);
    assert_int_equal(field->minimum, minimum);
    assert_int_equal(field->maximum, maximum);
}

/* ---- C-5: commands, names, fields, their order ---- */

static void check_fields(const struct command *command, char *cell)
{
    size_t count = 0;
    char *rest;

    drop_parentheses(cell);
    replace(cell, "profile fields?", "name?, sex?, age?, address?, email?");
    replace(cell, "user or group", "user?, group?");
    for (char *name = strtok_r(cell, ", ", &rest); name; name = strtok_r(NULL, ", ", &rest), count++) {
        char *mark = strchr(name, '?');

        assert_true(count < command->field_count);
        assert_int_equal(command->fields[count].optional, mark != NULL);
        if (mark)
            *mark = 0;
        assert_string_equal(command->fields[count].name, name);
        assert_int_equal(command->fields[count].name_length, strlen(name));
    }
    assert_int_equal(command->field_count, count);
}

static void test_commands(void **state)
{
    const char *at = table_of("C-5");
    struct row row;
    size_t index;

    (void)state;
    for (index = 0; read_row(&at, &row); index++) {
        const struct command *command = command_at(index);

        assert_non_null(command);
        assert_int_equal(command->cmd, strtoul(row.cells[0], NULL, 16));
        assert_string_equal(command->name, row.cells[1]);
        assert_true(strstr(row.cells[2], "user or group") == NULL || command->fields[0].type == FIELD_USER_OR_GROUP);
        check_fields(command, row.cells[2]);
    }
    assert_null(command_at(index));
    assert_int_equal(index, 26);
}

/* ---- C-1 and C-2: limits ---- */

static unsigned limits_checked[COMMANDS_MAX][COMMAND_FIELDS_MAX];

/* Check every field that `field_cell` and `command_cell` name. */
static void check_limit_row(const char *field_cell, const char *command_cell, char *limit)
{
    bool every = strstr(command_cell, "every command") != NULL;
    const struct command *command;

    drop_number_commas(limit);
    for (size_t i = 0; (command = command_at(i)); i++) {
        for (size_t j = 0; j < command->field_count; j++) {
            if (!names(field_cell, command->fields[j].name) || !(every || names(command_cell, command->name)))
                continue;
            check_limit(command, &command->fields[j], limit);
            limits_checked[i][j]++;
        }
    }
}

static void test_limits(void **state)
{
    const char *at = table_of("C-1");
    const struct command *command;
    struct row row;

    (void)state;
    while (read_row(&at, &row)) {
        if (!strstr(row.cells[2], "C-2"))
            check_limit_row(row.cells[0], row.cells[1], row.cells[2]);
    }
    for (at = table_of("C-2"); read_row(&at, &row);)
        check_limit_row(row.cells[0], "`register`, `profile_set`", row.cells[2]);

    for (size_t i = 0; (command = command_at(i)); i++) {
        for (size_t j = 0; j < command->field_count; j++)
            assert_int_equal(limits_checked[i][j], 1);
    }
}

/* ---- C-6: pushes ---- */

static void test_pushes(void **state)
{
    const char *at = table_of("C-6");
    unsigned known = 0;
    unsigned rows = 0;
    struct row row;

    (void)state;
    for (; read_row(&at, &row); rows++) {
        const char *name = push_name((uint16_t)strtoul(row.cells[0], NULL, 16));

        assert_non_null(name);
        assert_string_equal(name, row.cells[1]);
    }
    for (unsigned cmd = 0; cmd < 0x10000; cmd++)
        known += push_name((uint16_t)cmd) != NULL;
    assert_int_equal(known, rows);
}

/* Q-4 names what is served before a login. */
static void test_before_login(void **state)
{
    const char *rule = strstr(protocol, "- **Q-4**");
    const char *end = strchr(rule, '.');
    char sentence[CELL_BYTES];
    const struct command *command;

    (void)state;
    copy_cell(sentence, rule, strchr(end + 1, '.'));
    for (size_t i = 0; (command = command_at(i)); i++)
        assert_int_equal(command->before_login, names(sentence, command->name));
}

/* ---- look-up ---- */

static const struct command *search(uint16_t cmd)
{
    const struct command *command;

    for (size_t i = 0; (command = command_at(i)); i++) {
        if (command->cmd == cmd)
            return command;
    }
    return NULL;
}

static void test_find(void **state)
{
    const struct command *command;

    (void)state;
    for (unsigned cmd = 0; cmd < 0x10000; cmd++)
        assert_ptr_equal(command_find((uint16_t)cmd), search((uint16_t)cmd));
    for (size_t i = 0; (command = command_at(i)); i++)
        assert_ptr_equal(command_find_name(command->name, strlen(command->name)), command);
    assert_null(command_find_name("", 0));
    assert_null(command_find_name("pin", 3));
    assert_null(command_find_name("ping!", 5));
    assert_null(command_find_name("heartbeat", 9));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_commands),     cmocka_unit_test(test_limits), cmocka_unit_test(test_pushes),
        cmocka_unit_test(test_before_login), cmocka_unit_test(test_find),
    };

    return cmocka_run_group_tests(tests, load_protocol, free_protocol);
}
