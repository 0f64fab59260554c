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
    uint64_t sequence; /* the highest that was told */
};

typedef bool (*row_teller)(struct load *load, sqlite3_stmt *row);

static const char select_users[] =
    "SELECT number, name, hash, display_name, sex, age, address, email FROM user ORDER BY number";

static bool tell_user(struct load *load, sqlite3_stmt *row)
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

static bool tell_friendship(struct load *load, sqlite3_stmt *row)
{
    return load->loader->friendship(load->arg, sqlite_number32(row, 0), sqlite_number32(row, 1));
}

static const char select_friend_requests[] = "SELECT from_user, to_user, text FROM friend_request ORDER BY number";

static bool tell_friend_request(struct load *load, sqlite3_stmt *row)
{
    return load->loader->friend_request(load->arg, sqlite_number32(row, 0), sqlite_number32(row, 1),
                                        sqlite_text(row, 2));
}

static const char select_private_conversations[] =
    "SELECT number, user, other FROM private_conversation ORDER BY number";

static bool tell_private_conversation(struct load *load, sqlite3_stmt *row)
{
    return load->loader->private_conversation(load->arg, sqlite_number32(row, 0), sqlite_number32(row, 1),
                                              sqlite_number32(row, 2));
}

static const char select_groups[] = "SELECT number, owner, created_ms, name, title FROM chat_group ORDER BY number";

static bool tell_group(struct load *load, sqlite3_stmt *row)
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

static const char select_members[] = "SELECT conversation, user, mark FROM member ORDER BY conversation, user";

static bool tell_member(struct load *load, sqlite3_stmt *row)
{
    uint32_t conversation = sqlite_number32(row, 0), user = sqlite_number32(row, 1);
    uint64_t mark = sqlite_number(row, 2), own_count, own_above;

    return sqlite_own_count(&load->store->store, conversation, user, mark, &own_count, &own_above) &&
           load->loader->member(load->arg, conversation, user, mark, own_count, own_above);
}

static const char select_conversations[] =
    "SELECT number FROM private_conversation UNION ALL SELECT number FROM chat_group";

static bool tell_latest(struct load *load, sqlite3_stmt *row)
{
    uint32_t conversation = sqlite_number32(row, 0);
    struct store_message message;
    bool found;

    if (!sqlite_latest(load->store, conversation, &found, &message))
        return false;
    if (!found)
        return true;
    if (message.sequence > load->sequence)
        load->sequence = message.sequence;
    return load->loader->latest(load->arg, conversation, message.msg_id, message.sequence, message.time_ms);
}

/* The newest of all messages is the newest of its conversation, and so was told by then. */
static const char select_highest[] =
    "SELECT max(conversation, coalesce((SELECT max(number) FROM private_conversation), 0),"
    " coalesce((SELECT max(number) FROM chat_group), 0)), sequence FROM highest";

static bool tell_highest(struct load *load, sqlite3_stmt *row)
{
    uint64_t sequence = sqlite_number(row, 1);

    return load->loader->highest(load->arg, sqlite_number32(row, 0),
                                 sequence > load->sequence ? sequence : load->sequence);
}

static bool tell_rows(struct load *load, const char *sql, row_teller tell)
{
    sqlite3_stmt *statement;
    int result = sqlite3_prepare_v2(load->store->database, sql, -1, &statement, NULL);
    uint64_t failures = load->store->failures;
    bool taken = true;

    if (result != SQLITE_OK)
        return sqlite_failed(load->store, sql);
    while (taken && (result = sqlite3_step(statement)) == SQLITE_ROW)
        taken = tell(load, statement);
    if (!taken && load->store->failures == failures) /* else it was a question of tell(), and was logged */
        log_error("store: no memory to load what it has");
    else if (taken && result != SQLITE_DONE)
        taken = sqlite_failed(load->store, sql);
    sqlite3_finalize(statement); /* repeats the result of the last step */
    return taken;
}

bool sqlite_load(struct store *store, const struct store_loader *loader, void *arg)
{
    struct load load = {(struct sqlite_store *)store, loader, arg, 0};

    return tell_rows(&load, select_users, tell_user) && tell_rows(&load, select_friendships, tell_friendship) &&
           tell_rows(&load, select_friend_requests, tell_friend_request) &&
           tell_rows(&load, select_private_conversations, tell_private_conversation) &&
           tell_rows(&load, select_groups, tell_group) && tell_rows(&load, select_members, tell_member) &&
           tell_rows(&load, select_conversations, tell_latest) && tell_rows(&load, select_highest, tell_highest);
}
