#!/usr/bin/python3
"""Puts each mutant into a copy of the tree, and has the tests that could see it run against it.

Idea.       A test that no fault can make fail proves nothing. So each patch of this folder puts one classic fault into
            the code, and some test must fail; one that nobody catches is a hole in the tests. README.md says how a
            patch is written.

Use.        run.py                  all of them, and a table: mutant, and the test that caught it
            run.py 301 7            some: by number, or by the first digits of a number
            run.py --sample         one of each area, the same ones every time
            run.py --list           what there is, told by what a user would notice
            run.py --hunt 301 DIR   a tree with this fault in it, for who wants to find it
            run.py --record         all, and what came out goes to docs/robustness/
            run.py --rest           those that no run here has caught, and those that are new: after a hole was closed

A copy has the objects that are built already, with their times, so make compiles what the patch changed and no more.
Before all else the same tests run on the tree as it is: a test that fails there says nothing about a mutant.
"""

import argparse
import hashlib
import json
import os
import pathlib
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
WORK = ROOT / "build" / "mutants"
CAUGHT = ROOT / "build" / "mutants-caught.json"         # number -> the patch's digest, the details, the seconds
VARIANTS = {"plain": "", "asan": "address,undefined", "tsan": "thread"}
FIELDS = ["Title", "Rule", "Shows", "Stage", "Caught by"]
FAILURES = ("FAIL", "CRASH", "HANG")
RULE = re.compile(r"[A-Z]-\d+")
UNIT_LIMIT_S = 120          # a unit test that takes longer hangs
SUITE_LIMIT_S = 600         # the suite has deadlines of its own; this is for what breaks the suite itself
RUNNING = set()             # processes, each the leader of a group
LEFT_OUT = (".git", "build", "bin", "chat-data", "__pycache__", ".pytest_cache")
DOES_NOT_APPLY, DOES_NOT_BUILD, TESTS_DO_NOT_RUN, SURVIVED = (
    "DOES NOT APPLY", "DOES NOT BUILD", "TESTS DO NOT RUN", "SURVIVED")


class NoVerdict(Exception):
    """The suite ended without having tested anything."""


@dataclass
class Mutant:
    number: str
    title: str
    rule: str
    shows: str
    stage: str
    variant: str
    modules: list           # of tests/conformance
    rules: list             # all tests of the suite that cite one of these
    units: list             # programs of tests/unit

    @property
    def patch(self):
        return HERE / f"{self.number}.patch"

    @property
    def digest(self):
        return hashlib.sha256(self.patch.read_bytes()).hexdigest()


def mutant_of(path):
    head = path.read_text().split("\n--- ")[0]
    given = dict(line.split(": ", 1) for line in head.splitlines() if ": " in line)
    missing = [field for field in FIELDS if field not in given]
    if missing or set(given) - {*FIELDS, "Variant"}:
        raise SystemExit(f"{path.name}: the header has {', '.join(FIELDS)}, and Variant where it is not plain")
    tests = given["Caught by"].split()
    modules = [test for test in tests if ".py" in test]
    rules = [test for test in tests if RULE.fullmatch(test)]
    units = [test for test in tests if test not in modules + rules]
    return Mutant(path.stem, given["Title"], given["Rule"], given["Shows"], given["Stage"],
                  given.get("Variant", "plain"), modules, rules, units)


def mutants():
    return [mutant_of(path) for path in sorted(HERE.glob("[0-9]*.patch"))]


def sample_of(all_mutants):
    """The first of each area: of each stage, of each part of common/."""
    return list({one.number[0]: one for one in reversed(all_mutants)}.values())[::-1]


# --- Trees

def copy_tree(target, variant):
    """Sources, and what is built of them for this variant, but for the unit tests' own programs."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(ROOT, target, symlinks=True, ignore=lambda folder, names: [
        name for name in names if name in LEFT_OUT or (folder, name) == (str(HERE.parent), "mutants")])
    built = ROOT / "build" / variant
    if built.is_dir():
        shutil.copytree(built, target / "build" / variant, symlinks=True,
                        ignore=lambda folder, names: [name for name in names if name in ("unit", "bin", "ledger")
                                                      and folder == str(built)])


def apply(mutant, tree):
    """Returns what patch(1) says against it; None: it is applied."""
    done = subprocess.run(["patch", "-p1", "--fuzz=0", "--no-backup-if-mismatch", "-i", str(mutant.patch)], cwd=tree,
                          capture_output=True, text=True)
    return (done.stdout + done.stderr).strip() if done.returncode else None


def binary(stage, variant):
    return f"bin/{stage}" if variant == "plain" else f"build/{variant}/bin/{stage}"


def build(tree, variant, targets, jobs=1):
    """Returns what the compiler says against it; None: it is built."""
    environment = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL")}
    done = subprocess.run(["make", "-s", f"-j{jobs}", f"SANITIZE={VARIANTS[variant]}", *targets], cwd=tree,
                          env=environment, capture_output=True, text=True)
    return (done.stdout + done.stderr).strip() if done.returncode else None


def unit_program(unit, variant):
    return f"build/{variant}/unit/{unit}"


# --- Tests. Each returns the name of what failed, or None

def run_limited(command, tree, seconds):
    """(exit status, output); the status is None when it hangs."""
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, cwd=tree, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                   start_new_session=True)
        RUNNING.add(process)
        status = None
        for number, patience in ((signal.SIGINT, seconds), (signal.SIGKILL, 20)):   # the suite ends its servers itself
            try:
                status = process.wait(patience)
                break
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, number)
        hung = status is None or number == signal.SIGKILL
        process.wait()
        RUNNING.discard(process)
        log.seek(0)
        return None if hung else status, log.read().decode("utf-8", "replace")


def run_unit(tree, variant, unit):
    status, output = run_limited([unit_program(unit, variant)], tree, UNIT_LIMIT_S)
    if status == 0:
        return None
    failed = re.search(r"^\[  FAILED  \] (?!\d+ test)(\S+)$", output, re.MULTILINE)
    return f"{unit}: {failed[1] if failed else 'hangs' if status is None else f'ended with {status}'}"


def run_suite(tree, stage, variant, selection, slow_factor, first_only):
    subject = ["--stage", stage] if variant == "plain" else ["--server", binary(stage, variant)]
    with tempfile.NamedTemporaryFile(suffix=".json") as ledger:
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *(["-x"] if first_only else []),
                   *selection, *subject, "--slow-factor", str(slow_factor), "--ledger", ledger.name]
        status, output = run_limited(command, tree, SUITE_LIMIT_S)
        failed = failed_tests(ledger)
    if status == 0 or failed:
        return failed
    if status is None:
        return "the suite hangs"
    if "the server does not start" in output:
        return "the server does not start, or does not answer"
    raise NoVerdict(output)


def failed_tests(ledger):
    """`test_frames.py: test_many_frames_in_one_piece (HANG)`"""
    text = ledger.read()
    tests = {test: result for rule in json.loads(text)["rules"].values() for test, result in rule["tests"].items()
             if result in FAILURES} if text else {}
    named = {f"{test.partition('[')[0].replace('::', ': ')}{'' if result == 'FAIL' else f' ({result})'}"
             for test, result in tests.items()}
    return "; ".join(sorted(named)) or None


def selections(modules, rules):
    if modules:
        yield [f"tests/conformance/{module}" for module in modules]
    if rules:
        yield ["tests/conformance", *(word for rule in rules for word in ("--rule", rule))]


def in_parallel(function, items, jobs):
    """function(item) for each. Who interrupts this does not want the rest either."""
    pool = ThreadPoolExecutor(jobs)
    try:
        return list(pool.map(function, items))
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in list(RUNNING):
            os.killpg(process.pid, signal.SIGINT)
        raise
    finally:
        pool.shutdown()


# --- A mutant, and the tree without one

def targets_of(mutant):
    suite = [binary(mutant.stage, mutant.variant)] if mutant.modules or mutant.rules else []
    return suite + [unit_program(unit, mutant.variant) for unit in mutant.units]



def judge(mutant, slow_factor, keep):
    """(what became of it, details)"""
    tree = WORK / mutant.number
    try:
        copy_tree(tree, mutant.variant)
        if refusal := apply(mutant, tree):
            return DOES_NOT_APPLY, refusal
        if refusal := build(tree, mutant.variant, targets_of(mutant)):
            return DOES_NOT_BUILD, refusal
        for unit in mutant.units:
            if failed := run_unit(tree, mutant.variant, unit):
                return "caught", failed
        for selection in selections(mutant.modules, mutant.rules):
            if failed := run_suite(tree, mutant.stage, mutant.variant, selection, slow_factor, True):
                return "caught", failed
        return SURVIVED, ""
    except NoVerdict as error:
        return TESTS_DO_NOT_RUN, str(error)
    finally:
        if not keep:
            shutil.rmtree(tree, ignore_errors=True)


def check_baseline(chosen, jobs, slow_factor):
    """All that is to catch a mutant, each test once, on the tree as it is. Returns the names of what fails there."""
    for variant in sorted({mutant.variant for mutant in chosen}):
        targets = {target for mutant in chosen if mutant.variant == variant for target in targets_of(mutant)}
        if refusal := build(ROOT, variant, sorted(targets), jobs):
            return [refusal]
    units = sorted({(unit, mutant.variant) for mutant in chosen for unit in mutant.units})
    suites = {}
    for mutant in chosen:
        modules, rules = suites.setdefault((mutant.stage, mutant.variant), (set(), set()))
        modules.update(mutant.modules)
        rules.update(mutant.rules)

    def failed_of(key):
        (stage, variant), (modules, rules) = key
        found = [run_suite(ROOT, stage, variant, selection, slow_factor, False)
                 for selection in selections(sorted(modules), sorted(rules))]
        return [f"{stage} ({variant}): {failed}" for failed in found if failed]

    of_units = [failed for unit, variant in units if (failed := run_unit(ROOT, variant, unit))]
    return of_units + [failed for some in in_parallel(failed_of, suites.items(), jobs) for failed in some]


# --- What is printed

def table(results):
    width = max(len(mutant.title) for mutant, *_ in results)
    lines = [f"{'':4} {'mutant':{width}}  caught by"]
    for mutant, verdict, details, _ in results:
        lines.append(f"{mutant.number:4} {mutant.title:{width}}  {details if verdict == 'caught' else verdict}")
    return "\n".join(lines)


def where(mutant):
    return mutant.stage if mutant.number[0] in "12345" else f"common/, seen in {mutant.stage}"


def listing(some):
    return "\n".join(f"{one.number}  {where(one):27} {one.rule:12} {one.shows}" for one in some)


def hunt(mutant, directory):
    target = pathlib.Path(directory).resolve()
    if target.exists():
        raise SystemExit(f"{directory} exists already")
    copy_tree(target, "plain")
    if refusal := apply(mutant, target):
        raise SystemExit(f"{mutant.patch.name} does not apply:\n{refusal}")
    print(f"In {directory} one thing is wrong, in {'a stage' if mutant.number[0] in '12345' else 'common/'}.\n"
          f"What is noticed of it on {mutant.stage} ({mutant.rule} of docs/protocol.md): {mutant.shows}\n"
          f"Begin with: make -C {directory} conformance STAGE={mutant.stage} RULE={mutant.rule.split()[0]}")


def cpu_seconds():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def caught_before(some):
    """Results of former runs here, of mutants that are as they were."""
    kept = json.loads(CAUGHT.read_text()) if CAUGHT.exists() else {}
    return [(one, "caught", *kept[one.number][1:]) for one in some if kept.get(one.number, [""])[0] == one.digest]


def keep_caught(results):
    CAUGHT.parent.mkdir(exist_ok=True)
    CAUGHT.write_text(json.dumps({one.number: [one.digest, details, took] for one, verdict, details, took in results
                                  if verdict == "caught"}, indent=1))


def record(results):
    sys.path.insert(0, str(ROOT / "tests" / "robustness"))
    from figures import record as keep
    caught = [details for _, verdict, details, _ in results if verdict == "caught"]
    by_suite = sum(".py: " in details for details in caught)
    figures = {"mutants": len(results), "caught": len(caught), "caught by the conformance suite": by_suite,
               "caught by unit tests": len(caught) - by_suite, "different tests that caught one": len(set(caught)),
               "minutes, one after the other": round(sum(took for *_, took in results) / 60, 1)}
    keep("mutants", figures, ["tests/mutants/*"])


def run_all(chosen, arguments):
    began = time.monotonic()
    if chosen and not arguments.no_baseline:
        print(f"The tests that are to catch {len(chosen)} mutants, without any:", flush=True)
        if failed := check_baseline(chosen, arguments.jobs, arguments.slow_factor):
            print("\n".join(failed))
            raise SystemExit("These fail without a mutant. Until they pass, nothing is said about mutants.")
        print(f"all pass ({time.monotonic() - began:.0f} s)", flush=True)

    def one(mutant):
        start = time.monotonic()
        verdict, details = judge(mutant, arguments.slow_factor, arguments.keep)
        took = time.monotonic() - start
        print(f"{mutant.number} {verdict} ({took:.0f} s){': ' + details if details else ''}", flush=True)
        return mutant, verdict, details, took

    before = caught_before(mutants())
    new = in_parallel(one, chosen, arguments.jobs)
    judged = [mutant.number for mutant, *_ in new]
    before = [result for result in before if result[0].number not in judged]
    keep_caught(new + before)
    results = sorted(new + (before if arguments.rest else []), key=lambda result: result[0].number)
    minutes = (time.monotonic() - began) / 60
    wrong = [mutant.number for mutant, verdict, *_ in results if verdict != "caught"]
    print(f"\n{table(results)}\n\n{len(results) - len(wrong)} of {len(results)} caught, in {minutes:.1f} minutes and "
          f"{cpu_seconds() / 60:.1f} minutes of CPU")
    if arguments.record and not wrong and not arguments.numbers:
        record(results)
    if wrong:
        raise SystemExit(f"not caught, or no mutants: {', '.join(wrong)}")


def main():
    parser = argparse.ArgumentParser(description="run the tests on the tree with a fault in it")
    parser.add_argument("numbers", nargs="*", help="of mutants, or how their numbers begin; none: all")
    parser.add_argument("--sample", action="store_true", help="one of each area")
    parser.add_argument("--rest", action="store_true", help="those that no run here has caught, or that are new")
    parser.add_argument("--list", action="store_true", help="what there is, without telling the faults")
    parser.add_argument("--hunt", nargs=2, metavar=("NUMBER", "DIRECTORY"), help="make a tree that has this fault")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--slow-factor", type=float, default=2, help="as for tests/conformance")
    parser.add_argument("--record", action="store_true", help="keep the figures, when all were caught")
    parser.add_argument("--no-baseline", action="store_true", help="while writing a mutant")
    parser.add_argument("--keep", action="store_true", help="leave the trees in build/mutants")
    arguments = parser.parse_args()
    known = mutants()
    if arguments.hunt:
        known = [one for one in known if one.number == arguments.hunt[0]] or parser.error("there is no such mutant")
        return hunt(known[0], arguments.hunt[1])
    chosen = sample_of(known) if arguments.sample else known
    if arguments.numbers:
        chosen = [one for one in chosen if one.number.startswith(tuple(arguments.numbers))]
    if arguments.rest:
        done = [one.number for one, *_ in caught_before(chosen)]
        chosen = [one for one in chosen if one.number not in done]
    if not chosen and not arguments.rest:
        parser.error("there is no such mutant")
    if arguments.list:
        return print(listing(chosen))
    return run_all(chosen, arguments)


if __name__ == "__main__":
    main()
