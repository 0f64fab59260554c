"""What the harness says of servers that are wrong on purpose, word for word (golden/), and its exit status."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
SLOW_FACTOR = "0.3"         # deadlines may be short: the servers are idle

# name of the golden text -> (fault, tests to run, exit status). Each shows something else.
REPORTS = {
    "right": ("none", "", 0),
    "crash-by-signal": ("crashes", "test_ping", 1),
    "crash-on-the-third-request": ("crashes_on_the_third_request", "test_order", 1),
    "crash-by-exit": ("exits", "test_ping", 1),
    "crash-sanitizer": ("reports_a_sanitizer", "test_ping", 1),
    "hang-blocked": ("hangs_blocked", "test_ping", 1),
    "hang-spinning": ("hangs_spinning", "test_ping", 1),
    "no-reply": ("never_answers_ping", "test_ping", 1),
    "no-push": ("never_pushes", "test_message", 1),
    "one-push-missing": ("drops_a_push", "test_three_messages", 1),
    "closes-at-once": ("closes_at_once", "test_ping", 1),
    "resets": ("resets", "test_broken_frame", 1),
    "speaks-http": ("speaks_http", "test_ping", 1),
    "wrong-checksum": ("wrong_checksum", "test_ping", 1),
    "wrong-byte-order": ("little_endian_length", "test_ping", 1),
    "key-twice": ("a_key_twice", "test_ping", 1),
    "push-with-seq": ("push_with_seq", "test_message", 1),
    "answers-twice": ("answers_twice", "test_message", 1),
    "pushes-twice": ("pushes_twice", "test_message", 1),
    "wrong-seq": ("wrong_seq", "test_ping", 1),
    "wrong-order": ("wrong_order", "test_order", 1),
    "field-missing": ("field_missing", "test_ping", 1),
    "no-message-and-a-long-story": ("no_message", "test_long_story", 1),
    "plain-assert": ("numbers_with_gaps", "test_numbers", 1),
    "wrong-exit-status": ("wrong_status", "test_stop", 1),
    "does-not-end": ("ignores_sigterm", "test_stop", 1),
    "does-not-start": ("does_not_start", "test_ping", 1),
    "says-nothing": ("says_nothing", "test_ping", 1),
    "wrong-first-line": ("wrong_first_line", "test_ping", 1),
}


def run_suite(*arguments, suite="suite"):
    # pytest writes longer texts where it finds itself in CI, and takes more arguments from PYTEST_ADDOPTS.
    inherited = {name: value for name, value in os.environ.items()
                 if name not in ("CI", "BUILD_NUMBER") and not name.startswith(("PYTEST_", "PY_COLORS", "FORCE_COLOR"))}
    environment = {**inherited, "CONFORMANCE_TAG": "tag", "COLUMNS": "80", "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run([sys.executable, "-m", "pytest", suite, "--slow-factor", SLOW_FACTOR, *arguments], cwd=HERE,
                          env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120,
                          check=False)


def run_wrong(fault, *arguments, **how):
    server = f"{sys.executable} {HERE / 'wrong_server.py'} {fault}"
    return run_suite("--server", server, "--protocol", str(HERE / "suite" / "protocol.md"), *arguments, **how)


NORMAL = [
    (re.escape(sys.executable), "python3"),
    (re.escape(str(ROOT)), "ROOT"),
    (r"/tmp/chat-conformance-\w+", "TMP"),
    (r"127\.0\.0\.1:\d{4,5}", "127.0.0.1:PORT"),
    (r"in \d+\.\d+s", "in TIME"),
    (r"\d+% CPU", "N% CPU"),
    (r"  \[\w+( < \w+)*\]", ""),            # the kernel's stack, where we may see it
    (r"python3\.\d+", "python3"),
    (r"(  thread  .*\n)\1+", r"\1"),         # a pool may have one idle thread or two
    (r"=+ (.*) =+\n", r"= \1 =\n"),
    (r"_{5,} (.*) _{5,}\n", r"_ \1 _\n"),
]


def normalised(text):
    """Without what differs from run to run or from machine to machine."""
    for pattern, replacement in NORMAL:
        text = re.sub(pattern, replacement, text)
    return "\n".join(line.rstrip() for line in text.splitlines()) + "\n"


@pytest.mark.parametrize("name", REPORTS)
def test_report(request, name):
    fault, tests, status = REPORTS[name]
    ran = run_wrong(fault, *(["-k", tests] if tests else []))
    text = normalised(ran.stdout + ran.stderr)
    golden = HERE / "golden" / f"{name}.txt"
    if request.config.getoption("--update-golden"):
        golden.write_text(text)
    assert text == golden.read_text(), f"differs from {golden.name}; --update-golden writes it anew"
    assert ran.returncode == status


def test_every_golden_text_has_a_report():
    assert {path.stem for path in (HERE / "golden").glob("*.txt")} == set(REPORTS)


def test_every_fault_is_reported():
    faults = set(re.findall(r"@fault\ndef (\w+)", (HERE / "wrong_server.py").read_text()))
    assert faults == {fault for fault, _, _ in REPORTS.values()}
