/* inbox.h - where effects wait for their hub.
 *
 * Idea.       All inboxes share one mutex, and a batch is put into all of them under one hold of it: so the effects of
 *             a batch become visible to all hubs in one step. A client that has its reply can then find no hub that
 *             has not yet seen what the request caused. The hold is a few pointer moves a hub and batch.
 * Invariants. I1  `posted` is set if and only if the list is not empty; it is changed under the mutex.
 *             I2  a post wakes its hub if and only if the hub sleeps; only the hub sets `asleep`.
 * Threads.    inboxes_post() by whoever runs the engine, one at a time; inbox_take(), inbox_sleep() and inbox_wake_up()
 *             by the hub's owner.
 */
#ifndef CHAT_INBOX_H
#define CHAT_INBOX_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "chat/effect.h"

struct inboxes;

struct inbox {
    struct inboxes *all;
    void (*wake)(void *arg); /* from any thread; must not block */
    void *wake_arg;
    struct effects *first, *last; /* guarded by all->mutex */
    size_t bytes;                 /* guarded by all->mutex */
    atomic_bool posted;           /* I1 */
    atomic_bool asleep;           /* I2 */
};

struct inboxes {
    pthread_mutex_t mutex;
    atomic_uint full;                /* how many are past HUB_INBOX_MAX_BYTES; changed under the mutex */
    struct inbox *inboxes[HUBS_MAX]; /* by hub number; set before there is traffic */
    unsigned count;
};

void inboxes_init(struct inboxes *all);
void inboxes_fini(struct inboxes *all);

/* Add `inbox` (which the hub embeds and `all` borrows); returns the hub's number. Before there is traffic. */
unsigned inboxes_add(struct inboxes *all, struct inbox *inbox, void (*wake)(void *arg), void *wake_arg);

/* Post the whole batch in one step and wake who sleeps. The batch is empty afterwards. It must not have failed. */
void inboxes_post(struct inboxes *all, struct effects_batch *batch);

/* Whether some inbox is past HUB_INBOX_MAX_BYTES: then the engine waits. One atomic load. */
bool inboxes_full(struct inboxes *all);

/* Everything that was posted, oldest first; the caller frees each. NULL: nothing. One atomic load when nothing was. */
struct effects *inbox_take(struct inbox *inbox);

/* From here on a post wakes. False: something is posted already, so do not wait. */
bool inbox_sleep(struct inbox *inbox);

/* The hub is awake: posts need not wake it. */
void inbox_wake_up(struct inbox *inbox);

/* Give up what is still there. */
void inbox_fini(struct inbox *inbox);

#endif
