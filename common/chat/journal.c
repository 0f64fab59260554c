#include "chat/journal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum entry_kind { ENTRY_SAVED, ENTRY_CALL, ENTRY_FREE_ON_COMMIT, ENTRY_FREE_ON_ROLLBACK };

/* One cache line. */
struct journal_entry {
    enum entry_kind kind;
    unsigned saved_bytes;
    void *first; /* saved: the field; free: the memory */
    union {
        char saved[JOURNAL_SAVE_MAX_BYTES];
        struct {
            journal_undo undo;
            void *second;
        } call;
    } as;
};

void journal_init(struct journal *journal)
{
    *journal = (struct journal){0};
}

void journal_fini(struct journal *journal)
{
    assert(journal->count == 0);
    free(journal->entries);
    journal_init(journal);
}

bool journal_reserve(struct journal *journal, size_t count)
{
    size_t capacity = journal->capacity > 0 ? journal->capacity : 64;
    struct journal_entry *entries;

    if (journal->capacity - journal->count >= count)
        return true;
    while (capacity - journal->count < count)
        capacity *= 2;
    entries = realloc(journal->entries, capacity * sizeof *entries);
    if (entries == NULL)
        return false;
    journal->entries = entries;
    journal->capacity = capacity;
    return true;
}

static struct journal_entry *push(struct journal *journal, enum entry_kind kind, void *first)
{
    struct journal_entry *entry = &journal->entries[journal->count];

    assert(journal->count < journal->capacity); /* I1 */
    journal->count++;
    entry->kind = kind;
    entry->first = first;
    return entry;
}

void journal_save(struct journal *journal, void *field, size_t bytes)
{
    struct journal_entry *entry = push(journal, ENTRY_SAVED, field);

    assert(bytes <= JOURNAL_SAVE_MAX_BYTES);
    entry->saved_bytes = (unsigned)bytes;
    memcpy(entry->as.saved, field, bytes);
}

void journal_call(struct journal *journal, journal_undo undo, void *first, void *second)
{
    struct journal_entry *entry = push(journal, ENTRY_CALL, first);

    entry->as.call.undo = undo;
    entry->as.call.second = second;
}

void journal_free_on_commit(struct journal *journal, void *memory)
{
    push(journal, ENTRY_FREE_ON_COMMIT, memory);
}

void journal_free_on_rollback(struct journal *journal, void *memory)
{
    push(journal, ENTRY_FREE_ON_ROLLBACK, memory);
}

void journal_commit(struct journal *journal)
{
    for (size_t i = 0; i < journal->count; i++)
        if (journal->entries[i].kind == ENTRY_FREE_ON_COMMIT)
            free(journal->entries[i].first);
    journal->count = 0;
}

static void undo(const struct journal_entry *entry)
{
    switch (entry->kind) {
    case ENTRY_SAVED:
        memcpy(entry->first, entry->as.saved, entry->saved_bytes);
        break;
    case ENTRY_CALL:
        entry->as.call.undo(entry->first, entry->as.call.second);
        break;
    case ENTRY_FREE_ON_ROLLBACK:
        free(entry->first);
        break;
    case ENTRY_FREE_ON_COMMIT:
        break;
    }
}

void journal_rollback(struct journal *journal)
{
    while (journal->count > 0)
        undo(&journal->entries[--journal->count]);
}
