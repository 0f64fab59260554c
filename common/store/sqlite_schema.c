/* sqlite_schema.c - opening the database: settings, whose it is, damage, tables.
 *
 * Idea.       The order is: look before writing. A file that is not ours, is of a newer server, or is damaged stays as
 *             it was; all that is written is one transaction, so a server that is killed in the middle of it leaves
 *             what was there: an empty database, which the next start takes for a new one, or the older schema.
 */
#include "base/log.h"
#include "store/sqlite_store.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* In the database's header, for file(1) and for us: "chat". */
#define APPLICATION_ID 0x63686174

/* 1  the first
 * 2  has table `recent`
 * 3  rows of `recent` may be in `message`, too: a server that knew only version 2 would show them twice */
#define SCHEMA_VERSION 3

/* A database up to this size is checked from end to end at the start: some 0.1 s. That of a larger one would be felt,
 * in minutes at last, by everybody who waits for the restart, and for little: a commit is whole whatever happens
 * (sqlite.org/atomiccommit.html), all but the messages is read at every start, and a damaged page of messages is
 * noticed by whoever asks for it, and by the log when something is to be settled there. */
#define CHECK_MAX_BYTES (64 << 20)

/* How the database is used. Each line with its reason:
 * - page_size: the smallest that is written, of the database and of the WAL, and so what one small message costs; the
 *   unit of the kernel's cache and of most file systems. It counts for a new database.
 * - locking_mode EXCLUSIVE, before the database is read for the first time: the WAL's index is then ordinary memory,
 *   without a shared file (sqlite.org/wal.html, "Use of WAL Without Shared-Memory").
 * - temp_store MEMORY: nothing but the database and the WAL is ever opened.
 * - cache_size 16 MiB: the recent messages, and the pages that they are settled into. A transaction that is larger goes
 *   on into the WAL before it is committed, which is slower and no failure.
 * - mmap_size 0: an I/O error or a file cut short is then an error, and not SIGBUS (sqlite.org/mmap.html).
 * - secure_delete FAST: old hashes are overwritten in their page, which is written anyway. ON would also write every
 *   page that a dismissed group leaves, and with it make the slices of the purge long.
 * - wal_autocheckpoint 1000 pages: a commit that finds more than these 4 MiB in the WAL copies them into the database
 *   and flushes it. On a busy server this is the longest that a batch waits.
 * - journal_size_limit: what a burst made of the WAL is given back at the next checkpoint; the usual size stays, since
 *   overwriting blocks is cheaper than allocating them.
 * - synchronous FULL until the end of opening: the WAL's entry in the directory is flushed with its first flush, for
 *   which SQLite opens the directory. This has to happen now, and with NORMAL would wait for the first checkpoint. */
static const char settings[] = "PRAGMA page_size = 4096;"
                               "PRAGMA locking_mode = EXCLUSIVE;"
                               "PRAGMA temp_store = MEMORY;"
                               "PRAGMA cache_size = -16384;"
                               "PRAGMA mmap_size = 0;"
                               "PRAGMA secure_delete = FAST;"
                               "PRAGMA wal_autocheckpoint = 1000;"
                               "PRAGMA journal_size_limit = 16777216;"
                               "PRAGMA synchronous = FULL;";

/* Tables are STRICT: a value of the wrong type is an error, and not stored as it is (sqlite.org/stricttables.html).
 *
 * `message` is clustered by conversation: a page of history is a few neighbouring pages of the file, not a hundred. It
 * has two indexes:
 * - message_own answers by one seek how many messages of a sender there are up to a number;
 * - message_id, for messages that have an id, finds the first one (M-6).
 * `dismissed` are the conversations whose rows are to be deleted. `highest` is one row: the highest numbers that were
 * given to what is dismissed since; for the rest the tables themselves know. */
static const char schema[] =
    "CREATE TABLE user ("
    " number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, hash TEXT NOT NULL, display_name TEXT NOT NULL,"
    " sex TEXT NOT NULL, age INTEGER NOT NULL, address TEXT NOT NULL, email TEXT NOT NULL) STRICT;"

    "CREATE TABLE friendship ("
    " user INTEGER NOT NULL, other INTEGER NOT NULL, PRIMARY KEY (user, other)) STRICT, WITHOUT ROWID;"

    "CREATE TABLE friend_request ("
    " number INTEGER PRIMARY KEY, from_user INTEGER NOT NULL, to_user INTEGER NOT NULL, text TEXT NOT NULL,"
    " UNIQUE (from_user, to_user)) STRICT;"

    "CREATE TABLE private_conversation ("
    " number INTEGER PRIMARY KEY, user INTEGER NOT NULL, other INTEGER NOT NULL, UNIQUE (user, other)) STRICT;"

    "CREATE TABLE chat_group ("
    " number INTEGER PRIMARY KEY, owner INTEGER NOT NULL, created_ms INTEGER NOT NULL, name TEXT NOT NULL UNIQUE,"
    " title TEXT NOT NULL) STRICT;"

    "CREATE TABLE member ("
    " conversation INTEGER NOT NULL, user INTEGER NOT NULL, mark INTEGER NOT NULL,"
    " PRIMARY KEY (conversation, user)) STRICT, WITHOUT ROWID;"

    "CREATE TABLE message ("
    " conversation INTEGER NOT NULL, msg_id INTEGER NOT NULL, sender INTEGER NOT NULL, ordinal INTEGER NOT NULL,"
    " sequence INTEGER NOT NULL, time_ms INTEGER NOT NULL, id TEXT, text TEXT NOT NULL,"
    " PRIMARY KEY (conversation, msg_id)) STRICT, WITHOUT ROWID;"
    "CREATE INDEX message_own ON message (conversation, sender, msg_id, ordinal);"
    "CREATE UNIQUE INDEX message_id ON message (conversation, sender, id) WHERE id IS NOT NULL;"

    "CREATE TABLE dismissed (number INTEGER PRIMARY KEY) STRICT;"

    "CREATE TABLE highest (conversation INTEGER NOT NULL, sequence INTEGER NOT NULL) STRICT;"
    "INSERT INTO highest VALUES (0, 0);";

/* The newest messages, in the order of their arrival (sqlite_recent.c). No index: memory has them when somebody asks. */
static const char schema_2[] =
    "CREATE TABLE recent ("
    " sequence INTEGER PRIMARY KEY, conversation INTEGER NOT NULL, msg_id INTEGER NOT NULL, sender INTEGER NOT NULL,"
    " ordinal INTEGER NOT NULL, time_ms INTEGER NOT NULL, id TEXT, text TEXT NOT NULL) STRICT;";

static bool execute(struct sqlite_store *store, const char *sql, const char *what)
{
    return sqlite3_exec(store->database, sql, NULL, NULL, NULL) == SQLITE_OK || sqlite_failed(store, what);
}

/* The first column of the first row, as a number and, where `text` is given, as a text. False: logged. */
static bool ask(struct sqlite_store *store, const char *sql, int64_t *number, char *text, size_t text_bytes)
{
    sqlite3_stmt *statement;
    bool answered;

    if (sqlite3_prepare_v2(store->database, sql, -1, &statement, NULL) != SQLITE_OK) {
        sqlite_failed(store, sql);
        return false;
    }
    answered = sqlite3_step(statement) == SQLITE_ROW;
    if (answered) {
        const unsigned char *column = sqlite3_column_text(statement, 0);

        *number = sqlite3_column_int64(statement, 0);
        if (text)
            snprintf(text, text_bytes, "%s", column ? (const char *)column : "");
    } else {
        sqlite_failed(store, sql);
    }
    sqlite3_finalize(statement);
    return answered;
}

/* Whose database it is, and of which version; 0: an empty one. False: not ours, of a newer server, or damaged; logged. */
static bool identify(struct sqlite_store *store, const char *path, int64_t *version)
{
    int64_t application, tables;
    bool is_new;

    if (!ask(store, "PRAGMA application_id", &application, NULL, 0) ||
        !ask(store, "PRAGMA user_version", version, NULL, 0) ||
        !ask(store, "SELECT count(*) FROM sqlite_schema", &tables, NULL, 0))
        return false;
    is_new = application == 0 && *version == 0 && tables == 0;
    if (!is_new && application != APPLICATION_ID) {
        log_error("store: %s is a database of some other program", path);
        return false;
    }
    if (*version > SCHEMA_VERSION) {
        log_error("store: %s is of a newer server (schema %" PRId64 "; this one knows up to %d)", path, *version,
                  SCHEMA_VERSION);
        return false;
    }
    if (!is_new && *version < 1) {
        log_error("store: %s is damaged: it has no schema version", path);
        return false;
    }
    return true;
}

static bool use_wal(struct sqlite_store *store, const char *path)
{
    char mode[16];
    int64_t unused;

    if (!ask(store, "PRAGMA journal_mode = WAL", &unused, mode, sizeof mode))
        return false;
    if (strcmp(mode, "wal") == 0)
        return true;
    log_error("store: %s cannot have a write-ahead log (its journal is \"%s\")", path, mode);
    return false;
}

static bool check(struct sqlite_store *store, const char *path)
{
    int64_t bytes, unused;
    char verdict[256];

    if (!ask(store, "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size", &bytes, NULL, 0))
        return false;
    if (bytes > CHECK_MAX_BYTES)
        return true;
    if (!ask(store, "PRAGMA quick_check(1)", &unused, verdict, sizeof verdict))
        return false;
    if (strcmp(verdict, "ok") == 0)
        return true;
    log_error("store: %s is damaged: %s", path, verdict);
    return false;
}

/* One transaction that writes in any case, since a version is written also where it is the same. So what could not be
 * written is known now and not at the first message, and the WAL is there and has been flushed. */
static bool write_schema(struct sqlite_store *store, int64_t version)
{
    char identity[96];
    bool written;

    snprintf(identity, sizeof identity, "PRAGMA application_id = %d; PRAGMA user_version = %d", APPLICATION_ID,
             SCHEMA_VERSION);
    written = execute(store, "BEGIN IMMEDIATE", "the database cannot be written") &&
              (version >= 1 || execute(store, schema, "the tables cannot be made")) &&
              (version >= 2 || execute(store, schema_2, "the tables cannot be made")) &&
              execute(store, identity, "the database cannot be written") &&
              execute(store, "COMMIT", "the database cannot be written");
    if (!written && !sqlite3_get_autocommit(store->database))
        execute(store, "ROLLBACK", "rollback");
    return written;
}

/* Say in other words than SQLite's what is the matter; nothing, where it was no failure of SQLite. */
static void explain(struct sqlite_store *store, const char *path)
{
    switch (sqlite3_errcode(store->database) & 0xff) {
    case SQLITE_BUSY:
        log_error("store: %s is in use by another program", path);
        break;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        log_error("store: %s is damaged, or no database", path);
        break;
    default:
        break;
    }
}

static bool prepare_database(struct sqlite_store *store, const char *path, enum option_durability durability)
{
    int64_t version;

    if (!execute(store, settings, "settings") || !identify(store, path, &version) || !use_wal(store, path) ||
        !check(store, path) || !write_schema(store, version))
        return false;
    /* NORMAL flushes at checkpoints only: after a power cut the newest commits may be gone, the rest is whole
     * (sqlite.org/pragma.html, "synchronous"). */
    if (durability == OPTION_DURABILITY_NORMAL && !execute(store, "PRAGMA synchronous = NORMAL", "settings"))
        return false;
    return sqlite_calls_prepare(store);
}

bool sqlite_schema_open(struct sqlite_store *store, const char *path, enum option_durability durability,
                        const char *vfs_name)
{
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX; /* one thread at a time (store.h) */

    if (sqlite3_open_v2(path, &store->database, flags, vfs_name) != SQLITE_OK) {
        log_error("store: cannot open %s: %s", path, store->database ? sqlite3_errmsg(store->database) : "no memory");
        return false;
    }
    sqlite3_extended_result_codes(store->database, 1);
    if (prepare_database(store, path, durability))
        return true;
    explain(store, path);
    return false;
}
