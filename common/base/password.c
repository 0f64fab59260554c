#include "base/password.h"

#include <assert.h>
#include <errno.h>
#include <sodium.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"

static_assert(sizeof(char[PASSWORD_HASH_BYTES]) == crypto_pwhash_STRBYTES, "a hash of libsodium's fits");

#define TAG_BYTES 32 /* what crypto_pwhash_str() computes */

/* "$argon2id$v=19$m=65536,t=2,p=1$SALT$TAG": RFC 9106, 3.1, in the form of its reference implementation. */
struct parts {
    unsigned kibibytes, passes;
    unsigned char salt[crypto_pwhash_SALTBYTES];
    unsigned char tag[TAG_BYTES];
};

bool password_init(void)
{
    if (sodium_init() >= 0)
        return true;
    log_error("libsodium cannot start: it finds no source of random bytes");
    return false;
}

/* crypto_pwhash() refuses NULL, also for no bytes. */
static const char *bytes_of(struct slice password)
{
    return password.length > 0 ? password.bytes : "";
}

bool password_hash(char hash[PASSWORD_HASH_BYTES], struct slice password, enum option_password_cost cost)
{
    bool min = cost == OPTION_PASSWORD_MIN;
    unsigned long long passes = min ? crypto_pwhash_OPSLIMIT_MIN : crypto_pwhash_OPSLIMIT_INTERACTIVE;
    size_t memory = min ? crypto_pwhash_MEMLIMIT_MIN : crypto_pwhash_MEMLIMIT_INTERACTIVE;

    return crypto_pwhash_str(hash, bytes_of(password), password.length, passes, memory) == 0;
}

/* Exactly `size` bytes of base64 at *text, which moves behind them. */
static bool decode_bytes(const char **text, unsigned char *bytes, size_t size)
{
    size_t decoded;

    return sodium_base642bin(bytes, size, *text, strlen(*text), NULL, &decoded, text,
                             sodium_base64_VARIANT_ORIGINAL_NO_PADDING) == 0 &&
           decoded == size;
}

static bool decode(const char *hash, struct parts *parts)
{
    int length = 0;

    if (sscanf(hash, "$argon2id$v=19$m=%9u,t=%9u,p=1$%n", &parts->kibibytes, &parts->passes, &length) != 2 || !length)
        return false;
    hash += length;
    return decode_bytes(&hash, parts->salt, sizeof parts->salt) && *hash++ == '$' &&
           decode_bytes(&hash, parts->tag, sizeof parts->tag) && *hash == '\0';
}

enum password_verdict password_verify(const char *hash, struct slice password)
{
    struct parts parts;
    unsigned char tag[TAG_BYTES];

    if (!decode(hash, &parts)) {
        log_error("a stored password hash is damaged");
        return PASSWORD_WRONG;
    }
    errno = 0;
    if (crypto_pwhash(tag, sizeof tag, bytes_of(password), password.length, parts.salt, parts.passes,
                      (size_t)parts.kibibytes * 1024, crypto_pwhash_ALG_ARGON2ID13) != 0)
        return errno == EINVAL ? PASSWORD_WRONG : PASSWORD_NO_MEMORY; /* EINVAL: a cost that no hash has */
    return sodium_memcmp(tag, parts.tag, sizeof tag) == 0 ? PASSWORD_RIGHT : PASSWORD_WRONG;
}
