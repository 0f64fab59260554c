/* stats.h - the counters of a server of this project (`stats`, rule S-7), asked for on a connection of its own.
 *
 * Idea.       It is asked before and after the traffic and blocks meanwhile: what it costs is one request each, and it
 *             does not stand in the loop that is measured.
 * Threads.    The generator's one.
 */
#ifndef CHAT_BENCH_STATS_H
#define CHAT_BENCH_STATS_H

#include <netdb.h>
#include <stdbool.h>
#include <stdint.h>

#define STATS_EACH(COUNTER)      \
    COUNTER(messages_total)      \
    COUNTER(deliveries_total)    \
    COUNTER(read_calls_total)    \
    COUNTER(write_calls_total)   \
    COUNTER(wakeups_total)       \
    COUNTER(store_commits_total) \
    COUNTER(bytes_in_total)      \
    COUNTER(bytes_out_total)     \
    COUNTER(slow_consumers_total)

struct stats {
#define STATS_FIELD(name) uint64_t name;
    STATS_EACH(STATS_FIELD)
#undef STATS_FIELD
};

struct stats_difference {
    bool known;
    struct stats before;
    struct stats after;
};

/* Log in as a user of its own. -1: this server cannot be asked. */
int stats_open(const struct addrinfo *address);

/* False: no answer that can be understood. */
bool stats_ask(int fd, struct stats *stats);

#endif
