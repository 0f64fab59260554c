/* effect.c - batches of effects: build, hand over, give up. See effect.h. */
#include "chat/effect.h"

#include <stdalign.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>

#include "base/arena.h"

enum { FIRST_CAPACITY = 4 };

struct effect_memory {
    atomic_uint references; /* lists in it; set when they are posted */
    struct arena arena;
    alignas(max_align_t) char first_bytes[]; /* of the arena; BATCH_FIRST_BYTES with what stands above */
};

static struct effect_memory *effect_memory_new(void)
{
    struct effect_memory *memory = malloc(BATCH_FIRST_BYTES);

    if (memory != NULL)
        arena_init_with(&memory->arena, memory->first_bytes, BATCH_FIRST_BYTES - sizeof *memory);
    return memory;
}

static void effect_memory_free(struct effect_memory *memory)
{
    if (memory == NULL)
        return;
    arena_fini(&memory->arena);
    free(memory);
}

void effects_batch_init(struct effects_batch *batch)
{
    batch->memory = NULL;
    batch->hubs = 0;
    batch->bytes = 0;
    batch->failed = false;
}

void effects_batch_discard(struct effects_batch *batch)
{
    effect_memory_free(batch->memory);
    effects_batch_init(batch);
}

/* NULL: no memory; the batch has not failed. */
static void *allocate(struct effects_batch *batch, size_t size)
{
    void *bytes;

    if (batch->memory == NULL)
        batch->memory = effect_memory_new();
    if (batch->memory == NULL)
        return NULL;
    bytes = arena_alloc(&batch->memory->arena, size);
    batch->bytes = batch->memory->arena.used_bytes;
    return bytes;
}

_Static_assert(HUBS_MAX <= 64, "a set of hubs is a bit each of 64");

static struct effects *list_of_hub(struct effects_batch *batch, unsigned hub)
{
    struct effects *list;

    if ((batch->hubs >> hub & 1) != 0)
        return batch->lists[hub];
    list = allocate(batch, sizeof *list);
    if (list == NULL)
        return NULL;
    *list = (struct effects){0};
    batch->lists[hub] = list;
    batch->hubs |= UINT64_C(1) << hub;
    return list;
}

/* What it grows out of stays behind in the arena: together less than what it grows into. */
bool effects_reserve(struct effects_batch *batch, unsigned hub, size_t count)
{
    struct effects *list = list_of_hub(batch, hub);
    size_t capacity;
    struct effect *items;

    if (list == NULL)
        return false;
    if (list->capacity - list->count >= count)
        return true;
    capacity = list->capacity == 0 ? FIRST_CAPACITY : 2 * list->capacity;
    if (capacity < list->count + count)
        capacity = list->count + count;
    items = allocate(batch, capacity * sizeof *items);
    if (items == NULL)
        return false;
    if (list->count > 0)
        memcpy(items, list->items, list->count * sizeof *items);
    list->items = items;
    list->capacity = capacity;
    return true;
}

struct effect *effects_add(struct effects_batch *batch, unsigned hub, enum effect_kind kind)
{
    struct effects *list;
    struct effect *effect;

    if (!effects_reserve(batch, hub, 1)) {
        batch->failed = true;
        return NULL;
    }
    list = batch->lists[hub];
    effect = &list->items[list->count++];
    memset(effect, 0, sizeof *effect);
    effect->kind = kind;
    return effect;
}

void *effects_alloc(struct effects_batch *batch, size_t size)
{
    void *bytes = allocate(batch, size);

    if (bytes == NULL)
        batch->failed = true;
    return bytes;
}

struct slice effects_copy(struct effects_batch *batch, struct slice payload)
{
    char *bytes = effects_alloc(batch, payload.length);

    if (bytes == NULL)
        return (struct slice){NULL, 0};
    memcpy(bytes, payload.bytes, payload.length);
    return (struct slice){bytes, payload.length};
}

uint64_t effects_batch_seal(struct effects_batch *batch)
{
    for (uint64_t hubs = batch->hubs; hubs != 0; hubs &= hubs - 1) {
        unsigned hub = (unsigned)__builtin_ctzll(hubs);
        struct effects *list = batch->lists[hub];

        if (list->count == 0)
            batch->hubs &= ~(UINT64_C(1) << hub);
        /* Each inbox is charged the whole memory: that is what it keeps alive. */
        list->bytes = batch->bytes;
        list->memory = batch->memory;
    }
    if (batch->hubs == 0)
        effect_memory_free(batch->memory);
    else
        atomic_init(&batch->memory->references, (unsigned)__builtin_popcountll(batch->hubs));
    batch->memory = NULL;
    return batch->hubs;
}

void effects_free(struct effects *effects)
{
    struct effect_memory *memory = effects->memory;

    /* acq_rel: the last hub frees what the others have read. */
    if (atomic_fetch_sub_explicit(&memory->references, 1, memory_order_acq_rel) == 1)
        effect_memory_free(memory);
}
