/* options.h - the command line of a stage (S-1), the same for all.
 *
 * Threads.    Parsed once in main(), read by every thread afterwards.
 */
#ifndef CHAT_OPTIONS_H
#define CHAT_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/log.h"

enum option_store { OPTION_STORE_SQLITE, OPTION_STORE_MEMORY };
enum option_durability { OPTION_DURABILITY_FULL, OPTION_DURABILITY_NORMAL };
enum option_password_cost { OPTION_PASSWORD_INTERACTIVE, OPTION_PASSWORD_MIN };

#define OPTION_ALLOW_ORIGINS_MAX 64

/* Of all the stages: --version and the reply to `hello` say it. */
#define CHAT_VERSION "1.0.0"

struct options {
    const char *stage; /* "03-epoll": given by the stage, not by the user */
    const char *host;
    uint16_t port; /* 0: any free one */
    const char *data;
    enum option_store store;
    enum option_durability durability;
    enum option_password_cost password_cost;
    size_t max_connections;
    size_t max_connections_given; /* what the user said, 0: nothing; refused where it cannot be, not lowered (S-6) */
    uint64_t login_timeout_ms;
    uint64_t frame_timeout_ms;
    uint64_t idle_timeout_ms;
    uint64_t heartbeat_ms;
    uint64_t lockout_window_ms;
    uint32_t rate_limit; /* requests a second and connection; 0: none */
    size_t outbox_limit; /* bytes */
    const char *allow_origins[OPTION_ALLOW_ORIGINS_MAX];
    size_t allow_origin_count;
    unsigned threads; /* I/O threads of 05; unless said, one a core */
    enum log_level log_level;
};

enum options_result {
    OPTIONS_RUN,
    OPTIONS_EXIT_SUCCESS, /* --help or --version was printed to standard output; exit 0 */
    OPTIONS_EXIT_USAGE    /* the fault was printed to standard error; exit 2 (S-3) */
};

/* Defaults of `stage`, then the command line (getopt_long(3)). The strings of `argv` are borrowed for as long as the
 * options live. `takes_threads`: this stage knows --threads. The log level is the caller's to set. */
enum options_result options_parse(struct options *options, const char *stage, bool takes_threads, int argc,
                                  char **argv);

/* Raise the soft descriptor limit (getrlimit(2)) to what max_connections, the refused connections that linger (L-6) and
 * `besides` others need; where the hard limit is lower, lower max_connections and log it (S-1). */
void options_raise_descriptor_limit(struct options *options, size_t besides);

#endif
