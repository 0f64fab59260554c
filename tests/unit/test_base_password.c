/* test_base_password.c - hashes: salted, verified, and trouble with memory told from a wrong password. */
#include "support.h"

#include <sodium.h>
#include <string.h>
#include <sys/resource.h>

#include "base/password.h"

static const struct slice right = {"correct horse", 13};

static int setup(void **state)
{
    (void)state;
    return password_init() ? 0 : -1;
}

static void a_hash_verifies_its_password_alone(void **state)
{
    char hash[PASSWORD_HASH_BYTES];

    (void)state;
    assert_true(password_hash(hash, right, OPTION_PASSWORD_MIN));
    assert_memory_equal(hash, "$argon2id$", 10);
    assert_null(strstr(hash, "horse"));
    assert_int_equal(password_verify(hash, right), PASSWORD_RIGHT);
    assert_int_equal(password_verify(hash, SLICE_LITERAL("correct horsE")), PASSWORD_WRONG);
    assert_int_equal(password_verify(hash, SLICE_LITERAL("correct hors")), PASSWORD_WRONG);
    assert_int_equal(password_verify(hash, (struct slice){0}), PASSWORD_WRONG);
}

static void each_hash_has_its_salt(void **state)
{
    char first[PASSWORD_HASH_BYTES], second[PASSWORD_HASH_BYTES];

    (void)state;
    assert_true(password_hash(first, right, OPTION_PASSWORD_MIN));
    assert_true(password_hash(second, right, OPTION_PASSWORD_MIN));
    assert_string_not_equal(first, second);
}

static void the_cost_is_in_the_hash(void **state)
{
    char hash[PASSWORD_HASH_BYTES];

    (void)state;
    assert_true(password_hash(hash, right, OPTION_PASSWORD_INTERACTIVE));
    assert_non_null(strstr(hash, "m=65536,t=2")); /* KiB, passes: RFC 9106, 3.1 */
    assert_int_equal(password_verify(hash, right), PASSWORD_RIGHT);
    assert_true(password_hash(hash, right, OPTION_PASSWORD_MIN));
    assert_non_null(strstr(hash, "m=8,t=1"));
}

static void bytes_are_compared_not_texts(void **state)
{
    char hash[PASSWORD_HASH_BYTES];

    (void)state;
    assert_true(password_hash(hash, SLICE_LITERAL("a\0bc"), OPTION_PASSWORD_MIN));
    assert_int_equal(password_verify(hash, SLICE_LITERAL("a\0bc")), PASSWORD_RIGHT);
    assert_int_equal(password_verify(hash, SLICE_LITERAL("a\0bd")), PASSWORD_WRONG);
}

static void a_damaged_hash_is_nobodys(void **state)
{
    char hash[PASSWORD_HASH_BYTES], damaged[PASSWORD_HASH_BYTES];
    size_t length;

    (void)state;
    assert_true(password_hash(hash, right, OPTION_PASSWORD_MIN));
    length = strlen(hash);
    for (size_t i = 0; i < length; i++) { /* cut at every place, and one character changed at every place */
        memcpy(damaged, hash, length + 1);
        damaged[i] = '\0';
        assert_int_equal(password_verify(damaged, right), PASSWORD_WRONG);
        damaged[i] = hash[i] == '1' ? '2' : '1';
        assert_int_equal(password_verify(damaged, right), PASSWORD_WRONG);
    }
    memcpy(damaged, hash, length);
    memcpy(damaged + length, "A", 2);
    assert_int_equal(password_verify(damaged, right), PASSWORD_WRONG);
    assert_int_equal(password_verify("$argon2id$v=19$m=7,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA$"
                                     "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
                                     right),
                     PASSWORD_WRONG);
}

/* One that libsodium's own function made, and the other way round. */
static void hashes_are_those_of_libsodium(void **state)
{
    char hash[PASSWORD_HASH_BYTES];

    (void)state;
    assert_int_equal(crypto_pwhash_str(hash, right.bytes, right.length, 3, 65536), 0);
    assert_int_equal(password_verify(hash, right), PASSWORD_RIGHT);
    assert_true(password_hash(hash, right, OPTION_PASSWORD_MIN));
    assert_int_equal(crypto_pwhash_str_verify(hash, right.bytes, right.length), 0);
}

static int verify_without_memory(void *arg)
{
    static const struct rlimit limit = {48u << 20, 48u << 20}; /* less than one interactive hash takes */
    char hash[PASSWORD_HASH_BYTES];

    if (setrlimit(RLIMIT_AS, &limit) < 0)
        return 1;
    if (password_verify(arg, right) != PASSWORD_NO_MEMORY)
        return 2;
    if (password_hash(hash, right, OPTION_PASSWORD_INTERACTIVE))
        return 3;
    return password_hash(hash, right, OPTION_PASSWORD_MIN) && password_verify(hash, right) == PASSWORD_RIGHT ? 0 : 4;
}

static void no_memory_is_no_wrong_password(void **state)
{
    char hash[PASSWORD_HASH_BYTES];

    (void)state;
    if (support_memory_is_watched())
        skip();
    assert_true(password_hash(hash, right, OPTION_PASSWORD_INTERACTIVE));
    assert_int_equal(support_in_child(verify_without_memory, hash), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_hash_verifies_its_password_alone),
        cmocka_unit_test(each_hash_has_its_salt),
        cmocka_unit_test(the_cost_is_in_the_hash),
        cmocka_unit_test(bytes_are_compared_not_texts),
        cmocka_unit_test(a_damaged_hash_is_nobodys),
        cmocka_unit_test(hashes_are_those_of_libsodium),
        cmocka_unit_test(no_memory_is_no_wrong_password),
    };

    return cmocka_run_group_tests(tests, setup, NULL);
}
