/* test_chat_limits.c - timeouts, rates, slow consumers and full servers, to the millisecond where the rule has one.
 *
 * A timeout comes at the first tick after it is due (deadline_list.h): at most a 64th of it later, or half a second.
 */
#include "support_hub.h"

#include <stdio.h>
#include <string.h>

#define TICK_MS(duration_ms) ((duration_ms) / 64 < 500 ? (duration_ms) / 64 : 500)

static struct stage *new_stage(void)
{
    struct options options = stage_options();

    return stage_new(&options, 1);
}

static struct stage *new_stage_limited_to(size_t outbox_limit)
{
    struct options options = stage_options();

    options.outbox_limit = outbox_limit;
    return stage_new(&options, 1);
}

static void expect_open(struct peer *peer)
{
    assert_int_equal(peer->phase, SESSION_OPEN);
    peer_expect_nothing(peer);
}

/* ---- L-1 ---- */

static void test_L1_heartbeats_come_when_nothing_was_sent(void **state)
{
    struct stage *stage = new_stage();
    struct peer *peer = stage_login(stage, 0, "alice");

    (void)state;
    stage_pass(stage, 29999);
    peer_expect_nothing(peer);
    stage_pass(stage, 1 + TICK_MS(30000));
    peer_expect_push(peer, PUSH_HEARTBEAT, "{}");
    stage_pass(stage, 20000);
    peer_send(peer, CMD_PING, "%s", "");
    stage_pass(stage, 29999); /* the reply was a sign of life, too */
    peer_expect_reply(peer, CMD_PING, peer->seq, "\"success\"");
    peer_expect_nothing(peer);
    stage_pass(stage, 1 + TICK_MS(30000));
    peer_expect_push(peer, PUSH_HEARTBEAT, "{}");
    stage_free(stage);
}

static void test_L1_heartbeats_are_for_those_who_are_logged_in(void **state)
{
    struct options options = stage_options();
    struct stage *stage;
    struct peer *peer;

    (void)state;
    options.login_timeout_ms = 100000;
    stage = stage_new(&options, 1);
    peer = stage_login(stage, 0, "alice");
    peer_ask(peer, CMD_LOGOUT, "{}");
    stage_connect(stage, 0);
    stage_pass(stage, 90000);
    peer_expect_nothing(peer);
    peer_expect_nothing(&stage->peers[1]);
    stage_free(stage);
}

/* ---- L-2 ---- */

static void test_L2_idle_timeout(void **state)
{
    struct stage *stage = new_stage();
    struct peer *peer = stage_login(stage, 0, "alice");
    struct message message = {0};

    (void)state;
    stage_pass(stage, 100000);
    peer_send(peer, CMD_PING, "%s", "");
    stage_pass(stage, 119999);
    assert_int_equal(peer->phase, SESSION_OPEN); /* what is sent to it does not count */
    assert_true(peer_skip(peer) > 5);
    stage_pass(stage, 1 + TICK_MS(120000));
    while (peer_next(peer, &message) && message.cmd == PUSH_HEARTBEAT)
        ;
    assert_string_equal(message.json, "{\"reason\":\"idle_timeout\"}");
    assert_int_equal(peer->phase, SESSION_HALF_CLOSE);
    stage_free(stage);
}

static void test_L2_login_timeout(void **state)
{
    struct stage *stage = new_stage();
    struct peer *silent = stage_connect(stage, 0), *busy = stage_connect(stage, 0);

    (void)state;
    for (int second = 1; second < 30; second++) {
        stage_pass(stage, 1000);
        peer_send(busy, CMD_PING, "%s", "");
    }
    stage_pass(stage, 999);
    assert_int_equal(peer_skip(busy), 29);
    expect_open(silent);
    stage_pass(stage, 1 + TICK_MS(30000));
    peer_expect_bye(silent, "login_timeout");
    peer_expect_bye(busy, "login_timeout"); /* whatever else it sends */
    stage_free(stage);
}

/* */
static void test_L2_login_timeout_begins_again_with_a_logout(void **state)
{
    struct stage *stage = new_stage();
    struct peer *peer = stage_login(stage, 0, "alice");

    (void)state;
    stage_pass(stage, 60000);
    peer_skip(peer);
    assert_int_equal(peer->phase, SESSION_OPEN);
    peer_ask(peer, CMD_LOGOUT, "{}");
    stage_pass(stage, 29999);
    expect_open(peer);
    stage_pass(stage, 1 + TICK_MS(30000));
    peer_expect_bye(peer, "login_timeout");
    stage_free(stage);
}

/* A connection whose login is under way when its time is over. */
static struct peer *connect_overdue(struct stage *stage, const char *passwd)
{
    struct peer *peer = stage_connect(stage, 0);

    stage_pass(stage, 29000);
    peer_send(peer, CMD_LOGIN, "{\"user\":\"alice\",\"passwd\":\"%s\"}", passwd);
    stage_pass(stage, 10000);
    expect_open(peer);
    stage_run(stage);
    return peer;
}

static void test_L2_not_while_a_login_is_being_checked(void **state)
{
    struct stage *stage = new_stage();
    struct peer *peer;

    (void)state;
    stage_login(stage, 0, "alice");
    peer = connect_overdue(stage, "password");
    peer_expect_reply(peer, CMD_LOGIN, 1, "\"success\"");
    stage_pass(stage, 29000);
    expect_open(peer);
    peer = connect_overdue(stage, "wrong");
    peer_expect_reply(peer, CMD_LOGIN, 1, "\"passwd_error\"");
    peer_expect_bye(peer, "login_timeout");
    peer_expect_nothing(peer);
    stage_free(stage);
}

/* A registration that is being hashed is no login; but its reply comes first. */
static void test_L2_login_timeout_while_registering(void **state)
{
    struct stage *stage = new_stage();
    struct peer *peer = stage_connect(stage, 0);

    (void)state;
    peer_send(peer, CMD_REGISTER, "{\"user\":\"alice\",\"passwd\":\"password\"}");
    stage_pass(stage, 31000);
    expect_open(peer);
    stage_run(stage);
    peer_expect_reply(peer, CMD_REGISTER, 1, "\"success\"");
    peer_expect_bye(peer, "login_timeout");
    stage_free(stage);
}

/* ---- F-6 ---- */

/* The time runs from the frame's first byte; further bytes do not begin it anew. */
static void test_F6_frame_timeout(void **state)
{
    struct stage *stage = new_stage();
    struct peer *peer = stage_login(stage, 0, "alice");

    (void)state;
    stage_pass(stage, 10000);
    peer_send_bytes(peer, "\xC4\xA7\x01\x00\x00\x01\x00\x00\x00\x00\x00\x07\x00\x00\x10\x00", 16);
    for (int second = 0; second < 29; second++) {
        stage_pass(stage, 1000);
        peer_send_bytes(peer, " ", 1);
    }
    stage_pass(stage, 999);
    assert_int_equal(peer->phase, SESSION_OPEN);
    peer_skip(peer);
    stage_pass(stage, 1 + TICK_MS(30000));
    peer_expect_bye(peer, "frame_timeout");
    stage_free(stage);
}

/* Each frame has its own time. */
static void test_F6_a_complete_frame_ends_the_time(void **state)
{
    struct stage *stage = new_stage();
    struct peer *peer = stage_login(stage, 0, "alice");
    struct buffer frame = {0};

    (void)state;
    peer_send(peer, CMD_PING, "%s", "");
    buffer_append(&frame, peer->to_server.bytes, peer->to_server.length);
    buffer_clear(&peer->to_server);
    for (int i = 0; i < 5; i++) { /* the end of one frame and the beginning of the next in each segment */
        peer_send_bytes(peer, frame.bytes, 11);
        stage_pass(stage, 20000);
        peer_send_bytes(peer, frame.bytes + 11, 11);
        stage_settle(stage);
        peer_expect_reply(peer, CMD_PING, peer->seq, "\"success\"");
    }
    stage_pass(stage, 29000);
    expect_open(peer);
    buffer_fini(&frame);
    stage_free(stage);
}

/* Where both are due, the frame's timeout is the reason. */
static void test_F6_is_judged_before_the_login_timeout(void **state)
{
    struct stage *stage = new_stage();
    struct peer *peer = stage_connect(stage, 0), *text = stage_connect(stage, 0);

    (void)state;
    peer_send_bytes(peer, "\xC4", 1);
    peer_send_bytes(text, "GET / HT", 8);
    stage_pass(stage, 29999);
    expect_open(peer);
    stage_pass(stage, 1 + TICK_MS(30000));
    peer_expect_bye(peer, "frame_timeout");
    assert_memory_equal(text->received.bytes, "HTTP/1.1 408", 12);
    stage_free(stage);
}

/* ---- L-5 ---- */

/* Pings until one is refused; returns its retry_ms. */
static unsigned exhaust(struct peer *peer, unsigned expected)
{
    struct message message;
    unsigned retry_ms = 0;

    for (unsigned i = 0; i <= expected; i++)
        peer_send(peer, CMD_PING, "%s", "");
    stage_settle(peer->stage);
    for (unsigned i = 0; i < expected; i++) {
        assert_true(peer_next(peer, &message));
        assert_non_null(strstr(message.json, "\"success\""));
    }
    assert_true(peer_next(peer, &message));
    assert_non_null(strstr(message.json, "\"result\":\"rate_limited\""));
    assert_int_equal(sscanf(strstr(message.json, "\"retry_ms\":"), "\"retry_ms\":%u", &retry_ms), 1);
    return retry_ms;
}

static void test_L5_rate_limit(void **state)
{
    static const uint32_t rates[] = {1, 2, 3, 7, 200, 999, 1000, 1001};

    (void)state;
    for (size_t i = 0; i < sizeof rates / sizeof *rates; i++) {
        struct options options = stage_options();
        struct stage *stage;
        struct peer *peer;
        unsigned retry_ms;

        options.rate_limit = rates[i];
        stage = stage_new(&options, 1);
        peer = stage_connect(stage, 0);
        retry_ms = exhaust(peer, 2 * rates[i]); /* the burst */
        assert_int_equal(retry_ms, (1000 + rates[i] - 1) / rates[i]);
        stage->now_ms += retry_ms - 1;
        if (retry_ms > 1)
            assert_int_equal(exhaust(peer, 0), 1); /* a refused one costs nothing */
        stage->now_ms += 1;
        exhaust(peer, 1);
        stage->now_ms += 20000; /* it is full again, and not fuller */
        exhaust(peer, 2 * rates[i]);
        stage_free(stage);
    }
}

/* ---- L-6 ---- */

static struct stage *new_full_stage(void)
{
    struct options options = stage_options();
    struct stage *stage;

    options.max_connections = 2;
    options.login_timeout_ms = 1000000;
    stage = stage_new(&options, 1);
    stage_connect(stage, 0);
    stage_connect(stage, 0);
    stage_settle(stage);
    return stage;
}

static void test_L6_one_too_many_gets_a_bye(void **state)
{
    struct stage *stage = new_full_stage();
    struct peer *refused = stage_connect(stage, 0), *next;

    (void)state;
    stage_settle(stage);
    peer_expect_bye(refused, "server_full");
    assert_int_equal(refused->phase, SESSION_HALF_CLOSE);
    peer_finish(&stage->peers[0]);
    stage_settle(stage);
    next = stage_connect(stage, 0);
    peer_ask(next, CMD_PING, "");
    assert_int_equal(stage_counter(stage, accepted_total), 4);
    stage_free(stage);
}

/* Ending connections do not count for the limit. */
static void test_L6_the_ending_do_not_count(void **state)
{
    struct stage *stage = new_full_stage();
    struct peer *ending = &stage->peers[0], *next;

    (void)state;
    peer_reads(ending, 0);
    peer_send_bytes(ending, "\x00", 1);
    stage_settle(stage);
    assert_int_equal(ending->phase, SESSION_FLUSH);
    next = stage_connect(stage, 0);
    peer_ask(next, CMD_PING, "");
    stage_free(stage);
}

static void test_L6_so_many_refused_ones_linger(void **state)
{
    struct stage *stage = new_full_stage();

    (void)state;
    for (int i = 0; i < REFUSED_CONNECTIONS_MAX; i++)
        assert_non_null(stage_connect(stage, 0)->session);
    assert_null(stage_connect(stage, 0)->session);
    stage_settle(stage);
    assert_null(stage_connect(stage, 0)->session);
    stage_pass(stage, LINGER_MS + TICK_MS(LINGER_MS));
    assert_int_equal(stage_counter(stage, connections), 2);
    assert_non_null(stage_connect(stage, 0)->session); /* to be refused, again */
    stage_settle(stage);
    stage_free(stage);
}

/* A stage that has no thread for the connection. */
static void test_L6_refused_by_the_stage(void **state)
{
    struct stage *stage = new_stage();
    struct peer *peer = stage_connect(stage, 0);

    (void)state;
    session_refuse(peer->session);
    stage_settle(stage);
    peer_expect_bye(peer, "server_full");
    assert_int_equal(peer->phase, SESSION_HALF_CLOSE);
    stage_free(stage);
}

/* ---- L-10 ---- */

static void test_L10_a_peer_that_takes_nothing(void **state)
{
    struct stage *stage = new_stage();
    struct peer *peer = stage_login(stage, 0, "alice"), *reader = stage_login(stage, 0, "bob");

    (void)state;
    peer_reads(peer, 0);
    peer_send(peer, CMD_PING, "%s", "");
    stage_pass(stage, 60000);
    peer_reads(peer, 1);
    peer_send(peer, CMD_PING, "%s", "");
    peer_send(reader, CMD_PING, "%s", "");
    stage_pass(stage, 60000);
    peer_send(peer, CMD_PING, "%s", ""); /* not idle, but takes nothing */
    peer_send(reader, CMD_PING, "%s", "");
    peer_reads(peer, 0); /* there seemed to be room, and was none */
    stage_pass(stage, 59999);
    assert_int_equal(peer->phase, SESSION_OPEN);
    stage_pass(stage, 1 + TICK_MS(120000));
    assert_int_equal(peer->phase, SESSION_RESET);
    assert_int_equal(reader->phase, SESSION_OPEN);
    stage_free(stage);
}

/* Also one that waits for its last frame. */
static void test_L10_in_flush(void **state)
{
    struct stage *stage = new_stage_limited_to(65536);
    struct peer *peer = stage_connect(stage, 0);

    (void)state;
    peer_reads(peer, 3);
    peer_send_bytes(peer, "\x00", 1);
    stage_pass(stage, 119999);
    assert_int_equal(peer->phase, SESSION_FLUSH);
    stage_pass(stage, 1 + TICK_MS(120000));
    assert_int_equal(peer->phase, SESSION_RESET);
    stage_free(stage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_L1_heartbeats_come_when_nothing_was_sent),
        cmocka_unit_test(test_L1_heartbeats_are_for_those_who_are_logged_in),
        cmocka_unit_test(test_L2_idle_timeout),
        cmocka_unit_test(test_L2_login_timeout),
        cmocka_unit_test(test_L2_login_timeout_begins_again_with_a_logout),
        cmocka_unit_test(test_L2_not_while_a_login_is_being_checked),
        cmocka_unit_test(test_L2_login_timeout_while_registering),
        cmocka_unit_test(test_F6_frame_timeout),
        cmocka_unit_test(test_F6_a_complete_frame_ends_the_time),
        cmocka_unit_test(test_F6_is_judged_before_the_login_timeout),
        cmocka_unit_test(test_L5_rate_limit),
        cmocka_unit_test(test_L6_one_too_many_gets_a_bye),
        cmocka_unit_test(test_L6_the_ending_do_not_count),
        cmocka_unit_test(test_L6_so_many_refused_ones_linger),
        cmocka_unit_test(test_L6_refused_by_the_stage),
        cmocka_unit_test(test_L10_a_peer_that_takes_nothing),
        cmocka_unit_test(test_L10_in_flush),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
