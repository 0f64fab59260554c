/* session.c - one connection's side of the protocol: input, output, phases. See session.h; the judgement of a single
 * request stands in session_request.c.
 */
#include "chat/session.h"

#include <assert.h>
#include <netinet/in.h>
#include <stdlib.h>

#include "base/log.h"
#include "chat/hub_internal.h"
#include "wire/http_text.h"
#include "wire/json_writer.h"

const char *session_reason_name(enum session_reason reason)
{
    switch (reason) {
    case REASON_NONE:
        return "none";
    case REASON_PROTOCOL_ERROR:
        return "protocol_error";
    case REASON_FRAME_TIMEOUT:
        return "frame_timeout";
    case REASON_LOGIN_TIMEOUT:
        return "login_timeout";
    case REASON_IDLE_TIMEOUT:
        return "idle_timeout";
    case REASON_SLOW_CONSUMER:
        return "slow_consumer";
    case REASON_SERVER_FULL:
        return "server_full";
    case REASON_SHUTDOWN:
        return "shutdown";
    case REASON_PEER_FINISHED:
        return "peer_finished";
    case REASON_PEER_GONE:
        return "peer_gone";
    case REASON_STALLED:
        return "stalled";
    case REASON_NOT_FRAMES:
        return "not_frames";
    case REASON_NO_MEMORY:
        return "no_memory";
    }
    return "unknown";
}

/* ---- making and unmaking ---- */

/* an IPv4 address stands mapped into IPv6; of IPv6 the network half counts, as one host has all the rest. */
static void peer_address_set(struct peer_address *address, const struct sockaddr *peer)
{
    static const uint8_t mapped[12] = {[10] = 0xFF, [11] = 0xFF};

    memset(address, 0, sizeof *address);
    if (peer->sa_family == AF_INET) {
        memcpy(address->bytes, mapped, sizeof mapped);
        memcpy(address->bytes + sizeof mapped, &((const struct sockaddr_in *)(const void *)peer)->sin_addr, 4);
    } else if (peer->sa_family == AF_INET6) {
        const uint8_t *bytes = ((const struct sockaddr_in6 *)(const void *)peer)->sin6_addr.s6_addr;

        memcpy(address->bytes, bytes, memcmp(bytes, mapped, sizeof mapped) == 0 ? 16 : 8);
    }
}

void session_init(struct session *session, struct hub *hub, const struct sockaddr *peer, void *connection,
                  uint64_t now_ms)
{
    session->hub = hub;
    session->connection = connection;
    session->reading = true;
    peer_address_set(&session->address, peer);
    buffer_init(&session->input);
    outbox_init(&session->outbox);
    session->rate_refilled_ms = now_ms;
    session->rate_tokens = 2000 * (uint64_t)hub->options->rate_limit; /* L-5: the burst is twice the rate */
    deadline_list_put(&hub->idle, &session->idle, now_ms);
    deadline_list_put(&hub->login, &session->stage, now_ms);
}

static void drop_deadlines(struct session *session)
{
    deadline_list_drop(&session->idle);
    deadline_list_drop(&session->heartbeat);
    deadline_list_drop(&session->frame);
    deadline_list_drop(&session->stall);
    deadline_list_drop(&session->stage);
}

void session_fini(struct session *session)
{
    drop_deadlines(session);
    buffer_fini(&session->input);
    outbox_fini(&session->outbox);
    free(session->groups);
    session->groups = NULL;
}

void session_refuse(struct session *session)
{
    session_close(session, REASON_SERVER_FULL);
}

void *session_connection(const struct session *session)
{
    return session->connection;
}

/* ---- phases ---- */

void session_enter(struct session *session, enum session_phase phase)
{
    struct hub *hub = session->hub;

    assert(phase > session->phase);
    if (session->phase == SESSION_OPEN) {
        if (!session->refused)
            chat_leave(hub->chat);
        log_debug("session %016llx ends: %s", (unsigned long long)session->handle,
                  session_reason_name(session->reason));
        deadline_list_drop(&session->idle);
        deadline_list_drop(&session->heartbeat);
        deadline_list_drop(&session->frame);
        buffer_fini(&session->input);
        session->held_back = false;
        hub_ready(hub, session); /* its end has to be submitted */
    }
    session->phase = phase;
    deadline_list_drop(&session->stage);
    if (phase == SESSION_FLUSH && session->reason == REASON_SLOW_CONSUMER)
        deadline_list_put(&hub->slow, &session->stage, hub->now_ms);
    else if (phase == SESSION_HALF_CLOSE)
        deadline_list_put(&hub->linger, &session->stage, hub->now_ms);
    else if (phase >= SESSION_CLOSE)
        deadline_list_drop(&session->stall);
    hub_report(hub, session);
}

/* FLUSH is over when nothing waits. */
static void advance_flush(struct session *session)
{
    if (session->phase == SESSION_FLUSH && !session_has_output(session))
        session_enter(session, session->peer_ended ? SESSION_CLOSE : SESSION_HALF_CLOSE);
}

void session_reset(struct session *session, enum session_reason reason)
{
    if (session->phase >= SESSION_CLOSE)
        return;
    if (session->phase == SESSION_OPEN)
        session->reason = reason;
    session_enter(session, SESSION_RESET);
    session_update(session);
}

/* What F-1, F-4, F-6, L-2, L-3, L-6 and L-7 send last. */
static void append_bye(struct session *session)
{
    struct buffer *payload = &session->hub->scratch;

    buffer_clear(payload);
    json_open_object(payload);
    json_key_string(payload, SLICE_LITERAL("reason"), slice_of(session_reason_name(session->reason)));
    if (session->reason == REASON_PROTOCOL_ERROR)
        json_key_string(payload, SLICE_LITERAL("error"), slice_of(frame_error_name(session->frame_error)));
    json_close_object(payload);
    if (payload->failed)
        session_reset(session, REASON_NO_MEMORY);
    else
        session_send(session, PUSH_BYE, 0, buffer_slice(payload), true);
}

static void append_http_answer(struct session *session)
{
    struct slice answer = session->reason == REASON_NOT_FRAMES      ? http_text_refusal()
                          : session->reason == REASON_FRAME_TIMEOUT ? http_text_timeout()
                                                                    : SLICE_LITERAL("");
    struct block_writer *writer = &session->hub->replies;
    char *room;

    if (answer.length == 0)
        return;
    room = block_writer_room(writer, answer.length);
    if (room == NULL) {
        session_reset(session, REASON_NO_MEMORY);
        return;
    }
    memcpy(room, answer.bytes, answer.length);
    block_writer_commit(writer, answer.length);
    session_append(session, writer->block, writer->block->used - (uint32_t)answer.length, (uint32_t)answer.length,
                   false);
}

void session_say_bye(struct session *session)
{
    if (session->codec == CODEC_TEXT)
        append_http_answer(session);
    else if (session->reason < REASON_PEER_FINISHED)
        append_bye(session);
    if (session->phase == SESSION_OPEN) {
        session_enter(session, SESSION_FLUSH);
        advance_flush(session);
    }
}

/* F-4: what came before the end is answered first. */
static void close_when_answered(struct session *session)
{
    if (session->phase != SESSION_OPEN || session->reason == REASON_NONE || session->under_way > 0)
        return;
    hub_settle(session->hub); /* pushes that were accepted before belong before the bye */
    session_say_bye(session);
}

void session_close(struct session *session, enum session_reason reason)
{
    if (session->phase != SESSION_OPEN || session->reason != REASON_NONE)
        return;
    session->reason = reason;
    session->held_back = false;
    deadline_list_drop(&session->frame);
    buffer_fini(&session->input);
    session_update(session);
}

/* L-3. From here on: FLUSH writes what is left, in SLOW_CONSUMER_FLUSH_MS or it is reset (hub->slow). */
static void close_slow_consumer(struct session *session)
{
    COUNTER_ADD(&session->hub->counters, slow_consumers_total, 1);
    session->reason = REASON_SLOW_CONSUMER;
    outbox_trim(&session->outbox, frame_bytes);
    session_say_bye(session);
}

/* When the system takes no more, and more than the limit waits. While a write is under way that cannot be known, nor may
 * the outbox be trimmed; then what is pushed past the overshoot is dropped, and the end comes with session_sent(). */
static void judge_slow_consumer(struct session *session)
{
    size_t limit = session->hub->options->outbox_limit, pushes = session->outbox.push_bytes;

    if ((pushes <= limit && !session->overflowed) || session->phase != SESSION_OPEN ||
        session->reason == REASON_SLOW_CONSUMER)
        return;
    session->overflowed |= pushes > limit + OUTBOX_OVERSHOOT_BYTES;
    if (!session->outbox.borrowed && (session->overflowed || (session->write_blocked && pushes > limit)))
        close_slow_consumer(session);
}

/* ---- what the stage is told ---- */

enum session_phase session_phase(const struct session *session)
{
    return session->phase;
}

bool session_waits_for_too_much(const struct session *session)
{
    return session->outbox.waiting_bytes + session->under_way_bytes > session->hub->options->outbox_limit / 2;
}

bool session_wants_read(const struct session *session)
{
    switch (session->phase) {
    case SESSION_OPEN:
        if (session->peer_ended || session->drained)
            return false;
        return session->reason != REASON_NONE || !(session->held_back || session_waits_for_too_much(session));
    case SESSION_FLUSH:
    case SESSION_HALF_CLOSE:
        return !session->peer_ended;
    case SESSION_CLOSE:
    case SESSION_RESET:
        break;
    }
    return false;
}

/* Neither the idle nor the login nor the frame timeout counts the time in which nothing is read (F-6): the entries wait
 * outside of their lists, and are put back as active so much later. */
static void pause_entry(struct deadline_entry *entry, struct deadline_list *list, bool pause, uint64_t paused_ms,
                        uint64_t now_ms)
{
    deadline_list_drop(entry);
    if (!pause)
        deadline_list_put(list, entry, entry->active_ms + (now_ms - paused_ms));
}

static void reading_changed(struct session *session)
{
    struct hub *hub = session->hub;

    session->reading = !session->reading;
    if (session->phase == SESSION_OPEN) {
        pause_entry(&session->idle, &hub->idle, !session->reading, session->read_paused_ms, hub->now_ms);
        if (session->user == 0)
            pause_entry(&session->stage, &hub->login, !session->reading, session->read_paused_ms, hub->now_ms);
        if (session->frame_begun)
            pause_entry(&session->frame, &hub->frame, !session->reading, session->read_paused_ms, hub->now_ms);
    }
    session->read_paused_ms = hub->now_ms;
    if (session->reading)
        hub_report(hub, session);
}

void session_start_timeout(struct session *session, struct deadline_list *list, struct deadline_entry *entry)
{
    if (session->reading)
        deadline_list_put(list, entry, session->hub->now_ms);
    else
        entry->active_ms = session->read_paused_ms; /* none of its time passes until reading_changed() puts it in */
}

/* The engine learns of the end as soon as nothing of the session is under way, whatever the peer still has to read. */
static void submit_end(struct session *session)
{
    struct engine_batch *batch;
    struct engine_request *request = NULL;

    if (session->phase == SESSION_OPEN || session->under_way > 0 || session->user == 0 || session->end_submitted)
        return;
    batch = hub_batch(session->hub);
    if (batch != NULL)
        request = engine_batch_add(batch, REQUEST_END, 0);
    if (request == NULL) {
        session->hub->retry = true;
        hub_ready(session->hub, session);
        return;
    }
    request->session = session->handle;
    request->user = session->user;
    session->end_submitted = true;
}

void session_update(struct session *session)
{
    struct hub *hub = session->hub;

    close_when_answered(session);
    advance_flush(session);
    submit_end(session);
    if (session_may_go_on(session))
        hub_ready(hub, session);
    if (session->reading != session_wants_read(session))
        reading_changed(session);
    if (session->freed && session->under_way == 0 && session->user == 0)
        hub_forget(hub, session);
}

/* ---- output ---- */

void session_append(struct session *session, struct block *block, uint32_t offset, uint32_t length, bool push)
{
    /* Dropped, for the end is near; a `bye`, which comes when there is a reason, is not. */
    if (push && session->overflowed && session->reason == REASON_NONE)
        return;
    if (session->outbox.count == 0)
        session->stall.active_ms = session->hub->now_ms; /* its time begins here, see session_output() */
    if (!outbox_append(&session->outbox, block, offset, length, push)) {
        session_reset(session, REASON_NO_MEMORY);
        return;
    }
    session->heartbeat.active_ms = session->hub->now_ms;
    hub_report(session->hub, session);
    if (session->reading && !session_wants_read(session))
        reading_changed(session); /* now: session_sent() may be what makes it read again, and has to see the change */
    judge_slow_consumer(session);
}

void session_send(struct session *session, uint16_t cmd, uint32_t seq, struct slice payload, bool push)
{
    struct block_writer *writer = &session->hub->replies;
    size_t length = payload.length + FRAME_OVERHEAD_BYTES;
    char *room = block_writer_room(writer, length);

    if (room == NULL) {
        session_reset(session, REASON_NO_MEMORY);
        return;
    }
    frame_encode(room, cmd, seq, payload);
    block_writer_commit(writer, length);
    session->hub->encoded_bytes += length;
    session_append(session, writer->block, writer->block->used - (uint32_t)length, (uint32_t)length, push);
}

bool session_has_output(const struct session *session)
{
    return session->outbox.count > 0 && session->phase <= SESSION_FLUSH;
}

/* The stall timeout stays in its list when all is sent, as the next output is near where there is any; when it is due
 * and nothing waits, it is forgotten (expire_ends()). So a message costs no list operation. */
struct slice session_output(struct session *session, char *scratch, size_t gather_bytes)
{
    if (!session_has_output(session))
        return (struct slice){NULL, 0};
    if (!deadline_entry_waits(&session->stall))
        deadline_list_put(&session->hub->stall, &session->stall, session->hub->now_ms);
    return outbox_piece(&session->outbox, scratch, gather_bytes);
}

bool session_sent(struct session *session, size_t length, uint64_t now_ms)
{
    struct hub *hub = session->hub;
    bool blocked;

    hub->now_ms = now_ms;
    COUNTER_ADD(&hub->counters, bytes_out_total, length);
    session->write_blocked = length < session->outbox.offered_bytes;
    outbox_sent(&session->outbox, length);
    if (length > 0)
        session->stall.active_ms = now_ms;
    blocked = session->write_blocked;
    judge_slow_consumer(session);
    session_update(session);
    return !blocked;
}

/* ---- the end ---- */

void session_linger_over(struct session *session)
{
    session_enter(session, SESSION_CLOSE);
    session_update(session);
}

bool session_is_quiet(const struct session *session)
{
    if (session->phase != SESSION_OPEN)
        return true;
    return session->drained && session->under_way == 0 && !session->held_back;
}

void session_free(struct session *session)
{
    struct hub *hub = session->hub;

    if (session->phase < SESSION_CLOSE) {
        if (session->phase == SESSION_OPEN)
            session->reason = REASON_PEER_GONE;
        session_enter(session, SESSION_CLOSE);
    }
    COUNTER_SUBTRACT(&hub->counters, connections, 1);
    if (session->refused)
        chat_leave_refused(hub->chat);
    session->freed = true;
    session->connection = NULL;
    drop_deadlines(session);
    outbox_fini(&session->outbox);
    session_update(session);
    hub_tell_if_quiet(hub); /* the last of a hub that stops: its loop may end here */
}
