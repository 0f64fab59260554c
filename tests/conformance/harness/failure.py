"""The ways in which a test can fail. The report (report.py) is made from their attributes."""


class Unmet(AssertionError):
    """Something else came than what was expected."""

    def __init__(self, expected, got, client=None, rule=None):
        super().__init__(f"expected {expected}; got {got}")
        self.expected = expected
        self.got = got
        self.client = client
        self.rule = rule        # the rule that the harness itself found broken, if it is not the test's


class Unanswered(Unmet):
    """Nothing came before the deadline: the server hangs, or has simply not sent it."""


class Malformed(Unmet):
    """The server sent bytes that are no frame. `data` is what came, `offset` the first wrong byte in it."""

    def __init__(self, fault, data=b"", offset=0, client=None, rule="F-2"):
        super().__init__("a well-formed frame", fault, client, rule)
        self.data = data
        self.offset = offset


class Crash(AssertionError):
    """The server process ended although nobody asked it to."""


class LeftOut(Exception):
    """This test cannot be made with this server: no process to control, or an option it refuses."""
