/* histogram.h - latencies, counted in steps that grow with the value.
 *
 * Idea.       As HdrHistogram has it: a power of two is divided into 64 equal steps, so a value is known to within 1.6 %
 *             whether it is a microsecond or a minute, recording is one increment, and the table never grows.
 * Invariants. I1  values below 64 are exact.   I2  count is the sum of counts.
 * Threads.    Belongs to whoever owns it.
 */
#ifndef CHAT_BENCH_HISTOGRAM_H
#define CHAT_BENCH_HISTOGRAM_H

#include <stdint.h>

enum { HISTOGRAM_STEP_BITS = 6, HISTOGRAM_STEPS = 1 << HISTOGRAM_STEP_BITS };

/* Values of 2^6 to 2^42, which is 73 minutes in nanoseconds; what is larger counts as the largest. */
enum { HISTOGRAM_SIZE = (42 - HISTOGRAM_STEP_BITS + 1) * HISTOGRAM_STEPS };

struct histogram {
    uint64_t count;
    uint64_t max;
    uint64_t counts[HISTOGRAM_SIZE];
};

void histogram_clear(struct histogram *histogram);
void histogram_record(struct histogram *histogram, uint64_t value);

/* The value that `share` (0 to 1) of those recorded do not exceed, rounded up to the end of its step, but never above
 * the largest that was recorded. 0: nothing was recorded. */
uint64_t histogram_quantile(const struct histogram *histogram, double share);

#endif
