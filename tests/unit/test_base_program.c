/* test_base_program.c - the signals of a server, whatever it was started with (L-7). */
#include "support.h"

#include <signal.h>

#include "base/program.h"

static void (*action_of(int number))(int)
{
    struct sigaction action;

    assert_int_equal(sigaction(number, NULL, &action), 0);
    return action.sa_handler;
}

/* As a shell without job control starts what is to run in the background. */
static void test_signals_are_heard_where_they_were_ignored(void **state)
{
    char *arguments[] = {"stage", "--store=memory", NULL};
    struct options options;
    sigset_t stop, blocked, before;
    int status;

    (void)state;
    pthread_sigmask(SIG_SETMASK, NULL, &before);
    signal(SIGINT, SIG_IGN);
    signal(SIGTERM, SIG_IGN);
    assert_true(program_begin(&options, "stage", false, 0, 2, arguments, &stop, &status));
    pthread_sigmask(SIG_SETMASK, NULL, &blocked);
    assert_true(sigismember(&blocked, SIGINT) && sigismember(&blocked, SIGTERM));
    program_let_stop(&stop);
    pthread_sigmask(SIG_SETMASK, NULL, &blocked);
    assert_false(sigismember(&blocked, SIGINT) || sigismember(&blocked, SIGTERM));
    assert_true(action_of(SIGINT) == SIG_DFL && action_of(SIGTERM) == SIG_DFL);
    assert_true(action_of(SIGPIPE) == SIG_IGN && action_of(SIGXFSZ) == SIG_IGN);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_signals_are_heard_where_they_were_ignored),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
