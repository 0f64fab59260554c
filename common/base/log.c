/* log.c - see log.h.
 *
 *      2026-03-01T12:00:00.123Z warn  accept: Too many open files
 */
#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

/* A line, its end included. Longer ones are cut: a pipe takes up to PIPE_BUF (4096) bytes in one piece (pipe(7)). */
#define LINE_BYTES 2048

static enum log_level level_shown = LOG_INFO;

void log_set_level(enum log_level level)
{
    level_shown = level;
}

enum log_level log_get_level(void)
{
    return level_shown;
}

/* Time and level; returns the length. */
static size_t write_prefix(char *line, enum log_level level)
{
    static const char *const names[] = {"error", "warn ", "info ", "debug"};
    int64_t now_ms = clock_unix_ms();
    time_t now = (time_t)(now_ms / 1000);
    struct tm utc;
    size_t length;

    gmtime_r(&now, &utc);
    length = strftime(line, LINE_BYTES, "%Y-%m-%dT%H:%M:%S", &utc);
    return length +
           (size_t)snprintf(line + length, LINE_BYTES - length, ".%03dZ %s ", (int)(now_ms % 1000), names[level]);
}

/* A path or what a library says may hold line breaks: a record stays one line, and nothing in it moves a cursor. */
static void keep_one_line(char *text, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7F)
            text[i] = ' ';
}

void log_write(enum log_level level, const char *format, ...)
{
    int saved_errno = errno;
    char line[LINE_BYTES];
    size_t length;
    va_list arguments;
    int written;

    if (level > level_shown)
        return;
    length = write_prefix(line, level);
    errno = saved_errno; /* for %m */
    va_start(arguments, format);
    written = vsnprintf(line + length, sizeof line - length, format, arguments);
    va_end(arguments);
    if (written > 0)
        length += (size_t)written;
    if (length > sizeof line - 1)
        length = sizeof line - 1; /* cut by vsnprintf(3), which kept one byte for its NUL */
    keep_one_line(line, length);
    line[length++] = '\n';

    /* There is nobody to tell when the log cannot be written; a signal is no reason to lose a line. */
    while (write(STDERR_FILENO, line, length) < 0 && errno == EINTR)
        continue;
    errno = saved_errno;
}

/* `byte` as it is shown, in at most 4 characters; returns their number. */
static size_t quote_byte(char shown[5], unsigned char byte)
{
    if (byte == '"' || byte == '\'' || byte == '\\')
        return (size_t)snprintf(shown, 5, "\\%c", byte);
    if (byte >= 0x20 && byte <= 0x7E)
        return (size_t)snprintf(shown, 5, "%c", byte);
    return (size_t)snprintf(shown, 5, "\\x%02X", byte);
}

const char *log_quote(char *out, size_t out_bytes, const void *bytes, size_t length)
{
    static const char ellipsis[] = "...";
    const unsigned char *text = bytes;
    size_t used = 0, fits = 0; /* fits: how much of `out` may stay when the ellipsis must follow */
    size_t next;
    char shown[5];

    if (out_bytes == 0)
        return out;
    for (next = 0; next < length; next++) {
        size_t shown_length = quote_byte(shown, text[next]);

        if (used + shown_length >= out_bytes)
            break;
        memcpy(out + used, shown, shown_length);
        used += shown_length;
        if (used + sizeof ellipsis <= out_bytes)
            fits = used;
    }
    if (next < length)
        used = fits + (size_t)snprintf(out + fits, out_bytes - fits, "%s", ellipsis);
    out[used < out_bytes ? used : out_bytes - 1] = '\0';
    return out;
}
