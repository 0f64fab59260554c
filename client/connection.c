/* connection.c - one connection to the server: the socket, frames, replies to their requests, and coming back. */
#include "connection.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "base/limits.h"
#include "client_limits.h"
#include "wire/command.h"
#include "wire/frame.h"

#define WHY_SIZE 160

struct pending {
    uint32_t seq;
    enum request_kind kind;
    uint64_t sent_ms;
    json_t *request;
    reply_handler handler;
};

struct connection {
    const char *host, *port;
    struct connection_events events;
    enum connection_phase phase;
    int fd; /* -1: none */

    struct addrinfo *addresses, *address; /* all of the name, and the one being tried */
    uint64_t due_ms;                      /* CONNECTING: when to try the next address. WAITING: when to try again */
    unsigned attempts;                    /* in vain, since connection_well() */
    bool restore;

    char why[WHY_SIZE]; /* why it is about to be lost */
    bool dropping;      /* lose() it when the callbacks are done (I3) */

    uint32_t seq;
    struct pending pending[PENDING_MAX]; /* a ring */
    size_t pending_first, pending_count, foreground;
    uint64_t sent_ms, received_ms;

    struct buffer input;       /* frames that came, the last one perhaps in part */
    char output[OUTPUT_BYTES]; /* frames that the system has not taken */
    size_t output_length;
};

/* ---- losing it, and coming back ---- */

static void set_why(struct connection *connection, const char *why)
{
    snprintf(connection->why, sizeof(connection->why), "%s", why);
}

static void forget_pending(struct connection *connection)
{
    for (size_t i = 0; i < connection->pending_count; i++)
        json_decref(connection->pending[(connection->pending_first + i) % PENDING_MAX].request);
    connection->pending_count = connection->foreground = 0;
}

/* Delay before the next attempt: doubled each time, and at random between half and whole of that. */
static uint64_t retry_delay_ms(unsigned attempts)
{
    uint64_t whole = attempts < 16 ? (uint64_t)RETRY_FIRST_MS << attempts : RETRY_LAST_MS;

    if (whole > RETRY_LAST_MS)
        whole = RETRY_LAST_MS;
    return whole / 2 + arc4random_uniform((uint32_t)(whole / 2) + 1);
}

static void close_socket(struct connection *connection)
{
    if (connection->fd >= 0)
        close(connection->fd);
    connection->fd = -1;
    explicit_bzero(connection->output, connection->output_length); /* it may hold a password */
    connection->output_length = 0;
    buffer_clear(&connection->input);
    if (connection->addresses != NULL)
        freeaddrinfo(connection->addresses);
    connection->addresses = connection->address = NULL;
}

static void lose(struct connection *connection, uint64_t now_ms)
{
    bool unanswered = connection->foreground > 0;

    close_socket(connection);
    forget_pending(connection);
    connection->dropping = false;
    connection->phase = CONNECTION_OFF;
    if (connection->restore) {
        connection->phase = CONNECTION_WAITING;
        connection->due_ms = now_ms + retry_delay_ms(connection->attempts++);
    }
    connection->events.lost(connection->events.arg, connection->why, unanswered);
}

void connection_drop(struct connection *connection, const char *why)
{
    if (connection->dropping)
        return; /* the first reason is the one that explains */
    set_why(connection, why);
    connection->dropping = true;
}

/* ---- connecting ---- */

static void opened(struct connection *connection, uint64_t now_ms)
{
    int on = 1;

    /* Each request is written whole: Nagle's algorithm could only hold it back (tcp(7)). */
    (void)setsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    freeaddrinfo(connection->addresses);
    connection->addresses = connection->address = NULL;
    connection->phase = CONNECTION_OPEN;
    connection->sent_ms = connection->received_ms = now_ms;
    connection->events.opened(connection->events.arg);
}

/* True: connected, or on the way. */
static bool start_connect(struct connection *connection, const struct addrinfo *address)
{
    connection->fd = socket(address->ai_family, address->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (connection->fd >= 0 && (connect(connection->fd, address->ai_addr, address->ai_addrlen) == 0 ||
                                errno == EINPROGRESS || errno == EINTR)) /* connect(2): it goes on all the same */
        return true;
    set_why(connection, strerror(errno));
    if (connection->fd >= 0)
        close(connection->fd);
    connection->fd = -1;
    return false;
}

/* From `connection->address` on, the first one that does not fail at once. */
static void try_addresses(struct connection *connection, uint64_t now_ms)
{
    for (; connection->address != NULL; connection->address = connection->address->ai_next) {
        if (start_connect(connection, connection->address)) {
            connection->due_ms = now_ms + CONNECT_MS;
            return;
        }
    }
    lose(connection, now_ms);
}

static void try_next_address(struct connection *connection, const char *why, uint64_t now_ms)
{
    set_why(connection, why);
    close(connection->fd);
    connection->fd = -1;
    connection->address = connection->address->ai_next;
    try_addresses(connection, now_ms);
}

void connection_open(struct connection *connection, uint64_t now_ms)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    int error;

    if (connection->phase == CONNECTION_CONNECTING || connection->phase == CONNECTION_OPEN)
        return;
    connection->phase = CONNECTION_CONNECTING;
    error = getaddrinfo(connection->host, connection->port, &hints, &connection->addresses);
    if (error != 0) {
        connection->addresses = NULL;
        set_why(connection, error == EAI_SYSTEM ? strerror(errno) : gai_strerror(error));
    }
    connection->address = connection->addresses;
    try_addresses(connection, now_ms);
}

/* poll() says that connect() has come to an end: SO_ERROR says to which (connect(2), EINPROGRESS). */
static void finish_connect(struct connection *connection, uint64_t now_ms)
{
    int error = 0;
    socklen_t length = sizeof(error);

    if (getsockopt(connection->fd, SOL_SOCKET, SO_ERROR, &error, &length) != 0)
        error = errno;
    if (error == 0)
        opened(connection, now_ms);
    else
        try_next_address(connection, strerror(error), now_ms);
}

/* ---- sending ---- */

static void flush(struct connection *connection)
{
    while (connection->output_length > 0) {
        ssize_t sent = send(connection->fd, connection->output, connection->output_length, MSG_NOSIGNAL);

        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0)
            break; /* EAGAIN: poll() tells when. Any other: what can still be read (a bye) comes first; reading ends it */
        connection->output_length -= (size_t)sent;
        memmove(connection->output, connection->output + sent, connection->output_length);
        explicit_bzero(connection->output + connection->output_length, (size_t)sent);
    }
}

static void remember_pending(struct connection *connection, const struct pending *pending)
{
    size_t last = (connection->pending_first + connection->pending_count++) % PENDING_MAX;

    connection->pending[last] = *pending;
    connection->foreground += pending->kind == REQUEST_FOREGROUND;
    connection->sent_ms = pending->sent_ms;
}

static bool encode_request(struct connection *connection, uint16_t cmd, uint32_t seq, const json_t *request)
{
    char *to = connection->output + connection->output_length;
    size_t room = sizeof(connection->output) - connection->output_length;
    size_t length = json_dumpb(request, NULL, 0, JSON_COMPACT);
    char *payload = length == 0 ? NULL : malloc(length);

    if (payload == NULL || length > REQUEST_PAYLOAD_MAX_BYTES || length + FRAME_OVERHEAD_BYTES > room) {
        free(payload);
        return false;
    }
    json_dumpb(request, payload, length, JSON_COMPACT);
    frame_encode(to, cmd, seq, (struct slice){payload, length});
    connection->output_length += length + FRAME_OVERHEAD_BYTES;
    explicit_bzero(payload, length);
    free(payload);
    return true;
}

bool connection_request(struct connection *connection, enum request_kind kind, uint16_t cmd, json_t *request,
                        reply_handler handler)
{
    struct pending pending = {.kind = kind, .handler = handler, .sent_ms = clock_monotonic_ms()};

    pending.request = request != NULL ? request : json_object();
    pending.seq = connection->seq + 1;
    if (connection->phase != CONNECTION_OPEN || connection->pending_count == PENDING_MAX ||
        !encode_request(connection, cmd, pending.seq, pending.request)) {
        json_decref(pending.request);
        return false;
    }
    connection->seq++;
    remember_pending(connection, &pending);
    flush(connection);
    return true;
}

/* ---- receiving ---- */

static void take_reply(struct connection *connection, const struct frame *frame, json_t *payload)
{
    struct pending pending = connection->pending[connection->pending_first];

    if (connection->pending_count == 0 || pending.seq != frame->seq) {
        connection_drop(connection, "the server answered what was not asked");
        return;
    }
    connection->pending_first = (connection->pending_first + 1) % PENDING_MAX;
    connection->pending_count--;
    if (pending.handler != NULL)
        pending.handler(connection->events.arg, payload, pending.request);
    /* Only now: a handler that asks further keeps the foreground busy without a gap. */
    connection->foreground -= pending.kind == REQUEST_FOREGROUND;
    json_decref(pending.request);
}

static void take_frame(struct connection *connection, const struct frame *frame, const char *bytes)
{
    json_t *payload = frame->payload_bytes == 0
                          ? json_object()
                          : json_loadb(bytes + FRAME_HEAD_BYTES, frame->payload_bytes, JSON_REJECT_DUPLICATES, NULL);

    if (!json_is_object(payload))
        connection_drop(connection, "the server sent what is no JSON object");
    else if (frame->cmd & FRAME_REPLY_BIT)
        take_reply(connection, frame, payload);
    else
        connection->events.pushed(connection->events.arg, frame->cmd, payload);
    json_decref(payload);
}

/* Everything that is whole; the rest stays at the front of the input. */
static void take_frames(struct connection *connection)
{
    struct frame frame;
    enum frame_error error;
    enum frame_result result = FRAME_INCOMPLETE;
    size_t taken = 0;

    while (!connection->dropping && taken < connection->input.length) {
        const char *bytes = connection->input.bytes + taken;

        result = frame_parse(bytes, connection->input.length - taken, REPLY_PAYLOAD_MAX_BYTES, &frame, &error);
        if (result != FRAME_COMPLETE)
            break;
        take_frame(connection, &frame, bytes);
        taken += frame.frame_bytes;
    }
    if (result == FRAME_BROKEN)
        connection_drop(connection, error == FRAME_BAD_HEAD ? "what answers there is no chat server"
                                                            : "a frame of the server was broken");
    buffer_drop_front(&connection->input, taken);
}

static void receive(struct connection *connection, uint64_t now_ms)
{
    struct buffer *input = &connection->input;
    ssize_t received;

    if (!buffer_reserve(input, READ_BUFFER_BYTES)) {
        connection_drop(connection, "no memory");
        return;
    }
    received = recv(connection->fd, input->bytes + input->length, READ_BUFFER_BYTES, 0);
    if (received > 0) {
        input->length += (size_t)received;
        connection->received_ms = now_ms;
        take_frames(connection);
    } else if (received == 0) {
        connection_drop(connection, "the server closed the connection");
    } else if (errno != EAGAIN && errno != EINTR) {
        connection_drop(connection, strerror(errno));
    }
}

/* ---- what poll() and the clock say ---- */

int connection_fd(const struct connection *connection)
{
    return connection->fd;
}

short connection_wants(const struct connection *connection)
{
    if (connection->phase == CONNECTION_CONNECTING)
        return POLLOUT;
    return connection->output_length > 0 ? POLLIN | POLLOUT : POLLIN;
}

void connection_ready(struct connection *connection, short events, uint64_t now_ms)
{
    if (connection->phase == CONNECTION_CONNECTING) {
        finish_connect(connection, now_ms);
    } else if (connection->phase == CONNECTION_OPEN) {
        if (events & POLLOUT)
            flush(connection);
        if (events & ~POLLOUT) /* POLLERR and POLLHUP, too: recv() says what it is */
            receive(connection, now_ms);
    }
    if (connection->dropping)
        lose(connection, now_ms);
}

/* When the oldest pending request has waited too long. */
static uint64_t answer_due_ms(const struct connection *connection)
{
    uint64_t since = connection->pending[connection->pending_first].sent_ms;

    if (connection->pending_count == 0)
        return UINT64_MAX;
    return (since > connection->received_ms ? since : connection->received_ms) + ANSWER_MS;
}

uint64_t connection_deadline(const struct connection *connection)
{
    uint64_t ping_ms = connection->sent_ms + PING_MS, answer_ms = answer_due_ms(connection);

    if (connection->dropping)
        return 0;
    if (connection->phase == CONNECTION_OFF)
        return UINT64_MAX;
    if (connection->phase != CONNECTION_OPEN)
        return connection->due_ms;
    return ping_ms < answer_ms ? ping_ms : answer_ms;
}

static void tick_open(struct connection *connection, uint64_t now_ms)
{
    if (answer_due_ms(connection) <= now_ms)
        connection_drop(connection, "the server does not answer");
    else if (connection->sent_ms + PING_MS <= now_ms &&
             !connection_request(connection, REQUEST_BACKGROUND, CMD_PING, NULL, NULL))
        connection->sent_ms = now_ms; /* no room: what fills it is sent as well as a ping would be */
}

void connection_tick(struct connection *connection, uint64_t now_ms)
{
    if (connection_deadline(connection) > now_ms)
        return;
    if (connection->phase == CONNECTION_CONNECTING)
        try_next_address(connection, "it does not answer", now_ms);
    else if (connection->phase == CONNECTION_WAITING)
        connection_open(connection, now_ms);
    else if (!connection->dropping)
        tick_open(connection, now_ms);
    if (connection->dropping)
        lose(connection, now_ms);
}

/* ---- the whole ---- */

struct connection *connection_new(const char *host, const char *port, struct connection_events events)
{
    struct connection *connection = calloc(1, sizeof(*connection));

    if (connection == NULL)
        return NULL;
    connection->host = host;
    connection->port = port;
    connection->events = events;
    connection->fd = -1;
    buffer_init(&connection->input);
    return connection;
}

void connection_free(struct connection *connection)
{
    close_socket(connection);
    forget_pending(connection);
    buffer_fini(&connection->input);
    free(connection);
}

void connection_restore(struct connection *connection, bool restore)
{
    connection->restore = restore;
    if (!restore && connection->phase == CONNECTION_WAITING)
        connection->phase = CONNECTION_OFF;
}

void connection_well(struct connection *connection)
{
    connection->attempts = 0;
}

enum connection_phase connection_phase(const struct connection *connection)
{
    return connection->phase;
}

uint64_t connection_retry_in(const struct connection *connection, uint64_t now_ms)
{
    if (connection->phase != CONNECTION_WAITING || connection->due_ms < now_ms)
        return 0;
    return connection->due_ms - now_ms;
}

size_t connection_foreground(const struct connection *connection)
{
    return connection->foreground;
}
