/* engine_output.c - payloads, replies and pushes: from the engine to the effects of the batch. */
#include "chat/engine_internal.h"
#include "wire/frame.h"

struct buffer *payload_begin(struct engine *engine)
{
    buffer_clear(&engine->payload);
    json_open_object(&engine->payload);
    return &engine->payload;
}

struct slice payload_end(struct engine *engine)
{
    json_close_object(&engine->payload);
    if (engine->payload.failed) {
        engine->effects.failed = true; /* I2 */
        return (struct slice){NULL, 0};
    }
    return effects_copy(&engine->effects, buffer_slice(&engine->payload));
}

bool reply(struct engine *engine, const struct engine_request *request, struct slice payload)
{
    struct effect *effect = effects_add(&engine->effects, session_handle_hub(request->session), EFFECT_REPLY);

    if (effect == NULL)
        return false;
    effect->session = request->session;
    effect->cmd = (uint16_t)(request->cmd | FRAME_REPLY_BIT);
    effect->seq = request->seq;
    effect->payload = payload;
    return !engine->effects.failed;
}

bool reply_success(struct engine *engine, const struct engine_request *request)
{
    return reply(engine, request, SLICE_LITERAL("{\"result\":\"success\"}"));
}

struct buffer *reply_begin(struct engine *engine, struct slice result)
{
    struct buffer *out = payload_begin(engine);

    json_key_string(out, KEY("result"), result);
    return out;
}

bool reply_end(struct engine *engine, const struct engine_request *request)
{
    return reply(engine, request, payload_end(engine));
}

void push_user(struct engine *engine, const struct user *user, session_handle except, uint16_t cmd,
               struct slice payload)
{
    for (uint32_t i = 0; i < user->session_count; i++) {
        session_handle session = user->sessions[i];
        struct effect *effect;

        if (session == except)
            continue;
        effect = effects_add(&engine->effects, session_handle_hub(session), EFFECT_PUSH);
        if (effect == NULL)
            return;
        effect->session = session;
        effect->cmd = cmd;
        effect->payload = payload;
    }
}

/* One effect a hub that has a session of a member, whatever the number of members. */
void push_group(struct engine *engine, const struct group *group, session_handle except, uint32_t except_user,
                uint16_t cmd, struct slice payload)
{
    for (uint64_t hubs = group->hubs; hubs != 0; hubs &= hubs - 1) {
        struct effect *effect = effects_add(&engine->effects, (unsigned)__builtin_ctzll(hubs), EFFECT_PUSH_GROUP);

        if (effect == NULL)
            return;
        effect->session = except;
        effect->user = except_user;
        effect->group = group->conversation.number;
        effect->cmd = cmd;
        effect->payload = payload;
    }
}

void effect_for_sessions(struct engine *engine, const struct user *user, enum effect_kind kind, uint32_t group)
{
    for (uint32_t i = 0; i < user->session_count; i++) {
        session_handle session = user->sessions[i];
        struct effect *effect = effects_add(&engine->effects, session_handle_hub(session), kind);

        if (effect == NULL)
            return;
        effect->session = session;
        effect->group = group;
    }
}

void effect_dismiss(struct engine *engine, const struct group *group)
{
    for (uint64_t hubs = group->hubs; hubs != 0; hubs &= hubs - 1) {
        struct effect *effect = effects_add(&engine->effects, (unsigned)__builtin_ctzll(hubs), EFFECT_DISMISS);

        if (effect == NULL)
            return;
        effect->group = group->conversation.number;
    }
}
