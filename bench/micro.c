/* micro.c - what one step of a message costs, without sockets and threads: nanoseconds, best of several rounds.
 *
 * Idea.       A measurement is a function that does its work `count` times. Rounds are short and the fastest one
 *             counts: what disturbs a round only ever makes it slower.
 *             To add one: write its function and a line in `measurements`.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/buffer.h"
#include "base/limits.h"
#include "wire/frame.h"
#include "wire/json_writer.h"
#include "wire/request.h"

#define ROUNDS 50
#define ROUND_NS 4000000

struct measurement {
    const char *name;
    void (*run)(unsigned long count);
};

#define TEXT_64 "The kettle is on, the cups are warm, and there is cake for all.."

static const struct slice chat_json = SLICE_LITERAL("{\"user_to\":\"bob\",\"text\":\"" TEXT_64 "\"}");
static const struct slice escaped_json = SLICE_LITERAL("{\"user_to\":\"bob\",\"text\":\"a \\\"quoted\\\" line\\nand "
                                                       "\\u4f60\\u597d\"}");
static const struct slice cjk_json =
    SLICE_LITERAL("{\"user_to\":\"bob\",\"text\":\"水壶开了水壶开了水壶开了水壶开了水壶\"}");

/* A result that the compiler must believe is used. */
static void keep(const void *result)
{
    __asm__ volatile("" : : "r"(result) : "memory");
}

static void fail(const char *what)
{
    fprintf(stderr, "microbench: %s\n", what);
    exit(1);
}

static void parse_json(struct slice json, unsigned long count)
{
    const struct command *command = command_find(CMD_PRIVATE_CHAT);
    char payload[256];
    struct request request;

    while (count-- > 0) {
        memcpy(payload, json.bytes, json.length);
        if (!request_parse(payload, json.length, command, &request) || request.bad_field)
            fail("the request is not acceptable");
        keep(&request);
    }
}

static void parse_chat(unsigned long count)
{
    parse_json(chat_json, count);
}

static void parse_escaped(unsigned long count)
{
    parse_json(escaped_json, count);
}

static void parse_cjk(unsigned long count)
{
    parse_json(cjk_json, count);
}

static void parse_frame(unsigned long count)
{
    char bytes[256];
    struct frame frame;
    enum frame_error error;

    frame_encode(bytes, CMD_PRIVATE_CHAT, 1, chat_json);
    while (count-- > 0) {
        if (frame_parse(bytes, sizeof(bytes), REQUEST_PAYLOAD_MAX_BYTES, &frame, &error) != FRAME_COMPLETE)
            fail("the frame is broken");
        keep(&frame);
    }
}

static void encode_frame(unsigned long count)
{
    char bytes[256];

    for (uint32_t seq = 0; count-- > 0; seq++) {
        frame_encode(bytes, CMD_PRIVATE_CHAT, seq, chat_json);
        keep(bytes);
    }
}

/* The push that a private message becomes. */
static void write_push(struct buffer *out, const struct request *request)
{
    buffer_clear(out);
    json_open_object(out);
    json_key_string(out, SLICE_LITERAL("user_from"), SLICE_LITERAL("alice"));
    json_key_string(out, SLICE_LITERAL("user_to"), request->values[PRIVATE_USER_TO].string);
    json_key_string(out, SLICE_LITERAL("text"), request->values[PRIVATE_TEXT].string);
    json_key_integer(out, SLICE_LITERAL("msg_id"), 123456);
    json_key_integer(out, SLICE_LITERAL("time"), 1700000000000);
    json_close_object(out);
}

static void write_json(unsigned long count)
{
    struct buffer out = {0};
    struct request request = {0};

    request.values[PRIVATE_USER_TO].string = SLICE_LITERAL("bob");
    request.values[PRIVATE_TEXT].string = SLICE_LITERAL(TEXT_64);
    while (count-- > 0) {
        write_push(&out, &request);
        keep(out.bytes);
    }
    buffer_fini(&out);
}

/* All that the wire costs a message: its frame and request taken apart, its push written, checksums and all. */
static void whole_message(unsigned long count)
{
    const struct command *command = command_find(CMD_PRIVATE_CHAT);
    char received[256];
    char sent[512];
    struct frame frame;
    enum frame_error error;
    struct request request;
    struct buffer out = {0};

    frame_encode(received, CMD_PRIVATE_CHAT, 1, chat_json);
    while (count-- > 0) {
        if (frame_parse(received, sizeof(received), REQUEST_PAYLOAD_MAX_BYTES, &frame, &error) != FRAME_COMPLETE ||
            !request_parse(received + FRAME_HEAD_BYTES, frame.payload_bytes, command, &request))
            fail("the message is not acceptable");
        write_push(&out, &request);
        frame_encode(sent, PUSH_PRIVATE_CHAT_RECV, 0, buffer_slice(&out));
        keep(sent);
    }
    buffer_fini(&out);
}

/* What a stranger may make us do: 64 KiB of the smallest members there are. */
static void parse_many_keys(unsigned long count)
{
    static char text[REQUEST_PAYLOAD_MAX_BYTES];
    size_t length = 0;

    text[length++] = '{';
    for (unsigned i = 0; length + 16 < sizeof(text); i++)
        length += (size_t)snprintf(text + length, 16, "%s\"%x\":1", i > 0 ? "," : "", i);
    text[length++] = '}';
    while (count-- > 0) {
        if (!request_parse(text, length, NULL, NULL))
            fail("many keys are not acceptable");
    }
}

static const struct measurement measurements[] = {
    {"frame_parse, 64 bytes of text",   parse_frame    },
    {"request_parse, 64 bytes of text", parse_chat     },
    {"request_parse, with escapes",     parse_escaped  },
    {"request_parse, Chinese",          parse_cjk      },
    {"json_writer, the push of it",     write_json     },
    {"frame_encode, 64 bytes of text",  encode_frame   },
    {"all of these, once a message",    whole_message  },
    {"request_parse, 64 KiB of keys",   parse_many_keys},
};

static uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static uint64_t time_of(const struct measurement *measurement, unsigned long count)
{
    uint64_t start = now_ns();

    measurement->run(count);
    return now_ns() - start;
}

static double nanoseconds_each(const struct measurement *measurement)
{
    unsigned long count = 1;
    uint64_t best = UINT64_MAX;

    while (time_of(measurement, count) < ROUND_NS)
        count *= 2;
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t time = time_of(measurement, count);

        if (time < best)
            best = time;
    }
    return (double)best / (double)count;
}

/* All of them, or those whose names hold the argument. */
int main(int argc, char **argv)
{
    for (size_t i = 0; i < sizeof(measurements) / sizeof(measurements[0]); i++) {
        if (argc < 2 || strstr(measurements[i].name, argv[1]))
            printf("%-36s %10.1f ns\n", measurements[i].name, nanoseconds_each(&measurements[i]));
    }
    return 0;
}
