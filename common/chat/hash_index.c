#include "chat/hash_index.h"

#include <assert.h>
#include <stdlib.h>

#define FIRST_SEGMENT_BUCKETS 16u

/* Segment 0 has buckets 0 to 15, segment n those from 8 * 2^n up to the double of it. */
static unsigned segment_of(size_t bucket)
{
    if (bucket < FIRST_SEGMENT_BUCKETS)
        return 0;
    return (unsigned)(8 * sizeof(unsigned long) - 1) - (unsigned)__builtin_clzl(bucket) - 3;
}

static size_t segment_first(unsigned segment)
{
    return segment == 0 ? 0 : (size_t)FIRST_SEGMENT_BUCKETS << (segment - 1);
}

static struct hash_node **bucket_at(const struct hash_index *index, size_t bucket)
{
    unsigned segment = segment_of(bucket);

    return &index->segments[segment][bucket - segment_first(segment)];
}

/* Largest power of two that is not above `count`. */
static size_t power_below(size_t count)
{
    return (size_t)1 << (8 * sizeof(unsigned long) - 1 - (unsigned)__builtin_clzl(count));
}

static struct hash_node **bucket_of(const struct hash_index *index, uint64_t hash)
{
    size_t power = power_below(index->bucket_count);
    size_t bucket = hash & (2 * power - 1);

    /* A bucket that is not there yet is still part of the one that it will be split from. */
    return bucket_at(index, bucket < index->bucket_count ? bucket : bucket - power);
}

bool hash_index_init(struct hash_index *index)
{
    *index = (struct hash_index){.bucket_count = FIRST_SEGMENT_BUCKETS};
    index->segments[0] = calloc(FIRST_SEGMENT_BUCKETS, sizeof *index->segments[0]);
    if (index->segments[0] == NULL)
        index->bucket_count = 0; /* nothing to walk */
    return index->segments[0] != NULL;
}

void hash_index_fini(struct hash_index *index)
{
    for (unsigned segment = 0; segment < HASH_INDEX_SEGMENTS; segment++)
        free(index->segments[segment]);
    *index = (struct hash_index){0};
}

static bool segment_provide(struct hash_index *index, unsigned segment)
{
    assert(segment > 0); /* hash_index_init() made that one */
    if (segment >= HASH_INDEX_SEGMENTS)
        return false;
    if (index->segments[segment] == NULL)
        index->segments[segment] = calloc(segment_first(segment), sizeof *index->segments[segment]);
    return index->segments[segment] != NULL;
}

/* One bucket more: it takes its share from the one whose number lacks the highest bit. */
static void split(struct hash_index *index)
{
    size_t added = index->bucket_count;
    size_t power = power_below(added);
    struct hash_node **from, **to;

    if (!segment_provide(index, segment_of(added)))
        return;
    index->bucket_count++;
    to = bucket_at(index, added);
    from = bucket_at(index, added - power);
    while (*from != NULL) {
        struct hash_node *node = *from;

        if ((node->hash & (2 * power - 1)) != added) {
            from = &node->next;
            continue;
        }
        *from = node->next;
        node->next = *to;
        *to = node;
    }
}

void hash_index_add(struct hash_index *index, struct hash_node *node, uint64_t hash)
{
    struct hash_node **bucket;

    /* Half full at most, so that the first node is nearly always the one that is looked for: another one would be a
     * cache miss more. */
    if (2 * index->count >= index->bucket_count) {
        split(index);
        split(index);
    }
    bucket = bucket_of(index, hash);
    node->hash = hash;
    node->next = *bucket;
    *bucket = node;
    index->count++;
}

void hash_index_remove(struct hash_index *index, struct hash_node *node)
{
    struct hash_node **at = bucket_of(index, node->hash);

    while (*at != node) {
        assert(*at != NULL);
        at = &(*at)->next;
    }
    *at = node->next;
    node->next = NULL;
    index->count--;
}

static struct hash_node *skip_to(struct hash_node *node, uint64_t hash)
{
    while (node != NULL && node->hash != hash)
        node = node->next;
    return node;
}

struct hash_node *hash_index_find(const struct hash_index *index, uint64_t hash)
{
    return skip_to(*bucket_of(index, hash), hash);
}

struct hash_node *hash_index_find_next(const struct hash_node *node)
{
    return skip_to(node->next, node->hash);
}

struct hash_node *hash_index_walk(const struct hash_index *index, const struct hash_node *node)
{
    size_t bucket = 0;

    if (node != NULL) {
        size_t power = power_below(index->bucket_count);

        if (node->next != NULL)
            return node->next;
        bucket = node->hash & (2 * power - 1);
        if (bucket >= index->bucket_count)
            bucket -= power;
        bucket++;
    }
    while (bucket < index->bucket_count && *bucket_at(index, bucket) == NULL)
        bucket++;
    return bucket < index->bucket_count ? *bucket_at(index, bucket) : NULL;
}
