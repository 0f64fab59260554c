/* support_store.c - see support_store.h. */
#include "support_store.h"

#include "store/sqlite_store.h"

#include <dirent.h>
#include <inttypes.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const struct store_history_range all = {UINT64_MAX, 0, true};

void support_directory_make(char path[SUPPORT_PATH_BYTES])
{
    const char *base = getenv("TMPDIR");

    snprintf(path, SUPPORT_PATH_BYTES, "%s/chat-store-XXXXXX", base ? base : "/tmp");
    assert_non_null(mkdtemp(path));
}

void support_directory_remove(const char *path)
{
    DIR *directory = opendir(path);
    struct dirent *entry;
    char file[SUPPORT_PATH_BYTES];

    while (directory && (entry = readdir(directory)))
        if (entry->d_name[0] != '.')
            unlink(support_path(file, path, entry->d_name));
    if (directory)
        closedir(directory);
    rmdir(path);
}

const char *support_path(char out[SUPPORT_PATH_BYTES], const char *path, const char *name)
{
    assert_true(snprintf(out, SUPPORT_PATH_BYTES, "%s/%s", path, name) < SUPPORT_PATH_BYTES);
    return out;
}

bool support_message_add(struct store *store, uint32_t conversation, uint32_t sender, uint64_t msg_id, uint64_t ordinal,
                         uint64_t sequence, const char *id, const char *text)
{
    struct store_message message = {
        .conversation = conversation,
        .sender = sender,
        .msg_id = msg_id,
        .ordinal = ordinal,
        .sequence = sequence,
        .time_ms = (int64_t)sequence,
        .id = slice_of(id),
        .text = slice_of(text),
    };

    return store->operations->message_add(store, &message);
}

bool support_message_commit(struct store *store, uint32_t conversation, uint32_t sender, uint64_t msg_id,
                            uint64_t ordinal, uint64_t sequence, const char *id, const char *text)
{
    if (store->operations->begin(store) &&
        support_message_add(store, conversation, sender, msg_id, ordinal, sequence, id, text) &&
        store->operations->commit(store))
        return true;
    store->operations->rollback(store);
    return false;
}

struct history_text {
    char *next;
    size_t left;
    size_t limit;
};

static bool write_message(void *arg, const struct store_message *m)
{
    struct history_text *out = arg;
    int length;

    if (out->limit == 0)
        return false;
    out->limit--;
    length = snprintf(out->next, out->left, "%" PRIu64 ":%" PRIu32 ":%" PRIu64 ":%" PRIu64 ":%" PRId64 ":%.*s:%.*s\n",
                      m->msg_id, m->sender, m->ordinal, m->sequence, m->time_ms, (int)m->id.length,
                      m->id.length ? m->id.bytes : "", (int)m->text.length, m->text.length ? m->text.bytes : "");
    assert_in_range(length, 1, out->left - 1);
    out->next += length;
    out->left -= (size_t)length;
    return true;
}

void support_history(struct store *store, uint32_t conversation, const struct store_history_range *range, size_t limit,
                     char *out, size_t out_bytes)
{
    struct history_text text = {out, out_bytes, limit};

    out[0] = '\0';
    assert_true(store->operations->history(store, conversation, range, write_message, &text));
}

uint64_t support_find(struct store *store, uint32_t conversation, uint32_t sender, const char *id)
{
    bool found;
    uint64_t msg_id = 0;
    int64_t time_ms;

    assert_true(store->operations->message_find(store, conversation, sender, slice_of(id), &found, &msg_id, &time_ms));
    return found ? msg_id : 0;
}

static bool count_message(void *arg, const struct store_message *message)
{
    (void)message;
    ++*(size_t *)arg;
    return true;
}

size_t support_count(struct store *store, uint32_t conversation)
{
    size_t count = 0;

    assert_true(store->operations->history(store, conversation, &all, count_message, &count));
    return count;
}

bool support_settle_slice(struct store *store)
{
    struct sqlite_store *s = (struct sqlite_store *)store;

    return (!s->recent.newest && s->run_last == 0) || sqlite_settle(s);
}

bool support_settle(struct store *store)
{
    struct sqlite_store *s = (struct sqlite_store *)store;

    while (s->recent.newest || s->run_last != 0)
        if (!sqlite_settle(s))
            return false;
    return true;
}

void support_execute(const char *directory, const char *sql)
{
    char path[SUPPORT_PATH_BYTES];
    sqlite3 *database;

    assert_int_equal(sqlite3_open(support_path(path, directory, "chat.db"), &database), SQLITE_OK);
    assert_int_equal(sqlite3_exec(database, sql, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(database), SQLITE_OK);
}

size_t support_purge_all(struct store *store)
{
    size_t slices = 0;
    bool more = true;

    for (; more; slices++)
        assert_true(store->operations->purge(store, &more));
    return slices;
}
