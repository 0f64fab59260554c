"""Limits: the rate of requests (L-5), the number of connections and descriptors (L-6, F-1), ends that clients make
(L-8, L-9, resets), and slow work that must delay nobody else (L-11).
"""

import base64
import os
import socket
import struct
import time
from types import SimpleNamespace

import pytest

from harness import User, encode_frame, needs, rule, undisturbed
from harness.clock import Deadline, scaled
from harness.measure import (SLACK_S, asleep, cpu_seconds, descriptors, eventually, has_own_memory, keeps_threads,
                             leave_descriptors, let_pass, resident_bytes)
from harness.preload import replaced
from harness.process import Run

pytestmark = needs("limits")

PING = encode_frame("ping", b"", 1)
LONG_PING = encode_frame("ping", {"padding": "x" * 1000}, 1)
LINGER_S = 2                # L-9
HASHES = min(4 * os.cpu_count(), 200)       # more than the workers do at once, whoever they are
DELAY_S = 0.5               # what others may notice of slow work, on a busy machine


def now():
    return time.monotonic()


def held(server, client):
    """What the server holds: descriptors, connections, sessions."""
    stats = client.ok("stats")
    return descriptors(server), stats["connections"], stats["sessions"]


def alone(server, client):
    """The same, once `client` is the only one."""
    return eventually(lambda: held(server, client), lambda counts: counts[1] == 1)


# --- L-5. A rate of 5 has a burst of 10

@pytest.fixture
def limited(start_server):
    return lambda rate: start_server("--rate-limit", str(rate))


def served(client, seqs):
    """How many of these were served; the others must be refused for the rate, with a time that helps."""
    results = [client.reply(seq) for seq in seqs]
    for reply in results:
        if reply.result == "rate_limited":
            assert reply["retry_ms"] > 0
        else:
            client.must(reply, "success")
    return [reply.result == "success" for reply in results]


def spend(client, rate):
    """Use the burst up; some more may have been earned meanwhile."""
    began = now()
    answers = served(client, client.send_many([("ping", {})] * (4 * rate)))
    earned = rate * (now() - began)
    assert all(answers[:2 * rate]), "a burst of twice the rate is served"
    assert sum(answers) <= 2 * rate + earned + 1, f"{sum(answers)} were served at once, at a rate of {rate}"


@rule("L-5")
@pytest.mark.parametrize("rate", [1, 5, 20, 300])
def test_the_burst_is_twice_the_rate(limited, connect, rate):
    """Exactly, but for what is earned while it is sent."""
    spend(connect(limited(rate)), rate)


@rule("L-5", "S-1")
def test_the_default_rate(program, connect):
    with Run([*program.command, "--port", "0", "--store", "memory"]) as run:
        host, _, port = run.first_line.removeprefix("listening on ").rpartition(":")
        spend(connect(SimpleNamespace(host=host, port=int(port))), 200)


@rule("L-5")
def test_the_burst_does_not_grow_with_time(limited, connect):
    """Neither on a connection that is new, nor on one that has been silent."""
    client = connect(limited(20))
    let_pass(0.3)
    spend(client, 20)


@rule("L-5")
@pytest.mark.parametrize("rate", [100, 300])
def test_the_rate_is_what_is_served_in_the_long_run(limited, connect, rate):
    """For a second: the burst, and what the time has earned; no less, and no more. A refused request costs nothing,
    and at the end is taken what was saved up on the way."""
    client = connect(limited(rate))
    burst = [("ping", {})] * 2 * rate
    first = now()
    answers = served(client, client.send_many(burst))
    begun = now()
    while now() < first + 1:
        answers += served(client, [client.send("ping")])
    ending = now()
    answers += served(client, client.send_many(burst))
    more = sum(answers) - len(burst)
    assert rate * (ending - begun) - 1 <= more <= rate * (now() - first) + 1


@rule("L-5")
def test_a_request_sent_after_retry_ms_is_served(limited, connect):
    """Always, if nothing else is sent."""
    client = connect(limited(5))
    spend(client, 5)
    for _ in range(3):
        reply = client.expect("ping", "rate_limited")
        let_pass(reply["retry_ms"] / 1000)
        client.ok("ping")


@rule("L-5")
@needs("groups", "history")
def test_a_refused_request_has_no_effect(limited, users, group):
    """Nothing is stored, numbered or sent on."""
    alice, bob = users(2, limited(10))
    room = group(alice, bob)
    seqs = alice.send_many([("group_chat", {"group": room, "text": f"{n}"}) for n in range(40)])
    replies = [alice.reply(seq) for seq in seqs]
    taken = [(reply["msg_id"], f"{n}") for n, reply in enumerate(replies) if reply.result == "success"]
    assert len(taken) < 40 and [number for number, _ in taken] == list(range(1, len(taken) + 1))
    assert [(push["msg_id"], push["text"]) for push in bob.barrier()] == taken
    messages = bob.ok("history", group=room, limit=100)["messages"]
    assert [(message["msg_id"], message["text"]) for message in messages] == taken


@rule("L-5", "A-1")
@needs("accounts")
def test_a_refused_register_makes_no_account(limited, connect, name):
    server = limited(2)
    client = connect(server)
    one = User(name(), "kettle")
    seqs = client.send_many([("ping", {})] * 8 + [("register", {"user": one.name, "passwd": one.passwd})])
    assert [client.reply(seq).result for seq in seqs][-1] == "rate_limited"
    connect(server).expect("login", "user_not_exist", user=one.name, passwd=one.passwd)


@rule("L-5", "Q-9")
@pytest.mark.parametrize("cmd, payload", [("ping", b"{"), (0x7777, b"{}"), ("group_list", b"{}"), ("login", b"{}")],
                         ids=["bad_json", "unknown_cmd", "not_logged_in", "bad_request"])
def test_every_request_counts_and_the_rate_is_judged_first(limited, connect, cmd, payload):
    """What is refused for another reason uses the rate up, too; and over the rate that other reason is not told."""
    client = connect(limited(3))
    results = [client.reply(client.send_frame(cmd, payload)).result for _ in range(9)]
    assert "rate_limited" not in results[:6] and results[6] == "rate_limited"


@rule("L-5")
def test_the_rate_is_that_of_a_connection(limited, connect):
    server = limited(3)
    one, other = connect(server), connect(server)
    spend(one, 3)
    one.expect("ping", "rate_limited")
    other.ok("ping")
    spend(connect(server), 3)


@rule("L-5", "Q-2")
@needs("accounts")
def test_refusals_keep_their_place_among_slow_replies(start_server, connect, name):
    """register is answered late, for it hashes; what is behind it, refusals among it, comes after it. However long
    that takes, what is earned meanwhile is not enough for all."""
    client = connect(start_server("--rate-limit", "2", "--password-cost", "interactive"))
    register = "register", {"user": name(), "passwd": "kettle"}
    seqs = client.send_many([register] + [("ping", {})] * 40)
    results = [client.reply(seq).result for seq in seqs]
    assert results[:4] == ["success"] * 4 and results[-1] == "rate_limited"


@rule("L-5", "W-4")
@needs("websocket")
def test_websocket_pings_count(limited, connect):
    """Over the rate they get no pong. At the end a text message shows that the connection lives."""
    client = connect(limited(10))
    key = base64.b64encode(os.urandom(16)).decode()
    client.send_raw((f"GET /ws HTTP/1.1\r\nHost: {client.server.host}:{client.server.port}\r\nUpgrade: websocket\r\n"
                     f"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n").encode())
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += client.read_bytes(1)
    assert head.startswith(b"HTTP/1.1 101 "), f"{head!r}"
    began = now()
    client.send_raw(b"\x89\x80\0\0\0\0" * 100 + websocket_text(b'{"cmd":"ping","seq":7}'))
    pongs = 0
    while (message := client.read_bytes(2)) == b"\x8a\x00":
        pongs += 1
    earned = 10 * (now() - began)
    answer = client.read_bytes(message[1])
    assert 19 <= pongs <= 20 + earned + 1
    assert b'"ping_reply"' in answer and b'"rate_limited"' in answer, f"{answer!r}"


def websocket_text(text):
    """One masked text message of less than 126 bytes."""
    return bytes([0x81, 0x80 | len(text)]) + bytes(4) + text


# --- L-6, F-1

@rule("L-6", "F-1")
def test_past_max_connections_a_bye_is_the_first_that_comes(start_server, connect):
    """Exactly as many as the option says are served; who is refused has not sent a byte."""
    server = start_server("--max-connections", "3")
    clients = [connect(server) for _ in range(3)]
    for client in clients:
        client.ok("ping")
    for _ in range(2):
        connect(server).expect_bye("server_full")
    for client in clients:
        client.ok("ping")


@rule("L-6", "L-9")
@pytest.mark.parametrize("size", [1, 22, 200000])
def test_the_bye_of_a_refused_one_that_has_sent_something(start_server, connect, size):
    """It gets nothing but the bye, and that it gets: FIN, no reset, whatever it has sent."""
    server = start_server("--max-connections", "1")
    first = connect(server)
    first.ok("ping")
    refused = connect(server)
    refused.try_send((PING * (size // len(PING) + 1))[:size])
    refused.expect_bye("server_full")


@rule("L-6", "F-1")
def test_a_refused_one_that_speaks_http(start_server, connect):
    """The bye does not wait for the first byte, so it is a frame, for everybody."""
    server = start_server("--max-connections", "1")
    first = connect(server)
    first.ok("ping")
    connect(server).expect_bye("server_full")
    refused = connect(server)
    refused.send_raw(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    refused.expect_bye("server_full")


@rule("L-6")
def test_very_many_who_come_at_once(start_server, connect):
    """They are all there before the first is accepted, and none is forgotten or mistaken for another."""
    server = start_server()
    with asleep(server):
        clients = [connect(server) for _ in range(90)]
        seqs = [client.send("ping") for client in clients]
    for client, seq in zip(clients, seqs):
        client.must(client.reply(seq), "success")
    connect(server).ok("ping")


@rule("L-6", "L-8")
def test_there_is_room_again_after_a_close(start_server, connect):
    """At once: who has got the FIN does not count any more. Three times, so that no place is lost."""
    server = start_server("--max-connections", "2")
    stays, goes = connect(server), connect(server)
    stays.ok("ping")
    for _ in range(3):
        goes.ok("ping")
        connect(server).expect_bye("server_full")
        goes.half_close()
        goes.expect_closed()
        goes = connect(server)
    goes.ok("ping")
    connect(server).expect_bye("server_full")


@rule("L-6", "L-9")
def test_ending_and_refused_connections_do_not_count(start_server, connect):
    """Neither one that the server has ended and that does not close its side, nor the refused ones that stay."""
    server = start_server("--max-connections", "2")
    stays, ended = connect(server), connect(server)
    stays.ok("ping")
    ended.ok("ping")
    for _ in range(5):
        connect(server).expect_bye("server_full")
    ended.send_raw(b"\0")
    ended.expect_bye("protocol_error", "bad_head")
    connect(server).ok("ping")
    connect(server).expect_bye("server_full")
    stays.ok("ping")


@rule("L-6")
def test_after_a_reset_there_is_room_again(start_server, connect):
    server = start_server("--max-connections", "1")
    first = connect(server)
    first.ok("ping")
    first.reset()
    for _ in range(3):
        eventually(lambda: first_frame(connect(server)), lambda name: name == "ping_reply")


def first_frame(client):
    """ping_reply or bye; the connection is reset after it, so that its place is free soon."""
    client.try_send(PING)
    name = client.read_frame().name
    client.reset()
    return name


@rule("L-6", "L-9")
def test_at_most_64_refused_ones_linger(start_server, connect):
    """A hundred are refused that neither read nor close. 64 of them keep a descriptor, for 2 s at most; all get an
    end, and 64 of them a bye (which ones, is not said where several threads take them in)."""
    server = start_server("--max-connections", "1")
    first = connect(server)
    first.ok("ping")
    before = descriptors(server)
    refused = [connect(server) for _ in range(100)]
    first.ok("ping")
    for client in refused:
        assert client.wait_readable(5)
    assert descriptors(server) <= before + 64
    eventually(lambda: descriptors(server), lambda count: count <= before, LINGER_S + SLACK_S)
    frames = [client.read_frame() for client in refused]
    assert [frame["reason"] for frame in frames if frame].count("server_full") >= 64
    first.ok("ping")


@rule("L-6", "S-7")
def test_refused_connections_are_given_back(start_server, connect, online):
    """Many, one after the other: no descriptor and no count is lost."""
    server = start_server("--max-connections", "1")
    first = online("alice", server)
    before = alone(server, first)
    for _ in range(200):
        with connect(server) as refused:
            refused.expect_bye("server_full")
    eventually(lambda: held(server, first), lambda counts: counts == before)


# --- L-6, no descriptor is left

@rule("L-6")
@needs("accounts")
def test_without_descriptors_it_serves_on_and_does_not_spin(start_server, connect, online):
    """Connections wait that cannot be accepted. The window is what is observed: one second, in which a server that
    tries again and again uses all of it."""
    server = start_server("--store", "memory")
    alice = online("alice", server)
    leave_descriptors(server, 2)
    waiting = [connect(server) for _ in range(6)]
    alice.ok("ping")
    wakeups, cpu = alice.ok("stats")["wakeups_total"], cpu_seconds(server)
    let_pass(1)
    used = cpu_seconds(server) - cpu
    woken = alice.ok("stats")["wakeups_total"] - wakeups
    assert used < 0.3, f"{used:.2f} s of CPU in one second in which nothing happened"
    assert woken < 200, f"{woken} wake-ups in one second in which nothing happened"
    for client in waiting:
        client.close()


@rule("L-6")
@needs("accounts")
def test_it_accepts_again_when_a_descriptor_is_free(start_server, connect, online):
    """Those that waited are served or ended, none is forgotten; new ones are served."""
    server = start_server("--store", "memory")
    alice = online("alice", server)
    leave_descriptors(server, 2)
    clients = [connect(server) for _ in range(6)]
    for client in clients:
        client.send("ping")
    for _ in range(20):
        alice.ok("ping")
    while clients:
        client = clients.pop(0)
        frame = client.read_frame()
        assert frame is None or frame.name == "ping_reply"
        client.close()
    eventually(lambda: is_served(server), bool)


@rule("L-6")
@needs("accounts")
def test_it_accepts_again_as_soon_as_a_descriptor_is_free(start_server, connect, online):
    """One goes, the next one comes in, seven times: most of those that waited are taken in at once, and not when the
    server looks again by the clock."""
    server = start_server("--store", "memory")
    alice = online("alice", server)
    leave_descriptors(server, 1)
    inside = connect(server)
    inside.ok("ping")
    waits = []
    for _ in range(7):
        waiting = connect(server)
        waiting.send("ping")
        for _ in range(5):
            alice.ok("ping")
        inside.close()
        closed = now()
        waiting.must(waiting.reply(), "success")
        waits.append(now() - closed)
        inside = waiting
    assert sorted(waits)[3] < 0.4, f"{sorted(waits)[3]:.2f} s between a close and the next one's reply"


@rule("L-6")
@needs("accounts")
def test_it_accepts_again_when_the_limit_is_raised(start_server, connect, online):
    """No connection of its own ends then: it has to look by itself."""
    server = start_server("--store", "memory")
    alice = online("alice", server)
    give_back = leave_descriptors(server, 1)
    clients = [connect(server) for _ in range(3)]
    alice.ok("ping")
    give_back()
    for client in clients[1:]:
        client.close()
    eventually(lambda: is_served(server), bool)
    alice.ok("ping")


@rule("L-6", "M-5")
@needs("accounts", "durable", "history")
def test_without_descriptors_messages_are_stored(start_server, online):
    """Everything that is needed for that is open already."""
    server = start_server()
    alice = online("alice", server)
    leave_descriptors(server, 0)
    for number in range(1, 21):
        assert alice.ok("private_chat", user_to=alice.user.name, text="x" * 8000)["msg_id"] == number
    assert len(alice.ok("history", user=alice.user.name)["messages"]) == 20


def is_served(server):
    try:
        with socket.create_connection((server.host, server.port), timeout=1) as new:
            new.sendall(PING)
            return new.recv(65536)[4:6] == b"\x80\x01"
    except OSError:
        return False


# --- L-8

@rule("L-8")
def test_a_half_close_gets_all_replies_and_no_bye(server, connect):
    client = connect()
    seqs = client.send_many([("ping", {})] * 500)
    client.half_close()
    for seq in seqs:
        client.must(client.reply(seq), "success")
    client.expect_closed()


@rule("L-8")
def test_a_half_close_of_one_that_has_said_nothing(connect):
    client = connect()
    client.half_close()
    client.expect_closed()


@rule("L-8", "F-6")
@pytest.mark.parametrize("part", [1, 15, 20])
def test_an_incomplete_frame_is_dropped(connect, part):
    """No bye, and nothing waits for the rest of it."""
    client = connect()
    seq, ping = client.prepare("ping")
    client.send_raw(ping + PING[:part])
    client.half_close()
    client.must(client.reply(seq), "success")
    client.expect_closed()


@rule("L-8")
@needs("accounts", "messages")
def test_slow_requests_before_a_half_close_are_answered(start_server, connect, name, user):
    """An account is made, logged in to and written from: hashes, and a store, all behind the FIN."""
    server = start_server("--password-cost", "interactive")
    bob = user("bob", server)
    alice = name("alice")
    client = connect(server)
    client.send_many([("register", {"user": alice, "passwd": "kettle"}), ("login", {"user": alice, "passwd": "kettle"}),
                      ("private_chat", {"user_to": bob.name, "text": "hi"}), ("ping", {})])
    client.half_close()
    assert [client.reply().result for _ in range(4)] == ["success", "success", "offline", "success"]
    client.expect_closed()


@rule("L-8", "S-7")
@needs("accounts")
def test_one_whose_fin_has_come_is_closed_at_once(start_server, connect, online):
    """The server waits 2 s for the end of a peer that stays after a bye (L-9). One that has ended before is gone long
    before that other one, which came first. (Three times, for on a busy machine 2 s are soon over.)"""
    server = start_server()
    alice = online("alice", server)

    def left_before():
        stays, *ended = [connect(server) for _ in range(4)]
        stays.send_raw(b"\0")
        stays.take_until(lambda: stays.pushes, "bye")
        for client in ended:
            client.half_close()
            client.expect_closed()
        eventually(lambda: alice.ok("stats")["connections"], lambda count: count <= 2)
        count = alice.ok("stats")["connections"]
        stays.close()
        alone(server, alice)
        return count == 2

    assert any(left_before() for _ in range(3)), "the server waits as long for those whose FIN it has"


@rule("L-8", "L-4")
@needs("history")
def test_a_half_close_behind_more_replies_than_fit(start_server, online):
    """The requests are held back for long (L-4), the FIN behind them, too."""
    server = start_server("--outbox-limit", "65536", "--store", "memory")
    alice = online("alice", server, receive_buffer=32768)
    text = {"user_to": alice.user.name, "text": "y" * 2300}
    for seq in alice.send_many([("private_chat", text)] * 100):
        alice.must(alice.reply(seq), "success")
    alice.stop_reading()
    alice.send_many([("history", {"user": alice.user.name, "limit": 100})] * 30)
    alice.half_close()
    let_pass(0.2)
    alice.resume_reading()
    for _ in range(30):
        assert len(alice.reply()["messages"]) == 100
    alice.expect_closed()


@rule("L-8", "P-4")
@needs("messages", "friends")
def test_requests_before_a_fin_take_effect(users, friends):
    """And then the session is over: its friend is told, behind the messages."""
    alice, bob = users(2)
    friends(alice, bob)
    alice.send_many([("private_chat", {"user_to": bob.user.name, "text": f"{n}"}) for n in range(100)])
    alice.half_close()
    assert [bob.push("private_chat_recv")["text"] for _ in range(100)] == [f"{n}" for n in range(100)]
    bob.push("presence", user=alice.user.name, online=False)


@rule("L-8")
@needs("messages")
def test_who_has_closed_his_side_gets_no_bye_for_anything(start_server, online):
    """A timeout that is over meanwhile, or a broken frame before the end, is another matter; this is the usual one."""
    server = start_server("--idle-timeout", "0.5", "--login-timeout", "0.5")
    client = online("alice", server)
    client.half_close()
    client.expect_closed()


# --- L-9

@rule("L-9", "F-4")
@needs("accounts")
def test_the_bye_reaches_a_peer_that_goes_on_sending(connect):
    """A fault in the middle of a large stream: the rest is neither judged nor a reason for a reset, for 2 s."""
    client = connect()
    seq, ping = client.prepare("ping")
    client.send_raw(ping + b"\xc4\xa7\x01\x01")
    client.must(client.reply(seq), "success")
    until = now() + 1
    while now() < until:
        client.send_raw(bytes(200000))
        let_pass(0.02)
    assert not client.was_reset
    client.expect_bye("protocol_error", "bad_flags")


@rule("L-9")
@needs("accounts")
def test_one_that_stays_is_closed_after_2_s(start_server, connect, online):
    """It has got bye and FIN, and does not close its side: the server does."""
    server = start_server()
    alice = online("alice", server)
    before = alone(server, alice)
    client = connect(server)
    client.send_raw(b"\0")
    client.expect_bye("protocol_error", "bad_head")
    assert alice.ok("stats")["connections"] == 2
    eventually(lambda: held(server, alice), lambda counts: counts == before, LINGER_S + SLACK_S)


@rule("L-9")
@needs("accounts")
def test_one_that_closes_is_closed_at_once(start_server, connect, online):
    """There is nothing to wait for."""
    server = start_server()
    alice = online("alice", server)
    client = connect(server)
    client.send_raw(b"\0")
    client.expect_bye("protocol_error", "bad_head")
    client.close()
    eventually(lambda: alice.ok("stats")["connections"], lambda count: count == 1, 1)


# --- Resets

def storm(server, count, data):
    """`count` connections that send `data` and are reset at once, without reading."""
    for _ in range(count):
        with socket.create_connection((server.host, server.port), timeout=Deadline().left()) as one:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            one.sendall(data)


@rule("L-8", "S-7")
@needs("accounts")
@pytest.mark.parametrize("what", ["pings", "half a frame", "a broken frame", "a login"])
@undisturbed("who is accepted late is a session after he has gone")
def test_a_storm_of_resets_leaves_nothing(start_server, online, user, name, what):
    """No descriptor, connection or session; and the next one is served."""
    server = start_server()
    alice, bob = online("alice", server), user("bob", server)
    login = encode_frame("login", {"user": bob.name, "passwd": bob.passwd}, 1)
    data = {"pings": PING * 20, "half a frame": PING + PING[:9], "a broken frame": PING + b"\0" * 100,
            "a login": login + PING}[what]
    before = alone(server, alice)
    storm(server, 300, data)
    eventually(lambda: held(server, alice), lambda counts: counts == before)
    online(user=bob, server=server).ok("ping")


@rule("L-8")
@needs("accounts")
@undisturbed("memory is measured")
def test_connections_that_have_gone_leave_no_memory(start_server, online, leave_out):
    """6000 of them, each in the middle of a frame. They come in storms of 100, and 2000 before them have made the server
    what it is: how many are there at once decides how much memory its allocator, and its threads, keep."""
    server = start_server("--store", "memory")
    if has_own_memory(server) or keeps_threads(server):
        leave_out("a sanitizer's own memory grows with every page or thread that there ever was")
    alice = online("alice", server)
    for storms in (20, 60):
        before = resident_bytes(server)
        for _ in range(storms):
            storm(server, 100, PING + LONG_PING[:-1])
            alone(server, alice)
    grown = resident_bytes(server) - before
    assert grown < 2 << 20, f"{grown >> 10} KiB more after 6000 connections"


@rule("L-8", "A-5", "M-4")
@needs("groups")
def test_sessions_that_are_reset_while_messages_come_to_them(start_server, users, group, online):
    """alice writes without a pause; bob's sessions come and are reset. carol gets everything, in order."""
    server = start_server("--store", "memory")
    alice, bob, carol = users(3, server)
    room = group(alice, bob, carol)
    before = held(server, alice)
    for _ in range(10):
        sessions = [online(user=bob.user, server=server) for _ in range(6)]
        seqs = alice.send_many([("group_chat", {"group": room, "text": "x" * 2000})] * 30)
        for session in sessions:
            session.reset()
        for seq in seqs:
            alice.must(alice.reply(seq), "success")
        eventually(lambda: held(server, alice), lambda counts: counts == before)
    assert [push["msg_id"] for push in carol.barrier()] == list(range(1, 301))
    assert [push["msg_id"] for push in bob.barrier()] == list(range(1, 301))


@rule("L-8")
@needs("accounts")
def test_resets_while_hashes_are_under_way(start_server, connect, online, name):
    """What was asked for may be done or not; the server goes on, and nothing is left."""
    server = start_server("--password-cost", "interactive")
    alice = online("alice", server)
    before = alone(server, alice)
    for _ in range(6):
        client = connect(server)
        client.send_many([("register", {"user": name(), "passwd": "kettle"}), ("ping", {})])
        alice.ok("ping")
        client.reset()
    eventually(lambda: held(server, alice), lambda counts: counts == before, 15)


# --- L-11

def slowest_ping(client, under_way):
    """The longest round trip of a ping while under_way()."""
    slowest = count = 0
    while under_way():
        asked = now()
        client.ok("ping")
        slowest, count = max(slowest, now() - asked), count + 1
    assert count > 1, "the test came too late to say anything"
    return slowest


def all_answered(clients):
    for client in clients:
        client.take_in()
    return not any(client.unanswered for client in clients)


@rule("L-11", "A-10")
@needs("accounts")
def test_hashing_delays_no_other_connection(start_server, connect, online, name):
    server = start_server("--password-cost", "interactive")
    alice = online("alice", server)
    busy = [connect(server) for _ in range(HASHES)]
    for client in busy:
        client.send("register", user=name(), passwd="a password")
    began = now()
    slowest = slowest_ping(alice, lambda: not all_answered(busy) and now() < began + scaled(10))
    took = now() - began
    assert slowest < max(took / 3, DELAY_S), f"a ping took {slowest:.2f} s while others hashed for {took:.2f} s"


@rule("L-11", "A-10")
@needs("messages")
def test_hashing_delays_no_messages(start_server, connect, users, name):
    server = start_server("--password-cost", "interactive")
    alice, bob = users(2, server)
    busy = [connect(server) for _ in range(HASHES)]
    for client in busy:
        client.send("register", user=name(), passwd="a password")
    began = now()
    for number in range(1, 11):
        asked = now()
        alice.ok("private_chat", user_to=bob.user.name, text="hi")
        bob.push("private_chat_recv", msg_id=number)
        if all_answered(busy):
            break
    assert now() - asked < DELAY_S
    assert number > 2, "the messages waited for the hashes"


@rule("L-11")
@needs("history")
def test_long_histories_delay_no_other_connection(start_server, online):
    """60 pages of 230 KB, asked for at once, and taken by one who reads."""
    server = start_server()
    alice, bob = online("alice", server), online("bob", server)
    text = {"user_to": alice.user.name, "text": "y" * 2300}
    for seq in alice.send_many([("private_chat", text)] * 100):
        alice.must(alice.reply(seq), "success")
    alice.send_many([("history", {"user": alice.user.name, "limit": 100})] * 60)
    slowest = 0
    for _ in range(60):
        asked = now()
        bob.ok("ping")
        slowest = max(slowest, now() - asked)
        alice.reply()
    assert slowest < DELAY_S, f"a ping took {slowest:.2f} s"


SLOW_FLUSH_S = 0.6
SLOW_FLUSH_C = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <unistd.h>
static int slow(const char *name, int fd)
{
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    if (access("%s", F_OK) == 0)
        usleep(%d);
    return real(fd);
}
int fsync(int fd) { return slow("fsync", fd); }
int fdatasync(int fd) { return slow("fdatasync", fd); }
"""


@pytest.fixture
def slow_disk(tmp_path, start_server):
    """A server whose every disk flush takes some time, once slow_disk.begin() is called."""
    switch = tmp_path / "slow"
    server = start_server("--store", "sqlite", "--durability", "full",
                          env=replaced(tmp_path, SLOW_FLUSH_C % (switch, SLOW_FLUSH_S * 1e6)))
    server.begin = switch.touch
    return server


@rule("L-11", "M-5")
@needs("durable", "messages")
def test_a_disk_flush_delays_no_other_connection(slow_disk, online, leave_out):
    """The flush is slow, and alice's message has to wait for it; bob's pings have not."""
    alice, bob = online("alice", slow_disk), online("bob", slow_disk)
    slow_disk.begin()
    asked = now()
    alice.send("private_chat", user_to=bob.user.name, text="hi")
    slowest = slowest_ping(bob, lambda: not all_answered([alice]))
    if now() - asked < SLOW_FLUSH_S:
        leave_out("the program does not flush by fsync or fdatasync of the C library")
    assert slowest < SLOW_FLUSH_S / 2, f"a ping took {slowest:.2f} s"


@rule("L-11", "M-5", "Q-2")
@needs("durable", "messages")
def test_a_ping_behind_a_message_waits_for_its_flush(slow_disk, online):
    """On its own connection it does need it: replies keep their order."""
    alice = online("alice", slow_disk)
    slow_disk.begin()
    seqs = alice.send_many([("private_chat", {"user_to": alice.user.name, "text": "hi"}), ("ping", {})])
    for seq in seqs:
        alice.must(alice.reply(seq), "success")


@rule("M-5", "L-11")
@needs("durable", "messages")
def test_neither_reply_nor_push_comes_before_the_flush(slow_disk, users, program, leave_out):
    """What a power cut would take has not been told to anybody: not the message, and not another change."""
    alice, bob = users(2, slow_disk)
    slow_disk.begin()
    asked = now()
    seqs = alice.send_many([("private_chat", {"user_to": bob.user.name, "text": "hi"}), ("profile_set", {"age": 42})])
    moments = [bob.push("private_chat_recv").at, *(alice.must(alice.reply(seq), "success").at for seq in seqs)]
    if not program.strict and min(moments) - asked < SLOW_FLUSH_S:
        leave_out("the program does not flush by fsync or fdatasync of the C library")
    assert min(moments) - asked >= SLOW_FLUSH_S, f"told {min(moments) - asked:.3f} s after it was asked"
