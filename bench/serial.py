"""What share of a message is serial, and how many threads it feeds.

Of a message in 05-threaded, the engine is what one thread at a time does. micro_core tells its nanoseconds; the whole
message is the server's CPU time, the system's calls included, as it was measured over sockets. With a share s of a
message serial, n cores do at most 1 / (s + (1 - s) / n) times what one does (Amdahl's law): less, where they get in each
other's way.
"""

import re
import subprocess

import servers

MICRO = servers.ROOT / "build" / "plain" / "micro_core"
LINE = re.compile(r"group of +(\d+), in bursts of +(\d+) .* ([\d.]+) of them in the engine")
# The scenario that sends the same: members of the group, messages in a burst.
SCENARIOS = {"pairs": (2, 1), "fan-100-64": (100, 64), "fan-1000-64": (1000, 64)}
CORES = (4, 16, 64)


def engine_ns():
    """{(members, burst): nanoseconds of a message in the engine}"""
    said = subprocess.run([MICRO], capture_output=True, text=True, check=True).stdout
    return {(int(members), int(burst)): float(time) for members, burst, time in LINE.findall(said)}


def shares(rows):
    """Rows of a table, of what summary.csv has of 05-threaded."""
    measured = {row["scenario"]: row["messages_per_cpu_second"] for row in rows if row["server"] == "05-threaded"}
    engine = engine_ns() if measured.keys() & SCENARIOS.keys() else {}
    for scenario, shape in SCENARIOS.items():
        if measured.get(scenario):
            message_ns = 1e9 / measured[scenario]
            share = engine[shape] / message_ns
            yield {"scenario": scenario, "engine_ns": engine[shape], "message_ns": round(message_ns),
                   "serial_share": round(share, 4),
                   **{f"most_with_{cores}_cores": round(1 / (share + (1 - share) / cores), 1) for cores in CORES}}
