/* inbox.c - post effects to hubs in one step, and take them there. See inbox.h. */
#include "chat/inbox.h"

#include <assert.h>
#include <stddef.h>

void inboxes_init(struct inboxes *all)
{
    memset(all, 0, sizeof *all);
    pthread_mutex_init(&all->mutex, NULL);
}

void inboxes_fini(struct inboxes *all)
{
    pthread_mutex_destroy(&all->mutex);
}

unsigned inboxes_add(struct inboxes *all, struct inbox *inbox, void (*wake)(void *arg), void *wake_arg)
{
    assert(all->count < HUBS_MAX);
    memset(inbox, 0, sizeof *inbox);
    inbox->all = all;
    inbox->wake = wake;
    inbox->wake_arg = wake_arg;
    all->inboxes[all->count] = inbox;
    return all->count++;
}

/* Under the mutex. What waits in the inbox is `bytes` from here on. */
static void inbox_count(struct inbox *inbox, size_t bytes)
{
    bool was_full = inbox->bytes > HUB_INBOX_MAX_BYTES, is_full = bytes > HUB_INBOX_MAX_BYTES;

    inbox->bytes = bytes;
    if (is_full && !was_full)
        atomic_fetch_add_explicit(&inbox->all->full, 1, memory_order_relaxed);
    else if (was_full && !is_full)
        atomic_fetch_sub_explicit(&inbox->all->full, 1, memory_order_relaxed);
}

/* Under the mutex. Returns whether the hub sleeps and has to be woken. */
static bool inbox_append(struct inbox *inbox, struct effects *effects)
{
    effects->next = NULL;
    if (inbox->last == NULL)
        inbox->first = effects;
    else
        inbox->last->next = effects;
    inbox->last = effects;
    inbox_count(inbox, inbox->bytes + effects->bytes);
    atomic_store_explicit(&inbox->posted, true, memory_order_release);
    return atomic_exchange_explicit(&inbox->asleep, false, memory_order_relaxed);
}

void inboxes_post(struct inboxes *all, struct effects_batch *batch)
{
    struct inbox *sleepers[HUBS_MAX];
    size_t sleeper_count = 0;
    uint64_t hubs;

    assert(!batch->failed);
    hubs = effects_batch_seal(batch);
    if (hubs != 0) {
        pthread_mutex_lock(&all->mutex);
        for (; hubs != 0; hubs &= hubs - 1) {
            unsigned hub = (unsigned)__builtin_ctzll(hubs);

            if (inbox_append(all->inboxes[hub], batch->lists[hub]))
                sleepers[sleeper_count++] = all->inboxes[hub];
        }
        pthread_mutex_unlock(&all->mutex);
    }
    /* After the mutex: who wakes takes it first of all. */
    for (size_t i = 0; i < sleeper_count; i++)
        sleepers[i]->wake(sleepers[i]->wake_arg);
    effects_batch_init(batch);
}

bool inboxes_full(struct inboxes *all)
{
    return atomic_load_explicit(&all->full, memory_order_relaxed) > 0;
}

struct effects *inbox_take(struct inbox *inbox)
{
    struct effects *effects;

    if (!atomic_load_explicit(&inbox->posted, memory_order_acquire))
        return NULL;
    pthread_mutex_lock(&inbox->all->mutex);
    effects = inbox->first;
    inbox->first = inbox->last = NULL;
    inbox_count(inbox, 0);
    atomic_store_explicit(&inbox->posted, false, memory_order_relaxed);
    pthread_mutex_unlock(&inbox->all->mutex);
    return effects;
}

bool inbox_sleep(struct inbox *inbox)
{
    bool empty;

    /* Look and fall asleep in one hold: a post comes before it and is seen, or after it and wakes. */
    pthread_mutex_lock(&inbox->all->mutex);
    empty = inbox->first == NULL;
    atomic_store_explicit(&inbox->asleep, empty, memory_order_relaxed);
    pthread_mutex_unlock(&inbox->all->mutex);
    return empty;
}

void inbox_wake_up(struct inbox *inbox)
{
    /* A poster that still sees the hub asleep wakes it once too often, which is harmless. */
    atomic_store_explicit(&inbox->asleep, false, memory_order_relaxed);
}

void inbox_fini(struct inbox *inbox)
{
    struct effects *effects = inbox->first;

    while (effects != NULL) {
        struct effects *next = effects->next;

        effects_free(effects);
        effects = next;
    }
    inbox->first = inbox->last = NULL;
}
