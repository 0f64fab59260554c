/* protocol_irc.c - IRC: lines of at most 512 bytes. A group is a channel.
 *
 * A server does not send a user's own message back, unless it knows the capability echo-message of IRCv3 (InspIRCd does,
 * ngIRCd does not).
 */
#include "protocol.h"

enum { TEXT_MAX_BYTES = 400 };

static void append_command(struct buffer *out, const char *command, struct slice argument)
{
    protocol_append(out, command);
    buffer_append(out, argument.bytes, argument.length);
    protocol_append(out, "\r\n");
}

/* Its one answer is the end of the message of the day, or that there is none: then the welcome is over. */
static unsigned irc_enter(struct buffer *out, struct slice self)
{
    append_command(out, "NICK ", self);
    protocol_append(out, "USER bench 0 * :bench\r\n");
    return 1;
}

static unsigned irc_enter_echo(struct buffer *out, struct slice self)
{
    protocol_append(out, "CAP REQ :echo-message\r\nCAP END\r\n");
    return irc_enter(out, self);
}

static unsigned irc_join(struct buffer *out, struct slice group)
{
    append_command(out, "JOIN #", group);
    return 1;
}

static void irc_send(struct buffer *out, const struct address *to, struct slice text)
{
    protocol_append(out, to->is_group ? "PRIVMSG #" : "PRIVMSG ");
    buffer_append(out, to->name.bytes, to->name.length);
    protocol_append(out, " :");
    append_command(out, "", text);
}

static void irc_reply(struct buffer *out, struct slice question)
{
    append_command(out, "PONG ", question);
}

/* The rest of a line behind its first two words, and the first space of it. */
static struct slice after_words(struct slice line, int words)
{
    while (words-- > 0) {
        const char *space = memchr(line.bytes, ' ', line.length);

        if (space == NULL)
            return (struct slice){line.bytes + line.length, 0};
        line.length -= (size_t)(space + 1 - line.bytes);
        line.bytes = space + 1;
    }
    return line;
}

static bool begins(struct slice line, struct slice with)
{
    return line.length >= with.length && memcmp(line.bytes, with.bytes, with.length) == 0;
}

/* 366: the end of the names of a channel, the last line of what a JOIN is answered with. */
static enum unit_kind judge_number(struct slice number)
{
    if (begins(number, SLICE_LITERAL("376 ")) || begins(number, SLICE_LITERAL("422 ")) ||
        begins(number, SLICE_LITERAL("366 ")))
        return UNIT_ANSWER;
    return number.bytes[0] == '4' || number.bytes[0] == '5' ? UNIT_REFUSED : UNIT_OTHER;
}

/* :who!user@host PRIVMSG #group :text */
static enum unit_kind judge_line(struct slice line, struct unit *unit)
{
    struct slice command = line.bytes[0] == ':' ? after_words(line, 1) : line;

    if (begins(command, SLICE_LITERAL("PRIVMSG "))) {
        unit->text = after_words(command, 2);
        if (unit->text.length > 0) {
            unit->text.bytes++;
            unit->text.length--;
        }
        return UNIT_MESSAGE;
    }
    if (begins(command, SLICE_LITERAL("PING "))) {
        unit->text = after_words(command, 1);
        return UNIT_QUESTION;
    }
    unit->text = line;
    if (begins(command, SLICE_LITERAL("ERROR ")))
        return UNIT_REFUSED;
    return command.length >= 4 && command.bytes[0] >= '0' && command.bytes[0] <= '9' ? judge_number(command)
                                                                                     : UNIT_OTHER;
}

static enum unit_kind irc_next(const char *bytes, size_t length, struct unit *unit)
{
    size_t line = protocol_line(bytes, length);

    if (line == 0)
        return UNIT_INCOMPLETE;
    if (line < 2 || bytes[line - 2] != '\r')
        return UNIT_BROKEN;
    unit->bytes = line;
    return judge_line((struct slice){bytes, line - 2}, unit);
}

const struct protocol protocol_irc = {
    .name = "irc",
    .text_max_bytes = TEXT_MAX_BYTES,
    .at_once = 8, /* ngIRCd has a listen(2) queue of 10; who finds it full tries again after a second */
    .prepare = protocol_nothing_for,
    .enter = irc_enter,
    .create = protocol_nothing_for,
    .join = irc_join,
    .settle = protocol_nothing,
    .send = irc_send,
    .reply = irc_reply,
    .next = irc_next,
};

const struct protocol protocol_irc_echo = {
    .name = "irc-echo",
    .echoes = true,
    .text_max_bytes = TEXT_MAX_BYTES,
    .at_once = 2048, /* InspIRCd lets in once a second whoever has come */
    .prepare = protocol_nothing_for,
    .enter = irc_enter_echo,
    .create = protocol_nothing_for,
    .join = irc_join,
    .settle = protocol_nothing,
    .send = irc_send,
    .reply = irc_reply,
    .next = irc_next,
};
