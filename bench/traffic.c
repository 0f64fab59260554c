/* traffic.c - see traffic.h. */
#include "traffic.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mark.h"

/* At a rate, what may be in flight: of a source, and of all together. */
enum { FLIGHTS_MIN = 256, FLIGHTS_MAX = 65536, FLIGHTS_IN_ALL = 1 << 20 };

static uint32_t power_of_two(uint32_t at_least)
{
    uint32_t power = 1;

    while (power < at_least)
        power *= 2;
    return power;
}

static uint32_t flights_of_a_source(const struct traffic *traffic)
{
    const struct shape *shape = &traffic->shape;
    uint32_t share = FLIGHTS_IN_ALL / (shape->groups * traffic->source_count);

    if (shape->rate == 0)
        return power_of_two(shape->window);
    if (share < FLIGHTS_MIN)
        return FLIGHTS_MIN;
    return share > FLIGHTS_MAX ? FLIGHTS_MAX : power_of_two(share);
}

static bool init_members(struct traffic *traffic, struct conversation *conversation, struct link *links)
{
    const struct shape *shape = &traffic->shape;

    for (uint32_t place = 0; place < shape->members; place++) {
        struct link *link = &links[place];

        link->conversation = conversation;
        link->place = place;
        link->stalled = place >= shape->members - shape->stalled;
        link->orders = calloc(traffic->source_count, sizeof *link->orders);
        if (link->orders == NULL)
            return false;
        for (uint32_t source = 0; source < traffic->source_count; source++)
            order_init(&link->orders[source]);
        conversation->members[place] = link;
    }
    return true;
}

static bool init_conversation(struct traffic *traffic, uint32_t number, struct link *links)
{
    struct conversation *conversation = &traffic->conversations[number];

    snprintf(conversation->name, sizeof conversation->name, "g%ux%04u", traffic->shape.members, number);
    conversation->members = calloc(traffic->shape.members, sizeof *conversation->members);
    conversation->sources = calloc(traffic->source_count, sizeof *conversation->sources);
    if (conversation->members == NULL || conversation->sources == NULL || !init_members(traffic, conversation, links))
        return false;
    for (uint32_t i = 0; i < traffic->source_count; i++) {
        struct source *source = &conversation->sources[i];

        source->conversation = conversation;
        source->link = conversation->members[i];
        source->flights = calloc(traffic->flights_mask + 1, sizeof *source->flights);
        if (source->flights == NULL)
            return false;
    }
    return true;
}

bool traffic_init(struct traffic *traffic, const struct shape *shape, const struct protocol *protocol,
                  struct link *links)
{
    memset(traffic, 0, sizeof *traffic);
    traffic->shape = *shape;
    traffic->protocol = protocol;
    traffic->source_count = shape->senders == SENDERS_ONE ? 1 : shape->members - shape->stalled;
    traffic->receivers = shape->members - shape->stalled - 1;
    traffic->flights_mask = flights_of_a_source(traffic) - 1;
    traffic->conversations = calloc(shape->groups, sizeof *traffic->conversations);
    traffic->text = malloc(shape->text_bytes);
    if (traffic->conversations == NULL || traffic->text == NULL)
        return false;
    memset(traffic->text, 'x', shape->text_bytes);
    for (uint32_t i = 0; i < shape->groups; i++) {
        if (!init_conversation(traffic, i, links + (size_t)i * shape->members))
            return false;
    }
    return true;
}

static void fini_conversation(struct traffic *traffic, struct conversation *conversation)
{
    for (uint32_t i = 0; conversation->members != NULL && i < traffic->shape.members; i++) {
        if (conversation->members[i] != NULL)
            free(conversation->members[i]->orders);
    }
    for (uint32_t i = 0; conversation->sources != NULL && i < traffic->source_count; i++)
        free(conversation->sources[i].flights);
    free(conversation->members);
    free(conversation->sources);
}

void traffic_fini(struct traffic *traffic)
{
    for (uint32_t i = 0; traffic->conversations != NULL && i < traffic->shape.groups; i++)
        fini_conversation(traffic, &traffic->conversations[i]);
    free(traffic->conversations);
    free(traffic->text);
}

/* ---- sending ---- */

/* I2 */
static void make_due(struct traffic *traffic, struct source *source, uint32_t count)
{
    if (count == 0)
        return;
    if (source->due == 0) {
        source->next_due = NULL;
        if (traffic->due_last == NULL)
            traffic->due_first = source;
        else
            traffic->due_last->next_due = source;
        traffic->due_last = source;
    }
    source->due += count;
}

void traffic_begin(struct traffic *traffic, uint64_t now_ns)
{
    uint32_t first = traffic->shape.senders == SENDERS_ALL ? traffic->source_count : 1;

    traffic->begun_ns = now_ns;
    if (traffic->shape.rate > 0)
        return;
    for (uint32_t i = 0; i < traffic->shape.groups; i++) {
        for (uint32_t k = 0; k < first; k++)
            make_due(traffic, &traffic->conversations[i].sources[k], traffic->shape.window);
    }
}

static struct flight *flight_of(const struct traffic *traffic, struct source *source, uint32_t sequence)
{
    return &source->flights[sequence & traffic->flights_mask];
}

static void send_one(struct traffic *traffic, struct source *source, uint64_t intended_ns)
{
    struct conversation *conversation = source->conversation;
    uint32_t number = (uint32_t)(source - conversation->sources);
    struct flight *flight = flight_of(traffic, source, source->sent + 1);
    struct address to = {slice_of(source->link->name), slice_of(conversation->name), !traffic->shape.is_private};

    if (flight->sequence != 0) {
        traffic->overrun = true;
        return;
    }
    if (traffic->shape.is_private)
        to.name = slice_of(conversation->members[1 - source->link->place]->name);
    source->sent++;
    source->link->sent++;
    traffic->tally.sent++;
    *flight = (struct flight){intended_ns, source->sent, traffic->receivers};
    mark_write(traffic->text, (struct mark){number, source->sent});
    traffic->protocol->send(&source->link->out, &to, (struct slice){traffic->text, traffic->shape.text_bytes});
}

static bool may_send(struct traffic *traffic)
{
    if (traffic->limit != 0 && traffic->tally.sent >= traffic->limit)
        traffic->stopping = true;
    return !traffic->stopping;
}

static void send_landed(struct traffic *traffic, uint64_t now_ns, void (*wrote)(void *arg, struct link *link),
                        void *arg)
{
    struct source *source;

    while ((source = traffic->due_first) != NULL) {
        traffic->due_first = source->next_due;
        if (traffic->due_first == NULL)
            traffic->due_last = NULL;
        for (; source->due > 0 && may_send(traffic); source->due--)
            send_one(traffic, source, now_ns);
        source->due = 0;
        wrote(arg, source->link);
    }
}

/* By the clock, the groups take turns, and in each the sources. */
static struct source *source_of_message(const struct traffic *traffic, uint64_t number)
{
    struct conversation *conversation = &traffic->conversations[number % traffic->shape.groups];

    return &conversation->sources[number / traffic->shape.groups % traffic->source_count];
}

uint64_t traffic_next_ns(const struct traffic *traffic)
{
    if (traffic->shape.rate == 0 || traffic->stopping)
        return UINT64_MAX;
    return traffic->begun_ns + (uint64_t)((double)traffic->scheduled * 1e9 / traffic->shape.rate);
}

/* A message counts from when it was to be sent: one that the generator or the server was too late for is late. */
static void send_scheduled(struct traffic *traffic, uint64_t now_ns, void (*wrote)(void *arg, struct link *link),
                           void *arg)
{
    uint64_t next_ns;

    while ((next_ns = traffic_next_ns(traffic)) <= now_ns && may_send(traffic)) {
        struct source *source = source_of_message(traffic, traffic->scheduled++);

        send_one(traffic, source, next_ns);
        wrote(arg, source->link);
        if (traffic->overrun)
            traffic->stopping = true;
    }
}

void traffic_send(struct traffic *traffic, uint64_t now_ns, void (*wrote)(void *arg, struct link *link), void *arg)
{
    if (traffic->shape.rate > 0)
        send_scheduled(traffic, now_ns, wrote, arg);
    else
        send_landed(traffic, now_ns, wrote, arg);
}

/* ---- receiving ---- */

static void land(struct traffic *traffic, struct source *source, const struct flight *flight, uint64_t now_ns)
{
    struct conversation *conversation = source->conversation;

    histogram_record(&traffic->latency, now_ns > flight->intended_ns ? now_ns - flight->intended_ns : 0);
    traffic->tally.landed++;
    if (traffic->shape.rate > 0 || traffic->stopping)
        return;
    if (traffic->shape.senders == SENDERS_IN_TURN) {
        uint32_t next = (uint32_t)(source - conversation->sources) + 1;

        source = &conversation->sources[next < traffic->source_count ? next : 0];
    }
    make_due(traffic, source, 1);
}

bool traffic_take(struct traffic *traffic, struct link *link, struct slice text, uint64_t now_ns)
{
    struct source *source;
    struct flight *flight;
    struct mark mark;

    if (link->conversation == NULL || !mark_read(text, &mark) || mark.source >= traffic->source_count)
        return false;
    source = &link->conversation->sources[mark.source];
    if (mark.sequence > source->sent || link->stalled)
        return link->stalled;
    if (!order_take(&link->orders[mark.source], mark.sequence, &traffic->faults))
        return true;
    traffic->tally.deliveries++;
    if (source->link == link)
        return traffic->protocol->echoes;
    flight = flight_of(traffic, source, mark.sequence);
    if (flight->sequence == mark.sequence && --flight->missing == 0) {
        flight->sequence = 0;
        land(traffic, source, flight, now_ns);
    }
    return true;
}

void traffic_take_answer(struct traffic *traffic, struct link *link)
{
    link->answers++;
    traffic->tally.answers++;
    if (!traffic->protocol->echoes || traffic->shape.is_private)
        traffic->tally.deliveries++;
}

/* ---- the end ---- */

/* Copies that the members of a conversation should have of a source's messages: the sender's own is its echo. */
static uint32_t expected_of(const struct traffic *traffic, const struct link *link, const struct source *source)
{
    bool own = source->link == link;

    if (link->stalled || (own && (!traffic->protocol->echoes || traffic->shape.is_private)))
        return 0;
    return source->sent;
}

/* The sum over all links and sources, once a turn at the end of a run. */
static uint64_t missing(const struct traffic *traffic, struct faults *faults)
{
    uint64_t sum = 0;

    for (uint32_t i = 0; i < traffic->shape.groups; i++) {
        const struct conversation *conversation = &traffic->conversations[i];

        for (uint32_t k = 0; k < traffic->shape.members; k++) {
            const struct link *link = conversation->members[k];

            for (uint32_t s = 0; s < traffic->source_count; s++) {
                uint32_t expected = expected_of(traffic, link, &conversation->sources[s]);

                if (expected > link->orders[s].received)
                    sum += expected - link->orders[s].received;
                if (faults != NULL)
                    order_finish(&link->orders[s], expected, faults);
            }
        }
    }
    return sum;
}

bool traffic_is_over(const struct traffic *traffic)
{
    if (traffic->protocol->answers && traffic->tally.answers < traffic->tally.sent)
        return false;
    return traffic->tally.landed >= traffic->tally.sent && missing(traffic, NULL) == 0;
}

void traffic_finish(struct traffic *traffic)
{
    (void)missing(traffic, &traffic->faults);
    if (traffic->protocol->answers && traffic->tally.answers < traffic->tally.sent)
        traffic->faults.lost += traffic->tally.sent - traffic->tally.answers;
}
