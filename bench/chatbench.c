/* chatbench.c - the load generator: the command line, and the order of the steps. bench.h says how it is divided. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "calibrate.h"
#include "mark.h"

/* The workloads by name. Each option after --workload changes what it says. */
static const struct {
    const char *name;
    struct shape shape;
    uint32_t idle;
    uint32_t storm;
} workloads[] = {
    {"fan-100",    {.groups = 1, .members = 100, .senders = SENDERS_ONE, .window = 64},                        0,    0 },
    {"fan-1000",   {.groups = 1, .members = 1000, .senders = SENDERS_ONE, .window = 64},                       0,    0 },
    {"slow",       {.groups = 1, .members = 1000, .senders = SENDERS_ONE, .window = 64, .stalled = 100},       0,    0 },
    {"groups",     {.groups = 100, .members = 10, .senders = SENDERS_IN_TURN, .window = 1},                    0,    0 },
    {"groups-all", {.groups = 100, .members = 10, .senders = SENDERS_ALL, .window = 1},                        0,    0 },
    {"pairs",      {.groups = 100, .members = 2, .is_private = true, .senders = SENDERS_IN_TURN, .window = 1}, 0,    0 },
    {"idle",       {.groups = 100, .members = 2, .is_private = true, .senders = SENDERS_IN_TURN, .window = 1}, 9500, 0 },
    {"storm",      {.groups = 0},                                                                              0,    64},
};

static const char usage[] =
    "usage: chatbench --port N [options]\n"
    "\n"
    "Drives a chat server, checks that each receiver has each message once and in order, and prints one line of JSON.\n"
    "The exit status is 1 when a message was lost, doubled or out of order, or when the run was disturbed.\n"
    "\n"
    "  --workload NAME     fan-100 (default), fan-1000, slow, groups, groups-all, pairs, idle, storm; what follows\n"
    "                      changes it\n"
    "  --groups N --members N --senders one|turn|all --window N\n"
    "  --text-bytes N      64 unless said; at least 13\n"
    "  --stalled N         of each group, members that do not read\n"
    "  --idle N            connections that are logged in and silent\n"
    "  --rate N            messages a second by the clock; latency counts from when a message was to be sent\n"
    "  --seconds S         what is measured, 5; after --warmup S, 1\n"
    "  --messages N        so many instead, and no warm-up\n"
    "\n"
    "  --host ADDRESS      127.0.0.1 unless said\n"
    "  --protocol NAME     chat (default), redis, redis-replies, redis-durable, nats, mqtt, irc, irc-echo\n"
    "  --pid PID           of the server: its CPU time, memory and context switches are in the line\n"
    "  --pin SERVER,OWN    cores for the server (that of --pid) and for the generator\n"
    "  --label NAME        of the server, in the line\n"
    "\n"
    "  --calibrate         print what a send costs on this machine now, in nanoseconds, and nothing else\n";

enum option_name {
    OPTION_WORKLOAD = 256,
    OPTION_GROUPS,
    OPTION_MEMBERS,
    OPTION_SENDERS,
    OPTION_WINDOW,
    OPTION_TEXT_BYTES,
    OPTION_STALLED,
    OPTION_IDLE,
    OPTION_RATE,
    OPTION_SECONDS,
    OPTION_WARMUP,
    OPTION_MESSAGES,
    OPTION_HOST,
    OPTION_PORT,
    OPTION_PROTOCOL,
    OPTION_PID,
    OPTION_PIN,
    OPTION_LABEL,
    OPTION_CALIBRATE,
    OPTION_HELP
};

static const struct option long_options[] = {
    {"workload",         required_argument, NULL, OPTION_WORKLOAD},
    {"groups",              required_argument, NULL, OPTION_GROUPS},
    {"members",                  required_argument, NULL, OPTION_MEMBERS},
    {"senders",required_argument, NULL, OPTION_SENDERS},
    {"window",     required_argument, NULL, OPTION_WINDOW},
    {"text-bytes",          required_argument, NULL, OPTION_TEXT_BYTES},
    {"stalled",              required_argument, NULL, OPTION_STALLED},
    {"idle",                  required_argument, NULL, OPTION_IDLE},
    {"rate",              required_argument, NULL, OPTION_RATE},
    {"seconds",    required_argument, NULL, OPTION_SECONDS},
    {"warmup",           required_argument, NULL, OPTION_WARMUP},
    {"messages",              required_argument, NULL, OPTION_MESSAGES},
    {"host",                  required_argument, NULL, OPTION_HOST},
    {"port",required_argument, NULL, OPTION_PORT},
    {"protocol", required_argument, NULL, OPTION_PROTOCOL},
    {"pid",          required_argument, NULL, OPTION_PID},
    {"pin",              required_argument, NULL, OPTION_PIN},
    {"label",                  required_argument, NULL, OPTION_LABEL},
    {"calibrate",no_argument, NULL, OPTION_CALIBRATE},
    {"help",       no_argument, NULL, OPTION_HELP},
    {0            },
};

static void wrong(const char *what, const char *value)
{
    fprintf(stderr, "chatbench: %s: %s; --help lists the options\n", what, value);
    exit(2);
}

static double number(const char *text, double minimum, double maximum)
{
    char *end;
    double value = strtod(text, &end);

    if (end == text || *end != '\0' || !(value >= minimum && value <= maximum))
        wrong("not a number that is possible here", text);
    return value;
}

static uint32_t count(const char *text)
{
    return (uint32_t)number(text, 0, 1000000);
}

static void set_workload(struct plan *plan, const char *name)
{
    for (size_t i = 0; i < sizeof workloads / sizeof workloads[0]; i++) {
        if (strcmp(workloads[i].name, name) != 0)
            continue;
        plan->workload = workloads[i].name;
        plan->shape = workloads[i].shape;
        plan->shape.text_bytes = 64;
        plan->idle = workloads[i].idle;
        plan->storm = workloads[i].storm;
        return;
    }
    wrong("no such workload", name);
}

static enum senders senders_of(const char *name)
{
    if (strcmp(name, "one") == 0)
        return SENDERS_ONE;
    if (strcmp(name, "turn") == 0)
        return SENDERS_IN_TURN;
    if (strcmp(name, "all") != 0)
        wrong("senders are one, turn or all", name);
    return SENDERS_ALL;
}

static void set_cores(struct plan *plan, const char *text)
{
    if (sscanf(text, "%d,%d", &plan->server_cpu, &plan->own_cpu) != 2)
        wrong("two cores are needed, such as 0,1", text);
}

static void calibrate(void)
{
    double ns = calibrate_send_ns();

    if (ns < 0)
        bench_fail("calibration: %s", strerror(errno));
    printf("%.1f\n", ns);
    exit(0);
}

static void set_shape(struct plan *plan, int option, const char *value)
{
    switch (option) {
    case OPTION_WORKLOAD:
        set_workload(plan, value);
        break;
    case OPTION_GROUPS:
        plan->shape.groups = count(value);
        break;
    case OPTION_MEMBERS:
        plan->shape.members = count(value);
        break;
    case OPTION_SENDERS:
        plan->shape.senders = senders_of(value);
        break;
    case OPTION_WINDOW:
        plan->shape.window = count(value);
        break;
    case OPTION_TEXT_BYTES:
        plan->shape.text_bytes = count(value);
        break;
    case OPTION_STALLED:
        plan->shape.stalled = count(value);
        break;
    case OPTION_IDLE:
        plan->idle = count(value);
        break;
    case OPTION_RATE:
        plan->shape.rate = number(value, 0, 1e9);
        break;
    case OPTION_SECONDS:
        plan->seconds = number(value, 0.01, 86400);
        break;
    case OPTION_WARMUP:
        plan->warmup = number(value, 0, 86400);
        break;
    default:
        plan->messages = (uint64_t)number(value, 1, 1e12);
        break;
    }
}

static void set_subject(struct plan *plan, int option, const char *value)
{
    switch (option) {
    case OPTION_HOST:
        plan->host = value;
        break;
    case OPTION_PORT:
        plan->port = value;
        break;
    case OPTION_PROTOCOL:
        plan->protocol = protocol_find(value);
        if (plan->protocol == NULL)
            wrong("no such protocol", value);
        break;
    case OPTION_PID:
        plan->pid = (pid_t)number(value, 1, 1 << 30);
        break;
    case OPTION_PIN:
        set_cores(plan, value);
        break;
    case OPTION_LABEL:
        plan->label = value;
        break;
    case OPTION_CALIBRATE:
        calibrate();
        break;
    case OPTION_HELP:
        fputs(usage, stdout);
        exit(0);
    default:
        fputs(usage, stderr);
        exit(2);
    }
}

static void check(const struct plan *plan)
{
    const struct shape *shape = &plan->shape;

    if (plan->port == NULL)
        wrong("--port is missing", "where is the server?");
    if (plan->server_cpu >= 0 && plan->pid == 0)
        wrong("--pin needs --pid", "which process is the server?");
    if (plan->storm > 0)
        return;
    if (shape->groups == 0 || shape->window == 0 || shape->members < shape->stalled + 2 || shape->members > 65536)
        wrong("a group needs a window, and two members that read", plan->workload);
    if (shape->is_private && shape->members != 2)
        wrong("a private conversation has two members", plan->workload);
    if (shape->text_bytes < MARK_BYTES || shape->text_bytes > plan->protocol->text_max_bytes)
        wrong("text of a size that cannot be", plan->protocol->name);
}

static void parse(struct plan *plan, int argc, char **argv)
{
    int option;

    *plan = (struct plan){.protocol = &protocol_chat,
                          .host = "127.0.0.1",
                          .label = "server",
                          .seconds = 5,
                          .warmup = 1,
                          .server_cpu = -1,
                          .own_cpu = -1};
    set_workload(plan, "fan-100");
    while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        if (option >= OPTION_WORKLOAD && option <= OPTION_MESSAGES)
            set_shape(plan, option, optarg);
        else
            set_subject(plan, option, optarg);
    }
    check(plan);
}

/* Accounts stay when connections go, so they are no part of what an idle connection takes. */
static void take_in(struct bench *bench)
{
    bench_enter(bench);
    bench_prepare_idle(bench);
    bench_look(bench, &bench->before_idle);
    bench_enter_idle(bench);
    bench_look(bench, &bench->after_idle);
}

int main(int argc, char **argv)
{
    static struct bench bench;
    struct plan plan;
    bool right;

    parse(&plan, argc, argv);
    bench_init(&bench, &plan);
    take_in(&bench);
    if (plan.storm > 0) {
        bench_storm(&bench);
    } else {
        bench_join(&bench);
        bench_measure(&bench);
    }
    right = bench_report(&bench);
    bench_fini(&bench);
    return right ? 0 : 1;
}
