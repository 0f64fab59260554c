/* command.h - the commands and their fields (section C), in one table: what checks requests, what bounds replies
 *             (L-4), what names commands for WebSocket, and what the table of docs/protocol.md is checked against.
 *
 * Threads.    Constant.
 */
#ifndef CHAT_COMMAND_H
#define CHAT_COMMAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum command_id {
    CMD_PING = 0x0001,
    CMD_STATS = 0x0002,
    CMD_HELLO = 0x0003,
    CMD_REGISTER = 0x0101,
    CMD_LOGIN = 0x0102,
    CMD_LOGOUT = 0x0103,
    CMD_PASSWD = 0x0104,
    CMD_PROFILE_GET = 0x0105,
    CMD_PROFILE_SET = 0x0106,
    CMD_FRIEND_ADD = 0x0201,
    CMD_FRIEND_ANSWER = 0x0202,
    CMD_FRIEND_REMOVE = 0x0203,
    CMD_FRIEND_LIST = 0x0204,
    CMD_GROUP_CREATE = 0x0301,
    CMD_GROUP_JOIN = 0x0302,
    CMD_GROUP_LEAVE = 0x0303,
    CMD_GROUP_INFO = 0x0304,
    CMD_GROUP_LIST = 0x0305,
    CMD_GROUP_KICK = 0x0306,
    CMD_GROUP_DISMISS = 0x0307,
    CMD_PRIVATE_CHAT = 0x0401,
    CMD_GROUP_CHAT = 0x0402,
    CMD_HISTORY = 0x0403,
    CMD_UNREAD = 0x0404,
    CMD_READ = 0x0405,
    CMD_TYPING = 0x0406,

    PUSH_HEARTBEAT = 0x4001,
    PUSH_BYE = 0x4002,
    PUSH_FRIEND_REQUEST = 0x4201,
    PUSH_FRIEND_EVENT = 0x4202,
    PUSH_PRESENCE = 0x4203,
    PUSH_GROUP_EVENT = 0x4301,
    PUSH_PRIVATE_CHAT_RECV = 0x4401,
    PUSH_GROUP_CHAT_RECV = 0x4402,
    PUSH_TYPING_EVENT = 0x4403,
    PUSH_READ_EVENT = 0x4404
};

/* Where a command's fields stand in its request: request->values[LOGIN_PASSWD]. The order is that of section C. */
enum { HELLO_CLIENT };
enum { REGISTER_USER, REGISTER_PASSWD, REGISTER_PROFILE };
enum { LOGIN_USER, LOGIN_PASSWD };
enum { PASSWD_OLD, PASSWD_NEW };
/* profile_set; register has them from REGISTER_PROFILE on */
enum { PROFILE_NAME, PROFILE_SEX, PROFILE_AGE, PROFILE_ADDRESS, PROFILE_EMAIL, PROFILE_FIELDS };
enum { FRIEND_USER, FRIEND_TEXT }; /* friend_add, friend_remove */
enum { ANSWER_USER, ANSWER_ACCEPT };
enum { GROUP_GROUP, GROUP_TITLE }; /* every group_ command but list: the group is its first field */
enum { GROUP_INFO_AFTER = 1 };
enum { GROUP_KICK_USER = 1 };
enum { PRIVATE_USER_TO, PRIVATE_TEXT, PRIVATE_ID, PRIVATE_USER_FROM };
enum { GROUP_CHAT_GROUP, GROUP_CHAT_TEXT, GROUP_CHAT_ID };
enum { PEER_USER, PEER_GROUP }; /* history, read, typing: exactly one of them is there */
enum { HISTORY_BEFORE = 2, HISTORY_AFTER, HISTORY_LIMIT };
enum { READ_MSG_ID = 2 };

#define COMMAND_FIELDS_MAX 7

/* Sizes of fields (C-1, C-2), in bytes of unescaped UTF-8. */
#define NAME_MAX_BYTES 32 /* of a user or a group */
#define PASSWD_MIN_BYTES 4
#define PASSWD_MAX_BYTES 128
#define DISPLAY_NAME_MAX_BYTES 64
#define AGE_MAX 150
#define ADDRESS_MAX_BYTES 256
#define EMAIL_MAX_BYTES 254
#define FRIEND_TEXT_MAX_BYTES 128
#define TITLE_MAX_BYTES 64
#define MESSAGE_TEXT_MAX_BYTES 8192
#define MESSAGE_ID_MAX_BYTES 64
#define CLIENT_MAX_BYTES 64

/* What the program puts into replies itself; reply_max_bytes counts on it. */
#define SERVER_VERSION_MAX_BYTES 64 /* `server` of hello */
#define STAGE_MAX_BYTES 32          /* `stage` of stats */
#define MESSAGE_MAX_BYTES 256       /* `message`, the sentence for people */

enum field_type {
    FIELD_NAME,    /* [A-Za-z0-9][A-Za-z0-9_.-]{0,31}: a user or a group */
    FIELD_STRING,  /* minimum to maximum bytes, no control characters */
    FIELD_TEXT,    /* minimum to maximum bytes, any characters */
    FIELD_SEX,     /* "male", "female", "other" or "" */
    FIELD_EMAIL,   /* as FIELD_STRING; empty, or with one '@' inside */
    FIELD_INTEGER, /* minimum to maximum */
    FIELD_BOOLEAN,
    FIELD_USER_OR_GROUP /* the first of a pair of names, of which exactly one is given; the second, an optional
                           FIELD_NAME, follows it */
};

struct field {
    const char *name;
    size_t name_length;
    enum field_type type;
    bool optional;
    int64_t minimum; /* of bytes, or of an integer */
    int64_t maximum;
};

struct command {
    const char *name;
    struct field fields[COMMAND_FIELDS_MAX];
    size_t field_count;
    size_t reply_max_bytes; /* the largest payload of its reply, any result (L-4) */
    uint16_t cmd;
    bool before_login; /* served before a login */
    bool barrier;      /* register, login, logout, passwd: taken up alone, nothing behind it until it is answered */
    bool stored;       /* reads or writes what the store keeps: answered server_error when its commit fails */
};

/* NULL: no request of section C. O(1). */
const struct command *command_find(uint16_t cmd);

/* By name ("group_chat"), for WebSocket (W-3). NULL: none. */
const struct command *command_find_name(const char *name, size_t length);

/* Every command, in the order of section C: index from 0; NULL at the end. */
const struct command *command_at(size_t index);

/* Name of a push ("presence"); NULL: none. */
const char *push_name(uint16_t cmd);

#endif
