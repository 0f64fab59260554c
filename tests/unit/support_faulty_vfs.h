/* support_faulty_vfs.h - a layer between SQLite and the files that fails when it is told to.
 *
 * Idea.       A VFS (sqlite.org/vfs.html) that hands everything on to the default one, but for the operation that is to
 *             fail. What a failed write leaves is what a full disk leaves: half of it. Flushing is left out: the tests
 *             that use this end no machine.
 */
#ifndef TESTS_UNIT_SUPPORT_FAULTY_VFS_H
#define TESTS_UNIT_SUPPORT_FAULTY_VFS_H

#include <stdbool.h>

enum fault_kind { FAULT_READ, FAULT_WRITE, FAULT_TRUNCATE, FAULT_SYNC, FAULT_SIZE, FAULT_LOCK, FAULT_KINDS };

struct faulty_vfs {
    int countdown; /* 1: the next operation fails; 0: none */
    bool lasting;  /* and all that follow, until countdown is set to 0 */
    int failed;    /* operations that did */
    int failed_by_kind[FAULT_KINDS];
};

extern struct faulty_vfs faulty_vfs;

/* Known to SQLite as "faulty", with no fault to come; `by_default`: also for who names no VFS. 0: done, else an error of
 * SQLite. */
int faulty_vfs_begin(bool by_default);
int faulty_vfs_end(void);

#endif
