/* watch.h - what acceptor and I/O threads both ask of libevent: a base of one's own, and events that stay.
 *
 * Threads.    Each base is its owner's. It has no lock (EVENT_BASE_FLAG_NOLOCK), so nobody else may call anything on it:
 *             who has something to say to the owner writes into a descriptor that the owner watches.
 */
#ifndef THREADED_WATCH_H
#define THREADED_WATCH_H

#include <event2/event.h>

/* A base that tells of edges (EV_FEATURE_ET). NULL: errno tells. Not asked for, edges might be none: where libevent has
 * only select(2) or poll(2), it takes EV_ET and is level-triggered all the same. */
struct event_base *watch_base_new(void);

/* Call back `arg` at each of `events`, until event_free(). NULL: errno tells. */
struct event *watch(struct event_base *base, int fd, short events, event_callback_fn callback, void *arg);

/* event_free(), or nothing where there is none. */
void watch_end(struct event *event);

#endif
