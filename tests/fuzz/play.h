/* play.h - a story as it goes on: an input, a server, its clients, and what they send. */
#ifndef TESTS_FUZZ_PLAY_H
#define TESTS_FUZZ_PLAY_H

#include "view.h"

enum { PEERS_MAX = 24 };

struct play {
    const uint8_t *input;
    size_t input_length;

    struct stage *stage;
    struct story story;
    struct view views[PEERS_MAX];
    struct buffer pending[PEERS_MAX]; /* sent, and still on its way: parts of frames arrive by themselves */
    bool held[PEERS_MAX];             /* what is sent is held on its way */
    size_t count;
    size_t text_bytes; /* of all texts so far */
    uint32_t seq;
    struct buffer scratch;
};

/* The next byte of the input, below `bound`; 0 behind its end. */
unsigned take(struct play *play, unsigned bound);

/* The next bytes of the input; how many, it says itself. */
struct slice take_bytes(struct play *play, unsigned length_max);

/* Bytes of what a client sends next; nothing after its FIN. */
void send_bytes(struct play *play, size_t peer, const void *bytes, size_t length);

/* So much of what is on its way arrives. */
void deliver(struct play *play, size_t peer, size_t length);

/* A request with fields that mean something, most of the time. */
void send_command(struct play *play, size_t peer, const struct command *command);

/* Register and log in. */
void send_login(struct play *play, size_t peer);

/* Many messages at once. */
void send_burst(struct play *play, size_t peer);

/* Ask for what is newest in every conversation, and for all lists: from here on, the view knows what must come. */
void send_probe(struct play *play, size_t peer);

/* A whole frame whose payload is the input's. */
void send_payload(struct play *play, size_t peer);

#endif
