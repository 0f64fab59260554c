/* test_base_listener.c - the listening socket: where it listens, what it announces (S-2, S-5), and what it says when it
 *                        cannot (S-3).
 */
#include "support.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/listener.h"

static char printed[1024];

struct call {
    const char *host;
    uint16_t port;
    int listener;
};

static int open_now(void *arg)
{
    struct call *call = arg;

    return listener_open(call->host, call->port);
}

static int announce_now(void *arg)
{
    return listener_announce(((struct call *)arg)->listener);
}

/* Open, and check the announcement against `format`, which takes the port. Returns the listener. */
static int open_and_announce(const char *host, const char *format)
{
    struct call call = {.host = host, .listener = listener_open(host, 0)};
    struct sockaddr_in6 address = {0};
    socklen_t length = sizeof address;
    char expected[128];

    if (call.listener < 0)
        return -1;
    assert_int_equal(getsockname(call.listener, (struct sockaddr *)&address, &length), 0);
    /* IPv4 has the port at the same place. */
    snprintf(expected, sizeof expected, "listening on %s:%u\n", format, (unsigned)ntohs(address.sin6_port));
    assert_int_equal(support_capture(STDOUT_FILENO, printed, sizeof printed, announce_now, &call), 0);
    assert_string_equal(printed, expected);
    return call.listener;
}

static void listens_and_says_where(void **state)
{
    int listener = open_and_announce("127.0.0.1", "127.0.0.1");
    int listening = 0, no_delay = 0, low_water = 0;
    socklen_t length = sizeof listening;

    (void)state;
    assert_true(listener >= 0);
    assert_int_equal(getsockopt(listener, SOL_SOCKET, SO_ACCEPTCONN, &listening, &length), 0);
    assert_true(listening);
    /* What accepted sockets inherit. */
    assert_int_equal(getsockopt(listener, IPPROTO_TCP, TCP_NODELAY, &no_delay, &length), 0);
    assert_true(no_delay);
    assert_int_equal(getsockopt(listener, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &low_water, &length), 0);
    assert_int_equal(low_water, NOT_SENT_LOW_WATER_BYTES);
    assert_true(fcntl(listener, F_GETFL) & O_NONBLOCK);
    assert_true(fcntl(listener, F_GETFD) & FD_CLOEXEC);
    close(listener);
}

static void ipv6_stands_in_brackets(void **state)
{
    int probe = socket(AF_INET6, SOCK_STREAM, 0);
    struct sockaddr_in6 loopback = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int listener;

    (void)state;
    if (probe < 0 || bind(probe, (struct sockaddr *)&loopback, sizeof loopback) < 0) {
        close(probe);
        skip(); /* a machine without IPv6 */
    }
    close(probe);
    listener = open_and_announce("::1", "[::1]");
    assert_true(listener >= 0);
    close(listener);
}

static void a_port_in_use_is_named(void **state)
{
    int listener = listener_open("127.0.0.1", 0);
    struct sockaddr_in address = {0};
    socklen_t length = sizeof address;
    struct call call = {.host = "127.0.0.1"};
    char expected[64];

    (void)state;
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &length), 0);
    call.port = ntohs(address.sin_port);
    snprintf(expected, sizeof expected, "cannot listen on 127.0.0.1:%u: Address already in use", (unsigned)call.port);
    assert_int_equal(support_capture(STDERR_FILENO, printed, sizeof printed, open_now, &call), -1);
    assert_non_null(strstr(printed, expected));
    close(listener);
}

static void a_wrong_host_is_named(void **state)
{
    struct call call = {.host = "256.0.0.1.invalid"};

    (void)state;
    assert_int_equal(support_capture(STDERR_FILENO, printed, sizeof printed, open_now, &call), -1);
    assert_non_null(strstr(printed, "cannot find --host 256.0.0.1.invalid: "));
}

static int announce_into_a_full_device(void *arg)
{
    int full = open("/dev/full", O_WRONLY);
    int saved = dup(STDOUT_FILENO);
    int result;

    fflush(stdout);
    dup2(full, STDOUT_FILENO);
    result = announce_now(arg);
    dup2(saved, STDOUT_FILENO);
    close(saved);
    close(full);
    return result;
}

static void an_announcement_that_fails_is_told(void **state)
{
    struct call call = {.listener = listener_open("127.0.0.1", 0)};

    (void)state;
    assert_int_equal(support_capture(STDERR_FILENO, printed, sizeof printed, announce_into_a_full_device, &call), -1);
    assert_non_null(strstr(printed, "cannot write to standard output: No space left on device"));
    close(call.listener);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(listens_and_says_where),
        cmocka_unit_test(ipv6_stands_in_brackets),
        cmocka_unit_test(a_port_in_use_is_named),
        cmocka_unit_test(a_wrong_host_is_named),
        cmocka_unit_test(an_announcement_that_fails_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
