/* session_request.c - judge one request, in the order of Q-9, and answer it or hand it to the engine.
 *
 * Idea.       What needs no shared state is answered here. The answer goes straight into the outbox if nothing of the
 *             session is under way; else it takes its place behind that, through the engine (session.h, I1).
 * Threads.    The hub's owner.
 */
#include <assert.h>

#include "base/clock.h"
#include "chat/hub_internal.h"
#include "wire/json_writer.h"

#define SERVER_NAME "chat-five-ways/" CHAT_VERSION

/* What replies of commands that do not exist are charged (L-4): they carry a result and a sentence. */
enum { UNKNOWN_REPLY_BYTES = 256 };

size_t session_reply_charge(uint16_t cmd)
{
    const struct command *command = command_find(cmd & (uint16_t)~FRAME_REPLY_BIT);

    return FRAME_OVERHEAD_BYTES + (command != NULL ? command->reply_max_bytes : UNKNOWN_REPLY_BYTES);
}

static void count_under_way(struct session *session, uint16_t cmd)
{
    session->under_way++;
    session->under_way_bytes += session_reply_charge(cmd);
}

/* ---- requests for the engine ---- */

/* An engine request for this session in the hub's batch; NULL: no memory, which ends the session: its payload has been
 * changed by the parser, so it cannot be taken up once more. */
static struct engine_request *add_request(struct session *session, const struct frame *frame, enum request_kind kind,
                                          size_t value_count)
{
    struct engine_batch *batch = hub_batch(session->hub);
    struct engine_request *request = batch != NULL ? engine_batch_add(batch, kind, value_count) : NULL;

    if (request == NULL) {
        session_reset(session, REASON_NO_MEMORY);
        return NULL;
    }
    request->session = session->handle;
    request->user = session->user;
    request->cmd = frame->cmd;
    request->seq = frame->seq;
    /* From here on the request is the engine's, and has a reply (I1): one that cannot be filled becomes an answer. */
    count_under_way(session, frame->cmd);
    return request;
}

/* The request keeps its place, but is answered with nothing and its session ends. */
static void spoil_request(struct session *session, struct engine_request *request)
{
    request->kind = REQUEST_ANSWERED;
    request->reply = SLICE_LITERAL("{}");
    session_reset(session, REASON_NO_MEMORY);
}

static bool copy_values(struct arena *arena, struct engine_request *to, const struct request *from, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        to->values[i] = from->values[i];
        if (!arena_copy(arena, from->values[i].string, &to->values[i].string))
            return false;
    }
    return true;
}

static bool copy_address(struct arena *arena, struct engine_request *to, const struct peer_address *address)
{
    struct slice copy, from = {(const char *)address->bytes, sizeof address->bytes};

    if (!arena_copy(arena, from, &copy))
        return false;
    to->address = (const struct peer_address *)(const void *)copy.bytes;
    return true;
}

static void submit(struct session *session, const struct frame *frame, const struct command *command,
                   const struct request *values)
{
    struct engine_request *request = add_request(session, frame, REQUEST_COMMAND, command->field_count);
    struct arena *arena;

    if (request == NULL)
        return;
    arena = &session->hub->batch->arena;
    request->command = command;
    if (command->barrier)
        session->barrier_cmd = command->cmd;
    if (!copy_values(arena, request, values, command->field_count) ||
        (command->barrier && !copy_address(arena, request, &session->address)))
        spoil_request(session, request);
}

/* ---- answers of the hub ---- */

/* Answer with what stands in the hub's scratch buffer. */
static void answer(struct session *session, const struct frame *frame)
{
    struct buffer *payload = &session->hub->scratch;
    struct engine_request *request;

    if (payload->failed) {
        session_reset(session, REASON_NO_MEMORY);
        return;
    }
    if (session->under_way == 0) {
        session_send(session, frame->cmd | FRAME_REPLY_BIT, frame->seq, buffer_slice(payload), false);
        return;
    }
    request = add_request(session, frame, REQUEST_ANSWERED, 0);
    if (request != NULL && !arena_copy(&session->hub->batch->arena, buffer_slice(payload), &request->reply))
        spoil_request(session, request);
}

static struct buffer *begin_answer(struct session *session, struct slice result)
{
    struct buffer *payload = &session->hub->scratch;

    buffer_clear(payload);
    json_open_object(payload);
    json_key_string(payload, SLICE_LITERAL("result"), result);
    return payload;
}

static void end_answer(struct session *session, const struct frame *frame)
{
    json_close_object(&session->hub->scratch);
    answer(session, frame);
}

/* every result but success says why, for people. */
static void refuse(struct session *session, const struct frame *frame, struct slice result, struct slice message)
{
    json_key_string(begin_answer(session, result), SLICE_LITERAL("message"), message);
    end_answer(session, frame);
}

static void refuse_field(struct session *session, const struct frame *frame, const char *field)
{
    struct buffer *payload = begin_answer(session, SLICE_LITERAL("bad_request"));

    json_key_string(payload, SLICE_LITERAL("field"), slice_of(field));
    json_key_string(payload, SLICE_LITERAL("message"),
                    SLICE_LITERAL("This field is missing, of a wrong type, or outside its range."));
    end_answer(session, frame);
}

static void answer_ping(struct session *session, const struct frame *frame)
{
    json_key_integer(begin_answer(session, SLICE_LITERAL("success")), SLICE_LITERAL("time"), clock_unix_ms());
    end_answer(session, frame);
}

static void answer_stats(struct session *session, const struct frame *frame)
{
    buffer_clear(&session->hub->scratch);
    chat_stats(session->hub->chat, &session->hub->scratch);
    answer(session, frame);
}

/* */
static void answer_hello(struct session *session, const struct frame *frame)
{
    static const char *const capabilities[] = {"accounts", "friends", "groups", "messages", "history", "limits"};
    struct buffer *payload = begin_answer(session, SLICE_LITERAL("success"));

    json_key_integer(payload, SLICE_LITERAL("protocol"), 1);
    json_key_string(payload, SLICE_LITERAL("server"), SLICE_LITERAL(SERVER_NAME));
    json_key_array(payload, SLICE_LITERAL("capabilities"));
    for (size_t i = 0; i < sizeof capabilities / sizeof *capabilities; i++)
        json_element_string(payload, slice_of(capabilities[i]));
    if (session->hub->options->store != OPTION_STORE_MEMORY)
        json_element_string(payload, SLICE_LITERAL("durable"));
    json_close_array(payload);
    end_answer(session, frame);
}

/* ---- judgement ---- */

/* L-5: a bucket of twice the rate, in thousandths of a request. A refused request takes nothing out of it.
 * Returns 0, or in how many milliseconds there will be enough. */
static uint64_t rate_take(struct session *session)
{
    uint64_t rate = session->hub->options->rate_limit, now_ms = session->hub->now_ms;
    uint64_t passed_ms = now_ms - session->rate_refilled_ms;

    if (rate == 0)
        return 0;
    /* Two seconds fill it, whatever is in it: no overflow for one that slept long. */
    session->rate_tokens += (passed_ms < 2000 ? passed_ms : 2000) * rate;
    if (session->rate_tokens > 2000 * rate)
        session->rate_tokens = 2000 * rate;
    session->rate_refilled_ms = now_ms;
    if (session->rate_tokens < 1000)
        return (1000 - session->rate_tokens + rate - 1) / rate;
    session->rate_tokens -= 1000;
    return 0;
}

static void refuse_rate(struct session *session, const struct frame *frame, uint64_t retry_ms)
{
    struct buffer *payload = begin_answer(session, SLICE_LITERAL("rate_limited"));

    json_key_integer(payload, SLICE_LITERAL("retry_ms"), (int64_t)retry_ms);
    json_key_string(payload, SLICE_LITERAL("message"), SLICE_LITERAL("Too many requests; try again in retry_ms."));
    end_answer(session, frame);
}

/* M-2: the sender is who the session is, whatever the request says. */
static bool claims_other_sender(const struct session *session, const struct command *command,
                                const struct request *request)
{
    const struct value *from = &request->values[PRIVATE_USER_FROM];

    return command->cmd == CMD_PRIVATE_CHAT && from->present && !slice_equal(from->string, session->user_name);
}

static void serve(struct session *session, const struct frame *frame, const struct command *command,
                  const struct request *request)
{
    switch (command->cmd) {
    case CMD_PING:
        answer_ping(session, frame);
        break;
    case CMD_STATS:
        answer_stats(session, frame);
        break;
    case CMD_HELLO:
        answer_hello(session, frame);
        break;
    default:
        submit(session, frame, command, request);
        break;
    }
}

/* Q-9, from bad_json on. */
static void judge(struct session *session, const struct frame *frame, char *payload, const struct command *command)
{
    struct request request;

    if (!request_parse(payload, frame->payload_bytes, command, &request))
        refuse(session, frame, SLICE_LITERAL("bad_json"), SLICE_LITERAL("The payload is not acceptable JSON."));
    else if (command == NULL)
        refuse(session, frame, SLICE_LITERAL("unknown_cmd"), SLICE_LITERAL("There is no such command."));
    else if (session->user == 0 && !command->before_login)
        refuse(session, frame, SLICE_LITERAL("not_logged_in"), SLICE_LITERAL("Log in first."));
    else if (session->user != 0 && command->cmd == CMD_LOGIN)
        refuse(session, frame, SLICE_LITERAL("already_logged_in"),
               SLICE_LITERAL("This connection is logged in; log out first."));
    else if (request.bad_field != NULL)
        refuse_field(session, frame, request.bad_field);
    else if (claims_other_sender(session, command, &request))
        refuse_field(session, frame, "user_from");
    else
        serve(session, frame, command, &request);
}

bool session_request(struct session *session, const struct frame *frame, char *payload)
{
    const struct command *command = command_find(frame->cmd);
    uint64_t retry_ms;

    /* A barrier waits until nothing is under way, and then goes alone (session.h, I2). */
    if (command != NULL && command->barrier && session->under_way > 0)
        return false;
    COUNTER_ADD(&session->hub->counters, requests_total, 1);
    retry_ms = rate_take(session);
    if (retry_ms > 0)
        refuse_rate(session, frame, retry_ms);
    else
        judge(session, frame, payload, command);
    return true;
}
