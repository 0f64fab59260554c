/* test_base_options.c - the command line (S-1): defaults, every option in both spellings, bounds, and what is said about
 *                       a wrong one.
 */
#include "support.h"

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/options.h"

#define WORDS_MAX 200

/* One call of options_parse(), and what it printed. */
struct call {
    struct options options;
    enum options_result result;
    bool takes_threads;
    int argc;
    char *argv[WORDS_MAX + 2];
    char words[8192];
    char out[8192];
    char err[1024];
};

static int parse_now(void *arg)
{
    struct call *call = arg;

    return (int)options_parse(&call->options, "03-epoll", call->takes_threads, call->argc, call->argv);
}

static int parse_capturing_errors(void *arg)
{
    struct call *call = arg;

    return support_capture(STDERR_FILENO, call->err, sizeof call->err, parse_now, call);
}

static void add_word(struct call *call, const char *word, size_t length)
{
    size_t used = call->argc == 0 ? 0 : (size_t)(strchr(call->argv[call->argc - 1], '\0') + 1 - call->words);

    assert_true(call->argc < WORDS_MAX && used + length < sizeof call->words);
    memcpy(call->words + used, word, length);
    call->words[used + length] = '\0';
    call->argv[call->argc++] = call->words + used;
    call->argv[call->argc] = NULL;
}

/* Parse the words of `line`, divided by single spaces; two in a row make an empty word. */
static struct call *parse(const char *line, bool takes_threads)
{
    static struct call call;

    memset(&call, 0, sizeof call);
    call.takes_threads = takes_threads;
    add_word(&call, "server", 6);
    while (*line) {
        size_t length = strcspn(line, " ");

        add_word(&call, line, length);
        line += length + (line[length] == ' ');
    }
    call.result =
        (enum options_result)support_capture(STDOUT_FILENO, call.out, sizeof call.out, parse_capturing_errors, &call);
    return &call;
}

static const struct options *parse_good(const char *line)
{
    const struct call *call = parse(line, true);

    assert_string_equal(call->err, "");
    assert_string_equal(call->out, "");
    assert_int_equal(call->result, OPTIONS_RUN);
    return &call->options;
}

static void parse_wrong(const char *line, const char *complaint)
{
    const struct call *call = parse(line, false);

    assert_int_equal(call->result, OPTIONS_EXIT_USAGE);
    assert_string_equal(call->out, "");
    if (!strstr(call->err, complaint))
        fail_msg("\"%s\" is not in what is said about \"%s\":\n%s", complaint, line, call->err);
}

static void defaults(void **state)
{
    const struct options *options = parse_good("");

    (void)state;
    assert_string_equal(options->stage, "03-epoll");
    assert_string_equal(options->host, "127.0.0.1");
    assert_int_equal(options->port, 8000);
    assert_string_equal(options->data, "./chat-data");
    assert_int_equal(options->store, OPTION_STORE_SQLITE);
    assert_int_equal(options->durability, OPTION_DURABILITY_FULL);
    assert_int_equal(options->password_cost, OPTION_PASSWORD_INTERACTIVE);
    assert_int_equal(options->max_connections, 10000);
    assert_false(options->max_connections_given);
    assert_int_equal(options->login_timeout_ms, 30000);
    assert_int_equal(options->frame_timeout_ms, 30000);
    assert_int_equal(options->idle_timeout_ms, 120000);
    assert_int_equal(options->heartbeat_ms, 30000);
    assert_int_equal(options->lockout_window_ms, 1800000);
    assert_int_equal(options->rate_limit, 200);
    assert_int_equal(options->outbox_limit, 1048576);
    assert_int_equal(options->allow_origin_count, 0);
    assert_in_range(options->threads, 1, HUBS_MAX);
    assert_int_equal(options->log_level, LOG_INFO);
}

/* `format` has one %c: the character between the name and the value. */
static void assert_every_option(char between)
{
    static const char names_and_values[] =
        "--host@::1 --port@0 --data@/tmp/x --store@memory --durability@normal --password-cost@min --max-connections@7 "
        "--login-timeout@0.5 --frame-timeout@1.25 --idle-timeout@.001 --heartbeat@3. --lockout-window@60 "
        "--rate-limit@0 "
        "--outbox-limit@65536 --allow-origin@example.org --allow-origin@[::1]:8080 --threads@3 --log-level@debug";
    char line[sizeof names_and_values];
    const struct options *options;

    for (size_t i = 0; i < sizeof line; i++)
        line[i] = names_and_values[i] == '@' ? between : names_and_values[i];
    options = parse_good(line);
    assert_string_equal(options->host, "::1");
    assert_int_equal(options->port, 0);
    assert_string_equal(options->data, "/tmp/x");
    assert_int_equal(options->store, OPTION_STORE_MEMORY);
    assert_int_equal(options->durability, OPTION_DURABILITY_NORMAL);
    assert_int_equal(options->password_cost, OPTION_PASSWORD_MIN);
    assert_int_equal(options->max_connections, 7);
    assert_true(options->max_connections_given);
    assert_int_equal(options->login_timeout_ms, 500);
    assert_int_equal(options->frame_timeout_ms, 1250);
    assert_int_equal(options->idle_timeout_ms, 1);
    assert_int_equal(options->heartbeat_ms, 3000);
    assert_int_equal(options->lockout_window_ms, 60000);
    assert_int_equal(options->rate_limit, 0);
    assert_int_equal(options->outbox_limit, 65536);
    assert_int_equal(options->allow_origin_count, 2);
    assert_string_equal(options->allow_origins[0], "example.org");
    assert_string_equal(options->allow_origins[1], "[::1]:8080");
    assert_int_equal(options->threads, 3);
    assert_int_equal(options->log_level, LOG_DEBUG);
}

static void every_option_in_both_spellings(void **state)
{
    (void)state;
    assert_every_option(' ');
    assert_every_option('=');
}

static void the_words_of_every_choice(void **state)
{
    (void)state;
    assert_int_equal(parse_good("--store sqlite")->store, OPTION_STORE_SQLITE);
    assert_int_equal(parse_good("--durability full")->durability, OPTION_DURABILITY_FULL);
    assert_int_equal(parse_good("--password-cost interactive")->password_cost, OPTION_PASSWORD_INTERACTIVE);
    assert_int_equal(parse_good("--log-level error")->log_level, LOG_ERROR);
    assert_int_equal(parse_good("--log-level warn")->log_level, LOG_WARN);
    assert_int_equal(parse_good("--log-level info")->log_level, LOG_INFO);
}

static void the_last_one_counts(void **state)
{
    (void)state;
    assert_int_equal(parse_good("--port 1 --port 2")->port, 2);
}

static void bounds_are_inside(void **state)
{
    (void)state;
    assert_int_equal(parse_good("--port 65535")->port, 65535);
    assert_int_equal(parse_good("--max-connections 1")->max_connections, 1);
    assert_int_equal(parse_good("--max-connections 1000000")->max_connections, 1000000);
    assert_int_equal(parse_good("--outbox-limit 1073741824")->outbox_limit, 1u << 30);
    assert_int_equal(parse_good("--idle-timeout 31536000")->idle_timeout_ms, 31536000000);
    assert_int_equal(parse_good("--idle-timeout 0.0019")->idle_timeout_ms, 1);
    assert_int_equal(parse_good("--threads 64")->threads, HUBS_MAX);
}

static void wrong_values_are_named(void **state)
{
    static const char *const cases[][2] = {
        {"--port 65536",                        "--port takes a whole number, from 0 to 65535, not \"65536\""                 },
        {"--port=-1",                           "--port takes a whole number, from 0 to 65535, not \"-1\""                    },
        {"--port http",                         "not \"http\""                                                                },
        {"--port 0x10",                         "not \"0x10\""                                                                },
        {"--port +1",                           "not \"+1\""                                                                  },
        {"--port=",                             "not \"\""                                                                    },
        {"--port 99999999999999999999999",      "not \"99999999999999999999999\""                                             },
        {"--port 1.5",                          "not \"1.5\""                                                                 },
        {"--host=",                             "--host takes a HOST, not \"\""                                               },
        {"--data=",                             "--data takes a DIR, not \"\""                                                },
        {"--store disk",                        "--store takes one of sqlite|memory, not \"disk\""                            },
        {"--store sqlite|memory",               "not \"sqlite|memory\""                                                       },
        {"--store=",                            "not \"\""                                                                    },
        {"--store SQLITE",                      "not \"SQLITE\""                                                              },
        {"--durability ful",                    "--durability takes one of full|normal, not \"ful\""                          },
        {"--password-cost max",                 "--password-cost takes one of interactive|min, not \"max\""                   },
        {"--log-level trace",                   "--log-level takes one of error|warn|info|debug, not \"trace\""               },
        {"--max-connections 0",                 "--max-connections takes a whole number, from 1 to 1000000, not \"0\""        },
        {"--max-connections 1000001",           "not \"1000001\""                                                             },
        {"--login-timeout 0",                   "--login-timeout takes seconds, from 0.001 to 31536000, not \"0\""            },
        {"--frame-timeout=-1",                  "--frame-timeout takes seconds"                                               },
        {"--idle-timeout 31536000.001",         "--idle-timeout takes seconds"                                                },
        {"--idle-timeout 18446744073709551615", "--idle-timeout takes seconds"                                                },
        {"--heartbeat .",                       "not \".\""                                                                   },
        {"--heartbeat 1.2.3",                   "not \"1.2.3\""                                                               },
        {"--heartbeat 1e3",                     "not \"1e3\""                                                                 },
        {"--heartbeat nan",                     "not \"nan\""                                                                 },
        {"--lockout-window 30m",                "not \"30m\""                                                                 },
        {"--rate-limit -5",                     "--rate-limit takes a whole number, from 0 to 1000000, not \"-5\""            },
        {"--outbox-limit 65535",                "--outbox-limit takes a whole number, from 65536 to 1073741824, not \"65535\""},
        {"--allow-origin http://example.org",   "--allow-origin takes HOST[:PORT] without a scheme"                           },
        {"--allow-origin example.org:0",        "not \"example.org:0\""                                                       },
        {"--allow-origin example.org:x",        "not \"example.org:x\""                                                       },
        {"--allow-origin example.org/",         "not \"example.org/\""                                                        },
        {"--allow-origin [::1",                 "not \"[::1\""                                                                },
        {"--allow-origin ::1",                  "not \"::1\""                                                                 },
        {"--allow-origin=",                     "not \"\""                                                                    },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        parse_wrong(cases[i][0], cases[i][1]);
}

static void wrong_options_are_named(void **state)
{
    (void)state;
    parse_wrong("--colour red", "03-epoll: there is no option --colour\n");
    parse_wrong("--colour=red", "there is no option --colour=red\n");
    parse_wrong("--lo 3", "there is no option --lo\n"); /* login-timeout, lockout-window, log-level */
    parse_wrong("-p 80", "there is no option -p\n");
    parse_wrong("--store memory -xyz", "there is no option -x\n");
    parse_wrong("--port", "--port takes an argument\n");
    parse_wrong("--store memory --port", "--port takes an argument\n");
    parse_wrong("--help=me", "--help takes no argument\n");
    parse_wrong("9000", "\"9000\" is no option\n");
    parse_wrong("-- --port 9000", "\"--port\" is no option\n");
    parse_wrong("--port \x1b[2J", "not \"\\x1B[2J\"\n"); /* nobody's terminal is cleared */
}

static void threads_belong_to_the_stage_that_has_them(void **state)
{
    (void)state;
    assert_int_equal(parse_good("--threads 1")->threads, 1);
    parse_wrong("--threads 1", "there is no option --threads\n");
    assert_int_equal(parse("--threads 0", true)->result, OPTIONS_EXIT_USAGE);
    assert_int_equal(parse("--threads 65", true)->result, OPTIONS_EXIT_USAGE);
}

static void origins_have_a_bound(void **state)
{
    char line[OPTION_ALLOW_ORIGINS_MAX * 24 + 32] = "";

    (void)state;
    for (int i = 0; i < OPTION_ALLOW_ORIGINS_MAX; i++)
        strcat(line, "--allow-origin=a.b ");
    line[strlen(line) - 1] = '\0';
    assert_int_equal(parse_good(line)->allow_origin_count, OPTION_ALLOW_ORIGINS_MAX);
    strcat(line, " --allow-origin=a.b");
    parse_wrong(line, "at most 64 times");
}

static void help_tells_every_option_and_its_default(void **state)
{
    static const char *const expected[] = {
        "--host=HOST",
        "127.0.0.1",
        "--port=PORT",
        "8000",
        "--data=DIR",
        "./chat-data",
        "--store=",
        "sqlite|memory",
        "--durability=",
        "full|normal",
        "10000",
        "--password-cost=",
        "--rate-limit",
        "--max-connections",
        "--login-timeout",
        "--idle",
        "1800",
        "--frame-timeout",
        "--heartbeat",
        "--lockout-window",
        "--outbox-limit=BYTES",
        "1048576",
        "120",
        "--allow-origin",
        "--log-level=",
        "--version",
        "--help",
    };
    const struct call *call = parse("--help", false);

    (void)state;
    assert_int_equal(call->result, OPTIONS_EXIT_SUCCESS);
    assert_string_equal(call->err, "");
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++)
        if (!strstr(call->out, expected[i]))
            fail_msg("--help does not say %s:\n%s", expected[i], call->out);
    assert_null(strstr(call->out, "--threads"));
    assert_non_null(strstr(parse("--help", true)->out, "--threads=N"));
}

static void version_names_the_stage(void **state)
{
    const struct call *call = parse("--version", false);

    (void)state;
    assert_int_equal(call->result, OPTIONS_EXIT_SUCCESS);
    assert_string_equal(call->out, "03-epoll " CHAT_VERSION "\n");
}

/* ---- the limit on descriptors: in a process of its own, for a lowered hard limit stays lowered ---- */

/* valgrind keeps descriptors for itself, and lets nobody lower the limit. */
#define CANNOT_TRY 1

static int raise_within_the_hard_limit(void *arg)
{
    struct options options = {.max_connections = 100};
    struct rlimit limit = {50, 300};

    (void)arg;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
        return CANNOT_TRY;
    options_raise_descriptor_limit(&options, 10);
    getrlimit(RLIMIT_NOFILE, &limit);
    return options.max_connections == 100 && limit.rlim_cur == 100 + 10 + REFUSED_CONNECTIONS_MAX ? 0 : 2;
}

static int lower_to_the_hard_limit(void *arg)
{
    struct options options = {.max_connections = 10000};
    struct rlimit limit = {50, 300};

    (void)arg;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
        return CANNOT_TRY;
    options_raise_descriptor_limit(&options, 10);
    getrlimit(RLIMIT_NOFILE, &limit);
    return options.max_connections == 300 - 10 - REFUSED_CONNECTIONS_MAX && limit.rlim_cur == 300 ? 0 : 2;
}

static int leave_enough_alone(void *arg)
{
    struct options options = {.max_connections = 20};
    struct rlimit limit = {200, 300};

    (void)arg;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
        return CANNOT_TRY;
    options_raise_descriptor_limit(&options, 10);
    getrlimit(RLIMIT_NOFILE, &limit);
    return options.max_connections == 20 && limit.rlim_cur == 200 ? 0 : 2;
}

static void descriptor_limit(void **state)
{
    (void)state;
    if (support_in_child(raise_within_the_hard_limit, NULL) == CANNOT_TRY)
        skip();
    assert_int_equal(support_in_child(raise_within_the_hard_limit, NULL), 0);
    assert_int_equal(support_in_child(lower_to_the_hard_limit, NULL), 0);
    assert_int_equal(support_in_child(leave_enough_alone, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults),
        cmocka_unit_test(every_option_in_both_spellings),
        cmocka_unit_test(the_words_of_every_choice),
        cmocka_unit_test(the_last_one_counts),
        cmocka_unit_test(bounds_are_inside),
        cmocka_unit_test(wrong_values_are_named),
        cmocka_unit_test(wrong_options_are_named),
        cmocka_unit_test(threads_belong_to_the_stage_that_has_them),
        cmocka_unit_test(origins_have_a_bound),
        cmocka_unit_test(help_tells_every_option_and_its_default),
        cmocka_unit_test(version_names_the_stage),
        cmocka_unit_test(descriptor_limit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
