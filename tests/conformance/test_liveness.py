"""Signs of life: heartbeats, and the timeouts of those who send nothing or not enough (L-1, L-2, F-6).

The clock of the server is turned by options. Of every timeout it is shown that it never comes too early, to the
millisecond, and that it comes. "Not too early" is measured from before the last thing that starts it again, so a
busy machine cannot make a right server look wrong.
"""

import os
import time

import pytest

from harness import User, encode_frame, needs, rule, undisturbed
from harness.clock import scaled
from harness.measure import SLACK_S, asleep, let_pass, within
from harness.preload import replaced

pytestmark = needs("limits")

PING = encode_frame("ping", b"", 1)
LONG_PING = encode_frame("ping", {"padding": "x" * 40}, 1)
LONG = "60"             # an option that must play no part
HEARTBEAT_S = 0.3
TIMEOUT_S = 0.4


def now():
    return time.monotonic()


def hears_within(client, seconds):
    """A pause of the client's own, in which it listens: it must not be stretched as deadlines are (--slow-factor), for the
    server's clock is not."""
    return client.wait_readable(seconds / scaled(1))


# --- L-1

@pytest.fixture
def beating(start_server):
    return start_server("--heartbeat", str(HEARTBEAT_S))


def next_heartbeat(client):
    client.take_until(lambda: client.heartbeats, "a heartbeat")
    return client.heartbeats.pop(0)


def last_before(frame, sent):
    """Of (place among all that came, moment), the moment of the last that came before this frame: also when the test
    was held up, and the next one was sent before it saw the frame."""
    return max((position, moment) for position, moment in sent if position < frame.position)[1]


def has_bye(client):
    return any(push.name == "bye" for push in client.pushes)


@rule("L-1")
@needs("accounts")
def test_heartbeats_of_a_silent_session(beating, online, user):
    """One an interval after the reply to login, and one an interval after each: what is sent is a sign of life, too."""
    alice = user("alice", beating)
    began = now()
    client = online(user=alice, server=beating)
    for number in range(1, 5):
        within(began, next_heartbeat(client).at, number * HEARTBEAT_S, slack=number * SLACK_S)


@rule("L-1")
@needs("accounts")
def test_heartbeats_keep_the_interval(beating, online):
    """Half of them at least come a quarter of the interval late at most. (A machine that is busy for a moment delays
    one, and the next ones are an interval behind it.)"""
    client = online("alice", beating)
    moments = [next_heartbeat(client).at for _ in range(8)]
    gaps = sorted(later - earlier for earlier, later in zip(moments, moments[1:]))
    assert gaps[3] < 1.25 * HEARTBEAT_S, gaps


@rule("L-1")
@needs("accounts")
def test_a_reply_puts_the_heartbeat_off(beating, online):
    """A client that pings all the time gets none; were one to come, it would be an interval after the last ping."""
    asked = [(0, now())]
    client = online("alice", beating)
    deadline = now() + 3 * HEARTBEAT_S
    while now() < deadline:
        moment = now()
        asked.append((client.ok("ping").position, moment))
        if client.heartbeats or hears_within(client, HEARTBEAT_S / 4):
            break
    heartbeat = next_heartbeat(client)
    within(last_before(heartbeat, asked), heartbeat.at, HEARTBEAT_S)


@rule("L-1")
@needs("messages")
def test_a_push_puts_the_heartbeat_off(beating, users):
    """alice only listens, and bob's typing comes to her more often than the interval."""
    sent = [(0, now())]
    alice, bob = users(2, beating)
    deadline = now() + 3 * HEARTBEAT_S
    while now() < deadline:
        moment = now()
        bob.ok("typing", user=alice.user.name)
        sent.append((alice.push("typing_event").position, moment))
        if alice.heartbeats or hears_within(alice, HEARTBEAT_S / 4):
            break
    heartbeat = next_heartbeat(alice)
    within(last_before(heartbeat, sent), heartbeat.at, HEARTBEAT_S)


@rule("L-1")
@needs("accounts")
def test_what_the_client_sends_puts_no_heartbeat_off(beating, online, user):
    """Bytes of a frame come in all the time, but nothing was sent to the client."""
    alice = user("alice", beating)
    began = now()
    client = online(user=alice, server=beating)
    for byte in LONG_PING[:-1]:
        client.send_raw(bytes([byte]))
        if hears_within(client, HEARTBEAT_S / 4):
            break
    within(began, next_heartbeat(client).at, HEARTBEAT_S)


@rule("L-1")
@needs("accounts")
def test_no_heartbeat_without_a_session(beating, online, connect):
    """Neither before a login nor after a logout. The clock is a session that gets two."""
    stranger, gone = connect(beating), online("alice", beating)
    gone.ok("logout")
    clock = online("clock", beating)
    next_heartbeat(clock)
    next_heartbeat(clock)
    for client in (stranger, gone):
        client.heartbeats.clear()
        client.expect_nothing()
        assert client.heartbeats == []


@rule("L-1", "A-6")
@needs("accounts")
def test_heartbeats_after_another_login(beating, online):
    client = online("alice", beating)
    client.ok("logout")
    began = now()
    client.login(client.user)
    within(began, next_heartbeat(client).at, HEARTBEAT_S)


@rule("L-1")
@needs("accounts")
def test_each_session_has_its_own_heartbeats(beating, online):
    """One that talks does not silence another of the same user."""
    talking = online("alice", beating)
    silent = online(user=talking.user, server=beating)
    deadline = now() + 2 * HEARTBEAT_S
    while now() < deadline and not silent.wait_readable(HEARTBEAT_S / 8):
        talking.ok("ping")
    next_heartbeat(silent)


# --- L-2, the idle timeout

@pytest.fixture
def idling(start_server):
    return start_server("--idle-timeout", str(TIMEOUT_S), "--login-timeout", LONG, "--frame-timeout", LONG,
                        "--heartbeat", LONG)


@rule("L-2")
def test_a_connection_that_never_sends(idling, connect):
    began = now()
    within(began, connect(idling).expect_bye("idle_timeout").at, TIMEOUT_S)


@rule("L-2")
@needs("accounts")
def test_a_session_from_which_nothing_comes(idling, online):
    client = online("alice", idling)
    asked = now()
    client.ok("ping")
    within(asked, client.expect_bye("idle_timeout").at, TIMEOUT_S)


@rule("L-2")
@pytest.mark.parametrize("piece", ["requests", "single bytes"])
def test_whatever_comes_puts_the_idle_timeout_off(idling, connect, leave_out, piece):
    """Every byte counts, also one that completes nothing (F-6 is about those). A round in which the machine kept the
    test from sending in time says nothing."""
    for _ in range(5):
        sent, client = now(), connect(idling)
        for byte in LONG_PING[:12]:
            held_up = now() - sent > TIMEOUT_S / 2
            if held_up:
                break
            sent = now()
            if piece == "requests":
                client.ok("ping")
            else:
                client.send_raw(bytes([byte]))
            if hears_within(client, TIMEOUT_S / 4):
                break
        if not held_up:
            within(sent, client.expect_bye("idle_timeout").at, TIMEOUT_S)
            return
    leave_out("this machine is too busy for that")


@rule("L-2")
@needs("messages")
def test_what_is_sent_to_a_client_does_not_put_its_idle_timeout_off(idling, users):
    """bob writes to alice, who only listens, all the time."""
    alice, bob = users(2, idling)
    asked = now()
    alice.ok("ping")
    while not has_bye(alice) and now() < asked + TIMEOUT_S + scaled(SLACK_S):
        bob.ok("typing", user=alice.user.name)
        hears_within(alice, TIMEOUT_S / 8)
        alice.take_in()
        while alice.pushes and alice.pushes[0].name == "typing_event":
            alice.pushes.popleft()
    within(asked, alice.expect_bye("idle_timeout").at, TIMEOUT_S)


@rule("L-2", "L-1")
@needs("accounts")
def test_heartbeats_do_not_keep_a_silent_session(start_server, online):
    """They remind a client that it should ping; one that does not is gone."""
    server = start_server("--idle-timeout", "1", "--heartbeat", "0.2")
    client = online("alice", server)
    asked = now()
    client.ok("ping")
    within(asked, client.expect_bye("idle_timeout").at, 1)
    assert len(client.heartbeats) >= 2


@rule("L-2", "P-4")
@needs("friends")
def test_an_idle_timeout_ends_the_session(idling, users, friends):
    """A friend, who pings, is told at once."""
    alice, bob = users(2, idling)
    friends(alice, bob)
    while not has_bye(alice):
        bob.ok("ping")
        hears_within(alice, TIMEOUT_S / 8)
        alice.take_in()
    bob.push("presence", user=alice.user.name, online=False)


WALL_CLOCK_C = """
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
static long ahead(void) { return access("%s", F_OK) == 0 ? 3600 : 0; }
int clock_gettime(clockid_t id, struct timespec *now)
{
    int result = (int)syscall(SYS_clock_gettime, id, now);
    if (result == 0 && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE))
        now->tv_sec += ahead();
    return result;
}
int gettimeofday(struct timeval *now, void *zone)
{
    int result = (int)syscall(SYS_gettimeofday, now, zone);
    if (result == 0)
        now->tv_sec += ahead();
    return result;
}
time_t time(time_t *out)
{
    struct timeval now;
    gettimeofday(&now, 0);
    if (out)
        *out = now.tv_sec;
    return now.tv_sec;
}
"""


@rule("L-1", "L-2", "M-1")
@needs("messages")
def test_setting_the_clock_ends_nobody(start_server, online, connect, tmp_path, leave_out):
    """The wall clock is set an hour ahead, and back. Timeouts and heartbeats do not see it; `time` does, but does not
    go back within a conversation."""
    switch = tmp_path / "ahead"
    server = start_server("--heartbeat", str(HEARTBEAT_S), env=replaced(tmp_path, WALL_CLOCK_C % switch))
    alice, stranger = online("alice", server), connect(server)
    note_to_herself = {"user_to": alice.user.name, "text": "hi"}
    first, before = alice.ok("private_chat", **note_to_herself)["time"], alice.ok("ping")["time"]
    switch.touch()
    if alice.ok("ping")["time"] < before + 3000000:
        leave_out("the program does not ask the C library for the time")
    next_heartbeat(alice)
    stranger.ok("ping")
    ahead = alice.ok("private_chat", **note_to_herself)["time"]
    switch.unlink()
    began = now()
    reply = alice.ok("private_chat", **note_to_herself)
    assert first <= ahead <= reply["time"]
    while (heartbeat := next_heartbeat(alice)).position < reply.position:
        pass
    within(began, heartbeat.at, HEARTBEAT_S)
    assert alice.ok("ping")["time"] < ahead
    stranger.ok("ping")


# --- L-2, the login timeout

@pytest.fixture
def waiting(start_server):
    return start_server("--login-timeout", str(TIMEOUT_S), "--idle-timeout", LONG, "--frame-timeout", LONG)


@rule("L-2")
def test_a_connection_that_does_not_log_in(waiting, connect):
    began = now()
    within(began, connect(waiting).expect_bye("login_timeout").at, TIMEOUT_S)


@rule("L-2")
@needs("accounts")
@pytest.mark.parametrize("kind", ["requests", "single bytes", "accounts", "wrong logins"])
def test_nothing_but_a_login_helps(waiting, connect, name, kind):
    """The time runs from the beginning of the connection, whatever else it sends."""
    began = now()
    client = connect(waiting)
    one = User(name("alice"), "kettle")
    client.register(one)
    pieces = iter(encode_frame("ping", {"padding": "x" * 2000}, 1)[:-1])
    while not hears_within(client, TIMEOUT_S / 8) and now() < began + TIMEOUT_S + scaled(SLACK_S):
        if kind == "requests":
            client.send("ping")
        elif kind == "single bytes":
            client.send_raw(bytes([next(pieces)]))
        elif kind == "accounts":
            client.send("register", user=name(), passwd="kettle")
        else:
            client.send("login", user=one.name, passwd="wrong")
        client.take_until(lambda: client.pushes or not client.unanswered, "a reply")
        client.replies.clear()
        if client.pushes:
            break
    within(began, client.expect_bye("login_timeout").at, TIMEOUT_S)


@rule("L-2")
@needs("accounts")
def test_no_login_timeout_of_a_session(waiting, online, connect):
    """Another connection's timeout is the clock."""
    alice = online("alice", waiting)
    connect(waiting).expect_bye("login_timeout")
    alice.expect_nothing()


@rule("L-2", "A-6")
@needs("accounts")
def test_the_login_timeout_starts_again_at_a_logout(waiting, online, connect):
    """All of it: when alice logs out, she has been connected for longer than that already."""
    alice = online("alice", waiting)
    connect(waiting).expect_bye("login_timeout")
    asked = now()
    alice.ok("logout")
    within(asked, alice.expect_bye("login_timeout").at, TIMEOUT_S)


@rule("L-2", "A-6")
@needs("accounts")
def test_no_login_timeout_after_another_login(waiting, online, connect):
    alice = online("alice", waiting)
    alice.ok("logout")
    alice.login(alice.user)
    connect(waiting).expect_bye("login_timeout")
    alice.expect_nothing()


# --- L-2, and a login that is being checked. Hashes of interactive cost queue up before it

@pytest.fixture
def busy_hashing(start_server, connect, name):
    """(server, alice, occupy): occupy() keeps all workers at work for longer than the login timeout."""
    server = start_server("--password-cost", "interactive", "--login-timeout", "0.3")
    alice = User(name("alice"), "kettle")
    with connect(server) as client:
        began = now()
        client.register(alice)
        one = now() - began
    count = min(int(0.6 / one) * os.cpu_count(), 200)       # twice the timeout, however many workers there are

    def occupy():
        others = [connect(server, f"busy {number}") for number in range(count)]
        for other in others:
            other.ok("ping")
        for other in others:
            other.send("register", user=name(), passwd="a password")

    return server, alice, occupy


@rule("L-2", "A-10")
@needs("accounts")
@undisturbed("many have to connect within the login timeout")
def test_no_login_timeout_while_the_login_is_checked(busy_hashing, connect, leave_out):
    server, alice, occupy = busy_hashing
    client = connect(server)
    began = now()
    occupy()
    client.login(alice)
    if now() - began < 0.3:
        leave_out("passwords are checked so quickly here that this cannot be seen")
    connect(server).expect_bye("login_timeout")
    client.expect_nothing()


@rule("L-2", "A-10")
@needs("accounts")
@undisturbed("many have to connect within the login timeout")
def test_after_a_login_that_was_refused_late_the_timeout_comes(busy_hashing, connect):
    """The reply first, then the bye."""
    server, alice, occupy = busy_hashing
    began = now()
    client = connect(server)
    occupy()
    reply = client.expect("login", "passwd_error", user=alice.name, passwd="milk-no-sugar")
    bye = client.expect_bye("login_timeout")
    within(began, bye.at, 0.3, slack=reply.at - began + SLACK_S)


@rule("L-2", "A-6")
@needs("accounts")
@undisturbed("many have to connect within the login timeout")
def test_a_login_that_was_late_does_not_shorten_the_next_timeout(busy_hashing, connect):
    """It was checked beyond the timeout, and was right. The time after the logout is a new one."""
    server, alice, occupy = busy_hashing
    client = connect(server)
    occupy()
    client.login(alice)
    began = now()
    client.ok("logout")
    within(began, client.expect_bye("login_timeout").at, 0.3)


@rule("L-2", "A-6", "L-4")
@needs("accounts")
@undisturbed("many have to connect within the login timeout")
def test_no_login_timeout_while_what_came_with_the_logout_waits(busy_hashing, connect, name, leave_out):
    """Behind the logout an account is made, and behind that nothing is taken up: a time in which the server does not
    read, and which does not count. It is longer than the timeout."""
    server, alice, occupy = busy_hashing
    client = connect(server)
    client.login(alice)
    occupy()
    began = now()
    client.send_many([("logout", {}), ("register", {"user": name(), "passwd": "a password"}), ("ping", {})])
    for _ in range(3):
        client.must(client.reply(), "success")
    if now() - began < 0.3:
        leave_out("passwords are hashed so quickly here that this cannot be seen")
    client.expect_bye("login_timeout")


# --- F-6, more of it (test_frames.py has the usual cases)

@rule("F-6")
def test_every_frame_has_its_own_time(start_server, connect):
    """The end of one frame and the beginning of the next come together, so that there is always one begun."""
    server = start_server("--frame-timeout", str(TIMEOUT_S), "--login-timeout", LONG)
    client = connect(server)
    deadline = now() + 2.5 * TIMEOUT_S
    rest, seqs = b"", []
    while now() < deadline:
        seq, ping = client.prepare("ping")
        begun = now()
        client.send_raw(rest + ping[:9])
        rest = ping[9:]
        seqs.append(seq)
        let_pass(TIMEOUT_S / 4)
        client.take_in()
        if has_bye(client):
            break
    for seq in seqs[:-1]:
        client.must(client.reply(seq), "success")
    within(begun, client.expect_bye("frame_timeout").at, TIMEOUT_S)


@rule("F-6", "L-2")
def test_of_two_timeouts_that_are_over_the_frame_timeout_is_told(start_server, connect):
    """The process is stopped until both are."""
    server = start_server("--frame-timeout", "0.4", "--login-timeout", "0.4")
    client = connect(server)
    seq, ping = client.prepare("ping")
    client.send_raw(ping + PING[:9])
    client.reply(seq)
    with asleep(server):
        let_pass(0.5)
    client.expect_bye("frame_timeout")


@rule("F-6", "L-2")
def test_a_frame_that_is_begun_late_does_not_put_the_login_timeout_off(start_server, connect):
    """Its own time is not over when the login timeout comes."""
    server = start_server("--frame-timeout", "5", "--login-timeout", str(TIMEOUT_S))
    began = now()
    client = connect(server)
    client.send_raw(PING[:9])
    within(began, client.expect_bye("login_timeout").at, TIMEOUT_S)


@rule("F-6", "L-2")
def test_a_slow_frame_is_not_idle(start_server, connect):
    """The idle timeout is shorter, but bytes come all the time: the frame timeout ends it."""
    server = start_server("--frame-timeout", "1", "--idle-timeout", "0.6", "--login-timeout", LONG)
    client = connect(server)
    began = now()
    for byte in LONG_PING[:-1]:
        client.send_raw(bytes([byte]))
        if hears_within(client, 0.1):
            break
    within(began, client.expect_bye("frame_timeout").at, 1)
