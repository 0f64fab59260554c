"""The conformance suite on a hostile system: hostile.c makes the server's calls fail by a plan, one plan a seed.

Use.        hostile.py --seeds 20                       every stage by the plans 1 to 20; a result a run is kept
            hostile.py --stages 03-epoll --seeds 7-7    one stage by one plan; then its log tells more
            hostile.py --record                         adds up the results that are kept, for docs/robustness.md
"""

import argparse
import concurrent.futures
import json
import os
import re
import struct
import subprocess
import sys
import time

import figures

ROOT = figures.ROOT
LIBRARY = ROOT / "build" / "plain" / "hostile.so"
RESULTS = ROOT / "build" / "plain" / "hostile"
SOURCES = ["tests/robustness/hostile.c", "tests/robustness/hostile_plan.h", "tests/robustness/hostile.py"]
STAGES = sorted(path.parent.name for path in ROOT.glob("0?-*/server.c"))
COUNT = struct.Struct("24sQQ")          # struct count of hostile_plan.h: name, calls, faults
SLOW_FACTOR = "4"                       # a pause of accepting takes its time, and several suites share the machine


def read_counts(path):
    """{kind: faults}"""
    return {name.rstrip(b"\0").decode(): faults for name, _, faults in COUNT.iter_unpack(path.read_bytes())}


def run(stage, seed, modules):
    """The suite on one stage by one plan; its result, which is kept, too."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    log, counts = RESULTS / f"{stage}-{seed}.log", RESULTS / f"{stage}-{seed}.counts"
    counts.unlink(missing_ok=True)
    tests = [f"tests/conformance/test_{module}.py" for module in modules] or ["tests/conformance"]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests, "--stage", stage,
               "--preload", str(LIBRARY), "--slow-factor", SLOW_FACTOR]
    began = time.monotonic()
    with log.open("w") as out:
        status = subprocess.run(command, cwd=ROOT, stdout=out, stderr=subprocess.STDOUT, check=False,
                                env={**os.environ, "HOSTILE": str(seed), "HOSTILE_COUNTS": str(counts)}).returncode
    text = log.read_text(errors="replace")
    summary = text.rstrip().rpartition("\n")[2]
    result = {"stage": stage, "seed": seed, "whole": not modules, "status": status, "log": str(log.relative_to(ROOT)),
              "seconds": round(time.monotonic() - began), "digest": figures.digest(SOURCES),
              "passed": int((re.search(r"(\d+) passed", summary) or [0, 0])[1]),
              "failures": re.findall(r"^(?:(?:FAIL|CRASH|HANG) tests/|PROBLEM ).*", text, re.MULTILINE) or [summary] * (status != 0),
              "faults": read_counts(counts) if counts.exists() else {}}
    (RESULTS / f"{stage}-{seed}.json").write_text(json.dumps(result, indent=1) + "\n")
    return result


def tell(result):
    faults = sum(result["faults"].values())
    print(f"{result['stage']:<12} plan {result['seed']:<4} {result['passed']:5} passed  {faults:7,} faults  "
          f"{result['seconds']:4} s", flush=True)
    for line in result["failures"]:
        print(f"    {line}   ({result['log']})", flush=True)


def run_all(stages, seeds, modules, jobs):
    """True: all passed, and none without faults."""
    good = True
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        runs = [pool.submit(run, stage, seed, modules) for seed in seeds for stage in stages]
        for one in concurrent.futures.as_completed(runs):
            result = one.result()
            tell(result)
            good = good and result["status"] == 0 and sum(result["faults"].values()) > 0
    return good


def record(wanted):
    """Of whole suites by the plans of this hostile.c alone."""
    results = [json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))]
    results = [result for result in results if result["whole"] and result["digest"] == figures.digest(SOURCES)]
    seeds = {stage: sum(result["stage"] == stage for result in results) for stage in STAGES}
    failures = [line for result in results for line in result["failures"]]
    if failures or min(seeds.values()) < wanted:
        sys.exit(f"nothing to be proud of yet: runs {seeds}, failures {failures}")
    kinds = results[0]["faults"]
    total = {kind: sum(result["faults"][kind] for result in results) for kind in kinds}
    figures.record("hostile", {"stages": len(seeds), "plans a stage, at least": min(seeds.values()),
                               "tests passed": sum(result["passed"] for result in results), "tests failed": 0,
                               "faults": sum(total.values()),
                               **{f"faults: {kind.replace('_', ' ')}": count for kind, count in total.items()}}, SOURCES)


def plans(text):
    """"20": 1 to 20; "7-9": 7 to 9."""
    first, _, last = text.rpartition("-")
    return range(int(first or 1), int(last) + 1)


def main():
    parser = argparse.ArgumentParser(description="the conformance suite on a system that fails now and then")
    parser.add_argument("--stages", nargs="+", default=STAGES, choices=STAGES)
    parser.add_argument("--seeds", type=plans, default=plans("20"), help="how many plans, or from-to (20)")
    parser.add_argument("--modules", nargs="+", default=[], help="of tests/conformance; all")
    parser.add_argument("--jobs", type=int, default=3, help="runs side by side (3)")
    parser.add_argument("--record", action="store_true", help="record what is kept; run nothing")
    options = parser.parse_args()
    if options.record:
        record(len(options.seeds))
    elif not run_all(options.stages, options.seeds, options.modules, options.jobs):
        sys.exit(1)


if __name__ == "__main__":
    main()
