/* frame.h - cut a stream of bytes into frames, and make frames (F-2).
 *
 *      0      2 3 4    6    8        12       16                16+length  20+length
 *      +------+-+-+----+----+--------+--------+------- ... -----+----------+------+
 *      | C4A7 |1|0|cmd |  0 |  seq   | length |     payload     |  crc32   | 0D0A |      big-endian
 *      +------+-+-+----+----+--------+--------+------- ... -----+----------+------+
 *
 * Idea.       One pure function looks at the bytes that are there. It keeps no state, so how they were cut into
 *             segments cannot matter (F-3).
 * Threads.    Any.
 */
#ifndef CHAT_FRAME_H
#define CHAT_FRAME_H

#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

#define FRAME_HEAD_BYTES 16
#define FRAME_TAIL_BYTES 6
#define FRAME_OVERHEAD_BYTES (FRAME_HEAD_BYTES + FRAME_TAIL_BYTES)

#define FRAME_REPLY_BIT 0x8000

enum frame_result { FRAME_COMPLETE, FRAME_INCOMPLETE, FRAME_BROKEN };

enum frame_error {
    FRAME_BAD_HEAD,
    FRAME_BAD_VERSION,
    FRAME_BAD_FLAGS, /* also: the reserved field is not 0 */
    FRAME_TOO_LONG,
    FRAME_BAD_TAIL,
    FRAME_BAD_CRC
};

struct frame {
    uint16_t cmd;
    uint32_t seq;
    size_t payload_bytes; /* the payload stands at FRAME_HEAD_BYTES of the frame */
    size_t frame_bytes;   /* head to tail */
};

/* Judge the frame that begins at `bytes`, of which `length` bytes have come; payloads may have `payload_max_bytes`.
 * FRAME_COMPLETE:   `frame` is set.
 * FRAME_INCOMPLETE: nothing is wrong so far.
 * FRAME_BROKEN:     `error` is set. The head is judged byte by byte: a fault shows as soon as the bytes that show it
 *                   are there. Then the tail, in the same way, and with the whole tail there the checksum (F-4). */
enum frame_result frame_parse(const void *bytes, size_t length, size_t payload_max_bytes, struct frame *frame,
                              enum frame_error *error);

/* "bad_head" and so on, as a `bye` carries it. */
const char *frame_error_name(enum frame_error error);

/* Write a whole frame to `to`, which has room for payload.length + FRAME_OVERHEAD_BYTES. */
void frame_encode(void *to, uint16_t cmd, uint32_t seq, struct slice payload);

/* Length of the whole frame that begins at `bytes`, which frame_encode() made. */
size_t frame_bytes(const void *bytes);

#endif
