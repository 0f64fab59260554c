/* mark.h - what a text of the generator says of itself: who sent it, and which of the sender's messages it is.
 *
 *      #AABCAAAAABPKfiller filler ...
 *       +--++------+
 *       |   sequence number of the source, from 1: 8 letters, 'A' to 'P' for 4 bits each
 *       source: its place among the senders of the conversation, 4 letters
 *
 * Idea.       Letters need no escape in any protocol, and a fixed place and length can be read without a loop: this is
 *             done once a delivery.
 * Threads.    Any.
 */
#ifndef CHAT_BENCH_MARK_H
#define CHAT_BENCH_MARK_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/slice.h"

enum { MARK_BYTES = 13 };

struct mark {
    uint32_t source;
    uint32_t sequence;
};

/* `text` has room for MARK_BYTES. */
static inline void mark_write(char *text, struct mark mark)
{
    text[0] = '#';
    for (int i = 0; i < 4; i++)
        text[1 + i] = (char)('A' + (mark.source >> (12 - 4 * i) & 15));
    for (int i = 0; i < 8; i++)
        text[5 + i] = (char)('A' + (mark.sequence >> (28 - 4 * i) & 15));
}

/* Letters to their 4 bits each, all eight at once; `wrong` gets bits where one is no letter of ours. */
static inline uint32_t mark_number(uint64_t letters, uint64_t *wrong)
{
    uint64_t x = __builtin_bswap64(letters) - UINT64_C(0x4141414141414141);

    *wrong |= x & UINT64_C(0xF0F0F0F0F0F0F0F0);
    x = (x | x >> 4) & UINT64_C(0x00FF00FF00FF00FF);
    x = (x | x >> 8) & UINT64_C(0x0000FFFF0000FFFF);
    return (uint32_t)(x | x >> 16);
}

/* False: this is no text of the generator. */
static inline bool mark_read(struct slice text, struct mark *mark)
{
    uint64_t letters;
    uint64_t wrong = 0;

    if (text.length < MARK_BYTES || text.bytes[0] != '#')
        return false;
    memcpy(&letters, text.bytes + 5, sizeof letters);
    mark->sequence = mark_number(letters, &wrong);
    memcpy(&letters, text.bytes + 1, sizeof letters);
    mark->source = mark_number(letters, &wrong) >> 16;
    return wrong == 0;
}

#endif
