/* histogram.c - see histogram.h. */
#include "histogram.h"

#include <stddef.h>
#include <string.h>

/* The first 64 places are the values 0 to 63; each power of two from 64 on has 64 more. */
static size_t place_of(uint64_t value)
{
    unsigned shift;
    size_t place;

    if (value < HISTOGRAM_STEPS)
        return value;
    shift = 63u - (unsigned)__builtin_clzll(value) - HISTOGRAM_STEP_BITS;
    place = ((size_t)shift << HISTOGRAM_STEP_BITS) + (value >> shift);
    return place < HISTOGRAM_SIZE ? place : HISTOGRAM_SIZE - 1;
}

/* The largest value that has this place. */
static uint64_t last_value_of(size_t place)
{
    unsigned shift;

    if (place < HISTOGRAM_STEPS)
        return place;
    shift = (unsigned)(place >> HISTOGRAM_STEP_BITS) - 1;
    return ((uint64_t)(HISTOGRAM_STEPS + place % HISTOGRAM_STEPS + 1) << shift) - 1;
}

void histogram_clear(struct histogram *histogram)
{
    memset(histogram, 0, sizeof *histogram);
}

void histogram_record(struct histogram *histogram, uint64_t value)
{
    histogram->count++;
    histogram->counts[place_of(value)]++;
    if (value > histogram->max)
        histogram->max = value;
}

uint64_t histogram_quantile(const struct histogram *histogram, double share)
{
    double wanted = share * (double)histogram->count;
    uint64_t passed = 0;

    for (size_t place = 0; place < HISTOGRAM_SIZE; place++) {
        passed += histogram->counts[place];
        if (passed > 0 && (double)passed >= wanted)
            return last_value_of(place) < histogram->max ? last_value_of(place) : histogram->max;
    }
    return histogram->max;
}
