/* engine_profiles.c - profile_get and profile_set. */
#include "chat/engine_internal.h"

bool apply_profile_get(struct engine *engine, const struct engine_request *request, struct user *asker)
{
    const struct user *user = model_user_named(&engine->model, request->values[FRIEND_USER].string);
    const struct store_profile *profile;
    bool trusted;
    struct buffer *out;

    if (user == NULL)
        return reply(engine, request, REFUSE_USER_NOT_EXIST);
    profile = user_profile(user);
    trusted = user == asker || users_are_friends(user, asker);
    out = reply_begin(engine, KEY("success"));
    json_key_string(out, KEY("user"), name_slice(&user->name));
    json_key_string(out, KEY("name"), profile->name);
    json_key_string(out, KEY("sex"), profile->sex);
    json_key_integer(out, KEY("age"), profile->age);
    json_key_string(out, KEY("address"), trusted ? profile->address : (struct slice){NULL, 0});
    json_key_string(out, KEY("email"), trusted ? profile->email : (struct slice){NULL, 0});
    json_key_boolean(out, KEY("online"), user->session_count > 0);
    return reply_end(engine, request);
}

static void take_given(struct slice *field, const struct value *value)
{
    if (value->present)
        *field = value->string;
}

/* Only the fields given change. */
bool apply_profile_set(struct engine *engine, const struct engine_request *request, struct user *asker)
{
    const struct value *values = request->values;
    struct store_profile profile = *user_profile(asker);

    take_given(&profile.name, &values[PROFILE_NAME]);
    take_given(&profile.sex, &values[PROFILE_SEX]);
    take_given(&profile.address, &values[PROFILE_ADDRESS]);
    take_given(&profile.email, &values[PROFILE_EMAIL]);
    if (values[PROFILE_AGE].present)
        profile.age = values[PROFILE_AGE].integer;
    if (!STORE_WRITE(engine, user_set_profile, asker->number, &profile) ||
        !user_set_profile(asker, &engine->journal, &profile))
        return false;
    return reply_success(engine, request);
}
