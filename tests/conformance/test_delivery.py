"""Delivery: who gets a message, once, and in which order (M-4)."""

import random

import pytest

from harness import needs, rule
from harness.together import all_ok, in_one_piece


def to(client):
    """The fields of a private message to the client's user."""
    return {"user_to": client.user.name}


def ids(replies):
    return [reply["msg_id"] for reply in replies]


def all_nothing(*clients):
    for client in clients:
        client.expect_nothing()


@rule("M-4")
@needs("groups")
def test_every_session_once_but_the_sending_one(users, online, group):
    """All of the recipients', and the sender's other ones; a stranger's none."""
    alice, bob, carol = users(3)
    room = group(alice, bob)
    others = [online(user=alice.user), *(online(user=bob.user) for _ in range(2)), bob]
    stranger = online(user=carol.user)
    alice.ok("private_chat", text="to bob", **to(bob))
    alice.ok("group_chat", group=room, text="to all")
    for session in others:
        session.push("private_chat_recv", user_from=alice.user.name, user_to=bob.user.name, text="to bob")
        session.push("group_chat_recv", group=room, user_from=alice.user.name, text="to all")
    all_nothing(alice, *others, carol, stranger)


@rule("M-4")
def test_a_session_that_begins_later_gets_none_of_before(users, online):
    """What came before is in the reply to its login."""
    alice, bob = users(2)
    alice.ok("private_chat", text="before", **to(bob))
    second = online(user=bob.user)
    alice.ok("private_chat", text="after", **to(bob))
    second.push("private_chat_recv", text="after", msg_id=2)
    second.expect_nothing()


@rule("M-4")
@needs("groups", "friends")
def test_order_over_all_conversations(users, group):
    """Pushes of every kind come in the order in which what they tell of was accepted."""
    alice, bob, carol = users(3)
    tea, milk = group(alice, bob), group(alice, bob, carol)
    script = []
    for number in range(12):
        text = {"text": f"{number}"}
        script += [("private_chat", {**text, **to(bob)}), ("group_chat", {**text, "group": tea}),
                   ("typing", {"group": milk}), ("group_chat", {**text, "group": milk})]
    script += [("friend_add", {"user": bob.user.name}), ("group_kick", {"group": milk, "user": carol.user.name}),
               ("private_chat", {"text": "last", **to(bob)})]
    all_ok(in_one_piece(alice, script))
    expected = []
    for number in range(12):
        expected += [("private_chat_recv", f"{number}"), ("group_chat_recv", tea + f"{number}"), ("typing_event", milk),
                     ("group_chat_recv", milk + f"{number}")]
    expected += [("friend_request", ""), ("group_event", milk), ("private_chat_recv", "last")]
    came = [(push.name, push.get("group", "") + push.get("text", "")) for push in bob.barrier()]
    assert came == expected


@rule("M-4")
@needs("groups")
def test_two_recipients_see_one_order(users, group):
    """Messages of three senders to two groups: whoever gets both sees them in one order."""
    *senders, bob, carol = users(5)
    tea, milk = group(*senders, bob, carol), group(*senders, carol, bob)
    for sender in senders:
        sender.send_many([("group_chat", {"group": (tea, milk)[n % 2], "text": f"{sender.label} {n}"})
                          for n in range(20)])
    for sender in senders:
        for _ in range(20):
            sender.must(sender.reply(), "success")
    seen_by_bob, seen_by_carol = ([push.payload for push in client.barrier()] for client in (bob, carol))
    assert seen_by_bob == seen_by_carol and len(seen_by_bob) == 60


@rule("M-4")
@needs("groups")
def test_the_sender_s_replies_and_pushes_are_in_one_order(users, group):
    """The numbers of a group rise through replies and pushes alike on each sender's connection (Q-10)."""
    senders = users(3)
    room = group(*senders)
    for sender in senders:
        sender.send_many([("group_chat", {"group": room, "text": "hi"})] * 25)
    replies = [[sender.must(sender.reply(), "success") for _ in range(25)] for sender in senders]
    for sender, mine in zip(senders, replies):
        both = sorted([*mine, *sender.barrier()], key=lambda frame: frame.position)
        assert ids(both) == list(range(1, 76))


@rule("M-4", "Q-10", "M-8")
@needs("groups", "history")
def test_a_reply_stands_at_its_place_among_the_pushes(users, group):
    """bob asks for the newest message while alice sends: each answer is the last one that was pushed before it."""
    alice, bob = users(2)
    room = group(alice, bob)
    asked = []
    for _ in range(8):
        alice.send_many([("group_chat", {"group": room, "text": "hi"})] * 5)
        asked += bob.send_many([("history", {"group": room, "limit": 1})] * 3)
    for _ in range(40):
        alice.must(alice.reply(), "success")
    replies = [bob.must(bob.reply(seq), "success") for seq in asked]
    pushes = bob.barrier()
    assert ids(pushes) == list(range(1, 41))
    for reply in replies:
        newest = reply["messages"][0]["msg_id"] if reply["messages"] else 0
        assert newest == sum(push.position < reply.position for push in pushes)


@rule("M-4", "G-3", "Q-10")
@needs("groups")
def test_no_message_after_one_has_left(users, group):
    """While messages flow: all up to the leaving, none after its reply."""
    alice, bob = users(2)
    for _ in range(3):
        room = group(alice, bob)
        alice.send_many([("group_chat", {"group": room, "text": "hi"})] * 25)
        leave = bob.send("group_leave", group=room)
        alice.send_many([("group_chat", {"group": room, "text": "hi"})] * 25)
        left = bob.must(bob.reply(leave), "success")
        for _ in range(50):
            alice.must(alice.reply(), "success")
        (event,) = [push for push in alice.barrier() if push.name == "group_event"]
        assert event["event"] == "left"
        pushes = bob.barrier()
        assert ids(pushes) == list(range(1, len(pushes) + 1))
        assert all(push.position < left.position for push in pushes)


@rule("M-4", "G-3", "G-4")
@needs("groups")
@pytest.mark.parametrize("seed", range(4))
def test_who_is_left_gets_all_whoever_has_gone(users, group, seed):
    """The members of three groups go one after the other, now out of this one and now out of that one."""
    alice, *members = users(6)
    rooms = {group(alice, *members): list(members) for _ in range(3)}
    goings = [(room, member) for room in rooms for member in members]
    random.Random(seed).shuffle(goings)
    for number, (room, gone) in enumerate(goings):
        if number % 2:
            gone.ok("group_leave", group=room)
        else:
            alice.ok("group_kick", group=room, user=gone.user.name)
        rooms[room].remove(gone)
        for one in rooms:
            alice.ok("group_chat", group=one, text=f"{number}")
        for member in members:
            came = [(push["group"], push["text"]) for push in member.barrier() if push.name == "group_chat_recv"]
            assert came == [(one, f"{number}") for one, left in rooms.items() if member in left]


@rule("M-4", "G-4")
@needs("groups")
@pytest.mark.parametrize("end", ["kicked", "dismissed"])
def test_no_message_after_one_is_put_out(users, online, group, end):
    """In one piece: ten messages, the end, and one that comes too late or is not for bob any more."""
    alice, bob = users(2)
    bob_two = online(user=bob.user)
    for _ in range(3):
        online(user=alice.user)         # on whichever thread bob is, a member stays
    room = group(alice, bob)
    bob_two.barrier()
    chat = ("group_chat", {"group": room, "text": "hi"})
    cut = {"kicked": ("group_kick", {"group": room, "user": bob.user.name}),
           "dismissed": ("group_dismiss", {"group": room})}
    replies = in_one_piece(alice, [chat] * 10 + [cut[end]] + [chat] * 10)
    assert replies[-1].result == ("success" if end == "kicked" else "group_not_exist")
    for session in (bob, bob_two):
        *messages, event = session.barrier()
        assert ids(messages) == list(range(1, 11)) and event["event"] == end


@rule("M-4", "G-2")
@needs("groups")
def test_messages_from_the_joining_on(users, online, group):
    """All that come after it, to each session of the one who joined, and none from before."""
    alice, bob = users(2)
    bob_two = online(user=bob.user)
    room = group(alice)
    alice.send_many([("group_chat", {"group": room, "text": "hi"})] * 20)
    join = bob.send("group_join", group=room)
    alice.send_many([("group_chat", {"group": room, "text": "hi"})] * 20)
    joined = bob.must(bob.reply(join), "success")
    for _ in range(40):
        alice.must(alice.reply(), "success")
    pushes = bob.barrier()
    assert ids(pushes) == list(range(41 - len(pushes), 41)) and all(p.position > joined.position for p in pushes)
    event, *others = bob_two.barrier()
    assert event["event"] == "joined" and ids(others) == ids(pushes)
