/* micro_core.c - what a message costs in common/: from the bytes of a request to the bytes of its pushes and its reply,
 *                without sockets. The store is memory.
 *
 *      micro_core                  nanoseconds a message, best of several rounds
 *      micro_core COUNT            COUNT messages in bursts and nothing else, for callgrind to count (make instructions)
 *
 * Idea.       A hub with sessions that nobody is connected to. One of them sends bursts to a group; what the others get
 *             is thrown away, as a system does that takes everything. Of all that, one thread at a time is in
 *             engine_run(), however many threads there are: the linker puts a stopwatch before it (ld(1), --wrap), and
 *             what it shows is the serial part of a message.
 */
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/options.h"
#include "chat/engine.h"
#include "chat/hub.h"
#include "wire/frame.h"

enum { BURST = 64, ROUNDS = 40, MESSAGES_A_ROUND = 400 * BURST, MEMBERS_MAX = 1000 };

#define TEXT_64 "The kettle is on, the cups are warm, and there is cake for all.."

struct bench {
    struct chat *chat;
    struct hub *hub;
    struct session *members[MEMBERS_MAX];
    size_t member_count;
    uint64_t bytes_out;
    unsigned burst_messages;
    char burst[READ_BUFFER_BYTES];
    size_t burst_bytes;
    char work[READ_BUFFER_BYTES];
    char scratch[OUTPUT_GATHER_BYTES];
};

static double engine_ns;

bool __real_engine_run(struct engine *engine);
bool __wrap_engine_run(struct engine *engine);

static double now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

bool __wrap_engine_run(struct engine *engine)
{
    double began = now_ns();
    bool more = __real_engine_run(engine);

    engine_ns += now_ns() - began;
    return more;
}

static void fail(const char *what)
{
    fprintf(stderr, "micro_core: %s\n", what);
    exit(1);
}

static void nobody_sleeps(void *arg)
{
    (void)arg;
}

/* As a stage does, with a system that takes everything. */
static void turn(struct bench *bench)
{
    struct session *session;
    struct slice output;

    hub_turn(bench->hub, clock_monotonic_ms());
    while ((session = hub_next_changed(bench->hub)) != NULL) {
        while ((output = session_output(session, bench->scratch, sizeof bench->scratch)).length > 0) {
            bench->bytes_out += output.length;
            session_sent(session, output.length, clock_monotonic_ms());
        }
    }
}

static size_t put_request(char *to, uint16_t cmd, const char *json)
{
    frame_encode(to, cmd, 1, slice_of(json));
    return frame_bytes(to);
}

static void request(struct bench *bench, struct session *session, uint16_t cmd, const char *json)
{
    size_t length = put_request(bench->work, cmd, json);

    session_receive(session, bench->work, length, clock_monotonic_ms());
    turn(bench);
}

/* Passwords are known when a worker says so; its post comes like any other. */
static void wait_for_sessions(struct bench *bench, uint64_t sessions)
{
    const struct timespec pause = {.tv_nsec = 100000};

    while (COUNTER_READ(hub_counters(bench->hub), sessions) < sessions) {
        turn(bench);
        nanosleep(&pause, NULL);
    }
}

static void log_in(struct bench *bench, size_t number)
{
    static const struct sockaddr_in nowhere = {.sin_family = AF_INET};
    struct session *session = hub_open(bench->hub, (const struct sockaddr *)&nowhere, NULL, clock_monotonic_ms());
    char json[128];

    if (session == NULL)
        fail("no session");
    bench->members[number] = session;
    snprintf(json, sizeof json, "{\"user\":\"user%zu\",\"passwd\":\"secret\"}", number);
    request(bench, session, CMD_REGISTER, json);
    request(bench, session, CMD_LOGIN, json);
    wait_for_sessions(bench, number + 1);
    request(bench, session, number == 0 ? CMD_GROUP_CREATE : CMD_GROUP_JOIN, "{\"group\":\"all\"}");
}

static struct bench *bench_new(const struct options *options, size_t members, unsigned burst_messages)
{
    struct bench *bench = calloc(1, sizeof *bench);

    if (bench == NULL)
        fail("no memory");
    bench->chat = chat_new(options);
    bench->hub = bench->chat != NULL ? hub_new(bench->chat, nobody_sleeps, NULL) : NULL;
    if (bench->hub == NULL || !chat_start(bench->chat))
        fail("no hub");
    for (size_t i = 0; i < members; i++)
        log_in(bench, i);
    bench->member_count = members;
    bench->burst_messages = burst_messages;
    for (unsigned i = 0; i < burst_messages; i++)
        bench->burst_bytes += put_request(bench->burst + bench->burst_bytes, CMD_GROUP_CHAT,
                                          "{\"group\":\"all\",\"text\":\"" TEXT_64 "\"}");
    return bench;
}

static void bench_free(struct bench *bench)
{
    chat_stop(bench->chat);
    for (size_t i = 0; i < bench->member_count; i++)
        session_free(bench->members[i]);
    hub_free(bench->hub);
    chat_free(bench->chat);
    free(bench);
}

static void send_messages(struct bench *bench, unsigned long count)
{
    for (; count >= bench->burst_messages; count -= bench->burst_messages) {
        memcpy(bench->work, bench->burst, bench->burst_bytes); /* requests are read in place, and changed by it */
        session_receive(bench->members[0], bench->work, bench->burst_bytes, clock_monotonic_ms());
        turn(bench);
    }
}

static void measure(const struct options *options, size_t members, unsigned burst_messages)
{
    struct bench *bench = bench_new(options, members, burst_messages);
    double best_ns = 1e30, best_engine_ns = 0;

    for (int i = 0; i < ROUNDS; i++) {
        double began = now_ns(), ns;

        engine_ns = 0;
        send_messages(bench, MESSAGES_A_ROUND);
        ns = now_ns() - began;
        if (ns < best_ns) {
            best_ns = ns;
            best_engine_ns = engine_ns;
        }
    }
    printf("a message to a group of %4zu, in bursts of %2u   %8.1f ns, %.1f of them in the engine\n", members,
           burst_messages, best_ns / MESSAGES_A_ROUND, best_engine_ns / MESSAGES_A_ROUND);
    bench_free(bench);
}

int main(int argc, char **argv)
{
    char *arguments[] = {"micro_core", "--store=memory", "--password-cost=min", "--rate-limit=0", NULL};
    struct options options;
    struct bench *bench;

    if (options_parse(&options, "micro", false, 4, arguments) != OPTIONS_RUN)
        return 2;
    if (argc == 1) {
        measure(&options, 2, 1);
        measure(&options, 2, BURST);
        measure(&options, 100, BURST);
        measure(&options, MEMBERS_MAX, BURST);
        return 0;
    }
    bench = bench_new(&options, 2, BURST);
    send_messages(bench, strtoul(argv[1], NULL, 10));
    bench_free(bench);
    return 0;
}
