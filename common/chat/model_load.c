/* model_load.c - from the store into memory, once, at the start.
 *
 * The same functions that change the model fill it, with a journal that is committed after each step: there is no
 * second way to build a user or a group.
 */
#include <stdlib.h>

#include "base/log.h"
#include "chat/model.h"

struct load {
    struct model *model;
    struct journal journal;
};

/* `done`: a step could be made; it is over. */
static bool step(struct load *load, bool done)
{
    journal_commit(&load->journal);
    return done && journal_reserve(&load->journal, MODEL_CHANGE_ENTRIES);
}

static bool load_user(void *arg, uint32_t number, struct slice name, struct slice hash,
                      const struct store_profile *profile)
{
    struct load *load = arg;

    return step(load, name.length <= NAME_MAX_BYTES && number > 0 &&
                          model_add_user(load->model, &load->journal, number, name, hash, profile) != NULL);
}

static bool load_friendship(void *arg, uint32_t user, uint32_t other)
{
    struct load *load = arg;
    struct user *one = model_user(load->model, user), *two = model_user(load->model, other);

    if (one == NULL || two == NULL)
        return false;
    return step(load, users_are_friends(one, two) || users_befriend(one, two, &load->journal));
}

static bool load_friend_request(void *arg, uint32_t from, uint32_t to, struct slice text)
{
    struct load *load = arg;
    struct user *asker = model_user(load->model, from), *asked = model_user(load->model, to);

    return step(load, asker != NULL && asked != NULL && user_add_request(asked, &load->journal, asker, text));
}

static bool load_private(void *arg, uint32_t number, uint32_t user, uint32_t other)
{
    struct load *load = arg;
    struct user *low = model_user(load->model, user), *high = model_user(load->model, other);

    return step(load, low != NULL && high != NULL &&
                          model_add_private(load->model, &load->journal, number, low, high) != NULL);
}

static bool load_group(void *arg, const struct store_group *group)
{
    struct load *load = arg;

    return step(load, group->name.length <= NAME_MAX_BYTES && model_user(load->model, group->owner) != NULL &&
                          model_add_group(load->model, &load->journal, group) != NULL);
}

static bool load_member(void *arg, uint32_t number, uint32_t user_number, uint64_t mark, uint64_t own_count,
                        uint64_t own_above)
{
    struct load *load = arg;
    struct conversation *conversation = model_conversation(load->model, number);
    struct user *user = model_user(load->model, user_number);
    struct membership *membership;

    if (conversation == NULL || user == NULL)
        return false;
    if (conversation->kind == CONVERSATION_PRIVATE)
        membership = model_membership(load->model, user, conversation);
    else
        membership = model_join(load->model, &load->journal, user, GROUP_OF(conversation), mark, own_count);
    if (membership == NULL)
        return step(load, false);
    membership->counts.mark = mark;
    membership->counts.own_count = own_count;
    membership->counts.own_above = own_above;
    return step(load, true);
}

static bool load_latest(void *arg, uint32_t number, uint64_t msg_id, uint64_t sequence, int64_t time_ms)
{
    struct load *load = arg;
    struct conversation *conversation = model_conversation(load->model, number);

    if (conversation == NULL)
        return false;
    conversation->newest.latest = msg_id;
    conversation->newest.sequence = sequence;
    conversation->newest.time_ms = time_ms;
    return true;
}

static bool load_highest(void *arg, uint32_t conversation, uint64_t sequence)
{
    struct load *load = arg;

    load->model->conversation_highest = conversation;
    load->model->sequence_highest = sequence;
    return true;
}

static bool counts_as_unread(const struct membership *membership)
{
    return membership->conversation->kind == CONVERSATION_PRIVATE && membership_unread(membership) > 0;
}

static int compare_newest(const void *one, const void *other)
{
    uint64_t a = (*(struct membership *const *)one)->conversation->newest.sequence;
    uint64_t b = (*(struct membership *const *)other)->conversation->newest.sequence;

    return (a > b) - (a < b);
}

/* I3: oldest first, each to the front. */
static bool order_unread(struct model *model)
{
    struct membership **found = malloc((model->memberships.count + 1) * sizeof(struct membership *));
    size_t count = 0;

    if (found == NULL)
        return false;
    for (struct hash_node *node = NULL; (node = hash_index_walk(&model->memberships, node)) != NULL;) {
        struct membership *membership = HASH_NODE_OWNER(node, struct membership, node);

        if (counts_as_unread(membership))
            found[count++] = membership;
    }
    qsort(found, count, sizeof *found, compare_newest);
    for (size_t i = 0; i < count; i++)
        link_insert_after(&found[i]->unread, &found[i]->user->unread);
    free(found);
    return true;
}

bool model_load(struct model *model, struct store *store)
{
    static const struct store_loader loader = {
        .user = load_user,
        .friendship = load_friendship,
        .friend_request = load_friend_request,
        .private_conversation = load_private,
        .group = load_group,
        .member = load_member,
        .latest = load_latest,
        .highest = load_highest,
    };
    struct load load = {.model = model};
    bool done = journal_reserve(&load.journal, MODEL_CHANGE_ENTRIES) &&
                store->operations->load(store, &loader, &load) && order_unread(model);

    journal_commit(&load.journal);
    journal_fini(&load.journal);
    if (!done)
        log_error("cannot load what the store has: no memory, or it contradicts itself");
    return done;
}
