/* engine_friends.c - friend requests and friendships (P-1 to P-3). */
#include "chat/engine_internal.h"

#define REFUSE_NO_REQUEST REFUSAL("no_request", "There is no friend request from this user.")
#define REFUSE_TOO_MANY_FRIENDS \
    REFUSAL_FAILURE("too_many", "One of you has as many friends as are allowed. The request stays pending.")

/* To each session of `user` but `except`: what happened with `other`, as seen from there. */
static void tell_friend_event(struct engine *engine, const struct user *user, session_handle except,
                              const struct user *other, struct slice event)
{
    struct buffer *out = payload_begin(engine);

    json_key_string(out, KEY("user"), name_slice(&other->name));
    json_key_string(out, KEY("event"), event);
    push_user(engine, user, except, PUSH_FRIEND_EVENT, payload_end(engine));
}

/* Both sides, but the session that asked. */
static void tell_both(struct engine *engine, const struct engine_request *request, const struct user *asker,
                      const struct user *other, struct slice event)
{
    tell_friend_event(engine, other, 0, asker, event);
    tell_friend_event(engine, asker, request->session, other, event);
}

static bool may_befriend(const struct user *one, const struct user *other)
{
    return one->friends.count < USER_FRIENDS_MAX && other->friends.count < USER_FRIENDS_MAX;
}

/* The request `pending` to `asker` is settled: both are friends. */
static bool befriend(struct engine *engine, struct user *asker, struct friend_request *pending)
{
    struct user *other = pending->from;

    if (!STORE_WRITE(engine, friend_request_remove, other->number, asker->number) ||
        !STORE_WRITE(engine, friendship_add, asker->number, other->number) ||
        !users_befriend(asker, other, &engine->journal))
        return false;
    user_remove_request(asker, &engine->journal, pending);
    return true;
}

static bool accept_request(struct engine *engine, const struct engine_request *request, struct user *asker,
                           struct friend_request *pending)
{
    struct user *other = pending->from;

    if (!may_befriend(asker, other))
        return reply(engine, request, REFUSE_TOO_MANY_FRIENDS);
    if (!befriend(engine, asker, pending))
        return false;
    tell_both(engine, request, asker, other, KEY("accepted"));
    return reply_success(engine, request);
}

static bool reject_request(struct engine *engine, const struct engine_request *request, struct user *asker,
                           struct friend_request *pending)
{
    struct user *other = pending->from;

    if (!STORE_WRITE(engine, friend_request_remove, other->number, asker->number))
        return false;
    user_remove_request(asker, &engine->journal, pending);
    tell_both(engine, request, asker, other, KEY("rejected"));
    return reply_success(engine, request);
}

static bool ask(struct engine *engine, const struct engine_request *request, struct user *asker, struct user *user)
{
    struct slice text = request->values[FRIEND_TEXT].string;
    struct buffer *out;

    if (user->request_count >= USER_REQUESTS_MAX)
        return reply(engine, request,
                     REFUSAL_FAILURE("too_many", "This user has as many pending friend requests as are allowed."));
    if (!STORE_WRITE(engine, friend_request_add, asker->number, user->number, text) ||
        !user_add_request(user, &engine->journal, asker, text))
        return false;
    out = payload_begin(engine);
    json_key_string(out, KEY("user"), name_slice(&asker->name));
    json_key_string(out, KEY("text"), text);
    push_user(engine, user, 0, PUSH_FRIEND_REQUEST, payload_end(engine));
    return reply_success(engine, request);
}

bool apply_friend_add(struct engine *engine, const struct engine_request *request, struct user *asker)
{
    struct user *user = model_user_named(&engine->model, request->values[FRIEND_USER].string);
    struct friend_request *theirs;

    if (user == NULL)
        return reply(engine, request, REFUSE_USER_NOT_EXIST);
    if (users_are_friends(asker, user))
        return reply(engine, request, REFUSAL("already_friends", "You are friends already."));
    if (user == asker)
        return reply(engine, request, REFUSAL_FIELD("user", "You cannot be your own friend."));
    if (user_request_from(user, asker) != NULL)
        return reply_success(engine, request);
    theirs = user_request_from(asker, user);
    if (theirs != NULL)
        return accept_request(engine, request, asker, theirs);
    return ask(engine, request, asker, user);
}

bool apply_friend_answer(struct engine *engine, const struct engine_request *request, struct user *asker)
{
    const struct user *user = model_user_named(&engine->model, request->values[ANSWER_USER].string);
    struct friend_request *pending = user != NULL ? user_request_from(asker, user) : NULL;

    if (pending == NULL)
        return reply(engine, request, REFUSE_NO_REQUEST);
    if (request->values[ANSWER_ACCEPT].boolean)
        return accept_request(engine, request, asker, pending);
    return reject_request(engine, request, asker, pending);
}

bool apply_friend_remove(struct engine *engine, const struct engine_request *request, struct user *asker)
{
    struct user *user = model_user_named(&engine->model, request->values[FRIEND_USER].string);

    if (user == NULL || !users_are_friends(asker, user))
        return reply(engine, request, REFUSAL("not_friends", "You are not friends."));
    if (!STORE_WRITE(engine, friendship_remove, asker->number, user->number))
        return false;
    users_unfriend(asker, user, &engine->journal);
    tell_both(engine, request, asker, user, KEY("removed"));
    return reply_success(engine, request);
}

void list_friends(struct buffer *out, const struct user *user)
{
    json_key_array(out, KEY("friends"));
    for (uint32_t i = 0; i < user->friends.count; i++) {
        const struct user *other = (const struct user *)user->friends.items[i];

        json_open_object(out);
        json_key_string(out, KEY("user"), name_slice(&other->name));
        json_key_string(out, KEY("name"), user_profile(other)->name);
        json_key_boolean(out, KEY("online"), other->session_count > 0);
        json_close_object(out);
    }
    json_close_array(out);
}

bool apply_friend_list(struct engine *engine, const struct engine_request *request, struct user *asker)
{
    list_friends(reply_begin(engine, KEY("success")), asker);
    return reply_end(engine, request);
}

void list_requests(struct buffer *out, const struct user *user)
{
    json_key_array(out, KEY("requests"));
    for (const struct link *link = user->requests.next; link != &user->requests; link = link->next) {
        const struct friend_request *request = LINK_OWNER(link, struct friend_request, link);

        json_open_object(out);
        json_key_string(out, KEY("user"), name_slice(&request->from->name));
        json_key_string(out, KEY("text"), (struct slice){request->text, request->text_bytes});
        json_close_object(out);
    }
    json_close_array(out);
}
