"""The stop (L-7): SIGTERM or SIGINT, with whatever is under way at that moment.

Where it matters what has come before the signal, the process is stopped (SIGSTOP) while it comes: then the signal and
the bytes are there together when it goes on.
"""

import fcntl
import signal
import socket
import struct
import termios
import time

import pytest

from harness import User, encode_frame, needs, rule
from harness.clock import Deadline, scaled
from harness.measure import asleep, cpu_seconds, cpu_seconds_at_end, eventually, leave_descriptors, let_pass

pytestmark = needs("limits")

STOP_S = 5              # L-7, steps 1 to 4
SLACK_S = 2             # for the end of the process, on a busy machine
PING = encode_frame("ping", b"", 1)
CROWD = 100             # more than a poller tells of at once
PAGES = 40              # of 230 KB: more than any system takes for a peer that does not read

either_signal = pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])


def now():
    return time.monotonic()


def ends(server, seconds=STOP_S + SLACK_S):
    assert server.wait_exit(seconds) == 0


# --- Nothing is under way

@rule("L-7", "S-3")
@either_signal
def test_everybody_gets_a_bye(start_server, connect, online, number):
    """Who has not yet said a word, who has, who is logged in, and who is in the middle of a frame."""
    server = start_server()
    silent, spoken, alice, midway = connect(server), connect(server), online("alice", server), connect(server)
    spoken.ok("ping")
    midway.send_raw(PING + PING[:9])
    midway.read_frame()
    silent.story.step("", "all are accepted", "ok")
    server.signal(number)
    for client in (silent, spoken, alice, midway):
        client.expect_bye("shutdown")
        client.close()
    ends(server)


@rule("L-7", "S-3")
@either_signal
def test_without_connections_it_ends_at_once(start_server, number):
    server = start_server()
    server.signal(number)
    ends(server, 2)


@rule("L-7")
def test_where_nothing_is_under_way_nothing_is_waited_for(start_server, connect, online):
    """The bye comes at once, to each of ten, whichever thread of the server they have, and whichever of these is done
    last: so there are five stops."""
    for _ in range(5):
        server = start_server()
        clients = [connect(server) for _ in range(8)] + [online("alice", server), online("bob", server)]
        for client in clients:
            client.ok("ping")
        began = now()
        server.signal(signal.SIGTERM)
        for client in clients:
            assert client.expect_bye("shutdown").at - began < 2
            client.close()
        ends(server)


@rule("L-7", "F-1")
def test_text_gets_no_bye(start_server, connect):
    """A frame would mean nothing to who speaks HTTP."""
    server = start_server()
    client = connect(server)
    client.send_raw(b"GET / HT")
    with connect(server) as other:
        other.ok("ping")
    server.signal(signal.SIGTERM)
    answer = client.read_bytes()
    assert not answer or answer.startswith(b"HTTP/1.1 "), f"{answer[:40]!r}"
    client.close()
    ends(server)


@rule("L-7")
def test_peers_that_stay_do_not_keep_it(start_server, connect, online):
    """They have got the bye and the FIN, and neither read them nor close."""
    server = start_server()
    clients = [connect(server), online("alice", server)]
    clients[0].ok("ping")
    server.signal(signal.SIGTERM)
    ends(server)
    for client in clients:
        client.expect_bye("shutdown")


@rule("L-7", "L-6")
def test_without_descriptors_it_ends_and_does_not_spin(start_server, connect):
    """Accepting pauses when the signal comes, and a peer that stays keeps the server for the 2 s of L-9."""
    server = start_server()
    client = connect(server)
    client.ok("ping")
    leave_descriptors(server, 0)
    waiting = [connect(server) for _ in range(3)]
    client.ok("ping")
    before = cpu_seconds(server)
    server.signal(signal.SIGTERM)
    used = cpu_seconds_at_end(server) - before
    assert used < 0.3, f"{used:.2f} s of CPU for a stop in which nothing happened"
    ends(server)
    client.expect_bye("shutdown")
    for other in waiting:
        other.close()


@rule("L-7", "P-4")
@needs("friends")
def test_no_presence_is_sent_for_it(start_server, users, friends):
    """bye is the next thing that each friend gets, and the last."""
    server = start_server()
    alice, bob, carol = users(3, server)
    friends(alice, bob)
    friends(bob, carol)
    server.signal(signal.SIGTERM)
    for client in (bob, alice, carol):
        client.expect_bye("shutdown")
    for client in (bob, alice, carol):
        client.close()
    ends(server)


# --- Requests

@rule("L-7")
@either_signal
def test_what_has_come_is_answered(start_server, connect, number):
    """None of it had been read when the signal came, and all of it stood in the sockets. On one it is 100 KB, so that
    a server has to read again until it is empty; and they are so many that it may hear of the signal before it has read
    of each."""
    server = start_server()
    crowd = [connect(server) for _ in range(CROWD)]
    for client in crowd:
        client.ok("ping")
    with asleep(server):
        seqs = {client: client.send_many([("ping", {"padding": "x" * 1000})] * (100 if client is crowd[0] else 20))
                for client in crowd}
        eventually(lambda: sum(map(not_arrived, crowd)), lambda count: count == 0)
        server.signal(number)
    for client in crowd:
        for seq in seqs[client]:
            client.must(client.reply(seq), "success")
        client.expect_bye("shutdown")
        client.close()
    ends(server)


def not_arrived(client):
    """Bytes that are not yet in the other side's socket (tcp(7), SIOCOUTQ)."""
    return struct.unpack("i", fcntl.ioctl(client.socket, termios.TIOCOUTQ, bytes(4)))[0]


@rule("L-7", "L-9")
def test_what_comes_after_it_does_no_harm(start_server, connect):
    """The client goes on sending; what was taken is answered, then come the bye and FIN, no reset."""
    server = start_server()
    client = connect(server)
    client.ok("ping")
    server.signal(signal.SIGTERM)
    deadline = Deadline(1)
    while not client.wait_readable(0) and not deadline.passed():
        client.try_send(PING)
        client.unanswered.append((1, 1))
    client.take_until(lambda: client.pushes, "bye")
    client.try_send(PING * 100)
    client.unanswered.clear()
    client.replies.clear()
    client.expect_bye("shutdown")
    client.close()
    ends(server)


@rule("L-7", "M-4", "M-5")
@needs("groups", "durable", "history")
def test_a_burst_of_messages_is_answered_delivered_and_kept(start_server, users, group, online):
    """Not one of them had been read when the signal came."""
    server = start_server()
    alice, bob = users(2, server)
    room = group(alice, bob)
    with asleep(server):
        seqs = alice.send_many([("group_chat", {"group": room, "text": f"message {n}"}) for n in range(1, 301)])
        server.signal(signal.SIGTERM)
    for number, seq in enumerate(seqs, 1):
        alice.must(alice.reply(seq), "success", msg_id=number)
    for number in range(1, 301):
        bob.push("group_chat_recv", msg_id=number, text=f"message {number}")
    alice.expect_bye("shutdown")
    bob.expect_bye("shutdown")
    alice.close(), bob.close()
    ends(server)
    server.restart()
    alice = online(user=alice.user, server=server)
    for after in (0, 100, 200):
        messages = alice.ok("history", group=room, after=after, limit=100)["messages"]
        assert [message["text"] for message in messages] == [f"message {after + n}" for n in range(1, 101)]


@rule("L-7", "M-5")
@needs("durable", "groups", "history")
def test_what_was_answered_is_kept(start_server, users, group, online):
    """The signal comes somewhere in a running stream of messages: history has those that were answered, and no gap."""
    server = start_server()
    alice, bob = users(2, server)
    room = group(alice, bob)
    for n in range(20):
        alice.send_many([("group_chat", {"group": room, "text": f"{n}"})] * 5)
        if n == 10:
            server.signal(signal.SIGTERM)
    alice.take_until(lambda: alice.pushes, "bye")
    answered = [reply["msg_id"] for reply in alice.replies]
    assert answered == list(range(1, len(answered) + 1)) and len(answered) >= 5
    alice.close(), bob.close()
    ends(server)
    server.restart()
    messages = online(user=alice.user, server=server).ok("history", group=room, limit=100)["messages"]
    kept = [message["msg_id"] for message in messages]
    assert kept == list(range(1, len(kept) + 1)) and len(kept) >= len(answered)


# --- Hashing

@rule("L-7", "A-10")
@needs("accounts")
def test_hashing_is_waited_for(start_server, connect, name):
    """An account is being made, and logs in behind that on its connection. (No more of them: a busy machine has 5 s,
    too.)"""
    server = start_server("--password-cost", "interactive")
    client = connect(server)
    client.ok("ping")
    with asleep(server):
        fields = {"user": name(), "passwd": "kettle"}
        client.send_many([("register", fields), ("login", fields), ("group_list", {}), ("ping", {})])
        server.signal(signal.SIGTERM)
    for _ in range(4):
        client.must(client.reply(), "success")
    client.expect_bye("shutdown")
    client.close()
    ends(server)


@rule("L-7", "A-10", "M-5")
@needs("accounts", "durable")
def test_an_account_that_was_being_made_is_kept(start_server, connect, user, name):
    server = start_server("--password-cost", "interactive")
    client = connect(server)
    alice = User(name("alice"), "kettle")
    client.send("register", user=alice.name, passwd=alice.passwd)
    with connect(server) as other:
        other.ok("ping")
    server.signal(signal.SIGTERM)
    client.must(client.reply(), "success")
    client.expect_bye("shutdown")
    client.close()
    ends(server)
    server.restart()
    connect(server).login(alice)


# --- Peers that do not read

def write_a_page(client):
    """Notes to oneself."""
    text = {"user_to": client.user.name, "text": "y" * 2300}
    for seq in client.send_many([("private_chat", text)] * 100):
        client.must(client.reply(seq), "success")


def ask_for_pages(client):
    """More replies than the system takes, to one who does not read them."""
    client.stop_reading()
    client.send_many([("history", {"user": client.user.name, "limit": 100})] * PAGES)


@rule("L-7")
@needs("history")
def test_a_peer_that_never_reads_does_not_keep_it(start_server, online):
    """It ends in time, with status 0; the others have got their byes, and nobody is accepted in between."""
    server = start_server("--store", "memory")
    alice, bob = online("alice", server), online("bob", server, receive_buffer=4096)
    write_a_page(bob)
    ask_for_pages(bob)
    alice.ok("ping")
    server.signal(signal.SIGTERM)
    began = now()
    alice.expect_bye("shutdown")
    alice.close()
    assert not is_served(server)
    ends(server)
    assert now() - began <= scaled(STOP_S + SLACK_S)


def is_served(server):
    """Does a new connection get an answer to a ping?"""
    try:
        with socket.create_connection((server.host, server.port), timeout=1) as new:
            new.sendall(PING)
            came = b""
            while b"\x80\x01" not in came and (some := new.recv(65536)):
                came += some
            return b"\x80\x01" in came
    except OSError:
        return False


@rule("L-7", "L-4")
@needs("history")
def test_a_peer_that_reads_on_gets_all_replies_and_the_bye(start_server, online):
    """What it had asked for before the signal was held back until it read (L-4)."""
    server = start_server("--store", "memory")
    bob = online("bob", server)
    write_a_page(bob)
    ask_for_pages(bob)
    with asleep(server):
        server.signal(signal.SIGTERM)
    let_pass(0.2)
    bob.resume_reading()
    for _ in range(PAGES):
        assert len(bob.must(bob.reply(), "success")["messages"]) == 100
    bob.expect_bye("shutdown")
    bob.close()
    ends(server)


@rule("L-7", "L-4")
@needs("history")
def test_what_was_held_back_is_answered(start_server, online):
    """The requests stood in the socket when the signal came, and are all read at once. Then they are held back, for
    their replies are larger than the outbox limit (L-4)."""
    server = start_server("--store", "memory", "--outbox-limit", "65536")
    bob = online("bob", server, receive_buffer=4096)
    write_a_page(bob)
    with asleep(server):
        ask_for_pages(bob)
        server.signal(signal.SIGTERM)
    let_pass(0.2)
    bob.resume_reading()
    for _ in range(PAGES):
        assert len(bob.must(bob.reply(), "success")["messages"]) == 100
    bob.expect_bye("shutdown")
    bob.close()
    ends(server)


# --- The second signal

@rule("L-7")
@needs("history")
@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_second_signal_ends_it_at_once(start_server, connect, online, second):
    """The first one is in effect when the port is closed; it would wait for bob some seconds longer."""
    server = start_server("--store", "memory")
    bob = online("bob", server, receive_buffer=4096)
    write_a_page(bob)
    ask_for_pages(bob)
    server.signal(signal.SIGTERM)
    began = now()
    while is_served(server):
        assert now() < began + scaled(STOP_S)
    assert now() - began < 1.5, "the test came too late to say anything"
    server.signal(second)
    server.wait_exit(1)
