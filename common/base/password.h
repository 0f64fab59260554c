/* password.h - Argon2id by libsodium (crypto_pwhash_str; RFC 9106): a salt of its own in each hash, the cost inside
 *              the text, so that hashes of different costs live side by side.
 *
 * Threads.    Any, after password_init(). Each call takes the memory of the chosen cost for its duration
 *             (interactive: 64 MiB), so call it on the workers only.
 */
#ifndef CHAT_PASSWORD_H
#define CHAT_PASSWORD_H

#include <stdbool.h>

#include "base/options.h"
#include "base/slice.h"

#define PASSWORD_HASH_BYTES 128 /* with the terminating NUL: crypto_pwhash_STRBYTES */

/* sodium_init(3); before there are threads. False: logged. */
bool password_init(void);

/* False: no memory for the hash. */
bool password_hash(char hash[PASSWORD_HASH_BYTES], struct slice password, enum option_password_cost cost);

enum password_verdict { PASSWORD_RIGHT, PASSWORD_WRONG, PASSWORD_NO_MEMORY };

/* Compare in constant time. A wrong password counts as an attempt, having no memory must not: so this computes the hash
 * itself, for crypto_pwhash_str_verify() has one answer for both (-1, EINVAL; libsodium 1.0.18). A `hash` that is none is
 * nobody's (logged). */
enum password_verdict password_verify(const char *hash, struct slice password);

#endif
