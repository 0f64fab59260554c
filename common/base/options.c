/* options.c - see options.h.
 *
 * Idea.       One table: a row says what an option is called, what it takes, where the value goes and what it is when
 *             nobody says. Parser, defaults and --help are read from it, so they cannot disagree. Defaults are given as
 *             a user would type them, and go through the same parser.
 */
#include "base/options.h"

#include <assert.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/limits.h"
#include "base/log.h"
#include "base/workers.h"

enum row_kind {
    ROW_TEXT,    /* anything but nothing: const char * */
    ROW_NUMBER,  /* minimum to maximum: an unsigned integer of `width` bytes */
    ROW_SECONDS, /* minimum to maximum milliseconds, written as seconds with a fraction: uint64_t */
    ROW_CHOICE,  /* one of the words of `argument`, divided by '|', in the order of the field's enum */
    ROW_ORIGIN,  /* HOST[:PORT], as often as one likes: allow_origins */
    ROW_THREADS, /* as ROW_NUMBER; only in a stage that takes it */
    ROW_VERSION,
    ROW_HELP
};

struct row {
    const char *name;
    enum row_kind kind;
    const char *argument; /* as --help shows it; NULL: the option takes none */
    size_t offset, width; /* the field of struct options */
    uint64_t minimum, maximum;
    const char *otherwise; /* the default; NULL: none */
    const char *help;
};

#define FIELD(name) offsetof(struct options, name), sizeof((struct options *)0)->name
#define NO_FIELD 0, 0
#define NO_LIMITS 0, 0
#define DURATION_MS 1, 31536000000 /* a millisecond to a year */

/* --max-connections: as many descriptors as Linux gives to a process unless told otherwise (fs.nr_open, proc(5)). */
#define MAX_CONNECTIONS_MAX 1000000
/* --outbox-limit: less could not hold one large frame; more would be no limit. */
#define OUTBOX_LIMIT_MIN 65536
#define OUTBOX_LIMIT_MAX (1u << 30)

/* (Out of clang-format: it would make columns of it, wider than any screen.) */
/* clang-format off */
static const struct row rows[] = {
    {"host", ROW_TEXT, "HOST", FIELD(host), NO_LIMITS, "127.0.0.1", "name or address to listen on, IPv4 or IPv6"},
    {"port", ROW_NUMBER, "PORT", FIELD(port), 0, 65535, "8000", "port to listen on; 0: any free one"},
    {"data", ROW_TEXT, "DIR", FIELD(data), NO_LIMITS, "./chat-data",
     "directory of the database; made when missing"},
    {"store", ROW_CHOICE, "sqlite|memory", FIELD(store), NO_LIMITS, "sqlite", "where the chat is kept"},
    {"durability", ROW_CHOICE, "full|normal", FIELD(durability), NO_LIMITS, "full",
     "what a power cut may take: nothing, or the last moments"},
    {"password-cost", ROW_CHOICE, "interactive|min", FIELD(password_cost), NO_LIMITS, "interactive",
     "cost of a password's hash; min is for tests"},
    {"max-connections", ROW_NUMBER, "N", FIELD(max_connections), 1, MAX_CONNECTIONS_MAX, "10000",
     "connections served at once"},
    {"login-timeout", ROW_SECONDS, "SECONDS", FIELD(login_timeout_ms), DURATION_MS, "30", "time to log in"},
    {"frame-timeout", ROW_SECONDS, "SECONDS", FIELD(frame_timeout_ms), DURATION_MS, "30",
     "time to complete a frame that was begun"},
    {"idle-timeout", ROW_SECONDS, "SECONDS", FIELD(idle_timeout_ms), DURATION_MS, "120",
     "time after which a silent connection is closed"},
    {"heartbeat", ROW_SECONDS, "SECONDS", FIELD(heartbeat_ms), DURATION_MS, "30",
     "time after which a session hears from the server"},
    {"lockout-window", ROW_SECONDS, "SECONDS", FIELD(lockout_window_ms), DURATION_MS, "1800",
     "time for which wrong passwords count"},
    {"rate-limit", ROW_NUMBER, "N", FIELD(rate_limit), 0, 1000000, "200",
     "requests a second and connection; 0: no limit"},
    {"outbox-limit", ROW_NUMBER, "BYTES", FIELD(outbox_limit), OUTBOX_LIMIT_MIN, OUTBOX_LIMIT_MAX, "1048576",
     "bytes that may wait for a peer that does not read"},
    {"allow-origin", ROW_ORIGIN, "HOST[:PORT]", NO_FIELD, NO_LIMITS, NULL,
     "also serve web pages from there; repeatable"},
    {"threads", ROW_THREADS, "N", FIELD(threads), 1, HUBS_MAX, NULL, "I/O threads (default: one a core)"},
    {"log-level", ROW_CHOICE, "error|warn|info|debug", FIELD(log_level), NO_LIMITS, "info", "least level to log"},
    {"version", ROW_VERSION, NULL, NO_FIELD, NO_LIMITS, NULL, "print the version and exit"},
    {"help", ROW_HELP, NULL, NO_FIELD, NO_LIMITS, NULL, "print this and exit"},
};
/* clang-format on */

#define ROW_COUNT (sizeof rows / sizeof rows[0])

/* ---- values ---- */

/* Unsigned, decimal, nothing else around it: strtoull(3) would take spaces, signs and "0x". */
static bool parse_digits(const char *text, size_t length, uint64_t *number)
{
    *number = 0;
    for (size_t i = 0; i < length; i++) {
        if (text[i] < '0' || text[i] > '9' || *number > (UINT64_MAX - 9) / 10)
            return false;
        *number = *number * 10 + (uint64_t)(text[i] - '0');
    }
    return length > 0;
}

/* "30", "0.5", ".5": milliseconds; what is finer is cut off. */
static bool parse_seconds(const char *text, uint64_t *milliseconds)
{
    size_t whole_length = strcspn(text, "."), fraction_length;
    const char *fraction = text + whole_length + (text[whole_length] == '.');
    uint64_t whole = 0, part = 0, thousandths = 0;

    fraction_length = strlen(fraction);
    if (whole_length + fraction_length == 0)
        return false;
    if (whole_length > 0 && !parse_digits(text, whole_length, &whole))
        return false;
    if (fraction_length > 0 && !parse_digits(fraction, fraction_length, &part))
        return false;
    for (size_t i = 0; i < 3; i++)
        thousandths = thousandths * 10 + (i < fraction_length ? (uint64_t)(fraction[i] - '0') : 0);
    if (whole > UINT64_MAX / 1000 - 1)
        return false;
    *milliseconds = whole * 1000 + thousandths;
    return true;
}

/* Which of the words of "full|normal" `text` is; false: none. */
static bool parse_choice(const char *words, const char *text, uint64_t *index)
{
    size_t length = strlen(text);

    for (*index = 0; *words; ++*index) {
        size_t word_length = strcspn(words, "|");

        if (word_length == length && memcmp(words, text, length) == 0)
            return true;
        words += word_length;
        words += *words == '|';
    }
    return false;
}

/* HOST or HOST:PORT, IPv6 in brackets: what a browser's Origin has behind its "https://" (W-6). */
static bool is_origin(const char *text)
{
    static const char name[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-_";
    bool bracketed = *text == '[';
    size_t length = bracketed ? 1 + strspn(text + 1, "0123456789abcdefABCDEF:.") : strspn(text, name);
    uint64_t port;

    if (bracketed && text[length++] != ']')
        return false;
    if (length == 0 || text[length] == '\0')
        return length > 0;
    text += length + 1;
    return text[-1] == ':' && parse_digits(text, strlen(text), &port) && port >= 1 && port <= 65535;
}

/* ---- rows ---- */

static void store_number(struct options *options, const struct row *row, uint64_t number)
{
    void *field = (char *)options + row->offset;

    switch (row->width) {
    case sizeof(uint16_t):
        *(uint16_t *)field = (uint16_t)number;
        break;
    case sizeof(uint32_t):
        *(uint32_t *)field = (uint32_t)number; /* the enums, too: gcc(1), -fshort-enums is not given */
        break;
    default:
        assert(row->width == sizeof(uint64_t));
        *(uint64_t *)field = number;
    }
}

static bool set_origin(struct options *options, const char *value)
{
    if (!is_origin(value) || options->allow_origin_count == OPTION_ALLOW_ORIGINS_MAX)
        return false;
    options->allow_origins[options->allow_origin_count++] = value;
    return true;
}

/* False: `value` is none of the row's. */
static bool row_set(struct options *options, const struct row *row, const char *value)
{
    uint64_t number = 0;
    bool parsed;

    switch (row->kind) {
    case ROW_TEXT:
        *(const char **)(void *)((char *)options + row->offset) = value;
        return *value != '\0';
    case ROW_ORIGIN:
        return set_origin(options, value);
    case ROW_CHOICE:
        if (!parse_choice(row->argument, value, &number))
            return false;
        store_number(options, row, number);
        return true;
    default:
        parsed = row->kind == ROW_SECONDS ? parse_seconds(value, &number) : parse_digits(value, strlen(value), &number);
        if (!parsed || number < row->minimum || number > row->maximum)
            return false;
        store_number(options, row, number);
        return true;
    }
}

static bool row_is_known(const struct row *row, bool takes_threads)
{
    return row->kind != ROW_THREADS || takes_threads;
}

/* Tell what the row takes, and what it was given. */
static void complain_value(const struct row *row, const char *stage, const char *value)
{
    char quoted[128];

    fprintf(stderr, "%s: --%s takes ", stage, row->name);
    switch (row->kind) {
    case ROW_TEXT:
        fprintf(stderr, "a %s", row->argument);
        break;
    case ROW_ORIGIN:
        fprintf(stderr, "%s without a scheme, at most %d times", row->argument, OPTION_ALLOW_ORIGINS_MAX);
        break;
    case ROW_CHOICE:
        fprintf(stderr, "one of %s", row->argument);
        break;
    case ROW_SECONDS:
        fprintf(stderr, "seconds, from %.3f to %.0f", (double)row->minimum / 1000, (double)row->maximum / 1000);
        break;
    default:
        fprintf(stderr, "a whole number, from %llu to %llu", (unsigned long long)row->minimum,
                (unsigned long long)row->maximum);
    }
    fprintf(stderr, ", not \"%s\"\n", log_quote(quoted, sizeof quoted, value, strlen(value)));
}

/* ---- the command line ---- */

static void print_help(const char *stage, bool takes_threads)
{
    char left[64];

    printf("Usage: %s [OPTION]...\nA chat server. Its protocol is in docs/protocol.md.\n\n", stage);
    for (const struct row *row = rows; row < rows + ROW_COUNT; row++) {
        if (!row_is_known(row, takes_threads))
            continue;
        snprintf(left, sizeof left, "--%s%s%s", row->name, row->argument ? "=" : "",
                 row->argument ? row->argument : "");
        printf("  %-35s %s", left, row->help);
        if (row->otherwise)
            printf(" (default: %s)", row->otherwise);
        putchar('\n');
    }
}

static void set_defaults(struct options *options, const char *stage)
{
    size_t cores = workers_available_cores();

    *options = (struct options){.stage = stage, .threads = (unsigned)(cores < HUBS_MAX ? cores : HUBS_MAX)};
    for (const struct row *row = rows; row < rows + ROW_COUNT; row++) {
        bool set = !row->otherwise || row_set(options, row, row->otherwise);

        assert(set);
        (void)set;
    }
}

/* The table as getopt_long(3) wants it. `val` is the row's number and one: 0 has a meaning of its own there. */
static void make_long_options(struct option known[ROW_COUNT + 1], bool takes_threads)
{
    size_t count = 0;

    for (size_t i = 0; i < ROW_COUNT; i++) {
        if (row_is_known(&rows[i], takes_threads))
            known[count++] =
                (struct option){rows[i].name, rows[i].argument ? required_argument : no_argument, NULL, (int)i + 1};
    }
    known[count] = (struct option){0};
}

/* What getopt_long(3) found wrong, in a sentence. `optopt` is the number of a row where it recognised one, else the
 * letter of a short option, else 0; `word` is the last one it finished. */
static void complain_option(const char *stage, int found, const char *word)
{
    char quoted[128];
    char letter = (char)optopt;

    if (found == ':')
        fprintf(stderr, "%s: --%s takes an argument\n", stage, rows[optopt - 1].name);
    else if (optopt == 0)
        fprintf(stderr, "%s: there is no option %s\n", stage, log_quote(quoted, sizeof quoted, word, strlen(word)));
    else if (optopt > 0 && optopt <= (int)ROW_COUNT)
        fprintf(stderr, "%s: --%s takes no argument\n", stage, rows[optopt - 1].name);
    else
        fprintf(stderr, "%s: there is no option -%s\n", stage, log_quote(quoted, sizeof quoted, &letter, 1));
}

static enum options_result usage(const char *stage)
{
    fprintf(stderr, "%s --help tells which options there are.\n", stage);
    return OPTIONS_EXIT_USAGE;
}

/* One option that getopt_long(3) recognised. */
static enum options_result take_option(struct options *options, const struct row *row, const char *value,
                                       bool takes_threads)
{
    if (row->kind == ROW_HELP) {
        print_help(options->stage, takes_threads);
        return OPTIONS_EXIT_SUCCESS;
    }
    if (row->kind == ROW_VERSION) {
        printf("%s %s\n", options->stage, CHAT_VERSION);
        return OPTIONS_EXIT_SUCCESS;
    }
    if (!row_set(options, row, value)) {
        complain_value(row, options->stage, value);
        return usage(options->stage);
    }
    if (row->offset == offsetof(struct options, max_connections))
        options->max_connections_given = options->max_connections;
    return OPTIONS_RUN;
}

enum options_result options_parse(struct options *options, const char *stage, bool takes_threads, int argc, char **argv)
{
    struct option known[ROW_COUNT + 1];
    enum options_result result = OPTIONS_RUN;
    int found;

    set_defaults(options, stage);
    make_long_options(known, takes_threads);
    optind = 0; /* from the start, also the second time (getopt(3), NOTES) */
    opterr = 0; /* the sentences are ours */
    while (result == OPTIONS_RUN && (found = getopt_long(argc, argv, ":", known, NULL)) != -1) {
        if (found == '?' || found == ':') {
            complain_option(stage, found, argv[optind - 1]);
            return usage(stage);
        }
        result = take_option(options, &rows[found - 1], optarg, takes_threads);
    }
    if (result == OPTIONS_RUN && optind < argc) {
        char quoted[128];

        fprintf(stderr, "%s: \"%s\" is no option\n", stage,
                log_quote(quoted, sizeof quoted, argv[optind], strlen(argv[optind])));
        return usage(stage);
    }
    return result;
}

void options_raise_descriptor_limit(struct options *options, size_t besides)
{
    size_t fixed = besides + REFUSED_CONNECTIONS_MAX;
    rlim_t needed = options->max_connections + fixed;
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0) {
        log_warn("cannot ask for the limit on descriptors: %m");
        return;
    }
    if (limit.rlim_cur >= needed) /* RLIM_INFINITY is the largest number */
        return;
    if (limit.rlim_max < needed)
        needed = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &(struct rlimit){needed, limit.rlim_max}) < 0) {
        log_warn("cannot raise the limit on descriptors to %llu: %m", (unsigned long long)needed);
        needed = limit.rlim_cur;
    }
    if (needed >= options->max_connections + fixed)
        return;
    options->max_connections = needed > fixed ? (size_t)needed - fixed : 1;
    log_warn("--max-connections is %zu here: this process may have %llu descriptors (ulimit -Hn)",
             options->max_connections, (unsigned long long)needed);
}
