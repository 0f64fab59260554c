"""Measure the stages, and the peers beside them, in interleaved rounds; write tables and plots into docs/benchmarks.

    python3 bench/run.py                                  the stages
    python3 bench/run.py --peers                          and Redis, NATS, Mosquitto, ngIRCd and InspIRCd
    python3 bench/run.py --only 'fan-*' --rounds 3 --out /tmp/bench
    python3 bench/run.py --keep --only 'durable-*'        these anew, and the others as they were measured before

A round runs every scenario on every server, one after the other: a slow minute of the machine hits all of them. Before each
scenario a fixed loop of sends is timed. Where it is off the run's median by over 15 %, the lines behind it are refused. Where the
generator was busy for over 95 % of the time, messages a second say nothing of the server and are refused; deliveries a
second of the server's CPU time hold all the same.

    lines.csv       a line a run
    summary.csv     medians, least and most of a scenario and server, over the rounds
    serial.csv      what share of a message in 05-threaded is serial, and what that allows on more cores
    machine.json    what it was measured on
"""

import argparse
import datetime
import fnmatch
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys

import plots
import scenarios
import serial
import servers
import tables

CHATBENCH = servers.ROOT / "bin" / "chatbench"


def cores(pinned=True):
    return ["--pin", "0,1"] if pinned and (os.cpu_count() or 1) > 1 else []


def calibrate():
    return float(subprocess.run([CHATBENCH, "--calibrate"], capture_output=True, text=True, check=True).stdout)


def measure(server, scenario, arguments):
    """The generator's line; {"failed": why} when something was lost, or the run was disturbed."""
    with servers.running(server) as (process, port):
        command = [CHATBENCH, "--port", str(port), "--pid", str(process.pid), "--protocol", server.protocol,
                   "--label", server.name, *cores(scenario.pinned), *scenario.options,
                   "--seconds", str(arguments.seconds * scenario.longer), "--warmup", str(arguments.warmup)]
        run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
    line = json.loads(run.stdout) if run.stdout else {"server": server.name}
    return line | {"failed": run.stderr.strip().replace("\n", "; ") if run.returncode != 0 else ""}


def now():
    return datetime.datetime.now().isoformat(" ", "minutes")


def system():
    model = next((line.split(":", 1)[1].strip() for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")), platform.machine())
    return {"processor": model, "cores": os.cpu_count(), "system": f"{platform.system()} {platform.release()}"}


def kept(chosen, arguments):
    """What --out has of scenarios that are not measured now."""
    if not arguments.keep:
        return []
    before = json.loads((arguments.out / "machine.json").read_text())
    if any(before[name] != value for name, value in system().items()):
        sys.exit(f"What is in {arguments.out} was measured on another machine.")
    names = [scenario.name for scenario in chosen]
    return [line | {"failed": line["failed"] or ""} for line in tables.read_csv(arguments.out / "lines.csv")
            if line["scenario"] not in names]


def in_order(lines):
    """As one run would have them."""
    place = {scenario.name: n for n, scenario in enumerate(scenarios.SCENARIOS)}
    return sorted(lines, key=lambda line: (line["round"], place[line["scenario"]]))


def run_rounds(chosen, arguments):
    measured = now()
    for number in range(1, arguments.rounds + 1):
        for scenario in chosen:
            calibration = calibrate()
            for server in scenario.servers(arguments.peers):
                if not servers.is_there(server):
                    continue
                line = {"measured": measured, "round": number, "scenario": scenario.name, "calibration_ns": calibration}
                line |= measure(server, scenario, arguments)
                figure = line.get(scenario.figure)
                print(f"{number}  {scenario.name:<22}{server.name:<16}"
                      f"{line['failed'] or figure if not isinstance(figure, (int, float)) else f'{figure:>14,.0f}'}",
                      flush=True)
                yield line


def machine(arguments, lines):
    memory = next(line.split()[1] for line in pathlib.Path("/proc/meminfo").read_text().splitlines()
                  if line.startswith("MemTotal"))
    return {
        "measured": " and ".join(sorted({line["measured"].split()[0] for line in lines})),
        **system(), "memory_mib": int(memory) // 1024,
        "pinned": " ".join(cores()) or "no",
        "rounds": arguments.rounds, "seconds_each": arguments.seconds,
        "calibration_ns": {"median": statistics.median(line["calibration_ns"] for line in lines),
                           "least": min(line["calibration_ns"] for line in lines),
                           "most": max(line["calibration_ns"] for line in lines)},
        "versions": {server.name: servers.version_of(server) for server in servers.all_servers()
                     if any(line["server"] == server.name for line in lines)},
    }


def keep_ceiling(rows, arguments):
    """What was measured beside the scenarios that are kept."""
    before = {(row["scenario"], row["server"]): row for row in tables.read_csv(arguments.out / "summary.csv")}
    for row in rows:
        row.update({name: value for name, value in before.get((row["scenario"], row["server"]), {}).items()
                    if "ceiling" in name and value is not None})


def ceiling(rows, chosen, arguments):
    """For each fan of a stage: what a thread reaches that only sends its pieces, as deliveries a CPU second."""
    program = servers.ROOT / "build" / "plain" / "ceiling_sends"
    fans = [scenario.name for scenario in chosen if scenario.name.startswith("fan-")]
    for row in rows:
        if row["scenario"] not in fans or not row.get("bytes_per_write") or not row["writes_per_delivery"]:
            continue
        command = [program, row["scenario"].split("-")[1], str(round(row["bytes_per_write"])), str(arguments.seconds)]
        command += ["0", "1"] if cores() else []
        sends = float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        row["ceiling_deliveries_per_cpu_second"] = round(sends / row["writes_per_delivery"])
        row["share_of_ceiling"] = round(row["deliveries_per_cpu_second"] / row["ceiling_deliveries_per_cpu_second"], 3)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peers", action="store_true", help="the other servers, too")
    parser.add_argument("--only", default="*", metavar="PATTERNS", help="scenarios, such as 'fan-* pairs'")
    parser.add_argument("--keep", action="store_true", help="of --out the other scenarios, as they were measured before")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.6)
    parser.add_argument("--warmup", type=float, default=0.2)
    parser.add_argument("--out", type=pathlib.Path, default=servers.ROOT / "docs" / "benchmarks")
    arguments = parser.parse_args()
    chosen = [scenario for scenario in scenarios.SCENARIOS
              if any(fnmatch.fnmatch(scenario.name, pattern) for pattern in arguments.only.split())]
    if not chosen:
        sys.exit("There is no such scenario.")
    lines = in_order(kept(chosen, arguments) + list(run_rounds(chosen, arguments)))
    tables.refuse(lines)
    rows = tables.summarise(lines)
    if arguments.keep:
        keep_ceiling(rows, arguments)
    ceiling(rows, chosen, arguments)
    arguments.out.mkdir(parents=True, exist_ok=True)
    tables.write_csv(arguments.out / "lines.csv", lines)
    tables.write_csv(arguments.out / "summary.csv", rows)
    if not arguments.keep or any(scenario.name in serial.SCENARIOS for scenario in chosen):
        tables.write_csv(arguments.out / "serial.csv", list(serial.shares(rows)))
    (arguments.out / "machine.json").write_text(json.dumps(machine(arguments, lines), indent=2) + "\n")
    plots.draw(rows, arguments.out)
    refused = [line for line in lines if line["refused"]]
    for line in refused:
        print(f"refused: round {line['round']}, {line['scenario']}, {line['server']}: {line['refused']}")
    sys.exit(any(line["failed"] for line in lines))


if __name__ == "__main__":
    main()
