"""Churn: connections of every kind of end, by the ten thousand, on descriptors that are used again at once.

Each Visitor does what his kind says and is followed by the next one immediately, so a descriptor that the server closes
is given out again within microseconds. What a stale event, a reply or a push meant for the one before would show as: a
reply that was not asked for, or a push to somebody else.
"""

import itertools
import random
from collections import Counter

from harness import User
from harness.together import Crowd

from peers import SOURCES, Peer
from servers import Failure, Subject

SLOTS = 96              # visitors at a time
WAIT_S = 300

# How many others a visitor writes to. Two who have written to each other are a conversation from then on, some 250 bytes
# that stay: all of them are to be there soon, and not only when each of the 96 has met each.
PARTNERS = 8
HALF_A_FRAME = bytes.fromhex("c4a7 01 00 0401 0000 00000009 00000040") + b'{"user_to":'
FILLER = "said and gone " * 20

# What a visitor does, and how it ends; drawn from.
KINDS = ["connects", "connects and resets", "logs in", "logs in and resets", "half-closes", "logs out", "mid-frame",
         "mid-frame and resets", "breaks the form", "leaves unread"]


class Visitor(Peer):
    def __init__(self, churn, slot, kind, account):
        self.source = SOURCES[churn.chance.randrange(len(SOURCES))]
        super().__init__(churn.peers)
        self.churn, self.slot, self.kind, self.account = churn, slot, kind, account
        self.user = account.name
        self.byes = 0
        if kind == "connects":
            self.leave(self.close)
        elif kind == "connects and resets":
            self.leave(self.reset)
        elif kind == "breaks the form":
            self.send(b"\xc4\x00" + b"x" * 40)
        else:
            self.log_in(account)
            self.send(self.rest())

    def rest(self):
        """What is sent behind the login, without waiting for its reply."""
        other = self.churn.accounts[(self.slot + self.churn.chance.randrange(PARTNERS)) % SLOTS].name
        saying = [self.request("private_chat", user_to=other, text=FILLER) for _ in range(2)]
        if self.kind.startswith("mid-frame"):
            return b"".join(saying) + HALF_A_FRAME
        if self.kind == "logs out":
            return b"".join(saying) + self.request("logout")
        if self.kind == "leaves unread":
            return b"".join(self.request("history", user=other, limit=100) for _ in range(5))
        return b"".join(saying) + self.request("ping")

    def leave(self, how):
        how()
        self.churn.left(self)

    def on_reply(self, cmd, payload):
        if payload["result"] not in ("success", "offline") or payload.get("user", self.user) != self.user:
            raise Failure(f"{self}, who {self.kind}, asked {cmd} and got {payload}")
        if self.kind == "logs in and resets" and cmd == "login":
            self.leave(self.reset)
        elif self.kind == "half-closes" and cmd == "login":
            self.half_close()
        elif self.kind == "leaves unread" and cmd == "login":
            self.leave(self.close)      # what comes now is answered by a reset
        elif self.kind == "mid-frame and resets" and not self.unanswered:
            self.leave(self.reset)
        elif self.kind in ("logs in", "logs out", "mid-frame") and not self.unanswered:
            self.leave(self.close)

    def on_push(self, name, payload):
        if name == "bye" and self.kind == "breaks the form" and payload["error"] == "bad_head":
            self.byes += 1
        elif name != "private_chat_recv" or payload["user_to"] != self.user:
            raise Failure(f"{self}, who {self.kind}, got {name} {payload}")

    def on_end(self, how):
        if how != "fin" or not (self.kind == "half-closes" and not self.unanswered or self.byes == 1):
            raise Failure(f"{self}, who {self.kind}, met the end of the connection ({how}); unanswered {self.unanswered}")
        self.churn.left(self)


class Churn:
    """`connects` visitors, half of them before the memory is looked at for the first time."""

    options = ()
    connects = 50_000

    def __init__(self, server, peers, scale, _):
        self.server, self.peers = server, peers
        self.half = int(self.connects * scale) // 2
        self.chance = random.Random("churn")
        self.accounts = []
        self.kinds = Counter()

    def set_up(self):
        numbers = itertools.count()
        crowd = Crowd(Subject.connect, lambda _: f"visitor-{next(numbers)}", self.server)
        self.accounts = crowd.register(SLOTS)
        for lane in crowd.lanes:
            lane.close()

    def run(self):
        """One half."""
        self.to_come, self.here, self.free = self.half, 0, list(range(SLOTS))
        self.peers.run(self.refill, WAIT_S, lambda: f"{self.to_come} visitors are still to come, {self.here} are here")

    def refill(self):
        while self.free and self.to_come:
            slot = self.free.pop(self.chance.randrange(len(self.free)))
            kind = self.chance.choice(KINDS)
            self.kinds[kind] += 1
            self.to_come -= 1
            self.here += 1
            Visitor(self, slot, kind, self.accounts[slot])
        return not self.to_come and not self.here

    def left(self, visitor):
        self.here -= 1
        self.free.append(visitor.slot)

    def figures(self):
        return {"connects": self.half * 2}
