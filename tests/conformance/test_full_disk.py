"""When the store fails (M-5): each request of the failed commit gets server_error and has no effect, the server goes
on, and works again when the store does.

The disk is full for the server alone: by a limit on the size of its files (a write past it is an error, EFBIG, for a
process that ignores SIGXFSZ), and where the suite has the right to, by a small file system of its own (ENOSPC).
"""

import resource
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness import needs, note, rule
from harness.together import all_ok, in_one_piece

pytestmark = needs("durable", "history")
SEVERAL = 12


def to(client):
    return {"user_to": client.user.name}


@contextmanager
def no_room(server, more_bytes=None):
    """No file of the server may grow; or: none past the largest one's size and so many bytes more."""
    files = [path.stat().st_size for path in server.data.rglob("*") if path.is_file()]
    limit = 0 if more_bytes is None else max(files, default=0) + more_bytes
    _, hard = resource.prlimit(server.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (limit, hard))
    note(f"files of the server can have {limit} bytes")
    yield
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (hard, hard))
    note("files of the server can grow again")


def all_refused(replies):
    for reply in replies:
        assert reply.result == "server_error", str(reply)


def texts(client, **target):
    return [(message["msg_id"], message["text"]) for message in client.ok("history", limit=100, **target)["messages"]]


# --- Messages

@rule("M-5", "M-1", "M-4")
@needs("groups")
def test_messages_when_there_is_no_room(start_server, users, online, group):
    """server_error, no push, nothing in history or unread, no gap in the numbers."""
    server = start_server()
    alice, bob = users(2, server)
    second = online(server=server, user=alice.user)
    room = group(alice, bob)
    private = [("private_chat", {"text": f"{n}", **to(bob)}) for n in range(SEVERAL)]
    to_group = [("group_chat", {"text": f"{n}", "group": room}) for n in range(SEVERAL)]
    all_ok(in_one_piece(alice, [private[0], to_group[0]]))
    for client in (alice, bob, second):
        client.barrier()
    with no_room(server):
        for one in private[1:]:
            all_refused([alice.request(one[0], **one[1])])
        all_refused(in_one_piece(alice, private[1:] + to_group[1:]))
        for client in (alice, bob, second):
            client.expect_nothing()
    assert texts(bob, user=alice.user.name) == texts(bob, group=room) == [(1, "0")]
    assert sorted(entry["count"] for entry in bob.ok("unread")["unread"]) == [1, 1]
    again = all_ok(in_one_piece(alice, private[1:] + to_group[1:]))
    numbers = list(range(2, SEVERAL + 1))
    assert [reply["msg_id"] for reply in again] == numbers + numbers
    assert [push["msg_id"] for push in bob.barrier()] == numbers + numbers
    assert texts(bob, user=alice.user.name) == [(n + 1, f"{n}") for n in range(SEVERAL)]
    bob.ok("private_chat", text="unread", **to(alice))
    assert alice.ok("unread")["unread"] == [{"user": bob.user.name, "count": 1, "latest": SEVERAL + 1}]


@rule("M-5", "S-7")
@needs("limits")
def test_counters_when_there_is_no_room(start_server, users):
    """A message that was not stored is none, and a commit that failed is none; a request with a reply is one."""
    server = start_server()
    alice, bob = users(2, server)
    messages = [("private_chat", {"text": f"{n}", **to(bob)}) for n in range(SEVERAL)]
    before = alice.ok("stats")
    with no_room(server):
        all_refused(in_one_piece(alice, messages))
        after = alice.ok("stats")
    names = ["messages_total", "deliveries_total", "store_commits_total", "requests_total"]
    assert [after[name] - before[name] for name in names] == [0, 0, 0, SEVERAL + 1]
    all_ok(in_one_piece(alice, messages))
    assert alice.ok("stats")["messages_total"] - before["messages_total"] == SEVERAL


@rule("M-5", "M-6")
def test_the_id_of_a_message_that_found_no_room(start_server, users):
    """Is free: the message goes through later, once."""
    server = start_server()
    alice, bob = users(2, server)
    messages = [("private_chat", {"text": f"{n}", "id": f"id {n}", **to(bob)}) for n in range(SEVERAL)]
    with no_room(server):
        all_refused(in_one_piece(alice, messages))
    for _ in range(2):
        replies = all_ok(in_one_piece(alice, messages))
        assert [reply["msg_id"] for reply in replies] == list(range(1, SEVERAL + 1))
    assert [push["text"] for push in bob.barrier()] == [f"{n}" for n in range(SEVERAL)]


@rule("M-5", "M-1", "M-4")
@pytest.mark.parametrize("durability", ["full", "normal"])
@pytest.mark.parametrize("more_bytes", [0, 9_000, 100_000])
def test_room_that_ends_in_the_middle(start_server, users, connect, more_bytes, durability):
    """Some messages are kept and some are not: exactly those that were answered so, before and after a restart."""
    server = start_server("--durability", durability)
    alice, bob = users(2, server)
    kept, results, pushed = [], set(), []
    with no_room(server, more_bytes):
        for start in range(0, 400, 8):
            some = [(start + n, {"text": f"{start + n} " + "x" * 8000, **to(bob)}) for n in range(8)]
            replies = in_one_piece(alice, [("private_chat", fields) for _, fields in some])
            results |= {reply.result for reply in replies}
            kept += [(reply["msg_id"], number) for reply, (number, _) in zip(replies, some)
                     if reply.result == "success"]
            pushed += [push["msg_id"] for push in bob.barrier()]
            if "server_error" in results and start > 100:
                break
    assert results == {"success", "server_error"} or results == {"server_error"}, results
    assert [number for number, _ in kept] == list(range(1, len(kept) + 1)) == pushed
    kept.append((alice.ok("private_chat", text="999 ", **to(bob))["msg_id"], 999))

    def numbered(client):
        messages, more = [], True
        while more:
            reply = client.ok("history", user=alice.user.name, limit=100, after=messages[-1][0] if messages else 0)
            messages += [(message["msg_id"], int(message["text"].split()[0])) for message in reply["messages"]]
            more = reply["more"]
        return messages

    assert numbered(bob) == kept
    server.kill()
    server.restart()
    client = connect(server)
    client.login(bob.user)
    assert numbered(client) == kept


# --- Every other change

@pytest.fixture
def world(start_server, users, friends, group, name):
    """Some people, friends, requests, groups and messages, and a request for every change that there is."""
    class World:
        def __init__(self):
            self.server = start_server()
            self.alice, self.bob, self.carol, self.dave, self.erin = self.people = users(5, self.server)
            alice, bob, carol, dave, erin = self.people
            friends(alice, bob)
            carol.ok("friend_add", user=alice.user.name, text="hi")
            dave.ok("friend_add", user=alice.user.name, text="hello")
            self.tea, self.milk = group(alice, bob, title="Tea"), group(bob, alice)
            self.new_room, self.new_user = name("new"), name("new")
            bob.ok("group_chat", group=self.tea, text="hi")
            bob.ok("private_chat", text="hi", **to(alice))
            for client in self.people:
                client.barrier()

        def changes(self):
            alice, bob, carol, dave, erin = (client.user.name for client in self.people)
            return [
                (self.alice, "passwd", {"old": self.alice.user.passwd, "new": "a new one"}),
                (self.alice, "profile_set", {"name": "Alice", "age": 33}),
                (self.alice, "friend_add", {"user": erin, "text": "hi"}),
                (self.alice, "friend_answer", {"user": carol, "accept": True}),
                (self.alice, "friend_answer", {"user": dave, "accept": False}),
                (self.alice, "friend_remove", {"user": bob}),
                (self.alice, "group_create", {"group": self.new_room}),
                (self.carol, "group_join", {"group": self.tea}),
                (self.alice, "group_leave", {"group": self.milk}),
                (self.alice, "read", {"group": self.tea, "msg_id": 1}),
                (self.alice, "read", {"user": bob, "msg_id": 1}),
                (self.alice, "group_kick", {"group": self.tea, "user": bob}),
                (self.bob, "group_dismiss", {"group": self.milk}),
                (self.erin, "register", {"user": self.new_user, "passwd": "kettle"}),
            ]

        def state(self, connect):
            """Everything that everybody sees."""
            seen = []
            for client in self.people:
                with connect(self.server, f"looking as {client.label}") as looking:
                    seen.append(looking.login(client.user).payload)
                    for other in self.people:
                        seen.append(looking.ok("profile_get", user=other.user.name).payload)
                    for room in (self.tea, self.milk, self.new_room):
                        for cmd in ("group_info", "history"):
                            seen.append(looking.request(cmd, group=room).payload)
                    seen.append(looking.request("profile_get", user=self.new_user).payload)
                    looking.ok("logout")
            return seen

    return World()


@rule("M-5", "A-1", "A-7", "A-8", "P-1", "P-2", "P-3", "G-1", "G-2", "G-3", "G-4", "M-9")
@needs("groups", "friends")
def test_no_change_when_there_is_no_room(world, connect):
    """One by one and all together: server_error, nobody is told, everything stays as it was, also after a restart; and
    when there is room again each of them succeeds."""
    before = world.state(connect)
    for client in world.people:
        client.expect_nothing()
    with no_room(world.server):
        all_refused([client.request(cmd, **fields) for client, cmd, fields in world.changes()])
        sent = [(client, client.send(cmd, **fields)) for client, cmd, fields in world.changes()]
        all_refused([client.reply(seq) for client, seq in sent])
        for client in world.people:
            client.expect_nothing()
    assert world.state(connect) == before
    for client in world.people:
        client.close()
    world.server.kill()
    world.server.restart()
    for client in world.people:
        again = connect(world.server, client.label)
        again.login(client.user)
        setattr(world, client.label, again)
    world.people = [world.alice, world.bob, world.carol, world.dave, world.erin]
    assert world.state(connect) == before
    all_ok([client.request(cmd, **fields) for client, cmd, fields in world.changes()])
    assert world.alice.ok("group_info", group=world.new_room)["owner"] == world.alice.user.name


@rule("M-5", "A-9")
@needs("groups", "friends")
def test_what_found_no_room_counts_for_no_limit(start_server, users, name):
    """As many requests for friendship and groups as there can be, all refused: nothing of them is left over."""
    server = start_server()
    alice, bob = users(2, server)
    rooms = [("group_create", {"group": name("room")}) for _ in range(256)]
    with no_room(server):
        for _ in range(64):
            alice.expect("friend_add", "server_error", user=bob.user.name)
        all_refused(in_one_piece(alice, rooms))
    alice.ok("friend_add", user=bob.user.name)
    bob.push("friend_request", user=alice.user.name)
    all_ok(in_one_piece(alice, rooms))


@rule("M-5", "P-4", "A-6")
@needs("friends")
def test_what_needs_no_room_goes_on(start_server, users, friends, connect):
    """ping, typing, the end of a session and the presence that tells of it, while everything that is kept fails."""
    server = start_server()
    alice, bob = users(2, server)
    friends(alice, bob)
    with no_room(server):
        flood = alice.send_many([("private_chat", {"text": "hi", **to(bob)})] * SEVERAL)
        bob.half_close()
        all_refused([alice.reply(seq) for seq in flood])
        alice.push("presence", user=bob.user.name, online=False)
        connect(server).ok("ping")
        alice.ok("typing", user=bob.user.name)
    alice.expect("private_chat", "offline", text="hi", **to(bob))
    connect(server, "bob again").login(bob.user)
    alice.push("presence", user=bob.user.name, online=True)


@rule("M-5")
def test_a_full_disk_again_and_again(start_server, users):
    """Each time it works again at once."""
    server = start_server()
    alice, bob = users(2, server)
    for turn in range(6):
        with no_room(server):
            alice.expect("private_chat", "server_error", text="hi", id=f"{turn}", **to(bob))
        assert alice.ok("private_chat", text="hi", id=f"{turn}", **to(bob))["msg_id"] == turn + 1


@pytest.fixture
def small_disk(leave_out):
    """small_disk(bytes) -> a directory with a file system of its own that is so large."""
    mounted = []

    def make(size):
        directory = tempfile.mkdtemp(prefix="chat-conformance-disk-")
        mount = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", directory], capture_output=True,
                               text=True, check=False)
        if mount.returncode:
            Path(directory).rmdir()
            leave_out(f"needs the right to mount a file system: {mount.stderr.strip()}")
        mounted.append(directory)
        return Path(directory)

    yield make
    for directory in mounted:
        subprocess.run(["umount", "-l", directory], check=True)
        Path(directory).rmdir()


@rule("M-5", "M-1")
def test_a_disk_that_is_really_full(small_disk, start_server, users, connect):
    """A megabyte and a half, filled with messages; then another file is removed, and it goes on."""
    disk = small_disk(1_500_000)
    ballast = disk / "ballast"
    ballast.write_bytes(bytes(400_000))
    server = start_server(data=disk / "data")
    alice, bob = users(2, server)
    kept, failed = 0, 0
    for number in range(400):
        reply = alice.request("private_chat", text=f"{number} " + "x" * 8000, **to(bob))
        if reply.result == "success":
            kept += 1
            assert reply["msg_id"] == kept
        else:
            alice.must(reply, "server_error")
            failed += 1
        bob.barrier()
        if failed == 5:
            break
    assert failed == 5, f"{kept} messages were kept where there is no room for them"
    ballast.unlink()
    assert alice.ok("private_chat", text="there is room", **to(bob))["msg_id"] == kept + 1
    server.kill()
    server.restart()
    client = connect(server)
    client.login(bob.user)
    last = client.ok("history", user=alice.user.name, limit=1)["messages"][0]
    assert (last["msg_id"], last["text"]) == (kept + 1, "there is room")
