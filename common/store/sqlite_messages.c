/* sqlite_messages.c - the messages: the newest in the order in which they came, all others by conversation.
 *
 * Idea.       The messages of a conversation have to lie side by side, for then a page of history is a few pages of the
 *             file. But those that come together belong to many conversations. Put where it belongs, each of them costs
 *             a page of the table and one of the index, 8 KiB to be written and flushed for a hundred bytes.
 *             So a message goes to the end of `recent` first, of which a batch fills a page or two, and into memory,
 *             where it is found. When there are enough of them, they are sorted and moved in one transaction: settled.
 *             By then a conversation has several, and they share its pages. This is a log-structured merge tree of two
 *             levels (O'Neil et al., 1996).
 *
 *                 add ──▶ table `recent`, by arrival ──settle──▶ table `message`, by conversation
 *                    └──▶ memory, for whoever asks   ──settle──▶ dropped
 *
 * Invariants. I1  every message is in exactly one of the two tables; what `recent` has, memory has, too.
 *             I2  what is in `recent` was accepted after all that is in `message`.
 */
#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "store/sqlite_store.h"

#define SETTLE_AGAIN_MS 1000

/* ---- a message and its row, which is the same in both tables ---- */

static bool insert(struct sqlite_store *store, enum sqlite_statement statement, const struct store_message *message)
{
    struct sqlite_call call = sqlite_call_begin(store, statement);

    sqlite_call_number(&call, message->conversation);
    sqlite_call_number(&call, message->msg_id);
    sqlite_call_number(&call, message->sender);
    sqlite_call_number(&call, message->ordinal);
    sqlite_call_number(&call, message->sequence);
    sqlite_call_signed(&call, message->time_ms);
    sqlite_call_text_or_null(&call, message->id);
    sqlite_call_text(&call, message->text);
    return sqlite_call_change(&call);
}

static struct store_message message_of(sqlite3_stmt *row)
{
    return (struct store_message){
        .conversation = sqlite_number32(row, 0),
        .msg_id = sqlite_number(row, 1),
        .sender = sqlite_number32(row, 2),
        .ordinal = sqlite_number(row, 3),
        .sequence = sqlite_number(row, 4),
        .time_ms = sqlite3_column_int64(row, 5),
        .id = sqlite_text(row, 6),
        .text = sqlite_text(row, 7),
    };
}

/* ---- recent ---- */

/* So many are there only when they could not be settled, for which there was a reason that was logged. */
static bool has_room(struct sqlite_store *store)
{
    bool is_full = store->recent.used_bytes > RECENT_MESSAGES_MAX_BYTES;

    if (is_full && !store->is_full)
        log_error("store: no further message is taken before the recent ones can be put in order");
    store->is_full = is_full;
    return !is_full;
}

bool sqlite_message_add(struct store *store, const struct store_message *message)
{
    struct sqlite_store *s = (struct sqlite_store *)store;

    if (!insert(s, CALL_RECENT_ADD, message))
        return false;
    s->failed = !has_room(s) || !memory_message_add(&s->recent, message);
    s->added += !s->failed;
    return !s->failed;
}

void sqlite_recent_commit(struct sqlite_store *store)
{
    store->added = 0;
}

void sqlite_recent_rollback(struct sqlite_store *store)
{
    for (; store->added > 0; store->added--)
        memory_message_drop(&store->recent, store->recent.newest);
}

bool sqlite_recent_load(struct sqlite_store *store)
{
    struct sqlite_call call = sqlite_call_begin(store, CALL_RECENT_LOAD);
    bool added = true;

    while (added && sqlite_call_row(&call)) {
        struct store_message message = message_of(call.statement);

        added = memory_message_add(&store->recent, &message);
    }
    return sqlite_call_end(&call) && added;
}

static const struct memory_conversation *recent_of(struct sqlite_store *store, uint32_t conversation)
{
    return memory_conversation_find(&store->recent, conversation);
}

/* ---- settle ---- */

static bool copy_conversation(struct sqlite_store *store, const struct memory_conversation *conversation)
{
    for (uint64_t msg_id = conversation->first; msg_id < conversation->end; msg_id++)
        if (!insert(store, CALL_SETTLED_ADD, &memory_ring_at(conversation, msg_id)->message->content))
            return false;
    return true;
}

/* Each conversation as a whole, when its first message comes: what is written then lies side by side. */
static bool copy_recent(struct sqlite_store *store)
{
    for (const struct memory_message *message = store->recent.oldest; message; message = message->newer)
        if (message->content.msg_id == message->conversation->first && !copy_conversation(store, message->conversation))
            return false;
    return true;
}

static bool clear_recent(struct sqlite_store *store)
{
    struct sqlite_call call = sqlite_call_begin(store, CALL_RECENT_CLEAR);

    return sqlite_call_change(&call);
}

bool sqlite_settle(struct sqlite_store *store)
{
    if (!store->recent.oldest)
        return true;
    if (!sqlite3_get_autocommit(store->database))
        return false;
    store->settle_after_ms = 0;
    if (!sqlite_begin(store) || !copy_recent(store) || !clear_recent(store) || !sqlite_commit(store)) {
        sqlite_rollback(store);
        store->settle_after_ms = clock_monotonic_ms() + SETTLE_AGAIN_MS;
        return false;
    }
    memory_messages_clear(&store->recent);
    return true;
}

/* A failure may have cost the time of a whole copy. */
static bool may_settle(const struct sqlite_store *store)
{
    return store->settle_after_ms == 0 || clock_monotonic_ms() >= store->settle_after_ms;
}

void sqlite_settle_when_due(struct sqlite_store *store)
{
    if (store->recent.used_bytes >= RECENT_MESSAGES_BYTES && may_settle(store))
        sqlite_settle(store);
}

bool sqlite_settle_conversation(struct sqlite_store *store, uint32_t conversation)
{
    return recent_of(store, conversation) == NULL || (may_settle(store) && sqlite_settle(store));
}

/* ---- what is asked ---- */

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
        struct store_message message = message_of(call.statement);

        *stopped = !visit(arg, &message);
    }
    return sqlite_call_end(&call);
}

/* I2 says which of the two comes first. */
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
        *message = message_of(call.statement);
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
