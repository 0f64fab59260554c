"""Runs the unit tests that make memory, disk and power fail, and records what they counted, for docs/robustness.md."""

import re
import subprocess
import sys

import figures

UNIT = figures.ROOT / "build" / "plain" / "unit"
LIFE = ["tests/unit/support_life.[ch]", "tests/unit/support_hub.[ch]", "tests/unit/support_faulty_vfs.[ch]"]
EXPERIMENTS = {
    "allocations": ("test_chat_allocations", [*LIFE, "tests/unit/test_chat_allocations.c"]),
    "store-faults": ("test_chat_store_faults", [*LIFE, "tests/unit/test_chat_store_faults.c"]),
    "power": ("test_chat_power", ["tests/unit/test_chat_power.c", "tests/unit/support_power_vfs.[ch]"]),
}
# full: cuts 200, changes 24704, ...
LINE = re.compile(r"^([\w ,]+): ((?:[a-z ]+ \d+(?:, )?)+)$", re.MULTILINE)


def counted(program):
    """{"full: cuts": 200, ...}"""
    run = subprocess.run([UNIT / program], capture_output=True, text=True, check=False)
    if run.returncode != 0:
        sys.exit(f"{program} failed:\n{run.stdout[-2000:]}")
    pairs = [(name, *field.rsplit(" ", 1)) for name, fields in LINE.findall(run.stdout) for field in fields.split(", ")]
    if not pairs:
        sys.exit(f"{program} told nothing:\n{run.stdout[-2000:]}")
    return {f"{name}: {what}": int(count) for name, what, count in pairs}


def main():
    for name, (program, sources) in EXPERIMENTS.items():
        figures.record(name, counted(program), sources)
        print(f"recorded {name}")


if __name__ == "__main__":
    main()
