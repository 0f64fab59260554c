/* frame.c - see frame.h. The checksum is libdeflate's: the same as zlib's, by instructions that processors have for it. */
#include "wire/frame.h"

#include <libdeflate.h>
#include <stdbool.h>
#include <string.h>

enum { CMD_OFFSET = 4, SEQ_OFFSET = 8, LENGTH_OFFSET = 12, LENGTH_BYTES = 4, CRC_BYTES = 4 };

/* The head up to `seq`, but for `cmd`, which is the sender's choice. */
static const uint8_t head_constant[SEQ_OFFSET] = {0xC4, 0xA7, 1, 0, 0, 0, 0, 0};
static const uint8_t tail_constant[2] = {0x0D, 0x0A};

static uint16_t read_16(const uint8_t *from)
{
    return (uint16_t)(from[0] << 8 | from[1]);
}

static uint32_t read_32(const uint8_t *from)
{
    return (uint32_t)from[0] << 24 | (uint32_t)from[1] << 16 | (uint32_t)from[2] << 8 | from[3];
}

static void write_16(uint8_t *to, uint16_t value)
{
    to[0] = (uint8_t)(value >> 8);
    to[1] = (uint8_t)value;
}

static void write_32(uint8_t *to, uint32_t value)
{
    write_16(to, (uint16_t)(value >> 16));
    write_16(to + 2, (uint16_t)value);
}

/* Which error a wrong byte of the head is, by its offset. */
static enum frame_error head_error_at(size_t offset)
{
    if (offset < 2)
        return FRAME_BAD_HEAD;
    return offset == 2 ? FRAME_BAD_VERSION : FRAME_BAD_FLAGS;
}

/* Whether the bytes of `length` that came, `present` of 4, already make it larger than `max`, whatever the missing
 * ones will be. */
static bool is_too_long(const uint8_t *bytes, size_t present, size_t max)
{
    uint32_t at_least = 0;

    for (size_t i = 0; i < LENGTH_BYTES; i++)
        at_least = at_least << 8 | (i < present ? bytes[i] : 0);
    return at_least > max;
}

/* Whether a fault shows in the bytes of the head that came; the first one in their order (F-4). */
static bool head_is_broken(const uint8_t *bytes, size_t length, size_t payload_max_bytes, enum frame_error *error)
{
    for (size_t i = 0; i < SEQ_OFFSET && i < length; i++) {
        bool is_cmd = i == CMD_OFFSET || i == CMD_OFFSET + 1;

        if (!is_cmd && bytes[i] != head_constant[i]) {
            *error = head_error_at(i);
            return true;
        }
    }
    if (length <= LENGTH_OFFSET)
        return false;

    size_t present = length - LENGTH_OFFSET < LENGTH_BYTES ? length - LENGTH_OFFSET : LENGTH_BYTES;

    *error = FRAME_TOO_LONG;
    return is_too_long(bytes + LENGTH_OFFSET, present, payload_max_bytes);
}

/* Whether a byte of the tail flag that came is wrong. */
static bool tail_is_broken(const uint8_t *bytes, size_t length, size_t frame_length)
{
    size_t offset = frame_length - sizeof(tail_constant);
    size_t present = length <= offset ? 0 : length - offset;

    if (present > sizeof(tail_constant))
        present = sizeof(tail_constant);
    return present > 0 && memcmp(bytes + offset, tail_constant, present) != 0;
}

static uint32_t checksum(const uint8_t *bytes, size_t length)
{
    return libdeflate_crc32(0, bytes, length);
}

enum frame_result frame_parse(const void *bytes, size_t length, size_t payload_max_bytes, struct frame *frame,
                              enum frame_error *error)
{
    const uint8_t *at = bytes;

    if (head_is_broken(at, length, payload_max_bytes, error))
        return FRAME_BROKEN;
    if (length < FRAME_HEAD_BYTES)
        return FRAME_INCOMPLETE;

    frame->cmd = read_16(at + CMD_OFFSET);
    frame->seq = read_32(at + SEQ_OFFSET);
    frame->payload_bytes = read_32(at + LENGTH_OFFSET);
    frame->frame_bytes = frame->payload_bytes + FRAME_OVERHEAD_BYTES;

    if (tail_is_broken(at, length, frame->frame_bytes)) {
        *error = FRAME_BAD_TAIL;
        return FRAME_BROKEN;
    }
    if (length < frame->frame_bytes)
        return FRAME_INCOMPLETE;

    size_t covered = FRAME_HEAD_BYTES + frame->payload_bytes;

    if (checksum(at, covered) != read_32(at + covered)) {
        *error = FRAME_BAD_CRC;
        return FRAME_BROKEN;
    }
    return FRAME_COMPLETE;
}

const char *frame_error_name(enum frame_error error)
{
    static const char *const names[] = {
        [FRAME_BAD_HEAD] = "bad_head", [FRAME_BAD_VERSION] = "bad_version", [FRAME_BAD_FLAGS] = "bad_flags",
        [FRAME_TOO_LONG] = "too_long", [FRAME_BAD_TAIL] = "bad_tail",       [FRAME_BAD_CRC] = "bad_crc",
    };

    return names[error];
}

void frame_encode(void *to, uint16_t cmd, uint32_t seq, struct slice payload)
{
    uint8_t *at = to;
    size_t covered = FRAME_HEAD_BYTES + payload.length;

    memcpy(at, head_constant, sizeof(head_constant));
    write_16(at + CMD_OFFSET, cmd);
    write_32(at + SEQ_OFFSET, seq);
    write_32(at + LENGTH_OFFSET, (uint32_t)payload.length);
    if (payload.length > 0)
        memcpy(at + FRAME_HEAD_BYTES, payload.bytes, payload.length);
    write_32(at + covered, checksum(at, covered));
    memcpy(at + covered + CRC_BYTES, tail_constant, sizeof(tail_constant));
}

size_t frame_bytes(const void *bytes)
{
    return read_32((const uint8_t *)bytes + LENGTH_OFFSET) + (size_t)FRAME_OVERHEAD_BYTES;
}
