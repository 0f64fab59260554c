"""What happened in the running test: steps in words, and the last bytes both ways, for the failure report."""

from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass

FIRST_STEPS = 12        # a flood of steps keeps its beginning and its end
LAST_STEPS = 28
LAST_BYTES = 6          # records of bytes kept, over all clients
KEPT_BYTES = 1024       # of each record


@dataclass
class Step:
    number: int
    who: str
    text: str
    outcome: str = ""       # how it ended, e.g. "success"


@dataclass
class Bytes:
    who: str
    sent: bool
    data: bytes
    length: int


class Story:
    """One test's steps. A step that is begun and not ended is the one that failed."""

    def __init__(self):
        self.first = []
        self.last = deque(maxlen=LAST_STEPS)
        self.count = 0
        self.bytes = deque(maxlen=LAST_BYTES)
        self.servers = []
        self.clients = []

    def step(self, who, text, outcome=""):
        self.count += 1
        step = Step(self.count, who, text, outcome)
        (self.first if len(self.first) < FIRST_STEPS else self.last).append(step)
        return step

    def steps(self):
        return [*self.first, *self.last]

    def saw_bytes(self, who, sent, data):
        self.bytes.append(Bytes(who, sent, bytes(data[:KEPT_BYTES]), len(data)))


current = Story()       # the running test's; set by plugin.py before each test


def begin():
    global current
    current = Story()
    return current


@contextmanager
def aside():
    """What is done in here is not told."""
    global current
    kept, current = current, Story()
    try:
        yield
    finally:
        current = kept


def note(text):
    """A step of the test's own, for the report: note("everybody is in the group")."""
    current.step("", text)
