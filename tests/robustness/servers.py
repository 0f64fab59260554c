"""The server under experiment: the conformance harness's, with what only an experiment needs.

Importing this module makes the harness (tests/conformance/harness) importable.
"""

import os
import signal
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "conformance"))

from harness import process, story                      # noqa: E402
from harness.server import Program, Server              # noqa: E402

STAGES = sorted(path.name for path in ROOT.glob("0[1-9]-*"))


class Subject(Server):
    """A stage, built in the folder `programs`."""

    def __init__(self, stage, programs, *options):
        super().__init__(Program([str(Path(programs).resolve() / stage)], strict=True), options, label=stage)

    def stamp(self):
        """A file that changes when SQLite copies its log into the database (a checkpoint): when it was last written."""
        return os.stat(self.data / "chat.db").st_mtime_ns

    def strike(self):
        """SIGKILL, without waiting for the end: it may come at any moment, also from a signal handler."""
        self.end_expected = True
        try:
            os.kill(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass

    def bury(self):
        """Wait for its end, and keep nothing of it but the data."""
        self.wait_exit()
        process.forget(self.process)

    def start_and_strike(self, seconds):
        """Start it and kill it after so many seconds, wherever it is by then."""
        self._spawn()
        time.sleep(seconds)         # the experiment itself: a moment of its start, or of its recovery
        self.check()
        self.strike()
        self.bury()


class Failure(AssertionError):
    """What an experiment found, in words for the reader of its report."""


def begin_story():
    """The harness keeps a story of what its clients did; each round has its own."""
    return story.begin()


def steps_of(record):
    return "\n".join(f"  {step.who:12} {step.text} -> {step.outcome}" for step in record.steps())
