/* view.h - what a client knows of the chat, from the frames that it sent and got, and whether that can be true.
 *
 * Idea.       No model of the server: which of many requests under way is taken first is the server's choice. But what one
 *             connection is told must be consistent. Replies are snapshots at their place, pushes tell all that changes
 *             after them; so with every frame a view knows a little more, and with every frame the server may
 *             contradict itself:
 *
 *               a reply that says what is newest in a conversation, and a push that is not the one after it (M-1, M-4)
 *               a list of friends or groups that is not what the events made of it (A-3, G-5, P-4)
 *               a reply before the push of a message whose success somebody had seen when the request was sent
 *
 *             Messages carry a number in their text, so what is delivered is known to be what was sent, unchanged, by whom
 *             and to whom (M-7); replies are matched with requests by their order.
 */
#ifndef TESTS_FUZZ_VIEW_H
#define TESTS_FUZZ_VIEW_H

#include <jansson.h>

#include "support_hub.h"

/* Users u0 to u3 and groups g0 and g1 are watched; others may come up, and are not. */
enum { USERS = 4, GROUPS = 2, PAIRS = USERS * USERS, CONVERSATIONS = PAIRS + GROUPS, MESSAGES_MAX = 500 };

/* Of a user, in a view. */
enum friendship { FRIEND_UNKNOWN, FRIEND_NOT, FRIEND_OFFLINE, FRIEND_ONLINE };
enum membership_known { MEMBER_UNKNOWN, MEMBER_NOT, MEMBER };

/* A message that somebody sent: its number in the text is its place in the story. */
struct sent_message {
    const struct peer *sender;
    int conversation;
    char *text;      /* terminated: a JSON string without NUL */
    unsigned copies; /* requests with this text; more than one: nothing can be said of it */
    bool refused, pushed;
    json_int_t msg_id;  /* that the reply said; 0: none so far */
    char user_from[40]; /* as whom; "": not known */
};

/* Of a conversation, in a view. */
struct knowledge {
    json_int_t newest;  /* -1: not known */
    json_int_t time_ms; /* of that one; 0: not known */
    unsigned epoch;     /* counts how often it was forgotten */
};

/* A request whose reply has not come. */
struct expectation {
    uint16_t cmd;
    uint32_t seq;
    json_t *payload; /* NULL: not acceptable */
    /* As of when it was sent; Q-8. */
    json_int_t acknowledged[CONVERSATIONS];
    unsigned epoch[CONVERSATIONS];
    struct expectation *next;
};

struct view {
    struct story *story;
    struct peer *peer;

    struct buffer stream; /* sent and not yet cut into frames */
    bool has_begun;
    bool is_text;
    bool is_broken;
    bool is_gone; /* by an abort, or from the beginning: nothing more can be said */
    enum frame_error error;
    struct expectation *first, **last;

    bool logged_in;
    int user; /* -1: not one of those that are watched */
    char name[40];
    struct knowledge known[CONVERSATIONS];
    enum friendship friends[USERS];
    enum membership_known groups[GROUPS];
    bool bye; /* nothing may follow */
};

/* What is true for all views. */
struct story {
    struct sent_message messages[MESSAGES_MAX];
    unsigned message_count;
    /* The highest number in a reply to success that somebody has seen. */
    json_int_t acknowledged[CONVERSATIONS];
    bool was_dismissed[GROUPS]; /* perhaps: numbers begin again, and what was acknowledged says nothing */
};

void view_init(struct view *view, struct story *story, struct peer *peer);
void view_fini(struct view *view);
void story_fini(struct story *story);

/* The peer is about to send these bytes, behind those before. */
void view_sends(struct view *view, const void *bytes, size_t length);

/* Take what the peer got since the last call. Fails when it cannot be true. */
void view_receives(struct view *view);

/* Nothing is under way in the server, and the peer has taken everything: fails when something is missing. */
void view_is_complete(const struct view *view, bool everything_arrived);

/* The message with this text; NULL: none, or several. */
struct sent_message *story_message(struct story *story, const char *text);

/* "g0": 0; -1: not watched. */
int group_of(const char *name);

#endif
