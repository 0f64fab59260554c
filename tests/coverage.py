"""Which lines of common/ are run by the tests: a table, file by file.

Two figures are kept apart. *Behaviour* is what unit tests, the inputs of fuzzing and the conformance suite reach with
nothing going wrong in the machine. *Faults* are the lines that only those tests reach which make the disk, the memory or
a system call fail. So a line for a full disk does not hide in the first figure, nor an untested command behind the second.

make coverage builds the programs with counters (build/coverage), runs this, and fails below the bound. A server that is
killed (SIGKILL) loses its counters; every other one writes them when it exits.
"""

import json
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
BUILD = ROOT / "build" / "coverage"
AT_LEAST = 92.0  # per cent of lines, both sets together
FAULT_UNITS = ("test_store_failures", "test_store_faults", "test_engine_rollback", "test_chat_allocations", "test_chat_power",
               "test_chat_store_faults")
FAULT_SUITES = ("tests/conformance/test_full_disk.py", "tests/conformance/test_system_calls_fail.py")


def run(*command):
    """A test that fails here fails in `make test`, too, and is looked into there: a counter changes timings."""
    if subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode:
        print("failed, and counted all the same:", *command[:6])


def conformance(stage, *arguments):
    run(sys.executable, "-m", "pytest", "-q", *arguments, "--slow-factor", "4", "--server", f"{BUILD}/bin/{stage}")


def run_behaviour(stage):
    for program in sorted((BUILD / "unit").glob("test_*")):
        if not program.suffix and program.name not in FAULT_UNITS:
            run(program)
    for program in sorted((BUILD / "replay").iterdir()):
        folders = [ROOT / "tests/fuzz" / kind / program.name for kind in ("corpus", "found")]
        if not program.suffix:
            run(program, *[folder for folder in folders if folder.exists()])
    conformance(stage, "tests/conformance", *[f"--ignore={suite}" for suite in FAULT_SUITES])


def run_faults(stage):
    for name in FAULT_UNITS:
        run(BUILD / "unit" / name)
    conformance(stage, *FAULT_SUITES)


def lines_run(tests, stage):
    """{file: {line: whether it was run}} after `tests`, from counters that begin at 0."""
    for counters in BUILD.rglob("*.gcda"):
        counters.unlink()
    tests(stage)
    report = subprocess.run(["gcovr", "--root", ROOT, "--object-directory", BUILD, BUILD, "--filter", "common/", "--json"],
                            cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return {entry["file"]: {line["line_number"]: line["count"] > 0 for line in entry["lines"]
                            if not line.get("gcovr/noncode")} for entry in json.loads(report)["files"]}


def per_cent(part, whole):
    return 100 * part / whole if whole else 100.0


def main():
    stage = sys.argv[1]
    behaviour, faults = lines_run(run_behaviour, stage), lines_run(run_faults, stage)
    total = by_behaviour = by_both = 0
    print(f"{'file':36} {'lines':>6} {'behaviour':>10} {'and faults':>11}  not run")
    for name in sorted(behaviour):
        lines = behaviour[name]
        either = {line: ran or faults.get(name, {}).get(line, False) for line, ran in lines.items()}
        total, by_behaviour, by_both = total + len(lines), by_behaviour + sum(lines.values()), by_both + sum(either.values())
        missing = [str(line) for line, ran in either.items() if not ran]
        print(f"{name:36} {len(lines):6} {per_cent(sum(lines.values()), len(lines)):9.1f}% "
              f"{per_cent(sum(either.values()), len(lines)):10.1f}%  {','.join(missing)}")
    covered = per_cent(by_both, total)
    print(f"{'all of common/':36} {total:6} {per_cent(by_behaviour, total):9.1f}% {covered:10.1f}%")
    if "--record" in sys.argv:
        sys.path.insert(0, str(ROOT / "tests" / "robustness"))
        import figures
        figures.record("coverage", {"lines of common/": total, "by behaviour, per cent": round(per_cent(by_behaviour, total), 1),
                                    "and by injected faults, per cent": round(covered, 1)}, ["tests/coverage.py"])
    sys.exit(covered < AT_LEAST)


if __name__ == "__main__":
    main()
