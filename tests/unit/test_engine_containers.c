/* test_engine_containers.c - the index and the sorted set that the engine's model is made of. */
#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "chat/hash_index.h"
#include "chat/names.h"

struct thing {
    struct hash_node node;
    uint64_t key;
    bool in;
};

static struct thing *find(const struct hash_index *index, uint64_t hash, uint64_t key)
{
    struct hash_node *node = hash_index_find(index, hash);

    for (; node != NULL; node = hash_index_find_next(node))
        if (HASH_NODE_OWNER(node, struct thing, node)->key == key)
            return HASH_NODE_OWNER(node, struct thing, node);
    return NULL;
}

enum { THINGS = 20000, ROUNDS = 5 * THINGS };

/* `collide`: so many keys share a hash. */
static void check_index(uint64_t collide)
{
    struct hash_index index;
    struct thing *things = calloc(THINGS, sizeof *things);
    uint64_t random = 1;
    size_t count = 0, walked = 0;

    assert_true(hash_index_init(&index));
    for (uint64_t round = 0; round < ROUNDS; round++) {
        struct thing *thing = &things[support_random(&random, THINGS)];
        uint64_t hash = (uint64_t)(thing - things) / collide * 0x9E3779B97F4A7C15u;

        thing->key = (uint64_t)(thing - things);
        assert_ptr_equal(find(&index, hash, thing->key), thing->in ? thing : NULL);
        if (thing->in)
            hash_index_remove(&index, &thing->node);
        else
            hash_index_add(&index, &thing->node, hash);
        thing->in = !thing->in;
        count += thing->in ? 1 : (size_t)-1;
        assert_int_equal(index.count, count);
    }
    for (struct hash_node *node = NULL; (node = hash_index_walk(&index, node)) != NULL; walked++)
        assert_true(HASH_NODE_OWNER(node, struct thing, node)->in);
    assert_int_equal(walked, count);
    hash_index_fini(&index);
    free(things);
}

static void test_index(void **state)
{
    (void)state;
    check_index(1);
    check_index(7);
}

static void test_an_empty_index_finds_nothing(void **state)
{
    struct hash_index index;

    (void)state;
    assert_true(hash_index_init(&index));
    assert_null(hash_index_find(&index, 0));
    assert_null(hash_index_walk(&index, NULL));
    hash_index_fini(&index);
}

static struct name name_of(const char *text)
{
    struct name name = {.length = (unsigned char)strlen(text)};

    memcpy(name.bytes, text, name.length);
    return name;
}

static void put(struct names *names, struct name *name)
{
    assert_true(names_reserve(names));
    names_insert(names, name);
}

static void test_names_are_in_byte_order(void **state)
{
    const char *texts[] = {"b", "Zed", "a", "a-b", "aa", "a.b", "0", "a_b", "B"};
    const char *sorted[] = {"0", "B", "Zed", "a", "a-b", "a.b", "a_b", "aa", "b"};
    struct name items[9];
    struct names names = {0};

    (void)state;
    for (int i = 0; i < 9; i++) {
        items[i] = name_of(texts[i]);
        put(&names, &items[i]);
    }
    for (int i = 0; i < 9; i++)
        assert_true(slice_equal(name_slice(names.items[i]), slice_of(sorted[i])));
    assert_int_equal(names_lower_bound(&names, slice_of("a")), 3);
    assert_int_equal(names_lower_bound(&names, slice_of("a!")), 4);
    assert_int_equal(names_lower_bound(&names, slice_of("~")), 9);
    names_remove(&names, &items[4]);
    assert_false(names_contain(&names, &items[4]));
    assert_true(names_contain(&names, &items[0]));
    assert_int_equal(names.count, 8);
    names_fini(&names);
}

/* As a dismissed group and the new one of its name are. */
static void test_names_spelled_alike_are_told_apart(void **state)
{
    struct name one = name_of("tea"), two = name_of("tea"), three = name_of("tea");
    struct names names = {0};

    (void)state;
    put(&names, &one);
    put(&names, &two);
    assert_false(names_contain(&names, &three));
    names_remove(&names, &one);
    assert_true(names_contain(&names, &two));
    assert_false(names_contain(&names, &one));
    names_fini(&names);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_index),
        cmocka_unit_test(test_an_empty_index_finds_nothing),
        cmocka_unit_test(test_names_are_in_byte_order),
        cmocka_unit_test(test_names_spelled_alike_are_told_apart),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
