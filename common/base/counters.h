/* counters.h - what a server did so far (S-7): one set a hub, added up when somebody asks.
 *
 * Threads.    Any thread may add and read. The adds are relaxed: a counter orders nothing.
 */
#ifndef CHAT_COUNTERS_H
#define CHAT_COUNTERS_H

#include <stdatomic.h>
#include <stdint.h>

/* name, in the order of S-7; those that end in _total only grow. */
#define COUNTERS_EACH(COUNTER)     \
    COUNTER(connections)           \
    COUNTER(sessions)              \
    COUNTER(accepted_total)        \
    COUNTER(requests_total)        \
    COUNTER(messages_total)        \
    COUNTER(deliveries_total)      \
    COUNTER(bytes_in_total)        \
    COUNTER(bytes_out_total)       \
    COUNTER(read_calls_total)      \
    COUNTER(write_calls_total)     \
    COUNTER(wakeups_total)         \
    COUNTER(slow_consumers_total)  \
    COUNTER(protocol_errors_total) \
    COUNTER(store_commits_total)   \
    COUNTER(store_queue)

struct counters {
#define COUNTERS_FIELD(name) atomic_uint_least64_t name;
    COUNTERS_EACH(COUNTERS_FIELD)
#undef COUNTERS_FIELD
};

#define COUNTER_ADD(counters, name, amount) \
    ((void)atomic_fetch_add_explicit(&(counters)->name, (uint64_t)(amount), memory_order_relaxed))
#define COUNTER_SUBTRACT(counters, name, amount) \
    ((void)atomic_fetch_sub_explicit(&(counters)->name, (uint64_t)(amount), memory_order_relaxed))
#define COUNTER_READ(counters, name) atomic_load_explicit(&(counters)->name, memory_order_relaxed)

/* `sum` += `counters`, each. */
void counters_add(struct counters *sum, const struct counters *counters);

#endif
