"""What happened in the running test: steps in words, and the last bytes both ways, for the failure report."""

import re
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass

FIRST_STEPS = 12        # a flood of steps keeps its beginning and its end
LAST_STEPS = 28
ALIKE = 4
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
        self._signature, self._alike = None, 0
        self.bytes = deque(maxlen=LAST_BYTES)
        self.servers = []
        self.clients = []

    def step(self, who, text, outcome=""):
        self.count += 1
        step = Step(self.count, who, text, outcome)
        self._count_alike(step)
        if self._alike > ALIKE:
            (self.last or self.first)[-1] = step        # of many alike, the first ones and the last one
        else:
            (self.first if len(self.first) < FIRST_STEPS else self.last).append(step)
        return step

    def _count_alike(self, step):
        """How many steps in a row, this one included, differ only in numbers."""
        signature = re.sub(r"\d+", "#", f"{step.who} {step.text}")
        self._alike = self._alike + 1 if signature == self._signature else 1
        self._signature = signature

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
    """What is done in here is not told to the test's story, but to the one given."""
    global current
    kept, current = current, Story()
    try:
        yield current
    finally:
        current = kept


def note(text):
    """A step of the test's own, for the report: note("everybody is in the group")."""
    current.step("", text, "ok")
