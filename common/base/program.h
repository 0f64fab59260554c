/* program.h - what every stage's main() begins with.
 *
 * Threads.    main(), before there are others; program_let_stop() from any.
 */
#ifndef CHAT_PROGRAM_H
#define CHAT_PROGRAM_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/options.h"

/* Read the command line of `stage`, set the log level, raise the descriptor limit (`besides`: descriptors that are not
 * connections). Signals: SIGTERM and SIGINT are blocked, for the stage to wait for in its way, in `*stop`; SIGPIPE and
 * SIGXFSZ are ignored: a peer that is gone and a full quota are errors of a call, not the end of the server.
 * False: leave main() with `*status` (S-3). */
bool program_begin(struct options *options, const char *stage, bool takes_threads, size_t besides, int argc,
                   char **argv, sigset_t *stop, int *status);

/* After the first SIGTERM or SIGINT: one more has its default effect, and ends the process at once (L-7). */
void program_let_stop(const sigset_t *stop);

#endif
