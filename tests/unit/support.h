/* support.h - what the unit tests share: cmocka with the headers that it asks for, a random number that is the same in
 *             every run, and a look at what a function prints.
 */
#ifndef TESTS_UNIT_SUPPORT_H
#define TESTS_UNIT_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* The next number below `bound` (above 0) of a sequence that starts at *state, which is any number (splitmix64). */
uint64_t support_random(uint64_t *state, uint64_t bound);

/* Call `function(arg)` and keep what it writes to `descriptor` (1 or 2) in `text`, terminated and cut where it does not
 * fit. Returns what the function returned. */
int support_capture(int descriptor, char *text, size_t text_bytes, int (*function)(void *arg), void *arg);

/* Whether the program runs under a sanitizer or valgrind, where limits on memory stop the tool instead. */
int support_memory_is_watched(void);

/* Call `function(arg)` in a process of its own, for what cannot be taken back (a lowered hard limit). Returns its exit
 * status, which is what the function returned; -1: it died. */
int support_in_child(int (*function)(void *arg), void *arg);

#endif
