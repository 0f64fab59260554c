"""Requests and replies (section Q)."""

from harness import rule


@rule("Q-1")
def test_ping(connect):
    connect().ok("ping")


@rule("Q-1")
def test_ping_ping(users):
    a, b = users(2)
    a.ok("ping")
    b.expect_nothing()
