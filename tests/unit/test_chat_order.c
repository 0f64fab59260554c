/* test_chat_order.c - what comes to a session stands in the order in which it was accepted (M-4, Q-8, Q-10), over hubs,
 *                     groups and private messages, while sessions log in and out and members come and go.
 *
 * The random test knows that order: with the memory store a hub's requests are accepted when its turn hands them over. A
 * model of who is where then says what every session gets, reply by push.
 */
#include "support_hub.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HUBS = 3, USERS = 6, SESSIONS = 14, GROUPS = 4, PENDING_MAX = 40, STEPS = 12000, NEEDLE_BYTES = 320 };

/* ---- by hand ---- */

static struct stage *new_stage(unsigned hubs)
{
    struct options options = stage_options();

    return stage_new(&options, hubs);
}

/* a hub that was not turned since delivers before it takes up. */
static void test_Q8_a_ping_is_a_barrier(void **state)
{
    struct stage *stage = new_stage(2);
    struct peer *alice = stage_login(stage, 0, "alice"), *bob = stage_login(stage, 1, "bob");

    (void)state;
    peer_send(alice, CMD_PRIVATE_CHAT, "{\"user_to\":\"bob\",\"text\":\"hello\"}");
    stage_turn(stage, 0);
    peer_expect_reply(alice, CMD_PRIVATE_CHAT, alice->seq, "\"success\"");
    peer_send(bob, CMD_PING, "%s", "");
    stage_turn(stage, 1);
    peer_expect_push(bob, PUSH_PRIVATE_CHAT_RECV, "\"hello\"");
    peer_expect_reply(bob, CMD_PING, bob->seq, "\"success\"");
    stage_free(stage);
}

/* A burst into one group is one range of one block in each outbox, in spite of the replies in between. */
static void test_a_burst_is_one_range(void **state)
{
    struct stage *stage = new_stage(1);
    struct peer *alice = stage_login(stage, 0, "alice"), *bob = stage_login(stage, 0, "bob");

    (void)state;
    peer_ask(alice, CMD_GROUP_CREATE, "{\"group\":\"tea\"}");
    peer_ask(bob, CMD_GROUP_JOIN, "{\"group\":\"tea\"}");
    stage_settle(stage);
    peer_skip(alice);
    bob->writable = false;
    for (int i = 0; i < 100; i++)
        peer_send(alice, CMD_GROUP_CHAT, "{\"group\":\"tea\",\"text\":\"%d\"}", i);
    stage_settle(stage);
    assert_int_equal(bob->session->outbox.count, 1);
    assert_int_equal(peer_skip(alice), 100);
    peer_reads(bob, TAKES_ALL);
    assert_int_equal(peer_skip(bob), 100);
    assert_int_equal(stage_counter(stage, deliveries_total), 100);
    stage_free(stage);
}

/* Members come and go within one batch: each gets what was said while it was there. */
static void test_M4_joins_and_kicks_at_their_places(void **state)
{
    struct stage *stage = new_stage(1);
    struct peer *bob, *alice = stage_login(stage, 0, "alice");

    (void)state;
    bob = stage_login(stage, 0, "bob"); /* after alice: his requests of a turn come after hers */
    peer_ask(alice, CMD_GROUP_CREATE, "{\"group\":\"tea\"}");
    peer_ask(bob, CMD_GROUP_JOIN, "{\"group\":\"tea\"}");
    peer_skip(alice);
    peer_send(alice, CMD_GROUP_CHAT, "{\"group\":\"tea\",\"text\":\"one\"}");
    peer_send(alice, CMD_GROUP_CHAT, "{\"group\":\"tea\",\"text\":\"two\"}");
    peer_send(alice, CMD_GROUP_KICK, "{\"group\":\"tea\",\"user\":\"bob\"}");
    peer_send(alice, CMD_GROUP_CHAT, "{\"group\":\"tea\",\"text\":\"three\"}");
    peer_send(bob, CMD_GROUP_JOIN, "{\"group\":\"tea\"}");
    peer_send(bob, CMD_GROUP_CHAT, "{\"group\":\"tea\",\"text\":\"four\"}");
    stage_turn(stage, 0);
    peer_expect_push(bob, PUSH_GROUP_CHAT_RECV, "\"one\"");
    peer_expect_push(bob, PUSH_GROUP_CHAT_RECV, "\"two\"");
    peer_expect_push(bob, PUSH_GROUP_EVENT, "\"kicked\"");
    peer_expect_reply(bob, CMD_GROUP_JOIN, bob->seq - 1, "\"success\"");
    peer_expect_reply(bob, CMD_GROUP_CHAT, bob->seq, "\"success\"");
    peer_expect_nothing(bob);
    assert_int_equal(peer_skip(alice), 4 + 2);
    stage_free(stage);
}

/* ---- the model ---- */

struct line {
    uint16_t cmd;
    uint32_t seq;
    char needle[NEEDLE_BYTES];
};

struct model_session {
    struct peer *peer;
    int home;           /* its user */
    bool in;            /* logged in */
    struct line *lines; /* what it has to get, in this order */
    size_t count, capacity;
};

struct model_request {
    int session;
    uint16_t cmd;
    uint32_t seq;
    int group, user;
    unsigned number; /* in its text */
};

struct model {
    struct stage *stage;
    uint64_t seed;
    unsigned numbers;
    struct model_session sessions[SESSIONS];
    int owner[GROUPS]; /* -1: there is no such group */
    bool member[GROUPS][USERS];
    struct model_request pending[SESSIONS][PENDING_MAX]; /* sent, not read by the stage */
    size_t pending_count[SESSIONS];
};

static int roll(struct model *model, int bound)
{
    return (int)support_random(&model->seed, (uint64_t)bound);
}

__attribute__((format(printf, 5, 6))) static void expect(struct model *model, int session, uint16_t cmd, uint32_t seq,
                                                         const char *needle, ...)
{
    struct model_session *to = &model->sessions[session];
    struct line *line;
    va_list arguments;

    if (to->count == to->capacity) {
        to->capacity = to->capacity == 0 ? 64 : 2 * to->capacity;
        to->lines = realloc(to->lines, to->capacity * sizeof *to->lines);
        assert_non_null(to->lines);
    }
    line = &to->lines[to->count++];
    line->cmd = cmd;
    line->seq = seq;
    va_start(arguments, needle);
    vsnprintf(line->needle, sizeof line->needle, needle, arguments);
    va_end(arguments);
}

static void expect_reply(struct model *model, const struct model_request *request, const char *result)
{
    expect(model, request->session, request->cmd | FRAME_REPLY_BIT, request->seq, "\"result\":\"%s\"", result);
}

/* A push to every session of the members but the one that asked. */
static void expect_event(struct model *model, const struct model_request *request, int user, const char *event)
{
    for (int i = 0; i < SESSIONS; i++)
        if (i != request->session && model->sessions[i].in && model->member[request->group][model->sessions[i].home])
            expect(model, i, PUSH_GROUP_EVENT, 0, "{\"group\":\"g%d\",\"user\":\"u%d\",\"event\":\"%s\"}",
                   request->group, user, event);
}

static void apply_group_chat(struct model *model, const struct model_request *request)
{
    int user = model->sessions[request->session].home;

    if (!model->member[request->group][user]) {
        expect_reply(model, request, "not_member");
        return;
    }
    expect_reply(model, request, "success");
    for (int i = 0; i < SESSIONS; i++)
        if (i != request->session && model->sessions[i].in && model->member[request->group][model->sessions[i].home])
            expect(model, i, PUSH_GROUP_CHAT_RECV, 0, "\"user_from\":\"u%d\",\"text\":\"n%u\"", user, request->number);
}

static void apply_group_typing(struct model *model, const struct model_request *request)
{
    int user = model->sessions[request->session].home;

    if (!model->member[request->group][user]) {
        expect_reply(model, request, "not_member");
        return;
    }
    expect_reply(model, request, "success");
    for (int i = 0; i < SESSIONS; i++) {
        int other = model->sessions[i].home;

        if (other != user && model->sessions[i].in && model->member[request->group][other])
            expect(model, i, PUSH_TYPING_EVENT, 0, "{\"user\":\"u%d\",\"group\":\"g%d\"}", user, request->group);
    }
}

static void apply_private_chat(struct model *model, const struct model_request *request)
{
    int from = model->sessions[request->session].home;
    bool online = false;

    for (int i = 0; i < SESSIONS; i++)
        online |= model->sessions[i].in && model->sessions[i].home == request->user;
    expect_reply(model, request, online ? "success" : "offline");
    for (int i = 0; i < SESSIONS; i++) {
        int user = model->sessions[i].home;

        if (i != request->session && model->sessions[i].in && (user == from || user == request->user))
            expect(model, i, PUSH_PRIVATE_CHAT_RECV, 0, "\"user_to\":\"u%d\",\"text\":\"n%u\"", request->user,
                   request->number);
    }
}

static void apply_create(struct model *model, const struct model_request *request)
{
    int user = model->sessions[request->session].home;

    expect_reply(model, request, "success");
    model->owner[request->group] = user;
    model->member[request->group][user] = true;
    expect_event(model, request, user, "joined");
}

static void apply_join(struct model *model, const struct model_request *request)
{
    int user = model->sessions[request->session].home;
    bool *member = &model->member[request->group][user];

    expect_reply(model, request, "success");
    if (*member)
        return;
    *member = true;
    expect_event(model, request, user, "joined");
}

static void apply_leave(struct model *model, const struct model_request *request)
{
    int user = model->sessions[request->session].home;
    bool *member = &model->member[request->group][user];

    expect_reply(model, request,
                 !*member                               ? "not_member"
                 : model->owner[request->group] == user ? "failure"
                                                        : "success");
    if (!*member || model->owner[request->group] == user)
        return;
    expect_event(model, request, user, "left");
    *member = false;
}

static void apply_kick(struct model *model, const struct model_request *request)
{
    int user = model->sessions[request->session].home;
    bool *member = &model->member[request->group][request->user];

    if (model->owner[request->group] != user) {
        expect_reply(model, request, "not_owner");
    } else if (request->user == user) {
        expect_reply(model, request, "bad_request");
    } else if (!*member) {
        expect_reply(model, request, "not_member");
    } else {
        expect_reply(model, request, "success");
        expect_event(model, request, request->user, "kicked");
        *member = false;
    }
}

static void apply_dismiss(struct model *model, const struct model_request *request)
{
    int user = model->sessions[request->session].home;

    if (model->owner[request->group] != user) {
        expect_reply(model, request, "not_owner");
        return;
    }
    expect_reply(model, request, "success");
    expect_event(model, request, user, "dismissed");
    model->owner[request->group] = -1;
    memset(model->member[request->group], 0, sizeof model->member[request->group]);
}

static void apply(struct model *model, const struct model_request *request)
{
    bool of_group = request->cmd != CMD_PRIVATE_CHAT && request->cmd != CMD_PING && request->cmd != CMD_LOGOUT;

    if (request->cmd == CMD_GROUP_CREATE && model->owner[request->group] >= 0)
        expect_reply(model, request, "failure");
    else if (of_group && request->cmd != CMD_GROUP_CREATE && model->owner[request->group] < 0)
        expect_reply(model, request, "group_not_exist");
    else if (request->cmd == CMD_GROUP_CREATE)
        apply_create(model, request);
    else if (request->cmd == CMD_GROUP_CHAT)
        apply_group_chat(model, request);
    else if (request->cmd == CMD_TYPING)
        apply_group_typing(model, request);
    else if (request->cmd == CMD_PRIVATE_CHAT)
        apply_private_chat(model, request);
    else if (request->cmd == CMD_GROUP_JOIN)
        apply_join(model, request);
    else if (request->cmd == CMD_GROUP_LEAVE)
        apply_leave(model, request);
    else if (request->cmd == CMD_GROUP_KICK)
        apply_kick(model, request);
    else if (request->cmd == CMD_GROUP_DISMISS)
        apply_dismiss(model, request);
    else
        expect_reply(model, request, "success");
    model->sessions[request->session].in &= request->cmd != CMD_LOGOUT;
}

/* the groups at the login's place. */
static void apply_login(struct model *model, int session)
{
    struct model_session *in = &model->sessions[session];
    char groups[NEEDLE_BYTES] = "";

    for (int group = 0; group < GROUPS; group++)
        if (model->member[group][in->home])
            snprintf(groups + strlen(groups), sizeof groups - strlen(groups), "%s{\"group\":\"g%d\",\"title\":\"\"}",
                     groups[0] == '\0' ? "" : ",", group);
    expect(model, session, CMD_LOGIN | FRAME_REPLY_BIT, in->peer->seq, "\"groups\":[%s]", groups);
    in->in = true;
}

/* ---- random traffic ---- */

static void send_request(struct model *model, struct model_request request)
{
    struct peer *peer = model->sessions[request.session].peer;

    if (request.cmd == CMD_PRIVATE_CHAT)
        request.seq =
            peer_send(peer, request.cmd, "{\"user_to\":\"u%d\",\"text\":\"n%u\"}", request.user, request.number);
    else if (request.cmd == CMD_GROUP_KICK)
        request.seq = peer_send(peer, request.cmd, "{\"group\":\"g%d\",\"user\":\"u%d\"}", request.group, request.user);
    else if (request.cmd == CMD_GROUP_CHAT)
        request.seq =
            peer_send(peer, request.cmd, "{\"group\":\"g%d\",\"text\":\"n%u\"}", request.group, request.number);
    else
        request.seq = peer_send(peer, request.cmd, "{\"group\":\"g%d\"}", request.group);
    model->pending[request.session][model->pending_count[request.session]++] = request;
}

static void send_random(struct model *model)
{
    static const uint16_t cmds[] = {CMD_GROUP_CHAT,  CMD_GROUP_CHAT, CMD_GROUP_CHAT,  CMD_GROUP_CHAT, CMD_PRIVATE_CHAT,
                                    CMD_PING,        CMD_TYPING,     CMD_GROUP_JOIN,  CMD_GROUP_JOIN, CMD_GROUP_JOIN,
                                    CMD_GROUP_LEAVE, CMD_GROUP_KICK, CMD_GROUP_CREATE};
    struct model_request request = {.session = roll(model, SESSIONS),
                                    .cmd = cmds[roll(model, sizeof cmds / sizeof *cmds)],
                                    .group = roll(model, GROUPS),
                                    .user = roll(model, USERS),
                                    .number = ++model->numbers};

    if (!model->sessions[request.session].in || model->pending_count[request.session] >= PENDING_MAX)
        return;
    if (roll(model, 60) == 0)
        request.cmd = CMD_GROUP_DISMISS;
    for (int repeat = roll(model, 4); repeat >= 0 && model->pending_count[request.session] < PENDING_MAX; repeat--) {
        send_request(model, request); /* several in one group are a run */
        request.number = ++model->numbers;
    }
}

/* A turn: what each peer sent is read in their order, and accepted together. A ping that nothing is under way before is
 * answered when it is read. */
static void turn(struct model *model, unsigned hub)
{
    for (int i = 0; i < SESSIONS; i++) {
        size_t first = 0;

        if (model->sessions[i].peer->hub != hub)
            continue;
        for (; first < model->pending_count[i] && model->pending[i][first].cmd == CMD_PING; first++)
            apply(model, &model->pending[i][first]);
        model->pending_count[i] -= first;
        memmove(model->pending[i], model->pending[i] + first, model->pending_count[i] * sizeof *model->pending[i]);
    }
    for (int i = 0; i < SESSIONS; i++) {
        if (model->sessions[i].peer->hub != hub)
            continue;
        for (size_t j = 0; j < model->pending_count[i]; j++)
            apply(model, &model->pending[i][j]);
        model->pending_count[i] = 0;
    }
    stage_turn(model->stage, hub);
}

/* Out, or in again: alone on its connection, as barriers are. */
static void log_out_or_in(struct model *model)
{
    int session = roll(model, SESSIONS);
    struct model_session *of = &model->sessions[session];

    if (model->pending_count[session] > 0)
        return;
    if (of->in) {
        send_request(model, (struct model_request){.session = session, .cmd = CMD_LOGOUT});
        turn(model, of->peer->hub);
        return;
    }
    peer_send(of->peer, CMD_LOGIN, "{\"user\":\"u%d\",\"passwd\":\"password\"}", of->home);
    turn(model, of->peer->hub);
    for (int i = roll(model, 4); i > 0; i--) /* while it is checked */
        turn(model, (unsigned)roll(model, HUBS));
    apply_login(model, session);
    assert_true(chat_run_worker(model->stage->chat));
}

/* What each got is what it should have got. */
static void compare(struct model *model)
{
    for (unsigned hub = 0; hub < HUBS; hub++)
        turn(model, hub);
    for (int i = 0; i < SESSIONS; i++)
        peer_reads(model->sessions[i].peer, TAKES_ALL);
    stage_settle(model->stage);
    for (int i = 0; i < SESSIONS; i++) {
        struct model_session *session = &model->sessions[i];

        for (size_t j = 0; j < session->count; j++)
            peer_expect(session->peer, session->lines[j].cmd, session->lines[j].seq, session->lines[j].needle, __FILE__,
                        __LINE__);
        peer_expect_nothing(session->peer);
        session->count = 0;
    }
}

static void model_init(struct model *model)
{
    model->stage = new_stage(HUBS);
    for (int group = 0; group < GROUPS; group++)
        model->owner[group] = -1;
    for (int i = 0; i < SESSIONS; i++) {
        char name[16];

        snprintf(name, sizeof name, "u%d", i % USERS);
        model->sessions[i].home = i % USERS;
        model->sessions[i].peer = stage_login(model->stage, (unsigned)roll(model, HUBS), name);
        model->sessions[i].in = true;
    }
}

static void test_random_traffic_comes_in_the_order_of_acceptance(void **state)
{
    static struct model model;

    (void)state;
    model.seed = 20240608;
    print_message("seed %llu\n", (unsigned long long)model.seed);
    model_init(&model);
    for (int step = 0; step < STEPS; step++) {
        struct peer *peer = model.sessions[roll(&model, SESSIONS)].peer;

        send_random(&model);
        if (roll(&model, 3) == 0)
            turn(&model, (unsigned)roll(&model, HUBS));
        if (roll(&model, 10) == 0)
            peer_reads(peer, (size_t)roll(&model, 5000)); /* from then on the system takes little, or nothing */
        if (roll(&model, 50) == 0)
            log_out_or_in(&model);
        if (step % 200 == 199)
            compare(&model);
    }
    compare(&model);
    for (int i = 0; i < SESSIONS; i++)
        free(model.sessions[i].lines);
    stage_free(model.stage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_Q8_a_ping_is_a_barrier),
        cmocka_unit_test(test_a_burst_is_one_range),
        cmocka_unit_test(test_M4_joins_and_kicks_at_their_places),
        cmocka_unit_test(test_random_traffic_comes_in_the_order_of_acceptance),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
