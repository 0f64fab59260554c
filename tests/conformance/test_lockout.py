"""Too many wrong passwords (A-4). Addresses are of the loopback net: 127.0.0.2 is another client than 127.0.0.1."""

import ctypes
import ipaddress
import os
import subprocess
import threading
import time

import pytest

from harness import Unmet, User, note, rule
from harness.measure import CLOCK_S
from harness.together import at_once, in_one_piece

WRONG = 10          # wrong passwords within the window; what comes after them is not looked at
BEAT_S = 0.1
SLACK_S = 0.1       # of a window's end


@pytest.fixture
def elsewhere(server, connect, leave_out):
    """elsewhere(n) -> a connection from another address than everybody's."""
    if not ipaddress.ip_address(server.host).is_loopback or ":" in server.host:
        leave_out("needs a server on 127.0.0.1, where a client can choose its own address")
    return lambda number=2: connect(label=f"from 127.0.0.{number}", source=f"127.0.0.{number}")


def login(user, passwd=None):
    return "login", {"user": user.name, "passwd": passwd or user.passwd}


def fail(client, user, times):
    """So many logins with a wrong password, all of them looked at."""
    for reply in in_one_piece(client, [login(user, f"wrong {number}") for number in range(times)]):
        client.must(reply, "passwd_error")


def locked(client, user):
    """Neither a wrong password nor the right one is looked at."""
    for passwd in ("wrong one", user.passwd):
        client.expect("login", "too_many_attempts", user=user.name, passwd=passwd)


# --- The count

@rule("A-4")
def test_after_ten_wrong_passwords(connect, user):
    """The tenth is still looked at, and from then on not even the right one is, on no connection."""
    alice = user("alice")
    client = connect()
    fail(client, alice, WRONG)
    locked(client, alice)
    locked(connect(), alice)


@rule("A-4")
def test_after_nine_wrong_passwords(connect, user):
    client = connect()
    alice = user("alice")
    fail(client, alice, WRONG - 1)
    client.login(alice)


@rule("A-4")
def test_a_success_clears_the_count(connect, user):
    alice = user("alice")
    client = connect()
    for _ in range(3):
        fail(client, alice, WRONG - 1)
        client.login(alice)
        client.ok("logout")


@rule("A-4")
def test_wrong_passwords_on_many_connections_count_together(connect, user):
    """It is the address that counts, not the connection."""
    alice = user("alice")
    for _ in range(WRONG):
        with connect() as client:
            fail(client, alice, 1)
    locked(connect(), alice)


@rule("A-4")
def test_another_user_is_not_locked(connect, user):
    """Not one whose name begins alike either."""
    alice, bob = user("alice"), user("bob")
    alike = User(alice.name + "x", "kettle")
    client = connect()
    client.register(alike)
    fail(client, alice, WRONG)
    client.login(bob)
    client.ok("logout")
    client.login(alike)


@rule("A-4")
def test_another_address_is_not_locked(elsewhere, connect, user):
    """And has its own count."""
    alice = user("alice")
    fail(connect(), alice, WRONG)
    other = elsewhere()
    fail(other, alice, WRONG - 1)
    other.login(alice)
    other.ok("logout")
    locked(connect(), alice)
    fail(other, alice, WRONG)
    locked(other, alice)
    elsewhere(3).login(alice)


@rule("A-4")
def test_a_success_elsewhere_does_not_unlock(elsewhere, connect, user):
    alice = user("alice")
    client = connect()
    fail(client, alice, WRONG)
    elsewhere().login(alice)
    locked(client, alice)


@rule("A-4")
def test_a_name_that_no_account_has_is_never_counted(connect, name):
    """It stays user_not_exist, and one who registers it later is not locked."""
    client = connect()
    alice = User(name("alice"), "kettle-and-cup")
    for reply in in_one_piece(client, [login(alice)] * (WRONG + 3)):
        client.must(reply, "user_not_exist")
    client.register(alice)
    fail(client, alice, WRONG - 1)
    client.login(alice)


@rule("A-4", "Q-3", "A-5")
def test_what_is_no_wrong_password_does_not_count(connect, user):
    """Bad requests, and right passwords refused for the number of sessions."""
    alice = user("alice")
    for _ in range(8):
        connect().login(alice)
    client = connect()
    for _ in range(WRONG + 1):
        client.expect_bad("login", "passwd", user=alice.name, passwd="x")
        client.expect("login", "too_many_sessions", user=alice.name, passwd=alice.passwd)


# --- passwd

@rule("A-4", "A-7")
def test_wrong_old_passwords_count(users, connect):
    """Together with those of logins; the session itself stays."""
    (alice,) = users(1)
    fail(connect(), alice.user, 4)
    for _ in range(WRONG - 4):
        alice.expect("passwd", "passwd_error", old="wrong one", new="a new one")
    alice.expect("passwd", "too_many_attempts", old=alice.user.passwd, new="a new one")
    locked(connect(), alice.user)
    alice.ok("profile_set", name="Alice")


@rule("A-4", "A-7")
def test_passwd_of_a_locked_user(users, connect):
    """Wrong logins of somebody at the same address lock the passwd of the session there; the password stays."""
    (alice,) = users(1)
    fail(connect(), alice.user, WRONG)
    for old in (alice.user.passwd, "wrong one"):
        alice.expect("passwd", "too_many_attempts", old=old, new="a new one")


@rule("A-4", "A-7")
def test_passwd_from_another_address(elsewhere, users, connect):
    """The session there is not locked, and its new password is good there."""
    (alice,) = users(1)
    other = elsewhere()
    other.login(alice.user)
    fail(connect(), alice.user, WRONG)
    other.ok("passwd", old=alice.user.passwd, new="a new one")
    other.ok("logout")
    other.login(User(alice.user.name, "a new one"))
    alice.expect("passwd", "too_many_attempts", old="a new one", new="another one")


@rule("A-4", "A-7")
def test_a_changed_password_clears_the_count(users, connect):
    (alice,) = users(1)
    client = connect()
    fail(client, alice.user, WRONG - 1)
    alice.ok("passwd", old=alice.user.passwd, new=alice.user.passwd)
    fail(client, alice.user, WRONG - 1)
    client.login(alice.user)


# --- Many at once, on a server that takes its time for each, so that many are under way

@pytest.fixture
def thorough(start_server):
    return start_server("--password-cost", "interactive")


@rule("A-4")
def test_many_wrong_passwords_at_once_do_not_pass_the_limit(thorough, connect, user):
    """Ten are looked at, however many come together."""
    alice = user("alice", thorough)
    clients = [connect(thorough) for _ in range(24)]
    replies = at_once([(client, *login(alice, f"wrong {number}")) for number, client in enumerate(clients)])
    results = sorted(reply.result for reply in replies)
    assert results == ["passwd_error"] * WRONG + ["too_many_attempts"] * 14, results
    locked(clients[0], alice)


@rule("A-4")
def test_many_wrong_passwords_at_once_with_one_attempt_left(connect, user):
    alice = user("alice")
    clients = [connect() for _ in range(12)]
    fail(clients[0], alice, WRONG - 1)
    replies = at_once([(client, *login(alice, f"wrong {number}")) for number, client in enumerate(clients)])
    assert sorted(reply.result for reply in replies) == ["passwd_error"] + ["too_many_attempts"] * 11


@rule("A-4", "A-5")
def test_right_passwords_among_many_at_once_are_not_refused(thorough, connect, user):
    """Five wrong and eight right ones at once: more than ten, but never ten wrong."""
    alice = user("alice", thorough)
    clients = [connect(thorough) for _ in range(13)]
    kinds = ["wrong one" if number % 3 == 1 or number == 12 else None for number in range(13)]
    replies = at_once([(client, *login(alice, kind)) for client, kind in zip(clients, kinds)])
    expected = ["passwd_error" if kind else "success" for kind in kinds]
    assert [reply.result for reply in replies] == expected


@rule("A-4", "A-7")
def test_many_passwd_at_once_do_not_pass_the_limit(online, user):
    """On the eight connections that a user can have, two each."""
    alice = user("alice")
    sessions = [online(user=alice) for _ in range(8)]
    change = {"old": "wrong one", "new": "a new one"}
    replies = at_once([(session, "passwd", change) for session in sessions * 2])
    assert sorted(reply.result for reply in replies) == ["passwd_error"] * WRONG + ["too_many_attempts"] * 6


# --- The window. The time is told by heartbeats: one each 0.1 s.

@pytest.fixture
def hurried(start_server, online):
    """hurried(window) -> (a server with this lockout window, wait(seconds))."""
    def make(window):
        server = start_server("--lockout-window", window, "--heartbeat", BEAT_S)
        clock = online("clock", server, keep_heartbeats=True)

        def wait(seconds):
            due = time.monotonic() + seconds
            while time.monotonic() < due:
                clock.push("heartbeat")

        return server, wait

    return make


def until_unlocked(client, wait, user, passwd=None):
    """Try until the password is looked at: (the reply, when the refused ones before it were sent)."""
    due = time.monotonic() + client.wait_s
    refused = []
    while time.monotonic() < due:
        sent = time.monotonic()
        reply = client.request("login", user=user.name, passwd=passwd or user.passwd)
        if reply.result != "too_many_attempts":
            return reply, refused
        refused.append(sent)
        wait(BEAT_S / 2)
    raise Unmet("the end of the lockout", f"too_many_attempts {len(refused)} times", client)


@rule("A-4")
def test_the_lockout_ends(hurried, connect, online):
    """When the window has passed since the wrong ones, and not before; what is refused meanwhile does not count."""
    server, wait = hurried(0.8)
    alice = online("alice", server).user
    client = connect(server)
    begun = time.monotonic()
    fail(client, alice, WRONG)
    failed = time.monotonic()
    reply, refused = until_unlocked(client, wait, alice)
    client.must(reply, "success")
    assert refused and reply.at - begun >= 0.8 - CLOCK_S, f"{reply.at - begun:.3f} s after the first wrong password"
    assert refused[-1] - failed < 0.8 + SLACK_S, f"refused {refused[-1] - failed:.3f} s after the last one"


@rule("A-4")
def test_the_window_is_that_of_each_wrong_password(hurried, connect, online):
    """One early and nine late ones: when the early one is too old, one more is looked at, and it is locked again."""
    server, wait = hurried(1)
    alice = online("alice", server).user
    client = connect(server)
    fail(client, alice, 1)
    early = time.monotonic()
    wait(0.6)
    late = time.monotonic()
    fail(client, alice, WRONG - 1)
    reply, refused = until_unlocked(client, wait, alice, "wrong again")
    client.must(reply, "passwd_error")
    assert refused and refused[-1] - early < 1 + SLACK_S, f"refused {refused[-1] - early:.3f} s after the early one"
    again = client.request("login", user=alice.name, passwd=alice.passwd)
    if again.at - late < 1:
        client.must(again, "too_many_attempts")         # the nine are young still
    else:
        note("too slow a machine to see it locked again")


@rule("A-4")
def test_old_wrong_passwords_do_not_count(hurried, connect, online):
    server, wait = hurried(0.3)
    alice = online("alice", server).user
    client = connect(server)
    fail(client, alice, WRONG - 1)
    wait(0.35)
    fail(client, alice, WRONG - 1)
    client.login(alice)


@rule("A-4")
def test_wrong_passwords_behind_old_ones_count(hurried, connect, online):
    """Each of them, whatever was counted before the window."""
    server, wait = hurried(0.5)
    alice = online("alice", server).user
    client = connect(server)
    for old in (1, WRONG - 3, WRONG - 1):
        fail(client, alice, old)
        wait(0.55)
    begun = time.monotonic()
    fail(client, alice, WRONG)
    reply = client.request("login", user=alice.name, passwd=alice.passwd)
    if reply.at - begun < 0.5:
        client.must(reply, "too_many_attempts")
    else:
        note("too slow a machine to see it locked")


# --- IPv6, in a network namespace of a thread's own, where it may have the addresses that it wants

CLONE_NEWNET = 0x40000000
ONE, SAME_64, OTHER_64 = "fd00:1:2:3::1", "fd00:1:2:3:ffff::2", "fd00:1:2:4::1"


@pytest.fixture
def in_own_network(leave_out):
    """in_own_network(function): runs it where the loopback device has the three addresses."""
    def run(function):
        ended = []

        def body():
            if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET):
                ended.append(os.strerror(ctypes.get_errno()))
                return
            commands = ["ip link set lo up", *(f"ip -6 addr add {address}/128 dev lo nodad"
                                               for address in (ONE, SAME_64, OTHER_64))]
            try:
                for command in commands:
                    subprocess.run(command.split(), check=True, capture_output=True)
            except (OSError, subprocess.CalledProcessError) as error:
                ended.append(str(error))
                return
            try:
                function()
                ended.append(None)
            except BaseException as error:      # it is raised again in the test's own thread
                ended.append(error)

        thread = threading.Thread(target=body)
        thread.start()
        thread.join()
        if isinstance(ended[0], BaseException):
            raise ended[0]
        if ended[0] is not None:
            leave_out(f"needs the right to make a network of its own: {ended[0]}")

    return run


@rule("A-4", "S-5")
def test_an_ipv6_address_counts_by_its_64(in_own_network, start_server, connect, online):
    def body():
        server = start_server("--host", "::")
        server.host = "::1"
        alice = online("alice", server).user
        fail(connect(server, source=ONE), alice, WRONG - 1)
        fail(connect(server, source=SAME_64), alice, 1)
        locked(connect(server, source=ONE), alice)
        connect(server, source=OTHER_64).login(alice)

    in_own_network(body)


@rule("A-4", "S-5")
def test_ipv4_addresses_count_each_by_itself(program, in_own_network, start_server, connect, online, leave_out):
    """Also where the server listens on IPv6, and has both."""
    if not program.strict:
        leave_out("whether a server on :: has IPv4, too, is its own affair")

    def body():
        server = start_server("--host", "::")
        server.host = "127.0.0.1"
        alice = online("alice", server).user
        fail(connect(server, source="127.0.0.2"), alice, WRONG)
        locked(connect(server, source="127.0.0.2"), alice)
        connect(server, source="127.0.0.3").login(alice)

    in_own_network(body)
