/* support_life.h - one life of a chat: three people register, become friends, talk, read and leave. It is told again and
 *                  again, each time with something failing at another place.
 *
 * Idea.       A life without a fault is written down: each reply, each push, and the whole state before each step. Under
 *             a fault a step may end in one of three ways only:
 *
 *                  its reply is the one that was written down
 *                  server_error, or busy: the state is what it was before the step; the step is tried again
 *                  its connection ends: the state is that of before or of after the step, nothing between; who was cut
 *                  off connects and logs in again, and what was not done is tried again
 *
 *             In the end the state is the one that was written down, nobody got a push that was not, and who was never
 *             cut off got all of them. So no fault is answered wrongly, does half of something, or is felt later.
 */
#ifndef TESTS_UNIT_SUPPORT_LIFE_H
#define TESTS_UNIT_SUPPORT_LIFE_H

#include "support_hub.h"

/* The faults are the test's. */
struct life_faults {
    void (*begin)(void);          /* the chat has started: from here on something may fail */
    void (*heal)(void);           /* an attempt is over: if something failed, all works from here on */
    void (*end)(void);            /* the life is over: nothing fails any more */
    void (*inside)(bool running); /* code of the server runs, or the test's again; NULL: who cares */
};

struct life_outcome {
    unsigned refused; /* attempts that ended with server_error, or busy */
    unsigned cut;     /* connections that ended */
};

/* Tell it without a fault, and write it down. With SQLite, `directory` is where. */
void life_learn(const struct options *options);

/* Tell it with faults. `options` are those of life_learn(), the directory is empty. With SQLite the chat is then started
 * once more, without faults, and has the same state. */
struct life_outcome life_tell(const struct options *options, const struct life_faults *faults);

/* Forget what was written down. */
void life_forget(void);

#endif
