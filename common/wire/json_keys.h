/* json_keys.h - the stack of members that json_reader.c keeps, and whether the keys of an object differ.
 *
 * Idea.       An object of a request has a handful of keys: each is compared with each, which costs less than any
 *             table. Beyond JSON_KEYS_COMPARED_MAX that would be quadratic in what a stranger sends, and a table is
 *             made; its hash is SipHash with a key that nobody outside knows (libsodium's crypto_shorthash), so that no
 *             choice of keys makes it slow.
 * Threads.    A stack belongs to its reader.
 */
#ifndef CHAT_JSON_KEYS_H
#define CHAT_JSON_KEYS_H

#include "wire/json_reader.h"

/* 120 comparisons, most of which are settled by the lengths, cost about what the table does for so few. */
#define JSON_KEYS_COMPARED_MAX 16

/* Push a member whose value is not known yet. False: no memory. */
bool json_keys_push(struct json_members *members, struct slice key);

/* False: two of the keys are equal, or there is no memory for a table. */
bool json_keys_differ(const struct json_member *members, size_t count);

#endif
