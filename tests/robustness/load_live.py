"""Beside every load: some who go on talking, in a process of their own, and how long the server takes for them.

They are a group of sessions that take turns in sending. Each has to get everything once and in order (peers.Follower).
Two latencies are measured: `ping` is a round trip on a connection that does nothing else, so it is how long the server
leaves a connection alone. `message` is from a message's sending to its arrival at the last of the others: with it comes
the commit, and the flush of the disk. And there is a control: `echo` is a round trip to a process that does nothing
else. What that takes is the machine's doing.
"""

import math
import multiprocessing
import os
import selectors
import socket
import time
import traceback

from harness import User

from peers import Follower, Peer, Peers
from servers import Failure

SESSIONS = 6
LIVE_SESSIONS = SESSIONS + 1
GROUP = "live"
SAY_S, PING_S = 0.02, 0.01
WAIT_S = 60             # how long a machine that is busy with other things may make us wait


def percentile(values, share):
    """The smallest value that so many (0 to 1) of them do not exceed."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)] if values else math.nan


class Talking(Follower):
    group = GROUP

    def __init__(self, peers, live):
        super().__init__(peers)
        self.live = live

    def on_push(self, name, payload):
        super().on_push(name, payload)
        if name == "group_chat_recv":
            self.live.arrived(payload["msg_id"], payload["user_from"], int(payload["text"].partition(" ")[0]))


class Pinging(Peer):
    """One ping after the other; what is late delays the next, and counts with all its time."""

    def __init__(self, peers):
        super().__init__(peers)
        self.logged_in = False
        self.since = None
        self.took = []

    def on_reply(self, cmd, payload):
        if payload["result"] != "success":
            raise Failure(f"{self} asked {cmd} and got {payload}")
        if cmd == "login":
            self.logged_in = True
        else:
            self.took.append(time.monotonic() - self.since)
            self.since = None

    def ping(self):
        if self.since is None:
            self.since = time.monotonic()
            self.ask("ping")


class Echo:
    """The control: a child that sends back what it gets."""

    def __init__(self, peers):
        self.socket, other = socket.socketpair()
        if os.fork() == 0:
            self.socket.close()
            while data := other.recv(100):
                other.send(data)
            os._exit(0)
        other.close()
        self.since = None
        self.took = []
        peers.selector.register(self.socket, selectors.EVENT_READ, self)

    def ping(self):
        if self.since is None:
            self.since = time.monotonic()
            self.socket.send(b"ping")

    def receive(self):
        self.socket.recv(100)
        self.took.append(time.monotonic() - self.since)
        self.since = None


class Talk:
    """The process's own side."""

    def __init__(self, address, pipe):
        self.pipe = pipe
        self.peers = Peers(address)
        self.talking = [Talking(self.peers, self) for _ in range(SESSIONS)]
        self.pinging = Pinging(self.peers)
        self.echo = Echo(self.peers)
        self.turn = 0
        self.sent_at = {}               # (sender, number) -> when
        self.waiting = {}               # (sender, number) -> how many it has still to reach
        self.took = []
        self.messages = 0

    def start(self):
        for peer, user in zip([*self.talking, self.pinging], users()):
            peer.log_in(user)
        self.peers.run(lambda: self.pinging.logged_in and all(peer.logged_in for peer in self.talking), WAIT_S,
                       "the live peers are logged in")
        self.peers.every(SAY_S, self.say)
        self.peers.every(PING_S, self.pinging.ping)
        self.peers.every(PING_S, self.echo.ping)

    def say(self):
        peer = self.talking[self.turn % SESSIONS]
        self.turn += 1
        self.messages += 1
        key = peer.user, peer.sent + 1
        self.sent_at[key] = time.monotonic()
        self.waiting[key] = SESSIONS - 1
        peer.say("beside the load")

    def arrived(self, msg_id, sender, number):
        key = sender, number
        self.waiting[key] -= 1
        if not self.waiting[key]:
            del self.waiting[key]
            self.took.append(time.monotonic() - self.sent_at.pop(key))

    def finish(self):
        """Everything that was sent arrives, and nothing comes twice."""
        self.peers.timers.clear()
        self.peers.run(lambda: not self.waiting and self.pinging.since is None
                       and not any(peer.unanswered for peer in self.talking), WAIT_S,
                       lambda: f"all live peers have everything; {len(self.waiting)} messages have not reached all")
        return {"messages": self.messages, "ping": self.pinging.took, "message": self.took, "echo": self.echo.took}


def users():
    return [User(f"live-{n}", "a live password") for n in range(LIVE_SESSIONS)]


def talk(address, pipe):
    try:
        live = Talk(address, pipe)
        live.start()
        pipe.send(None)
        live.peers.run(pipe.poll, 24 * 3600, "the end")
        pipe.send(live.finish())
    except Exception as error:  # noqa: BLE001  it is raised again on the other side
        pipe.send(Failure(f"live peers: {error}" if isinstance(error, Failure) else traceback.format_exc()))


class Live:
    """The experiment's side: `with Live(server) as live`, then live.result. Their accounts must be there: set_up()."""

    def __init__(self, server):
        self.server = server

    @staticmethod
    def set_up(server):
        with server.connect("set-up") as client:
            client.wait_s = WAIT_S
            for number, user in enumerate(users()):
                client.register(user)
                client.login(user)
                client.ok("group_join" if number else "group_create", group=GROUP)
                client.ok("logout")

    def __enter__(self):
        context = multiprocessing.get_context("fork")
        self.pipe, other = context.Pipe()
        self.process = context.Process(target=talk, args=((self.server.host, self.server.port), other), daemon=True)
        self.process.start()
        other.close()
        self.receive()
        return self

    def receive(self):
        got = self.pipe.recv()
        if isinstance(got, Failure):
            raise got
        return got

    def check(self):
        """Raise what they have found by now."""
        if self.pipe.poll():
            self.receive()

    def finish(self):
        self.pipe.send(None)
        self.result = self.receive()
        self.process.join()
        return self.result

    def __exit__(self, *_):
        if self.process.is_alive():
            self.process.kill()
        self.process.join()
