/* slice.h - a run of bytes that somebody else owns. Not terminated; may be empty, then `bytes` may be NULL. */
#ifndef CHAT_SLICE_H
#define CHAT_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct slice {
    const char *bytes;
    size_t length;
};

#define SLICE_LITERAL(text) ((struct slice){(text), sizeof(text) - 1})

static inline struct slice slice_of(const char *text)
{
    return (struct slice){text, strlen(text)};
}

static inline bool slice_equal(struct slice a, struct slice b)
{
    return a.length == b.length && (a.length == 0 || memcmp(a.bytes, b.bytes, a.length) == 0);
}

/* Byte order, as strcmp() has it for texts; the order of every list of the protocol (C-4). */
static inline int slice_compare(struct slice a, struct slice b)
{
    size_t shorter = a.length < b.length ? a.length : b.length;
    int order = shorter == 0 ? 0 : memcmp(a.bytes, b.bytes, shorter);

    if (order != 0)
        return order;
    return a.length < b.length ? -1 : a.length > b.length;
}

#endif
