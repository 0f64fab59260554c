/* command.c - see command.h. The table of section C, in its order; how large each reply can get stands in
 *             reply_size.h.
 */
#include "wire/command.h"

#include <string.h>

#include "base/limits.h"
#include "wire/reply_size.h"

/* clang-format off */
#define NAMED(text) .name = (text), .name_length = sizeof(text) - 1
#define NAME_FIELD(text) {NAMED(text), FIELD_NAME, false, 1, NAME_MAX_BYTES}
#define OPTIONAL_NAME_FIELD(text) {NAMED(text), FIELD_NAME, true, 1, NAME_MAX_BYTES}
#define STRING_FIELD(text, minimum, maximum) {NAMED(text), FIELD_STRING, false, minimum, maximum}
#define OPTIONAL_STRING_FIELD(text, minimum, maximum) {NAMED(text), FIELD_STRING, true, minimum, maximum}
#define OPTIONAL_INTEGER_FIELD(text, minimum, maximum) {NAMED(text), FIELD_INTEGER, true, minimum, maximum}

#define PASSWD_FIELD(text) STRING_FIELD(text, PASSWD_MIN_BYTES, PASSWD_MAX_BYTES)
#define TEXT_FIELD {NAMED("text"), FIELD_TEXT, false, 1, MESSAGE_TEXT_MAX_BYTES}
#define ID_FIELD OPTIONAL_STRING_FIELD("id", 1, MESSAGE_ID_MAX_BYTES)
#define PROFILE_FIELD_LIST \
    OPTIONAL_STRING_FIELD("name", 0, DISPLAY_NAME_MAX_BYTES), \
    {NAMED("sex"), FIELD_SEX, true, 0, sizeof("female") - 1}, \
    OPTIONAL_INTEGER_FIELD("age", 0, AGE_MAX), \
    OPTIONAL_STRING_FIELD("address", 0, ADDRESS_MAX_BYTES), \
    {NAMED("email"), FIELD_EMAIL, true, 0, EMAIL_MAX_BYTES}
#define USER_OR_GROUP_FIELDS \
    {NAMED("user"), FIELD_USER_OR_GROUP, true, 1, NAME_MAX_BYTES}, OPTIONAL_NAME_FIELD("group")
#define NO_FIELDS .field_count = 0
#define FIELDS(count, ...) .field_count = (count), .fields = {__VA_ARGS__}

static const struct command commands[] = {
    {.cmd = CMD_PING, .name = "ping", NO_FIELDS,
     .before_login = true, .reply_max_bytes = PING_REPLY_BYTES},
    {.cmd = CMD_STATS, .name = "stats", NO_FIELDS,
     .reply_max_bytes = STATS_REPLY_BYTES},
    {.cmd = CMD_HELLO, .name = "hello", FIELDS(1, OPTIONAL_STRING_FIELD("client", 0, CLIENT_MAX_BYTES)),
     .before_login = true, .reply_max_bytes = HELLO_REPLY_BYTES},

    {.cmd = CMD_REGISTER, .name = "register",
     FIELDS(REGISTER_PROFILE + PROFILE_FIELDS, NAME_FIELD("user"), PASSWD_FIELD("passwd"), PROFILE_FIELD_LIST),
     .before_login = true, .barrier = true, .stored = true, .reply_max_bytes = PLAIN_REPLY_BYTES},
    {.cmd = CMD_LOGIN, .name = "login", FIELDS(2, NAME_FIELD("user"), PASSWD_FIELD("passwd")),
     .before_login = true, .barrier = true, .stored = true, .reply_max_bytes = LOGIN_REPLY_BYTES},
    {.cmd = CMD_LOGOUT, .name = "logout", NO_FIELDS,
     .barrier = true, .reply_max_bytes = PLAIN_REPLY_BYTES},
    {.cmd = CMD_PASSWD, .name = "passwd", FIELDS(2, PASSWD_FIELD("old"), PASSWD_FIELD("new")),
     .barrier = true, .stored = true, .reply_max_bytes = PLAIN_REPLY_BYTES},
    {.cmd = CMD_PROFILE_GET, .name = "profile_get", FIELDS(1, NAME_FIELD("user")),
     .stored = true, .reply_max_bytes = PROFILE_REPLY_BYTES},
    {.cmd = CMD_PROFILE_SET, .name = "profile_set", FIELDS(PROFILE_FIELDS, PROFILE_FIELD_LIST),
     .stored = true, .reply_max_bytes = PLAIN_REPLY_BYTES},

    {.cmd = CMD_FRIEND_ADD, .name = "friend_add",
     FIELDS(2, NAME_FIELD("user"), OPTIONAL_STRING_FIELD("text", 0, FRIEND_TEXT_MAX_BYTES)),
     .stored = true, .reply_max_bytes = PLAIN_REPLY_BYTES},
    {.cmd = CMD_FRIEND_ANSWER, .name = "friend_answer",
     FIELDS(2, NAME_FIELD("user"), {NAMED("accept"), FIELD_BOOLEAN, false, 0, 0}),
     .stored = true, .reply_max_bytes = PLAIN_REPLY_BYTES},
    {.cmd = CMD_FRIEND_REMOVE, .name = "friend_remove", FIELDS(1, NAME_FIELD("user")),
     .stored = true, .reply_max_bytes = PLAIN_REPLY_BYTES},
    {.cmd = CMD_FRIEND_LIST, .name = "friend_list", NO_FIELDS,
     .stored = true, .reply_max_bytes = FRIEND_LIST_REPLY_BYTES},

    {.cmd = CMD_GROUP_CREATE, .name = "group_create",
     FIELDS(2, NAME_FIELD("group"), OPTIONAL_STRING_FIELD("title", 0, TITLE_MAX_BYTES)),
     .stored = true, .reply_max_bytes = PLAIN_REPLY_BYTES},
    {.cmd = CMD_GROUP_JOIN, .name = "group_join", FIELDS(1, NAME_FIELD("group")),
     .stored = true, .reply_max_bytes = PLAIN_REPLY_BYTES},
    {.cmd = CMD_GROUP_LEAVE, .name = "group_leave", FIELDS(1, NAME_FIELD("group")),
     .stored = true, .reply_max_bytes = PLAIN_REPLY_BYTES},
    {.cmd = CMD_GROUP_INFO, .name = "group_info",
     FIELDS(2, NAME_FIELD("group"), OPTIONAL_STRING_FIELD("after", 1, NAME_MAX_BYTES)),
     .stored = true, .reply_max_bytes = GROUP_INFO_REPLY_BYTES},
    {.cmd = CMD_GROUP_LIST, .name = "group_list", NO_FIELDS,
     .stored = true, .reply_max_bytes = GROUP_LIST_REPLY_BYTES},
    {.cmd = CMD_GROUP_KICK, .name = "group_kick", FIELDS(2, NAME_FIELD("group"), NAME_FIELD("user")),
     .stored = true, .reply_max_bytes = PLAIN_REPLY_BYTES},
    {.cmd = CMD_GROUP_DISMISS, .name = "group_dismiss", FIELDS(1, NAME_FIELD("group")),
     .stored = true, .reply_max_bytes = PLAIN_REPLY_BYTES},

    {.cmd = CMD_PRIVATE_CHAT, .name = "private_chat",
     FIELDS(4, NAME_FIELD("user_to"), TEXT_FIELD, ID_FIELD, OPTIONAL_NAME_FIELD("user_from")),
     .stored = true, .reply_max_bytes = CHAT_REPLY_BYTES},
    {.cmd = CMD_GROUP_CHAT, .name = "group_chat", FIELDS(3, NAME_FIELD("group"), TEXT_FIELD, ID_FIELD),
     .stored = true, .reply_max_bytes = CHAT_REPLY_BYTES},
    {.cmd = CMD_HISTORY, .name = "history",
     FIELDS(5, USER_OR_GROUP_FIELDS, OPTIONAL_INTEGER_FIELD("before", 0, INT64_MAX),
            OPTIONAL_INTEGER_FIELD("after", 0, INT64_MAX), OPTIONAL_INTEGER_FIELD("limit", 1, HISTORY_LIMIT_MAX)),
     .stored = true, .reply_max_bytes = HISTORY_REPLY_BYTES},
    {.cmd = CMD_UNREAD, .name = "unread", NO_FIELDS,
     .stored = true, .reply_max_bytes = UNREAD_REPLY_BYTES},
    {.cmd = CMD_READ, .name = "read", FIELDS(3, USER_OR_GROUP_FIELDS, {NAMED("msg_id"), FIELD_INTEGER, false, 0, INT64_MAX}),
     .stored = true, .reply_max_bytes = PLAIN_REPLY_BYTES},
    {.cmd = CMD_TYPING, .name = "typing", FIELDS(2, USER_OR_GROUP_FIELDS),
     .stored = true, .reply_max_bytes = PLAIN_REPLY_BYTES},
};
/* clang-format on */

#define COMMAND_COUNT (sizeof(commands) / sizeof(commands[0]))

/* Numbers are dense in each family (the high byte): the low byte counts from 1. */
static const struct {
    uint8_t first; /* index in `commands` */
    uint8_t count;
} families[] = {
    {0,  3},
    {3,  6},
    {9,  4},
    {13, 7},
    {20, 6}
};

#define FAMILY_COUNT (sizeof(families) / sizeof(families[0]))

static const struct {
    uint16_t cmd;
    const char *name;
} pushes[] = {
    {PUSH_HEARTBEAT,         "heartbeat"        },
    {PUSH_BYE,               "bye"              },
    {PUSH_FRIEND_REQUEST,    "friend_request"   },
    {PUSH_FRIEND_EVENT,      "friend_event"     },
    {PUSH_PRESENCE,          "presence"         },
    {PUSH_GROUP_EVENT,       "group_event"      },
    {PUSH_PRIVATE_CHAT_RECV, "private_chat_recv"},
    {PUSH_GROUP_CHAT_RECV,   "group_chat_recv"  },
    {PUSH_TYPING_EVENT,      "typing_event"     },
    {PUSH_READ_EVENT,        "read_event"       },
};

const struct command *command_find(uint16_t cmd)
{
    unsigned family = cmd >> 8;
    unsigned number = cmd & 0xFF;

    if (family >= FAMILY_COUNT || number == 0 || number > families[family].count)
        return NULL;
    return &commands[families[family].first + number - 1];
}

const struct command *command_find_name(const char *name, size_t length)
{
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        if (strlen(commands[i].name) == length && memcmp(commands[i].name, name, length) == 0)
            return &commands[i];
    }
    return NULL;
}

const struct command *command_at(size_t index)
{
    return index < COMMAND_COUNT ? &commands[index] : NULL;
}

const char *push_name(uint16_t cmd)
{
    for (size_t i = 0; i < sizeof(pushes) / sizeof(pushes[0]); i++) {
        if (pushes[i].cmd == cmd)
            return pushes[i].name;
    }
    return NULL;
}
