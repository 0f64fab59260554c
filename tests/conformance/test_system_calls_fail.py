"""Calls of the system that fail where a stage has several threads: no thread can be made (01-blocking), the pipe to a
thread is full (05-threaded). strace makes them fail.
"""

import contextlib
import shutil
import signal
import subprocess

import pytest

from harness import needs, rule, undisturbed
from harness.measure import descriptors, eventually
from test_budgets import is_traced

pytestmark = needs("limits")

PIPES = 2               # of 05-threaded, with --threads 2
TRIES = 2 * PIPES       # before accepting pauses: each pipe twice


@pytest.fixture
def failing(leave_out):
    """failing(server, call, when, ...): in the block, those of the main thread's calls fail; with -f, of each thread's."""
    @contextlib.contextmanager
    def block(server, call, when, *how):
        if shutil.which("strace") is None:
            leave_out("strace is not here")
        strace = subprocess.Popen(["strace", *how, "-qq", "-e", f"trace={call}", "-e", "signal=none", "-o", "/dev/null",
                                   "-e", f"inject={call}:error=EAGAIN:when={when}", "-p", str(server.pid)],
                                  stderr=subprocess.DEVNULL)
        try:
            if not traced(server, strace, "-f" in how):
                leave_out("strace may not look")
            yield
        finally:
            strace.send_signal(signal.SIGINT)       # it lets go of the server
            strace.wait()
    return block


def traced(server, strace, all_threads):
    if all_threads:
        return is_traced(server.pid, strace)
    status = f"/proc/{server.pid}/status"
    return eventually(lambda: strace.poll() is not None or "TracerPid:\t0\n" not in open(status).read(),
                      bool) and strace.poll() is None


@pytest.fixture
def only(program, leave_out):
    def check(stage):
        if not program.command[0].endswith(stage):
            leave_out(f"is about {stage}")
    return check


@undisturbed("who has no thread is sent his bye once, and nobody waits for room")
@rule("L-6", "L-9")
def test_01_a_client_without_threads_gets_a_bye(only, start_server, connect, failing):
    """Also when it has sent something already; and when there are threads again, the next one is served."""
    only("01-blocking")
    server = start_server("--store", "memory")
    first = connect(server)
    first.ok("ping")
    before = descriptors(server)
    with failing(server, "clone3", "1+", "-f"):
        for _ in range(3):
            refused = connect(server)
            refused.send_raw(b"x")
            refused.expect_bye("server_full")
        first.ok("ping")
    connect(server).ok("ping")
    eventually(lambda: descriptors(server), lambda count: count <= before + 1)


@rule("L-6")
def test_01_a_client_with_one_thread_gets_a_bye(only, start_server, connect, failing):
    """The writer is there, the reader is not. strace counts for each thread, and the acceptor makes them all."""
    only("01-blocking")
    server = start_server("--store", "memory")
    with failing(server, "clone3", "2", "-f"):
        connect(server).expect_bye("server_full")
        connect(server).ok("ping")


def paused(server):
    return any("the pipes to all threads are full" in line for line in server.log)


@rule("L-6")
def test_05_full_pipes_delay_nobody_who_is_connected(only, start_server, connect, failing):
    """The one that comes is not lost, and served when there is room."""
    only("05-threaded")
    server = start_server("--store", "memory", "--threads", str(PIPES))
    first = connect(server)
    first.ok("ping")
    with failing(server, "write", f"1..{TRIES}"):
        waiting = connect(server)
        waiting.send("ping")
        eventually(lambda: paused(server), bool)
        first.ok("ping")
        waiting.must(waiting.reply(), "success")
    connect(server).ok("ping")


@rule("L-6", "L-7")
def test_05_a_stop_while_all_pipes_are_full(only, start_server, connect, failing):
    """Those that a thread has get their bye; the connection in the acceptor's hand is closed, whatever it has sent. It
    is tried again after a second: a stop that comes only then has it in a pipe."""
    only("05-threaded")
    server = start_server("--store", "memory", "--threads", str(PIPES))
    first = connect(server)
    first.ok("ping")
    with failing(server, "write", f"1..{TRIES}"):
        waiting = connect(server)
        waiting.send("ping")
        eventually(lambda: paused(server), bool)
        server.signal(signal.SIGTERM)
        first.expect_bye("shutdown")
        first.close()
        while waiting.read_frame():
            pass
        waiting.close()
    assert server.wait_exit(7) == 0     # here: who traces a process learns of its end before its parent does
