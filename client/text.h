/* text.h - text of others, made harmless for a terminal.
 *
 * Idea.       A terminal obeys what it is sent: escape sequences set titles, recolour what stands above, and on some
 *             terminals type for the user. So every control character is shown, not sent: ^[ for escape. Unicode has
 *             its own: characters that turn the direction of what follows, or that nobody sees; they are shown as
 *             <U+202E>. All other UTF-8 stays as it is.
 * Invariants. I1  what text_append_safe() appends holds no control character but '\n', and that only before its own
 *                 indentation: no text can look like a line of its own.
 * Threads.    Any. The locale's LC_CTYPE is UTF-8 (main() sees to it).
 */
#ifndef CHAT_TEXT_H
#define CHAT_TEXT_H

#include <stdint.h>

#include "base/buffer.h"

/* What a line break in a text becomes. */
#define TEXT_CONTINUATION "\n      | "

void text_append_safe(struct buffer *out, const char *text);

/* Append a literal of the program, as it is. */
void text_append(struct buffer *out, const char *literal);

/* Columns that a wide character takes on the terminal. */
unsigned text_columns(wchar_t character);

/* Local time of `unix_ms`: "09:52" if it is of today, else "2024-03-01 09:52". */
#define TEXT_TIME_SIZE 32
void text_time(char time[TEXT_TIME_SIZE], int64_t unix_ms);

#endif
