"""Read marks and unread messages (M-9)."""

import pytest

from harness import needs, rule
from harness.together import all_ok, in_one_piece

pytestmark = [needs("history"), pytest.mark.usefixtures("server")]


@pytest.fixture
def server(either_store):
    """Each store has its own way to count the messages of one user above a mark."""
    return either_store


def to(client):
    return {"user_to": client.user.name}


def unread(client):
    """[(user or group, count, latest)]"""
    return [(entry.get("user") or entry["group"], entry["count"], entry["latest"])
            for entry in client.ok("unread")["unread"]]


def write(one, other, times=1):
    all_ok(in_one_piece(one, [("private_chat", {"text": "hi", **to(other)})] * times))


def all_nothing(*clients):
    for client in clients:
        client.expect_nothing()


# --- unread

@rule("M-9")
def test_unread_messages_are_counted(users):
    """Those of others, also while one is there and gets them pushed."""
    alice, bob = users(2)
    for number in (1, 2, 3):
        write(bob, alice)
        assert unread(alice) == [(bob.user.name, number, number)]
    assert unread(bob) == []


@rule("M-9")
def test_own_messages_are_not_unread(users):
    """They raise `latest` and not `count`; a conversation with own ones alone is not listed."""
    alice, bob = users(2)
    write(alice, bob, 2)
    assert unread(alice) == []
    write(bob, alice, 3)
    write(alice, bob)
    assert unread(alice) == [(bob.user.name, 3, 6)]
    assert unread(bob) == [(alice.user.name, 3, 6)]


@rule("M-9")
def test_notes_to_oneself_are_never_unread(users, online):
    (alice,) = users(1)
    second = online(user=alice.user)
    write(alice, alice, 2)
    assert unread(alice) == unread(second) == []


@rule("M-9")
@needs("groups")
def test_unread_of_a_group(users, group):
    """Each member's own count, without the member's own messages."""
    alice, bob, carol = users(3)
    room = group(alice, bob, carol)
    for sender in (alice, bob, bob, alice, bob):
        sender.ok("group_chat", group=room, text="hi")
    assert unread(alice) == [(room, 3, 5)]
    assert unread(bob) == [(room, 2, 5)]
    assert unread(carol) == [(room, 5, 5)]


@rule("M-9")
def test_own_messages_below_and_above_the_mark(users):
    """Only those above it are left out of the count: o b o b b, o own ones, read up to each in turn."""
    alice, bob = users(2)
    for one, other in ((alice, bob), (bob, alice), (alice, bob), (bob, alice), (bob, alice)):
        write(one, other)
    for mark, count in ((0, 3), (1, 3), (2, 2), (3, 2), (4, 1)):
        alice.ok("read", user=bob.user.name, msg_id=mark)
        assert unread(alice) == [(bob.user.name, count, 5)], f"read up to {mark}"
    alice.ok("read", user=bob.user.name, msg_id=5)
    assert unread(alice) == []


@rule("M-9")
@needs("groups")
def test_the_order_of_unread(users, group):
    """The conversation with the newest message first, private or not, whosever that message is."""
    alice, bob, carol, dave = users(4)
    tea = group(alice, bob)
    write(bob, alice)
    bob.ok("group_chat", group=tea, text="hi")
    write(carol, alice)
    write(dave, alice)
    order = [dave.user.name, carol.user.name, tea, bob.user.name]
    assert [one for one, _, _ in unread(alice)] == order
    write(carol, alice)
    assert [one for one, _, _ in unread(alice)] == [carol.user.name, dave.user.name, tea, bob.user.name]
    alice.ok("group_chat", group=tea, text="my own")
    assert [one for one, _, _ in unread(alice)] == [tea, carol.user.name, dave.user.name, bob.user.name]
    write(alice, bob)
    alice.ok("read", user=carol.user.name, msg_id=1)
    assert [one for one, _, _ in unread(alice)] == [bob.user.name, tea, carol.user.name, dave.user.name]


@rule("M-9", "A-3")
@needs("groups")
def test_unread_is_that_of_the_user(users, online, connect, group):
    """Every session has the same list, and a login brings it."""
    alice, bob = users(2)
    room = group(alice, bob)
    write(bob, alice, 2)
    bob.ok("group_chat", group=room, text="hi")
    listed = alice.ok("unread")["unread"]
    assert listed == [{"group": room, "count": 1, "latest": 1}, {"user": bob.user.name, "count": 2, "latest": 2}]
    assert connect().login(alice.user)["unread"] == listed
    online(user=alice.user).ok("read", user=bob.user.name, msg_id=2)
    assert unread(alice) == [(room, 1, 1)]


# --- read

@rule("M-9")
def test_the_mark_does_not_go_back(users, online):
    """Success, no event, and nothing changes."""
    alice, bob = users(2)
    second = online(user=alice.user)
    write(bob, alice, 5)
    alice.ok("read", user=bob.user.name, msg_id=3)
    for session in (alice, bob, second):
        session.barrier()
    for mark in (3, 2, 1, 0):
        alice.ok("read", user=bob.user.name, msg_id=mark)
    assert unread(alice) == [(bob.user.name, 2, 5)]
    all_nothing(alice, bob, second)


@rule("M-9")
def test_a_mark_above_the_latest_message(users, name):
    """Not even by one; in an empty conversation only 0 is possible."""
    alice, bob = users(2)
    alice.ok("read", user=bob.user.name, msg_id=0)
    alice.expect_bad("read", "msg_id", user=bob.user.name, msg_id=1)
    write(bob, alice, 2)
    for mark in (3, 4, 2 ** 32 + 1, 2 ** 63 - 1):
        alice.expect_bad("read", "msg_id", user=bob.user.name, msg_id=mark)
    assert unread(alice) == [(bob.user.name, 2, 2)]
    bob.expect_nothing()
    alice.ok("read", user=bob.user.name, msg_id=2)


@rule("M-9", "M-8")
@needs("groups")
def test_reading_where_one_may_not(users, group, name):
    alice, bob = users(2)
    room = group(alice)
    alice.ok("group_chat", group=room, text="hi")
    bob.expect("read", "not_member", group=room, msg_id=1)
    bob.expect("read", "not_member", group=room, msg_id=2)
    bob.expect("read", "user_not_exist", user=name("nobody"), msg_id=0)
    bob.expect("read", "group_not_exist", group=name("nothing"), msg_id=0)


@rule("M-9")
def test_sending_does_not_move_the_mark(users, online):
    """And so there is no read_event for it."""
    alice, bob = users(2)
    second = online(user=alice.user)
    write(bob, alice, 2)
    write(alice, bob)
    assert unread(alice) == [(bob.user.name, 2, 3)]
    assert [push.name for push in second.barrier()] == ["private_chat_recv"] * 3
    assert [push.name for push in bob.barrier()] == ["private_chat_recv"]


@rule("M-9")
def test_marks_of_two_users_are_their_own(users):
    alice, bob = users(2)
    write(alice, bob, 2)
    write(bob, alice, 2)
    alice.ok("read", user=bob.user.name, msg_id=4)
    assert unread(alice) == []
    assert unread(bob) == [(alice.user.name, 2, 4)]


@rule("M-9")
@needs("groups")
def test_the_mark_of_who_creates_and_who_joins(users, group):
    """0, and the latest message."""
    alice, bob, carol = users(3)
    room = group(alice, bob)
    for _ in range(3):
        bob.ok("group_chat", group=room, text="hi")
    carol.ok("group_join", group=room)
    assert unread(alice) == [(room, 3, 3)]
    assert unread(carol) == []
    bob.ok("group_chat", group=room, text="hi")
    assert unread(carol) == [(room, 1, 4)]


@rule("M-9", "G-2")
@needs("groups")
def test_the_mark_of_who_joins_again(users, group):
    """A member who joins again keeps the mark; one who left and comes back has it at the latest message."""
    alice, bob = users(2)
    room = group(alice, bob)
    for _ in range(3):
        alice.ok("group_chat", group=room, text="hi")
    bob.ok("read", group=room, msg_id=1)
    bob.ok("group_join", group=room)
    assert unread(bob) == [(room, 2, 3)]
    bob.ok("group_leave", group=room)
    assert unread(bob) == []
    alice.ok("group_chat", group=room, text="hi")
    bob.ok("group_join", group=room)
    assert unread(bob) == []
    alice.ok("group_chat", group=room, text="hi")
    assert unread(bob) == [(room, 1, 5)]


@rule("M-9", "G-2")
@needs("groups")
def test_own_messages_of_before_one_left(users, group):
    """Those of the new membership are not counted, and those of the old one take nothing off the count."""
    alice, bob = users(2)
    room = group(alice, bob)
    for _ in range(3):
        bob.ok("group_chat", group=room, text="hi")
    bob.ok("group_leave", group=room)
    alice.ok("group_chat", group=room, text="hi")
    bob.ok("group_join", group=room)
    for sender in (alice, bob, alice, alice):
        sender.ok("group_chat", group=room, text="hi")
    assert unread(bob) == [(room, 3, 8)]
    bob.ok("read", group=room, msg_id=5)
    assert unread(bob) == [(room, 2, 8)]


@rule("M-9", "G-4", "G-5")
@needs("groups")
@pytest.mark.parametrize("end", ["kicked", "dismissed"])
def test_groups_that_one_may_not_read_are_not_listed(users, group, end):
    alice, bob = users(2)
    room, other = group(alice, bob), group(alice, bob)
    for one in (room, other):
        alice.ok("group_chat", group=one, text="hi")
    if end == "kicked":
        alice.ok("group_kick", group=room, user=bob.user.name)
    else:
        alice.ok("group_dismiss", group=room)
    assert unread(bob) == [(other, 1, 1)]


# --- read_event

@rule("M-9")
def test_who_is_told_of_a_private_mark(users, online):
    """The user's other sessions and all of the other user's, whose name is `peer` for all of them."""
    alice, bob, carol = users(3)
    alice_two, bob_two = online(user=alice.user), online(user=bob.user)
    write(bob, alice, 3)
    for session in (alice, alice_two, bob_two):
        session.barrier()
    alice.ok("read", user=bob.user.name, msg_id=2)
    for session in (alice_two, bob, bob_two):
        push = session.push("read_event", user=alice.user.name, peer=bob.user.name, msg_id=2)
        assert "group" not in push.payload
    all_nothing(alice, alice_two, bob, bob_two, carol)


@rule("M-9")
@needs("groups")
def test_who_is_told_of_a_mark_in_a_group(users, online, group):
    """The user's other sessions alone."""
    alice, bob, carol = users(3)
    second = online(user=alice.user)
    room = group(bob, alice, carol)
    for _ in range(2):
        bob.ok("group_chat", group=room, text="hi")
    for session in (alice, second, carol):
        session.barrier()
    alice.ok("read", group=room, msg_id=2)
    push = second.push("read_event", user=alice.user.name, group=room, msg_id=2)
    assert "peer" not in push.payload
    all_nothing(alice, second, bob, carol)


@rule("M-9")
def test_who_is_told_of_a_mark_in_notes(users, online):
    """The user's other sessions, once, though they are those of the peer as well."""
    (alice,) = users(1)
    second = online(user=alice.user)
    write(alice, alice, 2)
    second.barrier()
    alice.ok("read", user=alice.user.name, msg_id=2)
    second.push("read_event", user=alice.user.name, peer=alice.user.name, msg_id=2)
    all_nothing(alice, second)


@rule("M-9")
def test_reading_own_messages_moves_the_mark(users):
    """Up to the latest message of the conversation, whosever it is."""
    alice, bob = users(2)
    write(bob, alice)
    write(alice, bob, 2)
    alice.ok("read", user=bob.user.name, msg_id=3)
    bob.barrier()
    write(bob, alice)
    assert unread(alice) == [(bob.user.name, 1, 4)]


@rule("M-9", "Q-2")
def test_marks_in_one_piece(users):
    """Each that goes forward is told, in order."""
    alice, bob = users(2)
    write(bob, alice, 5)
    all_ok(in_one_piece(alice, [("read", {"user": bob.user.name, "msg_id": mark}) for mark in (2, 1, 4, 4, 3, 5)]))
    assert [push["msg_id"] for push in bob.barrier()] == [2, 4, 5]
