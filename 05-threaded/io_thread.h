/* io_thread.h - one I/O thread: an event_base, a hub, and the connections that were handed over to it.
 *
 * Idea.       A thread is a server of its own, as 03 is one; it only does not accept. Nothing of a connection is shared:
 *             it belongs to one thread from the hand-over to the close, so there is no lock in here.
 *
 *                 acceptor ── pointers, through a pipe ──▶ thread ──▶ its connections
 *                          ── the pipe's end: stop ──────▶
 *                 engine ──── posts, in the hub's inbox ─▶
 *                          ── an eventfd: look there ────▶
 *
 * Invariants. I1  see hand_over.h.
 *             I2  `load` counts the connections from the hand-over to the close.
 * Threads.    The acceptor calls what stands here; io_thread.c says what the thread itself does.
 */
#ifndef THREADED_IO_THREAD_H
#define THREADED_IO_THREAD_H

#include <stdbool.h>

#include "base/counters.h"
#include "chat/chat.h"
#include "hand_over.h"

enum { IO_THREAD_DESCRIPTORS = 6 }; /* epoll, eventfd, the pipe's two, and two that libevent keeps for signals */

struct io_thread;

/* A thread with its hub of `chat`; before chat_start(). `room(arg)` is called in the thread whenever it has closed a
 * descriptor or emptied its pipe somewhat. NULL: logged. */
struct io_thread *io_thread_new(struct chat *chat, void (*room)(void *arg), void *arg);

/* Begin to run. Signals: as they are blocked in the caller. False: logged. */
bool io_thread_start(struct io_thread *thread);

/* Connections in the thread and on their way to it. */
unsigned io_thread_load(const struct io_thread *thread);

/* Pass `accepted` on. False: the pipe is full, and it is still the caller's. */
bool io_thread_hand_over(struct io_thread *thread, struct accepted *accepted);

/* Nothing more will be handed over: the thread takes what is in the pipe, then stops (L-7). */
void io_thread_stop(struct io_thread *thread);

/* Wait until the thread has closed its last connection. */
void io_thread_join(struct io_thread *thread);

/* After chat_stop(): until then its hub may be woken. */
void io_thread_free(struct io_thread *thread);

struct counters *io_thread_counters(struct io_thread *thread);

#endif
