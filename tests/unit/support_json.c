/* support_json.c - see support_json.h.
 *
 * Where jansson (2.14) and F-5 differ, and what makes them agree:
 *
 *   F-5                                 jansson
 *   an object only                      arrays, too: json_is_object()
 *   no duplicate key, in any object     only with JSON_REJECT_DUPLICATES; compares unescaped keys, too
 *   at most 8 levels                    2048: levels are counted here, in the tree
 *   no NUL in keys and strings          the same, as long as JSON_ALLOW_NUL is not given
 *   integers are 64 bits                the same (json_int_t is long long); "too big integer" is an error
 *   no number beyond a finite double    the same ("real number overflow"); one that is too small is 0 in both
 *   no bytes after the object           the same, as long as JSON_DISABLE_EOF_CHECK is not given
 *   white space after the object        the same
 *   no byte order mark                  the same: it is no token
 *   no lone surrogate                   the same
 *   -0 is an integer                    the same
 *   a NUL byte is no white space        skips one behind a number or a word: it puts the byte back, and then takes it for
 *                                       the end of its buffer. A NUL byte is nowhere acceptable: looked for here
 *   length 0 means {}                   an error; and so it is for json_read_object(): request_parse() says it
 */
#include "support_json.h"

#include "support.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/param.h>

#include "base/limits.h"
#include "wire/json_reader.h"

static unsigned levels_of(const json_t *value)
{
    unsigned deepest = 0;
    const char *key;
    json_t *element;
    size_t index;

    if (!json_is_object(value) && !json_is_array(value))
        return 0;
    json_object_foreach((json_t *)value, key, element) deepest = MAX(deepest, levels_of(element));
    json_array_foreach(value, index, element) deepest = MAX(deepest, levels_of(element));
    return deepest + 1;
}

json_t *oracle_load(const char *text, size_t length)
{
    json_t *tree = memchr(text, 0, length) ? NULL : json_loadb(text, length, JSON_REJECT_DUPLICATES, NULL);

    if (!tree || (json_is_object(tree) && levels_of(tree) <= JSON_DEPTH_MAX))
        return tree;
    json_decref(tree);
    return NULL;
}

bool oracle_accepts(const char *text, size_t length)
{
    json_t *tree = oracle_load(text, length);

    json_decref(tree);
    return tree != NULL;
}

static void fail_with(const char *why, const char *text, size_t length)
{
    fprintf(stderr, "%s, text of %zu bytes: ", why, length);
    for (size_t i = 0; i < length; i++)
        fprintf(stderr, text[i] < 0x20 || text[i] == 0x7F ? "<%02x>" : "%c", (unsigned char)text[i]);
    fprintf(stderr, "\n");
    fail();
}

static bool value_agrees(struct json_value *value, const json_t *expected)
{
    static const json_type kinds[] = {
        [JSON_KIND_NULL] = JSON_NULL,       [JSON_KIND_FALSE] = JSON_FALSE,   [JSON_KIND_TRUE] = JSON_TRUE,
        [JSON_KIND_INTEGER] = JSON_INTEGER, [JSON_KIND_REAL] = JSON_REAL,     [JSON_KIND_STRING] = JSON_STRING,
        [JSON_KIND_ARRAY] = JSON_ARRAY,     [JSON_KIND_OBJECT] = JSON_OBJECT,
    };

    if (!expected || kinds[value->kind] != json_typeof(expected))
        return false;
    if (value->kind == JSON_KIND_INTEGER)
        return value->integer == json_integer_value(expected);
    if (value->kind != JSON_KIND_STRING)
        return true;
    json_unescape(value);
    return slice_equal(value->string, (struct slice){json_string_value(expected), json_string_length(expected)});
}

static bool members_agree(struct json_members *members, const json_t *tree)
{
    if (members->count != json_object_size(tree))
        return false;
    for (size_t i = 0; i < members->count; i++) {
        struct slice key = members->items[i].key;

        if (!value_agrees(&members->items[i].value, json_object_getn(tree, key.bytes, key.length)))
            return false;
    }
    return true;
}

bool reader_accepts_as_oracle(const char *text, size_t length)
{
    json_t *tree = oracle_load(text, length);
    char *copy = malloc(length + !length); /* of exactly that size: a look beyond it is a sanitizer's find */
    struct json_members members;
    bool accepted;

    memcpy(copy, text, length);
    json_members_init(&members);
    accepted = json_read_object(copy, length, &members);
    if (accepted != (tree != NULL))
        fail_with(accepted ? "accepted, but the oracle refuses" : "refused, but the oracle accepts", text, length);
    if (accepted && !members_agree(&members, tree))
        fail_with("members differ from the oracle's", text, length);
    json_members_fini(&members);
    json_decref(tree);
    free(copy);
    return accepted;
}
