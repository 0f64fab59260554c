"""A chat server of one thread that does as little as the load generator needs, and one thing wrong.

    with FaultyServer("lose") as server: ...        right, lose, double, swap, mute, garble, stall
"""

import json
import select
import selectors
import socket
import struct
import threading
import zlib

HEAD = struct.Struct(">HBBHHII")
REPLY = 0x8000
PING, STATS, REGISTER, LOGIN, CREATE, JOIN, GROUP_CHAT = 0x0001, 0x0002, 0x0101, 0x0102, 0x0301, 0x0302, 0x0402
GROUP_CHAT_RECV = 0x4402
FAULTY_MESSAGE = 7          # of all, the one that goes wrong, for the receiver that joined last
STALL_SECONDS = 1           # in which the server does nothing


def frame(cmd, **fields):
    payload = json.dumps(fields, separators=(",", ":")).encode()
    body = HEAD.pack(0xC4A7, 1, 0, cmd, 0, 1, len(payload)) + payload
    return body + struct.pack(">IH", zlib.crc32(body), 0x0D0A)


class FaultyServer:
    def __init__(self, fault):
        self.fault = fault
        self.members = []
        self.inputs = {}
        self.messages = 0
        self.kept = b""
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.stop_reader, self.stop_writer = socket.socketpair()
        self.thread = threading.Thread(target=self.run, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop_writer.close()
        self.thread.join()
        self.stop_reader.close()

    def run(self):
        with selectors.DefaultSelector() as selector, self.listener:
            for sock in (self.listener, self.stop_reader):
                selector.register(sock, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select():
                    if key.fileobj is self.stop_reader:
                        for sock in self.inputs:
                            sock.close()
                        return
                    if key.fileobj is self.listener:
                        sock, _ = self.listener.accept()
                        self.inputs[sock] = b""
                        selector.register(sock, selectors.EVENT_READ)
                    elif not self.serve(key.fileobj):
                        selector.unregister(key.fileobj)
                        del self.inputs[key.fileobj]

    def serve(self, sock):
        """False: it is over with this connection."""
        try:
            return self.receive(sock)
        except ConnectionError:         # a generator that has seen enough goes at once
            return False

    def receive(self, sock):
        data = sock.recv(1 << 16)
        self.inputs[sock] += data
        while len(self.inputs[sock]) >= HEAD.size + 6:
            _, _, _, cmd, _, _, length = HEAD.unpack_from(self.inputs[sock])
            whole = HEAD.size + length + 6
            if len(self.inputs[sock]) < whole:
                break
            payload = self.inputs[sock][HEAD.size:HEAD.size + length]
            self.inputs[sock] = self.inputs[sock][whole:]
            self.request(sock, cmd, json.loads(payload or b"{}"))
        return bool(data)

    def request(self, sock, cmd, fields):
        if cmd == JOIN:
            self.members.append(sock)
        if cmd == GROUP_CHAT:
            self.messages += 1
            if self.fault == "stall" and self.messages == FAULTY_MESSAGE:
                select.select([self.stop_reader], [], [], STALL_SECONDS)
            push = frame(GROUP_CHAT_RECV, group=fields["group"], user_from="somebody", text=fields["text"])
            for member in self.members:
                if member is not sock:
                    self.push(member, push)
            if self.fault == "mute" and self.messages == FAULTY_MESSAGE:
                return
        sock.sendall(frame(cmd | REPLY, result="success"))

    def push(self, member, push):
        if member is self.members[-1] and self.messages == FAULTY_MESSAGE:
            if self.fault == "swap":
                self.kept = push
            push = {"lose": b"", "double": push + push, "swap": b"", "garble": push.replace(b"#", b"!")}.get(self.fault, push)
        else:
            push, self.kept = (push + self.kept, b"") if member is self.members[-1] else (push, self.kept)
        member.sendall(push)
