"""Presence (P-4): who is told when a user comes and goes."""

import pytest

from harness import needs, rule
from harness.together import at_once


def all_nothing(*clients):
    for client in clients:
        client.expect_nothing()


@pytest.fixture
def pair(users, friends):
    """pair() -> alice and bob, friends."""
    def make(**how):
        alice, bob = users(2, **how)
        friends(alice, bob)
        return alice, bob

    return make


def ends(client, how):
    """One of the ways in which a session ends."""
    if how == "logout":
        client.ok("logout")
    elif how == "close":
        client.close()
    elif how == "reset":
        client.reset()
    elif how == "half close":
        client.half_close()
        client.expect_closed()
    elif how == "in the middle of a frame":
        client.send_raw(client.prepare("private_chat", user_to="nobody", text="x" * 100)[1][:50])
        client.close()
    elif how == "reset with requests under way":
        client.send_many([("profile_set", {"name": f"number {number}"}) for number in range(20)])
        client.reset()
    else:
        client.send_raw(b"\xc4\xa7\x02")
        client.expect_bye("protocol_error", "bad_version")


WAYS = ["logout", "close", "reset", "half close", "in the middle of a frame", "reset with requests under way",
        "a broken frame"]


@rule("P-4")
@pytest.mark.parametrize("how", WAYS)
def test_presence_when_the_only_session_ends(pair, online, how):
    """Once, to each session of the friend, whatever ended it; and once when the user is back."""
    alice, bob = pair()
    alice_two = online(user=alice.user)
    bob.barrier()
    ends(bob, how)
    for session in (alice, alice_two):
        session.push("presence", user=bob.user.name, online=False)
    online(user=bob.user)
    for session in (alice, alice_two):
        session.push("presence", user=bob.user.name, online=True)
    all_nothing(alice, alice_two)


@rule("P-4", "L-2")
@needs("limits")
def test_presence_when_a_timeout_ends_the_session(start_server, users, friends):
    """alice pings; bob says nothing."""
    server = start_server("--idle-timeout", "0.5")
    alice, bob = users(2, server)
    friends(alice, bob)
    while not alice.pushes:
        alice.ok("ping")
        alice.wait_readable(0.05)
    alice.push("presence", user=bob.user.name, online=False)
    alice.expect_nothing()
    bob.expect_bye("idle_timeout")


@rule("P-4")
@pytest.mark.parametrize("how", ["logout", "half close"])
def test_no_presence_for_a_second_session(pair, online, how):
    """Neither when it begins nor when it ends, nor when the first one ends before it."""
    alice, bob = pair()
    second = online(user=bob.user)
    third = online(user=bob.user)
    alice.expect_nothing()
    ends(third, how)
    ends(bob, how)
    alice.expect_nothing()
    ends(second, how)
    alice.push("presence", user=bob.user.name, online=False)
    alice.expect_nothing()


@rule("P-4")
def test_presence_of_many_sessions_at_once(pair, connect):
    """Six begin together, six end together: one push each."""
    alice, bob = pair()
    bob.ok("logout")
    alice.push("presence", user=bob.user.name, online=False)
    clients = [connect() for _ in range(6)]
    login = {"user": bob.user.name, "passwd": bob.user.passwd}
    for reply in at_once([(client, "login", login) for client in clients]):
        assert reply.result == "success"
    alice.push("presence", user=bob.user.name, online=True)
    alice.expect_nothing()
    at_once([(client, "logout", {}) for client in clients])
    alice.push("presence", user=bob.user.name, online=False)
    alice.expect_nothing()


@rule("P-4", "Q-2")
def test_presence_of_quick_logins_and_logouts(pair):
    """In one piece: each is told, in order."""
    alice, bob = pair()
    login = ("login", {"user": bob.user.name, "passwd": bob.user.passwd})
    bob.send_many([("logout", {}), login, ("logout", {}), login])
    for online in (False, True, False, True):
        alice.push("presence", user=bob.user.name, online=online)
    for _ in range(4):
        bob.must(bob.reply(), "success")
    alice.expect_nothing()


@rule("P-4")
def test_presence_is_for_friends(users, friends, online):
    """Not for strangers, those with a request pending either way, former friends, nor for the user's own sessions."""
    alice, bob, carol, dave, erin = users(5)
    alice.ok("friend_add", user=bob.user.name)
    carol.ok("friend_add", user=alice.user.name)
    friends(alice, dave)
    alice.ok("friend_remove", user=dave.user.name)
    for client in (alice, bob, carol, dave, erin):
        client.barrier()
    second = online(user=alice.user)
    all_nothing(alice, second)
    for session in (alice, second):
        session.ok("logout")
    all_nothing(bob, carol, dave, erin)
    alice.login(alice.user)
    all_nothing(alice, bob, carol, dave, erin)


@rule("P-4")
def test_no_presence_for_becoming_or_ceasing_to_be_friends(users):
    """It tells of logins and ends; friend_event tells of the rest."""
    alice, bob = users(2)
    alice.ok("friend_add", user=bob.user.name)
    bob.ok("friend_answer", user=alice.user.name, accept=True)
    bob.ok("friend_remove", user=alice.user.name)
    assert [push.name for push in alice.barrier()] == ["friend_event"] * 2
    assert [push.name for push in bob.barrier()] == ["friend_request"]


@rule("P-4", "A-2")
def test_no_presence_for_a_login_that_fails(pair, connect):
    alice, bob = pair()
    bob.ok("logout")
    alice.push("presence", user=bob.user.name, online=False)
    connect().expect("login", "passwd_error", user=bob.user.name, passwd="wrong one")
    alice.expect_nothing()


@rule("P-4", "Q-8")
def test_presence_goes_to_every_friend(users, friends):
    alice, *others = users(5)
    for other in others:
        friends(alice, other)
    alice.ok("logout")
    for other in others:
        other.push("presence", user=alice.user.name, online=False)
        other.expect_nothing()
