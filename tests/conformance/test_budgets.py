"""What work costs in system calls, as the server's own counters tell it (S-7): clients that are idle cost nothing, and
a burst to many costs about one write for each of them.
"""

import contextlib
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from harness import needs, rule, undisturbed
from harness.clock import Deadline, scaled
from harness.measure import asleep, eventually, let_pass
from harness.multitude import Multitude, room_for
from harness.protocol import PUSHES, REQUESTS, encode_frame, parse_payload

pytestmark = [needs("limits", "accounts"), undisturbed("calls that fail are made again, and would count")]

IDLE = 200
BURST = 64
# Stage: members of a group, and the writes that BURST messages in one segment to them may cost.
BUDGETS = {"01-blocking": (1000, 2500), "02-select": (500, 550), "03-epoll": (1000, 1100), "05-threaded": (1000, 1100)}
# Wake-ups a message: the loop; reader and two writers; the loops of sender and recipient.
WAKE_UPS = {"01-blocking": 3.5, "02-select": 1.5, "03-epoll": 1.5, "04-libevent": 2.5, "05-threaded": 2.5}
TICKS_A_HEARTBEAT = 64      # moments at which one may come
WITHOUT_EPOLL_CTL = {"01-blocking", "02-select", "03-epoll", "05-threaded"}     # a message
PAUSING = set(WAKE_UPS)     # accepting, whatever the error
LONG = "3600"           # no timer may end within the test


def now():
    return time.monotonic()


def register(name):
    return encode_frame("register", {"user": name, "passwd": "a password"}, 1)


def log_in(name):
    return encode_frame("login", {"user": name, "passwd": "a password"}, 2)


def each(multitude, requests, enough, what):
    """Each member sends requests(member), few at a time, for passwords are hashed (A-10)."""
    for start in range(0, len(multitude.members), 20):
        some = multitude.members[start:start + 20]
        multitude.send(requests, some)
        multitude.read_until(enough, what, among=some)


@rule("S-7", "L-1")
def test_idle_clients_cost_no_wake_ups(start_server, online):
    """They are logged in, and nobody's time is over. The second is what is observed: a server that looks after them
    by the clock, or by one timer for each, wakes up in it. What the two `stats` cost is measured first."""
    server = start_server("--store", "memory", "--heartbeat", LONG, "--idle-timeout", LONG, "--login-timeout", LONG,
                          "--frame-timeout", LONG)
    alice = online("alice", server)
    with Multitude(server, IDLE) as idle:
        each(idle, lambda member: register(f"idle-{member.number}") + log_in(f"idle-{member.number}"),
             lambda member: len(member.frames) == 2, "a reply to login")
        assert alice.ok("stats")["sessions"] == IDLE + 1
        first = alice.ok("stats")["wakeups_total"]
        own = alice.ok("stats")["wakeups_total"] - first
        for _ in range(5):
            before = alice.ok("stats")["wakeups_total"]
            let_pass(1)
            woken = alice.ok("stats")["wakeups_total"] - before
            if woken <= own + 2:
                break           # in the first second a server may still look whether more comes
        assert woken <= own + 2, f"{woken} wake-ups in a second in which nothing happened; a request alone costs {own}"
        assert all(len(member.frames) == 2 for member in idle.members)


@rule("S-7", "L-1")
def test_timers_share_their_wake_ups(start_server, online, leave_out):
    """A heartbeat a second for each of many. So exactly is the time not meant that each would need a wake-up of its own,
    and between two of them the server sleeps: also when they are less than a second apart."""
    server = start_server("--store", "memory", "--heartbeat", "1", "--idle-timeout", LONG, "--login-timeout", LONG)
    alice = online("alice", server)
    stage = alice.ok("stats")["stage"]
    if stage not in WAKE_UPS:
        leave_out(f"{stage} claims no budget")
    with Multitude(server, IDLE) as idle:
        each(idle, lambda member: register(f"beating-{member.number}") + log_in(f"beating-{member.number}"),
             lambda member: len(member.frames) >= 2, "a reply to login")
        began, before = now(), alice.ok("stats").payload
        let_pass(1.5)
        after, passed = alice.ok("stats").payload, now() - began
    writes = after["write_calls_total"] - before["write_calls_total"]
    woken = after["wakeups_total"] - before["wakeups_total"]
    assert writes > IDLE / 2, f"{writes} heartbeats in {passed:.1f} s"
    own = writes if stage == "01-blocking" else 0           # the threads that write
    assert woken - own <= (passed + 0.1) * TICKS_A_HEARTBEAT * WAKE_UPS[stage] + 10, f"{woken} wake-ups in {passed:.1f} s"


@rule("S-7", "M-4")
@needs("messages")
def test_wake_ups_of_a_conversation(start_server, online, leave_out):
    """One writes to another, one message after the other. Whoever has to be woken is, once: for a request, and where
    other threads have a part in it, for what they have to send. Nobody is woken who is awake anyway."""
    server = start_server("--store", "memory", "--heartbeat", LONG, "--idle-timeout", LONG, "--login-timeout", LONG)
    alice, bob = online("alice", server), online("bob", server)
    stage = alice.ok("stats")["stage"]
    if stage not in WAKE_UPS:
        leave_out(f"{stage} claims no budget")
    before = alice.ok("stats")["wakeups_total"]
    for number in range(1, 101):
        alice.ok("private_chat", user_to=bob.user.name, text="one at a time")
        bob.push("private_chat_recv", msg_id=number)
    woken = alice.ok("stats")["wakeups_total"] - before
    assert woken <= 100 * WAKE_UPS[stage], f"{woken} wake-ups for 100 messages"


@rule("S-7", "L-11")
def test_one_who_sends_without_a_pause_gets_his_turn_and_no_more(start_server, connect, online, leave_out):
    """As much as the system takes is there at once, and the server reads on only when the others had their turn:
    not more than two reads of 64 KiB each time that it has looked at all."""
    server = start_server("--store", "memory")
    observer, sender = online("observer", server), connect(server)
    if observer.ok("stats")["stage"] not in WAKE_UPS:
        leave_out("claims no budget")
    ping = encode_frame("ping", {"padding": "x" * 60000}, 0)
    before = observer.ok("stats").payload
    with asleep(server):
        sent = 0
        while select.select([], [sender.socket], [], 0.1)[1]:
            data = ping * 20
            sent += sender.socket.send(data[sent % len(ping):])
        sender.socket.shutdown(socket.SHUT_WR)
    eventually(lambda: observer.ok("stats")["bytes_in_total"] - before["bytes_in_total"], lambda came: came >= sent)
    turns = observer.ok("stats")["wakeups_total"] - before["wakeups_total"]
    assert sent > 1 << 20 and turns >= sent / (2 * 65536), f"{sent} bytes in {turns} turns"


@rule("S-7", "M-4")
@needs("groups", "messages")
def test_a_burst_to_many_members(start_server, online, leave_out):
    """64 messages in one segment to hundreds of sessions: a write for each session, not for each message. And each
    member gets all of them, once, in order."""
    server = start_server("--store", "memory", "--heartbeat", LONG)
    owner = online("owner", server)
    stage = owner.ok("stats")["stage"]
    if stage not in BUDGETS:
        leave_out(f"{stage} claims no budget")
    count, budget = BUDGETS[stage]
    if not room_for(count + 200):
        leave_out("this process may not have so many descriptors")
    owner.ok("group_create", group="hall")
    with Multitude(server, count) as members:
        gather(members, owner)
        text = {"group": "hall", "text": "to whom it may concern"}
        before = owner.ok("stats")
        owner.send_many([("group_chat", text)] * BURST)
        members.read_until(lambda member: len(member.frames) == BURST, f"{BURST} messages")
        for number in range(1, BURST + 1):
            owner.must(owner.reply(), "success", msg_id=number)
        after = owner.ok("stats")
        for member in members.members:
            assert [message_number(frame) for frame in member.frames] == list(range(1, BURST + 1))
    assert after["deliveries_total"] - before["deliveries_total"] == BURST * count
    writes = after["write_calls_total"] - before["write_calls_total"]
    assert writes <= budget, f"{writes} writes for {BURST} messages in one segment to {count} members"


@rule("S-7", "M-4")
@needs("messages")
def test_no_epoll_ctl_a_message(start_server, online, leave_out):
    """Two talk, in turn, and strace looks on: what is watched is registered once, and not changed for a message."""
    server = start_server("--store", "memory")
    alice, bob = online("alice", server), online("bob", server)
    stage = alice.ok("stats")["stage"]
    if stage not in WITHOUT_EPOLL_CTL:
        leave_out(f"{stage} claims no budget")
    with calls_of(server, "epoll_ctl") as calls:
        if calls is None:
            leave_out("strace is not here, or may not look")
        for _ in range(100):
            alice.ok("private_chat", user_to=bob.user.name, text="ping")
            bob.push("private_chat_recv", text="ping")
            bob.ok("private_chat", user_to=alice.user.name, text="pong")
            alice.push("private_chat_recv", text="pong")
    assert len(calls) <= 2, f"{len(calls)} calls of epoll_ctl for 200 messages"


@rule("S-7", "L-6")
@pytest.mark.parametrize("error, most", [("EPERM", 10), ("EMFILE", 10), ("ECONNABORTED", None), ("EINTR", None)])
def test_an_error_of_accept_costs_little(start_server, online, connect, leave_out, error, most):
    """strace makes every accept4(2) fail for a second, or one of them. An error that the next call would have, too (of
    a descriptor, of memory, of a policy), is waited for; one that is over is not, and the next client is taken in."""
    server = start_server("--store", "memory")
    alice = online("alice", server)
    if alice.ok("stats")["stage"] not in PAUSING:
        leave_out("this stage claims no budget")
    with calls_of(server, "accept4", f"inject=accept4:error={error}" + ("" if most else ":when=1")) as calls:
        if calls is None:
            leave_out("strace is not here, or may not look")
        client = connect(server)
        client.send("ping")
        if most:
            let_pass(1)
            alice.ok("ping")
        else:
            client.must(client.reply(), "success")
    assert any(error in line for line in calls), "no call has failed: the test says nothing"
    assert most or not any("pauses" in line for line in server.log), "accepting pauses, although there is no reason to"
    if most:
        assert len(calls) <= most, f"{len(calls)} calls of accept4 in a second in which all fail"
        client.must(client.reply(), "success")


@contextlib.contextmanager
def calls_of(server, name, *more):
    """The calls of this name that the server makes meanwhile, a line each, in a list that is filled at the end. None:
    strace cannot be had. `more` are expressions for its option -e."""
    if shutil.which("strace") is None:
        yield None
        return
    lines = []
    options = [word for expression in (f"trace={name}", "signal=none", *more) for word in ("-e", expression)]
    with tempfile.NamedTemporaryFile("r") as out:
        strace = subprocess.Popen(["strace", "-f", "-qq", *options, "-o", out.name, "-p", str(server.pid)],
                                  stderr=subprocess.PIPE, text=True)
        try:
            yield lines if is_traced(server.pid, strace) else None
        finally:
            strace.send_signal(signal.SIGINT)       # it lets go of the server
            strace.communicate()
        lines.extend(line for line in out.read().splitlines() if name in line)


def is_traced(pid, strace):
    """Wait until every thread of the process is traced."""
    deadline = Deadline(scaled(5))
    while strace.poll() is None and deadline.left() > 0:
        states = [status.read_text() for status in Path(f"/proc/{pid}/task").glob("*/status")]
        if not any("TracerPid:\t0\n" in state for state in states):
            return True
        select.select([], [], [], 0.01)
    return False


def gather(members, owner):
    """Each becomes a member and logs out, so that joining costs no thousand events for everybody; then all log in."""
    def joins(member):
        name = f"member-{member.number}"
        return (register(name) + log_in(name) + encode_frame("group_join", {"group": "hall"}, 3)
                + encode_frame("logout", b"", 4))

    def replies(member):
        return [frame for frame in member.frames if frame[0] & 0x8000]

    each(members, joins, lambda member: len(replies(member)) == 4, "a reply to logout")
    each(members, lambda member: log_in(f"member-{member.number}"), lambda member: len(replies(member)) == 5,
         "a reply to login")
    owner.barrier()
    assert owner.ok("group_info", group="hall")["count"] == len(members.members) + 1
    for member in members.members:
        cmd, _, payload = member.frames[-1]
        assert cmd == REQUESTS["login"] | 0x8000 and parse_payload(payload)["result"] == "success"
        member.frames.clear()


def message_number(frame):
    cmd, seq, payload = frame
    assert cmd == PUSHES["group_chat_recv"] and seq == 0
    return parse_payload(payload)["msg_id"]
