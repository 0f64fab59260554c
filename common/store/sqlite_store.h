/* sqlite_store.h - what the files of the SQLite store share; nobody else includes it.
 *
 *      sqlite_directory.c   the data directory: made, locked, its files private
 *      sqlite_schema.c      opening: settings, version, damage, tables
 *      sqlite_call.c        a prepared statement called like a function; failures
 *      sqlite_load.c        all that the engine keeps in memory, read at the start
 *      sqlite_recent.c      messages are added, by arrival, and moved on, by conversation
 *      sqlite_messages.c    what is asked of the messages
 *      store_sqlite.c       the other operations of store.h
 *
 * Idea.       One connection, which one thread at a time uses, and which is the only one there is (exclusive locking
 *             mode): no shared memory file, no waiting for locks, and none of the races between connections.
 * Invariants. I1  all statements are prepared at the start; every value in them is bound.
 *             I2  a statement that is not being stepped is reset: one that is left open would keep its read
 *                 transaction, and the WAL could not be started over (sqlite.org/wal.html, "Avoiding Excessively
 *                 Large WAL Files").
 *             I3  `failed` is set by a change that failed, and cleared by begin and rollback (I4 of store.h).
 */
#ifndef CHAT_SQLITE_STORE_H
#define CHAT_SQLITE_STORE_H

#include <sqlite3.h>

#include "store/memory_messages.h"
#include "store/store.h"

enum sqlite_statement {
    CALL_BEGIN,
    CALL_COMMIT,
    CALL_ROLLBACK,
    CALL_USER_ADD,
    CALL_USER_SET_HASH,
    CALL_USER_SET_PROFILE,
    CALL_FRIENDSHIP_ADD,
    CALL_FRIENDSHIP_REMOVE,
    CALL_FRIEND_REQUEST_ADD,
    CALL_FRIEND_REQUEST_REMOVE,
    CALL_PRIVATE_ADD,
    CALL_GROUP_ADD,
    CALL_GROUP_REMOVE,
    CALL_GROUP_REMOVE_MEMBERS,
    CALL_GROUP_KEEP_HIGHEST,
    CALL_GROUP_DISMISS,
    CALL_MEMBER_ADD,
    CALL_MEMBER_REMOVE,
    CALL_MEMBER_SET_MARK,
    CALL_RECENT_ADD,
    CALL_RECENT_LOAD,
    CALL_RECENT_CLEAR,
    CALL_RECENT_PURGE,
    CALL_SETTLED_ADD,
    CALL_MESSAGE_FIND,
    CALL_HISTORY_OLDEST,
    CALL_HISTORY_NEWEST,
    CALL_LATEST,
    CALL_OWN_UP_TO,
    CALL_PURGE_NEXT,
    CALL_PURGE_MESSAGES,
    CALL_PURGE_DONE,
    CALL_COUNT
};

struct sqlite_store {
    struct store store; /* first: what the engine holds a pointer to */
    sqlite3 *database;
    sqlite3_stmt *statements[CALL_COUNT];
    int lock;                /* descriptor; -1: none */
    bool failed;             /* I3 */
    int failure;             /* what was logged last, an extended result code; SQLITE_OK: the last commit worked */
    uint64_t failures;       /* since then */
    uint64_t purge_after_ms; /* CLOCK_MONOTONIC: a purge failed, and is tried again then; 0: it did not */
    /* sqlite_recent.c */
    struct memory_messages recent;
    size_t added;                        /* so many of the newest ones by the open transaction */
    size_t added_bytes;                  /* what they use */
    size_t since_slice_bytes;            /* so much was added in this run since a slice was settled */
    struct memory_conversation *leaving; /* a list: of these it has settled or purged the first ones */
    uint64_t run_last;                   /* the run settles what was accepted up to this sequence; 0: there is no run */
    uint32_t run_next;                   /* from this conversation on; those below are done */
    bool is_settling;                    /* the open transaction does */
    uint64_t settle_after_ms;            /* CLOCK_MONOTONIC: settling failed, and is tried again then; 0: it did not */
    bool is_full;                        /* a message was not taken, for there were too many; that was logged */
};

/* ---- the data directory ---- */

#define SQLITE_PATH_BYTES 4096 /* what the system takes (path_resolution(7)) */

/* Make the directory and its files where they are not there, and take its lock. Returns the lock's descriptor, to be
 * closed when the database is closed, or -1: logged. Writes the database's path. */
int sqlite_directory_open(const char *directory, char path[SQLITE_PATH_BYTES]);

/* ---- opening ---- */

/* Open `path`, bring it to the present schema. False: logged; the caller closes what there is. */
bool sqlite_schema_open(struct sqlite_store *store, const char *path, enum option_durability durability,
                        const char *vfs_name);

/* ---- calls ---- */

/* Prepare all statements (I1). False: logged. */
bool sqlite_calls_prepare(struct sqlite_store *store);
void sqlite_calls_finalize(struct sqlite_store *store);

/* A statement being called: begin, bind the parameters in their order, then either sqlite_call_run(), or
 * sqlite_call_row() while it returns true and sqlite_call_end(). */
struct sqlite_call {
    struct sqlite_store *store;
    sqlite3_stmt *statement;
    int parameter; /* the last one bound */
    int result;    /* the first one that was not as it should be */
};

struct sqlite_call sqlite_call_begin(struct sqlite_store *store, enum sqlite_statement statement);

/* A number above INT64_MAX, which no row can have, is bound as INT64_MAX. */
void sqlite_call_number(struct sqlite_call *call, uint64_t number);
void sqlite_call_signed(struct sqlite_call *call, int64_t number);

/* The text stays the caller's, and has to last until the call is over. */
void sqlite_call_text(struct sqlite_call *call, struct slice text);
void sqlite_call_text_or_null(struct sqlite_call *call, struct slice text); /* NULL: the empty one */

/* True: a row is there to be read. False: no further one, or a failure. */
bool sqlite_call_row(struct sqlite_call *call);

/* Reset the statement. False: the call has failed, and it was logged. */
bool sqlite_call_end(struct sqlite_call *call);

/* Step a statement without rows to its end. */
bool sqlite_call_run(struct sqlite_call *call);

/* The same for a change: it fails outside of a transaction, and after a failure in it; and is one for those after. */
bool sqlite_call_change(struct sqlite_call *call);

/* Columns of the present row. The text lasts until the next step. */
uint64_t sqlite_number(sqlite3_stmt *row, int column);
uint32_t sqlite_number32(sqlite3_stmt *row, int column);
struct slice sqlite_text(sqlite3_stmt *row, int column);
struct store_message sqlite_message(sqlite3_stmt *row); /* of MESSAGE_COLUMNS */

/* Log the failure that the database has just had, unless it is the one that was logged last. Returns false. */
bool sqlite_failed(struct sqlite_store *store, const char *what);

/* ---- transactions ---- */

/* As in store.h, without settling anything. */
bool sqlite_begin(struct sqlite_store *store);
bool sqlite_commit(struct sqlite_store *store);
void sqlite_rollback(struct sqlite_store *store);

/* ---- recent messages ---- */

/* Operation of store.h. */
bool sqlite_message_add(struct store *store, const struct store_message *message);

/* What memory has is made what the transaction has left, or what there was before it. */
void sqlite_recent_commit(struct sqlite_store *store);
void sqlite_recent_rollback(struct sqlite_store *store);

/* Have in memory what is recent, at the start. False: logged. */
bool sqlite_recent_load(struct sqlite_store *store);

/* Delete `rows` of a dismissed conversation, or all that there are: a change of the open transaction. *more: it may have
 * further ones. */
bool sqlite_recent_purge(struct sqlite_store *store, uint32_t conversation, int rows, bool *more);

/* Settle a slice as a change of the open transaction, when there are enough recent messages and it has not failed. */
void sqlite_settle_when_due(struct sqlite_store *store);

/* Settle a slice in a transaction of its own. False: logged; what is recent stays so, and nothing is lost. */
bool sqlite_settle(struct sqlite_store *store);

/* The same, when it has failed some time ago, or when they are so many that no further one is taken. */
void sqlite_settle_when_late(struct sqlite_store *store);

/* ---- all messages ---- */

/* Operations of store.h. */
bool sqlite_message_find(struct store *store, uint32_t conversation, uint32_t sender, struct slice id, bool *found,
                         uint64_t *msg_id, int64_t *time_ms);
bool sqlite_history(struct store *store, uint32_t conversation, const struct store_history_range *range,
                    store_visitor visit, void *arg);
bool sqlite_own_count(struct store *store, uint32_t conversation, uint32_t sender, uint64_t mark, uint64_t *all,
                      uint64_t *above);

/* The newest message of a conversation: *found, and then its numbers and time. */
bool sqlite_latest(struct sqlite_store *store, uint32_t conversation, bool *found, struct store_message *message);

/* ---- load ---- */

bool sqlite_load(struct store *store, const struct store_loader *loader, void *arg);

#endif
