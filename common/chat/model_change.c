/* model_change.c - the changes of the model, each with its inverse.
 *
 * In every function here: first what can fail, which changes nothing that anybody sees; then the journal; then the
 * change (I2).
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "chat/model.h"

/* Inverses of the changes of the containers; two arguments as the journal passes them. */

static void undo_index_add(void *index, void *node)
{
    hash_index_remove(index, node);
}

static void undo_index_remove(void *index, void *node)
{
    hash_index_add(index, node, ((struct hash_node *)node)->hash);
}

static void undo_names_insert(void *names, void *name)
{
    names_remove(names, name);
}

static void undo_names_remove(void *names, void *name)
{
    names_insert(names, name);
}

/* Back to where it was: after `previous`; NULL: in no ring. */
static void undo_link(void *link, void *previous)
{
    link_remove(link);
    if (previous != NULL)
        link_insert_after(link, previous);
}

static void index_add(struct journal *journal, struct hash_index *index, struct hash_node *node, uint64_t hash)
{
    journal_call(journal, undo_index_add, index, node);
    hash_index_add(index, node, hash);
}

static void index_remove(struct journal *journal, struct hash_index *index, struct hash_node *node)
{
    journal_call(journal, undo_index_remove, index, node);
    hash_index_remove(index, node);
}

static void names_put(struct journal *journal, struct names *names, struct name *name)
{
    journal_call(journal, undo_names_insert, names, name);
    names_insert(names, name);
}

static void names_drop(struct journal *journal, struct names *names, struct name *name)
{
    journal_call(journal, undo_names_remove, names, name);
    names_remove(names, name);
}

/* After `where`; NULL: into no ring. */
static void link_move(struct journal *journal, struct link *link, struct link *where)
{
    journal_call(journal, undo_link, link, link_in_ring(link) ? link->previous : NULL);
    link_remove(link);
    if (where != NULL)
        link_insert_after(link, where);
}

static void name_set(struct name *name, struct slice text)
{
    assert(text.length <= NAME_MAX_BYTES); /* C-1; checked when the request came, or when the store was written */
    name->length = (unsigned char)text.length;
    memcpy(name->bytes, text.bytes, text.length);
}

static char *text_copy(struct slice text)
{
    char *copy = malloc(text.length + 1);

    if (copy == NULL)
        return NULL;
    if (text.length > 0)
        memcpy(copy, text.bytes, text.length);
    copy[text.length] = '\0';
    return copy;
}

/* Users. */

static bool profile_empty(const struct store_profile *profile)
{
    return profile->name.length + profile->sex.length + profile->address.length + profile->email.length == 0 &&
           profile->age == 0;
}

static struct slice profile_string(char **at, struct slice text)
{
    struct slice copy = {*at, text.length};

    if (text.length > 0)
        memcpy(*at, text.bytes, text.length);
    *at += text.length;
    return copy;
}

/* In `*copy`; NULL where nothing is set. */
static bool profile_copy(const struct store_profile *profile, struct profile **copy)
{
    char *at;

    *copy = NULL;
    if (profile_empty(profile))
        return true;
    *copy = malloc(sizeof **copy + profile->name.length + profile->sex.length + profile->address.length +
                   profile->email.length);
    if (*copy == NULL)
        return false;
    at = (*copy)->bytes;
    (*copy)->fields.name = profile_string(&at, profile->name);
    (*copy)->fields.sex = profile_string(&at, profile->sex);
    (*copy)->fields.address = profile_string(&at, profile->address);
    (*copy)->fields.email = profile_string(&at, profile->email);
    (*copy)->fields.age = profile->age;
    return true;
}

static bool users_reserve(struct model *model, uint32_t number)
{
    size_t capacity = model->user_capacity > 0 ? model->user_capacity : 64;
    struct user **users;

    if (number < model->user_capacity)
        return true;
    while (capacity <= number)
        capacity *= 2;
    users = realloc(model->users, capacity * sizeof(struct user *));
    if (users == NULL || capacity > UINT32_MAX)
        return false;
    memset(users + model->user_capacity, 0, (capacity - model->user_capacity) * sizeof(struct user *));
    model->users = users;
    model->user_capacity = (uint32_t)capacity;
    return true;
}

static struct user *user_new(uint32_t number, struct slice name, struct slice hash,
                             const struct store_profile *profile)
{
    struct user *user = calloc(1, sizeof *user);

    if (user == NULL)
        return NULL;
    user->password_hash = text_copy(hash);
    if (user->password_hash == NULL || !profile_copy(profile, &user->profile)) {
        free(user->password_hash);
        free(user);
        return NULL;
    }
    name_set(&user->name, name);
    user->number = number;
    links_init(&user->requests);
    links_init(&user->unread);
    return user;
}

/* What came after it was taken back before, but the arrays that later changes grew are still there. */
static void undo_add_user(void *model_, void *user_)
{
    struct model *model = model_;
    struct user *user = user_;

    model->users[user->number] = NULL;
    names_fini(&user->friends);
    names_fini(&user->groups);
    free(user->profile);
    free(user->password_hash);
    free(user);
}

struct user *model_add_user(struct model *model, struct journal *journal, uint32_t number, struct slice name,
                            struct slice hash, const struct store_profile *profile)
{
    struct user *user;

    if (!users_reserve(model, number))
        return NULL;
    user = user_new(number, name, hash, profile);
    if (user == NULL)
        return NULL;
    journal_call(journal, undo_add_user, model, user);
    model->users[number] = user;
    JOURNAL_SAVE(journal, &model->user_count);
    if (number > model->user_count)
        model->user_count = number;
    index_add(journal, &model->users_by_name, &user->by_name, model_hash_name(model, name));
    return user;
}

bool user_set_hash(struct user *user, struct journal *journal, struct slice hash)
{
    char *copy = text_copy(hash);

    if (copy == NULL)
        return false;
    journal_free_on_rollback(journal, copy);
    journal_free_on_commit(journal, user->password_hash);
    JOURNAL_SAVE(journal, &user->password_hash);
    user->password_hash = copy;
    return true;
}

bool user_set_profile(struct user *user, struct journal *journal, const struct store_profile *profile)
{
    struct profile *copy;

    if (!profile_copy(profile, &copy))
        return false;
    journal_free_on_rollback(journal, copy);
    journal_free_on_commit(journal, user->profile);
    JOURNAL_SAVE(journal, &user->profile);
    user->profile = copy;
    return true;
}

bool users_befriend(struct user *one, struct user *other, struct journal *journal)
{
    if (!names_reserve(&one->friends) || !names_reserve(&other->friends))
        return false;
    names_put(journal, &one->friends, &other->name);
    names_put(journal, &other->friends, &one->name);
    return true;
}

void users_unfriend(struct user *one, struct user *other, struct journal *journal)
{
    names_drop(journal, &one->friends, &other->name);
    names_drop(journal, &other->friends, &one->name);
}

bool user_add_request(struct user *user, struct journal *journal, struct user *from, struct slice text)
{
    struct friend_request *request = calloc(1, sizeof *request + text.length);

    if (request == NULL)
        return false;
    request->from = from;
    request->text_bytes = text.length;
    if (text.length > 0)
        memcpy(request->text, text.bytes, text.length);
    journal_free_on_rollback(journal, request);
    link_move(journal, &request->link, user->requests.previous);
    JOURNAL_SAVE(journal, &user->request_count);
    user->request_count++;
    return true;
}

void user_remove_request(struct user *user, struct journal *journal, struct friend_request *request)
{
    journal_free_on_commit(journal, request);
    link_move(journal, &request->link, NULL);
    JOURNAL_SAVE(journal, &user->request_count);
    user->request_count--;
}

/* Sessions. */

static bool group_count_begin(struct group *group)
{
    if (group->hub_sessions == NULL)
        group->hub_sessions = calloc(HUBS_MAX, sizeof *group->hub_sessions);
    return group->hub_sessions != NULL;
}

static void group_count_up(struct group *group, session_handle session)
{
    unsigned hub = session_handle_hub(session);

    if (group_dismissed(group))
        return;
    group->hub_sessions[hub]++;
    group->hubs |= UINT64_C(1) << hub;
}

static void group_count_down(struct group *group, session_handle session)
{
    unsigned hub = session_handle_hub(session);

    if (group_dismissed(group))
        return;
    if (--group->hub_sessions[hub] == 0)
        group->hubs &= ~(UINT64_C(1) << hub);
}

/* A handle passes through the journal as a pointer does. */
_Static_assert(sizeof(void *) >= sizeof(session_handle), "a session handle fits a pointer");

static void attach(void *user_, void *session_)
{
    struct user *user = user_;
    session_handle session = (session_handle)(uintptr_t)session_;

    user->sessions[user->session_count++] = session;
    for (uint32_t i = 0; i < user->groups.count; i++)
        group_count_up((struct group *)user->groups.items[i], session);
}

/* Sessions of a user stand in no order. */
static void detach(void *user_, void *session_)
{
    struct user *user = user_;
    session_handle session = (session_handle)(uintptr_t)session_;
    uint32_t at = 0;

    while (user->sessions[at] != session)
        at++;
    user->sessions[at] = user->sessions[--user->session_count];
    for (uint32_t i = 0; i < user->groups.count; i++)
        group_count_down((struct group *)user->groups.items[i], session);
}

bool user_attach(struct user *user, struct journal *journal, session_handle session)
{
    uint32_t at = 0;
    struct group *group;

    assert(user->session_count < USER_SESSIONS_MAX);
    while ((group = user_group_next(user, &at)) != NULL)
        if (!group_count_begin(group))
            return false;
    journal_call(journal, detach, user, (void *)(uintptr_t)session);
    attach(user, (void *)(uintptr_t)session);
    return true;
}

void user_detach(struct user *user, struct journal *journal, session_handle session)
{
    journal_call(journal, attach, user, (void *)(uintptr_t)session);
    detach(user, (void *)(uintptr_t)session);
}

/* Conversations and memberships. */

static struct membership *membership_new(struct user *user, struct conversation *conversation)
{
    struct membership *membership = calloc(1, sizeof *membership);

    if (membership == NULL)
        return NULL;
    membership->user = user;
    membership->conversation = conversation;
    return membership;
}

static void membership_add(struct model *model, struct journal *journal, struct membership *membership)
{
    uint64_t hash = model_hash_numbers(model, membership->user->number, membership->conversation->number);

    journal_free_on_rollback(journal, membership);
    index_add(journal, &model->memberships, &membership->node, hash);
}

static void conversation_add(struct model *model, struct journal *journal, struct conversation *conversation)
{
    JOURNAL_SAVE(journal, &model->conversation_highest);
    if (conversation->number > model->conversation_highest)
        model->conversation_highest = conversation->number;
    index_add(journal, &model->conversations_by_number, &conversation->by_number,
              model_hash_numbers(model, 0, conversation->number));
}

struct conversation *model_add_private(struct model *model, struct journal *journal, uint32_t number,
                                       struct user *low, struct user *high)
{
    struct private_conversation *private = calloc(1, sizeof *private);
    struct membership *of_low = private != NULL ? membership_new(low, &private->conversation) : NULL;
    struct membership *of_high = NULL;

    if (of_low != NULL && high != low)
        of_high = membership_new(high, &private->conversation);
    if (of_low == NULL || (of_high == NULL && high != low)) {
        free(of_low);
        free(private);
        return NULL;
    }
    private->conversation.number = number;
    private->conversation.kind = CONVERSATION_PRIVATE;
    private->low = low;
    private->high = high;
    journal_free_on_rollback(journal, private);
    conversation_add(model, journal, &private->conversation);
    index_add(journal, &model->private_by_users, &private->by_users,
              model_hash_numbers(model, low->number, high->number));
    membership_add(model, journal, of_low);
    if (of_high != NULL)
        membership_add(model, journal, of_high);
    return &private->conversation;
}

static void group_free(void *group_, void *unused)
{
    struct group *group = group_;

    (void)unused;
    names_fini(&group->members);
    free(group->hub_sessions);
    free(group);
}

struct group *model_add_group(struct model *model, struct journal *journal, const struct store_group *from)
{
    struct group *group = calloc(1, sizeof *group + from->title.length);

    if (group == NULL)
        return NULL;
    name_set(&group->name, from->name);
    group->conversation.number = from->number;
    group->conversation.kind = CONVERSATION_GROUP;
    group->owner = model_user(model, from->owner);
    group->created_ms = from->created_ms;
    group->title_bytes = from->title.length;
    if (from->title.length > 0)
        memcpy(group->title, from->title.bytes, from->title.length);
    journal_call(journal, group_free, group, NULL);
    conversation_add(model, journal, &group->conversation);
    index_add(journal, &model->groups_by_name, &group->by_name, model_hash_name(model, from->name));
    return group;
}

void model_dismiss_group(struct model *model, struct journal *journal, struct group *group)
{
    index_remove(journal, &model->groups_by_name, &group->by_name);
    link_move(journal, &group->dismissed, model->dismissed.previous);
}

static void count_sessions(void *membership_, void *up)
{
    struct membership *membership = membership_;
    struct group *group = GROUP_OF(membership->conversation);

    for (uint32_t i = 0; i < membership->user->session_count; i++) {
        if (up != NULL)
            group_count_up(group, membership->user->sessions[i]);
        else
            group_count_down(group, membership->user->sessions[i]);
    }
}

struct membership *model_join(struct model *model, struct journal *journal, struct user *user, struct group *group,
                              uint64_t mark, uint64_t own_count)
{
    struct membership *membership;

    if (!names_reserve(&user->groups) || !names_reserve(&group->members) ||
        (user->session_count > 0 && !group_count_begin(group)))
        return NULL;
    membership = membership_new(user, &group->conversation);
    if (membership == NULL)
        return NULL;
    membership->counts.mark = mark;
    membership->counts.own_count = own_count;
    membership_add(model, journal, membership);
    names_put(journal, &group->members, &user->name);
    names_put(journal, &user->groups, &group->name);
    journal_call(journal, count_sessions, membership, NULL);
    count_sessions(membership, membership);
    return membership;
}

void model_leave(struct model *model, struct journal *journal, struct membership *membership)
{
    struct group *group = GROUP_OF(membership->conversation);

    journal_free_on_commit(journal, membership);
    journal_call(journal, count_sessions, membership, membership);
    count_sessions(membership, NULL);
    names_drop(journal, &membership->user->groups, &group->name);
    names_drop(journal, &group->members, &membership->user->name);
    index_remove(journal, &model->memberships, &membership->node);
}

/* I3: to the front, where the newest stands, or out when nothing is unread. */
static void unread_moves(struct journal *journal, struct membership *membership)
{
    struct link *head = &membership->user->unread;

    if (membership_unread(membership) == 0) {
        if (link_in_ring(&membership->unread))
            link_move(journal, &membership->unread, NULL);
    } else if (head->next != &membership->unread) {
        link_move(journal, &membership->unread, head);
    }
}

void model_add_message(struct model *model, struct journal *journal, struct membership *sender,
                       const struct store_message *message)
{
    struct conversation *conversation = sender->conversation;

    JOURNAL_SAVE(journal, &conversation->newest);
    JOURNAL_SAVE(journal, &sender->counts);
    JOURNAL_SAVE(journal, &model->sequence_highest);
    model->sequence_highest = message->sequence;
    conversation->newest.latest = message->msg_id;
    conversation->newest.sequence = message->sequence;
    conversation->newest.time_ms = message->time_ms;
    sender->counts.own_count++;
    sender->counts.own_above++;
    if (conversation->kind == CONVERSATION_PRIVATE) {
        struct user *peer = conversation_peer(conversation, sender->user);

        unread_moves(journal, sender);
        if (peer != sender->user)
            unread_moves(journal, model_membership(model, peer, conversation));
    }
}

void membership_set_mark(struct membership *membership, struct journal *journal, uint64_t mark, uint64_t own_above)
{
    JOURNAL_SAVE(journal, &membership->counts);
    membership->counts.mark = mark;
    membership->counts.own_above = own_above;
    /* The conversation's newest message is as old as it was: the membership keeps its place, or goes. */
    if (link_in_ring(&membership->unread) && membership_unread(membership) == 0)
        link_move(journal, &membership->unread, NULL);
}

/* Dismissed groups. */

static void forget_last_member(struct model *model, struct group *group)
{
    struct user *user = (struct user *)group->members.items[group->members.count - 1];
    struct membership *membership = model_membership(model, user, &group->conversation);

    group->members.count--;
    names_remove(&user->groups, &group->name);
    hash_index_remove(&model->memberships, &membership->node);
    free(membership);
}

bool model_sweep(struct model *model, size_t budget)
{
    for (; budget > 0 && !links_empty(&model->dismissed); budget--) {
        struct group *group = LINK_OWNER(model->dismissed.next, struct group, dismissed);

        if (group->members.count > 0) {
            forget_last_member(model, group);
            continue;
        }
        link_remove(&group->dismissed);
        hash_index_remove(&model->conversations_by_number, &group->conversation.by_number);
        group_free(group, NULL);
    }
    return !links_empty(&model->dismissed);
}
