/* text.c - text of others, made harmless for a terminal. */
#include "text.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <wchar.h>

struct range {
    wchar_t first, last;
};

/* Characters that nobody sees and that change how others look (Unicode TR 36). The joiners U+200C and U+200D stay:
 * scripts and emoji need them, and they move nothing. */
static const struct range hidden[] = {
    {0x0080,  0x009f }, /* C1: a second set of control characters, 0x9b begins a sequence like ESC [ */
    {0x061c,  0x061c }, /* the marks, embeddings, overrides and isolates of direction                */
    {0x200e,  0x200f },
    {0x2028,  0x202e },
    {0x2066,  0x2069 },
    {0xfeff,  0xfeff }, /* byte order mark                                                           */
    {0xfff9,  0xfffb }, /* annotations                                                               */
    {0xe0000, 0xe007f}, /* tags                                                                      */
};

static bool is_hidden(wchar_t character)
{
    for (size_t i = 0; i < sizeof(hidden) / sizeof(hidden[0]); i++)
        if (character >= hidden[i].first && character <= hidden[i].last)
            return true;
    return false;
}

void text_append(struct buffer *out, const char *literal)
{
    buffer_append(out, literal, strlen(literal));
}

static void append_control(struct buffer *out, unsigned char control)
{
    char caret[2] = {'^', (char)(control ^ 0x40)}; /* ESC, 0x1b, is ^[ and DEL, 0x7f, is ^? */

    if (control == '\n')
        text_append(out, TEXT_CONTINUATION);
    else if (control == '\t')
        text_append(out, "    ");
    else
        buffer_append(out, caret, sizeof(caret));
}

static void append_character(struct buffer *out, const char *bytes, size_t length, wchar_t character)
{
    char shown[16];

    if (character < 0x20 || character == 0x7f) {
        append_control(out, (unsigned char)character);
    } else if (is_hidden(character)) {
        snprintf(shown, sizeof(shown), "<U+%04X>", (unsigned)character);
        text_append(out, shown);
    } else {
        buffer_append(out, bytes, length);
    }
}

void text_append_safe(struct buffer *out, const char *text)
{
    size_t left = strlen(text);
    mbstate_t state = {0};

    while (left > 0) {
        wchar_t character;
        size_t length = mbrtowc(&character, text, left, &state);

        if (length == (size_t)-1 || length == (size_t)-2) { /* no UTF-8: a file name or a message of the system */
            text_append(out, "?");
            memset(&state, 0, sizeof(state));
            length = 1;
        } else {
            append_character(out, text, length, character);
        }
        text += length;
        left -= length;
    }
}

unsigned text_columns(wchar_t character)
{
    int columns = wcwidth(character);

    /* The line editor shows a control character as ^X. */
    return columns >= 0 ? (unsigned)columns : 2;
}

void text_time(char time_text[TEXT_TIME_SIZE], int64_t unix_ms)
{
    time_t seconds = (time_t)(unix_ms / 1000), now = time(NULL);
    struct tm then, today;

    if (localtime_r(&seconds, &then) == NULL || localtime_r(&now, &today) == NULL) {
        snprintf(time_text, TEXT_TIME_SIZE, "--:--");
        return;
    }
    bool same_day = then.tm_year == today.tm_year && then.tm_yday == today.tm_yday;

    if (strftime(time_text, TEXT_TIME_SIZE, same_day ? "%H:%M" : "%Y-%m-%d %H:%M", &then) == 0)
        snprintf(time_text, TEXT_TIME_SIZE, "--:--");
}
