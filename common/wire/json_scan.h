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

/* One to seven bytes as a word, zeros behind them: what two looks see twice is the same. */
static inline uint64_t json_scan_load(const char *bytes, size_t length)
{
    const unsigned char *at = (const unsigned char *)bytes;
    uint32_t low, high;

    if (length < sizeof(low))
        return at[0] | (uint64_t)at[length / 2] << length / 2 * 8 | (uint64_t)at[length - 1] << (length - 1) * 8;
    memcpy(&low, bytes, sizeof(low));
    memcpy(&high, bytes + length - sizeof(high), sizeof(high));
    return le32toh(low) | (uint64_t)le32toh(high) << (length - sizeof(high)) * 8;
}

/* How many bytes at the front of `word`, of which the lowest one is the first, are plain: up to 8. `tops` is what else
 * ends them. */
static inline size_t json_plain_in_word(uint64_t word, uint64_t tops)
{
    uint64_t found = json_scan_word(word) | (word & tops);

    return found ? (size_t)__builtin_ctzll(found) / 8 : sizeof(word);
}

/* How many bytes at the front are none of `"`, `\` and control characters, and with `ascii_only` below 0x80, too. */
static inline size_t json_plain_bytes(const char *bytes, size_t length, bool ascii_only)
{
    uint64_t tops = ascii_only ? JSON_SCAN_TOPS : 0;
    size_t i = 0;

    for (uint64_t word; length - i >= sizeof(word); i += sizeof(word)) {
        size_t plain;

        memcpy(&word, bytes + i, sizeof(word));
        plain = json_plain_in_word(le64toh(word), tops);
        if (plain < sizeof(word))
            return i + plain;
    }
    if (i < length) /* an empty string may have no bytes to point to */
        i += json_plain_in_word(json_scan_load(bytes + i, length - i), tops); /* the zeros are not plain */
    return i;
}

#endif
