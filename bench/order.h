/* order.h - whether one receiver has each message of one sender once, and in order.
 *
 * Idea.       Numbers begin at 1 and have no gaps, so the usual message is the next one. The 64 last before it are
 *             remembered as bits: a message that comes late is told from one that comes twice.
 * Invariants. I1  next is one more than the largest number that came.
 *             I2  bit i of `came` says whether next - 1 - i came.
 * Threads.    Belongs to whoever owns it.
 */
#ifndef CHAT_BENCH_ORDER_H
#define CHAT_BENCH_ORDER_H

#include <stdbool.h>
#include <stdint.h>

struct order {
    uint32_t next;
    uint32_t received; /* different ones */
    uint64_t came;
};

struct faults {
    uint64_t lost;
    uint64_t doubled;
    uint64_t out_of_order;
};

static inline void order_init(struct order *order)
{
    *order = (struct order){.next = 1};
}

/* A message with a number other than the expected one. True: it is a new one all the same. */
bool order_take_unexpected(struct order *order, uint32_t sequence, struct faults *faults);

/* True: the message is new. What is wrong is counted in `faults`. */
static inline bool order_take(struct order *order, uint32_t sequence, struct faults *faults)
{
    if (__builtin_expect(sequence != order->next, 0))
        return order_take_unexpected(order, sequence, faults);
    order->next++;
    order->received++;
    order->came = order->came << 1 | 1;
    return true;
}

/* When nothing more will come of `sent` messages: those that are missing are lost. */
void order_finish(const struct order *order, uint32_t sent, struct faults *faults);

#endif
