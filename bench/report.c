/* report.c - one line of JSON a run, and what is wrong in words.
 *
 * A key is always there, so that a table can be made of lines; what was not measured is null.
 */
#include "bench.h"

#include <inttypes.h>
#include <stdio.h>

static const char *separator;

static void key(const char *name)
{
    printf("%s\"%s\": ", separator, name);
    separator = ", ";
}

static void put_text(const char *name, const char *text)
{
    key(name);
    printf("\"%s\"", text);
}

static void put_count(const char *name, uint64_t count)
{
    key(name);
    printf("%" PRIu64, count);
}

/* Divided by nothing is not known. */
static void put_ratio(const char *name, double amount, double by, int digits)
{
    key(name);
    if (by > 0)
        printf("%.*f", digits, amount / by);
    else
        fputs("null", stdout);
}

static void put_plan(const struct plan *plan)
{
    static const char *const senders[] = {[SENDERS_ONE] = "one", [SENDERS_IN_TURN] = "turn", [SENDERS_ALL] = "all"};

    put_text("server", plan->label);
    put_text("protocol", plan->protocol->name);
    put_text("workload", plan->workload);
    put_count("groups", plan->storm > 0 ? 0 : plan->shape.groups);
    put_count("members", plan->storm > 0 ? 0 : plan->shape.members);
    put_text("senders", senders[plan->shape.senders]);
    put_count("window", plan->shape.window);
    put_count("text_bytes", plan->shape.text_bytes);
    put_count("stalled", plan->shape.stalled);
    put_ratio("rate", plan->shape.rate, 1, 1);
    put_count("idle", plan->idle);
}

static double seconds(uint64_t ns)
{
    return (double)ns / 1e9;
}

static void put_rates(const struct bench *bench)
{
    const struct look *first = &bench->first;
    const struct look *last = &bench->last;
    double wall = seconds(last->time_ns - first->time_ns);
    double cpu = seconds(last->server.cpu_ns - first->server.cpu_ns);
    double messages = (double)(last->tally.landed - first->tally.landed);
    double deliveries = (double)(last->tally.deliveries - first->tally.deliveries);

    put_ratio("seconds", wall, 1, 3);
    put_ratio("server_cpu_seconds", cpu, bench->plan.pid != 0 ? 1 : 0, 6);
    put_ratio("generator_utilisation", seconds(last->own_cpu_ns - first->own_cpu_ns), wall, 3);
    put_ratio("messages", messages, 1, 0);
    put_ratio("deliveries", deliveries, 1, 0);
    put_ratio("deliveries_per_cpu_second", deliveries, cpu, 0);
    put_ratio("messages_per_cpu_second", messages, cpu, 0);
    put_ratio("deliveries_per_second", deliveries, wall, 0);
    put_ratio("messages_per_second", messages, wall, 0);
    put_ratio("context_switches_per_message", (double)(last->server.context_switches - first->server.context_switches),
              bench->plan.pid != 0 ? messages : 0, 4);
    put_ratio("pss_bytes", (double)last->server.pss_bytes, bench->plan.pid != 0 ? 1 : 0, 0);
    put_ratio("logins_per_second", (double)bench->logins, bench->plan.storm > 0 ? wall : 0, 0);
    put_ratio("logins_per_cpu_second", (double)bench->logins, bench->plan.storm > 0 ? cpu : 0, 0);
}

static void put_latency(const struct histogram *latency)
{
    double known = latency->count > 0 ? 1000 : 0;

    put_ratio("latency_p50_us", (double)histogram_quantile(latency, 0.5), known, 1);
    put_ratio("latency_p90_us", (double)histogram_quantile(latency, 0.9), known, 1);
    put_ratio("latency_p99_us", (double)histogram_quantile(latency, 0.99), known, 1);
    put_ratio("latency_p999_us", (double)histogram_quantile(latency, 0.999), known, 1);
    put_ratio("latency_max_us", (double)latency->max, known, 1);
}

/* What the server counted, from before the first message to after the last. */
static void put_stats(const struct stats_difference *stats)
{
    const struct stats *before = &stats->before;
    const struct stats *after = &stats->after;
    double messages = stats->known ? (double)(after->messages_total - before->messages_total) : 0;
    double deliveries = messages + (double)(after->deliveries_total - before->deliveries_total);

    put_ratio("reads_per_message", (double)(after->read_calls_total - before->read_calls_total), messages, 4);
    put_ratio("writes_per_message", (double)(after->write_calls_total - before->write_calls_total), messages, 4);
    put_ratio("writes_per_delivery", (double)(after->write_calls_total - before->write_calls_total),
              stats->known ? deliveries : 0, 5);
    put_ratio("wakeups_per_message", (double)(after->wakeups_total - before->wakeups_total), messages, 4);
    put_ratio("messages_per_commit", messages, (double)(after->store_commits_total - before->store_commits_total), 2);
    put_ratio("bytes_per_write", (double)(after->bytes_out_total - before->bytes_out_total),
              (double)(after->write_calls_total - before->write_calls_total), 1);
    put_ratio("bytes_per_delivery", (double)(after->bytes_out_total - before->bytes_out_total),
              stats->known ? deliveries : 0, 1);
    put_ratio("slow_consumers", (double)(after->slow_consumers_total - before->slow_consumers_total),
              stats->known ? 1 : 0, 0);
}

/* What the idle connections took: memory, and time and CPU to log them in, but for the hashing of passwords. */
static void put_idle(const struct bench *bench)
{
    const struct look *before = &bench->before_idle;
    const struct look *after = &bench->after_idle;
    const double count = bench->plan.pid != 0 ? bench->plan.idle : 0;
    double cpu_ns = (double)(after->server.cpu_ns - before->server.cpu_ns) -
                    (double)(after->server.workers_cpu_ns - before->server.workers_cpu_ns);

    put_ratio("idle_bytes_each", (double)after->server.pss_bytes - (double)before->server.pss_bytes, count, 0);
    put_ratio("idle_cpu_us_each", cpu_ns / 1000, count, 2);
    put_ratio("idle_time_us_each", (double)(after->time_ns - before->time_ns) / 1000, bench->plan.idle, 2);
}

static bool put_faults(const struct bench *bench)
{
    const struct faults *faults = &bench->traffic.faults;

    put_count("lost", faults->lost);
    put_count("doubled", faults->doubled);
    put_count("out_of_order", faults->out_of_order);
    put_count("overrun", bench->traffic.overrun);
    if (faults->lost + faults->doubled + faults->out_of_order == 0)
        return true;
    fprintf(stderr, "chatbench: %s: %" PRIu64 " lost, %" PRIu64 " doubled, %" PRIu64 " out of order\n",
            bench->plan.label, faults->lost, faults->doubled, faults->out_of_order);
    return false;
}

bool bench_report(const struct bench *bench)
{
    bool right;

    separator = "";
    putchar('{');
    put_plan(&bench->plan);
    put_rates(bench);
    put_latency(&bench->traffic.latency);
    put_stats(&bench->stats);
    put_idle(bench);
    right = put_faults(bench);
    puts("}");
    return right;
}
