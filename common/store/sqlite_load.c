/* sqlite_load.c - all that the engine keeps in memory, read once at the start.
 *
 * Idea.       The cost is that of what is told, whatever the number of messages: what is derived from them (latest,
 *             own counts) is found by seeks in the indexes.
 */
#include "base/log.h"
#include "store/sqlite_store.h"

struct load {
    struct sqlite_store *store;
    const struct store_loader *loader;
    void *arg;
};

typedef bool (*row_teller)(const struct load *load, sqlite3_stmt *row);

static const char select_users[] =
    "SELECT number, name, hash, display_name, sex, age, address, email FROM user ORDER BY number";

static bool tell_user(const struct load *load, sqlite3_stmt *row)
{
    struct store_profile profile = {
        .name = sqlite_text(row, 3),
        .sex = sqlite_text(row, 4),
        .age = sqlite3_column_int64(row, 5),
        .address = sqlite_text(row, 6),
        .email = sqlite_text(row, 7),
    };

    return load->loader->user(load->arg, sqlite_number32(row, 0), sqlite_text(row, 1), sqlite_text(row, 2), &profile);
}

static const char select_friendships[] = "SELECT user, other FROM friendship ORDER BY user, other";

static bool tell_friendship(const struct load *load, sqlite3_stmt *row)
{
    return load->loader->friendship(load->arg, sqlite_number32(row, 0), sqlite_number32(row, 1));
}

static const char select_friend_requests[] = "SELECT from_user, to_user, text FROM friend_request ORDER BY number";

static bool tell_friend_request(const struct load *load, sqlite3_stmt *row)
{
    return load->loader->friend_request(load->arg, sqlite_number32(row, 0), sqlite_number32(row, 1),
                                        sqlite_text(row, 2));
}

static const char select_private_conversations[] =
    "SELECT number, user, other FROM private_conversation ORDER BY number";

static bool tell_private_conversation(const struct load *load, sqlite3_stmt *row)
{
    return load->loader->private_conversation(load->arg, sqlite_number32(row, 0), sqlite_number32(row, 1),
                                              sqlite_number32(row, 2));
}

static const char select_groups[] = "SELECT number, owner, created_ms, name, title FROM chat_group ORDER BY number";

static bool tell_group(const struct load *load, sqlite3_stmt *row)
{
    struct store_group group = {
        .number = sqlite_number32(row, 0),
        .owner = sqlite_number32(row, 1),
        .created_ms = sqlite3_column_int64(row, 2),
        .name = sqlite_text(row, 3),
        .title = sqlite_text(row, 4),
    };

    return load->loader->group(load->arg, &group);
}

static const char select_members[] =
    "SELECT conversation, user, mark,"
    " coalesce((SELECT ordinal FROM message WHERE conversation = r.conversation AND sender = r.user"
    " ORDER BY msg_id DESC LIMIT 1), 0),"
    " coalesce((SELECT ordinal FROM message WHERE conversation = r.conversation AND sender = r.user"
    " AND msg_id <= r.mark ORDER BY msg_id DESC LIMIT 1), 0)"
    " FROM member AS r ORDER BY conversation, user";

static bool tell_member(const struct load *load, sqlite3_stmt *row)
{
    uint64_t all = sqlite_number(row, 3);
    uint64_t up_to_mark = sqlite_number(row, 4);

    return load->loader->member(load->arg, sqlite_number32(row, 0), sqlite_number32(row, 1), sqlite_number(row, 2), all,
                                all - up_to_mark);
}

/* The newest message of each conversation that is left. CROSS JOIN: the conversations first, and a seek for each. By
 * itself SQLite would rather read all messages (sqlite.org/optoverview.html, "Manual Control Of Query Plans Using
 * CROSS JOIN"). */
#define LATEST                                                                                \
    " (SELECT number FROM private_conversation UNION ALL SELECT number FROM chat_group) AS c" \
    " CROSS JOIN message AS m ON m.conversation = c.number"                                   \
    " AND m.msg_id = (SELECT max(msg_id) FROM message WHERE conversation = c.number)"

static const char select_latest[] = "SELECT c.number, m.msg_id, m.sequence, m.time_ms FROM" LATEST;

static bool tell_latest(const struct load *load, sqlite3_stmt *row)
{
    return load->loader->latest(load->arg, sqlite_number32(row, 0), sqlite_number(row, 1), sqlite_number(row, 2),
                                sqlite3_column_int64(row, 3));
}

/* The newest of all messages is the newest of its conversation. */
static const char select_highest[] =
    "SELECT max(conversation, coalesce((SELECT max(number) FROM private_conversation), 0),"
    " coalesce((SELECT max(number) FROM chat_group), 0)),"
    " max(sequence, coalesce((SELECT max(m.sequence) FROM" LATEST "), 0)) FROM highest";

static bool tell_highest(const struct load *load, sqlite3_stmt *row)
{
    return load->loader->highest(load->arg, sqlite_number32(row, 0), sqlite_number(row, 1));
}

static bool tell_rows(const struct load *load, const char *sql, row_teller tell)
{
    sqlite3_stmt *statement;
    int result = sqlite3_prepare_v2(load->store->database, sql, -1, &statement, NULL);
    bool taken = true;

    if (result != SQLITE_OK)
        return sqlite_failed(load->store, sql);
    while (taken && (result = sqlite3_step(statement)) == SQLITE_ROW)
        taken = tell(load, statement);
    if (!taken)
        log_error("store: no memory to load what it has");
    else if (result != SQLITE_DONE)
        taken = sqlite_failed(load->store, sql);
    sqlite3_finalize(statement); /* repeats the result of the last step */
    return taken;
}

bool sqlite_load(struct store *store, const struct store_loader *loader, void *arg)
{
    struct load load = {(struct sqlite_store *)store, loader, arg};

    /* The statements above know table `message` only. */
    return sqlite_settle(load.store) && tell_rows(&load, select_users, tell_user) &&
           tell_rows(&load, select_friendships, tell_friendship) &&
           tell_rows(&load, select_friend_requests, tell_friend_request) &&
           tell_rows(&load, select_private_conversations, tell_private_conversation) &&
           tell_rows(&load, select_groups, tell_group) && tell_rows(&load, select_members, tell_member) &&
           tell_rows(&load, select_latest, tell_latest) && tell_rows(&load, select_highest, tell_highest);
}
