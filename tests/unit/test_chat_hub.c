/* test_chat_hub.c - what a hub tells its stage, and when: who changed, when to turn; slots, and the handles of those who
 *                   are gone.
 */
#include "support_hub.h"

#include <stdio.h>
#include <string.h>

#include "chat/hub_internal.h"

static struct stage *new_stage(unsigned hubs)
{
    struct options options = stage_options();

    return stage_new(&options, hubs);
}

/* ---- who changed (hub.h, I1) ---- */

static unsigned count_changed(struct hub *hub, const struct session *session)
{
    struct session *changed;
    unsigned count = 0;

    while ((changed = hub_next_changed(hub)) != NULL)
        count += changed == session;
    return count;
}

/* However much changed in a turn. */
static void test_a_session_is_reported_once(void **state)
{
    struct stage *stage = new_stage(1);
    struct peer *alice = stage_login(stage, 0, "alice"), *bob = stage_login(stage, 0, "bob");
    unsigned before = bob->reports;

    (void)state;
    for (int i = 0; i < 10; i++)
        peer_send(alice, CMD_PRIVATE_CHAT, "{\"user_to\":\"bob\",\"text\":\"hello\"}");
    stage_settle(stage);
    assert_int_equal(peer_skip(bob), 10);
    assert_int_equal(bob->reports, before + 1);
    assert_null(hub_next_changed(stage->hubs[0]));
    stage_settle(stage);
    assert_int_equal(bob->reports, before + 1); /* until it changes again */
    peer_send(alice, CMD_TYPING, "{\"user\":\"bob\"}");
    stage_settle(stage);
    assert_int_equal(bob->reports, before + 2);
    stage_free(stage);
}

/* A barrier ends, and there is nothing to write: only the wish to read changed. */
static void test_the_wish_to_read_is_reported(void **state)
{
    struct stage *stage = new_stage(1);
    struct hub *hub = stage->hubs[0];
    struct peer *peer = stage_connect(stage, 0);
    struct session *session = peer->session;

    (void)state;
    peer_send(peer, CMD_REGISTER, "{\"user\":\"alice\",\"passwd\":\"password\"}");
    peer_send(peer, CMD_PING, "%s", "");
    stage_settle(stage);
    assert_false(session_wants_read(session));
    assert_true(chat_run_worker(stage->chat));
    hub_turn(hub, stage->now_ms);
    assert_int_equal(count_changed(hub, session), 1);
    assert_true(session_wants_read(session));
    stage_free(stage);
}

/* A message for bob whose text has 8,000 bytes. */
static void say_to_bob(struct peer *from, int messages)
{
    static char text[8001];

    memset(text, 'x', sizeof text - 1);
    while (messages-- > 0)
        peer_send(from, CMD_PRIVATE_CHAT, "{\"user_to\":\"bob\",\"text\":\"%s\"}", text);
    stage_settle(from->stage);
}

/* In 01 pushes come while a write is under way: then the end of that write is what makes a session read again. */
static void test_the_wish_to_read_after_a_long_write_is_reported(void **state)
{
    static char scratch[OUTPUT_GATHER_BYTES];
    struct stage *stage = new_stage(1);
    struct hub *hub = stage->hubs[0];
    struct peer *alice = stage_login(stage, 0, "alice"), *bob = stage_login(stage, 0, "bob");
    struct session *session = bob->session;
    struct slice output;

    (void)state;
    bob->writable = false; /* its writer is this test */
    say_to_bob(alice, 40);
    output = session_output(session, scratch, sizeof scratch);
    assert_true(session_wants_read(session));
    say_to_bob(alice, 25); /* over half of the limit, by less than is being written */
    assert_false(session_wants_read(session));
    assert_true(session_sent(session, output.length, stage->now_ms));
    assert_true(session_wants_read(session));
    assert_int_equal(count_changed(hub, session), 1);
    peer_reads(bob, TAKES_ALL);
    stage_free(stage);
}

/* A phase that changes by time alone. */
static void test_a_timeout_is_reported(void **state)
{
    struct stage *stage = new_stage(1);
    struct peer *peer = stage_connect(stage, 0);

    (void)state;
    stage_settle(stage);
    stage->now_ms = hub_deadline(stage->hubs[0]);
    hub_turn(stage->hubs[0], stage->now_ms);
    assert_int_equal(count_changed(stage->hubs[0], peer->session), 1);
    assert_int_equal(session_phase(peer->session), SESSION_FLUSH);
    stage_free(stage);
}

/* A freed session is never reported, also when it changed before. */
static void test_a_freed_session_is_not_reported(void **state)
{
    struct stage *stage = new_stage(1);
    struct hub *hub = stage->hubs[0];
    struct peer *peer = stage_connect(stage, 0);

    (void)state;
    session_receive(peer->session, (char[]){0}, 1, stage->now_ms);
    hub_turn(hub, stage->now_ms);
    session_free(peer->session);
    peer->session = NULL;
    assert_null(hub_next_changed(hub));
    stage_free(stage);
}

/* ---- when to turn ---- */

static void test_the_deadline_is_now_when_there_is_something_to_do(void **state)
{
    struct stage *stage = new_stage(1);
    struct hub *hub = stage->hubs[0];
    struct peer *peer;

    (void)state;
    assert_true(hub_deadline(hub) == UINT64_MAX); /* nobody is there */
    peer = stage_login(stage, 0, "alice");
    assert_true(hub_deadline(hub) > stage->now_ms);
    peer_send(peer, CMD_GROUP_LIST, "%s", "");
    session_receive(peer->session, peer->to_server.bytes, peer->to_server.length, stage->now_ms);
    buffer_clear(&peer->to_server);
    assert_int_equal(hub_deadline(hub), 0); /* taken up, and not handed over */
    hub_turn(hub, stage->now_ms);
    assert_true(hub_deadline(hub) > stage->now_ms);
    stage_turn(stage, 0);
    stage_free(stage);
}

/* What is held back for a password is nothing to do; its result is. */
static void test_a_held_back_request_is_no_reason_to_turn(void **state)
{
    struct stage *stage = new_stage(1);
    struct hub *hub = stage->hubs[0];
    struct peer *peer = stage_connect(stage, 0);

    (void)state;
    peer_send(peer, CMD_REGISTER, "{\"user\":\"alice\",\"passwd\":\"password\"}");
    peer_send(peer, CMD_PING, "%s", "");
    stage_settle(stage);
    assert_true(hub_deadline(hub) > stage->now_ms);
    assert_int_equal(stage->wakes[0], 0);
    assert_true(chat_run_worker(stage->chat));
    assert_int_equal(stage->wakes[0], 1);
    stage_run(stage);
    assert_int_equal(peer_skip(peer), 2);
    stage_free(stage);
}

/* A message between hubs wakes the one that sleeps, once; one that has not slept since is not woken. */
static void test_another_hub_is_woken_once(void **state)
{
    struct stage *stage = new_stage(2);
    struct peer *alice = stage_login(stage, 0, "alice");

    (void)state;
    stage_login(stage, 1, "bob");
    for (int i = 0; i < 3; i++) {
        peer_send(alice, CMD_TYPING, "{\"user\":\"bob\"}");
        stage_turn(stage, 0);
        assert_int_equal(stage->wakes[1], 1);
    }
    stage_settle(stage);
    assert_int_equal(peer_skip(&stage->peers[1]), 3);
    stage_free(stage);
}

/* What one turn encodes has a bound, so that the stage gets to write: the rest comes with the next turns, at once. */
static void test_a_flood_takes_several_turns(void **state)
{
    struct stage *stage = new_stage(2);
    struct hub *hub = stage->hubs[1];
    struct peer *alice = stage_login(stage, 0, "alice"), *bob = stage_login(stage, 1, "bob");
    unsigned turns;

    (void)state;
    for (int i = 0; i < 100; i++)
        peer_send(alice, CMD_PRIVATE_CHAT, "{\"user_to\":\"bob\",\"text\":\"%08000d\"}", i);
    while (alice->to_server.length > 0)
        stage_turn(stage, 0);
    stage_turn(stage, 0);
    for (turns = 1; turns == 1 || hub_deadline(hub) == 0; turns++) {
        stage_turn(stage, 1);
        assert_true(hub->encoded_bytes <= HUB_TURN_ENCODE_BYTES + 10000);
    }
    assert_int_equal(turns - 1, 100 * 8100 / HUB_TURN_ENCODE_BYTES + 1);
    assert_int_equal(peer_skip(bob), 100);
    stage_free(stage);
}

/* while what was posted is not delivered, nothing is taken up. */
static void test_nothing_is_taken_up_before_the_rest_is_delivered(void **state)
{
    struct stage *stage = new_stage(2);
    struct peer *alice = stage_login(stage, 0, "alice"), *bob = stage_login(stage, 1, "bob");
    struct message message;
    int pushes = 0;

    (void)state;
    for (int i = 0; i < 100; i++)
        peer_send(alice, CMD_PRIVATE_CHAT, "{\"user_to\":\"bob\",\"text\":\"%08000d\"}", i);
    while (alice->to_server.length > 0)
        stage_turn(stage, 0);
    stage_turn(stage, 0);
    peer_send(bob, CMD_PING, "%s", "");
    stage_settle(stage);
    while (peer_next(bob, &message) && message.cmd == PUSH_PRIVATE_CHAT_RECV)
        pushes++;
    assert_int_equal(pushes, 100);
    assert_int_equal(message.cmd, CMD_PING | FRAME_REPLY_BIT);
    stage_free(stage);
}

/* ---- slots and handles ---- */

static void test_slots_are_used_again(void **state)
{
    struct stage *stage = new_stage(1);
    struct hub *hub = stage->hubs[0];
    session_handle last = 0;

    (void)state;
    for (int i = 0; i < 1000; i++) {
        stage->peer_count = 0; /* the one before is gone */
        stage->peers[0] = (struct peer){0};
        stage_connect(stage, 0);
        assert_int_not_equal(stage->peers[0].session->handle, last);
        last = stage->peers[0].session->handle;
        assert_null(hub_find(hub, last - 1));
        assert_ptr_equal(hub_find(hub, last), stage->peers[0].session);
        peer_finish(&stage->peers[0]);
        stage_settle(stage);
        assert_null(hub_find(hub, last));
    }
    assert_true(hub->slot_count <= 64);
    assert_int_equal(hub->live, 0);
    stage_free(stage);
}

static void test_the_table_of_slots_grows(void **state)
{
    struct stage *stage = new_stage(1);

    (void)state;
    for (int i = 0; i < 150; i++)
        stage_connect(stage, 0);
    for (int i = 0; i < 150; i++) {
        peer_send(&stage->peers[i], CMD_PING, "%s", "");
        for (int j = 0; j < i; j++)
            assert_int_not_equal(stage->peers[i].session->handle, stage->peers[j].session->handle);
    }
    stage_settle(stage);
    for (int i = 0; i < 150; i++)
        assert_int_equal(peer_skip(&stage->peers[i]), 1);
    stage_free(stage);
}

/* What is on its way to a session that ends reaches neither it nor who comes after it. */
static void test_what_is_for_the_gone_reaches_nobody(void **state)
{
    struct stage *stage = new_stage(2);
    struct peer *alice = stage_login(stage, 0, "alice"), *bob = stage_login(stage, 1, "bob"), *first, *second;
    session_handle gone = bob->session->handle;

    (void)state;
    peer_abort(bob);
    peer_send(alice, CMD_PRIVATE_CHAT, "{\"user_to\":\"bob\",\"text\":\"hello\"}");
    stage_turn(stage, 0); /* the engine does not know yet */
    peer_expect_reply(alice, CMD_PRIVATE_CHAT, alice->seq, "\"success\"");
    first = stage_connect(stage, 1);
    assert_int_not_equal((uint32_t)(first->session->handle >> 32), (uint32_t)(gone >> 32)); /* the slot is kept */
    stage_settle(stage);
    second = stage_connect(stage, 1);
    assert_int_equal((uint32_t)(second->session->handle >> 32), (uint32_t)(gone >> 32)); /* it is free now */
    assert_int_not_equal(second->session->handle, gone);
    assert_null(hub_find(stage->hubs[1], gone));
    peer_send(alice, CMD_PRIVATE_CHAT, "{\"user_to\":\"bob\",\"text\":\"hello\"}");
    stage_settle(stage);
    peer_expect_reply(alice, CMD_PRIVATE_CHAT, alice->seq, "\"offline\"");
    peer_expect_nothing(first);
    peer_expect_nothing(second);
    stage_free(stage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_session_is_reported_once),
        cmocka_unit_test(test_the_wish_to_read_is_reported),
        cmocka_unit_test(test_the_wish_to_read_after_a_long_write_is_reported),
        cmocka_unit_test(test_a_timeout_is_reported),
        cmocka_unit_test(test_a_freed_session_is_not_reported),
        cmocka_unit_test(test_the_deadline_is_now_when_there_is_something_to_do),
        cmocka_unit_test(test_a_held_back_request_is_no_reason_to_turn),
        cmocka_unit_test(test_another_hub_is_woken_once),
        cmocka_unit_test(test_a_flood_takes_several_turns),
        cmocka_unit_test(test_nothing_is_taken_up_before_the_rest_is_delivered),
        cmocka_unit_test(test_slots_are_used_again),
        cmocka_unit_test(test_the_table_of_slots_grows),
        cmocka_unit_test(test_what_is_for_the_gone_reaches_nobody),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
