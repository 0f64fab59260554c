/* names.h - a sorted set of users, or of groups, as the protocol's lists have them (C-4).
 *
 * Idea.       An array of pointers, in ascending byte order of the names. Finding is a binary search; putting in moves
 *             at most 80 KB (10,000 members), once a change of membership, never a message.
 *             The pointers are to names; a name is the first member of the structure that it names, so a cast gives
 *             that structure (C11 6.7.2.1, paragraph 15).
 * Invariants. I1  items stand in ascending order. Two of the same name may stand side by side: a group that was
 *                 dismissed and is not yet forgotten, and the new one of its name (model.h).
 * Threads.    Belongs to the owner of the set.
 */
#ifndef CHAT_NAMES_H
#define CHAT_NAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"
#include "wire/command.h"

struct name {
    unsigned char length;
    char bytes[NAME_MAX_BYTES];
};

static inline struct slice name_slice(const struct name *name)
{
    return (struct slice){name->bytes, name->length};
}

struct names {
    struct name **items;
    uint32_t count;
    uint32_t capacity;
};

/* An empty set owns no memory; `{0}` is one, too. */
void names_fini(struct names *names);

/* Room for one more, so that names_insert() can count on it. False: no memory. */
bool names_reserve(struct names *names);

/* Into its place; the room is there: reserved, or left by names_remove(). */
void names_insert(struct names *names, struct name *name);

/* This very name, which is in the set. */
void names_remove(struct names *names, const struct name *name);

/* Index of the first name that is not below `name`; names->count: all are. */
size_t names_lower_bound(const struct names *names, struct slice name);

/* Whether this very name is in the set. */
bool names_contain(const struct names *names, const struct name *name);

#endif
