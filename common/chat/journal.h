/* journal.h - how the engine's memory gets back to what it was, when a batch cannot be made durable.
 *
 * Idea.       Whoever changes something writes down the inverse first: the bytes of a field, or a function that takes
 *             the change back. A commit forgets all of it; a rollback runs it backwards, so that each inverse finds
 *             memory exactly as its change left it.
 *             What is no longer needed is freed by the commit, because a rollback would want it back; what was
 *             allocated is freed by a rollback.
 * Invariants. I1  recording never fails: room for a whole step was reserved before it. So a change is never half
 *                 recorded, and code that changes things does not have to ask.
 *             I2  a rollback allocates nothing and cannot fail.
 * Threads.    Belongs to whoever runs the engine.
 */
#ifndef CHAT_JOURNAL_H
#define CHAT_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>

/* Most bytes of one saved field. */
#define JOURNAL_SAVE_MAX_BYTES 40

typedef void (*journal_undo)(void *first, void *second);

struct journal_entry;

struct journal {
    struct journal_entry *entries;
    size_t count;
    size_t capacity;
};

/* An empty journal owns no memory; `{0}` is one, too. */
void journal_init(struct journal *journal);

/* The journal is empty: committed, or rolled back. */
void journal_fini(struct journal *journal);

/* Room for `count` more entries (I1). False: no memory. The memory is kept from batch to batch. */
bool journal_reserve(struct journal *journal, size_t count);

/* Save `bytes` (at most JOURNAL_SAVE_MAX_BYTES) at `field`, before they are changed. */
void journal_save(struct journal *journal, void *field, size_t bytes);
#define JOURNAL_SAVE(journal, field) journal_save((journal), (field), sizeof *(field))

/* A rollback calls undo(first, second). */
void journal_call(struct journal *journal, journal_undo undo, void *first, void *second);

/* Memory from malloc(3) that only one of the two outcomes still needs. NULL is nothing. */
void journal_free_on_commit(struct journal *journal, void *memory);
void journal_free_on_rollback(struct journal *journal, void *memory);

void journal_commit(struct journal *journal);
void journal_rollback(struct journal *journal);

#endif
