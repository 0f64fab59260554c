/* test_bench_measuring.c - what the load generator measures with: latencies, marks in texts, the order of messages. */
#include "support.h"

#include <string.h>

#include "histogram.h"
#include "mark.h"
#include "order.h"

/* ---- histogram ---- */

static void small_values_are_exact(void **state)
{
    static struct histogram histogram;

    (void)state;
    histogram_clear(&histogram);
    for (uint64_t value = 0; value < 64; value++)
        histogram_record(&histogram, value);
    for (uint64_t value = 0; value < 64; value++)
        assert_int_equal(histogram_quantile(&histogram, ((double)value + 1) / 64), value);
}

/* Alone in the histogram, a value is found again, never smaller, and at most a 64th larger; but for the largest, which is
 * kept as it is. */
static void no_value_is_off_by_more_than_a_step(void **state)
{
    static struct histogram histogram;

    (void)state;
    for (uint64_t value = 1; value < UINT64_C(1) << 41; value += value / 7 + 1) {
        uint64_t found;

        histogram_clear(&histogram);
        histogram_record(&histogram, value);
        histogram_record(&histogram, UINT64_C(1) << 41);
        found = histogram_quantile(&histogram, 0.5);
        assert_true(found >= value);
        assert_true(found - value <= value / 64);
    }
    assert_int_equal(histogram_quantile(&histogram, 1), UINT64_C(1) << 41);
}

static void quantiles_of_many(void **state)
{
    static struct histogram histogram;

    (void)state;
    histogram_clear(&histogram);
    assert_int_equal(histogram_quantile(&histogram, 0.99), 0);
    for (uint64_t value = 1; value <= 100000; value++)
        histogram_record(&histogram, value * 1000);
    assert_in_range(histogram_quantile(&histogram, 0.5), 50000000, 50000000 + 50000000 / 64);
    assert_in_range(histogram_quantile(&histogram, 0.99), 99000000, 99000000 + 99000000 / 64);
    assert_int_equal(histogram_quantile(&histogram, 1), 100000000);
    assert_int_equal(histogram.count, 100000);
}

static void what_is_too_large_counts_as_the_largest(void **state)
{
    static struct histogram histogram;

    (void)state;
    histogram_clear(&histogram);
    histogram_record(&histogram, 5);
    histogram_record(&histogram, UINT64_MAX);
    assert_int_equal(histogram_quantile(&histogram, 0.5), 5);
    assert_int_equal(histogram.count, 2);
    assert_true(histogram.max == UINT64_MAX);
}

/* ---- mark ---- */

static void marks_are_read_as_they_were_written(void **state)
{
    static const struct mark marks[] = {
        {0,      1         },
        {9,      0xFFFFFFFF},
        {0xFFFF, 0x12345678},
        {0x1234, 0x9ABCDEF0},
        {1,      16        },
    };
    char text[MARK_BYTES];

    (void)state;
    for (size_t i = 0; i < sizeof marks / sizeof marks[0]; i++) {
        struct mark read = {0};

        mark_write(text, marks[i]);
        assert_true(mark_read((struct slice){text, sizeof text}, &read));
        assert_int_equal(read.source, marks[i].source);
        assert_int_equal(read.sequence, marks[i].sequence);
    }
}

static void what_is_no_mark_is_refused(void **state)
{
    char text[MARK_BYTES];
    struct mark read;

    (void)state;
    mark_write(text, (struct mark){3, 77});
    assert_false(mark_read((struct slice){text, sizeof text - 1}, &read));
    for (size_t i = 0; i < sizeof text; i++) {
        for (int wrong = 0; wrong < 256; wrong++) {
            char kept = text[i];

            if (i == 0 ? wrong == '#' : wrong >= 'A' && wrong <= 'P')
                continue;
            text[i] = (char)wrong;
            assert_false(mark_read((struct slice){text, sizeof text}, &read));
            text[i] = kept;
        }
    }
}

/* ---- order ---- */

struct observed {
    struct order order;
    struct faults faults;
};

/* Numbers as they came, ended by 0. */
static struct observed observe(const uint32_t *numbers, uint32_t sent)
{
    struct observed observed = {0};

    order_init(&observed.order);
    for (; *numbers != 0; numbers++)
        (void)order_take(&observed.order, *numbers, &observed.faults);
    order_finish(&observed.order, sent, &observed.faults);
    return observed;
}

static void assert_faults(const uint32_t *numbers, uint32_t sent, uint64_t lost, uint64_t doubled, uint64_t late)
{
    struct observed observed = observe(numbers, sent);

    assert_int_equal(observed.faults.lost, lost);
    assert_int_equal(observed.faults.doubled, doubled);
    assert_int_equal(observed.faults.out_of_order, late);
}

static void each_fault_is_told_from_the_others(void **state)
{
    (void)state;
    assert_faults((const uint32_t[]){1, 2, 3, 4, 0}, 4, 0, 0, 0);
    assert_faults((const uint32_t[]){1, 2, 4, 0}, 4, 1, 0, 0);
    assert_faults((const uint32_t[]){1, 2, 3, 0}, 5, 2, 0, 0);
    assert_faults((const uint32_t[]){0}, 5, 5, 0, 0);
    assert_faults((const uint32_t[]){1, 2, 2, 3, 0}, 3, 0, 1, 0);
    assert_faults((const uint32_t[]){1, 2, 3, 1, 0}, 3, 0, 1, 0);
    assert_faults((const uint32_t[]){1, 3, 2, 4, 0}, 4, 0, 0, 1);
    assert_faults((const uint32_t[]){3, 2, 1, 0}, 3, 0, 0, 2);
    assert_faults((const uint32_t[]){1, 3, 2, 2, 5, 0}, 5, 1, 1, 1);
}

/* Further back than is remembered nothing can be told: it counts as doubled, and its first copy as lost. */
static void what_is_too_late_is_a_fault_all_the_same(void **state)
{
    struct observed observed = {0};

    (void)state;
    order_init(&observed.order);
    for (uint32_t number = 2; number <= 66; number++)
        assert_true(order_take(&observed.order, number, &observed.faults));
    assert_false(order_take(&observed.order, 1, &observed.faults));
    assert_true(order_take(&observed.order, 200, &observed.faults));
    assert_true(order_take(&observed.order, 137, &observed.faults));
    assert_false(order_take(&observed.order, 136, &observed.faults));
    order_finish(&observed.order, 200, &observed.faults);
    assert_int_equal(observed.faults.out_of_order, 1);
    assert_int_equal(observed.faults.doubled, 2);
    assert_int_equal(observed.faults.lost, 200 - 67);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small_values_are_exact),
        cmocka_unit_test(no_value_is_off_by_more_than_a_step),
        cmocka_unit_test(quantiles_of_many),
        cmocka_unit_test(what_is_too_large_counts_as_the_largest),
        cmocka_unit_test(marks_are_read_as_they_were_written),
        cmocka_unit_test(what_is_no_mark_is_refused),
        cmocka_unit_test(each_fault_is_told_from_the_others),
        cmocka_unit_test(what_is_too_late_is_a_fault_all_the_same),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
