"""What the documents say of the sources is true: functions, files and constants that they name exist."""

import functools
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("0?-*/*.md")])
SOURCES = ("common", "client", "bench", "0?-*", "docs/examples")
# Of the system and its libraries: named in prose, defined elsewhere.
SYSTEM_CONSTANTS = {"FD_SETSIZE"}
SYSTEM = re.compile(r"^(recv|send|sendmsg|recvmsg|accept4?|close|shutdown|select|poll|epoll_\w+|eventfd|pthread_\w+|fork|read|write|"
                    r"sigwait|malloc|free|bufferevent_\w+|evbuffer_\w+|event_\w+|evconnlistener_\w+|crypto_\w+)$")


@functools.lru_cache
def sources():
    """All C text of the repository, as one string."""
    files = [path for pattern in SOURCES for folder in ROOT.glob(pattern) for path in folder.rglob("*.[ch]")]
    return "\n".join(path.read_text(encoding="utf-8") for path in files)


def documents():
    return [pytest.param(path, id=str(path.relative_to(ROOT))) for path in DOCUMENTS]


@pytest.mark.parametrize("path", documents())
def test_functions_exist(path):
    named = set(re.findall(r"`(\w+)\(\)`", path.read_text(encoding="utf-8")))
    defined = set(re.findall(r"^[\w \*]*?\b(\w+)\(", sources(), re.MULTILINE))
    assert not sorted(name for name in named - defined if not SYSTEM.match(name))


@pytest.mark.parametrize("path", documents())
def test_constants_exist(path):
    named = set(re.findall(r"`([A-Z][A-Z0-9]*_[A-Z0-9_]+)`", path.read_text(encoding="utf-8")))
    assert not sorted(name for name in named - SYSTEM_CONSTANTS if not re.search(rf"\b{name}\b", sources()))


@pytest.mark.parametrize("path", documents())
def test_files_exist(path):
    named = set(re.findall(r"`((?:common|client|bench|tests|docs|0\d-\w+)/[\w./-]+)`", path.read_text(encoding="utf-8")))
    assert not sorted(name for name in named if not (ROOT / name).exists())


@pytest.mark.parametrize("path", documents())
def test_links_lead_somewhere(path):
    targets = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8"))
    assert not sorted(target for target in targets if not (path.parent / target).exists())
