/* engine_apply.c - from a request to the handler of its command. */
#include "chat/engine_internal.h"

/* By family (the high byte of the cmd) and number in it. What the hub answers by itself (ping, hello, stats) is not
 * here. */
enum { FAMILIES = 5, FAMILY_COMMANDS = 8 };

#define HANDLER(cmd, handler) [(cmd) >> 8][(cmd)&0xFF] = (handler)

static engine_handler *const handlers[FAMILIES][FAMILY_COMMANDS] = {
    HANDLER(CMD_REGISTER, apply_register),
    HANDLER(CMD_LOGIN, apply_login),
    HANDLER(CMD_LOGOUT, apply_logout),
    HANDLER(CMD_PASSWD, apply_passwd),
    HANDLER(CMD_PROFILE_GET, apply_profile_get),
    HANDLER(CMD_PROFILE_SET, apply_profile_set),
    HANDLER(CMD_FRIEND_ADD, apply_friend_add),
    HANDLER(CMD_FRIEND_ANSWER, apply_friend_answer),
    HANDLER(CMD_FRIEND_REMOVE, apply_friend_remove),
    HANDLER(CMD_FRIEND_LIST, apply_friend_list),
    HANDLER(CMD_GROUP_CREATE, apply_group_create),
    HANDLER(CMD_GROUP_JOIN, apply_group_join),
    HANDLER(CMD_GROUP_LEAVE, apply_group_leave),
    HANDLER(CMD_GROUP_INFO, apply_group_info),
    HANDLER(CMD_GROUP_LIST, apply_group_list),
    HANDLER(CMD_GROUP_KICK, apply_group_kick),
    HANDLER(CMD_GROUP_DISMISS, apply_group_dismiss),
    HANDLER(CMD_PRIVATE_CHAT, apply_private_chat),
    HANDLER(CMD_GROUP_CHAT, apply_group_chat),
    HANDLER(CMD_HISTORY, apply_history),
    HANDLER(CMD_UNREAD, apply_unread),
    HANDLER(CMD_READ, apply_read),
    HANDLER(CMD_TYPING, apply_typing),
};

static engine_handler *handler_of(uint16_t cmd)
{
    unsigned family = cmd >> 8, number = cmd & 0xFF;

    return family < FAMILIES && number < FAMILY_COMMANDS ? handlers[family][number] : NULL;
}

static bool apply_command(struct engine *engine, const struct engine_request *request)
{
    engine_handler *handler = handler_of(request->cmd);
    struct user *asker = model_user(&engine->model, request->user);

    if (handler == NULL)
        return reply(engine, request, REFUSAL("unknown_cmd", "There is no such command."));
    if (asker == NULL && !request->command->before_login)
        return reply(engine, request, REFUSAL("not_logged_in", "Please log in first."));
    return handler(engine, request, asker);
}

bool engine_apply(struct engine *engine, const struct engine_request *request)
{
    switch (request->kind) {
    case REQUEST_COMMAND:
        return apply_command(engine, request);
    case REQUEST_ANSWERED:
        return reply(engine, request, effects_copy(&engine->effects, request->reply));
    case REQUEST_END:
        return session_end_of(engine, request);
    }
    return false;
}

bool engine_refuse(struct engine *engine, const struct engine_request *request)
{
    if (request->kind == REQUEST_COMMAND && request->command->stored)
        return reply(engine, request, REFUSE_SERVER_ERROR);
    return engine_apply(engine, request);
}
