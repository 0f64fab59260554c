/* links.h - a doubly linked ring through the structures themselves; its head is one link more.
 *
 * Invariants. I1  a link that is in no ring has `next` NULL.
 * Threads.    Belongs to the owner of the structures.
 */
#ifndef CHAT_LINKS_H
#define CHAT_LINKS_H

#include <stdbool.h>
#include <stddef.h>

struct link {
    struct link *next, *previous;
};

/* The structure of `type` whose member `member` is `link`. */
#define LINK_OWNER(link, type, member) ((type *)((char *)(link)-offsetof(type, member)))

static inline void links_init(struct link *head)
{
    head->next = head->previous = head;
}

static inline bool links_empty(const struct link *head)
{
    return head->next == head;
}

static inline bool link_in_ring(const struct link *link)
{
    return link->next != NULL;
}

/* `link` is in no ring. To the front: after the head; to the back: after head->previous. */
static inline void link_insert_after(struct link *link, struct link *where)
{
    link->previous = where;
    link->next = where->next;
    where->next->previous = link;
    where->next = link;
}

/* Harmless for one that is in no ring. */
static inline void link_remove(struct link *link)
{
    if (!link_in_ring(link))
        return;
    link->previous->next = link->next;
    link->next->previous = link->previous;
    link->next = link->previous = NULL;
}

/* Remove the first of a ring that is not empty. */
static inline struct link *links_take_first(struct link *head)
{
    struct link *first = head->next;

    head->next = first->next;
    first->next->previous = head;
    first->next = first->previous = NULL;
    return first;
}

#endif
