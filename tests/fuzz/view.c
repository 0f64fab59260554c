/* view.c - see view.h: the frames of one connection, and replies by their requests. What they say stands in claims.c. */
#include "view.h"

#include <stdlib.h>
#include <string.h>

#include "claims.h"
#include "fuzz.h"

void view_init(struct view *view, struct story *story, struct peer *peer)
{
    *view = (struct view){.story = story, .peer = peer};
    view->last = &view->first;
    view_forget(view);
}

void view_fini(struct view *view)
{
    while (view->first != NULL) {
        struct expectation *next = view->first->next;

        json_decref(view->first->payload);
        free(view->first);
        view->first = next;
    }
    buffer_fini(&view->stream);
}

void story_fini(struct story *story)
{
    for (unsigned i = 0; i < story->message_count; i++)
        free(story->messages[i].text);
}

/* ---- what is sent ---- */

static void expect_reply(struct view *view, const struct frame *frame, const char *payload)
{
    struct expectation *expectation = calloc(1, sizeof *expectation);
    struct sent_message *message;
    int group;

    assert_non_null(expectation);
    expectation->cmd = frame->cmd;
    expectation->seq = frame->seq;
    expectation->payload = frame->payload_bytes == 0 ? json_object() : oracle_load(payload, frame->payload_bytes);
    memcpy(expectation->acknowledged, view->story->acknowledged, sizeof expectation->acknowledged);
    for (int i = 0; i < CONVERSATIONS; i++)
        expectation->epoch[i] = view->known[i].epoch;
    group = group_of(json_string_value(json_object_get(expectation->payload, "group")));
    if (frame->cmd == CMD_GROUP_DISMISS && group >= 0)
        view->story->was_dismissed[group] = true;
    message = story_message(view->story, json_string_value(json_object_get(expectation->payload, "text")));
    if (message != NULL)
        message->copies++;
    fuzz_trace("%td > %u %04x %.*s\n", view->peer - view->peer->stage->peers, frame->seq, frame->cmd,
               (int)(frame->payload_bytes < 200 ? frame->payload_bytes : 200), payload);
    *view->last = expectation;
    view->last = &expectation->next;
}

static void cut_frames(struct view *view)
{
    struct buffer *stream = &view->stream;
    struct frame frame;

    while (stream->length > 0) {
        switch (frame_parse(stream->bytes, stream->length, REQUEST_PAYLOAD_MAX_BYTES, &frame, &view->error)) {
        case FRAME_COMPLETE:
            expect_reply(view, &frame, stream->bytes + FRAME_HEAD_BYTES);
            buffer_drop_front(stream, frame.frame_bytes);
            break;
        case FRAME_BROKEN:
            view->is_broken = true;
            return;
        case FRAME_INCOMPLETE:
            return;
        }
    }
}

void view_sends(struct view *view, const void *bytes, size_t length)
{
    char first = *(const char *)bytes;

    if (!view->has_begun)
        view->is_text = (first >= 'a' && first <= 'z') || (first >= 'A' && first <= 'Z');
    view->has_begun = true;
    if (view->is_text || view->is_broken)
        return;
    buffer_append(&view->stream, bytes, length);
    cut_frames(view);
}

/* ---- what is received ---- */

/* the reply is that to the oldest request without one. */
static void take_reply(struct view *view, const struct message *message, const json_t *payload)
{
    struct expectation *expectation = view->first;

    if (expectation == NULL) {
        fail_msg("a reply that nobody asked for: %04x seq %u %s", message->cmd, message->seq, message->json);
        return;
    }
    assert_int_equal(message->cmd, expectation->cmd | FRAME_REPLY_BIT);
    assert_int_equal(message->seq, expectation->seq);
    claims_of_reply(view, expectation, payload);
    view->first = expectation->next;
    if (view->first == NULL)
        view->last = &view->first;
    json_decref(expectation->payload);
    free(expectation);
}

static void take_bye(struct view *view, const json_t *payload)
{
    const char *reason = json_string_value(json_object_get(payload, "reason"));

    assert_non_null(reason);
    view->bye = true;
    if (strcmp(reason, "protocol_error") != 0)
        return;
    assert_true(view->is_broken);
    /* F-4: what came before is answered first; but a stop does not wait for ever (SHUTDOWN_BYE_MS). */
    assert_true(view->first == NULL || view->peer->stage->draining);
    assert_string_equal(json_string_value(json_object_get(payload, "error")), frame_error_name(view->error));
}

static void take_message(struct view *view, const struct message *message)
{
    json_t *payload = oracle_load(message->json, message->length);

    fuzz_trace("%td %c %u %04x %.200s\n", view->peer - view->peer->stage->peers,
               message->cmd & FRAME_REPLY_BIT ? '<' : '*', message->seq, message->cmd, message->json);
    if (payload == NULL)
        fail_msg("the server sends bad JSON: %04x %s", message->cmd, message->json);
    assert_false(view->bye);
    if (message->cmd & FRAME_REPLY_BIT) {
        take_reply(view, message, payload);
    } else {
        assert_int_equal(message->seq, 0);
        if (message->cmd == PUSH_BYE)
            take_bye(view, payload);
        else
            claims_of_push(view, message->cmd, payload);
    }
    json_decref(payload);
}

/* F-1: an answer of HTTP, or nothing. */
static void check_text_answer(const struct buffer *received)
{
    static const char begin[] = "HTTP/1.1 40";
    size_t length = sizeof begin - 1 < received->length ? sizeof begin - 1 : received->length;

    assert_memory_equal(received->length > 0 ? received->bytes : begin, begin, length);
}

void view_receives(struct view *view)
{
    struct buffer *received = &view->peer->received;
    struct message message;

    /* A `bye` to one whose first bytes were never taken up is a frame, whatever they are. */
    if (view->is_text && received->length > 0 && received->bytes[0] == 'H') {
        check_text_answer(received);
        return;
    }
    while (peer_next(view->peer, &message))
        take_message(view, &message);
    buffer_drop_front(received, view->peer->seen);
    view->peer->seen = 0;
}

void view_is_complete(const struct view *view, bool everything_arrived)
{
    if (view->is_text || view->bye || view->is_gone)
        return;
    if (view->peer->phase == SESSION_OPEN && everything_arrived) {
        assert_null(view->first);      /* */
        assert_false(view->is_broken); /* F-4 */
    }
    /* L-8: closed without a word, because the peer had finished. Again, a stop does not wait for ever. */
    if (view->peer->phase == SESSION_CLOSE && view->peer->finish_told && !view->peer->stage->draining)
        assert_null(view->first);
}
