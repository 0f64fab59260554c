/* test_journal.c - what is written into a journal is taken back in reverse, or is settled by a commit. */
#include "support.h"

#include <stdlib.h>
#include <string.h>

#include "chat/journal.h"

static void test_saved_fields_come_back(void **state)
{
    struct journal journal = {0};
    uint64_t number = 1;
    char text[JOURNAL_SAVE_MAX_BYTES] = "before";

    (void)state;
    assert_true(journal_reserve(&journal, 4));
    JOURNAL_SAVE(&journal, &number);
    number = 2;
    JOURNAL_SAVE(&journal, &text);
    strcpy(text, "after");
    JOURNAL_SAVE(&journal, &number);
    number = 3;
    journal_rollback(&journal);
    assert_int_equal(number, 1);
    assert_string_equal(text, "before");
    journal_fini(&journal);
}

static void test_commit_forgets(void **state)
{
    struct journal journal = {0};
    int number = 1;

    (void)state;
    assert_true(journal_reserve(&journal, 1));
    JOURNAL_SAVE(&journal, &number);
    number = 2;
    journal_commit(&journal);
    journal_rollback(&journal);
    assert_int_equal(number, 2);
    journal_fini(&journal);
}

static void note(void *notes, void *letter)
{
    strncat(notes, letter, 1);
}

static void test_calls_run_backwards(void **state)
{
    struct journal journal = {0};
    char notes[8] = "";

    (void)state;
    assert_true(journal_reserve(&journal, 3));
    journal_call(&journal, note, notes, "a");
    journal_call(&journal, note, notes, "b");
    journal_call(&journal, note, notes, "c");
    journal_rollback(&journal);
    assert_string_equal(notes, "cba");
    journal_fini(&journal);
}

/* Leaks and double frees show under the address sanitizer and valgrind. */
static void test_memory_goes_with_its_outcome(void **state)
{
    struct journal journal = {0};
    char *kept = malloc(1);

    (void)state;
    assert_true(journal_reserve(&journal, 8));
    journal_free_on_commit(&journal, malloc(8));
    journal_free_on_commit(&journal, NULL);
    journal_free_on_rollback(&journal, kept);
    journal_commit(&journal);
    *kept = 1;
    journal_free_on_rollback(&journal, malloc(8));
    journal_free_on_commit(&journal, kept);
    journal_rollback(&journal);
    *kept = 2;
    free(kept);
    journal_fini(&journal);
}

static void test_grows_in_the_middle_of_a_batch(void **state)
{
    struct journal journal = {0};
    int numbers[1000];

    (void)state;
    for (int i = 0; i < 1000; i++) {
        numbers[i] = i;
        assert_true(journal_reserve(&journal, 1));
        JOURNAL_SAVE(&journal, &numbers[i]);
        numbers[i] = -1;
    }
    journal_rollback(&journal);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(numbers[i], i);
    journal_fini(&journal);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_saved_fields_come_back),
        cmocka_unit_test(test_commit_forgets),
        cmocka_unit_test(test_calls_run_backwards),
        cmocka_unit_test(test_memory_goes_with_its_outcome),
        cmocka_unit_test(test_grows_in_the_middle_of_a_batch),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
