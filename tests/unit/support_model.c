/* support_model.c - the model as text, and its invariants; declared in support_engine.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support_engine.h"

static void print(struct buffer *out, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void print(struct buffer *out, const char *format, ...)
{
    char text[2048];
    va_list arguments;
    int length;

    va_start(arguments, format);
    length = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    assert_true(length >= 0 && (size_t)length < sizeof text);
    buffer_append(out, text, (size_t)length);
}

#define NAME(name) (int)(name).length, (name).bytes

static void dump_membership(const struct model *model, struct buffer *out, const struct user *user,
                            const struct conversation *conversation)
{
    const struct membership *membership = model_membership(model, user, conversation);

    assert_non_null(membership);
    print(out, " %u: mark %lu own %lu above %lu", conversation->number, membership->counts.mark,
          membership->counts.own_count, membership->counts.own_above);
}

static void dump_conversation(struct buffer *out, const struct conversation *conversation)
{
    print(out, " latest %lu sequence %lu time %ld\n", conversation->newest.latest, conversation->newest.sequence,
          conversation->newest.time_ms);
}

static void dump_user(const struct model *model, struct buffer *out, const struct user *user)
{
    const struct store_profile *profile = user_profile(user);
    uint32_t at = 0;
    const struct group *group;

    print(out, "user %u %.*s %s [%.*s|%.*s|%ld|%.*s|%.*s]\n", user->number, NAME(user->name), user->password_hash,
          NAME(profile->name), NAME(profile->sex), profile->age, NAME(profile->address), NAME(profile->email));
    for (uint32_t i = 0; i < user->friends.count; i++)
        print(out, "  friend %.*s\n", NAME(*user->friends.items[i]));
    for (struct link *link = user->requests.next; link != &user->requests; link = link->next) {
        const struct friend_request *request = LINK_OWNER(link, struct friend_request, link);

        print(out, "  request %.*s %.*s\n", NAME(request->from->name), (int)request->text_bytes, request->text);
    }
    while ((group = user_group_next(user, &at)) != NULL) {
        print(out, "  in %.*s", NAME(group->name));
        dump_membership(model, out, user, &group->conversation);
        print(out, "\n");
    }
    for (struct link *link = user->unread.next; link != &user->unread; link = link->next)
        print(out, "  unread %u\n", LINK_OWNER(link, struct membership, unread)->conversation->number);
}

static void dump_group(struct buffer *out, const struct group *group)
{
    print(out, "group %u %.*s %.*s of %.*s since %ld:", group->conversation.number, NAME(group->name),
          (int)group->title_bytes, group->title, NAME(group->owner->name), group->created_ms);
    for (uint32_t i = 0; i < group->members.count; i++)
        print(out, " %.*s", NAME(*group->members.items[i]));
    dump_conversation(out, &group->conversation);
}

static void dump_private(const struct model *model, struct buffer *out, const struct conversation *conversation)
{
    const struct private_conversation *private = (const struct private_conversation *)conversation;

    print(out, "private %.*s %.*s", NAME(private->low->name), NAME(private->high->name));
    dump_membership(model, out, private->low, conversation);
    dump_membership(model, out, private->high, conversation);
    dump_conversation(out, conversation);
}

void model_dump(const struct model *model, struct buffer *out)
{
    buffer_clear(out);
    for (uint32_t number = 1; number <= model->user_count; number++)
        dump_user(model, out, model->users[number]);
    for (uint32_t number = 1; number <= model->conversation_highest; number++) {
        const struct conversation *conversation = model_conversation(model, number);

        if (conversation == NULL)
            continue;
        if (conversation->kind == CONVERSATION_PRIVATE)
            dump_private(model, out, conversation);
        else if (!group_dismissed(GROUP_OF(conversation)))
            dump_group(out, GROUP_OF(conversation));
    }
    print(out, "highest %u %lu", model->conversation_highest, model->sequence_highest);
    buffer_append(out, "", 1);
    assert_false(out->failed);
}

static void check_order(const struct names *names)
{
    for (uint32_t i = 1; i < names->count; i++)
        assert_true(slice_compare(name_slice(names->items[i - 1]), name_slice(names->items[i])) <= 0);
}

static size_t check_unread(const struct user *user)
{
    uint64_t sequence = UINT64_MAX;
    size_t count = 0;

    for (struct link *link = user->unread.next; link != &user->unread; link = link->next, count++) {
        const struct membership *membership = LINK_OWNER(link, struct membership, unread);

        assert_ptr_equal(link->next->previous, link);
        assert_true(membership->user == user && membership_unread(membership) > 0);
        assert_true(membership->conversation->newest.sequence < sequence);
        sequence = membership->conversation->newest.sequence;
    }
    return count;
}

static void check_user(const struct model *model, const struct user *user)
{
    uint32_t requests = 0;

    assert_ptr_equal(model_user_named(model, name_slice(&user->name)), user);
    assert_true(user->session_count <= USER_SESSIONS_MAX && user->friends.count <= USER_FRIENDS_MAX);
    check_order(&user->friends);
    check_order(&user->groups);
    for (uint32_t i = 0; i < user->friends.count; i++)
        assert_true(users_are_friends((struct user *)user->friends.items[i], user));
    for (struct link *link = user->requests.next; link != &user->requests; link = link->next)
        requests++;
    assert_int_equal(requests, user->request_count);
}

/* I4, counted the slow way. */
static void check_group(const struct model *model, const struct group *group)
{
    uint32_t sessions[HUBS_MAX] = {0};

    assert_ptr_equal(model_group_named(model, name_slice(&group->name)), group);
    check_order(&group->members);
    for (uint32_t i = 0; i < group->members.count; i++) {
        const struct user *user = (const struct user *)group->members.items[i];

        assert_true(names_contain(&user->groups, &group->name));
        assert_non_null(model_membership(model, user, &group->conversation));
        for (uint32_t s = 0; s < user->session_count; s++)
            sessions[session_handle_hub(user->sessions[s])]++;
    }
    for (unsigned hub = 0; hub < HUBS_MAX; hub++) {
        assert_int_equal(group->hub_sessions != NULL ? group->hub_sessions[hub] : 0, sessions[hub]);
        assert_int_equal(group->hubs >> hub & 1, sessions[hub] > 0);
    }
}

void model_check(const struct model *model)
{
    size_t unread = 0, unread_private = 0;

    assert_int_equal(model->users_by_name.count, model->user_count);
    for (uint32_t number = 1; number <= model->user_count; number++) {
        check_user(model, model->users[number]);
        unread += check_unread(model->users[number]);
    }
    for (struct hash_node *node = NULL; (node = hash_index_walk(&model->groups_by_name, node)) != NULL;)
        check_group(model, HASH_NODE_OWNER(node, struct group, by_name));
    for (struct hash_node *node = NULL; (node = hash_index_walk(&model->memberships, node)) != NULL;) {
        const struct membership *membership = HASH_NODE_OWNER(node, struct membership, node);

        assert_true(membership->counts.mark <= membership->conversation->newest.latest);
        unread_private += membership->conversation->kind == CONVERSATION_PRIVATE && membership_unread(membership) > 0;
    }
    assert_int_equal(unread, unread_private);
}

void world_check(struct world *world)
{
    struct engine *again = world_load_again(world);
    struct buffer here = {0}, there = {0};

    model_check(&world->engine->model);
    model_check(&again->model);
    model_dump(&world->engine->model, &here);
    model_dump(&again->model, &there);
    assert_string_equal(here.bytes, there.bytes);
    buffer_fini(&here);
    buffer_fini(&there);
    engine_free(again);
}
