/* json_keys.c - see json_keys.h. */
#include "wire/json_keys.h"

#include <pthread.h>
#include <sodium.h>
#include <stdlib.h>

/* ---- the stack ---- */

void json_members_init(struct json_members *members)
{
    members->items = members->inline_items;
    members->count = 0;
    members->capacity = JSON_MEMBERS_INLINE;
}

void json_members_fini(struct json_members *members)
{
    if (members->items != members->inline_items)
        free(members->items);
}

static bool grow(struct json_members *members)
{
    bool is_inline = members->items == members->inline_items;
    size_t size = members->capacity * sizeof(members->items[0]);
    struct json_member *items = realloc(is_inline ? NULL : members->items, 2 * size);

    if (!items)
        return false;
    if (is_inline)
        memcpy(items, members->inline_items, size);
    members->items = items;
    members->capacity *= 2;
    return true;
}

bool json_keys_push(struct json_members *members, struct slice key)
{
    if (members->count == members->capacity && !grow(members))
        return false;
    members->items[members->count++].key = key;
    return true;
}

/* ---- few keys ---- */

static bool each_differs(const struct json_member *members, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        for (size_t j = 0; j < i; j++) {
            if (slice_equal(members[i].key, members[j].key))
                return false;
        }
    }
    return true;
}

/* ---- many keys ---- */

/* An open table of indices of members. */
struct slot {
    uint32_t hash;
    uint32_t member; /* its index + 1; 0: the slot is empty */
};

static unsigned char hash_key[crypto_shorthash_KEYBYTES];

static void make_hash_key(void)
{
    randombytes_buf(hash_key, sizeof(hash_key));
}

static uint32_t hash(struct slice key)
{
    union {
        unsigned char bytes[crypto_shorthash_BYTES];
        uint32_t number;
    } result;

    crypto_shorthash(result.bytes, (const unsigned char *)key.bytes, key.length, hash_key);
    return result.number;
}

/* Put member `index` into the table; false: its key is there. */
static bool slot_take(struct slot *slots, size_t mask, const struct json_member *members, size_t index)
{
    uint32_t key_hash = hash(members[index].key);
    size_t i = key_hash & mask;

    for (; slots[i].member != 0; i = (i + 1) & mask) {
        if (slots[i].hash == key_hash && slice_equal(members[slots[i].member - 1].key, members[index].key))
            return false;
    }
    slots[i] = (struct slot){key_hash, (uint32_t)index + 1};
    return true;
}

static bool all_differ(const struct json_member *members, size_t count)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    size_t slot_count = (size_t)4 * JSON_KEYS_COMPARED_MAX;
    struct slot *slots;
    size_t taken = 0;

    while (slot_count < count + count / 2)
        slot_count *= 2;
    slots = calloc(slot_count, sizeof(slots[0]));
    if (!slots)
        return false;
    pthread_once(&once, make_hash_key);
    while (taken < count && slot_take(slots, slot_count - 1, members, taken))
        taken++;
    free(slots);
    return taken == count;
}

bool json_keys_differ(const struct json_member *members, size_t count)
{
    return count <= JSON_KEYS_COMPARED_MAX ? each_differs(members, count) : all_differ(members, count);
}
