/* watch.c - see watch.h. */
#include "watch.h"

#include <errno.h>
#include <stddef.h>

struct event_base *watch_base_new(void)
{
    struct event_config *config = event_config_new();
    struct event_base *base = NULL;

    if (config == NULL)
        return NULL;
    if (event_config_require_features(config, EV_FEATURE_ET) == 0 &&
        event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK) == 0) {
        errno = ENOTSUP; /* unless a call knows better */
        base = event_base_new_with_config(config);
    }
    event_config_free(config);
    return base;
}

struct event *watch(struct event_base *base, int fd, short events, event_callback_fn callback, void *arg)
{
    struct event *event = event_new(base, fd, (short)(events | EV_PERSIST), callback, arg);

    if (event != NULL && event_add(event, NULL) == 0)
        return event;
    watch_end(event);
    return NULL;
}

void watch_end(struct event *event)
{
    if (event != NULL)
        event_free(event);
}
