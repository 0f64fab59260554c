/* measure.c - a run of messages: begin, warm up, measure, stop, and wait for what is in flight. */
#include "bench.h"

#include <unistd.h>

/* After so long without any message a run is stuck: what is in flight then is lost. */
#define STUCK_NS UINT64_C(5000000000)

/* When something came last. */
struct movement {
    uint64_t count;
    uint64_t time_ns;
};

static bool visit_traffic(void *arg, struct link *link, enum unit_kind kind, const struct unit *unit)
{
    struct bench *bench = arg;

    if (kind == UNIT_ANSWER)
        traffic_take_answer(&bench->traffic, link);
    else if (!traffic_take(&bench->traffic, link, unit->text, bench->now_ns))
        bench_fail("%s got a text that nobody sent it: %.*s", link->name, (int)unit->text.length, unit->text.bytes);
    return true;
}

static bool is_stuck(const struct bench *bench, struct movement *movement)
{
    uint64_t count = bench->traffic.tally.deliveries + bench->traffic.tally.answers;

    if (count != movement->count)
        *movement = (struct movement){count, bench->now_ns};
    return bench->now_ns - movement->time_ns > STUCK_NS;
}

/* Let them talk until `until_ns`, or until there is nothing more to send. */
static void talk(struct bench *bench, uint64_t until_ns, const char *what)
{
    struct traffic *traffic = &bench->traffic;
    struct movement movement = {0, bench->now_ns};
    uint64_t began_ns = bench->now_ns;
    uint64_t tick_ns = 0;

    while (bench->now_ns < until_ns && !traffic->stopping && !is_stuck(bench, &movement)) {
        uint64_t next_ns = traffic_next_ns(traffic);

        bench_turn(bench, next_ns < tick_ns ? next_ns : tick_ns);
        traffic_send(traffic, bench->now_ns, bench_wrote, bench);
        bench_flush(bench);
        if (bench->now_ns < tick_ns)
            continue;
        tick_ns = bench->now_ns + TICK_NS;
        bench_progress(what, until_ns == UINT64_MAX
                                 ? (double)traffic->tally.sent / (double)traffic->limit
                                 : (double)(bench->now_ns - began_ns) / (double)(until_ns - began_ns));
    }
}

/* What is in flight lands, or does not. */
static void drain(struct bench *bench)
{
    struct movement movement = {0, bench->now_ns};

    bench->traffic.stopping = true;
    while (!traffic_is_over(&bench->traffic) && !is_stuck(bench, &movement)) {
        bench_turn(bench, bench->now_ns + TICK_NS);
        bench_flush(bench);
    }
}

static void begin(struct bench *bench)
{
    struct traffic *traffic = &bench->traffic;

    bench->visit = visit_traffic;
    traffic->limit = bench->plan.messages;
    bench->now_ns = time_ns();
    traffic_begin(traffic, bench->now_ns);
    traffic_send(traffic, bench->now_ns, bench_wrote, bench);
    bench_flush(bench);
}

static uint64_t seconds_from_now(double seconds)
{
    return time_ns() + (uint64_t)(seconds * 1e9);
}

static void measure_seconds(struct bench *bench)
{
    begin(bench);
    talk(bench, seconds_from_now(bench->plan.warmup), "warming up");
    histogram_clear(&bench->traffic.latency);
    bench_look(bench, &bench->first);
    talk(bench, seconds_from_now(bench->plan.seconds), "measuring");
    bench_look(bench, &bench->last);
    drain(bench);
}

static void measure_messages(struct bench *bench)
{
    bench_look(bench, &bench->first);
    begin(bench);
    talk(bench, UINT64_MAX, "measuring");
    drain(bench);
    bench_look(bench, &bench->last);
}

void bench_measure(struct bench *bench)
{
    struct stats_difference *stats = &bench->stats;
    int asking = bench->plan.protocol == &protocol_chat ? stats_open(bench->target.address) : -1;

    stats->known = asking >= 0 && stats_ask(asking, &stats->before);
    if (bench->plan.messages > 0)
        measure_messages(bench);
    else
        measure_seconds(bench);
    stats->known = stats->known && stats_ask(asking, &stats->after);
    if (asking >= 0)
        close(asking);
    traffic_finish(&bench->traffic);
    bench_progress_end();
}
