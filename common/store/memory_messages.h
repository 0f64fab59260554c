/* memory_messages.h - messages in memory: all that the memory store has, and the newest of the SQLite store.
 *
 * Idea.       A conversation's messages have numbers without gaps (M-1), so they stand in a ring indexed by number. All
 *             messages stand in one list in the order in which they were accepted: its oldest one is also the oldest
 *             of its conversation, so whatever is forgotten is the first of a ring, and whatever is rolled back the
 *             last of one.
 *
 *      oldest <-> ... <-> newest        every message, by sequence
 *      conversations[number] -> ring    [msg_id & (capacity - 1)]
 *                            -> slots   [hash of an id ...]  which message has an id
 *
 *             The slots are a hash table that holds no ids: a hash and a number, eight bytes, so a search is mostly
 *             one cache line, and an id is looked at in its message only where the hashes are equal. (uthash, whose
 *             chains run through the messages, was measured: with 100 conversations of 10,000 messages it took three
 *             quarters of the time of a message.) A table a conversation, not one for all: growing one of 10,000 is
 *             never felt, and it goes with its conversation.
 * Invariants. I1  a conversation is there when it has a message, and only then.
 *             I2  first <= msg_id < end for the messages of a ring; end - first <= capacity.
 *             I3  used_bytes is what messages and conversations cost, with what the allocator adds.
 *             I4  at most half of the slots are taken, and between the place of a hash and its slot none is free.
 */
#ifndef CHAT_MEMORY_MESSAGES_H
#define CHAT_MEMORY_MESSAGES_H

#include <sodium.h>

#include "store/store.h"

struct memory_message {
    struct memory_message *older, *newer;
    struct memory_conversation *conversation;
    uint32_t id_hash;             /* 0: it has no id */
    struct store_message content; /* its slices are in `bytes`: one allocation a message */
    char bytes[];
};

struct memory_ring_entry {
    struct memory_message *message;
    uint32_t sender; /* here too: a search for a sender reads the ring and no messages */
};

struct memory_id_slot {
    uint32_t hash;   /* 0: free */
    uint32_t number; /* msg_id, cut: those of a ring differ in it */
};

struct memory_conversation {
    uint32_t number;
    /* Of the memory store: it is in that list of the transaction. */
    bool is_over_full, is_removed;
    struct memory_conversation *next_over_full, *next_removed;
    /* Of the SQLite store: so many of the first messages go with the commit; it is in that list of the transaction. */
    uint64_t leaving;
    struct memory_conversation *next_leaving;
    struct memory_ring_entry *ring;
    size_t capacity;
    uint64_t first, end; /* I2 */
    struct memory_id_slot *slots;
    uint32_t slot_count, slots_taken; /* I4 */
    size_t charged_bytes;             /* its part of used_bytes, without the messages */
};

struct memory_messages {
    struct memory_conversation **conversations; /* by number, which the engine gives without gaps */
    size_t conversation_capacity;
    struct memory_message *oldest, *newest;
    size_t used_bytes;                                 /* I3 */
    unsigned char hash_key[crypto_shorthash_KEYBYTES]; /* ids are chosen by peers, who must not choose their bucket */
};

/* Nothing but the hash key. It owns no memory until a message is added. False: the system gives no random bytes. */
bool memory_messages_init(struct memory_messages *m);
void memory_messages_fini(struct memory_messages *m);

/* Drop all. */
void memory_messages_clear(struct memory_messages *m);

/* What a message uses, but for what the allocator adds. */
static inline size_t memory_message_bytes(const struct store_message *content)
{
    return sizeof(struct memory_message) + content->id.length + content->text.length;
}

/* The conversation of that number; NULL: it has no message. */
static inline struct memory_conversation *memory_conversation_find(const struct memory_messages *m, uint32_t number)
{
    return number < m->conversation_capacity ? m->conversations[number] : NULL;
}

/* The first conversation from that number on; NULL: there is none. */
static inline struct memory_conversation *memory_conversation_from(const struct memory_messages *m, uint32_t number)
{
    while (number < m->conversation_capacity && !m->conversations[number])
        number++;
    return memory_conversation_find(m, number);
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

/* Add a copy of `content`, which is the next of its conversation, as the newest of all. False: no memory, or not the
 * next; logged, and nothing has changed. */
bool memory_message_add(struct memory_messages *m, const struct store_message *content);

/* Drop a message that is the first or the last of its ring; with its last message a conversation goes, too (I1). */
void memory_message_drop(struct memory_messages *m, struct memory_message *message);

/* Drop the oldest `count` messages of a conversation. */
void memory_conversation_drop(struct memory_messages *m, struct memory_conversation *conversation, uint64_t count);

/* The message that `sender` gave this id to; NULL: none. */
const struct store_message *memory_message_find(const struct memory_messages *m,
                                                const struct memory_conversation *conversation, uint32_t sender,
                                                struct slice id);

/* Visit messages of a range as store.h has it, of a conversation or NULL. False: the visitor has stopped. */
bool memory_history(const struct memory_conversation *conversation, const struct store_history_range *range,
                    store_visitor visit, void *arg);

#endif
