/* hash_index.h - find a structure by the hash of its key; the node is part of the structure.
 *
 * Idea.       Linear hashing (Litwin, 1980): the table grows by two buckets an insertion, so no insertion ever pays
 *             for a table of a million entries. Buckets lie in segments of doubling size that never move.
 *             Adding and removing cannot fail: when there is no memory for a bucket the chains get longer, that is all.
 *             An undo (journal.h) must be able to count on that; a table that may have to be allocated again, as
 *             uthash's after its last element, would not do.
 * Invariants. I1  there is at least one bucket from hash_index_init() on.
 *             I2  a node is in at most one index.
 * Threads.    Belongs to the owner of the structures.
 * You must    compare the key yourself: two keys may have one hash.
 */
#ifndef CHAT_HASH_INDEX_H
#define CHAT_HASH_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HASH_INDEX_SEGMENTS 48

struct hash_node {
    struct hash_node *next;
    uint64_t hash;
};

struct hash_index {
    struct hash_node **segments[HASH_INDEX_SEGMENTS];
    size_t bucket_count;
    size_t count;
};

/* The structure of `type` whose member `member` is `node`. */
#define HASH_NODE_OWNER(node, type, member) ((type *)((char *)(node)-offsetof(type, member)))

/* False: no memory. */
bool hash_index_init(struct hash_index *index);

/* The nodes stay whose they are. */
void hash_index_fini(struct hash_index *index);

void hash_index_add(struct hash_index *index, struct hash_node *node, uint64_t hash);
void hash_index_remove(struct hash_index *index, struct hash_node *node);

/* The first node with `hash`, and the next one with the same hash; NULL: none. */
struct hash_node *hash_index_find(const struct hash_index *index, uint64_t hash);
struct hash_node *hash_index_find_next(const struct hash_node *node);

/* Visit every node, in no order: first from NULL. The index must not change meanwhile. O(buckets) in all. */
struct hash_node *hash_index_walk(const struct hash_index *index, const struct hash_node *node);

#endif
