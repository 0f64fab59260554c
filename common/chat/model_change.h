/* model_change.h - the steps that the changes of the model are made of, each with its inverse.
 *
 * Idea.       Every change of a container goes through one of these, which tells the journal first; fields are saved
 *             with JOURNAL_SAVE(). A function that changes the model has one shape: first what can fail, which changes
 *             nothing that anybody sees; then these steps, which cannot (model.h, I2).
 * Threads.    Belongs to whoever runs the engine.
 */
#ifndef CHAT_MODEL_CHANGE_H
#define CHAT_MODEL_CHANGE_H

#include "chat/model.h"

void index_add(struct journal *journal, struct hash_index *index, struct hash_node *node, uint64_t hash);
void index_remove(struct journal *journal, struct hash_index *index, struct hash_node *node);

/* The room is there (names_reserve()). */
void names_put(struct journal *journal, struct names *names, struct name *name);
void names_drop(struct journal *journal, struct names *names, struct name *name);

/* From where it is to behind `where`; NULL: into no ring. */
void link_move(struct journal *journal, struct link *link, struct link *where);

/* Of something new; the journal need not know. */
void name_set(struct name *name, struct slice text);

/* The group's sessions on the hub of `session` (model.h, I4). Nothing for dismissed groups. Before the first one up
 * group_count_begin() must have given true; false: no memory. The caller tells the journal. */
bool group_count_begin(struct group *group);
void group_count_up(struct group *group, session_handle session);
void group_count_down(struct group *group, session_handle session);

#endif
