/* test_store_failures.c - what the SQLite store needs while it works, and what it does without: descriptors, room on
 *                         the disk, an end in the middle of a purge.
 */
#include "support_store.h"

#include "base/limits.h"
#include "store/sqlite_store.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static char directory[SUPPORT_PATH_BYTES];

static int set_up(void **state)
{
    (void)state;
    support_directory_make(directory);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    support_directory_remove(directory);
    return 0;
}

static struct store *open_store(enum option_durability durability)
{
    struct store *s = store_sqlite_open(directory, durability);

    assert_non_null(s);
    return s;
}

static void add_messages(struct store *s, uint32_t conversation, uint64_t first, uint64_t last)
{
    assert_true(s->operations->begin(s));
    for (uint64_t i = first; i <= last; i++)
        assert_true(support_message_add(s, conversation, 1, i, i, i, "", "some words"));
    assert_true(s->operations->commit(s));
}

/* ---- descriptors ---- */

static int highest_descriptor(void)
{
    int highest = 0;

    for (int i = 0; i < 1024; i++)
        if (fcntl(i, F_GETFD) >= 0)
            highest = i;
    return highest;
}

static int open_descriptors(void)
{
    int count = 0;

    for (int i = 0; i < 1024; i++)
        count += fcntl(i, F_GETFD) >= 0;
    return count;
}

/* A transaction larger than the cache, one rolled back, checkpoints, a purge: all that SQLite might open a file for. */
static void work_hard(struct store *s)
{
    static char text[8193];
    struct store_group group = {.number = 2, .owner = 1, .name = SLICE_LITERAL("g"), .title = SLICE_LITERAL("")};

    memset(text, 'x', 8192);
    for (int last = 0; last < 2; last++) {
        assert_true(s->operations->begin(s));
        assert_true(s->operations->group_add(s, &group));
        for (uint64_t i = 1; i <= 2100; i++)
            assert_true(support_message_add(s, 2, 1, i, i, i, "", text));
        if (last)
            assert_true(s->operations->commit(s));
        else
            s->operations->rollback(s);
    }
    for (uint64_t i = 1; i <= 400; i++)
        assert_true(support_message_commit(s, 1, 1, i, i, 2100 + i, "", text));
    assert_true(s->operations->begin(s));
    assert_true(s->operations->group_remove(s, 2));
    assert_true(s->operations->commit(s));
    assert_in_range(support_purge_all(s), 5, 9); /* of both tables, at most four full slices and the rest of each */
    assert_int_equal(support_count(s, 1), 400);
}

static void no_descriptor_is_needed_once_open(void **state)
{
    struct rlimit before, none;
    struct store *s;
    int open_before;

    s = open_store(*state ? OPTION_DURABILITY_FULL : OPTION_DURABILITY_NORMAL);
    open_before = open_descriptors();
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = before;
    none.rlim_cur = 0; /* counts for new ones */
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    assert_int_equal(open("/dev/null", O_RDONLY | O_CLOEXEC), -1);
    assert_int_equal(errno, EMFILE);
    work_hard(s);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(open_descriptors(), open_before);
    s->operations->free(s);
    assert_int_equal(open_descriptors(), open_before - 3); /* database, WAL, lock */
}

static void descriptors_are_closed_on_exec(void **state)
{
    int before = highest_descriptor();
    struct store *s = open_store(OPTION_DURABILITY_FULL);

    (void)state;
    for (int i = before + 1; i <= highest_descriptor(); i++)
        if (fcntl(i, F_GETFD) >= 0)
            assert_int_equal(fcntl(i, F_GETFD), FD_CLOEXEC);
    s->operations->free(s);
}

/* ---- A full disk ---- */

static void limit_files_to(rlim_t bytes)
{
    struct rlimit limit;

    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void size_of_wal(struct stat *status)
{
    char path[SUPPORT_PATH_BYTES];

    assert_int_equal(stat(support_path(path, directory, "chat.db-wal"), status), 0);
}

/* M-5: whatever fails has no effect, and it works again when the disk does. */
static void a_full_disk(void **state)
{
    struct store *s = open_store(OPTION_DURABILITY_FULL);
    uint64_t count = 0;

    (void)state;
    signal(SIGXFSZ, SIG_IGN);
    for (int round = 0; round < 20; round++) {
        uint64_t failures = 0;
        struct stat wal;

        size_of_wal(&wal);
        limit_files_to((rlim_t)wal.st_size + (rlim_t)(round * 5000));
        for (int i = 0; i < 400 && failures < 3; i++) {
            bool is_large = i % 3 == 0;
            bool done = s->operations->begin(s);

            for (uint64_t n = 1; done && n <= (is_large ? 50 : 1); n++)
                done = support_message_add(s, 1, 1, count + n, count + n, count + n, "", "words that fill a disk");
            if (done && s->operations->commit(s)) {
                count += is_large ? 50 : 1;
                continue;
            }
            failures++;
            s->operations->rollback(s);
            assert_int_equal(support_count(s, 1), count);
        }
        limit_files_to(RLIM_INFINITY);
        add_messages(s, 1, count + 1, count + 1);
        count++;
        if (round % 5 == 4) {
            s->operations->free(s);
            s = open_store(OPTION_DURABILITY_FULL);
        }
        assert_int_equal(support_count(s, 1), count);
    }
    s->operations->free(s);
}

static int open_must_fail(void *arg)
{
    struct store *s = store_sqlite_open(arg, OPTION_DURABILITY_FULL);

    if (s)
        s->operations->free(s);
    return s != NULL;
}

static int open_on_a_full_disk(void *arg)
{
    signal(SIGXFSZ, SIG_IGN);
    limit_files_to(1000);
    return open_must_fail(arg);
}

static void a_full_disk_at_the_start(void **state)
{
    struct store *s;

    (void)state;
    assert_int_equal(support_in_child(open_on_a_full_disk, directory), 0);
    s = open_store(OPTION_DURABILITY_FULL); /* and with room again, it starts */
    add_messages(s, 1, 1, 10);
    s->operations->free(s);
    assert_int_equal(support_in_child(open_on_a_full_disk, directory), 0);
    s = open_store(OPTION_DURABILITY_FULL);
    assert_int_equal(support_count(s, 1), 10);
    s->operations->free(s);
}

static int fail_often(void *arg)
{
    struct store *s = arg;

    for (uint64_t i = 0; i < 100; i++)
        if (support_message_commit(s, 1, 1, 1, 1, 1, "", "t"))
            return 1;
    limit_files_to(RLIM_INFINITY);
    return !support_message_commit(s, 1, 1, 1, 1, 1, "", "t");
}

static void many_failures_are_two_lines(void **state)
{
    struct store *s = open_store(OPTION_DURABILITY_FULL);
    char text[4096], *first_end;
    struct stat wal;

    (void)state;
    signal(SIGXFSZ, SIG_IGN);
    size_of_wal(&wal);
    limit_files_to((rlim_t)wal.st_size);
    /* What is captured goes to a file, which may grow so far, too. */
    assert_int_equal(support_capture(STDERR_FILENO, text, sizeof text, fail_often, s), 0);
    first_end = strchr(text, '\n');
    assert_non_null(first_end);
    assert_non_null(strstr(first_end, "works again, after 100 failure(s)\n"));
    assert_null(strchr(strchr(first_end + 1, '\n') + 1, '\n'));
    s->operations->free(s);
}

/* ---- what cannot be settled ---- */

/* A store that cannot settle, as when a page of the table were damaged; until the hash of user 1 is "open". */
static struct store *open_unsettling(void)
{
    struct store_profile profile = {0};
    struct store *s = open_store(OPTION_DURABILITY_NORMAL);

    assert_true(s->operations->begin(s));
    assert_true(s->operations->user_add(s, 1, SLICE_LITERAL("u"), SLICE_LITERAL("shut"), &profile));
    assert_true(s->operations->commit(s));
    s->operations->free(s);
    support_execute(directory,
                    "CREATE TRIGGER t BEFORE INSERT ON message WHEN (SELECT hash FROM user WHERE number = 1) = 'shut'"
                    " BEGIN SELECT RAISE(ABORT, 'cannot be settled'); END");
    return open_store(OPTION_DURABILITY_NORMAL);
}

/* The `count`-th message, which goes to one of five conversations. */
static bool add_one(struct store *s, uint64_t count)
{
    static char text[8193];

    memset(text, 'x', sizeof text - 1);
    return support_message_commit(s, 1 + (uint32_t)(count % 5), 1, 1 + count / 5, 1 + count / 5, 1 + count, "", text);
}

static void assert_all_there(struct store *s, uint64_t count)
{
    for (uint32_t c = 0; c < 5; c++)
        assert_int_equal(support_count(s, 1 + c), count / 5 + (c < count % 5));
}

/* Add until they are so many that no further one is taken. Returns how many there are. One failed: in its commit the
 * first slice was tried. */
static uint64_t add_all(struct store *s)
{
    uint64_t count = 0;
    int failures = 0;

    while (count < RECENT_MESSAGES_MAX_BYTES / 4096 && (add_one(s, count) || failures++ == 0))
        count += failures != 1 || support_count(s, 1 + (uint32_t)(count % 5)) > count / 5;
    assert_in_range(count, RECENT_MESSAGES_MAX_BYTES / 8500, RECENT_MESSAGES_MAX_BYTES / 8192);
    assert_int_equal(failures, 2);
    return count;
}

static void set_hash(struct store *s, const char *hash)
{
    assert_true(s->operations->begin(s));
    assert_true(s->operations->user_set_hash(s, 1, slice_of(hash)));
    assert_true(s->operations->commit(s));
}

/* It is told of, and all goes on, up to a bound; and nothing is lost. */
static void recent_messages_that_cannot_be_settled(void **state)
{
    struct store *s = open_unsettling();
    uint64_t count = add_all(s);

    (void)state;
    assert_false(support_settle(s));
    assert_all_there(s, count);
    /* The cause goes while the store is open: it is tried again after a second. */
    set_hash(s, "open");
    assert_false(add_one(s, count));
    usleep(1100000);
    assert_true(add_one(s, count));
    count++;
    assert_all_there(s, count);
    /* Now each transaction begins with a slice, until the run is over, and then with none. */
    for (int i = 0; i < 1000; i++)
        set_hash(s, "open");
    assert_in_range(((struct sqlite_store *)s)->recent.used_bytes, 1, 10000); /* the last one */
    assert_int_equal(((struct sqlite_store *)s)->settle_after_ms, 0);
    assert_all_there(s, count);
    s->operations->free(s);
    s = open_store(OPTION_DURABILITY_NORMAL);
    assert_all_there(s, count);
    s->operations->free(s);
}

/* Neither the log nor the time of others is spent on it again and again. */
static int commit_often(void *arg)
{
    struct store *s = arg;
    bool more;

    for (uint64_t count = 0; count < 500; count++)
        if (!add_one(s, count))
            return 1;
    if (support_settle(s))
        return 1;
    for (uint64_t count = 500; count < 1000; count++)
        if (!add_one(s, count))
            return 1;
    if (!s->operations->begin(s) || !s->operations->group_remove(s, 2) || !s->operations->commit(s))
        return 2;
    return s->operations->purge(s, &more) && support_count(s, 2) == 0 ? 0 : 3;
}

static void a_settling_that_fails_is_one_line(void **state)
{
    struct store *s = open_unsettling();
    char logged[4096];

    (void)state;
    assert_int_equal(support_capture(STDERR_FILENO, logged, sizeof logged, commit_often, s), 0);
    assert_non_null(strstr(logged, "cannot be settled"));
    assert_null(strchr(strchr(logged, '\n') + 1, '\n'));
    s->operations->free(s);
}

/* ---- purge ---- */

struct highest {
    uint32_t conversation;
    uint64_t sequence;
};

static bool keep_highest(void *arg, uint32_t conversation, uint64_t sequence)
{
    *(struct highest *)arg = (struct highest){conversation, sequence};
    return true;
}

static bool refuse_latest(void *arg, uint32_t conversation, uint64_t msg_id, uint64_t sequence, int64_t time_ms)
{
    (void)arg, (void)conversation, (void)msg_id, (void)sequence, (void)time_ms;
    return false;
}

static void purge_goes_on_after_a_restart(void **state)
{
    static const struct store_loader loader = {.highest = keep_highest, .latest = refuse_latest};
    struct store_group group = {.number = 9, .owner = 1, .name = SLICE_LITERAL("g"), .title = SLICE_LITERAL("")};
    struct store *s = open_store(OPTION_DURABILITY_NORMAL);
    struct highest highest = {0};
    bool more;

    (void)state;
    assert_true(s->operations->begin(s));
    assert_true(s->operations->group_add(s, &group));
    assert_true(s->operations->commit(s));
    add_messages(s, 9, 1, 1700);
    assert_true(support_settle(s));
    assert_true(s->operations->begin(s));
    assert_true(s->operations->group_remove(s, 9));
    assert_true(s->operations->group_add(s, &(struct store_group){.number = 10, .owner = 1, .name = group.name}));
    assert_true(s->operations->group_remove(s, 10));
    assert_true(s->operations->commit(s));
    assert_true(s->operations->purge(s, &more));
    assert_true(more);
    assert_int_equal(support_count(s, 9), 1200);
    s->operations->free(s);

    s = open_store(OPTION_DURABILITY_NORMAL);
    assert_int_equal(support_purge_all(s), 4); /* 500, 500, 200, and the group without messages */
    assert_true(s->operations->load(s, &loader, &highest));
    assert_int_equal(highest.conversation, 10);
    assert_int_equal(highest.sequence, 1700);
    s->operations->free(s);
}

/* Its number is not given again, and sequences only grow. */
static void the_highest_numbers_outlast_their_group(void **state)
{
    static const struct store_loader loader = {.highest = keep_highest, .latest = refuse_latest};
    struct store_group group = {.number = 9, .owner = 1, .name = SLICE_LITERAL("g"), .title = SLICE_LITERAL("")};
    struct store *s = open_store(OPTION_DURABILITY_NORMAL);
    struct highest highest = {0};

    assert_true(s->operations->begin(s));
    assert_true(s->operations->group_add(s, &group));
    assert_true(s->operations->commit(s));
    add_messages(s, 9, 1, 20);
    if (*state)
        assert_true(support_settle(s));
    assert_true(s->operations->begin(s));
    assert_true(s->operations->group_remove(s, 9));
    assert_true(s->operations->commit(s));
    assert_int_equal(support_purge_all(s), 1);
    s->operations->free(s);
    s = open_store(OPTION_DURABILITY_NORMAL);
    assert_true(s->operations->load(s, &loader, &highest));
    assert_int_equal(highest.conversation, 9);
    assert_int_equal(highest.sequence, 20);
    s->operations->free(s);
}

static bool refuse_user(void *arg, uint32_t number, struct slice name, struct slice hash,
                        const struct store_profile *profile)
{
    (void)arg, (void)number, (void)name, (void)hash, (void)profile;
    return false;
}

static void a_loader_that_stops(void **state)
{
    static const struct store_loader loader = {.user = refuse_user};
    struct store_profile profile = {0};
    struct store *s = open_store(OPTION_DURABILITY_NORMAL);

    (void)state;
    assert_true(s->operations->begin(s));
    assert_true(s->operations->user_add(s, 1, SLICE_LITERAL("u"), SLICE_LITERAL("h"), &profile));
    assert_true(s->operations->commit(s));
    assert_false(s->operations->load(s, &loader, NULL));
    s->operations->free(s);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    static int full, settled; /* a state that is not NULL: durability full; with the messages settled */
    const struct CMUnitTest tests[] = {
        TEST(no_descriptor_is_needed_once_open),
        cmocka_unit_test_prestate_setup_teardown(no_descriptor_is_needed_once_open, set_up, tear_down, &full),
        TEST(descriptors_are_closed_on_exec),
        TEST(a_full_disk),
        TEST(a_full_disk_at_the_start),
        TEST(many_failures_are_two_lines),
        TEST(recent_messages_that_cannot_be_settled),
        TEST(a_settling_that_fails_is_one_line),
        TEST(purge_goes_on_after_a_restart),
        TEST(the_highest_numbers_outlast_their_group),
        cmocka_unit_test_prestate_setup_teardown(the_highest_numbers_outlast_their_group, set_up, tear_down, &settled),
        TEST(a_loader_that_stops),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
