/* messages.c - sending, showing each message once and in its place, and catching up with what was missed.
 *
 * Idea.       Whatever brings a message (a push, the reply to one's own, a page of history) comes to arrived(), which
 *             shows it when its number is the next one of its conversation (state.h). When one is missing, the
 *             conversation is marked as behind, and history is asked from the last one shown until there is no more.
 *             The page begins with that last one again: when it is not the same, the conversation is a new one under
 *             an old name, and is shown from its beginning.
 * Threads.    The main thread.
 */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "client.h"
#include "client_limits.h"
#include "wire/command.h"

/* ---- showing ---- */

static bool is_own(const struct client *client, const json_t *message)
{
    return strcmp(string_of(message, "user_from"), client->state.user) == 0;
}

/* `message`: user_from, text, time. */
static void show(struct client *client, const char *peer, const json_t *message)
{
    bool in_group = peer[0] == '#';
    char who[PEER_SIZE + 8];

    if (in_group)
        snprintf(who, sizeof(who), "%.*s", NAME_MAX_BYTES, string_of(message, "user_from"));
    else
        snprintf(who, sizeof(who), "%s%s", is_own(client, message) ? "-> " : "", peer);
    screen_message(client->screen, integer_of(message, "time"), in_group ? peer : "", who, string_of(message, "text"));
}

static void mark_read(struct client *client);

/* A message that had not been shown. */
static void show_new(struct client *client, struct conversation *conversation, const json_t *message)
{
    show(client, conversation->peer, message);
    conversation->last = integer_of(message, "msg_id");
    conversation->last_time = integer_of(message, "time");
    if (is_own(client, message))
        return;
    script_event(client, conversation->peer[0] == '#' ? "group_chat_recv" : "private_chat_recv", "%s %s: %s",
                 conversation->peer, string_of(message, "user_from"), string_of(message, "text"));
    mark_read(client);
}

static void fall_behind(struct client *client, struct conversation *conversation)
{
    conversation->behind = true;
    conversation->caught_up = 0;
    messages_resume(client);
}

static void arrived(struct client *client, const char *peer, const json_t *message)
{
    struct conversation *conversation = state_conversation(&client->state, peer);
    json_int_t msg_id = integer_of(message, "msg_id");

    if (conversation->behind || msg_id <= conversation->last)
        return; /* history brings it (state.h, I1); or it was shown */
    if (conversation->last != 0 && msg_id > conversation->last + 1)
        fall_behind(client, conversation);
    else
        show_new(client, conversation, message);
}

void messages_pushed(struct client *client, const json_t *message)
{
    char peer[PEER_SIZE];

    if (json_object_get(message, "group") != NULL)
        peer_of(peer, message);
    else
        snprintf(peer, sizeof(peer), "%s", string_of(message, is_own(client, message) ? "user_to" : "user_from"));
    arrived(client, peer, message);
}

/* ---- refused for a while ---- */

static void resume_in(struct client *client, json_int_t delay_ms)
{
    client->resume_ms = clock_monotonic_ms() + (uint64_t)(delay_ms > 0 ? delay_ms : RESUME_MS);
}

/* True: the same request is to be sent again, when resume_ms has come. */
static bool refused_for_now(struct client *client, const json_t *reply)
{
    bool refused = strcmp(string_of(reply, "result"), "rate_limited") == 0 ||
                   strcmp(string_of(reply, "result"), "server_error") == 0;

    if (refused)
        resume_in(client, integer_of(reply, "retry_ms"));
    return refused;
}

/* ---- sending ---- */

static void peer_of_request(char peer[PEER_SIZE], const json_t *request)
{
    if (json_object_get(request, "group") != NULL)
        peer_of(peer, request);
    else
        snprintf(peer, PEER_SIZE, "%s", string_of(request, "user_to"));
}

static void send_first(struct client *client);

/* The reply to a message has its number: it is shown where it stands among those of others. */
static void acknowledged(struct client *client, json_t *reply, json_t *request)
{
    char peer[PEER_SIZE];
    json_t *message = json_pack("{sssOsOsO}", "user_from", client->state.user, "text", json_object_get(request, "text"),
                                "msg_id", json_object_get(reply, "msg_id"), "time", json_object_get(reply, "time"));

    peer_of_request(peer, request);
    if (message != NULL)
        arrived(client, peer, message);
    json_decref(message);
    if (strcmp(string_of(reply, "result"), "offline") == 0)
        screen_say(client->screen, SCREEN_NOTICE, "* %s is offline and gets it at the next login", peer);
}

/* A disk that is full, say: what was typed waits, and whoever typed it should know. */
static void say_once(struct client *client, const json_t *reply)
{
    if (client->refusals++ == 0)
        screen_say(client->screen, SCREEN_NOTICE, "* the server takes no message now, it is sent again: %s",
                   string_of(reply, "message"));
}

static void replied_message(void *arg, json_t *reply, json_t *request)
{
    struct client *client = arg;

    client->unsent.under_way = false;
    if (refused_for_now(client, reply)) {
        say_once(client, reply);
        return;
    }
    client->refusals = 0;
    if (client_succeeded(client, reply))
        acknowledged(client, reply, request);
    else
        screen_say(client->screen, SCREEN_ERROR, "not sent: %s", string_of(request, "text"));
    unsent_drop_first(&client->unsent);
    send_first(client);
}

static void send_first(struct client *client)
{
    json_t *message = unsent_first(&client->unsent);
    uint16_t cmd = json_object_get(message, "group") != NULL ? CMD_GROUP_CHAT : CMD_PRIVATE_CHAT;

    if (message == NULL || client->unsent.under_way || !client->state.logged_in || client->resume_ms != UINT64_MAX)
        return;
    if (connection_request(client->connection, REQUEST_BACKGROUND, cmd, json_incref(message), replied_message))
        client->unsent.under_way = true;
    else
        resume_in(client, 0); /* no room just now */
}

void messages_send(struct client *client, const char *peer, const char *text)
{
    if (client->state.user[0] == '\0') {
        client_fail(client, "not_logged_in", "log in first: /login NAME");
    } else if (!unsent_put(&client->unsent, peer, text)) {
        client_fail(client, "not_sent", "not sent: too many messages wait, or this one is no UTF-8");
    } else {
        screen_erase_entered(client->screen);
        if (!client->state.logged_in)
            screen_say(client->screen, SCREEN_NOTICE, "* waits for the connection: -> %s: %s", peer, text);
        if (connection_phase(client->connection) == CONNECTION_OFF)
            connection_open(client->connection, clock_monotonic_ms());
        send_first(client);
    }
}

/* ---- catching up ---- */

/* The last message shown comes first: is it still the one that was shown? `false`: the numbers began anew. */
static bool goes_on(const struct conversation *conversation, const json_t *messages)
{
    const json_t *first = json_array_get(messages, 0);

    if (conversation->last == 0)
        return true;
    if (first == NULL)
        return false;
    if (integer_of(first, "msg_id") != conversation->last)
        return true; /* above it: the server has forgotten older ones (S-1) */
    return conversation->last_time == 0 || conversation->last_time == integer_of(first, "time");
}

static void caught_up(struct client *client, struct conversation *conversation)
{
    conversation->behind = false;
    if (conversation->caught_up < CATCH_UP_MAX)
        return;
    /* The rest is not shown: what comes next begins anew. */
    conversation->last = 0;
    screen_say(client->screen, SCREEN_NOTICE, "* more was missed: /history %s %d", conversation->peer, HISTORY_MAX);
}

/* A page that began with the last message shown. */
static void show_missed(struct client *client, struct conversation *conversation, const json_t *reply)
{
    const json_t *messages = json_object_get(reply, "messages");
    json_int_t before = conversation->last;
    const json_t *message;
    size_t i;

    if (!goes_on(conversation, messages)) {
        conversation->last = conversation->last_time = 0;
        return;
    }
    json_array_foreach(messages, i, message)
    {
        if (integer_of(message, "msg_id") <= conversation->last || conversation->caught_up >= CATCH_UP_MAX)
            continue;
        show_new(client, conversation, message);
        conversation->caught_up++;
    }
    if (!json_is_true(json_object_get(reply, "more")) || conversation->last == before ||
        conversation->caught_up >= CATCH_UP_MAX)
        caught_up(client, conversation);
}

/* Where, from the end of the page, the messages of others that were unread begin. */
static size_t first_unread(const struct client *client, const json_t *messages, json_int_t unread)
{
    size_t first = json_array_size(messages);

    while (first > 0 && unread > 0) {
        first--;
        unread -= !is_own(client, json_array_get(messages, first));
    }
    return first;
}

/* The page that ends with the newest message that was unread at the login. */
static void show_unread(struct client *client, struct conversation *conversation, const json_t *reply)
{
    const json_t *messages = json_object_get(reply, "messages");
    json_int_t last = conversation->last > conversation->unread_last ? conversation->last : conversation->unread_last;
    json_int_t last_time = conversation->last_time;
    size_t first = first_unread(client, messages, conversation->unread);

    if (first == 0 && json_is_true(json_object_get(reply, "more")))
        screen_say(client->screen, SCREEN_NOTICE, "* older ones: /history %s %d", conversation->peer, HISTORY_MAX);
    for (size_t i = first; i < json_array_size(messages); i++)
        show_new(client, conversation, json_array_get(messages, i));
    if (conversation->last < last)
        conversation->last_time = last_time;
    conversation->last = last; /* what was pushed since the login has been shown already */
    conversation->unread = 0;
    conversation->want_unread = false;
}

static void replied_catch_up(void *arg, json_t *reply, json_t *request)
{
    struct client *client = arg;
    struct conversation *conversation;
    char peer[PEER_SIZE];

    client->catching_up = false;
    peer_of(peer, request);
    conversation = state_find(&client->state, peer);
    if (conversation == NULL || refused_for_now(client, reply))
        return; /* it was dismissed meanwhile; or asked again later */
    if (strcmp(string_of(reply, "result"), "success") != 0)
        conversation->behind = false; /* no longer ours to read */
    else if (conversation->want_unread)
        show_unread(client, conversation, reply);
    else
        show_missed(client, conversation, reply);
    messages_resume(client);
    mark_read(client);
}

static json_t *catch_up_request(const struct conversation *conversation)
{
    json_t *request = peer_object(conversation->peer);

    json_object_set_new(request, "limit", json_integer(HISTORY_PAGE));
    if (conversation->want_unread)
        json_object_set_new(request, "before", json_integer(conversation->unread_last + 1));
    else
        json_object_set_new(request, "after", json_integer(conversation->last > 0 ? conversation->last - 1 : 0));
    return request;
}

/* One conversation at a time, so that many of them stay below the rate limit (L-5). */
static void catch_up(struct client *client)
{
    struct conversation *conversation = client->state.conversations;

    while (conversation != NULL && !conversation->behind)
        conversation = conversation->next;
    if (conversation == NULL || client->catching_up || !client->state.logged_in || client->resume_ms != UINT64_MAX)
        return;
    if (connection_request(client->connection, REQUEST_BACKGROUND, CMD_HISTORY, catch_up_request(conversation),
                           replied_catch_up))
        client->catching_up = true;
    else
        resume_in(client, 0);
}

void messages_resume(struct client *client)
{
    send_first(client);
    catch_up(client);
}

/* ---- unread, and read ---- */

void messages_unread(struct client *client, const json_t *unread, bool again)
{
    const json_t *item;
    size_t i;

    for (struct conversation *at = client->state.conversations; at != NULL; at = at->next) {
        at->behind = again && at->last > 0;
        at->caught_up = 0;
    }
    json_array_foreach(unread, i, item)
    {
        char peer[PEER_SIZE];

        peer_of(peer, item);
        struct conversation *conversation = state_conversation(&client->state, peer);

        if (conversation->last > 0)
            continue; /* it is known what was shown of it */
        conversation->last = conversation->unread_last = integer_of(item, "latest");
        conversation->unread = integer_of(item, "count");
        conversation->behind = conversation->want_unread = again;
        if (!again)
            screen_say(client->screen, SCREEN_NOTICE, "* %" JSON_INTEGER_FORMAT " unread from %s   (/to %s)",
                       conversation->unread, peer, peer);
    }
}

static void replied_mark(void *arg, json_t *reply, json_t *request)
{
    struct client *client = arg;

    (void)reply;
    (void)request;
    client->marking = false;
    mark_read(client);
}

/* Who looks at a conversation has read it. A script does not look. */
static void mark_read(struct client *client)
{
    struct conversation *conversation = state_find(&client->state, client->state.chosen);
    json_t *request;

    if (client->script != NULL || conversation == NULL || client->marking || conversation->behind ||
        conversation->marked >= conversation->last)
        return;
    request = peer_object(conversation->peer);
    json_object_set_new(request, "msg_id", json_integer(conversation->last));
    conversation->marked = conversation->last;
    client->marking = connection_request(client->connection, REQUEST_BACKGROUND, CMD_READ, request, replied_mark);
}

void messages_choose(struct client *client, const char *peer)
{
    struct conversation *conversation = state_conversation(&client->state, peer);

    snprintf(client->state.chosen, sizeof(client->state.chosen), "%s", peer);
    conversation->want_unread = conversation->unread > 0;
    if (conversation->want_unread)
        fall_behind(client, conversation);
    mark_read(client);
}

static void replied_read(void *arg, json_t *reply, json_t *request)
{
    (void)request;
    client_succeeded(arg, reply);
}

void messages_read(struct client *client, const char *peer)
{
    struct conversation *conversation = state_conversation(&client->state, peer);
    json_t *request = peer_object(peer);

    json_object_set_new(request, "msg_id", json_integer(conversation->last));
    conversation->marked = conversation->last;
    conversation->unread = 0;
    conversation->want_unread = false;
    client_request(client, CMD_READ, request, replied_read);
}

/* ---- history: pages backwards, until there are enough of them ---- */

static void ask_page(struct client *client);

static void show_history(struct client *client)
{
    struct history *history = &client->history;
    struct conversation *conversation = state_conversation(&client->state, history->peer);
    const json_t *newest = json_array_get(history->messages, json_array_size(history->messages) - 1);
    const json_t *message;
    size_t i;

    if (newest == NULL)
        screen_say(client->screen, SCREEN_NOTICE, "* nothing was written yet");
    json_array_foreach(history->messages, i, message) show(client, history->peer, message);
    if (conversation->last == 0 && newest != NULL) {
        conversation->last = integer_of(newest, "msg_id");
        conversation->last_time = integer_of(newest, "time");
    }
    json_decref(history->messages);
    history->messages = NULL;
}

static void replied_history(void *arg, json_t *reply, json_t *request)
{
    struct client *client = arg;
    json_t *page = json_copy(json_object_get(reply, "messages"));
    char peer[PEER_SIZE];

    peer_of(peer, request);
    if (!client_succeeded(client, reply) || client->history.messages == NULL || page == NULL ||
        strcmp(peer, client->history.peer) != 0) {
        json_decref(page);
        return;
    }
    bool more = json_is_true(json_object_get(reply, "more")) && json_array_size(page) > 0;

    json_array_extend(page, client->history.messages); /* older ones come first */
    json_decref(client->history.messages);
    client->history.messages = page;
    if (more && (json_int_t)json_array_size(page) < client->history.wanted)
        ask_page(client);
    else
        show_history(client);
}

static void ask_page(struct client *client)
{
    json_t *request = peer_object(client->history.peer);
    json_int_t missing = client->history.wanted - (json_int_t)json_array_size(client->history.messages);
    const json_t *oldest = json_array_get(client->history.messages, 0);

    json_object_set_new(request, "limit", json_integer(missing < HISTORY_PAGE ? missing : HISTORY_PAGE));
    if (oldest != NULL)
        json_object_set_new(request, "before", json_integer(integer_of(oldest, "msg_id")));
    client_request(client, CMD_HISTORY, request, replied_history);
}

void messages_history(struct client *client, const char *peer, json_int_t count)
{
    json_decref(client->history.messages);
    client->history.messages = json_array();
    client->history.wanted = count;
    snprintf(client->history.peer, sizeof(client->history.peer), "%s", peer);
    ask_page(client);
}

/* ---- the connection is lost ---- */

void messages_lost(struct client *client)
{
    client->unsent.under_way = client->catching_up = client->marking = false;
    client->resume_ms = UINT64_MAX;
    json_decref(client->history.messages);
    client->history.messages = NULL;
    for (struct conversation *at = client->state.conversations; at != NULL; at = at->next)
        at->marked = 0; /* whether the server has the mark is not known */
}
