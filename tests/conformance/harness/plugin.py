"""The suite as a pytest plugin: options, markers, verdicts, reports, and the table of rules at the end."""

import signal
import sys
import textwrap
from pathlib import Path

import pytest

from . import rules, story
from .clock import set_slow_factor
from .failure import Crash, LeftOut, Unanswered
from .pool import SHARED, Pool, answers
from .report import Report

WORDS = {"FAIL": ("failed", "F", "FAIL"), "CRASH": ("failed", "C", "CRASH"), "HANG": ("failed", "H", "HANG"),
         "not claimed": ("skipped", "n", "NOT CLAIMED"), "left out": ("skipped", "l", "LEFT OUT")}


def pytest_addoption(parser):
    group = parser.getgroup("conformance")
    group.addoption("--stage", help="test bin/STAGE of this repository, e.g. 03-epoll")
    group.addoption("--server", help="test a program: its command line")
    group.addoption("--address", help="test the server that runs at HOST:PORT")
    group.addoption("--rule", action="append", default=[], help="run only the tests of this rule; repeatable")
    group.addoption("--slow-factor", type=float, default=1.0, help="make every deadline this many times longer")
    group.addoption("--preload", help="a library that is preloaded into every server, and disturbs it: what only an "
                                      "undisturbed one can show is left out")
    group.addoption("--ledger", help="write the results by rule to this file, as JSON")
    group.addoption("--protocol", default=str(rules.DEFAULT_TEXT), help="the text that has the rules")


def pytest_configure(config):
    config.addinivalue_line("markers", "rule(*ids): the rules of docs/protocol.md that the test tests")
    config.addinivalue_line("markers", "needs(*capabilities): what the server must claim in hello")
    config.addinivalue_line("markers", "undisturbed(why): left out with --preload")
    set_slow_factor(config.getoption("slow_factor"))
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:       # in the background of a shell: servers would inherit it
        signal.signal(signal.SIGINT, signal.default_int_handler)
    config.ledger = rules.Ledger()
    config.rule_texts = load_rules(config)
    config.problems = []                # of the run as a whole; any makes it fail
    config.pool = None if config.option.collectonly or config.option.help else Pool(config)


def load_rules(config):
    path = Path(config.getoption("protocol"))
    return rules.load(path) if path.is_file() else {}


# --- Collection

def rules_of(item):
    return list(dict.fromkeys(rule for mark in item.iter_markers("rule") for rule in mark.args))


def needs_of(item):
    return rules.capabilities_of(rules_of(item), [one for mark in item.iter_markers("needs") for one in mark.args])


def pytest_collection_modifyitems(session, config, items):
    errors = [f"{item.nodeid}: {fault}" for item in items for fault in faults_of(item, config.rule_texts)]
    if errors:
        raise pytest.UsageError("\n".join(errors))
    config.whole_suite = is_whole_suite(session, config)
    if config.whole_suite:
        cited = {rule for item in items for rule in rules_of(item)}
        config.untested = [rule for rule in config.rule_texts if rule not in cited]
    select_rules(config, items)


def faults_of(item, texts):
    cited = rules_of(item)
    if not cited:
        yield "no @rule(…): every test names the rules that it tests"
    if texts:
        yield from (f"cites {rule}, which the text of the protocol has not" for rule in cited if rule not in texts)
    named = [one for mark in item.iter_markers("needs") for one in mark.args]
    yield from (f"@needs({name!r}): Q-7 has no such capability" for name in rules.unknown_capabilities(named))


def is_whole_suite(session, config):
    option = config.option
    narrowed = option.keyword or option.markexpr or option.rule or option.deselect or option.ignore or getattr(option, "lf", False)
    return not narrowed and [str(arg) for arg in session.config.args] == [str(config.rootpath)] or (
        not narrowed and all(Path(arg).resolve() == config.rootpath for arg in config.args))


def select_rules(config, items):
    wanted = set(config.option.rule)
    if not wanted:
        return
    if config.rule_texts and wanted - set(config.rule_texts):
        raise pytest.UsageError(f"--rule: no such rule: {', '.join(sorted(wanted - set(config.rule_texts)))}")
    left = [item for item in items if not wanted & set(rules_of(item))]
    config.hook.pytest_deselected(items=left)
    items[:] = [item for item in items if wanted & set(rules_of(item))]


# --- Running

@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    item.story = story.begin()
    missing = needs_of(item) - set(claimed(item.config))
    if missing:
        item.verdict = "not claimed"
        pytest.skip(f"not claimed: {', '.join(sorted(missing))}")
    undisturbed = item.get_closest_marker("undisturbed")
    if undisturbed and item.config.getoption("preload"):
        raise LeftOut(f"disturbed: {undisturbed.args[0]}")


def claimed(config):
    """The capabilities that hello names; a server that does not even say hello ends the run: one cause, not 500."""
    with story.aside() as beginning:
        try:
            return config.pool.hello()["capabilities"]
        except AssertionError:
            failure = pytest.ExceptionInfo.from_current()
            text = Report(None, failure, beginning, "FAIL", ["Q-7"], config.rule_texts, "").text()
            config.pool.drop_shared()
            pytest.exit(f"the server does not start, or does not answer hello\n\n{text}\n\n", returncode=1)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    report.verdict = None
    if report.skipped:
        report.verdict = getattr(item, "verdict", "left out")
    elif report.failed:
        judge_failure(item, call.excinfo, report)
    elif call.when == "call":
        judge_servers(item, report)
    record(item, report)


def judge_failure(item, excinfo, report):
    if excinfo.errisinstance(LeftOut):
        leave_out(item, report, str(excinfo.value))
        return
    item.broken_rule = getattr(excinfo.value, "rule", None)
    with story.aside():                 # what the probing does is not the test's
        report.verdict = verdict_of(excinfo.value, item.story)
        report.longrepr = describe(item, excinfo, report.verdict)


def leave_out(item, report, reason):
    report.outcome = "skipped"
    report.verdict = "left out"
    path, line, _ = item.location
    report.longrepr = (path, line, f"left out: {reason}")


def judge_servers(item, report):
    """A test that passed still fails if its server died of it."""
    try:
        for server in item.story.servers:
            server.check()
    except Crash:
        report.outcome = "failed"
        report.verdict = "CRASH"
        report.longrepr = describe(item, pytest.ExceptionInfo.from_current(), "CRASH")
        drop_dead(item)


def verdict_of(error, the_story):
    """CRASH before all: what the client saw is then only its consequence."""
    client = getattr(error, "client", None)
    for server in the_story.servers:
        if client and client.ended:
            server.settle()             # a connection ends a moment before its process has
        try:
            server.check()
        except Crash:
            return "CRASH"
    if isinstance(error, Unanswered) and the_story.servers:
        running = [server for server in the_story.servers if server.alive() and server.port]
        if any(not answers(server) for server in running):
            return "HANG"
    return "FAIL"


def describe(item, excinfo, verdict):
    config = item.config
    rerun = f"python3 -m pytest {shorten(item)} {config.pool.subject}"
    text = Report(item, excinfo, item.story, verdict, rules_of(item), config.rule_texts, rerun).text()
    if verdict in ("CRASH", "HANG"):
        drop_dead(item)
    return text


def drop_dead(item):
    """The next test gets a fresh shared server."""
    if any(server.label == SHARED for server in item.story.servers):
        item.config.pool.drop_shared()


def shorten(item):
    """The node id as typed at the root of the repository."""
    path, _, rest = item.nodeid.partition("::")
    full = item.config.rootpath / path
    try:
        path = full.relative_to(Path.cwd())
    except ValueError:
        path = full
    text = f"{path}::{rest}"
    return f"'{text}'" if "[" in text else text


def record(item, report):
    ledger = item.config.ledger
    if report.verdict in ("left out", "not claimed"):
        ledger.add(rules_of(item), item.nodeid, report.verdict)
        ledger.add_reason(report.longrepr[2].removeprefix("Skipped: "))
    elif report.verdict:
        found = getattr(item, "broken_rule", None)
        ledger.add([*rules_of(item), *([found] if found else [])], item.nodeid, report.verdict)
    elif report.when == "call":
        ledger.add(rules_of(item), item.nodeid, "pass")


def pytest_report_teststatus(report):
    return WORDS.get(getattr(report, "verdict", None))


# --- The end of the run

def pytest_sessionfinish(session, exitstatus):
    config = session.config
    if not config.pool:
        return
    config.pool.finish()
    config.problems += config.pool.problems
    if getattr(config, "whole_suite", False):
        config.problems += untested_problems(config)
    if config.problems and exitstatus == 0:
        session.exitstatus = 1
    if config.getoption("ledger"):
        config.ledger.write(config.getoption("ledger"), about(config))


def untested_problems(config):
    if not config.rule_texts:
        yield f"{config.getoption('protocol')} is not there: whether each rule has a test cannot be checked"
    websocket = "websocket" in config.pool.said.get("capabilities", [])
    for rule in config.untested:
        if rule.startswith("W-") and not websocket:
            config.ledger.tests[rule] = {"": "not claimed"}
        else:
            yield f"rule {rule} has no test"


def about(config):
    return {"subject": config.pool.subject, "server": config.pool.said.get("server"), "whole": config.whole_suite,
            "capabilities": config.pool.said.get("capabilities"), "problems": config.problems}


def pytest_terminal_summary(terminalreporter, config):
    ledger = getattr(config, "ledger", None)
    if not ledger or not ledger.tests:
        return
    write = terminalreporter
    write.section("rules")
    groups = {}
    for rule in sorted(ledger.tests, key=rule_key):
        groups.setdefault(ledger.result(rule), []).append(rule)
    for result in reversed(rules.RESULTS):
        if result in groups:
            colour = {"pass": {"green": True}, "left out": {"yellow": True}, "not claimed": {"yellow": True}}
            lines = textwrap.wrap(row(groups[result], ledger), 100, break_on_hyphens=False)
            write.write(f"{result:<12}", **colour.get(result, {"red": True}))
            write.line(("\n" + " " * 12).join(lines).replace("\xa0", " "))
    for reason, count in sorted(ledger.reasons.items()):
        write.line(f"{count} tests {reason}")
    for problem in config.problems:
        write.line(f"PROBLEM     {problem}", red=True)


def row(rule_ids, ledger):
    """`A-1 A-2 M-5(2 of 3 left out)`: what is not so of all tests of a rule is said."""
    words = []
    for rule in rule_ids:
        counts = ledger.counts(rule)
        total = sum(counts.values())
        worst = ledger.result(rule)
        remarks = [f"{count} of {total} {result}" for result, count in counts.items()
                   if result != "pass" and count != total or result != worst and result != "pass"]
        words.append(rule + (f"({', '.join(remarks)})" if remarks else "").replace(" ", "\xa0"))
    return " ".join(words)              # the spaces within a word do not break


def rule_key(rule):
    section, _, number = rule.partition("-")
    return "FQCAPGMLWS".find(section), int(number)


sys.setrecursionlimit(max(sys.getrecursionlimit(), 10000))      # JSON tests build deep values
