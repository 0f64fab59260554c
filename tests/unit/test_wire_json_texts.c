/* test_wire_json_texts.c - texts that the reader must accept or refuse, one reason each (F-5). jansson must say the
 *                          same of all of them.
 */
#include "support.h"
#include "support_json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wire/request.h"

/* With its length: some hold a NUL. */
#define TEXT(literal)                \
    {                                \
        literal, sizeof(literal) - 1 \
    }

struct text {
    const char *bytes;
    size_t length;
};

static const struct text accepted[] = {
    /* objects and white space */
    TEXT("{}"),
    TEXT(" {}"),
    TEXT("{ }"),
    TEXT("{} "),
    TEXT("\t\n\r {\t\n\r }\t\n\r "),
    TEXT("{\"a\":1}"),
    TEXT("{ \"a\" : 1 }"),
    TEXT("{\"a\"\n:\t1\r,\n\"b\" : 2}"),
    TEXT("{\"a\":1,\"b\":2,\"c\":3}"),
    TEXT("{\"\":1}"),
    TEXT("{\"a\":{}}"),
    TEXT("{\"a\":[]}"),
    TEXT("{\"a\":[ ]}"),
    TEXT("{\"a\":{ }}"),
    TEXT("{\"a\":[1,2,3]}"),
    TEXT("{\"a\":[ 1 , 2 ]}"),
    TEXT("{\"a\":[[],[[]],{}]}"),
    TEXT("{\"a\":{\"a\":{\"a\":1}}}"),
    /* words */
    TEXT("{\"a\":true}"),
    TEXT("{\"a\":false}"),
    TEXT("{\"a\":null}"),
    TEXT("{\"a\":[true,false,null]}"),
    /* integers */
    TEXT("{\"a\":0}"),
    TEXT("{\"a\":-0}"),
    TEXT("{\"a\":10}"),
    TEXT("{\"a\":-1}"),
    TEXT("{\"a\":9223372036854775807}"),
    TEXT("{\"a\":-9223372036854775808}"),
    TEXT("{\"a\":-9223372036854775807}"),
    TEXT("{\"a\":[0]}"),
    TEXT("{\"a\":0,\"b\":0}"),
    TEXT("{\"a\":0 }"),
    /* other numbers */
    TEXT("{\"a\":0.0}"),
    TEXT("{\"a\":-0.0}"),
    TEXT("{\"a\":1.5}"),
    TEXT("{\"a\":0.5}"),
    TEXT("{\"a\":1e0}"),
    TEXT("{\"a\":1E5}"),
    TEXT("{\"a\":1e+5}"),
    TEXT("{\"a\":1e-5}"),
    TEXT("{\"a\":0e0}"),
    TEXT("{\"a\":-0e-0}"),
    TEXT("{\"a\":1.25e2}"),
    TEXT("{\"a\":1e00005}"),
    TEXT("{\"a\":9223372036854775808.0}"),
    TEXT("{\"a\":9223372036854775808e0}"),
    TEXT("{\"a\":123456789012345678901234567890.5}"),
    TEXT("{\"a\":1e308}"),
    TEXT("{\"a\":1.7976931348623157e308}"),
    TEXT("{\"a\":1.7976931348623158e308}"),
    TEXT("{\"a\":-1.7976931348623157E+308}"),
    TEXT("{\"a\":17976931348623157e292}"),
    TEXT("{\"a\":0.00017976931348623157e312}"),
    TEXT("{\"a\":0.0000000001e318}"),
    TEXT("{\"a\":9e307}"),
    TEXT("{\"a\":0e309}"),
    TEXT("{\"a\":0.000e99999}"),
    TEXT("{\"a\":0e99999999999999999999999999}"),
    TEXT("{\"a\":1e-400}"),
    TEXT("{\"a\":1e-99999999999999999999999999}"),
    TEXT("{\"a\":4.9e-324}"),
    /* strings */
    TEXT("{\"a\":\"\"}"),
    TEXT("{\"a\":\"b\"}"),
    TEXT("{\"a\":\"1234567\"}"),
    TEXT("{\"a\":\"12345678\"}"),
    TEXT("{\"a\":\"123456789\"}"),
    TEXT("{\"a\":\"{[,:]}\"}"),
    TEXT("{\"a\":\" \"}"),
    TEXT("{\"a\":\"/\"}"),
    TEXT("{\"a\":\"'\"}"),
    TEXT("{\"a\":\"\x7f\"}"),
    TEXT("{\"a\":\"\\\"\"}"),
    TEXT("{\"a\":\"\\\\\"}"),
    TEXT("{\"a\":\"\\/\"}"),
    TEXT("{\"a\":\"\\b\\f\\n\\r\\t\"}"),
    TEXT("{\"a\":\"\\\\\\\\\"}"),
    TEXT("{\"a\":\"1234567\\n\"}"),
    TEXT("{\"a\":\"12345678\\n12345678\"}"),
    TEXT("{\"a\":\"\\u0001\"}"),
    TEXT("{\"a\":\"\\u001f\\u0020\\u007f\"}"),
    TEXT("{\"a\":\"\\u0041\"}"),
    TEXT("{\"a\":\"\\u00e9\\u00E9\"}"),
    TEXT("{\"a\":\"\\u07ff\\u0800\"}"),
    TEXT("{\"a\":\"\\ud7ff\\ue000\\uffff\"}"),
    TEXT("{\"a\":\"\\ufeff\"}"),
    TEXT("{\"a\":\"\\ud800\\udc00\"}"),
    TEXT("{\"a\":\"\\uDBFF\\uDFFF\"}"),
    TEXT("{\"a\":\"x\\ud83d\\ude00y\"}"),
    TEXT("{\"a\":\"\\ud83d\\ude00\\ud83d\\ude00\"}"),
    TEXT("{\"a\":\"\\u005c\\u0022\"}"),
    TEXT("{\"a\":\"\\u000a\"}"),
    /* UTF-8, at the ends of its ranges */
    TEXT("{\"a\":\"\xc2\x80\"}"),
    TEXT("{\"a\":\"\xdf\xbf\"}"),
    TEXT("{\"a\":\"\xe0\xa0\x80\"}"),
    TEXT("{\"a\":\"\xe1\x80\x80\xec\xbf\xbf\"}"),
    TEXT("{\"a\":\"\xed\x80\x80\xed\x9f\xbf\"}"),
    TEXT("{\"a\":\"\xee\x80\x80\xef\xbf\xbf\"}"),
    TEXT("{\"a\":\"\xef\xbb\xbf\"}"),
    TEXT("{\"a\":\"\xf0\x90\x80\x80\"}"),
    TEXT("{\"a\":\"\xf1\x80\x80\x80\xf3\xbf\xbf\xbf\"}"),
    TEXT("{\"a\":\"\xf4\x80\x80\x80\xf4\x8f\xbf\xbf\"}"),
    TEXT("{\"a\":\"1234567\xc3\xa9\"}"),
    TEXT("{\"a\":\"\xc3\xa9\\n\xc3\xa9\"}"),
    TEXT("{\"\xc3\xa9\":1}"),
    /* keys that differ */
    TEXT("{\"a\":1,\"A\":2}"),
    TEXT("{\"a\":1,\"aa\":2}"),
    TEXT("{\"a\":1,\"\":2}"),
    TEXT("{\"a\":{\"a\":1},\"b\":{\"a\":1}}"),
    TEXT("{\"a\":[{\"a\":1},{\"a\":1}]}"),
    TEXT("{\"\\u0061\":1,\"b\":2}"),
    TEXT("{\"\\n\":1,\"n\":2,\"\\\\n\":3}"),
    TEXT("{\"a\":{\"b\":1,\"c\":2},\"b\":1,\"c\":2}"),
    TEXT("{\"\xc3\xa9\":1,\"e\xcc\x81\":2}"),
    /* levels: 8 */
    TEXT("{\"a\":[[[[[[[]]]]]]]}"),
    TEXT("{\"a\":[[[[[[[1,2]]]]]],[[[[[[3]]]]]]]}"),
    TEXT("{\"1\":{\"2\":{\"3\":{\"4\":{\"5\":{\"6\":{\"7\":{}}}}}}}}"),
    TEXT("{\"1\":[{\"3\":[{\"5\":[{\"7\":\"[[[[\"}]}]}]}"),
};

static const struct text refused[] = {
    /* no object */
    TEXT(""),
    TEXT(" "),
    TEXT("\n"),
    TEXT("[]"),
    TEXT("[{}]"),
    TEXT("1"),
    TEXT("\"a\""),
    TEXT("true"),
    TEXT("null"),
    /* syntax of objects */
    TEXT("{"),
    TEXT("}"),
    TEXT("{]"),
    TEXT("{{}}"),
    TEXT("{,}"),
    TEXT("{a:1}"),
    TEXT("{'a':1}"),
    TEXT("{\"a\"}"),
    TEXT("{\"a\":}"),
    TEXT("{\"a\":1"),
    TEXT("{\"a\":1,"),
    TEXT("{\"a\":1,}"),
    TEXT("{,\"a\":1}"),
    TEXT("{\"a\":1,,\"b\":2}"),
    TEXT("{\"a\":1 \"b\":2}"),
    TEXT("{\"a\":1;\"b\":2}"),
    TEXT("{\"a\" 1}"),
    TEXT("{\"a\"::1}"),
    TEXT("{\"a\":1:2}"),
    TEXT("{1:1}"),
    TEXT("{null:1}"),
    TEXT("{\"a\":"),
    TEXT("{\"a\""),
    TEXT("{\"a"),
    TEXT("{\""),
    TEXT("{\"a\":1]"),
    /* arrays */
    TEXT("{\"a\":[}"),
    TEXT("{\"a\":[1}"),
    TEXT("{\"a\":[1,]}"),
    TEXT("{\"a\":[,1]}"),
    TEXT("{\"a\":[1 2]}"),
    TEXT("{\"a\":[1,,2]}"),
    TEXT("{\"a\":["),
    TEXT("{\"a\":[1"),
    TEXT("{\"a\":[1,"),
    TEXT("{\"a\":[\"b\":1]}"),
    /* white space that is none, and bytes behind */
    TEXT("{}x"),
    TEXT("{}{}"),
    TEXT("{} {}"),
    TEXT("{},"),
    TEXT("{}}"),
    TEXT("{}\0"),
    TEXT("\0{}"),
    TEXT("{\0}"),
    TEXT("{}\v"),
    TEXT("{\f}"),
    TEXT("{\"a\":\xc2\xa0 1}"),
    TEXT("{\"a\":1}//"),
    TEXT("{/**/}"),
    /* a byte order mark */
    TEXT("\xef\xbb\xbf{}"),
    TEXT("\xff\xfe{\0}\0"),
    /* words */
    TEXT("{\"a\":tru}"),
    TEXT("{\"a\":truee}"),
    TEXT("{\"a\":True}"),
    TEXT("{\"a\":TRUE}"),
    TEXT("{\"a\":fals}"),
    TEXT("{\"a\":nul"),
    TEXT("{\"a\":nil}"),
    TEXT("{\"a\":nullnull}"),
    TEXT("{\"a\":undefined}"),
    TEXT("{\"a\":NaN}"),
    TEXT("{\"a\":Infinity}"),
    TEXT("{\"a\":-Infinity}"),
    /* numbers */
    TEXT("{\"a\":-}"),
    TEXT("{\"a\":+1}"),
    TEXT("{\"a\":01}"),
    TEXT("{\"a\":-01}"),
    TEXT("{\"a\":00}"),
    TEXT("{\"a\":--1}"),
    TEXT("{\"a\":1.}"),
    TEXT("{\"a\":.5}"),
    TEXT("{\"a\":-.5}"),
    TEXT("{\"a\":1.e1}"),
    TEXT("{\"a\":1e}"),
    TEXT("{\"a\":1e+}"),
    TEXT("{\"a\":1e-}"),
    TEXT("{\"a\":1e+-1}"),
    TEXT("{\"a\":1e1.5}"),
    TEXT("{\"a\":1ee1}"),
    TEXT("{\"a\":1.5.5}"),
    TEXT("{\"a\":0x10}"),
    TEXT("{\"a\":1_000}"),
    TEXT("{\"a\":1a}"),
    TEXT("{\"a\":1-1}"),
    TEXT("{\"a\":1"),
    TEXT("{\"a\":1.5"),
    TEXT("{\"a\":1e5"),
    TEXT("{\"a\":9223372036854775808}"),
    TEXT("{\"a\":-9223372036854775809}"),
    TEXT("{\"a\":18446744073709551616}"),
    TEXT("{\"a\":18446744073709551617}"),
    TEXT("{\"a\":99999999999999999999}"),
    TEXT("{\"a\":[9223372036854775808]}"),
    TEXT("{\"a\":{\"b\":-10000000000000000000}}"),
    TEXT("{\"a\":1e309}"),
    TEXT("{\"a\":-1e309}"),
    TEXT("{\"a\":1e400}"),
    TEXT("{\"a\":1.7976931348623159e308}"),
    TEXT("{\"a\":1.8e308"),
    TEXT("{\"a\":1.8e308}"),
    TEXT("{\"a\":2e308}"),
    TEXT("{\"a\":0.001e312}"),
    TEXT("{\"a\":10000e306}"),
    TEXT("{\"a\":1e99999999999999999999999999}"),
    TEXT("{\"a\":1e9223372036854775807}"),
    TEXT("{\"a\":1e18446744073709551616}"),
    TEXT("{\"a\":[[1e999]]}"),
    /* strings */
    TEXT("{\"a\":\"}"),
    TEXT("{\"a\":\"b}"),
    TEXT("{\"a\":b\"}"),
    TEXT("{\"a\":'b'}"),
    TEXT("{\"a\":\"\n\"}"),
    TEXT("{\"a\":\"\t\"}"),
    TEXT("{\"a\":\"\x01\"}"),
    TEXT("{\"a\":\"\x1f\"}"),
    TEXT("{\"a\":\"1234567\x1f\"}"),
    TEXT("{\"a\":\"\xc3\xa9\x1f\"}"),
    TEXT("{\"a\":\"\\n\x1f\"}"),
    TEXT("{\"a\n\":1}"),
    TEXT("{\"a\":\"\0\"}"),
    TEXT("{\"\0\":1}"),
    TEXT("{\"a\":\"\\\"}"),
    TEXT("{\"a\":\"\\"),
    TEXT("{\"a\":\"\\a\"}"),
    TEXT("{\"a\":\"\\v\"}"),
    TEXT("{\"a\":\"\\0\"}"),
    TEXT("{\"a\":\"\\'\"}"),
    TEXT("{\"a\":\"\\x41\"}"),
    TEXT("{\"a\":\"\\U0041\"}"),
    TEXT("{\"a\":\"\\\n\"}"),
    TEXT("{\"a\":\"\\u\"}"),
    TEXT("{\"a\":\"\\u004\"}"),
    TEXT("{\"a\":\"\\u004g\"}"),
    TEXT("{\"a\":\"\\u+041\"}"),
    TEXT("{\"a\":\"\\u 041\"}"),
    TEXT("{\"a\":\"\\u00"),
    TEXT("{\"a\":\"\\u0041"),
    /* NUL */
    TEXT("{\"a\":\"\\u0000\"}"),
    TEXT("{\"a\":\"b\\u0000c\"}"),
    TEXT("{\"\\u0000\":1}"),
    TEXT("{\"a\\u0000\":1}"),
    TEXT("{\"a\":[\"\\u0000\"]}"),
    /* surrogates */
    TEXT("{\"a\":\"\\ud800\"}"),
    TEXT("{\"a\":\"\\udbff\"}"),
    TEXT("{\"a\":\"\\udc00\"}"),
    TEXT("{\"a\":\"\\udfff\"}"),
    TEXT("{\"a\":\"\\ud800x\"}"),
    TEXT("{\"a\":\"\\ud800\\n\"}"),
    TEXT("{\"a\":\"\\ud800\\u0041\"}"),
    TEXT("{\"a\":\"\\ud800\\ud800\"}"),
    TEXT("{\"a\":\"\\ud800\\ue000\"}"),
    TEXT("{\"a\":\"\\udc00\\ud800\"}"),
    TEXT("{\"a\":\"\\ud800\\udc0\"}"),
    TEXT("{\"a\":\"\\ud800\\udc00\\udc00\"}"),
    TEXT("{\"a\":\"\\ud800\\"),
    TEXT("{\"a\":\"\\ud800\\u"),
    TEXT("{\"\\ud800\":1}"),
    /* UTF-8 */
    TEXT("{\"a\":\"\x80\"}"),
    TEXT("{\"a\":\"\xbf\"}"),
    TEXT("{\"a\":\"\xc0\x80\"}"),
    TEXT("{\"a\":\"\xc1\xbf\"}"),
    TEXT("{\"a\":\"\xc2\"}"),
    TEXT("{\"a\":\"\xc2\x7f\"}"),
    TEXT("{\"a\":\"\xc2\xc0\"}"),
    TEXT("{\"a\":\"\xe0\x80\x80\"}"),
    TEXT("{\"a\":\"\xe0\x9f\xbf\"}"),
    TEXT("{\"a\":\"\xe1\x80\"}"),
    TEXT("{\"a\":\"\xe1\x80\xc0\"}"),
    TEXT("{\"a\":\"\xe1\x7f\x80\"}"),
    TEXT("{\"a\":\"\xed\xa0\x80\"}"),
    TEXT("{\"a\":\"\xed\xbf\xbf\"}"),
    TEXT("{\"a\":\"\xed\xa0\x80\xed\xb0\x80\"}"),
    TEXT("{\"a\":\"\xf0\x80\x80\x80\"}"),
    TEXT("{\"a\":\"\xf0\x8f\xbf\xbf\"}"),
    TEXT("{\"a\":\"\xf0\x90\x80\"}"),
    TEXT("{\"a\":\"\xf0\x90\x80\x7f\"}"),
    TEXT("{\"a\":\"\xf4\x90\x80\x80\"}"),
    TEXT("{\"a\":\"\xf5\x80\x80\x80\"}"),
    TEXT("{\"a\":\"\xf8\x88\x80\x80\x80\"}"),
    TEXT("{\"a\":\"\xfe\"}"),
    TEXT("{\"a\":\"\xff\"}"),
    TEXT("{\"a\":\"\xe1\x80"),
    TEXT("{\"a\":\"\xc2"),
    TEXT("{\"a\":\"1234567\xff\"}"),
    TEXT("{\"\xff\":1}"),
    TEXT("{\xff}"),
    /* duplicate keys */
    TEXT("{\"a\":1,\"a\":1}"),
    TEXT("{\"a\":1,\"b\":2,\"a\":3}"),
    TEXT("{\"\":1,\"\":2}"),
    TEXT("{\"a\":1,\"\\u0061\":2}"),
    TEXT("{\"\\u0061\":1,\"a\":2}"),
    TEXT("{\"\\n\":1,\"\\u000a\":2}"),
    TEXT("{\"\\/\":1,\"/\":2}"),
    TEXT("{\"\\ud83d\\ude00\":1,\"\xf0\x9f\x98\x80\":2}"),
    TEXT("{\"a\":{\"b\":1,\"b\":2}}"),
    TEXT("{\"a\":[{\"b\":1,\"b\":2}]}"),
    TEXT("{\"a\":{\"b\":{\"c\":1},\"b\":{\"c\":1}}}"),
    TEXT("{\"a\":{\"b\":1},\"a\":{\"c\":1}}"),
    /* levels: 9 */
    TEXT("{\"a\":[[[[[[[[]]]]]]]]}"),
    TEXT("{\"a\":1,\"b\":[[[[[[[[1]]]]]]]]}"),
    TEXT("{\"1\":{\"2\":{\"3\":{\"4\":{\"5\":{\"6\":{\"7\":{\"8\":{}}}}}}}}}"),
    TEXT("{\"1\":{\"2\":{\"3\":{\"4\":{\"5\":{\"6\":{\"7\":[[]]}}}}}}}"),
};

static void check_texts(const struct text *texts, size_t count, bool expected)
{
    for (size_t i = 0; i < count; i++) {
        if (reader_accepts_as_oracle(texts[i].bytes, texts[i].length) != expected) {
            fprintf(stderr, "not %s: %s\n", expected ? "accepted" : "refused", texts[i].bytes);
            fail();
        }
    }
}

static void test_accepts(void **state)
{
    (void)state;
    check_texts(accepted, sizeof(accepted) / sizeof(accepted[0]), true);
}

static void test_refuses(void **state)
{
    (void)state;
    check_texts(refused, sizeof(refused) / sizeof(refused[0]), false);
}

/* Every acceptable text, cut anywhere, is none. */
static void test_refuses_the_beginnings(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(accepted) / sizeof(accepted[0]); i++) {
        const char *last = memrchr(accepted[i].bytes, '}', accepted[i].length);

        for (size_t length = 0; length <= (size_t)(last - accepted[i].bytes); length++)
            assert_false(reader_accepts_as_oracle(accepted[i].bytes, length));
    }
}

static void test_every_byte_in_a_string(void **state)
{
    (void)state;
    for (unsigned byte = 0; byte < 256; byte++) {
        for (size_t before = 0; before < 9; before++) {
            char text[32];
            int length = snprintf(text, sizeof(text), "{\"a\":\"%.*s?12345678\"}", (int)before, "12345678");

            text[6 + before] = (char)byte;
            assert_int_equal(reader_accepts_as_oracle(text, (size_t)length),
                             byte >= 0x20 && byte < 0x80 && byte != '"' && byte != '\\');
        }
    }
}

static void test_every_second_byte_of_utf8(void **state)
{
    (void)state;
    for (unsigned first = 0x80; first < 0x100; first++) {
        for (unsigned second = 0; second < 0x100; second++) {
            char text[] = "{\"a\":\"??\x80\x80\x80\"}";

            text[6] = (char)first;
            text[7] = (char)second;
            for (unsigned more = 0; more <= 3; more++) {
                text[8 + more] = '"';
                text[9 + more] = '}';
                reader_accepts_as_oracle(text, 10 + more);
                text[8 + more] = text[9 + more] = '\x80';
            }
        }
    }
}

static void test_every_unicode_escape(void **state)
{
    (void)state;
    for (unsigned unit = 0; unit < 0x10000; unit++) {
        char text[32];
        int length = snprintf(text, sizeof(text), "{\"a\":\"\\u%04x\"}", unit);
        bool is_surrogate = unit >= 0xD800 && unit <= 0xDFFF;

        assert_int_equal(reader_accepts_as_oracle(text, (size_t)length), unit != 0 && !is_surrogate);
    }
}

/* `count` keys, the last of which is like key `same` (`count`: like none). */
static size_t many_keys(char *text, unsigned count, unsigned same, const char *before, const char *behind)
{
    size_t length = (size_t)sprintf(text, "%s", before);

    for (unsigned i = 0; i < count; i++) {
        unsigned number = i + 1 == count && same < count ? same : i;

        length += (size_t)sprintf(text + length, "%s\"%x\":%u", i > 0 ? "," : "", number, i);
    }
    return length + (size_t)sprintf(text + length, "%s", behind);
}

static void test_duplicates_among_many(void **state)
{
    static const unsigned counts[] = {2, 3, 15, 16, 17, 18, 31, 32, 33, 64, 100, 1000, 4000};
    char *text = malloc(1 << 17);

    (void)state;
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        unsigned count = counts[i];

        assert_true(reader_accepts_as_oracle(text, many_keys(text, count, count, "{", "}")));
        assert_true(reader_accepts_as_oracle(text, many_keys(text, count, count, "{\"x\":{", "},\"y\":1}")));
        assert_false(reader_accepts_as_oracle(text, many_keys(text, count, 0, "{", "}")));
        assert_false(reader_accepts_as_oracle(text, many_keys(text, count, count - 2, "{", "}")));
        assert_false(reader_accepts_as_oracle(text, many_keys(text, count, (count - 1) / 2, "{\"x\":[{", "}]}")));
    }
    free(text);
}

/* Only for a request, not for a WebSocket message, nothing stands for {}. */
static void test_nothing_is_an_empty_object(void **state)
{
    struct request request;
    struct envelope envelope;

    (void)state;
    assert_true(request_parse(NULL, 0, command_find(CMD_PING), &request));
    assert_null(request.bad_field);
    assert_true(request_parse(NULL, 0, NULL, NULL));
    assert_true(request_parse(NULL, 0, command_find(CMD_LOGIN), &request));
    assert_string_equal(request.bad_field, "user");
    assert_false(request_parse_message((char[]){" "}, 0, &envelope, &request));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accepts),
        cmocka_unit_test(test_refuses),
        cmocka_unit_test(test_refuses_the_beginnings),
        cmocka_unit_test(test_every_byte_in_a_string),
        cmocka_unit_test(test_every_second_byte_of_utf8),
        cmocka_unit_test(test_every_unicode_escape),
        cmocka_unit_test(test_duplicates_among_many),
        cmocka_unit_test(test_nothing_is_an_empty_object),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
