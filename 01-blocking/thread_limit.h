/* thread_limit.h - how many clients the system's limits on threads allow (S-6).
 *
 * Threads.    main(), before there are others.
 */
#ifndef THREAD_LIMIT_H
#define THREAD_LIMIT_H

#include "base/options.h"

/* Lower max_connections, unless the user gave it, to what is possible with `per_client` threads each; log it. */
void lower_connections_to_threads(struct options *options, unsigned per_client);

#endif
