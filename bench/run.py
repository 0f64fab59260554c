"""Measure the stages, and the peers beside them, in interleaved rounds; write tables and plots into docs/benchmarks.

    python3 bench/run.py                                  the stages
    python3 bench/run.py --peers                          and Redis, NATS, Mosquitto, ngIRCd and InspIRCd
    python3 bench/run.py --only 'fan-*' --rounds 3 --out /tmp/bench

A round runs every scenario on every server, one after the other: a slow minute of the machine hits all of them. Before each
scenario a fixed loop of sends is timed. Where it is off its median by over 15 %, the lines behind it are refused. Where the
generator was busy for over 95 % of the time, messages a second say nothing of the server and are refused; deliveries a
second of the server's CPU time hold all the same.

    lines.csv       a line a run
    summary.csv     medians, least and most of a scenario and server, over the rounds
    machine.json    what it was measured on
"""

import argparse
import csv
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
import servers

CHATBENCH = servers.ROOT / "bin" / "chatbench"
CALIBRATION_OFF = 0.15
GENERATOR_BUSY = 0.95
# A second of the clock, not of the server's CPU time: these say nothing when the generator is the bottleneck.
RATES = ("messages_per_second", "deliveries_per_second", "logins_per_second")
FIGURES = ("deliveries_per_cpu_second", "messages_per_cpu_second", *RATES, "logins_per_cpu_second", "generator_utilisation",
           "latency_p50_us", "latency_p99_us", "latency_p999_us", "pss_bytes", "idle_bytes_each", "idle_cpu_us_each",
           "idle_time_us_each", "writes_per_delivery", "writes_per_message", "wakeups_per_message", "messages_per_commit",
           "bytes_per_write", "context_switches_per_message", "slow_consumers", "overrun")


def cores():
    return ["--pin", "0,1"] if (os.cpu_count() or 1) > 1 else []


def calibrate():
    return float(subprocess.run([CHATBENCH, "--calibrate"], capture_output=True, text=True, check=True).stdout)


def measure(server, scenario, arguments):
    """The generator's line; {"failed": why} when something was lost, or the run was disturbed."""
    with servers.running(server) as (process, port):
        command = [CHATBENCH, "--port", str(port), "--pid", str(process.pid), "--protocol", server.protocol,
                   "--label", server.name, *cores(), *scenario.options,
                   "--seconds", str(arguments.seconds), "--warmup", str(arguments.warmup)]
        run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
    line = json.loads(run.stdout) if run.stdout else {"server": server.name}
    return line | {"failed": run.stderr.strip().replace("\n", "; ") if run.returncode != 0 else ""}


def run_rounds(chosen, arguments):
    for number in range(1, arguments.rounds + 1):
        for scenario in chosen:
            calibration = calibrate()
            for server in scenario.servers(arguments.peers):
                if not servers.is_there(server):
                    continue
                line = {"round": number, "scenario": scenario.name, "calibration_ns": calibration}
                line |= measure(server, scenario, arguments)
                figure = line.get(scenario.figure)
                print(f"{number}  {scenario.name:<22}{server.name:<16}"
                      f"{line['failed'] or figure if not isinstance(figure, (int, float)) else f'{figure:>14,.0f}'}",
                      flush=True)
                yield line


def refuse(lines):
    """Mark each line with why it does not count, and take the rates out where the generator was the bottleneck."""
    usual = statistics.median(line["calibration_ns"] for line in lines)
    for line in lines:
        off = line["calibration_ns"] / usual - 1
        line["refused"] = line["failed"] or (f"calibration off by {off:+.0%}" if abs(off) > CALIBRATION_OFF else "")
        if (line.get("generator_utilisation") or 0) > GENERATOR_BUSY:
            line.update({rate: None for rate in RATES})


def summarise(lines):
    """{(scenario, server): {figure: median, figure_least, figure_most}} of what was not refused, in the order of lines."""
    summary = {}
    for line in lines:
        summary.setdefault((line["scenario"], line["server"]), []).append(line)
    rows = []
    for (scenario, server), some in summary.items():
        good = [line for line in some if not line["refused"]]
        row = {"scenario": scenario, "server": server, "rounds": len(good), "refused": len(some) - len(good)}
        for figure in FIGURES:
            values = [line[figure] for line in good if line.get(figure) is not None]
            row[figure] = statistics.median(values) if values else None
            row[f"{figure}_least"], row[f"{figure}_most"] = (min(values), max(values)) if values else (None, None)
        rows.append(row)
    return rows


def write_csv(path, rows):
    names = list(dict.fromkeys(name for row in rows for name in row))
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def machine(arguments, lines):
    model = next((line.split(":", 1)[1].strip() for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")), platform.machine())
    memory = next(line.split()[1] for line in pathlib.Path("/proc/meminfo").read_text().splitlines()
                  if line.startswith("MemTotal"))
    return {
        "measured": datetime.date.today().isoformat(),
        "processor": model, "cores": os.cpu_count(), "memory_mib": int(memory) // 1024,
        "system": f"{platform.system()} {platform.release()}",
        "pinned": " ".join(cores()) or "no",
        "rounds": arguments.rounds, "seconds_each": arguments.seconds,
        "calibration_ns": {"median": statistics.median(line["calibration_ns"] for line in lines),
                           "least": min(line["calibration_ns"] for line in lines),
                           "most": max(line["calibration_ns"] for line in lines)},
        "versions": {server.name: servers.version_of(server) for server in servers.all_servers()
                     if any(line["server"] == server.name for line in lines)},
    }


def ceiling(rows, arguments):
    """For each fan of a stage: what a thread reaches that only sends its pieces, as deliveries a CPU second."""
    program = servers.ROOT / "build" / "plain" / "ceiling_sends"
    for row in rows:
        if not row["scenario"].startswith("fan-") or not row.get("bytes_per_write") or not row["writes_per_delivery"]:
            continue
        command = [program, row["scenario"].split("-")[1], str(round(row["bytes_per_write"])), str(arguments.seconds)]
        command += ["0", "1"] if cores() else []
        sends = float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        row["ceiling_deliveries_per_cpu_second"] = round(sends / row["writes_per_delivery"])
        row["share_of_ceiling"] = round(row["deliveries_per_cpu_second"] / row["ceiling_deliveries_per_cpu_second"], 3)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peers", action="store_true", help="the other servers, too")
    parser.add_argument("--only", default="*", metavar="PATTERN", help="scenarios, such as 'fan-*'")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.6)
    parser.add_argument("--warmup", type=float, default=0.2)
    parser.add_argument("--out", type=pathlib.Path, default=servers.ROOT / "docs" / "benchmarks")
    arguments = parser.parse_args()
    chosen = [scenario for scenario in scenarios.SCENARIOS if fnmatch.fnmatch(scenario.name, arguments.only)]
    lines = list(run_rounds(chosen, arguments))
    if not lines:
        sys.exit("There is no such scenario.")
    refuse(lines)
    rows = summarise(lines)
    ceiling(rows, arguments)
    arguments.out.mkdir(parents=True, exist_ok=True)
    write_csv(arguments.out / "lines.csv", lines)
    write_csv(arguments.out / "summary.csv", rows)
    (arguments.out / "machine.json").write_text(json.dumps(machine(arguments, lines), indent=2) + "\n")
    plots.draw(rows, arguments.out)
    refused = [line for line in lines if line["refused"]]
    for line in refused:
        print(f"refused: round {line['round']}, {line['scenario']}, {line['server']}: {line['refused']}")
    sys.exit(any(line["failed"] for line in lines))


if __name__ == "__main__":
    main()
