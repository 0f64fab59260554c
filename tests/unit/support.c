/* support.c - see support.h. */
#include "support.h"

#include <assert.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#else
#define RUNNING_ON_VALGRIND 0
#endif

#ifndef __has_feature /* clang's; gcc has macros instead */
#define __has_feature(feature) 0
#endif

uint64_t support_random(uint64_t *state, uint64_t bound)
{
    uint64_t mixed = *state += 0x9E3779B97F4A7C15u;

    mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9u;
    mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EBu;
    return (mixed ^ (mixed >> 31)) % bound;
}

int support_capture(int descriptor, char *text, size_t text_bytes, int (*function)(void *arg), void *arg)
{
    FILE *file = tmpfile();
    int saved = dup(descriptor);
    ssize_t length;
    int result;

    assert(file && saved >= 0);
    fflush(NULL);
    dup2(fileno(file), descriptor);
    result = function(arg);
    fflush(NULL);
    dup2(saved, descriptor);
    close(saved);
    length = pread(fileno(file), text, text_bytes - 1, 0);
    text[length > 0 ? length : 0] = '\0';
    fclose(file);
    return result;
}

int support_memory_is_watched(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return 1;
#else
    return __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || RUNNING_ON_VALGRIND;
#endif
}

/* Of make coverage: a process that ends by _exit() loses its counters otherwise. */
void __gcov_dump(void) __attribute__((weak));

int support_in_child(int (*function)(void *arg), void *arg)
{
    pid_t child;
    int status;

    fflush(NULL);
    child = fork();
    assert(child >= 0);
    if (child == 0) {
        int result = function(arg);

        if (__gcov_dump)
            __gcov_dump();
        _exit(result);
    }
    if (waitpid(child, &status, 0) != child || !WIFEXITED(status))
        return -1;
    return WEXITSTATUS(status);
}
