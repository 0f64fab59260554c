/* support_engine.c - see support_engine.h. */
#include "support_engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/password.h"
#include "wire/frame.h"

/* The world. */

static uint64_t world_monotonic_ms(void *arg)
{
    return ((struct world *)arg)->monotonic_ms;
}

static int64_t world_unix_ms(void *arg)
{
    return ((struct world *)arg)->unix_ms;
}

static void world_kick(void *arg, unsigned hub)
{
    (void)hub;
    ((struct world *)arg)->kicks++;
}

static void no_wake(void *arg)
{
    (void)arg;
}

static struct engine_config world_config(struct world *world)
{
    return (struct engine_config){.options = &world->options,
                                  .store = &world->store.store,
                                  .workers = world->workers,
                                  .inboxes = &world->inboxes,
                                  .clock = &world->clock,
                                  .kick = world_kick,
                                  .kick_arg = world};
}

struct world *world_new(unsigned hubs)
{
    struct world *world = calloc(1, sizeof *world);
    struct engine_config config;

    assert_non_null(world);
    assert_true(password_init());
    world->options.lockout_window_ms = 1800000;
    world->options.password_cost = OPTION_PASSWORD_MIN;
    world->clock = (struct clock){world_monotonic_ms, world_unix_ms, world};
    world->monotonic_ms = 5000;
    world->unix_ms = 1000;
    support_directory_make(world->directory);
    world->store.store.operations = &failing_store_operations;
    world->store.inner = store_sqlite_open(world->directory, OPTION_DURABILITY_NORMAL);
    assert_non_null(world->store.inner);
    world->workers = workers_new(0, WORKER_QUEUE_MAX);
    inboxes_init(&world->inboxes);
    world->hub_count = hubs;
    for (unsigned hub = 0; hub < hubs; hub++)
        assert_int_equal(inboxes_add(&world->inboxes, &world->inbox[hub], no_wake, NULL), hub);
    config = world_config(world);
    world->engine = engine_new(&config);
    assert_non_null(world->engine);
    return world;
}

struct engine *world_load_again(struct world *world)
{
    struct engine_config config = world_config(world);
    struct engine *engine = engine_new(&config);

    assert_non_null(engine);
    return engine;
}

void world_free(struct world *world)
{
    workers_stop(world->workers);
    engine_free(world->engine);
    workers_free(world->workers);
    for (unsigned hub = 0; hub < world->hub_count; hub++)
        inbox_fini(&world->inbox[hub]);
    inboxes_fini(&world->inboxes);
    world->store.store.operations->free(&world->store.store);
    support_directory_remove(world->directory);
    for (size_t i = 0; i < world->client_count; i++)
        buffer_fini(&world->clients[i].transcript);
    if (world->batch != NULL)
        engine_batch_free(world->batch);
    free(world);
}

struct client *world_connect(struct world *world, unsigned hub)
{
    size_t slot = world->client_count++;
    struct client *client = &world->clients[slot];

    assert_true(slot < WORLD_CLIENTS && hub < world->hub_count);
    client->session = (uint64_t)hub << 56 | (uint64_t)slot << 32 | 1;
    client->address.bytes[10] = client->address.bytes[11] = 0xff;
    client->address.bytes[12] = 10;
    client->address.bytes[14] = (uint8_t)(slot >> 8);
    client->address.bytes[15] = (uint8_t)slot;
    return client;
}

struct client *world_login(struct world *world, unsigned hub, const char *name)
{
    struct client *client = world_connect(world, hub);

    if (model_user_named(&world->engine->model, slice_of(name)) == NULL)
        client_send(world, client, CMD_REGISTER, "{\"user\":\"%s\",\"passwd\":\"password of %s\"}", name, name);
    client_send(world, client, CMD_LOGIN, "{\"user\":\"%s\",\"passwd\":\"password of %s\"}", name, name);
    world_run(world);
    assert_int_not_equal(client->user, 0);
    client_take(client);
    return client;
}

/* Requests. */

static struct engine_request *add(struct world *world, struct client *client, enum request_kind kind, uint16_t cmd,
                                  size_t value_count)
{
    struct engine_request *request;

    if (world->batch == NULL)
        world->batch = engine_batch_new();
    assert_non_null(world->batch);
    request = engine_batch_add(world->batch, kind, value_count);
    assert_non_null(request);
    request->session = client->session;
    request->user = client->user;
    request->cmd = cmd;
    request->seq = ++world->seq;
    client->under_way += kind != REQUEST_END;
    return request;
}

static void copy_value(struct arena *arena, struct value *to, const struct value *from)
{
    *to = *from;
    assert_true(arena_copy(arena, from->string, &to->string));
}

void client_send(struct world *world, struct client *client, uint16_t cmd, const char *json, ...)
{
    static char text[REQUEST_PAYLOAD_MAX_BYTES];
    const struct command *command = command_find(cmd);
    struct request parsed;
    struct engine_request *request;
    struct slice address = {(const char *)&client->address, sizeof client->address}, copy;
    va_list arguments;

    /* As a connection does: nothing behind a register, login, logout or passwd is taken up before its answer. */
    if (client->under_way > 0 && command->barrier)
        world_run(world);
    va_start(arguments, json);
    vsnprintf(text, sizeof text, json, arguments);
    va_end(arguments);
    assert_true(request_parse(text, strlen(text), command, &parsed));
    assert_null(parsed.bad_field);
    request = add(world, client, REQUEST_COMMAND, cmd, command->field_count);
    request->command = command;
    assert_true(arena_copy(&world->batch->arena, address, &copy));
    request->address = (const struct peer_address *)copy.bytes;
    for (size_t i = 0; i < command->field_count; i++)
        copy_value(&world->batch->arena, &request->values[i], &parsed.values[i]);
}

void client_send_answered(struct world *world, struct client *client, const char *text)
{
    struct engine_request *request = add(world, client, REQUEST_ANSWERED, CMD_PING, 0);

    assert_true(arena_copy(&world->batch->arena, slice_of(text), &request->reply));
}

void client_end(struct world *world, struct client *client)
{
    world_run(world); /* a hub sends it when nothing of the session is under way */
    add(world, client, REQUEST_END, 0, 0);
}

/* Hubs. */

static struct client *client_of(struct world *world, session_handle session)
{
    size_t slot = session >> 32 & 0xFFFFFF;

    assert_true(slot < world->client_count && world->clients[slot].session == session);
    return &world->clients[slot];
}

static size_t group_at(const struct client *client, uint32_t group)
{
    size_t at = 0;

    while (at < client->group_count && client->groups[at] != group)
        at++;
    return at;
}

static void enter(struct client *client, uint32_t group)
{
    assert_int_equal(group_at(client, group), client->group_count); /* not twice */
    assert_true(client->group_count < WORLD_GROUPS);
    client->groups[client->group_count++] = group;
}

static void leave(struct client *client, uint32_t group)
{
    size_t at = group_at(client, group);

    assert_true(at < client->group_count);
    client->groups[at] = client->groups[--client->group_count];
}

static void write_line(struct client *client, char mark, const char *name, struct slice payload)
{
    char head[64];
    int length = snprintf(head, sizeof head, "%c %s ", mark, name);

    buffer_append(&client->transcript, head, (size_t)length);
    buffer_append(&client->transcript, payload.bytes, payload.length);
    buffer_append(&client->transcript, "\n", 1);
}

static void deliver_to_group(struct world *world, unsigned hub, const struct effect *effect)
{
    size_t delivered = 0;

    for (size_t i = 0; i < world->client_count; i++) {
        struct client *client = &world->clients[i];

        if (session_handle_hub(client->session) != hub || group_at(client, effect->group) == client->group_count)
            continue;
        assert_false(client->ended);
        delivered++;
        if (client->session != effect->session && (effect->user == 0 || client->user != effect->user))
            write_line(client, '*', push_name(effect->cmd), effect->payload);
    }
    assert_int_not_equal(delivered, 0); /* only hubs with a session of a member get one */
}

static void begin_login(struct client *client, const struct effect *effect)
{
    assert_int_equal(client->user, 0);
    client->user = effect->user;
    for (uint32_t i = 0; i < effect->group_count; i++)
        enter(client, effect->groups[i]);
}

static void take_reply(struct client *client, const struct effect *effect)
{
    assert_true(effect->cmd & FRAME_REPLY_BIT);
    assert_int_not_equal(client->under_way, 0);
    client->under_way--;
    write_line(client, '<', command_find(effect->cmd & 0x7FFF)->name, effect->payload);
}

static void dismiss(struct world *world, unsigned hub, uint32_t group)
{
    for (size_t i = 0; i < world->client_count; i++)
        if (session_handle_hub(world->clients[i].session) == hub &&
            group_at(&world->clients[i], group) < world->clients[i].group_count)
            leave(&world->clients[i], group);
}

static void deliver(struct world *world, unsigned hub, const struct effect *effect)
{
    struct client *client = NULL;

    if (effect->kind != EFFECT_PUSH_GROUP && effect->kind != EFFECT_DISMISS) {
        client = client_of(world, effect->session);
        assert_int_equal(session_handle_hub(effect->session), hub);
        assert_false(client->ended);
    }
    switch (effect->kind) {
    case EFFECT_REPLY:
        take_reply(client, effect);
        break;
    case EFFECT_PUSH:
        assert_int_not_equal(client->user, 0);
        write_line(client, '*', push_name(effect->cmd), effect->payload);
        break;
    case EFFECT_PUSH_GROUP:
        deliver_to_group(world, hub, effect);
        break;
    case EFFECT_LOGIN:
        begin_login(client, effect);
        break;
    case EFFECT_LOGOUT:
        client->user = 0;
        client->group_count = 0;
        break;
    case EFFECT_JOIN:
        enter(client, effect->group);
        break;
    case EFFECT_LEAVE:
        leave(client, effect->group);
        break;
    case EFFECT_DISMISS:
        dismiss(world, hub, effect->group);
        break;
    case EFFECT_ENDED:
        client->ended = true;
        client->user = 0;
        client->group_count = 0;
        break;
    }
}

static void deliver_all(struct world *world)
{
    for (unsigned hub = 0; hub < world->hub_count; hub++) {
        struct effects *effects = inbox_take(&world->inbox[hub]), *next;

        for (; effects != NULL; effects = next) {
            next = effects->next;
            for (size_t i = 0; i < effects->count; i++)
                deliver(world, hub, &effects->items[i]);
            effects_free(effects);
        }
    }
}

static bool run_once(struct world *world)
{
    bool more;

    if (world->watch != NULL)
        world->watch(true);
    more = engine_run(world->engine);
    if (world->watch != NULL)
        world->watch(false);
    return more;
}

void world_run_engine(struct world *world)
{
    if (world->batch != NULL)
        engine_submit(world->engine, world->batch);
    world->batch = NULL;
    while (run_once(world))
        deliver_all(world);
    deliver_all(world);
}

void world_run(struct world *world)
{
    bool more;

    do {
        world_run_engine(world);
        more = engine_pending(world->engine);
        while (workers_run_one(world->workers))
            more = true;
    } while (more);
}

const char *client_take(struct client *client)
{
    buffer_append(&client->transcript, "", 1);
    assert_false(client->transcript.failed);
    client->transcript.length = 0;
    return client->transcript.bytes;
}

void world_expect_silence(struct world *world)
{
    for (size_t i = 0; i < world->client_count; i++) {
        assert_string_equal(client_take(&world->clients[i]), "");
        assert_int_equal(world->clients[i].under_way, 0); /* every request had its reply */
    }
}

void world_hush(struct world *world)
{
    for (size_t i = 0; i < world->client_count; i++)
        client_take(&world->clients[i]);
}
