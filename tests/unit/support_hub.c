/* support_hub.c - see support_hub.h. */
#include "support_hub.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "chat/hub_internal.h"

enum { TURNS_MAX = 200000 };

struct options stage_options(void)
{
    return (struct options){.stage = "00-test",
                            .store = OPTION_STORE_MEMORY,
                            .password_cost = OPTION_PASSWORD_MIN,
                            .max_connections = 10000,
                            .login_timeout_ms = 30000,
                            .frame_timeout_ms = 30000,
                            .idle_timeout_ms = 120000,
                            .heartbeat_ms = 30000,
                            .lockout_window_ms = 1800000,
                            .outbox_limit = 1048576};
}

static void wake(void *arg)
{
    ++*(unsigned *)arg;
}

struct stage *stage_new(const struct options *options, unsigned hubs)
{
    struct stage *stage = calloc(1, sizeof *stage);

    assert_non_null(stage);
    stage->options = *options;
    stage->now_ms = 1000000;
    stage->read_max = READ_BUFFER_BYTES;
    stage->hub_count = hubs;
    stage->chat = chat_new_with(&stage->options, 0);
    assert_non_null(stage->chat);
    for (unsigned hub = 0; hub < hubs; hub++)
        assert_non_null(stage->hubs[hub] = hub_new(stage->chat, wake, &stage->wakes[hub]));
    assert_true(chat_start(stage->chat));
    return stage;
}

/* A call of the server, between its test's own doings. */
#define CALL(stage, call)            \
    do {                             \
        tell_inside((stage), true);  \
        call;                        \
        tell_inside((stage), false); \
    } while (0)

static void tell_inside(const struct stage *stage, bool running)
{
    if (stage->inside != NULL)
        stage->inside(running);
}

static void peer_close(struct peer *peer)
{
    CALL(peer->stage, session_free(peer->session));
    peer->session = NULL;
}

void stage_free(struct stage *stage)
{
    for (size_t i = 0; i < stage->peer_count; i++) {
        if (stage->peers[i].session != NULL)
            peer_close(&stage->peers[i]);
        buffer_fini(&stage->peers[i].to_server);
        buffer_fini(&stage->peers[i].received);
    }
    stage->draining = false; /* the loops go on, until the engine has forgotten the sessions */
    for (unsigned hub = 0; hub < stage->hub_count; hub++)
        stage_turn(stage, hub);
    stage_run(stage);
    for (unsigned hub = 0; hub < stage->hub_count; hub++)
        assert_int_equal(stage->hubs[hub]->live, 0);
    assert_int_equal(stage_counter(stage, connections), 0);
    assert_int_equal(stage_counter(stage, sessions), 0);
    chat_stop(stage->chat);
    for (unsigned hub = 0; hub < stage->hub_count; hub++)
        hub_free(stage->hubs[hub]);
    chat_free(stage->chat);
    free(stage);
}

/* ---- the loop ---- */

static bool has_input(const struct peer *peer)
{
    return peer->to_server.length > 0 || (peer->finished && !peer->finish_told) ||
           (peer->stage->draining && !peer->drain_told);
}

/* Whether a real stage's loop would call recv(2). */
static bool is_readable(const struct peer *peer)
{
    return peer->session != NULL && has_input(peer) && session_wants_read(peer->session);
}

static void peer_read(struct peer *peer)
{
    static char bytes[READ_BUFFER_BYTES];
    struct stage *stage = peer->stage;
    size_t length = peer->to_server.length < stage->read_max ? peer->to_server.length : stage->read_max;

    if (length > 0) {
        memcpy(bytes, peer->to_server.bytes, length);
        buffer_drop_front(&peer->to_server, length);
        CALL(stage, session_receive(peer->session, bytes, length, stage->now_ms));
    } else if (peer->finished && !peer->finish_told) {
        peer->finish_told = true;
        CALL(stage, session_end(peer->session, PEER_FINISHED, stage->now_ms));
    }
    if (stage->draining && peer->to_server.length == 0) {
        peer->drain_told = true;
        CALL(stage, session_end(peer->session, PEER_DRAINED, stage->now_ms));
    }
}

static void peer_write(struct peer *peer)
{
    static char scratch[OUTPUT_GATHER_BYTES];
    struct stage *stage = peer->stage;
    struct slice output;

    while (peer->writable) {
        size_t length;

        CALL(stage, output = session_output(peer->session, scratch, sizeof scratch));
        if (output.length == 0)
            return;
        length = output.length < peer->takes ? output.length : peer->takes;
        buffer_append(&peer->received, output.bytes, length);
        assert_false(peer->received.failed);
        if (peer->takes != TAKES_ALL)
            peer->takes -= length;
        CALL(stage, peer->writable = session_sent(peer->session, length, stage->now_ms));
    }
}

/* What a stage does after hub_next_changed(), and when there is room again. */
static void peer_update(struct peer *peer)
{
    peer_write(peer);
    peer->phase = session_phase(peer->session);
    if (peer->phase >= SESSION_CLOSE)
        peer_close(peer);
}

static struct session *next_changed(struct stage *stage, unsigned hub)
{
    struct session *session;

    CALL(stage, session = hub_next_changed(stage->hubs[hub]));
    return session;
}

void stage_turn(struct stage *stage, unsigned hub)
{
    struct session *session;

    for (size_t i = 0; i < stage->peer_count; i++)
        if (stage->peers[i].hub == hub && is_readable(&stage->peers[i]))
            peer_read(&stage->peers[i]);
    stage->wakes[hub] = 0;
    CALL(stage, hub_turn(stage->hubs[hub], stage->now_ms));
    while ((session = next_changed(stage, hub)) != NULL) {
        struct peer *peer = session_connection(session);

        assert_ptr_equal(peer->session, session);
        peer->reports++;
        peer_update(peer);
    }
}

static bool has_reason(struct stage *stage, unsigned hub)
{
    for (size_t i = 0; i < stage->peer_count; i++)
        if (stage->peers[i].hub == hub && is_readable(&stage->peers[i]))
            return true;
    return hub_deadline(stage->hubs[hub]) <= stage->now_ms || stage->wakes[hub] > 0;
}

void stage_settle(struct stage *stage)
{
    bool any = true;

    for (unsigned turns = 0; any; turns++) {
        any = false;
        for (unsigned hub = 0; hub < stage->hub_count; hub++) {
            if ((stage->draining && hub_drained(stage->hubs[hub])) || !has_reason(stage, hub))
                continue;
            stage_turn(stage, hub);
            any = true;
        }
        assert_true(turns < TURNS_MAX); /* else a hub spins */
    }
}

void stage_run(struct stage *stage)
{
    bool ran;

    do {
        stage_settle(stage);
        CALL(stage, ran = chat_run_worker(stage->chat));
    } while (ran);
}

void stage_pass(struct stage *stage, uint64_t ms)
{
    uint64_t end_ms = stage->now_ms + ms;

    stage_settle(stage);
    for (;;) {
        uint64_t next_ms = end_ms;

        for (unsigned hub = 0; hub < stage->hub_count; hub++) {
            uint64_t due_ms = hub_deadline(stage->hubs[hub]);

            next_ms = due_ms < next_ms && due_ms > stage->now_ms ? due_ms : next_ms;
        }
        stage->now_ms = next_ms;
        stage_settle(stage);
        if (next_ms == end_ms)
            return;
    }
}

void stage_drain(struct stage *stage)
{
    stage->draining = true;
    for (unsigned hub = 0; hub < stage->hub_count; hub++)
        CALL(stage, hub_drain(stage->hubs[hub], stage->now_ms));
}

bool stage_drained(const struct stage *stage)
{
    for (unsigned hub = 0; hub < stage->hub_count; hub++)
        if (!hub_drained(stage->hubs[hub]))
            return false;
    return true;
}

/* ---- peers ---- */

struct peer *stage_connect(struct stage *stage, unsigned hub)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct peer *peer = &stage->peers[stage->peer_count++];

    assert_true(stage->peer_count <= STAGE_PEERS);
    peer->stage = stage;
    peer->hub = hub;
    peer->writable = true;
    peer->takes = TAKES_ALL;
    CALL(stage, peer->session = hub_open(stage->hubs[hub], (struct sockaddr *)&address, peer, stage->now_ms));
    return peer;
}

struct peer *stage_login(struct stage *stage, unsigned hub, const char *name)
{
    struct peer *peer = stage_connect(stage, hub);
    struct message message;
    bool logged_in = false;

    peer_send(peer, CMD_REGISTER, "{\"user\":\"%s\",\"passwd\":\"password\"}", name);
    peer_send(peer, CMD_LOGIN, "{\"user\":\"%s\",\"passwd\":\"password\"}", name);
    stage_run(stage);
    while (peer_next(peer, &message))
        logged_in |= message.cmd == (CMD_LOGIN | FRAME_REPLY_BIT) && strstr(message.json, "\"success\"") != NULL;
    assert_true(logged_in);
    return peer;
}

uint32_t peer_send(struct peer *peer, uint16_t cmd, const char *json, ...)
{
    static char payload[2 * REQUEST_PAYLOAD_MAX_BYTES];
    static char frame[sizeof payload + FRAME_OVERHEAD_BYTES];
    va_list arguments;

    va_start(arguments, json);
    vsnprintf(payload, sizeof payload, json, arguments);
    va_end(arguments);
    frame_encode(frame, cmd, ++peer->seq, slice_of(payload));
    peer_send_bytes(peer, frame, strlen(payload) + FRAME_OVERHEAD_BYTES);
    return peer->seq;
}

void peer_send_bytes(struct peer *peer, const void *bytes, size_t length)
{
    buffer_append(&peer->to_server, bytes, length);
    assert_false(peer->to_server.failed);
}

void peer_finish(struct peer *peer)
{
    peer->finished = true;
}

void peer_abort(struct peer *peer)
{
    CALL(peer->stage, session_end(peer->session, PEER_GONE, peer->stage->now_ms));
    peer_update(peer);
}

void peer_reads(struct peer *peer, size_t bytes)
{
    peer->takes = bytes;
    peer->writable = true;
    if (peer->session != NULL)
        peer_update(peer);
}

void peer_ask(struct peer *peer, uint16_t cmd, const char *json)
{
    uint32_t seq = peer_send(peer, cmd, "%s", json);
    struct message message = {.json = ""};

    stage_run(peer->stage);
    do
        assert_true(peer_next(peer, &message));
    while (message.seq != seq);
    assert_non_null(strstr(message.json, "\"result\":\"success\""));
}

bool peer_next(struct peer *peer, struct message *message)
{
    static char json[REPLY_PAYLOAD_MAX_BYTES + 1];
    size_t length = peer->received.length - peer->seen;
    const char *bytes;
    struct frame frame;
    enum frame_error error;

    if (length == 0)
        return false;
    bytes = peer->received.bytes + peer->seen;
    switch (frame_parse(bytes, length, REPLY_PAYLOAD_MAX_BYTES, &frame, &error)) {
    case FRAME_BROKEN:
        fail_msg("a broken frame of the server: %s", frame_error_name(error));
        return false;
    case FRAME_INCOMPLETE:
        return false;
    case FRAME_COMPLETE:
        break;
    }
    memcpy(json, bytes + FRAME_HEAD_BYTES, frame.payload_bytes);
    json[frame.payload_bytes] = '\0';
    *message = (struct message){frame.cmd, frame.seq, frame.payload_bytes, json};
    peer->seen += frame.frame_bytes;
    return true;
}

size_t peer_skip(struct peer *peer)
{
    struct message message;
    size_t count = 0;

    while (peer_next(peer, &message))
        count++;
    assert_int_equal(peer->seen, peer->received.length);
    return count;
}

void peer_expect(struct peer *peer, uint16_t cmd, uint32_t seq, const char *text, const char *file, int line)
{
    struct message message;

    if (!peer_next(peer, &message))
        fail_msg("%s:%d: expected %04x with %s, and got nothing", file, line, cmd, text);
    else if (message.cmd != cmd || message.seq != seq || strstr(message.json, text) == NULL)
        fail_msg("%s:%d: expected %04x seq %u with %s, and got %04x seq %u: %.200s", file, line, cmd, seq, text,
                 message.cmd, message.seq, message.json);
}

void peer_expect_silence(struct peer *peer, const char *file, int line)
{
    struct message message;

    if (peer_next(peer, &message))
        fail_msg("%s:%d: expected nothing, and got %04x seq %u: %.200s", file, line, message.cmd, message.seq,
                 message.json);
    if (peer->seen != peer->received.length)
        fail_msg("%s:%d: expected nothing, and got a part of a frame", file, line);
}
