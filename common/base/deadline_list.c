#include "base/deadline_list.h"

#include <assert.h>
#include <stddef.h>

#define TICK_MAX_MS 500
#define TICKS_A_DURATION 64

void deadline_list_init(struct deadline_list *list, uint64_t duration_ms)
{
    uint64_t tick_ms = duration_ms / TICKS_A_DURATION;

    *list = (struct deadline_list){.duration_ms = duration_ms};
    list->head.next = list->head.previous = &list->head;
    list->tick_ms = tick_ms < 1 ? 1 : tick_ms > TICK_MAX_MS ? TICK_MAX_MS : tick_ms;
}

/* The first tick at which an entry active at `active_ms` has waited for the whole duration (I3). */
static uint64_t due_tick_ms(const struct deadline_list *list, uint64_t active_ms)
{
    uint64_t due_ms = active_ms + list->duration_ms + list->tick_ms - 1;

    return due_ms - due_ms % list->tick_ms;
}

/* In its place (I1). The search runs from the back, where those belong that were active of late. */
static void insert_from_back(struct deadline_list *list, struct deadline_entry *entry)
{
    struct deadline_entry *before = list->head.previous;

    entry->due_ms = due_tick_ms(list, entry->active_ms);
    while (before != &list->head && before->due_ms > entry->due_ms)
        before = before->previous;
    entry->previous = before;
    entry->next = before->next;
    before->next->previous = entry;
    before->next = entry;
}

void deadline_list_put(struct deadline_list *list, struct deadline_entry *entry, uint64_t now_ms)
{
    assert(!deadline_entry_waits(entry)); /* I2 */
    entry->active_ms = now_ms;
    insert_from_back(list, entry);
}

bool deadline_entry_waits(const struct deadline_entry *entry)
{
    return entry->next != NULL;
}

void deadline_list_drop(struct deadline_entry *entry)
{
    if (!deadline_entry_waits(entry))
        return;
    entry->previous->next = entry->next;
    entry->next->previous = entry->previous;
    entry->next = entry->previous = NULL;
}

struct deadline_entry *deadline_list_expire(struct deadline_list *list, uint64_t now_ms)
{
    struct deadline_entry *entry;

    /* Nothing of the walk is kept from call to call: so handlers may do with entries what they like. */
    while ((entry = list->head.next) != &list->head && entry->due_ms <= now_ms) {
        deadline_list_drop(entry);
        if (due_tick_ms(list, entry->active_ms) <= now_ms)
            return entry;
        insert_from_back(list, entry); /* active since it was put in: it waits for the rest of its time */
    }
    return NULL;
}

uint64_t deadline_list_due_ms(const struct deadline_list *list)
{
    return list->head.next == &list->head ? UINT64_MAX : list->head.next->due_ms;
}
