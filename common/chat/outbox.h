/* outbox.h - what waits to be written to one connection, as ranges of blocks that many outboxes share.
 *
 * Idea.       A message for a thousand sessions is encoded once, into the hub's current block, and each outbox gets a
 *             range of it; a range that continues the last one extends it, so a burst is one range and one write.
 *
 *      blocks    [ frame frame frame frame frame ·····free ]  [ reply reply ···· ]
 *                    ▲                       ▲                  ▲     ▲
 *      outbox A   ───┴─── one range ─────────┘                  │     │
 *      outbox B   ───────────────┴────┘ ────────────────────────┴─────┘  two ranges
 *
 *             A block counts the ranges in it, and goes with the last one. An outbox that lags would pin block after
 *             block for a few bytes of each; past OUTBOX_PINNED_BLOCKS_MAX it copies such ranges into a block of its
 *             own, so that what it costs is about what waits for it.
 * Invariants. I1  a range begins at the beginning of a frame; only `sent` moves, and only in the first range.
 *             I2  `waiting_bytes` is the sum over all ranges of length - sent; `push_bytes` of those that are pushes (a `bye` is one).
 *             I3  what outbox_piece() gave stays in place until outbox_sent(): the first `borrowed` ranges are not moved.
 *             I4  an outbox with nothing in it, or OUTBOX_OWN_RANGES, owns no memory beside itself.
 * Bound.      Pushes: the outbox limit (L-3); replies: what L-4 lets the session take up. Both are the session's to
 *             keep; here an allocation may fail, which ends the session.
 * Threads.    The hub's owner. In 01 a writer reads the bytes of ranges without the mutex: bytes of a block that a
 *             range covers are never changed (I3).
 */
#ifndef CHAT_OUTBOX_H
#define CHAT_OUTBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/limits.h"
#include "base/slice.h"

struct block {
    uint32_t references; /* ranges in it, and the writer that fills it */
    uint32_t capacity;
    uint32_t used;
    char bytes[];
};

/* One reference more, and one less. */
struct block *block_hold(struct block *block);
void block_release(struct block *block);

/* Fills blocks, one after the other. */
struct block_writer {
    struct block *block; /* NULL: none yet */
};

void block_writer_init(struct block_writer *writer);
void block_writer_fini(struct block_writer *writer);

/* Room for `length` contiguous bytes at the end of the current block, or of a new one. NULL: no memory. The bytes are
 * part of the block after block_writer_commit(), which must come before the next call. */
char *block_writer_room(struct block_writer *writer, size_t length);
void block_writer_commit(struct block_writer *writer, size_t length);

/* Frames in a block, one after the other. */
struct range {
    struct block *block;
    uint32_t offset;
    uint32_t length;
    uint32_t sent; /* I1 */
    bool push;     /* counts for the outbox limit (L-3) */
};

/* A burst is one range. Where all of a group talk at once it is three: what came before one's own message, the reply to
 * it, and what came after. Who reads never needs more. */
enum { OUTBOX_OWN_RANGES = 3 };

struct outbox {
    struct range *ranges; /* `own`, or on the heap (I4); the live ones are first to first + count */
    uint32_t first;
    uint32_t count;
    uint32_t capacity;
    uint32_t shared_blocks; /* changes of block along the ranges: how many blocks they pin, about */
    uint32_t borrowed;      /* I3: so many ranges are being written */
    size_t offered_bytes;   /* what outbox_piece() gave last */
    size_t waiting_bytes;
    size_t push_bytes;
    struct range own[OUTBOX_OWN_RANGES];
};

/* An outbox must not be moved: it may point into itself. */
void outbox_init(struct outbox *outbox);
void outbox_fini(struct outbox *outbox);

/* Append `length` bytes at `offset` of `block`, whole frames. False: no memory; nothing is appended. */
bool outbox_append(struct outbox *outbox, struct block *block, uint32_t offset, uint32_t length, bool push);

/* What to write next, at most OUTPUT_MAX_BYTES; empty: nothing. It is the first range where that lies, or, where several
 * are short, as many as fit into the `gather_bytes` of `scratch`, copied. */
struct slice outbox_piece(struct outbox *outbox, char *scratch, size_t gather_bytes);

/* The first `length` bytes of what outbox_piece() gave were written. */
void outbox_sent(struct outbox *outbox, size_t length);

/* Drop everything but the frame of which a part was written already (L-3); not while borrowed. `frame_length` gives the
 * length of the frame that begins at its argument. */
void outbox_trim(struct outbox *outbox, size_t (*frame_length)(const void *bytes));

#endif
