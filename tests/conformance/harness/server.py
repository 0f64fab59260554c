"""The server under test: a program that the harness starts, or an address where one runs already."""

import os
import re
import resource
import shutil
import signal
import subprocess
import tempfile
import threading
from collections import deque
from pathlib import Path

from . import process, story
from .client import Client, User
from .clock import Deadline, scaled
from .failure import Crash, LeftOut, Unanswered, Unmet

LOG_LINES = 200
LINE = "`listening on HOST:PORT` on standard output (S-2)"
LISTENING = re.compile(r"listening on (?:\[([0-9A-Fa-f:.%]+)\]|([0-9.]+)):(\d+)$")
SANITIZER = re.compile(r"ERROR: \w+Sanitizer|WARNING: ThreadSanitizer|: runtime error: ")
ADDRESS_PACE = 150          # requests a second and connection, where we cannot say --rate-limit 0
START_S = 10
SETTLE_S = 0.5
STOP_S = 5 + 3              # L-7, and slack for the process to be reaped
STATUS_WRONG_OPTION = 2     # S-3


class Program:
    """How to start the program under test, and what it was found to understand."""

    def __init__(self, command, strict, preload=None):
        self.command = command
        self.preload = preload          # a library to be preloaded into every server
        self.strict = strict            # True: a refused option of S-1 is a failure, not a reason to leave out
        self.refused = set()            # names of default options that it does not know
        self.known = {}                 # (option, value) -> does it refuse that?

    def defaults(self, data):
        """The options of a test that asks for nothing else."""
        options = [("--store", "sqlite"), ("--data", str(data)), ("--password-cost", "min"), ("--rate-limit", "0")]
        return [(name, value) for name, value in options if name not in self.refused]

    def refuses(self, name, value):
        if (name, value) not in self.known:
            self.known[name, value] = refuses(self, name, value)
        return self.known[name, value]


def option_pairs(options):
    """["--a", "1", "--b=2"] as [("--a", "1"), ("--b", "2")]; values are never taken for names."""
    pairs = []
    rest = list(options)
    while rest:
        name = str(rest.pop(0))
        if "=" in name:
            pairs.append(tuple(name.split("=", 1)))
        else:
            pairs.append((name, str(rest.pop(0)) if rest else ""))
    return pairs


class Server:
    """One running program with its own data directory. `options` are as on a command line, and replace defaults.
    Use fixture start_server, not this class, so that it is always ended."""

    controlled = True

    def __init__(self, program, options=(), *, data=None, label="server", env=None, descriptors=None):
        self.program = program
        self.options = [str(option) for option in options]
        self.label = label
        self.env = env
        self.descriptors = descriptors  # (soft, hard) limit on open files
        self.directory = Path(tempfile.mkdtemp(prefix="chat-conformance-"))
        self.data = Path(data) if data else self.directory / "data"
        self.process = None
        self.log = deque(maxlen=LOG_LINES)
        self.lines_seen = 0
        self.sanitizer = []             # lines of sanitizer reports; any is a failure
        self.end_expected = False
        self.host = self.port = None
        self.observer = None
        self.story = story.current
        self.story.servers.append(self)

    # --- Starting

    def start(self):
        self._leave_out_refused()
        step = self.story.step(self.label, "starts" + "".join(f" {option}" for option in self.options))
        self._spawn()
        line = self._first_line()
        if line is None and self.process.wait(scaled(STOP_S)) == STATUS_WRONG_OPTION:
            self._learn_refused()
            line = self._first_line()
        if line is None:
            raise Unmet(LINE, f"the program ended, {process.describe_end(self.process.returncode)}")
        match = LISTENING.match(line)
        if not match:
            raise Unmet("`listening on HOST:PORT` as the first line of standard output (S-2)", repr(line))
        self.host, self.port = match[1] or match[2], int(match[3])
        step.outcome = "ok"
        return self

    def command_line(self):
        """The defaults that the test does not set itself, then its options: no option stands there twice."""
        given = {name for name, _ in option_pairs(self.options)}
        defaults = [("--port", "0"), *self.program.defaults(self.data)]
        words = [word for name, value in defaults if name not in given for word in (name, value)]
        return [*self.program.command, *words, *self.options]

    def _spawn(self):
        self.end_expected = False
        self.process = subprocess.Popen(
            self.command_line(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            start_new_session=True, cwd=self.directory, env=self._environment(),
            preexec_fn=self.descriptors and self._limit_descriptors)
        process.remember(self.process)
        self.log_reader = threading.Thread(target=self._read_log, args=(self.process.stderr,), daemon=True)
        self.log_reader.start()

    def _environment(self):
        """A test may have something to preload, too."""
        environment = {**os.environ, **(self.env or {})}
        libraries = [name for name in (self.program.preload, environment.get("LD_PRELOAD")) if name]
        if libraries:
            environment["LD_PRELOAD"] = ":".join(libraries)
        return environment

    def _limit_descriptors(self):
        resource.setrlimit(resource.RLIMIT_NOFILE, self.descriptors)

    def _read_log(self, stream):
        in_report = False
        for raw in stream:
            line = raw.decode("utf-8", "replace").rstrip("\n")
            self.log.append(line)
            self.lines_seen += 1
            in_report = in_report or bool(SANITIZER.search(line))
            if in_report and len(self.sanitizer) < 60:
                self.sanitizer.append(line)

    def _first_line(self):
        """The first line of standard output; None when the program ended instead."""
        line = process.read_line(self.process.stdout, Deadline(START_S))
        if line is None and process.ended(self.process, Deadline(0)) is None and not process.at_end(self.process):
            raise Unanswered(LINE, f"nothing within {scaled(START_S):g} s")
        return line

    def _learn_refused(self):
        """It ended with status 2. Find out which options it does not know, and go on without a default one."""
        self.log_reader.join(scaled(1))
        if self.program.strict:
            raise Unmet("a start: a stage has all options of S-1", "exit status 2")
        for name, value in Server.default_options():
            if self.program.refuses(name, value):
                self.program.refused.add(name)
        for name, value in option_pairs(self.options):
            self.program.refuses(name, value)
        self._leave_out_refused()
        self.log.clear()
        self._spawn()

    def _leave_out_refused(self):
        unknown = [name for name, value in option_pairs(self.options) if self.program.known.get((name, value))]
        if unknown:
            raise LeftOut(f"the program refuses {', '.join(unknown)}")

    @staticmethod
    def default_options():
        return Program([], False).defaults("chat-data")

    # --- Ending

    def signal(self, number):
        """Send a signal that may end it; wait_exit() tells how it ended."""
        self.story.step(self.label, f"gets {signal.Signals(number).name}", "ok")
        self.end_expected = True
        self.process.send_signal(number)

    def wait_exit(self, seconds=STOP_S):
        """The exit status (negative: the signal that ended it), waited for at most `seconds`."""
        step = self.story.step(self.label, "should end")
        status = process.ended(self.process, Deadline(seconds))
        if status is None:
            raise Unanswered("the process to end", f"it still runs after {scaled(seconds):g} s")
        self.log_reader.join(scaled(1))
        step.outcome = process.describe_end(status)
        return status

    def stop(self):
        """SIGTERM, then exit status 0 within 5 s (L-7)."""
        self.signal(signal.SIGTERM)
        status = self.wait_exit()
        if status != 0:
            raise Unmet("exit status 0 after SIGTERM (S-3)", process.describe_end(status))

    def kill(self):
        """SIGKILL, as a crash or the power button does."""
        self.signal(signal.SIGKILL)
        self.wait_exit()

    def restart(self, *options):
        """Start again on the same data (a running one is stopped first), with other options if any are given."""
        if self.alive():
            self.stop()
        if options:
            self.options = [str(option) for option in options]
        return self.start()

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def dispose(self):
        """Leave nothing behind: no process of the group, no directory."""
        self.end_expected = True
        if self.process:
            process.forget(self.process)
        shutil.rmtree(self.directory, ignore_errors=True)

    # --- Looking

    def log_after_start(self):
        """The log lines up to now. What was logged before the line on standard output is among them: a round trip
        gives the reader of the log its time, and the first answered request comes after all that."""
        with self.connect("harness") as client:
            client.ok("ping")
        return list(self.log)

    @property
    def pid(self):
        return self.process.pid

    def settle(self):
        """Give a process that is about to end the time to do so."""
        if self.process:
            process.ended(self.process, Deadline(SETTLE_S))

    def check(self):
        """Raise Crash when it ended by itself, or when a sanitizer reported."""
        if self.process and self.process.poll() is not None and not self.end_expected:
            self.log_reader.join(scaled(1))
            raise Crash(f"{self.label} ended, {process.describe_end(self.process.returncode)}")
        if self.sanitizer:
            raise Crash(f"{self.label}: a sanitizer reported: {self.sanitizer[0]}")

    def connect(self, label="client", **how):
        return Client(self, label, **how)

    def hello(self):
        with self.connect("harness") as client:
            return client.ok("hello", client="conformance suite")

    def stats(self):
        """The counters (S-7), asked by a user of the harness's own, who counts too."""
        with self.connect("observer") as client:
            if not self.observer:
                self.observer = User(f"observer-{os.urandom(6).hex()}", "observer's password")
                client.register(self.observer)
            client.login(self.observer)
            return client.ok("stats").payload

    @property
    def pace(self):
        return ADDRESS_PACE if "--rate-limit" in self.program.refused else None


def refuses(program, name, value):
    """Does the program end with status 2 because of this option alone?"""
    with process.Run([*program.command, "--port", "0", name, value]) as run:
        return run.first_line is None and run.status == STATUS_WRONG_OPTION


class AddressServer:
    """A server that somebody else runs. It cannot be started, stopped or looked into, only talked to."""

    controlled = False
    pace = ADDRESS_PACE
    sanitizer = ()
    log = ()

    def __init__(self, host, port):
        self.host, self.port = host, port
        self.label = f"{host}:{port}"
        self.observer = None

    def alive(self):
        return True

    def check(self):
        pass

    settle = check

    def dispose(self):
        pass

    connect = Server.connect
    hello = Server.hello
    stats = Server.stats

    def _needs_process(self, *_):
        raise LeftOut("needs a server that the suite starts itself, and this one was given by its address")

    start = stop = kill = restart = signal = wait_exit = _needs_process
    pid = property(_needs_process)
