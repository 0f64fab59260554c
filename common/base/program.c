/* program.c - see program.h. */
#include "base/program.h"

#include "base/log.h"

static void prepare_signals(sigset_t *stop)
{
    sigemptyset(stop);
    sigaddset(stop, SIGTERM);
    sigaddset(stop, SIGINT);
    /* Before there are threads: they inherit it (pthread_sigmask(3)). */
    pthread_sigmask(SIG_BLOCK, stop, NULL);
    /* A shell without job control has background processes ignore SIGINT; a second one is to end the process (L-7). */
    signal(SIGTERM, SIG_DFL);
    signal(SIGINT, SIG_DFL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
}

bool program_begin(struct options *options, const char *stage, bool takes_threads, size_t besides, int argc,
                   char **argv, sigset_t *stop, int *status)
{
    switch (options_parse(options, stage, takes_threads, argc, argv)) {
    case OPTIONS_RUN:
        break;
    case OPTIONS_EXIT_SUCCESS:
        *status = 0;
        return false;
    case OPTIONS_EXIT_USAGE:
        *status = 2;
        return false;
    }
    log_set_level(options->log_level);
    prepare_signals(stop);
    options_raise_descriptor_limit(options, besides);
    return true;
}

void program_let_stop(const sigset_t *stop)
{
    pthread_sigmask(SIG_UNBLOCK, stop, NULL);
}
