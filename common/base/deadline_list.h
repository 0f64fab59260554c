/* deadline_list.h - sessions that wait for the same length of time, in the order of their deadlines.
 *
 * Idea.       All who wait for one duration (say, the 120 s idle timeout) and were put in one after the other expire
 *             in that order: a plain list is sorted by itself, and put and drop are O(1). Activity does not move an
 *             entry, it only stamps `active_ms`: a message must not cost a list operation. When an entry comes to
 *             the front, its stamp is looked at, and one that was active waits for the rest of its time.
 *             (Finding its place is a walk from the back past those that were active later; that is the price, paid
 *             once a duration and entry, and nothing for an entry that is busy.)
 *             Deadlines are rounded up to a tick, so that entries that were put in at about the same time expire in
 *             one wake-up.
 * Invariants. I1  entries stand in ascending `due_ms`.
 *             I2  an entry is in at most one list; `next` is NULL: in none.
 *             I3  `due_ms` is at most `active_ms` + duration + tick, so nobody waits longer than that.
 * Threads.    Belongs to the hub's thread.
 * You must    not free an entry that is in a list; drop it first.
 */
#ifndef CHAT_DEADLINE_LIST_H
#define CHAT_DEADLINE_LIST_H

#include <stdbool.h>
#include <stdint.h>

struct deadline_entry {
    struct deadline_entry *next, *previous; /* I2 */
    uint64_t due_ms;                        /* CLOCK_MONOTONIC; when to look, not yet when to expire */
    uint64_t active_ms;                     /* last activity; written by the owner of the entry      */
};

struct deadline_list {
    struct deadline_entry head; /* sentinel: head.next is due first */
    uint64_t duration_ms;
    uint64_t tick_ms; /* due_ms is a multiple of it: about 1/64 of the duration, from 1 to 500 */
};

/* `duration_ms` 0: every entry is due at once. */
void deadline_list_init(struct deadline_list *list, uint64_t duration_ms);

/* Put `entry` (in no list) in, active as of `now_ms`. The list borrows the entry. */
void deadline_list_put(struct deadline_list *list, struct deadline_entry *entry, uint64_t now_ms);

/* Is `entry` in a list? */
bool deadline_entry_waits(const struct deadline_entry *entry);

/* Take `entry` out; harmless for one that is in no list, so that closing never has to ask. */
void deadline_list_drop(struct deadline_entry *entry);

/* The first entry that was inactive for the whole duration, taken out of the list; NULL: none is due.
 * Call it until it returns NULL. Handlers may drop or put any entry in between. */
struct deadline_entry *deadline_list_expire(struct deadline_list *list, uint64_t now_ms);

/* When deadline_list_expire() has to be called again, CLOCK_MONOTONIC; UINT64_MAX: the list is empty. */
uint64_t deadline_list_due_ms(const struct deadline_list *list);

#endif
