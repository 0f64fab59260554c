"""The counts of bench/budgets.json, as a table in docs/benchmarks.md; and whether the figures in its prose are those of the
data.

    python3 bench/page.py              write the table
    python3 bench/page.py --check      change nothing; say what is not as the data has it

A figure in prose has its source before it, in a comment: server, scenario, figure. It is looked for in budgets.json, then in
docs/benchmarks/summary.csv, and has to be right to the digit that is written: <!-- 03-epoll, fan-10, writes -->0.157
"""

import csv
import json
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "benchmarks.md"
SUMMARY = ROOT / "docs" / "benchmarks" / "summary.csv"
TABLE = re.compile(r"(<!-- table: budgets -->\n).*?(<!-- end -->)", re.DOTALL)
FIGURE = re.compile(r"<!-- ([\w-]+), ([\w-]+), (\w+) -->([\d,]+(?:\.\d+)?)")


def budgets():
    return json.loads((ROOT / "bench" / "budgets.json").read_text())


def figures():
    """{(server, scenario, figure): value}"""
    found = {}
    if SUMMARY.exists():
        with open(SUMMARY, newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                found |= {(row["server"], row["scenario"], name): row[name] for name in row}
    return found | {(stage, workload, what): value for stage, workloads in budgets().items()
                    for workload, counts in workloads.items() for what, value in counts.items()}


def table():
    counted = budgets()
    stages = list(counted)
    rows = [f"| | {' | '.join(stages)} |", "| --- |" + " ---: |" * len(stages)]
    for workload, counts in counted[stages[0]].items():
        for what in counts:
            digits = 0 if what == "instructions" else 2
            values = (f"{counted[stage][workload][what]:,.{digits}f}" for stage in stages)
            rows.append(f"| {workload}: {what} | {' | '.join(values)} |")
    return "\n".join(rows) + "\n"


def with_table(text):
    return TABLE.sub(lambda match: match[1] + table() + match[2], text)


def faults(text):
    """What the page says otherwise than the data."""
    known = figures()
    if with_table(text) != text:
        yield "the table is older than bench/budgets.json: bench/page.py"
    for server, scenario, figure, written in FIGURE.findall(text):
        value = known.get((server, scenario, figure))
        if value in (None, ""):
            yield f"{written}: nothing is known of {server}, {scenario}, {figure}"
            continue
        right = f"{float(value):,.{len(written.partition('.')[2])}f}"
        if written != right:
            yield f"{server}, {scenario}, {figure}: the page says {written}, the data {right}"


if __name__ == "__main__":
    if "--check" in sys.argv:
        wrong = list(faults(PAGE.read_text()))
        print("\n".join(wrong) or "The page says what the data says.")
        sys.exit(bool(wrong))
    PAGE.write_text(with_table(PAGE.read_text()))
