/* json_writer.c - see json_writer.h. */
#include "wire/json_writer.h"

#include "wire/json_scan.h"

#define LITERAL(out, text) buffer_append((out), (text), sizeof(text) - 1)

/* The comma that parts a value from the one before it: what comes first in an object, in an array or after a key has
 * none. A string cannot be mistaken for an opening bracket: it ends in a quote. */
static void separate(struct buffer *out)
{
    if (out->length == 0)
        return;

    char last = out->bytes[out->length - 1];

    if (last != '{' && last != '[' && last != ':')
        LITERAL(out, ",");
}

static void append_key(struct buffer *out, struct slice key)
{
    separate(out);
    LITERAL(out, "\"");
    buffer_append(out, key.bytes, key.length);
    LITERAL(out, "\":");
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

static void append_quoted(struct buffer *out, struct slice value)
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

void json_open_object(struct buffer *out)
{
    separate(out);
    LITERAL(out, "{");
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
    append_key(out, key);
    LITERAL(out, "[");
}

void json_key_string(struct buffer *out, struct slice key, struct slice value)
{
    append_key(out, key);
    append_quoted(out, value);
}

void json_key_integer(struct buffer *out, struct slice key, int64_t value)
{
    static const char pairs[] = "00010203040506070809101112131415161718192021222324252627282930313233343536373839"
                                "40414243444546474849505152535455565758596061626364656667686970717273747576777879"
                                "8081828384858687888990919293949596979899";
    char digits[20]; /* -9223372036854775808 */
    size_t first = sizeof(digits);
    uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;

    /* Two digits a division: times and ids are half of what a message writes. */
    for (; rest >= 10; rest /= 100) {
        first -= 2;
        memcpy(digits + first, pairs + 2 * (rest % 100), 2);
    }
    if (rest > 0 || first == sizeof(digits))
        digits[--first] = (char)('0' + rest);
    if (value < 0)
        digits[--first] = '-';

    append_key(out, key);
    buffer_append(out, digits + first, sizeof(digits) - first);
}

void json_key_boolean(struct buffer *out, struct slice key, bool value)
{
    append_key(out, key);
    if (value)
        LITERAL(out, "true");
    else
        LITERAL(out, "false");
}

void json_element_string(struct buffer *out, struct slice value)
{
    separate(out);
    append_quoted(out, value);
}

size_t json_string_bytes(struct slice value)
{
    return 6 * value.length + 2;
}
