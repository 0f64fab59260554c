"""The rules, read from docs/protocol.md, and what a run found out about each."""

import json
import re
from pathlib import Path

from .protocol import CAPABILITIES

DEFAULT_TEXT = Path(__file__).resolve().parents[3] / "docs" / "protocol.md"
RULE = re.compile(r"^[-*] \*\*([A-Z]-\d+)\*\*\s*(.*)$")
EMPHASIS = re.compile(r"(?<![\w*])\*([^*]+)\*(?![\w*])")       # *so*: not wanted in a terminal
SECTION_NEEDS = {"A": "accounts", "P": "friends", "G": "groups", "M": "messages", "W": "websocket"}

# From best to worst: a rule is as good as the worst of its tests that could be made.
RESULTS = ("left out", "not claimed", "pass", "FAIL", "HANG", "CRASH")


def load(path):
    """{id: text} in the order of the document. A rule goes on as long as its lines are indented; items
    within it stand on lines of their own."""
    rules = {}
    current = None
    for line in Path(path).read_text(encoding="utf-8").splitlines():
        match = RULE.match(line)
        if match:
            current = match[1]
            if current in rules:
                raise ValueError(f"{path}: rule {current} stands there twice")
            rules[current] = match[2].strip()
        elif line.strip() and not line.startswith("  "):
            current = None
        elif current and line.strip():
            item = line.lstrip().startswith("- ")
            rules[current] += ("\n" if item else " ") + line.strip()
    return {rule: EMPHASIS.sub(r"\1", text) for rule, text in rules.items()}


def capabilities_of(rule_ids, named=()):
    """What a server must claim for a test of these rules to make sense."""
    needs = {SECTION_NEEDS[rule[0]] for rule in rule_ids if rule[0] in SECTION_NEEDS} | set(named)
    if needs & {"friends", "groups", "messages", "history"}:
        needs.add("accounts")
    return needs


def unknown_capabilities(names):
    return sorted(set(names) - CAPABILITIES)


class Ledger:
    """rule -> the results of its tests."""

    def __init__(self):
        self.tests = {}         # rule -> {test id: result}
        self.reasons = {}       # why something was not claimed or left out -> number of tests

    def add(self, rule_ids, test, result):
        for rule in rule_ids:
            results = self.tests.setdefault(rule, {})
            results[test] = max(results.get(test, RESULTS[0]), result, key=RESULTS.index)

    def add_reason(self, reason):
        self.reasons[reason] = self.reasons.get(reason, 0) + 1

    def result(self, rule):
        return max(self.tests.get(rule, {}).values(), key=RESULTS.index, default=None)

    def counts(self, rule):
        results = list(self.tests.get(rule, {}).values())
        return {result: results.count(result) for result in RESULTS if result in results}

    def write(self, path, about):
        rules = {rule: {"result": self.result(rule), "tests": tests} for rule, tests in sorted(self.tests.items())}
        Path(path).write_text(json.dumps({**about, "reasons": self.reasons, "rules": rules}, indent=1) + "\n")
