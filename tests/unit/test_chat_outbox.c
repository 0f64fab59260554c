/* test_chat_outbox.c - blocks, ranges, partial writes: what comes out is what was put in, whatever the system takes. */
#include "support_outbox.h"

static void test_what_continues_a_range_extends_it(void **state)
{
    struct rig rig;

    (void)state;
    rig_init(&rig);
    for (int i = 0; i < 10; i++)
        rig_put(&rig, &rig.pushes, 50, true);
    assert_int_equal(rig.outbox.count, 1);
    assert_int_equal(rig.pushes.block->references, 2);
    rig_put(&rig, &rig.pushes, 50, false); /* of another kind: it does not count for the limit */
    assert_int_equal(rig.outbox.count, 2);
    rig_skip(&rig, &rig.pushes, 50);
    rig_put(&rig, &rig.pushes, 50, false); /* not contiguous */
    assert_int_equal(rig.outbox.count, 3);
    rig_put(&rig, &rig.replies, 50, false); /* of another block */
    assert_int_equal(rig.outbox.count, 4);
    assert_int_equal(rig.outbox.waiting_bytes, 650);
    assert_int_equal(rig.outbox.push_bytes, 500);
    rig_write_all(&rig);
    rig_check_all_came(&rig);
    assert_int_equal(rig.pushes.block->references, 1);
    assert_int_equal(rig.replies.block->references, 1);
    rig_fini(&rig);
}

/* A range that was sent in part still grows (I1). */
static void test_a_range_grows_behind_what_was_sent(void **state)
{
    struct rig rig;

    (void)state;
    rig_init(&rig);
    rig_put(&rig, &rig.pushes, 100, true);
    assert_int_equal(rig_write_some(&rig, 30), 30);
    rig_put(&rig, &rig.pushes, 100, true);
    assert_int_equal(rig.outbox.count, 1);
    assert_int_equal(rig.outbox.waiting_bytes, 170);
    assert_int_equal(rig.outbox.push_bytes, 170);
    rig_write_all(&rig);
    rig_check_all_came(&rig);
    rig_fini(&rig);
}

static void put_mixed(struct rig *rig)
{
    rig_put(rig, &rig->pushes, 40, true);
    rig_put(rig, &rig->replies, 30, false);
    rig_put(rig, &rig->pushes, 20, true);
    rig_put(rig, &rig->pushes, 20, false);
    rig_put(rig, &rig->replies, 10, false);
}

/* F-3, seen from the other side. */
static void test_sent_in_two_parts_at_every_place(void **state)
{
    (void)state;
    for (size_t split = 0; split <= 120; split++) {
        struct rig rig;

        rig_init(&rig);
        put_mixed(&rig);
        rig_write_some(&rig, split);
        assert_int_equal(rig.outbox.waiting_bytes, 120 - split);
        rig_write_all(&rig);
        rig_check_all_came(&rig);
        assert_int_equal(rig.pushes.block->references, 1);
        assert_int_equal(rig.replies.block->references, 1);
        rig_fini(&rig);
    }
}

static void test_sent_byte_by_byte(void **state)
{
    struct rig rig;

    (void)state;
    rig_init(&rig);
    put_mixed(&rig);
    while (rig_write_some(&rig, 1) > 0)
        ;
    rig_check_all_came(&rig);
    rig_fini(&rig);
}

static void test_short_ranges_are_gathered(void **state)
{
    struct rig rig;
    struct slice piece;

    (void)state;
    rig_init(&rig);
    assert_int_equal(outbox_piece(&rig.outbox, rig.scratch, sizeof rig.scratch).length, 0);
    rig_put(&rig, &rig.pushes, OUTPUT_GATHER_BYTES / 2, true);
    piece = outbox_piece(&rig.outbox, rig.scratch, sizeof rig.scratch);
    assert_ptr_equal(piece.bytes, rig.pushes.block->bytes); /* one alone is written from where it is */
    outbox_sent(&rig.outbox, 0);
    rig_put(&rig, &rig.replies, OUTPUT_GATHER_BYTES / 2, false);
    rig_put(&rig, &rig.pushes, LENGTH_BYTES, true); /* too much */
    piece = outbox_piece(&rig.outbox, rig.scratch, sizeof rig.scratch);
    assert_ptr_equal(piece.bytes, rig.scratch);
    assert_int_equal(piece.length, OUTPUT_GATHER_BYTES);
    assert_memory_equal(piece.bytes, rig.expected.bytes, OUTPUT_GATHER_BYTES);
    outbox_sent(&rig.outbox, 0);
    assert_int_equal(rig_write_some(&rig, 1), 1);
    assert_int_equal(rig_write_some(&rig, SIZE_MAX), OUTPUT_GATHER_BYTES - 1);
    rig_write_all(&rig);
    rig_check_all_came(&rig);
    rig_fini(&rig);
}

/* What one write takes where a stage writes once a turn: all that a turn has encoded, however it is cut up. */
static void test_a_turn_is_gathered_where_there_is_room(void **state)
{
    static char scratch[OUTPUT_MAX_BYTES];
    struct rig rig;
    struct slice piece;

    (void)state;
    rig_init(&rig);
    for (unsigned i = 0; i < HUB_TURN_ENCODE_BYTES / 8192; i++)
        rig_put(&rig, i % 2 == 0 ? &rig.pushes : &rig.replies, 8192, true);
    piece = outbox_piece(&rig.outbox, scratch, sizeof scratch);
    assert_int_equal(piece.length, HUB_TURN_ENCODE_BYTES);
    buffer_append(&rig.got, piece.bytes, piece.length);
    outbox_sent(&rig.outbox, piece.length);
    rig_check_all_came(&rig);
    rig_fini(&rig);
}

static void test_bounds_of_one_write(void **state)
{
    struct rig rig;

    (void)state;
    rig_init(&rig);
    rig_put(&rig, &rig.pushes, OUTPUT_GATHER_BYTES, true);
    rig_put(&rig, &rig.replies, LENGTH_BYTES, false);
    rig_put(&rig, &rig.pushes, OUTPUT_MAX_BYTES + 20, true);
    assert_int_equal(rig_write_some(&rig, SIZE_MAX), OUTPUT_GATHER_BYTES); /* no room for another */
    assert_int_equal(rig_write_some(&rig, SIZE_MAX), LENGTH_BYTES);        /* nothing that fits follows */
    assert_int_equal(rig_write_some(&rig, SIZE_MAX), OUTPUT_MAX_BYTES);    /* cut */
    assert_int_equal(rig_write_some(&rig, SIZE_MAX), 20);
    rig_check_all_came(&rig);
    rig_fini(&rig);
}

/* One that lags must not pin a block for a few bytes of it. */
static void test_compaction_lets_blocks_go(void **state)
{
    struct rig rig;
    struct block *blocks[20];

    (void)state;
    rig_init(&rig);
    for (int i = 0; i < 20; i++) {
        rig_put(&rig, &rig.pushes, 100, i % 3 != 0);
        blocks[i] = block_hold(rig.pushes.block);
        rig_skip(&rig, &rig.pushes, BLOCK_BYTES - 100); /* the next frame stands in another block */
        if (i == 0)
            rig_write_some(&rig, 33);
        assert_true(rig.outbox.shared_blocks <= OUTBOX_PINNED_BLOCKS_MAX + 1);
    }
    assert_int_equal(blocks[0]->references, 2); /* half sent: it stays in place */
    for (int i = 1; i < 10; i++)
        assert_int_equal(blocks[i]->references, 1);
    assert_int_equal(rig.outbox.waiting_bytes, 2000 - 33);
    assert_int_equal(rig.outbox.push_bytes, 1300);
    rig_write_all(&rig);
    rig_check_all_came(&rig);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(blocks[i]->references, i == 19 ? 2 : 1); /* the writer has the last one */
        block_release(blocks[i]);
    }
    rig_fini(&rig);
}

/* Where the blocks are used well, nothing is copied. */
static void test_full_blocks_are_not_copied(void **state)
{
    struct rig rig;

    (void)state;
    rig_init(&rig);
    for (int i = 0; i < 12; i++)
        rig_put(&rig, &rig.pushes, BLOCK_BYTES, true);
    assert_int_equal(rig.outbox.count, 12);
    assert_int_equal(rig.outbox.shared_blocks, 12);
    rig_write_all(&rig);
    rig_check_all_came(&rig);
    rig_fini(&rig);
}

/* I3: 01 writes without the mutex, while others append. */
static void test_borrowed_bytes_stay_in_place(void **state)
{
    struct rig rig;
    struct slice piece;

    (void)state;
    rig_init(&rig);
    for (int i = 0; i < 3; i++) {
        rig_put(&rig, &rig.pushes, 30000, true);
        rig_skip(&rig, &rig.pushes, BLOCK_BYTES - 30000);
    }
    piece = outbox_piece(&rig.outbox, rig.scratch, sizeof rig.scratch);
    assert_int_equal(piece.length, 30000);
    for (int i = 0; i < 40; i++) { /* more ranges, more blocks than are ever pinned otherwise */
        rig_put(&rig, &rig.pushes, 10, true);
        rig_skip(&rig, &rig.pushes, BLOCK_BYTES - 10);
        assert_true(rig.outbox.shared_blocks <= 1 + OUTBOX_PINNED_BLOCKS_MAX + 1); /* what is not borrowed may move */
    }
    buffer_append(&rig.got, piece.bytes, piece.length);
    assert_memory_equal(rig.got.bytes, rig.expected.bytes, 30000);
    outbox_sent(&rig.outbox, 30000);
    rig_put(&rig, &rig.replies, 10, false);
    assert_true(rig.outbox.shared_blocks <= OUTBOX_PINNED_BLOCKS_MAX + 1);
    rig_write_all(&rig);
    rig_check_all_came(&rig);
    rig_fini(&rig);
}

/* Of the frames of put_mixed(), those that are over or begun when `sent` bytes are written. */
static size_t end_of_begun_frame(size_t sent)
{
    static const size_t lengths[] = {40, 30, 20, 20, 10};
    size_t end = 0;

    for (size_t i = 0; end < sent; i++)
        end += lengths[i];
    return end;
}

/* L-3: the frame half sent is finished, the others are dropped. */
static void test_trim_at_every_place(void **state)
{
    (void)state;
    for (size_t sent = 0; sent <= 120; sent++) {
        struct rig rig;
        size_t end = end_of_begun_frame(sent);

        rig_init(&rig);
        put_mixed(&rig);
        rig_write_some(&rig, sent);
        outbox_trim(&rig.outbox, rig_frame_length);
        assert_int_equal(rig.outbox.waiting_bytes, end - sent);
        assert_true(rig.outbox.push_bytes == 0 || rig.outbox.push_bytes == end - sent);
        rig.expected.length = end;
        rig_put(&rig, &rig.replies, 15, true); /* the bye */
        rig_write_all(&rig);
        rig_check_all_came(&rig);
        assert_int_equal(rig.pushes.block->references, 1);
        assert_int_equal(rig.replies.block->references, 1);
        rig_fini(&rig);
    }
}

/* Frames that share one range are told apart by their lengths. */
static void test_trim_inside_a_range_of_many_frames(void **state)
{
    (void)state;
    for (size_t sent = 0; sent <= 100; sent++) {
        struct rig rig;

        rig_init(&rig);
        for (int i = 0; i < 5; i++)
            rig_put(&rig, &rig.pushes, 20, true);
        rig_write_some(&rig, sent);
        outbox_trim(&rig.outbox, rig_frame_length);
        rig.expected.length = (sent + 19) / 20 * 20;
        assert_int_equal(rig.outbox.push_bytes, rig.expected.length - sent);
        rig_write_all(&rig);
        rig_check_all_came(&rig);
        rig_fini(&rig);
    }
}

/* The usual case of a server whose peers read: one block, again and again. */
static void test_a_block_without_ranges_is_used_again(void **state)
{
    struct rig rig;
    struct block *block;

    (void)state;
    rig_init(&rig);
    rig_put(&rig, &rig.pushes, 40000, true);
    block = rig.pushes.block;
    rig_write_all(&rig);
    rig_put(&rig, &rig.pushes, 40000, true);
    assert_ptr_equal(rig.pushes.block, block);
    assert_int_equal(block->used, 40000);
    rig_put(&rig, &rig.pushes, 40000, true); /* it does not fit, and the first is still waited for */
    assert_ptr_not_equal(rig.pushes.block, block);
    rig_write_all(&rig);
    rig_check_all_came(&rig);
    rig_fini(&rig);
}

static void test_a_frame_larger_than_a_block(void **state)
{
    struct rig rig;

    (void)state;
    rig_init(&rig);
    rig_put(&rig, &rig.replies, 100, false);
    rig_put(&rig, &rig.replies, REPLY_PAYLOAD_MAX_BYTES + 22, false);
    rig_put(&rig, &rig.replies, 100, false);
    assert_true(rig.replies.block->capacity == BLOCK_BYTES);
    while (rig_write_some(&rig, 10007) > 0)
        ;
    rig_check_all_came(&rig);
    rig_fini(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_continues_a_range_extends_it),
        cmocka_unit_test(test_a_range_grows_behind_what_was_sent),
        cmocka_unit_test(test_sent_in_two_parts_at_every_place),
        cmocka_unit_test(test_sent_byte_by_byte),
        cmocka_unit_test(test_short_ranges_are_gathered),
        cmocka_unit_test(test_a_turn_is_gathered_where_there_is_room),
        cmocka_unit_test(test_bounds_of_one_write),
        cmocka_unit_test(test_compaction_lets_blocks_go),
        cmocka_unit_test(test_full_blocks_are_not_copied),
        cmocka_unit_test(test_borrowed_bytes_stay_in_place),
        cmocka_unit_test(test_trim_at_every_place),
        cmocka_unit_test(test_trim_inside_a_range_of_many_frames),
        cmocka_unit_test(test_a_block_without_ranges_is_used_again),
        cmocka_unit_test(test_a_frame_larger_than_a_block),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
