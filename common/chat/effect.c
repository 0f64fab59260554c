/* effect.c - batches of effects: build, hand over, give up. See effect.h. */
#include "chat/effect.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "base/arena.h"

enum { FIRST_CAPACITY = 16 };

struct effect_memory {
    atomic_uint references; /* lists that point into it; set when they are posted */
    struct arena arena;
};

static void effect_memory_free(struct effect_memory *memory)
{
    if (memory == NULL)
        return;
    arena_fini(&memory->arena);
    free(memory);
}

static void effects_free_list(struct effects *effects)
{
    if (effects == NULL)
        return;
    free(effects->items);
    free(effects);
}

void effects_batch_init(struct effects_batch *batch)
{
    memset(batch, 0, sizeof *batch);
}

void effects_batch_discard(struct effects_batch *batch)
{
    for (size_t hub = 0; hub < HUBS_MAX; hub++)
        effects_free_list(batch->lists[hub]);
    effect_memory_free(batch->memory);
    effects_batch_init(batch);
}

static struct effects *list_of_hub(struct effects_batch *batch, unsigned hub)
{
    if (batch->lists[hub] == NULL)
        batch->lists[hub] = calloc(1, sizeof *batch->lists[hub]);
    return batch->lists[hub];
}

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
    items = realloc(list->items, capacity * sizeof *items);
    if (items == NULL)
        return false;
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
    batch->bytes += sizeof *effect;
    return effect;
}

void *effects_alloc(struct effects_batch *batch, size_t size)
{
    void *bytes = NULL;

    if (batch->memory == NULL)
        batch->memory = calloc(1, sizeof *batch->memory);
    if (batch->memory != NULL)
        bytes = arena_alloc(&batch->memory->arena, size);
    if (bytes == NULL)
        batch->failed = true;
    else
        batch->bytes += size;
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

size_t effects_batch_seal(struct effects_batch *batch)
{
    unsigned lists = 0;

    for (size_t hub = 0; hub < HUBS_MAX; hub++) {
        struct effects *list = batch->lists[hub];

        if (list == NULL)
            continue;
        if (list->count == 0) {
            effects_free_list(list);
            batch->lists[hub] = NULL;
            continue;
        }
        /* Each inbox is charged the whole memory: that is what it keeps alive. */
        list->bytes = batch->bytes;
        list->memory = batch->memory;
        lists++;
    }
    if (lists == 0)
        effect_memory_free(batch->memory);
    else if (batch->memory != NULL)
        atomic_init(&batch->memory->references, lists);
    batch->memory = NULL;
    return lists;
}

void effects_free(struct effects *effects)
{
    struct effect_memory *memory = effects->memory;

    effects_free_list(effects);
    /* acq_rel: the last hub frees what the others have read. */
    if (memory != NULL && atomic_fetch_sub_explicit(&memory->references, 1, memory_order_acq_rel) == 1)
        effect_memory_free(memory);
}
