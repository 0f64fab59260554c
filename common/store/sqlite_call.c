/* sqlite_call.c - a prepared statement called like a function; what is said about failures.
 */
#include "base/log.h"
#include "store/sqlite_store.h"

#include <inttypes.h>
#include <string.h>

#define MESSAGE_COLUMNS "conversation, msg_id, sender, ordinal, sequence, time_ms, id, text"

/* What each statement means stands at its operation in store.h; the tables and indexes stand in sqlite_schema.c. */
static const char *const statement_texts[CALL_COUNT] = {
    /* Immediate: a transaction that could not write fails here, and not at its first change. */
    [CALL_BEGIN] = "BEGIN IMMEDIATE",
    [CALL_COMMIT] = "COMMIT",
    [CALL_ROLLBACK] = "ROLLBACK",

    [CALL_USER_ADD] = "INSERT INTO user (number, name, hash, display_name, sex, age, address, email)"
                      " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    [CALL_USER_SET_HASH] = "UPDATE user SET hash = ? WHERE number = ?",
    [CALL_USER_SET_PROFILE] = "UPDATE user SET display_name = ?, sex = ?, age = ?, address = ?, email = ?"
                              " WHERE number = ?",

    [CALL_FRIENDSHIP_ADD] = "INSERT INTO friendship (user, other) VALUES (min(?1, ?2), max(?1, ?2))",
    [CALL_FRIENDSHIP_REMOVE] = "DELETE FROM friendship WHERE user = min(?1, ?2) AND other = max(?1, ?2)",
    [CALL_FRIEND_REQUEST_ADD] = "INSERT INTO friend_request (from_user, to_user, text) VALUES (?, ?, ?)",
    [CALL_FRIEND_REQUEST_REMOVE] = "DELETE FROM friend_request WHERE from_user = ? AND to_user = ?",

    [CALL_PRIVATE_ADD] = "INSERT INTO private_conversation (number, user, other)"
                         " VALUES (?1, min(?2, ?3), max(?2, ?3))",
    [CALL_GROUP_ADD] = "INSERT INTO chat_group (number, owner, created_ms, name, title) VALUES (?, ?, ?, ?, ?)",
    [CALL_GROUP_REMOVE] = "DELETE FROM chat_group WHERE number = ?",
    [CALL_GROUP_REMOVE_MEMBERS] = "DELETE FROM member WHERE conversation = ?",
    [CALL_GROUP_KEEP_HIGHEST] =
        "UPDATE highest SET conversation = max(conversation, ?1), sequence = max(sequence,"
        " coalesce((SELECT max(sequence) FROM recent), 0),"
        " coalesce((SELECT sequence FROM message WHERE conversation = ?1 ORDER BY msg_id DESC LIMIT 1), 0))",
    [CALL_GROUP_DISMISS] = "INSERT INTO dismissed (number) VALUES (?)",

    [CALL_MEMBER_ADD] = "INSERT INTO member (conversation, user, mark) VALUES (?, ?, ?)",
    [CALL_MEMBER_REMOVE] = "DELETE FROM member WHERE conversation = ? AND user = ?",
    [CALL_MEMBER_SET_MARK] = "UPDATE member SET mark = ? WHERE conversation = ? AND user = ?",

    [CALL_RECENT_ADD] = "INSERT INTO recent (" MESSAGE_COLUMNS ") VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    [CALL_RECENT_LOAD] = "SELECT " MESSAGE_COLUMNS " FROM recent"
                         " WHERE NOT EXISTS (SELECT 1 FROM message WHERE message.conversation = recent.conversation"
                         " AND message.msg_id = recent.msg_id)"
                         " AND conversation NOT IN (SELECT number FROM dismissed) ORDER BY sequence",
    [CALL_RECENT_CLEAR] = "DELETE FROM recent WHERE sequence <"
                          " min(?1, coalesce((SELECT sequence FROM recent ORDER BY sequence LIMIT 1 OFFSET ?2), ?1))",
    [CALL_RECENT_PURGE] = "DELETE FROM recent WHERE sequence IN"
                          " (SELECT sequence FROM recent WHERE conversation = ? LIMIT ?)",
    [CALL_SETTLED_ADD] = "INSERT INTO message (" MESSAGE_COLUMNS ") VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    [CALL_MESSAGE_FIND] = "SELECT msg_id, time_ms FROM message WHERE conversation = ? AND sender = ? AND id = ?",
    [CALL_HISTORY_OLDEST] = "SELECT " MESSAGE_COLUMNS " FROM message"
                            " WHERE conversation = ? AND msg_id > ? AND msg_id < ? ORDER BY msg_id",
    [CALL_HISTORY_NEWEST] = "SELECT " MESSAGE_COLUMNS " FROM message"
                            " WHERE conversation = ? AND msg_id > ? AND msg_id < ? ORDER BY msg_id DESC",
    [CALL_LATEST] = "SELECT " MESSAGE_COLUMNS " FROM message WHERE conversation = ? ORDER BY msg_id DESC LIMIT 1",
    [CALL_OWN_UP_TO] = "SELECT ordinal FROM message WHERE conversation = ? AND sender = ? AND msg_id <= ?"
                       " ORDER BY msg_id DESC LIMIT 1",

    [CALL_PURGE_NEXT] = "SELECT number FROM dismissed ORDER BY number LIMIT 2",
    /* Numbers have no gaps (M-1), so a range of them is a bounded number of rows. */
    [CALL_PURGE_MESSAGES] = "DELETE FROM message WHERE conversation = ?1 AND msg_id <"
                            " (SELECT min(msg_id) FROM message WHERE conversation = ?1) + ?2",
    [CALL_PURGE_DONE] = "DELETE FROM dismissed WHERE number = ?",
};

/* ---- failures ---- */

bool sqlite_failed(struct sqlite_store *store, const char *what)
{
    int failure = sqlite3_extended_errcode(store->database);
    int system_error = 0; /* which is an old one where the system was not asked */

    store->failures++;
    if (failure == store->failure)
        return false;
    store->failure = failure;
    if ((failure & 0xff) == SQLITE_IOERR || (failure & 0xff) == SQLITE_CANTOPEN)
        system_error = sqlite3_system_errno(store->database);
    log_error("store: %s: %s (SQLite %d%s%s)", what, sqlite3_errmsg(store->database), failure,
              system_error ? ", system: " : "", system_error ? strerror(system_error) : "");
    return false;
}

/* ---- prepare ---- */

bool sqlite_calls_prepare(struct sqlite_store *store)
{
    for (int i = 0; i < CALL_COUNT; i++) {
        int result = sqlite3_prepare_v3(store->database, statement_texts[i], -1, SQLITE_PREPARE_PERSISTENT,
                                        &store->statements[i], NULL);

        if (result != SQLITE_OK)
            return sqlite_failed(store, "the database is damaged, or not of this server");
    }
    return true;
}

void sqlite_calls_finalize(struct sqlite_store *store)
{
    for (int i = 0; i < CALL_COUNT; i++)
        sqlite3_finalize(store->statements[i]); /* repeats an old result; harmless for NULL */
}

/* ---- call ---- */

struct sqlite_call sqlite_call_begin(struct sqlite_store *store, enum sqlite_statement statement)
{
    return (struct sqlite_call){store, store->statements[statement], 0, SQLITE_OK};
}

static void note(struct sqlite_call *call, int result)
{
    if (call->result == SQLITE_OK)
        call->result = result;
}

void sqlite_call_number(struct sqlite_call *call, uint64_t number)
{
    sqlite_call_signed(call, number > INT64_MAX ? INT64_MAX : (int64_t)number);
}

void sqlite_call_signed(struct sqlite_call *call, int64_t number)
{
    note(call, sqlite3_bind_int64(call->statement, ++call->parameter, number));
}

void sqlite_call_text(struct sqlite_call *call, struct slice text)
{
    /* A NULL pointer would be bound as NULL; the text of an empty slice may be one. */
    const char *bytes = text.length == 0 ? "" : text.bytes;

    note(call, sqlite3_bind_text64(call->statement, ++call->parameter, bytes, text.length, SQLITE_STATIC, SQLITE_UTF8));
}

void sqlite_call_text_or_null(struct sqlite_call *call, struct slice text)
{
    if (text.length == 0)
        note(call, sqlite3_bind_null(call->statement, ++call->parameter));
    else
        sqlite_call_text(call, text);
}

bool sqlite_call_row(struct sqlite_call *call)
{
    int result;

    if (call->result != SQLITE_OK)
        return false;
    result = sqlite3_step(call->statement);
    if (result != SQLITE_ROW && result != SQLITE_DONE)
        call->result = result;
    return result == SQLITE_ROW;
}

bool sqlite_call_end(struct sqlite_call *call)
{
    /* The first failure is the one to tell, so it is told before the reset. */
    if (call->result != SQLITE_OK)
        sqlite_failed(call->store, sqlite3_sql(call->statement));
    /* It repeats the result of the last step. */
    if (sqlite3_reset(call->statement) != SQLITE_OK && call->result == SQLITE_OK)
        return sqlite_failed(call->store, sqlite3_sql(call->statement));
    return call->result == SQLITE_OK;
}

bool sqlite_call_run(struct sqlite_call *call)
{
    sqlite_call_row(call);
    return sqlite_call_end(call);
}

bool sqlite_call_change(struct sqlite_call *call)
{
    struct sqlite_store *store = call->store;

    /* SQLite itself rolls back after some failures (sqlite.org/lang_transaction.html, "Response To Errors Within A
     * Transaction"). A change that came then would be a transaction of its own, and last. */
    if (!store->failed && sqlite3_get_autocommit(store->database)) {
        log_error("store: a change, but no transaction");
        store->failed = true;
    }
    if (store->failed)
        return false;
    store->failed = !sqlite_call_run(call);
    return !store->failed;
}

/* ---- columns ---- */

uint64_t sqlite_number(sqlite3_stmt *row, int column)
{
    return (uint64_t)sqlite3_column_int64(row, column);
}

uint32_t sqlite_number32(sqlite3_stmt *row, int column)
{
    return (uint32_t)sqlite3_column_int64(row, column);
}

struct slice sqlite_text(sqlite3_stmt *row, int column)
{
    /* Of a text, too: sqlite3_column_text() would first make a copy to terminate it with a NUL, and that can fail. */
    const char *bytes = sqlite3_column_blob(row, column);

    return (struct slice){bytes, (size_t)sqlite3_column_bytes(row, column)};
}

struct store_message sqlite_message(sqlite3_stmt *row)
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
