/* client.h - the parts of the client, and what they ask of each other.
 *
 *      terminal or script ---line---> commands ---request---> connection ---> server
 *             ^                                                   |
 *             |                 messages, accounts, pushes <------+  replies and pushes
 *             +------- screen <-------+
 *
 * Idea.       One thread and one loop, client_turn(): poll(2) over the socket, the signals and, when somebody waits
 *             for it, the input. Whoever waits for something (a line, a password, a reply that a script needs) turns
 *             the loop until it is there.
 * Invariants. I1  handlers of replies and pushes never turn the loop; only the input side does.
 *             I2  what a script's line comes to is in `result` when the line is done (client_busy() is false).
 * Threads.    The main thread is the only one.
 */
#ifndef CHAT_CLIENT_H
#define CHAT_CLIENT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "connection.h"
#include "screen.h"
#include "secret.h"
#include "state.h"
#include "unsent.h"

enum { STATUS_SUCCESS = 0, STATUS_COMMAND_FAILED = 1, STATUS_USAGE = 2, STATUS_NO_CONNECTION = 3 };

struct script;

/* A /history under way: pages are collected until there are enough. */
struct history {
    char peer[PEER_SIZE];
    json_int_t wanted;
    json_t *messages; /* oldest first; NULL: none is under way */
};

struct client {
    struct connection *connection;
    struct screen *screen;
    struct script *script; /* NULL: somebody sits at a terminal */
    struct state state;
    struct unsent unsent;
    struct secrets *secrets;
    uint64_t resume_ms; /* when to go on with what the server refused for a while; UINT64_MAX: nothing */
    uint64_t lost_ms;   /* since when requests cannot be sent; 0: they can */
    bool lost_said;     /* that the connection is lost: once, not at each attempt */
    struct history history;
    unsigned refusals; /* of the message under way, in a row */
    bool catching_up;  /* a request for what was missed is under way */
    bool marking;      /* a read mark is under way */
    bool restoring;    /* the login under way restores a session */
    char result[32];   /* of the last command; "": none yet */
    int signals;       /* signalfd(2); -1: a script, which signals end as they end everything */
    uint64_t retry_limit_ms;
    bool quit;
    int status;
};

/* ---- client.c: the loop ---- */

#define CLIENT_NAME "chat 1.0"

/* What connects to there when client_wait_ready() is called. False: no memory. The strings are borrowed. */
bool client_connect(struct client *client, const char *host, const char *port);

/* Requests would be served: connected, and if a session is to be restored, it is. */
bool client_is_ready(const struct client *client);

/* One turn: wait until something happens, at most until `until_ms`; -1: `input_fd` is of no interest.
 * CLIENT_INPUT: the input can be read; CLIENT_INTERRUPTED: SIGINT came; CLIENT_ENDED: it is time to quit. */
enum client_turn { CLIENT_TURNED, CLIENT_INPUT, CLIENT_INTERRUPTED, CLIENT_ENDED };
enum client_turn client_turn(struct client *client, int input_fd, uint64_t until_ms);

/* Turn the loop until requests can be sent, connecting if need be. False: they cannot, and it was said why. */
bool client_wait_ready(struct client *client);

/* Something that a script's line asked for is not over. */
bool client_busy(const struct client *client);

/* Forget the user, the password and what was shown. */
void client_forget_user(struct client *client);

/* Too long without a connection for a script to wait on. */
bool client_gave_up(const struct client *client);

/* Send a request in the foreground; says so when it cannot be sent. */
void client_request(struct client *client, uint16_t cmd, json_t *request, reply_handler handler);

/* The command failed here, before it was sent: say why. `result` is what /expect may expect. */
void client_fail(struct client *client, const char *result, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Note the reply's result. True: success or offline; else it is said what the server says. */
bool client_succeeded(struct client *client, const json_t *reply);

/* ---- accounts.c: logging in ---- */

void accounts_login(struct client *client, const char *user, const char *password);
void accounts_restore(struct client *client); /* with the password that is kept */

/* Ask the user, or take what was given. False: there is none; it was said. */
bool accounts_password(struct client *client, const char *question, const char *given, char password[SECRET_SIZE]);

/* ---- messages.c: sending, showing, catching up ---- */

void messages_send(struct client *client, const char *peer, const char *text);

/* Go on with what waits: unsent messages, conversations that are behind, the read mark. */
void messages_resume(struct client *client);

/* A private_chat_recv or group_chat_recv. */
void messages_pushed(struct client *client, const json_t *message);

/* What was unread at the login. `again`: the session was restored, and this was missed by somebody who looks. */
void messages_unread(struct client *client, const json_t *unread, bool again);

void messages_choose(struct client *client, const char *peer);
void messages_history(struct client *client, const char *peer, json_int_t count);
void messages_read(struct client *client, const char *peer);

/* The connection is lost: nothing is under way any more. */
void messages_lost(struct client *client);

/* ---- pushes.c ---- */

void pushes_take(struct client *client, uint16_t cmd, json_t *payload);

/* ---- commands.c ---- */

void commands_run(struct client *client, const char *line);
json_t *commands_complete(struct client *client, const char *before);

/* ---- script.c: lines without a terminal ---- */

/* Lines from `fd`. `comments`: a line that begins with '#' is one. A line that fails ends the script, or (`keep_going`)
 * only its success. NULL: no memory. */
struct script *script_new(int fd, bool comments, bool keep_going);
void script_free(struct script *script);

/* Run each line to its end, until there are no more; sets `status`. */
void script_run(struct client *client);

/* An event that /wait may wait for, with a text that it may name. Nothing without a script. */
void script_event(struct client *client, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
