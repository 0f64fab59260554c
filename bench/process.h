/* process.h - what a process has used so far, seen from outside; and on which core it runs.
 *
 * Threads.    Any.
 */
#ifndef CHAT_BENCH_PROCESS_H
#define CHAT_BENCH_PROCESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct usage {
    uint64_t cpu_ns;           /* of all threads, also of those that have ended */
    uint64_t workers_cpu_ns;   /* of those that hash passwords: the threads named "worker" */
    uint64_t context_switches; /* of the threads that are there, whether wanted or not */
    uint64_t pss_bytes;        /* memory, with what is shared divided by who shares it (proc(5)) */
};

/* False: there is no such process, or it may not be looked at. */
bool process_usage(pid_t pid, struct usage *usage);

/* All threads that the process has now, and those that they will make, run on `cpu` only. */
bool process_pin(pid_t pid, int cpu);

/* CLOCK_MONOTONIC. */
uint64_t time_ns(void);

/* CPU time of this process. */
uint64_t own_cpu_ns(void);

#endif
