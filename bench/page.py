"""The tables of docs/benchmarks.md, of what was counted and measured; and whether the figures in its prose are those of the
data.

    python3 bench/page.py              write the tables
    python3 bench/page.py --check      change nothing; say what is not as the data has it

A table stands between two comments, which say what is in it: `table: budgets`, `table: serial`, or a figure of
docs/benchmarks/summary.csv and scenarios: `table: deliveries_per_cpu_second of fan-100-64 fan-100-512`. Such a one has a
line a server: the median, and how far the rounds were from it at most.

A figure in prose has its source before it, in a comment: server, scenario, figure. It is looked for in budgets.json, then in
summary.csv, and has to be right to the digit that is written: <!-- 03-epoll, fan-10, writes -->0.157
"""

import csv
import json
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "benchmarks.md"
DATA = ROOT / "docs" / "benchmarks"
TABLE = re.compile(r"(<!-- table: (.*?) -->\n).*?(<!-- end -->)", re.DOTALL)
FIGURE = re.compile(r"<!-- ([\w-]+), ([\w-]+), (\w+) -->([\d,]+(?:\.\d+)?)")


def budgets():
    return json.loads((ROOT / "bench" / "budgets.json").read_text())


def measured(name="summary"):
    """The rows of summary.csv, or of another one."""
    path = DATA / f"{name}.csv"
    if not path.exists():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def figures():
    """{(server, scenario, figure): value}"""
    found = {(row["server"], row["scenario"], name): row[name] for row in measured() for name in row}
    return found | {(stage, workload, what): value for stage, workloads in budgets().items()
                    for workload, counts in workloads.items() for what, value in counts.items()}


def table_of(head, rows):
    lines = [f"| | {' | '.join(head)} |", "| --- |" + " ---: |" * len(head)]
    return "\n".join(lines + [f"| {name} | {' | '.join(values)} |" for name, values in rows]) + "\n"


def budgets_table():
    counted = budgets()
    stages = list(counted)
    return table_of(stages, [
        (f"{workload}: {what}",
         [f"{counted[stage][workload][what]:,.{0 if what == 'instructions' else 2}f}" for stage in stages])
        for workload, counts in counted[stages[0]].items() for what in counts])


def with_spread(row, figure):
    """"1,234 ±5 %"; a figure that was made of others has no spread; one that there is not is a dash."""
    if not row or not row[figure]:
        return "–"
    median, least, most = (float(row.get(figure + suffix, row[figure])) for suffix in ("", "_least", "_most"))
    digits = 0 if median >= 100 else 1 if median >= 10 else 3
    off = max(median - least, most - median) / median if median else 0
    spread = f" ±{off:.0%}".replace("%", " %") if figure + "_least" in row else ""
    return f"{median:,.{digits}f}{spread}"


def measured_table(figures, scenarios):
    """A column a scenario, of one figure; or a column a figure, of one scenario."""
    rows = {(row["server"], row["scenario"]): row for row in measured() if row["scenario"] in scenarios}
    servers = list(dict.fromkeys(server for server, _ in rows))
    lines = [(server, [with_spread(rows.get((server, scenario)), figure) for scenario in scenarios for figure in figures])
             for server in servers]
    if not any(figures[0] + "_least" in row for row in rows.values()):      # made of others, and so not there for everybody
        lines = [line for line in lines if set(line[1]) != {"–"}]
    return table_of(scenarios if len(figures) == 1 else figures, lines)


def serial_table():
    rows = measured("serial")
    return table_of([name.replace("_", " ") for name in rows[0] if name != "scenario"],
                    [(row["scenario"], [value for name, value in row.items() if name != "scenario"]) for row in rows])


def table(what):
    if what in ("budgets", "serial"):
        return budgets_table() if what == "budgets" else serial_table()
    wanted, _, scenarios = what.partition(" of ")
    return measured_table(wanted.split(), scenarios.split())


def with_tables(text):
    return TABLE.sub(lambda match: match[1] + table(match[2]) + match[3], text)


def faults(text):
    """What the page says otherwise than the data."""
    known = figures()
    if with_tables(text) != text:
        yield "a table is older than its data: bench/page.py"
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
    PAGE.write_text(with_tables(PAGE.read_text()))
