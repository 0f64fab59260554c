/* engine_messages.c - messages to users and groups, and typing (M-1 to M-7, M-10). */
#include "chat/engine_internal.h"

/* The message of this sender and id, if there is one (M-6). An id is known only where the sender has sent something. */
static bool find_repeat(struct engine *engine, const struct membership *sender, struct slice id,
                        struct store_message *message, bool *found)
{
    *found = false;
    if (id.length == 0 || sender == NULL || sender->counts.own_count == 0)
        return true;
    return STORE_READ(engine, message_find, sender->conversation->number, sender->user->number, id, found,
                      &message->msg_id, &message->time_ms);
}

/* The next message of the conversation (M-1), in the store and in the model. */
static bool store_message(struct engine *engine, struct membership *sender, struct store_message *message)
{
    const struct conversation *conversation = sender->conversation;

    message->conversation = conversation->number;
    message->sender = sender->user->number;
    message->msg_id = conversation->newest.latest + 1;
    message->ordinal = sender->counts.own_count + 1;
    message->sequence = engine->model.sequence_highest + 1;
    message->time_ms = conversation->newest.time_ms > engine->unix_ms ? conversation->newest.time_ms : engine->unix_ms;
    if (!STORE_WRITE(engine, message_add, message))
        return false;
    model_add_message(&engine->model, &engine->journal, sender, message);
    engine->messages++;
    return true;
}

/* The fields of a pushed message that are alike in groups and private conversations. */
static void add_message(struct buffer *out, const struct store_message *message)
{
    json_key_string(out, KEY("text"), message->text);
    json_key_integer(out, KEY("msg_id"), (int64_t)message->msg_id);
    json_key_integer(out, KEY("time"), message->time_ms);
}

static bool reply_message(struct engine *engine, const struct engine_request *request, struct slice result,
                          const struct store_message *message)
{
    struct buffer *out = reply_begin(engine, result);

    json_key_integer(out, KEY("msg_id"), (int64_t)message->msg_id);
    json_key_integer(out, KEY("time"), message->time_ms);
    return reply_end(engine, request);
}

bool apply_group_chat(struct engine *engine, const struct engine_request *request, struct user *asker)
{
    struct group *group = model_group_named(&engine->model, request->values[GROUP_CHAT_GROUP].string);
    struct store_message message = {.text = request->values[GROUP_CHAT_TEXT].string,
                                    .id = request->values[GROUP_CHAT_ID].string};
    struct membership *sender;
    struct buffer *out;
    bool repeated;

    if (group == NULL)
        return reply(engine, request, REFUSE_GROUP_NOT_EXIST);
    sender = model_membership(&engine->model, asker, &group->conversation);
    if (sender == NULL)
        return reply(engine, request, REFUSE_NOT_MEMBER);
    if (!find_repeat(engine, sender, message.id, &message, &repeated))
        return false;
    if (repeated)
        return reply_message(engine, request, KEY("success"), &message);
    if (!store_message(engine, sender, &message))
        return false;
    out = payload_begin(engine);
    json_key_string(out, KEY("group"), name_slice(&group->name));
    json_key_string(out, KEY("user_from"), name_slice(&asker->name));
    add_message(out, &message);
    push_group(engine, group, request->session, 0, PUSH_GROUP_CHAT_RECV, payload_end(engine));
    return reply_message(engine, request, KEY("success"), &message);
}

/* The sender's membership of the conversation with `other`, which begins with its first message. NULL: failed. */
static struct membership *private_sender(struct engine *engine, struct user *sender, struct user *other)
{
    struct user *low = sender->number <= other->number ? sender : other;
    struct user *high = low == sender ? other : sender;
    uint32_t number = engine->model.conversation_highest + 1;
    struct conversation *conversation = model_private(&engine->model, sender, other);

    if (conversation == NULL) {
        if (!STORE_WRITE(engine, private_add, number, low->number, high->number))
            return NULL;
        conversation = model_add_private(&engine->model, &engine->journal, number, low, high);
    }
    return conversation != NULL ? model_membership(&engine->model, sender, conversation) : NULL;
}

/* Each session of both, but the one that sent it (M-4). */
static void push_private(struct engine *engine, const struct engine_request *request, const struct user *sender,
                         const struct user *other, const struct store_message *message)
{
    struct buffer *out = payload_begin(engine);
    struct slice payload;

    json_key_string(out, KEY("user_from"), name_slice(&sender->name));
    json_key_string(out, KEY("user_to"), name_slice(&other->name));
    add_message(out, message);
    payload = payload_end(engine);
    push_user(engine, other, request->session, PUSH_PRIVATE_CHAT_RECV, payload);
    if (other != sender)
        push_user(engine, sender, request->session, PUSH_PRIVATE_CHAT_RECV, payload);
}

bool apply_private_chat(struct engine *engine, const struct engine_request *request, struct user *asker)
{
    struct user *other = model_user_named(&engine->model, request->values[PRIVATE_USER_TO].string);
    struct store_message message = {.text = request->values[PRIVATE_TEXT].string,
                                    .id = request->values[PRIVATE_ID].string};
    struct membership *sender;
    struct slice result;
    bool repeated;

    if (other == NULL)
        return reply(engine, request, REFUSE_USER_NOT_EXIST);
    sender = private_sender(engine, asker, other);
    if (sender == NULL || !find_repeat(engine, sender, message.id, &message, &repeated))
        return false;
    result = other->session_count > 0 ? KEY("success") : KEY("offline"); /* M-2, at this moment */
    if (repeated)
        return reply_message(engine, request, result, &message);
    if (!store_message(engine, sender, &message))
        return false;
    push_private(engine, request, asker, other, &message);
    return reply_message(engine, request, result, &message);
}

static bool typing_to_user(struct engine *engine, const struct engine_request *request, const struct user *asker)
{
    const struct user *user = model_user_named(&engine->model, request->values[PEER_USER].string);
    struct buffer *out;

    if (user == NULL)
        return reply(engine, request, REFUSE_USER_NOT_EXIST);
    if (user != asker) {
        out = payload_begin(engine);
        json_key_string(out, KEY("user"), name_slice(&asker->name));
        push_user(engine, user, 0, PUSH_TYPING_EVENT, payload_end(engine));
    }
    return reply_success(engine, request);
}

static bool typing_to_group(struct engine *engine, const struct engine_request *request, const struct user *asker)
{
    const struct group *group = model_group_named(&engine->model, request->values[PEER_GROUP].string);
    struct buffer *out;

    if (group == NULL)
        return reply(engine, request, REFUSE_GROUP_NOT_EXIST);
    if (model_membership(&engine->model, asker, &group->conversation) == NULL)
        return reply(engine, request, REFUSE_NOT_MEMBER);
    out = payload_begin(engine);
    json_key_string(out, KEY("user"), name_slice(&asker->name));
    json_key_string(out, KEY("group"), name_slice(&group->name));
    push_group(engine, group, 0, asker->number, PUSH_TYPING_EVENT, payload_end(engine));
    return reply_success(engine, request);
}

bool apply_typing(struct engine *engine, const struct engine_request *request, struct user *asker)
{
    if (request->values[PEER_USER].present)
        return typing_to_user(engine, request, asker);
    return typing_to_group(engine, request, asker);
}
