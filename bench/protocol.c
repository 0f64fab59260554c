/* protocol.c - see protocol.h. */
#include "protocol.h"

#include <string.h>

const struct protocol *protocol_find(const char *name)
{
    static const struct protocol *const all[] = {
        &protocol_chat, &protocol_redis, &protocol_redis_replies, &protocol_redis_durable,
        &protocol_nats, &protocol_mqtt,  &protocol_irc,           &protocol_irc_echo,
    };

    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        if (strcmp(all[i]->name, name) == 0)
            return all[i];
    }
    return NULL;
}

unsigned protocol_nothing(struct buffer *out)
{
    (void)out;
    return 0;
}

unsigned protocol_nothing_for(struct buffer *out, struct slice name)
{
    (void)out;
    (void)name;
    return 0;
}

void protocol_append(struct buffer *out, const char *text)
{
    buffer_append(out, text, strlen(text));
}

size_t protocol_line(const char *bytes, size_t length)
{
    const char *end = memchr(bytes, '\n', length);

    return end == NULL ? 0 : (size_t)(end - bytes) + 1;
}
