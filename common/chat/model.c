#include "chat/model.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

/* Names are chosen by peers, so their hash is keyed: nobody can make names that all fall into one bucket. */
uint64_t model_hash_name(const struct model *model, struct slice name)
{
    uint64_t hash;

    _Static_assert(sizeof hash == crypto_shorthash_BYTES, "a hash is what crypto_shorthash gives");
    _Static_assert(sizeof model->name_key == crypto_shorthash_KEYBYTES, "the key is what crypto_shorthash takes");
    crypto_shorthash((unsigned char *)&hash, (const unsigned char *)name.bytes, name.length, model->name_key);
    return hash;
}

/* Numbers are chosen by the engine; the finalizer of splitmix64 spreads them well enough. */
uint64_t model_hash_numbers(const struct model *model, uint32_t first, uint32_t second)
{
    uint64_t x = model->number_key ^ ((uint64_t)first << 32 | second);

    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

bool model_init(struct model *model)
{
    *model = (struct model){0};
    links_init(&model->dismissed);
    randombytes_buf(model->name_key, sizeof model->name_key);
    randombytes_buf(&model->number_key, sizeof model->number_key);
    return hash_index_init(&model->users_by_name) && hash_index_init(&model->groups_by_name) &&
           hash_index_init(&model->private_by_users) && hash_index_init(&model->conversations_by_number) &&
           hash_index_init(&model->memberships);
}

static void user_free(struct user *user)
{
    while (!links_empty(&user->requests))
        free(LINK_OWNER(links_take_first(&user->requests), struct friend_request, link));
    names_fini(&user->friends);
    names_fini(&user->groups);
    free(user->profile);
    free(user->password_hash);
    free(user);
}

static void conversation_free(struct conversation *conversation)
{
    if (conversation->kind == CONVERSATION_PRIVATE) {
        free(conversation);
        return;
    }
    names_fini(&GROUP_OF(conversation)->members);
    free(GROUP_OF(conversation)->hub_sessions);
    free(GROUP_OF(conversation));
}

#define WALK_AND_FREE(index, type, member, free_one)                                                         \
    for (struct hash_node *node = hash_index_walk((index), NULL), *next = NULL; node != NULL; node = next) { \
        next = hash_index_walk((index), node);                                                               \
        free_one(HASH_NODE_OWNER(node, type, member));                                                       \
    }

void model_fini(struct model *model)
{
    /* An index that could not be made has no bucket to walk. */
    if (model->memberships.bucket_count > 0)
        WALK_AND_FREE(&model->memberships, struct membership, node, free)
    if (model->conversations_by_number.bucket_count > 0)
        WALK_AND_FREE(&model->conversations_by_number, struct conversation, by_number, conversation_free)
    for (uint32_t number = 1; number <= model->user_count; number++)
        if (model->users[number] != NULL)
            user_free(model->users[number]);
    free(model->users);
    hash_index_fini(&model->users_by_name);
    hash_index_fini(&model->groups_by_name);
    hash_index_fini(&model->private_by_users);
    hash_index_fini(&model->conversations_by_number);
    hash_index_fini(&model->memberships);
}

struct user *model_user(const struct model *model, uint32_t number)
{
    return number <= model->user_count && number > 0 ? model->users[number] : NULL;
}

struct user *model_user_named(const struct model *model, struct slice name)
{
    struct hash_node *node = hash_index_find(&model->users_by_name, model_hash_name(model, name));

    for (; node != NULL; node = hash_index_find_next(node)) {
        struct user *user = HASH_NODE_OWNER(node, struct user, by_name);

        if (slice_equal(name_slice(&user->name), name))
            return user;
    }
    return NULL;
}

struct group *model_group_named(const struct model *model, struct slice name)
{
    struct hash_node *node = hash_index_find(&model->groups_by_name, model_hash_name(model, name));

    for (; node != NULL; node = hash_index_find_next(node)) {
        struct group *group = HASH_NODE_OWNER(node, struct group, by_name);

        if (slice_equal(name_slice(&group->name), name))
            return group;
    }
    return NULL;
}

struct conversation *model_private(const struct model *model, const struct user *one, const struct user *other)
{
    const struct user *low = one->number <= other->number ? one : other;
    const struct user *high = low == one ? other : one;
    struct hash_node *node =
        hash_index_find(&model->private_by_users, model_hash_numbers(model, low->number, high->number));

    for (; node != NULL; node = hash_index_find_next(node)) {
        struct private_conversation *private = HASH_NODE_OWNER(node, struct private_conversation, by_users);

        if (private->low == low && private->high == high)
            return &private->conversation;
    }
    return NULL;
}

struct conversation *model_conversation(const struct model *model, uint32_t number)
{
    struct hash_node *node = hash_index_find(&model->conversations_by_number, model_hash_numbers(model, 0, number));

    for (; node != NULL; node = hash_index_find_next(node)) {
        struct conversation *conversation = HASH_NODE_OWNER(node, struct conversation, by_number);

        if (conversation->number == number)
            return conversation;
    }
    return NULL;
}

struct membership *model_membership(const struct model *model, const struct user *user,
                                    const struct conversation *conversation)
{
    struct hash_node *node =
        hash_index_find(&model->memberships, model_hash_numbers(model, user->number, conversation->number));

    for (; node != NULL; node = hash_index_find_next(node)) {
        struct membership *membership = HASH_NODE_OWNER(node, struct membership, node);

        if (membership->user == user && membership->conversation == conversation)
            return membership;
    }
    return NULL;
}

struct friend_request *user_request_from(const struct user *user, const struct user *from)
{
    for (struct link *link = user->requests.next; link != &user->requests; link = link->next) {
        struct friend_request *request = LINK_OWNER(link, struct friend_request, link);

        if (request->from == from)
            return request;
    }
    return NULL;
}

struct group *user_group_next(const struct user *user, uint32_t *at)
{
    while (*at < user->groups.count) {
        struct group *group = (struct group *)user->groups.items[(*at)++];

        if (!group_dismissed(group))
            return group;
    }
    return NULL;
}

uint32_t user_group_count(const struct user *user)
{
    uint32_t at = 0, count = 0;

    while (user_group_next(user, &at) != NULL)
        count++;
    return count;
}

const struct store_profile *user_profile(const struct user *user)
{
    static const struct store_profile never_set;

    return user->profile != NULL ? &user->profile->fields : &never_set;
}

struct user *conversation_peer(const struct conversation *conversation, const struct user *user)
{
    const struct private_conversation *private = (const struct private_conversation *)conversation;

    return private->low == user ? private->high : private->low;
}
