/* engine_groups.c - groups and who is in them (section G). */
#include "chat/engine_internal.h"

#define REFUSE_NOT_OWNER REFUSAL("not_owner", "Only the owner of the group may do this.")

/* To the sessions of all members but the one that asked (G-5). */
static void tell_group_event(struct engine *engine, const struct engine_request *request, const struct group *group,
                             const struct user *user, struct slice event)
{
    struct buffer *out = payload_begin(engine);

    json_key_string(out, KEY("group"), name_slice(&group->name));
    json_key_string(out, KEY("user"), name_slice(&user->name));
    json_key_string(out, KEY("event"), event);
    push_group(engine, group, request->session, 0, PUSH_GROUP_EVENT, payload_end(engine));
}

/* The effects of a new membership: first the hubs know of it, so that its event reaches the one who joined. */
static bool joined(struct engine *engine, const struct engine_request *request, const struct group *group,
                   const struct user *user)
{
    effect_for_sessions(engine, user, EFFECT_JOIN, group->conversation.number);
    tell_group_event(engine, request, group, user, KEY("joined"));
    return reply_success(engine, request);
}

/* The end of a membership: first the event, so that it reaches the one who goes. */
static bool depart(struct engine *engine, const struct engine_request *request, struct membership *membership,
                   struct slice event)
{
    struct group *group = GROUP_OF(membership->conversation);
    struct user *user = membership->user;

    if (!STORE_WRITE(engine, member_remove, group->conversation.number, user->number))
        return false;
    tell_group_event(engine, request, group, user, event);
    effect_for_sessions(engine, user, EFFECT_LEAVE, group->conversation.number);
    model_leave(&engine->model, &engine->journal, membership);
    return reply_success(engine, request);
}

static bool too_many_groups(struct engine *engine, const struct engine_request *request)
{
    return reply(engine, request, REFUSAL_FAILURE("too_many", "You are in as many groups as are allowed."));
}

bool apply_group_create(struct engine *engine, const struct engine_request *request, struct user *asker)
{
    struct store_group from = {.number = engine->model.conversation_highest + 1,
                               .owner = asker->number,
                               .created_ms = engine->unix_ms,
                               .name = request->values[GROUP_GROUP].string,
                               .title = request->values[GROUP_TITLE].string};
    struct group *group;

    if (model_group_named(&engine->model, from.name) != NULL)
        return reply(engine, request, REFUSAL_FAILURE("group_exists", "This name is taken."));
    if (user_group_count(asker) >= USER_GROUPS_MAX)
        return too_many_groups(engine, request);
    if (!STORE_WRITE(engine, group_add, &from) || !STORE_WRITE(engine, member_add, from.number, asker->number, 0))
        return false;
    group = model_add_group(&engine->model, &engine->journal, &from);
    if (group == NULL || model_join(&engine->model, &engine->journal, asker, group, 0, 0) == NULL)
        return false;
    return joined(engine, request, group, asker);
}

/* One who was a member before goes on counting his messages where he left off. What is there is read. */
static bool join(struct engine *engine, struct user *user, struct group *group)
{
    uint32_t number = group->conversation.number;
    uint64_t mark = group->conversation.newest.latest, own_count, own_above;

    return STORE_WRITE(engine, member_add, number, user->number, mark) &&
           STORE_READ(engine, own_count, number, user->number, mark, &own_count, &own_above) &&
           model_join(&engine->model, &engine->journal, user, group, mark, own_count) != NULL;
}

bool apply_group_join(struct engine *engine, const struct engine_request *request, struct user *asker)
{
    struct group *group = model_group_named(&engine->model, request->values[GROUP_GROUP].string);

    if (group == NULL)
        return reply(engine, request, REFUSE_GROUP_NOT_EXIST);
    if (model_membership(&engine->model, asker, &group->conversation) != NULL)
        return reply_success(engine, request);
    if (user_group_count(asker) >= USER_GROUPS_MAX)
        return too_many_groups(engine, request);
    if (group->members.count >= GROUP_MEMBERS_MAX)
        return reply(engine, request, REFUSAL_FAILURE("too_many", "The group has as many members as are allowed."));
    if (!join(engine, asker, group))
        return false;
    return joined(engine, request, group, asker);
}

bool apply_group_leave(struct engine *engine, const struct engine_request *request, struct user *asker)
{
    struct group *group = model_group_named(&engine->model, request->values[GROUP_GROUP].string);
    struct membership *membership;

    if (group == NULL)
        return reply(engine, request, REFUSE_GROUP_NOT_EXIST);
    membership = model_membership(&engine->model, asker, &group->conversation);
    if (membership == NULL)
        return reply(engine, request, REFUSE_NOT_MEMBER);
    if (group->owner == asker)
        return reply(engine, request,
                     REFUSAL_FAILURE("owner", "The owner cannot leave the group, but may dismiss it."));
    return depart(engine, request, membership, KEY("left"));
}

bool apply_group_kick(struct engine *engine, const struct engine_request *request, struct user *asker)
{
    struct group *group = model_group_named(&engine->model, request->values[GROUP_GROUP].string);
    struct user *user = model_user_named(&engine->model, request->values[GROUP_KICK_USER].string);
    struct membership *membership;

    if (group == NULL)
        return reply(engine, request, REFUSE_GROUP_NOT_EXIST);
    if (group->owner != asker)
        return reply(engine, request, REFUSE_NOT_OWNER);
    if (user == asker)
        return reply(engine, request, REFUSAL_FIELD("user", "The owner cannot be kicked out of the group."));
    membership = user != NULL ? model_membership(&engine->model, user, &group->conversation) : NULL;
    if (membership == NULL)
        return reply(engine, request, REFUSAL("not_member", "This user is not a member of the group."));
    return depart(engine, request, membership, KEY("kicked"));
}

bool apply_group_dismiss(struct engine *engine, const struct engine_request *request, struct user *asker)
{
    struct group *group = model_group_named(&engine->model, request->values[GROUP_GROUP].string);

    if (group == NULL)
        return reply(engine, request, REFUSE_GROUP_NOT_EXIST);
    if (group->owner != asker)
        return reply(engine, request, REFUSE_NOT_OWNER);
    if (!STORE_WRITE(engine, group_remove, group->conversation.number))
        return false;
    tell_group_event(engine, request, group, asker, KEY("dismissed"));
    effect_dismiss(engine, group);
    model_dismiss_group(&engine->model, &engine->journal, group);
    engine->purge_due = true;
    return reply_success(engine, request);
}

static void list_members(struct buffer *out, const struct group *group, const struct value *after)
{
    const struct names *members = &group->members;
    size_t at = 0, end;

    if (after->present) {
        at = names_lower_bound(members, after->string);
        if (at < members->count && slice_equal(name_slice(members->items[at]), after->string))
            at++;
    }
    end = members->count - at > GROUP_INFO_MEMBERS_MAX ? at + GROUP_INFO_MEMBERS_MAX : members->count;
    json_key_array(out, KEY("members"));
    for (; at < end; at++)
        json_element_string(out, name_slice(members->items[at]));
    json_close_array(out);
}

bool apply_group_info(struct engine *engine, const struct engine_request *request, struct user *asker)
{
    const struct group *group = model_group_named(&engine->model, request->values[GROUP_GROUP].string);
    struct buffer *out;

    if (group == NULL)
        return reply(engine, request, REFUSE_GROUP_NOT_EXIST);
    if (model_membership(&engine->model, asker, &group->conversation) == NULL)
        return reply(engine, request, REFUSE_NOT_MEMBER);
    out = reply_begin(engine, KEY("success"));
    json_key_string(out, KEY("group"), name_slice(&group->name));
    json_key_string(out, KEY("title"), (struct slice){group->title, group->title_bytes});
    json_key_string(out, KEY("owner"), name_slice(&group->owner->name));
    json_key_integer(out, KEY("created"), group->created_ms);
    json_key_integer(out, KEY("count"), group->members.count);
    list_members(out, group, &request->values[GROUP_INFO_AFTER]);
    return reply_end(engine, request);
}

void list_groups(struct buffer *out, const struct user *user)
{
    const struct group *group;
    uint32_t at = 0;

    json_key_array(out, KEY("groups"));
    while ((group = user_group_next(user, &at)) != NULL) {
        json_open_object(out);
        json_key_string(out, KEY("group"), name_slice(&group->name));
        json_key_string(out, KEY("title"), (struct slice){group->title, group->title_bytes});
        json_close_object(out);
    }
    json_close_array(out);
}

bool apply_group_list(struct engine *engine, const struct engine_request *request, struct user *asker)
{
    list_groups(reply_begin(engine, KEY("success")), asker);
    return reply_end(engine, request);
}
