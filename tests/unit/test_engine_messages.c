/* test_engine_messages.c - messages, history, unread, read marks, typing (section M). */
#include "support_engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OK "{\"result\":\"success\"}"
#define SENT(msg_id, time) "{\"result\":\"success\",\"msg_id\":" #msg_id ",\"time\":" #time "}"
#define OFFLINE(msg_id, time) "{\"result\":\"offline\",\"msg_id\":" #msg_id ",\"time\":" #time "}"
#define NOT_MEMBER "{\"result\":\"not_member\",\"message\":\"You are not a member of this group.\"}"
#define NO_USER "{\"result\":\"user_not_exist\",\"message\":\"There is no user of this name.\"}"
#define NO_GROUP "{\"result\":\"group_not_exist\",\"message\":\"There is no group of this name.\"}"

static void test_to_a_group_over_hubs(void **state)
{
    struct world *world = world_new(3);
    struct client *a = world_login(world, 0, "alice"), *a2 = world_login(world, 1, "alice");
    struct client *b = world_login(world, 1, "bob"), *c = world_login(world, 2, "carol");

    (void)state;
    client_send(world, a, CMD_GROUP_CREATE, "{\"group\":\"tea\"}");
    client_send(world, b, CMD_GROUP_JOIN, "{\"group\":\"tea\"}");
    world_run(world);
    world_hush(world);
    client_asks(world, a, CMD_GROUP_CHAT, "{\"group\":\"tea\",\"text\":\"one \\u0001\\n\"}",
                "< group_chat " SENT(1, 1000));
    client_got(a2, "* group_chat_recv {\"group\":\"tea\",\"user_from\":\"alice\",\"text\":\"one \\u0001\\n\","
                   "\"msg_id\":1,\"time\":1000}\n");
    client_got(b, "* group_chat_recv {\"group\":\"tea\",\"user_from\":\"alice\",\"text\":\"one \\u0001\\n\","
                  "\"msg_id\":1,\"time\":1000}\n");
    client_asks(world, c, CMD_GROUP_CHAT, "{\"group\":\"tea\",\"text\":\"x\"}", "< group_chat " NOT_MEMBER);
    client_asks(world, c, CMD_GROUP_CHAT, "{\"group\":\"none\",\"text\":\"x\"}", "< group_chat " NO_GROUP);
    world_expect_silence(world);
    assert_int_equal(COUNTER_READ(engine_counters(world->engine), messages_total), 1);
    world_check(world);
    world_free(world);
}

/* The wall clock may step back; the time of a conversation does not (M-1). */
static void test_time_never_goes_back(void **state)
{
    struct world *world = world_new(1);
    struct client *a = world_login(world, 0, "alice");

    (void)state;
    world_login(world, 0, "bob");
    client_asks(world, a, CMD_PRIVATE_CHAT, "{\"user_to\":\"bob\",\"text\":\"x\"}", "< private_chat " SENT(1, 1000));
    world->unix_ms = 900;
    client_asks(world, a, CMD_PRIVATE_CHAT, "{\"user_to\":\"bob\",\"text\":\"x\"}", "< private_chat " SENT(2, 1000));
    client_asks(world, a, CMD_PRIVATE_CHAT, "{\"user_to\":\"alice\",\"text\":\"x\"}", "< private_chat " SENT(1, 900));
    world->unix_ms = 1100;
    client_asks(world, a, CMD_PRIVATE_CHAT, "{\"user_to\":\"bob\",\"text\":\"x\"}", "< private_chat " SENT(3, 1100));
    world_check(world);
    world_free(world);
}

static void test_to_a_user(void **state)
{
    struct world *world = world_new(2);
    struct client *a = world_login(world, 0, "alice"), *a2 = world_login(world, 1, "alice");
    struct client *b = world_login(world, 0, "bob"), *b2 = world_login(world, 1, "bob");
    const char *pushed =
        "* private_chat_recv {\"user_from\":\"alice\",\"user_to\":\"bob\",\"text\":\"hi\",\"msg_id\":1,"
        "\"time\":1000}\n";

    (void)state;
    client_asks(world, a, CMD_PRIVATE_CHAT, "{\"user_to\":\"bob\",\"text\":\"hi\"}", "< private_chat " SENT(1, 1000));
    client_got(a2, pushed);
    client_got(b, pushed);
    client_got(b2, pushed);
    client_asks(world, a, CMD_PRIVATE_CHAT, "{\"user_to\":\"nobody\",\"text\":\"hi\"}", "< private_chat " NO_USER);
    client_end(world, b);
    client_end(world, b2);
    client_asks(world, a2, CMD_PRIVATE_CHAT, "{\"user_to\":\"bob\",\"text\":\"you there?\"}",
                "< private_chat " OFFLINE(2, 1000));
    world_hush(world);
    /* Notes: to the other session, not to the one that wrote. */
    client_asks(world, a, CMD_PRIVATE_CHAT, "{\"user_to\":\"alice\",\"text\":\"note\"}",
                "< private_chat " SENT(1, 1000));
    client_got(a2, "* private_chat_recv {\"user_from\":\"alice\",\"user_to\":\"alice\",\"text\":\"note\",\"msg_id\":1,"
                   "\"time\":1000}\n");
    client_asks(world, a, CMD_UNREAD, "{}", "< unread {\"result\":\"success\",\"unread\":[]}");
    world_expect_silence(world);
    world_check(world);
    world_free(world);
}

static void test_repeats(void **state)
{
    struct world *world = world_new(1);
    struct client *a = world_login(world, 0, "alice"), *b = world_login(world, 0, "bob");

    (void)state;
    client_send(world, a, CMD_GROUP_CREATE, "{\"group\":\"tea\"}");
    client_send(world, b, CMD_GROUP_JOIN, "{\"group\":\"tea\"}");
    client_send(world, b, CMD_GROUP_CHAT, "{\"group\":\"tea\",\"text\":\"hi\",\"id\":\"x\"}");
    client_send(world, b, CMD_PRIVATE_CHAT, "{\"user_to\":\"alice\",\"text\":\"hi\",\"id\":\"x\"}");
    world_run(world);
    world_hush(world);
    world->unix_ms = 2000;
    client_asks(world, b, CMD_GROUP_CHAT, "{\"group\":\"tea\",\"text\":\"other\",\"id\":\"x\"}",
                "< group_chat " SENT(1, 1000));
    client_asks(world, b, CMD_PRIVATE_CHAT, "{\"user_to\":\"alice\",\"text\":\"other\",\"id\":\"x\"}",
                "< private_chat " SENT(1, 1000));
    world_expect_silence(world);
    client_asks(world, a, CMD_GROUP_CHAT, "{\"group\":\"tea\",\"text\":\"mine\",\"id\":\"x\"}",
                "< group_chat " SENT(2, 2000));
    /* In one batch, too. */
    client_send(world, a, CMD_GROUP_CHAT, "{\"group\":\"tea\",\"text\":\"3\",\"id\":\"y\"}");
    client_send(world, a, CMD_GROUP_CHAT, "{\"group\":\"tea\",\"text\":\"4\",\"id\":\"y\"}");
    world_run(world);
    client_got(a, "< group_chat " SENT(3, 2000) "\n< group_chat " SENT(3, 2000) "\n");
    /* The right to send is checked first; the state of the other user is that of this moment. */
    client_send(world, b, CMD_GROUP_LEAVE, "{\"group\":\"tea\"}");
    client_end(world, a);
    world_run(world);
    world_hush(world);
    client_asks(world, b, CMD_GROUP_CHAT, "{\"group\":\"tea\",\"text\":\"other\",\"id\":\"x\"}",
                "< group_chat " NOT_MEMBER);
    client_asks(world, b, CMD_PRIVATE_CHAT, "{\"user_to\":\"alice\",\"text\":\"other\",\"id\":\"x\"}",
                "< private_chat " OFFLINE(1, 1000));
    assert_int_equal(COUNTER_READ(engine_counters(world->engine), messages_total), 4);
    world_check(world);
    world_free(world);
}

/* The numbers of the messages that a history gives, and `more`. */
static void expect_history(struct world *world, struct client *client, const char *range, const char *expected)
{
    char numbers[1024] = "";
    const char *got, *at;

    client_send(world, client, CMD_HISTORY, "{\"group\":\"tea\"%s}", range);
    world_run(world);
    at = got = client_take(client);
    while ((at = strstr(at, "\"msg_id\":")) != NULL) {
        at += strlen("\"msg_id\":");
        snprintf(numbers + strlen(numbers), sizeof numbers - strlen(numbers), "%d ", atoi(at));
    }
    strcat(numbers, strstr(got, "\"more\":true") != NULL ? "more" : "all");
    assert_string_equal(numbers, expected);
}

static void test_history_ranges(void **state)
{
    struct world *world = world_new(1);
    struct client *a = world_login(world, 0, "alice"), *b = world_login(world, 0, "bob");

    (void)state;
    client_send(world, a, CMD_GROUP_CREATE, "{\"group\":\"tea\"}");
    client_send(world, a, CMD_HISTORY, "{\"group\":\"tea\"}");
    for (int i = 1; i <= 9; i++)
        client_send(world, a, CMD_GROUP_CHAT, "{\"group\":\"tea\",\"text\":\"%d\"}", i);
    world_run(world);
    assert_non_null(strstr(client_take(a), "\"messages\":[],\"more\":false"));
    expect_history(world, a, "", "1 2 3 4 5 6 7 8 9 all");
    expect_history(world, a, ",\"limit\":3", "7 8 9 more");
    expect_history(world, a, ",\"limit\":9", "1 2 3 4 5 6 7 8 9 all");
    expect_history(world, a, ",\"before\":4", "1 2 3 all");
    expect_history(world, a, ",\"before\":4,\"limit\":2", "2 3 more");
    expect_history(world, a, ",\"before\":0", "all");
    expect_history(world, a, ",\"after\":7", "8 9 all");
    expect_history(world, a, ",\"after\":0,\"limit\":2", "1 2 more");
    expect_history(world, a, ",\"after\":9", "all");
    expect_history(world, a, ",\"after\":2,\"before\":8,\"limit\":2", "3 4 more");
    expect_history(world, a, ",\"after\":2,\"before\":5,\"limit\":2", "3 4 all");
    expect_history(world, a, ",\"after\":9223372036854775807,\"before\":9223372036854775807", "all");
    client_asks(world, b, CMD_HISTORY, "{\"group\":\"tea\"}", "< history " NOT_MEMBER);
    client_asks(world, b, CMD_HISTORY, "{\"group\":\"none\"}", "< history " NO_GROUP);
    client_asks(world, b, CMD_HISTORY, "{\"user\":\"none\"}", "< history " NO_USER);
    client_asks(world, b, CMD_HISTORY, "{\"user\":\"alice\"}",
                "< history {\"result\":\"success\",\"messages\":[],\"more\":false}");
    world_free(world);
}

/* A reply holds as many as fit, and leaves out those furthest from the end that the range is counted from. */
static void test_history_that_fits(void **state)
{
    struct world *world = world_new(1);
    struct client *a = world_login(world, 0, "alice");
    char text[2 * 8192 + 1];

    (void)state;
    for (size_t i = 0; i < 8192; i++)
        memcpy(&text[i * 2], "\\b", 2); /* is written as \u0008: six bytes each */
    text[sizeof text - 1] = '\0';
    client_send(world, a, CMD_GROUP_CREATE, "{\"group\":\"tea\"}");
    for (int i = 0; i < 9; i++)
        client_send(world, a, CMD_GROUP_CHAT, "{\"group\":\"tea\",\"text\":\"%s\"}", text);
    world_run(world);
    world_hush(world);
    expect_history(world, a, "", "5 6 7 8 9 more");
    expect_history(world, a, ",\"after\":0", "1 2 3 4 5 more");
    client_send(world, a, CMD_HISTORY, "{\"group\":\"tea\"}");
    world_run(world);
    assert_true(strlen(client_take(a)) <= REPLY_PAYLOAD_MAX_BYTES + strlen("< history \n"));
    world_free(world);
}

static void test_unread_and_read(void **state)
{
    struct world *world = world_new(1);
    struct client *a = world_login(world, 0, "alice"), *a2 = world_login(world, 0, "alice");
    struct client *b = world_login(world, 0, "bob"), *c = world_login(world, 0, "carol");

    (void)state;
    client_send(world, b, CMD_GROUP_CREATE, "{\"group\":\"tea\"}");
    client_send(world, b, CMD_GROUP_CHAT, "{\"group\":\"tea\",\"text\":\"before alice\"}");
    client_send(world, a, CMD_GROUP_JOIN, "{\"group\":\"tea\"}");
    world_run(world);
    client_send(world, c, CMD_PRIVATE_CHAT, "{\"user_to\":\"alice\",\"text\":\"1\"}");
    client_send(world, b, CMD_GROUP_CHAT, "{\"group\":\"tea\",\"text\":\"2\"}");
    client_send(world, a, CMD_GROUP_CHAT, "{\"group\":\"tea\",\"text\":\"3\"}");
    client_send(world, b, CMD_GROUP_CHAT, "{\"group\":\"tea\",\"text\":\"4\"}");
    client_send(world, b, CMD_PRIVATE_CHAT, "{\"user_to\":\"alice\",\"text\":\"1\"}");
    client_send(world, c, CMD_PRIVATE_CHAT, "{\"user_to\":\"alice\",\"text\":\"2\"}");
    world_run(world);
    world_hush(world);
    client_asks(world, a, CMD_UNREAD, "{}",
                "< unread {\"result\":\"success\",\"unread\":[{\"user\":\"carol\",\"count\":2,\"latest\":2},"
                "{\"user\":\"bob\",\"count\":1,\"latest\":1},{\"group\":\"tea\",\"count\":2,\"latest\":4}]}");
    /* The mark goes to 2: one of bob's is left, and the own one above it does not count. */
    client_asks(world, a, CMD_READ, "{\"group\":\"tea\",\"msg_id\":2}", "< read " OK);
    client_got(a2, "* read_event {\"user\":\"alice\",\"group\":\"tea\",\"msg_id\":2}\n");
    client_asks(world, a, CMD_READ, "{\"group\":\"tea\",\"msg_id\":1}", "< read " OK);
    client_asks(world, a, CMD_READ, "{\"group\":\"tea\",\"msg_id\":5}",
                "< read {\"result\":\"bad_request\",\"field\":\"msg_id\",\"message\":\"The conversation has no such "
                "message yet.\"}");
    world_expect_silence(world);
    client_asks(world, a, CMD_READ, "{\"user\":\"carol\",\"msg_id\":2}", "< read " OK);
    client_got(a2, "* read_event {\"user\":\"alice\",\"peer\":\"carol\",\"msg_id\":2}\n");
    client_got(c, "* read_event {\"user\":\"alice\",\"peer\":\"carol\",\"msg_id\":2}\n");
    client_asks(world, a2, CMD_UNREAD, "{}",
                "< unread {\"result\":\"success\",\"unread\":[{\"user\":\"bob\",\"count\":1,\"latest\":1},"
                "{\"group\":\"tea\",\"count\":1,\"latest\":4}]}");
    client_asks(world, a, CMD_READ, "{\"user\":\"nobody\",\"msg_id\":0}", "< read " NO_USER);
    client_asks(world, c, CMD_READ, "{\"user\":\"bob\",\"msg_id\":0}", "< read " OK);
    client_asks(world, c, CMD_READ, "{\"group\":\"tea\",\"msg_id\":0}", "< read " NOT_MEMBER);
    world_expect_silence(world);
    world_check(world);
    world_free(world);
}

/* Sending does not move the mark; notes are never unread, and have one event a session. */
static void test_marks_of_own_messages(void **state)
{
    struct world *world = world_new(1);
    struct client *a = world_login(world, 0, "alice"), *a2 = world_login(world, 0, "alice");
    struct client *b = world_login(world, 0, "bob");

    (void)state;
    client_send(world, b, CMD_PRIVATE_CHAT, "{\"user_to\":\"alice\",\"text\":\"1\"}");
    client_send(world, a, CMD_PRIVATE_CHAT, "{\"user_to\":\"bob\",\"text\":\"2\"}");
    client_send(world, a, CMD_PRIVATE_CHAT, "{\"user_to\":\"alice\",\"text\":\"note\"}");
    world_run(world);
    world_hush(world);
    client_asks(world, a, CMD_UNREAD, "{}",
                "< unread {\"result\":\"success\",\"unread\":[{\"user\":\"bob\",\"count\":1,\"latest\":2}]}");
    client_asks(world, a, CMD_READ, "{\"user\":\"bob\",\"msg_id\":1}", "< read " OK);
    world_hush(world);
    client_asks(world, a, CMD_UNREAD, "{}", "< unread {\"result\":\"success\",\"unread\":[]}");
    client_asks(world, a, CMD_READ, "{\"user\":\"alice\",\"msg_id\":1}", "< read " OK);
    client_got(a2, "* read_event {\"user\":\"alice\",\"peer\":\"alice\",\"msg_id\":1}\n");
    world_expect_silence(world);
    world_check(world);
    world_free(world);
}

/* One who comes back goes on counting his messages where he left off. */
static void test_own_messages_of_one_who_returns(void **state)
{
    struct world *world = world_new(1);
    struct client *a = world_login(world, 0, "alice"), *b = world_login(world, 0, "bob");

    (void)state;
    client_send(world, a, CMD_GROUP_CREATE, "{\"group\":\"tea\"}");
    client_send(world, b, CMD_GROUP_JOIN, "{\"group\":\"tea\"}");
    client_send(world, b, CMD_GROUP_CHAT, "{\"group\":\"tea\",\"text\":\"1\",\"id\":\"x\"}");
    client_send(world, b, CMD_GROUP_LEAVE, "{\"group\":\"tea\"}");
    client_send(world, a, CMD_GROUP_CHAT, "{\"group\":\"tea\",\"text\":\"2\"}");
    client_send(world, b, CMD_GROUP_JOIN, "{\"group\":\"tea\"}");
    world_run(world);
    world_hush(world);
    client_asks(world, b, CMD_UNREAD, "{}", "< unread {\"result\":\"success\",\"unread\":[]}");
    client_asks(world, b, CMD_GROUP_CHAT, "{\"group\":\"tea\",\"text\":\"3\"}", "< group_chat " SENT(3, 1000));
    client_asks(world, b, CMD_GROUP_CHAT, "{\"group\":\"tea\",\"text\":\"3\",\"id\":\"x\"}",
                "< group_chat " SENT(1, 1000));
    client_asks(world, a, CMD_UNREAD, "{}",
                "* group_chat_recv {\"group\":\"tea\",\"user_from\":\"bob\",\"text\":\"3\",\"msg_id\":3,"
                "\"time\":1000}\n"
                "< unread {\"result\":\"success\",\"unread\":[{\"group\":\"tea\",\"count\":2,\"latest\":3}]}");
    world_check(world);
    world_free(world);
}

static void test_unread_is_bounded(void **state)
{
    struct world *world = world_new(1);
    struct client *a = world_login(world, 0, "alice");
    unsigned listed = 0;
    const char *got;

    (void)state;
    for (int i = 0; i < UNREAD_MAX + 4; i++) {
        char name[16];

        snprintf(name, sizeof name, "u%d", i);
        client_send(world, world_login(world, 0, name), CMD_PRIVATE_CHAT, "{\"user_to\":\"alice\",\"text\":\"x\"}");
    }
    world_run(world);
    world_hush(world);
    client_send(world, a, CMD_UNREAD, "{}");
    world_run(world);
    got = client_take(a);
    assert_non_null(strstr(got, "[{\"user\":\"u259\",\"count\":1,\"latest\":1},{\"user\":\"u258\","));
    for (const char *at = got; (at = strstr(at, "\"user\":")) != NULL; at++)
        listed++;
    assert_int_equal(listed, UNREAD_MAX);
    assert_null(strstr(got, "\"u3\""));
    world_check(world);
    world_free(world);
}

static void test_typing(void **state)
{
    struct world *world = world_new(2);
    struct client *a = world_login(world, 0, "alice"), *a2 = world_login(world, 1, "alice");
    struct client *b = world_login(world, 1, "bob");

    (void)state;
    client_send(world, a, CMD_GROUP_CREATE, "{\"group\":\"tea\"}");
    world_run(world);
    world_hush(world);
    client_asks(world, b, CMD_TYPING, "{\"group\":\"tea\"}", "< typing " NOT_MEMBER);
    client_asks(world, b, CMD_TYPING, "{\"group\":\"none\"}", "< typing " NO_GROUP);
    client_asks(world, b, CMD_TYPING, "{\"user\":\"none\"}", "< typing " NO_USER);
    client_asks(world, b, CMD_GROUP_JOIN, "{\"group\":\"tea\"}", "< group_join " OK);
    world_hush(world);
    client_asks(world, a, CMD_TYPING, "{\"group\":\"tea\"}", "< typing " OK);
    client_got(b, "* typing_event {\"user\":\"alice\",\"group\":\"tea\"}\n");
    client_asks(world, b, CMD_TYPING, "{\"user\":\"alice\"}", "< typing " OK);
    client_got(a, "* typing_event {\"user\":\"bob\"}\n");
    client_got(a2, "* typing_event {\"user\":\"bob\"}\n");
    client_asks(world, a, CMD_TYPING, "{\"user\":\"alice\"}", "< typing " OK);
    world_expect_silence(world);
    assert_int_equal(world->store.commits, 4); /* two accounts, the group, the member: typing is not stored */
    world_free(world);
}

/* One transaction a batch, and none where nothing is written. */
static void test_commits(void **state)
{
    struct world *world = world_new(1);
    struct client *a = world_login(world, 0, "alice");
    unsigned before;

    (void)state;
    client_send(world, a, CMD_GROUP_CREATE, "{\"group\":\"tea\"}");
    world_run(world);
    before = world->store.commits;
    for (int i = 0; i < 100; i++)
        client_send(world, a, CMD_GROUP_CHAT, "{\"group\":\"tea\",\"text\":\"x\"}");
    world_run(world);
    assert_int_equal(world->store.commits, before + 1);
    assert_int_equal(COUNTER_READ(engine_counters(world->engine), store_commits_total), before + 1);
    client_send(world, a, CMD_GROUP_LIST, "{}");
    client_send(world, a, CMD_HISTORY, "{\"group\":\"tea\"}");
    client_send(world, a, CMD_READ, "{\"group\":\"tea\",\"msg_id\":0}");
    world_run(world);
    assert_int_equal(world->store.commits, before + 1);
    world_free(world);
}

/* An inbox past its bound: the engine waits, loses nothing, and goes on when it is emptied. */
static void test_full_inbox(void **state)
{
    struct world *world = world_new(1);
    struct client *a = world_login(world, 0, "alice");

    (void)state;
    client_send(world, a, CMD_GROUP_CREATE, "{\"group\":\"tea\"}");
    atomic_store(&world->inboxes.full, 1);
    engine_submit(world->engine, world->batch);
    world->batch = NULL;
    assert_false(engine_run(world->engine));
    assert_true(engine_pending(world->engine));
    assert_int_equal(COUNTER_READ(engine_counters(world->engine), store_queue), 1);
    atomic_store(&world->inboxes.full, 0);
    world_run(world);
    client_got(a, "< group_create " OK "\n");
    assert_int_equal(COUNTER_READ(engine_counters(world->engine), store_queue), 0);
    assert_true(engine_accepting(world->engine));
    world_free(world);
}

static void expect_none_waiting(void *arg)
{
    struct world *world = arg;

    assert_int_equal(COUNTER_READ(engine_counters(world->engine), store_queue), 0);
    world->inbox[0].wake_arg = NULL; /* it was called */
}

/* S-7: who is told that its request is committed finds it waiting for no commit. */
static void test_queue_is_counted_down_before_the_reply(void **state)
{
    struct world *world = world_new(1);
    struct client *a = world_login(world, 0, "alice");

    (void)state;
    world->inbox[0].wake = expect_none_waiting;
    world->inbox[0].wake_arg = world;
    client_send(world, a, CMD_GROUP_CREATE, "{\"group\":\"tea\"}");
    assert_true(inbox_sleep(&world->inbox[0]));
    world_run(world);
    inbox_wake_up(&world->inbox[0]);
    assert_null(world->inbox[0].wake_arg);
    client_got(a, "< group_create " OK "\n");
    world_free(world);
}

/* What is larger than a batch is cut, and comes out in its order. */
static void test_large_batches_are_cut(void **state)
{
    struct world *world = world_new(1);
    struct client *a = world_login(world, 0, "alice");
    char expected[128];
    const char *at;
    unsigned before;

    (void)state;
    client_send(world, a, CMD_GROUP_CREATE, "{\"group\":\"tea\"}");
    world_run(world);
    world_hush(world);
    before = world->store.commits;
    for (int i = 1; i <= 2 * ENGINE_BATCH_MAX_REQUESTS + 1; i++)
        client_send(world, a, CMD_GROUP_CHAT, "{\"group\":\"tea\",\"text\":\"x\"}");
    world_run(world);
    assert_int_equal(world->store.commits, before + 3);
    at = client_take(a);
    for (int i = 1; i <= 2 * ENGINE_BATCH_MAX_REQUESTS + 1; i++) {
        snprintf(expected, sizeof expected, "< group_chat {\"result\":\"success\",\"msg_id\":%d,\"time\":1000}\n", i);
        assert_memory_equal(at, expected, strlen(expected));
        at += strlen(expected);
    }
    world_free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_to_a_group_over_hubs),
        cmocka_unit_test(test_time_never_goes_back),
        cmocka_unit_test(test_to_a_user),
        cmocka_unit_test(test_repeats),
        cmocka_unit_test(test_history_ranges),
        cmocka_unit_test(test_history_that_fits),
        cmocka_unit_test(test_unread_and_read),
        cmocka_unit_test(test_marks_of_own_messages),
        cmocka_unit_test(test_own_messages_of_one_who_returns),
        cmocka_unit_test(test_unread_is_bounded),
        cmocka_unit_test(test_typing),
        cmocka_unit_test(test_commits),
        cmocka_unit_test(test_full_inbox),
        cmocka_unit_test(test_queue_is_counted_down_before_the_reply),
        cmocka_unit_test(test_large_batches_are_cut),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
