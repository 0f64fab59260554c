"""History (M-8): which messages of a range a reply holds, and whether there are more."""

import json

import pytest

from harness import needs, rule
from harness.together import all_ok, in_one_piece

pytestmark = [needs("history"), pytest.mark.usefixtures("server")]
FRAME_LIMIT = 262_144       # F-2


@pytest.fixture
def server(either_store):
    """Each store has its own way to the messages of a range."""
    return either_store


def to(client):
    return {"user_to": client.user.name}


def page(reply):
    """(the numbers of the messages, more)"""
    return [message["msg_id"] for message in reply["messages"]], reply["more"]


def expected_page(count, before=None, after=None, limit=50):
    """What M-8 says of a conversation with messages 1 to `count`, as long as they are short."""
    inside = [n for n in range(1, count + 1) if (before is None or n < before) and (after is None or n > after)]
    oldest_first = after is not None
    chosen = inside[:limit] if oldest_first else inside[-limit:]
    return chosen, len(chosen) < len(inside)


@pytest.fixture
def written(users):
    """written(n, text) -> alice and bob, with messages 1 to n of alice's to bob."""
    def make(count, text="message {}"):
        alice, bob = users(2)
        requests = [("private_chat", {"text": text.format(n + 1), **to(bob)}) for n in range(count)]
        for start in range(0, count, 10):
            all_ok(in_one_piece(alice, requests[start:start + 10]))
            bob.barrier()               # so that bob never is a slow consumer (L-3)
        return alice, bob

    return make


def check_pages(client, target, count, bounds):
    """history with each of these bounds, against expected_page()."""
    bounds = list(bounds)
    for start in range(0, len(bounds), 50):
        some = bounds[start:start + 50]
        replies = in_one_piece(client, [("history", {**target, **bound}) for bound in some])
        for bound, reply in zip(some, replies):
            assert page(client.must(reply, "success")) == expected_page(count, **bound), bound


# --- Ranges

@rule("M-8")
def test_every_range_of_seven_messages(written):
    """All of before and after from 0 to past the end, or missing, with limits around them."""
    alice, bob = written(7)
    edges = [None, 0, 1, 2, 3, 5, 7, 8, 9, 2 ** 63 - 1]
    bounds = [{key: value for key, value in (("before", before), ("after", after), ("limit", limit))
               if value is not None}
              for before in edges for after in edges for limit in (1, 3, 7)]
    check_pages(bob, {"user": alice.user.name}, 7, bounds)


@rule("M-8", "C-1")
def test_fifty_when_no_limit_is_given(written):
    """And one message less or more than that."""
    alice, bob = written(51)
    target = {"user": alice.user.name}
    check_pages(bob, target, 51, [{}, {"after": 0}, {"after": 1}, {"before": 51}, {"before": 52}, {"after": 2},
                                  {"before": 50}, {"after": 0, "before": 51}, {"after": 0, "before": 52}])


@rule("M-8", "C-1")
def test_a_hundred_at_most(written):
    alice, bob = written(101)
    target = {"user": alice.user.name}
    check_pages(bob, target, 101, [{"limit": 100}, {"limit": 100, "after": 0}, {"limit": 100, "after": 1},
                                   {"limit": 100, "before": 101}, {"limit": 99, "after": 2}])


@rule("M-8", "C-5")
def test_what_a_message_in_history_holds(users, group):
    """The numbers, senders, texts and times that the replies and pushes had, and nothing else."""
    alice, bob = users(2)
    sent = [(one, one.ok("private_chat", text=f"from {one.label}", id=f"id {number}", **to(other)))
            for number, (one, other) in enumerate(((alice, bob), (bob, alice), (alice, bob)))]
    expected = [{"msg_id": reply["msg_id"], "user_from": one.user.name, "text": f"from {one.label}",
                 "time": reply["time"]} for one, reply in sent]
    for one, other in ((alice, bob), (bob, alice)):
        assert one.ok("history", user=other.user.name).payload == {
            "result": "success", "messages": expected, "more": False}


@rule("M-8", "Q-2")
def test_history_is_of_its_place_among_the_requests(users):
    """What was sent before it on the connection is in it, what comes behind is not."""
    alice, bob = users(2)
    send, ask = ("private_chat", {"text": "hi", **to(bob)}), ("history", {"user": bob.user.name})
    replies = in_one_piece(alice, [ask, send, ask, send, send, ask])
    assert [len(replies[i]["messages"]) for i in (0, 2, 5)] == [0, 1, 3]


# --- As many as fit

@rule("M-8")
@pytest.mark.parametrize("text, least", [("x" * 8192, 31), ("\x01" * 8192, 5), ("é" * 2048, 50)],
                         ids=["long", "of escapes", "of two bytes"])
def test_a_reply_holds_as_many_as_fit(written, text, least):
    """Those next to the end that the range is counted from; `more` says that there are others."""
    count = 60
    alice, bob = written(count, text)
    target = {"user": alice.user.name, "limit": 100}
    for bound, counted_from_the_end in (({}, True), ({"before": 41}, True), ({"after": 0}, False),
                                        ({"after": 5, "before": 60}, False)):
        reply = bob.ok("history", **target, **bound)
        inside, _ = expected_page(count, limit=100, **bound)
        got, more = page(reply)
        assert got == (inside[-len(got):] if counted_from_the_end else inside[:len(got)]), bound
        assert more is (len(got) < len(inside))
        assert len(got) >= min(least, len(inside)), f"{len(got)} messages are not as many as fit"
        assert all(message["text"] == text for message in reply["messages"])


@rule("M-8")
def test_the_last_one_that_fits(written):
    """Ordinary text, which every server writes alike: one message more would not have fitted."""
    alice, bob = written(48, "{:05}" + "x" * 5600)
    reply = bob.ok("history", user=alice.user.name, limit=100)
    assert reply["more"] is True
    left_out = json.dumps({**reply["messages"][0]}, separators=(",", ":"))
    payload = len(reply.data) - 22
    assert payload + 1 + len(left_out) + 16 > FRAME_LIMIT, f"{payload} bytes, and {len(left_out)} more would fit"


@rule("M-8")
def test_walking_through_a_long_history(written):
    """By `before` from the end and by `after` from the beginning: every message once."""
    alice, bob = written(40, "{:05}" + "y" * 8000)
    for key, edge, begin in (("before", 0, 2 ** 40), ("after", -1, 0)):
        seen, more, bound = [], True, begin
        while more:
            reply = bob.ok("history", user=alice.user.name, limit=100, **{key: bound})
            got, more = page(reply)
            assert got, "at least one"
            bound = got[edge]
            seen = got + seen if key == "before" else seen + got
        assert seen == list(range(1, 41)), key


# --- Whose

@rule("M-8")
def test_two_who_never_wrote(users, user, name):
    """Empty, also of oneself; not so of one who does not exist."""
    alice, bob = users(2)
    for other in (bob.user.name, alice.user.name, user("carol").name):
        assert page(alice.ok("history", user=other)) == ([], False)
    alice.expect("history", "user_not_exist", user=name("nobody"))


@rule("M-8")
def test_a_conversation_is_of_two(users):
    """Each pair has its own, and notes to oneself are a third."""
    alice, bob, carol = users(3)
    for one, other, text in ((alice, bob, "a-b"), (bob, carol, "b-c"), (carol, alice, "c-a"), (alice, alice, "a-a")):
        one.ok("private_chat", text=text, **to(other))

    def texts(one, other):
        return [message["text"] for message in one.ok("history", user=other.user.name)["messages"]]

    assert texts(alice, bob) == texts(bob, alice) == ["a-b"]
    assert texts(carol, bob) == texts(bob, carol) == ["b-c"]
    assert texts(alice, carol) == texts(carol, alice) == ["c-a"]
    assert texts(alice, alice) == ["a-a"] and texts(bob, bob) == []


@rule("M-8")
@needs("groups")
def test_a_group_s_history_is_for_members(users, group):
    """Not for strangers, nor for those who were members; one who joins reads what was before."""
    alice, bob, carol, dave = users(4)
    room = group(alice, bob, carol)
    alice.ok("group_chat", group=room, text="hi")
    for client in (alice, bob):
        assert page(client.ok("history", group=room)) == ([1], False)
    bob.ok("group_leave", group=room)
    alice.ok("group_kick", group=room, user=carol.user.name)
    for client in (bob, carol, dave):
        client.expect("history", "not_member", group=room)
    dave.ok("group_join", group=room)
    assert page(dave.ok("history", group=room)) == ([1], False)


@rule("M-8")
@needs("groups")
def test_ranges_of_a_group(users, group):
    """As of two users; the messages of several members in one row."""
    alice, bob = users(2)
    room = group(alice, bob)
    for number in range(6):
        (alice, bob)[number % 2].ok("group_chat", group=room, text=f"{number + 1}")
    check_pages(bob, {"group": room}, 6, [{}, {"limit": 2}, {"before": 4}, {"after": 4}, {"before": 5, "after": 1},
                                          {"after": 1, "limit": 2}, {"before": 6, "limit": 3}, {"after": 6}])
    assert [message["user_from"] for message in bob.ok("history", group=room)["messages"]] == [
        alice.user.name, bob.user.name] * 3
