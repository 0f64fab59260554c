"""Lines of runs to a table: what does not count is marked, the rest becomes medians."""

import csv
import statistics

CALIBRATION_OFF = 0.15
GENERATOR_BUSY = 0.95
# A second of the clock, not of the server's CPU time: these say nothing when the generator is the bottleneck.
RATES = ("messages_per_second", "deliveries_per_second", "logins_per_second")
FIGURES = ("deliveries_per_cpu_second", "messages_per_cpu_second", *RATES, "logins_per_cpu_second", "generator_utilisation",
           "latency_p50_us", "latency_p90_us", "latency_p99_us", "latency_p999_us", "pss_bytes", "idle_bytes_each", "idle_cpu_us_each",
           "idle_time_us_each", "writes_per_delivery", "writes_per_message", "wakeups_per_message", "messages_per_commit",
           "bytes_per_write", "context_switches_per_message", "slow_consumers", "overrun")


def refuse(lines):
    """Mark each line with why it does not count, and take the rates out where the generator was the bottleneck."""
    calibrations = {}
    for line in lines:
        calibrations.setdefault(line["measured"], []).append(line["calibration_ns"])
    usual = {measured: statistics.median(some) for measured, some in calibrations.items()}
    for line in lines:
        off = line["calibration_ns"] / usual[line["measured"]] - 1
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


def read_csv(path):
    """Lines as they were before write_csv()."""
    with open(path, newline="", encoding="utf-8") as file:
        return [{name: value_of(text) for name, text in row.items()} for row in csv.DictReader(file)]


def value_of(text):
    if text == "":
        return None
    try:
        return float(text) if set(text) & set(".e") else int(text)
    except ValueError:
        return text
