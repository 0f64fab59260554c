/* json_reader.h - one JSON object, judged as strictly as F-5 asks, and its members.
 *
 * Idea.       One pass over the text, where it stands: no tree is built. What stays are the members of the object
 *             itself: slices for strings, numbers for integers. What is nested is judged and forgotten, as no field of a
 *             request is nested.
 *             Keys are pushed on one stack as they come, those of a nested object above those of the one around it;
 *             when an object closes, its keys are the top of the stack. There they are compared with each other, and if
 *             the object was nested, they are popped.
 * Invariants. I1  memory is allocated only for objects with many keys: a request has a few. The stack holds
 *                 JSON_MEMBERS_INLINE in place.
 *             I2  no text makes it take more than linear time (in the length), or more than a small constant of the
 *                 C stack: levels are bounded, and keys beyond a few are compared through a table with a seeded hash.
 * Threads.    Any; the text belongs to the caller.
 * You must    keep the text until the members are done with: their slices point into it.
 */
#ifndef CHAT_JSON_READER_H
#define CHAT_JSON_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

enum json_kind {
    JSON_KIND_NULL,
    JSON_KIND_FALSE,
    JSON_KIND_TRUE,
    JSON_KIND_INTEGER, /* a number without fraction or exponent */
    JSON_KIND_REAL,    /* any other number; its value is not kept */
    JSON_KIND_STRING,
    JSON_KIND_ARRAY,
    JSON_KIND_OBJECT
};

struct json_value {
    enum json_kind kind;
    bool escaped; /* the string has escapes, which json_unescape() resolves */
    union {
        int64_t integer;
        struct slice string; /* what stands between the quotes: valid UTF-8 and valid escapes, no NUL */
    };
};

struct json_member {
    struct slice key; /* unescaped */
    struct json_value value;
};

#define JSON_MEMBERS_INLINE 16

struct json_members {
    struct json_member *items;
    size_t count;
    size_t capacity;
    struct json_member inline_items[JSON_MEMBERS_INLINE];
};

/* No members. json_members_fini() must follow, whatever json_read_object() says. */
void json_members_init(struct json_members *members);
void json_members_fini(struct json_members *members);

/* Judge `text`, and add its members in their order. Keys with escapes are unescaped in place, so the text is changed.
 * False: it is not acceptable (F-5), or there is no memory to judge an object with so many keys. */
bool json_read_object(char *text, size_t length, struct json_members *members);

/* The value of `key`; NULL: there is none. */
struct json_value *json_find(struct json_members *members, struct slice key);

/* Resolve the escapes of a string value, in place: the result is never longer. */
void json_unescape(struct json_value *value);

#endif
