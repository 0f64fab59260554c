"""Messages: their numbers, to users and groups (M-1 to M-3), their text (M-7), typing (M-10); who gets
them, and in which order: test_delivery.py; sending again: test_sending_again.py."""

import json

import pytest

from harness import needs, rule
from harness.together import at_once


def to(client):
    """The fields of a private message to the client's user."""
    return {"user_to": client.user.name}


def ids(replies):
    return [reply["msg_id"] for reply in replies]


def all_nothing(*clients):
    for client in clients:
        client.expect_nothing()


# --- M-1

@rule("M-1")
def test_numbers_of_a_private_conversation(users):
    """Both directions have one row of numbers."""
    alice, bob = users(2)
    for number, (one, other) in enumerate([(alice, bob), (bob, alice), (bob, alice), (alice, bob)], 1):
        assert one.ok("private_chat", text="hi", **to(other))["msg_id"] == number


@rule("M-1")
@needs("groups")
def test_every_conversation_has_its_own_numbers(users, group):
    alice, bob, carol = users(3)
    tea, milk = group(alice, bob), group(alice, bob)
    for number in (1, 2):
        for other in (bob, carol, alice):
            assert alice.ok("private_chat", text="hi", **to(other))["msg_id"] == number
        for room in (tea, milk):
            assert alice.ok("group_chat", group=room, text="hi")["msg_id"] == number
        assert bob.ok("private_chat", text="hi", **to(carol))["msg_id"] == number


@rule("M-1", "M-2", "M-3")
@needs("groups")
def test_a_failed_request_uses_up_no_number(users, group, name):
    alice, bob, carol = users(3)
    room = group(alice)
    for number in (1, 2, 3):
        bob.expect("group_chat", "not_member", group=room, text="hi")
        alice.expect_bad("group_chat", "text", group=room, text="")
        alice.expect("private_chat", "user_not_exist", user_to=name("nobody"), text="hi")
        alice.expect_bad("private_chat", "user_from", text="hi", user_from=carol.user.name, **to(bob))
        alice.expect_bad("private_chat", "text", text="x" * 8193, **to(bob))
        assert alice.ok("group_chat", group=room, text="hi")["msg_id"] == number
        assert alice.ok("private_chat", text="hi", **to(bob))["msg_id"] == number


@rule("M-1", "M-4")
@needs("groups")
def test_numbers_when_many_send_at_once(users, online, group):
    """1, 2, 3 … without gaps over all senders, ascending for each; time never goes back. All see one order."""
    *senders, listener = users(5)
    room = group(*senders, listener)
    second = online(user=listener.user)
    for sender in senders:
        sender.send_many([("group_chat", {"group": room, "text": f"{sender.label} {n}"}) for n in range(25)])
    replies = [[sender.must(sender.reply(), "success") for _ in range(25)] for sender in senders]
    assert all(ids(mine) == sorted(ids(mine)) for mine in replies)
    assert sorted(number for mine in replies for number in ids(mine)) == list(range(1, 101))
    pushes = listener.barrier()
    assert ids(pushes) == list(range(1, 101))
    assert [push["time"] for push in pushes] == sorted(push["time"] for push in pushes)
    assert {push["msg_id"]: push["time"] for push in pushes} == {
        reply["msg_id"]: reply["time"] for mine in replies for reply in mine}
    for sender in senders:
        mine = [push["text"] for push in pushes if push["user_from"] == sender.user.name]
        assert mine == [f"{sender.label} {n}" for n in range(25)]
    assert [push.payload for push in second.barrier()] == [push.payload for push in pushes]


@rule("M-1", "M-2")
def test_one_conversation_is_of_two(users):
    """Messages at the same time from both ends: one row of numbers, and both see all of them."""
    alice, bob = users(2)
    replies = at_once([(one, "private_chat", {"text": "hi", **to(other)})
                       for _ in range(10) for one, other in ((alice, bob), (bob, alice))])
    assert sorted(ids(replies)) == list(range(1, 21))
    assert sorted(ids(alice.barrier()) + ids(bob.barrier())) == list(range(1, 21))


# --- M-2

@rule("M-2", "M-4")
def test_to_one_who_is_there(users):
    alice, bob = users(2)
    reply = alice.ok("private_chat", text="hi", **to(bob))
    bob.push("private_chat_recv", user_from=alice.user.name, user_to=bob.user.name, text="hi", msg_id=1,
             time=reply["time"])
    all_nothing(alice, bob)


@rule("M-2")
@needs("history")
def test_to_one_who_is_not_there(users, user, connect):
    """The message is kept and counted as unread."""
    (alice,) = users(1)
    bob = user("bob")
    reply = alice.expect("private_chat", "offline", user_to=bob.name, text="hi")
    assert reply["msg_id"] == 1
    client = connect()
    assert client.login(bob)["unread"] == [{"user": alice.user.name, "count": 1, "latest": 1}]
    (message,) = client.ok("history", user=alice.user.name)["messages"]
    assert message == {"msg_id": 1, "user_from": alice.user.name, "text": "hi", "time": reply["time"]}
    client.expect_nothing()


@rule("M-2", "A-6")
def test_success_or_offline_is_of_the_moment(users, online):
    """As long as the other user has one session."""
    alice, bob = users(2)
    second = online(user=bob.user)
    bob.ok("logout")
    alice.ok("private_chat", text="hi", **to(bob))
    second.push("private_chat_recv", text="hi")
    second.ok("logout")
    alice.expect("private_chat", "offline", text="hi", **to(bob))
    bob.login(bob.user)
    alice.ok("private_chat", text="hi", **to(bob))


@rule("M-2")
def test_to_an_unknown_user(users, name):
    (alice,) = users(1)
    alice.expect("private_chat", "user_not_exist", user_to=name("nobody"), text="hi")


@rule("M-2", "M-4")
def test_user_from_of_somebody_else(users, name):
    """Nobody can speak for another: not as an existing user, as the recipient, nor as nobody at all."""
    alice, bob, carol = users(3)
    for other in (carol.user.name, bob.user.name, name("nobody"), alice.user.name.upper()):
        alice.expect_bad("private_chat", "user_from", text="hi", user_from=other, **to(bob))
    all_nothing(bob, carol)
    alice.ok("private_chat", text="hi", user_from=alice.user.name, **to(bob))
    bob.push("private_chat_recv", user_from=alice.user.name, msg_id=1)


@rule("M-2", "M-3", "M-4")
@needs("groups")
def test_the_sender_is_the_session_s_user(users, group):
    """Also when the request says otherwise in fields that it does not have."""
    alice, bob, carol = users(3)
    room = group(alice, bob)
    lies = {"user": carol.user.name, "from": carol.user.name, "msg_id": 77, "time": 1}
    alice.ok("group_chat", group=room, text="hi", user_from=carol.user.name, **lies)
    bob.push("group_chat_recv", user_from=alice.user.name, msg_id=1)
    alice.ok("private_chat", text="hi", **lies, **to(bob))
    push = bob.push("private_chat_recv", user_from=alice.user.name, msg_id=1)
    assert push["time"] > 1


@rule("M-2", "M-4")
@needs("history")
def test_to_oneself(users, online):
    """Notes: success, for one has a session; the other session gets it once, the sending one not."""
    (alice,) = users(1)
    second = online(user=alice.user)
    assert alice.ok("private_chat", text="buy tea", **to(alice))["msg_id"] == 1
    second.push("private_chat_recv", user_from=alice.user.name, user_to=alice.user.name, text="buy tea", msg_id=1)
    all_nothing(alice, second)
    (note,) = alice.ok("history", user=alice.user.name)["messages"]
    assert note["text"] == "buy tea"


# --- M-3

@rule("M-3", "M-4")
@needs("groups")
def test_to_a_group(users, group):
    alice, bob, carol = users(3)
    room = group(alice, bob, carol)
    reply = bob.ok("group_chat", group=room, text="hi")
    for member in (alice, carol):
        member.push("group_chat_recv", group=room, user_from=bob.user.name, text="hi", msg_id=1, time=reply["time"])
    all_nothing(alice, bob, carol)


@rule("M-3")
@needs("groups")
def test_to_a_group_whose_members_are_not_there(users, group):
    """Success all the same: offline is a word of private_chat."""
    alice, bob = users(2)
    room = group(alice, bob)
    bob.ok("logout")
    alice.ok("group_chat", group=room, text="hi")


@rule("M-3", "M-4")
@needs("groups")
def test_to_a_group_without_being_a_member(users, group, name):
    """A stranger, one who left, one who was kicked: nothing is sent."""
    alice, bob, carol, dave = users(4)
    room = group(alice, bob, carol)
    bob.ok("group_leave", group=room)
    alice.ok("group_kick", group=room, user=carol.user.name)
    for client in (alice, bob, carol):
        client.barrier()
    for client in (bob, carol, dave):
        client.expect("group_chat", "not_member", group=room, text="hi")
    dave.expect("group_chat", "group_not_exist", group=name("nothing"), text="hi")
    all_nothing(alice, bob, carol, dave)


# --- M-7

TEXTS = {
    "quotes": 'say "tea" \\ \\\\ \\" \'',
    "json": '{"text":"hi"}],"x":[',
    "every control character": "".join(map(chr, [*range(1, 0x20), 0x7f])),
    "ends of lines": "\r\n\n\r",
    "white space": "  \t tea  ",
    "only a space": " ",
    "four bytes": "\U0001f600\U0001f1ea\U0001f1fa\U0010ffff\U00010000",
    "edges of the ranges": "\x80\u07ff\u0800\ud7ff\ue000\uffff\ufffe",
    "separators and marks": "\u2028\u2029\u0085\ufeff\u200b\u200d\u202e",
    "composed and not": "é e\u0301 \u212b \u00c5 ﬁ",
    "looks like an escape": "\\u0041\\n\\x41%41&amp;",
    "markup": "</script><b>'--; DROP TABLE",
    "formats": "%s%n%d{}$1",
    "right to left": "שלום مرحبا",
    "longest": "x" * 8192,
    "longest of four bytes": "\U0001f600" * 2048,
    "longest of escapes": "\x01" * 8192,
}


@rule("M-7", "C-1")
@needs("groups", "history")
@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_text_as_it_was_sent(users, online, group, text):
    """Pushed, to the sender's other session as well, and from history; as a private message and to a group."""
    alice, bob = users(2)
    second = online(user=alice.user)
    room = group(alice, bob)
    second.barrier()
    alice.ok("private_chat", text=text, **to(bob))
    alice.ok("group_chat", group=room, text=text)
    for session in (bob, second):
        session.push("private_chat_recv", text=text)
        session.push("group_chat_recv", text=text)
    for target in ({"user": alice.user.name}, {"group": room}):
        (message,) = bob.ok("history", **target)["messages"]
        assert message["text"] == text


@rule("M-7")
def test_text_that_was_sent_in_escapes(users):
    """How the JSON spells a character makes no difference."""
    alice, bob = users(2)
    text = 'tea ☕ \U0001f600 "/\b\f\n\r\t\x1f\x7f'
    everything = "".join(f"\\u{unit:04X}" for unit in memoryview(text.encode("utf-16-le")).cast("H"))
    spelled = json.dumps(text), json.dumps(text, ensure_ascii=False), f'"{everything}"', f'"{everything.lower()}"', \
        json.dumps(text).replace("/", "\\/")
    for one in spelled:
        alice.send_frame("private_chat", f'{{"user_to":"{bob.user.name}","text":{one}}}')
        alice.must(alice.reply(), "success")
        bob.push("private_chat_recv", text=text)


# --- M-10

@rule("M-10")
def test_typing_to_a_user(users, online):
    """To each session of the other user, and to nobody else."""
    alice, bob, carol = users(3)
    alice_two, bob_two = online(user=alice.user), online(user=bob.user)
    alice.ok("typing", user=bob.user.name)
    for session in (bob, bob_two):
        push = session.push("typing_event", user=alice.user.name)
        assert "group" not in push.payload
    all_nothing(alice, alice_two, bob, bob_two, carol)


@rule("M-10")
@needs("groups")
def test_typing_to_a_group(users, online, group):
    """To the other members' sessions, not to the sender's own."""
    alice, bob, carol, dave = users(4)
    alice_two, bob_two = online(user=alice.user), online(user=bob.user)
    room = group(alice, bob, carol)
    for session in (alice_two, bob_two):
        session.barrier()
    alice.ok("typing", group=room)
    for session in (bob, bob_two, carol):
        session.push("typing_event", user=alice.user.name, group=room)
    all_nothing(alice, alice_two, bob, bob_two, carol, dave)


@rule("M-10")
def test_typing_to_oneself(users, online):
    """Does nothing."""
    (alice,) = users(1)
    second = online(user=alice.user)
    alice.ok("typing", user=alice.user.name)
    all_nothing(alice, second)


@rule("M-10")
@needs("groups")
def test_typing_where_one_may_not(users, group, name):
    alice, bob = users(2)
    room = group(alice)
    bob.expect("typing", "not_member", group=room)
    bob.expect("typing", "group_not_exist", group=name("nothing"))
    bob.expect("typing", "user_not_exist", user=name("nobody"))
    alice.expect_nothing()


@rule("M-10", "M-1", "M-9")
@needs("groups", "history")
def test_typing_is_neither_kept_nor_counted(users, group, connect):
    """No unread, no history, no number, and nothing waits for one who is not there."""
    alice, bob = users(2)
    room = group(alice, bob)
    bob.ok("logout")
    alice.ok("typing", user=bob.user.name)
    alice.ok("typing", group=room)
    assert bob.login(bob.user)["unread"] == []
    bob.expect_nothing()
    for target in ({"user": alice.user.name}, {"group": room}):
        assert bob.ok("history", **target)["messages"] == []
    assert alice.ok("private_chat", text="hi", **to(bob))["msg_id"] == 1
    assert alice.ok("group_chat", group=room, text="hi")["msg_id"] == 1
