/* test_chat_store_faults.c - M-5 the whole way: hub, engine and SQLite, and every operation on a file fails once, and
 *                            then all from one on. What may come of it stands in support_life.h.
 */
#include "support_faulty_vfs.h"
#include "support_life.h"
#include "support_store.h"

#include <stdio.h>

static char directory[SUPPORT_PATH_BYTES];
static struct options options;
static int first; /* of the operations that is to fail */
static bool lasting;
static int failed_before;

static void begin(void)
{
    failed_before = faulty_vfs.failed;
    faulty_vfs.lasting = lasting;
    faulty_vfs.countdown = first;
}

static void heal(void)
{
    if (faulty_vfs.failed > failed_before)
        faulty_vfs.countdown = 0;
}

static void end(void)
{
    faulty_vfs.countdown = 0;
}

static const struct life_faults faults = {.begin = begin, .heal = heal, .end = end};

static int set_up(void **state)
{
    (void)state;
    options = stage_options();
    options.store = OPTION_STORE_SQLITE;
    options.durability = OPTION_DURABILITY_FULL;
    options.data = directory;
    support_directory_make(directory);
    if (faulty_vfs_begin(true) != 0)
        return -1;
    life_learn(&options);
    support_directory_remove(directory);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    life_forget();
    return faulty_vfs_end();
}

/* Returns how many operations failed. */
static unsigned tell(int n, struct life_outcome *sum)
{
    struct life_outcome outcome;
    int before = faulty_vfs.failed;

    first = n;
    support_directory_make(directory);
    outcome = life_tell(&options, &faults);
    support_directory_remove(directory);
    sum->refused += outcome.refused;
    sum->cut += outcome.cut;
    return (unsigned)(faulty_vfs.failed - before);
}

static void report(const char *what, int lives, const struct life_outcome *sum)
{
    static const char *const kinds[FAULT_KINDS] = {"reads", "writes", "truncations", "flushes", "sizes", "locks"};

    print_message("%s: lives %d, refusals %u", what, lives, sum->refused);
    for (int kind = 0; kind < FAULT_KINDS; kind++)
        print_message(", %s %d", kinds[kind], faulty_vfs.failed_by_kind[kind]);
    print_message("\n");
}

static void each_operation_fails(const char *what)
{
    struct life_outcome sum = {0};
    int n = 1;

    while (tell(n, &sum) > 0)
        n++;
    assert_true(sum.refused > 0);
    assert_int_equal(sum.cut, 0); /* no connection ends because a disk fails */
    report(what, n, &sum);
}

static void test_each_operation_fails_once(void **state)
{
    (void)state;
    lasting = false;
    each_operation_fails("once");
}

static void test_all_operations_fail_from_each_on(void **state)
{
    (void)state;
    lasting = true;
    each_operation_fails("lasting");
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_each_operation_fails_once),
        TEST(test_all_operations_fail_from_each_on),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
