/* test_chat_outbox.c - blocks, ranges, partial writes: what comes out is what was put in, whatever the system takes. */
#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "chat/outbox.h"

enum { PIECES_MAX = 64, LENGTH_BYTES = 4 };

/* An outbox with two writers, as a hub has, and what should come out of it. */
struct rig {
    struct block_writer pushes, replies;
    struct outbox outbox;
    struct buffer expected; /* appended so far */
    struct buffer got;      /* written so far */
    unsigned char next;     /* no two frames are alike */
    char scratch[OUTPUT_GATHER_BYTES];
};

static void rig_init(struct rig *rig)
{
    memset(rig, 0, sizeof *rig);
    block_writer_init(&rig->pushes);
    block_writer_init(&rig->replies);
    outbox_init(&rig->outbox);
}

static void rig_fini(struct rig *rig)
{
    outbox_fini(&rig->outbox);
    block_writer_fini(&rig->pushes);
    block_writer_fini(&rig->replies);
    buffer_fini(&rig->expected);
    buffer_fini(&rig->got);
}

/* A frame of this file: its length, and bytes that tell it from others. */
static void fill(struct rig *rig, char *room, uint32_t length)
{
    memset(room, ++rig->next, length);
    memcpy(room, &length, LENGTH_BYTES);
}

static size_t length_of_frame(const void *bytes)
{
    uint32_t length;

    memcpy(&length, bytes, LENGTH_BYTES);
    return length;
}

/* A frame that this outbox does not get. */
static void skip_frame(struct rig *rig, struct block_writer *writer, uint32_t length)
{
    char *room = block_writer_room(writer, length);

    assert_non_null(room);
    fill(rig, room, length);
    block_writer_commit(writer, length);
}

static void put(struct rig *rig, struct block_writer *writer, uint32_t length, bool push)
{
    uint32_t offset;

    skip_frame(rig, writer, length);
    offset = writer->block->used - length;
    assert_true(outbox_append(&rig->outbox, writer->block, offset, length, push));
    buffer_append(&rig->expected, writer->block->bytes + offset, length);
}

static size_t total(const struct iovec *iov, int count)
{
    size_t length = 0;

    for (int i = 0; i < count; i++)
        length += iov[i].iov_len;
    return length;
}

static void keep(struct rig *rig, const struct iovec *iov, int count, size_t length)
{
    for (int i = 0; i < count && length > 0; i++) {
        size_t part = iov[i].iov_len < length ? iov[i].iov_len : length;

        buffer_append(&rig->got, iov[i].iov_base, part);
        length -= part;
    }
}

/* One write, of which the system takes at most `most`. Returns what it took. */
static size_t write_some(struct rig *rig, int iov_max, size_t most)
{
    struct iovec iov[PIECES_MAX];
    int count = outbox_pieces(&rig->outbox, iov, iov_max, rig->scratch);
    size_t length = total(iov, count) < most ? total(iov, count) : most;

    if (count == 0)
        return 0;
    keep(rig, iov, count, length);
    outbox_sent(&rig->outbox, length);
    return length;
}

static void write_all(struct rig *rig)
{
    while (write_some(rig, PIECES_MAX, SIZE_MAX) > 0)
        ;
}

/* Everything came, and nothing is owned any more (I4). */
static void check_all_came(struct rig *rig)
{
    assert_int_equal(rig->got.length, rig->expected.length);
    assert_memory_equal(rig->got.bytes, rig->expected.bytes, rig->got.length);
    assert_null(rig->outbox.ranges);
    assert_int_equal(rig->outbox.count, 0);
    assert_int_equal(rig->outbox.waiting_bytes, 0);
    assert_int_equal(rig->outbox.push_bytes, 0);
}

static void test_what_continues_a_range_extends_it(void **state)
{
    struct rig rig;

    (void)state;
    rig_init(&rig);
    for (int i = 0; i < 10; i++)
        put(&rig, &rig.pushes, 50, true);
    assert_int_equal(rig.outbox.count, 1);
    assert_int_equal(rig.pushes.block->references, 2);
    put(&rig, &rig.pushes, 50, false); /* of another kind: it does not count for the limit */
    assert_int_equal(rig.outbox.count, 2);
    skip_frame(&rig, &rig.pushes, 50);
    put(&rig, &rig.pushes, 50, false); /* not contiguous */
    assert_int_equal(rig.outbox.count, 3);
    put(&rig, &rig.replies, 50, false); /* of another block */
    assert_int_equal(rig.outbox.count, 4);
    assert_int_equal(rig.outbox.waiting_bytes, 650);
    assert_int_equal(rig.outbox.push_bytes, 500);
    write_all(&rig);
    check_all_came(&rig);
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
    put(&rig, &rig.pushes, 100, true);
    assert_int_equal(write_some(&rig, PIECES_MAX, 30), 30);
    put(&rig, &rig.pushes, 100, true);
    assert_int_equal(rig.outbox.count, 1);
    assert_int_equal(rig.outbox.waiting_bytes, 170);
    assert_int_equal(rig.outbox.push_bytes, 170);
    write_all(&rig);
    check_all_came(&rig);
    rig_fini(&rig);
}

static void put_mixed(struct rig *rig)
{
    put(rig, &rig->pushes, 40, true);
    put(rig, &rig->replies, 30, false);
    put(rig, &rig->pushes, 20, true);
    put(rig, &rig->pushes, 20, false);
    put(rig, &rig->replies, 10, false);
}

/* F-3, seen from the other side. */
static void test_sent_in_two_parts_at_every_place(void **state)
{
    (void)state;
    for (size_t split = 0; split <= 120; split++) {
        struct rig rig;

        rig_init(&rig);
        put_mixed(&rig);
        write_some(&rig, PIECES_MAX, split);
        assert_int_equal(rig.outbox.waiting_bytes, 120 - split);
        write_all(&rig);
        check_all_came(&rig);
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
    while (write_some(&rig, 1, 1) > 0)
        ;
    check_all_came(&rig);
    rig_fini(&rig);
}

static void test_small_pieces_are_gathered(void **state)
{
    struct rig rig;
    struct iovec iov[PIECES_MAX];

    (void)state;
    rig_init(&rig);
    put(&rig, &rig.pushes, OUTPUT_GATHER_BYTES / 2, true);
    assert_int_equal(outbox_pieces(&rig.outbox, iov, PIECES_MAX, rig.scratch), 1);
    assert_ptr_equal(iov[0].iov_base, rig.pushes.block->bytes); /* one alone is written from where it is */
    outbox_sent(&rig.outbox, 0);
    put(&rig, &rig.replies, OUTPUT_GATHER_BYTES / 2, false);
    assert_int_equal(outbox_pieces(&rig.outbox, iov, PIECES_MAX, rig.scratch), 1);
    assert_ptr_equal(iov[0].iov_base, rig.scratch);
    assert_int_equal(iov[0].iov_len, OUTPUT_GATHER_BYTES);
    assert_memory_equal(rig.scratch, rig.expected.bytes, OUTPUT_GATHER_BYTES);
    outbox_sent(&rig.outbox, 0);
    put(&rig, &rig.pushes, LENGTH_BYTES, true); /* too much to copy */
    assert_int_equal(outbox_pieces(&rig.outbox, iov, PIECES_MAX, rig.scratch), 3);
    outbox_sent(&rig.outbox, 0);
    write_all(&rig);
    check_all_came(&rig);
    rig_fini(&rig);
}

static void test_bounds_of_one_write(void **state)
{
    struct rig rig;
    struct iovec iov[PIECES_MAX];

    (void)state;
    rig_init(&rig);
    for (int i = 0; i < 7; i++)
        put(&rig, i % 2 == 0 ? &rig.pushes : &rig.replies, 60000, true);
    assert_int_equal(outbox_pieces(&rig.outbox, iov, 3, rig.scratch), 3);
    assert_int_equal(total(iov, 3), 180000);
    outbox_sent(&rig.outbox, 0);
    assert_int_equal(outbox_pieces(&rig.outbox, iov, PIECES_MAX, rig.scratch), 5);
    assert_int_equal(total(iov, 5), OUTPUT_MAX_BYTES); /* the last piece is cut */
    keep(&rig, iov, 5, OUTPUT_MAX_BYTES);
    outbox_sent(&rig.outbox, OUTPUT_MAX_BYTES);
    write_all(&rig);
    check_all_came(&rig);
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
        put(&rig, &rig.pushes, 100, i % 3 != 0);
        blocks[i] = block_hold(rig.pushes.block);
        skip_frame(&rig, &rig.pushes, BLOCK_BYTES - 100); /* the next frame stands in another block */
        if (i == 0)
            write_some(&rig, PIECES_MAX, 33);
        assert_true(rig.outbox.shared_blocks <= OUTBOX_PINNED_BLOCKS_MAX + 1);
    }
    assert_int_equal(blocks[0]->references, 2); /* half sent: it stays in place */
    for (int i = 1; i < 10; i++)
        assert_int_equal(blocks[i]->references, 1);
    assert_int_equal(rig.outbox.waiting_bytes, 2000 - 33);
    assert_int_equal(rig.outbox.push_bytes, 1300);
    write_all(&rig);
    check_all_came(&rig);
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
        put(&rig, &rig.pushes, BLOCK_BYTES, true);
    assert_int_equal(rig.outbox.count, 12);
    assert_int_equal(rig.outbox.shared_blocks, 12);
    write_all(&rig);
    check_all_came(&rig);
    rig_fini(&rig);
}

/* I3: 01 writes without the mutex, while others append. */
static void test_borrowed_bytes_stay_in_place(void **state)
{
    struct rig rig;
    struct iovec iov[PIECES_MAX];
    int count;

    (void)state;
    rig_init(&rig);
    for (int i = 0; i < 3; i++) {
        put(&rig, &rig.pushes, 30000, true);
        skip_frame(&rig, &rig.pushes, BLOCK_BYTES - 30000);
    }
    count = outbox_pieces(&rig.outbox, iov, PIECES_MAX, rig.scratch);
    assert_int_equal(count, 3);
    for (int i = 0; i < 40; i++) { /* more ranges, more blocks than are ever pinned otherwise */
        put(&rig, &rig.pushes, 10, true);
        skip_frame(&rig, &rig.pushes, BLOCK_BYTES - 10);
    }
    keep(&rig, iov, count, 90000);
    assert_memory_equal(rig.got.bytes, rig.expected.bytes, 90000);
    outbox_sent(&rig.outbox, 90000);
    put(&rig, &rig.replies, 10, false);
    assert_true(rig.outbox.shared_blocks <= OUTBOX_PINNED_BLOCKS_MAX); /* made up for */
    write_all(&rig);
    check_all_came(&rig);
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
        write_some(&rig, PIECES_MAX, sent);
        outbox_trim(&rig.outbox, length_of_frame);
        assert_int_equal(rig.outbox.waiting_bytes, end - sent);
        assert_true(rig.outbox.push_bytes == 0 || rig.outbox.push_bytes == end - sent);
        rig.expected.length = end;
        put(&rig, &rig.replies, 15, true); /* the bye */
        write_all(&rig);
        check_all_came(&rig);
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
            put(&rig, &rig.pushes, 20, true);
        write_some(&rig, PIECES_MAX, sent);
        outbox_trim(&rig.outbox, length_of_frame);
        rig.expected.length = (sent + 19) / 20 * 20;
        assert_int_equal(rig.outbox.push_bytes, rig.expected.length - sent);
        write_all(&rig);
        check_all_came(&rig);
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
    put(&rig, &rig.pushes, 40000, true);
    block = rig.pushes.block;
    write_all(&rig);
    put(&rig, &rig.pushes, 40000, true);
    assert_ptr_equal(rig.pushes.block, block);
    assert_int_equal(block->used, 40000);
    put(&rig, &rig.pushes, 40000, true); /* it does not fit, and the first is still waited for */
    assert_ptr_not_equal(rig.pushes.block, block);
    write_all(&rig);
    check_all_came(&rig);
    rig_fini(&rig);
}

static void test_a_frame_larger_than_a_block(void **state)
{
    struct rig rig;

    (void)state;
    rig_init(&rig);
    put(&rig, &rig.replies, 100, false);
    put(&rig, &rig.replies, REPLY_PAYLOAD_MAX_BYTES + 22, false);
    put(&rig, &rig.replies, 100, false);
    assert_true(rig.replies.block->capacity == BLOCK_BYTES);
    while (write_some(&rig, PIECES_MAX, 10007) > 0)
        ;
    check_all_came(&rig);
    rig_fini(&rig);
}

/* ---- against a model ---- */

enum { MODEL_FRAMES = 100000, OPERATIONS = 40000 };

struct model_frame {
    uint32_t waiting;
    bool push;
};

struct model {
    struct model_frame *frames;
    size_t first, count;
};

static void model_sent(struct model *model, size_t length)
{
    while (length > 0) {
        struct model_frame *frame = &model->frames[model->first];
        uint32_t part = frame->waiting < length ? frame->waiting : (uint32_t)length;

        frame->waiting -= part;
        length -= part;
        model->first += frame->waiting == 0;
    }
}

static void model_check(const struct model *model, const struct outbox *outbox)
{
    size_t waiting = 0, pushes = 0;

    for (size_t i = model->first; i < model->count; i++) {
        waiting += model->frames[i].waiting;
        pushes += model->frames[i].push ? model->frames[i].waiting : 0;
    }
    assert_int_equal(outbox->waiting_bytes, waiting);
    assert_int_equal(outbox->push_bytes, pushes);
}

static void random_append(struct rig *rig, struct model *model, uint64_t *seed)
{
    struct block_writer *writer = support_random(seed, 2) == 0 ? &rig->pushes : &rig->replies;
    uint32_t length = LENGTH_BYTES + (uint32_t)support_random(seed, support_random(seed, 20) == 0 ? 80000 : 300);
    bool push = support_random(seed, 4) != 0;

    if (support_random(seed, 3) == 0)
        skip_frame(rig, writer, LENGTH_BYTES + (uint32_t)support_random(seed, 60000));
    put(rig, writer, length, push);
    model->frames[model->count++] = (struct model_frame){length, push};
}

/* A write; between the look and its end, others may append (I3). */
static void random_write(struct rig *rig, struct model *model, uint64_t *seed)
{
    struct iovec iov[PIECES_MAX];
    int count = outbox_pieces(&rig->outbox, iov, 1 + (int)support_random(seed, PIECES_MAX - 1), rig->scratch);
    size_t length;

    if (count == 0)
        return;
    for (uint64_t appends = support_random(seed, 3); appends > 0; appends--)
        random_append(rig, model, seed);
    length = support_random(seed, 3) == 0 ? total(iov, count) : support_random(seed, total(iov, count) + 1);
    keep(rig, iov, count, length);
    outbox_sent(&rig->outbox, length);
    model_sent(model, length);
}

static void test_random_operations_against_a_model(void **state)
{
    struct rig rig;
    struct model model = {.frames = calloc(MODEL_FRAMES, sizeof *model.frames)};
    uint64_t seed = 20240607;

    (void)state;
    print_message("seed %llu\n", (unsigned long long)seed);
    rig_init(&rig);
    for (int i = 0; i < OPERATIONS; i++) {
        /* By turns more comes than goes, and more goes than comes. */
        if (support_random(&seed, 10) < (i / 500 % 2 == 0 ? 7 : 3))
            random_append(&rig, &model, &seed);
        else
            random_write(&rig, &model, &seed);
        if (i % 16 == 0)
            model_check(&model, &rig.outbox);
        if (rig.outbox.count == 0) {
            check_all_came(&rig);
            buffer_clear(&rig.expected);
            buffer_clear(&rig.got);
        }
    }
    write_all(&rig);
    check_all_came(&rig);
    assert_int_equal(rig.pushes.block->references, 1);
    assert_int_equal(rig.replies.block->references, 1);
    free(model.frames);
    rig_fini(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_continues_a_range_extends_it),
        cmocka_unit_test(test_a_range_grows_behind_what_was_sent),
        cmocka_unit_test(test_sent_in_two_parts_at_every_place),
        cmocka_unit_test(test_sent_byte_by_byte),
        cmocka_unit_test(test_small_pieces_are_gathered),
        cmocka_unit_test(test_bounds_of_one_write),
        cmocka_unit_test(test_compaction_lets_blocks_go),
        cmocka_unit_test(test_full_blocks_are_not_copied),
        cmocka_unit_test(test_borrowed_bytes_stay_in_place),
        cmocka_unit_test(test_trim_at_every_place),
        cmocka_unit_test(test_trim_inside_a_range_of_many_frames),
        cmocka_unit_test(test_a_block_without_ranges_is_used_again),
        cmocka_unit_test(test_a_frame_larger_than_a_block),
        cmocka_unit_test(test_random_operations_against_a_model),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
