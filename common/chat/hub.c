/* hub.c - the chat as one event loop sees it: sessions, turns, deadlines, the stop. See hub.h and hub_internal.h. */
#include "chat/hub.h"

#include <assert.h>
#include <stdlib.h>

#include "base/log.h"
#include "chat/hub_internal.h"

enum { TURN_ROUNDS_MAX = 16, SLOTS_FIRST = 64, SLOTS_MAX = 1 << 24 };

#define SESSION_OF(entry, member) ((struct session *)(void *)((char *)(entry)-offsetof(struct session, member)))

/* ---- making and unmaking ---- */

static void init_deadlines(struct hub *hub)
{
    deadline_list_init(&hub->idle, hub->options->idle_timeout_ms);
    deadline_list_init(&hub->heartbeat, hub->options->heartbeat_ms);
    deadline_list_init(&hub->frame, hub->options->frame_timeout_ms);
    deadline_list_init(&hub->stall, hub->options->idle_timeout_ms);
    deadline_list_init(&hub->login, hub->options->login_timeout_ms);
    deadline_list_init(&hub->slow, SLOW_CONSUMER_FLUSH_MS);
    deadline_list_init(&hub->linger, LINGER_MS);
}

struct hub *hub_new(struct chat *chat, void (*wake)(void *arg), void *arg)
{
    struct hub *hub = calloc(1, sizeof *hub);

    if (hub == NULL || !hash_index_init(&hub->groups)) {
        log_error("no memory for a hub");
        free(hub);
        return NULL;
    }
    hub->chat = chat;
    hub->options = chat_options(chat);
    hub->engine = chat_engine(chat);
    hub->number = chat_add_hub(chat, &hub->inbox, &hub->counters, wake, arg);
    block_writer_init(&hub->pushes);
    block_writer_init(&hub->replies);
    buffer_init(&hub->scratch);
    init_deadlines(hub);
    return hub;
}

void hub_free(struct hub *hub)
{
    for (uint32_t i = 0; i < hub->slot_count; i++) {
        if (hub->slots[i].session != NULL) {
            session_fini(hub->slots[i].session);
            free(hub->slots[i].session);
        }
    }
    free(hub->slots);
    hub_groups_fini(hub);
    hash_index_fini(&hub->groups);
    while (hub->collected != NULL) {
        struct effects *next = hub->collected->next;

        effects_free(hub->collected);
        hub->collected = next;
    }
    inbox_fini(&hub->inbox);
    if (hub->batch != NULL)
        engine_batch_free(hub->batch);
    block_writer_fini(&hub->pushes);
    block_writer_fini(&hub->replies);
    buffer_fini(&hub->scratch);
    free(hub);
}

struct counters *hub_counters(struct hub *hub)
{
    return &hub->counters;
}

/* ---- slots ---- */

static bool grow_slots(struct hub *hub)
{
    uint32_t count = hub->slot_count == 0 ? SLOTS_FIRST : 2 * hub->slot_count;
    struct hub_slot *slots;

    if (count > SLOTS_MAX)
        return false;
    slots = realloc(hub->slots, count * sizeof *slots);
    if (slots == NULL)
        return false;
    for (uint32_t i = hub->slot_count; i < count; i++)
        slots[i] = (struct hub_slot){.generation = 1, .next_free = i + 1 < count ? i + 2 : 0};
    hub->first_free = hub->slot_count + 1;
    hub->slots = slots;
    hub->slot_count = count;
    return true;
}

static session_handle handle_of(const struct hub *hub, uint32_t slot)
{
    return (uint64_t)hub->number << 56 | (uint64_t)slot << 32 | hub->slots[slot].generation;
}

static struct session *session_new(struct hub *hub)
{
    struct session *session;
    uint32_t slot;

    if (hub->first_free == 0 && !grow_slots(hub))
        return NULL;
    session = calloc(1, sizeof *session);
    if (session == NULL)
        return NULL;
    slot = hub->first_free - 1;
    hub->first_free = hub->slots[slot].next_free;
    hub->slots[slot].session = session;
    hub->live++;
    session->handle = handle_of(hub, slot);
    return session;
}

struct session *hub_find(const struct hub *hub, session_handle handle)
{
    uint32_t slot = (uint32_t)(handle >> 32) & (SLOTS_MAX - 1);

    if (slot >= hub->slot_count || hub->slots[slot].generation != (uint32_t)handle)
        return NULL;
    return hub->slots[slot].session;
}

void hub_forget(struct hub *hub, struct session *session)
{
    uint32_t index = (uint32_t)(session->handle >> 32) & (SLOTS_MAX - 1);
    struct hub_slot *slot = &hub->slots[index];

    if (session->in_changed || session->in_ready)
        return; /* who takes it out of the list calls session_update() */
    assert(session->freed && session->under_way == 0);
    hub_leave_groups(session);
    session_fini(session);
    free(session);
    slot->session = NULL;
    slot->generation++;
    slot->next_free = hub->first_free;
    hub->first_free = index + 1;
    hub->live--;
}

struct session *hub_open(struct hub *hub, const struct sockaddr *peer, void *connection, uint64_t now_ms)
{
    struct session *session;
    bool refused;

    hub->now_ms = now_ms;
    COUNTER_ADD(&hub->counters, accepted_total, 1);
    refused = hub->draining || !chat_admit(hub->chat);
    if (refused && (hub->draining || !chat_admit_refused(hub->chat)))
        return NULL;
    session = session_new(hub);
    if (session == NULL) {
        (refused ? chat_leave_refused : chat_leave)(hub->chat);
        return NULL;
    }
    COUNTER_ADD(&hub->counters, connections, 1);
    session->refused = refused;
    session_init(session, hub, peer, connection, now_ms);
    if (refused)
        session_close(session, REASON_SERVER_FULL);
    return session;
}

/* ---- lists ---- */

void hub_report(struct hub *hub, struct session *session)
{
    if (session->in_changed || session->freed)
        return;
    session->in_changed = true;
    session->next_changed = NULL;
    if (hub->changed_last == NULL)
        hub->changed_first = session;
    else
        hub->changed_last->next_changed = session;
    hub->changed_last = session;
}

struct session *hub_next_changed(struct hub *hub)
{
    struct session *session;

    while ((session = hub->changed_first) != NULL) {
        hub->changed_first = session->next_changed;
        if (hub->changed_first == NULL)
            hub->changed_last = NULL;
        session->in_changed = false;
        if (!session->freed)
            return session;
        session_update(session);
    }
    return NULL;
}

void hub_ready(struct hub *hub, struct session *session)
{
    if (session->in_ready)
        return;
    session->in_ready = true;
    session->next_ready = NULL;
    if (hub->ready_last == NULL)
        hub->ready_first = session;
    else
        hub->ready_last->next_ready = session;
    hub->ready_last = session;
}

/* Let the sessions that are ready now go on; those that become ready by it come next time. */
static void go_on_ready(struct hub *hub)
{
    struct session *session = hub->ready_first;

    hub->ready_first = hub->ready_last = NULL;
    while (session != NULL) {
        struct session *next = session->next_ready;

        session->in_ready = false;
        session_go_on(session);
        session = next;
    }
}

/* ---- requests on their way to the engine ---- */

bool hub_may_take_up(struct hub *hub)
{
    if (hub->collected != NULL)
        return false;
    if (engine_accepting(hub->engine))
        return true;
    hub->retry = true;
    return false;
}

struct engine_batch *hub_batch(struct hub *hub)
{
    if (hub->batch != NULL && hub->batch->arena.used_bytes > HUB_BATCH_MAX_BYTES)
        hub_submit(hub);
    if (hub->batch == NULL)
        hub->batch = engine_batch_new();
    return hub->batch;
}

void hub_submit(struct hub *hub)
{
    struct engine_batch *batch = hub->batch;

    hub->batch = NULL;
    if (batch == NULL)
        return;
    if (batch->count == 0)
        engine_batch_free(batch);
    else
        chat_submit(hub->chat, batch);
}

/* ---- deadlines ---- */

static void expire_frames(struct hub *hub)
{
    struct deadline_entry *entry;

    while ((entry = deadline_list_expire(&hub->frame, hub->now_ms)) != NULL)
        session_close(SESSION_OF(entry, frame), REASON_FRAME_TIMEOUT);
}

/* L-2: not while a login is being checked; if that fails, the reply is followed by the end. */
static void expire_logins(struct hub *hub)
{
    struct deadline_entry *entry;

    while ((entry = deadline_list_expire(&hub->login, hub->now_ms)) != NULL) {
        struct session *session = SESSION_OF(entry, stage);

        if (session->barrier_cmd == CMD_LOGIN)
            session->login_overdue = true;
        else if (session->user == 0)
            session_close(session, REASON_LOGIN_TIMEOUT);
    }
}

static void expire_idle(struct hub *hub)
{
    struct deadline_entry *entry;

    while ((entry = deadline_list_expire(&hub->idle, hub->now_ms)) != NULL)
        session_close(SESSION_OF(entry, idle), REASON_IDLE_TIMEOUT);
}

/* L-1. One that has not read what was sent before needs no further sign of life. */
static void expire_heartbeats(struct hub *hub)
{
    struct deadline_entry *entry;

    while ((entry = deadline_list_expire(&hub->heartbeat, hub->now_ms)) != NULL) {
        struct session *session = SESSION_OF(entry, heartbeat);

        deadline_list_put(&hub->heartbeat, entry, hub->now_ms);
        if (session->outbox.count == 0)
            session_send(session, PUSH_HEARTBEAT, 0, SLICE_LITERAL("{}"), true);
    }
}

static void expire_ends(struct hub *hub)
{
    struct deadline_entry *entry;

    while ((entry = deadline_list_expire(&hub->stall, hub->now_ms)) != NULL)
        if (session_has_output(SESSION_OF(entry, stall)))
            session_reset(SESSION_OF(entry, stall), REASON_STALLED);
    while ((entry = deadline_list_expire(&hub->slow, hub->now_ms)) != NULL)
        session_reset(SESSION_OF(entry, stage), REASON_SLOW_CONSUMER);
    while ((entry = deadline_list_expire(&hub->linger, hub->now_ms)) != NULL)
        session_linger_over(SESSION_OF(entry, stage));
}

static void expire_deadlines(struct hub *hub)
{
    expire_frames(hub); /* before the logins (F-6) */
    expire_logins(hub);
    expire_idle(hub);
    expire_heartbeats(hub);
    expire_ends(hub);
}

static uint64_t earlier(uint64_t a_ms, uint64_t b_ms)
{
    return a_ms < b_ms ? a_ms : b_ms;
}

static uint64_t list_deadline(const struct hub *hub)
{
    const struct deadline_list *const lists[] = {&hub->idle,  &hub->heartbeat, &hub->frame, &hub->stall,
                                                 &hub->login, &hub->slow,      &hub->linger};
    uint64_t due_ms = UINT64_MAX;

    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        due_ms = earlier(due_ms, deadline_list_due_ms(lists[i]));
    return due_ms;
}

/* ---- the stop (L-7) ---- */

static bool all_quiet(const struct hub *hub)
{
    for (uint32_t i = 0; i < hub->slot_count; i++)
        if (hub->slots[i].session != NULL && !session_is_quiet(hub->slots[i].session))
            return false;
    return true;
}

void hub_tell_if_quiet(struct hub *hub)
{
    if (!hub->draining || hub->quiet_told || !all_quiet(hub))
        return;
    hub->quiet_told = true;
    chat_hub_quiet(hub->chat);
}

void hub_drain(struct hub *hub, uint64_t now_ms)
{
    hub->now_ms = now_ms;
    hub->draining = true;
    hub->drain_ms = now_ms;
    engine_drain(hub->engine);
    hub_tell_if_quiet(hub); /* one without sessions may never be turned again */
}

static void say_byes(struct hub *hub)
{
    hub_settle(hub);
    for (uint32_t i = 0; i < hub->slot_count; i++) {
        struct session *session = hub->slots[i].session;

        if (session == NULL || session->phase != SESSION_OPEN)
            continue;
        if (session->reason == REASON_NONE)
            session->reason = REASON_SHUTDOWN;
        session_say_bye(session);
    }
    hub->byes_said = true;
}

static void reset_all(struct hub *hub)
{
    for (uint32_t i = 0; i < hub->slot_count; i++)
        if (hub->slots[i].session != NULL)
            session_reset(hub->slots[i].session, REASON_SHUTDOWN);
}

/* Whether what all hubs have answered has reached the sessions here, too. In this order: a hub that is quiet has posted
 * all of it, but perhaps after this one collected for the last time. */
static bool all_is_delivered(struct hub *hub)
{
    if (!chat_all_quiet(hub->chat))
        return false;
    hub_collect(hub);
    return hub->collected == NULL && !atomic_load_explicit(&hub->inbox.posted, memory_order_acquire);
}

static void drain_step(struct hub *hub)
{
    hub_tell_if_quiet(hub);
    if (!hub->byes_said && (all_is_delivered(hub) || hub->now_ms >= hub->drain_ms + SHUTDOWN_BYE_MS))
        say_byes(hub);
    if (hub->now_ms >= hub->drain_ms + SHUTDOWN_MS)
        reset_all(hub);
}

static uint64_t drain_deadline(const struct hub *hub)
{
    if (hub->now_ms >= hub->drain_ms + SHUTDOWN_MS)
        return UINT64_MAX; /* all is reset */
    return hub->drain_ms + (hub->byes_said ? SHUTDOWN_MS : SHUTDOWN_BYE_MS);
}

bool hub_drained(const struct hub *hub)
{
    /* What the stage has freed may still be at the engine; chat_stop() lets that finish. */
    for (uint32_t i = 0; hub->live > 0 && i < hub->slot_count; i++)
        if (hub->slots[i].session != NULL && !hub->slots[i].session->freed)
            return false;
    return true;
}

/* ---- the turn ---- */

static bool more_to_do(struct hub *hub)
{
    return hub->batch != NULL || (hub->ready_first != NULL && !hub->retry && hub_may_take_up(hub));
}

void hub_turn(struct hub *hub, uint64_t now_ms)
{
    int rounds = 0;

    hub->now_ms = now_ms;
    hub->encoded_bytes = 0;
    inbox_wake_up(&hub->inbox);
    hub->retry = chat_go_on(hub->chat);
    hub_collect(hub);
    expire_deadlines(hub);
    while (more_to_do(hub) && rounds++ < TURN_ROUNDS_MAX) {
        if (hub->collected == NULL)
            go_on_ready(hub);
        hub_submit(hub);
        hub_collect(hub);
    }
    if (hub->draining)
        drain_step(hub);
    hub_submit(hub); /* ends of sessions that the stop brought */
    hub->retry |= chat_go_on(hub->chat);
}

uint64_t hub_deadline(struct hub *hub)
{
    uint64_t due_ms = list_deadline(hub);

    if (hub->collected != NULL || more_to_do(hub) || !inbox_sleep(&hub->inbox))
        return 0;
    if (hub->retry || hub->ready_first != NULL)
        due_ms = earlier(due_ms, hub->now_ms + HUB_RETRY_MS);
    if (hub->draining)
        due_ms = earlier(due_ms, drain_deadline(hub));
    return due_ms;
}
