"""The figures of docs/robustness.md: experiments record them, the page is made of them, and a test says when they are old.

Idea.       An experiment that takes half an hour cannot run before every change. So it writes down what it counted, with
            a digest of the files that define the experiment. When one of those changes, what was written down says
            nothing any more, and `check` fails until the experiment is run again.

Use.        record("crash", {"kills": 1000, "lost": 0}, ["tests/robustness/crash.py"])      in an experiment
            figures.py            puts what is recorded into docs/robustness.md
            figures.py --check    fails when a figure is older than its experiment, or the page older than a figure
"""

import argparse
import datetime
import hashlib
import json
import os
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docs" / "robustness"
PAGE = ROOT / "docs" / "robustness.md"
# <!-- figures: crash --> ... <!-- end -->
PART = re.compile(r"(<!-- figures: ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def digest(sources):
    """Of the contents of files of the repository, given by patterns relative to its root."""
    total = hashlib.sha256()
    for path in sorted({path for pattern in sources for path in ROOT.glob(pattern) if path.is_file()}):
        total.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes() + b"\0")
    return total.hexdigest()[:16]


def record(name, figures, sources):
    """Keep `figures` ({what: value}, in the order of the page) of the experiment that the files `sources` define."""
    FOLDER.mkdir(exist_ok=True)
    entry = {"measured": datetime.date.today().isoformat(), "processors": os.cpu_count(), "sources": sources,
             "digest": digest(sources), "figures": figures}
    (FOLDER / f"{name}.json").write_text(json.dumps(entry, indent=2, ensure_ascii=False) + "\n")


def recorded():
    return {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}


def number(value):
    return f"{value:,}" if isinstance(value, int) else str(value)


def table(entry):
    rows = [f"| {what} | {number(value)} |" for what, value in entry["figures"].items()]
    return "\n".join([f"| measured {entry['measured']} | |", "| --- | ---: |", *rows]) + "\n"


def page_with(figures):
    def part(match):
        if match[2] not in figures:
            raise SystemExit(f"{PAGE.name} wants figures that nobody recorded: {match[2]}")
        return match[1] + table(figures[match[2]]) + match[3]
    return PART.sub(part, PAGE.read_text())


def faults():
    figures = recorded()
    page = PAGE.read_text()
    yield from (f"{name}: recorded, but not in the page" for name in figures if f"<!-- figures: {name} -->" not in page)
    yield from (f"{name}: the experiment has changed since it was recorded" for name, entry in figures.items()
                if entry["digest"] != digest(entry["sources"]))
    if page_with(figures) != page:
        yield "the page is older than the figures: tests/robustness/figures.py"


def main():
    parser = argparse.ArgumentParser(description="put the recorded figures into docs/robustness.md")
    parser.add_argument("--check", action="store_true", help="change nothing; fail when something is old")
    if parser.parse_args().check:
        found = list(faults())
        print("\n".join(found) or "The figures are of the experiments as they stand.")
        sys.exit(bool(found))
    PAGE.write_text(page_with(recorded()))


if __name__ == "__main__":
    main()
