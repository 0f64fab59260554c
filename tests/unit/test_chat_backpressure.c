/* test_chat_backpressure.c - peers that do not read: slow consumers (L-3), replies that wait for room (L-4), and what
 *                            time does not count meanwhile (F-6).
 */
#include "support_hub.h"

#include <stdio.h>
#include <string.h>

enum { LIMIT = 65536, TEXT_MAX = 8192 };

static struct stage *new_stage(size_t outbox_limit)
{
    struct options options = stage_options();

    options.outbox_limit = outbox_limit;
    options.heartbeat_ms = 3600000; /* they would stand among what is looked at */
    return stage_new(&options, 1);
}

static const char *text_of(size_t length)
{
    static char text[TEXT_MAX + 1];

    memset(text, 'x', length);
    text[length] = '\0';
    return text;
}

/* A message from one peer to the user of another, who may not read. */
static void say(struct peer *from, const char *to, size_t length)
{
    peer_send(from, CMD_PRIVATE_CHAT, "{\"user_to\":\"%s\",\"text\":\"%s\"}", to, text_of(length));
    stage_settle(from->stage);
    assert_true(peer_skip(from) > 0);
}

/* ---- L-3 ---- */

struct pair {
    struct stage *stage;
    struct peer *alice, *bob; /* alice writes, and bob does not read */
};

static struct pair new_pair(size_t outbox_limit)
{
    struct pair pair = {.stage = new_stage(outbox_limit)};

    pair.alice = stage_login(pair.stage, 0, "alice");
    pair.bob = stage_login(pair.stage, 0, "bob");
    return pair;
}

static size_t pushes_of(const struct peer *peer)
{
    return peer->session->outbox.push_bytes;
}

/* Bring what waits for bob to exactly `limit`. */
static void fill_to(struct pair *pair, size_t limit)
{
    size_t before, frame;

    do {
        before = pushes_of(pair->bob);
        say(pair->alice, "bob", 4000);
        frame = pushes_of(pair->bob) - before;
    } while (limit - pushes_of(pair->bob) > 2 * frame);
    say(pair->alice, "bob", 4000 - frame + (limit - pushes_of(pair->bob)) / 2);
    say(pair->alice, "bob", 4000 - frame + limit - pushes_of(pair->bob));
    assert_int_equal(pushes_of(pair->bob), limit);
}

static void test_L3_the_limit_is_exact(void **state)
{
    struct pair pair = new_pair(LIMIT);

    (void)state;
    peer_reads(pair.bob, 0);
    fill_to(&pair, LIMIT);
    assert_int_equal(pair.bob->phase, SESSION_OPEN);
    assert_int_equal(stage_counter(pair.stage, slow_consumers_total), 0);
    peer_send(pair.alice, CMD_TYPING, "{\"user\":\"bob\"}");
    stage_settle(pair.stage);
    assert_int_equal(session_phase(pair.bob->session), SESSION_FLUSH);
    assert_int_equal(stage_counter(pair.stage, slow_consumers_total), 1);
    peer_reads(pair.bob, TAKES_ALL);
    peer_expect_bye(pair.bob, "slow_consumer"); /* nothing of the rest was begun */
    peer_expect_nothing(pair.bob);
    assert_int_equal(pair.bob->phase, SESSION_HALF_CLOSE);
    stage_free(pair.stage);
}

/* Replies do not count. */
static void test_L3_counts_pushes_only(void **state)
{
    struct pair pair = new_pair(LIMIT);

    (void)state;
    peer_reads(pair.bob, 0);
    peer_send(pair.bob, CMD_STATS, "%s", "");
    peer_send(pair.bob, CMD_PING, "%s", "");
    stage_settle(pair.stage);
    fill_to(&pair, LIMIT);
    assert_true(pair.bob->session->outbox.waiting_bytes > LIMIT);
    assert_int_equal(session_phase(pair.bob->session), SESSION_OPEN);
    peer_reads(pair.bob, TAKES_ALL);
    stage_settle(pair.stage);
    assert_true(peer_skip(pair.bob) > 10);
    assert_int_equal(session_phase(pair.bob->session), SESSION_OPEN);
    stage_free(pair.stage);
}

/* However much waits: what the stage has not offered to the system, the system has not refused. */
static void test_L3_never_before_the_system_refused_bytes(void **state)
{
    struct pair pair = new_pair(LIMIT);

    (void)state;
    pair.bob->writable = false; /* the stage does not get to it */
    for (int i = 0; i < 12; i++)
        say(pair.alice, "bob", TEXT_MAX);
    assert_true(pushes_of(pair.bob) > LIMIT);
    assert_int_equal(session_phase(pair.bob->session), SESSION_OPEN);
    peer_reads(pair.bob, 100000); /* it takes most, and then no more */
    assert_int_equal(session_phase(pair.bob->session), SESSION_OPEN);
    assert_int_equal(stage_counter(pair.stage, slow_consumers_total), 0);
    peer_reads(pair.bob, TAKES_ALL);
    assert_int_equal(peer_skip(pair.bob), 12);
    stage_free(pair.stage);
}

/* The refusal itself is what ends it, when too much waits already. */
static void test_L3_at_the_refusal(void **state)
{
    struct pair pair = new_pair(LIMIT);

    (void)state;
    pair.bob->writable = false;
    for (int i = 0; i < 12; i++)
        say(pair.alice, "bob", TEXT_MAX);
    peer_reads(pair.bob, 1);
    assert_int_equal(session_phase(pair.bob->session), SESSION_FLUSH);
    peer_reads(pair.bob, TAKES_ALL);
    peer_expect_push(pair.bob, PUSH_PRIVATE_CHAT_RECV, "\"msg_id\":1,"); /* the half-sent one is finished */
    peer_expect_bye(pair.bob, "slow_consumer");
    peer_expect_nothing(pair.bob);
    stage_free(pair.stage);
}

/* Whole frames to the end, wherever the system stopped. */
static void test_L3_the_half_sent_frame_is_finished(void **state)
{
    (void)state;
    for (size_t taken = 0; taken < 2500; taken += taken % 1000 < 30 ? 1 : 97) {
        struct pair pair = new_pair(LIMIT);
        size_t frame, whole;

        pair.bob->writable = false;
        say(pair.alice, "bob", 900);
        frame = pushes_of(pair.bob);
        say(pair.alice, "bob", 900);
        say(pair.alice, "bob", 900);
        peer_reads(pair.bob, taken);
        for (int i = 0; i < 9; i++)
            say(pair.alice, "bob", TEXT_MAX - 10);
        assert_int_equal(session_phase(pair.bob->session), SESSION_FLUSH);
        peer_reads(pair.bob, TAKES_ALL);
        for (whole = 0; whole < (taken + frame - 1) / frame; whole++)
            peer_expect_push(pair.bob, PUSH_PRIVATE_CHAT_RECV, "");
        peer_expect_bye(pair.bob, "slow_consumer");
        peer_expect_nothing(pair.bob);
        stage_free(pair.stage);
    }
}

static void test_L3_reset_after_five_seconds(void **state)
{
    struct pair pair = new_pair(LIMIT);

    (void)state;
    peer_reads(pair.bob, 10);
    for (int i = 0; i < 9; i++)
        say(pair.alice, "bob", TEXT_MAX);
    assert_int_equal(session_phase(pair.bob->session), SESSION_FLUSH);
    stage_pass(pair.stage, SLOW_CONSUMER_FLUSH_MS - 1);
    assert_int_equal(pair.bob->phase, SESSION_FLUSH);
    stage_pass(pair.stage, 1 + SLOW_CONSUMER_FLUSH_MS / 64);
    assert_int_equal(pair.bob->phase, SESSION_RESET);
    assert_int_equal(pair.alice->phase, SESSION_OPEN);
    stage_free(pair.stage);
}

/* ---- L-4 ---- */

/* A user with a long history with himself. */
static struct peer *login_with_history(struct stage *stage)
{
    struct peer *peer = stage_login(stage, 0, "alice");

    for (int i = 0; i < 40; i++)
        say(peer, "alice", TEXT_MAX);
    return peer;
}

static uint32_t ask_history(struct peer *peer)
{
    return peer_send(peer, CMD_HISTORY, "{\"user\":\"alice\"}");
}

/* Memory for one that sends and does not read: half of the limit, one reply more, and what was read behind it. */
static void check_bound(const struct peer *peer, size_t limit)
{
    const struct session *session = peer->session;

    assert_true(session->outbox.waiting_bytes + session->under_way_bytes <=
                limit / 2 + REPLY_PAYLOAD_MAX_BYTES + FRAME_OVERHEAD_BYTES);
    assert_true(session->input.length <= REQUEST_PAYLOAD_MAX_BYTES + FRAME_OVERHEAD_BYTES + READ_BUFFER_BYTES);
}

static void test_L4_large_replies_wait_for_room(void **state)
{
    static const size_t limits[] = {65536, 1048576, 4000000};

    (void)state;
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        struct stage *stage = new_stage(limits[i]);
        struct peer *peer = login_with_history(stage);
        uint32_t first = peer->seq + 1;
        uint64_t taken_up = stage_counter(stage, requests_total);

        peer_reads(peer, 0);
        for (int request = 0; request < 60; request++)
            ask_history(peer);
        stage_settle(stage);
        taken_up = stage_counter(stage, requests_total) - taken_up;
        assert_int_equal(taken_up, limits[i] / 2 / REPLY_PAYLOAD_MAX_BYTES + 1);
        check_bound(peer, limits[i]);
        assert_false(session_wants_read(peer->session));
        for (int turns = 0; turns < 400; turns++) {
            peer_reads(peer, 100001);
            stage_settle(stage);
            check_bound(peer, limits[i]);
        }
        for (uint32_t seq = first; seq < first + 60; seq++)
            peer_expect_reply(peer, CMD_HISTORY, seq, "\"more\":true");
        peer_expect_nothing(peer);
        stage_free(stage);
    }
}

/* Many small ones, too; and what is not taken up is not read either. */
static void test_L4_small_replies_wait_for_room(void **state)
{
    struct stage *stage = new_stage(LIMIT);
    struct peer *peer = stage_login(stage, 0, "alice");
    uint32_t first = peer->seq + 1;

    (void)state;
    peer_reads(peer, 0);
    for (int i = 0; i < 20000; i++)
        peer_send(peer, i % 100 == 0 ? CMD_GROUP_LIST : CMD_PING, "%s", "");
    stage_settle(stage);
    assert_true(peer->session->outbox.waiting_bytes <= LIMIT / 2 + 100000);
    assert_true(peer->to_server.length > 20000 * FRAME_OVERHEAD_BYTES - 2 * READ_BUFFER_BYTES);
    assert_true(peer->session->input.length <= READ_BUFFER_BYTES);
    peer_reads(peer, TAKES_ALL);
    stage_settle(stage);
    for (uint32_t i = 0; i < 20000; i++)
        peer_expect_reply(peer, i % 100 == 0 ? CMD_GROUP_LIST : CMD_PING, first + i, "\"success\"");
    peer_expect_nothing(peer);
    stage_free(stage);
}

/* A finished peer gets what is held back, too (L-8). */
static void test_L4_and_the_peer_has_finished(void **state)
{
    struct stage *stage = new_stage(LIMIT);
    struct peer *peer = login_with_history(stage);
    uint32_t first = peer->seq + 1;

    (void)state;
    peer_reads(peer, 0);
    for (int i = 0; i < 10; i++)
        ask_history(peer);
    peer_finish(peer);
    stage_settle(stage);
    peer_reads(peer, TAKES_ALL);
    stage_settle(stage);
    for (uint32_t seq = first; seq < first + 10; seq++)
        peer_expect_reply(peer, CMD_HISTORY, seq, "\"more\":true");
    peer_expect_nothing(peer);
    assert_int_equal(peer->phase, SESSION_CLOSE);
    stage_free(stage);
}

/* ---- time in which nothing is read (F-6, L-2) ---- */

/* Two requests with large replies, and a part of a frame behind them. The first reply is not read. */
static struct peer *hold_back_a_part_of_a_frame(struct stage *stage)
{
    struct peer *peer = login_with_history(stage);

    peer_reads(peer, 0);
    ask_history(peer);
    ask_history(peer);
    peer_send_bytes(peer, "\xC4\xA7\x01", 3);
    stage_settle(stage);
    assert_false(session_wants_read(peer->session));
    return peer;
}

static void test_F6_does_not_count_time_not_read(void **state)
{
    struct stage *stage = new_stage(LIMIT);
    struct peer *peer = hold_back_a_part_of_a_frame(stage);

    (void)state;
    stage_pass(stage, 40000);
    peer_reads(peer, 260000); /* the first reply, and part of the second: the frame's part stands in front now */
    stage_settle(stage);
    stage_pass(stage, 40000);
    assert_false(session_wants_read(peer->session));
    assert_int_equal(session_phase(peer->session), SESSION_OPEN);
    peer_reads(peer, TAKES_ALL);
    stage_pass(stage, 29999); /* from here on it is read */
    assert_int_equal(session_phase(peer->session), SESSION_OPEN);
    peer_expect_reply(peer, CMD_HISTORY, peer->seq - 1, "\"more\":true");
    peer_expect_reply(peer, CMD_HISTORY, peer->seq, "\"more\":true");
    peer_expect_nothing(peer);
    stage_pass(stage, 1 + 500);
    peer_expect_bye(peer, "frame_timeout");
    stage_free(stage);
}

/* The time before the pause counts, and that after it. */
static void test_F6_goes_on_after_the_pause(void **state)
{
    struct pair pair = new_pair(LIMIT);

    (void)state;
    peer_send_bytes(pair.bob, "\xC4", 1);
    stage_pass(pair.stage, 20000);
    peer_reads(pair.bob, 0);
    for (int i = 0; i < 5; i++)
        say(pair.alice, "bob", TEXT_MAX);
    assert_false(session_wants_read(pair.bob->session));
    stage_pass(pair.stage, 60000);
    assert_int_equal(pair.bob->phase, SESSION_OPEN);
    peer_reads(pair.bob, TAKES_ALL);
    stage_pass(pair.stage, 9999);
    assert_int_equal(pair.bob->phase, SESSION_OPEN);
    assert_int_equal(peer_skip(pair.bob), 5);
    stage_pass(pair.stage, 1 + 500);
    peer_expect_bye(pair.bob, "frame_timeout");
    stage_free(pair.stage);
}

static void test_L2_does_not_count_time_not_read(void **state)
{
    struct pair pair = new_pair(LIMIT);

    (void)state;
    stage_pass(pair.stage, 50000);
    peer_reads(pair.bob, 0);
    for (int i = 0; i < 5; i++)
        say(pair.alice, "bob", TEXT_MAX);
    stage_pass(pair.stage, 100000);
    assert_int_equal(pair.bob->phase, SESSION_OPEN);
    peer_reads(pair.bob, TAKES_ALL);
    stage_pass(pair.stage, 69999);
    assert_int_equal(pair.bob->phase, SESSION_OPEN);
    stage_pass(pair.stage, 1 + 500);
    assert_int_equal(pair.bob->phase, SESSION_HALF_CLOSE);
    stage_free(pair.stage);
}

/* What comes within the pause, from a read that had begun before it (01), does not make the pause count twice. */
static void test_L2_bytes_that_come_in_the_pause(void **state)
{
    struct pair pair = new_pair(LIMIT);

    (void)state;
    stage_pass(pair.stage, 10000);
    peer_reads(pair.bob, 0);
    for (int i = 0; i < 5; i++)
        say(pair.alice, "bob", TEXT_MAX);
    stage_pass(pair.stage, 50000);
    peer_send(pair.bob, CMD_PING, "%s", "");
    session_receive(pair.bob->session, pair.bob->to_server.bytes, pair.bob->to_server.length, pair.stage->now_ms);
    buffer_clear(&pair.bob->to_server);
    stage_pass(pair.stage, 50000);
    peer_reads(pair.bob, TAKES_ALL);
    stage_pass(pair.stage, 119999);
    assert_int_equal(pair.bob->phase, SESSION_OPEN);
    assert_int_equal(peer_skip(pair.bob), 6);
    stage_pass(pair.stage, 1 + 500);
    peer_expect_bye(pair.bob, "idle_timeout");
    stage_free(pair.stage);
}

/* Neither does the login timeout: the login behind a slow registration is not judged by the queue of passwords. */
static void test_L2_login_timeout_does_not_count_time_not_read(void **state)
{
    struct stage *stage = new_stage(LIMIT);
    struct peer *peer = stage_connect(stage, 0);

    (void)state;
    stage_pass(stage, 10000);
    peer_send(peer, CMD_REGISTER, "{\"user\":\"alice\",\"passwd\":\"password\"}");
    peer_send(peer, CMD_LOGIN, "{\"user\":\"alice\",\"passwd\":\"wrong\"}");
    peer_send(peer, CMD_PING, "%s", "");
    stage_settle(stage);
    assert_false(session_wants_read(peer->session));
    stage_pass(stage, 50000);
    stage_run(stage);
    peer_expect_reply(peer, CMD_REGISTER, 1, "\"success\"");
    peer_expect_reply(peer, CMD_LOGIN, 2, "\"passwd_error\"");
    peer_expect_reply(peer, CMD_PING, 3, "\"success\"");
    stage_pass(stage, 19999);
    peer_expect_nothing(peer);
    stage_pass(stage, 1 + 500);
    peer_expect_bye(peer, "login_timeout");
    stage_free(stage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_L3_the_limit_is_exact),
        cmocka_unit_test(test_L3_counts_pushes_only),
        cmocka_unit_test(test_L3_never_before_the_system_refused_bytes),
        cmocka_unit_test(test_L3_at_the_refusal),
        cmocka_unit_test(test_L3_the_half_sent_frame_is_finished),
        cmocka_unit_test(test_L3_reset_after_five_seconds),
        cmocka_unit_test(test_L4_large_replies_wait_for_room),
        cmocka_unit_test(test_L4_small_replies_wait_for_room),
        cmocka_unit_test(test_L4_and_the_peer_has_finished),
        cmocka_unit_test(test_F6_does_not_count_time_not_read),
        cmocka_unit_test(test_F6_goes_on_after_the_pause),
        cmocka_unit_test(test_L2_does_not_count_time_not_read),
        cmocka_unit_test(test_L2_bytes_that_come_in_the_pause),
        cmocka_unit_test(test_L2_login_timeout_does_not_count_time_not_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
