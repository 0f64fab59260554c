/* arena.h - many small allocations that die together.
 *
 * Idea.       A batch of requests, and the effects of a batch, are built piece by piece in one place and given up at
 *             once: an allocation is an addition, and nothing in it is freed alone. Each of them embeds the first bytes of
 *             its arena, as many as a turn with a message or two needs: such a turn is one malloc(3) for each.
 * Invariants. I1  what arena_alloc() returned stays where it is until arena_fini().
 *             I2  `used_bytes` counts what was handed out, with alignment: the measure of the queues' bounds.
 * Threads.    Belongs to whoever owns it; the owner may change with the batch.
 */
#ifndef CHAT_ARENA_H
#define CHAT_ARENA_H

#include <stddef.h>

#include "base/slice.h"

struct arena_chunk;

struct arena {
    struct arena_chunk *chunks; /* newest first */
    char *next;                 /* free part of the newest chunk */
    char *end;
    size_t used_bytes;
};

/* An empty arena owns no memory; `{0}` is one, too. */
void arena_init(struct arena *arena);

/* Likewise, but the first `size` bytes come out of `bytes`, aligned for any type: memory that whoever embeds the arena
 * has anyway. It is borrowed until arena_fini(). */
void arena_init_with(struct arena *arena, void *bytes, size_t size);
void arena_fini(struct arena *arena);

/* `size` bytes, aligned for any type, not cleared. NULL: no memory. The first chunk is small (a batch of one request
 * is the usual case of a quiet server), later ones are large. */
void *arena_alloc(struct arena *arena, size_t size);

/* A copy of `slice` in the arena, in `*copy`. False: no memory. An empty slice needs none. */
bool arena_copy(struct arena *arena, struct slice slice, struct slice *copy);

#endif
