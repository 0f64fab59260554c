/* test_engine_friends.c - friend requests, friendships, and their limits (P-1 to P-3, A-9). */
#include "support_engine.h"

#include <stdio.h>

#define OK "{\"result\":\"success\"}"
#define NO_REQUEST "{\"result\":\"no_request\",\"message\":\"There is no friend request from this user.\"}"
#define NOT_FRIENDS "{\"result\":\"not_friends\",\"message\":\"You are not friends.\"}"
#define FULL                                                                                               \
    "{\"result\":\"failure\",\"reason\":\"too_many\",\"message\":\"One of you has as many friends as are " \
    "allowed. The request stays pending.\"}"

static void test_ask_and_accept(void **state)
{
    struct world *world = world_new(2);
    struct client *a = world_login(world, 0, "alice"), *a2 = world_login(world, 1, "alice");
    struct client *b = world_login(world, 0, "bob"), *b2 = world_login(world, 1, "bob");

    (void)state;
    client_asks(world, a, CMD_FRIEND_ADD, "{\"user\":\"bob\",\"text\":\"Hi\\\"\"}", "< friend_add " OK);
    client_got(b, "* friend_request {\"user\":\"alice\",\"text\":\"Hi\\\"\"}\n");
    client_got(b2, "* friend_request {\"user\":\"alice\",\"text\":\"Hi\\\"\"}\n");
    client_asks(world, a2, CMD_FRIEND_ADD, "{\"user\":\"bob\",\"text\":\"again\"}", "< friend_add " OK);
    world_expect_silence(world);
    client_asks(world, b, CMD_FRIEND_ANSWER, "{\"user\":\"alice\",\"accept\":true}", "< friend_answer " OK);
    client_got(a, "* friend_event {\"user\":\"bob\",\"event\":\"accepted\"}\n");
    client_got(a2, "* friend_event {\"user\":\"bob\",\"event\":\"accepted\"}\n");
    client_got(b2, "* friend_event {\"user\":\"alice\",\"event\":\"accepted\"}\n");
    client_asks(world, b, CMD_FRIEND_ANSWER, "{\"user\":\"alice\",\"accept\":true}", "< friend_answer " NO_REQUEST);
    client_asks(world, b, CMD_FRIEND_ADD, "{\"user\":\"alice\"}",
                "< friend_add {\"result\":\"already_friends\",\"message\":\"You are friends already.\"}");
    world_expect_silence(world);
    world_check(world);
    world_free(world);
}

static void test_both_ask(void **state)
{
    struct world *world = world_new(1);
    struct client *a = world_login(world, 0, "alice"), *b = world_login(world, 0, "bob");
    struct client *b2 = world_login(world, 0, "bob");

    (void)state;
    client_asks(world, a, CMD_FRIEND_ADD, "{\"user\":\"bob\"}", "< friend_add " OK);
    world_hush(world);
    client_asks(world, b, CMD_FRIEND_ADD, "{\"user\":\"alice\"}", "< friend_add " OK);
    client_got(a, "* friend_event {\"user\":\"bob\",\"event\":\"accepted\"}\n");
    client_got(b2, "* friend_event {\"user\":\"alice\",\"event\":\"accepted\"}\n");
    client_asks(world, a, CMD_FRIEND_ANSWER, "{\"user\":\"bob\",\"accept\":true}", "< friend_answer " NO_REQUEST);
    world_expect_silence(world);
    world_check(world);
    world_free(world);
}

static void test_reject_and_ask_again(void **state)
{
    struct world *world = world_new(1);
    struct client *a = world_login(world, 0, "alice"), *b = world_login(world, 0, "bob");

    (void)state;
    client_asks(world, a, CMD_FRIEND_ADD, "{\"user\":\"bob\"}", "< friend_add " OK);
    world_hush(world);
    client_asks(world, b, CMD_FRIEND_ANSWER, "{\"user\":\"alice\",\"accept\":false}", "< friend_answer " OK);
    client_got(a, "* friend_event {\"user\":\"bob\",\"event\":\"rejected\"}\n");
    client_asks(world, a, CMD_FRIEND_ADD, "{\"user\":\"bob\"}", "< friend_add " OK);
    client_got(b, "* friend_request {\"user\":\"alice\",\"text\":\"\"}\n");
    world_check(world);
    world_free(world);
}

static void test_remove(void **state)
{
    struct world *world = world_new(1);
    struct client *a = world_login(world, 0, "alice"), *a2 = world_login(world, 0, "alice");
    struct client *b = world_login(world, 0, "bob");

    (void)state;
    client_send(world, a, CMD_FRIEND_ADD, "{\"user\":\"bob\"}");
    client_send(world, b, CMD_FRIEND_ADD, "{\"user\":\"alice\"}");
    world_run(world);
    world_hush(world);
    client_asks(world, a, CMD_FRIEND_REMOVE, "{\"user\":\"bob\"}", "< friend_remove " OK);
    client_got(a2, "* friend_event {\"user\":\"bob\",\"event\":\"removed\"}\n");
    client_got(b, "* friend_event {\"user\":\"alice\",\"event\":\"removed\"}\n");
    client_asks(world, b, CMD_FRIEND_REMOVE, "{\"user\":\"alice\"}", "< friend_remove " NOT_FRIENDS);
    client_asks(world, a, CMD_FRIEND_LIST, "{}", "< friend_list {\"result\":\"success\",\"friends\":[]}");
    world_expect_silence(world);
    world_check(world);
    world_free(world);
}

/* Q-9, and the names that no account has. */
static void test_refusals(void **state)
{
    struct world *world = world_new(1);
    struct client *a = world_login(world, 0, "alice");

    (void)state;
    client_asks(world, a, CMD_FRIEND_ADD, "{\"user\":\"nobody\"}",
                "< friend_add {\"result\":\"user_not_exist\",\"message\":\"There is no user of this name.\"}");
    client_asks(world, a, CMD_FRIEND_ADD, "{\"user\":\"alice\"}",
                "< friend_add {\"result\":\"bad_request\",\"field\":\"user\",\"message\":\"You cannot be your own "
                "friend.\"}");
    client_asks(world, a, CMD_FRIEND_ANSWER, "{\"user\":\"nobody\",\"accept\":true}", "< friend_answer " NO_REQUEST);
    client_asks(world, a, CMD_FRIEND_ANSWER, "{\"user\":\"alice\",\"accept\":true}", "< friend_answer " NO_REQUEST);
    client_asks(world, a, CMD_FRIEND_REMOVE, "{\"user\":\"nobody\"}", "< friend_remove " NOT_FRIENDS);
    client_asks(world, a, CMD_FRIEND_REMOVE, "{\"user\":\"alice\"}", "< friend_remove " NOT_FRIENDS);
    world_expect_silence(world);
    world_free(world);
}

static struct client *login_number(struct world *world, int number)
{
    char name[16];

    snprintf(name, sizeof name, "u%d", number);
    return world_login(world, 0, name);
}

/* 64 pending requests to one; the one more is told so, and may ask when there is room. */
static void test_pending_requests_are_bounded(void **state)
{
    struct world *world = world_new(1);
    struct client *a = world_login(world, 0, "alice"), *client;

    (void)state;
    for (int i = 0; i < USER_REQUESTS_MAX; i++)
        client_asks(world, login_number(world, i), CMD_FRIEND_ADD, "{\"user\":\"alice\"}", "< friend_add " OK);
    client = login_number(world, USER_REQUESTS_MAX);
    client_asks(world, client, CMD_FRIEND_ADD, "{\"user\":\"alice\"}",
                "< friend_add {\"result\":\"failure\",\"reason\":\"too_many\",\"message\":\"This user has as many "
                "pending friend requests as are allowed.\"}");
    world_hush(world);
    client_asks(world, &world->clients[1], CMD_FRIEND_ADD, "{\"user\":\"alice\"}", "< friend_add " OK);
    client_asks(world, a, CMD_FRIEND_ANSWER, "{\"user\":\"u7\",\"accept\":false}", "< friend_answer " OK);
    client_asks(world, client, CMD_FRIEND_ADD, "{\"user\":\"alice\"}", "< friend_add " OK);
    world_check(world);
    world_free(world);
}

/* 256 friends; the limit counts for both sides, and a request that meets it stays pending. */
static void test_friends_are_bounded(void **state)
{
    struct world *world = world_new(1);
    struct client *a = world_login(world, 0, "alice"), *last;

    (void)state;
    for (int i = 0; i < USER_FRIENDS_MAX; i++) {
        client_send(world, login_number(world, i), CMD_FRIEND_ADD, "{\"user\":\"alice\"}");
        client_send(world, a, CMD_FRIEND_ANSWER, "{\"user\":\"u%d\",\"accept\":true}", i);
        world_run(world);
    }
    last = login_number(world, USER_FRIENDS_MAX);
    world_hush(world);
    client_asks(world, last, CMD_FRIEND_ADD, "{\"user\":\"alice\"}", "< friend_add " OK);
    world_hush(world);
    client_asks(world, a, CMD_FRIEND_ANSWER, "{\"user\":\"u256\",\"accept\":true}", "< friend_answer " FULL);
    client_asks(world, a, CMD_FRIEND_ADD, "{\"user\":\"u256\"}", "< friend_add " FULL);
    world_expect_silence(world);
    client_asks(world, a, CMD_FRIEND_REMOVE, "{\"user\":\"u0\"}", "< friend_remove " OK);
    client_asks(world, a, CMD_FRIEND_ANSWER, "{\"user\":\"u256\",\"accept\":true}", "< friend_answer " OK);
    world_check(world);
    world_free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ask_and_accept),
        cmocka_unit_test(test_both_ask),
        cmocka_unit_test(test_reject_and_ask_again),
        cmocka_unit_test(test_remove),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_pending_requests_are_bounded),
        cmocka_unit_test(test_friends_are_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
