/* log.h - one line an event to standard error (S-2): time, level, text.
 *
 * Threads.    Any. A line is one write(2), so lines of different threads do not mix.
 * You must    not log a password, a hash, or the text of a message. Bytes that a peer chose go through
 *             log_quote(), so that nobody forges a line.
 */
#ifndef CHAT_LOG_H
#define CHAT_LOG_H

#include <stddef.h>

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

/* Set once, before there are threads. Default: LOG_INFO. */
void log_set_level(enum log_level level);
enum log_level log_get_level(void);

/* The line ends itself; errno is left as it was. */
void log_write(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_write(LOG_ERROR, __VA_ARGS__)
#define log_warn(...) log_write(LOG_WARN, __VA_ARGS__)
#define log_info(...) log_write(LOG_INFO, __VA_ARGS__)
#define log_debug(...)                         \
    do {                                       \
        if (log_get_level() >= LOG_DEBUG)      \
            log_write(LOG_DEBUG, __VA_ARGS__); \
    } while (0)

/* `length` bytes made printable into `out` (control characters, quotes and bytes over 0x7E escaped; cut with "..."
 * where they do not fit). Returns `out`. */
const char *log_quote(char *out, size_t out_bytes, const void *bytes, size_t length);

#endif
