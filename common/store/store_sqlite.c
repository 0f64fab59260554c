/* store_sqlite.c - the operations of store.h but for those on messages: most are a call of a prepared statement or two.
 */
#include "base/clock.h"
#include "base/log.h"
#include "store/sqlite_store.h"

#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

/* Rows of a dismissed group that go in one transaction: so few that the next batch of requests hardly waits. */
#define PURGE_ROWS 500
#define PURGE_AGAIN_MS 1000

static struct sqlite_store *of(struct store *store)
{
    return (struct sqlite_store *)store;
}

/* ---- transactions ---- */

bool sqlite_begin(struct sqlite_store *store)
{
    struct sqlite_call call = sqlite_call_begin(store, CALL_BEGIN);

    store->failed = !sqlite_call_run(&call);
    return !store->failed;
}

/* Here the batch is flushed (durability full), and now and then a checkpoint is made. A checkpoint that fails fails
 * nobody: SQLite keeps the changes in the WAL, and tries again at the next commit.
 *
 * When the flush fails, all of the transaction may stand in the WAL. The next commit overwrites it; only a server that
 * is killed before that finds it at the next start, as if the commit had worked and the reply had been lost. A client
 * that gives ids to its messages is safe from either (M-6). */
bool sqlite_commit(struct sqlite_store *store)
{
    struct sqlite_call call = sqlite_call_begin(store, CALL_COMMIT);

    if (!sqlite_call_change(&call))
        return false;
    sqlite_recent_commit(store);
    if (store->settle_after_ms != 0 || store->purge_after_ms != 0)
        return true; /* it works again when these do */
    if (store->failure != SQLITE_OK)
        log_info("store: works again, after %" PRIu64 " failure(s)", store->failures);
    store->failure = SQLITE_OK;
    store->failures = 0;
    return true;
}

void sqlite_rollback(struct sqlite_store *store)
{
    struct sqlite_call call = sqlite_call_begin(store, CALL_ROLLBACK);

    store->failed = false;
    sqlite_recent_rollback(store);
    /* Not when SQLite has done it itself. Should it fail, the next begin fails, and then it is tried again. */
    if (!sqlite3_get_autocommit(store->database))
        sqlite_call_run(&call);
}

static bool begin(struct store *store)
{
    sqlite_settle_when_late(of(store));
    return sqlite_begin(of(store));
}

static bool commit(struct store *store)
{
    sqlite_settle_when_due(of(store));
    return sqlite_commit(of(store));
}

static void rollback(struct store *store)
{
    sqlite_rollback(of(store));
}

/* ---- users ---- */

static void bind_profile(struct sqlite_call *call, const struct store_profile *profile)
{
    sqlite_call_text(call, profile->name);
    sqlite_call_text(call, profile->sex);
    sqlite_call_signed(call, profile->age);
    sqlite_call_text(call, profile->address);
    sqlite_call_text(call, profile->email);
}

static bool user_add(struct store *store, uint32_t number, struct slice name, struct slice hash,
                     const struct store_profile *profile)
{
    struct sqlite_call call = sqlite_call_begin(of(store), CALL_USER_ADD);

    sqlite_call_number(&call, number);
    sqlite_call_text(&call, name);
    sqlite_call_text(&call, hash);
    bind_profile(&call, profile);
    return sqlite_call_change(&call);
}

static bool user_set_hash(struct store *store, uint32_t number, struct slice hash)
{
    struct sqlite_call call = sqlite_call_begin(of(store), CALL_USER_SET_HASH);

    sqlite_call_text(&call, hash);
    sqlite_call_number(&call, number);
    return sqlite_call_change(&call);
}

static bool user_set_profile(struct store *store, uint32_t number, const struct store_profile *profile)
{
    struct sqlite_call call = sqlite_call_begin(of(store), CALL_USER_SET_PROFILE);

    bind_profile(&call, profile);
    sqlite_call_number(&call, number);
    return sqlite_call_change(&call);
}

/* ---- numbers only ---- */

static bool change1(struct store *store, enum sqlite_statement statement, uint64_t a)
{
    struct sqlite_call call = sqlite_call_begin(of(store), statement);

    sqlite_call_number(&call, a);
    return sqlite_call_change(&call);
}

static bool change2(struct store *store, enum sqlite_statement statement, uint64_t a, uint64_t b)
{
    struct sqlite_call call = sqlite_call_begin(of(store), statement);

    sqlite_call_number(&call, a);
    sqlite_call_number(&call, b);
    return sqlite_call_change(&call);
}

static bool change3(struct store *store, enum sqlite_statement statement, uint64_t a, uint64_t b, uint64_t c)
{
    struct sqlite_call call = sqlite_call_begin(of(store), statement);

    sqlite_call_number(&call, a);
    sqlite_call_number(&call, b);
    sqlite_call_number(&call, c);
    return sqlite_call_change(&call);
}

/* ---- friends ---- */

static bool friendship_add(struct store *store, uint32_t user, uint32_t other)
{
    return change2(store, CALL_FRIENDSHIP_ADD, user, other);
}

static bool friendship_remove(struct store *store, uint32_t user, uint32_t other)
{
    return change2(store, CALL_FRIENDSHIP_REMOVE, user, other);
}

static bool friend_request_add(struct store *store, uint32_t from, uint32_t to, struct slice text)
{
    struct sqlite_call call = sqlite_call_begin(of(store), CALL_FRIEND_REQUEST_ADD);

    sqlite_call_number(&call, from);
    sqlite_call_number(&call, to);
    sqlite_call_text(&call, text);
    return sqlite_call_change(&call);
}

static bool friend_request_remove(struct store *store, uint32_t from, uint32_t to)
{
    return change2(store, CALL_FRIEND_REQUEST_REMOVE, from, to);
}

/* ---- conversations ---- */

static bool member_add(struct store *store, uint32_t conversation, uint32_t user, uint64_t mark)
{
    return change3(store, CALL_MEMBER_ADD, conversation, user, mark);
}

static bool member_remove(struct store *store, uint32_t conversation, uint32_t user)
{
    return change2(store, CALL_MEMBER_REMOVE, conversation, user);
}

static bool member_set_mark(struct store *store, uint32_t conversation, uint32_t user, uint64_t mark)
{
    return change3(store, CALL_MEMBER_SET_MARK, mark, conversation, user);
}

static bool private_add(struct store *store, uint32_t number, uint32_t user, uint32_t other)
{
    return change3(store, CALL_PRIVATE_ADD, number, user, other) && member_add(store, number, user, 0) &&
           (user == other || member_add(store, number, other, 0));
}

static bool group_add(struct store *store, const struct store_group *group)
{
    struct sqlite_call call = sqlite_call_begin(of(store), CALL_GROUP_ADD);

    sqlite_call_number(&call, group->number);
    sqlite_call_number(&call, group->owner);
    sqlite_call_signed(&call, group->created_ms);
    sqlite_call_text(&call, group->name);
    sqlite_call_text(&call, group->title);
    return sqlite_call_change(&call);
}

static bool group_remove(struct store *store, uint32_t number)
{
    return change1(store, CALL_GROUP_REMOVE, number) && change1(store, CALL_GROUP_REMOVE_MEMBERS, number) &&
           change1(store, CALL_GROUP_KEEP_HIGHEST, number) && change1(store, CALL_GROUP_DISMISS, number);
}

/* ---- purge ---- */

/* The dismissed conversation whose turn it is; 0: none. *more: there is another one behind it. */
static bool purge_next(struct store *store, uint32_t *conversation, bool *more)
{
    struct sqlite_call call = sqlite_call_begin(of(store), CALL_PURGE_NEXT);

    *conversation = 0;
    *more = false;
    if (sqlite_call_row(&call)) {
        *conversation = sqlite_number32(call.statement, 0);
        *more = sqlite_call_row(&call);
    }
    return sqlite_call_end(&call);
}

static bool purge_slice(struct store *store, uint32_t conversation, bool *more)
{
    bool more_recent;

    if (!change2(store, CALL_PURGE_MESSAGES, conversation, PURGE_ROWS))
        return false;
    if (sqlite3_changes(of(store)->database) == PURGE_ROWS) {
        *more = true;
        return true;
    }
    if (!sqlite_recent_purge(of(store), conversation, PURGE_ROWS, &more_recent))
        return false;
    *more |= more_recent;
    return more_recent || change1(store, CALL_PURGE_DONE, conversation);
}

static bool purge_some(struct store *store, bool *more)
{
    uint32_t conversation;

    if (!purge_next(store, &conversation, more))
        return false;
    if (conversation == 0)
        return true;
    if (sqlite_begin(of(store)) && purge_slice(store, conversation, more) && sqlite_commit(of(store)))
        return true;
    sqlite_rollback(of(store));
    return false;
}

/* Not more often than once a second while it fails: it is asked for after each batch. */
static bool purge(struct store *store, bool *more)
{
    struct sqlite_store *s = of(store);
    bool purged;

    if (s->purge_after_ms != 0 && clock_monotonic_ms() < s->purge_after_ms)
        return false;
    s->purge_after_ms = 0;
    purged = purge_some(store, more);
    if (!purged)
        s->purge_after_ms = clock_monotonic_ms() + PURGE_AGAIN_MS;
    return purged;
}

/* ---- open, free ---- */

/* An open transaction is rolled back. When the database was in use it is left as one file, with no WAL. */
static void store_free(struct store *store)
{
    struct sqlite_store *s = of(store);

    sqlite_calls_finalize(s);
    if (sqlite3_close(s->database) != SQLITE_OK)
        log_error("store: cannot close the database: %s", sqlite3_errmsg(s->database));
    if (s->lock >= 0)
        close(s->lock); /* after the database: the next server may open it now */
    memory_messages_fini(&s->recent);
    free(s);
}

static const struct store_operations operations = {
    .free = store_free,
    .load = sqlite_load,
    .begin = begin,
    .commit = commit,
    .rollback = rollback,
    .user_add = user_add,
    .user_set_hash = user_set_hash,
    .user_set_profile = user_set_profile,
    .friendship_add = friendship_add,
    .friendship_remove = friendship_remove,
    .friend_request_add = friend_request_add,
    .friend_request_remove = friend_request_remove,
    .private_add = private_add,
    .group_add = group_add,
    .group_remove = group_remove,
    .member_add = member_add,
    .member_remove = member_remove,
    .member_set_mark = member_set_mark,
    .message_add = sqlite_message_add,
    .message_find = sqlite_message_find,
    .history = sqlite_history,
    .own_count = sqlite_own_count,
    .purge = purge,
};

struct store *store_sqlite_open_vfs(const char *directory, enum option_durability durability, const char *vfs_name)
{
    char path[SQLITE_PATH_BYTES];
    struct sqlite_store *store = calloc(1, sizeof *store);

    if (!store) {
        log_error("store: no memory");
        return NULL;
    }
    store->store.operations = &operations;
    store->lock = -1;
    if (memory_messages_init(&store->recent))
        store->lock = sqlite_directory_open(directory, path);
    if (store->lock >= 0 && sqlite_schema_open(store, path, durability, vfs_name) && sqlite_recent_load(store))
        return &store->store;
    store_free(&store->store);
    return NULL;
}

struct store *store_sqlite_open(const char *directory, enum option_durability durability)
{
    return store_sqlite_open_vfs(directory, durability, NULL);
}
