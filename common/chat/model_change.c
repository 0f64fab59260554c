/* model_change.c - see model_change.h. */
#include "chat/model_change.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* Inverses of the changes of the containers; two arguments as the journal passes them. */

static void undo_index_add(void *index, void *node)
{
    hash_index_remove(index, node);
}

static void undo_index_remove(void *index, void *node)
{
    hash_index_add(index, node, ((struct hash_node *)node)->hash);
}

static void undo_names_insert(void *names, void *name)
{
    names_remove(names, name);
}

static void undo_names_remove(void *names, void *name)
{
    names_insert(names, name);
}

/* Back to where it was: after `previous`; NULL: in no ring. */
static void undo_link(void *link, void *previous)
{
    link_remove(link);
    if (previous != NULL)
        link_insert_after(link, previous);
}

void index_add(struct journal *journal, struct hash_index *index, struct hash_node *node, uint64_t hash)
{
    journal_call(journal, undo_index_add, index, node);
    hash_index_add(index, node, hash);
}

void index_remove(struct journal *journal, struct hash_index *index, struct hash_node *node)
{
    journal_call(journal, undo_index_remove, index, node);
    hash_index_remove(index, node);
}

void names_put(struct journal *journal, struct names *names, struct name *name)
{
    journal_call(journal, undo_names_insert, names, name);
    names_insert(names, name);
}

void names_drop(struct journal *journal, struct names *names, struct name *name)
{
    journal_call(journal, undo_names_remove, names, name);
    names_remove(names, name);
}

void link_move(struct journal *journal, struct link *link, struct link *where)
{
    journal_call(journal, undo_link, link, link_in_ring(link) ? link->previous : NULL);
    link_remove(link);
    if (where != NULL)
        link_insert_after(link, where);
}

void name_set(struct name *name, struct slice text)
{
    assert(text.length <= NAME_MAX_BYTES); /* C-1; checked when the request came, or when the store was written */
    name->length = (unsigned char)text.length;
    memcpy(name->bytes, text.bytes, text.length);
}

bool group_count_begin(struct group *group)
{
    if (group->hub_sessions == NULL)
        group->hub_sessions = calloc(HUBS_MAX, sizeof *group->hub_sessions);
    return group->hub_sessions != NULL;
}

void group_count_up(struct group *group, session_handle session)
{
    unsigned hub = session_handle_hub(session);

    if (group_dismissed(group))
        return;
    group->hub_sessions[hub]++;
    group->hubs |= UINT64_C(1) << hub;
}

void group_count_down(struct group *group, session_handle session)
{
    unsigned hub = session_handle_hub(session);

    if (group_dismissed(group))
        return;
    if (--group->hub_sessions[hub] == 0)
        group->hubs &= ~(UINT64_C(1) << hub);
}
