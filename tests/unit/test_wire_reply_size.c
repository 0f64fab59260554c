/* test_wire_reply_size.c - reply_max_bytes (L-4): the largest reply of each command, written as the engine writes it,
 *                          never exceeds it, and comes near to it.
 */
#include "support.h"

#include <stdio.h>
#include <string.h>

#include "base/counters.h"
#include "base/limits.h"
#include "wire/command.h"
#include "wire/json_writer.h"

static struct buffer out;

/* ---- the largest values ---- */

static struct slice name(void)
{
    static char text[NAME_MAX_BYTES];

    memset(text, 'x', sizeof(text));
    return (struct slice){text, sizeof(text)};
}

/* What takes most room, of a string without control characters (C-1). */
static struct slice string(size_t length)
{
    static char text[1024];

    memset(text, '\\', length);
    return (struct slice){text, length};
}

static void put_string(const char *key, size_t length)
{
    json_key_string(&out, slice_of(key), string(length));
}

static void put_name(const char *key)
{
    json_key_string(&out, slice_of(key), name());
}

static void put_integer(const char *key)
{
    json_key_integer(&out, slice_of(key), INT64_MIN);
}

static void put_boolean(const char *key)
{
    json_key_boolean(&out, slice_of(key), false);
}

/* ---- lists ---- */

static void put_list(const char *key, size_t count, void (*put_members)(void))
{
    json_key_array(&out, slice_of(key));
    for (size_t i = 0; i < count; i++) {
        json_open_object(&out);
        put_members();
        json_close_object(&out);
    }
    json_close_array(&out);
}

static void put_friend(void)
{
    put_name("user");
    put_string("name", DISPLAY_NAME_MAX_BYTES);
    put_boolean("online");
}

static void put_group(void)
{
    put_name("group");
    put_string("title", TITLE_MAX_BYTES);
}

static void put_unread(void)
{
    put_name("group");
    put_integer("count");
    put_integer("latest");
}

static void put_request(void)
{
    put_name("user");
    put_string("text", FRIEND_TEXT_MAX_BYTES);
}

/* ---- replies ---- */

static void reply_nothing(void)
{
}

static void reply_ping(void)
{
    put_integer("time");
}

static void reply_stats(void)
{
    put_string("stage", STAGE_MAX_BYTES);
    put_integer("uptime_ms");
#define PUT_COUNTER(counter) put_integer(#counter);
    COUNTERS_EACH(PUT_COUNTER)
#undef PUT_COUNTER
}

static void reply_hello(void)
{
    static const char *const capabilities[] = {"accounts", "friends", "groups", "messages",
                                               "history",  "durable", "limits", "websocket"};

    put_integer("protocol");
    put_string("server", SERVER_VERSION_MAX_BYTES);
    json_key_array(&out, SLICE_LITERAL("capabilities"));
    for (size_t i = 0; i < sizeof(capabilities) / sizeof(capabilities[0]); i++)
        json_element_string(&out, slice_of(capabilities[i]));
    json_close_array(&out);
}

static void reply_friends(void)
{
    put_list("friends", USER_FRIENDS_MAX, put_friend);
}

static void reply_groups(void)
{
    put_list("groups", USER_GROUPS_MAX, put_group);
}

static void reply_unread(void)
{
    put_list("unread", UNREAD_MAX, put_unread);
}

static void reply_login(void)
{
    put_name("user");
    reply_friends();
    reply_groups();
    reply_unread();
    put_list("requests", USER_REQUESTS_MAX, put_request);
}

static void reply_profile(void)
{
    put_name("user");
    put_string("name", DISPLAY_NAME_MAX_BYTES);
    json_key_string(&out, SLICE_LITERAL("sex"), SLICE_LITERAL("female"));
    put_integer("age");
    put_string("address", ADDRESS_MAX_BYTES);
    put_string("email", EMAIL_MAX_BYTES);
    put_boolean("online");
}

static void reply_group_info(void)
{
    put_name("group");
    put_string("title", TITLE_MAX_BYTES);
    put_name("owner");
    put_integer("created");
    put_integer("count");
    json_key_array(&out, SLICE_LITERAL("members"));
    for (size_t i = 0; i < GROUP_INFO_MEMBERS_MAX; i++)
        json_element_string(&out, name());
    json_close_array(&out);
}

static void reply_chat(void)
{
    put_integer("msg_id");
    put_integer("time");
}

static const struct {
    uint16_t cmd;
    void (*put_members)(void);
} replies[] = {
    {CMD_PING,          reply_ping      },
    {CMD_STATS,         reply_stats     },
    {CMD_HELLO,         reply_hello     },
    {CMD_REGISTER,      reply_nothing   },
    {CMD_LOGIN,         reply_login     },
    {CMD_LOGOUT,        reply_nothing   },
    {CMD_PASSWD,        reply_nothing   },
    {CMD_PROFILE_GET,   reply_profile   },
    {CMD_PROFILE_SET,   reply_nothing   },
    {CMD_FRIEND_ADD,    reply_nothing   },
    {CMD_FRIEND_ANSWER, reply_nothing   },
    {CMD_FRIEND_REMOVE, reply_nothing   },
    {CMD_FRIEND_LIST,   reply_friends   },
    {CMD_GROUP_CREATE,  reply_nothing   },
    {CMD_GROUP_JOIN,    reply_nothing   },
    {CMD_GROUP_LEAVE,   reply_nothing   },
    {CMD_GROUP_INFO,    reply_group_info},
    {CMD_GROUP_LIST,    reply_groups    },
    {CMD_GROUP_KICK,    reply_nothing   },
    {CMD_GROUP_DISMISS, reply_nothing   },
    {CMD_PRIVATE_CHAT,  reply_chat      },
    {CMD_GROUP_CHAT,    reply_chat      },
    {CMD_UNREAD,        reply_unread    },
    {CMD_READ,          reply_nothing   },
    {CMD_TYPING,        reply_nothing   },
};

/* ---- tests ---- */

static size_t reply_bytes(const char *result, void (*put_members)(void))
{
    buffer_clear(&out);
    json_open_object(&out);
    json_key_string(&out, SLICE_LITERAL("result"), slice_of(result));
    put_members();
    json_close_object(&out);
    assert_false(out.failed);
    return out.length;
}

static void put_error(void)
{
    json_key_string(&out, SLICE_LITERAL("reason"), SLICE_LITERAL("group_exists"));
    json_key_string(&out, SLICE_LITERAL("field"), SLICE_LITERAL("user_from"));
    put_integer("retry_ms");
    put_string("message", MESSAGE_MAX_BYTES);
}

static void test_success(void **state)
{
    size_t error_bytes = reply_bytes("too_many_attempts", put_error);

    (void)state;
    for (size_t i = 0; i < sizeof(replies) / sizeof(replies[0]); i++) {
        size_t largest = reply_bytes("success", replies[i].put_members);
        const struct command *command = command_find(replies[i].cmd);

        if (largest < error_bytes)
            largest = error_bytes;
        /* A few bytes generous: the longest result, and a comma an object that is counted and not written. */
        if (largest > command->reply_max_bytes || command->reply_max_bytes > largest + largest / 50 + 16)
            fail_msg("%s: a reply of %zu bytes, reply_max_bytes %zu", command->name, largest, command->reply_max_bytes);
    }
}

static void test_any_error_fits_every_command(void **state)
{
    const struct command *command;

    (void)state;
    for (size_t i = 0; (command = command_at(i)); i++)
        assert_true(reply_bytes("too_many_attempts", put_error) <= command->reply_max_bytes);
}

/* No reply is larger than a frame; that of history is cut to one (M-8), and one message always fits. */
static void test_frames(void **state)
{
    static char controls[MESSAGE_TEXT_MAX_BYTES];
    const struct command *command;

    (void)state;
    for (size_t i = 0; (command = command_at(i)); i++)
        assert_in_range(command->reply_max_bytes, 1, REPLY_PAYLOAD_MAX_BYTES);
    assert_int_equal(command_find(CMD_HISTORY)->reply_max_bytes, REPLY_PAYLOAD_MAX_BYTES);

    memset(controls, 1, sizeof(controls));
    assert_in_range(json_string_bytes((struct slice){controls, sizeof(controls)}), 1, REPLY_PAYLOAD_MAX_BYTES - 1024);
}

/* Every command but history, which is cut, is tried above. */
static void test_none_is_left_out(void **state)
{
    const struct command *command;

    (void)state;
    for (size_t i = 0; (command = command_at(i)); i++) {
        unsigned found = command->cmd == CMD_HISTORY;

        for (size_t j = 0; j < sizeof(replies) / sizeof(replies[0]); j++)
            found += replies[j].cmd == command->cmd;
        assert_int_equal(found, 1);
    }
}

static int free_out(void **state)
{
    (void)state;
    buffer_fini(&out);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_success),
        cmocka_unit_test(test_any_error_fits_every_command),
        cmocka_unit_test(test_frames),
        cmocka_unit_test(test_none_is_left_out),
    };

    return cmocka_run_group_tests(tests, NULL, free_out);
}
