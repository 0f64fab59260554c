/* hostile_plan.h - which call of which kind fails, and the counts of what was done; for hostile.c alone.
 *
 * Idea.       Whether the n-th call of a kind fails is a function of seed, kind and n: the same seed does the same to the
 *             same calls. The counts stand in a file that is mapped, so they outlive SIGKILL.
 * Threads.    Any.
 */
#ifndef TESTS_ROBUSTNESS_HOSTILE_PLAN_H
#define TESTS_ROBUSTNESS_HOSTILE_PLAN_H

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Kind of fault, and of how many thousand calls it befalls one, unless HOSTILE says otherwise. */
#define KINDS_EACH(_)      \
    _(recv_eintr, 40)      \
    _(recv_again, 60)      \
    _(recv_short, 150)     \
    _(send_eintr, 40)      \
    _(send_again, 60)      \
    _(send_short, 150)     \
    _(accept_eintr, 40)    \
    _(accept_again, 40)    \
    _(accept_aborted, 40)  \
    _(accept_exhausted, 4) \
    _(wait_eintr, 60)      \
    _(wait_few, 100)       \
    _(read_eintr, 60)      \
    _(read_short, 150)     \
    _(write_eintr, 60)     \
    _(write_again, 60)     \
    _(close_eintr, 60)     \
    _(condition_wakes, 60)

enum kind {
#define KIND_NAME(name, rate) name,
    KINDS_EACH(KIND_NAME)
#undef KIND_NAME
        KIND_COUNT
};

/* One a kind, in the file that HOSTILE_COUNTS names: read by hostile.py. */
struct count {
    char name[24];
    atomic_uint_fast64_t calls, faults;
};

static struct {
    const char *name;
    unsigned rate;
} kinds[KIND_COUNT] = {
#define KIND_ENTRY(name, rate) {#name, rate},
    KINDS_EACH(KIND_ENTRY)
#undef KIND_ENTRY
};

static bool active;
static uint64_t seed;
static atomic_uint_fast64_t numbers[KIND_COUNT]; /* of the calls of this process */
static struct count own_counts[KIND_COUNT];      /* where no file is wanted */
static struct count *counts = own_counts;

/* The function that this file stands before. */
#define REAL(name)                                              \
    ({                                                          \
        static __typeof__(&name) real_;                         \
        if (real_ == NULL)                                      \
            real_ = (__typeof__(&name))dlsym(RTLD_NEXT, #name); \
        real_;                                                  \
    })

static void set_rate(char *setting)
{
    char *value = strchr(setting, '=');

    for (int kind = 0; value != NULL && kind < KIND_COUNT; kind++)
        if (strlen(kinds[kind].name) == (size_t)(value - setting) &&
            strncmp(kinds[kind].name, setting, (size_t)(value - setting)) == 0) {
            kinds[kind].rate = (unsigned)strtoul(value + 1, NULL, 10);
            return;
        }
    fprintf(stderr, "HOSTILE: \"%s\" is no kind=rate\n", setting);
    _exit(2);
}

static void map_counts(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    void *mapped = MAP_FAILED;

    if (fd >= 0 && ftruncate(fd, sizeof own_counts) == 0)
        mapped = mmap(NULL, sizeof own_counts, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (fd >= 0)
        REAL(close)(fd);
    if (mapped == MAP_FAILED) {
        fprintf(stderr, "HOSTILE_COUNTS: cannot use %s\n", path);
        _exit(2);
    }
    counts = mapped;
}

__attribute__((constructor)) static void begin(void)
{
    const char *plan = getenv("HOSTILE"), *path = getenv("HOSTILE_COUNTS");
    char text[512], *rest, *setting;

    if (plan == NULL)
        return;
    snprintf(text, sizeof text, "%s", plan);
    seed = strtoull(text, &rest, 10);
    while ((setting = strsep(&rest, ",")) != NULL)
        if (*setting != '\0')
            set_rate(setting);
    if (path != NULL)
        map_counts(path);
    for (int kind = 0; kind < KIND_COUNT; kind++)
        strcpy(counts[kind].name, kinds[kind].name);
    active = true;
}

/* splitmix64, by which neighbouring numbers give unrelated ones. */
static uint64_t mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
    x = (x ^ x >> 27) * 0x94d049bb133111eb;
    return x ^ x >> 31;
}

/* Whether it is the turn of a call to fail; *random: something to choose by. */
static bool is_due(enum kind kind, uint64_t *random)
{
    uint64_t number;

    *random = 0;
    if (!active)
        return false;
    number = atomic_fetch_add(&numbers[kind], 1);
    atomic_fetch_add(&counts[kind].calls, 1);
    *random = mix(mix(mix(seed) + kind) + number);
    return *random % 1000 < kinds[kind].rate;
}

static void count_fault(enum kind kind)
{
    atomic_fetch_add(&counts[kind].faults, 1);
}

static int fail(enum kind kind, int error)
{
    count_fault(kind);
    errno = error;
    return -1;
}

/* From 1 to below `length`, often little: a part of a frame's head. */
static size_t cut(size_t length, uint64_t random)
{
    size_t most = random >> 40 & 1 && length > 24 ? 24 : length - 1;

    return 1 + (size_t)(random >> 10) % most;
}

#endif
