"""The servers that are measured: the stages, the peers, and the server that does nothing but move bytes.

Each is started on a free port of 127.0.0.1, without limits on rate or time, and with nothing that it would not need. What
the peers are told stands in bench/peers.
"""

import contextlib
import dataclasses
import pathlib
import shutil
import socket
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[1]
PEERS = ROOT / "bench" / "peers"
STAGES = ["01-blocking", "02-select", "03-epoll", "04-libevent", "05-threaded"]
LONG = "86400"
PATIENCE = 30


@dataclasses.dataclass(frozen=True)
class Server:
    """`command` has {port}, {data} (an empty directory) and {config} (its filled-in file of bench/peers) in it."""
    name: str
    protocol: str
    command: tuple
    config: str = ""
    version: tuple = ()
    max_connections: int = 20000
    wrapper: tuple = ()         # runs the command, such as valgrind


def stage(name, store=("--store", "memory"), threads=1):
    """05 with one thread, unless said: it is compared with others on one core."""
    most = {"01-blocking": 2000, "02-select": 930}.get(name, 20000)
    limit = () if name == "02-select" else ("--max-connections", str(most))
    return Server(
        name, "chat",
        (str(ROOT / "bin" / name), "--port", "{port}", *store, "--data", "{data}/chat", "--password-cost", "min",
         "--rate-limit", "0", "--idle-timeout", LONG, "--heartbeat", LONG, "--login-timeout", LONG, "--log-level", "warn",
         *limit, *(("--threads", str(threads)) if name.startswith("05") else ())),
        version=(str(ROOT / "bin" / name), "--version"), max_connections=most)


REDIS = ("redis-server", "{config}", "--port", "{port}", "--dir", "{data}")
REDIS_VERSION = ("redis-server", "--version")

PEER_SERVERS = [
    Server("redis", "redis", REDIS, "redis.conf", REDIS_VERSION),
    Server("redis-replies", "redis-replies", REDIS, "redis.conf", REDIS_VERSION),
    Server("nats", "nats", ("nats-server", "-c", "{config}"), "nats.conf", ("nats-server", "--version")),
    Server("inspircd", "irc-echo", ("inspircd", "--nofork", "--runasroot", "--config={config}"), "inspircd.conf",
           ("inspircd", "--version")),
    Server("ngircd", "irc", ("ngircd", "--nodaemon", "--config", "{config}"), "ngircd.conf", ("ngircd", "--version")),
    Server("mosquitto", "mqtt", ("mosquitto", "-c", "{config}"), "mosquitto.conf", ("mosquitto", "-h")),
]
DURABLE_PEERS = [
    Server("redis-durable", "redis-durable", (*REDIS, "--appendonly", "yes", "--appendfsync", "always"), "redis.conf",
           REDIS_VERSION),
]
DO_NOTHING = Server("do-nothing", "chat", (str(ROOT / "build/plain/ceiling_server"), "{port}"))


def all_servers():
    return [*map(stage, STAGES), *PEER_SERVERS, *DURABLE_PEERS, DO_NOTHING]


def is_there(server):
    return shutil.which(server.command[0]) is not None


def version_of(server):
    """The first line of what it says of itself that has a digit in it."""
    if not server.version:
        return ""
    run = subprocess.run(server.version, capture_output=True, text=True, check=False)
    return next((line.strip() for line in (run.stdout + run.stderr).splitlines() if any(map(str.isdigit, line))), "")


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return sock.getsockname()[1]


def wait_until_it_listens(process, port):
    """A connection that is taken is the only sign that every server gives."""
    for _ in range(PATIENCE * 20):
        if process.poll() is not None:
            raise SystemExit(f"the server ended with {process.returncode}: {process.args}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.05)
    raise SystemExit(f"the server does not listen: {process.args}")


@contextlib.contextmanager
def running(server, directory=None):
    """Its process and port. `directory` is where it keeps what it keeps; it goes with the server. What the server says on
    standard error is shown when it cannot start."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="bench-", dir=directory) as data:
        words = {"port": port, "data": data, "config": f"{data}/{server.config}"}
        if server.config:
            text = (PEERS / server.config).read_text(encoding="utf-8")
            for word, value in words.items():
                text = text.replace(f"@{word}@", str(value))
            pathlib.Path(words["config"]).write_text(text, encoding="utf-8")
        command = [*server.wrapper, *(part.format(**words) for part in server.command)]
        with open(f"{data}/said", "w+", encoding="utf-8") as said:
            process = subprocess.Popen(command, stdout=said, stderr=said, cwd=data)
            try:
                wait_until_it_listens(process, port)
                yield process, port
            except SystemExit:
                said.seek(0)
                print(said.read()[-2000:])
                raise
            finally:
                process.terminate()
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
