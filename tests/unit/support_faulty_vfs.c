/* support_faulty_vfs.c - see support_faulty_vfs.h. */
#include "support_faulty_vfs.h"

#include <sqlite3.h>
#include <stddef.h>

struct faulty_file {
    sqlite3_file base;  /* first: what SQLite holds a pointer to */
    sqlite3_file *real; /* of the default VFS, behind this structure */
};

struct faulty_vfs faulty_vfs;

static sqlite3_vfs vfs;

static bool fails(enum fault_kind kind)
{
    if (faulty_vfs.countdown == 0 || --faulty_vfs.countdown > 0)
        return false;
    faulty_vfs.countdown = faulty_vfs.lasting;
    faulty_vfs.failed++;
    faulty_vfs.failed_by_kind[kind]++;
    return true;
}

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
    return fails(FAULT_READ) ? SQLITE_IOERR_READ : real(file)->pMethods->xRead(real(file), bytes, count, offset);
}

/* Half of it is written, as a full disk has it. */
static int faulty_write(sqlite3_file *file, const void *bytes, int count, sqlite3_int64 offset)
{
    if (!fails(FAULT_WRITE))
        return real(file)->pMethods->xWrite(real(file), bytes, count, offset);
    real(file)->pMethods->xWrite(real(file), bytes, count / 2, offset);
    return SQLITE_FULL;
}

static int faulty_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    return fails(FAULT_TRUNCATE) ? SQLITE_IOERR_TRUNCATE : real(file)->pMethods->xTruncate(real(file), size);
}

static int faulty_sync(sqlite3_file *file, int flags)
{
    (void)file, (void)flags;
    return fails(FAULT_SYNC) ? SQLITE_IOERR_FSYNC : SQLITE_OK;
}

static int faulty_size(sqlite3_file *file, sqlite3_int64 *size)
{
    return fails(FAULT_SIZE) ? SQLITE_IOERR_FSTAT : real(file)->pMethods->xFileSize(real(file), size);
}

static int faulty_lock(sqlite3_file *file, int lock)
{
    return fails(FAULT_LOCK) ? SQLITE_IOERR_LOCK : real(file)->pMethods->xLock(real(file), lock);
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

/* Without flushing the directory. */
static int faulty_delete(sqlite3_vfs *self, const char *name, int flush)
{
    sqlite3_vfs *next = self->pAppData;

    (void)flush;
    return next->xDelete(next, name, 0);
}

int faulty_vfs_begin(bool by_default)
{
    sqlite3_vfs *next = sqlite3_vfs_find("unix");

    faulty_vfs = (struct faulty_vfs){0};
    vfs = *next; /* its other functions look at no field of it that differs */
    vfs.zName = "faulty";
    vfs.szOsFile = (int)sizeof(struct faulty_file) + next->szOsFile;
    vfs.pAppData = next;
    vfs.xOpen = faulty_open;
    vfs.xDelete = faulty_delete;
    return sqlite3_vfs_register(&vfs, by_default);
}

int faulty_vfs_end(void)
{
    return sqlite3_vfs_unregister(&vfs);
}
