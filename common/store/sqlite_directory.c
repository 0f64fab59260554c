/* sqlite_directory.c - the data directory: made, locked, its files private.
 *
 * Idea.       The lock is flock(2) on a file beside the database. The kernel drops it with the process, however that
 *             ends, so there is nothing to clean up after SIGKILL (S-4). SQLite's own locks would do, but then the
 *             second server would only know that "the database is locked", and not by whom.
 */
#include "base/log.h"
#include "store/sqlite_store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define DATABASE_NAME "chat.db"
#define LOCK_NAME "lock"

static bool failed(const char *directory, const char *what)
{
    log_error("data directory %s: %s: %s", directory, what, strerror(errno));
    return false;
}

/* "DIRECTORY/name". A path that does not begin with "/" gets a "./": SQLite would take "file:x" for a URI
 * (sqlite.org/uri.html). */
static bool join(const char *directory, const char *name, char path[SQLITE_PATH_BYTES])
{
    int length = snprintf(path, SQLITE_PATH_BYTES, "%s%s/%s", directory[0] == '/' ? "" : "./", directory, name);

    if (length < 0 || (size_t)length >= SQLITE_PATH_BYTES) {
        errno = ENAMETOOLONG;
        return failed(directory, name);
    }
    return true;
}

/* The entry of a new directory is in its parent, and lasts when that is flushed (fsync(2)). */
static bool flush_parent(const char *directory)
{
    char path[SQLITE_PATH_BYTES];
    int parent;
    bool flushed;

    if (!join(directory, "..", path))
        return false;
    parent = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (parent < 0)
        return failed(directory, "cannot open its parent");
    flushed = fsync(parent) == 0 || failed(directory, "cannot flush its parent");
    close(parent);
    return flushed;
}

static bool make_directory(const char *directory)
{
    if (mkdir(directory, 0700) == 0)
        return flush_parent(directory);
    return errno == EEXIST || failed(directory, "cannot make it");
}

/* SQLite makes files as the umask has it, and gives the WAL the permissions of the database. So the database is there
 * before SQLite sees it: an empty file is an empty database. Its descriptor is closed before SQLite locks the file,
 * since a close would drop those locks (fcntl(2), "Advisory record locking"). */
static bool make_database(const char *directory, const char *path)
{
    int descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    if (descriptor < 0)
        return failed(directory, "cannot write " DATABASE_NAME);
    close(descriptor);
    return true;
}

/* Who holds the lock stands in the file: for people, and only as good as that. */
static void log_holder(const char *directory, int lock)
{
    char text[32] = "";
    ssize_t length = pread(lock, text, sizeof text - 1, 0);
    long holder = length > 0 ? strtol(text, NULL, 10) : 0;

    if (holder > 0)
        log_error("data directory %s: in use by another server, process %ld", directory, holder);
    else
        log_error("data directory %s: in use by another server", directory);
}

static bool lock_file(const char *directory, int lock)
{
    if (flock(lock, LOCK_EX | LOCK_NB) == 0) {
        /* On a full disk the lock holds as well, and only the number is missing. */
        if (ftruncate(lock, 0) != 0 || dprintf(lock, "%ld\n", (long)getpid()) < 0)
            log_warn("data directory %s: cannot write into " LOCK_NAME ": %s", directory, strerror(errno));
        return true;
    }
    if (errno != EWOULDBLOCK)
        return failed(directory, "cannot lock it");
    log_holder(directory, lock);
    return false;
}

int sqlite_directory_open(const char *directory, char path[SQLITE_PATH_BYTES])
{
    int lock;

    if (!make_directory(directory) || !join(directory, LOCK_NAME, path))
        return -1;
    lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (lock < 0) {
        failed(directory, "cannot write " LOCK_NAME);
        return -1;
    }
    if (lock_file(directory, lock) && join(directory, DATABASE_NAME, path) && make_database(directory, path))
        return lock;
    close(lock);
    return -1;
}
