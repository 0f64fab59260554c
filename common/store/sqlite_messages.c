/* sqlite_messages.c - what is asked of the messages: first of the recent ones, which memory has, then of table `message`.
 */
#include "store/sqlite_store.h"

static const struct memory_conversation *recent_of(struct sqlite_store *store, uint32_t conversation)
{
    return memory_conversation_find(&store->recent, conversation);
}

bool sqlite_message_find(struct store *store, uint32_t conversation, uint32_t sender, struct slice id, bool *found,
                         uint64_t *msg_id, int64_t *time_ms)
{
    struct sqlite_store *s = (struct sqlite_store *)store;
    const struct memory_conversation *recent = recent_of(s, conversation);
    const struct store_message *message = recent ? memory_message_find(&s->recent, recent, sender, id) : NULL;
    struct sqlite_call call = sqlite_call_begin(s, CALL_MESSAGE_FIND);

    if (message) {
        *found = true;
        *msg_id = message->msg_id;
        *time_ms = message->time_ms;
        return true;
    }
    sqlite_call_number(&call, conversation);
    sqlite_call_number(&call, sender);
    sqlite_call_text_or_null(&call, id); /* equal to nothing */
    *found = sqlite_call_row(&call);
    if (*found) {
        *msg_id = sqlite_number(call.statement, 0);
        *time_ms = sqlite3_column_int64(call.statement, 1);
    }
    return sqlite_call_end(&call);
}

/* *stopped: by the visitor. */
static bool settled_history(struct sqlite_store *store, uint32_t conversation, const struct store_history_range *range,
                            store_visitor visit, void *arg, bool *stopped)
{
    struct sqlite_call call = sqlite_call_begin(store, range->from_oldest ? CALL_HISTORY_OLDEST : CALL_HISTORY_NEWEST);

    sqlite_call_number(&call, conversation);
    sqlite_call_number(&call, range->after);
    sqlite_call_number(&call, range->before);
    while (!*stopped && sqlite_call_row(&call)) {
        struct store_message message = sqlite_message(call.statement);

        *stopped = !visit(arg, &message);
    }
    return sqlite_call_end(&call);
}

/* I2 of sqlite_recent.c says which of the two comes first. */
bool sqlite_history(struct store *store, uint32_t conversation, const struct store_history_range *range,
                    store_visitor visit, void *arg)
{
    struct sqlite_store *s = (struct sqlite_store *)store;
    const struct memory_conversation *recent = recent_of(s, conversation);
    bool stopped = false;

    if (!range->from_oldest)
        stopped = !memory_history(recent, range, visit, arg);
    if (!stopped && !settled_history(s, conversation, range, visit, arg, &stopped))
        return false;
    if (range->from_oldest && !stopped)
        memory_history(recent, range, visit, arg);
    return true;
}

bool sqlite_latest(struct sqlite_store *store, uint32_t conversation, bool *found, struct store_message *message)
{
    const struct memory_conversation *recent = recent_of(store, conversation);
    struct sqlite_call call = sqlite_call_begin(store, CALL_LATEST);

    *found = recent != NULL;
    if (recent) {
        *message = memory_ring_at(recent, recent->end - 1)->message->content;
        return true;
    }
    sqlite_call_number(&call, conversation);
    *found = sqlite_call_row(&call);
    if (*found)
        *message = sqlite_message(call.statement);
    return sqlite_call_end(&call);
}

/* The ordinal of the newest message of `sender` up to number `last`; 0: there is none. */
static bool own_up_to(struct sqlite_store *store, uint32_t conversation, uint32_t sender, uint64_t last,
                      uint64_t *ordinal)
{
    const struct memory_conversation *recent = recent_of(store, conversation);
    struct sqlite_call call = sqlite_call_begin(store, CALL_OWN_UP_TO);

    for (uint64_t msg_id = recent ? recent->end : 0; recent && msg_id-- > recent->first;) {
        const struct memory_ring_entry *entry = memory_ring_at(recent, msg_id);

        if (entry->sender == sender && msg_id <= last) {
            *ordinal = entry->message->content.ordinal;
            return true;
        }
    }
    sqlite_call_number(&call, conversation);
    sqlite_call_number(&call, sender);
    sqlite_call_number(&call, last);
    *ordinal = sqlite_call_row(&call) ? sqlite_number(call.statement, 0) : 0;
    return sqlite_call_end(&call);
}

bool sqlite_own_count(struct store *store, uint32_t conversation, uint32_t sender, uint64_t mark, uint64_t *all,
                      uint64_t *above)
{
    struct sqlite_store *s = (struct sqlite_store *)store;
    uint64_t up_to_mark;

    *all = *above = 0;
    if (!own_up_to(s, conversation, sender, UINT64_MAX, all) || !own_up_to(s, conversation, sender, mark, &up_to_mark))
        return false;
    *above = *all - up_to_mark;
    return true;
}
