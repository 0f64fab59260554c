/* test_engine_random.c - long random stories against a model that is too simple to be wrong: plain arrays, everything
 *                        counted anew each time. Replies and pushes must be the same, to the letter and in order; now and
 *                        then the store fails, and then nothing may have happened.
 */
#include "support_engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { USERS = 5, SESSIONS = 8, GROUPS = 3, CONVERSATIONS = USERS * USERS + GROUPS, MESSAGES = 400, IDS = 3 };

/* A conversation: a pair of users at low * USERS + high, a group behind them. */
struct naive_conversation {
    bool is_group, exists;
    int owner;
    bool member[USERS];
    int mark[USERS];
    int count;
    int from[MESSAGES], id[MESSAGES]; /* id 0: none */
    long newest;
};

struct naive {
    bool friends[USERS][USERS];
    bool asked[USERS][USERS]; /* [from][to] */
    struct naive_conversation conversations[CONVERSATIONS];
    long sequence;
    int user_of[SESSIONS]; /* of each client; -1: logged out */
};

struct play {
    struct world *world;
    struct naive naive;
    struct buffer expected[SESSIONS];
    uint64_t random;
};

static int pick(struct play *play, int bound)
{
    return (int)support_random(&play->random, (uint64_t)bound);
}

static void expect(struct play *play, int client, const char *format, ...) __attribute__((format(printf, 3, 4)));

static void expect(struct play *play, int client, const char *format, ...)
{
    char text[4096];
    va_list arguments;

    va_start(arguments, format);
    buffer_append(&play->expected[client], text, (size_t)vsnprintf(text, sizeof text, format, arguments));
    va_end(arguments);
}

/* To each session of `user` but `except`. */
#define EXPECT_USER(play, user, except, ...)                       \
    for (int s_ = 0; s_ < SESSIONS; s_++)                          \
        if ((play)->naive.user_of[s_] == (user) && s_ != (except)) \
    expect((play), s_, __VA_ARGS__)

#define EXPECT_MEMBERS(play, conversation, except, ...)                                                            \
    for (int s_ = 0; s_ < SESSIONS; s_++)                                                                          \
        if ((play)->naive.user_of[s_] >= 0 && (conversation)->member[(play)->naive.user_of[s_]] && s_ != (except)) \
    expect((play), s_, __VA_ARGS__)

static int sessions_of(const struct play *play, int user)
{
    int count = 0;

    for (int s = 0; s < SESSIONS; s++)
        count += play->naive.user_of[s] == user;
    return count;
}

static struct naive_conversation *pair(struct play *play, int one, int other)
{
    return &play->naive.conversations[one < other ? one * USERS + other : other * USERS + one];
}

static struct naive_conversation *group(struct play *play, int number)
{
    return &play->naive.conversations[USERS * USERS + number];
}

static int unread_of(const struct naive_conversation *conversation, int user)
{
    int count = 0;

    for (int i = conversation->mark[user]; i < conversation->count; i++)
        count += conversation->from[i] != user;
    return count;
}

static void presence(struct play *play, int user, const char *online)
{
    for (int other = 0; other < USERS; other++)
        if (play->naive.friends[user][other])
            EXPECT_USER(play, other, -1, "* presence {\"user\":\"u%d\",\"online\":%s}\n", user, online);
}

/* The operations: each sends a request and says what must come of it. */

static void do_login(struct play *play, int client)
{
    int user = pick(play, USERS);

    client_send(play->world, &play->world->clients[client], CMD_LOGIN, "{\"user\":\"u%d\",\"passwd\":\"pass\"}", user);
    world_run(play->world);
    /* What the lists of a login say is compared by `unread` and `list`; here only that it worked. */
    assert_non_null(strstr(client_take(&play->world->clients[client]), "\"success\""));
    play->naive.user_of[client] = user;
    if (sessions_of(play, user) == 1)
        presence(play, user, "true");
}

static void do_logout(struct play *play, int client)
{
    int user = play->naive.user_of[client];

    client_send(play->world, &play->world->clients[client], CMD_LOGOUT, "{}");
    expect(play, client, "< logout {\"result\":\"success\"}\n");
    play->naive.user_of[client] = -1;
    if (sessions_of(play, user) == 0)
        presence(play, user, "false");
}

static void befriend(struct play *play, int client, int user, int other)
{
    play->naive.asked[other][user] = false;
    play->naive.friends[user][other] = play->naive.friends[other][user] = true;
    EXPECT_USER(play, other, -1, "* friend_event {\"user\":\"u%d\",\"event\":\"accepted\"}\n", user);
    EXPECT_USER(play, user, client, "* friend_event {\"user\":\"u%d\",\"event\":\"accepted\"}\n", other);
}

#define SUCCESS(play, client, command) expect((play), (client), "< %s {\"result\":\"success\"}\n", (command))

static void do_friend_add(struct play *play, int client)
{
    int user = play->naive.user_of[client], other = pick(play, USERS);

    client_send(play->world, &play->world->clients[client], CMD_FRIEND_ADD, "{\"user\":\"u%d\",\"text\":\"t\"}", other);
    if (user == other) {
        expect(play, client,
               "< friend_add {\"result\":\"bad_request\",\"field\":\"user\",\"message\":\"You cannot be "
               "your own friend.\"}\n");
    } else if (play->naive.friends[user][other]) {
        expect(play, client,
               "< friend_add {\"result\":\"already_friends\",\"message\":\"You are friends already.\"}\n");
    } else if (play->naive.asked[user][other]) {
        SUCCESS(play, client, "friend_add");
    } else if (play->naive.asked[other][user]) {
        befriend(play, client, user, other);
        SUCCESS(play, client, "friend_add");
    } else {
        play->naive.asked[user][other] = true;
        EXPECT_USER(play, other, -1, "* friend_request {\"user\":\"u%d\",\"text\":\"t\"}\n", user);
        SUCCESS(play, client, "friend_add");
    }
}

static void do_friend_answer(struct play *play, int client)
{
    int user = play->naive.user_of[client], other = pick(play, USERS);
    bool accept = pick(play, 2) == 0;

    client_send(play->world, &play->world->clients[client], CMD_FRIEND_ANSWER, "{\"user\":\"u%d\",\"accept\":%s}",
                other, accept ? "true" : "false");
    if (!play->naive.asked[other][user]) {
        expect(play, client,
               "< friend_answer {\"result\":\"no_request\",\"message\":\"There is no friend request from "
               "this user.\"}\n");
        return;
    }
    if (accept) {
        befriend(play, client, user, other);
    } else {
        play->naive.asked[other][user] = false;
        EXPECT_USER(play, other, -1, "* friend_event {\"user\":\"u%d\",\"event\":\"rejected\"}\n", user);
        EXPECT_USER(play, user, client, "* friend_event {\"user\":\"u%d\",\"event\":\"rejected\"}\n", other);
    }
    SUCCESS(play, client, "friend_answer");
}

static void do_friend_remove(struct play *play, int client)
{
    int user = play->naive.user_of[client], other = pick(play, USERS);

    client_send(play->world, &play->world->clients[client], CMD_FRIEND_REMOVE, "{\"user\":\"u%d\"}", other);
    if (!play->naive.friends[user][other]) {
        expect(play, client, "< friend_remove {\"result\":\"not_friends\",\"message\":\"You are not friends.\"}\n");
        return;
    }
    play->naive.friends[user][other] = play->naive.friends[other][user] = false;
    EXPECT_USER(play, other, -1, "* friend_event {\"user\":\"u%d\",\"event\":\"removed\"}\n", user);
    EXPECT_USER(play, user, client, "* friend_event {\"user\":\"u%d\",\"event\":\"removed\"}\n", other);
    SUCCESS(play, client, "friend_remove");
}

static void group_event(struct play *play, int number, int client, int user, const char *event)
{
    EXPECT_MEMBERS(play, group(play, number), client,
                   "* group_event {\"group\":\"g%d\",\"user\":\"u%d\",\"event\":\"%s\"}\n", number, user, event);
}

/* True: the group is there, and the user a member where that is asked; else the refusal is expected. */
static bool expect_allowed(struct play *play, int client, const char *command, int number, bool as_member)
{
    if (!group(play, number)->exists)
        expect(play, client, "< %s {\"result\":\"group_not_exist\",\"message\":\"There is no group of this name.\"}\n",
               command);
    else if (as_member && !group(play, number)->member[play->naive.user_of[client]])
        expect(play, client, "< %s {\"result\":\"not_member\",\"message\":\"You are not a member of this group.\"}\n",
               command);
    else
        return true;
    return false;
}

static void do_group_create(struct play *play, int client)
{
    int user = play->naive.user_of[client], number = pick(play, GROUPS);

    client_send(play->world, &play->world->clients[client], CMD_GROUP_CREATE, "{\"group\":\"g%d\"}", number);
    if (group(play, number)->exists) {
        expect(play, client,
               "< group_create {\"result\":\"failure\",\"reason\":\"group_exists\",\"message\":\"This name "
               "is taken.\"}\n");
        return;
    }
    *group(play, number) = (struct naive_conversation){.is_group = true, .exists = true, .owner = user};
    group(play, number)->member[user] = true;
    group_event(play, number, client, user, "joined");
    SUCCESS(play, client, "group_create");
}

static void do_group_join(struct play *play, int client)
{
    int user = play->naive.user_of[client], number = pick(play, GROUPS);

    client_send(play->world, &play->world->clients[client], CMD_GROUP_JOIN, "{\"group\":\"g%d\"}", number);
    if (!expect_allowed(play, client, "group_join", number, false))
        return;
    if (!group(play, number)->member[user]) {
        group(play, number)->member[user] = true;
        group(play, number)->mark[user] = group(play, number)->count;
        group_event(play, number, client, user, "joined");
    }
    SUCCESS(play, client, "group_join");
}

static void do_group_leave(struct play *play, int client)
{
    int user = play->naive.user_of[client], number = pick(play, GROUPS);

    client_send(play->world, &play->world->clients[client], CMD_GROUP_LEAVE, "{\"group\":\"g%d\"}", number);
    if (!expect_allowed(play, client, "group_leave", number, true))
        return;
    if (group(play, number)->owner == user) {
        expect(play, client,
               "< group_leave {\"result\":\"failure\",\"reason\":\"owner\",\"message\":\"The owner cannot "
               "leave the group, but may dismiss it.\"}\n");
        return;
    }
    group_event(play, number, client, user, "left");
    group(play, number)->member[user] = false;
    SUCCESS(play, client, "group_leave");
}

static bool expect_owner(struct play *play, int client, const char *command, int number)
{
    if (!expect_allowed(play, client, command, number, false))
        return false;
    if (group(play, number)->owner == play->naive.user_of[client])
        return true;
    expect(play, client, "< %s {\"result\":\"not_owner\",\"message\":\"Only the owner of the group may do this.\"}\n",
           command);
    return false;
}

static void do_group_kick(struct play *play, int client)
{
    int user = play->naive.user_of[client], number = pick(play, GROUPS), other = pick(play, USERS);

    client_send(play->world, &play->world->clients[client], CMD_GROUP_KICK, "{\"group\":\"g%d\",\"user\":\"u%d\"}",
                number, other);
    if (!expect_owner(play, client, "group_kick", number))
        return;
    if (other == user) {
        expect(play, client,
               "< group_kick {\"result\":\"bad_request\",\"field\":\"user\",\"message\":\"The owner cannot "
               "be kicked out of the group.\"}\n");
    } else if (!group(play, number)->member[other]) {
        expect(play, client,
               "< group_kick {\"result\":\"not_member\",\"message\":\"This user is not a member of the "
               "group.\"}\n");
    } else {
        group_event(play, number, client, other, "kicked");
        group(play, number)->member[other] = false;
        SUCCESS(play, client, "group_kick");
    }
}

static void do_group_dismiss(struct play *play, int client)
{
    int number = pick(play, GROUPS);

    client_send(play->world, &play->world->clients[client], CMD_GROUP_DISMISS, "{\"group\":\"g%d\"}", number);
    if (!expect_owner(play, client, "group_dismiss", number))
        return;
    group_event(play, number, client, play->naive.user_of[client], "dismissed");
    *group(play, number) = (struct naive_conversation){0};
    SUCCESS(play, client, "group_dismiss");
}

/* The number of the message; *repeated: it was there before. */
static int add_message(struct play *play, struct naive_conversation *conversation, int user, int id, bool *repeated)
{
    *repeated = true;
    for (int i = 0; id > 0 && i < conversation->count; i++)
        if (conversation->from[i] == user && conversation->id[i] == id)
            return i + 1;
    *repeated = false;
    assert_true(conversation->count < MESSAGES);
    conversation->from[conversation->count] = user;
    conversation->id[conversation->count] = id;
    conversation->newest = ++play->naive.sequence;
    return ++conversation->count;
}

static void send_message(struct play *play, int client, uint16_t cmd, const char *to, int number, int id)
{
    if (id > 0)
        client_send(play->world, &play->world->clients[client], cmd, "{\"%s%d\",\"text\":\"t\",\"id\":\"%d\"}", to,
                    number, id);
    else
        client_send(play->world, &play->world->clients[client], cmd, "{\"%s%d\",\"text\":\"t\"}", to, number);
}

/* Most messages have no id, and few have the same. */
static int pick_id(struct play *play)
{
    return pick(play, 4) > 0 ? 0 : 1 + pick(play, IDS);
}

static void do_group_chat(struct play *play, int client)
{
    int user = play->naive.user_of[client], number = pick(play, GROUPS), id = pick_id(play), msg_id;
    bool repeated;

    send_message(play, client, CMD_GROUP_CHAT, "group\":\"g", number, id);
    if (!expect_allowed(play, client, "group_chat", number, true))
        return;
    msg_id = add_message(play, group(play, number), user, id, &repeated);
    if (!repeated)
        EXPECT_MEMBERS(play, group(play, number), client,
                       "* group_chat_recv {\"group\":\"g%d\",\"user_from\":\"u%d\",\"text\":\"t\",\"msg_id\":%d,"
                       "\"time\":1000}\n",
                       number, user, msg_id);
    expect(play, client, "< group_chat {\"result\":\"success\",\"msg_id\":%d,\"time\":1000}\n", msg_id);
}

static void do_private_chat(struct play *play, int client)
{
    int user = play->naive.user_of[client], other = pick(play, USERS), id = pick_id(play), msg_id;
    const char *format = "* private_chat_recv {\"user_from\":\"u%d\",\"user_to\":\"u%d\",\"text\":\"t\",\"msg_id\":%d,"
                         "\"time\":1000}\n";
    bool repeated;
    char push[256];

    send_message(play, client, CMD_PRIVATE_CHAT, "user_to\":\"u", other, id);
    msg_id = add_message(play, pair(play, user, other), user, id, &repeated);
    snprintf(push, sizeof push, format, user, other, msg_id);
    if (!repeated)
        EXPECT_USER(play, other, client, "%s", push);
    if (!repeated && other != user)
        EXPECT_USER(play, user, client, "%s", push);
    expect(play, client, "< private_chat {\"result\":\"%s\",\"msg_id\":%d,\"time\":1000}\n",
           sessions_of(play, other) > 0 ? "success" : "offline", msg_id);
}

static void do_read(struct play *play, int client)
{
    int user = play->naive.user_of[client], number, msg_id;
    bool to_group = pick(play, 2) == 0;
    struct naive_conversation *conversation;

    number = pick(play, to_group ? GROUPS : USERS);
    conversation = to_group ? group(play, number) : pair(play, user, number);
    msg_id = pick(play, conversation->count + 2);
    client_send(play->world, &play->world->clients[client], CMD_READ, "{\"%s%d\",\"msg_id\":%d}",
                to_group ? "group\":\"g" : "user\":\"u", number, msg_id);
    if (to_group && !expect_allowed(play, client, "read", number, true))
        return;
    if (msg_id > conversation->count) {
        expect(play, client,
               "< read {\"result\":\"bad_request\",\"field\":\"msg_id\",\"message\":\"The conversation has "
               "no such message yet.\"}\n");
        return;
    }
    if (msg_id > conversation->mark[user]) {
        conversation->mark[user] = msg_id;
        EXPECT_USER(play, user, client, "* read_event {\"user\":\"u%d\",\"%s%d\",\"msg_id\":%d}\n", user,
                    to_group ? "group\":\"g" : "peer\":\"u", number, msg_id);
        if (!to_group && number != user)
            EXPECT_USER(play, number, -1, "* read_event {\"user\":\"u%d\",\"peer\":\"u%d\",\"msg_id\":%d}\n", user,
                        number, msg_id);
    }
    SUCCESS(play, client, "read");
}

static void do_unread(struct play *play, int client)
{
    int user = play->naive.user_of[client];
    long below = play->naive.sequence + 1;
    const char *comma = "";

    client_send(play->world, &play->world->clients[client], CMD_UNREAD, "{}");
    expect(play, client, "< unread {\"result\":\"success\",\"unread\":[");
    for (;;) {
        int best = -1;

        for (int i = 0; i < CONVERSATIONS; i++) {
            const struct naive_conversation *c = &play->naive.conversations[i];
            bool may = i >= USERS * USERS ? c->member[user] : i / USERS == user || i % USERS == user;

            if (may && unread_of(c, user) > 0 && c->newest < below &&
                (best < 0 || c->newest > play->naive.conversations[best].newest))
                best = i;
        }
        if (best < 0)
            break;
        below = play->naive.conversations[best].newest;
        if (best >= USERS * USERS)
            expect(play, client, "%s{\"group\":\"g%d\"", comma, best - USERS * USERS);
        else
            expect(play, client, "%s{\"user\":\"u%d\"", comma, best / USERS == user ? best % USERS : best / USERS);
        expect(play, client, ",\"count\":%d,\"latest\":%d}", unread_of(&play->naive.conversations[best], user),
               play->naive.conversations[best].count);
        comma = ",";
    }
    expect(play, client, "]}\n");
}

static void do_lists(struct play *play, int client)
{
    int user = play->naive.user_of[client];
    const char *comma = "";

    client_send(play->world, &play->world->clients[client], CMD_FRIEND_LIST, "{}");
    client_send(play->world, &play->world->clients[client], CMD_GROUP_LIST, "{}");
    expect(play, client, "< friend_list {\"result\":\"success\",\"friends\":[");
    for (int other = 0; other < USERS; other++) {
        if (!play->naive.friends[user][other])
            continue;
        expect(play, client, "%s{\"user\":\"u%d\",\"name\":\"\",\"online\":%s}", comma, other,
               sessions_of(play, other) > 0 ? "true" : "false");
        comma = ",";
    }
    expect(play, client, "]}\n< group_list {\"result\":\"success\",\"groups\":[");
    comma = "";
    for (int number = 0; number < GROUPS; number++) {
        if (!group(play, number)->member[user])
            continue;
        expect(play, client, "%s{\"group\":\"g%d\",\"title\":\"\"}", comma, number);
        comma = ",";
    }
    expect(play, client, "]}\n");
}

static void do_something(struct play *play)
{
    static void (*const operations[])(struct play * play, int client) = {
        do_friend_add, do_friend_answer, do_friend_remove, do_group_create,  do_group_join,
        do_group_join, do_group_leave,   do_group_kick,    do_group_dismiss, do_group_chat,
        do_group_chat, do_group_chat,    do_private_chat,  do_private_chat,  do_private_chat,
        do_read,       do_read,          do_unread,        do_lists,         do_logout,
    };
    int client = pick(play, SESSIONS);

    if (play->naive.user_of[client] < 0) {
        world_run(play->world); /* its reply is taken alone */
        for (int s = 0; s < SESSIONS; s++) {
            buffer_append(&play->expected[s], "", 1);
            client_got(&play->world->clients[s], play->expected[s].bytes);
            buffer_clear(&play->expected[s]);
        }
        do_login(play, client);
    } else {
        operations[pick(play, sizeof operations / sizeof operations[0])](play, client);
    }
}

/* A batch of up to 20 requests, as the naive model has it, or, when the store fails, as if it had not been. */
static void play_batch(struct play *play)
{
    for (int i = pick(play, 20); i >= 0; i--)
        do_something(play);
    world_run(play->world);
    for (int s = 0; s < SESSIONS; s++) {
        buffer_append(&play->expected[s], "", 1);
        client_got(&play->world->clients[s], play->expected[s].bytes);
        buffer_clear(&play->expected[s]);
    }
}

/* One request while the store fails at its next commit: refused and without effect, or such that it stores nothing. */
static void play_failure(struct play *play)
{
    struct naive before = play->naive;
    bool refused = false;
    int client = pick(play, SESSIONS);

    if (play->naive.user_of[client] < 0)
        return;
    play->world->store.fail_from = play->world->store.calls + 1 + pick(play, 3);
    do_private_chat(play, client);
    do_group_join(play, client);
    world_run(play->world);
    play->world->store.fail_from = 0;
    for (int s = 0; s < SESSIONS; s++)
        refused |= strstr(client_take(&play->world->clients[s]), "server_error") != NULL;
    if (refused)
        play->naive = before;
    for (int s = 0; s < SESSIONS; s++)
        buffer_clear(&play->expected[s]);
}

static void play_story(uint64_t seed)
{
    struct play *play = calloc(1, sizeof *play);

    play->random = seed;
    play->world = world_new(3);
    for (int s = 0; s < SESSIONS; s++) {
        world_connect(play->world, (unsigned)s % 3);
        play->naive.user_of[s] = -1;
        if (s < USERS)
            client_send(play->world, &play->world->clients[s], CMD_REGISTER, "{\"user\":\"u%d\",\"passwd\":\"pass\"}",
                        s);
    }
    world_run(play->world);
    world_hush(play->world);
    for (int round = 0; round < 60; round++) {
        play_batch(play);
        if (pick(play, 4) == 0)
            play_failure(play);
        world_check(play->world);
    }
    world_free(play->world);
    for (int s = 0; s < SESSIONS; s++)
        buffer_fini(&play->expected[s]);
    free(play);
}

static void test_random_stories(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++)
        play_story(seed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_stories),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
