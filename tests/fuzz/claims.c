/* claims.c - what frames say of friends and groups, and replies by their commands. See claims.h. */
#include "claims.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void forget_conversation(struct view *view, int conversation)
{
    struct knowledge *known = &view->known[conversation];

    *known = (struct knowledge){.newest = -1, .epoch = known->epoch + 1};
}

void view_forget(struct view *view)
{
    view->logged_in = false;
    view->user = -1;
    view->name[0] = '\0';
    for (int i = 0; i < CONVERSATIONS; i++)
        forget_conversation(view, i);
    memset(view->friends, 0, sizeof view->friends);
    memset(view->groups, 0, sizeof view->groups);
}

/* ---- friends ---- */

static void take_online(struct view *view, int user, bool online)
{
    if (user < 0)
        return;
    view->friends[user] = online ? FRIEND_ONLINE : FRIEND_OFFLINE;
}

static void take_friends(struct view *view, const json_t *list)
{
    bool listed[USERS] = {false};
    const json_t *entry;
    size_t index;

    assert_true(json_is_array(list));
    json_array_foreach(list, index, entry)
    {
        int user = user_of(text_of(entry, "user"));
        enum friendship now = json_is_true(json_object_get(entry, "online")) ? FRIEND_ONLINE : FRIEND_OFFLINE;

        if (user < 0)
            continue;
        /* A stop ends sessions, and sends no presence for it (L-7). */
        assert_true(view->friends[user] == FRIEND_UNKNOWN || view->friends[user] == now ||
                    (view->peer->stage->draining && now == FRIEND_OFFLINE));
        view->friends[user] = now;
        listed[user] = true;
    }
    for (int user = 0; user < USERS; user++) {
        assert_true(listed[user] || view->friends[user] <= FRIEND_NOT);
        if (!listed[user])
            view->friends[user] = FRIEND_NOT;
    }
}

/* P-4: once a change. But that a stop ended a session was not told (L-7), and the user may have another login under way. */
static void take_presence(struct view *view, const json_t *push)
{
    int user = user_of(text_of(push, "user"));
    bool online = json_is_true(json_object_get(push, "online"));

    if (user >= 0) {
        assert_int_not_equal(view->friends[user], FRIEND_NOT);
        assert_true(view->friends[user] != (online ? FRIEND_ONLINE : FRIEND_OFFLINE) ||
                    (view->peer->stage->draining && online));
    }
    take_online(view, user, online);
}

static void friendship_is(struct view *view, const json_t *object, enum friendship friendship)
{
    int user = user_of(text_of(object, "user"));

    if (user >= 0)
        view->friends[user] = friendship;
}

static void take_friend_event(struct view *view, const json_t *push)
{
    const char *event = text_of(push, "event");

    if (is(event, "accepted"))
        friendship_is(view, push, FRIEND_UNKNOWN);
    else if (is(event, "removed"))
        friendship_is(view, push, FRIEND_NOT);
    else
        assert_string_equal(event, "rejected");
}

static void take_profile(struct view *view, const json_t *reply)
{
    int user = user_of(text_of(reply, "user"));
    bool online = json_is_true(json_object_get(reply, "online"));

    if (is(text_of(reply, "user"), view->name))
        assert_true(online);
    else if (user >= 0 && view->friends[user] > FRIEND_NOT)
        assert_true(view->friends[user] == (online ? FRIEND_ONLINE : FRIEND_OFFLINE) ||
                    (view->peer->stage->draining && !online)); /* as in take_friends() */
}

/* ---- groups ---- */

static void membership_is(struct view *view, int group, enum membership_known membership, json_int_t newest)
{
    if (group < 0)
        return;
    forget_conversation(view, PAIRS + group);
    view->groups[group] = membership;
    view->known[PAIRS + group].newest = newest;
}

static void take_groups(struct view *view, const json_t *list)
{
    bool listed[GROUPS] = {false};
    const json_t *entry;
    size_t index;

    assert_true(json_is_array(list));
    json_array_foreach(list, index, entry)
    {
        int group = group_of(text_of(entry, "group"));

        if (group >= 0)
            listed[group] = true;
    }
    for (int group = 0; group < GROUPS; group++) {
        enum membership_known now = listed[group] ? MEMBER : MEMBER_NOT;

        assert_true(view->groups[group] == MEMBER_UNKNOWN || view->groups[group] == now);
        view->groups[group] = now;
    }
}

static void take_group_event(struct view *view, const json_t *push)
{
    int group = group_of(text_of(push, "group"));
    const char *event = text_of(push, "event");
    bool own = is(text_of(push, "user"), view->name);

    if (group < 0)
        return;
    if (is(event, "joined") && own) { /* on another connection */
        assert_int_not_equal(view->groups[group], MEMBER);
        membership_is(view, group, MEMBER, -1);
        return;
    }
    assert_int_not_equal(view->groups[group], MEMBER_NOT);
    if (is(event, "dismissed") || (own && (is(event, "left") || is(event, "kicked"))))
        membership_is(view, group, MEMBER_NOT, -1);
}

static void take_join(struct view *view, const json_t *request)
{
    int group = group_of(text_of(request, "group"));

    /* G-2: joining again changes nothing. */
    if (group >= 0 && view->groups[group] != MEMBER)
        membership_is(view, group, MEMBER, -1);
}

/* ---- replies ---- */

static void take_login(struct view *view, const json_t *reply)
{
    view_forget(view);
    view->logged_in = true;
    view->user = user_of(text_of(reply, "user"));
    snprintf(view->name, sizeof view->name, "%s", text_of(reply, "user"));
    take_friends(view, json_object_get(reply, "friends"));
    take_groups(view, json_object_get(reply, "groups"));
    take_unread(view, json_object_get(reply, "unread"));
    assert_true(json_is_array(json_object_get(reply, "requests")));
}

static void take_success(struct view *view, uint16_t cmd, const json_t *request, const json_t *reply)
{
    switch (cmd) {
    case CMD_LOGIN:
        take_login(view, reply);
        break;
    case CMD_LOGOUT:
        view_forget(view);
        break;
    case CMD_PROFILE_GET:
        take_profile(view, reply);
        break;
    case CMD_FRIEND_ADD:
    case CMD_FRIEND_ANSWER:
        friendship_is(view, request, FRIEND_UNKNOWN);
        break;
    case CMD_FRIEND_REMOVE:
        friendship_is(view, request, FRIEND_NOT);
        break;
    case CMD_FRIEND_LIST:
        take_friends(view, json_object_get(reply, "friends"));
        break;
    case CMD_GROUP_CREATE:
        membership_is(view, group_of(text_of(request, "group")), MEMBER, 0);
        break;
    case CMD_GROUP_JOIN:
        take_join(view, request);
        break;
    case CMD_GROUP_LEAVE:
    case CMD_GROUP_DISMISS:
        membership_is(view, group_of(text_of(request, "group")), MEMBER_NOT, -1);
        break;
    case CMD_GROUP_LIST:
        take_groups(view, json_object_get(reply, "groups"));
        break;
    case CMD_PRIVATE_CHAT:
    case CMD_GROUP_CHAT:
        take_chat_success(view, request, reply);
        break;
    case CMD_HISTORY:
        take_history(view, request, reply);
        break;
    case CMD_UNREAD:
        take_unread(view, json_object_get(reply, "unread"));
        break;
    default:
        break;
    }
}

/* what somebody had a reply for when this request was sent has come before the reply to this. */
static void check_causality(const struct view *view, const struct expectation *request)
{
    for (int i = 0; i < CONVERSATIONS; i++) {
        const struct knowledge *known = &view->known[i];

        if (known->newest < 0 || known->epoch != request->epoch[i] ||
            (i >= PAIRS && view->story->was_dismissed[i - PAIRS]))
            continue;
        assert_true(known->newest >= request->acknowledged[i]);
    }
}

/* */
static void check_result(const struct view *view, const struct expectation *request, const json_t *reply)
{
    const struct command *command = command_find(request->cmd);
    const char *result = text_of(reply, "result");

    assert_non_null(result);
    assert_string_not_equal(result, "server_error");
    if (is(result, "success") || is(result, "offline")) {
        assert_non_null(request->payload);
        assert_non_null(command);
        assert_true(view->logged_in || command->before_login);
        return;
    }
    assert_non_null(text_of(reply, "message"));
    if (is(result, "rate_limited"))
        assert_true(number_of(reply, "retry_ms") > 0);
    else if (request->payload == NULL)
        assert_string_equal(result, "bad_json");
    else if (command == NULL)
        assert_string_equal(result, "unknown_cmd");
    else if (!view->logged_in && !command->before_login)
        assert_string_equal(result, "not_logged_in");
}

void claims_of_reply(struct view *view, const struct expectation *request, const json_t *reply)
{
    const char *result = text_of(reply, "result");

    check_result(view, request, reply);
    check_causality(view, request);
    if (is(result, "success") || is(result, "offline"))
        take_success(view, request->cmd, request->payload, reply);
    else if (request->cmd == CMD_PRIVATE_CHAT || request->cmd == CMD_GROUP_CHAT)
        take_chat_refusal(view, request->payload);
}

void claims_of_push(struct view *view, uint16_t cmd, const json_t *push)
{
    assert_true(view->logged_in);
    switch (cmd) {
    case PUSH_PRIVATE_CHAT_RECV:
    case PUSH_GROUP_CHAT_RECV:
        take_chat_push(view, push);
        break;
    case PUSH_GROUP_EVENT:
        take_group_event(view, push);
        break;
    case PUSH_PRESENCE:
        take_presence(view, push);
        break;
    case PUSH_FRIEND_EVENT:
        take_friend_event(view, push);
        break;
    default:
        assert_non_null(push_name(cmd));
    }
}
