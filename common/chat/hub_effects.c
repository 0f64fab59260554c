/* hub_effects.c - what the engine posted reaches the sessions: replies, pushes, and who is in which group.
 *
 * Idea.       A fan-out is a walk over the members of a group, and the walk is what it costs, not the bytes: they are
 *             encoded once. So consecutive pushes with one audience are a run. They are encoded one behind the other
 *             into the hub's block, and each member gets the whole of it as one range (outbox.h), in one walk.
 *
 *      effects   G:m1  reply  G:m2  reply  G:m3  reply  G':m4          all from session S, which the pushes leave out
 *      block     [m1][m2][m3] ── run ──▶ each member of G but S         settled when m4 comes
 *      replies   [r1][r2][r3] ──────────▶ S, at once: S is not in the audience, so no order is broken
 *
 *             Whatever is for somebody who may be in the audience settles the run first (M-4).
 * Threads.    The hub's owner.
 */
#include <assert.h>
#include <stdlib.h>

#include "base/log.h"
#include "chat/hub_internal.h"

enum { FIRST_MEMBERS = 4, FIRST_GROUPS = 4 };

/* ---- groups of the hub ---- */

/* Numbers are given one after the other; the multiplication spreads them over the buckets. */
static uint64_t group_hash(uint32_t number)
{
    return number * UINT64_C(0x9E3779B97F4A7C15);
}

static struct hub_group *find_group(const struct hub *hub, uint32_t number)
{
    struct hash_node *node = hash_index_find(&hub->groups, group_hash(number));

    while (node != NULL && HASH_NODE_OWNER(node, struct hub_group, node)->number != number)
        node = hash_index_find_next(node);
    return node != NULL ? HASH_NODE_OWNER(node, struct hub_group, node) : NULL;
}

static struct hub_group *find_or_add_group(struct hub *hub, uint32_t number)
{
    struct hub_group *group = find_group(hub, number);

    if (group != NULL)
        return group;
    group = calloc(1, sizeof *group);
    if (group == NULL)
        return NULL;
    group->number = number;
    hash_index_add(&hub->groups, &group->node, group_hash(number));
    return group;
}

static void free_if_empty(struct hub *hub, struct hub_group *group)
{
    if (group->count > 0)
        return;
    hash_index_remove(&hub->groups, &group->node);
    free(group->members);
    free(group);
}

/* Room for one more of `size` bytes; NULL: no memory, and `items` is as it was. */
static void *grow(void *items, uint32_t count, uint32_t *capacity, size_t size, uint32_t first)
{
    uint32_t wanted = *capacity == 0 ? first : 2 * *capacity;

    if (count < *capacity)
        return items;
    items = realloc(items, wanted * size);
    if (items != NULL)
        *capacity = wanted;
    return items;
}

static bool add_member(struct hub_group *group, struct session *session)
{
    struct hub_group_member *members =
        grow(group->members, group->count, &group->capacity, sizeof *members, FIRST_MEMBERS);
    struct session_group *groups;

    if (members == NULL)
        return false;
    group->members = members;
    groups = grow(session->groups, session->group_count, &session->group_capacity, sizeof *groups, FIRST_GROUPS);
    if (groups == NULL)
        return false;
    session->groups = groups;
    groups[session->group_count] = (struct session_group){group, group->count};
    group->members[group->count++] = (struct hub_group_member){session, session->group_count++};
    return true;
}

static bool join_group(struct session *session, uint32_t number)
{
    struct hub_group *group = find_or_add_group(session->hub, number);

    if (group == NULL)
        return false;
    if (add_member(group, session))
        return true;
    free_if_empty(session->hub, group);
    return false;
}

/* The last of each array takes the free place; its counterpart is told where it went. */
static void remove_link(struct session *session, uint32_t link)
{
    struct hub_group *group = session->groups[link].group;
    uint32_t position = session->groups[link].position;
    struct hub_group_member moved_member = group->members[--group->count];
    struct session_group moved_group = session->groups[--session->group_count];

    group->members[position] = moved_member;
    moved_member.session->groups[moved_member.link].position = position;
    if (link < session->group_count) {
        /* Read anew: the first move may have changed it. */
        if (moved_group.group == group && moved_group.position == group->count)
            moved_group.position = position;
        session->groups[link] = moved_group;
        moved_group.group->members[moved_group.position].link = link;
    }
    free_if_empty(session->hub, group);
}

static void leave_group(struct session *session, uint32_t number)
{
    for (uint32_t link = 0; link < session->group_count; link++) {
        if (session->groups[link].group->number == number) {
            remove_link(session, link);
            return;
        }
    }
}

void hub_leave_groups(struct session *session)
{
    while (session->group_count > 0)
        remove_link(session, session->group_count - 1);
    free(session->groups);
    session->groups = NULL;
    session->group_capacity = 0;
}

static void dismiss_group(struct hub *hub, uint32_t number)
{
    struct hub_group *group = find_group(hub, number);

    for (uint32_t left = group != NULL ? group->count : 0; left > 0; left--)
        remove_link(group->members[left - 1].session, group->members[left - 1].link);
}

void hub_groups_fini(struct hub *hub)
{
    struct hash_node *node;

    while ((node = hash_index_walk(&hub->groups, NULL)) != NULL) {
        struct hub_group *group = HASH_NODE_OWNER(node, struct hub_group, node);

        group->count = 0;
        free_if_empty(hub, group);
    }
}

/* ---- runs ---- */

void hub_settle(struct hub *hub)
{
    struct hub_run run = hub->run;
    uint64_t deliveries = 0;

    if (run.group == NULL)
        return;
    hub->run.group = NULL; /* first: an append may end a session, which settles */
    for (uint32_t i = 0; i < run.group->count; i++) {
        struct session *session = run.group->members[i].session;

        if (session->handle == run.except || (run.except_user != 0 && session->user == run.except_user) ||
            session->phase != SESSION_OPEN)
            continue;
        session_append(session, run.block, run.offset, run.length, true);
        deliveries += run.messages;
    }
    block_release(run.block);
    COUNTER_ADD(&hub->counters, deliveries_total, deliveries);
}

static bool continues_run(const struct hub_run *run, const struct effect *effect, const struct block *block)
{
    return run->group != NULL && run->group->number == effect->group && run->except == effect->session &&
           run->except_user == effect->user && run->block == block && run->offset + run->length == block->used;
}

static void start_run(struct hub *hub, const struct effect *effect, struct hub_group *group)
{
    struct block *block = hub->pushes.block;

    hub->run = (struct hub_run){.group = group,
                                .except = effect->session,
                                .except_user = effect->user,
                                .block = block_hold(block),
                                .offset = block->used};
}

/* The push reaches nobody: there is no memory for it. Whoever should have had it must not believe that all is well. */
static void reset_members(struct hub *hub, struct hub_group *group)
{
    hub_settle(hub);
    for (uint32_t i = 0; i < group->count; i++)
        session_reset(group->members[i].session, REASON_NO_MEMORY);
}

static void push_to_group(struct hub *hub, const struct effect *effect)
{
    struct hub_group *group = find_group(hub, effect->group);
    size_t length = effect->payload.length + FRAME_OVERHEAD_BYTES;
    char *room;

    if (group == NULL)
        return;
    room = block_writer_room(&hub->pushes, length);
    if (room == NULL) {
        reset_members(hub, group);
        return;
    }
    if (!continues_run(&hub->run, effect, hub->pushes.block)) {
        hub_settle(hub);
        start_run(hub, effect, group);
    }
    frame_encode(room, effect->cmd, 0, effect->payload);
    block_writer_commit(&hub->pushes, length);
    hub->run.length += (uint32_t)length;
    hub->run.messages += effect->cmd == PUSH_GROUP_CHAT_RECV;
    hub->encoded_bytes += length;
}

/* ---- single sessions ---- */

static void push_to_session(struct hub *hub, const struct effect *effect)
{
    struct session *session = hub_find(hub, effect->session);

    hub_settle(hub);
    if (session == NULL || session->phase != SESSION_OPEN)
        return;
    session_send(session, effect->cmd, 0, effect->payload, true);
    COUNTER_ADD(&hub->counters, deliveries_total, effect->cmd == PUSH_PRIVATE_CHAT_RECV);
}

static void reply(struct hub *hub, const struct effect *effect)
{
    struct session *session = hub_find(hub, effect->session);

    assert(session != NULL && session->under_way > 0); /* it is kept until its last reply */
    if (session->handle != hub->run.except)
        hub_settle(hub);
    session->under_way--;
    session->under_way_bytes -= session_reply_charge(effect->cmd);
    session->barrier_cmd = 0; /* if there was one, it was alone */
    if (session->phase == SESSION_OPEN)
        session_send(session, effect->cmd | FRAME_REPLY_BIT, effect->seq, effect->payload, false);
    if (session->login_overdue && session->user == 0)
        session_close(session, REASON_LOGIN_TIMEOUT);
    session->login_overdue = false;
    session_update(session);
}

static void log_in(struct hub *hub, const struct effect *effect)
{
    struct session *session = hub_find(hub, effect->session);

    assert(session != NULL && session->user == 0);
    session->user = effect->user;
    session->user_name = effect->payload;
    COUNTER_ADD(&hub->counters, sessions, 1);
    for (uint32_t i = 0; i < effect->group_count; i++)
        if (!join_group(session, effect->groups[i]))
            session_reset(session, REASON_NO_MEMORY);
    if (session->phase != SESSION_OPEN)
        return;
    deadline_list_drop(&session->stage);
    deadline_list_put(&hub->heartbeat, &session->heartbeat, hub->now_ms);
}

static void log_out(struct hub *hub, struct session *session)
{
    COUNTER_SUBTRACT(&hub->counters, sessions, 1);
    hub_leave_groups(session);
    session->user = 0;
    session->user_name = (struct slice){NULL, 0};
    if (session->phase != SESSION_OPEN)
        return;
    deadline_list_drop(&session->heartbeat);
    session_start_timeout(session, &hub->login, &session->stage);
}

static void change_membership(struct hub *hub, const struct effect *effect)
{
    struct session *session = hub_find(hub, effect->session);

    if (session == NULL)
        return;
    if (effect->kind == EFFECT_LEAVE)
        leave_group(session, effect->group);
    else if (!join_group(session, effect->group))
        session_reset(session, REASON_NO_MEMORY);
}

static void change_index(struct hub *hub, const struct effect *effect)
{
    struct session *session;

    hub_settle(hub); /* the run was for the audience as it is now */
    switch (effect->kind) {
    case EFFECT_LOGIN:
        log_in(hub, effect);
        break;
    case EFFECT_LOGOUT:
    case EFFECT_ENDED:
        session = hub_find(hub, effect->session);
        log_out(hub, session);
        session_update(session);
        break;
    case EFFECT_DISMISS:
        dismiss_group(hub, effect->group);
        break;
    default:
        change_membership(hub, effect);
        break;
    }
}

static void deliver(struct hub *hub, const struct effect *effect)
{
    switch (effect->kind) {
    case EFFECT_REPLY:
        reply(hub, effect);
        break;
    case EFFECT_PUSH:
        push_to_session(hub, effect);
        break;
    case EFFECT_PUSH_GROUP:
        push_to_group(hub, effect);
        break;
    default:
        change_index(hub, effect);
        break;
    }
}

/* ---- collecting ---- */

static void next_list(struct hub *hub)
{
    struct effects *done = hub->collected;

    hub->collected = done->next;
    hub->collected_next = 0;
    effects_free(done);
}

bool hub_collect(struct hub *hub)
{
    bool any = false;

    while (hub->encoded_bytes < HUB_TURN_ENCODE_BYTES) {
        if (hub->collected == NULL && (hub->collected = inbox_take(&hub->inbox)) == NULL)
            break;
        any = true;
        if (hub->collected_next < hub->collected->count)
            deliver(hub, &hub->collected->items[hub->collected_next++]);
        else
            next_list(hub);
    }
    if (any)
        hub_settle(hub);
    return any;
}
