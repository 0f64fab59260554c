/* memory_messages.h - the messages of the memory store; only store_memory.c includes it beside its own source.
 *
 * Idea.       A conversation's messages have numbers without gaps (M-1), so they stand in a ring indexed by number. All
 *             messages stand in one list in the order in which they were accepted: its oldest one is also the oldest
 *             of its conversation, so whatever is forgotten is the first of a ring, and whatever is rolled back the
 *             last of one.
 *
 *      oldest <-> ... <-> newest        every message, by sequence
 *      conversations[number] -> ring    [msg_id & (capacity - 1)], and a hash table of its ids
 *
 *             A hash table a conversation, not one for all: it holds 10,000 ids or so at most, so growing it is never
 *             felt, and it goes with its conversation.
 * Invariants. I1  a conversation is there when it has a message, and only then.
 *             I2  first <= msg_id < end for the messages of a ring; end - first <= capacity.
 *             I3  used_bytes is what messages and conversations cost, with what the allocator adds.
 */
#ifndef CHAT_MEMORY_MESSAGES_H
#define CHAT_MEMORY_MESSAGES_H

#include <sodium.h>

#include "store/store.h"

/* What finds no memory for a table says so, instead of ending the process (uthash's manual, "Out of memory"). */
#define HASH_NONFATAL_OOM 1
#define uthash_nonfatal_oom(message) ((message)->has_id = false)
#include <uthash.h>

struct memory_message {
    struct memory_message *older, *newer;
    struct memory_conversation *conversation;
    UT_hash_handle hh;
    bool has_id; /* it is in the table */
    struct store_message content;
    char bytes[]; /* key of its id, then the text: one allocation a message */
};

struct memory_ring_entry {
    struct memory_message *message;
    uint32_t sender; /* here too: a search for a sender reads the ring and no messages */
};

struct memory_conversation {
    uint32_t number;
    bool is_over_full, is_removed; /* it is in that list of the transaction */
    struct memory_conversation *next_over_full, *next_removed;
    struct memory_ring_entry *ring;
    size_t capacity;
    uint64_t first, end;        /* I2 */
    struct memory_message *ids; /* table of those that have one; NULL: empty */
    size_t charged_bytes;       /* its part of used_bytes, without the messages */
};

struct memory_messages {
    struct memory_conversation **conversations; /* by number, which the engine gives without gaps */
    size_t conversation_capacity;
    struct memory_message *oldest, *newest;
    size_t used_bytes;                                 /* I3 */
    unsigned char hash_key[crypto_shorthash_KEYBYTES]; /* ids are chosen by peers, who must not choose their bucket */
};

/* Nothing but the hash key. It owns no memory until a message is added. */
void memory_messages_init(struct memory_messages *m);
void memory_messages_fini(struct memory_messages *m);

/* The conversation of that number; NULL: it has no message. */
static inline struct memory_conversation *memory_conversation_find(const struct memory_messages *m, uint32_t number)
{
    return number < m->conversation_capacity ? m->conversations[number] : NULL;
}

static inline uint64_t memory_conversation_count(const struct memory_conversation *conversation)
{
    return conversation->end - conversation->first;
}

/* The place of a number in the ring; it holds that message when I2 says so. */
static inline struct memory_ring_entry *memory_ring_at(const struct memory_conversation *conversation, uint64_t msg_id)
{
    return &conversation->ring[msg_id & (conversation->capacity - 1)];
}

/* Add a copy of `content`, which is the next of its conversation, as the newest of all. False: no memory, and nothing
 * has changed. */
bool memory_message_add(struct memory_messages *m, const struct store_message *content);

/* Drop a message that is the first or the last of its ring; with its last message a conversation goes, too (I1). */
void memory_message_drop(struct memory_messages *m, struct memory_message *message);

/* Drop the oldest `count` messages of a conversation. */
void memory_conversation_drop(struct memory_messages *m, struct memory_conversation *conversation, uint64_t count);

/* The message that `sender` gave this id to; NULL: none. */
const struct store_message *memory_message_find(const struct memory_messages *m,
                                                const struct memory_conversation *conversation, uint32_t sender,
                                                struct slice id);

#endif
