"""Crowds: a reset storm during a fan-out, peers that do not read beside peers that do, floods, and slow peers."""

import itertools

from harness.measure import eventually
from harness.protocol import encode_frame
from harness.together import Crowd

from peers import Follower, Peer
from servers import Failure, Subject

WAIT_S = 120


class Hall:
    """A group of many. Who is in it comes and goes by logging in and ending."""

    options = ()
    members = 0

    def __init__(self, server, peers, scale, counter):
        self.server, self.peers, self.scale, self.counter = server, peers, scale, counter
        self.group = type(self).__name__
        self.users = []

    def set_up(self):
        """Everybody joins while hardly anybody is logged in: else joining alone costs a push for each pair."""
        numbers = itertools.count()
        crowd = Crowd(Subject.connect, lambda _: f"{self.group}-{next(numbers)}", self.server)
        self.owner, *self.users = crowd.register(1 + self.members)
        crowd.act([self.owner], lambda user: [("group_create", {"group": self.group})])
        crowd.act(self.users, lambda user: [("group_join", {"group": self.group})])
        for lane in crowd.lanes:
            lane.close()

    def enter(self, kind, users, at_a_time=50):
        """Sessions of class `kind`, logged in, a few at a time: passwords are hashed (A-10)."""
        entered = []
        for start in range(0, len(users), at_a_time):
            some = [kind(self.peers) for _ in users[start:start + at_a_time]]
            for peer, user in zip(some, users[start:]):
                peer.group = self.group
                peer.log_in(user)
            entered += some
            self.peers.run(lambda: all(peer.logged_in for peer in some), WAIT_S, f"{len(entered)} are logged in")
        return entered

    def all_have(self, followers, latest):
        self.peers.run(lambda: all(peer.latest == latest for peer in followers), WAIT_S,
                       lambda: f"all have number {latest}: {sum(peer.latest == latest for peer in followers)} of "
                               f"{len(followers)} have")

    def speak(self, owner, count, filler):
        """`count` messages in one piece, all numbered; returns when they are answered."""
        owner.sent += count
        owner.send(b"".join(owner.request("group_chat", group=self.group, text=f"{number} {filler}")
                            for number in range(owner.sent - count + 1, owner.sent + 1)))

    def answered(self, owner):
        self.peers.run(lambda: not owner.unanswered, WAIT_S, "all is answered")


class ResetStorm(Hall):
    """Again and again, half of a group resets while a burst is being written to all of it. The others miss nothing."""

    members = 300
    storms = 20             # a half of the experiment
    burst, filler = 40, "x" * 2000

    def run(self):
        staying = self.enter(Follower, self.users[::2])
        owner = self.enter(Follower, [self.owner])[0]
        for _ in range(max(2, int(self.storms * self.scale))):
            going = self.enter(Follower, self.users[1::2])
            for peer in going:
                peer.stop_reading()
            self.speak(owner, self.burst, self.filler)
            first = [peer.latest for peer in staying]
            self.peers.run(lambda: [peer.latest for peer in staying] != first, WAIT_S, "the fan-out has begun")
            for peer in going:
                peer.reset()
            self.answered(owner)
            self.all_have(staying, owner.latest)
        for peer in [*staying, owner]:
            peer.close()

    def figures(self):
        return {"resets": 2 * max(2, int(self.storms * self.scale)) * (self.members // 2)}


class Stalled(Follower):
    """Does not read after its login, until it is let to: then it reads to the end."""

    receive_buffer = 4096

    def on_reply(self, cmd, payload):
        super().on_reply(cmd, payload)
        self.stop_reading()

    def on_push(self, name, payload):
        pass


class StalledReaders(Hall):
    """500 that do not read beside 500 that do, in one group. Those end as slow consumers (L-3), these get all."""

    members = 1000
    burst, filler = 4, "x" * 8000
    most_bursts = 200

    def __init__(self, *how):
        super().__init__(*how)
        if self.server.label == "02-select":
            self.members = 880          # FD_SETSIZE, less what is kept for refusals, the store and the live peers
        self.members = 2 * int(self.members // 2 * min(1, self.scale))

    def run(self):
        before = self.counter("slow_consumers_total")
        reading = self.enter(Follower, self.users[::2])
        stalled = self.enter(Stalled, self.users[1::2])
        owner = self.enter(Follower, [self.owner])[0]
        for _ in range(self.most_bursts):
            self.speak(owner, self.burst, self.filler)
            self.answered(owner)
            self.all_have(reading, owner.latest)
            closed = self.counter("slow_consumers_total") - before
            if closed == len(stalled):
                break
        else:
            raise Failure(f"{owner.sent} messages of {len(self.filler)} bytes have closed only {closed} of {len(stalled)} "
                          "stalled readers")
        eventually(lambda: self.counter("sessions"), lambda count: count < len(reading) + 20, WAIT_S)
        for peer in [*reading, *stalled, owner]:
            peer.close()

    def figures(self):
        return {"stalled readers": self.members // 2, "live readers": self.members // 2}


class Flooding(Peer):
    """Sends messages as fast as the server takes them; `reading` of the replies or not."""

    flooding = logged_in = False
    answers = 0

    def begin(self, reading):
        self.piece = b"".join(encode_frame("private_chat", {"user_to": self.user, "text": "flood"}) for _ in range(200))
        self.flooding, self.reading = True, reading
        self.flush()

    def flush(self):
        self.output = self.output or (self.piece if self.flooding else b"")
        super().flush()

    def watch(self):
        self.output = self.output or (self.piece if self.flooding else b"")
        super().watch()

    def take(self, cmd, seq, body):
        if not self.flooding:
            super().take(cmd, seq, body)
            return
        self.answers += 1
        if b'"result":"success"' not in body and b'"result":"rate_limited"' not in body:
            raise Failure(f"a flood was answered {body}")

    def on_reply(self, cmd, payload):
        self.logged_in = payload["result"] == "success"


class Floods(Hall):
    """20 senders without a pause, in `load` also without a rate limit; half of them read no answer (L-4)."""

    members = 20
    seconds = 6             # a half of the experiment

    def run(self):
        flooding = self.enter(Flooding, self.users)
        for number, peer in enumerate(flooding):
            peer.begin(number % 2 == 0)
        self.peers.run_for(max(1, self.seconds * self.scale))
        self.answers = sum(peer.answers for peer in flooding)
        if min(peer.answers for peer in flooding[::2]) == 0:
            raise Failure("a sender that reads was not answered at all")
        for peer in flooding:
            peer.reset()

    def figures(self):
        return {"flooding senders": self.members, "messages answered in the second half": self.answers}


class Knocking(Peer):
    """Logs in with a wrong password and the right one in turn, and registers: each of them is a hash."""

    def __init__(self, peers, storm, user, turn):
        super().__init__(peers)
        self.storm, self.account, self.user, self.turn = storm, user, user.name, turn
        self.knock()

    def knock(self):
        self.turn += 1
        if self.turn % 3 == 0:
            self.storm.registered += 1
            self.ask("register", user=f"new-{self.storm.registered}", passwd="a password")
        else:
            self.ask("login", user=self.user, passwd=self.account.passwd if self.turn % 3 == 1 else "a wrong one")

    def on_reply(self, cmd, payload):
        self.storm.results[payload["result"]] = self.storm.results.get(payload["result"], 0) + 1
        if cmd == "login" and payload["result"] == "success":
            self.ask("logout")
        else:
            self.knock()


class PasswordStorm(Hall):
    """100 connections that do nothing but have passwords hashed, at the cost of a server in earnest (A-10, L-11)."""

    options = ("--password-cost", "interactive")
    members = 24
    knocking_each = 4
    seconds = 15            # a half of the experiment
    least = 12              # hashes, however slow the machine is

    registered = 0

    def run(self):
        self.results = {}
        knocking = [Knocking(self.peers, self, user, turn) for turn in range(self.knocking_each) for user in self.users]
        self.peers.run_for(self.seconds * self.scale)
        self.peers.run(lambda: sum(self.results.values()) >= self.least, WAIT_S, f"{self.least} hashes")
        if set(self.results) - {"success", "passwd_error", "too_many_attempts", "rate_limited"}:
            raise Failure(f"results: {self.results}")
        for peer in knocking:
            peer.reset()

    def figures(self):
        return {"connections that ask for hashes": self.members * self.knocking_each}


class Dripping(Follower):
    """Sends a frame byte by byte."""

    FRAME = encode_frame("ping", {"padding": "x" * 1000})
    drips = 0
    byes = None

    def drip(self):
        if self.socket:
            self.send(self.FRAME[self.drips:self.drips + 1])
            self.drips += 1

    def on_push(self, name, payload):
        if name == "bye":
            self.byes = payload["reason"]
        else:
            super().on_push(name, payload)

    def on_end(self, how):
        if how != "fin":
            raise Failure(f"{self} was ended by {how}")


class Loitering(Dripping):
    """Pings, and never logs in."""

    def drip(self):
        if self.socket:
            self.ask("ping")


class Sipping(Follower):
    """Reads one byte a second after its login."""

    receive_buffer = 4096

    def on_reply(self, cmd, payload):
        super().on_reply(cmd, payload)
        self.stop_reading()

    def drip(self):
        """One byte; the end is seen when there is one."""
        if self.socket:
            self.receive_bytes = 1
            self.receive()

    def take_frames(self):
        if not self.logged_in:
            super().take_frames()

    def on_end(self, how):
        pass


class SlowPeers(Hall):
    """Slowloris in three ways: by frame, by login, and by reading one byte a second. Each is ended in its time."""

    options = ("--frame-timeout", "1", "--login-timeout", "2")
    members = 100
    burst, filler = 8, "x" * 8000
    slack_s = 20

    def run(self):
        sipping = self.enter(Sipping, self.users)
        owner = self.enter(Follower, [self.owner])[0]
        dripping = self.enter(Dripping, self.users)
        loitering = [Loitering(self.peers) for _ in self.users]
        timers = [self.peers.every(0.1, lambda: [peer.drip() for peer in (*dripping, *loitering)]),
                  self.peers.every(1, lambda: [peer.drip() for peer in sipping])]
        self.peers.run(lambda: not any(peer.socket for peer in (*dripping, *loitering)), self.slack_s,
                       "the slow ones are told so, and closed")
        said = {(type(peer).__name__, peer.byes) for peer in (*dripping, *loitering)}
        if said != {("Dripping", "frame_timeout"), ("Loitering", "login_timeout")}:
            raise Failure(f"they were told {said}")
        before = self.counter("slow_consumers_total")
        while self.counter("slow_consumers_total") - before < len(sipping):
            if owner.sent > 1000:
                raise Failure("those who read one byte a second are not closed as slow consumers")
            self.speak(owner, self.burst, self.filler)
            self.answered(owner)
        owner.close()
        self.peers.run(lambda: self.counter("sessions") < len(sipping), self.slack_s,
                       "those who read one byte a second are gone")
        for timer in timers:
            self.peers.timers.remove(timer)
        for peer in sipping:
            peer.close()

    def figures(self):
        return {"slow peers": 3 * self.members}
