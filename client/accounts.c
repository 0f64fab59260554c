/* accounts.c - logging in, and logging in again after the connection was lost.
 *
 * Threads.    The main thread.
 */
#include <stdio.h>
#include <string.h>

#include "client.h"
#include "wire/command.h"

bool accounts_password(struct client *client, const char *question, const char *given, char password[SECRET_SIZE])
{
    size_t length;

    if (given[0] != '\0')
        snprintf(password, SECRET_SIZE, "%s", given);
    else if (client->script != NULL)
        return client_fail(client, "no_password", "no password: set CHAT_PASSWORD or give --password-file"), false;
    else if (!screen_read_secret(client->screen, question, password, SECRET_SIZE))
        return client_fail(client, "no_password", "no password given"), false;
    length = strlen(password);
    if (length >= 4 && length <= PASSWORD_MAX_BYTES)
        return true;
    secret_wipe(password);
    client_fail(client, "no_password", "a password has 4 to 128 bytes");
    return false;
}

/* What the first screen tells. */
static void show_first_screen(struct client *client, const json_t *reply)
{
    const json_t *request;
    size_t i;

    screen_say(client->screen, SCREEN_NOTICE, "* logged in as %s", client->state.user);
    if (!client->secrets->locked)
        screen_say(client->screen, SCREEN_NOTICE,
                   "* no memory can be locked for the password: it is not kept, and a "
                   "lost connection needs /login");
    json_array_foreach(json_object_get(reply, "requests"), i, request)
        screen_say(client->screen, SCREEN_NOTICE, "* %s asks to be your friend: %s   (/friend accept %s)",
                   string_of(request, "user"), string_of(request, "text"), string_of(request, "user"));
}

static void logged_in(struct client *client, const json_t *reply)
{
    bool again = strcmp(client->state.user, string_of(reply, "user")) == 0;

    if (!again)
        client_forget_user(client);
    secrets_login_done(client->secrets, true);
    state_logged_in(&client->state, reply);
    connection_well(client->connection);
    connection_restore(client->connection, client->secrets->kept[0] != '\0');
    if (client->restoring)
        screen_say(client->screen, SCREEN_NOTICE, "* connected again");
    else
        show_first_screen(client, reply);
    script_event(client, "login", "%s", client->state.user);
    messages_unread(client, json_object_get(reply, "unread"), again);
    messages_resume(client);
}

/* The session cannot be had again. A password that was wrong will be wrong again; anything else passes. */
static void not_restored(struct client *client, const json_t *reply)
{
    const char *result = string_of(reply, "result");

    if (strcmp(result, "passwd_error") == 0 || strcmp(result, "user_not_exist") == 0) {
        secret_wipe(client->secrets->kept);
        connection_restore(client->connection, false);
    } else {
        connection_drop(client->connection, string_of(reply, "message"));
    }
}

static void replied_login(void *arg, json_t *reply, json_t *request)
{
    struct client *client = arg;
    bool success = strcmp(string_of(reply, "result"), "success") == 0;

    (void)request;
    client_succeeded(client, reply);
    if (success) {
        logged_in(client, reply);
    } else {
        secrets_login_done(client->secrets, false);
        if (client->restoring)
            not_restored(client, reply);
    }
    client->restoring = false;
}

void accounts_login(struct client *client, const char *user, const char *password)
{
    json_t *request = json_pack("{ssss}", "user", user, "passwd", password);

    snprintf(client->secrets->sending, SECRET_SIZE, "%s", password);
    client->restoring = false;
    if (request == NULL)
        client_fail(client, "bad_request", "the password is no UTF-8");
    else
        client_request(client, CMD_LOGIN, request, replied_login);
}

void accounts_restore(struct client *client)
{
    memcpy(client->secrets->sending, client->secrets->kept, SECRET_SIZE);
    client->restoring = true;
    connection_request(client->connection, REQUEST_BACKGROUND, CMD_LOGIN,
                       json_pack("{ssss}", "user", client->state.user, "passwd", client->secrets->kept), replied_login);
}
