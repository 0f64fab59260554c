/* main.c - chat, the terminal client: its command line, and what it is made of.
 *
 * Idea.       client.h.
 * Threads.    The main thread is the only one.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <langinfo.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "client.h"
#include "client_limits.h"

#define DEFAULT_HOST "127.0.0.1"
#define DEFAULT_PORT "8000"

struct arguments {
    char *host, *port;
    const char *user, *script, *to, *password_file;
    bool no_color, keep_going;
    double retry_seconds;
};

/* ---- options ---- */

static void usage(FILE *to)
{
    fprintf(to,
            "usage: chat [options] [HOST[:PORT]]          default %s:%s\n"
            "\n"
            "  -u, --user NAME           log in; the password is asked for, or taken from the environment variable\n"
            "                            CHAT_PASSWORD or from --password-file\n"
            "  -t, --to NAME|#GROUP      where lines go that are no commands\n"
            "  -s, --script FILE         run commands from FILE; '#' begins a comment. A pipe on standard input is\n"
            "                            run in the same way, without comments\n"
            "  -k, --keep-going          go on after a line that failed\n"
            "      --password-file FILE  the first line of FILE is the password\n"
            "      --retry SECONDS       how long a script waits for a lost connection to come back (%d)\n"
            "      --no-color            as does the environment variable NO_COLOR\n"
            "      --help, --version\n"
            "\n"
            "/help lists the commands. The password is kept in locked memory until /logout or the end, only to log\n"
            "in again after a lost connection.\n"
            "\n"
            "Exit status: 0 all succeeded, 1 a command of a script failed, 2 wrong usage, 3 no connection.\n",
            DEFAULT_HOST, DEFAULT_PORT, RETRY_SCRIPT_SECONDS);
}

static bool is_port(const char *text)
{
    size_t digits = strspn(text, "0123456789");

    return digits > 0 && digits <= 5 && text[digits] == '\0' && atoi(text) >= 1 && atoi(text) <= UINT16_MAX;
}

/* HOST, HOST:PORT, [HOST], [HOST]:PORT, or an IPv6 address as it is. Cuts `address` in two. */
static bool split_address(char *address, struct arguments *arguments)
{
    char *colon = strrchr(address, ':');

    arguments->host = address;
    if (address[0] == '[') {
        char *end = strchr(address, ']');

        if (end == NULL || (end[1] != '\0' && end[1] != ':'))
            return false;
        colon = end[1] == ':' ? end + 1 : NULL;
        *end = '\0';
        arguments->host = address + 1;
    } else if (colon != NULL && strchr(address, ':') != colon) {
        colon = NULL;
    }
    if (colon != NULL) {
        *colon = '\0';
        arguments->port = colon + 1;
    }
    return arguments->host[0] != '\0' && is_port(arguments->port);
}

enum { OPTION_PASSWORD_FILE = 256, OPTION_RETRY, OPTION_NO_COLOR, OPTION_HELP, OPTION_VERSION };

static const struct option options[] = {
    {"user",          required_argument, NULL, 'u'                 },
    {"to",            required_argument, NULL, 't'                 },
    {"script",        required_argument, NULL, 's'                 },
    {"keep-going",    no_argument,       NULL, 'k'                 },
    {"password-file", required_argument, NULL, OPTION_PASSWORD_FILE},
    {"retry",         required_argument, NULL, OPTION_RETRY        },
    {"no-color",      no_argument,       NULL, OPTION_NO_COLOR     },
    {"help",          no_argument,       NULL, OPTION_HELP         },
    {"version",       no_argument,       NULL, OPTION_VERSION      },
    {NULL,            0,                 NULL, 0                   },
};

static bool parse_seconds(const char *text, double *seconds)
{
    char *end;

    *seconds = strtod(text, &end);
    return end != text && *end == '\0' && *seconds >= 0 && *seconds <= 1e9;
}

/* Ends the program after --help and --version. */
static bool take_option(int option, struct arguments *arguments)
{
    switch (option) {
    case 'u':
        return arguments->user = optarg, true;
    case 't':
        return arguments->to = optarg, true;
    case 's':
        return arguments->script = optarg, true;
    case 'k':
        return arguments->keep_going = true;
    case OPTION_PASSWORD_FILE:
        return arguments->password_file = optarg, true;
    case OPTION_RETRY:
        return parse_seconds(optarg, &arguments->retry_seconds);
    case OPTION_NO_COLOR:
        return arguments->no_color = true;
    case OPTION_HELP:
        usage(stdout);
        exit(STATUS_SUCCESS);
    case OPTION_VERSION:
        puts(CLIENT_NAME);
        exit(STATUS_SUCCESS);
    default:
        return false;
    }
}

static bool parse_arguments(int argc, char **argv, struct arguments *arguments)
{
    static char host[] = DEFAULT_HOST, port[] = DEFAULT_PORT;
    int option;

    *arguments = (struct arguments){.host = host, .port = port, .retry_seconds = RETRY_SCRIPT_SECONDS};
    while ((option = getopt_long(argc, argv, "u:t:s:k", options, NULL)) != -1)
        if (!take_option(option, arguments))
            return false;
    if (optind < argc && !split_address(argv[optind++], arguments))
        return false;
    return optind == argc && (arguments->user == NULL || strlen(arguments->user) <= NAME_MAX_BYTES) &&
           (arguments->to == NULL || strlen(arguments->to) < PEER_SIZE);
}

/* ---- passwords that are given ---- */

/* Taken out of the environment, so that no child and no reader of /proc/PID/environ finds it. */
static void take_environment(const char *name, char secret[SECRET_SIZE])
{
    char *value = getenv(name);

    if (value == NULL)
        return;
    snprintf(secret, SECRET_SIZE, "%s", value);
    explicit_bzero(value, strlen(value));
    unsetenv(name);
}

static bool read_password_file(const char *path, char secret[SECRET_SIZE])
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = fd < 0 ? -1 : read(fd, secret, SECRET_SIZE - 1); /* not stdio: its buffer would keep a copy */

    if (length < 0)
        fprintf(stderr, "chat: %s: %s\n", path, strerror(errno));
    if (fd >= 0)
        close(fd);
    secret[length < 0 ? 0 : length] = '\0';
    secret[strcspn(secret, "\r\n")] = '\0';
    return length >= 0;
}

/* ---- the terminal ---- */

static enum screen_event wait_terminal(void *arg)
{
    struct client *client = arg;

    for (;;) {
        switch (client_turn(client, STDIN_FILENO, UINT64_MAX)) {
        case CLIENT_INPUT:
            return SCREEN_INPUT;
        case CLIENT_INTERRUPTED:
            return SCREEN_INTERRUPT;
        case CLIENT_ENDED:
            return SCREEN_END;
        case CLIENT_TURNED:
            break;
        }
    }
}

static void make_prompt(void *arg, char *prompt, size_t size)
{
    const struct client *client = arg;
    const char *user = client->state.user, *chosen = client->state.chosen;
    bool nobody = user[0] == '\0', well = client_is_ready(client) && (nobody || client->state.logged_in);

    snprintf(prompt, size, "%s%s%s%s> ", nobody ? "(not logged in)" : user, well ? "" : " (offline)",
             chosen[0] == '\0' ? "" : " ", chosen);
}

static json_t *complete(void *arg, const char *before)
{
    return commands_complete(arg, before);
}

static void run_terminal(struct client *client)
{
    const char *line;

    while (!client->quit && (line = screen_read_line(client->screen)) != NULL)
        commands_run(client, line);
    client->quit = true;
    if (unsent_count(&client->unsent) > 0)
        screen_say(client->screen, SCREEN_ERROR, "* %zu messages were not sent", unsent_count(&client->unsent));
}

/* ---- main ---- */

/* What others write is UTF-8, whatever the locale says: in another one, it could be neither measured nor shown. */
static void set_locale(void)
{
    setlocale(LC_CTYPE, "");
    if (strcmp(nl_langinfo(CODESET), "UTF-8") != 0)
        setlocale(LC_CTYPE, "C.UTF-8");
}

static bool use_terminal(const struct arguments *arguments)
{
    const char *term = getenv("TERM");

    return arguments->script == NULL && isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) && term != NULL &&
           strcmp(term, "dumb") != 0;
}

static bool use_colour(const struct arguments *arguments)
{
    const char *no_color = getenv("NO_COLOR");

    return !arguments->no_color && isatty(STDOUT_FILENO) && (no_color == NULL || no_color[0] == '\0');
}

/* Signals as a descriptor: taken in the loop, where everything may be done, and not in a handler, where almost
 * nothing may (signal-safety(7)). */
static int open_signals(void)
{
    static const int taken[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGWINCH};
    sigset_t set;

    sigemptyset(&set);
    for (size_t i = 0; i < sizeof(taken) / sizeof(taken[0]); i++)
        sigaddset(&set, taken[i]);
    if (sigprocmask(SIG_BLOCK, &set, NULL) != 0)
        return -1;
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* False: said why. */
static bool open_input(struct client *client, const struct arguments *arguments)
{
    int fd = STDIN_FILENO;

    if (use_terminal(arguments))
        return (client->signals = open_signals()) >= 0;
    if (arguments->script != NULL && (fd = open(arguments->script, O_RDONLY | O_CLOEXEC)) < 0) {
        fprintf(stderr, "chat: %s: %s\n", arguments->script, strerror(errno));
        return false;
    }
    client->script = script_new(fd, arguments->script != NULL, arguments->keep_going || isatty(fd));
    return client->script != NULL;
}

static bool client_init(struct client *client, const struct arguments *arguments)
{
    struct screen_user user = {wait_terminal, make_prompt, complete, client};

    *client = (struct client){.signals = -1, .resume_ms = UINT64_MAX};
    client->retry_limit_ms = (uint64_t)(arguments->retry_seconds * 1000);
    state_init(&client->state);
    unsent_init(&client->unsent);
    client->secrets = secrets_new();
    if (client->secrets == NULL || !client_connect(client, arguments->host, arguments->port) ||
        !open_input(client, arguments))
        return false;
    client->screen = screen_new(client->script == NULL, use_colour(arguments), user);
    take_environment("CHAT_PASSWORD", client->secrets->given);
    take_environment("CHAT_NEW_PASSWORD", client->secrets->given_new);
    return client->screen != NULL &&
           (arguments->password_file == NULL || read_password_file(arguments->password_file, client->secrets->given));
}

static void client_fini(struct client *client)
{
    if (client->connection != NULL)
        connection_free(client->connection);
    if (client->screen != NULL)
        screen_free(client->screen);
    if (client->script != NULL)
        script_free(client->script);
    if (client->secrets != NULL)
        secrets_free(client->secrets);
    json_decref(client->history.messages);
    unsent_fini(&client->unsent);
    state_fini(&client->state);
}

/* What the command line asks for, before the first line. */
static void run_arguments(struct client *client, const struct arguments *arguments)
{
    char login[sizeof("/login ") + NAME_MAX_BYTES];

    if (arguments->user != NULL) {
        snprintf(login, sizeof(login), "/login %s", arguments->user);
        commands_run(client, login);
        while (client_busy(client) && !client_gave_up(client) && client_turn(client, -1, UINT64_MAX) == CLIENT_TURNED)
            ;
        if (client->script != NULL && !client->state.logged_in) {
            client->quit = true;
            client->status = STATUS_COMMAND_FAILED;
        }
    }
    if (arguments->to != NULL)
        messages_choose(client, arguments->to);
}

static int run(struct client *client, const struct arguments *arguments)
{
    if (!client_wait_ready(client))
        return STATUS_NO_CONNECTION;
    run_arguments(client, arguments);
    if (client->script != NULL)
        script_run(client);
    else
        run_terminal(client);
    return client->status;
}

int main(int argc, char **argv)
{
    struct arguments arguments;
    struct client client;
    int status = STATUS_USAGE;

    set_locale();
    if (!parse_arguments(argc, argv, &arguments)) {
        usage(stderr);
        return STATUS_USAGE;
    }
    secrets_wipe_json();
    if (client_init(&client, &arguments))
        status = run(&client, &arguments);
    client_fini(&client);
    return status;
}
