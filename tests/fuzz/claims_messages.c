/* claims_messages.c - what frames say of messages. See claims.h.
 */
#include "claims.h"

#include <stdio.h>
#include <string.h>

const char *text_of(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

json_int_t number_of(const json_t *object, const char *key)
{
    const json_t *number = json_object_get(object, key);

    assert_true(json_is_integer(number));
    return json_integer_value(number);
}

bool is(const char *text, const char *other)
{
    return text != NULL && strcmp(text, other) == 0;
}

/* "u2", "g1". */
static int watched(const char *name, char letter, int count)
{
    if (name == NULL || name[0] != letter || name[1] < '0' || name[1] >= '0' + count || name[2] != '\0')
        return -1;
    return name[1] - '0';
}

int user_of(const char *name)
{
    return watched(name, 'u', USERS);
}

int group_of(const char *name)
{
    return watched(name, 'g', GROUPS);
}

static int conversation_of_group(int group)
{
    return group < 0 ? -1 : PAIRS + group;
}

static int conversation_of_pair(int one, int other)
{
    if (one < 0 || other < 0)
        return -1;
    return one < other ? one * USERS + other : other * USERS + one;
}

/* The conversation that a request or an event of this view's user names. */
static int conversation_of(const struct view *view, const json_t *object, const char *user_key)
{
    const char *group = text_of(object, "group");

    return group != NULL ? conversation_of_group(group_of(group))
                         : conversation_of_pair(view->user, user_of(text_of(object, user_key)));
}

struct sent_message *story_message(struct story *story, const char *text)
{
    unsigned number;

    if (text == NULL || sscanf(text, "%u-", &number) != 1 || number >= story->message_count)
        return NULL;
    if (story->messages[number].copies > 1 || strcmp(story->messages[number].text, text) != 0)
        return NULL;
    return &story->messages[number];
}

/* It is the next one, at a time that does not go back (M-1). */
static void newest_is(struct view *view, int conversation, json_int_t msg_id, json_int_t time_ms)
{
    struct knowledge *known;

    if (conversation < 0)
        return;
    known = &view->known[conversation];
    if (known->newest >= 0)
        assert_int_equal(msg_id, known->newest + 1);
    assert_true(msg_id > 0 && time_ms >= known->time_ms);
    known->newest = msg_id;
    known->time_ms = time_ms;
}

/* A snapshot says so: nothing was left out, and nothing came twice (M-4, Q-10). */
static void newest_is_known(struct view *view, int conversation, json_int_t msg_id)
{
    struct knowledge *known;

    if (conversation < 0)
        return;
    known = &view->known[conversation];
    if (known->newest >= 0)
        assert_int_equal(msg_id, known->newest);
    known->newest = msg_id;
}

/* Somebody was given this message: it is one that was sent, and to here. */
static void check_message(struct view *view, int conversation, const json_t *given)
{
    struct sent_message *message = story_message(view->story, text_of(given, "text"));
    const char *from = text_of(given, "user_from");

    assert_non_null(from);
    assert_non_null(text_of(given, "text"));
    if (message == NULL)
        return;
    assert_false(message->refused);
    if (message->conversation >= 0 && conversation >= 0)
        assert_int_equal(conversation, message->conversation);
    message->conversation = conversation;
    if (message->msg_id > 0)
        assert_int_equal(number_of(given, "msg_id"), message->msg_id);
    if (message->user_from[0] == '\0')
        snprintf(message->user_from, sizeof message->user_from, "%s", from);
    assert_string_equal(message->user_from, from);
    message->pushed = true;
}

void take_chat_push(struct view *view, const json_t *push)
{
    struct sent_message *message = story_message(view->story, text_of(push, "text"));
    const char *group = text_of(push, "group"), *from = text_of(push, "user_from"), *to = text_of(push, "user_to");
    int number = group_of(group);
    int conversation = group != NULL ? conversation_of_group(number) : conversation_of_pair(user_of(from), user_of(to));

    if (group == NULL)
        assert_true(is(from, view->name) || is(to, view->name));
    else if (number >= 0)
        assert_int_not_equal(view->groups[number], MEMBER_NOT);
    if (message != NULL)
        assert_ptr_not_equal(message->sender, view->peer);
    check_message(view, conversation, push);
    newest_is(view, conversation, number_of(push, "msg_id"), number_of(push, "time"));
}

static void acknowledge(struct story *story, int conversation, json_int_t msg_id)
{
    if (conversation >= 0 && msg_id > story->acknowledged[conversation])
        story->acknowledged[conversation] = msg_id;
}

void take_chat_success(struct view *view, const json_t *request, const json_t *reply)
{
    struct sent_message *message = story_message(view->story, text_of(request, "text"));
    int conversation = conversation_of(view, request, "user_to");
    json_int_t msg_id = number_of(reply, "msg_id");
    json_int_t newest = conversation >= 0 ? view->known[conversation].newest : -1;
    /* M-6: an `id` that was used before gives the first one again. */
    bool may_be_old = json_object_get(request, "id") != NULL && (newest < 0 || msg_id <= newest);

    if (!may_be_old)
        newest_is(view, conversation, msg_id, number_of(reply, "time"));
    acknowledge(view->story, conversation, msg_id);
    if (message == NULL)
        return;
    message->conversation = conversation >= 0 ? conversation : message->conversation;
    message->msg_id = msg_id;
    snprintf(message->user_from, sizeof message->user_from, "%s", view->name);
}

void take_chat_refusal(struct view *view, const json_t *request)
{
    struct sent_message *message = story_message(view->story, text_of(request, "text"));

    if (message == NULL)
        return;
    assert_false(message->pushed);
    message->refused = true;
}

void take_history(struct view *view, const json_t *request, const json_t *reply)
{
    int conversation = conversation_of(view, request, "user");
    bool of_the_end = !json_object_get(request, "before") && !json_object_get(request, "after");
    json_int_t newest = 0;
    const json_t *given;
    size_t index;

    json_array_foreach(json_object_get(reply, "messages"), index, given)
    {
        json_int_t msg_id = number_of(given, "msg_id");

        if (index > 0)
            assert_int_equal(msg_id, newest + 1); /* a range has no gaps (M-1, M-8) */
        check_message(view, conversation, given);
        newest = msg_id;
    }
    assert_true(json_is_boolean(json_object_get(reply, "more")));
    if (of_the_end)
        newest_is_known(view, conversation, newest);
}

void take_unread(struct view *view, const json_t *list)
{
    const json_t *entry;
    size_t index;

    assert_true(json_is_array(list));
    json_array_foreach(list, index, entry)
    {
        assert_true(number_of(entry, "count") > 0);
        newest_is_known(view, conversation_of(view, entry, "user"), number_of(entry, "latest"));
    }
}
