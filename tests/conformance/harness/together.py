"""Many at once: requests that race on several connections, and numbers of users that one by one would take long."""

import pytest

from .client import User

LANES = 8           # connections that a crowd shares: what comes on them together is committed together


def at_once(requests):
    """[(client, cmd, fields), …]: sends all of them, then waits; the replies in the same order."""
    sent = [(client, client.send(cmd, **fields)) for client, cmd, fields in requests]
    return [client.reply(seq) for client, seq in sent]


def in_one_piece(client, requests):
    """[(cmd, fields), …] in one piece; the replies."""
    return [client.reply(seq) for seq in client.send_many(requests)]


def all_ok(replies):
    """Each of them must be `success`; returns them."""
    for reply in replies:
        assert reply.result == "success", str(reply)
    return replies


class Crowd:
    """Users who are there only for their number. They act on a few connections, one after the other on each."""

    def __init__(self, connect, name, server):
        self.lanes = [connect(server, f"lane {number + 1}") for number in range(LANES)]
        self.name = name

    def register(self, count, label="one"):
        """`count` new Users; nobody of them is logged in."""
        users = [User(self.name(label), "a password") for _ in range(count)]
        scripts = [[("register", {"user": user.name, "passwd": user.passwd})] for user in users]
        for replies in self._run(scripts):
            all_ok(replies)
        return users

    def act(self, users, requests):
        """Each user logs in, sends requests(user) = [(cmd, fields), …] and logs out: the replies to these requests,
        a list for each user."""
        scripts = [[("login", {"user": user.name, "passwd": user.passwd}), *requests(user), ("logout", {})]
                   for user in users]
        results = []
        for first, *replies, last in self._run(scripts):
            all_ok([first, last])
            results.append(replies)
        return results

    def _run(self, scripts):
        """Each script whole on one lane; returns the replies, a list for each script."""
        sent = [None] * len(scripts)
        for number, lane in enumerate(self.lanes):
            mine = range(number, len(scripts), len(self.lanes))
            seqs = iter(lane.send_many([request for i in mine for request in scripts[i]]))
            for i in mine:
                sent[i] = lane, [next(seqs) for _ in scripts[i]]
        results = [[lane.reply(seq) for seq in seqs] for lane, seqs in sent]
        for lane in self.lanes:
            lane.pushes.clear()
        return results


@pytest.fixture
def crowd(connect, name):
    """crowd() -> Crowd on the shared server, crowd(server) on another one."""
    return lambda server=None: Crowd(connect, name, server)
