/* model.h - users, conversations and who is in them: what the engine knows without asking the store.
 *
 * Idea.       Everything that is asked often is in memory and found by a hash or a short binary search; texts of
 *             messages are in the store alone. What can be derived is not kept: unread messages of others are
 *             latest − mark − own messages above the mark, so a message to a group changes the group and its sender,
 *             and none of the other members.
 *
 *      user ──friends, groups──▶ names        group ──members──▶ names
 *        └────────────────membership (user, conversation)────────────┘
 *                         mark, own_count, own_above
 *
 *             A dismissed group is taken out of the index of names at once; its members forget it in slices
 *             (model_sweep()), and whoever walks a user's groups meanwhile skips it.
 * Invariants. I1  a number of a user or conversation, once durable, names nothing else ever again.
 *             I2  every change is in the journal before it is made, and taking it back allocates nothing.
 *             I3  a user's `unread` holds the user's private memberships with unread messages, and no others, that
 *                 with the newest message first.
 *             I4  group->hub_sessions[h] is the number of sessions on hub h of the group's members, and bit h of
 *                 group->hubs says whether it is above 0; of groups that are not dismissed.
 * Threads.    Belongs to whoever runs the engine.
 * Errors.     A function that returns false or NULL had no memory, and changed nothing.
 */
#ifndef CHAT_MODEL_H
#define CHAT_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/limits.h"
#include "chat/effect.h"
#include "chat/hash_index.h"
#include "chat/journal.h"
#include "chat/links.h"
#include "chat/names.h"
#include "store/store.h"

/* Fields that are set; one piece of memory with its strings. */
struct profile {
    struct store_profile fields;
    char bytes[];
};

struct user {
    struct name name; /* first (names.h) */
    uint32_t number;
    uint32_t session_count;
    uint32_t request_count;
    session_handle sessions[USER_SESSIONS_MAX];
    struct hash_node by_name;
    char *password_hash;
    struct profile *profile; /* NULL: nothing was ever set */
    struct names friends;    /* of users */
    struct names groups;     /* of groups; may hold dismissed ones */
    struct link requests;    /* struct friend_request to this user, oldest first */
    struct link unread;      /* struct membership (I3) */
};

struct friend_request {
    struct link link; /* in user->requests of who was asked */
    struct user *from;
    size_t text_bytes;
    char text[];
};

enum conversation_kind { CONVERSATION_PRIVATE, CONVERSATION_GROUP };

struct conversation {
    uint32_t number;
    enum conversation_kind kind;
    struct hash_node by_number;
    struct {
        uint64_t latest;   /* msg_id of the newest message, 0: there is none (M-1) */
        uint64_t sequence; /* of the newest message over all conversations (M-9)   */
        int64_t time_ms;   /* of the newest message                                 */
    } newest;
};

struct private_conversation {
    struct conversation conversation; /* first: a cast gives the one from the other */
    struct hash_node by_users;
    struct user *low, *high; /* by number; the same for notes to oneself */
};

struct group {
    struct name name;                 /* first (names.h) */
    struct conversation conversation; /* GROUP_OF() */
    struct hash_node by_name;
    struct link dismissed; /* in model->dismissed, or in no ring: alive */
    struct user *owner;
    struct names members;
    uint64_t hubs;          /* I4 */
    uint32_t *hub_sessions; /* HUBS_MAX of them; NULL: no member had a session yet */
    int64_t created_ms;
    size_t title_bytes;
    char title[];
};

#define GROUP_OF(conversation_) ((struct group *)((char *)(conversation_)-offsetof(struct group, conversation)))

struct membership {
    struct hash_node node;
    struct user *user;
    struct conversation *conversation;
    struct link unread; /* in user->unread (I3) */
    struct {
        uint64_t mark;      /* read up to here (M-9) */
        uint64_t own_count; /* messages of this user in it, in all */
        uint64_t own_above; /* those above the mark */
    } counts;
};

struct model {
    struct user **users; /* by number; [0] is nobody */
    uint32_t user_count; /* the highest number in use */
    uint32_t user_capacity;
    uint32_t conversation_highest; /* highest number ever given */
    uint64_t sequence_highest;
    struct hash_index users_by_name, groups_by_name, private_by_users, conversations_by_number, memberships;
    struct link dismissed; /* groups that members have yet to forget, oldest first */
    unsigned char name_key[16];
    uint64_t number_key;
};

bool model_init(struct model *model);
void model_fini(struct model *model);

/* Fill an empty model with what the store has (model_load.c). False: logged. */
bool model_load(struct model *model, struct store *store);

/* What the indexes are keyed by: a name; or user and conversation, two users, 0 and a conversation. */
uint64_t model_hash_name(const struct model *model, struct slice name);
uint64_t model_hash_numbers(const struct model *model, uint32_t first, uint32_t second);

/* Look-ups; NULL: there is none. Dismissed groups are not found. */
struct user *model_user(const struct model *model, uint32_t number);
struct user *model_user_named(const struct model *model, struct slice name);
struct group *model_group_named(const struct model *model, struct slice name);
struct conversation *model_private(const struct model *model, const struct user *one, const struct user *other);
struct conversation *model_conversation(const struct model *model, uint32_t number);
struct membership *model_membership(const struct model *model, const struct user *user,
                                    const struct conversation *conversation);
struct friend_request *user_request_from(const struct user *user, const struct user *from);

static inline bool users_are_friends(const struct user *one, const struct user *other)
{
    return names_contain(&one->friends, &other->name);
}

static inline bool group_dismissed(const struct group *group)
{
    return link_in_ring(&group->dismissed);
}

/* The user's groups one after the other, without dismissed ones; *at begins as 0. NULL: no more. */
struct group *user_group_next(const struct user *user, uint32_t *at);
uint32_t user_group_count(const struct user *user);

/* The fields of a user's profile, also where nothing was set (C-2). */
const struct store_profile *user_profile(const struct user *user);

/* Messages of others above the mark. */
static inline uint64_t membership_unread(const struct membership *membership)
{
    return membership->conversation->newest.latest - membership->counts.mark - membership->counts.own_above;
}

/* Of a private conversation, the other user, seen from `user`; of notes to oneself, the user. */
struct user *conversation_peer(const struct conversation *conversation, const struct user *user);

/* Changes (model_users.c, model_conversations.c). Room in the journal for MODEL_CHANGE_ENTRIES a change must have been reserved. */
#define MODEL_CHANGE_ENTRIES 8

struct user *model_add_user(struct model *model, struct journal *journal, uint32_t number, struct slice name,
                            struct slice hash, const struct store_profile *profile);
bool user_set_hash(struct user *user, struct journal *journal, struct slice hash);
bool user_set_profile(struct user *user, struct journal *journal, const struct store_profile *profile);

bool users_befriend(struct user *one, struct user *other, struct journal *journal);
void users_unfriend(struct user *one, struct user *other, struct journal *journal);
bool user_add_request(struct user *user, struct journal *journal, struct user *from, struct slice text);
void user_remove_request(struct user *user, struct journal *journal, struct friend_request *request);

/* `user` (with fewer than USER_SESSIONS_MAX) has the session, or has it no more. */
bool user_attach(struct user *user, struct journal *journal, session_handle session);
void user_detach(struct user *user, struct journal *journal, session_handle session);

/* With both members, marks 0. `low` has the lower number, or is `high`. */
struct conversation *model_add_private(struct model *model, struct journal *journal, uint32_t number, struct user *low,
                                       struct user *high);
struct group *model_add_group(struct model *model, struct journal *journal, const struct store_group *from);
void model_dismiss_group(struct model *model, struct journal *journal, struct group *group);

struct membership *model_join(struct model *model, struct journal *journal, struct user *user, struct group *group,
                              uint64_t mark, uint64_t own_count);
void model_leave(struct model *model, struct journal *journal, struct membership *membership);

/* The conversation's newest message is `message`, sent by the user of `sender`. */
void model_add_message(struct model *model, struct journal *journal, struct membership *sender,
                       const struct store_message *message);

void membership_set_mark(struct membership *membership, struct journal *journal, uint64_t mark, uint64_t own_above);

/* Let up to `budget` members forget dismissed groups; when nothing is in the journal. Returns whether there is more. */
bool model_sweep(struct model *model, size_t budget);

#endif
