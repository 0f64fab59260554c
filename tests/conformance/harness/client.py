"""A client that is as strict about what it gets as it can be rude in what it sends.

One socket, no threads. Requests are matched with replies in order (Q-1, Q-2); pushes that come in between wait
in `pushes`. Every wait has one deadline. Everything is told to the story of the running test.
"""

import ipaddress
import select
import socket
import struct
import time
from collections import deque
from dataclasses import dataclass

from . import story
from .clock import WAIT_S, Deadline
from .failure import Malformed, Unanswered, Unmet
from .protocol import (NAMES, PUSH_SHAPES, PUSHES, REPLY, REPLY_SHAPES, REQUESTS, RESULTS, WITHOUT_MESSAGE, Decoder,
                       command_name, compact, encode_frame, shape_fault)

RECV_BYTES = 65536
RESULT_FIELDS = {"failure": ("reason", str), "bad_request": ("field", str), "rate_limited": ("retry_ms", int)}


@dataclass(frozen=True)
class User:
    name: str
    passwd: str

    def __str__(self):
        return self.name


class Client:
    """A connection to `server` (anything with .host and .port). Used through the fixtures of fixtures.py."""

    def __init__(self, server, label="client", *, source=None, receive_buffer=None, chop=0, keep_heartbeats=False):
        self.server = server
        self.label = label
        self.user = None                # after login()
        self.chop = chop                # > 0: send that many bytes at a time
        self.wait_s = WAIT_S            # the deadline of each wait, before --slow-factor
        self.keep_heartbeats = keep_heartbeats      # False: they are collected aside, in `heartbeats`
        self.heartbeats = []
        self.pushes = deque()           # arrived and not yet asked for
        self.replies = deque()
        self.unanswered = deque()       # (seq, cmd) in the order in which they were sent
        self.ended = None               # "fin" or "reset"
        self.was_reset = False          # a send has met a reset; what came before it can still be read, then the end
        self.last_seq = 0
        self.decoder = Decoder()
        self.story = story.current
        self.story.clients.append(self)
        self.paused = False
        self._paced_until = 0.0
        step = self.story.step(label, "connects" + (f" from {source}" if source else ""))
        self.socket = self._connect(source, receive_buffer)
        step.outcome = "ok"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def __repr__(self):
        return f"<{self.label}>"

    def _connect(self, source, receive_buffer):
        host, port = self.server.host, self.server.port
        six = ipaddress.ip_address(host).version == 6
        sock = socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_STREAM)
        try:
            if receive_buffer:          # before connect: it bounds the window that is offered
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            if source:
                sock.bind((source, 0))
            sock.settimeout(Deadline(self.wait_s).left())
            sock.connect((host, port))
        except OSError as error:
            sock.close()
            raise Unanswered(f"a connection to {host}:{port}", str(error), self) from None
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    # --- Sending

    def send_raw(self, data, what=None):
        """Any bytes. A connection that the server has closed is no failure here: what comes back tells."""
        step = self.story.step(self.label, f"sends {what or f'{len(data)} bytes'}")
        self.story.saw_bytes(self.label, True, data)
        size = self.chop or len(data) or 1
        for start in range(0, len(data), size):
            self._transmit(memoryview(data)[start:start + size])
        step.outcome = "ok" if not self.ended else f"closed ({self.ended})"
        return step

    def _transmit(self, data):
        deadline = Deadline(self.wait_s)
        while len(data) and not self.was_reset and self.ended != "reset":
            readable, writable = self._poll(deadline, write=True)
            if readable:                # so that two full buffers cannot block each other
                self._receive()
            if writable:
                try:
                    data = data[self.socket.send(data):]
                except BlockingIOError:
                    pass
                except (BrokenPipeError, ConnectionResetError):
                    self.was_reset = True
                    return
            elif not readable:
                raise Unanswered(f"the server to take the {len(data)} bytes left to send",
                                 f"it took nothing for {deadline.seconds:g} s", self)

    def try_send(self, data):
        """Send what the system takes at once; returns how many bytes that was."""
        sent = 0
        view = memoryview(data)
        try:
            while sent < len(view):
                sent += self.socket.send(view[sent:])
        except BlockingIOError:
            pass
        except (BrokenPipeError, ConnectionResetError):
            self.was_reset = True
        return sent

    def prepare(self, cmd, /, **fields):
        """(seq, bytes) of a request, which counts as sent: the way to put several things into one segment."""
        return self.prepare_frame(cmd, fields)

    def prepare_frame(self, cmd, payload=b"", seq=None):
        """The same with any payload (bytes, str, dict), number (name or int) and seq."""
        if seq is None:
            seq = self.last_seq = self.last_seq + 1
        self.unanswered.append((seq, REQUESTS.get(cmd, cmd)))
        return seq, encode_frame(cmd, payload, seq)

    def send(self, cmd, /, **fields):
        """Send a request and do not wait; returns its seq for reply()."""
        return self._send(cmd, fields)[0]

    def _send(self, cmd, fields):
        self._keep_pace(1)
        seq, data = self.prepare(cmd, **fields)
        return seq, self.send_raw(data, describe(cmd, fields))

    def send_frame(self, cmd, payload=b"", seq=None):
        """Send a whole frame with any payload, and do not wait; returns its seq for reply()."""
        self._keep_pace(1)
        seq, data = self.prepare_frame(cmd, payload, seq)
        what = compact(payload) if isinstance(payload, (dict, list)) else f"{bytes(data[16:-6])[:100]!r}"
        self.send_raw(data, f"{command_name(REQUESTS.get(cmd, cmd))} seq={seq} {what}")
        return seq

    def send_many(self, requests):
        """Send [(cmd, fields), …] in one piece; returns their seqs."""
        requests = list(requests)
        self._keep_pace(len(requests))
        prepared = [self.prepare(cmd, **fields) for cmd, fields in requests]
        first = f", the first {describe(*requests[0])}" if requests else ""
        self.send_raw(b"".join(data for _, data in prepared), f"{len(requests)} requests in one piece{first}")
        return [seq for seq, _ in prepared]

    def _keep_pace(self, requests):
        """Stay below the rate limit of a server that we cannot tell to have none (L-5)."""
        pace = getattr(self.server, "pace", None)
        if pace:
            now = time.monotonic()
            self._paced_until = max(now, self._paced_until) + requests / pace
            if self._paced_until - now > 1:         # a second's worth ahead is within the burst
                time.sleep(self._paced_until - now - 1)

    # --- Ways to end or to stall

    def half_close(self):
        self.story.step(self.label, "shuts down its sending side", "ok")
        self.socket.shutdown(socket.SHUT_WR)

    def reset(self):
        self.story.step(self.label, "resets the connection", "ok")
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def close(self):
        self.socket.close()

    def stop_reading(self):
        self.story.step(self.label, "stops reading", "ok")
        self.paused = True

    def resume_reading(self):
        self.story.step(self.label, "reads again", "ok")
        self.paused = False

    # --- Receiving, low level

    def _poll(self, deadline, write=False):
        poller = select.poll()
        reading = not self.paused and not self.ended
        poller.register(self.socket, (select.POLLIN if reading else 0) | (select.POLLOUT if write else 0))
        events = dict(poller.poll(deadline.left() * 1000)).get(self.socket.fileno(), 0)
        trouble = events & (select.POLLERR | select.POLLHUP)
        readable = reading and (events & select.POLLIN or trouble)
        writable = write and (events & select.POLLOUT or trouble)
        return bool(readable), bool(writable)

    def _receive(self, count=RECV_BYTES):
        try:
            data = self.socket.recv(count)
        except BlockingIOError:
            return
        except OSError:
            self.ended = "reset"
            return
        if data:
            self.decoder.feed(data)
        else:
            # A reset behind a FIN is no error of recv(): it stays in SO_ERROR.
            error = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            self.ended = "reset" if self.was_reset or error else "fin"

    def take_bytes(self, count):
        """Take up to `count` of the bytes that have come, without waiting, also while reading is stopped: for one who
        reads slowly. What they say is seen when reading goes on."""
        while count > 0 and not self.ended:
            before = len(self.decoder.buffer)
            self._receive(min(count, RECV_BYTES))
            if len(self.decoder.buffer) == before:
                return
            count -= len(self.decoder.buffer) - before

    def wait_readable(self, seconds):
        """Wait until something can be read, or the connection ended, but not longer than this."""
        return self._poll(Deadline(seconds))[0]

    def read_frame(self, deadline=None):
        """The next frame as it stands on the wire, unchecked but for its form; None when the connection ended,
        Unanswered when the deadline passes. For tests of single bytes; others use reply() and push()."""
        deadline = deadline or Deadline(self.wait_s)
        while True:
            frame = self._decode()
            if frame or self.ended:
                return frame
            readable, _ = self._poll(deadline)
            if not readable:
                raise Unanswered("a frame", f"nothing within {deadline.seconds:g} s", self)
            self._receive()

    def _decode(self):
        try:
            frame = self.decoder.next()
        except Malformed as fault:
            fault.client = self
            self.story.saw_bytes(self.label, False, fault.data)
            raise
        if frame:
            frame.at = time.monotonic()
            self.story.saw_bytes(self.label, False, frame.data)
        return frame

    def read_bytes(self, count=None):
        """Raw bytes, for what is no frame (HTTP): `count` of them, or all up to the end."""
        deadline = Deadline(self.wait_s)
        buffer = self.decoder.buffer
        while not self.ended and (count is None or len(buffer) < count):
            readable, _ = self._poll(deadline)
            if not readable:
                raise Unanswered("bytes" if count is None else f"{count} bytes",
                                 f"{len(buffer)} within {deadline.seconds:g} s", self)
            self._receive()
        data = bytes(buffer[:count])
        del buffer[:len(data)]
        self.story.saw_bytes(self.label, False, data)
        return data

    # --- Receiving, replies and pushes

    def _take(self, deadline, awaited):
        """Read one frame and put it where it belongs; raises when there is none."""
        try:
            frame = self.read_frame(deadline)
        except Unanswered as silence:
            silence.expected = awaited
            raise
        if frame is None:
            how = "closed (FIN)" if self.ended == "fin" else "reset"
            rest = f" in the middle of a frame, after {len(self.decoder.buffer)} bytes" if self.decoder.buffer else ""
            raise Unmet(awaited, f"the connection was {how}{rest}", self)
        self._sort(frame, awaited)

    def take_in(self):
        """Take what has come, without waiting: it stands in `replies`, `pushes` and `heartbeats` then."""
        while True:
            frame = self._decode()
            if frame:
                self._sort(frame, "what has come")
            elif self.ended or not self._poll(Deadline(0))[0]:
                return
            else:
                self._receive()

    def take_until(self, holds, awaited):
        """Take what comes until holds(), which may look at `replies`, `pushes` and `heartbeats`."""
        deadline = Deadline(self.wait_s)
        while not holds():
            self._take(deadline, awaited)

    def _sort(self, frame, awaited):
        if frame.is_reply:
            self._take_reply(frame)
        else:
            fault = shape_fault(frame.payload, PUSH_SHAPES_BY_NUMBER[frame.cmd])
            if fault:
                raise Unmet(f"a {frame.name} as section C describes it", f"{fault}: {frame}", self)
            if frame.name == "heartbeat" and not self.keep_heartbeats:
                self.heartbeats.append(frame)
            else:
                self.pushes.append(frame)

    def _take_reply(self, frame):
        if not self.unanswered:
            raise Unmet("no reply, for every request has its own", str(frame), self, "Q-1")
        seq, cmd = self.unanswered.popleft()
        if (frame.seq, frame.cmd) != (seq, cmd | REPLY):
            raise Unmet(f"the reply to {command_name(cmd)} seq={seq}", str(frame), self, "Q-2")
        fault = reply_fault(NAMES.get(cmd), frame.payload)
        if fault:
            raise Unmet(f"a reply to {command_name(cmd)} as section Q and C describe it", f"{fault}: {frame}", self)
        self.replies.append(frame)

    def _refuse_bye(self, awaited):
        if self.pushes and self.pushes[-1].name == "bye":
            raise Unmet(awaited, str(self.pushes[-1]), self)

    def reply(self, seq=None):
        """The reply to the request `seq`, or the oldest one not yet asked for."""
        awaited = f"the reply to seq={seq}" if seq is not None else "a reply"
        deadline = Deadline(self.wait_s)
        while True:
            for frame in self.replies:
                if seq is None or frame.seq == seq:
                    self.replies.remove(frame)
                    return frame
            self._refuse_bye(awaited)
            self._take(deadline, awaited)

    def request(self, cmd, /, **fields):
        """Send a request and wait for its reply, whatever its result."""
        seq, step = self._send(cmd, fields)
        step.outcome = ""               # not done before the reply is here
        reply = self.reply(seq)
        step.outcome = reply.result
        return reply

    def expect(self, cmd, result, /, **fields):
        """Send a request whose reply must have this result."""
        reply = self.request(cmd, **fields)
        self.must(reply, result)
        return reply

    def must(self, reply, result, **fields):
        """`reply` must have this result and these fields."""
        wanted = {"result": result, **fields}
        if any(not same(reply.get(key), value) for key, value in wanted.items()):
            self.story.step(self.label, f"looks for {compact(wanted)} in the {reply.name}")
            raise Unmet(f"{reply.name} with {compact(wanted)}", str(reply), self)
        return reply

    def ok(self, cmd, /, **fields):
        return self.expect(cmd, "success", **fields)

    def expect_failure(self, cmd, reason, /, **fields):
        """`failure` with this reason (Q-6)."""
        return self.must(self.request(cmd, **fields), "failure", reason=reason)

    def expect_bad(self, cmd, field, /, **fields):
        """`bad_request` that names this field (Q-3)."""
        return self.must(self.request(cmd, **fields), "bad_request", field=field)

    def push(self, name, /, **fields):
        """The next push must be this one, with at least these fields."""
        wanted = describe(name, fields)
        step = self.story.step(self.label, f"waits for the push {wanted}")
        frame = self.next_push(f"the push {wanted}", name)
        if frame.name != name or any(not same(frame.get(key), value) for key, value in fields.items()):
            raise Unmet(f"the push {wanted}", str(frame), self)
        step.outcome = "came"
        return frame

    def next_push(self, awaited="a push", name=None):
        """The next push, whatever it is (but a `bye` that nobody awaits)."""
        deadline = Deadline(self.wait_s)
        while not self.pushes:
            self._take(deadline, awaited)
        if name != "bye":
            bye = self.pushes[0].name == "bye"
            if bye:
                raise Unmet(awaited, str(self.pushes[0]), self)
        return self.pushes.popleft()

    def barrier(self):
        """Ping (Q-8); returns all pushes that came before its reply and were not yet asked for."""
        reply = self.ok("ping")
        before = [frame for frame in self.pushes if frame.position < reply.position]
        self.pushes = deque(frame for frame in self.pushes if frame.position > reply.position)
        return before

    def expect_nothing(self):
        """No push was sent to this client (beside those already asked for)."""
        pushes = self.barrier()
        if pushes:
            self.story.step(self.label, "should have got no push")
            raise Unmet("no push before the reply to ping", "; ".join(map(str, pushes[:5])), self)

    def expect_bye(self, reason, error=None):
        """`bye` is the next push, after the replies to all requests, and then the connection ends with FIN."""
        wanted = describe("bye", {"reason": reason, **({"error": error} if error else {})})
        step = self.story.step(self.label, f"waits for {wanted}")
        bye = self.next_push(wanted, "bye")
        if bye.name != "bye" or bye["reason"] != reason or bye.get("error") != error:
            raise Unmet(wanted, str(bye), self)
        if self.unanswered and reason in ("protocol_error", "shutdown"):
            raise Unmet(f"the replies to {len(self.unanswered)} requests before the bye", str(bye), self)
        step.outcome = "came"
        self.expect_closed()
        return bye

    def expect_closed(self, how="fin"):
        """Nothing more comes, and the connection ends: `fin`, `reset` or `any`."""
        step = self.story.step(self.label, "waits for the end of the connection")
        awaited = "the end of the connection" + {"fin": " by FIN", "reset": " by reset", "any": ""}[how]
        left = [*self.pushes, *self.replies]
        try:
            frame = left[0] if left else self.read_frame()
        except Unanswered as silence:
            silence.expected = awaited
            raise
        if frame:
            raise Unmet(awaited, str(frame), self)
        if self.decoder.buffer:
            raise Malformed("the connection ended in the middle of a frame", bytes(self.decoder.buffer),
                            len(self.decoder.buffer), self)
        if how not in ("any", self.ended):
            raise Unmet(awaited, f"it ended by {self.ended}", self, "L-9" if self.ended == "reset" else None)
        step.outcome = self.ended

    # --- The usual beginning

    def register(self, user, /, **profile):
        return self.ok("register", user=user.name, passwd=user.passwd, **profile)

    def login(self, user):
        """Log in; returns the reply. From here on the client goes by the user's name."""
        reply = self.ok("login", user=user.name, passwd=user.passwd)
        if reply["user"] != user.name:
            raise Unmet(f"user {user.name} in the reply to login", str(reply), self, "A-3")
        self.user = user
        return reply


PUSH_SHAPES_BY_NUMBER = {PUSHES[name]: shape for name, shape in PUSH_SHAPES.items()}


def describe(name, fields):
    """A request or push in words: `login user="bob"`."""
    words = [f"{key}={compact(value, 60)}" for key, value in fields.items() if key != "passwd"]
    return " ".join([name if isinstance(name, str) else command_name(name), *words])


def same(value, wanted):
    """Equal, and of one type: 1 is not True and not 1.0."""
    return type(value) is type(wanted) and value == wanted


def reply_fault(cmd, payload):
    """What is wrong with a reply to `cmd` (Q-1, Q-5, Q-6, section C), or None."""
    result = payload.get("result")
    if result not in RESULTS:
        return f"result is {result!r}, which Q-6 does not list"
    if result not in WITHOUT_MESSAGE:
        if not isinstance(payload.get("message"), str) or not payload["message"]:
            return f"result {result} without a message (Q-5)"
        key, kind = RESULT_FIELDS.get(result, (None, None))
        if key and type(payload.get(key)) is not kind:
            return f"result {result} without {key}"
        return None
    if result == "offline" and cmd != "private_chat":
        return "result offline belongs to private_chat"
    return shape_fault(payload, REPLY_SHAPES.get(cmd, {}))
