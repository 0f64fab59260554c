/* model_conversations.c - the changes of conversations: groups and pairs, their members, messages and marks. See
 *                         model_change.h. */
#include <stdlib.h>
#include <string.h>

#include "chat/model_change.h"

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

struct conversation *model_add_private(struct model *model, struct journal *journal, uint32_t number, struct user *low,
                                       struct user *high)
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

/* ---- dismissed groups ---- */

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
