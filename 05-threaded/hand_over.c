/* hand_over.c - see hand_over.h. */
#include "hand_over.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

enum { POINTER_BYTES = sizeof(struct accepted *) };

bool hand_over_init(struct hand_over *pipe)
{
    int ends[2] = {-1, -1};
    bool made = pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0;

    *pipe = (struct hand_over){.take = ends[0], .put = ends[1]};
    return made;
}

void hand_over_fini(struct hand_over *pipe)
{
    hand_over_end(pipe);
    if (pipe->take >= 0)
        close(pipe->take);
}

bool hand_over_put(const struct hand_over *pipe, struct accepted *accepted)
{
    ssize_t length;

    do
        length = write(pipe->put, &accepted, POINTER_BYTES);
    while (length < 0 && errno == EINTR);
    return length == POINTER_BYTES;
}

void hand_over_end(struct hand_over *pipe)
{
    if (pipe->put >= 0)
        close(pipe->put);
    pipe->put = -1;
}

/* What is read are whole pointers: they were written whole, and the room is a multiple of their size. */
int hand_over_take(const struct hand_over *pipe, struct accepted **accepted)
{
    ssize_t length = read(pipe->take, accepted, (size_t)HAND_OVER_TAKE_MAX * POINTER_BYTES);

    assert(length < 0 || length % POINTER_BYTES == 0);
    return length < 0 ? -1 : (int)(length / POINTER_BYTES);
}
