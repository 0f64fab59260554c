"""Order over several connections: a reply is a promise about what the others see (Q-8), and replies and pushes of one
connection stand in the order of what they tell of (Q-10, M-4). The way from a request to the pushes may be another one
without a disk.
"""

import pytest

from harness import needs, rule

pytestmark = needs("groups", "messages")

BURST = 300


def burst(room, count):
    return [("group_chat", {"group": room, "text": f"{n}"}) for n in range(1, count + 1)]


def in_order(client):
    """Replies and pushes that have come, as they came."""
    return sorted([*client.replies, *client.pushes], key=lambda frame: frame.position)


def answered(client):
    client.take_until(lambda: not client.unanswered, "all replies")


# ---

@rule("Q-8")
@needs("friends")
def test_what_a_request_caused_comes_before_the_next_reply(either_store, users, friends, group):
    """Every kind of request that causes a push: alice has her reply, then bob's ping brings it. Exactly one."""
    alice, bob = users(2, either_store)
    friends(alice, bob)
    shared, bobs = group(alice, bob), group(bob)
    to_bob, name = {"user_to": bob.user.name, "text": "hi"}, {"user": bob.user.name}
    for cmd, fields, push in [
            ("private_chat", to_bob, "private_chat_recv"), ("group_chat", {"group": shared, "text": "hi"}, "group_chat_recv"),
            ("typing", name, "typing_event"), ("typing", {"group": shared}, "typing_event"),
            ("logout", {}, "presence"), ("login", {"user": alice.user.name, "passwd": alice.user.passwd}, "presence"),
            ("friend_remove", name, "friend_event"), ("friend_add", name, "friend_request"),
            ("group_join", {"group": bobs}, "group_event"), ("group_leave", {"group": bobs}, "group_event"),
            ("group_kick", {"group": shared, **name}, "group_event")]:
        alice.ok(cmd, **fields)
        assert [frame.name for frame in bob.barrier()] == [push], cmd


@rule("Q-8")
@needs("friends", "history")
def test_what_an_answer_caused_comes_before_the_next_reply(either_store, users):
    """The other direction: friend_answer and read tell the one who began."""
    alice, bob = users(2, either_store)
    alice.ok("friend_add", user=bob.user.name)
    alice.ok("private_chat", user_to=bob.user.name, text="hi")
    bob.ok("friend_answer", user=alice.user.name, accept=True)
    assert [frame.name for frame in alice.barrier()] == ["friend_event"]
    bob.ok("read", user=alice.user.name, msg_id=1)
    assert [frame.name for frame in alice.barrier()] == ["read_event"]


@rule("Q-8")
def test_every_ping_is_a_barrier(either_store, users, group):
    """Many times, from many to many: somebody writes, somebody else pings, and has it."""
    clients = users(8, either_store)
    room = group(*clients)
    got = [0] * 8
    for number in range(1, 241):
        writer, reader = number % 8, (number * 5 + number // 8) % 8
        clients[writer].ok("group_chat", group=room, text="hi")
        got[writer] += 1
        got[reader] += len(clients[reader].barrier())
        assert got[reader] == number, f"after message {number}"


@rule("Q-8")
@needs("history")
def test_every_reply_is_a_barrier(either_store, users, group):
    """Not the one to ping alone."""
    alice, bob = users(2, either_store)
    room = group(alice, bob)
    requests = [("group_list", {}), ("hello", {}), ("profile_get", {"user": alice.user.name}), ("group_info", {"group": room}),
                ("unread", {}), ("group_chat", {"group": room, "text": "hi"}), ("typing", {"user": bob.user.name})]
    for cmd, fields in requests * 3:
        alice.ok("group_chat", group=room, text="hi")
        reply = bob.ok(cmd, **fields)
        assert bob.pushes and bob.pushes.popleft().position < reply.position, cmd
        alice.barrier()


@rule("Q-8")
def test_also_an_error_is_a_barrier(either_store, users, group):
    """It needs nothing that others share, and might overtake what does."""
    alice, bob = users(2, either_store)
    room = group(alice, bob)
    for cmd, payload in [("ping", b"{"), (0x7000, b"{}"), ("login", b"{}"), ("group_info", b"{}"), ("read", b"")] * 3:
        alice.ok("group_chat", group=room, text="hi")
        reply = bob.reply(bob.send_frame(cmd, payload))
        assert bob.pushes and bob.pushes.popleft().position < reply.position, cmd


@rule("Q-8")
def test_the_barrier_holds_in_the_middle_of_a_burst(either_store, users, group):
    """alice has sent many; as soon as she has the reply to one, bob's ping brings at least as many."""
    alice, bob = users(2, either_store)
    room = group(alice, bob)
    seqs = alice.send_many(burst(room, BURST))
    got = 0
    for number, seq in enumerate(seqs, 1):
        alice.must(alice.reply(seq), "success")
        if number % 20 == 0:
            got += len(bob.barrier())
            assert number <= got <= BURST
    assert got + len(bob.barrier()) == BURST


@rule("Q-8", "L-11")
def test_the_barrier_holds_in_a_flood(start_server, users, group):
    """3 MB for each of eight: a server that sends in portions goes on with them before it takes up a request."""
    server = start_server("--outbox-limit", "67108864")
    alice, *others = users(9, server)
    room = group(alice, *others)
    for _ in range(2):
        for other in others:
            other.stop_reading()
        alice.send_many([("group_chat", {"group": room, "text": "x" * 8000})] * 400)
        answered(alice)
        alice.replies.clear()
        for other in others:
            other.send("ping")
        for other in others:
            other.resume_reading()
            answered(other)
            pong = other.replies.popleft()
            assert sum(push.position < pong.position for push in other.pushes) == 400
            other.pushes.clear()


@rule("Q-8", "M-4")
def test_every_session_of_everybody(either_store, users, group, online):
    """alice's own other sessions, and all of bob's."""
    alice, bob = users(2, either_store)
    room = group(alice, bob)
    others = [online(user=client.user, server=either_store) for client in (alice, bob) for _ in range(3)]
    for number in range(20):
        alice.ok("group_chat", group=room, text=f"{number}")
        for client in (*others, bob):
            assert [push["text"] for push in client.barrier()] == [f"{number}"]


@rule("Q-8", "G-2")
def test_who_joins_gets_what_is_written_afterwards(either_store, users, group):
    """With the reply to group_join in hand, whoever writes next reaches the new member; nothing from before does."""
    alice, bob = users(2, either_store)
    room = group(alice)
    for _ in range(30):
        alice.ok("group_chat", group=room, text="before")
        bob.ok("group_join", group=room)
        alice.ok("group_chat", group=room, text="during")
        bob.ok("group_leave", group=room)
        alice.ok("group_chat", group=room, text="after")
        assert [push["text"] for push in bob.barrier()] == ["during"]


@rule("Q-8", "A-2")
def test_who_logs_in_gets_what_is_written_afterwards(either_store, users, connect):
    """The same for sessions: with the reply to login in hand, whoever writes next reaches it, and not after logout."""
    alice, bob = users(2, either_store)
    bob.ok("logout")
    for _ in range(30):
        alice.expect("private_chat", "offline", user_to=bob.user.name, text="before")
        bob.login(bob.user)
        alice.ok("private_chat", user_to=bob.user.name, text="during")
        assert [push["text"] for push in bob.barrier()] == ["during"]
        bob.ok("logout")


# --- replies and pushes of one connection

@rule("Q-10", "M-4", "M-1")
def test_replies_and_pushes_stand_in_the_order_of_acceptance(either_store, users, group):
    """Three write at the same time. For each, the numbers of the own messages (replies) and of the others' (pushes)
    are together 1, 2, 3, … as they came."""
    clients = users(3, either_store)
    room = group(*clients)
    for _ in range(5):
        for client in clients:
            client.send_many(burst(room, BURST // 5))
    for client in clients:
        answered(client)
    for client in clients:
        came = sorted([*client.barrier(), *client.replies], key=lambda frame: frame.position)
        assert [frame["msg_id"] for frame in came] == list(range(1, 3 * BURST + 1))


@rule("Q-10", "M-4")
def test_all_see_all_conversations_in_one_order(either_store, users, group):
    """alice and bob write in two groups at the same time; carol, dave and a second session of carol's agree on the
    order of all of it."""
    alice, bob, carol, dave = users(4, either_store)
    rooms = [group(alice, bob, carol, dave) for _ in range(2)]
    for _ in range(4):
        for client in (alice, bob):
            client.send_many([one for pair in zip(burst(rooms[0], 25), burst(rooms[1], 25)) for one in pair])
    for client in (alice, bob):
        answered(client)
    seen = [[(push["group"], push["msg_id"]) for push in client.barrier()] for client in (carol, dave)]
    assert seen[0] == seen[1] and len(seen[0]) == 400
    for room in rooms:
        assert [number for group_, number in seen[0] if group_ == room] == list(range(1, 201))


@rule("Q-10", "M-4")
@needs("friends")
def test_pushes_of_all_kinds_keep_the_order_of_their_requests(either_store, users, friends, group):
    """Events, typing and messages, sent in one piece."""
    alice, bob = users(2, either_store)
    friends(alice, bob)
    room, other = group(alice, bob), group(bob)
    requests = [("typing", {"user": bob.user.name}), ("group_chat", {"group": room, "text": "1"}), ("group_join", {"group": other}),
                ("private_chat", {"user_to": bob.user.name, "text": "2"}), ("typing", {"group": room}),
                ("group_chat", {"group": other, "text": "3"}), ("group_leave", {"group": other}), ("friend_remove", {"user": bob.user.name}),
                ("group_chat", {"group": room, "text": "4"}), ("friend_add", {"user": bob.user.name}), ("group_dismiss", {"group": room}),
                ("private_chat", {"user_to": bob.user.name, "text": "5"})]
    for seq in alice.send_many(requests):
        alice.must(alice.reply(seq), "success")
    assert [push.name for push in bob.barrier()] == [
        "typing_event", "group_chat_recv", "group_event", "private_chat_recv", "typing_event", "group_chat_recv", "group_event",
        "friend_event", "group_chat_recv", "friend_request", "group_event", "private_chat_recv"]


@rule("Q-10", "A-3", "M-9")
@needs("history")
def test_the_reply_to_login_and_the_pushes_after_it_are_exact(either_store, users, group):
    """bob logs in again and again while alice writes: what his reply counts and what is pushed to him afterwards is
    everything, once."""
    alice, bob = users(2, either_store)
    room = group(alice, bob)
    total = 0
    for _ in range(8):
        bob.ok("logout")
        seqs = alice.send_many(burst(room, 60))
        bob.send("login", user=bob.user.name, passwd=bob.user.passwd)
        for seq in seqs:
            alice.must(alice.reply(seq), "success")
        total += 60
        login = bob.reply()
        pushes = bob.barrier()
        counted = login["unread"][0]["latest"] if login["unread"] else 0
        assert [push["msg_id"] for push in pushes] == list(range(counted + 1, total + 1))
        assert all(push.position > login.position for push in pushes)
        assert not login["unread"] or login["unread"][0]["count"] == counted


@rule("Q-10", "M-8", "M-9")
@needs("history")
def test_replies_are_snapshots_at_their_place(either_store, users, group):
    """Whenever bob asks for history or unread, it holds exactly what has been pushed to him before."""
    alice, bob = users(2, either_store)
    room = group(alice, bob)
    seqs = alice.send_many(burst(room, BURST))
    for _ in range(40):
        bob.send("history", group=room, limit=1)
        bob.send("unread")
        answered(bob)
    for seq in seqs:
        alice.must(alice.reply(seq), "success")
    bob.send("history", group=room, limit=1)
    answered(bob)
    latest = 0
    for frame in in_order(bob):
        if frame.name == "group_chat_recv":
            latest = frame["msg_id"]
        elif frame.name == "history_reply":
            assert [message["msg_id"] for message in frame["messages"]] == ([latest] if latest else [])
        else:
            assert [(one["count"], one["latest"]) for one in frame["unread"]] == ([(latest, latest)] if latest else [])
    assert latest == BURST


@rule("Q-10", "G-5", "G-6")
def test_the_members_of_a_group_and_its_events_are_exact(either_store, users, group):
    """Members come and go; each list that alice gets is what the events before it make."""
    alice, *others = users(6, either_store)
    room = group(alice)
    for round_ in range(12):
        for client in others:
            client.send_many([("group_join", {"group": room}), ("group_leave", {"group": room})][:1 + (round_ % 3 > 0)])
        alice.send_many([("group_info", {"group": room})] * 3)
    for client in (*others, alice):
        answered(client)
    alice.send("group_info", group=room)
    answered(alice)
    members = {alice.user.name}
    for frame in in_order(alice):
        if frame.name == "group_event":
            (members.add if frame["event"] == "joined" else members.discard)(frame["user"])
        else:
            assert (frame["count"], frame["members"]) == (len(members), sorted(members))


@rule("Q-10", "P-4")
@needs("friends")
def test_who_is_online_and_presence_are_exact(either_store, users, friends):
    """bob logs out and in; each list that alice gets says what the pushes before it have said."""
    alice, bob = users(2, either_store)
    friends(alice, bob)
    for _ in range(10):
        bob.send_many([("logout", {}), ("login", {"user": bob.user.name, "passwd": bob.user.passwd})])
        alice.send_many([("friend_list", {}), ("profile_get", {"user": bob.user.name})] * 3)
        answered(bob)
    answered(alice)
    alice.send("friend_list")
    answered(alice)
    online = True
    for frame in in_order(alice):
        if frame.name == "presence":
            assert frame["online"] is not online, "presence tells of changes"
            online = frame["online"]
        elif frame.name == "profile_get_reply":
            assert frame["online"] is online
        else:
            assert [one["online"] for one in frame["friends"]] == [online]
    assert online


@rule("Q-10", "G-2", "M-4")
@needs("history")
def test_joining_in_the_middle_of_a_burst(either_store, users, group):
    """bob gets what was accepted after his joining: no gap, none from before; and that is what counts as unread."""
    alice, bob = users(2, either_store)
    for _ in range(6):
        room = group(alice)
        seqs = alice.send_many(burst(room, 100))
        bob.send("group_join", group=room)
        bob.send("unread")
        for seq in seqs:
            alice.must(alice.reply(seq), "success")
        joined, unread = bob.reply(), bob.reply()
        pushes = bob.barrier()
        numbers = [push["msg_id"] for push in pushes]
        assert numbers == list(range(101 - len(numbers), 101))
        assert all(push.position > joined.position for push in pushes)
        before = sum(push.position < unread.position for push in pushes)
        assert [one["count"] for one in unread["unread"] if one["group"] == room] == ([before] if before else [])
        alice.pushes.clear()


@rule("Q-10", "G-3", "G-4", "M-4")
@pytest.mark.parametrize("how", ["leaves", "is kicked"])
def test_leaving_in_the_middle_of_a_burst(either_store, users, group, how):
    """bob gets what was accepted before his end as a member, without a gap, and nothing after it."""
    alice, bob, carol = users(3, either_store)
    for _ in range(6):
        room = group(alice, bob, carol)
        carol.send_many(burst(room, 50))
        if how == "leaves":
            bob.send("group_leave", group=room)
        else:
            alice.send("group_kick", group=room, user=bob.user.name)
        carol.send_many(burst(room, 50))
        answered(carol)
        answered(alice)
        answered(bob)
        bob.send("ping")
        answered(bob)
        frames = in_order(bob)
        end = next(i for i, frame in enumerate(frames) if frame.name in ("group_leave_reply", "group_event"))
        assert [frame["msg_id"] for frame in frames[:end]] == list(range(1, end + 1))
        assert [frame.name for frame in frames[end + 1:]] == ["ping_reply"]
        for client in (alice, bob, carol):
            client.barrier()
            client.replies.clear()
            client.pushes.clear()
