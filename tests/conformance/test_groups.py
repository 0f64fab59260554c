"""Groups: create, join, leave, kick, dismiss, and who is told (section G; members by the thousand and the number of
groups: test_account_limits.py)."""

import pytest

from harness import needs, rule
from harness.together import at_once


def groups_of(client):
    return [entry["group"] for entry in client.ok("group_list")["groups"]]


def members_of(client, group):
    info = client.ok("group_info", group=group)
    assert info["count"] == len(info["members"])
    return info["members"]


def names(*clients):
    return sorted((client.user.name for client in clients), key=str.encode)


def all_nothing(*clients):
    for client in clients:
        client.expect_nothing()


# --- G-1

@rule("G-1", "G-6")
def test_creating_a_group(users, name):
    """The user is its owner and first member."""
    (alice,) = users(1)
    room = name("room")
    alice.ok("group_create", group=room, title="A room")
    info = alice.ok("group_info", group=room)
    assert (info["owner"], info["title"], info["members"]) == (alice.user.name, "A room", [alice.user.name])
    assert alice.ok("group_list")["groups"] == [{"group": room, "title": "A room"}]
    alice.expect_nothing()


@rule("G-1")
def test_a_taken_name(users, group):
    """Of the owner's own group as well; it stays as it is."""
    alice, bob = users(2)
    room = group(alice, title="the first")
    for client in (bob, alice):
        client.expect_failure("group_create", "group_exists", group=room, title="the second")
    assert groups_of(bob) == []
    info = alice.ok("group_info", group=room)
    assert (info["title"], info["owner"], info["count"]) == ("the first", alice.user.name, 1)
    alice.expect_nothing()


@rule("G-1")
def test_several_who_create_one_group_at_the_same_time(users, name):
    """Exactly one succeeds."""
    clients = users(4)
    for _ in range(3):
        room = name("room")
        replies = at_once([(client, "group_create", {"group": room}) for client in clients])
        results = [reply.result for reply in replies]
        assert sorted(results) == ["failure"] * 3 + ["success"]
        owner = clients[results.index("success")]
        assert owner.ok("group_info", group=room)["owner"] == owner.user.name
        assert members_of(owner, room) == [owner.user.name]


@rule("G-1")
def test_a_group_may_be_named_as_a_user(users):
    """The two kinds of names have nothing to do with each other."""
    alice, bob = users(2)
    alice.ok("group_create", group=bob.user.name)
    alice.ok("group_create", group=alice.user.name)
    bob.expect("group_info", "not_member", group=bob.user.name)


# --- G-2

@rule("G-2")
def test_joining(users, group):
    """Any user may."""
    alice, bob, carol = users(3)
    room = group(alice, title="A room")
    for client in (carol, bob):
        client.ok("group_join", group=room)
    assert members_of(bob, room) == names(alice, bob, carol)
    assert bob.ok("group_list")["groups"] == [{"group": room, "title": "A room"}]


@rule("G-2", "G-5")
def test_joining_again(users, online, group):
    """Success and no event, also for the owner."""
    alice, bob = users(2)
    bob_two = online(user=bob.user)
    room = group(alice, bob)
    bob_two.barrier()
    for client in (bob, bob_two, alice):
        client.ok("group_join", group=room)
    all_nothing(alice, bob, bob_two)
    assert members_of(alice, room) == names(alice, bob)


UNKNOWN = [("group_join", {}), ("group_leave", {}), ("group_info", {}), ("group_kick", {"user": "somebody"}),
           ("group_dismiss", {}), ("group_chat", {"text": "hi"}), ("history", {}), ("read", {"msg_id": 0}),
           ("typing", {})]


@rule("G-2")
@needs("messages", "history")
@pytest.mark.parametrize("cmd, more", UNKNOWN, ids=[cmd for cmd, _ in UNKNOWN])
def test_an_unknown_group(users, group, name, cmd, more):
    """Also one that has been dismissed."""
    (alice,) = users(1)
    room = group(alice)
    alice.ok("group_dismiss", group=room)
    for unknown in (name("nothing"), room):
        alice.expect(cmd, "group_not_exist", group=unknown, **more)


# --- G-3

@rule("G-3")
def test_leaving(users, group):
    alice, bob, carol = users(3)
    room = group(alice, bob, carol)
    bob.ok("group_leave", group=room)
    assert members_of(alice, room) == names(alice, carol)
    assert groups_of(bob) == []
    bob.expect("group_info", "not_member", group=room)


@rule("G-3")
def test_the_owner_cannot_leave(users, group):
    """Not even when nobody else is left."""
    alice, bob = users(2)
    room = group(alice, bob)
    alice.expect_failure("group_leave", "owner", group=room)
    bob.expect_nothing()
    bob.ok("group_leave", group=room)
    alice.push("group_event")
    alice.expect_failure("group_leave", "owner", group=room)
    assert members_of(alice, room) == [alice.user.name]


@rule("G-3")
def test_leaving_without_being_a_member(users, group):
    """Never been one, or not any more."""
    alice, bob, carol = users(3)
    room = group(alice, bob)
    bob.ok("group_leave", group=room)
    alice.push("group_event")
    for client in (bob, carol):
        client.expect("group_leave", "not_member", group=room)
    all_nothing(alice, bob, carol)


@rule("G-3", "G-2")
def test_coming_back(users, group):
    alice, bob = users(2)
    room = group(alice, bob)
    for _ in range(2):
        bob.ok("group_leave", group=room)
        bob.ok("group_join", group=room)
    assert [push["event"] for push in alice.barrier()] == ["left", "joined"] * 2
    assert members_of(alice, room) == names(alice, bob)


# --- G-4

@rule("G-4")
def test_kick(users, group):
    alice, bob, carol = users(3)
    room = group(alice, bob, carol)
    alice.ok("group_kick", group=room, user=bob.user.name)
    assert members_of(alice, room) == names(alice, carol)
    assert groups_of(bob) == []
    bob.expect("group_info", "not_member", group=room)


@rule("G-4")
@pytest.mark.parametrize("cmd", ["group_kick", "group_dismiss"])
def test_only_the_owner_may(users, group, cmd):
    """Neither a member nor a stranger; whom they would kick does not matter: themselves, the owner, nobody."""
    alice, bob, carol, dave = users(4)
    room = group(alice, bob, carol)
    for client in (bob, dave):
        for other in (carol, alice, client) if cmd == "group_kick" else (None,):
            client.expect(cmd, "not_owner", group=room, **({"user": other.user.name} if other else {}))
    all_nothing(alice, bob, carol)
    assert members_of(alice, room) == names(alice, bob, carol)


@rule("G-4", "Q-9")
def test_kicking_by_one_who_may_not(users, group, name):
    """Comes before whether the user is a member."""
    alice, bob = users(2)
    room = group(alice, bob)
    bob.expect("group_kick", "not_owner", group=room, user=name("nobody"))


@rule("G-4")
def test_kicking_the_owner(users, group):
    alice, bob = users(2)
    room = group(alice, bob)
    alice.expect_bad("group_kick", "user", group=room, user=alice.user.name)
    bob.expect_nothing()
    assert members_of(alice, room) == names(alice, bob)


@rule("G-4")
def test_kicking_one_who_is_no_member(users, group, name):
    """A stranger, one who was kicked already, and a name that nobody has."""
    alice, bob, carol, dave = users(4)
    room = group(alice, bob, carol)
    alice.ok("group_kick", group=room, user=bob.user.name)
    carol.push("group_event", event="kicked")
    for other in (dave.user.name, bob.user.name, name("nobody")):
        alice.expect("group_kick", "not_member", group=room, user=other)
    all_nothing(alice, carol, dave)


@rule("G-4", "G-2")
def test_one_who_was_kicked_may_join_again(users, group):
    alice, bob = users(2)
    room = group(alice, bob)
    alice.ok("group_kick", group=room, user=bob.user.name)
    bob.ok("group_join", group=room)
    assert members_of(bob, room) == names(alice, bob)


@rule("G-4", "G-5")
def test_dismiss(users, group):
    alice, bob = users(2)
    room, other = group(alice, bob), group(alice, bob)
    alice.ok("group_dismiss", group=room)
    assert groups_of(alice) == groups_of(bob) == [other]
    alice.expect("group_info", "group_not_exist", group=room)
    alice.expect("group_dismiss", "group_not_exist", group=room)


# --- G-5: who is told. The one who asks has another session, and so has each of the others.

@pytest.fixture
def seen(users, online, group):
    """A group of alice's with bob and carol; dave is a stranger. Each has two sessions."""
    class Seen:
        def __init__(self):
            self.alice, self.bob, self.carol, self.dave = self.first = users(4)
            self.second = [online(user=client.user, label=f"second {client.label}") for client in self.first]
            self.group = group(self.alice, self.bob, self.carol)
            for client in (*self.first, *self.second):
                client.barrier()

        def told(self, event, user, *, asked, members, group=None):
            """All sessions of `members` get this event once, but the one that asked; nobody else gets anything."""
            for first, second in zip(self.first, self.second):
                for session in (first, second):
                    if first in members and session is not asked:
                        session.push("group_event", group=group or self.group, user=user.user.name, event=event)
                    session.expect_nothing()

    return Seen()


@rule("G-5", "G-1")
def test_who_is_told_of_a_creation(seen, name):
    room = name("room")
    seen.alice.ok("group_create", group=room)
    seen.told("joined", seen.alice, asked=seen.alice, members=[seen.alice], group=room)


@rule("G-5", "G-2")
def test_who_is_told_when_one_joins(seen):
    seen.dave.ok("group_join", group=seen.group)
    seen.told("joined", seen.dave, asked=seen.dave, members=[seen.alice, seen.bob, seen.carol, seen.dave])


@rule("G-5", "G-3")
def test_who_is_told_when_one_leaves(seen):
    """The one who left, too: was a member before."""
    seen.bob.ok("group_leave", group=seen.group)
    seen.told("left", seen.bob, asked=seen.bob, members=[seen.alice, seen.bob, seen.carol])


@rule("G-5", "G-4")
def test_who_is_told_when_one_is_kicked(seen):
    """The one who was kicked, too."""
    seen.alice.ok("group_kick", group=seen.group, user=seen.carol.user.name)
    seen.told("kicked", seen.carol, asked=seen.alice, members=[seen.alice, seen.bob, seen.carol])


@rule("G-5", "G-4")
def test_who_is_told_of_a_dismissal(seen):
    seen.alice.ok("group_dismiss", group=seen.group)
    seen.told("dismissed", seen.alice, asked=seen.alice, members=[seen.alice, seen.bob, seen.carol])


@rule("G-5")
def test_who_is_told_what_after_one_has_gone(seen):
    """The events of the others go on, and the one who has gone gets none."""
    seen.alice.ok("group_kick", group=seen.group, user=seen.bob.user.name)
    for client in (*seen.first, *seen.second):
        client.barrier()
    seen.dave.ok("group_join", group=seen.group)
    seen.told("joined", seen.dave, asked=seen.dave, members=[seen.alice, seen.carol, seen.dave])
    seen.alice.ok("group_dismiss", group=seen.group)
    seen.told("dismissed", seen.alice, asked=seen.alice, members=[seen.alice, seen.carol, seen.dave])


@rule("G-5", "Q-2")
def test_events_are_in_the_order_of_the_changes(users, group):
    alice, bob, carol = users(3)
    room = group(alice, carol)
    bob.send_many([("group_join", {"group": room}), ("group_leave", {"group": room})] * 5)
    for _ in range(10):
        bob.must(bob.reply(), "success")
    for client in (alice, carol):
        assert [push["event"] for push in client.barrier()] == ["joined", "left"] * 5


@rule("G-5", "G-2")
def test_one_who_logs_in_later_is_told(users, online, group):
    """A session gets the events of its user's groups, also those joined before it began."""
    alice, bob, carol = users(3)
    room = group(alice, bob)
    bob.ok("logout")
    bob.login(bob.user)
    carol.ok("group_join", group=room)
    bob.push("group_event", group=room, user=carol.user.name, event="joined")
    bob.ok("logout")
    carol.ok("group_leave", group=room)
    bob.expect_nothing()


# --- G-5: what dismissing ends

@rule("G-5", "M-8", "M-1")
@needs("messages", "history")
def test_the_name_of_a_dismissed_group_is_free(users, group):
    """For anybody, and it is another group: owner, title, members, messages and their numbers are new."""
    alice, bob, carol = users(3)
    room = group(alice, bob, title="the first")
    for number in range(3):
        alice.ok("group_chat", group=room, text=f"old {number}")
    alice.ok("group_dismiss", group=room)
    carol.ok("group_create", group=room, title="the second")
    info = carol.ok("group_info", group=room)
    assert (info["owner"], info["title"], info["members"]) == (carol.user.name, "the second", [carol.user.name])
    assert carol.ok("history", group=room)["messages"] == []
    for client in (alice, bob):
        client.expect("group_chat", "not_member", group=room, text="hi")
        client.expect("history", "not_member", group=room)
        client.barrier()
    assert carol.ok("group_chat", group=room, text="new")["msg_id"] == 1
    all_nothing(alice, bob)


@rule("G-5", "M-9")
@needs("messages", "history")
def test_read_marks_of_a_dismissed_group_are_gone(users, group):
    """In the new group of the name, the new messages are unread."""
    alice, bob = users(2)
    room = group(alice, bob)
    for _ in range(3):
        alice.ok("group_chat", group=room, text="old")
    bob.ok("read", group=room, msg_id=3)
    alice.ok("group_chat", group=room, text="old")
    alice.ok("group_dismiss", group=room)
    assert bob.ok("unread")["unread"] == []
    bob.ok("group_create", group=room)
    alice.ok("group_join", group=room)
    alice.ok("group_chat", group=room, text="new")
    assert bob.ok("unread")["unread"] == [{"group": room, "count": 1, "latest": 1}]
    bob.expect_bad("read", "msg_id", group=room, msg_id=2)


# --- G-6

@rule("G-6")
def test_info_is_for_members(users, group):
    """Others learn nothing, whatever `after` they ask for."""
    alice, bob = users(2)
    room = group(alice)
    for more in ({}, {"after": "a"}):
        reply = bob.expect("group_info", "not_member", group=room, **more)
        assert alice.user.name not in str(reply)
    alice.ok("group_info", group=room)


@rule("G-6", "C-4")
def test_members_after(connect, users, group, name):
    """Those strictly above it in byte order; it need not be a member, nor a name at all. `count` is that of all."""
    (alice,) = users(1)
    room = group(alice)
    client = connect()
    members = [alice.user.name]
    for end in ("b", "B", "-", ".", "_", "0", "bb", ""):
        one = f"zz{end}{name('')}"[:32] if end else name("zz")
        for cmd in ("register", "login"):
            client.ok(cmd, user=one, passwd="kettle")
        client.ok("group_join", group=room)
        client.ok("logout")
        members.append(one)
    members.sort(key=str.encode)
    assert members_of(alice, room) == members
    for after in (*members, "zz", "a", "z", "~", "zzz", "\u00e9", "zz ", members[3][:-1], members[3] + "0"):
        info = alice.ok("group_info", group=room, after=after[:32])
        expected = [member for member in members if member.encode() > after[:32].encode()]
        assert (info["members"], info["count"]) == (expected, len(members)), f"after {after!r}"
