/* bench.c - see bench.h: the loop, and what ends a run. */
#include "bench.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

/* A read is as large as what a server sends in one call, and more. */
enum { READ_BYTES = 512 << 10, EVENTS_MAX = 1024, BAR_WIDTH = 40, DESCRIPTORS_BESIDES = 16 };

void bench_fail(const char *format, ...)
{
    va_list arguments;

    bench_progress_end();
    fputs("chatbench: ", stderr);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(1);
}

static struct addrinfo *resolve(const char *host, const char *port)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct addrinfo *address;
    int error = getaddrinfo(host, port, &hints, &address);

    if (error != 0)
        bench_fail("%s:%s: %s", host, port, gai_strerror(error));
    return address;
}

static void raise_descriptor_limit(rlim_t wanted)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted)
        return;
    if (limit.rlim_max < wanted)
        bench_fail("%llu descriptors are needed, and only %llu allowed (ulimit -n)", (unsigned long long)wanted,
                   (unsigned long long)limit.rlim_max);
    limit.rlim_cur = wanted;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
}

static void pin(const struct plan *plan)
{
    if (plan->server_cpu >= 0 && !process_pin(plan->pid, plan->server_cpu))
        bench_fail("cannot pin process %d to core %d", (int)plan->pid, plan->server_cpu);
    if (plan->own_cpu >= 0 && !process_pin(getpid(), plan->own_cpu))
        bench_fail("cannot pin the generator to core %d", plan->own_cpu);
}

void bench_init(struct bench *bench, const struct plan *plan)
{
    memset(bench, 0, sizeof *bench);
    bench->plan = *plan;
    bench->talking = plan->storm > 0 ? plan->storm : plan->shape.groups * plan->shape.members;
    bench->link_count = bench->talking + plan->idle;
    raise_descriptor_limit(bench->link_count + DESCRIPTORS_BESIDES);
    bench->target.address = resolve(plan->host, plan->port);
    bench->target.epoll = epoll_create1(EPOLL_CLOEXEC);
    bench->links = calloc(bench->link_count, sizeof *bench->links);
    bench->dirty = calloc(bench->link_count, sizeof *bench->dirty);
    bench->read_buffer = malloc(READ_BYTES);
    if (bench->target.epoll < 0 || bench->links == NULL || bench->dirty == NULL || bench->read_buffer == NULL)
        bench_fail("%s", strerror(errno));
    for (uint32_t i = 0; i < bench->link_count; i++) {
        bench->links[i].fd = -1;
        snprintf(bench->links[i].name, sizeof bench->links[i].name, "u%06u", i);
    }
    if (plan->storm == 0 && !traffic_init(&bench->traffic, &plan->shape, plan->protocol, bench->links))
        bench_fail("no memory");
    /* By default a wait may take 50 us longer than it was told to (prctl(2)): too coarse for sending by the clock. */
    (void)prctl(PR_SET_TIMERSLACK, 1ul);
    pin(plan);
}

void bench_fini(struct bench *bench)
{
    traffic_fini(&bench->traffic);
    for (uint32_t i = 0; i < bench->link_count; i++)
        link_fini(&bench->links[i]);
    freeaddrinfo(bench->target.address);
    close(bench->target.epoll);
    free(bench->links);
    free(bench->dirty);
    free(bench->read_buffer);
}

static void end_link(const struct bench *bench, struct link *link, enum link_end end)
{
    static const char *const why[] = {
        [LINK_GOES_ON] = "",
        [LINK_CLOSED] = "the server closed the connection",
        [LINK_BROKEN] = "what came is not the protocol",
        [LINK_FAILED] = "the connection failed",
    };

    if (end == LINK_GOES_ON)
        return;
    if (!link->stalled)
        bench_fail("%s of %s: %s%s%s", bench->plan.protocol->name, link->name, why[end], end == LINK_FAILED ? ": " : "",
                   end == LINK_FAILED ? strerror(errno) : "");
    link_close(link);
}

void bench_wrote(void *arg, struct link *link)
{
    struct bench *bench = arg;

    if (link->dirty)
        return;
    link->dirty = true;
    bench->dirty[bench->dirty_count++] = link;
}

void bench_flush(struct bench *bench)
{
    for (uint32_t i = 0; i < bench->dirty_count; i++) {
        struct link *link = bench->dirty[i];

        link->dirty = false;
        if (link->out.failed)
            bench_fail("no memory");
        if (link->fd >= 0 && !link->blocked)
            end_link(bench, link, link_flush(link, &bench->target));
    }
    bench->dirty_count = 0;
}

/* What is the same whatever the bench is doing. */
static bool visit_unit(void *arg, struct link *link, enum unit_kind kind, const struct unit *unit)
{
    struct bench *bench = arg;

    if (kind == UNIT_REFUSED)
        bench_fail("%s of %s: the server says %.*s", bench->plan.protocol->name, link->name, (int)unit->text.length,
                   unit->text.bytes);
    if (kind == UNIT_QUESTION) {
        bench->plan.protocol->reply(&link->out, unit->text);
        bench_wrote(bench, link);
        return true;
    }
    return kind == UNIT_OTHER || bench->visit(bench, link, kind, unit);
}

void bench_turn(struct bench *bench, uint64_t until_ns)
{
    struct epoll_event events[EVENTS_MAX];
    uint64_t wait_ns = until_ns > bench->now_ns ? until_ns - bench->now_ns : 0;
    const struct timespec wait = {(time_t)(wait_ns / 1000000000u), (long)(wait_ns % 1000000000u)};
    int count = epoll_pwait2(bench->target.epoll, events, EVENTS_MAX, &wait, NULL);

    if (count < 0 && errno != EINTR)
        bench_fail("epoll_pwait2: %s", strerror(errno));
    bench->now_ns = time_ns();
    for (int i = 0; i < count; i++) {
        struct link *link = events[i].data.ptr;

        if (link->fd >= 0 && (events[i].events & EPOLLOUT) != 0)
            end_link(bench, link, link_flush(link, &bench->target));
        if (link->fd < 0 || (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) == 0)
            continue;
        bench->now_ns = time_ns();
        end_link(bench, link, link_read(link, bench->plan.protocol, bench->read_buffer, READ_BYTES, visit_unit, bench));
    }
}

void bench_look(struct bench *bench, struct look *look)
{
    if (bench->plan.pid != 0 && !process_usage(bench->plan.pid, &look->server))
        bench_fail("process %d cannot be looked at", (int)bench->plan.pid);
    look->tally = bench->traffic.tally;
    look->own_cpu_ns = own_cpu_ns();
    look->time_ns = time_ns();
}

static bool bar_is_there;

void bench_progress(const char *what, double done)
{
    static const char bar[BAR_WIDTH + 1] = "########################################";
    int filled = (int)(done * BAR_WIDTH);

    if (!isatty(STDERR_FILENO))
        return;
    if (filled > BAR_WIDTH)
        filled = BAR_WIDTH;
    fprintf(stderr, "\r%-12.12s [%.*s%*s]", what, filled, bar, BAR_WIDTH - filled, "");
    bar_is_there = true;
}

void bench_progress_end(void)
{
    if (bar_is_there)
        fputs("\r\033[K", stderr);
    bar_is_there = false;
}
