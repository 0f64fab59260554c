/* test_chat_drain.c - the stop (L-7): what came is answered, everybody gets a bye, and all is over in time. */
#include "support_hub.h"

#include <stdio.h>
#include <string.h>

static struct stage *new_stage(unsigned hubs)
{
    struct options options = stage_options();

    return stage_new(&options, hubs);
}

/* The bye, and nothing after it. */
static void expect_end(struct peer *peer)
{
    peer_expect_bye(peer, "shutdown");
    peer_expect_nothing(peer);
}

/* A peer whose login is being checked. */
static struct peer *connect_and_begin_login(struct stage *stage, unsigned hub, const char *name)
{
    struct peer *peer = stage_connect(stage, hub);

    peer_send(peer, CMD_LOGIN, "{\"user\":\"%s\",\"passwd\":\"password\"}", name);
    stage_settle(stage);
    peer_expect_nothing(peer);
    return peer;
}

static void test_L7_everybody_gets_a_bye(void **state)
{
    struct stage *stage = new_stage(1);
    struct peer *alice = stage_login(stage, 0, "alice"), *stranger = stage_connect(stage, 0);
    struct peer *text = stage_connect(stage, 0), *part = stage_connect(stage, 0);

    (void)state;
    peer_send_bytes(text, "GET / HTTP/1.1\r\n", 16);
    peer_send_bytes(part, "\xC4\xA7\x01", 3);
    stage_settle(stage);
    stage_drain(stage);
    stage_settle(stage);
    expect_end(alice);
    expect_end(stranger); /* a bye to a connection that has sent nothing yet is a frame (F-1) */
    expect_end(part);
    assert_int_equal(text->received.length, 0); /* no bye for HTTP */
    for (size_t i = 0; i < stage->peer_count; i++)
        assert_int_equal(stage->peers[i].phase, SESSION_HALF_CLOSE);
    assert_false(stage_drained(stage));
    for (size_t i = 0; i < stage->peer_count; i++)
        peer_finish(&stage->peers[i]);
    stage_settle(stage);
    assert_true(stage_drained(stage));
    stage_free(stage);
}

static void test_L7_nobody_comes_in(void **state)
{
    struct stage *stage = new_stage(1);

    (void)state;
    stage_drain(stage);
    assert_null(stage_connect(stage, 0)->session);
    stage_settle(stage);
    assert_true(stage_drained(stage));
    stage_free(stage);
}

/* What stands in the sockets is taken up, however much it is; what comes later is not. */
static void test_L7_sockets_are_read_until_they_are_empty(void **state)
{
    struct stage *stage = new_stage(2);
    struct peer *alice = stage_login(stage, 0, "alice"), *bob = stage_login(stage, 1, "bob");
    uint32_t first = alice->seq + 1;

    (void)state;
    for (int i = 0; i < 5000; i++)
        peer_send(alice, CMD_PRIVATE_CHAT, "{\"user_to\":\"bob\",\"text\":\"number %d\"}", i);
    stage_drain(stage);
    while (!alice->drain_told)
        stage_turn(stage, 0);
    peer_send(alice, CMD_PING, "%s", "");
    stage_settle(stage);
    for (uint32_t i = 0; i < 5000; i++) {
        char text[40];

        snprintf(text, sizeof text, "\"number %u\"", i);
        peer_expect_reply(alice, CMD_PRIVATE_CHAT, first + i, "\"success\"");
        peer_expect_push(bob, PUSH_PRIVATE_CHAT_RECV, text); /* all of it before the bye */
    }
    expect_end(alice);
    expect_end(bob);
    stage_free(stage);
}

/* Hashing included; and the byes of all hubs wait for it. */
static void test_L7_waits_for_passwords(void **state)
{
    struct stage *stage = new_stage(3);
    struct peer *alice = stage_login(stage, 0, "alice"), *other;

    (void)state;
    other = connect_and_begin_login(stage, 1, "alice");
    stage_drain(stage);
    stage_pass(stage, 1000);
    peer_expect_nothing(alice);
    peer_expect_nothing(other);
    stage_run(stage); /* the hubs that sleep are woken for it */
    peer_expect_reply(other, CMD_LOGIN, 1, "\"success\"");
    expect_end(other);
    expect_end(alice);
    stage_free(stage);
}

/* A login with requests behind it. */
static void test_L7_requests_held_back_are_answered(void **state)
{
    struct stage *stage = new_stage(1);
    struct peer *other;

    (void)state;
    stage_login(stage, 0, "alice");
    other = connect_and_begin_login(stage, 0, "alice");
    for (int i = 0; i < 100; i++)
        peer_send(other, i % 2 == 0 ? CMD_GROUP_LIST : CMD_PING, "%s", "");
    stage_drain(stage);
    stage_run(stage);
    peer_expect_reply(other, CMD_LOGIN, 1, "\"success\"");
    for (uint32_t i = 0; i < 100; i++)
        peer_expect_reply(other, i % 2 == 0 ? CMD_GROUP_LIST : CMD_PING, i + 2, "\"success\"");
    expect_end(other);
    stage_free(stage);
}

/* L-4 goes on to hold: a peer that does not read its replies has no more of them, and delays the byes. */
static struct peer *hold_back_histories(struct stage *stage)
{
    struct peer *peer = stage_login(stage, 0, "alice");
    static char text[8001];

    memset(text, 'x', sizeof text - 1);
    for (int i = 0; i < 40; i++)
        peer_send(peer, CMD_PRIVATE_CHAT, "{\"user_to\":\"alice\",\"text\":\"%s\"}", text);
    stage_settle(stage);
    assert_int_equal(peer_skip(peer), 40);
    peer_reads(peer, 0);
    for (int i = 0; i < 10; i++)
        peer_send(peer, CMD_HISTORY, "{\"user\":\"alice\"}");
    stage_settle(stage);
    return peer;
}

static void test_L7_replies_wait_for_room(void **state)
{
    struct stage *stage = new_stage(2);
    struct peer *peer = hold_back_histories(stage), *other = stage_connect(stage, 1);

    (void)state;
    stage_drain(stage);
    stage_pass(stage, 2000);
    peer_expect_nothing(other);
    peer_reads(peer, TAKES_ALL);
    stage_settle(stage);
    for (int i = 9; i >= 0; i--)
        peer_expect_reply(peer, CMD_HISTORY, peer->seq - (uint32_t)i, "\"more\":true");
    expect_end(peer);
    expect_end(other);
    stage_free(stage);
}

/* After 3 s the byes are said, whatever is unanswered; what comes of it later is dropped. */
static void test_L7_byes_after_three_seconds(void **state)
{
    struct stage *stage = new_stage(2);
    struct peer *alice = stage_login(stage, 0, "alice"), *other;

    (void)state;
    other = connect_and_begin_login(stage, 1, "alice");
    stage_drain(stage);
    stage_pass(stage, SHUTDOWN_BYE_MS - 1);
    peer_expect_nothing(alice);
    peer_expect_nothing(other);
    stage_pass(stage, 1);
    expect_end(alice);
    expect_end(other);
    assert_int_equal(other->phase, SESSION_HALF_CLOSE);
    stage_run(stage);
    peer_expect_nothing(other);
    stage_free(stage);
}

/* One that ends for another reason of its own says that one. */
static void test_L7_a_broken_frame_behind_a_password(void **state)
{
    struct stage *stage = new_stage(1);
    struct peer *peer;

    (void)state;
    peer = stage_connect(stage, 0);
    peer_send(peer, CMD_REGISTER, "{\"user\":\"alice\",\"passwd\":\"password\"}");
    stage_settle(stage);
    session_close(peer->session, REASON_IDLE_TIMEOUT);
    stage_drain(stage);
    stage_pass(stage, SHUTDOWN_BYE_MS);
    peer_expect_bye(peer, "idle_timeout");
    peer_expect_nothing(peer);
    stage_free(stage);
}

static void test_L7_resets_after_four_and_a_half_seconds(void **state)
{
    struct stage *stage = new_stage(2);
    struct peer *deaf = stage_login(stage, 0, "alice"), *late = hold_back_histories(stage);

    (void)state;
    peer_reads(deaf, 0);
    stage_drain(stage);
    stage_pass(stage, SHUTDOWN_MS - 1);
    assert_int_equal(deaf->phase, SESSION_FLUSH);
    assert_int_equal(late->phase, SESSION_FLUSH);
    assert_false(stage_drained(stage));
    stage_pass(stage, 1);
    assert_int_equal(deaf->phase, SESSION_RESET);
    assert_int_equal(late->phase, SESSION_RESET);
    assert_true(stage_drained(stage));
    stage_free(stage);
}

/* L-9 goes on to hold: who does not close is given 2 s. */
static void test_L7_lingers(void **state)
{
    struct stage *stage = new_stage(1);
    struct peer *alice = stage_login(stage, 0, "alice");

    (void)state;
    stage_drain(stage);
    stage_pass(stage, LINGER_MS - 1);
    assert_int_equal(alice->phase, SESSION_HALF_CLOSE);
    stage_pass(stage, 1 + LINGER_MS / 64);
    assert_int_equal(alice->phase, SESSION_CLOSE);
    assert_true(stage_drained(stage));
    stage_free(stage);
}

/* The end of the sessions is told to no friend; nor is one that comes while others are still answered. */
static void test_L7_no_presence(void **state)
{
    struct stage *stage = new_stage(2);
    struct peer *alice = stage_login(stage, 0, "alice"), *bob = stage_login(stage, 1, "bob"), *other;

    (void)state;
    peer_ask(alice, CMD_FRIEND_ADD, "{\"user\":\"bob\"}");
    peer_ask(bob, CMD_FRIEND_ADD, "{\"user\":\"alice\"}");
    other = connect_and_begin_login(stage, 0, "alice");
    peer_skip(alice);
    peer_skip(bob);
    stage_drain(stage);
    peer_finish(bob);
    stage_settle(stage);
    assert_int_equal(bob->phase, SESSION_CLOSE);
    stage_run(stage);
    expect_end(alice);
    peer_expect_reply(other, CMD_LOGIN, 1, "\"success\"");
    expect_end(other);
    peer_expect_nothing(bob);
    stage_free(stage);
}

/* A peer that finished before is answered, and gets no bye (L-8). */
static void test_L7_of_a_finished_peer(void **state)
{
    struct stage *stage = new_stage(1);
    struct peer *other, *alice = stage_login(stage, 0, "alice");

    (void)state;
    other = connect_and_begin_login(stage, 0, "alice");
    peer_send(other, CMD_PING, "%s", "");
    peer_finish(other);
    stage_settle(stage);
    stage_drain(stage);
    stage_run(stage);
    peer_expect_reply(other, CMD_LOGIN, 1, "\"success\"");
    peer_expect_reply(other, CMD_PING, 2, "\"success\"");
    peer_expect_nothing(other);
    assert_int_equal(other->phase, SESSION_CLOSE);
    expect_end(alice);
    stage_free(stage);
}

/* The hub that is the last to be quiet wakes the others, once; a turn without that would say no bye. */
static void test_L7_the_last_hub_wakes_the_others(void **state)
{
    struct stage *stage = new_stage(2);
    struct peer *first = stage_connect(stage, 0), *last = stage_connect(stage, 1);

    (void)state;
    stage_settle(stage);
    stage_drain(stage);
    stage_turn(stage, 0);
    stage_turn(stage, 0);
    peer_expect_nothing(first);
    assert_int_equal(stage->wakes[0], 0);
    stage_turn(stage, 1);
    assert_int_equal(stage->wakes[0], 1);
    expect_end(last);
    stage_settle(stage);
    expect_end(first);
    stage_free(stage);
}

/* A hub whose last connection breaks may leave its loop before its next turn; nobody waits for it. */
static void test_L7_a_hub_that_leaves_early_keeps_nobody_waiting(void **state)
{
    struct stage *stage = new_stage(2);
    struct peer *alice = stage_login(stage, 0, "alice"), *broken = connect_and_begin_login(stage, 1, "alice");

    (void)state;
    stage_drain(stage);
    stage_settle(stage);
    peer_expect_nothing(alice);
    peer_abort(broken);
    assert_true(hub_drained(stage->hubs[1]));
    stage_settle(stage);
    expect_end(alice);
    stage_free(stage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_L7_everybody_gets_a_bye),
        cmocka_unit_test(test_L7_nobody_comes_in),
        cmocka_unit_test(test_L7_sockets_are_read_until_they_are_empty),
        cmocka_unit_test(test_L7_waits_for_passwords),
        cmocka_unit_test(test_L7_requests_held_back_are_answered),
        cmocka_unit_test(test_L7_replies_wait_for_room),
        cmocka_unit_test(test_L7_byes_after_three_seconds),
        cmocka_unit_test(test_L7_a_broken_frame_behind_a_password),
        cmocka_unit_test(test_L7_resets_after_four_and_a_half_seconds),
        cmocka_unit_test(test_L7_lingers),
        cmocka_unit_test(test_L7_no_presence),
        cmocka_unit_test(test_L7_of_a_finished_peer),
        cmocka_unit_test(test_L7_the_last_hub_wakes_the_others),
        cmocka_unit_test(test_L7_a_hub_that_leaves_early_keeps_nobody_waiting),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
