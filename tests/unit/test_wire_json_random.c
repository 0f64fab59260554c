/* test_wire_json_random.c - the reader against jansson on texts that nobody thought of: JSON made at random, JSON with
 *                           a few bytes changed, and random bytes. Alphabets are tiny, so that much of it is valid or
 *                           nearly so, keys meet their like, and levels go past their bound.
 *
 * The seed is fixed and printed; CHAT_TEST_SEED sets another one, CHAT_TEST_CASES another number of texts of each kind.
 */
#include "support.h"
#include "support_json.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_MAX 4096

struct maker {
    uint64_t random;
    size_t length;
    char text[TEXT_MAX];
};

static uint64_t seed = 1;
static unsigned long cases = 70000;

static size_t below(struct maker *maker, size_t bound)
{
    return (size_t)support_random(&maker->random, bound);
}

static void put(struct maker *maker, const char *piece)
{
    size_t length = strlen(piece);

    if (maker->length + length > TEXT_MAX)
        return;
    memcpy(maker->text + maker->length, piece, length);
    maker->length += length;
}

#define PICK(maker, ...) pick((maker), (const char *const[]){__VA_ARGS__}, sizeof((const char *[]){__VA_ARGS__}))

static void pick(struct maker *maker, const char *const *pieces, size_t size)
{
    put(maker, pieces[below(maker, size / sizeof(pieces[0]))]);
}

/* ---- JSON, mostly ---- */

static void make_value(struct maker *maker, unsigned depth);

static void make_space(struct maker *maker)
{
    if (below(maker, 8) == 0)
        PICK(maker, " ", "\t", "\n", "\r", "  ");
}

static void make_character(struct maker *maker)
{
    if (below(maker, 3) > 0)
        PICK(maker, "a", "b", "abcdefgh", "\x7f", " ", "/", "@", "{", "]", ",");
    else if (below(maker, 30) > 0)
        PICK(maker, "\\n", "\\\"", "\\\\", "\\/", "\\u0061", "\\u000A", "\\u00e9", "\\uD83D\\uDE00", "\\uFFFF",
             "\xc3\xa9", "\xe4\xbd\xa0", "\xf0\x9f\x98\x80", "\xed\x9f\xbf", "\xf4\x8f\xbf\xbf");
    else
        PICK(maker, "\\u0000", "\\ud800", "\\udc00", "\\x", "\\u00", "\n", "\x01", "\xc0\x80", "\xed\xa0\x80", "\xff",
             "\xf4\x90\x80\x80", "\xe4\xbd", "\"", "\\");
}

static void make_string(struct maker *maker)
{
    put(maker, "\"");
    for (size_t count = below(maker, 6); count > 0; count--)
        make_character(maker);
    put(maker, "\"");
}

static void make_number(struct maker *maker)
{
    if (below(maker, 4) == 0)
        put(maker, "-");
    if (below(maker, 3) > 0)
        PICK(maker, "0", "1", "12", "9223372036854775807", "1234567890123456789");
    else
        PICK(maker, "9223372036854775808", "179769313486231570", "00", "17976931348623158", "", "99999999999999999999");
    if (below(maker, 4) == 0)
        PICK(maker, ".0", ".5", ".25", ".000000", ".0001", ".", ".7976931348623157", ".7976931348623159");
    if (below(maker, 4) == 0)
        PICK(maker, "e0", "E1", "e+5", "e-5", "e308", "e309", "e291", "e292", "e293", "e-330", "e99999999999", "e",
             "e+");
}

static void make_key(struct maker *maker)
{
    if (below(maker, 8) == 0)
        make_string(maker);
    else
        PICK(maker, "\"a\"", "\"b\"", "\"c\"", "\"d\"", "\"e\"", "\"f\"", "\"\\u0061\"", "\"\"", "\"user\"",
             "\"text\"");
}

static void make_members(struct maker *maker, unsigned depth)
{
    size_t count = below(maker, 200) == 0 ? below(maker, 40) : below(maker, 4);

    put(maker, "{");
    make_space(maker);
    for (size_t i = 0; i < count; i++) {
        char number[24];

        if (i > 0)
            put(maker, ",");
        make_space(maker);
        snprintf(number, sizeof(number), "\"%zu\"", i);
        if (count > 4)
            put(maker, number);
        else
            make_key(maker);
        make_space(maker);
        put(maker, ":");
        make_space(maker);
        make_value(maker, depth + 1);
        make_space(maker);
    }
    put(maker, "}");
}

static void make_elements(struct maker *maker, unsigned depth)
{
    size_t count = below(maker, 4);

    put(maker, "[");
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            put(maker, ",");
        make_space(maker);
        make_value(maker, depth + 1);
        make_space(maker);
    }
    put(maker, "]");
}

static void make_value(struct maker *maker, unsigned depth)
{
    switch (below(maker, depth < 10 ? 9 : 5)) {
    case 0:
        PICK(maker, "true", "false", "null");
        return;
    case 1:
    case 2:
        make_number(maker);
        return;
    case 3:
    case 4:
        make_string(maker);
        return;
    case 5:
    case 6:
        make_elements(maker, depth);
        return;
    default:
        make_members(maker, depth);
        return;
    }
}

/* A straight way down, for the bound of the levels. */
static void make_deep(struct maker *maker)
{
    PICK(maker, "{\"a\":[[[[[[", "{\"a\":[[[[[[[");
    make_value(maker, 9);
    PICK(maker, "]]]]]]}", "]]]]]]]}");
}

static void make_json(struct maker *maker)
{
    maker->length = 0;
    make_space(maker);
    if (below(maker, 20) == 0)
        make_deep(maker);
    else
        make_members(maker, 1);
    make_space(maker);
}

/* ---- damage ---- */

static const char alphabet[] = "{}[]\",:\\u0019aeE+-. \n\x01\x7f\x80\xbf\xc3\xa9\xed\xf4";

static char random_byte(struct maker *maker)
{
    return alphabet[below(maker, sizeof(alphabet))]; /* its NUL, too */
}

static void change(struct maker *maker)
{
    size_t at = below(maker, maker->length + 1);

    switch (below(maker, 4)) {
    case 0: /* put one in */
        if (maker->length == TEXT_MAX)
            return;
        memmove(maker->text + at + 1, maker->text + at, maker->length++ - at);
        maker->text[at] = random_byte(maker);
        return;
    case 1: /* take one out */
        if (at < maker->length)
            memmove(maker->text + at, maker->text + at + 1, --maker->length - at);
        return;
    case 2: /* cut the end */
        maker->length -= below(maker, 2) == 0 && maker->length > 0;
        return;
    default:
        if (at < maker->length)
            maker->text[at] = random_byte(maker);
        return;
    }
}

static void make_changed_json(struct maker *maker)
{
    make_json(maker);
    for (size_t count = 1 + below(maker, 3); count > 0; count--)
        change(maker);
}

/* Random bytes, in an object, so that some of it is acceptable. */
static void make_bytes(struct maker *maker)
{
    static const char *const frames[][2] = {
        {"",          ""   },
        {"{\"a\":\"", "\"}"},
        {"{\"a\":",   "}"  },
        {"{\"a\":[",  "]}" },
        {"{",         "}"  }
    };
    size_t frame = below(maker, sizeof(frames) / sizeof(frames[0]));

    maker->length = 0;
    put(maker, frames[frame][0]);
    for (size_t count = below(maker, 7); count > 0; count--)
        maker->text[maker->length++] = random_byte(maker);
    put(maker, frames[frame][1]);
}

/* ---- tests ---- */

/* At least one of `rarest` must be acceptable, or the test tests little. */
static void check(const char *kind, void (*make)(struct maker *maker), unsigned long rarest)
{
    struct maker *maker = malloc(sizeof(*maker));
    unsigned long acceptable = 0;

    maker->random = seed;
    for (unsigned long i = 0; i < cases; i++) {
        make(maker);
        acceptable += reader_accepts_as_oracle(maker->text, maker->length);
    }
    free(maker);
    print_message("%s: seed %llu, %lu texts, %lu acceptable\n", kind, (unsigned long long)seed, cases, acceptable);
    assert_true(acceptable >= cases / rarest);
    assert_true(acceptable <= cases - cases / rarest);
}

static void test_json(void **state)
{
    (void)state;
    check("JSON", make_json, 4);
}

static void test_changed_json(void **state)
{
    (void)state;
    check("changed JSON", make_changed_json, 20);
}

static void test_bytes(void **state)
{
    (void)state;
    check("bytes", make_bytes, 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_changed_json),
        cmocka_unit_test(test_bytes),
    };

    const char *other_seed = getenv("CHAT_TEST_SEED");
    const char *other_cases = getenv("CHAT_TEST_CASES");

    if (other_seed)
        seed = strtoull(other_seed, NULL, 0);
    if (other_cases)
        cases = strtoul(other_cases, NULL, 0);
    else if (support_memory_is_watched())
        cases /= 10; /* valgrind is as much slower */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
