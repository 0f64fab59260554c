/* test_chat_power.c - M-5 and a power cut: hub, engine and SQLite on a disk that forgets what was not flushed.
 *
 * People write, register and make groups, until the power goes, at any moment. Then the server starts on what the disk
 * has, without help. With durability full, all is there that somebody was told of; with normal the newest may be gone,
 * but what is there is whole: nothing is there that came after something that is not. What was asked and not answered
 * may be there or not, and is asked again: it is never there twice (M-6). All of it is checked after each cut.
 */
#include "support_engine.h"
#include "support_hub.h"
#include "support_power_vfs.h"
#include "support_store.h"

#include <inttypes.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

enum { ROUNDS = 200, ROUNDS_A_DISK = 10, CHANGES_MAX = 50000, BATCHES_MAX = 120, TEXT_MAX = 8000 };

enum change_kind { MESSAGE, USER, GROUP };

/* What somebody asked for, in the order in which it was. */
struct change {
    enum change_kind kind;
    bool told; /* that it is done */
    bool there;
    uint64_t msg_id; /* of a message, where it is known */
};

static struct change changes[CHANGES_MAX];
static uint64_t change_count;
static uint64_t dropped; /* changes of which somebody was told, and which a cut took (durability normal) */

static char directory[SUPPORT_PATH_BYTES];
static struct options options;
static struct stage *stage;
static struct peer *alice, *bob, *clerk;
static uint64_t random_state;

static uint64_t chance(uint64_t bound)
{
    return support_random(&random_state, bound);
}

/* ---- asking ---- */

static void ask_for(uint64_t n, const char *text)
{
    switch (changes[n].kind) {
    case MESSAGE:
        peer_send(alice, CMD_GROUP_CHAT, "{\"group\":\"tea\",\"id\":\"%" PRIu64 "\",\"text\":\"%" PRIu64 "-%s\"}", n, n,
                  text);
        break;
    case USER:
        peer_send(clerk, CMD_REGISTER, "{\"user\":\"user-%" PRIu64 "\",\"passwd\":\"kettle\"}", n);
        break;
    case GROUP:
        peer_send(bob, CMD_GROUP_CREATE, "{\"group\":\"group-%" PRIu64 "\"}", n);
        break;
    }
}

/* Note what the peer was told of the changes of one kind from `first` on, which it asked for in their order. What ends
 * without a reply stays as it is. */
static void hear(struct peer *peer, enum change_kind kind, uint64_t first)
{
    struct message message;

    while (peer_next(peer, &message)) {
        const char *msg_id;

        if ((message.cmd & FRAME_REPLY_BIT) == 0)
            continue;
        while (first < change_count && changes[first].kind != kind)
            first++;
        assert_true(first < change_count);
        msg_id = strstr(message.json, "\"msg_id\":");
        changes[first].told = strstr(message.json, "\"success\"") != NULL;
        assert_true(changes[first].told || strstr(message.json, "\"server_error\"") != NULL);
        if (msg_id != NULL)
            changes[first].msg_id = strtoull(msg_id + 9, NULL, 10);
        first++;
    }
}

static void ask_new(enum change_kind kind)
{
    static char text[TEXT_MAX + 1];
    size_t length = (size_t)chance(TEXT_MAX);

    assert_true(change_count < CHANGES_MAX);
    memset(text, 'x', length);
    text[length] = '\0';
    changes[change_count] = (struct change){.kind = kind};
    ask_for(change_count++, text);
}

/* Some requests at once, and what comes of them. A password is hashed when the rest is done: so it comes last. */
static void ask_some(void)
{
    uint64_t first = change_count;

    for (uint64_t left = 1 + chance(8); left > 0; left--)
        ask_new(MESSAGE);
    if (chance(32) == 0)
        ask_new(GROUP); /* seldom: a user may be in so many */
    if (chance(4) == 0)
        ask_new(USER);
    stage_run(stage);
    hear(alice, MESSAGE, first);
    hear(clerk, USER, first);
    hear(bob, GROUP, first);
}

/* ---- looking ---- */

struct look {
    uint64_t next_msg_id;
    uint64_t last; /* change that is there */
};

/* M-1: no gap; in the order in which they were asked for; each once, with the number that alice was told. */
static bool see_message(void *arg, const struct store_message *message)
{
    struct look *look = arg;
    uint64_t n = strtoull(message->text.bytes, NULL, 10);

    assert_int_equal(message->msg_id, look->next_msg_id++);
    assert_true(n < change_count && changes[n].kind == MESSAGE && !changes[n].there);
    assert_true(look->next_msg_id == 2 || n > look->last);
    assert_true(!changes[n].told || changes[n].msg_id == message->msg_id);
    changes[n].there = true;
    changes[n].msg_id = message->msg_id;
    look->last = n;
    return true;
}

static void look_at_messages(struct engine *engine)
{
    static const struct store_history_range all = {UINT64_MAX, 0, true};
    const struct group *tea = model_group_named(&engine->model, SLICE_LITERAL("tea"));
    struct store *store = engine->config.store;
    struct look look = {.next_msg_id = 1};

    if (tea == NULL)
        return;
    assert_true(store->operations->history(store, tea->conversation.number, &all, see_message, &look));
    assert_int_equal(tea->conversation.newest.latest, look.next_msg_id - 1);
}

static bool is_there(struct engine *engine, uint64_t n)
{
    char name[32];

    switch (changes[n].kind) {
    case USER:
        snprintf(name, sizeof name, "user-%" PRIu64, n);
        return model_user_named(&engine->model, slice_of(name)) != NULL;
    case GROUP:
        snprintf(name, sizeof name, "group-%" PRIu64, n);
        return model_group_named(&engine->model, slice_of(name)) != NULL;
    case MESSAGE:
        break;
    }
    return changes[n].there;
}

/* Each change that somebody was told of is there; or, with durability normal, none that came after one that is not. */
static void look_at_changes(struct engine *engine)
{
    bool lost = false;

    for (uint64_t n = 0; n < change_count; n++) {
        changes[n].there = is_there(engine, n);
        if (changes[n].told && !changes[n].there) {
            if (options.durability == OPTION_DURABILITY_FULL)
                fail_msg("change %" PRIu64 " of kind %d is lost", n, changes[n].kind);
            lost = true;
            dropped++;
        }
        if (lost && changes[n].there)
            fail_msg("change %" PRIu64 " of kind %d is there, but one before it is lost", n, changes[n].kind);
    }
}

/* By SQLite itself, on a copy: looking changes the files. */
static void check_integrity(void)
{
    char path[SUPPORT_PATH_BYTES], verdict[256] = "";
    sqlite3 *database;
    sqlite3_stmt *statement;

    power_vfs_save();
    assert_int_equal(sqlite3_open(support_path(path, directory, "chat.db"), &database), SQLITE_OK);
    assert_int_equal(sqlite3_exec(database, "PRAGMA locking_mode = EXCLUSIVE", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(database, "PRAGMA integrity_check", -1, &statement, NULL), SQLITE_OK);
    if (sqlite3_step(statement) == SQLITE_ROW)
        snprintf(verdict, sizeof verdict, "%s", (const char *)sqlite3_column_text(statement, 0));
    assert_string_equal(verdict, "ok");
    assert_int_equal(sqlite3_finalize(statement), SQLITE_OK);
    assert_int_equal(sqlite3_close(database), SQLITE_OK);
    power_vfs_load();
}

/* ---- a round ---- */

static void start(void)
{
    stage = stage_new(&options, 1);
    model_check(&chat_engine(stage->chat)->model);
    for (uint64_t n = 0; n < change_count; n++)
        changes[n].there = false;
    look_at_messages(chat_engine(stage->chat));
    look_at_changes(chat_engine(stage->chat));
}

/* Those who were there already log in; with a new disk they register, and make the group. */
static void log_in(void)
{
    bool is_new = model_group_named(&chat_engine(stage->chat)->model, SLICE_LITERAL("tea")) == NULL;

    alice = stage_login(stage, 0, "alice");
    bob = stage_login(stage, 0, "bob");
    clerk = stage_connect(stage, 0);
    if (!is_new)
        return;
    peer_ask(alice, CMD_GROUP_CREATE, "{\"group\":\"tea\"}");
    peer_ask(bob, CMD_GROUP_JOIN, "{\"group\":\"tea\"}");
}

/* M-6: what was asked for and is there keeps its number; what is not, gets one; either way it is done now. */
static void ask_again(uint64_t first)
{
    for (uint64_t n = first; n < change_count; n++) {
        struct message message;
        struct peer *peer = changes[n].kind == MESSAGE ? alice : changes[n].kind == USER ? clerk : bob;
        const char *msg_id;

        peer_skip(peer);
        ask_for(n, "again");
        stage_run(stage);
        do
            assert_true(peer_next(peer, &message));
        while ((message.cmd & FRAME_REPLY_BIT) == 0);
        if (changes[n].kind != MESSAGE) {
            assert_non_null(strstr(message.json, changes[n].there ? "_exist" : "\"success\""));
        } else {
            msg_id = strstr(message.json, "\"msg_id\":");
            assert_non_null(msg_id);
            assert_true(!changes[n].there || changes[n].msg_id == strtoull(msg_id + 9, NULL, 10));
            changes[n].msg_id = strtoull(msg_id + 9, NULL, 10);
        }
        changes[n].told = changes[n].there = true;
    }
}

static void begin_disk(void)
{
    power_vfs_clear();
    change_count = 0;
}

/* What a cut of durability normal has taken is not waited for any more. */
static void forget_what_was_lost(void)
{
    while (change_count > 0 && !changes[change_count - 1].there)
        change_count--;
}

static uint64_t first_in_doubt(void)
{
    uint64_t n = change_count;

    while (n > 0 && !(changes[n - 1].told && changes[n - 1].there))
        n--;
    return n;
}

static void choose_cut(void)
{
    switch (chance(4)) {
    case 0:
        power_vfs_cut_at(POWER_ALL, 1 + chance(2000));
        break;
    case 1:
        power_vfs_cut_at(POWER_ALL, 1 + chance(40));
        break;
    case 2:
        power_vfs_cut_at(POWER_FLUSHES, 1 + chance(60));
        break;
    default:
        power_vfs_cut_at(POWER_DATABASE, 1 + chance(300)); /* in a checkpoint */
        break;
    }
}

static void run_until_the_cut(void)
{
    choose_cut();
    for (int batch = 0; batch < BATCHES_MAX && !power_vfs.is_cut; batch++)
        ask_some();
    power_vfs.is_cut = true; /* at the latest, before it is closed in order */
    stage_free(stage);
}

static void cut_again_and_again(enum option_durability durability, const char *name)
{
    uint64_t told = 0;

    random_state = durability == OPTION_DURABILITY_FULL ? 1 : 2;
    dropped = 0;
    options = stage_options();
    options.store = OPTION_STORE_SQLITE;
    options.durability = durability;
    options.data = directory;
    support_directory_make(directory);
    assert_int_equal(power_vfs_begin(random_state), 0);
    for (int round = 0; round < ROUNDS; round++) {
        if (round % ROUNDS_A_DISK == 0)
            begin_disk();
        check_integrity();
        start();
        if (durability == OPTION_DURABILITY_NORMAL)
            forget_what_was_lost();
        log_in();
        ask_again(first_in_doubt());
        told -= change_count;
        run_until_the_cut();
        told += change_count;
        power_vfs_restore();
    }
    support_directory_remove(directory);
    print_message("%s: cuts %d, changes %" PRIu64 ", flushes %" PRIu64 ", sectors kept %" PRIu64 ", lost %" PRIu64
                  ", torn %" PRIu64 ", acknowledged and lost %" PRIu64 "\n",
                  name, ROUNDS, told, power_vfs.flushes, power_vfs.sectors_kept, power_vfs.sectors_lost,
                  power_vfs.sectors_torn, dropped);
    assert_int_equal(power_vfs_end(), 0);
}

static void test_durability_full(void **state)
{
    (void)state;
    cut_again_and_again(OPTION_DURABILITY_FULL, "full");
    assert_int_equal(dropped, 0);
}

static void test_durability_normal(void **state)
{
    (void)state;
    cut_again_and_again(OPTION_DURABILITY_NORMAL, "normal");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_durability_full),
        cmocka_unit_test(test_durability_normal),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
