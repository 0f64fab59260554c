"""S-3, where there is no memory: every allocation that a server makes on its way to `listening on` fails once. It says
why it cannot start and ends with 1, or starts and serves; it never crashes, and never waits for nothing.
"""

import os
import select
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = ROOT / "build" / "plain" / "hostile_memory.so"
STAGES = sorted(path.parent.name for path in ROOT.glob("0?-*/server.c"))
SAID = "HOSTILE_MEMORY: an allocation fails\n"
PING = bytes.fromhex("c4a7010000010000000000010000000076abcae50d0a")      # F-2
WAIT_S = 20


class Start:
    """A server with its n-th allocation failing, until it listens or has ended."""

    def __init__(self, stage, options, number):
        self.errors = tempfile.TemporaryFile()
        self.process = subprocess.Popen([ROOT / "bin" / stage, "--port", "0", *options], stdout=subprocess.PIPE,
                                        stderr=self.errors, text=True,
                                        env={**os.environ, "LD_PRELOAD": str(LIBRARY), "HOSTILE_MEMORY": str(number)})
        if not select.select([self.process.stdout], [], [], WAIT_S)[0]:
            self.process.kill()
            pytest.fail(f"allocation {number}: {stage} neither starts nor ends; {self.said()}")
        self.line = self.process.stdout.readline()

    def said(self):
        self.errors.seek(0)
        return self.errors.read().decode()

    def port(self):
        return int(self.line.rpartition(":")[2])

    def end(self, number=None):
        """The exit status, after a signal if one is given."""
        if number:
            self.process.send_signal(number)
        status = self.process.wait(WAIT_S)
        self.process.stdout.close()
        return status


def serves(port):
    """Does it answer somebody? The allocation may fail in what is done for the first client: then it closes that one."""
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        with socket.create_connection(("127.0.0.1", port), timeout=WAIT_S) as client:
            client.sendall(PING)
            if client.recv(100):
                return True
    return False


def start_failing_at(stage, options, number):
    """True: there was such an allocation, and what came of it was right."""
    start = Start(stage, options, number)
    if start.line:
        if SAID not in start.said():
            assert start.end(signal.SIGTERM) == 0
            return False
        assert serves(start.port()), f"allocation {number}: it says that it listens, and serves nobody"
        assert start.end(signal.SIGTERM) == 0
        return True
    assert start.end() == 1, f"allocation {number}: {start.said()}"
    assert start.said().replace(SAID, "").strip(), f"allocation {number}: it ends and does not say why"
    return True


@pytest.mark.parametrize("stage", STAGES)
def test_every_allocation_of_a_start_fails_once(stage):
    number = 1
    while start_failing_at(stage, ["--store", "memory"], number):
        number += 1
    assert number > 10, "the library was not preloaded"


@pytest.mark.parametrize("stage", STAGES)
def test_allocations_of_a_start_with_sqlite_fail(stage, tmp_path):
    """SQLite makes thousands: each stage takes a different sixteenth of them. The unit tests let every one fail."""
    number = 1 + STAGES.index(stage)
    while start_failing_at(stage, ["--store", "sqlite", "--data", str(tmp_path)], number):
        number += 16
    assert number > 1000, "the library was not preloaded"
