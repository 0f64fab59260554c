/* state.c - what the client knows of the chat. */
#include "state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *string_of(const json_t *object, const char *key)
{
    const char *value = json_string_value(json_object_get(object, key));

    return value == NULL ? "" : value;
}

json_int_t integer_of(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

void peer_of(char peer[PEER_SIZE], const json_t *object)
{
    if (json_object_get(object, "group") != NULL)
        snprintf(peer, PEER_SIZE, "#%s", string_of(object, "group"));
    else
        snprintf(peer, PEER_SIZE, "%s", string_of(object, "user"));
}

json_t *peer_object(const char *peer)
{
    return peer[0] == '#' ? json_pack("{ss}", "group", peer + 1) : json_pack("{ss}", "user", peer);
}

/* ---- conversations ---- */

struct conversation *state_find(struct state *state, const char *peer)
{
    struct conversation *conversation = state->conversations;

    while (conversation != NULL && strcmp(conversation->peer, peer) != 0)
        conversation = conversation->next;
    return conversation;
}

struct conversation *state_conversation(struct state *state, const char *peer)
{
    struct conversation *conversation = state_find(state, peer);

    if (conversation != NULL)
        return conversation;
    conversation = calloc(1, sizeof(*conversation));
    if (conversation == NULL)
        abort();
    snprintf(conversation->peer, sizeof(conversation->peer), "%s", peer);
    conversation->next = state->conversations;
    state->conversations = conversation;
    return conversation;
}

void state_forget_conversation(struct state *state, const char *peer)
{
    for (struct conversation **link = &state->conversations; *link != NULL; link = &(*link)->next) {
        struct conversation *conversation = *link;

        if (strcmp(conversation->peer, peer) == 0) {
            *link = conversation->next;
            free(conversation);
            return;
        }
    }
}

/* ---- the whole ---- */

void state_init(struct state *state)
{
    memset(state, 0, sizeof(*state));
    state->friends = json_object();
    state->groups = json_object();
}

void state_fini(struct state *state)
{
    while (state->conversations != NULL)
        state_forget_conversation(state, state->conversations->peer);
    json_decref(state->friends);
    json_decref(state->groups);
}

void state_forget(struct state *state)
{
    state_fini(state);
    state_init(state);
}

/* A group that we are no longer in and that comes again begins its numbers anew. */
static void forget_lost_groups(struct state *state)
{
    struct conversation *next;

    for (struct conversation *at = state->conversations; at != NULL; at = next) {
        next = at->next;
        if (at->peer[0] == '#' && json_object_get(state->groups, at->peer + 1) == NULL)
            state_forget_conversation(state, at->peer);
    }
}

void state_logged_in(struct state *state, const json_t *reply)
{
    size_t i;
    json_t *item;

    state->logged_in = true;
    snprintf(state->user, sizeof(state->user), "%s", string_of(reply, "user"));
    json_object_clear(state->friends);
    json_object_clear(state->groups);
    json_array_foreach(json_object_get(reply, "friends"), i, item) json_object_set_new(
        state->friends, string_of(item, "user"), json_boolean(json_is_true(json_object_get(item, "online"))));
    json_array_foreach(json_object_get(reply, "groups"), i, item)
        json_object_set_new(state->groups, string_of(item, "group"), json_string(string_of(item, "title")));
    forget_lost_groups(state);
}

/* ---- names for completion ---- */

/* A name as C-1 has it. What a strange server calls a name is not put on the user's line. */
static bool is_name(const char *name)
{
    size_t length = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-");

    return length > 0 && length <= NAME_MAX_BYTES && name[length] == '\0';
}

static void add_name(json_t *names, const char *mark, const char *name, const char *prefix)
{
    char marked[PEER_SIZE];
    size_t at = 0;

    if (!is_name(name))
        return;
    snprintf(marked, sizeof(marked), "%s%s", mark, name);
    if (strncmp(marked, prefix, strlen(prefix)) != 0)
        return;
    while (at < json_array_size(names) && strcmp(json_string_value(json_array_get(names, at)), marked) < 0)
        at++;
    if (at == json_array_size(names) || strcmp(json_string_value(json_array_get(names, at)), marked) != 0)
        json_array_insert_new(names, at, json_string(marked));
}

json_t *state_names(const struct state *state, const char *prefix)
{
    json_t *names = json_array(), *value;
    const char *name;

    json_object_foreach(state->friends, name, value) add_name(names, "", name, prefix);
    json_object_foreach(state->groups, name, value) add_name(names, "#", name, prefix);
    for (const struct conversation *at = state->conversations; at != NULL; at = at->next)
        add_name(names, at->peer[0] == '#' ? "#" : "", at->peer + (at->peer[0] == '#'), prefix);
    return names;
}
