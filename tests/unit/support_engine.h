/* support_engine.h - an engine without a server: hubs, clients, a clock and a store that fails when it is told to.
 *
 * Idea.       A world has an engine with workers that run only when they are asked, and hubs that do with effects what
 *             real ones do: they keep who is whose session and in which group, and hand out pushes by that. What each
 *             client got stands in its transcript, one line each, in the order of arrival:
 *
 *                 < group_chat {"result":"success","msg_id":1,"time":1000}         a reply
 *                 * group_event {"group":"tea","user":"bob","event":"joined"}      a push
 *
 *             Requests are written as JSON and go through the real reader of requests.
 */
#ifndef TESTS_UNIT_SUPPORT_ENGINE_H
#define TESTS_UNIT_SUPPORT_ENGINE_H

#include "support.h"
#include "support_store.h"

#include "base/buffer.h"
#include "chat/engine.h"
#include "chat/engine_internal.h"

#define WORLD_CLIENTS 600
#define WORLD_GROUPS 300

struct client {
    session_handle session;
    uint32_t user; /* as the effects say; 0: not logged in */
    uint32_t groups[WORLD_GROUPS];
    size_t group_count;
    unsigned under_way; /* requests without a reply */
    bool ended;
    struct peer_address address;
    struct buffer transcript;
};

/* A store that passes everything on to another one, but fails at a call of its choice. */
struct failing_store {
    struct store store; /* first */
    struct store *inner;
    bool in_transaction;
    long calls;     /* so far; those of begin, commit and all others that can fail */
    long fail_at;   /* this call fails; 0: none */
    long fail_from; /* and from this one on all of them; 0: none */
    unsigned commits, rollbacks;
};

extern const struct store_operations failing_store_operations;

struct world {
    struct options options;
    struct clock clock;
    uint64_t monotonic_ms;
    int64_t unix_ms;
    char directory[SUPPORT_PATH_BYTES];
    struct failing_store store;
    struct workers *workers;
    struct inboxes inboxes;
    struct inbox inbox[HUBS_MAX];
    unsigned hub_count;
    struct engine *engine;
    unsigned kicks;
    void (*watch)(bool running); /* called before and after engine_run(); NULL: nobody watches */
    struct engine_batch *batch;  /* sent, and not yet submitted */
    struct client clients[WORLD_CLIENTS];
    size_t client_count;
    uint32_t seq;
};

/* With an empty database in a directory of its own behind the failing store; world_free() removes it. */
struct world *world_new(unsigned hubs);
void world_free(struct world *world);

/* Another engine over the same store, as after a restart. The caller frees it with engine_free(). */
struct engine *world_load_again(struct world *world);

/* A client on a hub; connected from 10.0.0.`client`, unless its address is changed. */
struct client *world_connect(struct world *world, unsigned hub);

/* Registered (where the name is new) and logged in, with an empty transcript. */
struct client *world_login(struct world *world, unsigned hub, const char *name);

/* Take up a request; a malformed one fails the test. %-directives are filled in. */
void client_send(struct world *world, struct client *client, uint16_t cmd, const char *json, ...)
    __attribute__((format(printf, 4, 5)));
void client_send_answered(struct world *world, struct client *client, const char *text);
void client_end(struct world *world, struct client *client);

/* Submit what was sent, and run the engine, without the workers; deliver what it posted. */
void world_run_engine(struct world *world);

/* And everything else, until nothing is left to do. */
void world_run(struct world *world);

/* Everything the client got since the last call, as one text; valid until the next call for this client. */
const char *client_take(struct client *client);

/* Send, run, and compare all that the client got with `expected` (a line without its end). */
#define client_asks(world, who, cmd, json, expected)             \
    do {                                                         \
        struct client *asking = (who);                           \
                                                                 \
        client_send((world), asking, (cmd), "%s", (json));       \
        world_run(world);                                        \
        assert_string_equal(client_take(asking), expected "\n"); \
    } while (0)

/* Whether the client got exactly these lines ("": nothing). */
#define client_got(client, expected) assert_string_equal(client_take(client), expected)

/* Nobody got anything more. */
void world_expect_silence(struct world *world);

/* Forget all transcripts. */
void world_hush(struct world *world);

/* The whole model as text, without sessions and in an order of its own, so that two can be compared. */
void model_dump(const struct model *model, struct buffer *out);

/* Fail the test where an invariant of the model does not hold. */
void model_check(const struct model *model);

/* Memory is what the store would give after a restart, and its invariants hold. */
void world_check(struct world *world);

#endif
