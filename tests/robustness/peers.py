"""Very many connections in one loop, each with a mind of its own: what the load experiments are driven with.

A Peer checks the form of each frame, and that replies come to the requests in their order; subclasses say what they do
with what comes. It costs a fraction of what the harness's Client costs.
"""

import errno
import json
import selectors
import socket
import struct
import time
import zlib

from servers import Failure

from harness.protocol import HEAD, HEAD_FLAG, PUSHES, REPLY, REQUESTS, TAIL, TAIL_FLAG, encode_frame, command_name

OVERHEAD = HEAD.size + TAIL.size
RECV_BYTES = 1 << 18
RESET = struct.pack("ii", 1, 0)         # SO_LINGER: close() sends a reset
SOURCES = [f"127.0.0.{n}" for n in range(1, 9)]     # connections leave their ports behind for a minute: many ports
PUSH_NAMES = {number: name for name, number in PUSHES.items()}


class Peers:
    """The loop. Everything happens within run()."""

    def __init__(self, address):
        self.address = address
        self.selector = selectors.DefaultSelector()
        self.all = set()
        self.opened = 0
        self.timers = []                # (when, what), few of them

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for peer in list(self.all):
            peer.close()
        self.selector.close()

    def every(self, seconds, what):
        """From now on what() is called so often, within run(), until what this returns is taken out of `timers`. A turn
        that was missed is not made up for."""
        timer = [time.monotonic() + seconds, seconds, what]
        self.timers.append(timer)
        return timer

    def run(self, until, seconds, awaited):
        """Until until() holds, or Failure after so many seconds. `awaited`: what for, in words."""
        deadline = time.monotonic() + seconds
        while not until():
            now = time.monotonic()
            if now >= deadline:
                raise Failure(f"after {seconds:g} s still not: {awaited() if callable(awaited) else awaited}")
            self.turn(min(deadline, *(timer[0] for timer in self.timers), now + 0.05) - now)

    def run_for(self, seconds):
        until = time.monotonic() + seconds
        self.run(lambda: time.monotonic() >= until, seconds + 60, "the end")

    def turn(self, seconds):
        for key, events in self.selector.select(max(0, seconds)):
            peer = key.data
            if events & selectors.EVENT_WRITE and peer.socket:
                peer.flush()
            if events & selectors.EVENT_READ and peer.socket:
                peer.receive()
        now = time.monotonic()
        for timer in list(self.timers):
            if timer[0] <= now:
                timer[0] = max(timer[0] + timer[1], now)
                timer[2]()


class Peer:
    source = None               # an address to connect from
    receive_buffer = None       # SO_RCVBUF
    receive_bytes = RECV_BYTES  # most that one recv() takes

    def __init__(self, peers):
        self.peers = peers
        self.input = bytearray()
        self.output = b""
        self.last_seq = 0
        self.unanswered = []            # (seq, name of the command) in their order
        self.reading = True
        peers.opened += 1
        peers.all.add(self)
        self.socket = sock = socket.socket()
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.receive_buffer)
        if self.source:
            sock.bind((self.source, 0))
        error = sock.connect_ex(peers.address)
        if error not in (0, errno.EINPROGRESS):
            raise Failure(f"connect: {errno.errorcode[error]}")
        self.events = selectors.EVENT_READ
        peers.selector.register(sock, self.events, self)

    # --- Sending

    def ask(self, cmd, **fields):
        """Send a request; its reply comes to on_reply()."""
        self.send(self.request(cmd, **fields))

    def request(self, cmd, **fields):
        """A request's bytes, which count as sent."""
        self.last_seq += 1
        self.unanswered.append((self.last_seq, cmd))
        return encode_frame(cmd, fields, self.last_seq)

    def log_in(self, user):
        self.user = user.name
        self.ask("login", user=user.name, passwd=user.passwd)

    def send(self, data):
        self.output += data
        self.flush()

    def flush(self):
        try:
            while self.output:
                self.output = self.output[self.socket.send(self.output):]
        except BlockingIOError:
            pass
        except OSError:
            self.output = b""           # what the server had to say first is still to be read
        self.watch()

    def watch(self):
        events = (selectors.EVENT_READ if self.reading else 0) | (selectors.EVENT_WRITE if self.output else 0)
        if events != self.events:
            if not self.events:
                self.peers.selector.register(self.socket, events, self)
            elif events:
                self.peers.selector.modify(self.socket, events, self)
            else:
                self.peers.selector.unregister(self.socket)
            self.events = events

    def stop_reading(self):
        self.reading = False
        self.watch()

    # --- Receiving

    def receive(self):
        try:
            data = self.socket.recv(self.receive_bytes)
        except BlockingIOError:
            return
        except OSError:
            self.ended("reset")
            return
        if not data:
            self.ended("fin")
            return
        self.input += data
        self.take_frames()

    def take_frames(self):
        """Hand over each whole frame; on_reply() and on_push() may close the connection."""
        buffer, start = self.input, 0
        while len(buffer) - start >= OVERHEAD and self.socket:
            flag, _, _, cmd, _, seq, length = HEAD.unpack_from(buffer, start)
            end = start + OVERHEAD + length
            if flag != HEAD_FLAG:
                raise Failure(f"{self} got no frame: {bytes(buffer[start:start + 40])}")
            if len(buffer) < end:
                break
            body = bytes(buffer[start + HEAD.size:end - TAIL.size])
            crc, tail = TAIL.unpack_from(buffer, end - TAIL.size)
            if tail != TAIL_FLAG or crc != zlib.crc32(memoryview(buffer)[start:end - TAIL.size]):
                raise Failure(f"{self} got a frame with a wrong tail or checksum: {body[:100]}")
            start = end
            self.take(cmd, seq, body)
        del buffer[:start]

    def take(self, cmd, seq, body):
        payload = json.loads(body or b"{}")
        if not cmd & REPLY:
            self.on_push(PUSH_NAMES[cmd], payload)
            return
        asked, name = self.unanswered.pop(0) if self.unanswered else (None, "")
        if (asked, REQUESTS.get(name, 0) | REPLY) != (seq, cmd):
            raise Failure(f"{self} awaited the reply to {name} seq={asked}, got {command_name(cmd)} seq={seq} {payload}")
        self.on_reply(name, payload)

    def ended(self, how):
        self.close()
        self.on_end(how)

    # --- What a subclass does

    user = "somebody"

    def on_reply(self, cmd, payload):
        pass

    def on_push(self, name, payload):
        pass

    def on_end(self, how):
        raise Failure(f"the server ended the connection of {self} ({how})")

    # --- Ends

    def close(self):
        if self.socket:
            self.peers.all.discard(self)
            if self.events:
                self.peers.selector.unregister(self.socket)
            self.socket.close()
            self.socket = None

    def reset(self):
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.close()

    def half_close(self):
        self.socket.shutdown(socket.SHUT_WR)

    def __str__(self):
        return f"{type(self).__name__.lower()} {self.user}"


class Follower(Peer):
    """A session in a group of which it must be told everything, once and in order (M-1, M-4): pushes, and the replies
    to what it sends itself, together have each number after the first one. Each sender numbers its texts as well."""

    group = None

    def __init__(self, peers):
        super().__init__(peers)
        self.logged_in = False
        self.latest = None              # msg_id
        self.sent = 0
        self.counts = {}                # sender -> the number of his newest text

    def say(self, filler=""):
        self.sent += 1
        self.ask("group_chat", group=self.group, text=f"{self.sent} {filler}")

    def on_reply(self, cmd, payload):
        if payload["result"] != "success":
            raise Failure(f"{self} asked {cmd} and got {payload}")
        if cmd == "login":
            self.logged_in = True
        if cmd == "group_chat":
            self.follow(payload["msg_id"])

    def on_push(self, name, payload):
        if name == "bye":
            raise Failure(f"{self} got {name} {payload}")
        if name == "group_chat_recv" and payload["group"] == self.group:
            sender, number = payload["user_from"], int(payload["text"].partition(" ")[0])
            if self.counts.setdefault(sender, number - 1) != number - 1:
                raise Failure(f"{self}: after text {self.counts[sender]} of {sender} came text {number}")
            self.counts[sender] = number
            self.follow(payload["msg_id"])

    def follow(self, msg_id):
        if self.latest not in (None, msg_id - 1):
            raise Failure(f"{self}: after number {self.latest} of {self.group} came number {msg_id}")
        self.latest = msg_id
