"""Profiles (A-8; the values that their fields may have: test_commands.py)."""

import pytest

from harness import needs, rule

PROFILE = {"name": "Alice", "sex": "female", "age": 33, "address": "1 Tea Lane", "email": "alice@example.org"}
PRIVATE = {"address": "", "email": ""}


def profile(client, whose):
    """The profile fields of a profile_get, without `online`."""
    reply = client.ok("profile_get", user=whose)
    return {key: reply[key] for key in PROFILE}


@rule("A-8")
def test_the_profile_of_an_unknown_user(users, name):
    (alice,) = users(1)
    alice.expect("profile_get", "user_not_exist", user=name("nobody"))


@rule("A-8")
def test_the_own_profile(online):
    alice = online("alice")
    alice.ok("profile_set", **PROFILE)
    reply = alice.ok("profile_get", user=alice.user.name).payload
    assert reply == {"result": "success", "user": alice.user.name, **PROFILE, "online": True}


@rule("A-8")
@needs("friends")
def test_address_and_email_are_for_friends(users, friends):
    """Not for strangers, nor while a request is pending, nor after the end of the friendship."""
    alice, bob = users(2)
    alice.ok("profile_set", **PROFILE)
    whose = alice.user.name
    assert profile(bob, whose) == {**PROFILE, **PRIVATE}
    alice.ok("friend_add", user=bob.user.name)
    assert profile(bob, whose) == {**PROFILE, **PRIVATE}
    bob.ok("friend_answer", user=whose, accept=True)
    assert profile(bob, whose) == PROFILE
    bob.ok("friend_remove", user=whose)
    assert profile(bob, whose) == {**PROFILE, **PRIVATE}


@rule("A-8")
@pytest.mark.parametrize("field, value", [("name", "Alicia"), ("name", ""), ("sex", "other"), ("sex", ""), ("age", 34),
                                          ("age", 0), ("address", "2 Tea Lane"), ("address", ""), ("email", "a@b"),
                                          ("email", "")])
def test_only_the_field_that_is_given_changes(user, connect, field, value):
    alice = user("alice", **PROFILE)
    client = connect()
    client.login(alice)
    client.ok("profile_set", **{field: value})
    assert profile(client, alice.name) == {**PROFILE, field: value}


@rule("A-8", "Q-3")
def test_a_refused_profile_set_changes_nothing(user, connect):
    """Nor do the fields before the bad one; an empty profile_set is good, and changes nothing either."""
    client = connect()
    client.login(user("alice", **PROFILE))
    client.expect_bad("profile_set", "email", name="Alicia", age=34, email="no address")
    client.ok("profile_set")
    assert profile(client, client.user.name) == PROFILE


@rule("A-8")
def test_a_profile_set_is_of_the_session_s_user(users):
    """`user` is no field of profile_set."""
    alice, bob = users(2)
    alice.ok("profile_set", user=bob.user.name, name="Mallory")
    assert bob.ok("profile_get", user=bob.user.name)["name"] == ""
    assert bob.ok("profile_get", user=alice.user.name)["name"] == "Mallory"


@rule("A-8", "P-4")
def test_online_in_a_profile(users, online):
    """As long as one session is left; strangers see it as well."""
    alice, bob = users(2)
    second = online(user=bob.user)
    for session, left in ((bob, True), (second, False)):
        session.ok("logout")
        assert alice.ok("profile_get", user=bob.user.name)["online"] is left
