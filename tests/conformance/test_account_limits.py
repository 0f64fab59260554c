"""How many friends, groups, requests and members there can be (A-9), lists of thousands (G-6) and of hundreds (M-9):
each limit is reached exactly, and then passed by one."""

import pytest

from harness import needs, rule
from harness.clock import scaled
from harness.together import all_ok, in_one_piece

FRIENDS = GROUPS = 256
REQUESTS = 64
MEMBERS = 10_000
PAGE = 1_000            # G-6
UNREAD = 256            # M-9


def too_many(client, reply):
    client.must(reply, "failure", reason="too_many")


def requests_to(client, connect):
    with connect(label="looking") as looking:
        return [entry["user"] for entry in looking.login(client.user)["requests"]]


# --- Requests

@rule("A-9", "P-1")
@needs("friends")
def test_requests_to_one_user(users, crowd, connect):
    """64 are pending; one more is refused, until one of them is answered. Asking again is no more."""
    alice, zoe = users(2)
    many = crowd()
    askers = many.register(REQUESTS)
    for replies in many.act(askers, lambda _: [("friend_add", {"user": alice.user.name})]):
        all_ok(replies)
    too_many(zoe, zoe.request("friend_add", user=alice.user.name))
    (again,) = many.act(askers[:1], lambda _: [("friend_add", {"user": alice.user.name})])
    all_ok(again)
    assert len(alice.barrier()) == REQUESTS
    assert sorted(requests_to(alice, connect)) == sorted(user.name for user in askers)
    alice.ok("friend_answer", user=askers[7].name, accept=False)
    zoe.ok("friend_add", user=alice.user.name)
    alice.push("friend_request", user=zoe.user.name)


@rule("A-9", "P-1")
@needs("friends")
def test_requests_of_one_user(users, crowd):
    """It is those to a user that are limited, not those of one."""
    (alice,) = users(1)
    others = crowd().register(REQUESTS + 6)
    all_ok(in_one_piece(alice, [("friend_add", {"user": other.name}) for other in others]))


@rule("A-9", "P-1")
@needs("friends")
def test_asking_one_who_has_asked_is_no_request(users, crowd):
    """So it is possible although 64 are pending: both become friends."""
    alice, zoe = users(2)
    many = crowd()
    many.act(many.register(REQUESTS), lambda _: [("friend_add", {"user": alice.user.name})])
    alice.ok("friend_add", user=zoe.user.name)
    zoe.push("friend_request")
    zoe.ok("friend_add", user=alice.user.name)
    assert [entry["user"] for entry in zoe.ok("friend_list")["friends"]] == [alice.user.name]


# --- Friends

@rule("A-9", "P-1", "P-2")
@needs("friends")
def test_friends_of_one_user(users, crowd, connect):
    """256, and the next friendship does not begin, whichever of the two has them, whoever asked: the request stays."""
    alice, yves, zoe = users(3)
    many = crowd()
    others = many.register(FRIENDS)
    all_ok(in_one_piece(alice, [("friend_add", {"user": other.name}) for other in others]))
    for replies in many.act(others, lambda _: [("friend_answer", {"user": alice.user.name, "accept": True})]):
        all_ok(replies)
    assert [entry["user"] for entry in alice.ok("friend_list")["friends"]] == sorted(other.name for other in others)
    alice.barrier()

    zoe.ok("friend_add", user=alice.user.name)              # alice answers
    too_many(alice, alice.request("friend_answer", user=zoe.user.name, accept=True))
    too_many(alice, alice.request("friend_add", user=zoe.user.name))        # as good as an answer
    alice.ok("friend_add", user=yves.user.name)             # the other one answers
    too_many(yves, yves.request("friend_answer", user=alice.user.name, accept=True))
    too_many(yves, yves.request("friend_add", user=alice.user.name))
    assert requests_to(alice, connect) == [zoe.user.name] and requests_to(yves, connect) == [alice.user.name]
    assert [push.name for push in yves.barrier()] == ["friend_request"]
    zoe.expect_nothing()

    yves.ok("friend_answer", user=alice.user.name, accept=False)
    alice.ok("friend_remove", user=others[3].name)
    alice.ok("friend_answer", user=zoe.user.name, accept=True)
    zoe.push("friend_event", user=alice.user.name, event="accepted")
    assert len(alice.ok("friend_list")["friends"]) == FRIENDS


# --- Groups

@rule("A-9", "G-1", "G-2")
@needs("groups")
def test_groups_of_one_user(users, group, name):
    """256, created and joined ones together; one that is left or dismissed makes room, joining again takes none."""
    alice, bob = users(2)
    theirs = [group(bob) for _ in range(3)]
    own = [name("room") for _ in range(GROUPS - 2)]
    all_ok(in_one_piece(alice, [("group_create", {"group": one}) for one in own]))
    for one in theirs[:2]:
        alice.ok("group_join", group=one)
    extra = name("extra")
    too_many(alice, alice.request("group_create", group=extra))
    too_many(alice, alice.request("group_join", group=theirs[2]))
    assert sorted(own + theirs[:2], key=str.encode) == [one["group"] for one in alice.ok("group_list")["groups"]]
    bob.expect("group_info", "group_not_exist", group=extra)
    alice.ok("group_join", group=theirs[0])
    alice.expect_failure("group_create", "group_exists", group=own[0])
    alice.ok("group_leave", group=theirs[0])
    alice.ok("group_join", group=theirs[2])
    too_many(alice, alice.request("group_create", group=extra))
    alice.ok("group_dismiss", group=own[0])
    alice.ok("group_create", group=extra)
    too_many(alice, alice.request("group_join", group=theirs[0]))
    bob.ok("group_kick", group=theirs[1], user=alice.user.name)
    alice.ok("group_join", group=theirs[0])
    all_ok(in_one_piece(alice, [("group_dismiss", {"group": own[1]}), ("group_create", {"group": own[0]}),
                                ("group_dismiss", {"group": own[2]}), ("group_create", {"group": own[1]})]))
    too_many(alice, alice.request("group_create", group=own[2]))


@rule("M-9", "A-9")
@needs("groups", "messages", "history")
def test_at_most_256_unread_conversations(users, name, connect):
    """The newest ones; when one of them is read, the oldest is there again."""
    alice, bob, carol = users(3)
    rooms = [name("room") for _ in range(GROUPS)]
    all_ok(in_one_piece(bob, [("group_create", {"group": one}) for one in rooms]))
    all_ok(in_one_piece(alice, [("group_join", {"group": one}) for one in rooms]))
    carol.ok("private_chat", user_to=alice.user.name, text="the oldest")
    all_ok(in_one_piece(bob, [("group_chat", {"group": one, "text": "hi"}) for one in rooms]))
    listed = alice.ok("unread")["unread"]
    assert listed == [{"group": one, "count": 1, "latest": 1} for one in reversed(rooms)]
    assert connect().login(alice.user)["unread"] == listed
    alice.ok("read", group=rooms[9], msg_id=1)
    listed = alice.ok("unread")["unread"]
    assert len(listed) == UNREAD and listed[-1] == {"user": carol.user.name, "count": 1, "latest": 1}


@rule("M-9")
@needs("messages", "history")
def test_at_most_256_unread_private_conversations(users, crowd):
    """Of 257 who wrote, the first one is left out, until another one's messages are read."""
    alice, carol = users(2)
    carol.ok("private_chat", user_to=alice.user.name, text="the oldest")
    many = crowd()
    others = many.register(UNREAD)
    for replies in many.act(others, lambda _: [("private_chat", {"user_to": alice.user.name, "text": "hi"})]):
        all_ok(replies)
    listed = [entry["user"] for entry in alice.ok("unread")["unread"]]
    assert sorted(listed) == sorted(other.name for other in others)
    assert listed == [push["user_from"] for push in reversed(alice.barrier()[1:])]
    alice.ok("read", user=listed[100], msg_id=1)
    again = [entry["user"] for entry in alice.ok("unread")["unread"]]
    assert again == listed[:100] + listed[101:] + [carol.user.name]


# --- Members

@pytest.fixture
def great_group(start_server, online, crowd, name):
    """great_group(n) -> (a server, its owner, the group, its crowd, its other members). With `--store memory`: here it
    is the number that counts, and every member registers, logs in and joins."""
    def make(members):
        server = start_server("--store", "memory", "--login-timeout", "600")   # the owner logs in again at the end
        owner = online("owner", server)
        room = name("great")
        owner.ok("group_create", group=room)
        owner.ok("logout")
        many = crowd(server)
        others = []
        for _ in range(0, members - 1, PAGE):
            some = many.register(min(PAGE, members - 1 - len(others)), "m")
            for replies in many.act(some, lambda _: [("group_join", {"group": room})]):
                all_ok(replies)
            others += some
        owner.login(owner.user)
        return server, owner, room, many, others

    return make


@rule("G-6")
@needs("groups")
def test_a_list_of_members_holds_a_thousand(great_group):
    """Of 2,001 members: three pages, in byte order, each member once."""
    _, owner, room, _, others = great_group(2 * PAGE + 1)
    names = sorted([owner.user.name, *(other.name for other in others)], key=str.encode)
    info = owner.ok("group_info", group=room)
    assert (info["members"], info["count"]) == (names[:PAGE], len(names))
    for start in (1, PAGE - 1, PAGE, PAGE + 1, 2 * PAGE, 2 * PAGE + 1):
        info = owner.ok("group_info", group=room, after=names[start - 1])
        assert (info["members"], info["count"]) == (names[start:start + PAGE], len(names))


@rule("A-9", "G-2")
@needs("groups")
def test_members_of_one_group(great_group, online, leave_out):
    """10,000; one more is refused until one leaves, and is told to nobody. A member may join again all the same."""
    if scaled(1) > 2:
        leave_out("10,000 members take too long where everything is slow")
    server, owner, room, many, others = great_group(MEMBERS)
    zoe = online("zoe", server)
    assert owner.ok("group_info", group=room)["count"] == MEMBERS
    too_many(zoe, zoe.request("group_join", group=room))
    owner.expect_nothing()
    (replies,) = many.act(others[:1], lambda _: [("group_join", {"group": room}), ("group_leave", {"group": room})])
    all_ok(replies)
    zoe.ok("group_join", group=room)
