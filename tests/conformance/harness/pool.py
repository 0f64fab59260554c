"""The servers of a run: the one that ordinary tests share, and those that a test asks for."""

import os
import re
import shlex
from pathlib import Path

import pytest

from . import process, story
from .failure import LeftOut, Unanswered, Unmet
from .server import AddressServer, Program, Server

ROOT = Path(__file__).resolve().parents[3]
STAGE = re.compile(r"0[1-9]-[a-z]+")       # a stage built otherwise, say with a sanitizer, is a stage
PROBE_S = 2.0
SHARED = "server"        # the label of the shared one; others have a number


class Pool:
    def __init__(self, options):
        self.program = None
        self.address = None
        self.subject = ""           # as on the command line of pytest, for "rerun"
        self._shared = None
        self._hello = None
        self.problems = []          # that belong to no test
        self._choose(options)

    def _choose(self, options):
        given = [name for name in ("stage", "server", "address") if options.getoption(name)]
        if len(given) != 1:
            raise pytest.UsageError("say which server to test, with one of --stage NAME, --server \"program args\", "
                                    "--address HOST:PORT")
        value = options.getoption(given[0])
        self.subject = f"--{given[0]} {shlex.quote(value)}"
        preload = options.getoption("preload")
        if preload:
            self.subject += f" --preload {shlex.quote(preload)}"
            preload = os.path.abspath(preload)
        if given[0] == "stage":
            path = ROOT / "bin" / value
            if not path.is_file():
                raise pytest.UsageError(f"--stage {value}: there is no {path}; build it first")
            self.program = Program([str(path)], strict=True, preload=preload)
        elif given[0] == "server":
            command = absolute(shlex.split(value))
            self.program = Program(command, strict=bool(STAGE.fullmatch(os.path.basename(command[0]))), preload=preload)
        else:
            host, _, port = value.rpartition(":")
            self.address = AddressServer(host.strip("[]") or "127.0.0.1", int(port))

    def require_program(self):
        if not self.program:
            raise LeftOut("needs a program that the suite starts itself, and this server was given by its address")
        return self.program

    def make(self, options, label=None, **how):
        """A server with these options, not started."""
        number = sum(one.controlled for one in story.current.servers) + 1
        return Server(self.require_program(), options, label=label or f"server {number}", **how)

    def shared(self):
        """The shared server, started again if it has crashed or was found hanging."""
        if self.address:
            server = self.address
        else:
            if self._shared and not self._shared.alive():
                end = process.describe_end(self._shared.process.returncode)
                self.problems.append(f"the shared server died between two tests: {end}; {list(self._shared.log)[-3:]}")
                self.drop_shared()
            if not self._shared:
                self._shared = self.make((), label=SHARED)
                self._shared.start()
            server = self._shared
        if server not in story.current.servers:
            story.current.servers.append(server)
        return server

    def drop_shared(self):
        if self._shared:
            self._shared.dispose()
            self._shared = None

    def hello(self):
        """The reply to `hello`, asked once a run; None before."""
        if self._hello is None:
            self._hello = self.shared().hello().payload
        return self._hello

    @property
    def said(self):
        """What `hello` said, as far as it has been asked."""
        return self._hello or {}

    def finish(self):
        """End the shared server as L-7 says."""
        if not self._shared:
            return
        story.begin()
        try:
            self._shared.check()
            self._shared.stop()
            self._shared.check()
        except AssertionError as error:
            self.problems.append(f"the shared server did not end as it must: {error}")
        finally:
            self.drop_shared()


def absolute(command):
    """Programs are started in a directory of their own, so paths of existing files are made absolute."""
    return [os.path.abspath(word) if "/" in word and Path(word).exists() else word for word in command]


def answers(server):
    """Does the server still answer a fresh connection? Tells a hang from a reply that was never sent."""
    try:
        with server.connect("harness") as client:
            client.wait_s = PROBE_S
            client.ok("ping")
    except Unanswered:
        return False
    except Unmet:
        pass                    # refused in words, or closed: not as a ping should be answered, but no hang
    return True
