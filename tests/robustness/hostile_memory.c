/* hostile_memory.c - preloaded into a program, it makes one allocation fail: the n-th since the start.
 *
 *      LD_PRELOAD=build/plain/hostile_memory.so HOSTILE_MEMORY=7 bin/04-libevent
 *
 * It says so on standard error when it did. Libraries ask for memory by the same functions, so theirs fail, too.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *memory, size_t size);

static atomic_long left; /* allocations until the one that fails, that one included; 0: none does */

__attribute__((constructor)) static void begin(void)
{
    const char *number = getenv("HOSTILE_MEMORY");

    if (number != NULL)
        atomic_store(&left, strtol(number, NULL, 10));
}

static bool fails(void)
{
    static const char said[] = "HOSTILE_MEMORY: an allocation fails\n";

    if (atomic_load(&left) <= 0 || atomic_fetch_sub(&left, 1) != 1)
        return false;
    if (write(STDERR_FILENO, said, sizeof said - 1) < 0)
        abort();
    errno = ENOMEM;
    return true;
}

void *malloc(size_t size)
{
    return fails() ? NULL : __libc_malloc(size);
}

void *calloc(size_t nmemb, size_t size)
{
    return fails() ? NULL : __libc_calloc(nmemb, size);
}

void *realloc(void *ptr, size_t size)
{
    return fails() ? NULL : __libc_realloc(ptr, size);
}
