/* engine_apply.c - from a request to the handler of its command. */
#include "chat/engine_internal.h"

/* What the hub answers by itself (ping, hello, stats) is not here. */
static engine_handler *handler_of(uint16_t cmd)
{
    switch (cmd) {
    case CMD_REGISTER: return apply_register;
    case CMD_LOGIN: return apply_login;
    case CMD_LOGOUT: return apply_logout;
    case CMD_PASSWD: return apply_passwd;
    case CMD_PROFILE_GET: return apply_profile_get;
    case CMD_PROFILE_SET: return apply_profile_set;
    case CMD_FRIEND_ADD: return apply_friend_add;
    case CMD_FRIEND_ANSWER: return apply_friend_answer;
    case CMD_FRIEND_REMOVE: return apply_friend_remove;
    case CMD_FRIEND_LIST: return apply_friend_list;
    case CMD_GROUP_CREATE: return apply_group_create;
    case CMD_GROUP_JOIN: return apply_group_join;
    case CMD_GROUP_LEAVE: return apply_group_leave;
    case CMD_GROUP_INFO: return apply_group_info;
    case CMD_GROUP_LIST: return apply_group_list;
    case CMD_GROUP_KICK: return apply_group_kick;
    case CMD_GROUP_DISMISS: return apply_group_dismiss;
    case CMD_PRIVATE_CHAT: return apply_private_chat;
    case CMD_GROUP_CHAT: return apply_group_chat;
    case CMD_HISTORY: return apply_history;
    case CMD_UNREAD: return apply_unread;
    case CMD_READ: return apply_read;
    case CMD_TYPING: return apply_typing;
    default: return NULL;
    }
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
