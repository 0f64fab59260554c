/* hub.h - the chat as one event loop sees it: all that a stage calls.
 *
 * Idea.       Sans I/O. A stage carries bytes between sockets and sessions and asks what to do next; the hub never
 *             touches a descriptor, never blocks and takes no lock of its own. A stage pulls, so the same calls serve a
 *             thread that blocks, a loop that polls and a library's callbacks.
 *
 *      wait ─▶ for each readable connection: recv, session_receive() ─▶ hub_turn()
 *        ▲     (0: session_end(PEER_FINISHED), error: session_end(PEER_GONE))  │
 *        │                                                                     ▼
 *      hub_deadline() ◀─ for each hub_next_changed(): write session_output(), session_sent(), act on session_phase()
 *
 *      A session's phases, and what a stage does in them:
 *
 *      OPEN ─────▶ FLUSH ─────▶ HALF_CLOSE ─────▶ CLOSE        and from each of them ──▶ RESET
 *      read,write  read,write   shutdown(SHUT_WR)  close        SO_LINGER 0, close
 *                  (what is read once; read on,
 *                  is discarded) it is discarded
 *
 *      In FLUSH the last frame (a `bye`, or the last reply after the peer's FIN) is in the output. A peer that has
 *      finished goes from FLUSH to CLOSE; else HALF_CLOSE gives it up to 2 s to read that frame and close (L-9).
 *      Phases only go forward. CLOSE and RESET are the last: the stage closes the descriptor and calls session_free().
 *
 * Invariants. I1  hub_next_changed() reports a session after each change of its phase, of session_wants_read() to true,
 *                 and of its output from nothing to something (or after new output); once, however much changed.
 *             I2  what session_output() gave stays valid and in place until session_sent().
 *             I3  a session belongs to its hub, and the hub to one thread (in 01: to the holder of the stage's mutex).
 * Threads.    The hub's owner, everything here; `wake` is called from any thread.
 * You must    call hub_turn() after the calls of session_receive() and session_end() of a turn: only then requests go
 *             to the engine. You must not touch a session after session_free().
 * Time.       `now_ms` is CLOCK_MONOTONIC in milliseconds, read once a turn.
 */
#ifndef CHAT_HUB_H
#define CHAT_HUB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/counters.h"
#include "chat/chat.h"

struct hub;
struct session;

enum session_phase { SESSION_OPEN, SESSION_FLUSH, SESSION_HALF_CLOSE, SESSION_CLOSE, SESSION_RESET };

enum session_end_cause {
    PEER_FINISHED, /* recv(2) gave 0: the peer sends nothing more, but may still read (L-8) */
    PEER_GONE,     /* an error: nothing can be written any more */
    PEER_DRAINED   /* after hub_drain(): the socket was read until it was empty (L-7); nothing more is read */
};

/* A hub of `chat`; before chat_start(). `wake(arg)` has to bring the owner to hub_turn(): it is called, from any
 * thread, when something was posted while the hub slept (see hub_deadline()). At most HUBS_MAX of them. NULL: logged. */
struct hub *hub_new(struct chat *chat, void (*wake)(void *arg), void *arg);

/* After chat_stop(). Every session was freed. */
void hub_free(struct hub *hub);

/* A session for a connection from `peer`; `connection` is the stage's own, see session_connection(). Past the limit
 * one that only says bye (L-6). NULL: close the descriptor at once (too many of those, or no memory). */
struct session *hub_open(struct hub *hub, const struct sockaddr *peer, void *connection, uint64_t now_ms);

/* The stage has no means to serve this new session (a thread that cannot be made): it is refused as if the server were
 * full. Its bye waits in session_output(). */
void session_refuse(struct session *session);

/* What the stage gave to hub_open(). */
void *session_connection(const struct session *session);

/* Bytes came: take up what may be taken up now, keep the rest. `bytes` is changed (JSON is read in place) and not kept;
 * `length` is at most READ_BUFFER_BYTES. In phases after OPEN they are discarded. */
void session_receive(struct session *session, void *bytes, size_t length, uint64_t now_ms);

/* The peer ended its side, or is gone. Requests that came before a FIN take effect and are answered. */
void session_end(struct session *session, enum session_end_cause cause, uint64_t now_ms);

/* Whether to read from the connection. False while the session holds requests back (L-4). hub_next_changed() reports
 * when it becomes true again. */
bool session_wants_read(const struct session *session);

/* What to write next; empty: nothing. Short pieces are gathered into `scratch`, `gather_bytes` at most. Valid until
 * session_sent(), which must follow before the next session_output() (I2). */
struct slice session_output(struct session *session, char *scratch, size_t gather_bytes);

/* Of what session_output() gave, the system took `length` bytes; short or 0 is no error. Returns whether that was all of
 * it: if not, the system is full. */
bool session_sent(struct session *session, size_t length, uint64_t now_ms);

/* Whether session_output() would give something. */
bool session_has_output(const struct session *session);

enum session_phase session_phase(const struct session *session);

/* The stage lets go, in any phase; the connection is closed. The session's end is told to the engine by itself. */
void session_free(struct session *session);

/* The next session whose phase, output or wish to read changed; each once until it changes again. NULL: none. */
struct session *hub_next_changed(struct hub *hub);

/* Collect what the engine posted, run timers, hand over what was taken up, go on with what was held back. */
void hub_turn(struct hub *hub, uint64_t now_ms);

/* When hub_turn() has to be called at the latest; 0: now; UINT64_MAX: no deadline. The hub counts as asleep from here
 * on, until the next hub_turn(): call it last before waiting, or before unlocking. */
uint64_t hub_deadline(struct hub *hub);

/* Begin to stop (L-7), once. The stage has closed its listener. It goes on as usual, but reads each connection until it
 * is empty, as session_wants_read() allows, and then calls session_end(PEER_DRAINED). */
void hub_drain(struct hub *hub, uint64_t now_ms);

/* Whether every session is freed and forgotten: the loop may end. */
bool hub_drained(const struct hub *hub);

/* The hub's counters; the stage adds read_calls_total, write_calls_total and wakeups_total. */
struct counters *hub_counters(struct hub *hub);

#endif
