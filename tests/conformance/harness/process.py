"""Processes: reading their lines with a deadline, their end in words, and where their threads are."""

import atexit
import os
import select
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from .clock import Deadline

_children = {}          # pid -> Popen; each leads a process group of its own


def remember(child):
    _children[child.pid] = child


def forget(child):
    """End the child and all that it started."""
    _children.pop(child.pid, None)
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    child.wait()
    child.stdout.close()


@atexit.register
def _forget_all():
    for child in list(_children.values()):
        forget(child)


def read_line(stream, deadline):
    """One line without its end; None at the end of the stream or at the deadline."""
    line = bytearray()
    while not line.endswith(b"\n"):
        if not select.select([stream], [], [], deadline.left())[0]:
            return None
        byte = os.read(stream.fileno(), 1)
        if not byte:
            return None
        line += byte
    return line.decode("utf-8", "replace").rstrip("\n")


def ended(child, deadline):
    """The exit status, or None when the child still runs at the deadline. Waits on a pidfd, not by polling."""
    if child.poll() is None:
        descriptor = os.pidfd_open(child.pid)
        try:
            select.select([descriptor], [], [], deadline.left())
        finally:
            os.close(descriptor)
    return child.poll()


def at_end(child):
    """Has the child closed its standard output?"""
    return bool(select.select([child.stdout], [], [], 0)[0])


def describe_end(status):
    if status is None:
        return "it still runs"
    if status < 0:
        return f"killed by {signal.Signals(-status).name}"
    return f"exit status {status}"


class Run:
    """A program started with a wholly given command line, in an empty directory, until it prints a line or ends.

    After the `with` it is gone. `first_line` is None and `status` its exit status when it ended without a line;
    `errors` is its standard error, whole once it has ended."""

    def __init__(self, command, directory=None, seconds=5):
        self.temporary = None if directory else tempfile.TemporaryDirectory(prefix="chat-conformance-")
        self.directory = Path(directory or self.temporary.name)
        self.stderr = tempfile.TemporaryFile()
        self.child = subprocess.Popen(command, cwd=self.directory, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                      stderr=self.stderr, start_new_session=True)
        remember(self.child)
        self.first_line = read_line(self.child.stdout, Deadline(seconds))
        self.status = None if self.first_line else ended(self.child, Deadline(seconds))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        forget(self.child)
        if self.temporary:
            self.temporary.cleanup()
        self.stderr.close()

    def finish(self, seconds=5):
        """Wait for its end; returns the exit status, None when it still runs."""
        self.status = ended(self.child, Deadline(seconds))
        return self.status

    def rest(self):
        """What else it printed, up to the end of standard output."""
        return self.child.stdout.read().decode("utf-8", "replace")

    @property
    def errors(self):
        self.stderr.seek(0)
        return self.stderr.read().decode("utf-8", "replace")

    def __str__(self):
        printed = f"it printed {self.first_line!r}" if self.first_line else "it printed nothing"
        return f"{describe_end(self.status)}, {printed}, standard error: {self.errors.strip()[-300:]!r}"


# --- Where a process that does not answer is (Linux)

SAMPLE_S = 0.2          # over which the CPU share is measured
SPINNING = 0.25         # a share that nothing idle has, also on a busy machine


def threads(pid):
    """One line a thread: name, state, CPU share, and where in the kernel it waits."""
    before = _ticks(pid)
    time.sleep(SAMPLE_S)            # a measurement needs its time; only after a failure
    after = _ticks(pid)
    lines = []
    for task in sorted(after):
        share = (after[task] - before.get(task, 0)) / os.sysconf("SC_CLK_TCK") / SAMPLE_S
        lines.append(_describe_thread(pid, task, share))
    return lines


def _tasks(pid):
    try:
        return [int(name) for name in os.listdir(f"/proc/{pid}/task")]
    except OSError:
        return []


def _ticks(pid):
    """CPU time (user and system) of each thread, in clock ticks."""
    ticks = {}
    for task in _tasks(pid):
        fields = _read(pid, task, "stat").rpartition(") ")[2].split()
        if len(fields) > 12:
            ticks[task] = int(fields[11]) + int(fields[12])
    return ticks


def _read(pid, task, name):
    try:
        return Path(f"/proc/{pid}/task/{task}/{name}").read_text().strip()
    except OSError:
        return ""


def _describe_thread(pid, task, share):
    state = _read(pid, task, "stat").rpartition(") ")[2][:1]
    where = _read(pid, task, "wchan")
    call = system_call(_read(pid, task, "syscall"))
    if share > SPINNING:
        doing = f"spinning, {share:.0%} CPU"
    elif state == "T":
        doing = "stopped by a signal"
    else:
        doing = f"blocked in {call or where or 'the kernel'}, {share:.0%} CPU"
    line = f"{_read(pid, task, 'comm')}  {doing}"
    stack = _read(pid, task, "stack")
    if stack and share <= SPINNING:
        line += "  [" + " < ".join(frame.split()[-1].split("+")[0] for frame in stack.splitlines()[:4]) + "]"
    return line


_CALLS = {          # x86-64 and arm64; others are shown by number
    "x86_64": {0: "read", 1: "write", 7: "poll", 20: "writev", 23: "select", 43: "accept", 44: "sendto",
               45: "recvfrom", 46: "sendmsg", 47: "recvmsg", 74: "fsync", 75: "fdatasync", 128: "rt_sigtimedwait",
               202: "futex", 230: "clock_nanosleep", 232: "epoll_wait", 270: "pselect6", 271: "ppoll",
               281: "epoll_pwait",
               288: "accept4", 130: "rt_sigsuspend", 34: "pause", 35: "nanosleep"},
    "aarch64": {63: "read", 64: "write", 66: "writev", 72: "pselect6", 73: "ppoll", 22: "epoll_pwait", 82: "fsync",
                83: "fdatasync", 98: "futex", 115: "clock_nanosleep", 137: "rt_sigtimedwait", 202: "accept",
                242: "accept4", 206: "sendto", 207: "recvfrom", 211: "sendmsg", 212: "recvmsg"},
}


def system_call(line):
    """`recvfrom(fd 7)` from a line of /proc/PID/task/TID/syscall."""
    words = line.split()
    if not words or not words[0].isdigit():
        return ""
    number = int(words[0])
    name = _CALLS.get(os.uname().machine, {}).get(number, f"system call {number}")
    if name in ("read", "write", "writev", "accept", "accept4", "sendto", "recvfrom", "sendmsg", "recvmsg"):
        return f"{name}(fd {int(words[1], 16)})"
    return name
