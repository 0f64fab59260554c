/* memory_messages.c - rings, ids and the list of all messages.
 */
#include "store/memory_messages.h"

#include "base/log.h"

#include <stdlib.h>
#include <string.h>

/* What malloc() adds to a block: its head, and the rounding. */
#define ALLOCATION_BYTES 16ul

#define RING_CAPACITY_MIN 8 /* a power of two, like every capacity */

#define SLOTS_MIN 16

/* ---- conversations ---- */

/* Bring used_bytes to what the conversation costs now. */
static void conversation_charge(struct memory_messages *m, struct memory_conversation *conversation)
{
    size_t bytes = sizeof *conversation + conversation->capacity * sizeof conversation->ring[0] +
                   conversation->slot_count * sizeof conversation->slots[0] + 3 * ALLOCATION_BYTES;

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

/* Give up a conversation without messages (I1). */
static void conversation_free(struct memory_messages *m, struct memory_conversation *conversation)
{
    m->used_bytes -= conversation->charged_bytes;
    m->conversations[conversation->number] = NULL;
    free(conversation->ring);
    free(conversation->slots);
    free(conversation);
}

/* To a power of two that is enough for its messages. False: no memory. */
static bool ring_resize(struct memory_conversation *conversation, size_t capacity)
{
    struct memory_ring_entry *ring = calloc(capacity, sizeof ring[0]);

    if (!ring)
        return false;
    for (uint64_t msg_id = conversation->first; msg_id < conversation->end; msg_id++)
        ring[msg_id & (capacity - 1)] = *memory_ring_at(conversation, msg_id);
    free(conversation->ring);
    conversation->ring = ring;
    conversation->capacity = capacity;
    return true;
}

/* Room for one more message in the ring. */
static bool ring_reserve(struct memory_conversation *conversation)
{
    return memory_conversation_count(conversation) < conversation->capacity ||
           ring_resize(conversation, conversation->capacity * 2);
}

/* ---- ids ---- */

/* Seeded, so that nobody can choose ids that fall on one place (SipHash). Never 0. */
static uint32_t id_hash(const struct memory_messages *m, uint32_t sender, struct slice id)
{
    unsigned char bytes[crypto_shorthash_BYTES];
    uint64_t hash;

    crypto_shorthash(bytes, (const unsigned char *)id.bytes, id.length, m->hash_key);
    memcpy(&hash, bytes, sizeof hash);
    hash = (hash + sender) * 0x9E3779B97F4A7C15u; /* the high half depends on all bits (Knuth, 6.4) */
    return (uint32_t)(hash >> 32) | 1;
}

static uint32_t slot_after(const struct memory_conversation *conversation, uint32_t slot)
{
    return (slot + 1) & (conversation->slot_count - 1);
}

/* Where a search for `hash` begins. Not its low bits, of which the last is always set. */
static uint32_t slot_of(const struct memory_conversation *conversation, uint32_t hash)
{
    return (hash >> 1) & (conversation->slot_count - 1);
}

static void slot_take(struct memory_conversation *conversation, struct memory_id_slot taken)
{
    uint32_t slot = slot_of(conversation, taken.hash);

    while (conversation->slots[slot].hash != 0)
        slot = slot_after(conversation, slot);
    conversation->slots[slot] = taken;
    conversation->slots_taken++;
}

/* To a power of two that is enough for its ids (I4). False: no memory. */
static bool slots_resize(struct memory_conversation *conversation, uint32_t count)
{
    struct memory_id_slot *old = conversation->slots;
    uint32_t old_count = conversation->slot_count;
    struct memory_id_slot *slots = calloc(count, sizeof slots[0]);

    if (!slots)
        return false;
    conversation->slots = slots;
    conversation->slot_count = count;
    conversation->slots_taken = 0;
    for (uint32_t i = 0; i < old_count; i++)
        if (old[i].hash != 0)
            slot_take(conversation, old[i]);
    free(old);
    return true;
}

/* Room for one more id. False: no memory. */
static bool slots_reserve(struct memory_conversation *conversation)
{
    if (conversation->slots_taken + 1 <= conversation->slot_count / 2)
        return true;
    return slots_resize(conversation, conversation->slot_count ? conversation->slot_count * 2 : SLOTS_MIN);
}

/* Free the slot of `message`, and move those behind it that would not be found past a free one (I4; Knuth, 6.4,
 * Algorithm R). */
static void slot_free(struct memory_conversation *conversation, const struct memory_message *message)
{
    struct memory_id_slot *slots = conversation->slots;
    uint32_t mask = conversation->slot_count - 1;
    uint32_t hole = slot_of(conversation, message->id_hash);
    uint32_t slot;

    while (slots[hole].hash != message->id_hash || slots[hole].number != (uint32_t)message->content.msg_id)
        hole = slot_after(conversation, hole);
    for (slot = slot_after(conversation, hole); slots[slot].hash != 0; slot = slot_after(conversation, slot)) {
        uint32_t begin = slot_of(conversation, slots[slot].hash);

        /* Does the hole lie on the way from `begin` to `slot`? */
        if (((slot - begin) & mask) >= ((slot - hole) & mask)) {
            slots[hole] = slots[slot];
            hole = slot;
        }
    }
    slots[hole].hash = 0;
    conversation->slots_taken--;
}

const struct store_message *memory_message_find(const struct memory_messages *m,
                                                const struct memory_conversation *conversation, uint32_t sender,
                                                struct slice id)
{
    uint32_t hash, slot;

    if (conversation->slots_taken == 0 || id.length == 0)
        return NULL;
    hash = id_hash(m, sender, id);
    for (slot = slot_of(conversation, hash); conversation->slots[slot].hash != 0;
         slot = slot_after(conversation, slot)) {
        const struct store_message *content;

        if (conversation->slots[slot].hash != hash)
            continue;
        content = &memory_ring_at(conversation, conversation->slots[slot].number)->message->content;
        if (content->sender == sender && slice_equal(content->id, id))
            return content;
    }
    return NULL;
}

/* ---- messages ---- */

/* Have a copy of the bytes at `to`. Returns its end. */
static char *slice_move(struct slice *slice, char *to)
{
    if (slice->length > 0)
        memcpy(to, slice->bytes, slice->length);
    slice->bytes = to;
    return to + slice->length;
}

/* A copy that is in no list yet. */
static struct memory_message *message_new(const struct memory_messages *m, const struct store_message *content)
{
    struct memory_message *message = malloc(memory_message_bytes(content));

    if (!message)
        return NULL;
    message->id_hash = content->id.length > 0 ? id_hash(m, content->sender, content->id) : 0;
    message->content = *content;
    slice_move(&message->content.text, slice_move(&message->content.id, message->bytes));
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
    if (m->oldest == message)
        m->oldest = message->newer;
    else
        message->older->newer = message->newer;
    if (m->newest == message)
        m->newest = message->older;
    else
        message->newer->older = message->older;
}

void memory_message_drop(struct memory_messages *m, struct memory_message *message)
{
    struct memory_conversation *conversation = message->conversation;

    if (message->content.msg_id == conversation->first)
        conversation->first++;
    else
        conversation->end--;
    if (message->id_hash != 0)
        slot_free(conversation, message);
    list_drop(m, message);
    m->used_bytes -= memory_message_bytes(&message->content) + ALLOCATION_BYTES;
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

    if (!ring_reserve(conversation) || (message->id_hash != 0 && !slots_reserve(conversation)))
        return false;
    if (message->id_hash != 0)
        slot_take(conversation, (struct memory_id_slot){message->id_hash, (uint32_t)message->content.msg_id});
    *memory_ring_at(conversation, conversation->end++) = (struct memory_ring_entry){message, message->content.sender};
    list_append(m, message);
    m->used_bytes += memory_message_bytes(&message->content) + ALLOCATION_BYTES;
    conversation_charge(m, conversation);
    return true;
}

/* A copy of `content` at the end of its conversation, which is made when there is none. False: no memory. */
static bool message_append(struct memory_messages *m, struct memory_conversation *conversation,
                           const struct store_message *content)
{
    struct memory_message *message = message_new(m, content);

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

bool memory_message_add(struct memory_messages *m, const struct store_message *content)
{
    struct memory_conversation *conversation = memory_conversation_find(m, content->conversation);

    if (conversation && content->msg_id != conversation->end)
        log_error("store: message numbers with a gap"); /* for which a ring has no place */
    else if (!message_append(m, conversation, content))
        log_error("store: no memory for a message");
    else
        return true;
    return false;
}

/* Halve what is used to an eighth or less, until it is not. With no memory for that it stays as it is. */
static void conversation_shrink(struct memory_messages *m, struct memory_conversation *conversation)
{
    size_t capacity = conversation->capacity, slots = conversation->slot_count;

    while (capacity > RING_CAPACITY_MIN && memory_conversation_count(conversation) <= capacity / 8)
        capacity /= 2;
    while (slots > SLOTS_MIN && conversation->slots_taken <= slots / 16)
        slots /= 2;
    if (capacity < conversation->capacity)
        ring_resize(conversation, capacity);
    if (slots < conversation->slot_count)
        slots_resize(conversation, (uint32_t)slots);
    conversation_charge(m, conversation);
}

void memory_conversation_drop(struct memory_messages *m, struct memory_conversation *conversation, uint64_t count)
{
    bool is_rest = count < memory_conversation_count(conversation);

    for (; count > 0; count--)
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): it does not see that `first` is another one after each */
        memory_message_drop(m, memory_ring_at(conversation, conversation->first)->message);
    if (is_rest)
        conversation_shrink(m, conversation);
}

bool memory_history(const struct memory_conversation *conversation, const struct store_history_range *range,
                    store_visitor visit, void *arg)
{
    uint64_t low, high; /* low <= msg_id < high */

    if (!conversation || range->after >= conversation->end)
        return true;
    low = range->after < conversation->first ? conversation->first : range->after + 1;
    high = range->before < conversation->end ? range->before : conversation->end;
    while (low < high) {
        uint64_t msg_id = range->from_oldest ? low++ : --high;

        if (!visit(arg, &memory_ring_at(conversation, msg_id)->message->content))
            return false;
    }
    return true;
}

/* ---- all ---- */

bool memory_messages_init(struct memory_messages *m)
{
    *m = (struct memory_messages){0};
    if (sodium_init() < 0) { /* harmless when it was called before */
        log_error("store: the system gives no random bytes");
        return false;
    }
    randombytes_buf(m->hash_key, sizeof m->hash_key);
    return true;
}

void memory_messages_clear(struct memory_messages *m)
{
    while (m->oldest)
        memory_message_drop(m, m->oldest);
}

void memory_messages_fini(struct memory_messages *m)
{
    memory_messages_clear(m);
    free(m->conversations);
}
