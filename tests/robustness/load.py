"""`make load`: what many, rude or slow peers do to a server, and to the others on it.

Idea.       Each scenario runs twice on one server (its two halves), beside live peers in a process of their own
            (load_live.py). After each half the server must have the descriptors and the threads that it had before the
            first. The first half is what caches, tables and stacks grow by for such a peak; so the memory in use after
            the second half (load_memory.py) is compared with that after the first: the same peak again must not need
            more.
Bounds.     p99 of the live peers' pings stays under 50 ms (--p99-ms): on a machine that is not otherwise loaded.
"""

import argparse
import sys
import time
import traceback
from pathlib import Path

from servers import ROOT, STAGES, Failure, Subject, begin_story

from harness import Crash, Unmet, User                                        # noqa: E402
from harness.clock import set_slow_factor                               # noqa: E402
from harness.measure import descriptors, eventually                     # noqa: E402
from harness.multitude import room_for                                  # noqa: E402
from harness.together import all_ok, in_one_piece                       # noqa: E402

from figures import record                                              # noqa: E402
from load_churn import Churn                                            # noqa: E402
from load_crowds import Floods, PasswordStorm, ResetStorm, SlowPeers, StalledReaders    # noqa: E402
from load_live import LIVE_SESSIONS, WAIT_S, Live, percentile         # noqa: E402
from load_memory import bytes_in_use, can_trim                          # noqa: E402
from peers import Peers                                                 # noqa: E402

SCENARIOS = {"churn": Churn, "reset storm": ResetStorm, "stalled readers": StalledReaders, "floods": Floods,
             "password storm": PasswordStorm, "slow peers": SlowPeers}

# What the second half may need more than the first. It is what is left of chance: pages of which only a part is in use,
# the free ends of arenas, how much of a freed stack glibc keeps (up to 40 MiB of stacks, of which only touched pages
# count). On 25,000 connections it is 168 bytes each, less than any object that a connection has: a leak of one shows. At
# fewer connections only larger leaks show; there the sanitizers look.
TOLERANCE_BYTES = 4 << 20
CACHE_BYTES, FILL_BYTES = 24 << 20, 8000       # the first is more than cache_size in common/store/sqlite_schema.c
KEPT = ("ping p50 / p99 / max", "memory in use before / between / after")
SETTLE_S = 20           # L-3 gives a slow consumer 5 s, L-9 lingers for 2 s


def threads(server):
    return len(list(Path(f"/proc/{server.pid}/task").iterdir()))


def held(server):
    """What a server has that it has to give back."""
    return {"descriptors": descriptors(server), "threads": threads(server)}


class Observer:
    """A session that asks for the counters (S-7)."""

    def __init__(self, server):
        self.server = server
        self.user = User("observer", "an observer's password")
        self.client = server.connect("observer")
        self.client.wait_s = WAIT_S
        self.client.register(self.user)
        self.client.login(self.user)

    def counter(self, name):
        return self.client.ok("stats")[name]

    def settled(self, wanted=None):
        """What the server holds when only the live peers and this one are left; it must be `wanted` by then."""
        try:
            eventually(lambda: self.counter("connections"), lambda count: count == LIVE_SESSIONS + 1, SETTLE_S)
            self.see_hashes_done()
            return eventually(lambda: held(self.server), lambda now: wanted in (None, now), SETTLE_S)
        except AssertionError as error:
            raise Failure(f"the server held {wanted} before the load; {error}") from None

    def see_hashes_done(self):
        """A hash takes 64 MiB while it is made, and passwords wait in a row, also those of who is gone. Behind them comes
        this one; where there are several workers, the second begins when all are done that were asked for before."""
        for _ in range(2):
            self.client.ok("logout")
            self.client.login(self.user)


def fill_cache(server):
    """SQLite keeps pages that it has written, up to a bound. It is reached before the memory is looked at."""
    user = User("librarian", "a librarian's password")
    with server.connect("librarian") as client:
        client.register(user)
    for _ in range(CACHE_BYTES // FILL_BYTES // 100):
        with server.connect("librarian") as client:         # one connection for all would pass the rate limit
            client.login(user)
            all_ok(in_one_piece(client, [("private_chat", {"user_to": user.name, "text": "x" * FILL_BYTES})] * 100))


def measure(scenario, server, scale, p99_ms):
    """Both halves; returns the figures."""
    can_trim(server)
    server.start()
    begin_story()
    began = time.monotonic()
    with Peers((server.host, server.port)) as peers:
        fill_cache(server)
        Live.set_up(server)
        observer = Observer(server)
        load = scenario(server, peers, scale, observer.counter)
        load.set_up()
        with Live(server) as live:
            before = observer.settled()
            memory = [bytes_in_use(server)]
            for _ in range(2):
                load.run()
                live.check()
                observer.settled(before)
                memory.append(bytes_in_use(server))
            talk = live.finish()
        observer.client.close()
    server.check()
    server.stop()
    if memory[2] > memory[1] + TOLERANCE_BYTES:
        raise Failure(f"memory in use before, between and after the halves: {' / '.join(map(mebibytes, memory))}")
    if percentile(talk["ping"], 0.99) * 1000 > p99_ms:
        raise Failure(f"a ping of the live peers took {latencies(talk['ping'])}, and p99 must be under {p99_ms:g} ms; an "
                      f"echo by a process that does nothing else took {latencies(talk['echo'])}: the machine's share")
    return load.figures(), talk, memory, time.monotonic() - began


def mebibytes(count):
    return f"{count / (1 << 20):.1f} MiB"


def milliseconds(seconds):
    return f"{seconds * 1000:.1f} ms"


def latencies(values):
    """p50, p99 and the largest."""
    return " / ".join(milliseconds(percentile(values, share)) for share in (0.5, 0.99, 1))


def report(figures, talk, memory, seconds):
    return {**figures,
            "live messages, each once and in order": talk["messages"],
            "ping p50 / p99 / max": latencies(talk["ping"]),
            "message p50 / p99 / max": latencies(talk["message"]),
            "the machine's echo p50 / p99 / max": latencies(talk["echo"]),
            "memory in use before / between / after": " / ".join(map(mebibytes, memory)),
            "seconds": round(seconds)}


def summary(result):
    """What docs/robustness.md has room for."""
    return "; ".join(f"{what} {result[what]}" for what in KEPT if what in result)


def run(stage, name, arguments):
    """The figures of one scenario on one stage; a sentence when it failed."""
    begin_story()
    scenario = SCENARIOS[name]
    server = Subject(stage, arguments.programs, "--log-level", "error", "--idle-timeout", "600", *scenario.options)
    try:
        return report(*measure(scenario, server, arguments.scale, arguments.p99_ms)), None
    except (Failure, Unmet, Crash) as error:
        return None, "\n".join([str(error), *server.log])
    except Exception:  # noqa: BLE001  an experiment that breaks is a failure of this scenario, and the next one is run
        return None, "\n".join([traceback.format_exc(), *server.log])
    finally:
        server.dispose()


def main():
    parser = argparse.ArgumentParser(description="load without loss")
    parser.add_argument("stages", nargs="*", default=STAGES)
    parser.add_argument("--scenario", action="append", choices=SCENARIOS, help="only these; may be repeated")
    parser.add_argument("--scale", type=float, default=1.0, help="of the number of connections and the time")
    parser.add_argument("--p99-ms", type=float, default=50)
    parser.add_argument("--programs", default=ROOT / "bin", help="the folder with the stages")
    parser.add_argument("--record", action="store_true", help="keep the figures for docs/robustness.md")
    arguments = parser.parse_args()
    set_slow_factor(4)
    room_for(5000)
    figures, failed = {}, False
    for stage in arguments.stages:
        for name in arguments.scenario or SCENARIOS:
            result, failure = run(stage, name, arguments)
            print(f"{stage}, {name}: " + (f"FAILED\n{failure}" if failure else
                                          "; ".join(f"{what} {value}" for what, value in result.items())), flush=True)
            failed = failed or bool(failure)
            figures[f"{stage}, {name}"] = summary(result or {})
    if arguments.record and not failed:
        record("load", figures, ["tests/robustness/load*", "tests/robustness/peers.py"])
    sys.exit(failed)


if __name__ == "__main__":
    main()
