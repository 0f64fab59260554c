/* screen.c - what the user sees and types: lines above, the line being typed below. */
#include "screen.h"

#include <errno.h>
#include <histedit.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>
#include <wchar.h>

#include "client_limits.h"
#include "text.h"

#define PROMPT_SIZE 128
#define COLUMNS_USUAL 80

/* Brackets around what moves no cursor in a prompt (editline(3), EL_PROMPT_ESC). */
#define PROMPT_HIDE "\1"

enum mode { SHOWING, EDITING, ASKING };

struct screen {
    struct screen_user user;
    bool terminal, colour;
    enum mode mode;
    EditLine *edit;
    History *history;
    HistEvent history_event;
    char prompt[PROMPT_SIZE], prompt_drawn[PROMPT_SIZE + 16];
    char question[PROMPT_SIZE]; /* while ASKING */
    struct termios asking;      /* how the terminal is set while ASKING */
    size_t entered_rows;        /* that the line just entered took on the screen */
    char input[256];            /* bytes read, not yet given to libedit */
    size_t input_length;
    bool interrupted, ended;
};

/* ---- drawing ---- */

static unsigned terminal_columns(void)
{
    struct winsize size;

    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0)
        return COLUMNS_USUAL;
    return size.ws_col;
}

/* Rows between the first one of the prompt and the place `end` of the typed line. */
static unsigned rows_above(struct screen *screen, const wchar_t *begin, const wchar_t *end)
{
    unsigned columns = (unsigned)strlen(screen->prompt), width = terminal_columns(), row;

    row = columns / width;
    columns %= width;
    for (; begin < end; begin++) {
        unsigned wide = text_columns(*begin);

        if (columns + wide > width) { /* a wide character is not cut in two: it begins the next row */
            row++;
            columns = 0;
        }
        columns += wide;
        row += columns / width;
        columns %= width;
    }
    return row;
}

/* The cursor goes to where the prompt begins, and everything from there on is blank. */
static void erase_rows(size_t rows)
{
    if (rows > 0)
        printf("\033[%zuA", rows);
    fputs("\r\033[J", stdout);
}

static void erase_typed(struct screen *screen)
{
    const LineInfoW *line = el_wline(screen->edit);

    erase_rows(rows_above(screen, line->buffer, line->cursor));
}

static void draw_below(struct screen *screen)
{
    if (screen->mode == EDITING)
        el_set(screen->edit, EL_REFRESH); /* libedit forgets what it drew, and draws all of it here */
    else if (screen->mode == ASKING)
        fputs(screen->question, stdout);
    fflush(stdout);
}

static void show(struct screen *screen, const struct buffer *line)
{
    if (screen->mode == EDITING)
        erase_typed(screen);
    else if (screen->mode == ASKING)
        fputs("\r\033[J", stdout);
    fwrite(line->bytes, 1, line->length, stdout);
    fputc('\n', stdout);
    screen->entered_rows = 0; /* it is no longer the last thing on the screen */
    draw_below(screen);
}

/* Without a terminal, complaints are for standard error, as a program's are. */
static void show_error(struct screen *screen, const struct buffer *line)
{
    if (screen->terminal)
        show(screen, line);
    else
        fprintf(stderr, "%.*s\n", (int)line->length, line->bytes);
}

static void append_styled(struct screen *screen, struct buffer *line, const char *style, const char *text)
{
    if (screen->colour)
        text_append(line, style);
    text_append_safe(line, text);
    if (screen->colour)
        text_append(line, "\033[0m");
}

void screen_say(struct screen *screen, enum screen_style style, const char *format, ...)
{
    static const char *const styles[] = {
        [SCREEN_PLAIN] = "", [SCREEN_NOTICE] = "\033[36m", [SCREEN_ERROR] = "\033[31m"};
    struct buffer line = {0};
    va_list arguments;
    char *text;
    int length;

    va_start(arguments, format);
    length = vasprintf(&text, format, arguments);
    va_end(arguments);
    if (length < 0)
        return;
    append_styled(screen, &line, styles[style], text);
    if (style == SCREEN_ERROR)
        show_error(screen, &line);
    else
        show(screen, &line);
    buffer_fini(&line);
    free(text);
}

/* The same colour for the same name, at every time and in every client. */
static const char *colour_of(const char *who)
{
    static const char *const colours[] = {"\033[32m", "\033[33m", "\033[34m", "\033[35m", "\033[36m"};
    unsigned sum = 0;

    for (; *who != '\0'; who++)
        sum = sum * 31 + (unsigned char)*who;
    return colours[sum % (sizeof(colours) / sizeof(colours[0]))];
}

void screen_message(struct screen *screen, int64_t unix_ms, const char *where, const char *who, const char *text)
{
    struct buffer line = {0};
    char at[TEXT_TIME_SIZE];

    text_time(at, unix_ms);
    append_styled(screen, &line, "\033[2m", at);
    text_append(&line, " ");
    if (where[0] != '\0') {
        append_styled(screen, &line, "\033[1m", where);
        text_append(&line, " ");
    }
    append_styled(screen, &line, colour_of(who), who);
    text_append(&line, ": ");
    text_append_safe(&line, text);
    show(screen, &line);
    buffer_fini(&line);
}

/* ---- characters for libedit ---- */

/* The first character of the input: 1, or 0 when it is not whole. Bytes that are no UTF-8 are passed over. */
static int take_character(struct screen *screen, wchar_t *character)
{
    while (screen->input_length > 0) {
        mbstate_t state = {0};
        size_t length = mbrtowc(character, screen->input, screen->input_length, &state);

        if (length == (size_t)-2)
            return 0;
        bool valid = length != (size_t)-1;

        if (!valid || length == 0)
            length = 1; /* a NUL has length 0 */
        screen->input_length -= length;
        memmove(screen->input, screen->input + length, screen->input_length);
        if (valid)
            return 1;
    }
    return 0;
}

/* After SCREEN_INPUT; poll() said that read() will not block. */
static void read_input(struct screen *screen)
{
    ssize_t got =
        read(STDIN_FILENO, screen->input + screen->input_length, sizeof(screen->input) - screen->input_length);

    if (got > 0)
        screen->input_length += (size_t)got;
    else if (got == 0 || (errno != EINTR && errno != EAGAIN))
        screen->ended = true; /* EIO: the terminal is gone */
}

static void wait_input(struct screen *screen)
{
    enum screen_event event = screen->user.wait(screen->user.arg);

    if (event == SCREEN_INPUT)
        read_input(screen);
    else if (event == SCREEN_INTERRUPT)
        screen->interrupted = true;
    else
        screen->ended = true;
}

static int read_character(EditLine *edit, wchar_t *character)
{
    struct screen *screen;

    el_get(edit, EL_CLIENTDATA, &screen);
    while (take_character(screen, character) == 0) {
        if (screen->ended)
            return 0;
        wait_input(screen);
        if (screen->interrupted)
            return -1; /* el_gets() comes back; screen_read_line() begins anew with an empty line */
    }
    return 1;
}

/* ---- completion ---- */

static size_t common_prefix(const json_t *names)
{
    const char *first = json_string_value(json_array_get(names, 0));
    size_t length = strlen(first), i;
    json_t *name;

    json_array_foreach(names, i, name)
    {
        size_t same = 0;

        while (same < length && json_string_value(name)[same] == first[same])
            same++;
        length = same;
    }
    return length;
}

static void list_names(struct screen *screen, const json_t *names)
{
    struct buffer list = {0};
    size_t i;
    json_t *name;

    json_array_foreach(names, i, name)
    {
        text_append(&list, i == 0 ? "  " : "   ");
        text_append_safe(&list, json_string_value(name));
    }
    show(screen, &list);
    buffer_fini(&list);
}

/* `word_bytes` of the word stand there already: add what all names have in common, or show the choice. */
static unsigned char complete_word(struct screen *screen, const json_t *names, size_t word_bytes)
{
    const char *first = json_string_value(json_array_get(names, 0));
    size_t common = common_prefix(names);
    char rest[PROMPT_SIZE];

    snprintf(rest, sizeof(rest), "%.*s%s", (int)(common - word_bytes), first + word_bytes,
             json_array_size(names) == 1 ? " " : "");
    if (rest[0] == '\0') {
        list_names(screen, names);
        return CC_NORM;
    }
    return el_insertstr(screen->edit, rest) == 0 ? CC_REFRESH : CC_ERROR;
}

static unsigned char complete(EditLine *edit, int key)
{
    const LineInfo *line = el_line(edit);
    char *before = strndup(line->buffer, (size_t)(line->cursor - line->buffer));
    unsigned char result = CC_ERROR;
    struct screen *screen;
    json_t *names;

    (void)key;
    el_get(edit, EL_CLIENTDATA, &screen);
    if (before == NULL)
        return CC_ERROR;
    const char *space = strrchr(before, ' ');

    names = screen->user.complete(screen->user.arg, before);
    if (json_array_size(names) > 0)
        result = complete_word(screen, names, strlen(space == NULL ? before : space + 1));
    json_decref(names);
    free(before);
    return result;
}

/* ---- reading lines ---- */

/* The user's name in it is what the server said it is (I1). */
static void make_prompt(struct screen *screen)
{
    struct buffer safe = {0};
    char prompt[PROMPT_SIZE];

    screen->user.prompt(screen->user.arg, prompt, sizeof(prompt));
    text_append_safe(&safe, prompt);
    snprintf(screen->prompt, sizeof(screen->prompt), "%.*s", (int)safe.length, safe.bytes);
    buffer_fini(&safe);
}

static char *draw_prompt(EditLine *edit)
{
    struct screen *screen;

    el_get(edit, EL_CLIENTDATA, &screen);
    make_prompt(screen);
    snprintf(screen->prompt_drawn, sizeof(screen->prompt_drawn),
             screen->colour ? PROMPT_HIDE "\033[1m" PROMPT_HIDE "%s" PROMPT_HIDE "\033[0m" PROMPT_HIDE : "%s",
             screen->prompt);
    return screen->prompt_drawn;
}

static void remember_line(struct screen *screen, const char *line)
{
    if (line[strspn(line, " \n")] != '\0')
        history(screen->history, &screen->history_event, H_ENTER, line);
}

/* Raw between lines, too: el_gets() goes back to echo at its end and draws the next prompt before it is raw again, and
 * what is typed in between would stand on the screen twice. */
static void hold_terminal(struct screen *screen)
{
    el_set(screen->edit, EL_PREP_TERM, 1);
}

static const char *edit_line(struct screen *screen)
{
    int length = 0;

    screen->interrupted = false;
    screen->mode = EDITING;
    const char *line = el_gets(screen->edit, &length);

    screen->mode = SHOWING;
    hold_terminal(screen);
    return length > 0 ? line : NULL;
}

/* Where the cursor stood when SIGINT or the end came, there it still stands. */
static void leave_line(void)
{
    fputs("\r\n\033[J", stdout);
    fflush(stdout);
}

static size_t rows_of_typed(struct screen *screen)
{
    const LineInfoW *typed = el_wline(screen->edit);

    return rows_above(screen, typed->buffer, typed->lastchar) + 1;
}

const char *screen_read_line(struct screen *screen)
{
    const char *line;

    for (;;) {
        line = edit_line(screen);
        if (screen->interrupted) {
            leave_line();
            continue;
        }
        break;
    }
    if (line == NULL || screen->ended) {
        leave_line();
        return NULL;
    }
    screen->entered_rows = rows_of_typed(screen);
    remember_line(screen, line);
    return line;
}

void screen_erase_entered(struct screen *screen)
{
    if (screen->entered_rows > 0)
        erase_rows(screen->entered_rows);
    screen->entered_rows = 0;
    fflush(stdout);
}

/* ---- reading a secret: the terminal itself edits the line, and shows nothing of it ---- */

static void echo_off(struct screen *screen)
{
    tcgetattr(STDIN_FILENO, &screen->asking);
    screen->asking.c_lflag &= ~(tcflag_t)ECHO;
    screen->asking.c_lflag |= ICANON | ECHONL;
    tcsetattr(STDIN_FILENO, TCSADRAIN, &screen->asking);
}

/* The first line of the input into `secret`. False: it is not whole. */
static bool take_secret(struct screen *screen, char *secret, size_t size)
{
    char *end = memchr(screen->input, '\n', screen->input_length);
    size_t length = end == NULL ? 0 : (size_t)(end - screen->input);

    if (end == NULL)
        return false;
    snprintf(secret, size, "%.*s", (int)length, screen->input);
    screen->input_length -= length + 1;
    memmove(screen->input, end + 1, screen->input_length);
    explicit_bzero(screen->input + screen->input_length, length + 1);
    return true;
}

bool screen_read_secret(struct screen *screen, const char *question, char *secret, size_t size)
{
    struct termios usual;
    bool taken = false;

    if (!screen->terminal)
        return false;
    el_set(screen->edit, EL_PREP_TERM, 0);
    tcgetattr(STDIN_FILENO, &usual);
    snprintf(screen->question, sizeof(screen->question), "%s", question);
    screen->interrupted = false;
    screen->entered_rows = 0;
    screen->mode = ASKING;
    echo_off(screen);
    draw_below(screen);
    while (!(taken = take_secret(screen, secret, size)) && !screen->ended && !screen->interrupted) {
        if (screen->input_length == sizeof(screen->input))
            break; /* no password is so long */
        wait_input(screen);
    }
    screen->mode = SHOWING;
    tcsetattr(STDIN_FILENO, TCSADRAIN, &usual);
    hold_terminal(screen);
    if (!taken)
        leave_line();
    return taken;
}

/* ---- signals of the terminal ---- */

void screen_resized(struct screen *screen)
{
    if (screen->edit == NULL)
        return;
    el_resize(screen->edit);
    if (screen->mode == EDITING)
        el_set(screen->edit, EL_REFRESH);
}

void screen_suspend(struct screen *screen)
{
    struct termios usual;

    if (screen->mode == EDITING)
        erase_typed(screen);
    fflush(stdout);
    el_set(screen->edit, EL_PREP_TERM, 0);
    if (screen->mode == ASKING && tcgetattr(STDIN_FILENO, &usual) == 0) {
        usual.c_lflag |= ECHO;
        tcsetattr(STDIN_FILENO, TCSADRAIN, &usual);
    }
    raise(SIGSTOP);
    if (screen->mode == ASKING)
        tcsetattr(STDIN_FILENO, TCSADRAIN, &screen->asking);
    else
        hold_terminal(screen);
    erase_rows(0); /* what the shell left in this row */
    draw_below(screen);
}

/* ---- the whole ---- */

static bool open_editor(struct screen *screen)
{
    screen->edit = el_init("chat", stdin, stdout, stderr);
    screen->history = history_init();
    if (screen->edit == NULL || screen->history == NULL)
        return false;
    history(screen->history, &screen->history_event, H_SETSIZE, LINES_KEPT);
    history(screen->history, &screen->history_event, H_SETUNIQUE, 1);
    el_set(screen->edit, EL_CLIENTDATA, screen);
    el_set(screen->edit, EL_EDITOR, "emacs");
    el_set(screen->edit, EL_SIGNAL, 0); /* the client's signalfd has them */
    el_set(screen->edit, EL_HIST, history, screen->history);
    el_set(screen->edit, EL_PROMPT_ESC, draw_prompt, PROMPT_HIDE[0]);
    el_wset(screen->edit, EL_ADDFN, L"chat-complete", L"complete a command or a name",
            complete); /* el_set() leaks them */
    el_set(screen->edit, EL_BIND, "^I", "chat-complete", NULL);
    el_set(screen->edit, EL_BIND, "^R", "em-inc-search-prev", NULL);
    el_source(screen->edit, NULL);
    el_set(screen->edit, EL_GETCFN, read_character);
    hold_terminal(screen);
    return true;
}

struct screen *screen_new(bool terminal, bool colour, struct screen_user user)
{
    struct screen *screen = calloc(1, sizeof(*screen));

    if (screen == NULL)
        return NULL;
    screen->user = user;
    screen->terminal = terminal;
    screen->colour = colour;
    setvbuf(stdout, NULL, terminal ? _IOFBF : _IOLBF, 0);
    if (terminal && !open_editor(screen)) {
        screen_free(screen);
        return NULL;
    }
    return screen;
}

void screen_free(struct screen *screen)
{
    if (screen->edit != NULL)
        el_end(screen->edit);
    if (screen->history != NULL)
        history_end(screen->history);
    free(screen);
}
