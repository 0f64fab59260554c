"""Sending again with the same id (M-6): the first answer, no second message. After a restart: test_durability.py."""

import pytest

from harness import needs, rule
from harness.together import all_ok, at_once, in_one_piece

pytestmark = pytest.mark.usefixtures("server")


@pytest.fixture
def server(either_store):
    """Each store has its own way to find a message by its id."""
    return either_store


def to(client):
    return {"user_to": client.user.name}


def texts(client, **target):
    return [message["text"] for message in client.ok("history", **target)["messages"]]


def all_nothing(*clients):
    for client in clients:
        client.expect_nothing()


def same_answer(first, again):
    """msg_id and time are those of the first one."""
    assert (again["msg_id"], again["time"]) == (first["msg_id"], first["time"])


@rule("M-6")
@needs("history", "groups")
@pytest.mark.parametrize("kind", ["private", "group"])
def test_the_same_id_again(users, online, group, kind):
    """The first answer, no push to anybody, one message; also when others have come in between."""
    alice, bob = users(2)
    second = online(user=alice.user)
    room = group(alice, bob)
    second.barrier()
    cmd, target = ("private_chat", to(bob)) if kind == "private" else ("group_chat", {"group": room})
    first = alice.ok(cmd, text="hi", id="a-1", **target)
    alice.ok(cmd, text="there", **target)
    for session in (bob, second):
        session.barrier()
    for _ in range(3):
        same_answer(first, alice.ok(cmd, text="hi", id="a-1", **target))
    same_answer(first, second.ok(cmd, text="hi", id="a-1", **target))
    all_nothing(alice, bob, second)
    where = {"user": bob.user.name} if kind == "private" else {"group": room}
    assert texts(alice, **where) == ["hi", "there"]
    assert alice.ok(cmd, text="next", id="a-2", **target)["msg_id"] == 3


@rule("M-6")
@needs("history")
def test_the_text_is_not_compared(users):
    """What was stored stays; but it must be a text."""
    alice, bob = users(2)
    first = alice.ok("private_chat", text="hi", id="a-1", **to(bob))
    same_answer(first, alice.ok("private_chat", text="something else", id="a-1", **to(bob)))
    alice.expect_bad("private_chat", "text", text="", id="a-1", **to(bob))
    bob.push("private_chat_recv", text="hi")
    bob.expect_nothing()
    assert texts(bob, user=alice.user.name) == ["hi"]


@rule("M-6")
def test_the_same_id_in_one_piece(users):
    """Three times before the first is answered."""
    alice, bob = users(2)
    first, second, third, other = all_ok(in_one_piece(alice, [
        ("private_chat", {"text": text, "id": one, **to(bob)})
        for text, one in (("hi", "a-1"), ("hi", "a-1"), ("hi", "a-1"), ("there", "a-2"))]))
    same_answer(first, second)
    same_answer(first, third)
    assert other["msg_id"] == first["msg_id"] + 1
    assert [push["text"] for push in bob.barrier()] == ["hi", "there"]


@rule("M-6")
def test_the_same_id_from_two_sessions_at_once(users, online):
    """One user, one message; and the session whose request was first gets no push of it."""
    alice, bob = users(2)
    second = online(user=alice.user)
    for number in range(5):
        replies = at_once([(session, "private_chat", {"text": "hi", "id": f"a-{number}", **to(bob)})
                           for session in (alice, second)])
        same_answer(*all_ok(replies))
        assert len(alice.barrier()) + len(second.barrier()) == 1
        bob.push("private_chat_recv", msg_id=number + 1)
    bob.expect_nothing()


@rule("M-6")
def test_without_an_id_each_is_new(users):
    alice, bob = users(2)
    replies = all_ok(in_one_piece(alice, [("private_chat", {"text": "hi", **to(bob)})] * 3))
    assert [reply["msg_id"] for reply in replies] == [1, 2, 3]


@rule("M-6", "C-1")
@pytest.mark.parametrize("one, other", [("a", "A"), ("1", "01"), ("a", "a "), ("é", "e\u0301"), ("x" * 64, "x" * 63),
                                        ("x" * 63 + "y", "x" * 63 + "z"), ("a'--", "a"), ("%", "_")])
def test_ids_that_are_alike(users, one, other):
    """An id is its bytes, all of them."""
    alice, bob = users(2)
    ids = [alice.ok("private_chat", text="hi", id=each, **to(bob))["msg_id"] for each in (one, other, one, other)]
    assert ids == [1, 2, 1, 2]


@rule("M-6")
@needs("groups")
def test_an_id_is_of_one_user(users, group):
    """Two members use the same one: two messages; likewise the two of a private conversation. Both have written there
    before."""
    alice, bob = users(2)
    room = group(alice, bob)
    for one, other in ((alice, bob), (bob, alice)):
        one.ok("group_chat", group=room, text="before")
        one.ok("private_chat", text="before", **to(other))
    for client in (alice, bob):
        client.barrier()
    for number, one in enumerate((alice, bob), 3):
        assert one.ok("group_chat", group=room, text=one.label, id="same")["msg_id"] == number
    assert alice.ok("private_chat", text="hi", id="same", **to(bob))["msg_id"] == 3
    assert bob.ok("private_chat", text="hi", id="same", **to(alice))["msg_id"] == 4
    assert [push["text"] for push in alice.barrier()] == ["bob", "hi"]
    assert [push["text"] for push in bob.barrier()] == ["alice", "hi"]


@rule("M-6")
@needs("groups", "history")
def test_an_id_is_of_one_conversation(users, group):
    """The same one in other groups, to other users and to oneself: each is a message, though not the first one there."""
    alice, bob, carol = users(3)
    rooms = [group(alice, bob), group(alice, bob)]
    for room in rooms:
        alice.ok("group_chat", group=room, text="before")
    for other in (bob, carol, alice):
        alice.ok("private_chat", text="before", **to(other))
    for client in (bob, carol):
        client.barrier()
    for room in rooms:
        alice.ok("group_chat", group=room, text=room, id="same")
    for other in (bob, carol, alice):
        assert alice.ok("private_chat", text="hi", id="same", **to(other))["msg_id"] == 2
    assert [push.get("group") for push in bob.barrier()] == [*rooms, None]
    carol.push("private_chat_recv", text="hi")
    for room in rooms:
        assert texts(bob, group=room) == ["before", room]


@rule("M-6", "M-2")
def test_success_or_offline_at_that_moment(users):
    """The result tells whether the other user is there now; number and time stay, and nothing is sent again."""
    alice, bob = users(2)
    message = {"text": "hi", "id": "a-1", **to(bob)}
    bob.ok("logout")
    first = alice.expect("private_chat", "offline", **message)
    bob.login(bob.user)
    same_answer(first, alice.ok("private_chat", **message))
    bob.expect_nothing()
    bob.ok("logout")
    same_answer(first, alice.expect("private_chat", "offline", **message))


@rule("M-6", "M-3")
@needs("groups")
def test_the_right_to_send_is_checked_again(users, group):
    """One who has left gets not_member, and the first answer again when back."""
    alice, bob = users(2)
    room = group(alice, bob)
    message = {"group": room, "text": "hi", "id": "b-1"}
    first = bob.ok("group_chat", **message)
    bob.ok("group_leave", group=room)
    bob.expect("group_chat", "not_member", **message)
    bob.ok("group_join", group=room)
    same_answer(first, bob.ok("group_chat", **message))
    assert [push.name for push in alice.barrier()] == ["group_chat_recv", "group_event", "group_event"]


@rule("M-6", "M-3")
@needs("groups")
def test_the_id_of_a_request_that_failed_is_free(users, group):
    alice, bob = users(2)
    room = group(alice)
    bob.expect("group_chat", "not_member", group=room, text="hi", id="b-1")
    bob.expect_bad("private_chat", "text", text="x" * 8193, id="b-1", **to(alice))
    bob.ok("group_join", group=room)
    alice.push("group_event")
    assert bob.ok("group_chat", group=room, text="there", id="b-1")["msg_id"] == 1
    alice.push("group_chat_recv", text="there")
    bob.ok("private_chat", text="you", id="b-1", **to(alice))
    alice.push("private_chat_recv", text="you")


@rule("M-6", "G-5")
@needs("groups")
def test_an_id_lives_as_long_as_its_conversation(users, group):
    """In a new group of the same name it is free again."""
    alice, bob = users(2)
    room = group(alice, bob)
    alice.ok("group_chat", group=room, text="zero")
    assert alice.ok("group_chat", group=room, text="old", id="a-1")["msg_id"] == 2
    alice.ok("group_dismiss", group=room)
    alice.ok("group_create", group=room)
    bob.ok("group_join", group=room)
    bob.barrier()
    assert alice.ok("group_chat", group=room, text="new", id="a-1")["msg_id"] == 1
    bob.push("group_chat_recv", text="new")


@rule("M-6", "M-9")
@needs("history")
def test_a_repeat_is_not_unread(users):
    alice, bob = users(2)
    for _ in range(3):
        alice.ok("private_chat", text="hi", id="a-1", **to(bob))
    assert bob.ok("unread")["unread"] == [{"user": alice.user.name, "count": 1, "latest": 1}]
    bob.ok("read", user=alice.user.name, msg_id=1)
    alice.ok("private_chat", text="hi", id="a-1", **to(bob))
    assert bob.ok("unread")["unread"] == []


@rule("M-6")
def test_a_repeat_of_long_ago(users):
    """The id lives on, however many messages have come since."""
    alice, bob = users(2)
    requests = [("private_chat", {"text": "hi", "id": f"a-{number}", **to(bob)}) for number in range(150)]
    first = all_ok(in_one_piece(alice, requests))
    again = all_ok(in_one_piece(alice, requests))
    for one, other in zip(first, again):
        same_answer(one, other)
    assert len(bob.barrier()) == 150


@rule("M-6", "M-9")
@needs("history")
def test_a_repeat_of_what_one_has_read(users):
    """The sender's own read mark is above it, and nothing of the sender's is above the mark."""
    alice, bob = users(2)
    first = alice.ok("private_chat", text="hi", id="a-1", **to(bob))
    bob.ok("private_chat", text="hello", **to(alice))
    alice.ok("read", user=bob.user.name, msg_id=2)
    same_answer(first, alice.ok("private_chat", text="hi", id="a-1", **to(bob)))
    assert texts(bob, user=alice.user.name) == ["hi", "hello"]


@rule("M-6", "G-2")
@needs("history", "groups")
def test_a_repeat_after_coming_back(users, group):
    """The conversation is the group's, whoever comes and goes."""
    alice, bob = users(2)
    room = group(alice, bob)
    first = bob.ok("group_chat", group=room, text="hi", id="b-1")
    bob.ok("group_leave", group=room)
    bob.ok("group_join", group=room)
    same_answer(first, bob.ok("group_chat", group=room, text="hi", id="b-1"))
    assert texts(alice, group=room) == ["hi"]
