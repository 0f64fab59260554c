/* fuzz.h - what the fuzz targets share: the entry that libFuzzer, AFL++ and replay.c call, and a clock that is set.
 *
 * Idea.       The core does no input and output, so a whole server with its clients fits into one function that is given
 *             bytes. An input is a story; a story is the same in every run, because the time is a part of it: clock.c
 *             stands in the place of common/base/clock.c.
 *             What must hold is asserted by cmocka's assertions, which abort the program here.
 */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

/* Tell the story, if FUZZ_TRACE is set: for whoever reads a found case. */
void fuzz_trace(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* What the chat is told when it asks for the time. */
extern uint64_t fuzz_monotonic_ms;
extern int64_t fuzz_unix_ms;

#endif
