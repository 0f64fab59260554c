/* bench.h - a run of the generator: take everybody in, let them talk while it is measured, and say what was seen.
 *
 *      chatbench.c   options, and the order of the steps
 *      bench.c       the loop: what is ready is read, what is due is sent
 *      takein.c      connections, logins, groups
 *      measure.c     a run of messages, between two looks at the server
 *      storm.c       connections that come and go
 *      report.c      the line of JSON
 *
 * Threads.    One.
 */
#ifndef CHAT_BENCH_H
#define CHAT_BENCH_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "link.h"
#include "process.h"
#include "protocol.h"
#include "stats.h"
#include "traffic.h"

/* How long the loop waits at most, so that clock and bar are looked at. */
#define TICK_NS UINT64_C(100000000)

struct plan {
    const struct protocol *protocol;
    const char *host;
    const char *port;
    const char *label;    /* of the server, for the report */
    const char *workload; /* its name, or "" */
    pid_t pid;            /* of the server; 0: not known */
    struct shape shape;
    uint32_t idle; /* connections beside those that talk */
    double seconds;
    double warmup;
    uint64_t messages; /* to send; 0: as many as the seconds take */
    uint32_t storm;    /* connections that log in and go at the same time; 0: this is no storm */
    int server_cpu;    /* -1: not pinned */
    int own_cpu;
};

/* What is known at one moment. */
struct look {
    uint64_t time_ns;
    uint64_t own_cpu_ns;
    struct usage server;
    struct tally tally;
};

struct bench {
    struct plan plan;
    struct links_target target;
    struct link *links; /* those that talk, then the idle ones */
    uint32_t talking;
    uint32_t link_count;
    char *read_buffer;
    struct link **dirty;
    uint32_t dirty_count;
    struct traffic traffic;
    link_visitor *visit; /* what a unit means at the moment */
    uint64_t now_ns;
    struct look before_idle, after_idle;
    struct look first, last; /* the measured part */
    struct stats_difference stats;
    uint64_t logins; /* of a storm */
};

/* Say what is wrong, and exit with 1: a run that is disturbed measures nothing. */
void bench_fail(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

void bench_init(struct bench *bench, const struct plan *plan);
void bench_fini(struct bench *bench);

/* `link` has output (`arg` is the bench): it is sent at the end of the turn, in one piece. */
void bench_wrote(void *arg, struct link *link);
void bench_flush(struct bench *bench);

/* Wait until something is ready, at most until `until_ns`, and read it. Each link that was closed by the server, and may
 * not be, ends the run. */
void bench_turn(struct bench *bench, uint64_t until_ns);

void bench_look(struct bench *bench, struct look *look);

/* A bar on a terminal; nothing elsewhere. `done` of 0 to 1. */
void bench_progress(const char *what, double done);
void bench_progress_end(void);

/* takein.c: connect those that talk, with accounts of their own, and log them in. */
void bench_enter(struct bench *bench);

/* takein.c: accounts for the idle ones, which those that talk ask for; then connect them, and log them in. */
void bench_prepare_idle(struct bench *bench);
void bench_enter_idle(struct bench *bench);

/* takein.c: the groups are made and joined, and everybody knows. */
void bench_join(struct bench *bench);

void bench_measure(struct bench *bench);
void bench_storm(struct bench *bench);

/* Print the line. False: something was lost, doubled, or out of order, which was said. */
bool bench_report(const struct bench *bench);

#endif
