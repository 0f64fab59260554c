/* test_engine_groups.c - groups, their events over several hubs, and their limits (section G, A-9). */
#include "support_engine.h"

#include <stdio.h>
#include <string.h>

#define OK "{\"result\":\"success\"}"
#define NO_GROUP "{\"result\":\"group_not_exist\",\"message\":\"There is no group of this name.\"}"
#define NOT_MEMBER "{\"result\":\"not_member\",\"message\":\"You are not a member of this group.\"}"
#define NOT_OWNER "{\"result\":\"not_owner\",\"message\":\"Only the owner of the group may do this.\"}"
#define EVENT(user, event) "* group_event {\"group\":\"tea\",\"user\":\"" user "\",\"event\":\"" event "\"}\n"

static void test_create(void **state)
{
    struct world *world = world_new(2);
    struct client *a = world_login(world, 0, "alice"), *a2 = world_login(world, 1, "alice");
    struct client *b = world_login(world, 0, "bob");

    (void)state;
    client_asks(world, a, CMD_GROUP_CREATE, "{\"group\":\"tea\",\"title\":\"Tea\"}", "< group_create " OK);
    client_got(a2, EVENT("alice", "joined"));
    client_asks(world, b, CMD_GROUP_CREATE, "{\"group\":\"tea\"}",
                "< group_create {\"result\":\"failure\",\"reason\":\"group_exists\",\"message\":\"This name is "
                "taken.\"}");
    client_asks(world, a2, CMD_GROUP_LIST, "{}",
                "< group_list {\"result\":\"success\",\"groups\":[{\"group\":\"tea\",\"title\":\"Tea\"}]}");
    world_expect_silence(world);
    world_check(world);
    world_free(world);
}

/* G-5: who was a member before gets it, and who is one after. */
static void test_events_of_joining_and_leaving(void **state)
{
    struct world *world = world_new(3);
    struct client *a = world_login(world, 0, "alice"), *b = world_login(world, 1, "bob");
    struct client *b2 = world_login(world, 2, "bob");

    (void)state;
    client_asks(world, a, CMD_GROUP_CREATE, "{\"group\":\"tea\"}", "< group_create " OK);
    client_asks(world, b, CMD_GROUP_JOIN, "{\"group\":\"tea\"}", "< group_join " OK);
    client_got(a, EVENT("bob", "joined"));
    client_got(b2, EVENT("bob", "joined"));
    client_asks(world, b2, CMD_GROUP_JOIN, "{\"group\":\"tea\"}", "< group_join " OK);
    world_expect_silence(world);
    client_asks(world, b2, CMD_GROUP_LEAVE, "{\"group\":\"tea\"}", "< group_leave " OK);
    client_got(a, EVENT("bob", "left"));
    client_got(b, EVENT("bob", "left"));
    client_asks(world, b2, CMD_GROUP_LEAVE, "{\"group\":\"tea\"}", "< group_leave " NOT_MEMBER);
    client_asks(world, a, CMD_GROUP_LEAVE, "{\"group\":\"tea\"}",
                "< group_leave {\"result\":\"failure\",\"reason\":\"owner\",\"message\":\"The owner cannot leave the "
                "group, but may dismiss it.\"}");
    assert_int_equal(b->group_count + b2->group_count, 0);
    world_expect_silence(world);
    world_check(world);
    world_free(world);
}

static void test_kick(void **state)
{
    struct world *world = world_new(2);
    struct client *a = world_login(world, 0, "alice"), *b = world_login(world, 1, "bob");
    struct client *c = world_login(world, 1, "carol");

    (void)state;
    client_send(world, a, CMD_GROUP_CREATE, "{\"group\":\"tea\"}");
    client_send(world, b, CMD_GROUP_JOIN, "{\"group\":\"tea\"}");
    world_run(world);
    world_hush(world);
    client_asks(world, c, CMD_GROUP_KICK, "{\"group\":\"tea\",\"user\":\"bob\"}", "< group_kick " NOT_OWNER);
    client_asks(world, b, CMD_GROUP_KICK, "{\"group\":\"tea\",\"user\":\"alice\"}", "< group_kick " NOT_OWNER);
    client_asks(world, a, CMD_GROUP_KICK, "{\"group\":\"milk\",\"user\":\"bob\"}", "< group_kick " NO_GROUP);
    client_asks(world, a, CMD_GROUP_KICK, "{\"group\":\"tea\",\"user\":\"alice\"}",
                "< group_kick {\"result\":\"bad_request\",\"field\":\"user\",\"message\":\"The owner cannot be kicked "
                "out of the group.\"}");
    client_asks(world, a, CMD_GROUP_KICK, "{\"group\":\"tea\",\"user\":\"nobody\"}",
                "< group_kick {\"result\":\"not_member\",\"message\":\"This user is not a member of the group.\"}");
    client_asks(world, a, CMD_GROUP_KICK, "{\"group\":\"tea\",\"user\":\"bob\"}", "< group_kick " OK);
    client_got(b, EVENT("bob", "kicked"));
    client_asks(world, b, CMD_GROUP_INFO, "{\"group\":\"tea\"}", "< group_info " NOT_MEMBER);
    client_asks(world, b, CMD_GROUP_JOIN, "{\"group\":\"tea\"}", "< group_join " OK); /* any user may */
    world_hush(world);
    world_expect_silence(world);
    world_check(world);
    world_free(world);
}

/* The name is free at once, and the new group has nothing of the old one. */
static void test_dismiss(void **state)
{
    struct world *world = world_new(2);
    struct client *a = world_login(world, 0, "alice"), *b = world_login(world, 1, "bob");

    (void)state;
    client_send(world, a, CMD_GROUP_CREATE, "{\"group\":\"tea\"}");
    client_send(world, b, CMD_GROUP_JOIN, "{\"group\":\"tea\"}");
    client_send(world, b, CMD_GROUP_CHAT, "{\"group\":\"tea\",\"text\":\"hi\",\"id\":\"1\"}");
    world_run(world);
    world_hush(world);
    client_asks(world, b, CMD_GROUP_DISMISS, "{\"group\":\"tea\"}", "< group_dismiss " NOT_OWNER);
    /* All in one batch. */
    client_send(world, a, CMD_GROUP_DISMISS, "{\"group\":\"tea\"}");
    client_send(world, b, CMD_GROUP_LIST, "{}");
    client_send(world, b, CMD_GROUP_CREATE, "{\"group\":\"tea\"}");
    client_send(world, b, CMD_GROUP_CHAT, "{\"group\":\"tea\",\"text\":\"new\",\"id\":\"1\"}");
    client_send(world, a, CMD_GROUP_CHAT, "{\"group\":\"tea\",\"text\":\"hi\"}");
    client_send(world, b, CMD_HISTORY, "{\"group\":\"tea\"}");
    world_run(world);
    client_got(a, "< group_dismiss " OK "\n< group_chat " NOT_MEMBER "\n");
    client_got(b,
               EVENT("alice",
                     "dismissed") "< group_list {\"result\":\"success\",\"groups\":[]}\n"
                                  "< group_create " OK
                                  "\n< group_chat {\"result\":\"success\",\"msg_id\":1,\"time\":1000}\n"
                                  "< history {\"result\":\"success\",\"messages\":[{\"msg_id\":1,\"user_from\":\"bob\","
                                  "\"text\":\"new\",\"time\":1000}],\"more\":false}\n");
    client_asks(world, a, CMD_GROUP_DISMISS, "{\"group\":\"tea\"}", "< group_dismiss " NOT_OWNER);
    client_asks(world, b, CMD_GROUP_DISMISS, "{\"group\":\"tea\"}", "< group_dismiss " OK);
    client_asks(world, b, CMD_GROUP_DISMISS, "{\"group\":\"tea\"}", "< group_dismiss " NO_GROUP);
    /* Nothing of them is left in memory either. */
    assert_int_equal(world->engine->model.memberships.count, 0);
    assert_int_equal(world->engine->model.conversations_by_number.count, 0);
    world_expect_silence(world);
    world_check(world);
    world_free(world);
}

static void test_info(void **state)
{
    struct world *world = world_new(1);
    struct client *a = world_login(world, 0, "alice"), *b = world_login(world, 0, "bob");
    struct client *c = world_login(world, 0, "Zed");

    (void)state;
    world->unix_ms = 1234;
    client_send(world, b, CMD_GROUP_CREATE, "{\"group\":\"tea\",\"title\":\"T\"}");
    client_send(world, a, CMD_GROUP_JOIN, "{\"group\":\"tea\"}");
    client_send(world, c, CMD_GROUP_JOIN, "{\"group\":\"tea\"}");
    world_run(world);
    world_hush(world);
#define INFO(members)                                                                                            \
    "< group_info {\"result\":\"success\",\"group\":\"tea\",\"title\":\"T\",\"owner\":\"bob\",\"created\":1234," \
    "\"count\":3,\"members\":[" members "]}"
    client_asks(world, a, CMD_GROUP_INFO, "{\"group\":\"tea\"}", INFO("\"Zed\",\"alice\",\"bob\""));
    client_asks(world, a, CMD_GROUP_INFO, "{\"group\":\"tea\",\"after\":\"Zed\"}", INFO("\"alice\",\"bob\""));
    client_asks(world, a, CMD_GROUP_INFO, "{\"group\":\"tea\",\"after\":\"alicf\"}", INFO("\"bob\""));
    client_asks(world, a, CMD_GROUP_INFO, "{\"group\":\"tea\",\"after\":\"bob\"}", INFO(""));
    client_asks(world, a, CMD_GROUP_INFO, "{\"group\":\"teb\"}", "< group_info " NO_GROUP);
    world_check(world);
    world_free(world);
}

static void test_groups_of_one_user_are_bounded(void **state)
{
    struct world *world = world_new(1);
    struct client *a = world_login(world, 0, "alice"), *b = world_login(world, 0, "bob");

    (void)state;
    for (int i = 0; i < USER_GROUPS_MAX; i++)
        client_send(world, a, CMD_GROUP_CREATE, "{\"group\":\"g%d\"}", i);
    client_send(world, b, CMD_GROUP_CREATE, "{\"group\":\"tea\"}");
    world_run(world);
    world_hush(world);
#define FULL \
    "{\"result\":\"failure\",\"reason\":\"too_many\",\"message\":\"You are in as many groups as are allowed.\"}"
    client_asks(world, a, CMD_GROUP_CREATE, "{\"group\":\"one-more\"}", "< group_create " FULL);
    client_asks(world, a, CMD_GROUP_JOIN, "{\"group\":\"tea\"}", "< group_join " FULL);
    client_asks(world, a, CMD_GROUP_JOIN, "{\"group\":\"g0\"}", "< group_join " OK);
    /* One that was just dismissed does not count, though it may not be forgotten yet. */
    client_send(world, a, CMD_GROUP_DISMISS, "{\"group\":\"g7\"}");
    client_send(world, a, CMD_GROUP_JOIN, "{\"group\":\"tea\"}");
    world_run(world);
    client_got(a, "< group_dismiss " OK "\n< group_join " OK "\n");
    client_got(b, EVENT("alice", "joined"));
    world_check(world);
    world_free(world);
}

/* 10,000 members, added to the model by hand: as many accounts would take a while. */
static void test_members_are_bounded(void **state)
{
    struct world *world = world_new(1);
    struct client *a = world_login(world, 0, "alice"), *b = world_login(world, 0, "bob");
    struct model *model = &world->engine->model;
    struct journal journal = {0};
    struct group *group;
    const char *got;
    enum { CHANGES_ENTRIES = 2 * MODEL_CHANGE_ENTRIES }; /* a user and a membership */

    (void)state;
    client_asks(world, a, CMD_GROUP_CREATE, "{\"group\":\"tea\"}", "< group_create " OK);
    group = model_group_named(model, slice_of("tea"));
    for (uint32_t i = 1; i < GROUP_MEMBERS_MAX; i++) {
        const struct store_profile profile = {0};
        struct user *user;
        char name[16];

        snprintf(name, sizeof name, "m%05u", i);
        assert_true(journal_reserve(&journal, CHANGES_ENTRIES));
        user = model_add_user(model, &journal, model->user_count + 1, slice_of(name), slice_of("x"), &profile);
        assert_non_null(model_join(model, &journal, user, group, 0, 0));
        journal_commit(&journal);
    }
    journal_fini(&journal);
    client_asks(world, b, CMD_GROUP_JOIN, "{\"group\":\"tea\"}",
                "< group_join {\"result\":\"failure\",\"reason\":\"too_many\",\"message\":\"The group has as many "
                "members as are allowed.\"}");
    /* G-6: a thousand at a time. */
    client_send(world, a, CMD_GROUP_INFO, "{\"group\":\"tea\",\"after\":\"m00001\"}");
    world_run(world);
    got = client_take(a);
    assert_non_null(strstr(got, "\"count\":10000,\"members\":[\"m00002\","));
    assert_non_null(strstr(got, "\"m01001\"]}\n"));
    /* Dismissed in one step, forgotten in slices. */
    client_send(world, a, CMD_GROUP_DISMISS, "{\"group\":\"tea\"}");
    world_run(world);
    assert_int_equal(model->memberships.count, 0);
    world_free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_create),
        cmocka_unit_test(test_events_of_joining_and_leaving),
        cmocka_unit_test(test_kick),
        cmocka_unit_test(test_dismiss),
        cmocka_unit_test(test_info),
        cmocka_unit_test(test_groups_of_one_user_are_bounded),
        cmocka_unit_test(test_members_are_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
