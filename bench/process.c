/* process.c - see process.h. */
#include "process.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { PATH_BYTES = 96, LINE_BYTES = 256 };

static uint64_t read_clock(clockid_t clock)
{
    struct timespec now;

    return clock_gettime(clock, &now) == 0 ? (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec : 0;
}

uint64_t time_ns(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

uint64_t own_cpu_ns(void)
{
    return read_clock(CLOCK_PROCESS_CPUTIME_ID);
}

/* The sum of the numbers behind each of the keys, over the lines of a file; 0: it is not there. */
static uint64_t sum_of(const char *path, const char *key, const char *other_key)
{
    FILE *file = fopen(path, "re");
    char line[LINE_BYTES];
    uint64_t sum = 0;

    if (file == NULL)
        return 0;
    while (fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, key, strlen(key)) == 0 || strncmp(line, other_key, strlen(other_key)) == 0)
            sum += strtoull(strchr(line, ':') + 1, NULL, 10);
    }
    fclose(file);
    return sum;
}

/* The first line of a file, without its end; empty: it is not there. */
static void read_line(const char *path, char *line, int size)
{
    FILE *file = fopen(path, "re");

    line[0] = '\0';
    if (file == NULL)
        return;
    if (fgets(line, size, file) != NULL)
        line[strcspn(line, "\n")] = '\0';
    fclose(file);
}

static void add_thread(pid_t pid, const char *thread, struct usage *usage)
{
    char path[PATH_BYTES];
    char line[LINE_BYTES];

    snprintf(path, sizeof path, "/proc/%d/task/%.16s/status", (int)pid, thread);
    usage->context_switches += sum_of(path, "voluntary_ctxt_switches:", "nonvoluntary_ctxt_switches:");
    snprintf(path, sizeof path, "/proc/%d/task/%.16s/comm", (int)pid, thread);
    read_line(path, line, sizeof line);
    if (strcmp(line, "worker") != 0)
        return;
    snprintf(path, sizeof path, "/proc/%d/task/%.16s/schedstat", (int)pid, thread);
    read_line(path, line, sizeof line);
    usage->workers_cpu_ns += strtoull(line, NULL, 10);
}

/* Call `visit` with the number of each thread, as text. */
static bool each_thread(pid_t pid, void (*visit)(pid_t pid, const char *thread, void *arg), void *arg)
{
    char path[PATH_BYTES];
    struct dirent *entry;
    DIR *tasks;

    snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    tasks = opendir(path);
    if (tasks == NULL)
        return false;
    while ((entry = readdir(tasks)) != NULL) {
        if (entry->d_name[0] != '.')
            visit(pid, entry->d_name, arg);
    }
    closedir(tasks);
    return true;
}

static void visit_usage(pid_t pid, const char *thread, void *arg)
{
    add_thread(pid, thread, arg);
}

bool process_usage(pid_t pid, struct usage *usage)
{
    char path[PATH_BYTES];
    clockid_t clock;

    *usage = (struct usage){0};
    if (clock_getcpuclockid(pid, &clock) != 0 || !each_thread(pid, visit_usage, usage))
        return false;
    usage->cpu_ns = read_clock(clock);
    snprintf(path, sizeof path, "/proc/%d/smaps_rollup", (int)pid);
    usage->pss_bytes = sum_of(path, "Pss:", "Pss:") * 1024;
    return true;
}

struct pinning {
    cpu_set_t cpus;
    bool failed;
};

static void visit_pin(pid_t pid, const char *thread, void *arg)
{
    struct pinning *pinning = arg;

    (void)pid;
    if (sched_setaffinity((pid_t)strtol(thread, NULL, 10), sizeof pinning->cpus, &pinning->cpus) != 0 &&
        errno != ESRCH) /* a thread that has ended meanwhile */
        pinning->failed = true;
}

bool process_pin(pid_t pid, int cpu)
{
    struct pinning pinning = {.failed = false};

    CPU_ZERO(&pinning.cpus);
    CPU_SET((size_t)cpu, &pinning.cpus);
    return each_thread(pid, visit_pin, &pinning) && !pinning.failed;
}
