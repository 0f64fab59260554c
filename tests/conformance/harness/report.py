"""The text of a failure: short, and in the order in which a reader asks. No traceback, no object dumps."""

import linecache
import os
import textwrap
import traceback

from . import process
from .failure import Crash, Malformed, Unanswered, Unmet
from .protocol import describe_bytes
from .story import Step

WIDTH = 116
DUMP_BYTES = 64         # of each record in the dump
LOG_LINES = 12
HARNESS = os.path.dirname(os.path.abspath(__file__))


class Report:
    def __init__(self, item, excinfo, story, verdict, rules, rule_texts, rerun):
        self.item = item
        self.error = excinfo.value
        self.trace = excinfo.traceback
        self.story = story
        self.verdict = verdict
        self.rules = rules
        self.rule_texts = rule_texts
        self.rerun = rerun

    def text(self):
        parts = [self._rules(), self._steps(), self._difference(), self._bytes(), self._servers(),
                 f"rerun     {self.rerun}" if self.rerun else ""]
        return "\n\n".join(part for part in parts if part)

    def _rules(self):
        """The rule that was found broken first, then the others that the test cites, by id."""
        broken = getattr(self.error, "rule", None)
        first = broken or self.rules[0]
        text = self.rule_texts.get(first, NO_TEXT).split("\n")
        lines = [f"{self.verdict} {wrap(f'{first}  {text[0]}')}", *(hang(item) for item in text[1:])]
        others = [rule for rule in self.rules if rule != first]
        if others:
            lines.append(f"      also tested here: {', '.join(others)}")
        doc = (self.item and self.item.function.__doc__ or "").strip()
        if doc:
            lines.append(indent(textwrap.fill(" ".join(doc.split()), WIDTH - 6)))
        return "\n".join(lines)

    def _steps(self):
        steps = self.story.steps()
        if not steps:
            return ""
        lines = ["steps"]
        if steps[-1].outcome:
            steps.append(Step(steps[-1].number + 1, "", self._unnamed_step()))
        previous = 0
        for step in steps:
            if step.number != previous + 1:
                lines.append(f"       … {step.number - previous - 1} steps left out")
            previous = step.number
            who = f"{step.who} " if step.who else ""
            outcome = f" → {step.outcome}" if step.outcome not in ("", "ok") else ""
            last = step is steps[-1] and not step.outcome
            lines.append(f"  {step.number:4} {'FAIL' if last else 'ok  '} {who}{step.text}{outcome}")
        return "\n".join(lines)

    def _unnamed_step(self):
        """All steps went well, and then something was not as it should be."""
        client = getattr(self.error, "client", None)
        if isinstance(self.error, Unmet):
            return f"{client.label if client else 'the harness'} waits for {self.error.expected}"
        return "the server goes on" if isinstance(self.error, Crash) else "the test looks at what came"

    def _difference(self):
        if isinstance(self.error, Unmet):
            return f"expected  {wrap(self.error.expected)}\ngot       {wrap(self.error.got)}{self._because()}"
        if isinstance(self.error, Crash):
            return f"expected  a server that goes on\ngot       {wrap(str(self.error))}"
        place = self._place()
        if isinstance(self.error, AssertionError):
            message = str(self.error) or "the assertion does not hold"
            lines = [line for line in message.splitlines() if " object at 0x" not in line]
            return place + "\ngot       " + indent("\n".join(lines), 10).lstrip()
        trace = traceback.format_exception(self.error)
        return "the test itself went wrong\n" + "".join(trace[-12:]).rstrip()

    def _because(self):
        """What a client sees of a crash is only its consequence."""
        for server in self.story.servers if self.verdict == "CRASH" else ():
            try:
                server.check()
            except Crash as crash:
                return f"\nbecause   {wrap(crash)}"
        return ""

    def _place(self):
        """The line of the test (not of the harness) where it failed."""
        for entry in reversed(list(self.trace)):
            path = str(entry.path)
            if not path.startswith(HARNESS) and os.path.basename(path).startswith("test_"):
                line = linecache.getline(path, entry.lineno + 1).strip()
                return f"expected  {line}        ({os.path.basename(path)}:{entry.lineno + 1})"
        return "expected  that the test goes on"

    def _bytes(self):
        """The last records of all clients in a line each; a dump of what matters of them."""
        records = list(self.story.bytes)
        lines = ["last bytes"] if records else []
        dumped = self._worth_a_dump(records)
        for record in records:
            broken = isinstance(self.error, Malformed) and record is records[-1]
            arrow = f"{record.who} → server" if record.sent else f"server → {record.who}"
            lines.append(f"  {arrow}   {'malformed' if broken else describe_record(record)}")
            if broken:
                lines += dump(record.data, record.length, self.error.offset, self.error.got)
            elif record in dumped:
                lines += dump(record.data, record.length)
        return "\n".join(lines)

    def _worth_a_dump(self, records):
        """The last record each way of the client that failed, or of the one that was last."""
        client = getattr(self.error, "client", None)
        who = client.label if client else records[-1].who if records else ""
        own = [record for record in records if record.who == who]
        return [*[record for record in own if record.sent][-1:], *[record for record in own if not record.sent][-1:]]

    def _servers(self):
        return "\n\n".join(describe_server(server, self.error) for server in self.story.servers[-3:])


NO_TEXT = "(the text of this rule was not found)"


def wrap(text, hanging=10):
    """`text` on several lines, the first of which begins at column `hanging`."""
    lines = textwrap.wrap(str(text), WIDTH - hanging, break_long_words=False, break_on_hyphens=False) or [""]
    return ("\n" + " " * hanging).join(lines)


def hang(item):
    """A rule's "- item", under the rule."""
    return textwrap.fill(item, WIDTH, initial_indent=" " * 10, subsequent_indent=" " * 12)


def indent(text, by=6):
    return textwrap.indent(text, " " * by)


def describe_record(record):
    if record.length != len(record.data):
        return f"{record.length} bytes, beginning with"
    return describe_bytes(record.data)


def dump(data, length, fault=None, what=""):
    """Hexdump lines; `fault` gets a caret under its byte."""
    start = 0 if fault is None else max(0, fault // 16 * 16 - 32)
    end = min(len(data), start + DUMP_BYTES)
    lines = [f"    … {start} bytes"] if start else []
    for offset in range(start, end, 16):
        row = data[offset:min(offset + 16, end)]
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        lines.append(f"    {offset:04x}  {row.hex(' '):<47}  |{text}|")
        if fault is not None and offset <= fault < offset + 16:
            lines.append(f"          {'   ' * (fault - offset)}^^ offset {fault}: {what}")
    if length > end:
        lines.append(f"    … {length - end} more bytes")
    return lines


def describe_server(server, error):
    """Its state, its threads when something did not come, its last log lines."""
    if not server.controlled:
        return f"server    {server.label}, run by somebody else"
    if server.process is None:
        return f"{server.label}    not started"
    status = server.process.poll()
    words = " ".join([*server.program.command, *server.options])
    lines = [f"{server.label}    {words}: " + ("alive" if status is None else process.describe_end(status))]
    if status is None and isinstance(error, Unanswered):
        lines += [f"  thread  {line}" for line in process.threads(server.pid)]
    log = server.sanitizer or list(server.log)[-LOG_LINES:]
    lines += [f"  log     {line[:WIDTH + 40]}" for line in log] or ["  log     (empty)"]
    return "\n".join(lines)
