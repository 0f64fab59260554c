/* json_text.h - what stands between the quotes of a JSON string: valid UTF-8, escapes, no control characters, and by
 *               F-5 no NUL and no half of a surrogate pair.
 *
 * Threads.    Any.
 */
#ifndef CHAT_JSON_TEXT_H
#define CHAT_JSON_TEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/slice.h"

/* The closing quote of the string whose first byte is at `at`, and whether it has escapes. NULL: not acceptable. */
char *json_text_end(char *at, char *end, bool *escaped);

/* Resolve the escapes of a text that json_text_end() accepted, in place, and return its length: an escape is always
 * longer than what it stands for. The bytes of `text` must be writable. */
size_t json_text_unescape(struct slice text);

#endif
