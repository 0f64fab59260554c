/* test_store_faults.c - every single write, flush and read of the SQLite store fails once, and after that it works.
 *
 * Idea.       A VFS (sqlite.org/vfs.html) that hands everything on to the default one and fails the n-th operation; n
 *             goes from the first to the last of a fixed piece of work. After each fault: what was committed is
 *             there, what failed is not, and both hold after a restart, too (M-5).
 */
#include "support_store.h"

#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

struct faulty_file {
    sqlite3_file base;  /* first: what SQLite holds a pointer to */
    sqlite3_file *real; /* of the default VFS, behind this structure */
};

static char directory[SUPPORT_PATH_BYTES];
static sqlite3_vfs vfs;
static int countdown; /* 1: the next operation fails; 0: none */
static int failed;    /* operations that did */
static int lasting;   /* 1: all that follow fail, too */

static bool fails(void)
{
    if (countdown == 0 || --countdown > 0)
        return false;
    countdown = lasting;
    failed++;
    return true;
}

/* ---- the VFS ---- */

static sqlite3_file *real(sqlite3_file *file)
{
    return ((struct faulty_file *)file)->real;
}

static int faulty_close(sqlite3_file *file)
{
    return real(file)->pMethods->xClose(real(file));
}

static int faulty_read(sqlite3_file *file, void *bytes, int count, sqlite3_int64 offset)
{
    return fails() ? SQLITE_IOERR_READ : real(file)->pMethods->xRead(real(file), bytes, count, offset);
}

/* Half of it is written, as a full disk has it. */
static int faulty_write(sqlite3_file *file, const void *bytes, int count, sqlite3_int64 offset)
{
    if (!fails())
        return real(file)->pMethods->xWrite(real(file), bytes, count, offset);
    real(file)->pMethods->xWrite(real(file), bytes, count / 2, offset);
    return SQLITE_FULL;
}

static int faulty_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    return fails() ? SQLITE_IOERR_TRUNCATE : real(file)->pMethods->xTruncate(real(file), size);
}

static int faulty_sync(sqlite3_file *file, int flags)
{
    return fails() ? SQLITE_IOERR_FSYNC : real(file)->pMethods->xSync(real(file), flags);
}

static int faulty_size(sqlite3_file *file, sqlite3_int64 *size)
{
    return real(file)->pMethods->xFileSize(real(file), size);
}

static int faulty_lock(sqlite3_file *file, int lock)
{
    return real(file)->pMethods->xLock(real(file), lock);
}

static int faulty_unlock(sqlite3_file *file, int lock)
{
    return real(file)->pMethods->xUnlock(real(file), lock);
}

static int faulty_reserved(sqlite3_file *file, int *result)
{
    return real(file)->pMethods->xCheckReservedLock(real(file), result);
}

static int faulty_control(sqlite3_file *file, int operation, void *arg)
{
    return real(file)->pMethods->xFileControl(real(file), operation, arg);
}

static int faulty_sector(sqlite3_file *file)
{
    return real(file)->pMethods->xSectorSize(real(file));
}

static int faulty_characteristics(sqlite3_file *file)
{
    return real(file)->pMethods->xDeviceCharacteristics(real(file));
}

static int faulty_open(sqlite3_vfs *self, const char *name, sqlite3_file *file, int flags, int *out_flags)
{
    static const sqlite3_io_methods methods = {
        .iVersion = 1, /* no shared memory: the store needs none */
        .xClose = faulty_close,
        .xRead = faulty_read,
        .xWrite = faulty_write,
        .xTruncate = faulty_truncate,
        .xSync = faulty_sync,
        .xFileSize = faulty_size,
        .xLock = faulty_lock,
        .xUnlock = faulty_unlock,
        .xCheckReservedLock = faulty_reserved,
        .xFileControl = faulty_control,
        .xSectorSize = faulty_sector,
        .xDeviceCharacteristics = faulty_characteristics,
    };
    struct faulty_file *faulty = (struct faulty_file *)file;
    sqlite3_vfs *next = self->pAppData;
    int result;

    faulty->real = (sqlite3_file *)(faulty + 1);
    result = next->xOpen(next, name, faulty->real, flags, out_flags);
    file->pMethods = result == SQLITE_OK ? &methods : NULL;
    return result;
}

static int set_up(void **state)
{
    sqlite3_vfs *next = sqlite3_vfs_find(NULL);

    (void)state;
    countdown = failed = lasting = 0;
    vfs = *next; /* its other functions look at no field of it that differs */
    vfs.zName = "faulty";
    vfs.szOsFile = (int)sizeof(struct faulty_file) + next->szOsFile;
    vfs.pAppData = next;
    vfs.xOpen = faulty_open;
    support_directory_make(directory);
    return sqlite3_vfs_register(&vfs, 0);
}

static int tear_down(void **state)
{
    (void)state;
    support_directory_remove(directory);
    return sqlite3_vfs_unregister(&vfs);
}

/* ---- the work ---- */

static char text[4001];
static uint64_t committed; /* messages of conversation 1 */

static struct store *open_faulty(void)
{
    return store_sqlite_open_vfs(directory, OPTION_DURABILITY_FULL, "faulty");
}

/* A few transactions, enough for a checkpoint; `committed` counts those that were. */
static void work(struct store *s)
{
    for (int i = 0; i < 12; i++) {
        uint64_t count = i == 5 ? 1000 : 3; /* the large one is over the checkpoint's limit */
        bool done = s->operations->begin(s);

        for (uint64_t n = 1; done && n <= count; n++)
            done = support_message_add(s, 1, 1, committed + n, committed + n, committed + n, "", text);
        if (done && s->operations->commit(s))
            committed += count;
        else
            s->operations->rollback(s);
    }
}

static void check(struct store *s)
{
    assert_int_equal(support_count(s, 1), committed);
    assert_true(support_message_commit(s, 1, 1, committed + 1, committed + 1, committed + 1, "", text));
    committed++;
}

/* Work with the n-th operation failing; returns whether there was one. */
static bool work_with_fault(int n)
{
    struct store *s;

    committed = 0;
    failed = 0;
    s = open_faulty();
    assert_non_null(s);
    countdown = n;
    work(s);
    countdown = 0;
    check(s);
    s->operations->free(s);
    s = open_faulty();
    assert_non_null(s);
    check(s);
    s->operations->free(s);
    return failed > 0;
}

static void clear_directory(void)
{
    support_directory_remove(directory);
    support_directory_make(directory);
}

/* Each of the first, then some of the many that are alike. */
static void every_operation_fails_once(void **state)
{
    (void)state;
    memset(text, 'x', sizeof text - 1);
    for (int n = 1; work_with_fault(n); n += n < 30 ? 1 : 311)
        clear_directory();
}

static void all_operations_fail_from_one_on(void **state)
{
    (void)state;
    memset(text, 'x', sizeof text - 1);
    lasting = 1;
    for (int n = 1; work_with_fault(n); n += n < 30 ? 4 : 577)
        clear_directory();
}

/* Opening with the n-th operation failing; returns whether there was one. */
static bool open_with_fault(int n, uint64_t expected)
{
    struct store *s;

    failed = 0;
    countdown = n;
    s = open_faulty();
    countdown = 0;
    if (!s)
        s = open_faulty(); /* what the failure left is no hindrance */
    assert_non_null(s);
    assert_int_equal(support_count(s, 1), expected);
    s->operations->free(s);
    return failed > 0;
}

static void opening_fails_and_then_works(void **state)
{
    struct store *s;

    (void)state;
    for (int n = 1; open_with_fault(n, 0); n++)
        clear_directory();
    s = open_faulty();
    assert_non_null(s);
    assert_true(support_message_commit(s, 1, 1, 1, 1, 1, "", "t"));
    s->operations->free(s);
    for (int n = 1; open_with_fault(n, 1); n++)
        ;
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_operation_fails_once),
        TEST(all_operations_fail_from_one_on),
        TEST(opening_fails_and_then_works),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
