/* session_input.c - bytes of the peer: cut them, take up what may be taken up, keep the rest. See session.h.
 *
 * Idea.       Bytes are judged where the stage has read them; only what cannot be taken up now is copied, into `input`.
 *             So a session that is waiting for nothing keeps no buffer, and a burst of requests is cut in place.
 * Threads.    The hub's owner.
 */
#include "chat/hub_internal.h"
#include "wire/http_text.h"

static bool may_take_up(const struct session *session)
{
    return session->phase == SESSION_OPEN && session->reason == REASON_NONE && session->barrier_cmd == 0 &&
           !session_waits_for_too_much(session);
}

bool session_may_go_on(const struct session *session)
{
    return session->held_back && may_take_up(session) && !(session->held_for_barrier && session->under_way > 0);
}

/* Take up one whole frame; false: not now. */
static bool take_up_frame(struct session *session, const struct frame *frame, char *payload)
{
    session->held_for_barrier = false;
    if (!may_take_up(session) || !hub_may_take_up(session->hub))
        return false;
    if (session_request(session, frame, payload))
        return true;
    session->held_for_barrier = true;
    return false;
}

/* Take up frames of `bytes` while it is allowed. Returns how many bytes are done with. */
static size_t take_up_frames(struct session *session, char *bytes, size_t length)
{
    size_t done = 0;

    session->held_back = false;
    while (done < length && session->reason == REASON_NONE && session->phase == SESSION_OPEN) {
        struct frame frame;

        switch (frame_parse(bytes + done, length - done, REQUEST_PAYLOAD_MAX_BYTES, &frame, &session->frame_error)) {
        case FRAME_INCOMPLETE:
            return done;
        case FRAME_BROKEN:
            COUNTER_ADD(&session->hub->counters, protocol_errors_total, 1);
            session_close(session, REASON_PROTOCOL_ERROR);
            return length;
        case FRAME_COMPLETE:
            session->held_back = !take_up_frame(session, &frame, bytes + done + FRAME_HEAD_BYTES);
            if (session->held_back)
                return done;
            done += frame.frame_bytes;
            break;
        }
    }
    return done;
}

/* F-1: the first byte was a letter. Nothing of it is a request; it is answered once it can be told what it is. */
static size_t take_up_text(struct session *session, const char *bytes, size_t length)
{
    if (http_text_is_judged(bytes, length, session->peer_ended))
        session_close(session, REASON_NOT_FRAMES);
    return 0;
}

static size_t take_up(struct session *session, char *bytes, size_t length)
{
    if (session->codec == CODEC_UNKNOWN && length > 0)
        session->codec = http_text_begins(bytes[0]) ? CODEC_TEXT : CODEC_FRAME;
    if (session->codec == CODEC_TEXT)
        return take_up_text(session, bytes, length);
    return take_up_frames(session, bytes, length);
}

/* The frame timeout runs while `input` begins with something incomplete (F-6), from when that began. */
static void watch_frame(struct session *session, bool progress)
{
    bool incomplete = session->phase == SESSION_OPEN && session->input.length > 0 && !session->held_back;

    if (!incomplete || progress) {
        deadline_list_drop(&session->frame);
        session->frame_begun = false;
    }
    if (incomplete && !session->frame_begun) {
        session_start_timeout(session, &session->hub->frame, &session->frame);
        session->frame_begun = true;
    }
}

/* L-8: when the peer has finished and nothing of what it sent is left to do. */
static void finish_if_all_taken(struct session *session)
{
    if (session->peer_ended && session->phase == SESSION_OPEN && !session->held_back)
        session_close(session, REASON_PEER_FINISHED);
}

/* Take up what stands in `input`. */
void session_go_on(struct session *session)
{
    size_t done;

    if (session->phase == SESSION_OPEN && session->reason == REASON_NONE) {
        done = take_up(session, session->input.bytes, session->input.length);
        if (session->phase == SESSION_OPEN && session->reason == REASON_NONE) {
            buffer_drop_front(&session->input, done);
            if (session->input.length == 0)
                buffer_fini(&session->input);
            watch_frame(session, done > 0);
            finish_if_all_taken(session);
        }
    }
    session_update(session);
}

/* Nothing is held back: take up straight from the stage's buffer, and keep what is left. */
static void receive_directly(struct session *session, char *bytes, size_t length)
{
    size_t done = take_up(session, bytes, length);

    if (session->phase == SESSION_OPEN && session->reason == REASON_NONE) {
        buffer_append(&session->input, bytes + done, length - done);
        if (session->input.failed)
            session_reset(session, REASON_NO_MEMORY);
        watch_frame(session, true);
    }
    session_update(session);
}

static void receive(struct session *session, void *bytes, size_t length)
{
    if (session->input.length == 0) {
        receive_directly(session, bytes, length);
        return;
    }
    buffer_append(&session->input, bytes, length);
    if (session->input.failed)
        session_reset(session, REASON_NO_MEMORY);
    else
        session_go_on(session);
}

/* L-7: a peer that never stops sending has had its share of the stop. */
static void bound_draining(struct session *session, size_t length)
{
    session->drain_bytes += length;
    if (session->drain_bytes > SHUTDOWN_READ_MAX_BYTES && !session->drained) {
        session->drained = true;
        session_update(session);
    }
}

void session_receive(struct session *session, void *bytes, size_t length, uint64_t now_ms)
{
    struct hub *hub = session->hub;

    hub->now_ms = now_ms;
    COUNTER_ADD(&hub->counters, bytes_in_total, length);
    session->idle.active_ms = session->reading ? now_ms : session->read_paused_ms; /* see session_start_timeout() */
    if (session->phase != SESSION_OPEN || session->reason != REASON_NONE || session->drained)
        return;
    hub_collect(hub); /* before anything is taken up */
    receive(session, bytes, length);
    if (hub->draining)
        bound_draining(session, length);
}

void session_end(struct session *session, enum session_end_cause cause, uint64_t now_ms)
{
    struct hub *hub = session->hub;

    hub->now_ms = now_ms;
    if (cause == PEER_DRAINED) {
        session->drained = true;
        session_update(session);
        return;
    }
    session->peer_ended = true;
    if (cause == PEER_GONE || session->phase == SESSION_HALF_CLOSE) {
        if (session->phase == SESSION_OPEN)
            session->reason = REASON_PEER_GONE;
        if (session->phase < SESSION_CLOSE)
            session_enter(session, SESSION_CLOSE);
        session_update(session);
        return;
    }
    if (session->codec == CODEC_TEXT)
        session_go_on(session);
    finish_if_all_taken(session);
    session_update(session);
}
