/* test_chat_session.c - one connection: bytes in any cut, replies in order behind barriers, phases, what is reported. */
#include "support_hub.h"

#include <stdio.h>
#include <string.h>

static struct stage *new_stage(unsigned hubs)
{
    struct options options = stage_options();

    return stage_new(&options, hubs);
}

/* ---- frames ---- */

/* A conversation in one connection: every kind of answer that does not depend on the time. */
static void send_mixed(struct peer *peer)
{
    peer_send(peer, CMD_HELLO, "{\"client\":\"test\"}");
    peer_send(peer, CMD_REGISTER, "{\"user\":\"alice\",\"passwd\":\"kettle\"}");
    peer_send(peer, CMD_LOGIN, "{\"user\":\"alice\",\"passwd\":\"wrong-one\"}");
    peer_send(peer, CMD_GROUP_LIST, "%s", "");
    peer_send(peer, CMD_LOGIN, "{\"user\":\"alice\",\"passwd\":\"kettle\"}");
    peer_send(peer, CMD_GROUP_CREATE, "{\"group\":\"tea\"}");
    peer_send(peer, CMD_GROUP_CREATE, "{\"group\":");
    peer_send(peer, 0x0777, "%s", "{}");
    peer_send(peer, CMD_GROUP_LIST, "%s", "");
    peer_send(peer, CMD_LOGOUT, "%s", "");
    peer_send(peer, CMD_GROUP_LIST, "%s", "");
}

static void expect_mixed(struct peer *peer)
{
    peer_expect_reply(peer, CMD_HELLO, 1, "\"protocol\":1");
    peer_expect_reply(peer, CMD_REGISTER, 2, "\"success\"");
    peer_expect_reply(peer, CMD_LOGIN, 3, "\"passwd_error\"");
    peer_expect_reply(peer, CMD_GROUP_LIST, 4, "\"not_logged_in\"");
    peer_expect_reply(peer, CMD_LOGIN, 5, "\"groups\":[]");
    peer_expect_reply(peer, CMD_GROUP_CREATE, 6, "\"success\"");
    peer_expect_reply(peer, CMD_GROUP_CREATE, 7, "\"bad_json\"");
    peer_expect_reply(peer, 0x0777, 8, "\"unknown_cmd\"");
    peer_expect_reply(peer, CMD_GROUP_LIST, 9, "\"groups\":[{\"group\":\"tea\"");
    peer_expect_reply(peer, CMD_LOGOUT, 10, "\"success\"");
    peer_expect_reply(peer, CMD_GROUP_LIST, 11, "\"not_logged_in\"");
    peer_expect_nothing(peer);
}

/* F-3, Q-2: what is in one segment, and what comes byte by byte, is answered alike. */
static void test_segments_mean_nothing(void **state)
{
    static const size_t cuts[] = {1, 2, 7, 21, 22, 23, 100, READ_BUFFER_BYTES};

    (void)state;
    for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++) {
        struct stage *stage = new_stage(1);
        struct peer *peer = stage_connect(stage, 0);

        stage->read_max = cuts[i];
        send_mixed(peer);
        stage_run(stage);
        expect_mixed(peer);
        stage_free(stage);
    }
}

/* F-3: two segments, at every place. */
static void test_two_segments_at_every_place(void **state)
{
    struct stage *stage = new_stage(1);
    struct peer *peer = stage_connect(stage, 0);
    struct buffer bytes = {0};

    (void)state;
    for (size_t cut = 1;; cut++) {
        uint32_t first = peer->seq + 1;

        peer_send(peer, CMD_HELLO, "{\"client\":\"%s\"}", "test");
        peer_send(peer, CMD_PING, "%s", "");
        peer_send(peer, CMD_GROUP_LIST, "{}");
        buffer_clear(&bytes);
        buffer_append(&bytes, peer->to_server.bytes, peer->to_server.length);
        if (cut == bytes.length)
            break;
        peer->to_server.length = cut;
        stage_run(stage);
        peer_send_bytes(peer, bytes.bytes + cut, bytes.length - cut);
        stage_run(stage);
        peer_expect_reply(peer, CMD_HELLO, first, "\"success\"");
        peer_expect_reply(peer, CMD_PING, first + 1, "\"success\"");
        peer_expect_reply(peer, CMD_GROUP_LIST, first + 2, "\"not_logged_in\"");
        peer_expect_nothing(peer);
        assert_null(peer->session->input.bytes); /* one that waits for nothing keeps no buffer */
    }
    buffer_fini(&bytes);
    stage_free(stage);
}

/* F-4: what came before the broken frame is answered first, the login that takes long included; nothing after it is. */
static void test_a_broken_frame_behind_a_login(void **state)
{
    struct stage *stage = new_stage(1);
    struct peer *peer = stage_connect(stage, 0);

    (void)state;
    stage_login(stage, 0, "alice");
    peer_send(peer, CMD_PING, "%s", "");
    peer_send(peer, CMD_LOGIN, "{\"user\":\"alice\",\"passwd\":\"password\"}");
    peer_send(peer, CMD_GROUP_LIST, "%s", "");
    peer_send_bytes(peer, "\xC4\xA7\x02", 3);
    peer_send(peer, CMD_PING, "%s", "");
    stage_run(stage);
    peer_expect_reply(peer, CMD_PING, 1, "\"success\"");
    peer_expect_reply(peer, CMD_LOGIN, 2, "\"success\"");
    peer_expect_reply(peer, CMD_GROUP_LIST, 3, "\"success\"");
    peer_expect_push(peer, PUSH_BYE, "{\"reason\":\"protocol_error\",\"error\":\"bad_version\"}");
    peer_expect_nothing(peer);
    assert_int_equal(peer->phase, SESSION_HALF_CLOSE);
    assert_int_equal(stage_counter(stage, protocol_errors_total), 1);
    stage_free(stage);
}

/* F-4: the fault shows while a request of the same segment is still under way. */
static void test_a_broken_frame_behind_requests_under_way(void **state)
{
    struct stage *stage = new_stage(1);
    struct peer *peer = stage_login(stage, 0, "alice");

    (void)state;
    peer_send(peer, CMD_GROUP_CREATE, "{\"group\":\"tea\"}");
    peer_send(peer, CMD_GROUP_CHAT, "{\"group\":\"tea\",\"text\":\"hello\"}");
    peer_send(peer, CMD_PING, "%s", "");
    peer_send_bytes(peer, "x", 1);
    stage_run(stage);
    peer_expect_reply(peer, CMD_GROUP_CREATE, 3, "\"success\"");
    peer_expect_reply(peer, CMD_GROUP_CHAT, 4, "\"success\"");
    peer_expect_reply(peer, CMD_PING, 5, "\"success\"");
    peer_expect_push(peer, PUSH_BYE, "{\"reason\":\"protocol_error\",\"error\":\"bad_head\"}");
    peer_expect_nothing(peer);
    stage_free(stage);
}

/* F-1: the first byte decides, and text is answered in its own way, without a bye. */
static void test_text_on_a_port_for_frames(void **state)
{
    struct stage *stage = new_stage(1);
    struct peer *whole = stage_connect(stage, 0), *bytewise = stage_connect(stage, 0), *cut = stage_connect(stage, 0);

    (void)state;
    peer_send_bytes(whole, "GET / HTTP/1.1\r\n\r\n", 18);
    stage_run(stage);
    stage->read_max = 1;
    peer_send_bytes(bytewise, "hello\n", 6);
    peer_send_bytes(cut, "hello", 5);
    stage_run(stage);
    assert_memory_equal(whole->received.bytes, "HTTP/1.1 400", 12);
    assert_memory_equal(bytewise->received.bytes, "HTTP/1.1 400", 12);
    assert_int_equal(cut->received.length, 0);
    peer_finish(cut);
    stage_run(stage);
    assert_memory_equal(cut->received.bytes, "HTTP/1.1 400", 12);
    assert_int_equal(whole->phase, SESSION_HALF_CLOSE);
    assert_int_equal(cut->phase, SESSION_CLOSE);
    assert_int_equal(cut->received.length, whole->received.length);
    stage_free(stage);
}

/* ---- order of replies ---- */

/* requests behind a login wait for it, and are answered as logged in, in their order. */
static void test_requests_behind_a_login(void **state)
{
    struct stage *stage = new_stage(1);
    struct peer *peer;

    (void)state;
    stage_login(stage, 0, "alice");
    peer = stage_connect(stage, 0);
    peer_send(peer, CMD_LOGIN, "{\"user\":\"alice\",\"passwd\":\"password\"}");
    for (int i = 0; i < 500; i++)
        peer_send(peer, i % 3 == 0 ? CMD_GROUP_LIST : i % 3 == 1 ? CMD_PING : 0x0777, "%s", "");
    stage_settle(stage);
    peer_expect_nothing(peer);
    assert_false(session_wants_read(peer->session)); /* L-4: while requests are held back */
    stage_run(stage);
    peer_expect_reply(peer, CMD_LOGIN, 1, "\"success\"");
    for (uint32_t i = 0; i < 500; i++)
        peer_expect_reply(peer,
                          i % 3 == 0   ? CMD_GROUP_LIST
                          : i % 3 == 1 ? CMD_PING
                                       : 0x0777,
                          i + 2, i % 3 == 2 ? "\"unknown_cmd\"" : "\"success\"");
    peer_expect_nothing(peer);
    assert_true(session_wants_read(peer->session));
    stage_free(stage);
}

/* Q-2, session.h I2: a barrier waits for what is under way, and what is behind it waits for the barrier. */
static void test_barriers_among_other_requests(void **state)
{
    struct stage *stage = new_stage(1);
    struct peer *peer = stage_login(stage, 0, "alice");
    uint32_t seq = peer->seq;

    (void)state;
    peer_send(peer, CMD_GROUP_CREATE, "{\"group\":\"tea\"}");
    peer_send(peer, CMD_PASSWD, "{\"old\":\"password\",\"new\":\"kettle\"}");
    peer_send(peer, CMD_PING, "%s", "");
    peer_send(peer, CMD_LOGOUT, "%s", "");
    peer_send(peer, CMD_PING, "%s", "");
    peer_send(peer, CMD_LOGIN, "{\"user\":\"alice\",\"passwd\":\"kettle\"}");
    peer_send(peer, CMD_LOGIN, "{\"user\":\"alice\",\"passwd\":\"kettle\"}");
    peer_send(peer, CMD_GROUP_LEAVE, "{\"group\":\"tea\"}");
    stage_run(stage);
    peer_expect_reply(peer, CMD_GROUP_CREATE, seq + 1, "\"success\"");
    peer_expect_reply(peer, CMD_PASSWD, seq + 2, "\"success\"");
    peer_expect_reply(peer, CMD_PING, seq + 3, "\"success\"");
    peer_expect_reply(peer, CMD_LOGOUT, seq + 4, "\"success\"");
    peer_expect_reply(peer, CMD_PING, seq + 5, "\"success\"");
    peer_expect_reply(peer, CMD_LOGIN, seq + 6, "\"groups\":[{\"group\":\"tea\"");
    peer_expect_reply(peer, CMD_LOGIN, seq + 7, "\"already_logged_in\"");
    peer_expect_reply(peer, CMD_GROUP_LEAVE, seq + 8, "\"owner\"");
    peer_expect_nothing(peer);
    stage_free(stage);
}

/* L-11: one that waits for its password holds up nobody else. */
static void test_a_login_delays_nobody_else(void **state)
{
    struct stage *stage = new_stage(1);
    struct peer *alice = stage_login(stage, 0, "alice"), *other = stage_connect(stage, 0);

    (void)state;
    peer_send(other, CMD_LOGIN, "{\"user\":\"alice\",\"passwd\":\"password\"}");
    stage_settle(stage);
    peer_send(alice, CMD_GROUP_LIST, "%s", "");
    stage_settle(stage);
    peer_expect_reply(alice, CMD_GROUP_LIST, alice->seq, "\"success\"");
    peer_expect_nothing(other);
    stage_free(stage);
}

/* ---- the end of the peer (L-8) ---- */

static void test_a_finished_peer_gets_its_replies(void **state)
{
    struct stage *stage = new_stage(1);
    struct peer *peer = stage_connect(stage, 0);

    (void)state;
    send_mixed(peer);
    peer_send_bytes(peer, "\xC4\xA7\x01", 3); /* an incomplete frame is dropped */
    peer_finish(peer);
    stage_run(stage);
    expect_mixed(peer); /* without a bye */
    assert_int_equal(peer->phase, SESSION_CLOSE);
    stage_free(stage);
}

static void test_a_peer_that_only_came_and_went(void **state)
{
    struct stage *stage = new_stage(1);
    struct peer *peer = stage_connect(stage, 0);

    (void)state;
    peer_finish(peer);
    stage_run(stage);
    peer_expect_nothing(peer);
    assert_int_equal(peer->phase, SESSION_CLOSE);
    stage_free(stage);
}

/* L-8: the request takes effect even when nobody is there for the reply; the slot is kept until that has come. */
static void test_a_peer_that_is_gone_while_requests_are_under_way(void **state)
{
    struct stage *stage = new_stage(1);
    struct peer *peer = stage_connect(stage, 0), *other;

    (void)state;
    peer_send(peer, CMD_REGISTER, "{\"user\":\"alice\",\"passwd\":\"password\"}");
    stage_settle(stage);
    peer_abort(peer);
    assert_null(peer->session);
    assert_int_equal(stage_counter(stage, connections), 0);
    stage_run(stage);
    other = stage_connect(stage, 0);
    peer_ask(other, CMD_LOGIN, "{\"user\":\"alice\",\"passwd\":\"password\"}");
    stage_free(stage);
}

/* The same for a login: its user does not stay online. */
static void test_a_peer_that_is_gone_while_it_logs_in(void **state)
{
    struct stage *stage = new_stage(2);
    struct peer *bob = stage_login(stage, 0, "bob"), *peer;

    (void)state;
    stage_login(stage, 1, "alice");
    peer_finish(&stage->peers[1]);
    stage_run(stage);
    peer = stage_connect(stage, 1);
    peer_send(peer, CMD_LOGIN, "{\"user\":\"alice\",\"passwd\":\"password\"}");
    stage_settle(stage);
    peer_abort(peer);
    stage_run(stage);
    assert_int_equal(stage_counter(stage, sessions), 1);
    peer_send(bob, CMD_PRIVATE_CHAT, "{\"user_to\":\"alice\",\"text\":\"hello\"}");
    stage_run(stage);
    peer_expect_reply(bob, CMD_PRIVATE_CHAT, bob->seq, "\"offline\"");
    stage_free(stage);
}

/* ---- phases (L-9) ---- */

/* A session that said bye, and waits for the peer to close. */
static struct peer *connect_and_break(struct stage *stage)
{
    struct peer *peer = stage_connect(stage, 0);

    peer_send_bytes(peer, "\x00", 1);
    stage_settle(stage);
    peer_expect_bye(peer, "protocol_error");
    assert_int_equal(peer->phase, SESSION_HALF_CLOSE);
    return peer;
}

static void test_half_close_ends_with_the_peer(void **state)
{
    struct stage *stage = new_stage(1);
    struct peer *peer = connect_and_break(stage);

    (void)state;
    peer_send(peer, CMD_PING, "%s", ""); /* read and discarded */
    stage_settle(stage);
    assert_int_equal(peer->to_server.length, 0);
    peer_expect_nothing(peer);
    assert_int_equal(peer->phase, SESSION_HALF_CLOSE);
    peer_finish(peer);
    stage_settle(stage);
    assert_int_equal(peer->phase, SESSION_CLOSE);
    stage_free(stage);
}

static void test_half_close_ends_after_two_seconds(void **state)
{
    struct stage *stage = new_stage(1);
    struct peer *peer = connect_and_break(stage);

    (void)state;
    stage_pass(stage, LINGER_MS - 1);
    assert_int_equal(peer->phase, SESSION_HALF_CLOSE);
    stage_pass(stage, 1 + LINGER_MS / 64);
    assert_int_equal(peer->phase, SESSION_CLOSE);
    assert_null(peer->session);
    stage_free(stage);
}

static void test_half_close_ends_with_an_error(void **state)
{
    struct stage *stage = new_stage(1);
    struct peer *peer = connect_and_break(stage);

    (void)state;
    peer_abort(peer);
    assert_int_equal(peer->phase, SESSION_CLOSE);
    stage_free(stage);
}

/* The bye is in the output until the system has taken it all; the FIN comes after it. */
static void test_flush_waits_for_the_last_byte(void **state)
{
    struct stage *stage = new_stage(1);
    struct peer *peer = stage_connect(stage, 0);

    (void)state;
    peer_reads(peer, 10);
    peer_send_bytes(peer, "\x00", 1);
    stage_settle(stage);
    while (peer->phase < SESSION_HALF_CLOSE) {
        assert_int_equal(peer->phase, SESSION_FLUSH);
        assert_true(session_has_output(peer->session));
        peer_send(peer, CMD_PING, "%s", "");
        stage_settle(stage);
        assert_int_equal(peer->to_server.length, 0); /* FLUSH reads and discards, too */
        peer_reads(peer, 1);
    }
    peer_expect_bye(peer, "protocol_error");
    peer_expect_nothing(peer);
    stage_free(stage);
}

/* Who has finished already is closed at once after the last byte. */
static void test_flush_of_a_finished_peer(void **state)
{
    struct stage *stage = new_stage(1);
    struct peer *peer = stage_connect(stage, 0);

    (void)state;
    peer_reads(peer, 5);
    peer_send(peer, CMD_PING, "%s", "");
    peer_finish(peer);
    stage_settle(stage);
    assert_int_equal(peer->phase, SESSION_FLUSH);
    peer_reads(peer, TAKES_ALL);
    assert_int_equal(peer->phase, SESSION_CLOSE);
    peer_expect_reply(peer, CMD_PING, 1, "\"success\"");
    peer_expect_nothing(peer);
    stage_free(stage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_segments_mean_nothing),
        cmocka_unit_test(test_two_segments_at_every_place),
        cmocka_unit_test(test_a_broken_frame_behind_a_login),
        cmocka_unit_test(test_a_broken_frame_behind_requests_under_way),
        cmocka_unit_test(test_text_on_a_port_for_frames),
        cmocka_unit_test(test_requests_behind_a_login),
        cmocka_unit_test(test_barriers_among_other_requests),
        cmocka_unit_test(test_a_login_delays_nobody_else),
        cmocka_unit_test(test_a_finished_peer_gets_its_replies),
        cmocka_unit_test(test_a_peer_that_only_came_and_went),
        cmocka_unit_test(test_a_peer_that_is_gone_while_requests_are_under_way),
        cmocka_unit_test(test_a_peer_that_is_gone_while_it_logs_in),
        cmocka_unit_test(test_half_close_ends_with_the_peer),
        cmocka_unit_test(test_half_close_ends_after_two_seconds),
        cmocka_unit_test(test_half_close_ends_with_an_error),
        cmocka_unit_test(test_flush_waits_for_the_last_byte),
        cmocka_unit_test(test_flush_of_a_finished_peer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
