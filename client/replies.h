/* replies.h - one function for each kind of answer that the table of commands names.
 *
 * Threads.    The main thread. `arg` is the struct client; `reply` and `request` are borrowed.
 */
#ifndef REPLIES_H
#define REPLIES_H

#include <jansson.h>

/* Success is all there is to say. */
void replied_done(void *arg, json_t *reply, json_t *request);
/* For answers whose fields speak for themselves. */
void replied_fields(void *arg, json_t *reply, json_t *request);
void replied_friends(void *arg, json_t *reply, json_t *request);
void replied_groups(void *arg, json_t *reply, json_t *request);
void replied_unread(void *arg, json_t *reply, json_t *request);
/* One page of members; the next one is asked for when there are more. */
void replied_members(void *arg, json_t *reply, json_t *request);
void replied_entered(void *arg, json_t *reply, json_t *request);
void replied_left(void *arg, json_t *reply, json_t *request);
void replied_unfriended(void *arg, json_t *reply, json_t *request);
void replied_answer(void *arg, json_t *reply, json_t *request);
void replied_logout(void *arg, json_t *reply, json_t *request);

#endif
