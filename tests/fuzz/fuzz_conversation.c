/* fuzz_conversation.c - whole conversations: several clients over one hub or several, in any order of events.
 *
 * An input begins with the settings of a server. Then each operation is a byte that says what, and some that say how:
 * clients connect, send requests (whole, in parts, or rubbish), read little, finish or vanish; hubs have turns; passwords
 * are hashed; time goes by; the server stops. What the clients get must be what a chat can be (view.h), every bound must
 * hold at every moment, and at the end nothing may be left.
 */
#include <stdlib.h>

#include "base/log.h"
#include "chat/hub_internal.h"
#include "fuzz.h"
#include "play.h"

enum { OPERATIONS_MAX = 2000 };

/* ---- what must hold at every moment ---- */

static void check_session(const struct session *session, const struct peer *peer)
{
    size_t limit = session->hub->options->outbox_limit;
    size_t frame_max = REPLY_PAYLOAD_MAX_BYTES + FRAME_OVERHEAD_BYTES;

    assert_true(session->input.length <= READ_BUFFER_BYTES + REQUEST_PAYLOAD_MAX_BYTES + FRAME_OVERHEAD_BYTES);
    assert_true(session->outbox.waiting_bytes + session->under_way_bytes <= limit / 2 + frame_max + limit);
    if (peer->writable && peer->phase == SESSION_OPEN && !session->in_changed)
        assert_int_equal(session->outbox.waiting_bytes, 0);
    if (session->phase == SESSION_FLUSH && session->reason == REASON_SLOW_CONSUMER)
        assert_true(session->outbox.count <= 2); /* the frame half sent, and the bye */
    /* L-3, L-4 */
    if (session->phase == SESSION_OPEN) {
        assert_true(session->outbox.push_bytes <= limit || !session->write_blocked);
        assert_true(session->outbox.waiting_bytes - session->outbox.push_bytes <= limit / 2 + frame_max);
    }
}

static void check_everything(struct play *play)
{
    size_t live = 0;

    for (size_t i = 0; i < play->count; i++) {
        const struct peer *peer = &play->stage->peers[i];

        view_receives(&play->views[i]);
        if (peer->session != NULL)
            check_session(peer->session, peer);
    }
    for (unsigned hub = 0; hub < play->stage->hub_count; hub++)
        live += play->stage->hubs[hub]->live;
    assert_true(live <= play->count);
}

/* ---- operations ---- */

static void open_peer(struct play *play)
{
    unsigned hub = take(play, play->stage->hub_count);
    struct view *view = &play->views[play->count];

    if (play->count == PEERS_MAX)
        return;
    view_init(view, &play->story, stage_connect(play->stage, hub));
    view->is_gone = view->peer->session == NULL; /* too many of them, or a server that stops */
    play->count++;
    if (take(play, 4) > 0)
        send_login(play, play->count - 1);
}

static void let_time_pass(struct play *play)
{
    static const unsigned steps_ms[] = {1, 100, 600, 2000, 2600, 5000, 15000, 31000, 121000};

    stage_pass(play->stage, steps_ms[take(play, sizeof steps_ms / sizeof *steps_ms)]);
}

static void set_wall_clock(struct play *play)
{
    fuzz_unix_ms += ((int64_t)take(play, 16) - 8) * 1000;
}

static void read_some(struct play *play, size_t peer)
{
    static const size_t bytes[] = {0, 1, 21, 100, 1000, 20000, 100000, TAKES_ALL};

    peer_reads(&play->stage->peers[peer], bytes[take(play, sizeof bytes / sizeof *bytes)]);
}

static void abort_peer(struct play *play, size_t peer)
{
    play->views[peer].is_gone = true;
    if (play->stage->peers[peer].session != NULL)
        peer_abort(&play->stage->peers[peer]);
}

static void drain(struct play *play)
{
    if (take(play, 4) == 0 && !play->stage->draining)
        stage_drain(play->stage);
}

static void operate_server(struct play *play, unsigned operation)
{
    switch (operation) {
    case 0:
        open_peer(play);
        break;
    case 1:
        let_time_pass(play);
        break;
    case 2:
        set_wall_clock(play);
        break;
    case 3:
        chat_run_worker(play->stage->chat);
        break;
    case 4:
        stage_turn(play->stage, take(play, play->stage->hub_count));
        break;
    case 5:
        stage_settle(play->stage);
        break;
    case 6:
        stage_run(play->stage);
        break;
    default:
        drain(play);
        break;
    }
}

static void operate_peer(struct play *play, unsigned operation, size_t peer)
{
    struct slice bytes;

    switch (operation) {
    case 0:
        bytes = take_bytes(play, 64);
        send_bytes(play, peer, bytes.bytes, bytes.length);
        break;
    case 1:
        send_payload(play, peer);
        break;
    case 2:
        play->held[peer] = !play->held[peer];
        break;
    case 3:
        deliver(play, peer, take(play, 255));
        break;
    case 4:
        read_some(play, peer);
        break;
    case 5:
        deliver(play, peer, SIZE_MAX);
        peer_finish(&play->stage->peers[peer]);
        break;
    case 6:
        abort_peer(play, peer);
        break;
    case 7:
        send_login(play, peer);
        break;
    case 8:
        send_probe(play, peer);
        break;
    default:
        send_burst(play, peer);
        break;
    }
}

enum { SERVER_OPERATIONS = 8, PEER_OPERATIONS = 10, COMMANDS = 26 };

static void operate(struct play *play)
{
    unsigned operation = take(play, SERVER_OPERATIONS + PEER_OPERATIONS + 2 * COMMANDS);
    size_t peer;

    if (operation < SERVER_OPERATIONS) {
        fuzz_trace("server: operation %u\n", operation);
        operate_server(play, operation);
        return;
    }
    if (play->count == 0)
        open_peer(play);
    operation -= SERVER_OPERATIONS;
    peer = take(play, 255) % play->count;
    fuzz_trace("client %zu: operation %u\n", peer, operation);
    if (operation < PEER_OPERATIONS)
        operate_peer(play, operation, peer);
    else
        send_command(play, peer, command_at((operation - PEER_OPERATIONS) % COMMANDS));
}

/* ---- a story ---- */

static void begin(struct play *play)
{
    static const size_t outbox_limits[] = {65536, 100000, 1 << 20}, read_maxima[] = {READ_BUFFER_BYTES, 300, 4000},
                        connections[] = {10000, 3};
    static const uint32_t rates[] = {0, 3, 200};
    struct options options = stage_options();

    options.outbox_limit = outbox_limits[take(play, 3)];
    options.max_connections = connections[take(play, 2)];
    options.rate_limit = rates[take(play, 3)];
    play->stage = stage_new(&options, 1 + take(play, STAGE_HUBS));
    play->stage->read_max = read_maxima[take(play, 3)];
    (void)take(play, 3); /* meant something once; so the inputs that there are still mean what they did */
    fuzz_unix_ms = 1700000000000;
    log_set_level(LOG_ERROR);
}

/* All that was sent arrives, everybody reads: then every request has its reply, and everybody knows everything. */
static void finish_story(struct play *play)
{
    for (size_t i = 0; i < play->count; i++) {
        deliver(play, i, SIZE_MAX);
        play->held[i] = false;
        peer_reads(&play->stage->peers[i], TAKES_ALL);
    }
    stage_run(play->stage);
    check_everything(play);
    for (size_t i = 0; i < play->count; i++)
        send_probe(play, i);
    stage_run(play->stage);
    check_everything(play);
    for (size_t i = 0; i < play->count; i++)
        view_is_complete(&play->views[i], true);
    if (!play->stage->draining)
        return;
    stage_pass(play->stage, SHUTDOWN_MS + 1); /* L-7 */
    assert_true(stage_drained(play->stage));
}

static void end(struct play *play)
{
    stage_free(play->stage); /* which fails when a session is left */
    for (size_t i = 0; i < play->count; i++) {
        view_fini(&play->views[i]);
        buffer_fini(&play->pending[i]);
    }
    story_fini(&play->story);
    buffer_fini(&play->scratch);
    free(play);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    struct play *play = calloc(1, sizeof *play);

    assert_non_null(play);
    play->input = bytes;
    play->input_length = length;
    begin(play);
    for (unsigned operations = 0; play->input_length > 0 && operations < OPERATIONS_MAX; operations++) {
        operate(play);
        fuzz_monotonic_ms = play->stage->now_ms;
        check_everything(play);
    }
    finish_story(play);
    end(play);
    return 0;
}
