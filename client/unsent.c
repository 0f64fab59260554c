/* unsent.c - messages that the server has not acknowledged. */
#include "unsent.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client_limits.h"

void unsent_init(struct unsent *unsent)
{
    uint32_t random[4];

    memset(unsent, 0, sizeof(*unsent));
    arc4random_buf(random, sizeof(random));
    snprintf(unsent->process, sizeof(unsent->process), "%08x%08x%08x%08x", random[0], random[1], random[2], random[3]);
    unsent->messages = json_array();
}

void unsent_fini(struct unsent *unsent)
{
    json_decref(unsent->messages);
    unsent->messages = NULL;
}

bool unsent_put(struct unsent *unsent, const char *peer, const char *text)
{
    bool to_group = peer[0] == '#';
    char id[64]; /* as long as it may be (C-1) */
    json_t *message;

    if (unsent_count(unsent) == UNSENT_MAX)
        return false;
    snprintf(id, sizeof(id), "%s-%" PRIu64, unsent->process, unsent->count++);
    message = json_pack("{ssssss}", to_group ? "group" : "user_to", peer + to_group, "text", text, "id", id);
    return message != NULL && json_array_append_new(unsent->messages, message) == 0;
}

json_t *unsent_first(const struct unsent *unsent)
{
    return json_array_get(unsent->messages, 0);
}

void unsent_drop_first(struct unsent *unsent)
{
    json_array_remove(unsent->messages, 0);
    unsent->under_way = false;
}

size_t unsent_count(const struct unsent *unsent)
{
    return json_array_size(unsent->messages);
}

void unsent_clear(struct unsent *unsent)
{
    json_array_clear(unsent->messages);
    unsent->under_way = false;
}
