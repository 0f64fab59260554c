/* json_reader.c - see json_reader.h. A recursive descent over RFC 8259's grammar; strings and keys have files of their
 *                 own (json_text.c, json_keys.c).
 */
#include "wire/json_reader.h"

#include <math.h>
#include <stdlib.h>

#include "base/limits.h"
#include "wire/json_keys.h"
#include "wire/json_text.h"

struct reader {
    char *at;
    char *end;
    struct json_members *members;
};

static bool read_value(struct reader *reader, unsigned level, struct json_value *value);

/* ---- tokens ---- */

static void skip_space(struct reader *reader)
{
    while (reader->at < reader->end &&
           (*reader->at == ' ' || *reader->at == '\t' || *reader->at == '\n' || *reader->at == '\r'))
        reader->at++;
}

static bool next_is(const struct reader *reader, char byte)
{
    return reader->at < reader->end && *reader->at == byte;
}

static bool skip(struct reader *reader, char byte)
{
    if (!next_is(reader, byte))
        return false;
    reader->at++;
    return true;
}

static bool skip_word(struct reader *reader, struct slice word)
{
    if ((size_t)(reader->end - reader->at) < word.length || memcmp(reader->at, word.bytes, word.length) != 0)
        return false;
    reader->at += word.length;
    return true;
}

/* From the opening quote to behind the closing one. */
static bool read_string(struct reader *reader, struct slice *string, bool *escaped)
{
    if (!skip(reader, '"'))
        return false;

    char *start = reader->at;
    char *quote = json_text_end(start, reader->end, escaped);

    if (!quote)
        return false;
    *string = (struct slice){start, (size_t)(quote - start)};
    reader->at = quote + 1;
    return true;
}

/* ---- numbers ---- */

static size_t skip_digits(struct reader *reader)
{
    char *start = reader->at;

    while (reader->at < reader->end && *reader->at >= '0' && *reader->at <= '9')
        reader->at++;
    return (size_t)(reader->at - start);
}

static bool to_integer(const char *digits, size_t count, bool negative, int64_t *integer)
{
    uint64_t limit = negative ? (uint64_t)INT64_MAX + 1 : INT64_MAX;
    uint64_t sum = 0;

    if (count > 19) /* 19 digits fit 64 bits without a sign, and are enough for any with one */
        return false;
    for (size_t i = 0; i < count; i++)
        sum = sum * 10 + (uint64_t)(digits[i] - '0');
    if (sum > limit)
        return false;
    *integer = (int64_t)(negative ? 0 - sum : sum);
    return true;
}

/* The exponent behind an `e`, as far as it matters: no more digits than a payload has can make up for a million. */
static bool read_exponent(struct reader *reader, long *exponent)
{
    bool negative = skip(reader, '-');
    const char *digits;
    size_t count;
    long sum = 0;

    if (!negative)
        skip(reader, '+');
    digits = reader->at;
    if ((count = skip_digits(reader)) == 0)
        return false;
    for (size_t i = 0; i < count && sum < 1000000; i++)
        sum = sum * 10 + (digits[i] - '0');
    *exponent = negative ? -sum : sum;
    return true;
}

/* How many digits the integer part has, once the exponent has moved the point: of 0.5 it is 0, of 0.05 it is -1. 0 for
 * a zero. `digits` has `whole` digits, and behind a point `fraction` ones. */
static long magnitude(const char *digits, size_t whole, size_t fraction, long exponent)
{
    size_t zeros = 0;

    if (digits[0] != '0')
        return (long)whole + exponent;
    while (zeros < fraction && digits[whole + 1 + zeros] == '0')
        zeros++;
    return zeros == fraction ? 0 : exponent - (long)zeros;
}

/* The rest of a number behind its first `whole` digits at `digits`, when it has a fraction or an exponent. */
static bool read_real(struct reader *reader, const char *digits, size_t whole)
{
    size_t fraction = 0;
    long exponent = 0;
    long places;

    if (skip(reader, '.') && (fraction = skip_digits(reader)) == 0)
        return false;
    if ((skip(reader, 'e') || skip(reader, 'E')) && !read_exponent(reader, &exponent))
        return false;

    /* The largest double has 309 digits, so the count decides but for that one. There strtod(3) does; it cannot run
     * out of the text, because something must follow. */
    places = magnitude(digits, whole, fraction, exponent);
    if (places != 309)
        return places < 309;
    return reader->at < reader->end && isfinite(strtod(digits, NULL));
}

static bool read_number(struct reader *reader, struct json_value *value)
{
    bool negative = skip(reader, '-');
    const char *digits = reader->at;
    size_t whole = skip_digits(reader);

    if (whole == 0 || (digits[0] == '0' && whole > 1))
        return false;
    if (next_is(reader, '.') || next_is(reader, 'e') || next_is(reader, 'E')) {
        value->kind = JSON_KIND_REAL;
        return read_real(reader, digits, whole);
    }
    value->kind = JSON_KIND_INTEGER;
    return to_integer(digits, whole, negative, &value->integer);
}

/* ---- objects and arrays ---- */

/* `"key" : value`, pushed on the stack. */
static bool read_member(struct reader *reader, unsigned level)
{
    struct slice key;
    struct json_value value = {0};
    size_t index;
    bool escaped;

    if (!read_string(reader, &key, &escaped))
        return false;
    if (escaped)
        key.length = json_text_unescape(key);
    if (!json_keys_push(reader->members, key))
        return false;
    index = reader->members->count - 1;

    skip_space(reader);
    if (!skip(reader, ':'))
        return false;
    skip_space(reader);
    if (!read_value(reader, level, &value))
        return false;
    reader->members->items[index].value = value;
    return true;
}

/* Behind the opening brace. */
static bool read_object(struct reader *reader, unsigned level)
{
    size_t first = reader->members->count;

    skip_space(reader);
    if (skip(reader, '}'))
        return true;
    for (;;) {
        if (!read_member(reader, level))
            return false;
        skip_space(reader);
        if (skip(reader, '}'))
            break;
        if (!skip(reader, ','))
            return false;
        skip_space(reader);
    }
    if (!json_keys_differ(reader->members->items + first, reader->members->count - first))
        return false;
    if (level > 1)
        reader->members->count = first;
    return true;
}

/* Behind the opening bracket. */
static bool read_array(struct reader *reader, unsigned level)
{
    struct json_value element;

    skip_space(reader);
    if (skip(reader, ']'))
        return true;
    for (;;) {
        if (!read_value(reader, level, &element))
            return false;
        skip_space(reader);
        if (skip(reader, ']'))
            return true;
        if (!skip(reader, ','))
            return false;
        skip_space(reader);
    }
}

/* A value that stands in an object or array of `level`. */
static bool read_value(struct reader *reader, unsigned level, struct json_value *value)
{
    if (reader->at == reader->end)
        return false;
    switch (*reader->at) {
    case '"':
        value->kind = JSON_KIND_STRING;
        return read_string(reader, &value->string, &value->escaped);
    case '{':
        value->kind = JSON_KIND_OBJECT;
        return level < JSON_DEPTH_MAX && skip(reader, '{') && read_object(reader, level + 1);
    case '[':
        value->kind = JSON_KIND_ARRAY;
        return level < JSON_DEPTH_MAX && skip(reader, '[') && read_array(reader, level + 1);
    case 't':
        value->kind = JSON_KIND_TRUE;
        return skip_word(reader, SLICE_LITERAL("true"));
    case 'f':
        value->kind = JSON_KIND_FALSE;
        return skip_word(reader, SLICE_LITERAL("false"));
    case 'n':
        value->kind = JSON_KIND_NULL;
        return skip_word(reader, SLICE_LITERAL("null"));
    default:
        return read_number(reader, value);
    }
}

bool json_read_object(char *text, size_t length, struct json_members *members)
{
    struct reader reader = {text, text + length, members};

    skip_space(&reader);
    if (!skip(&reader, '{') || !read_object(&reader, 1))
        return false;
    skip_space(&reader);
    return reader.at == reader.end;
}

struct json_value *json_find(struct json_members *members, struct slice key)
{
    for (size_t i = 0; i < members->count; i++) {
        if (slice_equal(members->items[i].key, key))
            return &members->items[i].value;
    }
    return NULL;
}

void json_unescape(struct json_value *value)
{
    if (!value->escaped)
        return;
    value->string.length = json_text_unescape(value->string);
    value->escaped = false;
}
