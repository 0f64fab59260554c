/* test_engine_accounts.c - register, login, logout, passwd, profiles, presence, and who tries passwords. */
#include "support_engine.h"

#include <stdio.h>
#include <string.h>

#define OK "{\"result\":\"success\"}"
#define WRONG "< login {\"result\":\"passwd_error\",\"message\":\"The password is wrong.\"}"
#define LOCKED                                                                                     \
    "< login {\"result\":\"too_many_attempts\",\"message\":\"There were too many wrong passwords " \
    "from your address. Please try again later.\"}"
#define NO_USER "{\"result\":\"user_not_exist\",\"message\":\"There is no user of this name.\"}"
#define EXISTS "{\"result\":\"failure\",\"reason\":\"user_exists\",\"message\":\"This name is taken.\"}"
#define SCREEN "\"friends\":[],\"groups\":[],\"unread\":[],\"requests\":[]}"
#define BUSY                                                                                                 \
    "{\"result\":\"rate_limited\",\"retry_ms\":1000,\"message\":\"The server is busy with other passwords. " \
    "Please try again shortly.\"}"

static void test_register_and_login(void **state)
{
    struct world *world = world_new(1);
    struct client *a = world_connect(world, 0);

    (void)state;
    client_asks(world, a, CMD_LOGIN, "{\"user\":\"alice\",\"passwd\":\"kettle\"}", "< login " NO_USER);
    client_asks(world, a, CMD_REGISTER, "{\"user\":\"alice\",\"passwd\":\"kettle\"}", "< register " OK);
    client_asks(world, a, CMD_REGISTER, "{\"user\":\"alice\",\"passwd\":\"kettle\"}", "< register " EXISTS);
    client_asks(world, a, CMD_LOGIN, "{\"user\":\"alice\",\"passwd\":\"kettlE\"}", WRONG);
    client_asks(world, a, CMD_LOGIN, "{\"user\":\"alice\",\"passwd\":\"kettle\"}",
                "< login {\"result\":\"success\",\"user\":\"alice\"," SCREEN);
    assert_int_equal(a->user, 1);
    client_asks(world, a, CMD_LOGOUT, "{}", "< logout " OK);
    assert_int_equal(a->user, 0);
    client_asks(world, a, CMD_UNREAD, "{}",
                "< unread {\"result\":\"not_logged_in\",\"message\":\"Please log in first.\"}");
    world_check(world);
    world_free(world);
}

/* of several at once exactly one. */
static void test_registrations_at_the_same_time(void **state)
{
    struct world *world = world_new(2);
    int won = 0;

    (void)state;
    for (unsigned i = 0; i < 20; i++)
        client_send(world, world_connect(world, i % 2), CMD_REGISTER, "{\"user\":\"alice\",\"passwd\":\"kettle\"}");
    world_run(world);
    for (size_t i = 0; i < 20; i++) {
        const char *got = client_take(&world->clients[i]);

        won += strcmp(got, "< register " OK "\n") == 0;
        assert_true(strcmp(got, "< register " OK "\n") == 0 || strcmp(got, "< register " EXISTS "\n") == 0);
    }
    assert_int_equal(won, 1);
    world_check(world);
    world_free(world);
}

static void test_sessions_of_one_user(void **state)
{
    struct world *world = world_new(2);
    struct client *sessions[USER_SESSIONS_MAX], *one_more;

    (void)state;
    for (unsigned i = 0; i < USER_SESSIONS_MAX; i++)
        sessions[i] = world_login(world, i % 2, "alice");
    one_more = world_connect(world, 0);
    client_asks(world, one_more, CMD_LOGIN, "{\"user\":\"alice\",\"passwd\":\"password of alice\"}",
                "< login {\"result\":\"too_many_sessions\",\"message\":\"This user is logged in on as many "
                "connections as are allowed.\"}");
    assert_int_equal(one_more->user, 0);
    client_asks(world, sessions[3], CMD_LOGOUT, "{}", "< logout " OK);
    client_asks(world, one_more, CMD_LOGIN, "{\"user\":\"alice\",\"passwd\":\"password of alice\"}",
                "< login {\"result\":\"success\",\"user\":\"alice\"," SCREEN);
    world_check(world);
    world_free(world);
}

/* Phase two judges again: nine right ones at once, eight of them succeed. */
static void test_sessions_that_come_at_the_same_time(void **state)
{
    struct world *world = world_new(1);
    int success = 0;

    (void)state;
    world_login(world, 0, "alice");
    for (int i = 0; i < 9; i++)
        client_send(world, world_connect(world, 0), CMD_LOGIN, "{\"user\":\"alice\",\"passwd\":\"password of alice\"}");
    world_run(world);
    for (size_t i = 1; i < 10; i++)
        success += strncmp(client_take(&world->clients[i]), "< login {\"result\":\"success\"", 27) == 0;
    assert_int_equal(success, USER_SESSIONS_MAX - 1);
    world_check(world);
    world_free(world);
}

static void test_passwd(void **state)
{
    struct world *world = world_new(1);
    struct client *a = world_login(world, 0, "alice"), *b = world_connect(world, 0);

    (void)state;
    client_asks(world, a, CMD_PASSWD, "{\"old\":\"wrong\",\"new\":\"new one\"}",
                "< passwd {\"result\":\"passwd_error\",\"message\":\"The password is wrong.\"}");
    client_asks(world, a, CMD_PASSWD, "{\"old\":\"password of alice\",\"new\":\"new one\"}", "< passwd " OK);
    client_asks(world, b, CMD_LOGIN, "{\"user\":\"alice\",\"passwd\":\"password of alice\"}", WRONG);
    client_asks(world, b, CMD_LOGIN, "{\"user\":\"alice\",\"passwd\":\"new one\"}",
                "< login {\"result\":\"success\",\"user\":\"alice\"," SCREEN);
    world_check(world);
    world_free(world);
}

/* The old password was right when a worker looked, and is not any more when the login would take effect. */
static void test_password_changed_while_a_login_is_checked(void **state)
{
    struct world *world = world_new(1);
    struct client *a = world_login(world, 0, "alice"), *b = world_connect(world, 0);

    (void)state;
    client_send(world, a, CMD_PASSWD, "{\"old\":\"password of alice\",\"new\":\"new one\"}");
    client_send(world, b, CMD_LOGIN, "{\"user\":\"alice\",\"passwd\":\"password of alice\"}");
    world_run_engine(world);
    assert_true(workers_run_one(world->workers) && workers_run_one(world->workers));
    world_run(world);
    client_got(a, "< passwd " OK "\n");
    client_got(b, WRONG "\n");
    world_free(world);
}

static void fail_logins(struct world *world, struct client *client, const char *name, int count)
{
    for (int i = 0; i < count; i++) {
        client_send(world, client, CMD_LOGIN, "{\"user\":\"%s\",\"passwd\":\"wrong\"}", name);
        world_run(world);
        client_got(client, WRONG "\n");
    }
}

static void test_lockout(void **state)
{
    struct world *world = world_new(1);
    struct client *alice = world_login(world, 0, "alice"), *thief = world_connect(world, 0);
    struct client *elsewhere = world_connect(world, 0);

    (void)state;
    fail_logins(world, thief, "alice", PASSWORD_FAILURES_MAX);
    client_asks(world, thief, CMD_LOGIN, "{\"user\":\"alice\",\"passwd\":\"password of alice\"}", LOCKED);
    fail_logins(world, elsewhere, "alice", 1); /* by address */
    client_asks(world, alice, CMD_PASSWD, "{\"old\":\"password of alice\",\"new\":\"new one\"}", "< passwd " OK);
    world->monotonic_ms += world->options.lockout_window_ms;
    client_asks(world, thief, CMD_LOGIN, "{\"user\":\"alice\",\"passwd\":\"new one\"}",
                "< login {\"result\":\"success\",\"user\":\"alice\"," SCREEN);
    world_free(world);
}

static void test_passwd_counts_with_login(void **state)
{
    struct world *world = world_new(1);
    struct client *a = world_login(world, 0, "alice"), *b = world_connect(world, 0);

    (void)state;
    b->address = a->address;
    for (int i = 0; i < 4; i++)
        client_asks(world, a, CMD_PASSWD, "{\"old\":\"wrong\",\"new\":\"new one\"}",
                    "< passwd {\"result\":\"passwd_error\",\"message\":\"The password is wrong.\"}");
    fail_logins(world, b, "alice", 6);
    client_asks(world, a, CMD_PASSWD, "{\"old\":\"password of alice\",\"new\":\"new one\"}",
                "< passwd {\"result\":\"too_many_attempts\",\"message\":\"There were too many wrong passwords from "
                "your address. Please try again later.\"}");
    world_free(world);
}

/* Twenty at once from one address, the fifteenth is right: ten are checked, all wrong, so the others are refused; a
 * right one among the ten would be let in, and the count cleared. */
static void test_many_attempts_at_once(void **state)
{
    struct world *world = world_new(1);
    struct client *clients[20];
    int right;

    (void)state;
    world_login(world, 0, "alice");
    for (right = 5; right < 20; right += 9) {
        for (int i = 0; i < 20; i++) {
            clients[i] = world_connect(world, 0);
            clients[i]->address = (struct peer_address){{(uint8_t)right}};
            client_send(world, clients[i], CMD_LOGIN, "{\"user\":\"alice\",\"passwd\":\"%s\"}",
                        i == right ? "password of alice" : "wrong");
        }
        world_run(world);
        for (int i = 0; i < 20; i++) {
            const char *got = client_take(clients[i]);

            if (right == 5 && i == right)
                assert_non_null(strstr(got, "success"));
            else if (right == 5 ? i < 16 : i < 10)
                assert_string_equal(got, WRONG "\n");
            else
                assert_string_equal(got, LOCKED "\n");
        }
    }
    world_expect_silence(world);
    world_free(world);
}

/* More than the pool takes: told to come back, not counted, and nothing is lost. */
static void test_pool_full(void **state)
{
    struct world *world = world_new(1);
    unsigned busy = 0;

    (void)state;
    for (int i = 0; i < WORKER_QUEUE_MAX + 10; i++)
        client_send(world, world_connect(world, 0), CMD_REGISTER, "{\"user\":\"u%d\",\"passwd\":\"pass\"}", i);
    world_run(world);
    for (size_t i = 0; i < world->client_count; i++)
        busy += strcmp(client_take(&world->clients[i]), "< register " BUSY "\n") == 0;
    assert_int_equal(busy, 10);
    world_expect_silence(world);
    assert_int_equal(world->engine->model.user_count, WORKER_QUEUE_MAX);
    world_free(world);
}

/* Attempts that never got a worker count for nothing. */
static void test_pool_full_is_no_failure(void **state)
{
    struct world *world = world_new(1);
    struct client *thief;

    (void)state;
    world_login(world, 0, "alice");
    thief = world_connect(world, 0);
    for (int i = 0; i < WORKER_QUEUE_MAX; i++)
        client_send(world, world_connect(world, 0), CMD_REGISTER, "{\"user\":\"u%d\",\"passwd\":\"pass\"}", i);
    for (int i = 0; i < 15; i++) {
        struct client *client = world_connect(world, 0);

        client->address = thief->address;
        client_send(world, client, CMD_LOGIN, "{\"user\":\"alice\",\"passwd\":\"wrong\"}");
    }
    world_run(world);
    world_hush(world);
    fail_logins(world, thief, "alice", 1);
    world_free(world);
}

static void test_profiles(void **state)
{
    struct world *world = world_new(1);
    struct client *a = world_connect(world, 0), *b;

    (void)state;
    client_asks(world, a, CMD_REGISTER,
                "{\"user\":\"alice\",\"passwd\":\"password of alice\",\"name\":\"Alice \\\"A\\\"\",\"age\":30,"
                "\"address\":\"Tea Street\",\"email\":\"a@b\"}",
                "< register " OK);
    a = world_login(world, 0, "alice");
    b = world_login(world, 0, "bob");
    client_asks(world, b, CMD_PROFILE_GET, "{\"user\":\"alice\"}",
                "< profile_get {\"result\":\"success\",\"user\":\"alice\",\"name\":\"Alice \\\"A\\\"\",\"sex\":\"\","
                "\"age\":30,\"address\":\"\",\"email\":\"\",\"online\":true}");
    client_asks(world, a, CMD_PROFILE_SET, "{\"sex\":\"female\",\"age\":31,\"email\":\"\"}", "< profile_set " OK);
    client_asks(world, a, CMD_PROFILE_GET, "{\"user\":\"alice\"}",
                "< profile_get {\"result\":\"success\",\"user\":\"alice\",\"name\":\"Alice \\\"A\\\"\","
                "\"sex\":\"female\",\"age\":31,\"address\":\"Tea Street\",\"email\":\"\",\"online\":true}");
    client_asks(world, a, CMD_FRIEND_ADD, "{\"user\":\"bob\"}", "< friend_add " OK);
    client_asks(world, b, CMD_FRIEND_ADD, "{\"user\":\"alice\"}",
                "* friend_request {\"user\":\"alice\",\"text\":\"\"}\n< friend_add " OK);
    client_asks(world, a, CMD_LOGOUT, "{}", "* friend_event {\"user\":\"bob\",\"event\":\"accepted\"}\n< logout " OK);
    client_asks(world, b, CMD_PROFILE_GET, "{\"user\":\"alice\"}",
                "* presence {\"user\":\"alice\",\"online\":false}\n"
                "< profile_get {\"result\":\"success\",\"user\":\"alice\",\"name\":\"Alice \\\"A\\\"\","
                "\"sex\":\"female\",\"age\":31,\"address\":\"Tea Street\",\"email\":\"\",\"online\":false}");
    client_asks(world, b, CMD_PROFILE_GET, "{\"user\":\"carol\"}", "< profile_get " NO_USER);
    client_asks(world, b, CMD_PROFILE_SET, "{}", "< profile_set " OK);
    world_check(world);
    world_free(world);
}

static void befriend(struct world *world, struct client *one, const char *one_name, struct client *other,
                     const char *other_name)
{
    client_send(world, one, CMD_FRIEND_ADD, "{\"user\":\"%s\"}", other_name);
    client_send(world, other, CMD_FRIEND_ADD, "{\"user\":\"%s\"}", one_name);
    world_run(world);
    world_hush(world);
}

/* P-4: the first session and the last one, over several hubs. */
static void test_presence(void **state)
{
    struct world *world = world_new(3);
    struct client *a = world_login(world, 0, "alice"), *a2 = world_login(world, 1, "alice");
    struct client *b = world_login(world, 2, "bob"), *b2, *b3;

    (void)state;
    befriend(world, a, "alice", b, "bob");
    b2 = world_login(world, 0, "bob");
    world_expect_silence(world);
    client_end(world, b);
    world_run(world);
    assert_true(b->ended);
    world_expect_silence(world);
    client_end(world, b2);
    world_run(world);
    client_got(a, "* presence {\"user\":\"bob\",\"online\":false}\n");
    client_got(a2, "* presence {\"user\":\"bob\",\"online\":false}\n");
    b3 = world_login(world, 1, "bob");
    client_got(a, "* presence {\"user\":\"bob\",\"online\":true}\n");
    client_got(a2, "* presence {\"user\":\"bob\",\"online\":true}\n");
    client_asks(world, b3, CMD_FRIEND_LIST, "{}",
                "< friend_list {\"result\":\"success\",\"friends\":[{\"user\":\"alice\",\"name\":\"\","
                "\"online\":true}]}");
    world_expect_silence(world);
    world_check(world);
    world_free(world);
}

/* L-7: the end of a session is told to nobody while the server stops. */
static void test_no_presence_while_draining(void **state)
{
    struct world *world = world_new(1);
    struct client *a = world_login(world, 0, "alice"), *b = world_login(world, 0, "bob");

    (void)state;
    befriend(world, a, "alice", b, "bob");
    engine_drain(world->engine);
    client_end(world, b);
    world_run(world);
    assert_true(b->ended);
    world_expect_silence(world);
    world_free(world);
}

/* The peer has gone while its password was checked: the login takes effect, and then ends, in order. */
static void test_end_of_a_session_that_just_logged_in(void **state)
{
    struct world *world = world_new(1);
    struct client *a = world_login(world, 0, "alice"), *b = world_login(world, 0, "bob"), *b2;

    (void)state;
    befriend(world, a, "alice", b, "bob");
    client_end(world, b);
    world_run(world);
    world_hush(world);
    b2 = world_connect(world, 0);
    client_send(world, b2, CMD_LOGIN, "{\"user\":\"bob\",\"passwd\":\"password of bob\"}");
    client_end(world, b2);
    world_run(world);
    client_got(a, "* presence {\"user\":\"bob\",\"online\":true}\n* presence {\"user\":\"bob\",\"online\":false}\n");
    assert_true(b2->ended);
    world_free(world);
}

/* The first screen, with something in each list. */
static void test_first_screen(void **state)
{
    struct world *world = world_new(1);
    struct client *a = world_login(world, 0, "alice"), *b = world_login(world, 0, "bob"), *c;

    (void)state;
    befriend(world, a, "alice", b, "bob");
    c = world_login(world, 0, "carol");
    client_send(world, a, CMD_GROUP_CREATE, "{\"group\":\"tea\",\"title\":\"Tea \\\\ break\"}");
    client_send(world, b, CMD_GROUP_JOIN, "{\"group\":\"tea\"}");
    client_send(world, b, CMD_GROUP_CHAT, "{\"group\":\"tea\",\"text\":\"hi\"}");
    client_send(world, c, CMD_PRIVATE_CHAT, "{\"user_to\":\"alice\",\"text\":\"hi\"}");
    client_send(world, c, CMD_FRIEND_ADD, "{\"user\":\"alice\",\"text\":\"It is me\"}");
    client_send(world, a, CMD_LOGOUT, "{}");
    world_run(world);
    world_hush(world);
    client_asks(world, a, CMD_LOGIN, "{\"user\":\"alice\",\"passwd\":\"password of alice\"}",
                "< login {\"result\":\"success\",\"user\":\"alice\","
                "\"friends\":[{\"user\":\"bob\",\"name\":\"\",\"online\":true}],"
                "\"groups\":[{\"group\":\"tea\",\"title\":\"Tea \\\\ break\"}],"
                "\"unread\":[{\"user\":\"carol\",\"count\":1,\"latest\":1},{\"group\":\"tea\",\"count\":1,"
                "\"latest\":1}],\"requests\":[{\"user\":\"carol\",\"text\":\"It is me\"}]}");
    assert_int_equal(a->group_count, 1);
    world_check(world);
    world_free(world);
}

static void test_answered_requests_keep_their_place(void **state)
{
    struct world *world = world_new(1);
    struct client *a = world_login(world, 0, "alice");

    (void)state;
    client_send(world, a, CMD_GROUP_CREATE, "{\"group\":\"tea\"}");
    client_send_answered(world, a, "{\"result\":\"success\",\"time\":1}");
    client_send(world, a, CMD_GROUP_LIST, "{}");
    world_run(world);
    client_got(a, "< group_create " OK "\n< ping {\"result\":\"success\",\"time\":1}\n"
                  "< group_list {\"result\":\"success\",\"groups\":[{\"group\":\"tea\",\"title\":\"\"}]}\n");
    world_free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_register_and_login),
        cmocka_unit_test(test_registrations_at_the_same_time),
        cmocka_unit_test(test_sessions_of_one_user),
        cmocka_unit_test(test_sessions_that_come_at_the_same_time),
        cmocka_unit_test(test_passwd),
        cmocka_unit_test(test_password_changed_while_a_login_is_checked),
        cmocka_unit_test(test_lockout),
        cmocka_unit_test(test_passwd_counts_with_login),
        cmocka_unit_test(test_many_attempts_at_once),
        cmocka_unit_test(test_pool_full),
        cmocka_unit_test(test_pool_full_is_no_failure),
        cmocka_unit_test(test_profiles),
        cmocka_unit_test(test_presence),
        cmocka_unit_test(test_no_presence_while_draining),
        cmocka_unit_test(test_end_of_a_session_that_just_logged_in),
        cmocka_unit_test(test_first_screen),
        cmocka_unit_test(test_answered_requests_keep_their_place),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
