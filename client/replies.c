/* replies.c - what the answers to requests show, and what of them is kept. See replies.h. */
#include "replies.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "client.h"
#include "client_limits.h"
#include "text.h"
#include "wire/command.h"

void replied_done(void *arg, json_t *reply, json_t *request)
{
    struct client *client = arg;

    (void)request;
    if (client_succeeded(client, reply))
        screen_say(client->screen, SCREEN_NOTICE, "* done");
}

/* For answers whose fields speak for themselves. */
void replied_fields(void *arg, json_t *reply, json_t *request)
{
    struct client *client = arg;
    const char *key;
    json_t *value;

    (void)request;
    if (!client_succeeded(client, reply))
        return;
    json_object_foreach(reply, key, value)
    {
        char *other = json_is_string(value) ? NULL : json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);

        if (strcmp(key, "result") != 0)
            screen_say(client->screen, SCREEN_PLAIN, "  %-20s %s", key, other ? other : json_string_value(value));
        free(other);
    }
}

void replied_friends(void *arg, json_t *reply, json_t *request)
{
    struct client *client = arg;
    const json_t *friend, *friends = json_object_get(reply, "friends");
    size_t i;

    (void)request;
    if (!client_succeeded(client, reply))
        return;
    screen_say(client->screen, SCREEN_NOTICE, "* %zu friends", json_array_size(friends));
    json_array_foreach(friends, i, friend)
        screen_say(client->screen, SCREEN_PLAIN, "  %-20s %-8s %s", string_of(friend, "user"),
                   json_is_true(json_object_get(friend, "online")) ? "online" : "", string_of(friend, "name"));
}

void replied_groups(void *arg, json_t *reply, json_t *request)
{
    struct client *client = arg;
    const json_t *group, *groups = json_object_get(reply, "groups");
    size_t i;

    (void)request;
    if (!client_succeeded(client, reply))
        return;
    screen_say(client->screen, SCREEN_NOTICE, "* %zu groups", json_array_size(groups));
    json_array_foreach(groups, i, group)
        screen_say(client->screen, SCREEN_PLAIN, "  #%-20s %s", string_of(group, "group"), string_of(group, "title"));
}

void replied_unread(void *arg, json_t *reply, json_t *request)
{
    struct client *client = arg;
    const json_t *item, *unread = json_object_get(reply, "unread");
    size_t i;

    (void)request;
    if (!client_succeeded(client, reply))
        return;
    if (json_array_size(unread) == 0)
        screen_say(client->screen, SCREEN_NOTICE, "* nothing is unread");
    json_array_foreach(unread, i, item)
    {
        char peer[PEER_SIZE];

        peer_of(peer, item);
        screen_say(client->screen, SCREEN_NOTICE, "* %" JSON_INTEGER_FORMAT " unread from %s",
                   integer_of(item, "count"), peer);
    }
}

static void ask_members(struct client *client, const char *group, const char *after)
{
    json_t *request = json_pack("{ss}", "group", group);

    if (after != NULL)
        json_object_set_new(request, "after", json_string(after));
    client_request(client, CMD_GROUP_INFO, request, replied_members);
}

static void show_group(struct client *client, const json_t *reply)
{
    char created[TEXT_TIME_SIZE];

    text_time(created, integer_of(reply, "created"));
    screen_say(client->screen, SCREEN_NOTICE, "* #%s: %s", string_of(reply, "group"), string_of(reply, "title"));
    screen_say(client->screen, SCREEN_NOTICE, "* owner %s, created %s, %" JSON_INTEGER_FORMAT " members",
               string_of(reply, "owner"), created, integer_of(reply, "count"));
}

/* A page of members (G-6); while pages are full, there may be more. */
void replied_members(void *arg, json_t *reply, json_t *request)
{
    struct client *client = arg;
    const json_t *member = NULL, *members = json_object_get(reply, "members");
    size_t i;

    if (!client_succeeded(client, reply))
        return;
    if (json_object_get(request, "after") == NULL)
        show_group(client, reply);
    json_array_foreach(members, i, member) screen_say(client->screen, SCREEN_PLAIN, "  %s", json_string_value(member));
    if (json_array_size(members) >= 1000)
        ask_members(client, string_of(request, "group"),
                    json_string_value(json_array_get(members, json_array_size(members) - 1)));
}

void replied_entered(void *arg, json_t *reply, json_t *request)
{
    struct client *client = arg;
    char peer[PEER_SIZE];

    if (!client_succeeded(client, reply))
        return;
    peer_of(peer, request);
    json_object_set_new(client->state.groups, peer + 1, json_string(string_of(request, "title")));
    screen_say(client->screen, SCREEN_NOTICE, "* you are in %s; what you type goes there", peer);
    messages_choose(client, peer);
}

void replied_left(void *arg, json_t *reply, json_t *request)
{
    struct client *client = arg;
    char peer[PEER_SIZE];

    if (!client_succeeded(client, reply))
        return;
    peer_of(peer, request);
    json_object_del(client->state.groups, peer + 1);
    state_forget_conversation(&client->state, peer);
    if (strcmp(client->state.chosen, peer) == 0)
        client->state.chosen[0] = '\0';
    screen_say(client->screen, SCREEN_NOTICE, "* done");
}

void replied_unfriended(void *arg, json_t *reply, json_t *request)
{
    struct client *client = arg;

    if (strcmp(string_of(reply, "result"), "success") == 0)
        json_object_del(client->state.friends, string_of(request, "user"));
    replied_done(arg, reply, request);
}

void replied_answer(void *arg, json_t *reply, json_t *request)
{
    struct client *client = arg;

    if (strcmp(string_of(reply, "result"), "success") == 0 && json_is_true(json_object_get(request, "accept")))
        json_object_set_new(client->state.friends, string_of(request, "user"), json_true());
    replied_done(arg, reply, request);
}

void replied_logout(void *arg, json_t *reply, json_t *request)
{
    struct client *client = arg;

    if (client_succeeded(client, reply))
        client_forget_user(client);
    replied_done(arg, reply, request);
}
