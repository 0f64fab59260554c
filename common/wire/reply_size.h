/* reply_size.h - how large the payload of each reply can get (L-4), from the limits of what it holds.
 *
 * Idea.       Written down as the replies look in section C: an object is its members, a list is its length times its
 *             element. Only `"`, `\` and control characters are escaped when they are written (json_writer.h), and the
 *             strings below hold no control characters (C-1), so a string takes two bytes for one at worst. Texts of
 *             messages may hold them, and take six; that reply is cut to a frame instead (M-8).
 *             Everything is a constant, and a few bytes generous: a last member is counted with a comma, too.
 * Threads.    Constants. Included by command.c, and by its test.
 */
#ifndef CHAT_REPLY_SIZE_H
#define CHAT_REPLY_SIZE_H

#include "base/counters.h"
#include "base/limits.h"
#include "wire/command.h"

/* A member: `"key":`, the value, and a comma. */
#define KEY_BYTES(key) (sizeof(key) - 1 + 4)
#define NAME_MEMBER(key) (KEY_BYTES(key) + 2 + NAME_MAX_BYTES) /* its characters need no escape */
#define STRING_MEMBER(key, max_bytes) (KEY_BYTES(key) + 2 + (size_t)2 * (max_bytes))
#define INTEGER_MEMBER(key) (KEY_BYTES(key) + 20)
#define BOOLEAN_MEMBER(key) (KEY_BYTES(key) + 5)
#define LITERAL_MEMBER(key, longest) (KEY_BYTES(key) + 2 + sizeof(longest) - 1)
#define LIST_MEMBER(key, count, element_bytes) (KEY_BYTES(key) + 2 + (size_t)(count) * ((element_bytes) + 1))
#define OBJECT(members) (2 + (members))

#define RESULT_MEMBER LITERAL_MEMBER("result", "too_many_attempts")

/* Every result but success and offline: with what any of them may carry, all at once. */
#define ERROR_REPLY_BYTES                                                                                    \
    OBJECT(RESULT_MEMBER + LITERAL_MEMBER("reason", "group_exists") + LITERAL_MEMBER("field", "user_from") + \
           INTEGER_MEMBER("retry_ms") + STRING_MEMBER("message", MESSAGE_MAX_BYTES))

/* A reply to success is never counted as smaller than an error in its place. */
#define REPLY(members) \
    (OBJECT(RESULT_MEMBER + (members)) > ERROR_REPLY_BYTES ? OBJECT(RESULT_MEMBER + (members)) : ERROR_REPLY_BYTES)

#define FRIENDS_MEMBER               \
    LIST_MEMBER(                     \
        "friends", USER_FRIENDS_MAX, \
        OBJECT(NAME_MEMBER("user") + STRING_MEMBER("name", DISPLAY_NAME_MAX_BYTES) + BOOLEAN_MEMBER("online")))
#define GROUPS_MEMBER \
    LIST_MEMBER("groups", USER_GROUPS_MAX, OBJECT(NAME_MEMBER("group") + STRING_MEMBER("title", TITLE_MAX_BYTES)))
#define UNREAD_MEMBER \
    LIST_MEMBER("unread", UNREAD_MAX, OBJECT(NAME_MEMBER("group") + INTEGER_MEMBER("count") + INTEGER_MEMBER("latest")))
#define REQUESTS_MEMBER                        \
    LIST_MEMBER("requests", USER_REQUESTS_MAX, \
                OBJECT(NAME_MEMBER("user") + STRING_MEMBER("text", FRIEND_TEXT_MAX_BYTES)))

/* As long as the counters are with their names: their bytes, one after the other. */
#define COUNTER_MEMBER(name) char name[INTEGER_MEMBER(#name)];
struct counter_members {
    COUNTERS_EACH(COUNTER_MEMBER)
};

#define PLAIN_REPLY_BYTES REPLY(0)
#define PING_REPLY_BYTES REPLY(INTEGER_MEMBER("time"))
#define STATS_REPLY_BYTES \
    REPLY(STRING_MEMBER("stage", STAGE_MAX_BYTES) + INTEGER_MEMBER("uptime_ms") + sizeof(struct counter_members))
#define HELLO_REPLY_BYTES                                                                  \
    REPLY(INTEGER_MEMBER("protocol") + STRING_MEMBER("server", SERVER_VERSION_MAX_BYTES) + \
          LIST_MEMBER("capabilities", 8, sizeof("\"websocket\"") - 1))
#define LOGIN_REPLY_BYTES REPLY(NAME_MEMBER("user") + FRIENDS_MEMBER + GROUPS_MEMBER + UNREAD_MEMBER + REQUESTS_MEMBER)
#define PROFILE_REPLY_BYTES                                                                                       \
    REPLY(NAME_MEMBER("user") + STRING_MEMBER("name", DISPLAY_NAME_MAX_BYTES) + LITERAL_MEMBER("sex", "female") + \
          INTEGER_MEMBER("age") + STRING_MEMBER("address", ADDRESS_MAX_BYTES) +                                   \
          STRING_MEMBER("email", EMAIL_MAX_BYTES) + BOOLEAN_MEMBER("online"))
#define FRIEND_LIST_REPLY_BYTES REPLY(FRIENDS_MEMBER)
#define GROUP_INFO_REPLY_BYTES                                                                    \
    REPLY(NAME_MEMBER("group") + STRING_MEMBER("title", TITLE_MAX_BYTES) + NAME_MEMBER("owner") + \
          INTEGER_MEMBER("created") + INTEGER_MEMBER("count") +                                   \
          LIST_MEMBER("members", GROUP_INFO_MEMBERS_MAX, 2 + NAME_MAX_BYTES))
#define GROUP_LIST_REPLY_BYTES REPLY(GROUPS_MEMBER)
#define CHAT_REPLY_BYTES REPLY(INTEGER_MEMBER("msg_id") + INTEGER_MEMBER("time"))
#define HISTORY_REPLY_BYTES REPLY_PAYLOAD_MAX_BYTES
#define UNREAD_REPLY_BYTES REPLY(UNREAD_MEMBER)

_Static_assert(LOGIN_REPLY_BYTES <= REPLY_PAYLOAD_MAX_BYTES, "the largest list reply fits a frame (F-2)");

#endif
