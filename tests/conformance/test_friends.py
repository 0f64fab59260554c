"""Friends (section P; presence: test_presence.py; how many one can have: test_account_limits.py)."""

import pytest

from harness import needs, rule
from harness.together import at_once


def friends_of(client):
    """The names of the friends."""
    return [entry["user"] for entry in client.ok("friend_list")["friends"]]


def requests_to(client, connect):
    """The pending requests to the client's user, as a new session of the user sees them."""
    with connect(label="looking") as looking:
        requests = looking.login(client.user)["requests"]
        looking.ok("logout")
    return [(entry["user"], entry["text"]) for entry in requests]


def all_nothing(*clients):
    for client in clients:
        client.expect_nothing()


# --- P-1

@rule("P-1")
def test_asking_for_friendship(users, online):
    """Each session of the other user is told; the asker's are not, and nobody is a friend yet."""
    alice, bob = users(2)
    alice_two, bob_two = online(user=alice.user), online(user=bob.user)
    alice.ok("friend_add", user=bob.user.name, text="Tea at four? ☕")
    for session in (bob, bob_two):
        session.push("friend_request", user=alice.user.name, text="Tea at four? ☕")
    all_nothing(alice, alice_two, bob, bob_two)
    assert friends_of(alice) == friends_of(bob) == []


@rule("P-1", "A-3")
def test_asking_one_who_is_not_there(users, user, connect):
    """The request waits for the next login."""
    (alice,) = users(1)
    bob = user("bob")
    alice.ok("friend_add", user=bob.name, text="hi")
    for _ in range(2):
        assert connect().login(bob)["requests"] == [{"user": alice.user.name, "text": "hi"}]


@rule("P-1", "C-4")
def test_asking_again_changes_nothing(users, connect):
    """No push, the first text stays, and so does the place among the others."""
    alice, bob, carol = users(3)
    alice.ok("friend_add", user=bob.user.name, text="first")
    carol.ok("friend_add", user=bob.user.name, text="me too")
    bob.barrier()
    alice.ok("friend_add", user=bob.user.name, text="second")
    alice.ok("friend_add", user=bob.user.name)
    bob.expect_nothing()
    assert requests_to(bob, connect) == [(alice.user.name, "first"), (carol.user.name, "me too")]


@rule("P-1")
def test_asking_oneself(users, connect):
    (alice,) = users(1)
    alice.expect_bad("friend_add", "user", user=alice.user.name)
    alice.expect_nothing()
    assert requests_to(alice, connect) == []


@rule("P-1")
def test_asking_an_unknown_user(users, name):
    (alice,) = users(1)
    alice.expect("friend_add", "user_not_exist", user=name("nobody"))


@rule("P-1")
def test_asking_a_friend(users, friends):
    """Either way round, and no request comes of it."""
    alice, bob = users(2)
    friends(alice, bob)
    alice.expect("friend_add", "already_friends", user=bob.user.name)
    bob.expect("friend_add", "already_friends", user=alice.user.name)
    all_nothing(alice, bob)
    alice.expect("friend_answer", "no_request", user=bob.user.name, accept=False)


@rule("P-1")
def test_asking_one_who_has_asked(users, online, connect):
    """Both are friends at once; every session of both is told but the one that asked, and nothing is pending."""
    alice, bob = users(2)
    alice_two, bob_two = online(user=alice.user), online(user=bob.user)
    alice.ok("friend_add", user=bob.user.name)
    for session in (bob, bob_two):
        session.push("friend_request")
    bob.ok("friend_add", user=alice.user.name, text="I wanted to ask you, too")
    for session in (alice, alice_two):
        session.push("friend_event", user=bob.user.name, event="accepted")
    bob_two.push("friend_event", user=alice.user.name, event="accepted")
    all_nothing(alice, alice_two, bob, bob_two)
    assert friends_of(alice) == [bob.user.name] and friends_of(bob) == [alice.user.name]
    assert requests_to(alice, connect) == requests_to(bob, connect) == []


@rule("P-1")
def test_two_who_ask_each_other_at_the_same_time(users, connect):
    """Whoever is second makes them friends: one gets the request, the other one the event, and never neither."""
    for _ in range(3):
        alice, bob = users(2)
        replies = at_once([(alice, "friend_add", {"user": bob.user.name}),
                           (bob, "friend_add", {"user": alice.user.name})])
        assert [reply.result for reply in replies] == ["success", "success"]
        told = sorted((client.label, push.name) for client in (alice, bob) for push in client.barrier())
        assert told in ([("alice", "friend_event"), ("bob", "friend_request")],
                        [("alice", "friend_request"), ("bob", "friend_event")])
        assert friends_of(alice) == [bob.user.name] and friends_of(bob) == [alice.user.name]
        assert requests_to(alice, connect) == requests_to(bob, connect) == []


@rule("P-1", "P-2", "P-3")
@pytest.mark.parametrize("end", ["rejected", "removed"])
def test_asking_after_the_end(users, friends, end):
    """A rejection or an end is no obstacle to a new request."""
    alice, bob = users(2)
    if end == "rejected":
        alice.ok("friend_add", user=bob.user.name)
        bob.ok("friend_answer", user=alice.user.name, accept=False)
    else:
        friends(alice, bob)
        bob.ok("friend_remove", user=alice.user.name)
    for client in (alice, bob):
        client.barrier()
    alice.ok("friend_add", user=bob.user.name, text="again")
    bob.push("friend_request", user=alice.user.name, text="again")
    bob.ok("friend_answer", user=alice.user.name, accept=True)
    assert friends_of(alice) == [bob.user.name]


# --- P-2

@rule("P-2")
@pytest.mark.parametrize("accept, event", [(True, "accepted"), (False, "rejected")])
def test_answering_a_request(users, online, connect, accept, event):
    """The asker's sessions and the answerer's other ones are told, each of the other user."""
    alice, bob = users(2)
    alice_two, bob_two = online(user=alice.user), online(user=bob.user)
    alice.ok("friend_add", user=bob.user.name)
    for session in (bob, bob_two):
        session.push("friend_request")
    bob.ok("friend_answer", user=alice.user.name, accept=accept)
    for session in (alice, alice_two):
        session.push("friend_event", user=bob.user.name, event=event)
    bob_two.push("friend_event", user=alice.user.name, event=event)
    all_nothing(alice, alice_two, bob, bob_two)
    assert friends_of(alice) == ([bob.user.name] if accept else [])
    assert friends_of(bob) == ([alice.user.name] if accept else [])
    assert requests_to(bob, connect) == []


@rule("P-2")
def test_answering_without_a_request(users, name):
    """Of a stranger, of oneself, of a name that nobody has, and of one whom only the answerer has asked."""
    alice, bob, carol = users(3)
    alice.ok("friend_add", user=carol.user.name)
    for other in (bob.user.name, alice.user.name, name("nobody"), carol.user.name):
        for accept in (True, False):
            alice.expect("friend_answer", "no_request", user=other, accept=accept)
    assert friends_of(alice) == []
    all_nothing(alice, bob)
    carol.ok("friend_answer", user=alice.user.name, accept=True)


@rule("P-2")
@pytest.mark.parametrize("accept", [True, False])
def test_answering_twice(users, accept):
    """The request is settled by the first answer; from two sessions at once only one is the first."""
    alice, bob = users(2)
    alice.ok("friend_add", user=bob.user.name)
    bob.ok("friend_answer", user=alice.user.name, accept=accept)
    bob.expect("friend_answer", "no_request", user=alice.user.name, accept=not accept)
    assert friends_of(bob) == ([alice.user.name] if accept else [])
    alice.push("friend_event")
    alice.expect_nothing()


@rule("P-2")
def test_two_answers_at_the_same_time(users, online):
    alice, bob = users(2)
    bob_two = online(user=bob.user)
    alice.ok("friend_add", user=bob.user.name)
    replies = at_once([(bob, "friend_answer", {"user": alice.user.name, "accept": True}),
                       (bob_two, "friend_answer", {"user": alice.user.name, "accept": False})])
    results = [reply.result for reply in replies]
    assert sorted(results) == ["no_request", "success"]
    assert friends_of(alice) == ([bob.user.name] if results[0] == "success" else [])
    (event,) = alice.barrier()
    assert event["event"] == ("accepted" if results[0] == "success" else "rejected")


@rule("P-2")
def test_an_answer_settles_one_request(users, connect):
    """The others stay pending."""
    alice, bob, carol = users(3)
    for asker in (bob, carol):
        asker.ok("friend_add", user=alice.user.name)
    alice.ok("friend_answer", user=bob.user.name, accept=False)
    assert requests_to(alice, connect) == [(carol.user.name, "")]
    carol.expect_nothing()


# --- P-3

@rule("P-3")
@pytest.mark.parametrize("remover", [0, 1], ids=["by the asker", "by the other one"])
def test_ending_a_friendship(users, online, friends, remover):
    """On both sides; the other's sessions and the remover's other ones are told."""
    pair = users(2)
    friends(*pair)
    one, other = pair[remover], pair[1 - remover]
    one_two, other_two = online(user=one.user), online(user=other.user)
    one.ok("friend_remove", user=other.user.name)
    for session in (other, other_two):
        session.push("friend_event", user=one.user.name, event="removed")
    one_two.push("friend_event", user=other.user.name, event="removed")
    all_nothing(one, one_two, other, other_two)
    assert friends_of(one) == friends_of(other) == []
    one.expect("friend_remove", "not_friends", user=other.user.name)
    other.expect("friend_remove", "not_friends", user=one.user.name)


@rule("P-3")
def test_removing_one_who_is_no_friend(users, connect, name):
    """A stranger, oneself, a name that nobody has, and one with a request pending, which stays."""
    alice, bob, carol = users(3)
    alice.ok("friend_add", user=carol.user.name)
    for other in (bob.user.name, alice.user.name, name("nobody"), carol.user.name):
        alice.expect("friend_remove", "not_friends", user=other)
    carol.expect("friend_remove", "not_friends", user=alice.user.name)
    assert requests_to(carol, connect) == [(alice.user.name, "")]


@rule("P-3", "P-4")
def test_a_removed_friend_s_other_friendships_stay(users, friends):
    alice, bob, carol = users(3)
    friends(alice, bob)
    friends(carol, bob)
    friends(alice, carol)
    bob.ok("friend_remove", user=alice.user.name)
    assert friends_of(bob) == [carol.user.name] and friends_of(alice) == [carol.user.name]


# --- The list

@rule("C-4", "A-8", "P-4")
def test_the_list_of_friends(users, friends):
    """In byte order, with the display name and whether they are there, as it is now."""
    alice, bob, carol = users(3)
    friends(carol, alice)
    friends(alice, bob)
    assert alice.ok("friend_list")["friends"] == [{"user": bob.user.name, "name": "", "online": True},
                                                  {"user": carol.user.name, "name": "", "online": True}]
    bob.ok("profile_set", name="Bob")
    carol.ok("logout")
    assert alice.ok("friend_list")["friends"] == [{"user": bob.user.name, "name": "Bob", "online": True},
                                                  {"user": carol.user.name, "name": "", "online": False}]


@rule("C-4")
@needs("friends")
def test_friends_in_byte_order(users, connect, name):
    """Capitals before small letters, digits before both; a name before those that it begins."""
    (alice,) = users(1)
    stem = name("f")
    ends = ["b", "B", "a", "_", "9", "-", ".", "aa", "a-", "Z", ""]
    client = connect()
    for end in ends:
        client.ok("register", user=stem + end, passwd="kettle")
        client.ok("login", user=stem + end, passwd="kettle")
        client.ok("friend_add", user=alice.user.name)
        client.ok("logout")
        alice.ok("friend_answer", user=stem + end, accept=True)
    assert friends_of(alice) == sorted((stem + end for end in ends), key=str.encode)
