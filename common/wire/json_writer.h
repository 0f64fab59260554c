/* json_writer.h - append one JSON value after the other to a buffer; the request path's way of writing JSON.
 *
 * Idea.       Commas are put by looking at the last byte: none after an opening bracket or a colon. Strings hold valid
 *             UTF-8 already (it was checked when they came); only `"`, `\` and control characters are escaped, every
 *             other code point stands as itself.
 * Threads.    Belongs to the buffer's owner. Failures are the buffer's (buffer.h).
 * You must    begin a payload in a buffer that is empty, or that ends in an opening bracket or a colon: after anything
 *             else it would begin with a comma.
 */
#ifndef CHAT_JSON_WRITER_H
#define CHAT_JSON_WRITER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buffer.h"

/* The payload's own object, or one that is an element of an array. */
void json_open_object(struct buffer *out);
void json_close_object(struct buffer *out);
void json_close_array(struct buffer *out);

/* `"key":` and an opening bracket. Keys are literals of the program and need no escape. */
void json_key_array(struct buffer *out, struct slice key);

void json_key_string(struct buffer *out, struct slice key, struct slice value);
void json_key_integer(struct buffer *out, struct slice key, int64_t value);
void json_key_boolean(struct buffer *out, struct slice key, bool value);

/* An element of an array. (Not json_string(): jansson has a function of that name.) */
void json_element_string(struct buffer *out, struct slice value);

/* Bytes that json_key_string() or json_element_string() would append for `value`, at most: 6 a byte, plus quotes. */
size_t json_string_bytes(struct slice value);

#endif
