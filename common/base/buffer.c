#include "base/buffer.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>

/* The first memory of a buffer: most payloads are smaller. */
#define FIRST_CAPACITY 256

void buffer_init(struct buffer *buffer)
{
    *buffer = (struct buffer){0};
}

void buffer_fini(struct buffer *buffer)
{
    free(buffer->bytes);
    buffer_init(buffer);
}

/* Twice as much, or `needed` where that is more, so that n bytes appended one by one cost O(n). */
static size_t next_capacity(size_t capacity, size_t needed)
{
    size_t doubled = capacity <= SIZE_MAX / 2 ? capacity * 2 : SIZE_MAX;

    if (doubled < FIRST_CAPACITY)
        doubled = FIRST_CAPACITY;
    return doubled > needed ? doubled : needed;
}

bool buffer_reserve(struct buffer *buffer, size_t extra)
{
    size_t capacity;
    char *bytes;

    if (buffer->capacity - buffer->length >= extra)
        return true;
    if (extra <= SIZE_MAX - buffer->length) {
        capacity = next_capacity(buffer->capacity, buffer->length + extra);
        bytes = realloc(buffer->bytes, capacity);
        if (bytes) {
            buffer->bytes = bytes;
            buffer->capacity = capacity;
            return true;
        }
    }
    buffer->failed = true; /* I2 */
    return false;
}

void buffer_drop_front(struct buffer *buffer, size_t count)
{
    assert(count <= buffer->length);
    buffer->length -= count;
    if (buffer->length > 0)
        memmove(buffer->bytes, buffer->bytes + count, buffer->length);
}
