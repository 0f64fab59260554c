/* storm.c - connections that log in and go, as many as can be done in the time. */
#include "bench.h"

#include <errno.h>
#include <string.h>

static bool visit_storm(void *arg, struct link *link, enum unit_kind kind, const struct unit *unit)
{
    (void)arg;
    (void)unit;
    if (kind == UNIT_ANSWER && link->awaited > 0)
        link->awaited--;
    return true;
}

/* The one that is through goes, and comes again from another address. */
static void come_again(struct bench *bench, struct link *link)
{
    link_close(link);
    if (!link_open(link, &bench->target, (uint32_t)bench->logins))
        bench_fail("cannot connect: %s", strerror(errno));
    link->awaited = bench->plan.protocol->enter(&link->out, slice_of(link->name));
    bench_wrote(bench, link);
}

static void storm_until(struct bench *bench, uint64_t until_ns, const char *what)
{
    uint64_t began_ns = bench->now_ns;

    while (bench->now_ns < until_ns) {
        for (uint32_t i = 0; i < bench->talking; i++) {
            if (bench->links[i].awaited > 0)
                continue;
            bench->logins++;
            come_again(bench, &bench->links[i]);
        }
        bench_flush(bench);
        bench_turn(bench, bench->now_ns + TICK_NS);
        bench_progress(what, (double)(bench->now_ns - began_ns) / (double)(until_ns - began_ns));
    }
}

void bench_storm(struct bench *bench)
{
    bench->visit = visit_storm;
    bench->now_ns = time_ns();
    storm_until(bench, bench->now_ns + (uint64_t)(bench->plan.warmup * 1e9), "warming up");
    bench->logins = 0;
    bench_look(bench, &bench->first);
    storm_until(bench, bench->now_ns + (uint64_t)(bench->plan.seconds * 1e9), "measuring");
    bench_look(bench, &bench->last);
    bench_progress_end();
}
