"""Accounts and sessions: register, log in and out (section A; the rest of it: test_profiles.py, test_lockout.py,
test_passwords.py, test_account_limits.py)."""

import time

import pytest

from harness import User, needs, rule
from harness.together import at_once, in_one_piece

SESSIONS = 8


def people(client):
    """The friends, groups, unread and requests in the reply to a login, or what the single commands say."""
    return {"friends": client.ok("friend_list")["friends"], "groups": client.ok("group_list")["groups"],
            "unread": client.ok("unread")["unread"]}


def nobody(client):
    """The connection is not logged in."""
    client.expect("profile_get", "not_logged_in", user="somebody")


# ---

@rule("A-1", "A-2")
def test_a_new_name(connect, name):
    client = connect()
    alice = User(name("alice"), "kettle-and-cup")
    client.register(alice)
    client.login(alice)


@rule("A-1")
def test_a_taken_name(connect, user):
    """Nothing of the first account changes: not its password, not its profile."""
    alice = user("alice", name="Alice")
    client = connect()
    client.expect_failure("register", "user_exists", user=alice.name, passwd="another one", name="Mallory")
    client.expect_failure("register", "user_exists", user=alice.name, passwd=alice.passwd)
    client.expect("login", "passwd_error", user=alice.name, passwd="another one")
    client.login(alice)
    assert client.ok("profile_get", user=alice.name)["name"] == "Alice"


@rule("A-1")
def test_several_registrations_of_one_name_at_the_same_time(connect, name):
    """Exactly one succeeds, and its password is the one that counts."""
    clients = [connect() for _ in range(6)]
    for _ in range(3):
        alice = name("alice")
        replies = at_once([(client, "register", {"user": alice, "passwd": f"password {number}"})
                           for number, client in enumerate(clients)])
        results = [reply.result for reply in replies]
        assert sorted(results) == ["failure"] * 5 + ["success"], results
        assert all(reply["reason"] == "user_exists" for reply in replies if reply.result == "failure")
        with connect() as client:
            for number, result in enumerate(results):
                if result == "failure":
                    client.expect("login", "passwd_error", user=alice, passwd=f"password {number}")
            client.ok("login", user=alice, passwd=f"password {results.index('success')}")


@rule("A-1")
def test_registrations_of_one_name_while_it_is_hashed(start_server, connect, name):
    """Each has been asked for before the first is done with: the name was free for all of them."""
    server = start_server("--password-cost", "interactive")
    clients = [connect(server) for _ in range(6)]
    one = name()
    for number, client in enumerate(clients):
        client.send("register", user=one, passwd=f"kettle {number}")
    results = [client.reply().result for client in clients]
    assert sorted(results) == ["failure"] * 5 + ["success"]


@rule("A-1", "Q-2")
def test_registrations_of_one_name_in_one_piece(connect, name):
    """The first one has it."""
    client = connect()
    alice = name("alice")
    first, second, login = in_one_piece(client, [("register", {"user": alice, "passwd": "the first"}),
                                                 ("register", {"user": alice, "passwd": "the second"}),
                                                 ("login", {"user": alice, "passwd": "the first"})])
    client.must(first, "success")
    client.must(second, "failure", reason="user_exists")
    client.must(login, "success", user=alice)


@rule("A-1")
def test_registering_does_not_log_in(connect, name):
    client = connect()
    client.register(User(name("alice"), "kettle-and-cup"))
    nobody(client)


@rule("A-1")
def test_registering_another_user_while_logged_in(users, connect, name):
    """The connection stays that of its user."""
    (alice,) = users(1)
    bob = User(name("bob"), "milk-no-sugar")
    alice.register(bob)
    alice.expect_failure("register", "user_exists", user=alice.user.name, passwd="kettle")
    alice.expect("login", "already_logged_in", user=bob.name, passwd=bob.passwd)
    alice.ok("profile_set", name="still me")
    assert alice.ok("profile_get", user=alice.user.name)["name"] == "still me"
    connect().login(bob)


@rule("A-1")
def test_a_refused_registration_leaves_the_name_free(connect, name):
    client = connect()
    alice = name("alice")
    client.expect_bad("register", "age", user=alice, passwd="kettle", age=151)
    client.expect("login", "user_not_exist", user=alice, passwd="kettle")
    client.ok("register", user=alice, passwd="kettle")


# ---

@rule("A-2")
def test_login_of_an_unknown_user(connect, name):
    client = connect()
    client.expect("login", "user_not_exist", user=name("nobody"), passwd="kettle")
    nobody(client)


@rule("A-2")
@pytest.mark.parametrize("wrong", ["kettle-and-cup!", "kettle-and-cu", "Kettle-and-cup", "kettle-and-cup ",
                                   " kettle-and-cup", "kettle-and-cuq", "cups", "kettle-and-cup" * 9])
def test_login_with_a_wrong_password(connect, name, wrong):
    client = connect()
    alice = User(name("alice"), "kettle-and-cup")
    client.register(alice)
    client.expect("login", "passwd_error", user=alice.name, passwd=wrong)
    nobody(client)
    client.login(alice)


@rule("A-2")
def test_the_password_of_another_user(user, connect):
    alice, bob = user("alice"), user("bob")
    connect().expect("login", "passwd_error", user=alice.name, passwd=bob.passwd)


@rule("A-2", "Q-9")
def test_login_on_a_connection_that_is_logged_in(users, user, name):
    """Whatever the login says, also one that would be refused: the session stays as it is."""
    (alice,) = users(1)
    bob = user("bob")
    for who, passwd in [(alice.user.name, alice.user.passwd), (bob.name, bob.passwd), (bob.name, "wrong one"),
                        (name("nobody"), "kettle"), ("no name", "x")]:
        alice.expect("login", "already_logged_in", user=who, passwd=passwd)
    alice.expect("login", "already_logged_in")
    alice.ok("profile_set", name="Alice")
    assert alice.ok("profile_get", user=alice.user.name)["name"] == "Alice"
    assert alice.ok("profile_get", user=bob.name)["online"] is False


@rule("A-2", "Q-2")
def test_two_logins_in_one_piece(connect, user):
    client = connect()
    alice, bob = user("alice"), user("bob")
    first, second = in_one_piece(client, [("login", {"user": alice.name, "passwd": alice.passwd}),
                                          ("login", {"user": bob.name, "passwd": bob.passwd})])
    client.must(first, "success", user=alice.name)
    client.must(second, "already_logged_in")


# ---

@rule("A-3")
@needs("friends", "groups", "history")
def test_the_first_screen_of_a_new_user(connect, user):
    alice = user("alice")
    assert connect().login(alice).payload == {"result": "success", "user": alice.name, "friends": [], "groups": [],
                                              "unread": [], "requests": []}


@rule("A-3", "C-4")
@needs("friends", "groups", "messages", "history")
def test_the_first_screen(users, friends, group, connect):
    """It has friends, groups, unread and requests, as the commands of their own give them."""
    alice, bob, carol, dave = users(4)
    friends(alice, carol)
    friends(bob, alice)
    bob.ok("profile_set", name="Bob the Builder")
    carol.ok("logout")
    tea, milk = group(bob, alice, title="Tea ☕"), group(alice)
    dave.ok("friend_add", user=alice.user.name, text="it is me, Dave")
    bob.ok("group_chat", group=tea, text="one")
    bob.ok("group_chat", group=tea, text="two")
    dave.ok("private_chat", user_to=alice.user.name, text="hello?")
    screen = connect().login(alice.user).payload
    assert screen == {
        "result": "success", "user": alice.user.name,
        "friends": [{"user": bob.user.name, "name": "Bob the Builder", "online": True},
                    {"user": carol.user.name, "name": "", "online": False}],
        "groups": sorted([{"group": tea, "title": "Tea ☕"}, {"group": milk, "title": ""}], key=lambda g: g["group"]),
        "unread": [{"user": dave.user.name, "count": 1, "latest": 1}, {"group": tea, "count": 2, "latest": 2}],
        "requests": [{"user": dave.user.name, "text": "it is me, Dave"}]}
    assert people(alice) == {key: screen[key] for key in ("friends", "groups", "unread")}


@rule("A-3", "P-1")
@needs("friends")
def test_requests_on_the_first_screen_are_pending_ones_to_this_user(users, connect):
    """Not those that the user made, nor answered ones."""
    alice, bob, carol, dave = users(4)
    alice.ok("friend_add", user=bob.user.name)
    for asker in (carol, dave):
        asker.ok("friend_add", user=alice.user.name, text=asker.label)
    alice.ok("friend_answer", user=carol.user.name, accept=False)
    assert connect().login(alice.user)["requests"] == [{"user": dave.user.name, "text": "dave"}]
    assert connect().login(carol.user)["requests"] == []


@rule("A-3", "Q-10")
@needs("messages", "history")
def test_the_first_screen_and_the_pushes_after_it_are_exact(users, connect):
    """Messages come while the user logs in: each is counted in the reply, or pushed after it, never both."""
    alice, bob = users(2)
    to_bob = {"user_to": bob.user.name, "text": "hi"}
    bob.ok("logout")
    total = 0
    for _ in range(4):
        alice.send_many([("private_chat", to_bob)] * 15)
        client = connect(label="bob")
        client.send("login", user=bob.user.name, passwd=bob.user.passwd)
        alice.send_many([("private_chat", to_bob)] * 15)
        total += 30
        reply = client.reply()
        counted = reply["unread"][0]["count"] if reply["unread"] else 0
        for _ in range(30):
            alice.reply()
        pushed = [push["msg_id"] for push in client.barrier()]
        assert pushed == list(range(counted + 1, total + 1)), f"{counted} counted"
        client.ok("logout")


@rule("A-3", "Q-10")
@needs("groups")
def test_groups_on_the_first_screen_and_events_after_it_are_exact(users, connect, name):
    """The user's other session creates groups meanwhile."""
    (alice,) = users(1)
    for _ in range(3):
        rooms = [name("room") for _ in range(20)]
        alice.send_many([("group_create", {"group": room}) for room in rooms[:10]])
        with connect(label="second alice") as second:
            second.send("login", user=alice.user.name, passwd=alice.user.passwd)
            alice.send_many([("group_create", {"group": room}) for room in rooms[10:]])
            listed = [entry["group"] for entry in second.reply()["groups"]]
            for _ in rooms:
                alice.must(alice.reply(), "success")
            told = [push["group"] for push in second.barrier()]
        assert sorted([one for one in listed if one in rooms] + told) == sorted(rooms)


# ---

@rule("A-5")
def test_eight_sessions_and_not_one_more(users, online, connect):
    """A ninth is refused, is not logged in, and comes in when one of the eight has ended."""
    (alice,) = users(1)
    others = [online(user=alice.user) for _ in range(SESSIONS - 1)]
    ninth = connect(label="ninth")
    for _ in range(2):
        ninth.expect("login", "too_many_sessions", user=alice.user.name, passwd=alice.user.passwd)
    nobody(ninth)
    others[3].ok("logout")
    ninth.login(alice.user)
    others[3].expect("login", "too_many_sessions", user=alice.user.name, passwd=alice.user.passwd)


@rule("A-5", "A-2")
def test_a_ninth_session_with_a_wrong_password(users, online, connect):
    """Only with the right one does anybody learn how many there are."""
    (alice,) = users(1)
    for _ in range(SESSIONS - 1):
        online(user=alice.user)
    connect().expect("login", "passwd_error", user=alice.user.name, passwd="wrong one")


@rule("A-5")
def test_twelve_logins_at_once(user, connect):
    """Eight succeed."""
    alice = user("alice")
    clients = [connect() for _ in range(12)]
    replies = at_once([(client, "login", {"user": alice.name, "passwd": alice.passwd}) for client in clients])
    results = sorted(reply.result for reply in replies)
    assert results == ["success"] * SESSIONS + ["too_many_sessions"] * 4


@rule("A-5", "P-4")
def test_a_session_that_ends_with_its_connection_makes_room(users, online, connect, friends):
    """All eight close; the presence of the last one's end says when."""
    alice, bob = users(2)
    friends(alice, bob)
    sessions = [alice, *(online(user=alice.user) for _ in range(SESSIONS - 1))]
    for session in sessions:
        session.half_close()
        session.expect_closed()
    bob.push("presence", user=alice.user.name, online=False)
    for _ in range(SESSIONS):
        connect().login(alice.user)


# ---

@rule("A-6", "Q-4")
def test_after_logout(users):
    (alice,) = users(1)
    alice.ok("logout")
    nobody(alice)
    alice.expect("logout", "not_logged_in")
    alice.expect("private_chat", "not_logged_in", user_to=alice.user.name, text="hi")
    alice.ok("ping")


@rule("A-6")
def test_another_user_after_logout(users, user):
    (alice,) = users(1)
    bob = user("bob")
    alice.ok("logout")
    alice.expect("login", "passwd_error", user=bob.name, passwd="wrong one")
    alice.login(bob)
    alice.ok("profile_set", name="Bob")
    assert alice.ok("profile_get", user=bob.name)["name"] == "Bob"


@rule("A-6", "M-4")
@needs("messages", "groups")
def test_no_pushes_after_logout(users, group):
    alice, bob = users(2)
    room = group(alice, bob)
    bob.ok("logout")
    alice.expect("private_chat", "offline", user_to=bob.user.name, text="hi")
    alice.ok("group_chat", group=room, text="hi")
    bob.expect_nothing()


@rule("A-6", "M-4")
@needs("messages", "groups")
def test_the_next_user_of_the_connection_gets_nothing_of_the_last_one(users, user, group):
    """And the last one's groups are not the next one's."""
    alice, bob = users(2)
    room = group(alice, bob)
    bob_was = bob.user
    bob.ok("logout")
    bob.login(user("carol"))
    alice.expect("private_chat", "offline", user_to=bob_was.name, text="hi")
    alice.ok("group_chat", group=room, text="hi")
    bob.expect_nothing()
    bob.expect("group_chat", "not_member", group=room, text="hi")


@rule("A-6")
def test_logout_is_of_one_session(users, online):
    (alice,) = users(1)
    second = online(user=alice.user)
    alice.ok("logout")
    assert second.ok("profile_get", user=alice.user.name)["online"] is True


@rule("A-6", "Q-2")
def test_logout_and_login_in_one_piece(users):
    (alice,) = users(1)
    login = {"user": alice.user.name, "passwd": alice.user.passwd}
    results = [reply.result for reply in in_one_piece(alice, [
        ("logout", {}), ("profile_set", {}), ("login", login), ("profile_set", {}), ("logout", {}), ("logout", {})])]
    assert results == ["success", "not_logged_in", "success", "success", "success", "not_logged_in"]


@rule("A-6", "L-2")
@needs("limits")
def test_the_login_timeout_starts_again_at_logout(start_server, connect, online):
    """The end of a connection that never logs in shows that the time has passed for the other one, too."""
    server = start_server("--login-timeout", "0.6")
    alice = online("alice", server)
    connect(server).expect_bye("login_timeout")
    before = time.monotonic()
    alice.ok("logout")
    assert alice.expect_bye("login_timeout").at - before > 0.55
