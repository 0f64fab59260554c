/* test_base_buffer.c - buffers and arenas: growing, failing, and what is still true after a failure. */
#include "support.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/buffer.h"

static void empty_buffer_owns_nothing(void **state)
{
    struct buffer buffer;

    (void)state;
    buffer_init(&buffer);
    buffer_append(&buffer, NULL, 0);
    assert_null(buffer.bytes);
    assert_int_equal(buffer_slice(&buffer).length, 0);
    assert_true(buffer_reserve(&buffer, 0));
    assert_null(buffer.bytes);
    buffer_fini(&buffer);
}

static void appends_grow(void **state)
{
    struct buffer buffer = {0};
    const char *bytes;

    (void)state;
    for (int i = 0; i < 5000; i++) {
        char byte = (char)i;

        buffer_append(&buffer, &byte, 1);
    }
    assert_false(buffer.failed);
    assert_int_equal(buffer.length, 5000);
    bytes = buffer_slice(&buffer).bytes;
    for (int i = 0; i < 5000; i++)
        assert_true(bytes[i] == (char)i);
    buffer_fini(&buffer);
    assert_null(buffer.bytes);
}

static void reserved_room_stays_in_place(void **state)
{
    struct buffer buffer = {0};
    const char *bytes;

    (void)state;
    assert_true(buffer_reserve(&buffer, 1000));
    bytes = buffer.bytes;
    for (int i = 0; i < 1000; i++)
        buffer_append(&buffer, "x", 1);
    assert_ptr_equal(buffer.bytes, bytes);
    buffer_fini(&buffer);
}

/* The content stays, later pieces are left out (a text with a hole would be worse than none), and clearing mends it. */
static void failure_is_remembered(void **state)
{
    struct buffer buffer = {0};

    (void)state;
    buffer_append(&buffer, "before", 6);
    assert_false(buffer_reserve(&buffer, SIZE_MAX / 4)); /* more than there is */
    assert_true(buffer.failed);
    buffer_append(&buffer, "after", 5);
    assert_int_equal(buffer.length, 6);
    assert_memory_equal(buffer.bytes, "before", 6);
    assert_false(buffer_reserve(&buffer, SIZE_MAX)); /* more than a size can say */

    buffer_clear(&buffer);
    assert_false(buffer.failed);
    buffer_append(&buffer, "again", 5);
    assert_memory_equal(buffer.bytes, "again", 5);
    buffer_fini(&buffer);
}

static void drop_front_moves_the_rest(void **state)
{
    struct buffer buffer = {0};

    (void)state;
    buffer_append(&buffer, "frame rest", 10);
    buffer_drop_front(&buffer, 6);
    assert_int_equal(buffer.length, 4);
    assert_memory_equal(buffer.bytes, "rest", 4);
    buffer_drop_front(&buffer, 0);
    buffer_drop_front(&buffer, 4);
    assert_int_equal(buffer.length, 0);
    buffer_fini(&buffer);
}

static void arena_pieces_are_apart_and_stay(void **state)
{
    struct arena arena;
    unsigned char *pieces[600];
    size_t used = 0;

    (void)state;
    arena_init(&arena);
    for (size_t i = 0; i < 600; i++) {
        pieces[i] = arena_alloc(&arena, i);
        assert_non_null(pieces[i]);
        assert_int_equal((uintptr_t)pieces[i] % _Alignof(max_align_t), 0);
        memset(pieces[i], (int)i, i);
        assert_true(arena.used_bytes >= used + i); /* I2 */
        used = arena.used_bytes;
    }
    for (size_t i = 0; i < 600; i++)
        for (size_t k = 0; k < i; k++)
            assert_int_equal(pieces[i][k], (unsigned char)i);
    arena_fini(&arena);
    assert_int_equal(arena.used_bytes, 0);
}

static void arena_takes_what_is_larger_than_a_chunk(void **state)
{
    struct arena arena = {0};
    char *large, *small;

    (void)state;
    large = arena_alloc(&arena, 1u << 20);
    assert_non_null(large);
    memset(large, 1, 1u << 20);
    small = arena_alloc(&arena, 10);
    assert_non_null(small);
    memset(small, 2, 10);
    assert_int_equal(large[(1u << 20) - 1], 1);
    arena_fini(&arena);
}

static void arena_failure_changes_nothing(void **state)
{
    struct arena arena = {0};
    char *piece = arena_alloc(&arena, 8);
    size_t used = arena.used_bytes;

    (void)state;
    assert_null(arena_alloc(&arena, SIZE_MAX));
    assert_null(arena_alloc(&arena, SIZE_MAX - 100));
    assert_null(arena_alloc(&arena, SIZE_MAX / 4));
    assert_int_equal(arena.used_bytes, used);
    assert_ptr_not_equal(arena_alloc(&arena, 8), piece);
    arena_fini(&arena);
}

static void arena_copies(void **state)
{
    struct arena arena = {0};
    char text[] = "borrowed";
    struct slice copy;

    (void)state;
    assert_true(arena_copy(&arena, (struct slice){0}, &copy));
    assert_int_equal(copy.length, 0);
    assert_int_equal(arena.used_bytes, 0); /* an empty one needs no memory */
    assert_true(arena_copy(&arena, slice_of(text), &copy));
    memset(text, 'x', sizeof text - 1);
    assert_true(slice_equal(copy, SLICE_LITERAL("borrowed")));
    assert_false(arena_copy(&arena, (struct slice){text, SIZE_MAX / 4}, &copy));
    assert_int_equal(copy.length, 0);
    arena_fini(&arena);
}

static void slices_are_in_byte_order(void **state)
{
    (void)state;
    assert_true(slice_compare(SLICE_LITERAL("a"), SLICE_LITERAL("b")) < 0);
    assert_true(slice_compare(SLICE_LITERAL("a"), SLICE_LITERAL("a")) == 0);
    assert_true(slice_compare(SLICE_LITERAL("a"), SLICE_LITERAL("aa")) < 0);
    assert_true(slice_compare(SLICE_LITERAL("B"), SLICE_LITERAL("a")) < 0);
    assert_true(slice_compare(SLICE_LITERAL("\xC3"), SLICE_LITERAL("a")) > 0); /* bytes are unsigned */
    assert_true(slice_compare((struct slice){0}, SLICE_LITERAL("a")) < 0);
    assert_true(slice_equal((struct slice){0}, SLICE_LITERAL("")));
    assert_false(slice_equal(SLICE_LITERAL("a"), SLICE_LITERAL("b")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(empty_buffer_owns_nothing),
        cmocka_unit_test(appends_grow),
        cmocka_unit_test(reserved_room_stays_in_place),
        cmocka_unit_test(failure_is_remembered),
        cmocka_unit_test(drop_front_moves_the_rest),
        cmocka_unit_test(arena_pieces_are_apart_and_stay),
        cmocka_unit_test(arena_takes_what_is_larger_than_a_chunk),
        cmocka_unit_test(arena_failure_changes_nothing),
        cmocka_unit_test(arena_copies),
        cmocka_unit_test(slices_are_in_byte_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
