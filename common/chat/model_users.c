/* model_users.c - the changes of users: accounts, friends, requests, sessions. See model_change.h. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "chat/model_change.h"

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
    if (capacity > UINT32_MAX)
        return false;
    users = realloc(model->users, capacity * sizeof(struct user *));
    if (users == NULL)
        return false;
    memset(users + model->user_capacity, 0, (capacity - model->user_capacity) * sizeof(struct user *));
    model->users = users;
    model->user_capacity = (uint32_t)capacity;
    return true;
}

static struct user *user_new(uint32_t number, struct slice name, struct slice hash, const struct store_profile *profile)
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

/* ---- sessions ---- */

/* A handle passes through the journal as a pointer does. */
_Static_assert(sizeof(void *) >= sizeof(session_handle), "a session handle fits a pointer");

static void *handle_pointer(session_handle session)
{
    return (void *)(uintptr_t)session; /* NOLINT(performance-no-int-to-ptr): nothing is read or written through it */
}

static session_handle pointer_handle(void *pointer)
{
    return (session_handle)(uintptr_t)pointer;
}

static void attach(void *user_, void *session_)
{
    struct user *user = user_;
    session_handle session = pointer_handle(session_);

    user->sessions[user->session_count++] = session;
    for (uint32_t i = 0; i < user->groups.count; i++)
        group_count_up((struct group *)user->groups.items[i], session);
}

/* Sessions of a user stand in no order. */
static void detach(void *user_, void *session_)
{
    struct user *user = user_;
    session_handle session = pointer_handle(session_);
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
    journal_call(journal, detach, user, handle_pointer(session));
    attach(user, handle_pointer(session));
    return true;
}

void user_detach(struct user *user, struct journal *journal, session_handle session)
{
    journal_call(journal, attach, user, handle_pointer(session));
    detach(user, handle_pointer(session));
}
