/* outbox.c - blocks, ranges and what is written of them. See outbox.h. */
#include "chat/outbox.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static struct block *block_new(size_t capacity)
{
    struct block *block = malloc(sizeof *block + capacity);

    if (block != NULL)
        *block = (struct block){.references = 1, .capacity = (uint32_t)capacity};
    return block;
}

struct block *block_hold(struct block *block)
{
    block->references++;
    return block;
}

void block_release(struct block *block)
{
    assert(block->references > 0);
    if (--block->references == 0)
        free(block);
}

void block_writer_init(struct block_writer *writer)
{
    writer->block = NULL;
}

void block_writer_fini(struct block_writer *writer)
{
    if (writer->block != NULL)
        block_release(writer->block);
    writer->block = NULL;
}

char *block_writer_room(struct block_writer *writer, size_t length)
{
    struct block *block = writer->block;

    if (block != NULL && block->references == 1)
        block->used = 0; /* nobody's range is in it any more: the usual case of a server whose peers read */
    if (block == NULL || block->capacity - block->used < length) {
        block = block_new(length > BLOCK_BYTES ? length : BLOCK_BYTES);
        if (block == NULL)
            return NULL;
        block_writer_fini(writer);
        writer->block = block;
    }
    return block->bytes + block->used;
}

void block_writer_commit(struct block_writer *writer, size_t length)
{
    assert(writer->block->capacity - writer->block->used >= length);
    writer->block->used += (uint32_t)length;
}

void outbox_init(struct outbox *outbox)
{
    *outbox = (struct outbox){.ranges = outbox->own, .capacity = OUTBOX_OWN_RANGES};
}

static void free_ranges(struct outbox *outbox)
{
    if (outbox->ranges != outbox->own)
        free(outbox->ranges);
    outbox_init(outbox);
}

static struct range *outbox_range(const struct outbox *outbox, uint32_t index)
{
    return &outbox->ranges[outbox->first + index];
}

/* I4 */
static void outbox_release_memory(struct outbox *outbox)
{
    assert(outbox->waiting_bytes == 0 && outbox->push_bytes == 0);
    if (outbox->ranges != outbox->own)
        free_ranges(outbox);
    outbox->first = 0;
    outbox->shared_blocks = 0;
}

void outbox_fini(struct outbox *outbox)
{
    for (uint32_t i = 0; i < outbox->count; i++)
        block_release(outbox_range(outbox, i)->block);
    free_ranges(outbox);
}

static void count_bytes(struct outbox *outbox, const struct range *range, size_t added, size_t removed)
{
    outbox->waiting_bytes += added - removed;
    if (range->push)
        outbox->push_bytes += added - removed;
}

static bool reserve_range(struct outbox *outbox)
{
    bool is_own = outbox->ranges == outbox->own;
    uint32_t capacity = 2 * outbox->capacity;
    struct range *ranges;

    if (outbox->first + outbox->count < outbox->capacity)
        return true;
    if (outbox->first > outbox->count) {
        memmove(outbox->ranges, outbox_range(outbox, 0), outbox->count * sizeof *outbox->ranges);
        outbox->first = 0;
        return true;
    }
    assert(capacity > 0);
    ranges = realloc(is_own ? NULL : outbox->ranges, capacity * sizeof *ranges);
    if (ranges == NULL)
        return false;
    if (is_own)
        memcpy(ranges, outbox->own, sizeof outbox->own);
    outbox->ranges = ranges;
    outbox->capacity = capacity;
    return true;
}

/* How many of the first ranges have to stay (I3): those that are being written; else the one that may be half sent. */
static uint32_t ranges_fixed(const struct outbox *outbox)
{
    return outbox->borrowed > 0 ? outbox->borrowed : 1;
}

/* Changes of block along the first `count` ranges. */
static uint32_t count_blocks(const struct outbox *outbox, uint32_t count)
{
    uint32_t blocks = 0;

    for (uint32_t i = 0; i < count; i++)
        if (i == 0 || outbox_range(outbox, i)->block != outbox_range(outbox, i - 1)->block)
            blocks++;
    return blocks;
}

/* Whether the ranges use less than half of the blocks that they pin; of a write under way, those behind it. */
static bool ranges_pin_too_much(const struct outbox *outbox)
{
    uint32_t blocks = outbox->shared_blocks;
    size_t bytes = outbox->waiting_bytes;

    if (blocks <= OUTBOX_PINNED_BLOCKS_MAX)
        return false;
    if (outbox->borrowed > 0) {
        blocks -= count_blocks(outbox, outbox->borrowed);
        for (uint32_t i = 0; i < outbox->borrowed; i++)
            bytes -= outbox_range(outbox, i)->length - outbox_range(outbox, i)->sent;
    }
    return blocks > OUTBOX_PINNED_BLOCKS_MAX && bytes < (size_t)blocks * (BLOCK_BYTES / 2);
}

/* Copy what the ranges behind the fixed ones hold into one block, and let the shared blocks go. Ranges of one kind
 * become one. No memory: all stays as it is. */
static void outbox_compact(struct outbox *outbox)
{
    uint32_t fixed = ranges_fixed(outbox), kept = fixed;
    size_t length = 0;
    struct block *block;

    for (uint32_t i = fixed; i < outbox->count; i++)
        length += outbox_range(outbox, i)->length;
    block = block_new(length);
    if (block == NULL)
        return;
    for (uint32_t i = fixed; i < outbox->count; i++) {
        struct range *range = outbox_range(outbox, i), *last = outbox_range(outbox, kept - 1);

        memcpy(block->bytes + block->used, range->block->bytes + range->offset, range->length);
        block_release(range->block);
        if (kept > fixed && last->push == range->push) {
            last->length += range->length;
        } else {
            *outbox_range(outbox, kept++) = (struct range){block, block->used, range->length, 0, range->push};
            block->references++;
        }
        block->used += range->length;
    }
    outbox->count = kept;
    outbox->shared_blocks = count_blocks(outbox, fixed) + 1;
    block_release(block);
}

/* Not inlined: outbox_append() would save all the registers that this needs, in each of a burst's calls. */
__attribute__((noinline)) static bool append_range(struct outbox *outbox, struct block *block, uint32_t offset,
                                                   uint32_t length, bool push)
{
    struct range *last;
    bool other_block;

    if (ranges_pin_too_much(outbox))
        outbox_compact(outbox);
    other_block = outbox->count == 0 || outbox_range(outbox, outbox->count - 1)->block != block;
    if (!reserve_range(outbox))
        return false;
    if (other_block)
        outbox->shared_blocks++;
    last = outbox_range(outbox, outbox->count++);
    *last = (struct range){block, offset, length, 0, push};
    block->references++;
    count_bytes(outbox, last, length, 0);
    return true;
}

/* In a burst the last range goes on, nearly always. */
bool outbox_append(struct outbox *outbox, struct block *block, uint32_t offset, uint32_t length, bool push)
{
    if (outbox->count > 0) {
        struct range *last = outbox_range(outbox, outbox->count - 1);

        if (last->block == block && last->offset + last->length == offset && last->push == push) {
            last->length += length;
            count_bytes(outbox, last, length, 0);
            return true;
        }
    }
    return append_range(outbox, block, offset, length, push);
}

/* What is still to be written of the range at `index`. */
static struct slice rest_of(const struct outbox *outbox, uint32_t index)
{
    const struct range *range = outbox_range(outbox, index);

    return (struct slice){range->block->bytes + range->offset + range->sent, range->length - range->sent};
}

/* Copies into `scratch` as many of the first ranges as fit, whole. Returns how many bytes that are. */
static size_t gather(struct outbox *outbox, char *scratch, size_t gather_bytes)
{
    size_t length = 0;

    for (outbox->borrowed = 0; outbox->borrowed < outbox->count; outbox->borrowed++) {
        struct slice rest = rest_of(outbox, outbox->borrowed);

        if (rest.length > gather_bytes - length)
            break;
        memcpy(scratch + length, rest.bytes, rest.length);
        length += rest.length;
    }
    return length;
}

struct slice outbox_piece(struct outbox *outbox, char *scratch, size_t gather_bytes)
{
    struct slice piece;

    assert(outbox->borrowed == 0);
    if (outbox->count == 0)
        return (struct slice){NULL, 0};
    piece = rest_of(outbox, 0);
    if (outbox->count > 1 && piece.length + rest_of(outbox, 1).length <= gather_bytes)
        piece = (struct slice){scratch, gather(outbox, scratch, gather_bytes)};
    else
        outbox->borrowed = 1;
    if (piece.length > OUTPUT_MAX_BYTES)
        piece.length = OUTPUT_MAX_BYTES;
    outbox->offered_bytes = piece.length;
    return piece;
}

static void drop_first_range(struct outbox *outbox)
{
    struct block *block = outbox_range(outbox, 0)->block;

    outbox->first++;
    outbox->count--;
    if (outbox->count > 0 && outbox_range(outbox, 0)->block != block)
        outbox->shared_blocks--;
    block_release(block);
}

void outbox_sent(struct outbox *outbox, size_t length)
{
    assert(outbox->borrowed > 0 && length <= outbox->offered_bytes);
    outbox->borrowed = 0;
    while (length > 0) {
        struct range *range = outbox_range(outbox, 0);
        size_t part = range->length - range->sent;

        assert(outbox->count > 0);
        if (part > length)
            part = length;
        range->sent += (uint32_t)part;
        count_bytes(outbox, range, 0, part);
        length -= part;
        if (range->sent == range->length)
            drop_first_range(outbox);
    }
    if (outbox->count == 0)
        outbox_release_memory(outbox);
}

void outbox_trim(struct outbox *outbox, size_t (*frame_length)(const void *bytes))
{
    struct range *range;
    uint32_t end = 0;

    assert(outbox->borrowed == 0);
    if (outbox->count == 0)
        return;
    range = outbox_range(outbox, 0);
    while (end < range->sent)
        end += (uint32_t)frame_length(range->block->bytes + range->offset + end);
    while (outbox->count > 1) {
        struct range *last = outbox_range(outbox, outbox->count - 1);

        count_bytes(outbox, last, 0, last->length - last->sent);
        block_release(last->block);
        outbox->count--;
    }
    outbox->shared_blocks = 1;
    count_bytes(outbox, range, 0, range->length - end);
    range->length = end;
    if (range->sent == range->length)
        drop_first_range(outbox);
    if (outbox->count == 0)
        outbox_release_memory(outbox);
}
