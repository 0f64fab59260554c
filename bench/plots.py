"""SVG plots of summary.csv; the same rows always give the same bytes.

    python3 bench/plots.py docs/benchmarks
"""

import csv
import pathlib
import sys

import matplotlib
import matplotlib.pyplot as plt

import scenarios

matplotlib.use("svg")
plt.rcParams.update({"svg.hashsalt": "chat", "svg.fonttype": "none", "figure.figsize": (8, 4.2), "axes.grid": True,
                     "axes.axisbelow": True, "grid.alpha": 0.3, "axes.spines.top": False, "axes.spines.right": False,
                     "figure.constrained_layout.use": True})
STAGE_COLOUR, PEER_COLOUR, CEILING_COLOUR = "#2a6f97", "#a3a3a3", "#d9b44a"


def colour_of(server):
    return CEILING_COLOUR if server == "do-nothing" else STAGE_COLOUR if server[0].isdigit() else PEER_COLOUR


def save(figure, path):
    figure.savefig(path, metadata={"Date": None, "Creator": None})
    plt.close(figure)


def bars(rows, figure_name, title, path):
    """A bar a server, the median; the whisker is the least and the most of the rounds."""
    rows = [row for row in rows if row[figure_name]]
    if not rows:
        return
    names = [row["server"] for row in rows]
    values = [row[figure_name] for row in rows]
    spread = [[row[figure_name] - row[f"{figure_name}_least"] for row in rows],
              [row[f"{figure_name}_most"] - row[figure_name] for row in rows]]
    figure, axes = plt.subplots()
    axes.barh(names, values, xerr=spread, color=[colour_of(name) for name in names], ecolor="#555555", capsize=2)
    axes.invert_yaxis()
    axes.set_title(title)
    axes.set_xlabel(figure_name.replace("_", " "))
    save(figure, path)


def lines(rows, sweep, figure_name, axis, path, logarithmic=True):
    """A line a server, over the scenarios of a sweep."""
    places = {scenario.name: scenario.x for scenario in scenarios.SCENARIOS if scenario.sweep == sweep}
    points = {}
    for row in rows:
        if row["scenario"] in places and row[figure_name]:
            points.setdefault(row["server"], []).append((places[row["scenario"]], row[figure_name]))
    if not points:
        return
    figure, axes = plt.subplots()
    for server, some in points.items():
        axes.plot(*zip(*sorted(some)), marker="o", markersize=3, label=server,
                  linestyle="-" if server[0].isdigit() else "--")
    axes.set_xscale("log")
    if logarithmic:
        axes.set_yscale("log")
    axes.set_xlabel(axis)
    axes.set_ylabel(figure_name.replace("_", " "))
    axes.legend(fontsize=7)
    save(figure, path)


def draw(rows, out):
    for scenario in scenarios.SCENARIOS:
        if not scenario.sweep:
            some = [row for row in rows if row["scenario"] == scenario.name]
            bars(some, scenario.figure, scenario.name, out / f"{scenario.name}.svg")
    memory = [row for row in rows if row["scenario"] == "idle-9500"]
    bars(memory, "idle_bytes_each", "memory of an idle connection, bytes", out / "memory.svg")
    bars([row for row in rows if row["scenario"] == "fan-100-64"], "writes_per_delivery",
         "system calls that write, a delivery", out / "writes.svg")
    lines(rows, "idle", "messages_per_cpu_second", "idle connections beside 100 pairs", out / "idle.svg", False)
    lines(rows, "text", "deliveries_per_cpu_second", "bytes of a text", out / "text.svg")
    lines(rows, "rate", "latency_p99_us", "messages a second offered", out / "rate.svg")


def number(value):
    try:
        return float(value)
    except ValueError:
        return value or None


def read(folder):
    with open(folder / "summary.csv", newline="", encoding="utf-8") as file:
        return [{name: number(value) for name, value in row.items()} for row in csv.DictReader(file)]


if __name__ == "__main__":
    draw(read(pathlib.Path(sys.argv[1])), pathlib.Path(sys.argv[1]))
