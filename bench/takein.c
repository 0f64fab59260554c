/* takein.c - connections, logins and groups: what is needed before anybody talks.
 *
 * Idea.       A step is done by each link of a range, by a limited number of them at a time (protocol.h): a server may
 *             refuse more passwords at once than it can check. A step ends when all are through it, so a group is there before
 *             anybody joins it.
 */
#include "bench.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>

#define PATIENCE_NS UINT64_C(60000000000)

/* Append what the link has to say in this step; the number of answers. */
typedef unsigned step_function(struct bench *bench, struct link *link);

struct progress {
    uint32_t done;
    uint32_t under_way;
};

static struct progress progress;

/* step_prepare_other(): the first talking link asks for the account of this one, the second for that of the next. */
static uint32_t accounts_from;

static void step_is_done(void)
{
    progress.done++;
    progress.under_way--;
}

/* What talks already while others come in: events of groups, which are no answers. */
static bool visit_step(void *arg, struct link *link, enum unit_kind kind, const struct unit *unit)
{
    (void)arg;
    (void)unit;
    if (kind == UNIT_ANSWER && link->awaited > 0 && --link->awaited == 0)
        step_is_done();
    return true;
}

static void begin_step(struct bench *bench, struct link *link, step_function *step)
{
    progress.under_way++;
    link->awaited = step(bench, link);
    bench_wrote(bench, link);
    if (link->awaited == 0)
        step_is_done();
}

static void do_step(struct bench *bench, uint32_t first, uint32_t count, step_function *step, const char *what)
{
    uint32_t next = 0;
    uint32_t seen = 0;
    uint64_t moved_ns = time_ns();

    progress = (struct progress){0};
    bench->visit = visit_step;
    while (progress.done < count) {
        while (next < count && progress.under_way < bench->plan.protocol->at_once)
            begin_step(bench, &bench->links[first + next++], step);
        bench_flush(bench);
        if (progress.under_way > 0)
            bench_turn(bench, time_ns() + TICK_NS);
        bench_progress(what, (double)progress.done / count);
        if (progress.done != seen)
            moved_ns = time_ns();
        else if (time_ns() - moved_ns > PATIENCE_NS)
            bench_fail("%s: no answer", what);
        seen = progress.done;
    }
}

static void open_link(struct bench *bench, struct link *link)
{
    if (!link_open(link, &bench->target, (uint32_t)(link - bench->links)))
        bench_fail("cannot connect: %s", strerror(errno));
}

static unsigned step_enter_first(struct bench *bench, struct link *link)
{
    open_link(bench, link);
    return bench->plan.protocol->prepare(&link->out, slice_of(link->name)) +
           bench->plan.protocol->enter(&link->out, slice_of(link->name));
}

static unsigned step_prepare_other(struct bench *bench, struct link *link)
{
    const struct link *other = &bench->links[accounts_from + (link - bench->links)];

    return bench->plan.protocol->prepare(&link->out, slice_of(other->name));
}

static unsigned step_enter(struct bench *bench, struct link *link)
{
    open_link(bench, link);
    return bench->plan.protocol->enter(&link->out, slice_of(link->name));
}

static unsigned step_create(struct bench *bench, struct link *link)
{
    return bench->plan.protocol->create(&link->out, slice_of(link->conversation->name));
}

static unsigned step_join(struct bench *bench, struct link *link)
{
    return bench->plan.protocol->join(&link->out, slice_of(link->conversation->name));
}

static unsigned step_settle(struct bench *bench, struct link *link)
{
    return bench->plan.protocol->settle(&link->out);
}

void bench_enter(struct bench *bench)
{
    do_step(bench, 0, bench->talking, step_enter_first, "logging in");
}

void bench_prepare_idle(struct bench *bench)
{
    for (accounts_from = bench->talking; accounts_from < bench->link_count; accounts_from += bench->talking) {
        uint32_t rest = bench->link_count - accounts_from;

        do_step(bench, 0, rest < bench->talking ? rest : bench->talking, step_prepare_other, "accounts");
    }
}

void bench_enter_idle(struct bench *bench)
{
    do_step(bench, bench->talking, bench->plan.idle, step_enter, "idle");
}

static void stop_reading(struct bench *bench)
{
    for (uint32_t i = 0; i < bench->talking; i++) {
        if (bench->links[i].stalled)
            (void)epoll_ctl(bench->target.epoll, EPOLL_CTL_DEL, bench->links[i].fd, NULL);
    }
}

void bench_join(struct bench *bench)
{
    const struct shape *shape = &bench->plan.shape;

    if (!shape->is_private) {
        for (uint32_t i = 0; i < shape->groups; i++)
            do_step(bench, i * shape->members, 1, step_create, "groups");
        do_step(bench, 0, bench->talking, step_join, "members");
    }
    do_step(bench, 0, bench->link_count, step_settle, "settle");
    stop_reading(bench);
}
