/* support_failing_store.c - the store that fails when it is told to; declared in support_engine.h. It also sees to it
 *                           that the engine keeps to the rules of transactions. */
#include "support_engine.h"

static bool passes(struct store *store)
{
    struct failing_store *failing = (struct failing_store *)store;

    failing->calls++;
    return failing->calls != failing->fail_at && (failing->fail_from == 0 || failing->calls < failing->fail_from);
}

#define INNER(store) (((struct failing_store *)(store))->inner)
#define PASS_ON(operation, ...) (passes(store) && INNER(store)->operations->operation(INNER(store), __VA_ARGS__))

static void failing_free(struct store *store)
{
    INNER(store)->operations->free(INNER(store));
}

static bool failing_load(struct store *store, const struct store_loader *loader, void *arg)
{
    return INNER(store)->operations->load(INNER(store), loader, arg);
}

static bool failing_begin(struct store *store)
{
    struct failing_store *failing = (struct failing_store *)store;

    assert_false(failing->in_transaction);
    failing->in_transaction = passes(store) && failing->inner->operations->begin(failing->inner);
    return failing->in_transaction;
}

static bool failing_commit(struct store *store)
{
    struct failing_store *failing = (struct failing_store *)store;

    assert_true(failing->in_transaction);
    if (!passes(store) || !failing->inner->operations->commit(failing->inner))
        return false;
    failing->in_transaction = false;
    failing->commits++;
    return true;
}

static void failing_rollback(struct store *store)
{
    struct failing_store *failing = (struct failing_store *)store;

    assert_true(failing->in_transaction);
    failing->in_transaction = false;
    failing->rollbacks++;
    failing->inner->operations->rollback(failing->inner);
}

/* A change outside of a transaction would not be undone. */
#define CHANGE(operation, ...) \
    (assert_true(((struct failing_store *)store)->in_transaction), PASS_ON(operation, __VA_ARGS__))

static bool failing_user_add(struct store *store, uint32_t number, struct slice name, struct slice hash,
                             const struct store_profile *profile)
{
    return CHANGE(user_add, number, name, hash, profile);
}

static bool failing_user_set_hash(struct store *store, uint32_t number, struct slice hash)
{
    return CHANGE(user_set_hash, number, hash);
}

static bool failing_user_set_profile(struct store *store, uint32_t number, const struct store_profile *profile)
{
    return CHANGE(user_set_profile, number, profile);
}

static bool failing_friendship_add(struct store *store, uint32_t user, uint32_t other)
{
    return CHANGE(friendship_add, user, other);
}

static bool failing_friendship_remove(struct store *store, uint32_t user, uint32_t other)
{
    return CHANGE(friendship_remove, user, other);
}

static bool failing_friend_request_add(struct store *store, uint32_t from, uint32_t to, struct slice text)
{
    return CHANGE(friend_request_add, from, to, text);
}

static bool failing_friend_request_remove(struct store *store, uint32_t from, uint32_t to)
{
    return CHANGE(friend_request_remove, from, to);
}

static bool failing_private_add(struct store *store, uint32_t number, uint32_t user, uint32_t other)
{
    assert_true(user <= other);
    return CHANGE(private_add, number, user, other);
}

static bool failing_group_add(struct store *store, const struct store_group *group)
{
    return CHANGE(group_add, group);
}

static bool failing_group_remove(struct store *store, uint32_t number)
{
    return CHANGE(group_remove, number);
}

static bool failing_member_add(struct store *store, uint32_t conversation, uint32_t user, uint64_t mark)
{
    return CHANGE(member_add, conversation, user, mark);
}

static bool failing_member_remove(struct store *store, uint32_t conversation, uint32_t user)
{
    return CHANGE(member_remove, conversation, user);
}

static bool failing_member_set_mark(struct store *store, uint32_t conversation, uint32_t user, uint64_t mark)
{
    return CHANGE(member_set_mark, conversation, user, mark);
}

static bool failing_message_add(struct store *store, const struct store_message *message)
{
    return CHANGE(message_add, message);
}

static bool failing_message_find(struct store *store, uint32_t conversation, uint32_t sender, struct slice id,
                                 bool *found, uint64_t *msg_id, int64_t *time_ms)
{
    return PASS_ON(message_find, conversation, sender, id, found, msg_id, time_ms);
}

static bool failing_history(struct store *store, uint32_t conversation, const struct store_history_range *range,
                            store_visitor visit, void *arg)
{
    return PASS_ON(history, conversation, range, visit, arg);
}

static bool failing_own_count(struct store *store, uint32_t conversation, uint32_t sender, uint64_t mark, uint64_t *all,
                              uint64_t *above)
{
    return PASS_ON(own_count, conversation, sender, mark, all, above);
}

static bool failing_purge(struct store *store, bool *more)
{
    assert_false(((struct failing_store *)store)->in_transaction);
    return PASS_ON(purge, more);
}

const struct store_operations failing_store_operations = {
    .free = failing_free,
    .load = failing_load,
    .begin = failing_begin,
    .commit = failing_commit,
    .rollback = failing_rollback,
    .user_add = failing_user_add,
    .user_set_hash = failing_user_set_hash,
    .user_set_profile = failing_user_set_profile,
    .friendship_add = failing_friendship_add,
    .friendship_remove = failing_friendship_remove,
    .friend_request_add = failing_friend_request_add,
    .friend_request_remove = failing_friend_request_remove,
    .private_add = failing_private_add,
    .group_add = failing_group_add,
    .group_remove = failing_group_remove,
    .member_add = failing_member_add,
    .member_remove = failing_member_remove,
    .member_set_mark = failing_member_set_mark,
    .message_add = failing_message_add,
    .message_find = failing_message_find,
    .history = failing_history,
    .own_count = failing_own_count,
    .purge = failing_purge,
};
