/* json_scan.h - how far a string is plain: what reader and writer of JSON do with most of their bytes.
 *
 * Idea.       Eight bytes at a time in one register. For a byte b < 0x80, b - n borrows into its top bit exactly when
 *             b < n; "equals c" is "xor c is below 1". A borrow may run on into the next byte and show a fault there
 *             that is none, but only after one that is real: zero or not zero is exact, and so is the lowest bit that is
 *             set, which is the first fault where the first byte is the lowest one.
 * Threads.    Pure.
 */
#ifndef CHAT_JSON_SCAN_H
#define CHAT_JSON_SCAN_H

#include <endian.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define JSON_SCAN_ONES 0x0101010101010101u
#define JSON_SCAN_TOPS 0x8080808080808080u

/* Not zero: one of the eight bytes is `"`, `\` or a control character; the lowest bit set is of the first. */
static inline uint64_t json_scan_word(uint64_t word)
{
    uint64_t quote = word ^ (JSON_SCAN_ONES * '"');
    uint64_t backslash = word ^ (JSON_SCAN_ONES * '\\');
    uint64_t found = ((word - JSON_SCAN_ONES * 0x20) & ~word) | ((quote - JSON_SCAN_ONES) & ~quote) |
                     ((backslash - JSON_SCAN_ONES) & ~backslash);

    return found & JSON_SCAN_TOPS;
}

static inline bool json_scan_byte(char byte)
{
    return byte == '"' || byte == '\\' || (unsigned char)byte < 0x20;
}

/* Where in the eight bytes at `bytes` the first is that json_plain_bytes() ends at; 8: none is. `tops` is what else ends
 * it. */
static inline size_t json_plain_in_word(const char *bytes, uint64_t tops)
{
    uint64_t word, found;

    memcpy(&word, bytes, sizeof(word));
    word = le64toh(word); /* the first byte is the lowest one */
    found = json_scan_word(word) | (word & tops);
    return found ? (size_t)__builtin_ctzll(found) / 8 : sizeof(word);
}

/* How many bytes at the front are none of `"`, `\` and control characters, and with `ascii_only` below 0x80, too. */
static inline size_t json_plain_bytes(const char *bytes, size_t length, bool ascii_only)
{
    uint64_t tops = ascii_only ? JSON_SCAN_TOPS : 0;
    char top = ascii_only ? '\x80' : 0;
    size_t i = 0;

    for (; length - i >= sizeof(uint64_t); i += sizeof(uint64_t)) {
        size_t plain = json_plain_in_word(bytes + i, tops);

        if (plain < sizeof(uint64_t))
            return i + plain;
    }
    /* The rest, with bytes before it that were looked at already. */
    if (i > 0 && i < length)
        return length - sizeof(uint64_t) + json_plain_in_word(bytes + length - sizeof(uint64_t), tops);
    while (i < length && !json_scan_byte(bytes[i]) && !(bytes[i] & top))
        i++;
    return i;
}

#endif
