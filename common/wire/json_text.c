/* json_text.c - see json_text.h. */
#include "wire/json_text.h"

#include <stdint.h>

#include "wire/json_scan.h"

#define SURROGATE_HIGH_FIRST 0xD800
#define SURROGATE_LOW_FIRST 0xDC00
#define SURROGATE_LAST 0xDFFF

/* ---- UTF-8 ---- */

/* What may follow the first byte of a sequence (RFC 3629, section 4). The second byte's range is what keeps out
 * overlong forms, surrogates, and code points above U+10FFFF; those after it are 80 to BF. */
struct utf8_rule {
    unsigned char first_from, first_to;
    unsigned char second_from, second_to;
    unsigned char length;
};

static const struct utf8_rule utf8_rules[] = {
    {0xC2, 0xDF, 0x80, 0xBF, 2},
    {0xE0, 0xE0, 0xA0, 0xBF, 3},
    {0xE1, 0xEC, 0x80, 0xBF, 3},
    {0xED, 0xED, 0x80, 0x9F, 3},
    {0xEE, 0xEF, 0x80, 0xBF, 3},
    {0xF0, 0xF0, 0x90, 0xBF, 4},
    {0xF1, 0xF3, 0x80, 0xBF, 4},
    {0xF4, 0xF4, 0x80, 0x8F, 4},
};

static const struct utf8_rule *utf8_rule_of(unsigned char first)
{
    for (size_t i = 0; i < sizeof(utf8_rules) / sizeof(utf8_rules[0]); i++) {
        if (first <= utf8_rules[i].first_to)
            return first >= utf8_rules[i].first_from ? &utf8_rules[i] : NULL;
    }
    return NULL;
}

static char *skip_utf8(char *at, char *end)
{
    const unsigned char *bytes = (const unsigned char *)at;
    const struct utf8_rule *rule = utf8_rule_of(bytes[0]);

    if (!rule || end - at < rule->length)
        return NULL;
    if (bytes[1] < rule->second_from || bytes[1] > rule->second_to)
        return NULL;
    for (unsigned i = 2; i < rule->length; i++) {
        if ((bytes[i] & 0xC0) != 0x80)
            return NULL;
    }
    return at + rule->length;
}

/* Write a code point; returns the end. */
static char *put_utf8(char *to, uint32_t point)
{
    if (point < 0x80) {
        *to++ = (char)point;
        return to;
    }
    if (point < 0x800) {
        *to++ = (char)(0xC0 | point >> 6);
    } else {
        if (point < 0x10000) {
            *to++ = (char)(0xE0 | point >> 12);
        } else {
            *to++ = (char)(0xF0 | point >> 18);
            *to++ = (char)(0x80 | (point >> 12 & 0x3F));
        }
        *to++ = (char)(0x80 | (point >> 6 & 0x3F));
    }
    *to++ = (char)(0x80 | (point & 0x3F));
    return to;
}

/* ---- escapes ---- */

static int hex_digit(char byte)
{
    if (byte >= '0' && byte <= '9')
        return byte - '0';
    if (byte >= 'a' && byte <= 'f')
        return byte - 'a' + 10;
    return byte >= 'A' && byte <= 'F' ? byte - 'A' + 10 : -1;
}

/* The number of a `\uXXXX` at `at`; -1: there is none. */
static int32_t unicode_escape(const char *at, const char *end)
{
    int32_t unit = 0;

    if (end - at < 6 || at[0] != '\\' || at[1] != 'u')
        return -1;
    for (int i = 2; i < 6; i++) {
        int digit = hex_digit(at[i]);

        if (digit < 0)
            return -1;
        unit = unit << 4 | digit;
    }
    return unit;
}

/* The code point of the `\uXXXX` at `at`, or of the two that are a surrogate pair; `*next` is behind it. 0: there is
 * none that is acceptable (NUL is not). */
static uint32_t unicode_point(char *at, char *end, char **next)
{
    int32_t unit = unicode_escape(at, end);
    int32_t low;

    *next = at + 6;
    if (unit < 0)
        return 0;
    if (unit < SURROGATE_HIGH_FIRST || unit > SURROGATE_LAST)
        return (uint32_t)unit;

    low = unicode_escape(at + 6, end);
    *next = at + 12;
    if (unit >= SURROGATE_LOW_FIRST || low < SURROGATE_LOW_FIRST || low > SURROGATE_LAST)
        return 0;
    return 0x10000 + ((uint32_t)(unit - SURROGATE_HIGH_FIRST) << 10 | (uint32_t)(low - SURROGATE_LOW_FIRST));
}

/* What a backslash and `letter` stand for; 0: nothing. */
static char short_escape(char letter)
{
    switch (letter) {
    case '"':
    case '\\':
    case '/':
        return letter;
    case 'b':
        return '\b';
    case 'f':
        return '\f';
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    default:
        return 0;
    }
}

/* The escape at `at`: its code point, 0 if it is not acceptable; `*next` is behind it. */
static uint32_t escape_point(char *at, char *end, char **next)
{
    if (end - at < 2)
        return 0;
    if (at[1] == 'u')
        return unicode_point(at, end, next);
    *next = at + 2;
    return (uint32_t)short_escape(at[1]);
}

/* ---- texts ---- */

char *json_text_end(char *at, char *end, bool *escaped)
{
    *escaped = false;
    for (;;) {
        at += json_plain_bytes(at, (size_t)(end - at), true);
        if (at == end)
            return NULL;
        if (*at == '"')
            return at;
        if (*at == '\\') {
            *escaped = true;
            if (escape_point(at, end, &at) == 0)
                return NULL;
        }
        /* Texts in most languages are runs of such sequences: no look at eight bytes between two of them. */
        while (at < end && (unsigned char)*at >= 0x80) {
            if (!(at = skip_utf8(at, end)))
                return NULL;
        }
        if (at < end && (unsigned char)*at < 0x20)
            return NULL;
    }
}

size_t json_text_unescape(struct slice text)
{
    char *start = (char *)text.bytes;
    char *end = start + text.length;
    char *from = memchr(start, '\\', text.length);
    char *to = from;

    while (from) {
        char *plain = end;
        char *backslash;
        size_t length;

        to = put_utf8(to, escape_point(from, end, &plain));
        backslash = memchr(plain, '\\', (size_t)(end - plain));
        length = (size_t)((backslash ? backslash : end) - plain);
        memmove(to, plain, length);
        to += length;
        from = backslash;
    }
    return to ? (size_t)(to - start) : text.length;
}
