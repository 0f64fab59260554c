"""The server as a program: options, standard output, exit status, data directory, counters (section S)."""

import contextlib
import fcntl
import os
import resource
import signal
import socket
import tempfile
from pathlib import Path

import pytest

from harness import encode_frame, needs, note, rule, undisturbed
from harness.clock import Deadline, scaled
from harness.measure import let_pass
from harness.process import Run
from harness.server import option_pairs
from harness.together import in_one_piece

GOOD_OPTIONS = [
    ("--host", "127.0.0.1"), ("--host", "127.0.0.2"), ("--store", "sqlite"), ("--store", "memory"),
    ("--durability", "full"),
    ("--durability", "normal"), ("--password-cost", "min"), ("--password-cost", "interactive"),
    ("--max-connections", "1"), ("--max-connections", "100"), ("--login-timeout", "30"), ("--login-timeout", "0.5"),
    ("--frame-timeout", "12.25"), ("--idle-timeout", "120"), ("--idle-timeout", "7.5"), ("--heartbeat", "30"),
    ("--heartbeat", "2.5"), ("--lockout-window", "1800"), ("--lockout-window", "1.5"), ("--rate-limit", "0"),
    ("--rate-limit", "200"), ("--outbox-limit", "65536"), ("--outbox-limit", "1048576"),
    ("--allow-origin", "example.org"),
    ("--allow-origin", "example.org:8443"), ("--log-level", "error"), ("--log-level", "warn"),
    ("--log-level", "info"),
    ("--log-level", "debug"),
]
WRONG_OPTIONS = [
    "--nonsense", "--nonsense=1", "--port", "--port=", "--port=x", "--port=-1", "--port=65536", "--port=80x",
    "--port=4294967296",
    "--port=0x50", "--port= 80", "--store=tape", "--store=", "--store=SQLITE", "--durability=half",
    "--password-cost=max",
    "--max-connections=x", "--max-connections=-1", "--max-connections=1.5", "--max-connections=",
    "--max-connections=99999999999999999999", "--login-timeout=x", "--login-timeout=-1", "--frame-timeout=1s",
    "--frame-timeout=",
    "--idle-timeout=-0.5", "--idle-timeout=nan", "--idle-timeout=inf", "--heartbeat=soon", "--lockout-window=-1",
    "--rate-limit=-1", "--rate-limit=x", "--rate-limit=", "--outbox-limit=65535", "--outbox-limit=-1",
    "--outbox-limit=1M",
    "--outbox-limit=0", "--log-level=loud", "--log-level=", "--data", "--help=x",
]
OPTION_NAMES = """host port data store durability password-cost max-connections login-timeout frame-timeout idle-timeout
    heartbeat lockout-window rate-limit outbox-limit allow-origin threads log-level version help""".split()


def run(program, *options, port="0", **how):
    """The program with a free port (or as its options say), and otherwise just these options."""
    given = {name for name, _ in option_pairs(options)}
    return Run([*program.command, *([] if "--port" in given else ["--port", port]), *map(str, options)], **how)


def must_refuse(run_, status, *words):
    """It ended with this status, printed no line, and said why on standard error."""
    assert run_.status == status and run_.first_line is None, f"expected exit status {status}; {run_}"
    said = run_.errors.lower()
    assert said.strip(), "the reason stands on standard error"
    assert not words or any(word.lower() in said for word in words), f"the reason does not name {words}: {said!r}"


# --- S-1

@rule("S-1")
@pytest.mark.parametrize("name, value", GOOD_OPTIONS, ids=map("=".join, GOOD_OPTIONS))
@pytest.mark.parametrize("form", ["--name value", "--name=value"])
def test_an_option_is_taken_in_both_forms(start_server, connect, form, name, value):
    server = start_server(*([name, value] if form == "--name value" else [f"{name}={value}"]))
    connect(server).ok("ping")


@rule("S-1", "S-3")
@pytest.mark.parametrize("option", WRONG_OPTIONS)
def test_a_wrong_option(program, option):
    with run(program, option) as started:
        must_refuse(started, 2)


@rule("S-1", "S-3")
@pytest.mark.parametrize("option", ["--max-connections=0", "--idle-timeout=0", "--frame-timeout=0", "--heartbeat=0"])
def test_a_bound_of_nothing(program, option, leave_out):
    """0 means "none" for --rate-limit alone; here it would be a server that serves nobody."""
    if not program.strict:
        leave_out("is about the stages of this repository")
    with run(program, option) as started:
        must_refuse(started, 2)


@rule("S-1", "S-3")
@pytest.mark.parametrize("words", [["extra"], ["--store", "memory", "extra"], [""]], ids=repr)
def test_a_word_that_is_no_option(program, words):
    with Run([*program.command, "--port", "0", *words]) as started:
        must_refuse(started, 2)


@rule("S-1")
def test_threads_is_an_option_of_05_alone(program, start_server, connect, leave_out):
    if not program.strict:
        leave_out("is about the stages of this repository")
    if program.command[0].endswith("05-threaded"):
        for threads in ("1", "3"):
            connect(start_server("--threads", threads)).ok("ping")
        for wrong in ("0", "-1", "x", "1.5"):
            with run(program, f"--threads={wrong}") as started:
                must_refuse(started, 2)
    else:
        with run(program, "--threads", "2") as started:
            must_refuse(started, 2)


@rule("S-1")
def test_version(program):
    with Run([*program.command, "--version"]) as started:
        assert started.first_line and started.finish() == 0, str(started)


@rule("S-1")
def test_help_names_every_option(program, leave_out):
    with Run([*program.command, "--help"]) as started:
        text = f"{started.first_line}\n{started.rest()}"
        assert started.finish() == 0, str(started)
    if not program.strict:
        leave_out("only the stages have to have every option")
    threaded = program.command[0].endswith("05-threaded")
    missing = [name for name in OPTION_NAMES if f"--{name}" not in text and (name != "threads" or threaded)]
    assert not missing, f"--help does not name {missing}"


@rule("S-1")
def test_the_default_port(program, leave_out):
    """Runs of this suite may go side by side, and there is only one port 8000: a lock keeps them apart."""
    with open(os.path.join(tempfile.gettempdir(), "chat-conformance.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            socket.create_server(("127.0.0.1", 8000)).close()
        except OSError:
            leave_out("port 8000 is in use on this machine")
        with Run([*program.command]) as started:
            assert started.first_line == "listening on 127.0.0.1:8000", str(started)


@rule("S-1", "S-4")
def test_memory_touches_no_directory(program, leave_out):
    if program.refuses("--data", "somewhere"):
        leave_out("the program refuses --data")
    with run(program, "--store", "memory", "--data", "somewhere") as started:
        assert started.first_line, str(started)
        assert os.listdir(started.directory) == []


@rule("S-1", "M-6", "M-8")
@needs("history")
def test_memory_keeps_the_newest_10000_messages(start_server, online):
    """Notes to oneself, each with an id: of the oldest ones history has none, and their ids are free."""
    alice = online("alice", start_server("--store", "memory"))
    note_with = {"user_to": alice.user.name, "text": "hi"}
    for first in range(1, 10_051, 150):
        in_one_piece(alice, [("private_chat", {**note_with, "id": f"n-{n}"}) for n in range(first, first + 150)])
    oldest = alice.ok("history", user=alice.user.name, after=0, limit=1)["messages"][0]["msg_id"]
    assert oldest == 10_050 - 10_000 + 1
    assert alice.ok("private_chat", id=f"n-{oldest}", **note_with)["msg_id"] == oldest
    assert alice.ok("private_chat", id=f"n-{oldest - 1}", **note_with)["msg_id"] == 10_051


@rule("S-1")
@needs("durable")
def test_the_default_data_directory(program):
    with run(program) as started:
        assert started.first_line, str(started)
        assert os.listdir(started.directory) == ["chat-data"]


@rule("S-1")
@needs("limits")
def test_fractions_of_seconds_count(start_server, connect):
    """Taken as 0 it would end at once, taken as 1 after a second."""
    client = connect(start_server("--idle-timeout", "0.4", "--login-timeout", "60"))
    began = client.ok("ping").at
    assert 0.35 <= client.expect_bye("idle_timeout").at - began < scaled(0.95)


@rule("S-1")
def test_rate_limit_0_is_none(server, connect, leave_out):
    if server.pace:
        leave_out("this server cannot be told to have no rate limit")
    client = connect()
    for seq in client.send_many([("ping", {})] * 2000):
        client.must(client.reply(seq), "success")


@rule("S-1", "S-2")
def test_the_log_level(program, start_server, connect, leave_out):
    """The same life, logged at each level: the lower ones have all that the higher ones have, and more."""
    if not program.strict:
        leave_out("what is worth a line of the log is each server's own affair")

    def lines(level):
        server = start_server("--log-level", level)
        with connect(server) as client:
            client.ok("ping")
        server.stop()
        return server.lines_seen

    error, warn, info, debug = map(lines, ("error", "warn", "info", "debug"))
    assert 0 == error <= warn < info < debug, (error, warn, info, debug)


@rule("S-2")
def test_a_line_of_the_log_is_one_line(program, leave_out):
    """Whatever is in a name that it tells."""
    if not program.strict:
        leave_out("which names a server tells is its own affair")
    with run(program, "--data", "no/such/directory\nof mine\x1b[2J") as started:
        must_refuse(started, 1)
        said = started.errors
    assert all("such" in line for line in said.splitlines() if "of mine" in line), said
    assert "\x1b" not in said


@rule("S-1")
@needs("limits")
def test_the_soft_descriptor_limit_is_raised(start_server, connect):
    server = start_server(descriptors=(40, 2048))
    clients = [connect(server) for _ in range(100)]
    for client in clients:
        client.ok("ping")


@rule("S-1", "L-6")
@needs("limits")
def test_a_low_hard_descriptor_limit_lowers_max_connections(start_server, connect):
    """It says so in the log, and refuses in words what is too much."""
    server = start_server(descriptors=(300, 300))
    assert server.alive() and any("max-connections" in line for line in server.log_after_start())
    clients = [connect(server) for _ in range(310)]
    for client in clients:
        client.send("ping")
    served = [client for client in clients if is_served(client)]
    assert 100 <= len(served) < 300


def is_served(client):
    """Answered; else it has got `bye` server_full, or the end."""
    frame = client.read_frame()
    return bool(frame) and frame.name == "ping_reply"


# --- S-2

@rule("S-2")
def test_one_line_on_standard_output(start_server, connect):
    """Whatever is logged, and whatever clients do."""
    server = start_server("--log-level", "debug")
    client = connect(server)
    client.ok("ping")
    client.send_raw(b"\0")
    client.expect_bye("protocol_error", "bad_head")
    client.close()
    server.stop()
    assert server.process.stdout.read() == b""


@rule("S-2")
def test_it_accepts_once_it_has_printed_the_line(program):
    """No moment in between: the connection is made at once, without a second try."""
    for _ in range(5):
        with run(program, "--store", "memory") as started:
            assert started.first_line and started.first_line.startswith("listening on 127.0.0.1:"), str(started)
            port = int(started.first_line.rpartition(":")[2])
            with socket.create_connection(("127.0.0.1", port), timeout=Deadline().left()) as connection:
                connection.sendall(encode_frame("ping", b"", 1))
                assert connection.recv(2) == b"\xc4\xa7"


@rule("S-2")
@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.3", "0.0.0.0"])
def test_the_line_has_the_address_bound(start_server, host):
    server = start_server("--host", host)
    assert server.host == host and server.port > 0


@rule("S-2")
def test_a_given_port_is_the_one(start_server, connect):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = start_server("--port", str(port))
    assert server.port == port
    connect(server).ok("ping")


# --- S-3

@rule("S-3")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_exit_status_0_after_a_signal(start_server, connect, number):
    server = start_server()
    connect(server).ok("ping")
    server.signal(number)
    assert server.wait_exit() == 0


@rule("S-3")
def test_a_port_in_use(program, start_server, connect):
    """The one that has the port goes on."""
    server = start_server()
    with run(program, "--port", str(server.port)) as second:
        must_refuse(second, 1, "in use", str(server.port))
    connect(server).ok("ping")


@rule("S-3")
def test_a_port_can_be_used_again_at_once(start_server, connect):
    """Connections that the server has closed linger in the kernel; a restart must not fail for them."""
    server = start_server()
    client = connect(server)
    client.send_raw(b"\0")
    client.expect_bye("protocol_error", "bad_head")
    client.close()
    other = connect(server)
    other.ok("ping")
    server.stop()
    server.restart("--port", str(server.port))
    connect(server).ok("ping")


@rule("S-3")
@needs("durable")
@pytest.mark.parametrize("directory", ["/dev/null", "/dev/null/data", "/proc/data", "a-file", "a-file/data"])
def test_a_data_directory_that_cannot_be(program, tmp_path, directory):
    (tmp_path / "a-file").write_text("no directory")
    with run(program, "--data", directory, directory=tmp_path) as started:
        must_refuse(started, 1)


@rule("S-3")
@needs("durable")
def test_a_damaged_database(start_server, online):
    """Every file that held something is overwritten with something else."""
    server = start_server()
    online("alice", server).close()
    server.stop()
    files = [path for path in server.data.rglob("*") if path.is_file() and path.stat().st_size]
    assert files, "a durable server keeps something in its data directory"
    for path in files:
        path.write_bytes(b"this is no database" * (path.stat().st_size // 19 + 1))
    with Run(server.command_line()) as second:
        must_refuse(second, 1)


@rule("S-3")
@needs("durable")
def test_an_empty_directory_and_none_are_both_a_start(start_server, connect, tmp_path):
    connect(start_server(data=tmp_path)).ok("ping")
    connect(start_server(data=tmp_path / "new" )).ok("ping")


# --- S-4

@rule("S-4")
@needs("durable")
def test_a_second_server_on_one_directory(program, start_server, online, tmp_path):
    """By whatever path. It says so, and the first one goes on."""
    server = start_server()
    alice = online("alice", server)
    link = tmp_path / "link"
    link.symlink_to(server.data)
    for path in (server.data, f"{server.data}/.", link):
        with run(program, "--data", path) as second:
            must_refuse(second, 1)
    alice.ok("profile_set", age=42)
    assert alice.ok("profile_get", user=alice.user.name)["age"] == 42


@rule("S-4")
@needs("durable")
def test_after_sigkill_the_next_one_starts(start_server, online, connect):
    server = start_server()
    alice = online("alice", server)
    for _ in range(3):
        server.kill()
        server.start()
        connect(server).login(alice.user)


@rule("S-4")
@needs("durable")
def test_the_directory_is_free_after_the_end(start_server, online, connect):
    server = start_server()
    alice = online("alice", server)
    alice.close()
    server.stop()
    second = start_server(data=server.data)
    connect(second).login(alice.user)


# --- S-5

@pytest.fixture
def has_ipv6(leave_out):
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            pass
    except OSError:
        leave_out("this machine has no IPv6")


@rule("S-5", "S-2")
@pytest.mark.parametrize("host", ["::1", "::"])
def test_ipv6(has_ipv6, start_server, online, host):
    """Printed in brackets: harness/server.py takes no other form."""
    server = start_server("--host", host)
    assert server.host == host
    if host == "::":
        server.host = "::1"
    online("alice", server).ok("ping")


@rule("S-5", "S-3")
def test_an_ipv6_port_in_use(has_ipv6, program, start_server):
    server = start_server("--host", "::1")
    with run(program, "--host", "::1", "--port", str(server.port)) as second:
        must_refuse(second, 1)


@rule("S-5")
@pytest.mark.parametrize("host", ["", "300.1.1.1", "127.0.0.1:80", "[::1]", ":::", "example..org", "192.0.2.1"])
def test_an_address_that_is_none(program, host):
    """Or, the last one, an address that this machine does not have: it does not start, whether as a wrong option or
    as something that does not work."""
    with run(program, "--host", host, "--store", "memory") as started:
        assert started.first_line is None and started.status in (1, 2), str(started)


# --- S-6

@rule("S-6")
def test_02_select_knows_what_fd_setsize_can_hold(program, start_server, connect, leave_out):
    if not program.command[0].endswith("02-select"):
        leave_out("is about 02-select")
    for number in (1025, 2000, 100000):
        with run(program, "--max-connections", str(number)) as started:
            must_refuse(started, 2, "FD_SETSIZE", "select")
    server = start_server()
    connect(server).ok("ping")
    assert any("max-connections" in line for line in server.log_after_start())


@rule("S-6")
def test_01_blocking_lowers_its_default_to_what_threads_allow(program, start_server, connect, leave_out):
    """Two threads a client. Given a number of clients, it is taken at its word."""
    if not program.command[0].endswith("01-blocking"):
        leave_out("is about 01-blocking")
    connect(start_server()).ok("ping")
    with few_threads(FEW_THREADS, leave_out):
        server = start_server()
        given = start_server("--max-connections", "10000")
    connect(server).ok("ping")
    lowered = [int(line.split("--max-connections is ")[1].split()[0]) for line in server.log_after_start()
               if "--max-connections is " in line]
    assert len(lowered) == 1 and FEW_THREADS // 4 < lowered[0] <= FEW_THREADS // 2, f"lowered to {lowered}"
    assert not any("a client takes" in line for line in given.log_after_start())


FEW_THREADS = 8000          # a limit that the machine is far from: it is what the server reads that counts


@contextlib.contextmanager
def few_threads(count, leave_out):
    """What is started in here may have so many threads, together with all else of this user."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NPROC)
    if resource.RLIM_INFINITY != hard < count:
        leave_out("this user may not have so many threads")
    resource.setrlimit(resource.RLIMIT_NPROC, (count, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NPROC, (soft, hard))


@rule("S-6")
def test_the_other_stages_take_more_connections_than_select_can(program, start_server, connect, leave_out):
    if not program.strict or program.command[0].endswith("02-select"):
        leave_out("is about the stages but 02-select")
    connect(start_server("--max-connections", "2000")).ok("ping")


# --- S-1, --threads: from outside it can be seen which epoll watches which socket (proc(5), /proc/PID/fdinfo)

def inode_of(server, client):
    """The socket at the server's end of this connection."""
    end = f":{server.port:04X} "
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        words = line.split()
        if f"{words[1]} ".endswith(end) and words[2].endswith(f":{client.socket.getsockname()[1]:04X}"):
            return words[9]
    raise AssertionError("the connection is not there")


def watchers(server, clients):
    """For each client, the descriptor of the epoll that watches its connection; None: none does (yet)."""
    watched = {}
    for entry in Path(f"/proc/{server.pid}/fdinfo").iterdir():
        try:
            lines = entry.read_text().splitlines()
        except OSError:
            continue                # closed in between
        watched |= {int(line.split()[1]): int(entry.name) for line in lines if line.startswith("tfd:")}
    sockets = {}
    for entry in Path(f"/proc/{server.pid}/fd").iterdir():
        try:
            sockets[os.readlink(entry)] = int(entry.name)
        except OSError:
            continue
    return [watched.get(sockets.get(f"socket:[{inode}]")) for inode in clients.values()]


@undisturbed("where a pipe is said to be full, the next thread is taken")
@rule("S-1")
def test_connections_go_to_the_thread_that_has_the_fewest(program, start_server, connect, leave_out):
    """Two threads; who has gone does not count. The one who stays is the sign that what went before him is done."""
    if not program.command[0].endswith("05-threaded"):
        leave_out("is about 05-threaded")
    server = start_server("--threads", "2")
    clients = [connect(server) for _ in range(12)]
    for client in clients:
        client.ok("ping")
    inodes = {client: inode_of(server, client) for client in clients}
    threads = watchers(server, inodes)
    first = threads[0]
    assert sorted(threads.count(one) for one in set(threads)) == [6, 6], f"on which epoll is each: {threads}"
    stays, *go = [client for client, thread in zip(clients, threads) if thread == first]
    for client in go:
        client.half_close()
        client.expect_closed()
    gone = {client: inodes[client] for client in go}
    eventually(lambda: watchers(server, gone), lambda numbers: not any(numbers))
    stays.ok("ping")
    new = [connect(server) for _ in range(5)]
    for client in new:
        client.ok("ping")
    assert watchers(server, {client: inode_of(server, client) for client in new}) == [first] * 5


# --- S-7. Each on a server of its own, where nobody else counts

@pytest.fixture
def counting(start_server, online):
    """(server, client, change): change() tells by how much each counter has moved since it was last asked."""
    server = start_server()
    client = online("observer", server)
    last = client.ok("stats").payload

    def change():
        nonlocal last
        before, last = last, client.ok("stats").payload
        return {key: last[key] - before[key] for key in last if isinstance(last[key], int)}

    return server, client, change


def eventually(ask, holds):
    """Ask again until it holds: for what a client cannot see the moment of."""
    deadline = Deadline()
    while not holds(answer := ask()):
        assert not deadline.passed(), f"still {answer} after {deadline.seconds:g} s"
    return answer


COUNTED = needs("limits", "accounts")


@rule("S-7")
@COUNTED
def test_stage_and_uptime(counting, program):
    _, client, change = counting
    stats = client.ok("stats")
    if program.strict:
        assert stats["stage"] == os.path.basename(program.command[0])
    assert 0 <= stats["uptime_ms"] < 60_000
    change()
    let_pass(0.2)
    assert 200 - 2 <= change()["uptime_ms"] < 60_000        # each of the two is cut to a millisecond


@rule("S-7")
@COUNTED
def test_connections_and_sessions(counting, connect, user):
    server, client, change = counting
    alice = user("alice", server)
    eventually(lambda: client.ok("stats")["connections"], lambda number: number == 1)
    change()
    others = [connect(server) for _ in range(3)]
    for other in others:
        other.ok("ping")
    moved = change()
    assert (moved["connections"], moved["accepted_total"], moved["sessions"]) == (3, 3, 0)
    others[0].login(alice)
    others[1].login(alice)
    assert change()["sessions"] == 2
    others[0].ok("logout")
    moved = change()
    assert (moved["sessions"], moved["connections"]) == (-1, 0)
    for other in others:
        other.close()
    eventually(lambda: client.ok("stats").payload, lambda stats: (stats["connections"], stats["sessions"]) == (1, 1))
    assert change()["accepted_total"] == 0


@rule("S-7")
@COUNTED
def test_requests_total_counts_what_gets_a_reply(counting, connect):
    """Refused ones too; a broken frame is no request."""
    server, _, change = counting
    other = connect(server)
    change()
    for payload, cmd in ((b"{}", "ping"), (b"{", "ping"), (b"{}", 0x7000), (b"{}", "group_list"), (b"{}", "login")):
        other.reply(other.send_frame(cmd, payload))
    other.send_raw(b"\xc4\xa7\x01\x01")
    other.expect_bye("protocol_error", "bad_flags")
    moved = change()
    assert moved["requests_total"] == 5 + 1         # and one stats
    assert moved["protocol_errors_total"] == 1


@rule("S-7", "L-5")
@COUNTED
def test_requests_total_counts_those_over_the_rate(start_server, online, connect):
    """Each of them gets a reply."""
    server = start_server("--rate-limit", "5")
    observer, other = online("observer", server), connect(server)
    before = observer.ok("stats")["requests_total"]
    results = {other.reply(seq).result for seq in other.send_many([("ping", {})] * 30)}
    assert results == {"success", "rate_limited"}
    assert observer.ok("stats")["requests_total"] == before + 30 + 1


@rule("S-7", "F-4")
@COUNTED
def test_protocol_errors_total(counting, connect):
    server, client, change = counting
    faults = [{"head_flag": 0xC4A8}, {"version": 0}, {"flags": 1}, {"length": 65537}, {"tail_flag": 0}, {"crc": 0}]
    for fault in faults:
        other = connect(server)
        other.send_raw(encode_frame("ping", b"{}", 1, **fault))
        other.next_push("bye", "bye")
    client.reply(client.send_frame("ping", b"{"))
    assert change()["protocol_errors_total"] == len(faults)


@rule("S-7")
@COUNTED
@needs("messages", "groups")
def test_messages_and_deliveries(counting, users, online, group, name):
    """bob has two sessions, alice a second one: 3 pushes of a message between them."""
    server, _, change = counting
    alice, bob = users(2, server)
    receivers = [online(server=server, user=alice.user), bob, online(server=server, user=bob.user)]
    change()
    alice.ok("private_chat", user_to=bob.user.name, text="hi")
    for receiver in receivers:      # whose thread may be another than that of who asks for stats
        receiver.barrier()
    moved = change()
    assert (moved["messages_total"], moved["deliveries_total"]) == (1, 3)
    alice.ok("private_chat", user_to=bob.user.name, text="hi", id="one")
    alice.ok("private_chat", user_to=bob.user.name, text="hi", id="one")
    for receiver in receivers:      # whose thread may be another than that of who asks for stats
        receiver.barrier()
    moved = change()
    assert (moved["messages_total"], moved["deliveries_total"]) == (1, 3)
    alice.expect("private_chat", "user_not_exist", user_to=name(), text="hi")
    alice.ok("typing", user=bob.user.name)
    moved = change()
    assert (moved["messages_total"], moved["deliveries_total"]) == (0, 0)
    room = group(alice, bob)
    change()
    bob.ok("group_chat", group=room, text="hi")
    for receiver in receivers:      # whose thread may be another than that of who asks for stats
        receiver.barrier()
    moved = change()
    assert (moved["messages_total"], moved["deliveries_total"]) == (1, 3)
    bob.ok("typing", group=room)
    bob.ok("read", group=room, msg_id=1)
    bob.ok("group_leave", group=room)
    for receiver in receivers:
        receiver.barrier()
    moved = change()
    assert (moved["messages_total"], moved["deliveries_total"]) == (0, 0)


@rule("S-7")
@COUNTED
@needs("messages")
def test_a_message_to_one_who_is_not_there_is_delivered_to_nobody(counting, user):
    server, client, change = counting
    alice = user("alice", server)
    change()
    client.expect("private_chat", "offline", user_to=alice.name, text="hi")
    moved = change()
    assert (moved["messages_total"], moved["deliveries_total"]) == (1, 0)


@rule("S-7")
@COUNTED
def test_bytes_and_calls(counting):
    """One client alone, one request at a time: what it sent was read, each in a call and a wake-up of its own."""
    _, client, change = counting
    change()
    stats_request = len(encode_frame("stats", b"{}", 1))
    sent = received = 0
    for number in range(20):
        seq, data = client.prepare("ping", padding="x" * number)
        client.send_raw(data)
        sent += len(data)
        received += len(client.reply(seq).data)
    last_reply = len(encode_frame("ping", b"", 1)) + 50
    moved = change()
    assert moved["bytes_in_total"] == sent + stats_request
    # The reply to the first stats counts here, that to the second one not yet. A thread may count after it has sent.
    assert received - last_reply <= moved["bytes_out_total"] <= received + 2000
    for counter in ("read_calls_total", "write_calls_total", "wakeups_total"):
        assert moved[counter] >= 20, counter
    assert moved["requests_total"] == 21


@rule("S-7", "M-5")
@COUNTED
@needs("durable", "messages")
def test_store_commits(counting, user):
    """A message that is answered has been committed; a ping needs no commit; nothing waits when all is quiet."""
    server, client, change = counting
    alice = user("alice", server)
    change()
    for _ in range(5):
        client.expect("private_chat", "offline", user_to=alice.name, text="hi")
    assert change()["store_commits_total"] >= 5
    for _ in range(20):
        client.ok("ping")
    assert change()["store_commits_total"] <= 1
    assert client.ok("stats")["store_queue"] <= 1        # stats itself, at most


@rule("S-7", "L-3")
@COUNTED
@needs("messages")
def test_slow_consumers_total(start_server, online, user):
    server = start_server("--outbox-limit", "65536")
    alice = online("alice", server)
    bob = online("bob", server, receive_buffer=4096)
    bob.stop_reading()
    assert alice.ok("stats")["slow_consumers_total"] == 0
    note("alice writes until bob's outbox is over its limit")
    message = {"user_to": bob.user.name, "text": "x" * 8000}
    for _ in range(200):
        for seq in alice.send_many([("private_chat", message)] * 20):
            alice.reply(seq)
        if alice.ok("stats")["slow_consumers_total"]:
            break
    assert alice.ok("stats")["slow_consumers_total"] == 1
