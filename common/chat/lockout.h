/* lockout.h - how many wrong passwords one address may try for one user.
 *
 * Idea.       An attempt is taken in before its password is looked at, and settled when the result is known. Failures
 *             and attempts being checked together stay within the limit, so many attempts at once cannot pass it; those
 *             beyond it wait, because the ones before them may yet be right.
 *
 *                        failures >= 10                       room again
 *      lockout_begin ───────────────────▶ REFUSED ◀────┐   ┌───────────▶ CHECK ──lockout_settle──▶ right: count cleared
 *            │   failures + checking >= 10             │   │               ▲                       wrong: one more
 *            ├───────────────────────────────────────▶ WAIT                │                       neither: as it was
 *            └─────────────────────────────────────────────────────────────┘
 *
 * Invariants. I1  of one key, failures within the window + attempts in CHECK <= PASSWORD_FAILURES_MAX.
 *             I2  an attempt waits only while another of its key is in CHECK: so each is settled in the end.
 *             I3  an entry without failures, attempts and waiters does not exist; of the others with nothing in CHECK
 *                 there are at most LOCKOUT_ENTRIES_MAX: past that the one goes that failed least recently.
 * Threads.    Belongs to whoever runs the engine.
 * Time.       CLOCK_MONOTONIC in milliseconds.
 */
#ifndef CHAT_LOCKOUT_H
#define CHAT_LOCKOUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "chat/engine.h"
#include "chat/hash_index.h"
#include "chat/links.h"

struct lockout {
    struct hash_index entries;
    struct link resting; /* entries with nothing in CHECK: the least recently failed first */
    size_t resting_count;
    size_t resting_max;
    uint64_t window_ms;
    uint64_t key;
};

enum lockout_verdict {
    LOCKOUT_CHECK,    /* look at the password, then call lockout_settle() */
    LOCKOUT_WAIT,     /* lockout_settle() of another will tell */
    LOCKOUT_REFUSED,  /* too_many_attempts; the attempt is over */
    LOCKOUT_NO_MEMORY /* the attempt was not taken in */
};

/* Part of the caller's structure, which stays in place from lockout_begin() until the attempt is over. */
struct lockout_attempt {
    struct lockout_attempt *next;
    struct lockout_entry *entry; /* NULL: the attempt is over */
    enum lockout_verdict verdict;
};

enum lockout_result {
    LOCKOUT_RIGHT,
    LOCKOUT_WRONG,
    LOCKOUT_UNKNOWN /* the password was not looked at after all: no memory, no worker */
};

/* `entries_max`: LOCKOUT_ENTRIES_MAX; tests take less. False: no memory. */
bool lockout_init(struct lockout *lockout, uint64_t window_ms, size_t entries_max);

/* Attempts that are not over are forgotten; they belong to the caller. */
void lockout_fini(struct lockout *lockout);

/* Take `attempt` in; the verdict is returned, and kept in the attempt. */
enum lockout_verdict lockout_begin(struct lockout *lockout, struct lockout_attempt *attempt, uint32_t user,
                                   const struct peer_address *address, uint64_t now_ms);

/* The result of an attempt in CHECK, which is over. Returns the attempts that waited and now have a verdict, CHECK or
 * REFUSED, in the order of their coming, linked by `next`. */
struct lockout_attempt *lockout_settle(struct lockout *lockout, struct lockout_attempt *attempt,
                                       enum lockout_result result, uint64_t now_ms);

/* An attempt in WAIT is over, without a result. */
void lockout_abandon(struct lockout *lockout, struct lockout_attempt *attempt);

#endif
