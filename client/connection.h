/* connection.h - one connection to the server: the socket, frames, replies to their requests, and coming back.
 *
 *                   connection_open()                        connected
 *      +-----+ ------------------------> +------------+ --------------------> +------+
 *      | OFF |                           | CONNECTING |                       | OPEN |
 *      +-----+ <------------------------ +------------+ <---+                 +------+
 *         ^      no address answers,       |  ^             |                    |
 *         |      and `restore` is false    |  | its delay   |                    | the peer ended, an error, a bye,
 *         |                                v  | is over     |                    | silence, connection_drop()
 *         |                             +---------+         |                    |
 *         |                             | WAITING | <-------|--------------------+
 *         |                             +---------+   `restore`                  |
 *         +----------------------------------------------------------------------+  not `restore`
 *
 * Idea.       The socket is non-blocking; poll(2) in client.c says when to look. Replies come in the order of the
 *             requests: a queue of what was asked tells what a reply answers.
 * Invariants. I1  pending requests exist only while OPEN.
 *             I2  `lost` is called once for each `opened`, and for each connection_open() that led nowhere.
 *             I3  the phase leaves OPEN in lose() alone, and never inside a callback: callbacks may ask for anything,
 *                 connection_drop() included.
 * Threads.    The main thread. connection_open() resolves the name, which may block while the resolver does.
 */
#ifndef CHAT_CONNECTION_H
#define CHAT_CONNECTION_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum connection_phase { CONNECTION_OFF, CONNECTION_CONNECTING, CONNECTION_OPEN, CONNECTION_WAITING };

/* `reply` and `request` are borrowed. */
typedef void (*reply_handler)(void *arg, json_t *reply, json_t *request);

struct connection_events {
    void (*opened)(void *arg);
    void (*lost)(void *arg, const char *why, bool unanswered); /* `unanswered`: foreground requests were */
    void (*pushed)(void *arg, uint16_t cmd, json_t *payload);  /* `payload` is borrowed */
    void *arg;                                                 /* also that of every reply_handler */
};

struct connection;

/* NULL: no memory. The strings are borrowed. */
struct connection *connection_new(const char *host, const char *port, struct connection_events events);
void connection_free(struct connection *connection);

/* Try to connect now, from OFF or WAITING; harmless otherwise. */
void connection_open(struct connection *connection, uint64_t now_ms);

/* End it after the callback that is running, for this reason, as if it had been lost. */
void connection_drop(struct connection *connection, const char *why);

/* A session is to be restored: come back when lost. Else wait for connection_open(). */
void connection_restore(struct connection *connection, bool restore);

/* All is well: the next loss begins with the shortest delay. Not at each connect, or a server that takes and then
 * refuses connections (L-6) would be asked again and again without delay. */
void connection_well(struct connection *connection);

enum connection_phase connection_phase(const struct connection *connection);

/* Milliseconds until the next attempt; 0 unless WAITING. */
uint64_t connection_retry_in(const struct connection *connection, uint64_t now_ms);

/* For poll(2): descriptor (-1: none) and events to wait for; then what poll() returned. */
int connection_fd(const struct connection *connection);
short connection_wants(const struct connection *connection);
void connection_ready(struct connection *connection, short events, uint64_t now_ms);

/* When to call connection_tick() at the latest; UINT64_MAX: never. */
uint64_t connection_deadline(const struct connection *connection);
void connection_tick(struct connection *connection, uint64_t now_ms);

enum request_kind {
    REQUEST_FOREGROUND, /* somebody asked for it, and waits for what comes of it */
    REQUEST_BACKGROUND  /* the client's own: pings, read marks, what was missed  */
};

/* Send a request; `request` is taken over (NULL: {}). `handler` gets the reply; when the connection is lost first, it
 * is not called. False: not OPEN, too much is waiting, or larger than a frame may be. */
bool connection_request(struct connection *connection, enum request_kind kind, uint16_t cmd, json_t *request,
                        reply_handler handler);

/* Foreground requests without a reply. */
size_t connection_foreground(const struct connection *connection);

#endif
