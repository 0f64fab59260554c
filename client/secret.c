/* secret.c - passwords: that of the session, kept for one thing: to log in again after the connection was lost. */
#include "secret.h"

#include <jansson.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

struct secrets *secrets_new(void)
{
    struct secrets *secrets = mmap(NULL, sizeof(*secrets), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (secrets == MAP_FAILED)
        return NULL;
    secrets->locked = mlock(secrets, sizeof(*secrets)) == 0 && madvise(secrets, sizeof(*secrets), MADV_DONTDUMP) == 0;
    return secrets;
}

void secrets_free(struct secrets *secrets)
{
    explicit_bzero(secrets, sizeof(*secrets));
    munmap(secrets, sizeof(*secrets));
}

void secret_wipe(char secret[SECRET_SIZE])
{
    explicit_bzero(secret, SECRET_SIZE);
}

void secrets_login_done(struct secrets *secrets, bool right)
{
    if (right && secrets->locked)
        memcpy(secrets->kept, secrets->sending, SECRET_SIZE);
    secret_wipe(secrets->sending);
}

static void wipe_and_free(void *memory)
{
    if (memory != NULL)
        explicit_bzero(memory, malloc_usable_size(memory));
    free(memory);
}

void secrets_wipe_json(void)
{
    json_set_alloc_funcs(malloc, wipe_and_free);
}
