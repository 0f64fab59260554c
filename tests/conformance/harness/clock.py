"""Deadlines. Every wait of the suite has exactly one, on the monotonic clock, scaled by --slow-factor."""

import time

WAIT_S = 5.0            # how long a server may take for anything that has no time of its own
_factor = 1.0


def set_slow_factor(factor):
    global _factor
    _factor = factor


def scaled(seconds):
    return seconds * _factor


class Deadline:
    def __init__(self, seconds=WAIT_S):
        self.seconds = scaled(seconds)
        self.due = time.monotonic() + self.seconds

    def left(self):
        return max(0.0, self.due - time.monotonic())

    def passed(self):
        return time.monotonic() >= self.due
