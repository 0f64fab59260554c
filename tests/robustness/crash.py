"""`make crashtest`: a server is killed under load, again and again on the same data, and no answered change is lost (M-5).

Idea.       A round starts the server, looks whether everything is there that was answered in all rounds before, loads it
            from many connections, and kills it (SIGKILL) at a moment drawn by lot. In between, a server that is starting
            on what the killed one left is killed, too, up to twice. Data live for LIFE rounds; then come new ones, so
            that looking at all of it stays quick.
Moments.    `arrival`: at the N-th time that bytes come, before they are read: what was just sent must already last.
            `reply`, `push`: when the N-th was read.
            `time`: after so many microseconds, from a signal handler, whatever the driver does.
            `checkpoint`: when SQLite copies its log into the database.
Checked.    Messages: crash_messages.py. All other changes: crash_changes.py.
"""

import argparse
import contextlib
import multiprocessing
import random
import selectors
import signal
import sys
import time
import traceback
from collections import Counter

from servers import ROOT, STAGES, Failure, Subject, begin_story, steps_of

from harness import Crash, Unmet                    # noqa: E402
from harness.clock import set_slow_factor           # noqa: E402

from crash_changes import walks                     # noqa: E402
from crash_messages import Messages                 # noqa: E402
from figures import record                          # noqa: E402

LIFE = 10               # rounds on the same data
SENDERS, READERS = 5, 3
AHEAD = 12              # requests under way of a sender
AGAIN = 100             # answered messages that are sent again after each restart
READ_EACH = 7           # a reader moves his mark at every so-manieth push
LOAD_S = 1.0            # the kill comes within this time, or a little later
MOST_EVENTS = {"arrival": 400, "reply": 1000, "push": 4000}         # within what LOAD_S has
STARTS_KILLED = [0, 0, 1, 2]        # drawn from: how many starts are killed before one is left alone
MOMENTS = ["arrival", "arrival", "reply", "push", "time", "checkpoint"]


class Moment:
    """When the kill comes. tell() is called for each thing that happens in the load."""

    def __init__(self, chance, server):
        self.server = server
        self.kind = chance.choice(MOMENTS)
        self.count = chance.randrange(1, MOST_EVENTS[self.kind]) if self.kind in MOST_EVENTS else 0
        self.seconds = chance.uniform(0, LOAD_S) if self.kind == "time" else LOAD_S
        self.stamp = server.stamp()
        self.how = None                 # what it came by, in the end: its kind, or `time`
        self.struck_after = None

    def __str__(self):
        return f"SIGKILL by {self.how}, {self.struck_after:.6f} s after the load began"

    @contextlib.contextmanager
    def armed(self):
        self.began = time.monotonic()
        before = signal.signal(signal.SIGALRM, lambda *_: self.strike("time"))
        signal.setitimer(signal.ITIMER_REAL, max(self.seconds, 1e-6))
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)

    @property
    def struck(self):
        return self.struck_after is not None

    def strike(self, how):
        if not self.struck:
            self.server.strike()
            self.how = how
            self.struck_after = time.monotonic() - self.began

    def tell(self, kind):
        if kind == self.kind:
            self.count -= 1
            if self.count == 0:
                self.strike(kind)

    def look(self):
        if self.kind == "checkpoint" and self.server.stamp() != self.stamp:
            self.strike("checkpoint")


class Talker:
    """One session of the load: it sends messages (`ahead` > 0) or moves its read marks, and follows what it is told: its
    replies and pushes together have each number of each conversation once, in order (M-1, M-4, Q-10)."""

    def __init__(self, messages, client, when, ahead):
        self.messages, self.client, self.when, self.ahead = messages, client, when, ahead
        self.name = client.user.name
        self.under_way = {}             # seq -> Message, or (Conversation, mark)
        self.numbers = {name: len(one.kept) for name, one in messages.conversations.items()}
        self.got = 0

    def send(self):
        some = [self.messages.compose(self.name, self.when()) for _ in range(self.ahead - len(self.under_way))]
        requests = [(cmd, {"text": message.text, "id": message.id, **fields})
                    for message in some for cmd, fields in [message.conversation.address(self.name)]]
        self.under_way.update(zip(self.client.send_many(requests), some))

    def take(self, frame):
        if frame.is_reply:
            asked = self.under_way.pop(frame.seq)
            if isinstance(asked, tuple):
                self.client.must(frame, "success")
                conversation, mark = asked
                conversation.marks[self.name][0] = mark
                return "reply"
            if frame.result not in ("success", "offline"):
                raise Failure(f"answered {frame}\n{asked.story()}")
            asked.answer = frame["msg_id"], frame["time"]
            self.follow(asked, frame)
            return "reply"
        if frame.name.endswith("chat_recv"):
            message = self.messages.of_push(frame, self.name)
            self.follow(message, frame)
            self.got += 1
            if not self.ahead and self.got % READ_EACH == 0 and not self.client.ended:
                self.read(message.conversation, frame["msg_id"])
            return "push"
        if frame.name not in ("read_event", "presence"):
            raise Failure(f"{self.name} got {frame}, which nothing caused")
        return "push"

    def follow(self, message, frame):
        name = message.conversation.name
        self.numbers[name] += 1
        if frame["msg_id"] != self.numbers[name]:
            raise Failure(f"{self.name} was told of number {frame['msg_id']} of {name} after {self.numbers[name] - 1}\n"
                          f"{message.story()}")

    def read(self, conversation, mark):
        conversation.marks[self.name][1] = mark
        seq = self.client.send("read", msg_id=mark, **conversation.where(self.name))
        self.under_way[seq] = conversation, mark


class Walker:
    """A walk's connections in the load."""

    def __init__(self, walk, clients):
        self.walk, self.clients = walk, clients

    def send(self):
        while self.walk.sent - self.walk.answered < self.walk.ahead:
            who, cmd, fields = self.walk.request(self.walk.sent)
            self.walk.sent += 1
            self.clients[who].send(cmd, **fields)

    def take(self, frame):
        if not frame.is_reply:
            return "push"
        if frame.result != "success":
            raise Failure(f"{self.walk.name}: {self.walk.request(self.walk.answered)} was answered {frame}")
        self.walk.answered += 1
        return "reply"


class Life:
    """The same data through several rounds."""

    def __init__(self, number, chance, server):
        self.chance, self.server = chance, server
        names = [f"{kind}{n}" for kind, count in (("sender", SENDERS), ("reader", READERS)) for n in range(count)]
        self.messages = Messages(f"m{number}", chance, names[:SENDERS], names[SENDERS:])
        self.walks = walks(f"w{number}")
        self.checked = Counter()

    def connect(self, label):
        return self.server.connect(label)

    def set_up(self):
        with self.connect("set-up") as client:
            for walk in self.walks:
                walk.set_up(client)
            for user in self.messages.users.values():
                client.register(user)
        with contextlib.ExitStack() as stack:
            clients = self.log_in(stack)
            groups = [one for one in self.messages.conversations.values() if one.group]
            for group in groups:
                first, *others = group.members
                clients[first].ok("group_create", group=group.name)
                for other in others:
                    clients[other].ok("group_join", group=group.name)

    def log_in(self, stack):
        clients = {}
        for name, user in self.messages.users.items():
            clients[name] = stack.enter_context(self.connect(name))
            clients[name].login(user)
        for client in clients.values():
            client.barrier()
        return clients

    def check(self):
        """Everything that was answered is there."""
        with contextlib.ExitStack() as stack:
            clients = self.log_in(stack)
            self.checked["looks"] += self.messages.check_history(clients)
            self.messages.check_unread(clients)
            self.checked["sent again"] += self.messages.send_again(clients, AGAIN)
        for walk in self.walks:
            walk.settle(self.connect)

    def load(self, round_name):
        """Load it until the kill, and read what it had sent by then."""
        with contextlib.ExitStack() as stack:
            clients = self.log_in(stack)
            began = time.monotonic()

            def when():
                return f"in {round_name}, {time.monotonic() - began:.6f} s after the load began"

            actors = {client: Talker(self.messages, client, when, AHEAD if name in self.messages.senders else 0)
                      for name, client in clients.items()}
            for walk in self.walks:
                own = [stack.enter_context(self.connect(user.name)) for user in walk.users]
                for client, user in zip(own, walk.users):
                    client.login(user)
                actors |= dict.fromkeys(own, Walker(walk, own))
            for client in actors:
                client.barrier()
            moment = Moment(self.chance, self.server)
            with moment.armed():
                drive(actors, moment)
            self.server.bury()
            read_the_rest(actors)
        return moment


def drive(actors, moment):
    with selectors.DefaultSelector() as selector:
        for client, actor in actors.items():
            selector.register(client.socket, selectors.EVENT_READ, client)
            actor.send()
        while not moment.struck:
            moment.look()
            for key, _ in selector.select(0.1):
                moment.tell("arrival")
                client = key.data
                client.take_in()
                take(client, actors[client], moment)
                if moment.struck:
                    return
                if client.ended:
                    moment.server.check()
                    raise Failure(f"the server ended the connection of {client.label}")
                actors[client].send()


def take(client, actor, moment=None):
    """Hand over what has come, in the order in which it came."""
    frames = sorted([*client.replies, *client.pushes], key=lambda frame: frame.position)
    client.replies.clear()
    client.pushes.clear()
    for frame in frames:
        kind = actor.take(frame)
        if moment:
            moment.tell(kind)


def read_the_rest(actors):
    """What the killed server had sent is told like the rest; half a frame at the end is nothing."""
    for client, actor in actors.items():
        while not client.ended:
            client.wait_readable(1)
            client.take_in()
        take(client, actor)


class Run:
    """The rounds of one stage."""

    def __init__(self, stage, programs, seed, rounds, subject=Subject):
        self.stage, self.programs, self.seed, self.rounds, self.subject = stage, programs, seed, rounds, subject
        self.count = Counter()
        self.kills = []                 # in words, of the running life
        self.round = 0

    def go(self):
        began = time.monotonic()
        while self.round < self.rounds:
            self.live(min(LIFE, self.rounds - self.round))
        self.count["seconds"] = round(time.monotonic() - began)

    def live(self, rounds):
        number = self.round // LIFE
        chance = random.Random(f"{self.seed} {self.stage} {number}")
        self.record = begin_story()
        server = self.subject(self.stage, self.programs, "--log-level", "warn")
        self.kills = []
        try:
            server.start()
            life = Life(number, chance, server)
            life.set_up()
            for _ in range(rounds):
                self.round += 1
                self.record = begin_story()
                self.live_round(life, server, chance)
            server.stop()
            self.count += life.checked
            self.count["acknowledged"] += sum(bool(message.answer) for message in life.messages.by_id.values())
            self.count["other changes"] += sum(walk.answered for walk in life.walks)
        finally:
            server.dispose()

    def live_round(self, life, server, chance):
        moment = life.load(f"round {self.round}")
        self.note_kill(moment, moment.how)
        for _ in range(chance.choice(STARTS_KILLED)):
            seconds = chance.uniform(0, 1.2 * self.start_s)
            server.start_and_strike(seconds)
            self.note_kill(f"SIGKILL {seconds:.6f} s into the start", "start")
        self.start(server)
        life.check()
        server.check()

    start_s = 0.03      # how long a start takes; learned from the starts that were not killed

    def start(self, server):
        began = time.monotonic()
        server.start()
        self.start_s = 0.8 * self.start_s + 0.2 * (time.monotonic() - began)

    def note_kill(self, what, kind):
        self.kills.append(f"  round {self.round}: {what}")
        self.count["kills"] += 1
        self.count[f"kills: {kind}"] += 1

    def report_failure(self, error):
        return (f"\n{self.stage}: FAILED in round {self.round}\n"
                f"{error if isinstance(error, (Failure, Unmet, Crash)) else ''.join(traceback.format_exception(error))}\n"
                "The kills of these data:\n" + "\n".join(self.kills)
                + f"\nThe round's steps:\n{steps_of(self.record)}\n"
                f"Again: make crashtest STAGE={self.stage} ROUNDS={self.rounds} SEED={self.seed}")


def run_stage(task):
    stage, arguments = task
    set_slow_factor(4)          # deadlines of the harness: they say how long to wait for what must come, no more
    run = Run(stage, arguments.programs, arguments.seed, arguments.rounds)
    try:
        run.go()
    except Exception as error:  # noqa: BLE001  whatever it is, it belongs into the report, with the seed
        return stage, None, run.report_failure(error)
    return stage, run.count, None


def summary(stage, count):
    kinds = ", ".join(f"{count[f'kills: {kind}']} {kind}" for kind in (*dict.fromkeys(MOMENTS), "start"))
    return (f"{stage}: {count['kills']} kills survived ({kinds}); {count['acknowledged']} messages and "
            f"{count['other changes']} other changes acknowledged, each there once: in {count['looks']} looks for a message; "
            f"{count['sent again']} messages sent again; {count['seconds']} s")


def main():
    parser = argparse.ArgumentParser(description="kill servers under load, and look for what they had acknowledged")
    parser.add_argument("stages", nargs="*", default=STAGES)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10 ** 6))
    parser.add_argument("--programs", default=ROOT / "bin", help="the folder with the stages")
    parser.add_argument("--jobs", type=int, default=1, help="stages at a time")
    parser.add_argument("--record", action="store_true", help="keep the figures for docs/robustness.md")
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}", flush=True)
    figures, failed = {}, False
    with multiprocessing.Pool(arguments.jobs) as pool:
        for stage, count, failure in pool.imap(run_stage, [(stage, arguments) for stage in arguments.stages], 1):
            print(failure or summary(stage, count), flush=True)
            failed = failed or bool(failure)
            if count:
                figures[f"{stage}: kills survived"] = count["kills"]
                figures[f"{stage}: messages acknowledged"] = count["acknowledged"]
                figures[f"{stage}: other changes acknowledged"] = count["other changes"]
                figures[f"{stage}: messages sent again by their id"] = count["sent again"]
    if arguments.record and not failed:
        record("crash", {**figures, "lost": 0, "there twice": 0}, ["tests/robustness/crash*.py"])
    sys.exit(failed)


if __name__ == "__main__":
    main()
