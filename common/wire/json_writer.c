/* json_writer.c - see json_writer.h. */
#include "wire/json_writer.h"

#include "wire/json_scan.h"

enum { INTEGER_BYTES_MAX = 20 }; /* -9223372036854775808 */

#define LITERAL(out, text) buffer_append((out), (text), sizeof(text) - 1)

/* Where the next `length` bytes go: one question for all pieces of a member. NULL: no memory; `out` has failed. */
static char *room(struct buffer *out, size_t length)
{
    if (out->failed || (out->capacity - out->length < length && !buffer_reserve(out, length)))
        return NULL;
    return out->bytes + out->length;
}

/* What was written in the room ends at `end`. */
static void written(struct buffer *out, const char *end)
{
    out->length = (size_t)(end - out->bytes);
}

/* The comma that parts a value from the one before it: what comes first in an object, in an array or after a key has
 * none. A string cannot be mistaken for an opening bracket: it ends in a quote. `at` is the end of `out`; returns the
 * new one. */
static char *separate(const struct buffer *out, char *at)
{
    if (out->length > 0 && at[-1] != '{' && at[-1] != '[' && at[-1] != ':')
        *at++ = ',';
    return at;
}

/* `,"key":` and room for `extra` bytes behind it. Returns where they go; NULL: no memory. */
static char *begin_member(struct buffer *out, struct slice key, size_t extra)
{
    char *at = room(out, key.length + sizeof(",\"\":") - 1 + extra);

    if (!at)
        return NULL;
    at = separate(out, at);
    *at++ = '"';
    memcpy(at, key.bytes, key.length);
    at += key.length;
    *at++ = '"';
    *at++ = ':';
    return at;
}

static void append_escape(struct buffer *out, char byte)
{
    static const char hex[] = "0123456789abcdef";
    char escape[6] = {'\\', 'u', '0', '0', '0', '0'};

    switch (byte) {
    case '"':
        LITERAL(out, "\\\"");
        return;
    case '\\':
        LITERAL(out, "\\\\");
        return;
    case '\n':
        LITERAL(out, "\\n");
        return;
    case '\r':
        LITERAL(out, "\\r");
        return;
    case '\t':
        LITERAL(out, "\\t");
        return;
    default:
        break;
    }
    escape[4] = hex[(unsigned char)byte >> 4];
    escape[5] = hex[(unsigned char)byte & 15];
    buffer_append(out, escape, sizeof(escape));
}

static void append_escaped(struct buffer *out, struct slice value)
{
    LITERAL(out, "\"");
    for (size_t i = 0; i < value.length; i++) {
        size_t plain = json_plain_bytes(value.bytes + i, value.length - i, false);

        buffer_append(out, value.bytes + i, plain);
        i += plain;
        if (i < value.length)
            append_escape(out, value.bytes[i]);
    }
    LITERAL(out, "\"");
}

/* At `at`, which has room for the value and its quotes: most strings need no more. */
static void end_in_string(struct buffer *out, char *at, struct slice value)
{
    if (json_plain_bytes(value.bytes, value.length, false) < value.length) {
        written(out, at);
        append_escaped(out, value);
        return;
    }
    *at++ = '"';
    if (value.length > 0)
        memcpy(at, value.bytes, value.length);
    at += value.length;
    *at++ = '"';
    written(out, at);
}

void json_open_object(struct buffer *out)
{
    char *at = room(out, sizeof(",{") - 1);

    if (!at)
        return;
    at = separate(out, at);
    *at++ = '{';
    written(out, at);
}

void json_close_object(struct buffer *out)
{
    LITERAL(out, "}");
}

void json_close_array(struct buffer *out)
{
    LITERAL(out, "]");
}

void json_key_array(struct buffer *out, struct slice key)
{
    char *at = begin_member(out, key, 1);

    if (!at)
        return;
    *at++ = '[';
    written(out, at);
}

void json_key_string(struct buffer *out, struct slice key, struct slice value)
{
    char *at = begin_member(out, key, value.length + 2);

    if (at)
        end_in_string(out, at, value);
}

/* The digits of `value` end at `end`; returns where they begin. Two a step: half of the divisions. */
static char *put_digits(char *end, uint64_t value)
{
    static const char pairs[] =
        "00010203040506070809101112131415161718192021222324252627282930313233343536373839404142434445464748"
        "49505152535455565758596061626364656667686970717273747576777879808182838485868788899091929394959697"
        "9899";

    for (; value >= 100; value /= 100) {
        end -= 2;
        memcpy(end, pairs + 2 * (value % 100), 2);
    }
    *--end = pairs[2 * value + 1];
    if (value >= 10)
        *--end = pairs[2 * value];
    return end;
}

void json_key_integer(struct buffer *out, struct slice key, int64_t value)
{
    char digits[INTEGER_BYTES_MAX];
    char *end = digits + sizeof(digits);
    char *first = put_digits(end, value < 0 ? 0 - (uint64_t)value : (uint64_t)value);
    char *at = begin_member(out, key, sizeof(digits));

    if (!at)
        return;
    if (value < 0)
        *--first = '-';
    memcpy(at, first, (size_t)(end - first));
    written(out, at + (end - first));
}

void json_key_boolean(struct buffer *out, struct slice key, bool value)
{
    struct slice word = value ? SLICE_LITERAL("true") : SLICE_LITERAL("false");
    char *at = begin_member(out, key, word.length);

    if (!at)
        return;
    memcpy(at, word.bytes, word.length);
    written(out, at + word.length);
}

void json_element_string(struct buffer *out, struct slice value)
{
    char *at = room(out, value.length + sizeof(",\"\"") - 1);

    if (at)
        end_in_string(out, separate(out, at), value);
}

size_t json_string_bytes(struct slice value)
{
    return 6 * value.length + 2;
}
