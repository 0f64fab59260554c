"""Peers that do not read: pushes that wait (L-3), replies that wait (L-4), and those that take nothing at all (L-10).

A peer that does not read has a small receive buffer, so that what the system takes for it is little; how much that
is, no test supposes. What must be answered or delivered is larger than that by far, or small enough to fit the
outbox limit with it.
"""

import os
import select
import time

import pytest

from harness import needs, rule, undisturbed
from harness.clock import scaled
from harness.measure import (SLACK_S, asleep, ended_by_itself, eventually, has_own_memory, let_pass, reset_or_none,
                             resident_bytes, within, without_quarantine)

pytestmark = [needs("limits", "messages")]

SMALL_LIMIT = "65536"       # the smallest outbox limit that there is (S-1)
TEXT = "x" * 8000
PIECE = 7                   # pushes with TEXT that fit the smallest outbox limit
PAGE = 100                  # messages of a page of history that is nearly a whole frame (F-2)
PAGE_TEXT = "y" * 2300
PAGES = 40                  # 9 MB, more than any system takes for a peer that does not read
DELAY_S = 1.0               # what a peer that reads may notice of one that does not, on a busy machine
STALLED_S = 0.3             # who takes nothing of what is sent for so long has stopped reading


def now():
    return time.monotonic()


def push_in(client, data):
    """Send as much of `data` as is taken while the client reads nothing; returns the rest."""
    client.stop_reading()
    while data:
        data = data[client.try_send(data):]
        if data and not select.select([], [client.socket], [], scaled(STALLED_S))[1]:
            break
    return data


def requests(client, *those):
    """Bytes of requests that count as sent."""
    return b"".join(client.prepare(cmd, **fields)[1] for cmd, fields in those)


def fill_pages(client):
    """Notes to oneself, a page of them: its history is a large reply."""
    seqs = client.send_many([("private_chat", {"user_to": client.user.name, "text": PAGE_TEXT})] * PAGE)
    for seq in seqs:
        client.must(client.reply(seq), "success")
    return "history", {"user": client.user.name, "limit": PAGE}


def take_pages(client, count):
    """The replies to `count` histories, each a whole page."""
    for _ in range(count):
        reply = client.must(client.reply(), "success")
        assert [message["msg_id"] for message in reply["messages"]] == list(range(1, PAGE + 1))


def drop_pushes_before_bye(client):
    """Everything up to the bye is read; the pushes before it."""
    client.resume_reading()
    client.take_until(lambda: client.pushes and client.pushes[-1].name == "bye", "bye slow_consumer")
    return [client.pushes.popleft() for _ in range(len(client.pushes) - 1)]


# --- L-3

class Scene:
    """alice writes to a group, bob does not read, carol does."""

    def __init__(self, server, online, group, bob_buffer=4096):
        self.server = server
        self.alice, self.carol = online("alice", server), online("carol", server)
        self.bob = online("bob", server, receive_buffer=bob_buffer)
        self.room = group(self.alice, self.bob, self.carol)
        self.sent = 0
        self.before_last = self.slowest = 0

    def write(self, count):
        """`count` messages, answered, and delivered to carol: at once only what fits the limit. So she is no slow
        consumer, however little of it the system takes for the moment."""
        while count > 0:
            self._write_piece(min(count, PIECE))
            count -= PIECE

    def _write_piece(self, count):
        seqs = self.alice.send_many([("group_chat", {"group": self.room, "text": TEXT})] * count)
        for seq in seqs:
            self.alice.must(self.alice.reply(seq), "success")
        came = [push["msg_id"] for push in self.carol.barrier()]
        assert came == list(range(self.sent + 1, self.sent + count + 1)), "carol, who reads, gets all"
        self.sent += count

    def write_until_bob_is_closed(self):
        """Returns when the server has given bob up, which it has to before he costs 20 MB."""
        self.bob.stop_reading()
        while self.alice.ok("stats")["slow_consumers_total"] == 0:
            assert self.sent < 2500, f"bob has taken nothing of {self.sent} messages, and is no slow consumer yet"
            self.before_last = now()
            self.write(10)
            self.slowest = max(self.slowest, now() - self.before_last)


@pytest.fixture
def scene(start_server, online, group):
    def make(limit=SMALL_LIMIT, **how):
        return Scene(start_server("--outbox-limit", limit, "--store", "memory"), online, group, **how)

    return make


@rule("L-3")
@needs("groups")
def test_a_slow_consumer_that_reads_on_gets_whole_frames_and_a_bye(scene):
    """From the first message on, without a gap. What it missed is at the end: all that waited, and that was more than
    the limit."""
    s = scene("524288")
    s.write_until_bob_is_closed()
    came = [push["msg_id"] for push in drop_pushes_before_bye(s.bob)]
    assert came == list(range(1, len(came) + 1))
    assert len(came) < s.sent - 524288 // 8200
    s.bob.expect_bye("slow_consumer")


@rule("L-3", "M-8")
@needs("groups", "history")
def test_what_a_slow_consumer_missed_is_in_history(scene, online):
    s = scene()
    s.write_until_bob_is_closed()
    got = len(drop_pushes_before_bye(s.bob))
    bob = online(user=s.bob.user, server=s.server)
    messages = bob.ok("history", group=s.room, after=got, limit=1)["messages"]
    assert [message["msg_id"] for message in messages] == [got + 1]


@rule("L-3", "L-9")
@needs("groups")
def test_the_bye_reaches_a_slow_consumer_that_still_sends(scene):
    """The server has stopped to read from bob (L-4), so his bytes are unread when it closes: FIN, no reset."""
    s = scene()
    s.bob.stop_reading()
    for _ in range(6):
        s.write(10)
    push_in(s.bob, requests(s.bob, *[("ping", {"padding": "x" * 1000})] * 300))
    s.write_until_bob_is_closed()
    drop_pushes_before_bye(s.bob)
    s.bob.expect_bye("slow_consumer")


@rule("L-3")
@needs("groups")
def test_a_slow_consumer_that_reads_on_late(scene):
    """Within the 5 s."""
    s = scene()
    s.write_until_bob_is_closed()
    let_pass(1.5)
    drop_pushes_before_bye(s.bob)
    s.bob.expect_bye("slow_consumer")


@rule("L-3")
@needs("groups")
def test_a_slow_consumer_that_never_reads_is_reset_after_5_s(scene):
    """Neither before, nor much later; bob does not read even then. Unless the system had room for the rest after all:
    then all of it is there, and comes although the server does nothing any more."""
    s = scene()
    s.write_until_bob_is_closed()
    closed = now()
    reset = reset_or_none(s.bob, 5 + SLACK_S)
    if reset:
        within(s.before_last, reset, 5, slack=closed - s.before_last + SLACK_S)
    else:
        with asleep(s.server):
            drop_pushes_before_bye(s.bob)
            s.bob.expect_bye("slow_consumer")
    s.alice.expect_nothing()


@rule("L-3", "L-11")
@needs("groups")
def test_a_slow_consumer_delays_nobody(scene):
    """alice gets her replies, carol her pushes and the answer to a ping, while bob's outbox fills and when he is
    closed; and afterwards, while his last bytes wait."""
    s = scene("524288")
    s.write_until_bob_is_closed()
    asked = now()
    s.write(10)
    assert max(s.slowest, now() - asked) < scaled(DELAY_S)


@rule("L-3", "A-10")
@needs("groups")
def test_no_reply_follows_the_bye_of_a_slow_consumer(start_server, online, group, connect, name, leave_out):
    """bob has asked for an account, and has become a slow consumer by the time it is made."""
    s = Scene(start_server("--outbox-limit", SMALL_LIMIT, "--store", "memory", "--password-cost", "interactive"), online,
              group)

    def ask_for_account(client):
        client.send("register", user=name(), passwd="a password")

    began = now()
    ask_for_account(s.alice)
    s.alice.reply()
    count = min(int(0.8 / (now() - began)) * os.cpu_count(), 100)      # so many of them take longer than what comes now
    others = [connect(s.server) for _ in range(count + 1)]
    for client in others[:-1]:
        ask_for_account(client)
    let_pass(0.2)       # theirs are under way before his then; were they not, this is left out below
    for client in (s.bob, others[-1]):
        ask_for_account(client)
    s.write_until_bob_is_closed()
    for other in others:
        other.reply()
    s.alice.ok("ping")
    if now() - s.before_last > 4:
        leave_out("this machine is too slow for that: bob is reset after 5 s")
    drop_pushes_before_bye(s.bob)
    if s.bob.replies:
        leave_out("bob's account was made before he was a slow consumer")
    s.bob.expect_bye("slow_consumer")


@rule("L-3", "P-4")
@needs("groups", "friends")
def test_a_slow_consumer_is_no_session_any_more(scene, friends):
    """Its last bytes still wait, but its friends see that it has gone."""
    s = scene()
    friends(s.alice, s.bob)
    s.write_until_bob_is_closed()
    s.alice.push("presence", user=s.bob.user.name, online=False)


@rule("L-3")
@needs("groups")
def test_below_the_outbox_limit_nobody_is_closed(scene):
    """Not one byte has to be taken by the system: the pushes fit the limit alone."""
    s = scene("1048576")
    s.bob.stop_reading()
    for _ in range(11):
        s.write(10)             # 110 frames of less than 8200 bytes
    s.bob.resume_reading()
    assert [push["msg_id"] for push in s.bob.barrier()] == list(range(1, 111))


@rule("L-3")
@needs("groups")
def test_what_was_read_does_not_count(scene):
    """bob always reads in the end: what comes to him is ten times the limit, but never at once."""
    s = scene()
    for _ in range(20):
        s.bob.stop_reading()
        s.write(5)
        s.bob.resume_reading()
        assert len(s.bob.barrier()) == 5
    assert s.alice.ok("stats")["slow_consumers_total"] == 0


@rule("L-3")
@needs("groups")
@undisturbed("the system has to take twice the outbox limit at once")
def test_a_burst_that_the_system_takes_makes_no_slow_consumer(scene):
    """Twice the limit, all at once, to a peer whose system has room for it."""
    s = scene(bob_buffer=1 << 20)
    with asleep(s.server):
        for client in (s.alice, s.carol):
            client.send_many([("group_chat", {"group": s.room, "text": TEXT})] * 8)
    for client in (s.alice, s.carol):
        client.take_until(lambda: not client.unanswered, "8 replies")
    assert len(s.bob.barrier()) == 16


@rule("L-3", "L-4")
@needs("history")
def test_replies_that_wait_make_no_slow_consumer(start_server, online):
    """bob has asked for far more than the limit and reads nothing of it; the pushes alone would fit."""
    server = start_server("--outbox-limit", SMALL_LIMIT, "--store", "memory")
    alice, bob = online("alice", server), online("bob", server, receive_buffer=4096)
    push_in(bob, requests(bob, *[fill_pages(bob)] * PAGES))
    for _ in range(6):
        alice.ok("private_chat", user_to=bob.user.name, text=TEXT)
    assert alice.ok("stats")["slow_consumers_total"] == 0
    bob.resume_reading()
    take_pages(bob, PAGES)
    assert [push["msg_id"] for push in bob.barrier()] == [1, 2, 3, 4, 5, 6]


@rule("L-3")
@needs("history")
def test_little_that_waits_among_much_for_others_keeps_little_memory(start_server, online, leave_out):
    """A few bytes for bob, who takes nothing, then much for alice, again and again. Where what is sent to several is
    kept in one place, the few bytes must not keep all of it."""
    server = start_server("--store", "memory", env=without_quarantine())
    if has_own_memory(server):
        leave_out("ThreadSanitizer's own memory grows with every page that was ever used")
    alice, carol, bob = online("alice", server), online("carol", server), online("bob", server, receive_buffer=4096)
    fill_pages(alice)
    assert push_in(bob, requests(bob, *[fill_pages(bob)] * PAGES)) == b""
    let_pass(STALLED_S)
    before = resident_bytes(server)
    for _ in range(400):
        carol.ok("typing", user=bob.user.name)
        alice.ok("history", user=alice.user.name, limit=30)
    grown = resident_bytes(server) - before
    assert grown < 8 << 20, f"{grown >> 20} MiB more for 400 small pushes"
    bob.resume_reading()
    take_pages(bob, PAGES)
    assert len(bob.barrier()) == 400


@rule("L-3", "L-4")
@needs("friends", "groups")
@undisturbed("memory is measured")
def test_what_was_answered_keeps_no_memory(start_server, online, name, leave_out):
    """4000 requests that alter nothing, one after the other, every fourth a large one; 1000 before them have made the server
    what it is."""
    server = start_server("--store", "memory", env=without_quarantine())
    if has_own_memory(server):
        leave_out("ThreadSanitizer's own memory grows with every page that was ever used")
    alice = online("alice", server)
    for count in (1000, 4000):
        before = resident_bytes(server)
        for number in range(count):
            if number % 4:
                alice.ok("friend_list")
            else:
                alice.expect("group_chat", "group_not_exist", group=name("nowhere"), text="x" * 4000)
    grown = resident_bytes(server) - before
    assert grown < 2 << 20, f"{grown >> 10} KiB more after 4000 requests"


# --- L-4

@rule("L-4", "Q-2")
@needs("history")
def test_replies_larger_than_the_outbox_limit_all_come(start_server, online):
    """Each of them is larger than the limit. alice reads only when she has sent all; nobody waits for her."""
    server = start_server("--outbox-limit", SMALL_LIMIT, "--store", "memory")
    alice, bob = online("alice", server, receive_buffer=4096), online("bob", server)
    rest = push_in(alice, requests(alice, *[fill_pages(alice), ("ping", {})] * PAGES))
    asked = now()
    bob.ok("ping")
    assert now() - asked < scaled(DELAY_S)
    alice.resume_reading()
    alice.send_raw(rest)
    for _ in range(PAGES):
        take_pages(alice, 1)
        alice.must(alice.reply(), "success")
    alice.expect_nothing()


@rule("L-4")
@needs("history")
def test_memory_stays_bounded_while_replies_wait(start_server, online):
    """46 MB of replies to one who does not read; in the end they are all there, in order."""
    server = start_server("--store", "memory")
    alice, bob = online("alice", server, receive_buffer=4096), online("bob", server)
    page = fill_pages(alice)
    alice.must(alice.request(page[0], **page[1]), "success")
    before = resident_bytes(server)
    rest = push_in(alice, requests(alice, *[page] * 200))
    for _ in range(200):
        bob.ok("ping")
    grown = resident_bytes(server) - before
    assert grown < 16 << 20, f"{grown >> 20} MiB more for one peer with an outbox limit of 1 MiB"
    alice.resume_reading()
    alice.send_raw(rest)
    take_pages(alice, 200)


@rule("L-4")
@needs("history")
def test_who_does_not_read_is_not_read_from(start_server, online):
    """alice has replies to take; 20 MB of requests behind that stay where they are."""
    server = start_server("--outbox-limit", SMALL_LIMIT, "--store", "memory")
    alice, bob = online("alice", server, receive_buffer=4096), online("bob", server)
    push_in(alice, requests(alice, *[fill_pages(alice)] * PAGES))
    let_pass(STALLED_S)
    before = bob.ok("stats")["bytes_in_total"]
    flood = requests(alice, ("ping", {"padding": "x" * 60000})) * 350
    assert push_in(alice, flood), "the server takes 20 MB of requests from one who takes no reply"
    taken = bob.ok("stats")["bytes_in_total"] - before
    assert taken < 1 << 20, f"{taken} bytes were read"


@rule("L-4")
@needs("history")
def test_no_request_is_taken_up_while_too_much_waits(start_server, online):
    """Also none that has been read already: all came in one segment. The message to bob is sent when alice reads."""
    server = start_server("--outbox-limit", SMALL_LIMIT, "--store", "memory")
    alice, bob = online("alice", server, receive_buffer=4096), online("bob", server)
    page = fill_pages(alice)
    message = "private_chat", {"user_to": bob.user.name, "text": "hi"}
    assert push_in(alice, requests(alice, *[page] * PAGES, message)) == b""
    deadline = now() + STALLED_S
    while now() < deadline:
        bob.expect_nothing()
    alice.resume_reading()
    take_pages(alice, PAGES)
    alice.must(alice.reply(), "success")
    bob.push("private_chat_recv", text="hi")


@rule("L-4")
@needs("history")
def test_a_large_reply_is_no_obstacle_by_itself(start_server, online):
    """The largest reply of the command is larger than the whole limit, but nothing is under way or waiting."""
    alice = online("alice", start_server("--outbox-limit", SMALL_LIMIT, "--store", "memory"))
    page = fill_pages(alice)
    for _ in range(3):
        alice.must(alice.request(page[0], **page[1]), "success")


@rule("L-4")
def test_what_came_with_the_pushes_is_answered(start_server, online):
    """320 KB of messages to bob, and a ping of his behind them, all at the same moment. While more than half of the
    outbox limit waits he is not read from; but a server may have read the ping when it comes to that."""
    server = start_server("--outbox-limit", "400000", "--store", "memory")
    bob, *others = [online(f"user{number}", server) for number in range(111)]
    for _ in range(3):          # a library may have to learn first how many can come at one moment
        with asleep(server):
            for other in others:
                other.send("ping")
        for other in others:
            other.must(other.reply(), "success")
    others = others[:80]
    with asleep(server):
        for other in others:
            other.send("private_chat", user_to=bob.user.name, text="x" * 3900)
        seq = bob.send("ping")
    bob.must(bob.reply(seq), "success")
    for other in others:
        other.must(other.reply(), "success")
    assert len(bob.barrier()) == len(others)


# --- L-4 and timeouts: the time in which the server does not read does not count (F-6)

@pytest.fixture
def stalled(start_server, online):
    """stalled(*options, then=bytes) -> alice, logged in, who has asked for pages and does not read them."""
    def make(*options, then=b""):
        server = start_server("--outbox-limit", SMALL_LIMIT, "--store", "memory", *options)
        alice = online("alice", server, receive_buffer=32768)
        data = requests(alice, *[fill_pages(alice)] * PAGES)
        assert push_in(alice, data + then) == b""
        return alice

    return make


HALF_A_FRAME = b"\xc4\xa7\x01\x00\x00\x01\x00\x00\x00"


@rule("F-6", "L-4")
@needs("history")
def test_the_frame_timeout_does_not_count_time_not_read(stalled):
    """The frame is complete long after it was begun, but the server has not read in between."""
    alice = stalled("--frame-timeout", "1")
    seq, ping = alice.prepare("ping")
    assert push_in(alice, ping[:9]) == b""
    let_pass(1.3)
    alice.resume_reading()
    take_pages(alice, PAGES)
    alice.send_raw(ping[9:])
    alice.must(alice.reply(seq), "success")


@rule("F-6", "L-4")
@needs("groups")
def test_the_frame_timeout_stands_still_while_pushes_wait(start_server, online, group, leave_out):
    """The server has read the beginning of bob's frame; then so much waits for him that it reads no more."""
    timeout = scaled(1.5)
    s = Scene(start_server("--frame-timeout", str(timeout), "--outbox-limit", "12582912", "--store", "memory"), online,
              group)
    seq, ping = s.bob.prepare("ping")
    began = now()
    s.bob.send_raw(ping[:9])
    s.bob.stop_reading()
    for _ in range(14):
        s.write(100)            # 11 MB: what the system does not take of it is more than half of the limit
    if now() - began > 0.8 * timeout:
        leave_out("this machine is too slow for that")
    let_pass(timeout + 0.1)
    s.bob.resume_reading()
    s.bob.send_raw(ping[9:])
    s.bob.must(s.bob.reply(seq), "success")


@rule("F-6", "L-4")
@needs("history")
def test_the_frame_timeout_counts_again_when_the_server_reads(stalled):
    alice = stalled("--frame-timeout", "0.5", then=HALF_A_FRAME)
    let_pass(0.6)
    asked = now()
    alice.resume_reading()
    take_pages(alice, PAGES)
    bye = alice.expect_bye("frame_timeout")
    assert bye.at - asked < scaled(0.5 + SLACK_S)


@rule("F-6", "L-2", "L-4")
def test_the_login_timeout_does_not_count_time_not_read(start_server, connect, user):
    """One who is not logged in asks a lot, reads nothing for longer than the timeout, then reads, and logs in."""
    server = start_server("--outbox-limit", SMALL_LIMIT, "--store", "memory", "--login-timeout", "1.5")
    alice = user("alice", server)
    client = connect(server, receive_buffer=32768)
    rest = push_in(client, requests(client, *[("hello", {})] * 8000))
    let_pass(1.7)
    client.resume_reading()
    client.send_raw(rest)
    client.login(alice)


@rule("F-6", "L-2", "L-4")
@needs("history")
def test_the_idle_timeout_does_not_count_time_not_read(stalled):
    """alice reads so slowly that she is hardly read from, and has nothing to say. (One who takes nothing at all is
    another case: L-10.)"""
    alice = stalled("--idle-timeout", "0.8")
    deadline = now() + 1.6
    alice.resume_reading()
    while now() < deadline and len(alice.replies) < PAGES - 8:
        alice.take_until(lambda: alice.replies, "a reply")
        take_pages(alice, 1)
        let_pass(0.05)
    alice.expect_nothing()


# --- L-10

@rule("L-10")
@needs("history")
def test_who_takes_no_reply_is_reset_after_the_idle_timeout(start_server, online):
    server = start_server("--idle-timeout", "0.8", "--outbox-limit", SMALL_LIMIT, "--store", "memory")
    alice = online("alice", server, receive_buffer=4096)
    data = requests(alice, *[fill_pages(alice)] * PAGES)
    began = now()
    alice.stop_reading()
    alice.try_send(data)
    within(began, ended_by_itself(alice), 0.8)


@rule("L-10")
@needs("groups")
def test_who_takes_no_push_is_reset_after_the_idle_timeout(start_server, online, group):
    """The pushes fit the outbox limit (L-3 is not about it); bob's own sending shows that he lives, but he has to
    take what waits."""
    server = start_server("--idle-timeout", "0.8", "--outbox-limit", "8388608", "--store", "memory")
    s = Scene(server, online, group)
    s.bob.stop_reading()
    began = now()
    for _ in range(8):
        s.write(100)            # 6.5 MB, more than the system takes
    written = now()
    while not was_reset(s.bob) and now() < written + 0.8 + SLACK_S:
        s.bob.try_send(requests(s.bob, ("ping", {})))
        s.alice.ok("ping")
        s.carol.ok("ping")
    within(began, ended_by_itself(s.bob), 0.8, slack=written - began + SLACK_S)
    eventually(lambda: s.alice.ok("stats")["sessions"], lambda sessions: sessions == 2)


def was_reset(client):
    """Told without reading."""
    poller = select.poll()
    poller.register(client.socket, 0)
    return bool(poller.poll(0))


@rule("L-10")
@needs("groups")
def test_who_takes_slowly_is_not_reset(start_server, online, group):
    """Something always waits for bob, for longer than the timeout, but something of it is taken all the time. His
    pings show that he is not idle (L-2)."""
    timeout = scaled(0.8)       # bob has to begin before it is over, on a slow machine, too
    s = Scene(start_server("--idle-timeout", str(timeout), "--outbox-limit", "8388608", "--store", "memory"), online,
              group, bob_buffer=32768)
    s.bob.stop_reading()
    for _ in range(8):
        s.write(100)
    s.bob.resume_reading()
    for count in range(100, 900, 100):
        s.bob.send("ping")
        s.alice.ok("ping"), s.carol.ok("ping")
        s.bob.take_until(lambda: len(s.bob.pushes) >= count, f"{count} messages")
        let_pass(timeout / 4)
    assert [push["msg_id"] for push in s.bob.barrier()] == list(range(1, 801))


@rule("L-10")
@needs("groups")
def test_who_takes_little_by_little_is_not_reset(start_server, online, group, leave_out):
    """bob reads so slowly that within the timeout the system takes about 200 KB of what waits for him: more than it
    needs to take some again, and less than a server may have handed to it, or to a library, in one piece."""
    timeout = scaled(1.2)
    s = Scene(start_server("--idle-timeout", str(timeout), "--outbox-limit", "8388608", "--store", "memory"), online,
              group)
    s.bob.stop_reading()
    for _ in range(8):
        s.write(100)
    began = last = now()
    longest, taken = 0, 0
    while now() < began + 5 * timeout and not s.bob.ended:
        due = int((now() - began) / timeout * 200_000) - taken
        s.bob.take_bytes(due)
        taken += due
        longest, last = max(longest, now() - last), now()
        s.alice.ok("ping"), s.carol.ok("ping")
        let_pass(timeout / 50)
    if longest > timeout / 5:
        leave_out("this machine is too slow for that")
    s.bob.resume_reading()
    assert [push["msg_id"] for push in s.bob.barrier()] == list(range(1, 801))
