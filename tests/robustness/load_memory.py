"""How much memory a server has in use.

What a program frees stays in its resident memory for the most part: glibc's allocator keeps it for the next peak. How
much that is after the same load is chance; in 05-threaded it was between 5 and 13 MiB. So before memory is looked at,
the allocator is made to give back what is free (load_trim.c): what is left is in use, or lies in one page with it.
"""

import os
import signal
from pathlib import Path

from harness.measure import eventually
from harness.preload import replaced

TRIM = Path(__file__).with_name("load_trim.c")
TRIM_S = 20
NAME = "trimmed "


def can_trim(server):
    """To be called before its start."""
    server.env = replaced(server.directory, TRIM.read_text())


def trims(server):
    """How often it was done: the name of one of its threads says so."""
    for task in Path(f"/proc/{server.pid}/task").iterdir():
        try:
            name = (task / "comm").read_text()
        except OSError:
            continue            # a thread that has just ended
        if name.startswith(NAME):
            return int(name.removeprefix(NAME))
    return 0


def bytes_in_use(server):
    done = trims(server)
    os.kill(server.pid, signal.SIGRTMIN)
    eventually(lambda: trims(server), lambda now: now > done, TRIM_S)
    # Exact, unlike statm, where the kernel keeps a share of the count for each processor.
    lines = Path(f"/proc/{server.pid}/smaps_rollup").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("Rss:"))
