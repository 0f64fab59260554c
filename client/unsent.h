/* unsent.h - messages that the server has not acknowledged.
 *
 * Idea.       Each message gets an `id`, unique for all time: 128 random bits of this process, and a number. A message
 *             stays here until its reply has come; after a lost connection it is sent again with the same `id`, and
 *             the server stores it once however often it comes (M-6). Nothing is lost, nothing doubled.
 *             One is under way at a time: a message that is refused for a while (L-5) does not let a later one pass.
 * Threads.    The main thread.
 */
#ifndef CHAT_UNSENT_H
#define CHAT_UNSENT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct unsent {
    json_t *messages; /* requests with their `id`, in the order in which they were written */
    bool under_way;   /* the first one was sent on this connection */
    char process[40]; /* what begins the ids of this process       */
    uint64_t count;   /* ids given                                 */
};

void unsent_init(struct unsent *unsent);
void unsent_fini(struct unsent *unsent);

/* Put `text` to "bob" or "#tea" at the end. False: too many wait, or `text` is no UTF-8. */
bool unsent_put(struct unsent *unsent, const char *peer, const char *text);

/* The one to send next, or under way; borrowed. NULL: none. */
json_t *unsent_first(const struct unsent *unsent);
void unsent_drop_first(struct unsent *unsent);

size_t unsent_count(const struct unsent *unsent);
void unsent_clear(struct unsent *unsent);

#endif
