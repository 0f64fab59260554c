/* store_memory.c - the store that lasts as long as the process: messages and their ids, the newest of them.
 *
 * Idea.       For measuring what a disk would hide, and for tests. The engine has the rest in memory anyway.
 * Invariants. I1  nothing is forgotten between begin and commit, so a rollback has only to take away what was added:
 *                 the newest messages.
 */
#include "base/limits.h"
#include "base/log.h"
#include "store/memory_messages.h"

#include <stdlib.h>

struct memory_store {
    struct store store; /* first: what the engine holds a pointer to */
    struct memory_messages messages;
    /* The transaction. */
    bool is_open, failed;
    size_t added;                          /* so many of the newest messages */
    struct memory_conversation *over_full; /* to be cut to what one may keep */
    struct memory_conversation *removed;   /* those of groups that were dismissed */
};

static struct memory_store *of(struct store *store)
{
    return (struct memory_store *)store;
}

/* I4 of store.h. */
static bool may_change(struct memory_store *s)
{
    if (!s->is_open)
        log_error("store: a change, but no transaction");
    return s->is_open && !s->failed;
}

/* ---- messages ---- */

static void note_over_full(struct memory_store *s, struct memory_conversation *conversation)
{
    if (conversation->is_over_full || memory_conversation_count(conversation) <= MEMORY_CONVERSATION_MESSAGES_MAX)
        return;
    conversation->is_over_full = true;
    conversation->next_over_full = s->over_full;
    s->over_full = conversation;
}

static bool message_add(struct store *store, const struct store_message *content)
{
    struct memory_store *s = of(store);

    if (!may_change(s))
        return false;
    if (!memory_message_add(&s->messages, content)) {
        s->failed = true;
        return false;
    }
    s->added++;
    note_over_full(s, s->messages.newest->conversation);
    return true;
}

static bool message_find(struct store *store, uint32_t number, uint32_t sender, struct slice id, bool *found,
                         uint64_t *msg_id, int64_t *time_ms)
{
    const struct memory_messages *messages = &of(store)->messages;
    const struct memory_conversation *conversation = memory_conversation_find(messages, number);
    const struct store_message *message = NULL;

    if (conversation)
        message = memory_message_find(messages, conversation, sender, id);
    *found = message != NULL;
    if (message) {
        *msg_id = message->msg_id;
        *time_ms = message->time_ms;
    }
    return true;
}

static bool history(struct store *store, uint32_t number, const struct store_history_range *range, store_visitor visit,
                    void *arg)
{
    memory_history(memory_conversation_find(&of(store)->messages, number), range, visit, arg);
    return true;
}

/* From the newest on, so that marks near the end, which are the usual ones, are found soon. A whole ring is read in
 * some 10 microseconds. */
static bool own_count(struct store *store, uint32_t number, uint32_t sender, uint64_t mark, uint64_t *all,
                      uint64_t *above)
{
    const struct memory_conversation *conversation = memory_conversation_find(&of(store)->messages, number);
    const struct store_message *oldest = NULL; /* the oldest one above the mark that was seen */
    uint64_t forgotten_above;

    *all = *above = 0;
    if (!conversation)
        return true;
    for (uint64_t msg_id = conversation->end; msg_id-- > conversation->first;) {
        const struct memory_ring_entry *entry = memory_ring_at(conversation, msg_id);

        if (entry->sender != sender)
            continue;
        if (*all == 0)
            *all = entry->message->content.ordinal;
        if (msg_id <= mark) {
            *above = *all - entry->message->content.ordinal;
            return true;
        }
        oldest = &entry->message->content;
    }
    if (!oldest)
        return true;
    /* Of the forgotten ones above the mark, at most so many are the sender's as came before the oldest one kept. */
    forgotten_above = mark + 1 < conversation->first ? conversation->first - 1 - mark : 0;
    *above =
        *all - oldest->ordinal + 1 + (oldest->ordinal - 1 < forgotten_above ? oldest->ordinal - 1 : forgotten_above);
    return true;
}

/* ---- transactions ---- */

static bool begin(struct store *store)
{
    struct memory_store *s = of(store);

    if (s->is_open) {
        log_error("store: a transaction within a transaction");
        return false;
    }
    s->is_open = true;
    s->failed = false;
    s->added = 0;
    return true;
}

/* A conversation that is cut keeps messages, and so its place in the other list (I1 of memory_messages.h). */
static void cut_over_full(struct memory_store *s)
{
    for (; s->over_full; s->over_full = s->over_full->next_over_full) {
        s->over_full->is_over_full = false;
        memory_conversation_drop(&s->messages, s->over_full,
                                 memory_conversation_count(s->over_full) - MEMORY_CONVERSATION_MESSAGES_MAX);
    }
}

static void drop_removed(struct memory_store *s)
{
    while (s->removed) {
        struct memory_conversation *conversation = s->removed;

        s->removed = conversation->next_removed;
        memory_conversation_drop(&s->messages, conversation, memory_conversation_count(conversation));
    }
}

static bool commit(struct store *store)
{
    struct memory_store *s = of(store);

    if (!may_change(s))
        return false;
    cut_over_full(s);
    drop_removed(s);
    while (s->messages.used_bytes > MEMORY_STORE_MAX_BYTES && s->messages.oldest)
        memory_message_drop(&s->messages, s->messages.oldest);
    s->is_open = false;
    return true;
}

static void rollback(struct store *store)
{
    struct memory_store *s = of(store);

    if (!s->is_open)
        return;
    /* The lists first: what they name may go with its last message. */
    for (; s->over_full; s->over_full = s->over_full->next_over_full)
        s->over_full->is_over_full = false;
    for (; s->removed; s->removed = s->removed->next_removed)
        s->removed->is_removed = false;
    for (; s->added > 0; s->added--)
        memory_message_drop(&s->messages, s->messages.newest);
    s->is_open = false;
}

/* The group is the engine's; its messages are here, until the commit. */
static bool group_remove(struct store *store, uint32_t number)
{
    struct memory_store *s = of(store);
    struct memory_conversation *conversation = memory_conversation_find(&s->messages, number);

    if (!may_change(s))
        return false;
    if (conversation && !conversation->is_removed) {
        conversation->is_removed = true;
        conversation->next_removed = s->removed;
        s->removed = conversation;
    }
    return true;
}

/* ---- what the engine alone keeps ---- */

static bool load(struct store *store, const struct store_loader *loader, void *arg)
{
    (void)store;
    (void)loader;
    (void)arg;
    return true;
}

static bool user_add(struct store *store, uint32_t number, struct slice name, struct slice hash,
                     const struct store_profile *profile)
{
    (void)store;
    (void)number;
    (void)name;
    (void)hash;
    (void)profile;
    return true;
}

static bool user_set_hash(struct store *store, uint32_t number, struct slice hash)
{
    (void)store;
    (void)number;
    (void)hash;
    return true;
}

static bool user_set_profile(struct store *store, uint32_t number, const struct store_profile *profile)
{
    (void)store;
    (void)number;
    (void)profile;
    return true;
}

static bool pair_change(struct store *store, uint32_t a, uint32_t b)
{
    (void)store;
    (void)a;
    (void)b;
    return true;
}

static bool friend_request_add(struct store *store, uint32_t from, uint32_t to, struct slice text)
{
    (void)store;
    (void)from;
    (void)to;
    (void)text;
    return true;
}

static bool private_add(struct store *store, uint32_t number, uint32_t user, uint32_t other)
{
    (void)store;
    (void)number;
    (void)user;
    (void)other;
    return true;
}

static bool group_add(struct store *store, const struct store_group *group)
{
    (void)store;
    (void)group;
    return true;
}

static bool member_set(struct store *store, uint32_t conversation, uint32_t user, uint64_t mark)
{
    (void)store;
    (void)conversation;
    (void)user;
    (void)mark;
    return true;
}

static bool purge(struct store *store, bool *more)
{
    (void)store;
    *more = false;
    return true;
}

/* ---- new, free ---- */

static void store_free(struct store *store)
{
    memory_messages_fini(&of(store)->messages);
    free(store);
}

static const struct store_operations operations = {
    .free = store_free,
    .load = load,
    .begin = begin,
    .commit = commit,
    .rollback = rollback,
    .user_add = user_add,
    .user_set_hash = user_set_hash,
    .user_set_profile = user_set_profile,
    .friendship_add = pair_change,
    .friendship_remove = pair_change,
    .friend_request_add = friend_request_add,
    .friend_request_remove = pair_change,
    .private_add = private_add,
    .group_add = group_add,
    .group_remove = group_remove,
    .member_add = member_set,
    .member_remove = pair_change,
    .member_set_mark = member_set,
    .message_add = message_add,
    .message_find = message_find,
    .history = history,
    .own_count = own_count,
    .purge = purge,
};

struct store *store_memory_new(void)
{
    struct memory_store *s = calloc(1, sizeof *s);

    if (!s) {
        log_error("store: no memory");
        return NULL;
    }
    if (!memory_messages_init(&s->messages)) {
        free(s);
        return NULL;
    }
    s->store.operations = &operations;
    return &s->store;
}
