/* support_store.h - what the tests of the stores share: a directory to be in, messages in one line, histories as text.
 */
#ifndef TESTS_UNIT_SUPPORT_STORE_H
#define TESTS_UNIT_SUPPORT_STORE_H

#include "support.h"

#include "store/store.h"

#define SUPPORT_PATH_BYTES 256

/* Make an empty directory of this test's own, and remove it with the files in it. */
void support_directory_make(char path[SUPPORT_PATH_BYTES]);
void support_directory_remove(const char *path);

/* Write "path/name" to `out`, and return it. */
const char *support_path(char out[SUPPORT_PATH_BYTES], const char *path, const char *name);

/* store->operations->message_add() of a message whose time is its sequence; texts are NUL-terminated. */
bool support_message_add(struct store *store, uint32_t conversation, uint32_t sender, uint64_t msg_id, uint64_t ordinal,
                         uint64_t sequence, const char *id, const char *text);

/* One message in a transaction of its own. */
bool support_message_commit(struct store *store, uint32_t conversation, uint32_t sender, uint64_t msg_id,
                            uint64_t ordinal, uint64_t sequence, const char *id, const char *text);

/* A history, each message as "msg_id:sender:ordinal:sequence:time:id:text\n", at most `limit` of them, in `out`; a
 * message that does not fit is a failure. */
void support_history(struct store *store, uint32_t conversation, const struct store_history_range *range, size_t limit,
                     char *out, size_t out_bytes);

/* The number of the message with this id; 0: none. */
uint64_t support_find(struct store *store, uint32_t conversation, uint32_t sender, const char *id);

/* The number of messages that a conversation has. */
size_t support_count(struct store *store, uint32_t conversation);

/* Have the SQLite store settle a slice of its recent messages, or all of them. False: it could not. */
bool support_settle_slice(struct store *store);
bool support_settle(struct store *store);

/* Run `sql` on a database that no store has open. */
void support_execute(const char *directory, const char *sql);

/* purge() until there is nothing left; returns the number of slices. */
size_t support_purge_all(struct store *store);

#endif
