#include "base/counters.h"

void counters_add(struct counters *sum, const struct counters *counters)
{
#define ADD(name) COUNTER_ADD(sum, name, COUNTER_READ(counters, name));
    COUNTERS_EACH(ADD)
#undef ADD
}
