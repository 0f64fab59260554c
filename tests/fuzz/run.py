"""Run the fuzz targets side by side, each for a time, and say what was executed and found.

Use.        make fuzz                               both targets for an hour
            make fuzz TARGET=request SECONDS=60     one of them, for a minute
            make fuzz ENGINE=afl                    with AFL++, where it is installed
            make fuzz ARGS=--record                 and keep the figures for docs/robustness.md

What a run discovers goes to build/fuzz-corpus, and the next run begins with it. What it finds (a crash, a leak, an input
that takes a minute) goes to tests/fuzz/found and is replayed by `make test` from then on. FUZZ_TRACE=1 and
build/plain/replay/TARGET FILE tell the story of a found case.

ARGS=--merge instead makes tests/fuzz/corpus anew, of what is in it and what runs discovered: few and small inputs that
reach the same code.
"""

import argparse
import collections
import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
HERE = ROOT / "tests" / "fuzz"
NEW = ROOT / "build" / "fuzz-corpus"
MERGED = ROOT / "build" / "fuzz-merged"
LONGEST_INPUT = {"request": 4096, "conversation": 1200}
TIMEOUT_S = 60  # of an input: they take milliseconds, but the machine may be busy

Outcome = collections.namedtuple("Outcome", "executions cpu_s found")


def folders(target):
    """Where a target writes what is new, and its corpora: the seeds first, then what was found before."""
    for folder in (NEW / target, HERE / "corpus" / target, HERE / "found" / target):
        folder.mkdir(parents=True, exist_ok=True)
    return NEW / target, HERE / "corpus" / target, HERE / "found" / target


def dictionary(target, option):
    path = HERE / f"{target}.dict"
    return [option.format(path)] if path.exists() else []


class LibFuzzer:
    environment = {"ASAN_OPTIONS": "allocator_may_return_null=1"}

    def command(self, target, seconds, seed):
        new, corpus, found = folders(target)
        return [ROOT / "build/fuzz-clang/fuzz" / target, new, corpus, found, f"-max_total_time={seconds}",
                f"-max_len={LONGEST_INPUT[target]}", f"-timeout={TIMEOUT_S}", f"-report_slow_units={TIMEOUT_S}",
                f"-seed={seed}", "-print_final_stats=1", f"-artifact_prefix={found}/", *dictionary(target, "-dict={}")]

    def merge(self, target):
        """The smallest set of inputs for the same code, into a folder of its own."""
        new, corpus, _ = folders(target)
        shutil.rmtree(MERGED / target, ignore_errors=True)
        (MERGED / target).mkdir(parents=True)
        return [ROOT / "build/fuzz-clang/fuzz" / target, "-set_cover_merge=1", f"-max_len={LONGEST_INPUT[target]}",
                MERGED / target, corpus, new]

    def outcome(self, target, log, cpu_s):
        executed = re.search(r"stat::number_of_executed_units: (\d+)", log)
        return Outcome(int(executed[1]) if executed else 0, cpu_s, re.findall(r"Test unit written to (\S+)", log))


class Afl:
    # The first two it insists on: a fault has to end as a signal.
    environment = {"ASAN_OPTIONS": "abort_on_error=1:symbolize=0:allocator_may_return_null=1", "AFL_SKIP_CPUFREQ": "1",
                   "AFL_NO_UI": "1", "AFL_NO_AFFINITY": "1", "AFL_I_DONT_CARE_ABOUT_MISSING_CRASHES": "1"}

    def command(self, target, seconds, seed):
        new, corpus, _ = folders(target)
        shutil.rmtree(self.output(target), ignore_errors=True)
        self.output(target).parent.mkdir(parents=True, exist_ok=True)
        return ["afl-fuzz", "-V", str(seconds), "-s", str(seed), "-i", corpus, "-o", self.output(target),
                "-t", f"{1000 * TIMEOUT_S}", *dictionary(target, "-x{}"), "--",
                ROOT / "build/plain-afl-clang-fast/replay" / target, "@@"]

    def output(self, target):
        return ROOT / "build" / "afl" / target

    def outcome(self, target, log, cpu_s):
        """AFL++ names its finds by how it came to them; they are kept as libFuzzer's are, by their hash."""
        stats = self.output(target) / "default/fuzzer_stats"
        if not stats.exists():
            sys.exit(log)
        found = []
        for kind in ("crash", "hang"):
            for path in (self.output(target) / f"default/{kind}es".replace("hanges", "hangs")).glob("id:*"):
                name = HERE / "found" / target / f"{kind}-{hashlib.sha1(path.read_bytes()).hexdigest()}"
                shutil.copy(path, name)
                found.append(str(name))
        return Outcome(int(re.search(r"execs_done\s+: (\d+)", stats.read_text())[1]), cpu_s, found)


def run(engine, commands):
    """All of them at once; {target: (exit status, what it said, processor time in seconds)}."""
    logs = {target: (NEW / f"{target}.log").open("w+") for target in commands}
    running = {target: subprocess.Popen(command, stdout=logs[target], stderr=subprocess.STDOUT,
                                        env=os.environ | {"CMOCKA_TEST_ABORT": "1"} | engine.environment)
               for target, command in commands.items()}
    ended = {}
    for target, process in running.items():
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        logs[target].seek(0)
        ended[target] = process.returncode, logs[target].read(), round(usage.ru_utime + usage.ru_stime)
    return ended


def merge(engine, targets):
    for target, (status, log, _) in run(engine, {target: engine.merge(target) for target in targets}).items():
        if status != 0:
            sys.exit(log)
        corpus = HERE / "corpus" / target
        shutil.rmtree(corpus)
        shutil.move(MERGED / target, corpus)
        inputs = list(corpus.iterdir())
        print(f"{target}: {len(inputs)} inputs, {sum(path.stat().st_size for path in inputs):,} bytes")


def fuzz(engine, given):
    """What came of it, by target, and whether all is well."""
    outcomes, well = {}, True
    commands = {target: engine.command(target, given.seconds, given.seed) for target in given.targets}
    for target, (status, log, cpu_s) in run(engine, commands).items():
        outcomes[target] = outcome = engine.outcome(target, log, cpu_s)
        print(f"{target}: {outcome.executions:,} executions in {cpu_s} s of a processor, {len(outcome.found)} found", *outcome.found)
        if status != 0 or outcome.found:
            well = False
            print("\n".join(log.splitlines()[-60:]))
    return outcomes, well


def record(outcomes, seconds):
    sys.path.insert(0, str(ROOT / "tests" / "robustness"))
    import figures
    rows = {"time a target, in seconds": seconds}
    for target, outcome in outcomes.items():
        rows[f"{target}: processor time, in seconds"] = outcome.cpu_s
        rows[f"{target}: executions"] = outcome.executions
        rows[f"{target}: crashes, leaks and hangs"] = len(outcome.found)
    figures.record("fuzz", rows, ["tests/fuzz/*.c"])


def main():
    parser = argparse.ArgumentParser(description="run the fuzz targets side by side")
    parser.add_argument("targets", nargs="+")
    parser.add_argument("--seconds", type=int, default=3600)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--engine", choices=("libfuzzer", "afl"), default="libfuzzer")
    parser.add_argument("--merge", action="store_true", help="take what is new over into tests/fuzz/corpus")
    parser.add_argument("--record", action="store_true", help="keep the figures for docs/robustness.md")
    given = parser.parse_args()
    engine = Afl() if given.engine == "afl" else LibFuzzer()

    if given.merge:
        merge(engine, given.targets)
        return
    outcomes, well = fuzz(engine, given)
    if given.record:
        record(outcomes, given.seconds)
    sys.exit(not well)


if __name__ == "__main__":
    main()
