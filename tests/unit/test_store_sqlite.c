/* test_store_sqlite.c - the data directory: who may open it, what it survives, and what it needs.
 */
#include "support_store.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
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

/* ---- opening ---- */

/* What opening that directory logs; it must fail. */
static int open_must_fail(void *arg)
{
    struct store *s = store_sqlite_open(arg, OPTION_DURABILITY_FULL);

    if (s)
        s->operations->free(s);
    return s != NULL;
}

static void assert_refused(const char *path, const char *words)
{
    char text[2048];

    assert_int_equal(support_capture(STDERR_FILENO, text, sizeof text, open_must_fail, (void *)path), 0);
    if (!strstr(text, words))
        fail_msg("\"%s\" is not in what was logged: %s", words, text);
}

static void the_directory_is_made_and_private(void **state)
{
    static const char *const names[] = {"new/chat.db", "new/chat.db-wal", "new/lock"};
    char path[SUPPORT_PATH_BYTES];
    mode_t mask = umask(0);
    struct stat status;
    struct store *s = store_sqlite_open(support_path(path, directory, "new"), OPTION_DURABILITY_FULL);

    (void)state;
    umask(mask);
    assert_non_null(s);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 07777, 0700);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        assert_int_equal(stat(support_path(path, directory, names[i]), &status), 0);
        assert_int_equal(status.st_mode & 07777, 0600);
    }
    s->operations->free(s);
    support_directory_remove(support_path(path, directory, "new"));
}

/* S-4. */
static void a_second_server_is_told_of_the_first(void **state)
{
    struct store *s = open_store(OPTION_DURABILITY_FULL);
    char words[64];

    (void)state;
    snprintf(words, sizeof words, "in use by another server, process %d\n", (int)getpid());
    assert_refused(directory, words);
    add_messages(s, 1, 1, 1); /* the first one is none the worse */
    s->operations->free(s);
    s = open_store(OPTION_DURABILITY_FULL);
    assert_int_equal(support_count(s, 1), 1);
    s->operations->free(s);
}

/* S-4, M-5: what a killed server leaves is opened without help. */
static int commit_and_die(void *arg)
{
    struct store *s = store_sqlite_open(arg, OPTION_DURABILITY_NORMAL);

    if (!s || !support_message_commit(s, 1, 1, 1, 1, 1, "a", "kept") || !s->operations->begin(s) ||
        !support_message_add(s, 1, 1, 2, 2, 2, "b", "not committed"))
        return 1;
    raise(SIGKILL);
    return 2;
}

static void a_killed_server_leaves_what_was_committed(void **state)
{
    struct store *s;

    (void)state;
    assert_int_equal(support_in_child(commit_and_die, directory), -1);
    s = open_store(OPTION_DURABILITY_FULL);
    assert_int_equal(support_find(s, 1, 1, "a"), 1);
    assert_int_equal(support_find(s, 1, 1, "b"), 0);
    s->operations->free(s);
}

static void places_that_cannot_be_used(void **state)
{
    char path[SUPPORT_PATH_BYTES], file[SUPPORT_PATH_BYTES];
    static char long_path[5000];
    struct store *s = open_store(OPTION_DURABILITY_FULL);

    (void)state;
    s->operations->free(s);
    assert_refused(support_path(path, directory, "no/parent"), strerror(ENOENT));
    assert_refused(support_path(path, directory, "chat.db"), strerror(ENOTDIR));
    assert_refused("", strerror(ENOENT));
    memset(long_path, 'x', sizeof long_path - 1);
    assert_refused(long_path, "data directory"); /* more than a line of the log */
    long_path[300] = '\0';
    assert_refused(long_path, strerror(ENAMETOOLONG));
    assert_int_equal(unlink(support_path(file, directory, "chat.db")), 0);
    assert_int_equal(mkdir(file, 0700), 0);
    assert_refused(directory, "cannot write chat.db");
    assert_int_equal(rmdir(file), 0);
}

static int open_as_another_user(void *arg)
{
    if (geteuid() == 0 && seteuid(65534) != 0)
        return 1;
    return open_must_fail(arg);
}

static void a_directory_that_cannot_be_written(void **state)
{
    char path[SUPPORT_PATH_BYTES];

    (void)state;
    assert_int_equal(chmod(directory, 0555), 0);
    assert_int_equal(support_in_child(open_as_another_user, directory), 0);
    support_path(path, directory, "new");
    assert_int_equal(support_in_child(open_as_another_user, path), 0);
    assert_int_equal(chmod(directory, 0700), 0);
}

/* SQLite takes "file:" for a URI; for us it is a directory. */
static int open_relative(void *arg)
{
    struct store *s;

    if (chdir(arg) != 0)
        return 1;
    s = store_sqlite_open("file:x?mode=ro", OPTION_DURABILITY_FULL);
    if (!s || !support_message_commit(s, 1, 1, 1, 1, 1, "", "t"))
        return 2;
    s->operations->free(s);
    support_directory_remove("file:x?mode=ro");
    return 0;
}

static void a_relative_directory_with_a_strange_name(void **state)
{
    (void)state;
    assert_int_equal(support_in_child(open_relative, directory), 0);
}

/* ---- version and damage ---- */

static void make_database(uint64_t messages)
{
    struct store *s = open_store(OPTION_DURABILITY_NORMAL);

    add_messages(s, 1, 1, messages);
    s->operations->free(s);
}

static void a_newer_schema_is_refused_and_left_alone(void **state)
{
    struct store *s;

    (void)state;
    make_database(3);
    support_execute(directory, "PRAGMA user_version = 99");
    assert_refused(directory, "of a newer server (schema 99; this one knows up to 3)");
    support_execute(directory, "PRAGMA user_version = 3");
    s = open_store(OPTION_DURABILITY_FULL);
    assert_int_equal(support_count(s, 1), 3);
    s->operations->free(s);
}

/* A server of schema 1 knew no recent messages. */
static void an_older_schema_is_brought_up_to_date(void **state)
{
    struct store *s;

    (void)state;
    make_database(3);
    s = open_store(OPTION_DURABILITY_NORMAL);
    assert_true(support_settle(s));
    s->operations->free(s);
    support_execute(directory, "DROP TABLE recent; PRAGMA user_version = 1");
    for (uint64_t count = 3; count < 5; count++) {
        s = open_store(OPTION_DURABILITY_FULL);
        assert_int_equal(support_count(s, 1), count);
        add_messages(s, 1, count + 1, count + 1);
        s->operations->free(s);
    }
    support_execute(directory, "PRAGMA user_version = 0");
    assert_refused(directory, "damaged: it has no schema version");
}

static void a_foreign_database_is_refused_and_left_alone(void **state)
{
    (void)state;
    support_execute(directory, "CREATE TABLE t (x); PRAGMA application_id = 7");
    assert_refused(directory, "some other program");
    support_execute(directory, "INSERT INTO t VALUES (1); PRAGMA application_id = 0");
    assert_refused(directory, "some other program");
}

static void a_database_in_use_elsewhere_is_refused(void **state)
{
    char path[SUPPORT_PATH_BYTES];
    sqlite3 *database;

    (void)state;
    make_database(1);
    assert_int_equal(sqlite3_open(support_path(path, directory, "chat.db"), &database), SQLITE_OK);
    assert_int_equal(sqlite3_exec(database, "PRAGMA locking_mode = EXCLUSIVE; BEGIN IMMEDIATE", NULL, NULL, NULL),
                     SQLITE_OK);
    assert_refused(directory, "in use by another program");
    sqlite3_close(database);
}

static void a_missing_table_is_damage(void **state)
{
    (void)state;
    make_database(1);
    support_execute(directory, "DROP TABLE dismissed");
    assert_refused(directory, "damaged");
}

static void overwrite(off_t offset, int byte, size_t count)
{
    char path[SUPPORT_PATH_BYTES], bytes[4096];
    int file = open(support_path(path, directory, "chat.db"), O_RDWR | O_CLOEXEC);

    assert_true(file >= 0 && count <= sizeof bytes);
    memset(bytes, byte, count);
    assert_int_equal(pwrite(file, bytes, count, offset), count);
    close(file);
}

static void damaged_databases_are_refused(void **state)
{
    char path[SUPPORT_PATH_BYTES];
    struct stat status;

    (void)state;
    make_database(600);
    assert_int_equal(stat(support_path(path, directory, "chat.db"), &status), 0);
    for (off_t page = 1; page < status.st_size / 4096; page += 7) {
        char kept[4096];
        int file = open(path, O_RDONLY | O_CLOEXEC);

        assert_int_equal(pread(file, kept, sizeof kept, page * 4096), sizeof kept);
        close(file);
        overwrite(page * 4096, 0xAA, sizeof kept);
        assert_refused(directory, "damaged");
        file = open(path, O_WRONLY | O_CLOEXEC);
        assert_int_equal(pwrite(file, kept, sizeof kept, page * 4096), sizeof kept);
        close(file);
    }
    assert_int_equal(truncate(path, status.st_size / 2), 0);
    assert_refused(directory, "damaged");
    overwrite(0, 'x', 100);
    assert_refused(directory, "damaged");
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_directory_is_made_and_private),
        TEST(a_second_server_is_told_of_the_first),
        TEST(a_killed_server_leaves_what_was_committed),
        TEST(places_that_cannot_be_used),
        TEST(a_directory_that_cannot_be_written),
        TEST(a_relative_directory_with_a_strange_name),
        TEST(a_newer_schema_is_refused_and_left_alone),
        TEST(an_older_schema_is_brought_up_to_date),
        TEST(a_foreign_database_is_refused_and_left_alone),
        TEST(a_database_in_use_elsewhere_is_refused),
        TEST(a_missing_table_is_damage),
        TEST(damaged_databases_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
