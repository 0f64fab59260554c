/* script.c - lines without a terminal: from a file or a pipe, each run to its end before the next.
 *
 * Idea.       A line is over when it is answered and its messages are acknowledged, also where that takes a
 *             reconnect. So a script needs no sleeps, and its exit status says whether all of it came to pass.
 *             Pushes come when they come: they are kept until a /wait asks for them.
 * Invariants. I1  a push answers one /wait.
 * Threads.    The main thread.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "client.h"
#include "client_limits.h"

struct script {
    int fd;
    bool comments, keep_going, ended;
    int read_error; /* an errno; 0: none */
    struct buffer input;
    json_t *events; /* [name, text], oldest first */
};

/* ---- events ---- */

void script_event(struct client *client, const char *name, const char *format, ...)
{
    va_list arguments;
    char *text;
    int length;

    if (client->script == NULL)
        return;
    va_start(arguments, format);
    length = vasprintf(&text, format, arguments);
    va_end(arguments);
    if (length < 0)
        return;
    if (json_array_size(client->script->events) == EVENTS_MAX)
        json_array_remove(client->script->events, 0);
    json_array_append_new(client->script->events, json_pack("[ss]", name, text));
    free(text);
}

static bool take_event(struct script *script, const char *name, const char *text)
{
    const json_t *event;
    size_t i;

    json_array_foreach(script->events, i, event)
    {
        if (strcmp(json_string_value(json_array_get(event, 0)), name) != 0 ||
            strstr(json_string_value(json_array_get(event, 1)), text) == NULL)
            continue;
        json_array_remove(script->events, i); /* I1 */
        return true;
    }
    return false;
}

/* `words`: EVENT [SECONDS] [TEXT] */
static void run_wait(struct client *client, char *words)
{
    char *name = strtok_r(words, " ", &words), *text = words == NULL ? "" : words, *end;
    double seconds = strtod(text, &end);
    uint64_t until_ms;

    if (name == NULL) {
        client_fail(client, "usage", "usage: /wait EVENT [SECONDS] [TEXT]");
        return;
    }
    if (end == text || (*end != ' ' && *end != '\0'))
        seconds = WAIT_SECONDS;
    else
        text = end + strspn(end, " ");
    until_ms = clock_monotonic_ms() + (uint64_t)(seconds * 1000);
    while (!take_event(client->script, name, text)) {
        if (client->quit || clock_monotonic_ms() >= until_ms) {
            client_fail(client, "timeout", "no %s%s%s within %g s", name, *text ? " with " : "", text, seconds);
            return;
        }
        client_turn(client, -1, until_ms);
    }
}

/* ---- lines ---- */

static bool read_more(struct script *script)
{
    ssize_t got;

    if (!buffer_reserve(&script->input, 4096))
        return false;
    got = read(script->fd, script->input.bytes + script->input.length, 4096);
    if (got > 0)
        script->input.length += (size_t)got;
    else if (got == 0 || (errno != EINTR && errno != EAGAIN)) {
        script->ended = true;
        script->read_error = got == 0 ? 0 : errno;
    }
    return true;
}

/* The first line of the input, or what is left of it at the end; to be freed. NULL: not whole yet. */
static char *take_line(struct script *script)
{
    struct buffer *input = &script->input;
    char *end = input->length == 0 ? NULL : memchr(input->bytes, '\n', input->length);
    size_t length = end == NULL ? input->length : (size_t)(end - input->bytes) + 1;
    char *line;

    if (end == NULL && input->length < SCRIPT_LINE_BYTES && (!script->ended || input->length == 0))
        return NULL;
    /* A NUL would end the line early, and the rest would be lost unsaid. So it becomes what no text may hold. */
    for (char *nul; (nul = memchr(input->bytes, '\0', length)) != NULL;)
        *nul = '\xFF';
    line = strndup(input->bytes, length);
    buffer_drop_front(input, length);
    return line;
}

static char *next_line(struct client *client)
{
    struct script *script = client->script;
    char *line;

    while ((line = take_line(script)) == NULL && !script->ended && !client->quit)
        if (client_turn(client, script->fd, UINT64_MAX) == CLIENT_INPUT && !read_more(script))
            break;
    return line;
}

/* ---- running them ---- */

static void end_without_connection(struct client *client)
{
    client->quit = true;
    client->status = STATUS_NO_CONNECTION;
}

/* A command or a message, until it is answered. */
static void run_line(struct client *client, const char *line)
{
    if (client_wait_ready(client))
        commands_run(client, line);
    else
        end_without_connection(client);
    while (client_busy(client) && !client_gave_up(client))
        client_turn(client, -1, client->lost_ms == 0 ? UINT64_MAX : client->lost_ms + client->retry_limit_ms);
    if (client_busy(client))
        end_without_connection(client);
}

/* True: it came to what it was to come to; `expected` NULL: to success. */
static bool run_one(struct client *client, char *line, const char *expected)
{
    client->result[0] = '\0';
    if (strncmp(line, "/wait ", 6) == 0)
        run_wait(client, line + 6);
    else
        run_line(client, line);
    if (client->result[0] == '\0') /* nobody complained */
        snprintf(client->result, sizeof(client->result), "success");
    if (expected == NULL)
        return strcmp(client->result, "success") == 0 || strcmp(client->result, "offline") == 0;
    if (strcmp(client->result, expected) == 0)
        return true;
    screen_say(client->screen, SCREEN_ERROR, "expected %s, not %s", expected, client->result);
    return false;
}

static bool run_expect(struct client *client, char *words)
{
    char *expected = strtok_r(words, " ", &words);

    if (expected != NULL && words != NULL && *words != '\0')
        return run_one(client, words, expected);
    client_fail(client, "usage", "usage: /expect RESULT LINE");
    return false;
}

static bool run_script_line(struct client *client, char *line)
{
    line[strcspn(line, "\r\n")] = '\0';
    if (line[strspn(line, " ")] == '\0' || (client->script->comments && line[0] == '#'))
        return true;
    if (strncmp(line, "/expect ", 8) == 0)
        return run_expect(client, line + 8);
    return run_one(client, line, NULL);
}

void script_run(struct client *client)
{
    char *line;

    while (!client->quit && (line = next_line(client)) != NULL) {
        bool success = run_script_line(client, line);

        if (!success && client->status == STATUS_SUCCESS)
            client->status = STATUS_COMMAND_FAILED;
        if (!success && !client->script->keep_going)
            client->quit = true;
        free(line);
    }
    if (client->script->read_error == 0)
        return;
    screen_say(client->screen, SCREEN_ERROR, "cannot read the script: %s", strerror(client->script->read_error));
    if (client->status == STATUS_SUCCESS)
        client->status = STATUS_COMMAND_FAILED;
}

/* ---- the whole ---- */

struct script *script_new(int fd, bool comments, bool keep_going)
{
    struct script *script = calloc(1, sizeof(*script));

    if (script == NULL)
        return NULL;
    script->fd = fd;
    script->comments = comments;
    script->keep_going = keep_going;
    script->events = json_array();
    return script;
}

void script_free(struct script *script)
{
    buffer_fini(&script->input);
    json_decref(script->events);
    free(script);
}
