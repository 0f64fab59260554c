"""Join the ledgers of several runs (pytest --ledger FILE) into one table: rule x server.

    python3 tests/conformance/table.py build/ledger/*.json              to read on a terminal
    python3 tests/conformance/table.py --markdown build/ledger/*.json   docs/conformance.md (make conformance-table)

A cell is the number of tests that passed, or the worst result with the number of tests that had it.
"""

import argparse
import json
import pathlib
import re
import sys

SECTIONS = {"F": "Frames", "Q": "Requests and replies", "C": "Commands", "A": "Accounts and sessions",
            "P": "Friends and presence", "G": "Groups", "M": "Messages", "L": "Liveness and limits",
            "W": "HTTP and WebSocket", "S": "The server program"}
SPECIFICATION = pathlib.Path(__file__).resolve().parents[2] / "docs" / "protocol.md"


def rule_key(rule):
    section, number = rule.split("-")
    return list(SECTIONS).index(section), int(number)


def titles():
    """Rule -> its title in docs/protocol.md."""
    found = re.findall(r"^- \*\*([A-Z]-\d+)\*\* \*(.+?)\.?\*", SPECIFICATION.read_text(encoding="utf-8"), re.MULTILINE)
    return dict(found)


def subject_name(subject):
    return re.sub(r"^--(stage|server|address) ", "", subject).split("/")[-1]


def cell(entry):
    """What became of a rule on one server."""
    if entry is None:
        return "no test"
    results = list(entry["tests"].values())
    passed = results.count("pass")
    if entry["result"] == "pass":
        return str(passed)
    count = results.count(entry["result"])
    return f"{count} {entry['result']}" if count > 1 else entry["result"]


def rows(ledgers):
    names = titles()
    for rule in sorted({rule for ledger in ledgers for rule in ledger["rules"]}, key=rule_key):
        yield rule, names.get(rule, ""), [cell(ledger["rules"].get(rule)) for ledger in ledgers]


def print_plain(ledgers):
    subjects = [subject_name(ledger["subject"]) for ledger in ledgers]
    widths = [max(len(subject), 11) for subject in subjects]
    print(f"{'rule':<6}{'':<32}" + "".join(f"{name:>{width + 2}}" for name, width in zip(subjects, widths)))
    for rule, title, cells in rows(ledgers):
        print(f"{rule:<6}{title[:31]:<32}" + "".join(f"{text:>{width + 2}}" for text, width in zip(cells, widths)))


def print_markdown(ledgers):
    subjects = [subject_name(ledger["subject"]) for ledger in ledgers]
    print("# Conformance\n\n"
          "What the suite says of the five stages, rule by rule. A cell is the number of tests that cite the rule and\n"
          "passed. A rule without a test, or a test without a rule, fails the run.\n\n"
          "`make conformance-table` runs the suite on every stage and writes this page. `make conformance STAGE=03-epoll\n"
          "RULE=M-5` runs the tests of one rule. How to try a server of your own:\n"
          "[tests/conformance](../tests/conformance/README.md).")
    section = None
    for rule, title, cells in rows(ledgers):
        if rule[0] != section:
            section = rule[0]
            print(f"\n## {section}. {SECTIONS[section]}\n")
            print("| rule | | " + " | ".join(subjects) + " |")
            print("| --- | --- |" + " ---: |" * len(subjects))
        print(f"| {rule} | {title} | " + " | ".join(cells) + " |")


def main():
    parser = argparse.ArgumentParser(description="Join ledgers into one table: rule x server.")
    parser.add_argument("--markdown", action="store_true")
    parser.add_argument("ledgers", nargs="+", type=pathlib.Path)
    arguments = parser.parse_args()
    ledgers = [json.loads(path.read_text(encoding="utf-8")) for path in arguments.ledgers]
    (print_markdown if arguments.markdown else print_plain)(ledgers)
    bad = {"fail", "crash", "hang"}
    return any(entry["result"].lower() in bad for ledger in ledgers for entry in ledger["rules"].values())


if __name__ == "__main__":
    sys.exit(main())
