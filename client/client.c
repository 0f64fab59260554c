/* client.c - the loop, and what happens when the connection comes and goes.
 *
 * Idea.       client.h.
 * Threads.    The main thread is the only one.
 */
#include "client.h"

#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "wire/command.h"

/* ---- the connection comes and goes ---- */

bool client_is_ready(const struct client *client)
{
    return connection_phase(client->connection) == CONNECTION_OPEN &&
           (client->secrets->kept[0] == '\0' || client->state.logged_in);
}

static void replied_hello(void *arg, json_t *reply, json_t *request)
{
    struct client *client = arg;

    (void)request;
    if (client->state.user[0] == '\0')
        screen_say(client->screen, SCREEN_NOTICE, "* connected to %s", string_of(reply, "server"));
}

static void on_opened(void *arg)
{
    struct client *client = arg;

    client->lost_said = false;
    script_event(client, "connected", "%s", "");
    connection_request(client->connection, REQUEST_BACKGROUND, CMD_HELLO, json_pack("{ss}", "client", CLIENT_NAME),
                       replied_hello);
    if (client->secrets->kept[0] != '\0')
        accounts_restore(client);
}

static void on_lost(void *arg, const char *why, bool unanswered)
{
    struct client *client = arg;
    bool coming_back = connection_phase(client->connection) == CONNECTION_WAITING;

    client->state.logged_in = client->restoring = false;
    messages_lost(client);
    script_event(client, "lost", "%s", why);
    if (client->quit)
        return;
    if (!client->lost_said)
        screen_say(client->screen, SCREEN_ERROR, "* not connected: %s%s", why, coming_back ? "; trying again" : "");
    client->lost_said = coming_back;
    if (unanswered)
        client_fail(client, "lost", "whether the server did the last command is not known");
}

static void on_pushed(void *arg, uint16_t cmd, json_t *payload)
{
    pushes_take(arg, cmd, payload);
}

bool client_connect(struct client *client, const char *host, const char *port)
{
    client->connection = connection_new(host, port, (struct connection_events){on_opened, on_lost, on_pushed, client});
    return client->connection != NULL;
}

void client_forget_user(struct client *client)
{
    if (unsent_count(&client->unsent) > 0)
        screen_say(client->screen, SCREEN_ERROR, "* %zu messages were not sent", unsent_count(&client->unsent));
    unsent_clear(&client->unsent);
    secret_wipe(client->secrets->kept);
    connection_restore(client->connection, false);
    state_forget(&client->state);
}

/* ---- requests and what they come to ---- */

void client_fail(struct client *client, const char *result, const char *format, ...)
{
    char text[512];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    snprintf(client->result, sizeof(client->result), "%s", result);
    screen_say(client->screen, SCREEN_ERROR, "%s", text);
}

bool client_succeeded(struct client *client, const json_t *reply)
{
    const char *result = string_of(reply, "result"), *field;

    if (strcmp(result, "success") == 0 || strcmp(result, "offline") == 0) {
        snprintf(client->result, sizeof(client->result), "%s", result);
        return true;
    }
    field = string_of(reply, "field"); /* of bad_request */
    client_fail(client, result, "%s: %s%s%s", result, field, field[0] == '\0' ? "" : ": ", string_of(reply, "message"));
    return false;
}

void client_request(struct client *client, uint16_t cmd, json_t *request, reply_handler handler)
{
    if (!connection_request(client->connection, REQUEST_FOREGROUND, cmd, request, handler))
        client_fail(client, "not_sent", "not sent: no connection, or this is too large");
}

bool client_busy(const struct client *client)
{
    return connection_foreground(client->connection) > 0 || unsent_count(&client->unsent) > 0 || client->catching_up;
}

bool client_gave_up(const struct client *client)
{
    if (client->quit)
        return true;
    if (client->lost_ms == 0)
        return false;
    return connection_phase(client->connection) == CONNECTION_OFF ||
           clock_monotonic_ms() >= client->lost_ms + client->retry_limit_ms;
}

bool client_wait_ready(struct client *client)
{
    bool patient = client->script != NULL;
    enum client_turn turn = CLIENT_TURNED;

    if (!patient || connection_phase(client->connection) == CONNECTION_OFF) {
        client->lost_said = false; /* somebody asks: say what comes of it */
        connection_open(client->connection, clock_monotonic_ms());
    }
    while (!client_is_ready(client) && !client->quit && turn != CLIENT_INTERRUPTED) {
        enum connection_phase phase = connection_phase(client->connection);

        if (phase == CONNECTION_OFF || (phase == CONNECTION_WAITING && (!patient || client_gave_up(client))))
            break;
        turn = client_turn(client, -1,
                           patient && client->lost_ms != 0 ? client->lost_ms + client->retry_limit_ms : UINT64_MAX);
    }
    if (!client_is_ready(client))
        client_fail(client, "not_connected", "there is no connection");
    return client_is_ready(client);
}

/* ---- the loop ---- */

static enum client_turn take_signal(struct client *client)
{
    struct signalfd_siginfo signal;

    if (read(client->signals, &signal, sizeof(signal)) != sizeof(signal))
        return CLIENT_TURNED;
    switch (signal.ssi_signo) {
    case SIGINT:
        return CLIENT_INTERRUPTED;
    case SIGWINCH:
        screen_resized(client->screen);
        return CLIENT_TURNED;
    case SIGTSTP:
        screen_suspend(client->screen);
        return CLIENT_TURNED;
    default: /* SIGTERM, SIGHUP, SIGQUIT: with the terminal put back in order */
        client->quit = true;
        return CLIENT_ENDED;
    }
}

/* Timers whose time has come. */
static void tick(struct client *client, uint64_t now_ms)
{
    connection_tick(client->connection, now_ms);
    if (client->resume_ms <= now_ms) {
        client->resume_ms = UINT64_MAX;
        messages_resume(client);
    }
    if (client_is_ready(client))
        client->lost_ms = 0;
    else if (client->lost_ms == 0)
        client->lost_ms = now_ms;
}

/* For poll(2): rounded up by nothing, as all deadlines are whole milliseconds. */
static int timeout_ms(const struct client *client, uint64_t until_ms)
{
    uint64_t now_ms = clock_monotonic_ms(), deadline_ms = connection_deadline(client->connection);

    if (client->resume_ms < deadline_ms)
        deadline_ms = client->resume_ms;
    if (until_ms < deadline_ms)
        deadline_ms = until_ms;
    if (deadline_ms == UINT64_MAX)
        return -1;
    if (deadline_ms <= now_ms)
        return 0;
    return deadline_ms - now_ms > 60000 ? 60000 : (int)(deadline_ms - now_ms);
}

enum client_turn client_turn(struct client *client, int input_fd, uint64_t until_ms)
{
    enum { SOCKET, SIGNALS, INPUT, COUNT };
    struct pollfd fds[COUNT] = {
        [SOCKET] = {connection_fd(client->connection), connection_wants(client->connection), 0},
        [SIGNALS] = {client->signals,                   POLLIN,                               0}, /* poll(2) passes over a descriptor below 0 */
        [INPUT] = {input_fd,                          POLLIN,                               0},
    };
    enum client_turn turned = CLIENT_TURNED;

    if (client->quit)
        return CLIENT_ENDED;
    if (poll(fds, COUNT, timeout_ms(client, until_ms)) < 0)
        return CLIENT_TURNED; /* EINTR: SIGCONT */
    if (fds[SOCKET].revents != 0)
        connection_ready(client->connection, fds[SOCKET].revents, clock_monotonic_ms());
    tick(client, clock_monotonic_ms());
    if (fds[SIGNALS].revents != 0)
        turned = take_signal(client);
    if (turned == CLIENT_TURNED && fds[INPUT].revents != 0)
        turned = CLIENT_INPUT;
    return turned;
}
