/* store.h - what lasts, behind one narrow interface: SQLite in a data directory, or memory for measuring and tests.
 *
 * Idea.       The engine keeps the state that is asked often in memory and tells the store every change; the store
 *             keeps the changes, and alone has the messages. Users and conversations are numbers here, given by the
 *             engine and never used again, so that dismissing a group frees its name at once while its rows go in
 *             slices later.
 * Invariants. I1  changes between store_begin() and store_commit() last together or not at all.
 *             I2  after a commit they survive SIGKILL; with durability full, a power cut, too (M-5).
 *             I3  after store_rollback() the store is as it was before store_begin(), and can be used again.
 *             I4  when a change has failed, every later one of its transaction fails, and its commit: no part of a
 *                 transaction lasts because somebody forgot to look.
 * Threads.    One at a time: whoever runs the engine. Nothing here waits for a peer, but a commit waits for the disk.
 * Errors.     A function that returns false has failed, has logged why (of many failures in a row the first, lest a
 *             full disk be filled with lines about it), and leaves it to the caller to roll back. A failed read
 *             does not spoil the transaction that it is in.
 * You must    not change anything outside of a transaction (it fails); reading is allowed at any time. Slices passed
 *             in are needed for the call only.
 */
#ifndef CHAT_STORE_H
#define CHAT_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/options.h"
#include "base/slice.h"

struct store_profile {
    struct slice name, sex, address, email;
    int64_t age;
};

struct store_group {
    uint32_t number; /* of the conversation */
    uint32_t owner;  /* number of a user */
    int64_t created_ms;
    struct slice name, title;
};

struct store_message {
    uint32_t conversation;
    uint32_t sender;
    uint64_t msg_id;
    uint64_t ordinal;  /* the how-many-th message of this sender in this conversation, from 1 */
    uint64_t sequence; /* the how-many-th message that the server accepted: orders conversations by their newest */
    int64_t time_ms;   /* Unix */
    struct slice id;   /* empty: none given */
    struct slice text;
};

/* What store_load() tells, in this order of kinds; the strings last only for the call. Each returns false to stop (no
 * memory), and store_load() then fails. */
struct store_loader {
    bool (*user)(void *arg, uint32_t number, struct slice name, struct slice hash, const struct store_profile *profile);
    bool (*friendship)(void *arg, uint32_t user, uint32_t other);                     /* once a pair, user < other */
    bool (*friend_request)(void *arg, uint32_t from, uint32_t to, struct slice text); /* oldest first */
    bool (*private_conversation)(void *arg, uint32_t number, uint32_t user, uint32_t other); /* user <= other */
    bool (*group)(void *arg, const struct store_group *group);
    /* One line a member of a group, two a private conversation (one, when it is with oneself). `own_count`: all
     * messages of this user in it; `own_above`: those above the mark. */
    bool (*member)(void *arg, uint32_t conversation, uint32_t user, uint64_t mark, uint64_t own_count,
                   uint64_t own_above);
    /* The newest message of each conversation that has one. */
    bool (*latest)(void *arg, uint32_t conversation, uint64_t msg_id, uint64_t sequence, int64_t time_ms);
    /* The highest number ever given to a conversation (dismissed ones included), and the highest sequence. */
    bool (*highest)(void *arg, uint32_t conversation, uint64_t sequence);
};

struct store_history_range {
    uint64_t before;  /* messages below it; UINT64_MAX: all */
    uint64_t after;   /* messages above it; 0: all */
    bool from_oldest; /* visit the oldest ones first, else the newest ones */
};

/* Return false to stop. The strings last only for the call. A visitor must not call the store. */
typedef bool (*store_visitor)(void *arg, const struct store_message *message);

struct store {
    const struct store_operations *operations;
};

struct store_operations {
    void (*free)(struct store *store);
    bool (*load)(struct store *store, const struct store_loader *loader, void *arg);

    bool (*begin)(struct store *store);
    /* False: nothing of the transaction lasts; roll back. */
    bool (*commit)(struct store *store);
    /* Harmless when there is nothing to roll back. */
    void (*rollback)(struct store *store);

    bool (*user_add)(struct store *store, uint32_t number, struct slice name, struct slice hash,
                     const struct store_profile *profile);
    bool (*user_set_hash)(struct store *store, uint32_t number, struct slice hash);
    bool (*user_set_profile)(struct store *store, uint32_t number, const struct store_profile *profile);

    /* Changing or removing what is not there changes nothing, and is no failure. */

    /* A friendship is one of a pair: (a, b) and (b, a) are the same one. */
    bool (*friendship_add)(struct store *store, uint32_t user, uint32_t other);
    bool (*friendship_remove)(struct store *store, uint32_t user, uint32_t other);
    bool (*friend_request_add)(struct store *store, uint32_t from, uint32_t to, struct slice text);
    bool (*friend_request_remove)(struct store *store, uint32_t from, uint32_t to);

    /* Its members are added with it, with mark 0. (a, b) and (b, a) are the same pair; both may be one user. */
    bool (*private_add)(struct store *store, uint32_t number, uint32_t user, uint32_t other);
    /* Without members: the owner is added like any other. */
    bool (*group_add)(struct store *store, const struct store_group *group);
    /* The group, its members and marks are gone. Its messages are never asked for again; their rows go later. */
    bool (*group_remove)(struct store *store, uint32_t number);
    bool (*member_add)(struct store *store, uint32_t conversation, uint32_t user, uint64_t mark);
    bool (*member_remove)(struct store *store, uint32_t conversation, uint32_t user);
    bool (*member_set_mark)(struct store *store, uint32_t conversation, uint32_t user, uint64_t mark);

    /* `msg_id` is the conversation's latest and one, `sequence` above every former one, and message_find() knows no
     * message with this `id`. */
    bool (*message_add)(struct store *store, const struct store_message *message);
    /* The message that `sender` sent to `conversation` with `id`: *found, and then its msg_id and time (M-6). */
    bool (*message_find)(struct store *store, uint32_t conversation, uint32_t sender, struct slice id, bool *found,
                         uint64_t *msg_id, int64_t *time_ms);
    /* Visit messages of a range from the end that the range is counted from, until the visitor stops. */
    bool (*history)(struct store *store, uint32_t conversation, const struct store_history_range *range,
                    store_visitor visit, void *arg);
    /* How many messages of `sender` there are in all (its highest ordinal), and above `mark`. Two seeks, and a look at what is in memory. The memory
     * store knows only what it keeps: of what it forgot it tells 0 in all when nothing of this sender is left, and
     * takes as many of the forgotten ones above `mark` for the sender's own as there can be, so that nobody has
     * unread messages of his own. */
    bool (*own_count)(struct store *store, uint32_t conversation, uint32_t sender, uint64_t mark, uint64_t *all,
                      uint64_t *above);

    /* Delete some rows that group_remove() left, in transactions of its own; *more: there are others. Called when the
     * engine is idle, until *more is false or the call fails (which leaves them for later); also after a start, since
     * a stop may have left some. */
    bool (*purge)(struct store *store, bool *more);
};

/* Open the data directory, made when it is not there (its parent must be): one database, one lock (S-4), a schema
 * version with a clear refusal of a newer one. All files are open from then on; no call needs a descriptor.
 * NULL: logged (S-3). The process ignores SIGXFSZ, so that a file size limit is an error of a write, like a full disk. */
struct store *store_sqlite_open(const char *directory, enum option_durability durability);

/* The same through another layer of SQLite to the files (sqlite.org/vfs.html): tests bring one that fails when told
 * to. NULL: the default one. */
struct store *store_sqlite_open_vfs(const char *directory, enum option_durability durability, const char *vfs_name);

/* Touches no directory, and keeps messages and their ids alone, the newest of them (base/limits.h); every other change
 * succeeds without effect, and load() tells nothing. What is beyond the limits is forgotten at a commit.
 * NULL: logged. */
struct store *store_memory_new(void);

#endif
