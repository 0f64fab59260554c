"""The server that the client is tried with, and a proxy before it that loses connections when a test says so."""

import os
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import threading
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SERVER = os.environ.get("CHAT_SERVER", str(ROOT / "bin" / "03-epoll"))
HEAD = struct.Struct(">HBBHHII")
START_S = 20


class Server:
    def __init__(self, *options):
        self.directory = tempfile.mkdtemp(prefix="chat-client-")
        self.options = options
        self.port = 0
        self.process = None
        self.start()

    def start(self):
        """At the same port as before, and with the same data."""
        self.process = subprocess.Popen(
            [*SERVER.split(), "--port", str(self.port), "--data", os.path.join(self.directory, "data"),
             "--password-cost", "min", "--log-level", "error", *self.options], stdout=subprocess.PIPE)
        assert select.select([self.process.stdout], [], [], START_S)[0], "the server does not say that it listens"
        line = self.process.stdout.readline().decode()
        match = re.match(r"listening on .*:(\d+)$", line)
        assert match, f"the server said {line!r}"
        self.port = int(match[1])

    def stop(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        self.process.wait(START_S)
        self.process.stdout.close()

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def close(self):
        if self.process.poll() is None:
            self.stop(signal.SIGKILL)
        shutil.rmtree(self.directory, ignore_errors=True)


class Proxy:
    """Passes bytes on between clients and the server. `cut_at`: the command (its reply's number) whose first reply is
    swallowed and ends the connection. After block(), connections are refused."""

    def __init__(self, server, cut_at=None):
        self.server, self.cut_at = server, cut_at
        self.cuts = 0
        self.pairs = []
        self.listener = None
        self.port = 0
        self.lock = threading.Lock()
        self.unblock()

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def unblock(self):
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("127.0.0.1", self.port))
        self.listener.listen()
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(self.listener,), daemon=True).start()

    def block(self):
        """End all connections, and refuse new ones."""
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        with self.lock:
            pairs, self.pairs = self.pairs, []
        for pair in pairs:
            self._end(pair)

    close = block

    def _accept(self, listener):
        while True:
            try:
                client, _ = listener.accept()
                pair = client, socket.create_connection(("127.0.0.1", self.server.port))
            except OSError:
                return
            with self.lock:
                self.pairs.append(pair)
            threading.Thread(target=self._forward, args=(pair,), daemon=True).start()
            threading.Thread(target=self._return, args=(pair,), daemon=True).start()

    @staticmethod
    def _end(pair):
        for end in pair:
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def _forward(self, pair):
        try:
            while data := pair[0].recv(65536):
                pair[1].sendall(data)
        except OSError:
            pass
        self._end(pair)

    def _return(self, pair):
        try:
            while frame := self._frame(pair[1]):
                if HEAD.unpack(frame[:16])[3] == self.cut_at and self.cuts == 0:
                    self.cuts += 1
                    break
                pair[0].sendall(frame)
        except OSError:
            pass
        self._end(pair)

    @staticmethod
    def _frame(source):
        stream = b""
        while len(stream) < 16 or len(stream) < 22 + HEAD.unpack(stream[:16])[6]:
            wanted = 16 if len(stream) < 16 else 22 + HEAD.unpack(stream[:16])[6]
            data = source.recv(wanted - len(stream))
            if not data:
                return b""
            stream += data
        return stream
