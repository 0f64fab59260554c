"""Very many connections, read by one loop: for what a server does to a thousand clients at once.

A Member is no Client: it checks the form of what comes and nothing else, and what it gets stands in `frames` as
(cmd, seq, payload bytes).
"""

import resource
import selectors
import socket
import zlib

from . import story
from .clock import Deadline
from .failure import Malformed, Unanswered, Unmet
from .protocol import HEAD, HEAD_FLAG, TAIL, TAIL_FLAG

OVERHEAD = HEAD.size + TAIL.size


class Member:
    def __init__(self, server, number):
        self.number = number
        self.frames = []
        self.buffer = bytearray()
        self.socket = socket.create_connection((server.host, server.port), timeout=Deadline().left())
        self.socket.setblocking(False)

    def receive(self):
        """False at the end of the connection."""
        try:
            data = self.socket.recv(1 << 18)
        except BlockingIOError:
            return True
        except OSError:
            return False
        self.buffer += data
        start = 0
        while len(self.buffer) - start >= OVERHEAD:
            flag, _, _, cmd, _, seq, length = HEAD.unpack_from(self.buffer, start)
            if flag != HEAD_FLAG:
                raise Malformed("head flag", bytes(self.buffer[start:]), 0)
            if len(self.buffer) - start < OVERHEAD + length:
                break
            body_end = start + HEAD.size + length
            crc, tail = TAIL.unpack_from(self.buffer, body_end)
            if tail != TAIL_FLAG or crc != zlib.crc32(memoryview(self.buffer)[start:body_end]):
                raise Malformed("tail or crc32", bytes(self.buffer[start:start + OVERHEAD + length]), HEAD.size + length)
            self.frames.append((cmd, seq, bytes(self.buffer[start + HEAD.size:body_end])))
            start += OVERHEAD + length
        del self.buffer[:start]
        return bool(data)


class Multitude:
    """Members of one server; use it in a `with`."""

    def __init__(self, server, count):
        story.current.step("multitude", f"of {count} connects", "ok")
        self.selector = selectors.DefaultSelector()
        self.members = []
        try:
            for number in range(count):
                member = Member(server, number)
                self.members.append(member)
                self.selector.register(member.socket, selectors.EVENT_READ, member)
        except OSError as error:
            self.close()
            raise Unanswered(f"{count} connections", f"{len(self.members)}, then {error}") from None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        for member in self.members:
            member.socket.close()
        self.selector.close()

    def send(self, what, members=None):
        """what(member) -> bytes that fit its socket's buffer."""
        for member in members or self.members:
            data = what(member)
            assert member.socket.send(data) == len(data)

    def read_until(self, enough, what, among=None, seconds=None):
        """Read all until enough(member) holds for each, or for each of `among`."""
        deadline = Deadline() if seconds is None else Deadline(seconds)
        step = story.current.step("multitude", f"reads until each has {what}")
        waiting = {member for member in among or self.members if not enough(member)}
        while waiting:
            ready = self.selector.select(deadline.left())
            if not ready:
                raise Unanswered(f"{what} for each of {len(self.members)}", f"{len(waiting)} have not got it")
            for key, _ in ready:
                if not key.data.receive():
                    raise Unmet(f"{what} for each of {len(self.members)}", f"connection {key.data.number} ended")
                if enough(key.data):
                    waiting.discard(key.data)
        step.outcome = "ok"


def room_for(count):
    """Can this process have so many descriptors? The soft limit is raised when the hard one allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count and hard >= count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    return soft >= count
