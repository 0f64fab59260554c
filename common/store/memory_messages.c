/* memory_messages.c - rings, ids and the list of all messages.
 */
#include "store/memory_messages.h"

#include <stdlib.h>
#include <string.h>

/* What malloc() adds to a block: its head, and the rounding. */
#define ALLOCATION_BYTES 16

#define RING_CAPACITY_MIN 8 /* a power of two, like every capacity */

/* The key of an id: the sender's number, then the id (1 to 64 bytes, C-1). */
#define KEY_MAX_BYTES (sizeof(uint32_t) + 64)

/* ---- Conversations -------------------------------------------------------------------------------------------- */

/* Bring used_bytes to what the conversation costs now. */
static void conversation_charge(struct memory_messages *m, struct memory_conversation *conversation)
{
    size_t bytes = sizeof *conversation + conversation->capacity * sizeof conversation->ring[0] + 2 * ALLOCATION_BYTES;

    if (conversation->ids)
        bytes += sizeof(UT_hash_table) + conversation->ids->hh.tbl->num_buckets * sizeof(UT_hash_bucket);
    m->used_bytes = m->used_bytes - conversation->charged_bytes + bytes;
    conversation->charged_bytes = bytes;
}

static bool conversations_reserve(struct memory_messages *m, uint32_t number)
{
    size_t capacity = m->conversation_capacity ? m->conversation_capacity : 64;
    struct memory_conversation **conversations;

    if (number < m->conversation_capacity)
        return true;
    while (capacity <= number)
        capacity *= 2;
    conversations = reallocarray(m->conversations, capacity, sizeof(struct memory_conversation *));
    if (!conversations)
        return false;
    memset(conversations + m->conversation_capacity, 0,
           (capacity - m->conversation_capacity) * sizeof(struct memory_conversation *));
    m->conversations = conversations;
    m->conversation_capacity = capacity;
    return true;
}

static struct memory_conversation *conversation_new(struct memory_messages *m, uint32_t number, uint64_t first)
{
    struct memory_conversation *conversation;

    if (!conversations_reserve(m, number))
        return NULL;
    conversation = calloc(1, sizeof *conversation);
    if (!conversation)
        return NULL;
    conversation->ring = calloc(RING_CAPACITY_MIN, sizeof conversation->ring[0]);
    if (!conversation->ring) {
        free(conversation);
        return NULL;
    }
    conversation->number = number;
    conversation->capacity = RING_CAPACITY_MIN;
    conversation->first = conversation->end = first;
    m->conversations[number] = conversation;
    return conversation;
}

/* Give up a conversation without messages (I1); its table went with the last of them. */
static void conversation_free(struct memory_messages *m, struct memory_conversation *conversation)
{
    m->used_bytes -= conversation->charged_bytes;
    m->conversations[conversation->number] = NULL;
    free(conversation->ring);
    free(conversation);
}

/* Room for one more message in the ring. */
static bool ring_reserve(struct memory_conversation *conversation)
{
    size_t capacity = conversation->capacity * 2;
    struct memory_ring_entry *ring;

    if (conversation->end - conversation->first < conversation->capacity)
        return true;
    ring = calloc(capacity, sizeof ring[0]);
    if (!ring)
        return false;
    for (uint64_t msg_id = conversation->first; msg_id < conversation->end; msg_id++)
        ring[msg_id & (capacity - 1)] = *memory_ring_at(conversation, msg_id);
    free(conversation->ring);
    conversation->ring = ring;
    conversation->capacity = capacity;
    return true;
}

/* ---- Ids ------------------------------------------------------------------------------------------------------ */

/* Write the key, return its length. */
static size_t key_write(char *key, uint32_t sender, struct slice id)
{
    memcpy(key, &sender, sizeof sender);
    memcpy(key + sizeof sender, id.bytes, id.length);
    return sizeof sender + id.length;
}

static unsigned key_hash(const struct memory_messages *m, const char *key, size_t length)
{
    unsigned char hash[crypto_shorthash_BYTES];
    unsigned value;

    crypto_shorthash(hash, (const unsigned char *)key, length, m->hash_key);
    memcpy(&value, hash, sizeof value);
    return value;
}

/* False: no memory. */
static bool id_add(struct memory_messages *m, struct memory_message *message)
{
    struct memory_conversation *conversation = message->conversation;
    size_t length = sizeof(uint32_t) + message->content.id.length;
    unsigned hash;

    if (message->content.id.length == 0)
        return true;
    hash = key_hash(m, message->bytes, length);
    message->has_id = true; /* unless uthash_nonfatal_oom() says otherwise */
    HASH_ADD_KEYPTR_BYHASHVALUE(hh, conversation->ids, message->bytes, (unsigned)length, hash, message);
    return message->has_id;
}

const struct store_message *memory_message_find(const struct memory_messages *m,
                                                const struct memory_conversation *conversation, uint32_t sender,
                                                struct slice id)
{
    struct memory_message *message = NULL;
    char key[KEY_MAX_BYTES];
    size_t length;
    unsigned hash;

    if (!conversation->ids || id.length == 0 || id.length > KEY_MAX_BYTES - sizeof sender)
        return NULL;
    length = key_write(key, sender, id);
    hash = key_hash(m, key, length);
    HASH_FIND_BYHASHVALUE(hh, conversation->ids, key, (unsigned)length, hash, message);
    return message ? &message->content : NULL;
}

/* ---- Messages ------------------------------------------------------------------------------------------------- */

static size_t message_bytes(const struct store_message *content)
{
    return sizeof(struct memory_message) + sizeof(uint32_t) + content->id.length + content->text.length;
}

/* A copy that is in no list yet. */
static struct memory_message *message_new(const struct store_message *content)
{
    struct memory_message *message = malloc(message_bytes(content));
    size_t key_length;

    if (!message)
        return NULL;
    message->has_id = false;
    message->content = *content;
    key_length = key_write(message->bytes, content->sender, content->id);
    message->content.id.bytes = message->bytes + sizeof(uint32_t);
    message->content.text.bytes = message->bytes + key_length;
    if (content->text.length > 0)
        memcpy(message->bytes + key_length, content->text.bytes, content->text.length);
    return message;
}

static void list_append(struct memory_messages *m, struct memory_message *message)
{
    message->older = m->newest;
    message->newer = NULL;
    if (m->newest)
        m->newest->newer = message;
    else
        m->oldest = message;
    m->newest = message;
}

static void list_drop(struct memory_messages *m, struct memory_message *message)
{
    if (message->older)
        message->older->newer = message->newer;
    else
        m->oldest = message->newer;
    if (message->newer)
        message->newer->older = message->older;
    else
        m->newest = message->older;
}

void memory_message_drop(struct memory_messages *m, struct memory_message *message)
{
    struct memory_conversation *conversation = message->conversation;

    if (message->content.msg_id == conversation->first)
        conversation->first++;
    else
        conversation->end--;
    if (message->has_id)
        HASH_DELETE(hh, conversation->ids, message);
    list_drop(m, message);
    m->used_bytes -= message_bytes(&message->content) + ALLOCATION_BYTES;
    free(message);
    if (conversation->first == conversation->end)
        conversation_free(m, conversation);
    else
        conversation_charge(m, conversation);
}

/* Put `message` at the end of its conversation. False: no memory. */
static bool message_put(struct memory_messages *m, struct memory_message *message)
{
    struct memory_conversation *conversation = message->conversation;

    if (!ring_reserve(conversation) || !id_add(m, message))
        return false;
    *memory_ring_at(conversation, conversation->end++) = (struct memory_ring_entry){message, message->content.sender};
    list_append(m, message);
    m->used_bytes += message_bytes(&message->content) + ALLOCATION_BYTES;
    conversation_charge(m, conversation);
    return true;
}

bool memory_message_add(struct memory_messages *m, const struct store_message *content)
{
    struct memory_conversation *conversation = memory_conversation_find(m, content->conversation);
    struct memory_message *message = message_new(content);

    if (message && !conversation)
        conversation = conversation_new(m, content->conversation, content->msg_id);
    if (message && conversation) {
        message->conversation = conversation;
        if (message_put(m, message))
            return true;
        if (conversation->first == conversation->end)
            conversation_free(m, conversation);
    }
    free(message);
    return false;
}

void memory_conversation_drop(struct memory_messages *m, struct memory_conversation *conversation, uint64_t count)
{
    for (; count > 0; count--)
        memory_message_drop(m, memory_ring_at(conversation, conversation->first)->message);
}

/* ---- All ------------------------------------------------------------------------------------------------------ */

void memory_messages_init(struct memory_messages *m)
{
    *m = (struct memory_messages){0};
    randombytes_buf(m->hash_key, sizeof m->hash_key);
}

void memory_messages_fini(struct memory_messages *m)
{
    while (m->oldest)
        memory_message_drop(m, m->oldest);
    free(m->conversations);
}
