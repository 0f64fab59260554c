/* support_life.c - see support_life.h. */
#include "support_life.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/password.h"
#include "chat/engine_internal.h"
#include "support_engine.h"

enum { ALICE, BOB, CAROL, BOB2, PEOPLE };

/* What is no request. */
enum { FINISH = 1, ABORT = 2 };

enum { ATTEMPTS_MAX = 4, HEALING_MS = 1000, ENDING_MS = 10000 };

static const unsigned hub_of[PEOPLE] = {0, 0, 1, 1};

static const struct step {
    int who;
    uint16_t cmd;
    const char *json;
} life[] = {
    {ALICE, CMD_HELLO,         "{\"client\":\"a life\"}"                                        },
    {ALICE, CMD_REGISTER,      "{\"user\":\"alice\",\"passwd\":\"kettle\",\"name\":\"A\"}"      },
    {BOB,   CMD_REGISTER,      "{\"user\":\"bob\",\"passwd\":\"kettle\"}"                       },
    {CAROL, CMD_REGISTER,      "{\"user\":\"carol\",\"passwd\":\"kettle\"}"                     },
    {ALICE, CMD_LOGIN,         "{\"user\":\"alice\",\"passwd\":\"kettle\"}"                     },
    {BOB,   CMD_LOGIN,         "{\"user\":\"bob\",\"passwd\":\"kettle\"}"                       },
    {CAROL, CMD_LOGIN,         "{\"user\":\"carol\",\"passwd\":\"kettle\"}"                     },
    {ALICE, CMD_FRIEND_ADD,    "{\"user\":\"bob\",\"text\":\"hi\"}"                             },
    {BOB,   CMD_FRIEND_ANSWER, "{\"user\":\"alice\",\"accept\":true}"                           },
    {CAROL, CMD_FRIEND_ADD,    "{\"user\":\"bob\"}"                                             },
    {BOB,   CMD_FRIEND_ANSWER, "{\"user\":\"carol\",\"accept\":false}"                          },
    {CAROL, CMD_FRIEND_ADD,    "{\"user\":\"alice\",\"text\":\"me too\"}"                       },
    {ALICE, CMD_GROUP_CREATE,  "{\"group\":\"tea\",\"title\":\"T\"}"                            },
    {BOB,   CMD_GROUP_JOIN,    "{\"group\":\"tea\"}"                                            },
    {CAROL, CMD_GROUP_JOIN,    "{\"group\":\"tea\"}"                                            },
    {ALICE, CMD_GROUP_CHAT,    "{\"group\":\"tea\",\"text\":\"one\",\"id\":\"1\"}"              },
    {BOB2,  CMD_LOGIN,         "{\"user\":\"bob\",\"passwd\":\"kettle\"}"                       },
    {BOB,   CMD_GROUP_CHAT,    "{\"group\":\"tea\",\"text\":\"two\"}"                           },
    {ALICE, CMD_GROUP_CHAT,    "{\"group\":\"tea\",\"text\":\"a repeat\",\"id\":\"1\"}"         },
    {BOB,   CMD_READ,          "{\"group\":\"tea\",\"msg_id\":1}"                               },
    {ALICE, CMD_PRIVATE_CHAT,  "{\"user_to\":\"bob\",\"text\":\"psst\",\"id\":\"1\"}"           },
    {CAROL, CMD_PRIVATE_CHAT,  "{\"user_to\":\"bob\",\"text\":\"hey\"}"                         },
    {BOB,   CMD_PRIVATE_CHAT,  "{\"user_to\":\"bob\",\"text\":\"a note\"}"                      },
    {BOB,   CMD_UNREAD,        "{}"                                                             },
    {BOB,   CMD_READ,          "{\"user\":\"carol\",\"msg_id\":1}"                              },
    {BOB,   CMD_TYPING,        "{\"group\":\"tea\"}"                                            },
    {BOB,   CMD_HISTORY,       "{\"group\":\"tea\"}"                                            },
    {ALICE, CMD_HISTORY,       "{\"user\":\"bob\",\"limit\":1}"                                 },
    {ALICE, CMD_PROFILE_SET,   "{\"name\":\"Alice\",\"age\":3,\"address\":\"behind the glass\"}"},
    {BOB,   CMD_PROFILE_GET,   "{\"user\":\"alice\"}"                                           },
    {BOB2,  FINISH,            ""                                                               },
    {ALICE, CMD_PRIVATE_CHAT,  "{\"user_to\":\"nobody\",\"text\":\"x\"}"                        },
    {CAROL, CMD_GROUP_LEAVE,   "{\"group\":\"tea\"}"                                            },
    {CAROL, CMD_GROUP_JOIN,    "{\"group\":\"tea\"}"                                            },
    {ALICE, CMD_GROUP_KICK,    "{\"group\":\"tea\",\"user\":\"carol\"}"                         },
    {CAROL, CMD_GROUP_CREATE,  "{\"group\":\"milk\"}"                                           },
    {ALICE, CMD_GROUP_JOIN,    "{\"group\":\"milk\"}"                                           },
    {CAROL, CMD_GROUP_CHAT,    "{\"group\":\"milk\",\"text\":\"mine\"}"                         },
    {CAROL, CMD_GROUP_DISMISS, "{\"group\":\"milk\"}"                                           },
    {ALICE, CMD_GROUP_CREATE,  "{\"group\":\"milk\"}"                                           },
    {ALICE, CMD_GROUP_LIST,    "{}"                                                             },
    {ALICE, CMD_GROUP_INFO,    "{\"group\":\"tea\"}"                                            },
    {ALICE, CMD_FRIEND_REMOVE, "{\"user\":\"bob\"}"                                             },
    {ALICE, CMD_FRIEND_LIST,   "{}"                                                             },
    {BOB,   CMD_PASSWD,        "{\"old\":\"kettle\",\"new\":\"pot!\"}"                          },
    {BOB,   CMD_LOGOUT,        "{}"                                                             },
    {BOB,   CMD_LOGIN,         "{\"user\":\"bob\",\"passwd\":\"pot!\"}"                         },
    {CAROL, ABORT,             ""                                                               },
    {ALICE, CMD_GROUP_CHAT,    "{\"group\":\"tea\",\"text\":\"last\",\"id\":\"2\"}"             },
    {BOB,   CMD_HISTORY,       "{\"group\":\"tea\",\"after\":0}"                                },
    {ALICE, CMD_PING,          "{}"                                                             },
};

enum { STEPS = sizeof life / sizeof life[0] };

/* What was written down; [STEPS] is the state in the end. */
static struct {
    char *replies[STEPS];
    char *states[STEPS + 1];
    char *pushes[PEOPLE];
} written;

struct person {
    struct peer *peer; /* NULL: not connected yet, or for good no more */
    const char *user;  /* NULL: not logged in */
    const char *password;
    struct buffer pushes;
};

struct telling {
    struct stage *stage;
    const struct life_faults *faults;
    struct person people[PEOPLE];
    struct life_outcome outcome;
};

/* ---- texts that can be compared ---- */

/* Times and password hashes differ from life to life. */
static void append_stable(struct buffer *out, const char *text)
{
    while (*text != '\0') {
        size_t digits = strspn(text, "0123456789");

        if (digits > 11) {
            buffer_append(out, "#", 1);
            text += digits;
        } else if (*text == '$') {
            buffer_append(out, "$", 1);
            text += strcspn(text, " ");
        } else {
            buffer_append(out, text, digits > 0 ? digits : 1);
            text += digits > 0 ? digits : 1;
        }
    }
    assert_false(out->failed);
}

static char *text_of(struct buffer *buffer)
{
    buffer_append(buffer, "", 1);
    assert_false(buffer->failed);
    return buffer->bytes;
}

/* Which password bob has: hashes cannot be compared. */
static void append_password(struct buffer *state, const struct model *model)
{
    const struct user *bob = model_user_named(model, SLICE_LITERAL("bob"));

    if (bob != NULL && password_verify(bob->password_hash, SLICE_LITERAL("pot!")) == PASSWORD_RIGHT)
        append_stable(state, "\nbob has a new password");
}

/* The model, and all messages. The caller frees it. */
static char *state_of(struct chat *chat)
{
    static char history[100000];
    const struct store_history_range all = {UINT64_MAX, 0, true};
    struct engine *engine = chat_engine(chat);
    struct buffer dump = {0}, state = {0};

    model_check(&engine->model);
    model_dump(&engine->model, &dump);
    append_stable(&state, dump.bytes);
    append_password(&state, &engine->model);
    for (uint32_t number = 1; number <= engine->model.conversation_highest; number++) {
        /* The rows of a dismissed group go when there is time. */
        if (model_conversation(&engine->model, number) == NULL)
            continue;
        support_history(engine->config.store, number, &all, SIZE_MAX, history, sizeof history);
        append_stable(&state, "\nmessages\n");
        append_stable(&state, history);
    }
    buffer_fini(&dump);
    return text_of(&state);
}

static bool state_is(struct telling *telling, size_t step)
{
    char *state = state_of(telling->stage->chat);
    bool same = strcmp(state, written.states[step]) == 0;

    free(state);
    return same;
}

/* Every line of `got` stands in `expected`, in this order. */
static bool is_part_of(const char *got, const char *expected)
{
    while (*got != '\0') {
        size_t length = strcspn(got, "\n") + 1;

        while (strncmp(got, expected, length) != 0) {
            if (*expected == '\0')
                return false;
            expected += strcspn(expected, "\n") + 1;
        }
        expected += length;
        got += length;
    }
    return true;
}

/* ---- one attempt ---- */

static bool is_cut(const struct person *person)
{
    return person->peer == NULL || person->peer->session == NULL;
}

/* What tells of other sessions coming and going tells of who was cut off, too. And `typing` changes no state: when it was
 * told, but its reply was cut off, it is told twice. */
static bool is_compared(uint16_t cmd)
{
    return cmd != PUSH_PRESENCE && cmd != PUSH_HEARTBEAT && cmd != PUSH_BYE && cmd != PUSH_TYPING_EVENT;
}

/* Take what came; the reply to `seq` goes to `reply`, at most one. */
static void take(struct person *person, uint32_t seq, struct buffer *reply)
{
    struct message message;
    char cmd[8];

    while (person->peer != NULL && peer_next(person->peer, &message)) {
        if ((message.cmd & FRAME_REPLY_BIT) != 0) {
            assert_int_equal(message.seq, seq);
            assert_int_equal(reply->length, 0);
            append_stable(reply, message.json);
        } else if (is_compared(message.cmd)) {
            snprintf(cmd, sizeof cmd, "%04x ", message.cmd);
            append_stable(&person->pushes, cmd);
            append_stable(&person->pushes, message.json);
            append_stable(&person->pushes, "\n");
        }
    }
}

static void take_pushes(struct telling *telling)
{
    struct buffer none = {0};

    for (int who = 0; who < PEOPLE; who++)
        take(&telling->people[who], 0, &none);
    assert_int_equal(none.length, 0);
}

/* All works again; and what waited for that comes to its end. */
static void heal(struct telling *telling)
{
    if (telling->faults != NULL)
        telling->faults->heal();
    stage_pass(telling->stage, HEALING_MS);
    stage_run(telling->stage);
}

static void connect_person(struct telling *telling, int who)
{
    struct person *person = &telling->people[who];

    person->peer = stage_connect(telling->stage, hub_of[who]);
    if (is_cut(person)) {
        telling->outcome.cut++;
        heal(telling);
        person->peer = stage_connect(telling->stage, hub_of[who]);
    }
    assert_false(is_cut(person));
}

/* Who was cut off comes back; nothing fails now. */
static void come_back(struct telling *telling, int who)
{
    struct person *person = &telling->people[who];
    struct buffer reply = {0};
    uint32_t seq;

    take(person, 0, &reply);
    assert_int_equal(reply.length, 0);
    telling->outcome.cut++;
    connect_person(telling, who);
    if (person->user != NULL) {
        seq = peer_send(person->peer, CMD_LOGIN, "{\"user\":\"%s\",\"passwd\":\"%s\"}", person->user, person->password);
        stage_run(telling->stage);
        take(person, seq, &reply);
        assert_non_null(strstr(text_of(&reply), "\"result\":\"success\""));
    }
    buffer_fini(&reply);
}

static void come_back_all(struct telling *telling)
{
    for (int who = 0; who < PEOPLE; who++)
        if (telling->people[who].peer != NULL && telling->people[who].peer->session == NULL)
            come_back(telling, who);
}

/* What follows from a step that is done. */
static void note_done(struct person *person, const struct step *step)
{
    static const char *const users[PEOPLE] = {"alice", "bob", "carol", "bob"};

    switch (step->cmd) {
    case CMD_LOGIN:
        person->user = users[step->who];
        person->password = strstr(step->json, "pot!") != NULL ? "pot!" : "kettle";
        break;
    case CMD_LOGOUT:
        person->user = NULL;
        break;
    case CMD_PASSWD:
        person->password = "pot!";
        break;
    default:
        break;
    }
}

static void end_connection(struct telling *telling, const struct step *step)
{
    struct person *person = &telling->people[step->who];

    if (step->cmd == FINISH)
        peer_finish(person->peer);
    else
        peer_abort(person->peer);
    stage_run(telling->stage);
    if (telling->faults != NULL)
        telling->faults->heal();
    stage_pass(telling->stage, ENDING_MS);
    take_pushes(telling);
    assert_null(person->peer->session);
    person->peer = NULL;
}

static bool is_refusal(const char *reply)
{
    return strstr(reply, "\"server_error\"") != NULL || strstr(reply, "\"rate_limited\"") != NULL;
}

/* Ask, and judge what came. True: the step is done. */
static bool attempt(struct telling *telling, size_t at, struct buffer *reply)
{
    const struct step *step = &life[at];
    struct person *person = &telling->people[step->who];
    uint32_t seq = peer_send(person->peer, step->cmd, "%s", step->json);

    stage_run(telling->stage);
    buffer_clear(reply);
    take(person, seq, reply);
    if (written.replies[at] == NULL) {
        take_pushes(telling);
        return true; /* it is being written down */
    }
    if (reply->length == 0 || is_refusal(text_of(reply))) {
        heal(telling);
        take(person, seq, reply);
    }
    take_pushes(telling);
    if (reply->length == 0) {
        if (!is_cut(person))
            fail_msg("step %zu, %s: no reply", at, step->json);
        if (state_is(telling, at + 1) && strcmp(written.states[at], written.states[at + 1]) != 0)
            return true;
        assert_true(state_is(telling, at));
        return false;
    }
    if (is_refusal(text_of(reply))) {
        telling->outcome.refused++;
        assert_true(state_is(telling, at));
        return false;
    }
    assert_string_equal(reply->bytes, written.replies[at]);
    return true;
}

/* ---- the whole of it ---- */

static void tell_step(struct telling *telling, size_t at, struct buffer *reply)
{
    const struct step *step = &life[at];
    struct person *person = &telling->people[step->who];
    bool done = false;

    if (person->peer == NULL)
        connect_person(telling, step->who);
    if (step->cmd == FINISH || step->cmd == ABORT) {
        end_connection(telling, step);
        return;
    }
    for (int attempts = 0; !done; attempts++) {
        assert_true(attempts < ATTEMPTS_MAX);
        come_back_all(telling);
        done = attempt(telling, at, reply);
    }
    note_done(person, step);
    come_back_all(telling);
}

/* L-7 */
static void tell_end(struct telling *telling)
{
    stage_drain(telling->stage);
    stage_run(telling->stage);
    if (telling->faults != NULL)
        telling->faults->heal();
    stage_pass(telling->stage, ENDING_MS);
    assert_true(stage_drained(telling->stage));
    take_pushes(telling);
}

static void telling_begin(struct telling *telling, const struct options *options, const struct life_faults *faults)
{
    *telling = (struct telling){.stage = stage_new(options, 2), .faults = faults};
    if (faults == NULL)
        return;
    telling->stage->inside = faults->inside;
    faults->begin();
}

static void telling_end(struct telling *telling)
{
    if (telling->faults != NULL)
        telling->faults->end();
    stage_free(telling->stage);
    for (int who = 0; who < PEOPLE; who++)
        buffer_fini(&telling->people[who].pushes);
}

void life_learn(const struct options *options)
{
    struct telling telling;
    struct buffer reply = {0};

    telling_begin(&telling, options, NULL);
    for (size_t at = 0; at < STEPS; at++) {
        written.states[at] = state_of(telling.stage->chat);
        tell_step(&telling, at, &reply);
        written.replies[at] = strdup(reply.length > 0 ? text_of(&reply) : "");
        assert_false(is_refusal(written.replies[at]));
        buffer_clear(&reply);
    }
    written.states[STEPS] = state_of(telling.stage->chat);
    tell_end(&telling);
    assert_int_equal(telling.outcome.cut, 0);
    for (int who = 0; who < PEOPLE; who++)
        written.pushes[who] = strdup(text_of(&telling.people[who].pushes));
    telling_end(&telling);
    buffer_fini(&reply);
}

static void check_pushes(struct telling *telling)
{
    for (int who = 0; who < PEOPLE; who++) {
        const char *got = text_of(&telling->people[who].pushes);

        if (telling->outcome.cut == 0)
            assert_string_equal(got, written.pushes[who]);
        else if (!is_part_of(got, written.pushes[who]))
            fail_msg("got pushes that nobody should:\n%s\nof\n%s", got, written.pushes[who]);
    }
}

/* After a restart all is as it was. */
static void check_again(const struct options *options)
{
    struct stage *stage;
    char *state;

    if (options->store == OPTION_STORE_MEMORY)
        return;
    stage = stage_new(options, 1);
    state = state_of(stage->chat);
    assert_string_equal(state, written.states[STEPS]);
    free(state);
    stage_free(stage);
}

struct life_outcome life_tell(const struct options *options, const struct life_faults *faults)
{
    struct telling telling;
    struct buffer reply = {0};

    telling_begin(&telling, options, faults);
    for (size_t at = 0; at < STEPS; at++)
        tell_step(&telling, at, &reply);
    assert_true(state_is(&telling, STEPS));
    tell_end(&telling);
    check_pushes(&telling);
    telling_end(&telling);
    check_again(options);
    buffer_fini(&reply);
    return telling.outcome;
}

void life_forget(void)
{
    for (size_t at = 0; at < STEPS; at++)
        free(written.replies[at]);
    for (size_t at = 0; at <= STEPS; at++)
        free(written.states[at]);
    for (int who = 0; who < PEOPLE; who++)
        free(written.pushes[who]);
    memset(&written, 0, sizeof written);
}
