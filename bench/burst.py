"""What a burst to a group costs a stage: the calls of its own counters (S-7), processor time, memory of its connections.

    python3 bench/burst.py bin/03-epoll bin/04-libevent            64 messages in one piece to a group of 1000
    python3 bench/burst.py --messages 800 --members 500 bin/02-select

One line a stage. `us` are microseconds of all threads of the server, from the burst until each member has all of it.
`bytes idle` is what one more logged-in connection adds to the proportional memory of the process (proc(5), Pss).
"""

import argparse
import json
import pathlib
import resource
import selectors
import socket
import struct
import subprocess
import zlib

HEAD = struct.Struct(">HBBHHII")
REGISTER, LOGIN, CREATE, JOIN, CHAT, STATS = 0x0101, 0x0102, 0x0301, 0x0302, 0x0402, 0x0002


def frame(cmd, **fields):
    payload = json.dumps(fields).encode()
    head = HEAD.pack(0xC4A7, 1, 0, cmd, 0, 1, len(payload)) + payload
    return head + struct.pack(">IH", zlib.crc32(head), 0x0D0A)


class Peer:
    """One connection; counts the frames that came, and keeps the payload of the last reply."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.buffer = b""
        self.pushes = 0
        self.replies = []

    def receive(self):
        data = self.socket.recv(1 << 18)
        if not data:
            raise SystemExit("the server closed a connection")
        self.buffer += data
        at = 0
        while len(self.buffer) - at >= HEAD.size + 6:
            _, _, _, cmd, _, _, length = HEAD.unpack_from(self.buffer, at)
            if len(self.buffer) - at < HEAD.size + length + 6:
                break
            if cmd & 0x8000:
                self.replies.append(json.loads(self.buffer[at + HEAD.size:at + HEAD.size + length]))
            else:
                self.pushes += cmd == 0x4402
            at += HEAD.size + length + 6
        self.buffer = self.buffer[at:]

    def ask(self, cmd, **fields):
        self.replies.clear()
        self.socket.sendall(frame(cmd, **fields))
        while not self.replies:
            self.receive()
        assert self.replies[0]["result"] == "success", self.replies[0]
        return self.replies[0]


def cpu_us(pid):
    """Of all threads, in microseconds (proc(5), schedstat)."""
    tasks = pathlib.Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1000


def memory_bytes(pid):
    for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise SystemExit("no Pss in smaps_rollup")


def enter(port, number):
    peer = Peer(port)
    peer.ask(REGISTER, user=f"user{number}", passwd="a password")
    peer.ask(LOGIN, user=f"user{number}", passwd="a password")
    return peer


def read_until_all_have(peers, count):
    with selectors.DefaultSelector() as selector:
        for peer in peers:
            selector.register(peer.socket, selectors.EVENT_READ, peer)
        missing = len(peers)
        while missing:
            for key, _ in selector.select():
                before = key.data.pushes
                key.data.receive()
                missing -= before < count <= key.data.pushes


def measure(server, port, arguments):
    owner = enter(port, "owner")
    owner.ask(CREATE, group="hall")
    peers = [enter(port, number) for number in range(arguments.members // 10)]
    memory = memory_bytes(server.pid)
    peers += [enter(port, number) for number in range(len(peers), arguments.members)]
    memory = (memory_bytes(server.pid) - memory) / (arguments.members - arguments.members // 10)
    for peer in peers:
        peer.ask(JOIN, group="hall")
    text = "The kettle is on, the cups are warm, and there is cake for all.."
    before, used = owner.ask(STATS), cpu_us(server.pid)
    owner.socket.sendall(frame(CHAT, group="hall", text=text) * arguments.messages)
    read_until_all_have(peers, arguments.messages)
    owner.replies.clear()
    used = cpu_us(server.pid) - used
    while len(owner.replies) < arguments.messages:
        owner.receive()
    after = owner.ask(STATS)
    return [after[name] - before[name] for name in ("read_calls_total", "write_calls_total")] + [round(used), round(memory)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--members", type=int, default=1000)
    parser.add_argument("--messages", type=int, default=64)
    parser.add_argument("servers", nargs="+")
    arguments = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    print(f"{arguments.messages} messages in one piece to {arguments.members} members")
    print(f"{'':<16}{'reads':>8}{'writes':>8}{'us':>10}{'bytes idle':>12}")
    for program in arguments.servers:
        options = ["--port", "0", "--store", "memory", "--password-cost", "min", "--rate-limit", "0"]
        with subprocess.Popen([program, *options], stdout=subprocess.PIPE) as server:
            try:
                port = int(server.stdout.readline().rsplit(b":", 1)[1])
                reads, writes, used, memory = measure(server, port, arguments)
                print(f"{pathlib.Path(program).name:<16}{reads:>8}{writes:>8}{used:>10}{memory:>12}")
            finally:
                server.terminate()


if __name__ == "__main__":
    main()
