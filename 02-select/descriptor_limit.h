/* descriptor_limit.h - how many clients the sets of select(2) have room for (S-6).
 *
 * Threads.    main(), before there are others.
 */
#ifndef DESCRIPTOR_LIMIT_H
#define DESCRIPTOR_LIMIT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/options.h"

/* Lower max_connections, unless the user gave it, to what FD_SETSIZE leaves beside `besides` descriptors that are not
 * connections (the standard streams are some), those that the process was started with, and the refused connections
 * that linger (L-6); log it. From then on the process gets no descriptor that is too large for a set.
 * False: the user gave more; standard error says so, and why. */
bool lower_connections_to_sets(struct options *options, size_t besides);

#endif
