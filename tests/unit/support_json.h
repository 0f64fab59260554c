/* support_json.h - jansson as the oracle of the request path's reader: what one accepts the other must, with the same
 *                  values.
 */
#ifndef TESTS_UNIT_SUPPORT_JSON_H
#define TESTS_UNIT_SUPPORT_JSON_H

#include <stdbool.h>
#include <stddef.h>

/* The text as jansson's tree, held to F-5; the caller's. NULL: not acceptable. What has to be added to jansson stands in
 * support_json.c. */
struct json_t *oracle_load(const char *text, size_t length);

/* Whether it is acceptable. */
bool oracle_accepts(const char *text, size_t length);

/* Whether the reader accepts the text. Fails the test, printing the text, when the oracle says otherwise, or has other
 * members or values. */
bool reader_accepts_as_oracle(const char *text, size_t length);

#endif
