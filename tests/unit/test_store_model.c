/* test_store_model.c - everything that the engine tells the SQLite store, at random, with commits, rollbacks and
 *                      reopenings, against a model that is nothing but arrays: what is loaded must be the model.
 *
 * Idea.       Model and store are both written down as text, a line a fact, in the order in which store_load() tells
 *             them; then two texts are compared, and a difference can be read.
 */
#include "support_store.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { USERS = 6, CONVERSATIONS = 40, MESSAGES = 60, REQUESTS = 200, ROUNDS = 300, TEXT = 262144 };

/* Numbers are indexes; 0 is nobody. */
struct model {
    uint32_t user_count;
    int version[USERS + 1]; /* of the hash and the profile */
    bool friends[USERS + 1][USERS + 1];
    struct {
        uint32_t from, to;
    } requests[REQUESTS]; /* in their order; settled ones have from 0 */
    size_t request_count;
    uint32_t conversation_count;
    struct {
        bool is_group, is_dismissed;
        uint32_t user, other; /* of a group: the owner, 0 */
        bool is_member[USERS + 1];
        uint64_t mark[USERS + 1];
        uint64_t count;
        uint32_t sender[MESSAGES + 1];
        uint64_t sequence[MESSAGES + 1];
    } conversations[CONVERSATIONS + 1];
    uint64_t sequence;
};

struct writer {
    size_t length;
    char text[TEXT];
};

static struct store *store;
static struct model model, committed;
static struct writer seen, expected;
static uint64_t state_of_random = 3;

static uint64_t random_below(uint64_t bound)
{
    return support_random(&state_of_random, bound);
}

__attribute__((format(printf, 2, 3))) static bool line(struct writer *writer, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    writer->length += (size_t)vsnprintf(writer->text + writer->length, TEXT - writer->length, format, arguments);
    va_end(arguments);
    assert_true(writer->length < TEXT);
    return true;
}

/* ---- what the store tells ---- */

#define S(slice) (int)(slice).length, (slice).length ? (slice).bytes : ""

static bool tell_user(void *arg, uint32_t number, struct slice name, struct slice hash, const struct store_profile *p)
{
    return line(arg, "user %u %.*s %.*s [%.*s] [%.*s] %d [%.*s] [%.*s]\n", number, S(name), S(hash), S(p->name),
                S(p->sex), (int)p->age, S(p->address), S(p->email));
}

static bool tell_friendship(void *arg, uint32_t user, uint32_t other)
{
    return line(arg, "friends %u %u\n", user, other);
}

static bool tell_friend_request(void *arg, uint32_t from, uint32_t to, struct slice text)
{
    return line(arg, "request %u %u [%.*s]\n", from, to, S(text));
}

static bool tell_private(void *arg, uint32_t number, uint32_t user, uint32_t other)
{
    return line(arg, "private %u %u %u\n", number, user, other);
}

static bool tell_group(void *arg, const struct store_group *g)
{
    return line(arg, "group %u %u %" PRId64 " %.*s [%.*s]\n", g->number, g->owner, g->created_ms, S(g->name),
                S(g->title));
}

static bool tell_member(void *arg, uint32_t conversation, uint32_t user, uint64_t mark, uint64_t own, uint64_t above)
{
    return line(arg, "member %u %u mark %" PRIu64 " own %" PRIu64 " above %" PRIu64 "\n", conversation, user, mark, own,
                above);
}

/* In any order, so by number. */
static uint64_t latest[CONVERSATIONS + 1][3];

static bool tell_latest(void *arg, uint32_t conversation, uint64_t msg_id, uint64_t sequence, int64_t time_ms)
{
    (void)arg;
    assert_in_range(conversation, 1, CONVERSATIONS);
    assert_int_equal(latest[conversation][0], 0);
    latest[conversation][0] = msg_id;
    latest[conversation][1] = sequence;
    latest[conversation][2] = (uint64_t)time_ms;
    return true;
}

static bool tell_highest(void *arg, uint32_t conversation, uint64_t sequence)
{
    for (uint32_t c = 1; c <= CONVERSATIONS; c++)
        if (latest[c][0] > 0)
            line(arg, "latest %u %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", c, latest[c][0], latest[c][1], latest[c][2]);
    return line(arg, "highest %u %" PRIu64 "\n", conversation, sequence);
}

static const struct store_loader loader = {
    tell_user, tell_friendship, tell_friend_request, tell_private, tell_group, tell_member, tell_latest, tell_highest,
};

/* ---- what the model tells ---- */

static uint64_t own(const struct model *m, uint32_t conversation, uint32_t user, uint64_t above)
{
    uint64_t count = 0;

    for (uint64_t n = above + 1; n <= m->conversations[conversation].count; n++)
        count += m->conversations[conversation].sender[n] == user;
    return count;
}

static void write_people(struct writer *w)
{
    for (uint32_t u = 1; u <= model.user_count; u++)
        line(w, "user %u user-%u hash-%d [name %d] [%s] %d [] [%d@x]\n", u, u, model.version[u], model.version[u],
             model.version[u] % 2 ? "other" : "", model.version[u] % 150, model.version[u]);
    for (uint32_t a = 1; a <= USERS; a++)
        for (uint32_t b = a + 1; b <= USERS; b++)
            if (model.friends[a][b])
                line(w, "friends %u %u\n", a, b);
    for (size_t i = 0; i < model.request_count; i++)
        if (model.requests[i].from)
            line(w, "request %u %u [%s]\n", model.requests[i].from, model.requests[i].to, i % 2 ? "please" : "");
}

static void write_conversations(struct writer *w)
{
    for (uint32_t c = 1; c <= model.conversation_count; c++)
        if (!model.conversations[c].is_group)
            line(w, "private %u %u %u\n", c, model.conversations[c].user, model.conversations[c].other);
    for (uint32_t c = 1; c <= model.conversation_count; c++)
        if (model.conversations[c].is_group && !model.conversations[c].is_dismissed)
            line(w, "group %u %u %u group-%u [Title]\n", c, model.conversations[c].user, c, c);
    for (uint32_t c = 1; c <= model.conversation_count; c++)
        for (uint32_t u = 1; u <= USERS; u++)
            if (model.conversations[c].is_member[u])
                line(w, "member %u %u mark %" PRIu64 " own %" PRIu64 " above %" PRIu64 "\n", c, u,
                     model.conversations[c].mark[u], own(&model, c, u, 0),
                     own(&model, c, u, model.conversations[c].mark[u]));
    for (uint32_t c = 1; c <= model.conversation_count; c++) {
        uint64_t count = model.conversations[c].count;

        if (count > 0 && !model.conversations[c].is_dismissed)
            line(w, "latest %u %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", c, count, model.conversations[c].sequence[count],
                 model.conversations[c].sequence[count]);
    }
    line(w, "highest %u %" PRIu64 "\n", model.conversation_count, model.sequence);
}

static void compare_loaded(void)
{
    seen.length = expected.length = 0;
    memset(latest, 0, sizeof latest);
    assert_true(store->operations->load(store, &loader, &seen));
    write_people(&expected);
    write_conversations(&expected);
    assert_string_equal(seen.text, expected.text);
}

static void compare_histories(void)
{
    static const struct store_history_range all = {UINT64_MAX, 0, true};

    for (uint32_t c = 1; c <= model.conversation_count; c++) {
        expected.length = 0;
        expected.text[0] = '\0';
        if (model.conversations[c].is_dismissed)
            continue;
        for (uint64_t n = 1; n <= model.conversations[c].count; n++) {
            uint32_t sender = model.conversations[c].sender[n];

            line(&expected, "%" PRIu64 ":%u:%" PRIu64 ":%" PRIu64 ":%" PRIu64 ":id-%" PRIu64 ":text\n", n, sender,
                 own(&model, c, sender, 0) - own(&model, c, sender, n), model.conversations[c].sequence[n],
                 model.conversations[c].sequence[n], n);
        }
        support_history(store, c, &all, SIZE_MAX, seen.text, TEXT);
        assert_string_equal(seen.text, expected.text);
    }
}

/* ---- changes, to both ---- */

static uint32_t any_user(void)
{
    return 1 + (uint32_t)random_below(model.user_count);
}

static void change_user(void)
{
    char hash[32], name[32], email[32];
    struct store_profile profile = {0};
    uint32_t u = any_user();
    bool is_new = model.user_count < USERS && random_below(4) == 0;

    if (is_new)
        u = ++model.user_count;
    model.version[u]++;
    snprintf(hash, sizeof hash, "hash-%d", model.version[u]);
    snprintf(name, sizeof name, "name %d", model.version[u]);
    snprintf(email, sizeof email, "%d@x", model.version[u]);
    profile.name = slice_of(name);
    profile.sex = slice_of(model.version[u] % 2 ? "other" : "");
    profile.age = model.version[u] % 150;
    profile.email = slice_of(email);
    if (is_new) {
        snprintf(name, sizeof name, "user-%u", u);
        profile.name = slice_of("name 1");
        assert_true(store->operations->user_add(store, u, slice_of(name), slice_of(hash), &profile));
    } else {
        assert_true(store->operations->user_set_hash(store, u, slice_of(hash)));
        assert_true(store->operations->user_set_profile(store, u, &profile));
    }
}

static void change_friends(void)
{
    uint32_t a = any_user(), b = any_user();
    bool *friends = &model.friends[a < b ? a : b][a < b ? b : a];

    if (a == b)
        return;
    if (*friends)
        assert_true(store->operations->friendship_remove(store, a, b));
    else
        assert_true(store->operations->friendship_add(store, a, b));
    *friends = !*friends;
}

static void change_requests(void)
{
    uint32_t from = any_user(), to = any_user();

    for (size_t i = 0; i < model.request_count; i++) {
        if (model.requests[i].from == from && model.requests[i].to == to) {
            model.requests[i].from = 0;
            assert_true(store->operations->friend_request_remove(store, from, to));
            return;
        }
    }
    assert_true(store->operations->friend_request_remove(store, from, to)); /* of what is not there */
    if (model.request_count == REQUESTS)
        return;
    assert_true(
        store->operations->friend_request_add(store, from, to, slice_of(model.request_count % 2 ? "please" : "")));
    model.requests[model.request_count].from = from;
    model.requests[model.request_count++].to = to;
}

static void add_private(void)
{
    uint32_t a = any_user(), b = any_user(), low = a < b ? a : b, high = a < b ? b : a, c;

    for (c = 1; c <= model.conversation_count; c++)
        if (!model.conversations[c].is_group && model.conversations[c].user == low &&
            model.conversations[c].other == high)
            return;
    model.conversation_count = c;
    model.conversations[c].user = low;
    model.conversations[c].other = high;
    model.conversations[c].is_member[low] = model.conversations[c].is_member[high] = true;
    assert_true(store->operations->private_add(store, c, a, b));
}

static void add_group(void)
{
    uint32_t c = ++model.conversation_count;
    char name[32];
    struct store_group group = {.number = c, .owner = any_user(), .created_ms = c, .title = SLICE_LITERAL("Title")};

    snprintf(name, sizeof name, "group-%u", c);
    group.name = slice_of(name);
    model.conversations[c].is_group = true;
    model.conversations[c].user = group.owner;
    model.conversations[c].is_member[group.owner] = true;
    assert_true(store->operations->group_add(store, &group));
    assert_true(store->operations->member_add(store, c, group.owner, 0));
}

static void change_member(uint32_t c)
{
    uint32_t u = any_user();
    uint64_t count = model.conversations[c].count;

    if (!model.conversations[c].is_member[u] && model.conversations[c].is_group) {
        assert_true(store->operations->member_add(store, c, u, count));
        model.conversations[c].is_member[u] = true;
        model.conversations[c].mark[u] = count;
    } else if (model.conversations[c].is_member[u] && random_below(3) > 0) {
        model.conversations[c].mark[u] += random_below(count - model.conversations[c].mark[u] + 1);
        assert_true(store->operations->member_set_mark(store, c, u, model.conversations[c].mark[u]));
    } else if (model.conversations[c].is_group) {
        assert_true(store->operations->member_remove(store, c, u));
        model.conversations[c].is_member[u] = false;
        model.conversations[c].mark[u] = 0;
    }
}

static void send(uint32_t c)
{
    char id[32];
    uint32_t u = any_user();
    uint64_t n = model.conversations[c].count + 1;

    if (n > MESSAGES)
        return;
    model.conversations[c].count = n;
    model.conversations[c].sender[n] = u;
    model.conversations[c].sequence[n] = ++model.sequence;
    snprintf(id, sizeof id, "id-%" PRIu64, n);
    assert_true(support_message_add(store, c, u, n, own(&model, c, u, 0), model.sequence, id, "text"));
}

static void dismiss(uint32_t c)
{
    if (!model.conversations[c].is_group)
        return;
    model.conversations[c].is_dismissed = true;
    memset(model.conversations[c].is_member, 0, sizeof model.conversations[c].is_member);
    assert_true(store->operations->group_remove(store, c));
}

static void change_something(void)
{
    uint32_t c = model.conversation_count ? 1 + (uint32_t)random_below(model.conversation_count) : 0;
    uint64_t what = random_below(100);

    if (what < 5)
        change_user();
    else if (what < 10)
        change_friends();
    else if (what < 15)
        change_requests();
    else if (what < 18 && model.conversation_count < CONVERSATIONS)
        add_private();
    else if (what < 21 && model.conversation_count < CONVERSATIONS)
        add_group();
    else if (c == 0 || model.conversations[c].is_dismissed)
        return;
    else if (what < 22)
        dismiss(c);
    else if (what < 50)
        change_member(c);
    else
        send(c);
}

/* ---- the test ---- */

static void one_transaction(void)
{
    assert_true(store->operations->begin(store));
    for (uint64_t changes = random_below(15); changes > 0; changes--)
        change_something();
    if (random_below(4) > 0) {
        assert_true(store->operations->commit(store));
        committed = model;
    } else {
        store->operations->rollback(store);
        model = committed;
    }
}

static void random_changes_are_loaded_back(void **state)
{
    char directory[SUPPORT_PATH_BYTES];
    struct store_profile profile = {
        .name = SLICE_LITERAL("name 1"), .sex = SLICE_LITERAL("other"), .age = 1, .email = SLICE_LITERAL("1@x")};

    (void)state;
    support_directory_make(directory);
    store = store_sqlite_open(directory, OPTION_DURABILITY_NORMAL);
    assert_non_null(store);
    compare_loaded();
    assert_true(store->operations->begin(store));
    assert_true(store->operations->user_add(store, 1, slice_of("user-1"), slice_of("hash-1"), &profile));
    assert_true(store->operations->commit(store));
    model.user_count = 1;
    model.version[1] = 1;
    committed = model;
    for (int round = 0; round < ROUNDS; round++) {
        bool more;

        one_transaction();
        if (random_below(10) == 0)
            assert_true(store->operations->purge(store, &more));
        if (random_below(3) == 0)
            assert_true(random_below(4) == 0 ? support_settle(store) : support_settle_slice(store));
        if (random_below(10) == 0) {
            if (random_below(2) == 0)
                assert_true(store->operations->begin(store)); /* a stop in the middle of a transaction */
            store->operations->free(store);
            store = store_sqlite_open(directory, OPTION_DURABILITY_FULL);
            assert_non_null(store);
        }
        if (random_below(5) == 0) {
            compare_loaded();
            compare_histories();
        }
    }
    store->operations->free(store);
    support_directory_remove(directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(random_changes_are_loaded_back)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
