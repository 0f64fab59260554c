/* screen.h - what the user sees and types: lines above, the line being typed below.
 *
 * Idea.       libedit edits the line: history, completion, the user's ~/.editrc. It asks for each character through a
 *             function of ours (EL_GETCFN), and that function turns the client's loop until there is one: so messages
 *             arrive while somebody types, and an arrow key cut in two by the network delays nothing. To show a line,
 *             what is typed is erased, the line is written, and libedit draws what was typed again (EL_REFRESH).
 *             libedit and not GNU readline: the same for this purpose, and its licence (BSD) asks nothing of a program
 *             that is linked with it. Its own interface and not the readline one that it brings: that one reads a
 *             sequence of keys to its end, with the loop standing still.
 *             Without a terminal, lines are written to standard output, and nothing else is done.
 * Invariants. I1  every text goes through text_append_safe(): only literals of this file can move the cursor.
 *             I2  the terminal never echoes: libedit draws what is typed. But for a stop by SIGTSTP, and after
 *                 screen_free(): then it is as it was before us.
 * Threads.    The main thread.
 * You must    not turn the loop from a callback of the loop: it is the loop that libedit waits in.
 */
#ifndef CHAT_SCREEN_H
#define CHAT_SCREEN_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum screen_style { SCREEN_PLAIN, SCREEN_NOTICE, SCREEN_ERROR };

/* Why the loop came back. */
enum screen_event { SCREEN_INPUT, SCREEN_INTERRUPT, SCREEN_END };

struct screen_user {
    enum screen_event (*wait)(void *arg); /* until the terminal has something to read, SIGINT came, or all ends */
    void (*prompt)(void *arg, char *prompt, size_t size);
    json_t *(*complete)(void *arg, const char *before); /* what the last word of `before` may become; an array */
    void *arg;
};

struct screen;

/* `terminal`: edit lines, on standard input and output; else only show. NULL: no memory. */
struct screen *screen_new(bool terminal, bool colour, struct screen_user user);
void screen_free(struct screen *screen);

/* A line from the terminal, without its end; valid until the next call. NULL: the end. */
const char *screen_read_line(struct screen *screen);

/* A line without echo; it enters no history. False: the user gave up (SIGINT, end), or it is longer than `size` holds. */
bool screen_read_secret(struct screen *screen, const char *question, char *secret, size_t size);

/* Take the line just entered off the screen: it comes back as a message, in its place among the others. */
void screen_erase_entered(struct screen *screen);

/* Show a text as a line. All of it is made harmless, also the format. */
void screen_say(struct screen *screen, enum screen_style style, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* A message. `where`: "#group" or "" ; `who`: a name, or "-> name" for one's own. */
void screen_message(struct screen *screen, int64_t unix_ms, const char *where, const char *who, const char *text);

void screen_resized(struct screen *screen);

/* Stop as SIGTSTP does, with the terminal as it was before us; comes back after SIGCONT. */
void screen_suspend(struct screen *screen);

#endif
