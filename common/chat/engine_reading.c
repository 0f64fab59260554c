/* engine_reading.c - history, unread and read (M-8, M-9). */
#include <stdlib.h>

#include "chat/engine_internal.h"

/* Which conversation a request of history or read is about. */
struct place {
    struct conversation *conversation; /* NULL: two users who never wrote */
    struct user *peer;                 /* of a private one */
    struct group *group;
    struct slice refusal; /* empty: the asker may read it */
};

static struct place find_place(struct engine *engine, const struct engine_request *request, const struct user *asker)
{
    struct place place = {0};

    if (request->values[PEER_USER].present) {
        place.peer = model_user_named(&engine->model, request->values[PEER_USER].string);
        if (place.peer == NULL)
            place.refusal = REFUSE_USER_NOT_EXIST;
        else
            place.conversation = model_private(&engine->model, asker, place.peer);
        return place;
    }
    place.group = model_group_named(&engine->model, request->values[PEER_GROUP].string);
    if (place.group == NULL) {
        place.refusal = REFUSE_GROUP_NOT_EXIST;
        return place;
    }
    place.conversation = &place.group->conversation;
    if (model_membership(&engine->model, asker, place.conversation) == NULL)
        place.refusal = REFUSE_NOT_MEMBER;
    return place;
}

/* A page of history while it is gathered: the messages as JSON one after the other, in the order of the visit. */
struct page {
    const struct model *model;
    struct buffer *out;
    size_t limit;
    size_t count;
    size_t ends[HISTORY_LIMIT_MAX]; /* of each message in `out` */
    bool more;
};

/* What a reply has besides its messages, generously. */
#define PAGE_FRAME_BYTES 128

static bool add_to_page(void *arg, const struct store_message *message)
{
    struct page *page = arg;
    size_t begin = page->out->length;

    if (page->count == page->limit) {
        page->more = true;
        return false;
    }
    json_open_object(page->out);
    json_key_integer(page->out, KEY("msg_id"), (int64_t)message->msg_id);
    json_key_string(page->out, KEY("user_from"), name_slice(&model_user(page->model, message->sender)->name));
    json_key_string(page->out, KEY("text"), message->text);
    json_key_integer(page->out, KEY("time"), message->time_ms);
    json_close_object(page->out);
    if (page->out->length > REPLY_PAYLOAD_MAX_BYTES - PAGE_FRAME_BYTES && page->count > 0) {
        page->out->length = begin;
        page->more = true;
        return false;
    }
    page->ends[page->count++] = page->out->length;
    return !page->out->failed;
}

/* The messages are parted by commas, which json_open_object() put; `reversed`: newest first. */
static void write_page(struct buffer *out, const struct page *page, bool reversed)
{
    json_key_array(out, KEY("messages"));
    for (size_t i = 0; i < page->count; i++) {
        size_t at = reversed ? page->count - 1 - i : i;
        size_t begin = at == 0 ? 0 : page->ends[at - 1] + 1;

        if (i > 0)
            buffer_append(out, ",", 1);
        buffer_append(out, page->out->bytes + begin, page->ends[at] - begin);
    }
    json_close_array(out);
    json_key_boolean(out, KEY("more"), page->more);
}

bool apply_history(struct engine *engine, const struct engine_request *request, struct user *asker)
{
    const struct value *before = &request->values[HISTORY_BEFORE], *after = &request->values[HISTORY_AFTER];
    const struct value *limit = &request->values[HISTORY_LIMIT];
    struct store_history_range range = {.before = before->present ? (uint64_t)before->integer : UINT64_MAX,
                                        .after = (uint64_t)after->integer,
                                        .from_oldest = after->present};
    struct page page = {.model = &engine->model,
                        .out = &engine->page,
                        .limit = limit->present ? (size_t)limit->integer : HISTORY_LIMIT_DEFAULT};
    struct place place = find_place(engine, request, asker);

    if (place.refusal.length > 0)
        return reply(engine, request, place.refusal);
    buffer_clear(page.out);
    if (place.conversation != NULL &&
        (!STORE_READ(engine, history, place.conversation->number, &range, add_to_page, &page) || page.out->failed))
        return false;
    write_page(reply_begin(engine, KEY("success")), &page, !range.from_oldest);
    return reply_end(engine, request);
}

static int compare_newest_first(const void *one, const void *other)
{
    uint64_t a = (*(const struct membership *const *)one)->conversation->newest.sequence;
    uint64_t b = (*(const struct membership *const *)other)->conversation->newest.sequence;

    return (a < b) - (a > b);
}

static void add_unread(struct buffer *out, const struct membership *membership)
{
    const struct conversation *conversation = membership->conversation;

    json_open_object(out);
    if (conversation->kind == CONVERSATION_GROUP)
        json_key_string(out, KEY("group"), name_slice(&GROUP_OF(conversation)->name));
    else
        json_key_string(out, KEY("user"), name_slice(&conversation_peer(conversation, membership->user)->name));
    json_key_integer(out, KEY("count"), (int64_t)membership_unread(membership));
    json_key_integer(out, KEY("latest"), (int64_t)conversation->newest.latest);
    json_close_object(out);
}

/* The newest private ones stand first in the user's ring, and groups are few: never more than these are looked at,
 * however many conversations the user has. */
void list_unread(const struct model *model, struct buffer *out, const struct user *user)
{
    const struct membership *found[USER_GROUPS_MAX + UNREAD_MAX];
    const struct group *group;
    size_t count = 0, private_end;
    uint32_t at = 0;

    while ((group = user_group_next(user, &at)) != NULL) {
        const struct membership *membership = model_membership(model, user, &group->conversation);

        if (membership_unread(membership) > 0)
            found[count++] = membership;
    }
    private_end = count + UNREAD_MAX;
    for (const struct link *link = user->unread.next; link != &user->unread && count < private_end; link = link->next)
        found[count++] = LINK_OWNER(link, const struct membership, unread);
    qsort(found, count, sizeof(found[0]), compare_newest_first);
    json_key_array(out, KEY("unread"));
    for (size_t i = 0; i < count && i < UNREAD_MAX; i++)
        add_unread(out, found[i]);
    json_close_array(out);
}

bool apply_unread(struct engine *engine, const struct engine_request *request, struct user *asker)
{
    list_unread(&engine->model, reply_begin(engine, KEY("success")), asker);
    return reply_end(engine, request);
}

/* The user's other sessions, and the other user's; one event a session for notes to oneself. */
static void tell_read(struct engine *engine, const struct engine_request *request, const struct user *asker,
                      const struct place *place, uint64_t mark)
{
    struct buffer *out = payload_begin(engine);
    struct slice payload;

    json_key_string(out, KEY("user"), name_slice(&asker->name));
    if (place->group != NULL)
        json_key_string(out, KEY("group"), name_slice(&place->group->name));
    else
        json_key_string(out, KEY("peer"), name_slice(&place->peer->name));
    json_key_integer(out, KEY("msg_id"), (int64_t)mark);
    payload = payload_end(engine);
    push_user(engine, asker, request->session, PUSH_READ_EVENT, payload);
    if (place->peer != NULL && place->peer != asker)
        push_user(engine, place->peer, 0, PUSH_READ_EVENT, payload);
}

static bool move_mark(struct engine *engine, struct membership *membership, uint64_t mark)
{
    uint32_t conversation = membership->conversation->number, user = membership->user->number;
    uint64_t own_count, own_above = 0;

    if (!STORE_WRITE(engine, member_set_mark, conversation, user, mark))
        return false;
    /* Nothing is above the newest, the usual mark; the rest is known to the store. */
    if (mark < membership->conversation->newest.latest &&
        !STORE_READ(engine, own_count, conversation, user, mark, &own_count, &own_above))
        return false;
    membership_set_mark(membership, &engine->journal, mark, own_above);
    return true;
}

bool apply_read(struct engine *engine, const struct engine_request *request, struct user *asker)
{
    struct place place = find_place(engine, request, asker);
    uint64_t mark = (uint64_t)request->values[READ_MSG_ID].integer;
    struct membership *membership;

    if (place.refusal.length > 0)
        return reply(engine, request, place.refusal);
    if (mark > (place.conversation != NULL ? place.conversation->newest.latest : 0))
        return reply(engine, request, REFUSAL_FIELD("msg_id", "The conversation has no such message yet."));
    membership = place.conversation != NULL ? model_membership(&engine->model, asker, place.conversation) : NULL;
    if (membership == NULL || mark <= membership->counts.mark)
        return reply_success(engine, request);
    if (!move_mark(engine, membership, mark))
        return false;
    tell_read(engine, request, asker, &place, mark);
    return reply_success(engine, request);
}
