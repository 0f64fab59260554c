/* sqlite_recent.c - messages are added, and moved on to where they belong.
 *
 * Idea.       The messages of a conversation have to lie side by side, for then a page of history is a few pages of the
 *             file. But those that come together belong to many conversations. Put where it belongs, each of them costs
 *             a page of the table and one of the index, 8 KiB to be written and flushed for a hundred bytes.
 *             So a message goes to the end of `recent` first, of which a batch fills a page or two, and into memory,
 *             where it is found. When there are enough of them, they are settled: copied to where they belong, one
 *             conversation after the other. By then each has several, and they share its pages. This is a
 *             log-structured merge tree of two levels (O'Neil et al., 1996).
 *
 *                 add ──▶ table `recent`, by arrival ──settle──▶ table `message`, by conversation
 *                    └──▶ memory, for whoever asks   ──settle──▶ dropped
 *
 *             Nobody is to wait for thousands of them. So settling is a run of slices, each within the commit of some
 *             batch, and twice as large as what was added since the last one. A run is for what is recent when it
 *             begins. What is settled is deleted from `recent`, in slices, too.
 *
 *             The batch whose commit has a slice that fails, fails. From then on slices are transactions of their own,
 *             a second after each failure, until a run has copied all.
 * Invariants. I1  memory has the messages that are in `recent` and not in `message`. (Of a dismissed conversation it may
 *                 have others: nobody asks for them.)
 *             I2  of a conversation, what memory has was accepted after all that `message` has.
 *             I3  a row of `recent` is deleted when its message, and all that were accepted before, are settled or
 *                 dismissed.
 */
#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "store/sqlite_store.h"

#define SETTLE_AGAIN_MS 1000

/* What waits for a slice may be much after a failure, or when slices were late. */
#define SLICE_MAX_BYTES (2u << 20)

/* Rows of `recent` that a slice deletes, where they lie side by side; and more where more were added. */
#define CLEAR_ROWS 1024

/* ---- recent ---- */

/* Into either of the tables, whose columns are the same. */
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

/* There is none when messages could not be settled, for which there was a reason that was logged. */
static bool has_room(struct sqlite_store *store)
{
    if (store->recent.used_bytes <= RECENT_MESSAGES_MAX_BYTES)
        return true;
    if (!store->is_full)
        log_error("store: no further message is taken before the recent ones can be put in order");
    store->is_full = true;
    return false;
}

bool sqlite_message_add(struct store *store, const struct store_message *message)
{
    struct sqlite_store *s = (struct sqlite_store *)store;

    if (!insert(s, CALL_RECENT_ADD, message))
        return false;
    s->failed = !has_room(s) || !memory_message_add(&s->recent, message);
    if (s->failed)
        return false;
    s->added++;
    s->added_bytes += memory_message_bytes(message);
    return true;
}

/* `count` more of the first messages of a conversation will go with the commit. */
static void let_leave(struct sqlite_store *store, struct memory_conversation *conversation, uint64_t count)
{
    if (conversation->leaving == 0) {
        conversation->next_leaving = store->leaving;
        store->leaving = conversation;
    }
    conversation->leaving += count;
}

/* Of each conversation that is in the list: drop those that leave, or have them stay. */
static void leave_or_stay(struct sqlite_store *store, bool leave)
{
    while (store->leaving) {
        struct memory_conversation *conversation = store->leaving;
        uint64_t count = conversation->leaving;

        store->leaving = conversation->next_leaving;
        conversation->leaving = 0;
        if (leave)
            memory_conversation_drop(&store->recent, conversation, count);
    }
}

void sqlite_recent_commit(struct sqlite_store *store)
{
    store->is_full &= store->added == 0;
    store->added = store->added_bytes = 0;
    store->is_settling = false;
    leave_or_stay(store, true);
}

void sqlite_recent_rollback(struct sqlite_store *store)
{
    leave_or_stay(store, false);
    if (store->is_settling) {
        /* Where the run would have to go on is not known any more. What it has not settled is for the next one. */
        store->run_last = 0;
        store->settle_after_ms = clock_monotonic_ms() + SETTLE_AGAIN_MS;
    }
    store->is_settling = false;
    store->added_bytes = 0;
    for (; store->added > 0; store->added--)
        memory_message_drop(&store->recent, store->recent.newest);
}

bool sqlite_recent_load(struct sqlite_store *store)
{
    struct sqlite_call call = sqlite_call_begin(store, CALL_RECENT_LOAD);
    bool added = true;

    while (added && sqlite_call_row(&call)) {
        struct store_message message = sqlite_message(call.statement);

        added = memory_message_add(&store->recent, &message);
    }
    return sqlite_call_end(&call) && added;
}

bool sqlite_recent_purge(struct sqlite_store *store, uint32_t conversation, int rows, bool *more)
{
    struct memory_conversation *recent = memory_conversation_find(&store->recent, conversation);
    struct sqlite_call call = sqlite_call_begin(store, CALL_RECENT_PURGE);

    sqlite_call_number(&call, conversation);
    sqlite_call_signed(&call, rows);
    if (!sqlite_call_change(&call))
        return false;
    *more = sqlite3_changes(store->database) == rows;
    if (recent && !*more)
        let_leave(store, recent, memory_conversation_count(recent));
    return true;
}

/* ---- settle ---- */

static bool is_of_run(const struct sqlite_store *store, const struct store_message *message)
{
    return message->sequence <= store->run_last;
}

/* Copy messages of a conversation, until *left bytes of them are. */
static bool copy_messages(struct sqlite_store *store, struct memory_conversation *conversation, size_t *left)
{
    for (uint64_t msg_id = conversation->first; *left > 0 && msg_id < conversation->end; msg_id++) {
        const struct store_message *message = &memory_ring_at(conversation, msg_id)->message->content;
        size_t bytes = memory_message_bytes(message);

        if (!is_of_run(store, message))
            break;
        if (!insert(store, CALL_SETTLED_ADD, message))
            return false;
        let_leave(store, conversation, 1);
        *left = bytes < *left ? *left - bytes : 0;
    }
    return true;
}

/* By number, as in the table. One that does not fit into the slice goes on in the next. */
static bool copy_conversations(struct sqlite_store *store, size_t left)
{
    struct memory_conversation *conversation;

    while (left > 0 && (conversation = memory_conversation_from(&store->recent, store->run_next))) {
        if (!copy_messages(store, conversation, &left))
            return false;
        if (left > 0)
            store->run_next = conversation->number + 1;
    }
    if (left > 0)
        store->run_next = UINT32_MAX;
    return true;
}

/* Delete rows that nobody needs (I3), of which `count` is about the least. *cleared: there were some. */
static bool clear_recent(struct sqlite_store *store, size_t count, bool *cleared)
{
    const struct memory_message *oldest = store->recent.oldest;
    struct sqlite_call call = sqlite_call_begin(store, CALL_RECENT_CLEAR);

    sqlite_call_number(&call, oldest ? oldest->content.sequence : UINT64_MAX);
    sqlite_call_number(&call, count);
    if (!sqlite_call_change(&call))
        return false;
    *cleared = sqlite3_changes(store->database) > 0;
    return true;
}

static bool is_full_enough(const struct sqlite_store *store)
{
    return store->recent.used_bytes >= RECENT_MESSAGES_BYTES;
}

/* A run follows the one before while that is still being cleared: on a busy server it would never be. */
static void begin_run(struct sqlite_store *store)
{
    const struct memory_message *newest = store->recent.newest;
    bool has_copied = store->run_last != 0 && store->run_next == UINT32_MAX;

    if (has_copied)
        store->settle_after_ms = 0;
    if (newest && (store->run_last == 0 || (has_copied && is_full_enough(store)))) {
        store->run_last = newest->content.sequence;
        store->run_next = 0;
    }
}

static bool settle_slice(struct sqlite_store *store)
{
    size_t bytes = store->since_slice_bytes;
    bool cleared;

    if (bytes > SLICE_MAX_BYTES)
        bytes = SLICE_MAX_BYTES;
    if (bytes < store->added_bytes)
        bytes = store->added_bytes;
    store->is_settling = true;
    store->since_slice_bytes = 0;
    begin_run(store);
    if (!copy_conversations(store, 2 * (SETTLE_AFTER_BYTES + bytes)) ||
        !clear_recent(store, CLEAR_ROWS + 2 * bytes / sizeof(struct memory_message), &cleared))
        return false;
    if (!store->leaving && !cleared)
        store->run_last = store->settle_after_ms = 0; /* the run is over: there is nothing left that could fail */
    return true;
}

void sqlite_settle_when_due(struct sqlite_store *store)
{
    if (store->run_last == 0 && !is_full_enough(store))
        return;
    store->since_slice_bytes += store->added_bytes;
    if (!store->failed && store->settle_after_ms == 0 && store->since_slice_bytes >= SETTLE_AFTER_BYTES)
        settle_slice(store);
}

bool sqlite_settle(struct sqlite_store *store)
{
    store->is_settling = true;
    if (sqlite_begin(store) && settle_slice(store) && sqlite_commit(store))
        return true;
    sqlite_rollback(store);
    return false;
}

void sqlite_settle_when_late(struct sqlite_store *store)
{
    bool has_failed = store->settle_after_ms != 0, is_full = store->is_full && is_full_enough(store);

    if ((has_failed || is_full) && clock_monotonic_ms() >= store->settle_after_ms)
        sqlite_settle(store);
}
