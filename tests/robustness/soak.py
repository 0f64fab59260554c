"""`make soak`: a mixed load for minutes, and memory that stays flat.

Idea.       Beside the live peers, everything that `make load` does comes in turn, small, again and again on one server.
            The memory in use (load_memory.py) is looked at when a load is over and its connections are gone: what is in
            use during a load is the load's. After a fifth of the time the server has seen every load several times, and
            all that keeps the size of the largest load has it: SQLite's cache, the journal, the hubs' tables, buffers.
            A line is laid through the samples from there on, and over their time it may not rise by more than the
            tolerance of `make load`.
            Several stages are soaked side by side, each by a process of its own: memory is looked at, not speed.
"""

import argparse
import concurrent.futures
import random
import sys
import time

from servers import ROOT, STAGES, Failure, Subject, begin_story

from harness import Crash, Unmet                                        # noqa: E402
from harness.clock import set_slow_factor                               # noqa: E402
from harness.multitude import room_for                                  # noqa: E402

from figures import record                                              # noqa: E402
from load import TOLERANCE_BYTES, Observer, fill_cache, latencies, mebibytes            # noqa: E402
from load_churn import Churn                                            # noqa: E402
from load_crowds import Floods, ResetStorm, SlowPeers, StalledReaders   # noqa: E402
from load_live import Live                                              # noqa: E402
from load_memory import bytes_in_use, can_trim                          # noqa: E402
from peers import Peers                                                 # noqa: E402

# A burst is twice the rate (L-5): room for the 1000 messages that one speaker of SlowPeers may need.
OPTIONS = ("--log-level", "error", "--idle-timeout", "600", "--rate-limit", "500", "--frame-timeout", "2",
           "--login-timeout", "5")
WARM_UP = 0.2           # of the time


class SmallChurn(Churn):
    connects = 3000


class SmallStorm(ResetStorm):
    members, storms, burst = 60, 3, 20


class SmallStall(StalledReaders):
    members = 60


class SmallFlood(Floods):
    members, seconds = 10, 3     # five soaks share the machine: each sender has his turn in it


class SmallSlow(SlowPeers):
    members = 20


MIX = [SmallChurn, SmallStorm, SmallStall, SmallFlood, SmallSlow]


def slope(samples):
    """Of the line through [(seconds, bytes)] with the least squares, in bytes a second."""
    count = len(samples)
    mean_x, mean_y = (sum(values) / count for values in zip(*samples))
    above = sum((x - mean_x) * (y - mean_y) for x, y in samples)
    return above / sum((x - mean_x) ** 2 for x, _ in samples)


def soak(stage, minutes, programs):
    """The figures of one stage."""
    begin_story()
    server = Subject(stage, programs, *OPTIONS)
    chance = random.Random("soak")
    can_trim(server)
    try:
        server.start()
        with Peers((server.host, server.port)) as peers:
            fill_cache(server)
            Live.set_up(server)
            observer = Observer(server)
            loads = [kind(server, peers, 1, observer.counter) for kind in MIX]
            for load in loads:
                load.set_up()
            with Live(server) as live:
                samples = go_on(server, peers, loads, chance, live, observer, 60 * minutes)
                talk = live.finish()
            accepted, stored = observer.counter("accepted_total"), observer.counter("messages_total")
            observer.client.close()
        server.check()
        server.stop()
    finally:
        server.dispose()
    return judge(samples) | {
        "connects": accepted, "messages stored": stored, "loads of each kind": len(samples) // len(MIX),
        "live messages, each once and in order": talk["messages"],
        "ping p50 / p99 / max": latencies(talk["ping"])}


def attempt(stage, minutes, programs):
    """(figures, None); (None, why not) when it failed."""
    try:
        return soak(stage, minutes, programs), None
    except (Failure, Unmet, Crash) as error:
        return None, str(error)


def go_on(server, peers, loads, chance, live, observer, seconds):
    """Returns the samples [(seconds, bytes)]; one after each load, when its connections are gone."""
    began = time.monotonic()
    before = observer.settled()
    samples = []
    while time.monotonic() - began < seconds or len(samples) < 2 * len(loads):
        for load in chance.sample(loads, len(loads)):
            load.run()
            live.check()
            server.check()
            observer.settled(before)
            samples.append((time.monotonic() - began, bytes_in_use(server)))
    return samples


def judge(samples):
    end = samples[-1][0]
    warm = [(x, y) for x, y in samples if x >= WARM_UP * end]
    rise = slope(warm) * (end - warm[0][0])
    told = f"{slope(warm) * 60 / 1024:+.1f} KiB a minute"
    if rise > TOLERANCE_BYTES:
        raise Failure(f"memory rises by {told}: {mebibytes(rise)} from minute {warm[0][0] / 60:.1f} to {end / 60:.1f}; "
                      + ", ".join(mebibytes(y) for _, y in warm[::max(1, len(warm) // 10)]))
    return {"minutes": round(end / 60, 1), "slope of the memory": told,
            "memory in use, least / mean / most": " / ".join(mebibytes(value) for value in (
                min(y for _, y in warm), sum(y for _, y in warm) / len(warm), max(y for _, y in warm)))}


def main():
    parser = argparse.ArgumentParser(description="a mixed load for minutes, and flat memory")
    parser.add_argument("stages", nargs="*", default=STAGES)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--programs", default=ROOT / "bin", help="the folder with the stages")
    parser.add_argument("--record", action="store_true", help="keep the figures for docs/robustness.md")
    arguments = parser.parse_args()
    set_slow_factor(4)
    room_for(5000)
    figures, failed = {}, False
    with concurrent.futures.ProcessPoolExecutor(len(arguments.stages)) as pool:
        soaks = {stage: pool.submit(attempt, stage, arguments.minutes, arguments.programs) for stage in arguments.stages}
        for stage, one in soaks.items():
            result, failure = one.result()
            print(f"{stage}: " + (f"FAILED\n{failure}" if failure else
                                  "; ".join(f"{what} {value}" for what, value in result.items())), flush=True)
            failed = failed or bool(failure)
            figures |= {f"{stage}: {what}": value for what, value in (result or {}).items()}
    if arguments.record and not failed:
        record("soak", figures, ["tests/robustness/soak.py", "tests/robustness/load*", "tests/robustness/peers.py"])
    sys.exit(failed)


if __name__ == "__main__":
    main()
