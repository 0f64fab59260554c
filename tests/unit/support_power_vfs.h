/* support_power_vfs.h - a disk in memory from which the power can be cut.
 *
 * Idea.       A VFS (sqlite.org/vfs.html) whose files have two contents: what was flushed, and what the program sees. Each
 *             write since the last flush is remembered. After a cut the disk has what was flushed, and of the rest what
 *             chance leaves: nothing, all, the first of it, or any part, by sectors of 512 bytes, of which one may be torn or
 *             filled with anything. What was not written to since the flush is untouched (that is what SQLite calls
 *             powersafe overwrite, and takes for granted of the system's files, too).
 *             The directory is flushed as SQLite flushes it on Unix: with the first flush of a journal or a WAL that was
 *             made anew, and with a deletion for which that is asked. Until then chance decides whether a new file is
 *             there, and whether a deleted one is.
 */
#ifndef TESTS_UNIT_SUPPORT_POWER_VFS_H
#define TESTS_UNIT_SUPPORT_POWER_VFS_H

#include <stdbool.h>
#include <stdint.h>

/* Which operations count on the way to the cut. */
enum power_count { POWER_ALL, POWER_FLUSHES, POWER_DATABASE /* writes to it, which only a checkpoint makes */ };

struct power_vfs {
    uint64_t random; /* state of support_random() */
    bool is_cut;     /* every operation fails */
    uint64_t flushes;
    uint64_t sectors_kept, sectors_lost, sectors_torn; /* of what was not flushed at a cut */
};

extern struct power_vfs power_vfs;

/* An empty disk, known to SQLite as its default. 0: done, else an error of SQLite. */
int power_vfs_begin(uint64_t seed);
int power_vfs_end(void);

/* The power goes in the n-th operation from now, n from 1; 0: never. */
void power_vfs_cut_at(enum power_count count, uint64_t n);

/* The power is back: what chance has left becomes what the files have. All of them have to be closed. */
void power_vfs_restore(void);

/* Take everything off the disk. */
void power_vfs_clear(void);

/* Remember what the files have, all of which is flushed and closed; and have that again. */
void power_vfs_save(void);
void power_vfs_load(void);

#endif
