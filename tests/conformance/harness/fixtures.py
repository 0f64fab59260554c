"""The fixtures that tests use. README.md has one line on each."""

import os

import pytest

from . import story
from .client import Client, User
from .failure import LeftOut

RUN_TAG = os.environ.get("CONFORMANCE_TAG") or os.urandom(3).hex()       # so that one server can be tested twice
BURST = 250             # of the 400 that a connection may begin with
_names = iter(range(1, 10 ** 9))


@pytest.fixture
def server(request):
    """The server that ordinary tests share. It has --rate-limit 0 and --password-cost min."""
    return request.config.pool.shared()


@pytest.fixture(params=["sqlite", "memory"])
def either_store(request, start_server):
    """The shared server, then one of the test's own without a disk: each store finds in another way what it keeps."""
    return request.config.pool.shared() if request.param == "sqlite" else start_server("--store", "memory")


@pytest.fixture
def start_server(request):
    """start_server("--idle-timeout", "0.5") -> Server of this test's own, ended after it."""
    pool = request.config.pool
    started = []

    def start(*options, **how):
        server = pool.make(options, **how)
        started.append(server)
        return server.start()

    yield start
    for one in started:
        one.dispose()


@pytest.fixture
def program(request):
    """How to start the program, for tests of its command line: Program.command."""
    return request.config.pool.require_program()


@pytest.fixture
def connect(request):
    """connect() -> Client of `server`; connect(server, label=…, source=…, chop=…) of another one."""
    opened = []

    def open_client(server=None, label=None, **how):
        server = server or request.getfixturevalue("server")
        client = Client(server, label or f"client {len(opened) + 1}", **how)
        opened.append(client)
        return client

    yield open_client
    for client in opened:
        client.close()


@pytest.fixture
def name():
    """name("alice") -> a name that nobody else in this run, or in another on the same server, uses."""
    return lambda label="user": f"{label}-{RUN_TAG}-{next(_names)}"


@pytest.fixture
def user(connect, name):
    """user("alice", **profile) -> a freshly registered User (name, passwd)."""
    def make(label="user", server=None, **profile):
        new = User(name(label), f"password of {label}")
        with connect(server, f"{label} (registering)") as client:
            client.register(new, **profile)
        return new

    return make


@pytest.fixture
def online(connect, name):
    """online("alice") -> a Client logged in as a fresh user; online(user=u) another session of a known one.
    Further arguments (source, receive_buffer, chop, keep_heartbeats) are Client's."""
    sessions = {}

    def make(label=None, server=None, user=None, **how):
        if user:
            sessions[user.name] = sessions.get(user.name, 1) + 1
            label = label or f"{user.name.rsplit('-', 2)[0]} {sessions[user.name]}"
        label = label or "user"
        client = connect(server, label, **how)
        if user is None:
            user = User(name(label), f"password of {label}")
            client.register(user)
        client.login(user)
        return client

    return make


@pytest.fixture
def users(online):
    """users(3) -> three logged-in Clients: alice, bob, carol."""
    def make(count, server=None, **how):
        labels = ["alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi"]
        return [online(labels[i] if i < len(labels) else f"user{i}", server, **how) for i in range(count)]

    return make


@pytest.fixture
def group(name):
    """group(alice, bob, carol) -> the name of a new group of alice's that the others have joined; the events of
    that have been taken off everybody's queue."""
    def make(owner, *members, label="group", title=None):
        new = name(label)
        owner.ok("group_create", group=new, **({"title": title} if title is not None else {}))
        for member in members:
            member.ok("group_join", group=new)
        for client in (owner, *members):
            client.barrier()
        return new

    return make


@pytest.fixture
def friends(online):
    """friends(alice, bob): makes them friends, and takes what came of that off their queues."""
    def make(one, other):
        one.ok("friend_add", user=other.user.name)
        other.ok("friend_answer", user=one.user.name, accept=True)
        for client in (one, other):
            client.barrier()

    return make


@pytest.fixture
def burst(server):
    """burst(1000) -> 1000, or as many requests as a rate limit that we cannot turn off lets through at once (L-5)."""
    return lambda count: min(count, BURST) if server.pace else count


@pytest.fixture
def leave_out():
    """leave_out("why"): this test cannot be made with this server."""
    def leave(reason):
        raise LeftOut(reason)

    return leave


@pytest.fixture
def steps():
    return story.current
