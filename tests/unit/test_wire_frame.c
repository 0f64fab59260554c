/* test_wire_frame.c - frames cut anywhere (F-3), and each fault at each byte (F-4). */
#include "support.h"

#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "wire/frame.h"

static enum frame_result parse(const void *bytes, size_t length, struct frame *frame, enum frame_error *error)
{
    void *copy = malloc(length + !length); /* of exactly that size: a look beyond it is a sanitizer's find */
    enum frame_result result;

    memcpy(copy, bytes, length);
    result = frame_parse(copy, length, REQUEST_PAYLOAD_MAX_BYTES, frame, error);
    free(copy);
    return result;
}

static void assert_broken(const void *bytes, size_t length, enum frame_error expected)
{
    struct frame frame;
    enum frame_error error;

    assert_int_equal(parse(bytes, length, &frame, &error), FRAME_BROKEN);
    assert_string_equal(frame_error_name(error), frame_error_name(expected));
}

static void assert_incomplete(const void *bytes, size_t length)
{
    struct frame frame;
    enum frame_error error;

    assert_int_equal(parse(bytes, length, &frame, &error), FRAME_INCOMPLETE);
}

/* The two examples of docs/protocol.md. */
static void test_examples_of_the_protocol(void **state)
{
    static const unsigned char ping[] = {0xC4, 0xA7, 1, 0, 0, 1,    0,    0,    0,    0,    0,
                                         7,    0,    0, 0, 0, 0xF9, 0xEB, 0x3F, 0x45, 0x0D, 0x0A};
    static const unsigned char reply_ends[] = {0xC4, 0xA7, 1, 0, 0x80, 1,    0,    0,    0,    0,    0,
                                               7,    0,    0, 0, 0x29, 0x7A, 0xDA, 0x8F, 0x55, 0x0D, 0x0A};
    struct slice payload = SLICE_LITERAL("{\"result\":\"success\",\"time\":1700000000000}");
    unsigned char frame[64];

    (void)state;
    frame_encode(frame, 0x0001, 7, (struct slice){0});
    assert_memory_equal(frame, ping, sizeof(ping));
    assert_int_equal(frame_bytes(frame), sizeof(ping));

    frame_encode(frame, 0x8001, 7, payload);
    assert_memory_equal(frame, reply_ends, FRAME_HEAD_BYTES);
    assert_memory_equal(frame + FRAME_HEAD_BYTES, payload.bytes, payload.length);
    assert_memory_equal(frame + FRAME_HEAD_BYTES + payload.length, reply_ends + FRAME_HEAD_BYTES, FRAME_TAIL_BYTES);
    assert_int_equal(frame_bytes(frame), 63);
}

/* ---- cuts ---- */

struct stream {
    unsigned char bytes[512];
    size_t length;
};

static const struct {
    uint16_t cmd;
    uint32_t seq;
    struct slice payload;
} stories[] = {
    {0x0001, 0,          {0}                                             },
    {0x0402, 1,          SLICE_LITERAL("{}")                             },
    {0x8001, 0xFFFFFFFF, SLICE_LITERAL("{\"text\":\"\r\n\xC4\xA7\r\n\"}")},
    {0xC4A7, 0x0D0A0D0A, SLICE_LITERAL("\xC4\xA7\x01")                   },
    {0xFFFF, 0x01020304, SLICE_LITERAL("\r\n")                           },
};

#define STORY_COUNT (sizeof(stories) / sizeof(stories[0]))

static void make_stream(struct stream *stream)
{
    stream->length = 0;
    for (size_t i = 0; i < STORY_COUNT; i++) {
        frame_encode(stream->bytes + stream->length, stories[i].cmd, stories[i].seq, stories[i].payload);
        stream->length += stories[i].payload.length + FRAME_OVERHEAD_BYTES;
    }
}

/* Take the frames off that are complete within the first `length` bytes, from frame `*next` on at `*at`. */
static void take_frames(const struct stream *stream, size_t length, size_t *at, size_t *next)
{
    struct frame frame;
    enum frame_error error;
    enum frame_result result;

    while ((result = parse(stream->bytes + *at, length - *at, &frame, &error)) == FRAME_COMPLETE) {
        struct slice payload = stories[*next].payload;

        assert_int_equal(frame.cmd, stories[*next].cmd);
        assert_int_equal(frame.seq, stories[*next].seq);
        assert_int_equal(frame.payload_bytes, payload.length);
        assert_int_equal(frame.frame_bytes, frame_bytes(stream->bytes + *at));
        if (payload.length > 0)
            assert_memory_equal(stream->bytes + *at + FRAME_HEAD_BYTES, payload.bytes, payload.length);
        *at += frame.frame_bytes;
        ++*next;
    }
    assert_int_equal(result, FRAME_INCOMPLETE);
}

static void test_every_cut_in_two(void **state)
{
    struct stream stream;

    (void)state;
    make_stream(&stream);
    for (size_t cut = 0; cut <= stream.length; cut++) {
        size_t at = 0;
        size_t next = 0;

        take_frames(&stream, cut, &at, &next);
        take_frames(&stream, stream.length, &at, &next);
        assert_int_equal(at, stream.length);
        assert_int_equal(next, STORY_COUNT);
    }
}

static void test_every_cut_in_three(void **state)
{
    struct stream stream;

    (void)state;
    make_stream(&stream);
    for (size_t first = 0; first <= stream.length; first++) {
        for (size_t second = first; second <= stream.length; second++) {
            size_t at = 0;
            size_t next = 0;

            take_frames(&stream, first, &at, &next);
            take_frames(&stream, second, &at, &next);
            take_frames(&stream, stream.length, &at, &next);
            assert_int_equal(next, STORY_COUNT);
        }
    }
}

static void test_byte_by_byte(void **state)
{
    struct stream stream;
    size_t at = 0;
    size_t next = 0;

    (void)state;
    make_stream(&stream);
    for (size_t length = 0; length <= stream.length; length++)
        take_frames(&stream, length, &at, &next);
    assert_int_equal(next, STORY_COUNT);
}

/* ---- faults ---- */

/* What a wrong byte at each offset of the head is; -1: the sender's choice. */
static const int head_faults[12] = {
    FRAME_BAD_HEAD,
    FRAME_BAD_HEAD,
    FRAME_BAD_VERSION,
    FRAME_BAD_FLAGS,
    -1,
    -1,
    FRAME_BAD_FLAGS,
    FRAME_BAD_FLAGS,
    -1,
    -1,
    -1,
    -1,
};

/* A fault shows with its byte, not before, and whatever follows. */
static void test_each_byte_of_the_head(void **state)
{
    (void)state;
    for (size_t offset = 0; offset < sizeof(head_faults) / sizeof(head_faults[0]); offset++) {
        for (unsigned change = 1; change < 256; change++) {
            unsigned char bytes[FRAME_OVERHEAD_BYTES];

            frame_encode(bytes, 1, 7, (struct slice){0});
            bytes[offset] ^= (unsigned char)change;
            assert_incomplete(bytes, offset);
            for (size_t length = offset + 1; head_faults[offset] >= 0 && length <= sizeof(bytes); length++)
                assert_broken(bytes, length, (enum frame_error)head_faults[offset]);
            if (head_faults[offset] < 0)
                assert_broken(bytes, sizeof(bytes), FRAME_BAD_CRC);
        }
    }
}

static void test_the_first_fault_counts(void **state)
{
    static const unsigned char text[] = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    unsigned char bytes[FRAME_OVERHEAD_BYTES];

    (void)state;
    assert_broken(text, sizeof(text), FRAME_BAD_HEAD);

    memset(bytes, 0xFF, sizeof(bytes));
    bytes[0] = 0xC4;
    assert_broken(bytes, sizeof(bytes), FRAME_BAD_HEAD);
    bytes[1] = 0xA7;
    assert_broken(bytes, sizeof(bytes), FRAME_BAD_VERSION);
    bytes[2] = 1;
    assert_broken(bytes, sizeof(bytes), FRAME_BAD_FLAGS);
    bytes[3] = 0;
    assert_broken(bytes, sizeof(bytes), FRAME_BAD_FLAGS); /* reserved, at 6 */
    bytes[6] = bytes[7] = 0;
    assert_broken(bytes, sizeof(bytes), FRAME_TOO_LONG);
}

/* The length is too long with its first byte that says so. */
static void test_lengths(void **state)
{
    static const struct {
        unsigned char bytes[4];
        size_t shows_at; /* how many of them show it; 0: it is not too long */
    } lengths[] = {
        {{0, 0, 0, 1},             0},
        {{0, 0, 0xFF, 0xFF},       0},
        {{0, 1, 0, 0},             0},
        {{0, 1, 0, 1},             4},
        {{0, 1, 1, 0},             3},
        {{0, 2, 0, 0},             2},
        {{0, 0xFF, 0, 0},          2},
        {{1, 0, 0, 0},             1},
        {{0x80, 0, 0, 0},          1},
        {{0xFF, 0xFF, 0xFF, 0xFF}, 1},
    };

    static const unsigned char head_begin[12] = {0xC4, 0xA7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 7};

    (void)state;
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        unsigned char head[FRAME_HEAD_BYTES];

        memcpy(head, head_begin, sizeof(head_begin));
        memcpy(head + 12, lengths[i].bytes, 4);
        for (size_t come = 0; come <= 4; come++) {
            if (lengths[i].shows_at > 0 && come >= lengths[i].shows_at)
                assert_broken(head, 12 + come, FRAME_TOO_LONG);
            else
                assert_incomplete(head, 12 + come);
        }
    }
}

static void check_payload_of(size_t payload_bytes, size_t max, enum frame_result expected)
{
    char *payload = calloc(1, payload_bytes);
    char *bytes = malloc(payload_bytes + FRAME_OVERHEAD_BYTES);
    struct frame frame = {0};
    enum frame_error error = FRAME_BAD_HEAD;

    frame_encode(bytes, 1, 7, (struct slice){payload, payload_bytes});
    assert_int_equal(frame_parse(bytes, payload_bytes + FRAME_OVERHEAD_BYTES, max, &frame, &error), expected);
    if (expected == FRAME_COMPLETE)
        assert_int_equal(frame.payload_bytes, payload_bytes);
    else
        assert_int_equal(error, FRAME_TOO_LONG);
    free(bytes);
    free(payload);
}

static void test_largest_payloads(void **state)
{
    (void)state;
    check_payload_of(REQUEST_PAYLOAD_MAX_BYTES, REQUEST_PAYLOAD_MAX_BYTES, FRAME_COMPLETE);
    check_payload_of(REQUEST_PAYLOAD_MAX_BYTES + 1, REQUEST_PAYLOAD_MAX_BYTES, FRAME_BROKEN);
    check_payload_of(REPLY_PAYLOAD_MAX_BYTES, REPLY_PAYLOAD_MAX_BYTES, FRAME_COMPLETE);
    check_payload_of(REPLY_PAYLOAD_MAX_BYTES + 1, REPLY_PAYLOAD_MAX_BYTES, FRAME_BROKEN);
}

/* Each bit that is not of the head: of the payload and the checksum it is bad_crc, when the frame is whole; of the tail
 * bad_tail, as soon as it shows. */
static void test_each_bit_behind_the_head(void **state)
{
    struct slice payload = SLICE_LITERAL("{\"text\":\"abc\"}");
    unsigned char bytes[64];
    size_t whole = payload.length + FRAME_OVERHEAD_BYTES;

    (void)state;
    for (size_t bit = (size_t)8 * FRAME_HEAD_BYTES; bit < 8 * whole; bit++) {
        size_t offset = bit / 8;
        bool is_tail = offset >= whole - 2;

        frame_encode(bytes, 1, 7, payload);
        bytes[offset] ^= (unsigned char)(1 << bit % 8);
        for (size_t length = FRAME_HEAD_BYTES; length <= (is_tail ? offset : whole - 1); length++)
            assert_incomplete(bytes, length);
        if (is_tail)
            assert_broken(bytes, offset + 1, FRAME_BAD_TAIL);
        assert_broken(bytes, whole, is_tail ? FRAME_BAD_TAIL : FRAME_BAD_CRC);
        assert_broken(bytes, sizeof(bytes), is_tail ? FRAME_BAD_TAIL : FRAME_BAD_CRC);
    }
}

static void test_tail_before_checksum(void **state)
{
    unsigned char bytes[FRAME_OVERHEAD_BYTES];

    (void)state;
    frame_encode(bytes, 1, 7, (struct slice){0});
    bytes[16] ^= 1;
    bytes[21] ^= 1;
    assert_incomplete(bytes, 21);
    assert_broken(bytes, 22, FRAME_BAD_TAIL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_examples_of_the_protocol),
        cmocka_unit_test(test_every_cut_in_two),
        cmocka_unit_test(test_every_cut_in_three),
        cmocka_unit_test(test_byte_by_byte),
        cmocka_unit_test(test_each_byte_of_the_head),
        cmocka_unit_test(test_the_first_fault_counts),
        cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_largest_payloads),
        cmocka_unit_test(test_each_bit_behind_the_head),
        cmocka_unit_test(test_tail_before_checksum),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
