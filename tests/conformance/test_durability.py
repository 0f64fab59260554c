"""What lasts (M-5): all that was answered `success` is there after a SIGKILL, once. A full disk: test_full_disk.py."""

import itertools
import random

import pytest

from harness import Unanswered, User, needs, note, rule
from harness.clock import Deadline
from harness.together import all_ok, in_one_piece

pytestmark = needs("durable", "history")
WINDOW = 40             # requests that a sender has under way


def to(client):
    return {"user_to": client.user.name}


@pytest.fixture
def killed(start_server):
    """killed(server): ends it by SIGKILL and starts it again."""
    def again(server, *options):
        server.kill()
        return server.restart(*options)

    return again


def history(client, **target):
    """All messages of the conversation, oldest first."""
    messages, more = [], True
    while more:
        after = messages[-1]["msg_id"] if messages else 0
        reply = client.ok("history", limit=100, after=after, **target)
        messages += reply["messages"]
        more = reply["more"]
    return messages


# --- One change of each kind, answered, and then the kill

@rule("M-5", "A-1", "A-7", "A-8")
def test_accounts_last(start_server, killed, online, connect):
    server = start_server()
    alice, bob = online("alice", server), online("bob", server)
    profile = {"name": "Alice", "sex": "female", "age": 33, "address": "1 Tea Lane", "email": "a@b.c"}
    alice.ok("profile_set", **profile)
    bob.ok("passwd", old=bob.user.passwd, new="a new one")
    carol = User(f"{alice.user.name}-2", "the last one")
    alice.register(carol, name="Carol")
    killed(server)
    client = connect(server)
    client.expect("login", "passwd_error", user=bob.user.name, passwd=bob.user.passwd)
    client.login(User(bob.user.name, "a new one"))
    client.ok("logout")
    client.login(alice.user)
    got = client.ok("profile_get", user=alice.user.name).payload
    assert got == {"result": "success", "user": alice.user.name, "online": True, **profile}
    assert client.ok("profile_get", user=carol.name)["name"] == "Carol"
    assert client.ok("profile_get", user=bob.user.name)["online"] is False
    client.expect_failure("register", "user_exists", user=carol.name, passwd="kettle")


@rule("M-5", "P-1", "P-2", "P-3", "C-4")
@needs("friends")
def test_friends_and_requests_last(start_server, killed, users, friends, connect):
    """Also which are settled, and the order of those that are pending."""
    server = start_server()
    alice, bob, carol, dave, erin, frank, grace = users(7, server)
    friends(alice, bob)
    friends(carol, alice)
    alice.ok("friend_remove", user=carol.user.name)
    for asker in (grace, dave, frank, erin):
        asker.ok("friend_add", user=alice.user.name, text=f"I am {asker.label}")
    alice.ok("friend_answer", user=dave.user.name, accept=False)
    grace.ok("friend_add", user=alice.user.name, text="again")
    killed(server)
    screen = connect(server).login(alice.user)
    assert [entry["user"] for entry in screen["friends"]] == [bob.user.name]
    assert screen["requests"] == [{"user": one.user.name, "text": f"I am {one.label}"} for one in (grace, frank, erin)]
    for other, friends_then in ((bob, [alice.user.name]), (carol, []), (dave, [])):
        assert [entry["user"] for entry in connect(server).login(other.user)["friends"]] == friends_then


@rule("M-5", "G-1", "G-2", "G-3", "G-4")
@needs("groups")
def test_groups_last(start_server, killed, users, group, connect):
    """With title, owner, age and members; who left or was kicked is out, and what was dismissed stays so."""
    server = start_server()
    alice, bob, carol, dave = users(4, server)
    tea = group(alice, bob, carol, dave, title="Tea ☕")
    gone = group(alice, bob)
    bob.ok("group_leave", group=tea)
    alice.ok("group_kick", group=tea, user=carol.user.name)
    alice.ok("group_dismiss", group=gone)
    before = alice.ok("group_info", group=tea).payload
    killed(server)
    sessions = {one.label: connect(server) for one in (alice, bob, carol, dave)}
    listed = {one.label: sessions[one.label].login(one.user)["groups"] for one in (alice, bob, carol, dave)}
    there = [{"group": tea, "title": "Tea ☕"}]
    assert listed == {"alice": there, "bob": [], "carol": [], "dave": there}
    assert sessions["alice"].ok("group_info", group=tea).payload == before
    sessions["bob"].expect("group_join", "group_not_exist", group=gone)
    sessions["bob"].ok("group_create", group=gone)


@rule("M-5", "M-1", "M-6", "M-7")
@needs("groups")
def test_messages_last(start_server, killed, users, group, connect):
    """History as before, the next number, time not going back, and each id known with its first answer."""
    server = start_server()
    alice, bob = users(2, server)
    room = group(alice, bob)
    texts = ["one", 'quo"te\\', "\x01\n☕\U0001f600", "x" * 8192]
    kinds = [("private_chat", to(bob), {"user": bob.user.name}), ("group_chat", {"group": room}, {"group": room}),
             ("private_chat", to(alice), {"user": alice.user.name})]
    sent = {}
    for cmd, target, _ in kinds:
        for number, text in enumerate(texts):
            sent[cmd, str(target), number] = alice.ok(cmd, text=text, id=f"id {number}", **target)
    before = [history(alice, **where) for _, _, where in kinds]
    assert [[message["text"] for message in one] for one in before] == [texts] * 3
    killed(server)
    client = connect(server)
    client.login(alice.user)
    assert [history(client, **where) for _, _, where in kinds] == before
    for cmd, target, where in kinds:
        for number in range(len(texts)):
            again = client.request(cmd, text="again", id=f"id {number}", **target)
            assert again.result == ("offline" if target == to(bob) else "success")
            first = sent[cmd, str(target), number]
            assert (again["msg_id"], again["time"]) == (first["msg_id"], first["time"])
        new = client.request(cmd, text="new", **target)
        assert new["msg_id"] == len(texts) + 1 and new["time"] >= first["time"]


@rule("M-5", "M-6", "M-8")
@needs("groups")
def test_megabytes_of_messages_last(start_server, killed, users, group, connect):
    """So much that a server has put some of it in its place while the rest came: whole before the kill, and after it."""
    server = start_server()
    alice, bob = users(2, server)
    user, room = alice.user, group(alice)
    bob.close()
    texts = [f"{number} ".ljust(8000, "x") for number in range(400)]
    kinds = [("group_chat", {"group": room}, {"group": room}), ("private_chat", to(bob), {"user": bob.user.name})]
    for first in range(0, len(texts), WINDOW):
        requests = [(cmd, {"text": texts[number], "id": f"id {number}", **target})
                    for number in range(first, first + WINDOW) for cmd, target, _ in kinds]
        replies = in_one_piece(alice, requests)
        assert [reply["msg_id"] for reply in replies] == [number + 1 for number in range(first, first + WINDOW) for _ in kinds]
    for kill in (False, True):
        if kill:
            killed(server)
            alice = connect(server)
            alice.login(user)
        for cmd, target, where in kinds:
            assert [message["text"] for message in history(alice, **where)] == texts
            newest = alice.ok("history", limit=5, before=300, **where)
            assert [message["msg_id"] for message in newest["messages"]] == list(range(295, 300))
            for number in (0, 200, 399):
                again = alice.request(cmd, text="again", id=f"id {number}", **target)
                assert again["msg_id"] == number + 1


@rule("M-5", "M-6", "G-5")
@needs("groups")
def test_what_a_dismissed_group_had_does_not_come_back(start_server, killed, users, connect, name):
    """Neither at once nor under a new group of its name: messages, ids, marks and members."""
    server = start_server()
    alice, bob = users(2, server)
    room, again = name("room"), name("again")
    for one in (room, again):
        alice.ok("group_create", group=one)
        bob.ok("group_join", group=one)
        for number in range(3):
            alice.ok("group_chat", group=one, text="old", id=f"id {number}")
        bob.ok("read", group=one, msg_id=2)
        alice.ok("group_dismiss", group=one)
    bob.ok("group_create", group=again)
    killed(server)
    client = connect(server)
    screen = client.login(bob.user)
    assert (screen["groups"], screen["unread"]) == ([{"group": again, "title": ""}], [])
    client.ok("group_create", group=room)
    for one in (room, again):
        assert client.ok("group_info", group=one)["members"] == [bob.user.name]
        assert history(client, group=one) == []
        assert client.ok("group_chat", group=one, text="new", id="id 1")["msg_id"] == 1
    # And what was made last of all: also its place is not another one's.
    last = name("last")
    client.ok("group_create", group=last)
    for number in range(1, 4):
        client.ok("group_chat", group=last, text="old", id=f"id {number}")
    client.ok("group_dismiss", group=last)
    killed(server)
    client = connect(server)
    client.login(bob.user)
    client.ok("group_create", group=last)
    assert history(client, group=last) == []
    assert client.ok("group_chat", group=last, text="new", id="id 1")["msg_id"] == 1


@rule("M-5", "M-9")
@needs("groups")
def test_read_marks_last(start_server, killed, users, group, connect):
    """And with them what is unread, and its order."""
    server = start_server()
    alice, bob, carol = users(3, server)
    tea, milk = group(bob, alice), group(alice, bob)
    for _ in range(3):
        carol.ok("private_chat", text="hi", **to(alice))
        bob.ok("group_chat", group=tea, text="hi")
        bob.ok("private_chat", text="hi", **to(alice))
        alice.ok("private_chat", text="hi", **to(bob))
        bob.ok("group_chat", group=milk, text="hi")
    alice.ok("read", user=bob.user.name, msg_id=3)
    alice.ok("read", group=tea, msg_id=1)
    alice.ok("read", group=milk, msg_id=3)
    alice.ok("read", group=tea, msg_id=0)
    expected = [{"user": bob.user.name, "count": 1, "latest": 6}, {"group": tea, "count": 2, "latest": 3},
                {"user": carol.user.name, "count": 3, "latest": 3}]
    assert alice.ok("unread")["unread"] == expected
    killed(server)
    client = connect(server)
    assert client.login(alice.user)["unread"] == expected
    client.ok("read", group=tea, msg_id=2)
    assert client.ok("unread")["unread"][1] == {"group": tea, "count": 1, "latest": 3}
    with connect(server) as writing:
        writing.login(carol.user)
        writing.ok("private_chat", text="the newest of all", **to(alice))
    assert client.ok("unread")["unread"][0] == {"user": carol.user.name, "count": 4, "latest": 4}


@rule("M-5", "M-9")
@needs("groups")
def test_the_mark_of_who_joins_lasts(start_server, killed, users, group, connect):
    """It stands at the latest message of that moment: also of one who was there before, and has come back."""
    server = start_server()
    alice, bob, carol = users(3, server)
    room = group(alice, carol)
    alice.ok("group_chat", group=room, text="hi")
    carol.ok("group_leave", group=room)
    alice.ok("group_chat", group=room, text="hi")
    for client in (bob, carol):
        client.ok("group_join", group=room)
    alice.ok("group_chat", group=room, text="hi")
    killed(server)
    for client in (bob, carol):
        assert connect(server).login(client.user)["unread"] == [{"group": room, "count": 1, "latest": 3}]


@rule("M-5", "M-9")
def test_the_newest_unread_conversations_last(start_server, killed, users, crowd, connect):
    """Of 258 the one that was written in first stands first, for it is written in again; the next two are left out."""
    server = start_server()
    alice, *_ = users(1, server)
    many = crowd(server)
    others = many.register(258)
    message = ("private_chat", {"text": "hi", **to(alice)})
    for one in (*others, others[0]):
        many.act([one], lambda _: [message])
    listed = alice.ok("unread")["unread"]
    assert [entry["user"] for entry in listed] == [others[0].name, *(one.name for one in reversed(others[3:]))]
    killed(server)
    client = connect(server)
    assert client.login(alice.user)["unread"] == listed
    client.ok("read", user=others[100].name, msg_id=1)
    assert client.ok("unread")["unread"][-1]["user"] == others[2].name


@rule("M-5", "L-7")
def test_a_stop_loses_nothing_either(start_server, users, connect):
    """SIGTERM, and a start again."""
    server = start_server()
    alice, bob = users(2, server)
    replies = all_ok(in_one_piece(alice, [("private_chat", {"text": "hi", **to(bob)})] * 20))
    for client in (alice, bob):
        client.close()
    server.restart()
    client = connect(server)
    client.login(bob.user)
    assert [message["msg_id"] for message in history(client, user=alice.user.name)] == [
        reply["msg_id"] for reply in replies]


# --- Killed at the last answer

@rule("M-5")
@pytest.mark.parametrize("durability", ["full", "normal"])
def test_the_last_answer_before_the_end(start_server, users, online, durability):
    """The reply and the push are no sooner there than the message lasts: killed at once, five times over."""
    server = start_server("--durability", durability)
    alice, bob = users(2, server)
    for number in range(1, 6):
        if number % 2:
            alice.ok("private_chat", text="hi", **to(bob))
        else:
            alice.send("private_chat", text="hi", **to(bob))
            bob.push("private_chat_recv", msg_id=number)
        server.kill()
        server.restart()
        alice, bob = online(server=server, user=alice.user), online(server=server, user=bob.user)
        assert [message["msg_id"] for message in history(bob, user=alice.user.name)] == list(range(1, number + 1))


# --- Killed under load

class Sender:
    """Sends as fast as it is answered, and keeps what it sent and what was answered."""

    def __init__(self, client, requests):
        self.client = client
        self.requests = requests        # an endless row of (cmd, fields)
        self.under_way = {}             # seq -> fields
        self.sent = []                  # (cmd, fields)
        self.answered = []              # (cmd, fields, reply)
        self.pushes = []

    def send(self):
        count = WINDOW - len(self.under_way)
        if count >= WINDOW // 2 and not self.client.ended:
            some = list(itertools.islice(self.requests, count))
            self.sent += some
            if some:
                self.under_way.update(zip(self.client.send_many(some), some))

    def receive(self, at_most=WINDOW):
        """What has come, up to so many replies; returns how many they were."""
        count = 0
        try:
            while count < at_most and (frame := self.client.read_frame(Deadline(0))):
                if frame.is_reply:
                    count += 1
                    self.answered.append((*self.under_way.pop(frame.seq), frame))
                else:
                    self.pushes.append(frame)
        except Unanswered:
            pass
        return count


def kill_under_load(server, senders, after, sending):
    """Kill the server when it has given `after` replies, in the middle of its work: as soon as the last one of them is
    here, or when more has been sent (`sending`). Then read what it had sent."""
    note(f"SIGKILL after {after} replies" + (" and further requests" if sending else ""))
    for sender in itertools.cycle(senders):
        if after > 0 or sending:
            sender.send()
        if after <= 0:
            break
        after -= sender.receive(after)
        server.check()
    server.kill()
    for sender in senders:
        while not sender.client.ended:
            sender.client.wait_readable(1)
            sender.receive()


def messages(user, turn, group, private):
    """An endless row of messages, two to the group and one private; the text says who sent it with which id."""
    for number in itertools.count():
        cmd, target = ("group_chat", group) if number % 3 else ("private_chat", private)
        yield cmd, {"text": f"{user} {turn}-{number}", "id": f"{turn}-{number}", **target}


@rule("M-5", "M-1", "M-4", "M-6")
@needs("groups")
@pytest.mark.parametrize("durability", ["full", "normal"])
def test_messages_under_load(start_server, online, users, group, durability):
    """Several senders, SIGKILL at a random moment, three times over. Afterwards every message that was answered is in
    history, once, as answered; so is every one that was pushed; numbers have no gaps; and sending all of them again
    by id adds only those that were not kept."""
    server = start_server("--durability", durability)
    *senders, listener = users(4, server)
    room = group(listener, *senders)
    known = {}                          # (cmd, sender, id) -> (msg_id, time) that was answered
    for turn in range(3):
        loads = [Sender(client, messages(client.user.name, turn, {"group": room}, to(listener))) for client in senders]
        watching = Sender(listener, iter(()))
        kill_under_load(server, [*loads, watching], random.randrange(100, 1000), sending=turn == 1)
        server.restart()
        senders = [online(server=server, user=client.user) for client in senders]
        listener = online(server=server, user=listener.user)

        for load in loads:
            for cmd, fields, reply in load.answered:
                assert reply.result == "success", str(reply)
                known[cmd, load.client.user.name, fields["id"]] = reply["msg_id"], reply["time"]
        pushed = [push for load in (*loads, watching) for push in load.pushes]
        check_kept(listener, senders, room, known, pushed)

        for client, load in zip(senders, loads):
            for start in range(0, len(load.sent), WINDOW):
                some = load.sent[start:start + WINDOW]
                for (cmd, fields), reply in zip(some, all_ok(in_one_piece(client, some))):
                    first = known.setdefault((cmd, client.user.name, fields["id"]), (reply["msg_id"], reply["time"]))
                    assert first == (reply["msg_id"], reply["time"]), f"sent again: {reply}; first: {first}"
                for one in (*senders, listener):
                    one.barrier()
        check_kept(listener, senders, room, known, [], exact=True)


def check_kept(listener, senders, room, known, pushed, exact=False):
    """`known` and `pushed` are all in history, once; `exact`: and nothing else is."""
    kept = {}
    conversations = [("group_chat", {"group": room}), *(("private_chat", {"user": one.user.name}) for one in senders)]
    for cmd, target in conversations:
        messages = history(listener, **target)
        assert [message["msg_id"] for message in messages] == list(range(1, len(messages) + 1))
        times = [message["time"] for message in messages]
        assert times == sorted(times), "time goes back"
        for message in messages:
            sender, _, one = message["text"].partition(" ")
            assert sender == message["user_from"]
            assert (cmd, sender, one) not in kept, f"{message} is there twice"
            kept[cmd, sender, one] = message["msg_id"], message["time"]
    lost = {key: value for key, value in known.items() if kept.get(key) != value}
    assert not lost, f"{len(lost)} of {len(known)} answered messages are not there as answered: {sorted(lost)[:3]}"
    assert not exact or kept == known
    for push in pushed:
        sender, _, one = push["text"].partition(" ")
        key = push.name.removesuffix("_recv"), sender, one
        assert kept.get(key) == (push["msg_id"], push["time"]), f"was pushed and is not kept: {push}"


@rule("M-5", "A-1", "G-1", "P-1", "M-9")
@needs("groups", "friends")
def test_other_changes_under_load(start_server, online, users, connect, name):
    """Groups, joins and leaves, profiles, requests for friendship and registrations: what was answered has been kept,
    each in the order in which it was asked for."""
    server = start_server()
    creator, joiner, writer, registrar = clients = users(4, server)
    rooms = [name("room") for _ in range(3)]
    for room in rooms:
        creator.ok("group_create", group=room)
    stem = name("x")
    loads = {
        creator: (("group_create", {"group": f"{stem}g{n}"}) for n in range(250)),
        joiner: ((("group_join", "group_leave")[n // 3 % 2], {"group": rooms[n % 3]}) for n in itertools.count()),
        writer: (("profile_set", {"name": f"{n}", "address": f"{n}"}) for n in itertools.count()),
        registrar: (("register", {"user": f"{stem}u{n}", "passwd": "kettle"}) for n in itertools.count()),
    }
    loads = {client: Sender(client, requests) for client, requests in loads.items()}
    kill_under_load(server, list(loads.values()), random.randrange(100, 400), sending=True)
    server.restart()
    for load in loads.values():
        all_ok([reply for _, _, reply in load.answered])
    answered = {client: [fields for _, fields, _ in load.answered] for client, load in loads.items()}

    screens = {client: connect(server).login(client.user) for client in clients}
    listed = {entry["group"] for entry in screens[creator]["groups"]}
    lost = {fields["group"] for fields in answered[creator]} - listed
    assert not lost, f"groups that were created are not there: {lost}"

    looking = online(server=server, user=joiner.user)
    possible = memberships(loads[joiner], rooms)
    assert {entry["group"] for entry in screens[joiner]["groups"]} in possible, "not a state since the last answer"

    profile = looking.ok("profile_get", user=writer.user.name)
    last = int(answered[writer][-1]["name"]) if answered[writer] else -1
    assert last <= int(profile["name"] or -1) < len(loads[writer].sent)

    everybody = [looking.request("profile_get", user=fields["user"]).result for fields in answered[registrar]]
    assert set(everybody) <= {"success"}, f"{everybody.count('user_not_exist')} registered users are not there"


def memberships(load, rooms):
    """The sets of groups that the joiner can be in: after the last answer, and after each request that had none."""
    member, states = set(), []
    for number, (cmd, fields) in enumerate(load.sent):
        if number >= len(load.answered):
            states.append(set(member))
        (member.add if cmd == "group_join" else member.discard)(fields["group"])
    return [*states, member]
