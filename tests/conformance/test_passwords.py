"""Passwords: changing them (A-7), how they are kept, and that hashing is in nobody's way (A-10)."""

import re
import statistics
import time

import pytest

from harness import Unanswered, User, needs, note, rule, undisturbed
from harness.clock import Deadline
from harness.together import at_once

HASH = re.compile(rb"\$argon2[a-z]*\$[\x21-\x7e]*")
AT_ONCE = 12


# ---

@rule("A-7", "A-2")
def test_a_changed_password(users, connect):
    """The new one counts and the old one does not."""
    (alice,) = users(1)
    alice.ok("passwd", old=alice.user.passwd, new="a new one")
    client = connect()
    client.expect("login", "passwd_error", user=alice.user.name, passwd=alice.user.passwd)
    client.login(User(alice.user.name, "a new one"))


@rule("A-7")
def test_a_wrong_old_password(users, connect):
    """The password stays as it was."""
    (alice,) = users(1)
    alice.expect("passwd", "passwd_error", old="wrong one", new="a new one")
    client = connect()
    client.expect("login", "passwd_error", user=alice.user.name, passwd="a new one")
    client.login(alice.user)


@rule("A-7")
def test_sessions_stay_when_the_password_changes(users, online):
    """All of them, and they change it on with the new one only."""
    (alice,) = users(1)
    second = online(user=alice.user)
    alice.ok("passwd", old=alice.user.passwd, new="a new one")
    for session in (alice, second):
        session.ok("profile_get", user=alice.user.name)
        session.expect("passwd", "passwd_error", old=alice.user.passwd, new="another one")
    second.ok("passwd", old="a new one", new="another one")
    second.expect_nothing()
    alice.expect_nothing()


@rule("A-7", "Q-2")
def test_a_change_and_what_comes_behind_it_in_one_piece(users):
    """Each is judged by the password that the one before it has left."""
    (alice,) = users(1)
    old = alice.user.passwd
    seqs = alice.send_many([("passwd", {"old": old, "new": "second one"}), ("passwd", {"old": old, "new": "third one"}),
                            ("passwd", {"old": "second one", "new": "third one"}), ("logout", {}),
                            ("login", {"user": alice.user.name, "passwd": "third one"})])
    results = [alice.reply(seq).result for seq in seqs]
    assert results == ["success", "passwd_error", "success", "success", "success"]


@rule("A-7")
def test_two_changes_at_the_same_time(users, online, connect):
    """Both know the old password; only one can be first, and the other one is wrong by then."""
    (alice,) = users(1)
    second = online(user=alice.user)
    for _ in range(3):
        old = alice.user.passwd
        replies = at_once([(alice, "passwd", {"old": old, "new": "by the first"}),
                           (second, "passwd", {"old": old, "new": "by the second"})])
        results = [reply.result for reply in replies]
        assert sorted(results) == ["passwd_error", "success"], results
        alice.user = User(alice.user.name, ["by the first", "by the second"][results.index("success")])
        with connect() as client:
            client.login(alice.user)
        alice.ok("passwd", old=alice.user.passwd, new=old)
        alice.user = User(alice.user.name, old)


# --- kept only as a hash

SECRETS = ["Kettle-and-Cup-0815", "Milk-No-Sugar-4711", "Sm0ke-Signal-2342", "Wr0ng-0ne-1234", "T0o-L0ng-" + "x" * 130]


def live_with_passwords(connect, server, name):
    """Two users with one password, a change, wrong ones, requests and a frame that are refused: all with secrets.
    Returns what the server replied."""
    first, second, third, wrong, too_long = SECRETS
    alice, bob = User(name("alice"), first), User(name("bob"), first)
    client, broken = connect(server), connect(server)
    replies = [client.register(alice), client.register(bob), client.login(alice),
               client.expect_failure("register", "user_exists", user=alice.name, passwd=second),
               client.ok("passwd", old=first, new=third),
               client.expect("passwd", "passwd_error", old=wrong, new=second),
               client.expect_bad("passwd", "new", old=third, new=too_long), client.ok("logout"),
               client.expect("login", "passwd_error", user=bob.name, passwd=wrong),
               client.expect("login", "user_not_exist", user=name("nobody"), passwd=second),
               client.expect("login", "bad_request", user="no name", passwd=first)]
    client.send_frame("login", f'{{"user":"{bob.name}","passwd":"{first}" oops')
    replies.append(client.must(client.reply(), "bad_json"))
    client.send_frame(0x7001, f'{{"passwd":"{second}"}}')
    replies.append(client.must(client.reply(), "unknown_cmd"))
    broken.send_raw(b"POST /login passwd=" + third.encode() + b"\r\n\r\n")
    broken.read_bytes()
    for one in (client, broken):
        one.close()
    return [reply.data for reply in replies]


def files_of(server):
    return {path.name: path.read_bytes() for path in server.data.rglob("*") if path.is_file()}


def no_secret_in(data, where):
    for secret in SECRETS:
        assert secret.encode() not in data, f"{secret} stands in {where}"


@rule("A-10")
@pytest.mark.parametrize("ended", ["while it runs", "after SIGTERM", "after SIGKILL"])
@needs("durable")
def test_no_password_in_the_data_directory(start_server, connect, name, ended):
    server = start_server()
    live_with_passwords(connect, server, name)
    if ended != "while it runs":
        (server.stop if ended == "after SIGTERM" else server.kill)()
    files = files_of(server)
    assert files, "the accounts are kept in some file"
    for where, data in files.items():
        no_secret_in(data, where)


@rule("A-10")
@needs("durable")
def test_the_data_is_the_owner_s_alone(program, start_server, user, leave_out):
    """Hashes are for nobody else: no file of the data directory may be opened by another user of the machine."""
    if not program.strict:
        leave_out("how a server keeps its data from others is its own affair")
    server = start_server()
    user("alice", server)
    modes = {path.name: path.stat().st_mode & 0o077 for path in server.data.rglob("*")}
    assert modes and not any(modes.values()), modes


@rule("A-10")
def test_no_password_and_no_hash_in_the_log_nor_in_a_reply(start_server, connect, name):
    """Also with everything logged that can be."""
    server = start_server("--log-level", "debug")
    for data in live_with_passwords(connect, server, name):
        no_secret_in(data, "a reply")
        assert not HASH.search(data)
    server.stop()
    log = "\n".join(server.log).encode()
    if server.lines_seen > len(server.log):
        note(f"only the last {len(server.log)} of {server.lines_seen} lines of the log were looked at")
    no_secret_in(log, "the log")
    assert not HASH.search(log), "a hash stands in the log"


@rule("A-10")
@needs("durable")
def test_every_password_has_a_salt_of_its_own(program, start_server, connect, name, leave_out):
    """Two users with one password, and one who took the same again, have different hashes."""
    server = start_server()
    with connect(server) as client:
        for label in ("alice", "bob"):
            client.ok("register", user=name(label), passwd="the same one")
    server.stop()
    hashes = {found for data in files_of(server).values() for found in HASH.findall(data)}
    if not hashes and not program.strict:
        leave_out("the data directory shows no hash that could be read")
    assert len(hashes) == 2 and all(one.startswith(b"$argon2id$") for one in hashes), hashes
    assert len({one.split(b"$")[4] for one in hashes}) == 2, "two hashes with one salt"


@rule("A-10")
@pytest.mark.parametrize("cost, least_kib", [("interactive", 19 * 1024), ("min", 8)])
def test_the_cost_of_a_hash(program, start_server, connect, name, cost, least_kib, leave_out):
    """`interactive` is no less than what is advised for passwords: 19 MiB and two passes, or more memory."""
    server = start_server("--password-cost", cost)
    with connect(server) as client:
        client.ok("register", user=name("alice"), passwd="kettle")
    server.stop()
    hashes = {found for data in files_of(server).values() for found in HASH.findall(data)}
    if not hashes and not program.strict:
        leave_out("the data directory shows no hash that could be read")
    (one,) = hashes
    memory_kib = int(re.search(rb"\$m=(\d+)", one)[1])
    assert memory_kib >= least_kib and (cost == "interactive") == (memory_kib >= 1024), one


@rule("A-10", "A-2")
@needs("durable")
def test_passwords_of_another_cost_stay_good(start_server, connect, name):
    """The cost is kept with the hash."""
    server = start_server("--password-cost", "min")
    alice = User(name("alice"), "kettle-and-cup")
    with connect(server) as client:
        client.register(alice)
    server.restart("--password-cost", "interactive")
    client = connect(server)
    client.expect("login", "passwd_error", user=alice.name, passwd="wrong one")
    client.login(alice)


# --- hashing is in nobody's way

def round_trip(client, cmd="ping", **fields):
    begun = time.perf_counter()
    client.request(cmd, **fields)
    return time.perf_counter() - begun


def answered(client, seq):
    """Has the reply come? Looks, and does not wait."""
    try:
        frame = client.read_frame(Deadline(0))
    except Unanswered:
        return False
    assert frame and frame.seq == seq
    return True


@rule("A-10", "L-11")
def test_hashing_does_not_delay_others(start_server, connect, users):
    """While many logins are hashed, a ping and a message take less than half of what one hash takes, by the median:
    what waits for a hash takes that long and longer."""
    server = start_server("--password-cost", "interactive")
    alice, bob = users(2, server)
    hashing = [connect(server) for _ in range(AT_ONCE)]
    one_hash = min(round_trip(hashing[0], "login", user=alice.user.name, passwd="wrong one") for _ in range(2))
    waiting = {client: client.send("login", user=(alice, bob)[number % 2].user.name, passwd="wrong one")
               for number, client in enumerate(hashing)}        # and no ten of one user
    times = []
    while waiting:
        times.append(round_trip(alice) + round_trip(alice, "private_chat", user_to=bob.user.name, text="hi"))
        client = next(iter(waiting))
        if answered(client, waiting[client]):
            del waiting[client]
    note(f"one hash {one_hash:.3f} s; {len(times)} round trips, median {statistics.median(times):.4f} s, "
         f"longest {max(times):.4f} s")
    assert len(times) > AT_ONCE and statistics.median(times) < one_hash / 2


@rule("A-10")
def test_the_memory_of_hashing_is_bounded(start_server, connect, name):
    """48 passwords at once take less than half of the memory that 48 hashes would, by the time that one is done."""
    server = start_server("--password-cost", "interactive")
    clients = [connect(server) for _ in range(48)]
    for client in clients:
        client.send("register", user=name("one"), passwd="kettle")
    while not any(client.wait_readable(0.02) for client in clients):
        pass
    peak_kib = memory_peak_kib(server.pid)
    note(f"peak of {peak_kib // 1024} MiB")
    assert peak_kib < 48 * 64 * 1024 / 2


def memory_peak_kib(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))


@rule("A-10", "L-5")
@undisturbed("hundreds have to be connected at once")
def test_the_queue_of_hashing_is_bounded(program, start_server, connect, name, leave_out):
    """With 400 passwords at once some are refused at once, with retry_ms, and try later with success."""
    if not program.strict:
        leave_out("how many may wait is each server's own affair")
    server = start_server("--password-cost", "interactive")
    clients = [connect(server) for _ in range(400)]
    for client in clients:
        client.send("register", user=name("one"), passwd="kettle")
    refused = next((client for client in reversed(clients) if client.wait_readable(0.01)), None)
    assert refused, "all of them wait"
    reply = refused.must(refused.reply(), "rate_limited")
    assert reply["retry_ms"] > 0
    refused.ok("ping")


@rule("A-10", "A-4")
@undisturbed("hundreds have to be connected at once")
def test_what_the_queue_refuses_is_no_wrong_password(program, start_server, connect, user, name, leave_out):
    """More logins are refused than wrong passwords are allowed: nobody has looked at them, so they do not count."""
    if not program.strict:
        leave_out("how many may wait is each server's own affair")
    server = start_server("--password-cost", "interactive")
    alice = user("alice", server)
    clients, others = [connect(server) for _ in range(24)], [connect(server) for _ in range(400)]
    for other in others:
        other.send("register", user=name("one"), passwd="kettle")
    next((other for other in reversed(others) if other.wait_readable(0.01)), None)
    for client in clients:
        client.send("login", user=alice.name, passwd=alice.passwd)
    results = [client.reply().result for client in clients if client.wait_readable(0.2)]
    assert "too_many_attempts" not in results, results
    if results.count("rate_limited") <= 10:
        leave_out("the queue was not full: this machine takes passwords as fast as they come")
