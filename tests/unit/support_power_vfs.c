/* support_power_vfs.c - see support_power_vfs.h. */
#include "support_power_vfs.h"

#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "support.h"

#include "base/buffer.h"

enum { FILES_MAX = 8, SECTOR_BYTES = 512 };

/* Since the last flush; a truncation where there are no bytes. */
struct change {
    struct change *next;
    size_t offset, length;
    char bytes[];
};

struct disk_file {
    char name[512]; /* empty: free */
    bool exists;
    bool lasting;        /* its entry in the directory */
    bool anew;           /* made where one was deleted, and not flushed: on the disk the old one may still be */
    struct buffer now;   /* what the program sees */
    struct buffer disk;  /* what was flushed */
    struct buffer saved; /* see power_vfs_save() */
    bool was_saved;
    struct change *first, **last;
};

struct open_file {
    sqlite3_file base; /* first */
    struct disk_file *file;
};

struct power_vfs power_vfs;

static sqlite3_vfs vfs;
static struct disk_file files[FILES_MAX];
static enum power_count counted;
static uint64_t countdown;

static uint64_t chance(uint64_t bound)
{
    return support_random(&power_vfs.random, bound);
}

/* ---- contents ---- */

static void resize(struct buffer *content, size_t length)
{
    size_t old = content->length;

    if (length > old) {
        assert_true(buffer_reserve(content, length - old));
        memset(content->bytes + old, 0, length - old);
    }
    content->length = length;
}

static void overwrite(struct buffer *content, size_t offset, const void *bytes, size_t length)
{
    if (content->length < offset + length)
        resize(content, offset + length);
    memcpy(content->bytes + offset, bytes, length);
}

static void copy(struct buffer *to, const struct buffer *from)
{
    buffer_clear(to);
    buffer_append(to, from->bytes, from->length);
    assert_false(to->failed);
}

static void apply(struct buffer *content, const struct change *change)
{
    if (change->length == 0)
        resize(content, change->offset);
    else
        overwrite(content, change->offset, change->bytes, change->length);
}

static void forget_changes(struct disk_file *file)
{
    while (file->first != NULL) {
        struct change *next = file->first->next;

        free(file->first);
        file->first = next;
    }
    file->last = &file->first;
}

static void note_change(struct disk_file *file, size_t offset, const void *bytes, size_t length)
{
    struct change *change = malloc(sizeof *change + length);

    assert_non_null(change);
    *change = (struct change){.offset = offset, .length = length};
    if (length > 0)
        memcpy(change->bytes, bytes, length);
    *file->last = change;
    file->last = &change->next;
    apply(&file->now, change);
}

static bool is_database(const struct disk_file *file)
{
    return strchr(strrchr(file->name, '/'), '-') == NULL; /* no chat.db-wal, chat.db-journal */
}

static void flush_directory(void)
{
    for (int i = 0; i < FILES_MAX; i++) {
        if (files[i].anew || !files[i].exists)
            buffer_clear(&files[i].disk);
        files[i].anew = false;
        files[i].lasting = files[i].exists;
    }
}

static void flush(struct disk_file *file)
{
    if (!is_database(file) && (file->anew || !file->lasting))
        flush_directory();
    for (struct change *change = file->first; change != NULL; change = change->next)
        apply(&file->disk, change);
    forget_changes(file);
    power_vfs.flushes++;
}

/* ---- the cut ---- */

/* True: the power is gone, or goes in this very operation. */
static bool goes_out(bool counts)
{
    if (!power_vfs.is_cut && counts && countdown > 0)
        power_vfs.is_cut = --countdown == 0;
    return power_vfs.is_cut;
}

static bool write_goes_out(const struct disk_file *file)
{
    return goes_out(counted == POWER_ALL || (counted == POWER_DATABASE && is_database(file)));
}

/* A part of a write within one sector. */
static void leave_sector(struct disk_file *file, size_t offset, char *bytes, size_t length)
{
    switch (chance(32)) {
    case 0:
        power_vfs.sectors_torn++;
        overwrite(&file->disk, offset, bytes, (size_t)chance(length + 1));
        break;
    case 1:
        power_vfs.sectors_torn++;
        for (size_t i = 0; i < length; i++)
            bytes[i] = (char)chance(256);
        overwrite(&file->disk, offset, bytes, length);
        break;
    default:
        if (chance(2) == 0) {
            power_vfs.sectors_lost++;
            break;
        }
        power_vfs.sectors_kept++;
        overwrite(&file->disk, offset, bytes, length);
        break;
    }
}

static void leave_parts(struct disk_file *file, struct change *change)
{
    size_t done = 0;

    if (change->length == 0 && chance(2) == 0)
        apply(&file->disk, change);
    while (done < change->length) {
        size_t length = SECTOR_BYTES - (change->offset + done) % SECTOR_BYTES;

        if (length > change->length - done)
            length = change->length - done;
        leave_sector(file, change->offset + done, change->bytes + done, length);
        done += length;
    }
}

/* Of the changes the first `whole` are on the disk; of those that follow, any part, if `parts`. */
static void leave_changes(struct disk_file *file, uint64_t whole, bool parts)
{
    for (struct change *change = file->first; change != NULL; change = change->next) {
        uint64_t sectors = change->length / SECTOR_BYTES + 1;

        if (whole > 0) {
            whole--;
            apply(&file->disk, change);
            power_vfs.sectors_kept += sectors;
        } else if (parts) {
            leave_parts(file, change);
        } else {
            power_vfs.sectors_lost += sectors;
        }
    }
}

static void restore(struct disk_file *file)
{
    uint64_t count = 0;

    if (file->anew && chance(2) == 0)
        forget_changes(file);
    else if (file->anew)
        buffer_clear(&file->disk);
    file->anew = false;
    for (struct change *change = file->first; change != NULL; change = change->next)
        count++;
    leave_changes(file, chance(2) == 0 ? 0 : chance(count + 1), chance(3) != 0);
    forget_changes(file);
    file->exists = file->lasting ? file->exists || chance(2) == 0 : file->exists && chance(2) == 0;
    file->lasting = file->exists;
    if (!file->exists)
        buffer_clear(&file->disk);
    copy(&file->now, &file->disk);
}

void power_vfs_restore(void)
{
    for (int i = 0; i < FILES_MAX; i++)
        if (files[i].name[0] != '\0')
            restore(&files[i]);
    power_vfs.is_cut = false;
    countdown = 0;
}

void power_vfs_cut_at(enum power_count count, uint64_t n)
{
    counted = count;
    countdown = n;
}

/* ---- the whole disk ---- */

void power_vfs_clear(void)
{
    for (int i = 0; i < FILES_MAX; i++) {
        forget_changes(&files[i]);
        buffer_fini(&files[i].now);
        buffer_fini(&files[i].disk);
        buffer_fini(&files[i].saved);
        files[i] = (struct disk_file){.last = &files[i].first};
    }
    power_vfs.is_cut = false;
    countdown = 0;
}

void power_vfs_save(void)
{
    for (int i = 0; i < FILES_MAX; i++) {
        copy(&files[i].saved, &files[i].now);
        files[i].was_saved = files[i].exists;
    }
}

void power_vfs_load(void)
{
    for (int i = 0; i < FILES_MAX; i++) {
        forget_changes(&files[i]);
        copy(&files[i].now, &files[i].saved);
        copy(&files[i].disk, &files[i].saved);
        files[i].exists = files[i].lasting = files[i].was_saved;
        files[i].anew = false;
    }
}

/* ---- the VFS ---- */

static struct disk_file *find(const char *name)
{
    for (int i = 0; i < FILES_MAX; i++)
        if (strcmp(files[i].name, name) == 0)
            return &files[i];
    return NULL;
}

static struct disk_file *find_or_add(const char *name)
{
    struct disk_file *file = find(name);

    if (file == NULL && (file = find("")) != NULL) {
        assert_true(strlen(name) < sizeof file->name);
        strcpy(file->name, name);
    }
    assert_non_null(file);
    return file;
}

static struct disk_file *of(sqlite3_file *file)
{
    return ((struct open_file *)file)->file;
}

static int power_close(sqlite3_file *file)
{
    (void)file;
    return SQLITE_OK;
}

static int power_read(sqlite3_file *handle, void *bytes, int count, sqlite3_int64 offset)
{
    const struct buffer *now = &of(handle)->now;
    size_t from = (size_t)offset, wanted = (size_t)count;
    size_t there = from >= now->length ? 0 : now->length - from < wanted ? now->length - from : wanted;

    if (power_vfs.is_cut)
        return SQLITE_IOERR_READ;
    if (there > 0)
        memcpy(bytes, now->bytes + from, there);
    if (there == wanted)
        return SQLITE_OK;
    memset((char *)bytes + there, 0, wanted - there);
    return SQLITE_IOERR_SHORT_READ;
}

/* What is being written when the power goes may be on the disk, too. */
static int power_write(sqlite3_file *handle, const void *bytes, int count, sqlite3_int64 offset)
{
    struct disk_file *file = of(handle);
    bool was_cut = power_vfs.is_cut, goes = write_goes_out(file);

    if (!was_cut)
        note_change(file, (size_t)offset, bytes, (size_t)count);
    return goes ? SQLITE_IOERR_WRITE : SQLITE_OK;
}

static int power_truncate(sqlite3_file *handle, sqlite3_int64 size)
{
    struct disk_file *file = of(handle);
    bool was_cut = power_vfs.is_cut, goes = write_goes_out(file);

    if (!was_cut)
        note_change(file, (size_t)size, NULL, 0);
    return goes ? SQLITE_IOERR_TRUNCATE : SQLITE_OK;
}

static int power_sync(sqlite3_file *handle, int flags)
{
    (void)flags;
    if (goes_out(counted != POWER_DATABASE))
        return SQLITE_IOERR_FSYNC;
    flush(of(handle));
    return SQLITE_OK;
}

static int power_size(sqlite3_file *handle, sqlite3_int64 *size)
{
    *size = (sqlite3_int64)of(handle)->now.length;
    return power_vfs.is_cut ? SQLITE_IOERR_FSTAT : SQLITE_OK;
}

/* One connection at a time: the store has a lock of its own for that. */
static int power_lock(sqlite3_file *handle, int lock)
{
    (void)handle, (void)lock;
    return SQLITE_OK;
}

static int power_reserved(sqlite3_file *handle, int *result)
{
    (void)handle;
    *result = 0;
    return SQLITE_OK;
}

static int power_control(sqlite3_file *handle, int operation, void *arg)
{
    (void)handle, (void)operation, (void)arg;
    return SQLITE_NOTFOUND;
}

/* As the system's files. */
static int power_sector(sqlite3_file *handle)
{
    (void)handle;
    return 4096;
}

static int power_characteristics(sqlite3_file *handle)
{
    (void)handle;
    return SQLITE_IOCAP_POWERSAFE_OVERWRITE;
}

static int power_open(sqlite3_vfs *self, const char *name, sqlite3_file *handle, int flags, int *out_flags)
{
    static const sqlite3_io_methods methods = {
        .iVersion = 1, /* no shared memory: the store needs none */
        .xClose = power_close,
        .xRead = power_read,
        .xWrite = power_write,
        .xTruncate = power_truncate,
        .xSync = power_sync,
        .xFileSize = power_size,
        .xLock = power_lock,
        .xUnlock = power_lock,
        .xCheckReservedLock = power_reserved,
        .xFileControl = power_control,
        .xSectorSize = power_sector,
        .xDeviceCharacteristics = power_characteristics,
    };
    struct disk_file *file;

    (void)self;
    handle->pMethods = NULL;
    if (power_vfs.is_cut)
        return SQLITE_CANTOPEN;
    file = find_or_add(name);
    if (!file->exists && (flags & SQLITE_OPEN_CREATE) == 0)
        return SQLITE_CANTOPEN;
    file->anew |= !file->exists && file->lasting;
    file->exists = true;
    ((struct open_file *)handle)->file = file;
    handle->pMethods = &methods;
    if (out_flags != NULL)
        *out_flags = flags;
    return SQLITE_OK;
}

static int power_delete(sqlite3_vfs *self, const char *name, int lasting)
{
    struct disk_file *file = find(name);

    (void)self;
    if (goes_out(counted == POWER_ALL))
        return SQLITE_IOERR_DELETE;
    if (file == NULL || !file->exists)
        return SQLITE_IOERR_DELETE_NOENT;
    file->exists = false;
    forget_changes(file);
    buffer_clear(&file->now);
    if (lasting)
        flush_directory();
    return SQLITE_OK;
}

static int power_access(sqlite3_vfs *self, const char *name, int flags, int *result)
{
    const struct disk_file *file = find(name);

    (void)self, (void)flags;
    *result = file != NULL && file->exists;
    return power_vfs.is_cut ? SQLITE_IOERR_ACCESS : SQLITE_OK;
}

int power_vfs_begin(uint64_t seed)
{
    sqlite3_vfs *next = sqlite3_vfs_find("unix");

    power_vfs = (struct power_vfs){.random = seed};
    power_vfs_clear();
    vfs = *next; /* for paths, randomness, time */
    vfs.zName = "power";
    vfs.szOsFile = sizeof(struct open_file);
    vfs.pAppData = next;
    vfs.xOpen = power_open;
    vfs.xDelete = power_delete;
    vfs.xAccess = power_access;
    return sqlite3_vfs_register(&vfs, 1);
}

int power_vfs_end(void)
{
    power_vfs_clear();
    return sqlite3_vfs_unregister(&vfs);
}
