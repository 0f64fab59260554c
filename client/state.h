/* state.h - what the client knows of the chat: who we are, friends, groups, and how far each conversation was shown.
 *
 * Idea.       The numbers of a conversation have no gaps (M-1), and replies and pushes stand in the server's order
 *             (Q-10). So one number a conversation, the last one shown, decides everything: at or below it, a message
 *             was shown; one above it, it is next; beyond, something was missed, and history has it.
 * Invariants. I1  `behind`: history is being asked for what was missed; every message that is pushed meanwhile is in
 *                 the answer, too, and is not shown when it is pushed.
 * Threads.    The main thread.
 * Memory.     A client that has no memory for a name cannot go on: state_conversation() then ends the program.
 */
#ifndef CHAT_STATE_H
#define CHAT_STATE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "client_limits.h"

struct conversation {
    struct conversation *next;
    char peer[PEER_SIZE];   /* "bob" or "#tea" */
    json_int_t last;        /* msg_id of the last message shown; 0: none is known */
    json_int_t last_time;   /* its time; 0: not known. With `last` it tells a new group of the same name */
    json_int_t unread;      /* messages of others that were unread at the login, and not shown yet */
    json_int_t unread_last; /* the newest of them */
    bool want_unread;       /* they are to be shown, before anything that was missed later */
    json_int_t caught_up;   /* shown since it fell behind */
    json_int_t marked;      /* read mark that was asked for */
    bool behind;            /* I1 */
};

struct state {
    char user[NAME_MAX_BYTES + 1]; /* "": nobody; stays while a lost connection comes back */
    bool logged_in;
    json_t *friends; /* name: online */
    json_t *groups;  /* name: title  */
    struct conversation *conversations;
    char chosen[PEER_SIZE]; /* where plain lines go; "": nowhere */
};

void state_init(struct state *state);
void state_fini(struct state *state);

/* Forget everything of the user who was logged in. */
void state_forget(struct state *state);

/* The lists of a login reply (A-3); what was shown of conversations stays. */
void state_logged_in(struct state *state, const json_t *reply);

/* Made when it is new. */
struct conversation *state_conversation(struct state *state, const char *peer);

/* NULL: nothing is known of it. */
struct conversation *state_find(struct state *state, const char *peer);

/* It is no more ours: dismissed, left. */
void state_forget_conversation(struct state *state, const char *peer);

/* Names known, "#" before those of groups, that begin with `prefix`; in byte order. */
json_t *state_names(const struct state *state, const char *prefix);

/* "bob" or "#tea" of an object that has `user` or `group`; what the protocol allows fits (C-1), the rest is cut. */
void peer_of(char peer[PEER_SIZE], const json_t *object);

/* The other way: {"user": "bob"} or {"group": "tea"}. */
json_t *peer_object(const char *peer);

/* String member, "" when there is none. */
const char *string_of(const json_t *object, const char *key);
json_int_t integer_of(const json_t *object, const char *key);

#endif
