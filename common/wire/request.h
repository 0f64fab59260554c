/* request.h - the payload of a request, from JSON to checked values, in one strict pass (F-5, Q-3).
 *
 * Idea.       The whole payload is judged as JSON even where the command is unknown: no tree is built, and nothing is
 *             allocated for a payload with a few keys (json_reader.h). What the pass leaves is the members of the
 *             object; the command's table then asks for its fields, in its order. Strings are slices of the payload;
 *             one with an escape is unescaped where it stands (the result is never longer).
 * Threads.    Any; the payload belongs to the caller, and is changed.
 */
#ifndef CHAT_REQUEST_H
#define CHAT_REQUEST_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"
#include "wire/command.h"

struct value {
    bool present;
    bool boolean;
    int64_t integer;
    struct slice string;
};

struct request {
    const char *bad_field;                   /* first offender in the order of section C, NULL: none */
    struct value values[COMMAND_FIELDS_MAX]; /* field_count of them are set; those not present are zero. With a bad
                                                field, those from it on are zero, too. */
};

/* What a WebSocket message has beside the fields (W-3). */
struct envelope {
    struct slice cmd;              /* unescaped; .bytes NULL: missing, or no string */
    const struct command *command; /* NULL: `cmd` is none of section C */
    bool has_seq;                  /* it is there, and is an integer of 0 to 4,294,967,295 */
    uint32_t seq;
};

/* Read `payload` (length 0 means {}) as a request of `command`; NULL: only judge it as JSON.
 * False: not acceptable JSON (F-5); `request` is undefined then. A payload with more keys than any request has needs
 * memory to be judged; where there is none, it is not acceptable. */
bool request_parse(char *payload, size_t length, const struct command *command, struct request *request);

/* Likewise a WebSocket message, which names its command itself; empty is not acceptable. An offender among `cmd` and
 * `seq` is the request's bad field before any of section C. */
bool request_parse_message(char *payload, size_t length, struct envelope *envelope, struct request *request);

#endif
