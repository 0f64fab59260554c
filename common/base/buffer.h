/* buffer.h - bytes that grow at their end: what JSON is written into, and where a partial frame waits.
 *
 * Idea.       Appending never reports failure; the buffer remembers it. A writer appends twenty pieces and asks
 *             once, at the end, whether all of them are there.
 * Invariants. I1  length <= capacity.   I2  failed: nothing is appended any more; buffer_clear() mends it.
 * Threads.    Belongs to whoever owns it.
 */
#ifndef CHAT_BUFFER_H
#define CHAT_BUFFER_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "base/slice.h"

struct buffer {
    char *bytes;
    size_t length;
    size_t capacity;
    bool failed; /* an allocation failed since the last buffer_clear() */
};

/* An empty buffer owns no memory; `{0}` is one, too. */
void buffer_init(struct buffer *buffer);
void buffer_fini(struct buffer *buffer);

/* Forget the content, keep the memory. */
static inline void buffer_clear(struct buffer *buffer)
{
    buffer->length = 0;
    buffer->failed = false;
}

/* Room for `extra` more bytes. False: no memory; the content is as it was, and `failed` is set. */
bool buffer_reserve(struct buffer *buffer, size_t extra);

static inline void buffer_append(struct buffer *buffer, const void *bytes, size_t length)
{
    if (length == 0 || (buffer->capacity - buffer->length < length && !buffer_reserve(buffer, length)))
        return;
    if (buffer->failed)
        return;
    memcpy(buffer->bytes + buffer->length, bytes, length);
    buffer->length += length;
}

/* Drop the first `count` bytes; the rest moves to the front. */
void buffer_drop_front(struct buffer *buffer, size_t count);

static inline struct slice buffer_slice(const struct buffer *buffer)
{
    return (struct slice){buffer->bytes, buffer->length};
}

#endif
