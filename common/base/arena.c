#include "base/arena.h"

#include <stdalign.h>
#include <stdint.h>
#include <stdlib.h>

/* Chunks, head included: the first holds a request or two; each later one is four times the last, up to where malloc(3)
 * is no cost any more. */
#define FIRST_CHUNK_BYTES 1024
#define CHUNK_MAX_BYTES 32768

#define ALIGNMENT alignof(max_align_t)

struct arena_chunk {
    struct arena_chunk *older;
    size_t size_bytes;
    alignas(max_align_t) char bytes[];
};

void arena_init(struct arena *arena)
{
    *arena = (struct arena){0};
}

void arena_init_with(struct arena *arena, void *bytes, size_t size)
{
    *arena = (struct arena){.next = bytes, .end = (char *)bytes + size};
}

void arena_fini(struct arena *arena)
{
    struct arena_chunk *chunk = arena->chunks, *older;

    for (; chunk; chunk = older) {
        older = chunk->older;
        free(chunk);
    }
    arena_init(arena);
}

static size_t next_chunk_bytes(const struct arena *arena)
{
    size_t size;

    if (!arena->next)
        return FIRST_CHUNK_BYTES;
    size = 4 * (arena->chunks ? arena->chunks->size_bytes : FIRST_CHUNK_BYTES);
    return size < CHUNK_MAX_BYTES ? size : CHUNK_MAX_BYTES;
}

/* A chunk with room for `size`, in front of the others: allocations go on in it. */
static bool add_chunk(struct arena *arena, size_t size)
{
    size_t chunk_bytes = next_chunk_bytes(arena);
    struct arena_chunk *chunk;

    if (size > SIZE_MAX / 2)
        return false;
    if (chunk_bytes < sizeof *chunk + size)
        chunk_bytes = sizeof *chunk + size;
    chunk = malloc(chunk_bytes);
    if (!chunk)
        return false;
    chunk->older = arena->chunks;
    /* One allocation larger than any chunk must not make its successors as large. */
    chunk->size_bytes = chunk_bytes < CHUNK_MAX_BYTES ? chunk_bytes : CHUNK_MAX_BYTES;
    arena->chunks = chunk;
    arena->next = chunk->bytes;
    arena->end = (char *)chunk + chunk_bytes;
    return true;
}

void *arena_alloc(struct arena *arena, size_t size)
{
    size_t aligned = (size + ALIGNMENT - 1) & ~(ALIGNMENT - 1);
    void *bytes;

    if (aligned < size)
        return NULL;
    if (!arena->next || (size_t)(arena->end - arena->next) < aligned) {
        if (!add_chunk(arena, aligned))
            return NULL;
    }
    bytes = arena->next;
    arena->next += aligned;
    arena->used_bytes += aligned;
    return bytes;
}

bool arena_copy(struct arena *arena, struct slice slice, struct slice *copy)
{
    char *bytes;

    *copy = (struct slice){0};
    if (slice.length == 0)
        return true;
    bytes = arena_alloc(arena, slice.length);
    if (!bytes)
        return false;
    memcpy(bytes, slice.bytes, slice.length);
    *copy = (struct slice){bytes, slice.length};
    return true;
}
