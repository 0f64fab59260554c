/* test_wire_json_writer.c - what the writer writes, jansson reads back. */
#include "support.h"

#include <jansson.h>
#include <string.h>

#include "wire/json_reader.h"
#include "wire/json_writer.h"

static void assert_text(const struct buffer *out, const char *expected)
{
    assert_false(out->failed);
    assert_int_equal(out->length, strlen(expected));
    assert_memory_equal(out->bytes, expected, out->length);
}

static void test_commas(void **state)
{
    struct buffer out = {0};

    (void)state;
    json_open_object(&out);
    json_close_object(&out);
    assert_text(&out, "{}");

    buffer_clear(&out);
    json_open_object(&out);
    json_key_string(&out, SLICE_LITERAL("a"), SLICE_LITERAL("["));
    json_key_string(&out, SLICE_LITERAL("b"), (struct slice){0});
    json_key_array(&out, SLICE_LITERAL("c"));
    json_close_array(&out);
    json_key_array(&out, SLICE_LITERAL("d"));
    json_element_string(&out, SLICE_LITERAL("{"));
    json_element_string(&out, SLICE_LITERAL(":"));
    json_element_string(&out, SLICE_LITERAL(""));
    json_close_array(&out);
    json_key_array(&out, SLICE_LITERAL("e"));
    json_open_object(&out);
    json_key_boolean(&out, SLICE_LITERAL("f"), true);
    json_key_boolean(&out, SLICE_LITERAL("g"), false);
    json_close_object(&out);
    json_open_object(&out);
    json_close_object(&out);
    json_close_array(&out);
    json_key_integer(&out, SLICE_LITERAL("h"), 0);
    json_key_integer(&out, SLICE_LITERAL("i"), 7);
    json_close_object(&out);
    assert_text(&out, "{\"a\":\"[\",\"b\":\"\",\"c\":[],\"d\":[\"{\",\":\",\"\"],\"e\":[{\"f\":true,\"g\":false},{}],"
                      "\"h\":0,\"i\":7}");
    buffer_fini(&out);
}

static void test_integers(void **state)
{
    static const int64_t integers[] = {0,         1,         -1,           9, 10, -10, 99, 100, 1700000000000,
                                       INT64_MAX, INT64_MIN, INT64_MIN + 1};
    struct buffer out = {0};

    (void)state;
    for (size_t i = 0; i < sizeof(integers) / sizeof(integers[0]); i++) {
        json_t *tree;

        buffer_clear(&out);
        json_open_object(&out);
        json_key_integer(&out, SLICE_LITERAL("a"), integers[i]);
        json_close_object(&out);
        tree = json_loadb(out.bytes, out.length, 0, NULL);
        assert_int_equal(json_integer_value(json_object_get(tree, "a")), integers[i]);
        json_decref(tree);
    }
    buffer_fini(&out);
}

static void test_escapes(void **state)
{
    struct buffer out = {0};

    (void)state;
    json_element_string(&out, SLICE_LITERAL("\"\\/\b\f\n\r\t\x01\x1f\x7f\xc3\xa9"));
    assert_text(&out, "\"\\\"\\\\/\\u0008\\u000c\\n\\r\\t\\u0001\\u001f\x7f\xc3\xa9\"");
    buffer_fini(&out);
}

/* Write `value`, and read it with jansson and with our own reader. */
static void check_round_trip(struct buffer *out, struct slice value)
{
    struct json_members members;
    json_t *tree;
    json_t *string;
    struct json_value *read;

    buffer_clear(out);
    json_open_object(out);
    json_key_string(out, SLICE_LITERAL("a"), value);
    json_close_object(out);
    assert_true(out->length <= strlen("{\"a\":}") + json_string_bytes(value));

    tree = json_loadb(out->bytes, out->length, JSON_ALLOW_NUL, NULL);
    string = json_object_get(tree, "a");
    assert_int_equal(json_string_length(string), value.length);
    assert_memory_equal(json_string_value(string), value.bytes, value.length);
    json_decref(tree);

    json_members_init(&members);
    assert_true(json_read_object(out->bytes, out->length, &members));
    read = json_find(&members, SLICE_LITERAL("a"));
    json_unescape(read);
    assert_true(slice_equal(read->string, value));
    json_members_fini(&members);
}

static size_t utf8(char *to, uint32_t point)
{
    if (point < 0x80) {
        to[0] = (char)point;
        return 1;
    }
    if (point < 0x800) {
        to[0] = (char)(0xC0 | point >> 6);
        to[1] = (char)(0x80 | (point & 0x3F));
        return 2;
    }
    if (point < 0x10000) {
        to[0] = (char)(0xE0 | point >> 12);
        to[1] = (char)(0x80 | (point >> 6 & 0x3F));
        to[2] = (char)(0x80 | (point & 0x3F));
        return 3;
    }
    to[0] = (char)(0xF0 | point >> 18);
    to[1] = (char)(0x80 | (point >> 12 & 0x3F));
    to[2] = (char)(0x80 | (point >> 6 & 0x3F));
    to[3] = (char)(0x80 | (point & 0x3F));
    return 4;
}

/* Every code point that a string may hold, in strings of a few hundred; those of ASCII also at each place of a word. */
static void test_every_code_point(void **state)
{
    struct buffer out = {0};
    char text[1024];
    size_t length = 0;

    (void)state;
    for (uint32_t point = 1; point < 0x110000; point++) {
        if (point < 0xD800 || point > 0xDFFF)
            length += utf8(text + length, point);
        if (length > sizeof(text) - 4 || point == 0x10FFFF) {
            check_round_trip(&out, (struct slice){text, length});
            length = 0;
        }
    }
    for (uint32_t point = 1; point < 0x80; point++) {
        for (size_t at = 0; at < 17; at++) {
            memset(text, 'x', 17);
            text[at] = (char)point;
            check_round_trip(&out, (struct slice){text, 17});
        }
    }
    buffer_fini(&out);
}

static void test_bound_of_strings(void **state)
{
    struct buffer out = {0};
    struct slice value = SLICE_LITERAL("\x01\x02\x1f");

    (void)state;
    json_element_string(&out, value);
    assert_int_equal(out.length, json_string_bytes(value));
    buffer_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_commas),           cmocka_unit_test(test_integers),
        cmocka_unit_test(test_escapes),          cmocka_unit_test(test_every_code_point),
        cmocka_unit_test(test_bound_of_strings),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
