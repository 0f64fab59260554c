/* order.c - see order.h. */
#include "order.h"

enum { REMEMBERED = 64 };

/* What is between was skipped: it is lost, unless it comes yet, and then out of order. */
static void skip_to(struct order *order, uint32_t sequence)
{
    uint32_t skipped = sequence - order->next + 1;

    order->came = skipped < REMEMBERED ? order->came << skipped : 0;
    order->came |= 1;
    order->next = sequence + 1;
    order->received++;
}

bool order_take_unexpected(struct order *order, uint32_t sequence, struct faults *faults)
{
    uint32_t back;

    if (sequence >= order->next) {
        skip_to(order, sequence);
        return true;
    }
    back = order->next - 1 - sequence;
    if (sequence == 0 || back >= REMEMBERED || (order->came >> back & 1) != 0) {
        faults->doubled++;
        return false;
    }
    order->came |= UINT64_C(1) << back;
    order->received++;
    faults->out_of_order++;
    return true;
}

void order_finish(const struct order *order, uint32_t sent, struct faults *faults)
{
    if (sent > order->received)
        faults->lost += sent - order->received;
}
