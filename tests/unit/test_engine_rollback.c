/* test_engine_rollback.c - M-5 where the store, or memory, fails at each place where it can: whoever asked is told so,
 *                          nothing has changed, and all goes on as if nothing had been.
 *
 * One long story is told again and again, each time with a failure one call later. A batch that fails is sent once more;
 * in the end everybody has been told exactly what they are told when nothing fails.
 */
#include "support_engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ALICE, BOB, CAROL, BOB2, CLIENTS };

static const unsigned hub_of[CLIENTS] = {0, 1, 0, 0};

struct line {
    int client;
    uint16_t cmd;
    const char *json;
    bool last; /* of its batch */
};

static const struct line story[] = {
    {ALICE, CMD_REGISTER,      "{\"user\":\"alice\",\"passwd\":\"kettle\",\"name\":\"A\"}", false},
    {BOB,   CMD_REGISTER,      "{\"user\":\"bob\",\"passwd\":\"kettle\"}",                  false},
    {CAROL, CMD_REGISTER,      "{\"user\":\"carol\",\"passwd\":\"kettle\"}",                true },
    {ALICE, CMD_LOGIN,         "{\"user\":\"alice\",\"passwd\":\"kettle\"}",                false},
    {BOB,   CMD_LOGIN,         "{\"user\":\"bob\",\"passwd\":\"kettle\"}",                  false},
    {CAROL, CMD_LOGIN,         "{\"user\":\"carol\",\"passwd\":\"kettle\"}",                true },
    {ALICE, CMD_FRIEND_ADD,    "{\"user\":\"bob\",\"text\":\"hi\"}",                        false},
    {CAROL, CMD_FRIEND_ADD,    "{\"user\":\"bob\"}",                                        false},
    {BOB,   CMD_FRIEND_ANSWER, "{\"user\":\"alice\",\"accept\":true}",                      false},
    {CAROL, CMD_FRIEND_ADD,    "{\"user\":\"alice\"}",                                      true },
    {BOB,   CMD_FRIEND_ANSWER, "{\"user\":\"carol\",\"accept\":false}",                     false},
    {ALICE, CMD_FRIEND_ADD,    "{\"user\":\"carol\"}",                                      true },
    {ALICE, CMD_GROUP_CREATE,  "{\"group\":\"tea\",\"title\":\"T\"}",                       false},
    {BOB,   CMD_GROUP_JOIN,    "{\"group\":\"tea\"}",                                       false},
    {ALICE, CMD_GROUP_CHAT,    "{\"group\":\"tea\",\"text\":\"one\",\"id\":\"1\"}",         true },
    {BOB2,  CMD_LOGIN,         "{\"user\":\"bob\",\"passwd\":\"kettle\"}",                  true },
    {BOB,   CMD_GROUP_CHAT,    "{\"group\":\"tea\",\"text\":\"two\"}",                      false},
    {CAROL, CMD_GROUP_JOIN,    "{\"group\":\"tea\"}",                                       false},
    {ALICE, CMD_GROUP_CHAT,    "{\"group\":\"tea\",\"text\":\"repeat\",\"id\":\"1\"}",      false},
    {BOB,   CMD_READ,          "{\"group\":\"tea\",\"msg_id\":1}",                          true },
    {ALICE, CMD_PRIVATE_CHAT,  "{\"user_to\":\"bob\",\"text\":\"psst\",\"id\":\"1\"}",      false},
    {CAROL, CMD_PRIVATE_CHAT,  "{\"user_to\":\"bob\",\"text\":\"hey\"}",                    false},
    {ALICE, CMD_PRIVATE_CHAT,  "{\"user_to\":\"bob\",\"text\":\"psst\"}",                   false},
    {BOB,   CMD_UNREAD,        "{}",                                                        false},
    {BOB,   CMD_READ,          "{\"user\":\"carol\",\"msg_id\":1}",                         false},
    {BOB,   CMD_PRIVATE_CHAT,  "{\"user_to\":\"bob\",\"text\":\"note\"}",                   true },
    {BOB,   CMD_HISTORY,       "{\"group\":\"tea\"}",                                       false},
    {BOB,   CMD_UNREAD,        "{}",                                                        false},
    {BOB,   CMD_TYPING,        "{\"group\":\"tea\"}",                                       false},
    {ALICE, CMD_PROFILE_SET,   "{\"name\":\"Alice\",\"age\":3}",                            false},
    {BOB,   CMD_PROFILE_GET,   "{\"user\":\"alice\"}",                                      true },
    {CAROL, CMD_GROUP_LEAVE,   "{\"group\":\"tea\"}",                                       false},
    {CAROL, CMD_GROUP_JOIN,    "{\"group\":\"tea\"}",                                       false},
    {ALICE, CMD_GROUP_KICK,    "{\"group\":\"tea\",\"user\":\"carol\"}",                    true },
    {CAROL, CMD_GROUP_CREATE,  "{\"group\":\"milk\"}",                                      false},
    {ALICE, CMD_GROUP_JOIN,    "{\"group\":\"milk\"}",                                      false},
    {CAROL, CMD_GROUP_CHAT,    "{\"group\":\"milk\",\"text\":\"mine\"}",                    false},
    {CAROL, CMD_GROUP_DISMISS, "{\"group\":\"milk\"}",                                      false},
    {ALICE, CMD_GROUP_CREATE,  "{\"group\":\"milk\"}",                                      false},
    {ALICE, CMD_GROUP_LIST,    "{}",                                                        false},
    {ALICE, CMD_FRIEND_REMOVE, "{\"user\":\"bob\"}",                                        false},
    {ALICE, CMD_FRIEND_LIST,   "{}",                                                        true },
    {BOB,   CMD_PASSWD,        "{\"old\":\"kettle\",\"new\":\"pot!\"}",                     true },
    {BOB2,  CMD_LOGOUT,        "{}",                                                        true },
    {BOB2,  CMD_LOGIN,         "{\"user\":\"bob\",\"passwd\":\"pot!\"}",                    true },
    {ALICE, CMD_GROUP_DISMISS, "{\"group\":\"tea\"}",                                       false},
    {BOB,   CMD_GROUP_LIST,    "{}",                                                        true },
};

#define STORY_LINES (sizeof story / sizeof story[0])

/* The story's own batches, or one line a batch: what is taken back together hides what would not come back alone. */
static bool one_by_one;

static size_t batch_end(size_t at)
{
    while (!story[at++].last && !one_by_one)
        ;
    return at;
}

static void send_batch(struct world *world, size_t at)
{
    for (size_t end = batch_end(at); at < end; at++)
        client_send(world, &world->clients[story[at].client], story[at].cmd, "%s", story[at].json);
}

/* All that clients got, as one text. True: some of it is server_error. */
static bool take_all(struct world *world, struct buffer *text)
{
    size_t begin = text->length;

    for (int client = 0; client < CLIENTS; client++) {
        char head[] = {(char)('0' + client), ':', '\n'};
        const char *got = client_take(&world->clients[client]);

        buffer_append(text, head, sizeof head);
        buffer_append(text, got, strlen(got));
    }
    buffer_append(text, "", 1);
    text->length--;
    assert_false(text->failed);
    return strstr(text->bytes + begin, "server_error") != NULL;
}

/* Of a batch of which something failed: nobody was told of anything that then was not. */
static void expect_no_pushes(const char *got)
{
    for (const char *line = got; *line != '\0'; line = strchr(line, '\n') + 1)
        assert_true(*line != '*' || strncmp(line, "* typing_event", 14) == 0);
}

static void expect_dump(const struct world *world, const struct buffer *before)
{
    struct buffer now = {0};

    model_dump(&world->engine->model, &now);
    assert_string_equal(now.bytes, before->bytes);
    buffer_fini(&now);
}

/* Send the batch that begins at line `at`. True: something of it failed, and nothing has changed. */
static bool fails(struct world *world, size_t at, struct buffer *log)
{
    struct buffer before = {0};
    size_t begin = log->length;
    bool failed;

    model_dump(&world->engine->model, &before);
    send_batch(world, at);
    world_run(world);
    failed = take_all(world, log);
    if (world->store.fail_from > 0 && world->store.calls >= world->store.fail_from)
        world->store.fail_from = 0; /* it is mended when the batch is over */
    if (failed) {
        expect_no_pushes(log->bytes + begin);
        expect_dump(world, &before);
        world_check(world);
        log->length = begin;
    }
    buffer_fini(&before);
    return failed;
}

/* Tell the story; what fails is sent again. `log` gets what all were told, but for failures; their number returns. */
static unsigned tell(struct world *world, struct buffer *log)
{
    unsigned failures = 0;

    for (size_t at = 0; at < STORY_LINES; at = batch_end(at))
        while (fails(world, at, log))
            failures++;
    world_check(world);
    return failures;
}

static struct world *story_begin(void)
{
    struct world *world = world_new(2);

    for (int client = 0; client < CLIENTS; client++)
        world_connect(world, hub_of[client]);
    return world;
}

static void without_failures(struct buffer *log)
{
    struct world *world = story_begin();

    assert_int_equal(tell(world, log), 0);
    world_free(world);
}

static void fail_at_each_call(void)
{
    struct buffer expected = {0}, log = {0};
    unsigned failures = 0;
    bool reached = true;

    without_failures(&expected);
    for (long at = 1; reached; at++) {
        struct world *world = story_begin();

        world->store.fail_from = at;
        buffer_clear(&log);
        failures += tell(world, &log);
        reached = world->store.calls >= at;
        assert_string_equal(log.bytes, expected.bytes);
        world_free(world);
    }
    assert_true(failures > STORY_LINES);
    buffer_fini(&expected);
    buffer_fini(&log);
}

static void test_the_store_fails_at_each_call(void **state)
{
    (void)state;
    fail_at_each_call();
}

static void test_the_store_fails_one_by_one(void **state)
{
    (void)state;
    one_by_one = true;
    fail_at_each_call();
    one_by_one = false;
}

/* The store fails for good in the middle, and is mended: sessions still log out and end, each with its reply. */
static void test_what_is_not_stored_goes_on(void **state)
{
    struct world *world = story_begin();
    struct client *a = world_login(world, 0, "alice"), *b = world_login(world, 1, "bob"), *c;

    (void)state;
    client_send(world, a, CMD_FRIEND_ADD, "{\"user\":\"bob\"}");
    client_send(world, b, CMD_FRIEND_ADD, "{\"user\":\"alice\"}");
    client_send(world, a, CMD_GROUP_CREATE, "{\"group\":\"tea\"}");
    client_send(world, b, CMD_GROUP_JOIN, "{\"group\":\"tea\"}");
    world_run(world);
    c = world_login(world, 1, "bob");
    world_hush(world);
    world->store.fail_from = world->store.calls + 1;
    client_send(world, a, CMD_GROUP_CHAT, "{\"group\":\"tea\",\"text\":\"x\"}");
    client_send(world, b, CMD_LOGOUT, "{}");
    client_send_answered(world, a, "{\"result\":\"success\",\"time\":1}");
    client_send(world, a, CMD_GROUP_LIST, "{}");
    client_end(world, c);
    client_send(world, a, CMD_GROUP_CHAT, "{\"group\":\"tea\",\"text\":\"x\"}");
    world_run(world);
#define FAILED                                                                                                     \
    "{\"result\":\"server_error\",\"message\":\"The server could not store this. Nothing was changed; please try " \
    "again later.\"}"
    assert_int_equal(world->store.commits > 0 && world->store.rollbacks == 0, true); /* begin failed already */
    client_got(b, "< logout {\"result\":\"success\"}\n");
    assert_true(c->ended);
    client_got(a, "< group_chat " FAILED "\n< ping {\"result\":\"success\",\"time\":1}\n"
                  "< group_list {\"result\":\"success\",\"groups\":[{\"group\":\"tea\",\"title\":\"\"}]}\n"
                  "* presence {\"user\":\"bob\",\"online\":false}\n< group_chat " FAILED "\n");
    world->store.fail_from = 0;
    world_check(world);
    client_asks(world, a, CMD_GROUP_CHAT, "{\"group\":\"tea\",\"text\":\"x\"}",
                "< group_chat {\"result\":\"success\",\"msg_id\":1,\"time\":1000}");
    world_expect_silence(world);
    world_free(world);
}

/* A wrong password counts, whether or not the batch of its result can be stored. */
static void test_failures_are_counted_once(void **state)
{
    struct world *world = story_begin();
    struct client *a = world_login(world, 0, "alice"), *thief = world_connect(world, 1);

    (void)state;
    for (int i = 0; i < PASSWORD_FAILURES_MAX; i++) {
        client_send(world, thief, CMD_LOGIN, "{\"user\":\"alice\",\"passwd\":\"wrong\"}");
        world_run_engine(world);
        assert_true(workers_run_one(world->workers));
        world->store.fail_from = world->store.calls + 1;
        client_send(world, a, CMD_GROUP_CREATE, "{\"group\":\"tea\"}"); /* fails, and the result with it */
        world_run(world);
        world->store.fail_from = 0;
        client_got(thief, "< login " FAILED "\n");
        client_got(a, "< group_create " FAILED "\n");
    }
    client_send(world, thief, CMD_LOGIN, "{\"user\":\"alice\",\"passwd\":\"wrong\"}");
    world_run(world);
    assert_non_null(strstr(client_take(thief), "too_many_attempts"));
    world_expect_silence(world);
    world_free(world);
}

/* A registration that could not be stored leaves no user, and no attempt of a login that came with it. */
static void test_login_of_a_user_that_was_taken_back(void **state)
{
    struct world *world = story_begin();
    struct client *a = &world->clients[ALICE], *b = &world->clients[BOB];

    (void)state;
    client_send(world, a, CMD_REGISTER, "{\"user\":\"alice\",\"passwd\":\"kettle\"}");
    world_run_engine(world);
    assert_true(workers_run_one(world->workers));
    world->store.fail_at = world->store.calls + 3; /* begin, user_add, commit */
    client_send(world, b, CMD_LOGIN, "{\"user\":\"alice\",\"passwd\":\"kettle\"}");
    world_run(world);
    client_got(a, "< register " FAILED "\n");
    client_got(b, "< login " FAILED "\n");
    assert_int_equal(world->engine->model.user_count, 0);
    assert_int_equal(world->engine->lockout.entries.count, 0);
    assert_true(links_empty(&world->engine->jobs));
    client_asks(world, a, CMD_REGISTER, "{\"user\":\"alice\",\"passwd\":\"kettle\"}",
                "< register {\"result\":\"success\"}");
    world_check(world);
    world_free(world);
}

/* More attempts than are checked at once, given up with their batch: none is started, none is left behind. */
static void test_attempts_of_a_batch_that_fails(void **state)
{
    struct world *world = story_begin();
    struct client *a = world_login(world, 0, "alice"), *first = NULL, *client;

    (void)state;
    for (int i = 0; i < PASSWORD_FAILURES_MAX + 5; i++) {
        client = world_connect(world, 1);
        first = first == NULL ? client : first;
        client->address = first->address;
        client_send(world, client, CMD_LOGIN, "{\"user\":\"alice\",\"passwd\":\"wrong\"}");
    }
    client_send(world, a, CMD_GROUP_CREATE, "{\"group\":\"tea\"}");
    world->store.fail_from = world->store.calls + 1;
    world_run_engine(world);
    world->store.fail_from = 0;
    assert_false(workers_run_one(world->workers));
    assert_true(links_empty(&world->engine->jobs));
    assert_int_equal(world->engine->lockout.entries.count, 0);
    for (size_t i = CLIENTS; i < world->client_count; i++)
        assert_non_null(strstr(client_take(&world->clients[i]), "server_error"));
    world_expect_silence(world);
    world_free(world);
}

/* Memory. The test's own allocations, and those of the store, come from the same place; only those made while the engine
 * runs are counted. Sanitizers bring an allocator of their own, which cannot be told to fail. */
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) && defined(__GLIBC__)
#define MEMORY_CAN_FAIL 1

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *memory, size_t size);

static bool counting;
static long allocations, fail_allocation, fail_allocations_from;

static bool allocation_fails(void)
{
    if (!counting)
        return false;
    allocations++;
    return allocations == fail_allocation || (fail_allocations_from > 0 && allocations >= fail_allocations_from);
}

void *malloc(size_t size)
{
    return allocation_fails() ? NULL : __libc_malloc(size);
}

void *calloc(size_t nmemb, size_t size)
{
    return allocation_fails() ? NULL : __libc_calloc(nmemb, size);
}

void *realloc(void *ptr, size_t size)
{
    return allocation_fails() ? NULL : __libc_realloc(ptr, size);
}

static void count_allocations(bool running)
{
    counting = running;
}

/* A password may fail alone of several, and then the story goes another way; but it goes on, and memory is right. */
static void tell_somehow(struct world *world)
{
    for (size_t at = 0; at < STORY_LINES; at = batch_end(at)) {
        send_batch(world, at);
        world_run(world);
        world_hush(world);
        world_expect_silence(world);
    }
    world_check(world);
}

static void test_memory_fails_at_each_allocation(void **state)
{
    long at = 0;

    (void)state;
    do {
        struct world *world = story_begin();

        world->watch = count_allocations;
        allocations = 0;
        fail_allocation = ++at;
        tell_somehow(world);
        fail_allocation = 0;
        client_asks(world, world_connect(world, 0), CMD_REGISTER, "{\"user\":\"zoe\",\"passwd\":\"kettle\"}",
                    "< register {\"result\":\"success\"}");
        world_check(world);
        world_free(world);
    } while (allocations >= at);
}

/* Not even enough to refuse: what was asked stays in the queue, and is done when there is memory again. */
static void test_no_memory_at_all(void **state)
{
    struct world *world = story_begin();
    struct client *a = world_login(world, 0, "alice");

    (void)state;
    client_send(world, a, CMD_GROUP_CREATE, "{\"group\":\"tea\"}");
    client_send(world, a, CMD_GROUP_CHAT, "{\"group\":\"tea\",\"text\":\"x\"}");
    world->watch = count_allocations;
    allocations = 0;
    fail_allocations_from = 1;
    world_run_engine(world);
    client_got(a, "");
    assert_true(engine_pending(world->engine));
    fail_allocations_from = 0;
    world_run(world);
    client_got(a, "< group_create {\"result\":\"success\"}\n"
                  "< group_chat {\"result\":\"success\",\"msg_id\":1,\"time\":1000}\n");
    world_check(world);
    world_free(world);
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_store_fails_at_each_call),
        cmocka_unit_test(test_the_store_fails_one_by_one),
        cmocka_unit_test(test_what_is_not_stored_goes_on),
        cmocka_unit_test(test_failures_are_counted_once),
        cmocka_unit_test(test_login_of_a_user_that_was_taken_back),
        cmocka_unit_test(test_attempts_of_a_batch_that_fails),
#ifdef MEMORY_CAN_FAIL
        cmocka_unit_test(test_memory_fails_at_each_allocation),
        cmocka_unit_test(test_no_memory_at_all),
#endif
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
