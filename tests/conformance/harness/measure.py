"""Looking at a server from outside: its time, its memory, its descriptors (Linux), and time that must pass."""

import os
import resource
import select
import signal
import time
from contextlib import contextmanager
from pathlib import Path

from .clock import Deadline, scaled

SLACK_S = 1.5           # how late an action of the clock may be: timers may be rounded, and the machine may be busy
CLOCK_S = 0.005         # how early it may seem: the server's clock counts milliseconds
TICKS = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def eventually(ask, holds, seconds=None):
    """Ask again until it holds: for what a client cannot see the moment of. Returns the answer."""
    deadline = Deadline() if seconds is None else Deadline(seconds)
    while not holds(answer := ask()):
        assert not deadline.passed(), f"still {answer} after {deadline.seconds:g} s"
        let_pass(0.005)
    return answer


def let_pass(seconds):
    """Time that has to pass because a rule says so, or because it is what is observed. Never for luck: a test that
    waits for something waits for that."""
    select.select([], [], [], seconds)


def within(began, ended, seconds, slack=SLACK_S):
    """Something took `seconds`: never less, and little more. `began` is a moment not after its true beginning."""
    took = ended - began
    assert took >= seconds - CLOCK_S, f"it came after {took:.3f} s, before the {seconds:g} s were over"
    assert took <= seconds + scaled(slack), f"it came only after {took:.2f} s instead of {seconds:g} s"


@contextmanager
def asleep(server):
    """The process does nothing in here (SIGSTOP), and finds all that has come at once afterwards."""
    os.kill(server.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(server.pid, signal.SIGCONT)


def reset_or_none(client, seconds):
    """Wait, without reading, until the connection was reset; returns that moment, or None: it was not."""
    poller = select.poll()
    poller.register(client.socket, 0)       # POLLERR and POLLHUP are always told
    return time.monotonic() if poller.poll(Deadline(seconds).left() * 1000) else None


def ended_by_itself(client, seconds=None):
    """Wait, without reading, until the connection was reset; returns that moment."""
    seconds = client.wait_s if seconds is None else seconds
    moment = reset_or_none(client, seconds)
    assert moment, f"the connection was not reset within {seconds:g} s"
    return moment


def cpu_seconds(server):
    """CPU time that the process has used, all threads together."""
    fields = Path(f"/proc/{server.pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def cpu_seconds_at_end(server):
    """The same once it has ended, before wait_exit() is called: until then /proc still knows the process."""
    descriptor = os.pidfd_open(server.pid)
    try:
        assert select.select([descriptor], [], [], Deadline().left())[0], "the process still runs"
    finally:
        os.close(descriptor)
    return cpu_seconds(server)


def resident_bytes(server):
    return int(Path(f"/proc/{server.pid}/statm").read_text().split()[1]) * PAGE_BYTES


def without_quarantine():
    """The environment of a server whose memory is measured: AddressSanitizer keeps what is freed, up to 256 MiB; this
    leaves it nearly nothing."""
    return {"ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":quarantine_size_mb=1"}


def has_own_memory(server):
    """Is the server watched by ThreadSanitizer, whose memory says little about the server's?"""
    return "libtsan" in Path(f"/proc/{server.pid}/maps").read_text()


def keeps_threads(server):
    """Is it watched by AddressSanitizer, which keeps half a KiB of every thread that there ever was, and finds leaks
    itself?"""
    return "libasan" in Path(f"/proc/{server.pid}/maps").read_text()


def descriptors(server):
    return len(os.listdir(f"/proc/{server.pid}/fd"))


def leave_descriptors(server, spare):
    """From now on the process can have only `spare` descriptors more than it has: their soft limit is lowered.
    Returns a function that takes this back."""
    numbers = sorted(int(name) for name in os.listdir(f"/proc/{server.pid}/fd"))
    free = (number for number in range(10 ** 6) if number not in numbers)
    limit = [next(free) for _ in range(spare + 1)][-1]      # the lowest free numbers are given out first
    old = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (limit, old[1]))
    return lambda: resource.prlimit(server.pid, resource.RLIMIT_NOFILE, old)
