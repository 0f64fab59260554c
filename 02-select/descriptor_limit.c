/* descriptor_limit.c - see descriptor_limit.h. */
#include "descriptor_limit.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/log.h"

/* What the parent left open. Each of them takes a number that no client can have. */
static size_t inherited_descriptors(void)
{
    size_t count = 0;

    for (int fd = STDERR_FILENO + 1; fd < FD_SETSIZE; fd++)
        if (fcntl(fd, F_GETFD) >= 0)
            count++;
    return count;
}

/* What counts for select(2) is the number that a descriptor has, not how many there are. The system gives out the
 * lowest free one, and none from the soft limit on (getrlimit(2)): then accept(2) says EMFILE, which a server must bear
 * anyway. */
static void lower_descriptor_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur <= FD_SETSIZE)
        return;
    limit.rlim_cur = FD_SETSIZE;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        log_warn("cannot lower the limit on descriptors to %d: %m", FD_SETSIZE);
}

bool lower_connections_to_sets(struct options *options, size_t besides)
{
    size_t taken = besides + inherited_descriptors() + REFUSED_CONNECTIONS_MAX;
    size_t clients = taken < FD_SETSIZE ? FD_SETSIZE - taken : 1;

    if (options->max_connections_given > clients) {
        fprintf(stderr,
                "%s: --max-connections can be %zu at most here, not %zu: select() takes no descriptor from FD_SETSIZE "
                "(%d) on, and %zu are not for clients\n",
                options->stage, clients, options->max_connections_given, FD_SETSIZE, taken);
        return false;
    }
    if (options->max_connections > clients) {
        options->max_connections = clients;
        log_warn("--max-connections is %zu here: select() takes no descriptor from FD_SETSIZE (%d) on, and %zu are not "
                 "for clients",
                 clients, FD_SETSIZE, taken);
    }
    lower_descriptor_limit();
    return true;
}
