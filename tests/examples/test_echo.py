"""docs/examples/echo-*.c: small, and yet right.

    make examples && /usr/bin/python3 -m pytest tests/examples

EXAMPLES names the folder of other programs than build/plain/examples (build/asan/examples, build/tsan/examples ...).
Nothing sleeps for luck: every wait is for something to be seen, with a deadline, and where it is shown that nothing
happens, a loaded machine makes the test less strict and never makes it fail.
"""

import os
import re
import resource
import select
import shlex
import shutil
import signal
import socket
import struct
import subprocess
import threading
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted((ROOT / "docs/examples").glob("echo-*.c"))
PROGRAMS = Path(os.environ.get("EXAMPLES", ROOT / "build/plain/examples"))
MODELS = ["blocking", "select", "epoll", "libevent", "threaded"]
DEADLINE_S = 60
PROMPTLY_S = 5
NO_LINGER = struct.pack("ii", 1, 0)     # close() sends a reset
NOISE = os.urandom(1 << 20)             # no two parts of it look alike: what is lost or twice shows


class Echo:
    """A running example."""

    def __init__(self, model):
        self.process = subprocess.Popen([PROGRAMS / f"echo-{model}", "0"], stdout=subprocess.PIPE,
                                        env={**os.environ, "TSAN_OPTIONS": "halt_on_error=1"})
        assert select.select([self.process.stdout], [], [], DEADLINE_S)[0], "it does not say that it listens"
        line = self.process.stdout.readline().decode()
        match = re.fullmatch(r"listening on 127\.0\.0\.1:(\d+)\n", line)
        assert match and match[1] != "0", f"it said {line!r}"
        self.port = int(match[1])

    def connect(self, receive_bytes=None):
        client = socket.socket()
        if receive_bytes:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        client.settimeout(DEADLINE_S)
        client.connect(("127.0.0.1", self.port))
        return client

    def serves(self, within_s=DEADLINE_S):
        """A new client gets its answer."""
        with self.connect() as client:
            client.settimeout(within_s)
            assert echoed(client, b"anybody there?") == b"anybody there?"

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def busy_s(self):
        """How long its threads have run, or were kept from it by others: on a loaded machine a spin shows, too."""
        threads = Path(f"/proc/{self.process.pid}/task").glob("*/schedstat")
        return sum(sum(map(int, thread.read_text().split()[:2])) for thread in threads) / 1e9

    def close(self):
        assert self.process.poll() is None, "it ended by itself"
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


@pytest.fixture(params=MODELS)
def echo(request):
    server = Echo(request.param)
    yield server
    server.close()


def receive(client, length):
    """`length` bytes, or what came before the end."""
    data = bytearray()
    while len(data) < length:
        part = client.recv(length - len(data))
        if not part:
            break
        data += part
    return bytes(data)


def echoed(client, data):
    client.sendall(data)
    return receive(client, len(data))


def until(condition, what):
    end = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.001)


def stuff(client, limit=256 << 20):
    """Send without reading until nothing more is taken; how much was."""
    sent = 0
    client.setblocking(False)
    while sent < limit and select.select([], [client], [], 0.2)[1]:
        sent += client.send(NOISE)
    client.settimeout(DEADLINE_S)
    return sent


def test_all_five_are_here():
    assert [source.stem for source in SOURCES] == sorted(f"echo-{model}" for model in MODELS)


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_it_can_be_read_at_one_sitting(source):
    assert 60 <= source.read_text(encoding="utf-8").count("\n") <= 120


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_it_compiles_by_the_line_in_its_header(source, tmp_path):
    line = re.search(r"^ \* Build\. +(gcc .*)$", source.read_text(encoding="utf-8"), re.MULTILINE)
    assert line, "no line ` * Build.      gcc ...`"
    shutil.copy(source, tmp_path)
    made = subprocess.run(shlex.split(line[1]), cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (made.returncode, made.stderr) == (0, "")
    assert (tmp_path / source.stem).exists()


def test_bytes_one_by_one(echo):
    with echo.connect() as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in NOISE[:500]:                        # each for itself
            assert echoed(client, bytes([byte])) == bytes([byte])
        for byte in NOISE[:5000]:                       # one behind the other
            client.send(bytes([byte]))
        assert receive(client, 5000) == NOISE[:5000]


def test_a_slow_reader_gets_all_and_keeps_nobody_waiting(echo):
    data = NOISE * 10
    with echo.connect(receive_bytes=4096) as slow, echo.connect() as other:
        writer = threading.Thread(target=slow.sendall, args=(data,))
        writer.start()
        got = bytearray()
        while len(got) < len(data):
            part = slow.recv(2048)
            assert part, "the end came early"
            if len(got) >> 20 != len(got) + len(part) >> 20:
                other.settimeout(PROMPTLY_S)
                assert echoed(other, b"and I?") == b"and I?"
            got += part
        writer.join()
        assert got == data


def test_who_does_not_read_is_not_read_from(echo):
    with echo.connect(receive_bytes=4096) as deaf:
        assert stuff(deaf) < 256 << 20, "it took everything: its memory has no bound"
        for _ in range(5):
            echo.serves(within_s=PROMPTLY_S)
        with echo.connect() as idle:
            before, started = echo.busy_s(), time.monotonic()
            assert select.select([idle], [], [], 0.5)[0] == []
            assert echo.busy_s() - before < (time.monotonic() - started) / 2, "it spins"


def test_half_close(echo):
    with echo.connect(receive_bytes=4096) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)

        def write():
            client.sendall(NOISE * 4)
            client.shutdown(socket.SHUT_WR)

        writer = threading.Thread(target=write)
        writer.start()
        assert receive(client, 4 << 20) == NOISE * 4
        assert client.recv(1) == b""
        writer.join()
    with echo.connect() as client:                      # data and FIN together
        client.sendall(b"last words")
        client.shutdown(socket.SHUT_WR)
        assert receive(client, 100) == b"last words"
    with echo.connect() as client:                      # nothing but a FIN
        client.shutdown(socket.SHUT_WR)
        assert client.recv(1) == b""


def test_200_connections_at_once(echo):
    clients = [echo.connect() for _ in range(200)]
    for number, client in enumerate(clients):
        client.sendall(b"I am %d" % number)
    for number, client in enumerate(clients):
        assert receive(client, len(b"I am %d" % number)) == b"I am %d" % number
    before = echo.descriptors()
    for client in clients:
        client.close()
    until(lambda: echo.descriptors() <= before - 200, "descriptors of connections that ended are still open")


def test_resets_in_the_middle(echo):
    echo.serves()
    with echo.connect() as stays:
        assert echoed(stays, b"one") == b"one"
        before = echo.descriptors()
        for number in range(40):
            client = echo.connect(receive_bytes=4096)
            if number % 4 == 0:
                stuff(client)                           # while it waits for room
            elif number % 4 == 1:
                client.sendall(NOISE[:100_000])         # while it writes
            elif number % 4 == 2:
                assert echoed(client, b"hello") == b"hello"
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
            client.close()
        until(lambda: echo.descriptors() <= before, "descriptors of connections that were reset are still open")
        assert echoed(stays, b"two") == b"two"
    echo.serves()


def test_peers_that_are_gone_before_their_answer(echo):
    """After data, FIN and reset, the data can be read, and writing is EPIPE: that is where SIGPIPE comes from."""
    echo.process.send_signal(signal.SIGSTOP)
    for _ in range(5):
        client = echo.connect()
        client.sendall(b"good bye")
        client.shutdown(socket.SHUT_WR)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
        client.close()
    echo.process.send_signal(signal.SIGCONT)
    echo.serves()
    assert echo.process.poll() is None


def test_no_descriptors_left(echo):
    pid = echo.process.pid
    served = [echo.connect() for _ in range(10)]
    for client in served:
        assert echoed(client, b"in time") == b"in time"
    # A limit is one for numbers, not for how many there are.
    limit = max(int(name) for name in os.listdir(f"/proc/{pid}/fd")) + 1
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (limit, resource.prlimit(pid, resource.RLIMIT_NOFILE)[1]))
    waiting = [echo.connect() for _ in range(6)]        # in the backlog
    for client in waiting:
        client.sendall(b"in the end")
    before, started = echo.busy_s(), time.monotonic()
    # A thread that sleeps in accept(2) has its number already: one may still be served.
    assert select.select(waiting[1:], [], [], 1)[0] == [], "served without a descriptor"
    assert echo.busy_s() - before < (time.monotonic() - started) / 2, "it spins"
    for client in served:
        assert echoed(client, b"still served") == b"still served"
    for client in served:
        client.close()
    for client in waiting:
        assert receive(client, 10) == b"in the end"
        client.close()
    echo.serves()


def test_descriptors_are_closed_on_exec(echo):
    with echo.connect() as client:
        assert echoed(client, b"hello") == b"hello"
        infos = [info for info in Path(f"/proc/{echo.process.pid}/fdinfo").iterdir() if int(info.name) > 2]
        assert infos
        for info in infos:
            flags = int(re.search(r"^flags:\s+(\d+)", info.read_text(), re.MULTILINE)[1], 8)
            assert flags & os.O_CLOEXEC, os.readlink(f"/proc/{echo.process.pid}/fd/{info.name}")


def test_select_refuses_what_no_set_can_hold():
    echo = Echo("select")
    clients = [echo.connect() for _ in range(1100)]
    served = 0
    for client in clients:
        try:
            served += echoed(client, b"room?") == b"room?"
        except ConnectionError:
            pass
    assert 1000 < served < 1024
    assert echoed(clients[0], b"still?") == b"still?"
    for client in clients:
        client.close()
    until(lambda: echo.descriptors() < 50, "descriptors are still open")
    echo.serves()
    echo.close()


def test_both_io_threads_have_connections():
    echo = Echo("threaded")
    clients = [echo.connect() for _ in range(10)]
    for client in clients:
        assert echoed(client, b"hello") == b"hello"
    infos = [info.read_text() for info in Path(f"/proc/{echo.process.pid}/fdinfo").iterdir()]
    watched = [info.count("tfd:") for info in infos if "tfd:" in info]
    assert watched == [1 + 5, 1 + 5], "not the pipe and half of the connections each"
    for client in clients:
        client.close()
    echo.close()


# ---- docs/examples/README.md: the commands show what it says that they show

README = (ROOT / "docs/examples/README.md").read_text(encoding="utf-8")
COMMANDS = {model: line for line, model in re.findall(r"^(strace .*/echo-(\w+)) 8000$", README, re.MULTILINE)}
CLIENT = re.search(r"^python3 -c '(.*?)'$", README, re.MULTILINE | re.DOTALL)[1]
TAKEN = r'sendto\(\d+, "xxxx"\.\.\., 65536, MSG_NOSIGNAL, NULL, 0\) += (?:(?!65536\n)\d+|-1 EAGAIN.*)\n'
SHORT = {       # of what strace shows until the client waits for Enter
    "blocking": r'sendto\(\d+, "xxxx"\.\.\., \d+, MSG_NOSIGNAL, NULL, 0$',
    "select": TAKEN + r"pselect6\(5, \[3\], \[4\]",
    "epoll": TAKEN + r"epoll_ctl\(.*events=EPOLLOUT,",
    "libevent": r"epoll_ctl\(.*events=EPOLLOUT,",
    "threaded": r"(?:.*readv.*\n){8}",        # more than a write takes
}


def can_trace():
    return subprocess.run(["strace", "true"], capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not can_trace(), reason="strace may not trace here")
@pytest.mark.parametrize("model", MODELS)
def test_the_readme_shows_what_happens(model, tmp_path):
    trace = tmp_path / "trace"
    with open(trace, "wb") as file:
        server = subprocess.Popen([*shlex.split(COMMANDS[model]), "0"], cwd=ROOT, stdout=subprocess.PIPE, stderr=file)
    port = server.stdout.readline().decode().rpartition(":")[2].strip()
    pid = int(Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()[0])
    client = subprocess.Popen(["python3", "-c", CLIENT.replace("8000", port)], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, text=True)
    deadline = threading.Timer(DEADLINE_S, client.kill)
    deadline.start()
    try:
        assert [client.stdout.readline() for _ in range(2)] == ["b'he'\n", "b'llo'\n"]
        said = "".join(iter(lambda: client.stdout.read(1), ":"))
        sent = re.fullmatch(r"(\d+) sent, none read. Enter", said)[1]
        seen = trace.read_text()
        assert re.search(r'"?he", .*\) += 2\n', seen) and re.search(r'"?llo", .*\) += 3\n', seen)
        assert re.search(SHORT[model], seen), seen[-2000:]
        if model == "blocking":
            os.kill(pid, signal.SIGSTOP)
            os.kill(pid, signal.SIGCONT)
            # Of a send that had not taken a byte yet, nothing is told: the system makes the call anew.
            interrupted = re.compile(r"\) += (?!65536\n)(?:\d+|\? ERESTART.*)\n")
            until(lambda: interrupted.search(trace.read_text()[len(seen):]), "the send was not interrupted")
        client.stdin.write("\n")
        client.stdin.close()
        assert client.stdout.read() == f" {sent} came back\n"
        if "writev" in COMMANDS[model]:
            written = trace.read_text()[len(seen):]
            assert re.search(r"writev.*iov_len=\d+\}, .* = 16384\n", written), written[:2000]
    finally:
        deadline.cancel()
        client.kill()
        os.kill(pid, signal.SIGKILL)
        server.wait()
