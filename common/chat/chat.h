/* chat.h - the parts put together: engine, store and workers of one server, and what drives them.
 *
 * Idea.       Engine, store and workers are passive. Where the store blocks (SQLite), a thread of the engine's own runs
 *             it: a loop must never wait for a disk. Where it does not (memory), whoever submits runs it at once, under
 *             a lock taken once a batch: the common path then pays for no hop between threads.
 *
 *                      --store sqlite                            --store memory
 *      hub ──submit──▶ queue ──▶ engine's thread      hub ──submit──▶ lock, run, unlock
 *      workers ───────▶ queue ──▶ engine's thread     worker ────────▶ queue, wakes the hub
 *
 * Threads.    chat_new(), chat_start() and chat_free() in main(); the others from any thread.
 */
#ifndef CHAT_CHAT_H
#define CHAT_CHAT_H

#include <stdatomic.h>
#include <stdbool.h>

#include "base/buffer.h"
#include "base/counters.h"
#include "base/options.h"
#include "chat/engine.h"
#include "chat/inbox.h"

struct chat;

/* Open the store and load it; start the threads for passwords, with all signals blocked in them. NULL: the reason was
 * logged (S-3). */
struct chat *chat_new(const struct options *options);

/* Likewise with so many threads for passwords, as chat_new() takes them from the number of cores. With 0 (tests) there is
 * no thread at all: the engine runs where something is submitted, whatever the store, and a password is hashed in
 * chat_run_worker(), the oldest that waits; false: none does. */
struct chat *chat_new_with(const struct options *options, size_t worker_threads);
bool chat_run_worker(struct chat *chat);

/* Start the engine's thread, if it has one, with all signals blocked. After the hubs were made, before there is traffic.
 * False: logged. */
bool chat_start(struct chat *chat);

/* Stop the threads, after everything queued was done; close the store. After the hubs were freed of sessions, before
 * hub_free(). */
void chat_stop(struct chat *chat);
void chat_free(struct chat *chat);

const struct options *chat_options(const struct chat *chat);

/* ---- for hubs ---- */

struct engine *chat_engine(struct chat *chat);

/* Add a hub's inbox and counters, both borrowed; returns the hub's number. Before chat_start(). */
unsigned chat_add_hub(struct chat *chat, struct inbox *inbox, struct counters *counters, void (*wake)(void *arg),
                      void *wake_arg);

/* Hand `batch` to the engine, which owns it from here on, and see to it that the engine runs. */
void chat_submit(struct chat *chat, struct engine_batch *batch);

/* Where the engine has no thread: run what is queued, such as a worker's result, or what the engine had to leave
 * (engine_stuck()). True: that is still there; call this again after HUB_RETRY_MS. Called by a hub's owner. */
bool chat_go_on(struct chat *chat);

/* Count one more open connection; false: --max-connections are open (L-6). chat_leave() counts it off. */
bool chat_admit(struct chat *chat);
void chat_leave(struct chat *chat);

/* The same for connections that were refused and linger. */
bool chat_admit_refused(struct chat *chat);
void chat_leave_refused(struct chat *chat);

/* One more hub has answered all that came before the stop. When the last one has, all are woken to say bye. */
void chat_hub_quiet(struct chat *chat);
bool chat_all_quiet(const struct chat *chat);

/* Append the reply to `stats` (S-7). */
void chat_stats(struct chat *chat, struct buffer *out);

#endif
