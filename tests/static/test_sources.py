"""Rules for the sources that a compiler does not check.

The first is the project's one idea: the chat knows nothing of sockets, so two stages differ in their I/O model and in
nothing else. `make test` runs this; alone: /usr/bin/python3 -m pytest tests/static
"""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MAX_LINES = 600

# Opening the listener is alike in all stages, so it stands in common/.
SOCKETS_ALLOWED = {"common/base/listener.c", "common/base/listener.h"}

# What a stage does visibly: calls, and the names that only who waits or wakes needs.
STAGE_CALLS = re.compile(
    r"\b(?:recv(?:from|msg|mmsg)?|send(?:to|msg|mmsg)?|accept4?|shutdown|p?select|p?poll|eventfd|epoll_\w+)\s*\("
    r"|\bEAGAIN\b|\bsys/(?:epoll|eventfd|select|poll)\.h|\bpoll\.h|\bevent2?/"
)

# A comment or a string is kept as blanks: what is named in prose is not called, and lines keep their numbers.
COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)
STRING = re.compile(r'"(?:\\.|[^"\\\n])*"')


def sources(*suffixes):
    folders = ["common", "client", "bench", "tests/unit", *sorted(p.name for p in ROOT.glob("0?-*"))]
    return sorted(p for folder in folders for p in (ROOT / folder).rglob("*") if p.suffix in suffixes)


def name(path):
    return str(path.relative_to(ROOT))


def code_of(path):
    """The text of a C file with its comments, and its strings but those of #include, made blank."""

    def blank(match):
        return re.sub(r"[^\n]", " ", match[0])

    text = COMMENT.sub(blank, path.read_text(encoding="utf-8"))
    return "\n".join(line if line.startswith("#include") else STRING.sub(blank, line) for line in text.split("\n"))


COMMON = [p for p in sources(".c", ".h") if name(p).startswith("common/") and name(p) not in SOCKETS_ALLOWED]


@pytest.mark.parametrize("path", COMMON, ids=name)
def test_common_does_no_input_and_output(path):
    found = [
        f"{name(path)}:{number}: {line.strip()}"
        for number, line in enumerate(code_of(path).split("\n"), 1)
        if STAGE_CALLS.search(line)
    ]
    assert not found, "This belongs into a stage, where a reader sees it:\n" + "\n".join(found)


@pytest.mark.parametrize("path", sources(".h"), ids=name)
def test_header_opens_with_a_comment_that_names_it(path):
    first = path.read_text(encoding="utf-8").split("\n", 1)[0]
    assert re.match(rf"/\* {re.escape(path.name)} - \S", first), (
        f"{name(path)} begins with {first!r}. A reader should first learn what it is for: /* {path.name} - ..."
    )


@pytest.mark.parametrize("path", sources(".h"), ids=name)
def test_header_can_be_included_twice(path):
    text = path.read_text(encoding="utf-8")
    guard = re.search(r"^#ifndef (\w+)\n#define \1\n", text, re.MULTILINE)
    assert guard and text.rstrip().endswith("#endif"), f"{name(path)} has no include guard"


@pytest.mark.parametrize("path", sources(".c", ".h", ".py"), ids=name)
def test_file_is_read_in_one_sitting(path):
    lines = path.read_text(encoding="utf-8").count("\n")
    assert lines <= MAX_LINES, f"{name(path)} has {lines} lines; divide it where its parts are"


def test_the_rules_find_what_they_look_for():
    """A rule that matches nothing passes for ever."""
    for line in ("n = recv(fd, b, 1, 0);", "accept4 (fd, 0, 0, 0)", "if (errno == EAGAIN)", "epoll_ctl(a, b, c, d)",
                 "shutdown(fd, SHUT_WR);", "#include <sys/epoll.h>", "poll(fds, 1, 0)", "#include <event2/event.h>"):
        assert STAGE_CALLS.search(line), line
    for line in ("session_sent(s, n);", "hub_accept(h)", "resend(x)", "store_recv(s)", "purge_selected(s)"):
        assert not STAGE_CALLS.search(line), line
    assert code_of(ROOT / "common/base/listener.c").count("\n") == (
        (ROOT / "common/base/listener.c").read_text(encoding="utf-8").count("\n")
    )


# Where 05 is two files, each has the part that is its own.
STAGE_FUNCTIONS = ["listener_pause", "connection_open", "listener_ready", "connection_read", "connection_write",
                   "connection_update", "connection_close", "server_wake", "server_stop", "server_loop", "server_init",
                   "server_run", "main"]
STAGE_FILES = [p for p in sources(".c") if re.match(r"0\d-\w+/server\.c", name(p))]


@pytest.mark.parametrize("path", STAGE_FILES, ids=name)
def test_stages_have_the_same_functions_in_the_same_order(path):
    """So that `make diff` lays the same things side by side."""
    defined = re.findall(r"^(?:static )?[a-z]\w* \*?(\w+)\([^;{]*\)\n\{", code_of(path), re.MULTILINE)
    found = [function for function in defined if function in STAGE_FUNCTIONS]
    if name(path).startswith("05-"):
        assert {"listener_ready", "server_wake", "server_stop", "server_loop", "main"} <= set(found)
        assert found.index("server_wake") < found.index("server_stop") < found.index("server_loop")
    else:
        assert found == STAGE_FUNCTIONS
