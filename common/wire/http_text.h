/* http_text.h - what to tell a peer that sends text to a port that speaks frames (F-1): a browser, or somebody with
 *               netcat.
 *
 * Threads.    Any.
 */
#ifndef CHAT_HTTP_TEXT_H
#define CHAT_HTTP_TEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/slice.h"

/* Whether a connection whose first byte is this one speaks text: an ASCII letter. */
bool http_text_begins(char first);

/* Whether enough has come to be answered: a first line that is no HTTP request line, the whole head of one that is,
 * HTTP_HEAD_MAX_BYTES, or all that will come. */
bool http_text_is_judged(const char *bytes, size_t length, bool ended);

/* The answers: 400, which says what this port speaks, and 408. They last for ever. */
struct slice http_text_refusal(void);
struct slice http_text_timeout(void);

#endif
