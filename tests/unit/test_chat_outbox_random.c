/* test_chat_outbox_random.c - an outbox against a naive model of it, on random operations. */
#include "support_outbox.h"

#include <stdlib.h>

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
        rig_skip(rig, writer, LENGTH_BYTES + (uint32_t)support_random(seed, 60000));
    rig_put(rig, writer, length, push);
    model->frames[model->count++] = (struct model_frame){length, push};
}

/* A write; between the look and its end, others may append (I3). */
static void random_write(struct rig *rig, struct model *model, uint64_t *seed)
{
    struct slice piece = outbox_piece(&rig->outbox, rig->scratch, sizeof rig->scratch);
    size_t length;

    if (piece.length == 0)
        return;
    for (uint64_t appends = support_random(seed, 3); appends > 0; appends--)
        random_append(rig, model, seed);
    length = support_random(seed, 3) == 0 ? piece.length : support_random(seed, piece.length + 1);
    buffer_append(&rig->got, piece.bytes, length);
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
            rig_check_all_came(&rig);
            buffer_clear(&rig.expected);
            buffer_clear(&rig.got);
        }
    }
    rig_write_all(&rig);
    rig_check_all_came(&rig);
    assert_int_equal(rig.pushes.block->references, 1);
    assert_int_equal(rig.replies.block->references, 1);
    free(model.frames);
    rig_fini(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_operations_against_a_model),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
