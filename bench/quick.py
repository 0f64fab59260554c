"""make bench-quick: what a message costs in things that can be counted, against the budgets of bench/budgets.json.

    python3 bench/quick.py                     all stages; status 1 when one is over its budget
    python3 bench/quick.py --write             what is counted becomes the budget

Time says little on a machine that does other things besides; counts are the same on every machine. Each count is the
difference of two runs, so what starting and logging in cost is not in it. Few talk, so that what is sent does not depend
on who is how fast: 64 messages in one piece to a group of ten, and a pair that takes turns.

What is counted, a message:
    syscalls, epoll_ctl       strace -f -c
    allocations               valgrind, "total heap usage"
    instructions              valgrind --tool=callgrind, of all threads
    writes, wakeups           the server's own counters (S-7)
"""

import argparse
import dataclasses
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import time

import servers

BUDGETS = servers.ROOT / "bench" / "budgets.json"
CHATBENCH = servers.ROOT / "bin" / "chatbench"
FEW, MANY = 640, 3200
WORKLOADS = {
    "fan-10": ["--workload", "fan-100", "--members", "10", "--window", "64"],
    "pair": ["--workload", "pairs", "--groups", "1"],
}
# Over its budget is what is so much more than it. Threads share out work as they are woken, so 01 may vary more.
MARGIN = 0.05
MARGIN_OF_THREADS = 0.25
MARGIN_ABSOLUTE = 0.02      # of a count near 0
# On a machine that is busy the generator's bursts come in more pieces, and each piece costs calls. So what is over its
# budget is counted again: a server that does too much does so every time.
ATTEMPTS = 4

TOOLS = {
    "strace": ("strace", "-D", "-f", "-c", "-o", "{data}/tool"),
    "memcheck": ("valgrind", "--leak-check=no", "--log-file={data}/tool"),
    "callgrind": ("valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", "--log-file={data}/tool"),
}


def drive(server, workload, messages):
    """The generator's line of a run of its own."""
    with servers.running(server) as (_, port):
        run = subprocess.run([CHATBENCH, "--port", str(port), "--label", server.name, *WORKLOADS[workload],
                              "--messages", str(messages)], capture_output=True, text=True, check=False)
    if run.returncode != 0:
        raise SystemExit(f"{server.name}, {workload}: {run.stderr}")
    return json.loads(run.stdout)


def when_written(path, end):
    """What a tool writes when the server has ended; strace is a process of its own, and may be a moment later."""
    for _ in range(200):
        text = path.read_text() if path.exists() else ""
        if re.search(end, text):
            return text
        time.sleep(0.05)
    raise SystemExit(f"{path}: the tool has not written its end:\n{text}")


def counts_of_strace(text):
    """calls by name, from the table of strace -c"""
    rows = [line.split() for line in text.splitlines()]
    return {row[-1]: int(row[3]) for row in rows if len(row) >= 5 and row[3].isdigit()}


def count_with(tool, server, workload, messages):
    with tempfile.TemporaryDirectory(prefix="bench-") as data:
        wrapper = tuple(part.format(data=data) for part in TOOLS[tool])
        drive(dataclasses.replace(server, wrapper=wrapper), workload, messages)
        path = pathlib.Path(data) / "tool"
        if tool == "strace":
            calls = counts_of_strace(when_written(path, r"\btotal\n"))
            return {"syscalls": sum(count for name, count in calls.items() if name != "total"),
                    "epoll_ctl": calls.get("epoll_ctl", 0)}
        name, pattern = {"memcheck": ("allocations", r"total heap usage: ([\d,]+) allocs"),
                         "callgrind": ("instructions", r"Collected : ([\d,]+)")}[tool]
        return {name: int(re.search(pattern, when_written(path, pattern))[1].replace(",", ""))}


def count(server, workload):
    """{what: a message}"""
    line = drive(server, workload, MANY)
    found = {"writes": line["writes_per_message"], "wakeups": line["wakeups_per_message"]}
    for tool in TOOLS:
        few, many = (count_with(tool, server, workload, messages) for messages in (FEW, MANY))
        found |= {what: round((many[what] - few[what]) / (MANY - FEW), 3) for what in many}
    return found


def margin_of(stage, budget):
    return max(MARGIN_ABSOLUTE, budget * (MARGIN_OF_THREADS if stage.startswith("01") else MARGIN))


def excess(stage, workload, found, budget):
    """A sentence for each count that is over its budget."""
    return [f"{stage}, {workload}: {found[what]:,} {what} a message, the budget is {budget[what]:,}"
            for what in found if what in budget and found[what] > budget[what] + margin_of(stage, budget[what])]


def count_and_compare(stage, workload, budget):
    """The counts, and what is over its budget, which is told only if it is so every time."""
    for _ in range(ATTEMPTS):
        found = count(servers.stage(stage), workload)
        print(f"{stage:<14}{workload:<8}" + "".join(f"{value:>14,.3f}" for value in found.values()), flush=True)
        over = excess(stage, workload, found, budget)
        if not over:
            break
    return found, over


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="write the budgets instead of checking them")
    parser.add_argument("stages", nargs="*", default=servers.STAGES)
    arguments = parser.parse_args()
    budgets = json.loads(BUDGETS.read_text()) if BUDGETS.exists() else {}
    over = []
    print(f"{'':<14}{'':<8}" + "".join(f"{what:>14}" for what in
                                       ("writes", "wakeups", "syscalls", "epoll_ctl", "allocations", "instructions")))
    for stage in arguments.stages:
        for workload in WORKLOADS:
            budget = budgets.setdefault(stage, {}).setdefault(workload, {})
            if arguments.write:
                budget.clear()
            found, too_much = count_and_compare(stage, workload, budget)
            over += too_much
            if arguments.write:
                budget.update(found)
    if arguments.write:
        BUDGETS.write_text(json.dumps(dict(sorted(budgets.items())), indent=2) + "\n")
    print("\n".join(over) or "All are within their budgets.")
    sys.exit(bool(over))


if __name__ == "__main__":
    main()
