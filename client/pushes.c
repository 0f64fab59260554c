/* pushes.c - what the server sends unasked (C-6), one function a push, in one table.
 *
 * Threads.    The main thread.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "wire/command.h"

/* A heartbeat reminds a client that only listens to send something (L-1, L-2). */
static void take_heartbeat(struct client *client, json_t *payload)
{
    (void)payload;
    connection_request(client->connection, REQUEST_BACKGROUND, CMD_PING, NULL, NULL);
}

static const struct {
    const char *reason, *words;
    bool come_back; /* at once; else when the user does something */
} byes[] = {
    {"shutdown",       "the server is shutting down",                        true },
    {"idle_timeout",   "the server heard nothing from us for too long",      true },
    {"login_timeout",  "nobody logged in; the next command connects again",  false},
    {"frame_timeout",  "the server waited too long for the rest of a frame", true },
    {"slow_consumer",  "we read too slowly, the server stopped waiting",     true },
    {"server_full",    "the server is full",                                 true },
    {"protocol_error", "the server could not understand us",                 false},
};

static void take_bye(struct client *client, json_t *payload)
{
    const char *reason = string_of(payload, "reason"), *words = reason;
    char why[128];

    for (size_t i = 0; i < sizeof(byes) / sizeof(byes[0]); i++) {
        if (strcmp(byes[i].reason, reason) != 0)
            continue;
        words = byes[i].words;
        if (!byes[i].come_back)
            connection_restore(client->connection, false);
    }
    snprintf(why, sizeof(why), "%s%s%s", words, json_object_get(payload, "error") ? ": " : "",
             string_of(payload, "error"));
    connection_drop(client->connection, why);
}

static void take_friend_request(struct client *client, json_t *payload)
{
    const char *user = string_of(payload, "user"), *text = string_of(payload, "text");

    screen_say(client->screen, SCREEN_NOTICE, "* %s asks to be your friend%s%s   (/friend accept %s)", user,
               text[0] == '\0' ? "" : ": ", text, user);
}

static void take_friend_event(struct client *client, json_t *payload)
{
    const char *user = string_of(payload, "user"), *event = string_of(payload, "event");

    if (strcmp(event, "accepted") == 0) {
        json_object_set_new(client->state.friends, user, json_true());
        screen_say(client->screen, SCREEN_NOTICE, "* you and %s are friends now", user);
    } else if (strcmp(event, "rejected") == 0) {
        screen_say(client->screen, SCREEN_NOTICE, "* the friend request between you and %s was rejected", user);
    } else {
        json_object_del(client->state.friends, user);
        screen_say(client->screen, SCREEN_NOTICE, "* you and %s are no longer friends", user);
    }
}

static void take_presence(struct client *client, json_t *payload)
{
    const char *user = string_of(payload, "user");
    bool online = json_is_true(json_object_get(payload, "online"));

    json_object_set_new(client->state.friends, user, json_boolean(online));
    screen_say(client->screen, SCREEN_NOTICE, "* %s is %s", user, online ? "online" : "offline");
}

static void take_group_event(struct client *client, json_t *payload)
{
    const char *group = string_of(payload, "group"), *user = string_of(payload, "user");
    const char *event = string_of(payload, "event");
    bool joined = strcmp(event, "joined") == 0, dismissed = strcmp(event, "dismissed") == 0;
    char peer[PEER_SIZE];

    peer_of(peer, payload);
    if (!joined && (dismissed || strcmp(user, client->state.user) == 0)) {
        json_object_del(client->state.groups, group);
        state_forget_conversation(&client->state, peer);
    } else if (joined && strcmp(user, client->state.user) == 0) {
        json_object_set_new(client->state.groups, group, json_string(""));
    }
    if (dismissed)
        screen_say(client->screen, SCREEN_NOTICE, "* %s was dismissed by %s", peer, user);
    else
        screen_say(client->screen, SCREEN_NOTICE, "* %s: %s %s%s", peer, user,
                   strcmp(event, "kicked") == 0 ? "was " : "", event);
}

static void take_message(struct client *client, json_t *payload)
{
    messages_pushed(client, payload);
}

static const struct {
    uint16_t cmd;
    void (*take)(struct client *client, json_t *payload);
} table[] = {
    {PUSH_HEARTBEAT,         take_heartbeat     },
    {PUSH_BYE,               take_bye           },
    {PUSH_FRIEND_REQUEST,    take_friend_request},
    {PUSH_FRIEND_EVENT,      take_friend_event  },
    {PUSH_PRESENCE,          take_presence      },
    {PUSH_GROUP_EVENT,       take_group_event   },
    {PUSH_PRIVATE_CHAT_RECV, take_message       },
    {PUSH_GROUP_CHAT_RECV,   take_message       },
};

static bool is_message(uint16_t cmd)
{
    return cmd == PUSH_PRIVATE_CHAT_RECV || cmd == PUSH_GROUP_CHAT_RECV;
}

void pushes_take(struct client *client, uint16_t cmd, json_t *payload)
{
    const char *name = push_name(cmd);
    char *text = json_dumps(payload, JSON_COMPACT);

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        if (table[i].cmd == cmd)
            table[i].take(client, payload);
    /* A message is an event when it is shown: by the push, or by history. */
    if (!is_message(cmd) && name != NULL && text != NULL)
        script_event(client, name, "%s", text);
    free(text);
}
