/* thread_limit.c - see thread_limit.h. */
#include "thread_limit.h"

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "base/log.h"

#define THREADS_BESIDES UINT64_C(64) /* of the server, and of whatever else its user runs */

static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* The number in a file of proc(5); UINT64_MAX when it cannot be read. */
static uint64_t read_number(const char *path)
{
    FILE *file = fopen(path, "re");
    unsigned long long number = 0;
    int found;

    if (file == NULL)
        return UINT64_MAX;
    found = fscanf(file, "%llu", &number);
    fclose(file);
    return found == 1 ? number : UINT64_MAX;
}

/* What cgroups(7), version 2, allows: where containers and systemd set it. "max" is no number, and no limit. */
static uint64_t threads_of_group(void)
{
    char line[512] = "", path[600];
    FILE *file = fopen("/proc/self/cgroup", "re");

    if (file == NULL)
        return UINT64_MAX;
    while (fgets(line, sizeof line, file) != NULL && strncmp(line, "0::", 3) != 0)
        line[0] = '\0';
    fclose(file);
    line[strcspn(line, "\n")] = '\0';
    if (line[0] == '\0')
        return UINT64_MAX;
    snprintf(path, sizeof path, "/sys/fs/cgroup%s/pids.max", line + 3);
    return read_number(path);
}

static uint64_t threads_allowed(void)
{
    uint64_t threads = smaller(read_number("/proc/sys/kernel/threads-max"), read_number("/proc/sys/kernel/pid_max"));
    struct rlimit limit;

    /* A thread's stack and its guard page are two maps. */
    threads = smaller(threads, read_number("/proc/sys/vm/max_map_count") / 2);
    threads = smaller(threads, threads_of_group());
    if (getrlimit(RLIMIT_NPROC, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
        threads = smaller(threads, limit.rlim_cur);
    return threads;
}

void lower_connections_to_threads(struct options *options, unsigned per_client)
{
    uint64_t threads = threads_allowed();
    uint64_t clients = (threads > 2 * THREADS_BESIDES ? threads - THREADS_BESIDES : THREADS_BESIDES) / per_client;

    if (options->max_connections_given || options->max_connections <= clients)
        return;
    options->max_connections = (size_t)clients;
    log_warn("--max-connections is %zu here: a client takes %u threads", options->max_connections, per_client);
}
