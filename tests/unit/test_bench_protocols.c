/* test_bench_protocols.c - the load generator's protocols: what a server says is cut into the same units wherever a
 *                          segment ends, and what is not the protocol is noticed.
 */
#include "support.h"

#include <stdlib.h>
#include <string.h>

#include "mark.h"
#include "protocol.h"
#include "wire/frame.h"

/* What a server says, and the units that it is, a letter each: M a message, A an answer, R a refusal, Q a question,
 * O something else. */
struct conversation_of {
    const struct protocol *protocol;
    struct slice said;
    const char *units;
    const char *texts; /* of messages and questions, one behind the other */
};

static const char letters[] = {
    [UNIT_INCOMPLETE] = 'I', [UNIT_BROKEN] = 'B',   [UNIT_MESSAGE] = 'M', [UNIT_ANSWER] = 'A',
    [UNIT_REFUSED] = 'R',    [UNIT_QUESTION] = 'Q', [UNIT_OTHER] = 'O',
};

static const struct conversation_of conversations[] = {
    {&protocol_redis,
     SLICE_LITERAL("%2\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nmodules\r\n*0\r\n"
                   ">3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n"
                   ">3\r\n$7\r\nmessage\r\n$1\r\na\r\n$5\r\nhe\r\no\r\n"
                   ":17\r\n-ERR no\r\n"
                   ">3\r\n$7\r\nmessage\r\n$1\r\na\r\n$0\r\n\r\n"),
     "AAMARM",                                                                                       "he\r\no"                    },
    {&protocol_redis_durable, SLICE_LITERAL("$3\r\n1-1\r\n:2\r\n"),                            "AO", ""                           },
    {&protocol_nats,
     SLICE_LITERAL("INFO {\"max_payload\":1048576} \r\nPONG\r\nMSG a 1 5\r\nhe\r\no\r\nPING\r\nMSG g.a 2 12\r\nhello, "
                   "world\r\n-ERR 'no'\r\n"),
     "OAMQMR",                                                                                       "he\r\noPING\r\nhello, world"},
    {&protocol_mqtt,
     SLICE_LITERAL("\x20\x02\0\0"
                   "\x90\x03\0\1\0"
                   "\x30\x08\0\1ahello"
                   "\xD0\0"
                   "\x20\x02\0\5"
                   "\x90\x03\0\1\x80"),
     "AAMARR",                                                                                       "hello"                      },
    {&protocol_irc,
     SLICE_LITERAL(":s 001 a :Welcome\r\nPING :x1\r\n:s 422 a :no motd\r\n:b!b@h JOIN #g\r\n:s 366 a #g :end\r\n"
                   ":b!b@h PRIVMSG #g :hello: there\r\nERROR :bye\r\n:s 433 * a :in use\r\n"),
     "OQAOAMRR",                                                                                     ":x1hello: there"            },
};

/* The chat's frames, which are made here because of their checksums. */
static struct conversation_of chat_conversation(char *bytes)
{
    static const struct {
        uint16_t cmd;
        const char *json;
    } frames[] = {
        {0x8102, "{\"result\":\"success\",\"user\":\"a\"}"                                          },
        {0x8101, "{\"result\":\"failure\",\"reason\":\"user_exists\",\"message\":\"There is one.\"}"},
        {0x4402, "{\"group\":\"g\",\"user_from\":\"b\",\"text\":\"hello\",\"msg_id\":1}"            },
        {0x4401, "{\"user_from\":\"b\",\"user_to\":\"a\",\"text\":\"one\",\"msg_id\":1}"            },
        {0x4301, "{\"group\":\"g\",\"user\":\"b\",\"event\":\"joined\"}"                            },
        {0x8402, "{\"result\":\"rate_limited\",\"message\":\"Not so fast.\"}"                       },
        {0x4002, "{\"reason\":\"slow_consumer\"}"                                                   },
        {0x8401, "{\"result\":\"offline\",\"msg_id\":2}"                                            },
    };
    size_t length = 0;

    for (size_t i = 0; i < sizeof frames / sizeof frames[0]; i++) {
        frame_encode(bytes + length, frames[i].cmd, 0, slice_of(frames[i].json));
        length += frame_bytes(bytes + length);
    }
    return (struct conversation_of){
        &protocol_chat, {bytes, length},
         "AAMMORRA", "helloone"
    };
}

/* Take apart what is there, as a link does. */
static size_t take_units(const struct protocol *protocol, const char *bytes, size_t length, char *units, char *texts)
{
    struct unit unit = {0};
    enum unit_kind kind;
    size_t at = 0;

    while ((kind = protocol->next(bytes + at, length - at, &unit)) != UNIT_INCOMPLETE) {
        strncat(units, &letters[kind], 1);
        if (kind == UNIT_BROKEN)
            break;
        if (kind == UNIT_MESSAGE || kind == UNIT_QUESTION)
            strncat(texts, unit.text.bytes,
                    strcspn(unit.text.bytes, "\"") < unit.text.length ? strcspn(unit.text.bytes, "\"")
                                                                      : unit.text.length);
        assert_true(unit.bytes > 0 && unit.bytes <= length - at);
        at += unit.bytes;
    }
    return at;
}

/* Each part stands in memory of its own size, so that a sanitizer sees who looks behind it. */
static size_t take_part(const struct protocol *protocol, const char *bytes, size_t length, char *units, char *texts)
{
    char *copy = malloc(length + 1);
    size_t taken;

    assert_non_null(copy);
    memcpy(copy, bytes, length);
    copy[length] = '\0'; /* for the texts of this test, which are ended */
    taken = take_units(protocol, copy, length, units, texts);
    free(copy);
    return taken;
}

static void assert_cut_anywhere(const struct conversation_of *conversation)
{
    for (size_t cut = 0; cut <= conversation->said.length; cut++) {
        char units[32] = "";
        char texts[128] = "";
        size_t taken = take_part(conversation->protocol, conversation->said.bytes, cut, units, texts);

        taken += take_part(conversation->protocol, conversation->said.bytes + taken, conversation->said.length - taken,
                           units, texts);
        assert_int_equal(taken, conversation->said.length);
        assert_string_equal(units, conversation->units);
        assert_string_equal(texts, conversation->texts);
    }
}

static void units_are_the_same_at_any_cut(void **state)
{
    char bytes[2048];
    struct conversation_of chat = chat_conversation(bytes);

    (void)state;
    for (size_t i = 0; i < sizeof conversations / sizeof conversations[0]; i++)
        assert_cut_anywhere(&conversations[i]);
    assert_cut_anywhere(&chat);
}

static enum unit_kind kind_of(const struct protocol *protocol, struct slice said)
{
    struct unit unit = {0};

    return protocol->next(said.bytes, said.length, &unit);
}

static void what_is_not_the_protocol_is_noticed(void **state)
{
    char frame[64];

    (void)state;
    assert_int_equal(kind_of(&protocol_redis, SLICE_LITERAL("hello\r\n")), UNIT_BROKEN);
    assert_int_equal(kind_of(&protocol_redis, SLICE_LITERAL("$x\r\n")), UNIT_BROKEN);
    assert_int_equal(kind_of(&protocol_redis, SLICE_LITERAL(">3\r\n$7\r\nmessage\r\n:1\r\n")), UNIT_BROKEN);
    assert_int_equal(kind_of(&protocol_nats, SLICE_LITERAL("hello\r\n")), UNIT_BROKEN);
    assert_int_equal(kind_of(&protocol_nats, SLICE_LITERAL("MSG a 1 99999999\r\n")), UNIT_BROKEN);
    assert_int_equal(kind_of(&protocol_mqtt, SLICE_LITERAL("\x30\xFF\xFF\xFF\xFF\xFF\x01")), UNIT_BROKEN);
    assert_int_equal(kind_of(&protocol_mqtt, SLICE_LITERAL("\x30\x02\0\x63")), UNIT_BROKEN);
    assert_int_equal(kind_of(&protocol_mqtt, SLICE_LITERAL("\x10\0")), UNIT_BROKEN);
    assert_int_equal(kind_of(&protocol_irc, SLICE_LITERAL("hello\n")), UNIT_BROKEN);
    frame_encode(frame, 0x8001, 0, SLICE_LITERAL("{}"));
    assert_int_equal(kind_of(&protocol_chat, (struct slice){frame, 24}), UNIT_REFUSED);
    frame[23] = 0;
    assert_int_equal(kind_of(&protocol_chat, (struct slice){frame, 24}), UNIT_BROKEN);
    frame[0] = 0;
    assert_int_equal(kind_of(&protocol_chat, (struct slice){frame, 24}), UNIT_BROKEN);
}

/* Our own requests for a message are whole, and carry the text. */
static void a_message_is_sent_whole(void **state)
{
    static const char *const names[] = {"chat", "redis", "redis-replies", "redis-durable",
                                        "nats", "mqtt",  "irc",           "irc-echo"};
    const struct address to = {SLICE_LITERAL("alice"), SLICE_LITERAL("tea"), true};

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const struct protocol *protocol = protocol_find(names[i]);
        struct buffer out = {0};

        assert_non_null(protocol);
        assert_string_equal(protocol->name, names[i]);
        protocol->send(&out, &to, SLICE_LITERAL("The kettle is on."));
        assert_false(out.failed);
        assert_non_null(memmem(out.bytes, out.length, "The kettle is on.", 17));
        assert_non_null(memmem(out.bytes, out.length, "tea", 3));
        buffer_fini(&out);
    }
    assert_null(protocol_find("smtp"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(units_are_the_same_at_any_cut),
        cmocka_unit_test(what_is_not_the_protocol_is_noticed),
        cmocka_unit_test(a_message_is_sent_whole),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
