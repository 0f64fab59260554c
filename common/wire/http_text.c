/* http_text.c - answers to text on a port of frames. See http_text.h. */
#include "wire/http_text.h"

#include "base/limits.h"

#define REFUSAL_TEXT                                                            \
    "This port speaks the chat protocol, version 1: binary frames, not HTTP.\n" \
    "Connect with the terminal client: bin/chat HOST:PORT\n"
#define TIMEOUT_TEXT "The request was not complete in time.\n"

/* Content-Length counts TEXT, whose length the caller writes out; http_text's unit test holds them together. */
#define HTTP_ANSWER(status, length, text)                                \
    "HTTP/1.1 " status "\r\nContent-Type: text/plain; charset=utf-8\r\n" \
    "Content-Length: " length "\r\nConnection: close\r\n\r\n" text

_Static_assert(sizeof REFUSAL_TEXT - 1 == 125, "Content-Length of the refusal");
_Static_assert(sizeof TIMEOUT_TEXT - 1 == 38, "Content-Length of the timeout");

bool http_text_begins(char first)
{
    return (first >= 'A' && first <= 'Z') || (first >= 'a' && first <= 'z');
}

/* METHOD SP target SP HTTP/digit.digit (RFC 9112, 3); `line` without its end. */
static bool is_request_line(const char *line, size_t length)
{
    static const char version[] = " HTTP/";
    size_t tail = sizeof version - 1 + 3;
    const char *end;

    if (length > 0 && line[length - 1] == '\r')
        length--;
    if (length <= tail + 2)
        return false;
    end = line + length - tail;
    return memcmp(end, version, sizeof version - 1) == 0 && end[6] >= '0' && end[6] <= '9' && end[7] == '.' &&
           end[8] >= '0' && end[8] <= '9' && memchr(line, ' ', (size_t)(end - line)) != NULL;
}

static bool head_is_complete(const char *bytes, size_t length)
{
    return memmem(bytes, length, "\r\n\r\n", 4) != NULL || memmem(bytes, length, "\n\n", 2) != NULL;
}

bool http_text_is_judged(const char *bytes, size_t length, bool ended)
{
    const char *line_end = memchr(bytes, '\n', length);

    if (ended || length >= HTTP_HEAD_MAX_BYTES)
        return true;
    if (line_end == NULL)
        return false;
    return !is_request_line(bytes, (size_t)(line_end - bytes)) || head_is_complete(bytes, length);
}

struct slice http_text_refusal(void)
{
    return SLICE_LITERAL(HTTP_ANSWER("400 Bad Request", "125", REFUSAL_TEXT));
}

struct slice http_text_timeout(void)
{
    return SLICE_LITERAL(HTTP_ANSWER("408 Request Timeout", "38", TIMEOUT_TEXT));
}
