/* support_outbox.c - see support_outbox.h. */
#include "support_outbox.h"

#include <string.h>

void rig_init(struct rig *rig)
{
    memset(rig, 0, sizeof *rig);
    block_writer_init(&rig->pushes);
    block_writer_init(&rig->replies);
    outbox_init(&rig->outbox);
}

void rig_fini(struct rig *rig)
{
    outbox_fini(&rig->outbox);
    block_writer_fini(&rig->pushes);
    block_writer_fini(&rig->replies);
    buffer_fini(&rig->expected);
    buffer_fini(&rig->got);
}

static void rig_fill(struct rig *rig, char *room, uint32_t length)
{
    memset(room, ++rig->next, length);
    memcpy(room, &length, LENGTH_BYTES);
}

size_t rig_frame_length(const void *bytes)
{
    uint32_t length;

    memcpy(&length, bytes, LENGTH_BYTES);
    return length;
}

void rig_skip(struct rig *rig, struct block_writer *writer, uint32_t length)
{
    char *room = block_writer_room(writer, length);

    assert_non_null(room);
    rig_fill(rig, room, length);
    block_writer_commit(writer, length);
}

void rig_put(struct rig *rig, struct block_writer *writer, uint32_t length, bool push)
{
    uint32_t offset;

    rig_skip(rig, writer, length);
    offset = writer->block->used - length;
    assert_true(outbox_append(&rig->outbox, writer->block, offset, length, push));
    buffer_append(&rig->expected, writer->block->bytes + offset, length);
}

size_t rig_write_some(struct rig *rig, size_t most)
{
    struct slice piece = outbox_piece(&rig->outbox, rig->scratch, sizeof rig->scratch);
    size_t length = piece.length < most ? piece.length : most;

    if (piece.length == 0)
        return 0;
    buffer_append(&rig->got, piece.bytes, length);
    outbox_sent(&rig->outbox, length);
    return length;
}

void rig_write_all(struct rig *rig)
{
    while (rig_write_some(rig, SIZE_MAX) > 0)
        ;
}

void rig_check_all_came(struct rig *rig)
{
    assert_int_equal(rig->got.length, rig->expected.length);
    assert_memory_equal(rig->got.bytes, rig->expected.bytes, rig->got.length);
    assert_ptr_equal(rig->outbox.ranges, rig->outbox.own);
    assert_int_equal(rig->outbox.count, 0);
    assert_int_equal(rig->outbox.waiting_bytes, 0);
    assert_int_equal(rig->outbox.push_bytes, 0);
}
