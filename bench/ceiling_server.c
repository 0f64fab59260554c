/* ceiling_server.c - a server that speaks our frames and does nothing: what is left of a stage when the chat is taken out.
 *
 *      ceiling_server PORT
 *
 * Idea.       A frame is cut by its length and nothing else is looked at, no checksum, no JSON, no number: every request is
 *             answered with a reply made beforehand, and a message becomes a push of the size that a stage's push has, with
 *             the text copied into it. Once a turn what was said in a group is written to its members: as it stands in the
 *             group's buffer, but for who sent some of it, for whom its own is left out and replies are put behind.
 * Limits.     Groups and users are those of chatbench: a group is known by the number at the end of its name, and a user
 *             by that of its login. No bound, no error beyond a closed connection: nobody shall use it.
 */
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buffer.h"
#include "wire/command.h"
#include "wire/frame.h"

enum { READ_BYTES = 65536, EVENTS_MAX = 256, GROUPS_MAX = 1000, USERS_MAX = 9999 };

struct range {
    size_t from, to;
};

struct client {
    int fd;
    struct buffer partial;
    struct buffer out;      /* replies, and private pushes */
    struct range own[1024]; /* what it said itself in its group's buffer in this turn */
    unsigned own_count;
    bool dirty;
};

struct group {
    struct buffer said; /* in this turn */
    struct client **members;
    size_t member_count;
    bool dirty;
};

static struct group groups[GROUPS_MAX + 1];
static struct group *group_of_fd[1 << 16];
static struct client *users[USERS_MAX + 1];
static struct client *dirty_clients[1 << 16];
static size_t dirty_client_count;
static struct group *dirty_groups[GROUPS_MAX + 1];
static size_t dirty_group_count;
static char reply[128], chat_reply[128];

static void make_dirty(struct client *client)
{
    if (!client->dirty)
        dirty_clients[dirty_client_count++] = client;
    client->dirty = true;
}

/* The number in which the name behind `key` ends, four digits; of another name, `bound`. */
static size_t number_of(struct slice json, const char *key, size_t bound)
{
    const char *name = memmem(json.bytes, json.length, key, strlen(key));
    const char *end = name == NULL ? NULL : memchr(name + strlen(key), '"', 40);
    size_t number = 0;

    for (const char *at = end == NULL ? NULL : end - 4; at != NULL && at < end; at++) {
        if (*at < '0' || *at > '9')
            return bound;
        number = number * 10 + (size_t)(*at - '0');
    }
    return number < bound ? number : bound;
}

/* A push as large as a stage's, with the text in its place. */
static void append_push(struct buffer *out, uint16_t cmd, struct slice text)
{
    static const char before[] = "{\"group\":\"g100x0000\",\"user_from\":\"u000000\",\"text\":\"";
    static const char after[] = "\",\"msg_id\":1000,\"time\":1700000000000}";
    size_t payload = sizeof before - 1 + text.length + sizeof after - 1;
    const unsigned char head[] = {0xC4, 0xA7, 1, 0, (unsigned char)(cmd >> 8),     (unsigned char)cmd,    0, 0, 0, 0,
                                  0,    0,    0, 0, (unsigned char)(payload >> 8), (unsigned char)payload};

    buffer_append(out, head, sizeof head);
    buffer_append(out, before, sizeof before - 1);
    buffer_append(out, text.bytes, text.length);
    buffer_append(out, after, sizeof after - 1);
    buffer_append(out, "\0\0\0\0\r\n", 6);
}

static struct slice text_of(struct slice json)
{
    static const char key[] = "\"text\":\"";
    const char *text = memmem(json.bytes, json.length, key, sizeof key - 1);

    if (text == NULL)
        return (struct slice){json.bytes, 0};
    text += sizeof key - 1;
    return (struct slice){text, (size_t)(json.bytes + json.length - 2 - text)};
}

static void say_to_group(struct client *client, struct slice json)
{
    struct group *group = group_of_fd[client->fd];
    size_t from;

    if (group == NULL)
        return;
    from = group->said.length;
    append_push(&group->said, PUSH_GROUP_CHAT_RECV, text_of(json));
    if (client->own_count > 0 && client->own[client->own_count - 1].to == from)
        client->own[client->own_count - 1].to = group->said.length;
    else if (client->own_count < sizeof client->own / sizeof client->own[0])
        client->own[client->own_count++] = (struct range){from, group->said.length};
    if (!group->dirty)
        dirty_groups[dirty_group_count++] = group;
    group->dirty = true;
}

static void join(struct client *client, struct slice json)
{
    struct group *group = &groups[number_of(json, "\"group\":\"", GROUPS_MAX)];

    group->members = realloc(group->members, (group->member_count + 1) * sizeof *group->members);
    if (group->members == NULL)
        exit(1);
    group->members[group->member_count++] = client;
    group_of_fd[client->fd] = group;
}

static void take_request(struct client *client, unsigned cmd, struct slice json)
{
    const char *answer = reply;

    if (cmd == CMD_LOGIN) {
        users[number_of(json, "\"user\":\"", USERS_MAX)] = client;
    } else if (cmd == CMD_GROUP_JOIN) {
        join(client, json);
    } else if (cmd == CMD_GROUP_CHAT) {
        say_to_group(client, json);
        answer = chat_reply;
    } else if (cmd == CMD_PRIVATE_CHAT) {
        struct client *to = users[number_of(json, "\"user_to\":\"", USERS_MAX)];

        if (to != NULL) {
            append_push(&to->out, PUSH_PRIVATE_CHAT_RECV, text_of(json));
            make_dirty(to);
        }
        answer = chat_reply;
    }
    buffer_append(&client->out, answer, frame_bytes(answer));
    make_dirty(client);
}

static void take_frames(struct client *client, const char *bytes, size_t length)
{
    size_t at = 0;

    while (length - at >= FRAME_OVERHEAD_BYTES && length - at >= frame_bytes(bytes + at)) {
        size_t frame = frame_bytes(bytes + at);
        unsigned cmd = (unsigned)(uint8_t)bytes[at + 4] << 8 | (uint8_t)bytes[at + 5];

        take_request(client, cmd, (struct slice){bytes + at + FRAME_HEAD_BYTES, frame - FRAME_OVERHEAD_BYTES});
        at += frame;
    }
    buffer_clear(&client->partial);
    buffer_append(&client->partial, bytes + at, length - at);
}

static void client_close(struct client *client)
{
    struct group *group = group_of_fd[client->fd];

    for (size_t i = 0; group != NULL && i < group->member_count; i++) {
        if (group->members[i] == client)
            group->members[i--] = group->members[--group->member_count];
    }
    for (size_t i = 0; i < USERS_MAX; i++) {
        if (users[i] == client)
            users[i] = NULL;
    }
    group_of_fd[client->fd] = NULL;
    close(client->fd);
    client->fd = -1; /* it may be in a list: it is not freed */
}

static void client_read(struct client *client)
{
    static char buffer[2 * READ_BYTES];
    size_t kept = client->partial.length;
    ssize_t length;

    if (kept > 0)
        memcpy(buffer, client->partial.bytes, kept);
    length = recv(client->fd, buffer + kept, READ_BYTES, 0);
    if (length > 0)
        take_frames(client, buffer, kept + (size_t)length);
    else if (length == 0 || errno != EAGAIN)
        client_close(client);
}

/* What the system does not take at once waits for the next turn in which somebody says something; loopback takes it. */
static size_t send_some(struct client *client, const char *bytes, size_t length)
{
    ssize_t sent = length > 0 && client->fd >= 0 ? send(client->fd, bytes, length, MSG_NOSIGNAL) : (ssize_t)length;

    return sent > 0 ? (size_t)sent : 0;
}

/* The group's buffer without what the client said itself, then its replies: copied. */
static void write_copy(struct client *client, const struct buffer *said)
{
    struct buffer whole = {0};
    size_t at = 0;

    for (unsigned i = 0; i < client->own_count; i++) {
        buffer_append(&whole, said->bytes + at, client->own[i].from - at);
        at = client->own[i].to;
    }
    buffer_append(&whole, said->bytes + at, said->length - at);
    buffer_append(&whole, client->out.bytes, client->out.length);
    buffer_fini(&client->out);
    client->out = whole;
    client->own_count = 0;
}

static void write_groups(void)
{
    for (size_t i = 0; i < dirty_group_count; i++) {
        struct group *group = dirty_groups[i];

        assert(group != NULL);
        for (size_t k = 0; k < group->member_count; k++) {
            struct client *member = group->members[k];
            size_t sent = 0;

            if (member->own_count > 0 || member->out.length > 0) {
                write_copy(member, &group->said);
                make_dirty(member);
                continue;
            }
            sent = send_some(member, group->said.bytes, group->said.length);
            if (sent < group->said.length) {
                buffer_append(&member->out, group->said.bytes + sent, group->said.length - sent);
                make_dirty(member);
            }
        }
        buffer_clear(&group->said);
        group->dirty = false;
    }
    dirty_group_count = 0;
}

/* Those whose socket is full stay in the list, and the loop comes back at once: that is a spin, and the measurement says
 * so by its CPU time. */
static void write_clients(void)
{
    size_t kept = 0;

    for (size_t i = 0; i < dirty_client_count; i++) {
        struct client *client = dirty_clients[i];

        assert(client != NULL);
        buffer_drop_front(&client->out, send_some(client, client->out.bytes, client->out.length));
        client->dirty = client->out.length > 0 && client->fd >= 0;
        if (client->dirty)
            dirty_clients[kept++] = client;
    }
    dirty_client_count = kept;
}

static void client_accept(int listener, int epoll)
{
    const int no_delay = 1;
    struct epoll_event event = {.events = EPOLLIN};
    struct client *client = calloc(1, sizeof *client);

    if (client == NULL)
        exit(1);
    client->fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    event.data.ptr = client;
    if (client->fd < 0 || client->fd >= 1 << 16) {
        free(client);
        return;
    }
    (void)setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &no_delay, sizeof no_delay);
    (void)epoll_ctl(epoll, EPOLL_CTL_ADD, client->fd, &event);
}

static int listen_on(uint16_t port)
{
    const struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(port)};
    const int reuse = 1;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (listener < 0 || setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &reuse, sizeof reuse) != 0 ||
        bind(listener, (const struct sockaddr *)&address, sizeof address) != 0 || listen(listener, SOMAXCONN) != 0) {
        perror("ceiling_server");
        exit(1);
    }
    return listener;
}

static void loop(int listener, int epoll)
{
    struct epoll_event events[EVENTS_MAX];

    for (;;) {
        int count = epoll_wait(epoll, events, EVENTS_MAX, dirty_client_count > 0 ? 0 : -1);

        for (int i = 0; i < count; i++) {
            if (events[i].data.ptr == NULL)
                client_accept(listener, epoll);
            else if (((struct client *)events[i].data.ptr)->fd >= 0)
                client_read(events[i].data.ptr);
        }
        write_groups();
        write_clients();
    }
}

int main(int argc, char **argv)
{
    struct epoll_event event = {.events = EPOLLIN};
    struct rlimit limit;
    int listener = listen_on((uint16_t)(argc > 1 ? atoi(argv[1]) : 8000));
    int epoll = epoll_create1(EPOLL_CLOEXEC);

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
    frame_encode(reply, CMD_PING | FRAME_REPLY_BIT, 1, SLICE_LITERAL("{\"result\":\"success\"}"));
    frame_encode(chat_reply, CMD_GROUP_CHAT | FRAME_REPLY_BIT, 1,
                 SLICE_LITERAL("{\"result\":\"success\",\"msg_id\":1000,\"time\":1700000000000}"));
    (void)epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
    loop(listener, epoll);
}
