/* engine_sessions.c - users come and go: login, logout, the end of a session, and who is told (P-4). */
#include "chat/engine_internal.h"

static void tell_presence(struct engine *engine, const struct user *user, bool online)
{
    struct buffer *out;
    struct slice payload;

    if (user->friends.count == 0)
        return;
    out = payload_begin(engine);
    json_key_string(out, KEY("user"), name_slice(&user->name));
    json_key_boolean(out, KEY("online"), online);
    payload = payload_end(engine);
    for (uint32_t i = 0; i < user->friends.count; i++)
        push_user(engine, (struct user *)user->friends.items[i], 0, PUSH_PRESENCE, payload);
}

static bool has_session(const struct user *user, session_handle session)
{
    for (uint32_t i = 0; i < user->session_count; i++)
        if (user->sessions[i] == session)
            return true;
    return false;
}

/* The hub learns whose the session is, and in which groups, before any push to it. */
static void effect_login(struct engine *engine, session_handle session, const struct user *user)
{
    uint32_t count = user_group_count(user), at = 0;
    uint32_t *groups = count > 0 ? effects_alloc(&engine->effects, count * sizeof *groups) : NULL;
    struct effect *effect = effects_add(&engine->effects, session_handle_hub(session), EFFECT_LOGIN);

    if (engine->effects.failed)
        return;
    for (uint32_t i = 0; i < count; i++)
        groups[i] = user_group_next(user, &at)->conversation.number;
    effect->session = session;
    effect->user = user->number;
    effect->payload = name_slice(&user->name);
    effect->groups = groups;
    effect->group_count = count;
}

/* The reply is a snapshot at its place: whatever comes later comes as a push behind it. */
bool session_login(struct engine *engine, const struct engine_request *request, struct user *user)
{
    struct buffer *out;

    if (user->session_count >= USER_SESSIONS_MAX)
        return reply(engine, request,
                     REFUSAL("too_many_sessions", "This user is logged in on as many connections as are allowed."));
    if (!user_attach(user, &engine->journal, request->session))
        return false;
    effect_login(engine, request->session, user);
    out = reply_begin(engine, KEY("success"));
    json_key_string(out, KEY("user"), name_slice(&user->name));
    list_friends(out, user);
    list_groups(out, user);
    list_unread(&engine->model, out, user);
    list_requests(out, user);
    if (!reply_end(engine, request))
        return false;
    if (user->session_count == 1)
        tell_presence(engine, user, true);
    return true;
}

bool apply_logout(struct engine *engine, const struct engine_request *request, struct user *asker)
{
    struct effect *effect = effects_add(&engine->effects, session_handle_hub(request->session), EFFECT_LOGOUT);

    if (effect == NULL)
        return false;
    effect->session = request->session;
    if (!reply_success(engine, request))
        return false;
    if (!has_session(asker, request->session))
        return true;
    user_detach(asker, &engine->journal, request->session);
    if (asker->session_count == 0)
        tell_presence(engine, asker, false);
    return true;
}

bool session_end_of(struct engine *engine, const struct engine_request *request)
{
    struct user *user = model_user(&engine->model, request->user);
    struct effect *effect;

    if (user != NULL && has_session(user, request->session)) {
        user_detach(user, &engine->journal, request->session);
        if (user->session_count == 0 && !atomic_load(&engine->draining)) /* L-7 */
            tell_presence(engine, user, false);
    }
    effect = effects_add(&engine->effects, session_handle_hub(request->session), EFFECT_ENDED);
    if (effect == NULL)
        return false;
    effect->session = request->session;
    return true;
}
