/* support_outbox.h - an outbox with two writers, as a hub has, what was put into it, and what came out.
 */
#ifndef TESTS_UNIT_SUPPORT_OUTBOX_H
#define TESTS_UNIT_SUPPORT_OUTBOX_H

#include "support.h"

#include "base/buffer.h"
#include "chat/outbox.h"

enum { LENGTH_BYTES = 4 };

struct rig {
    struct block_writer pushes, replies;
    struct outbox outbox;
    struct buffer expected; /* appended so far */
    struct buffer got;      /* written so far */
    unsigned char next;     /* no two frames are alike */
    char scratch[OUTPUT_GATHER_BYTES];
};

void rig_init(struct rig *rig);
void rig_fini(struct rig *rig);

/* Append a frame of `length` bytes, from LENGTH_BYTES on: its length, and bytes that tell it from others. */
void rig_put(struct rig *rig, struct block_writer *writer, uint32_t length, bool push);

/* A frame that stands in the block, but that this outbox does not get. */
void rig_skip(struct rig *rig, struct block_writer *writer, uint32_t length);

/* For outbox_trim(). */
size_t rig_frame_length(const void *bytes);

/* One write, of which the system takes at most `most`. Returns what it took. */
size_t rig_write_some(struct rig *rig, size_t most);

void rig_write_all(struct rig *rig);

/* Everything came, and nothing is owned any more (I4). */
void rig_check_all_came(struct rig *rig);

#endif
