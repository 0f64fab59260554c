"""The commands and their fields (section C, Q-3), from the tables in harness/fields.py and harness/protocol.py."""

import json

import pytest

from harness import needs, rule
from harness.fields import FIELDS, KINDS, TARGETS, ordinary
from harness.protocol import BEFORE_LOGIN, command_needs

WITH_FIELDS = [cmd for cmd, fields in FIELDS.items() if fields]
OWN_RULES = {"read": "msg_id", "private_chat": "user_from"}     # good in form, and then refused by M-9, M-2


@pytest.fixture
def asker(connect, online):
    """asker(cmd) -> a client that may send it: logged in, unless that is what would be wrong."""
    return lambda cmd: connect() if cmd in BEFORE_LOGIN else online()


def marked(cmd, *values, ident):
    return pytest.param(cmd, *values, id=f"{cmd}-{ident}", marks=needs(*command_needs(cmd)))


def with_fields():
    return [marked(cmd, ident=len(FIELDS[cmd])) for cmd in WITH_FIELDS]


def each_field(want=lambda cmd, field: True):
    return [marked(cmd, field, ident=field.name) for cmd in WITH_FIELDS for field in FIELDS[cmd] if want(cmd, field)]


# --- Q-3, one field wrong

@rule("Q-3", "C-5")
@pytest.mark.parametrize("cmd, field", each_field(lambda cmd, field: not field.optional))
def test_a_missing_field(asker, cmd, field):
    fields = ordinary(cmd, optional=True)
    del fields[field.name]
    asker(cmd).expect_bad(cmd, field.name, **fields)


@rule("Q-3", "C-5")
@pytest.mark.parametrize("cmd, field", each_field())
def test_a_field_of_a_wrong_type(asker, cmd, field):
    """null among them, also for an optional field."""
    client = asker(cmd)
    for wrong in field.values.wrong:
        client.expect_bad(cmd, field.name, **{**ordinary(cmd, optional=True), field.name: wrong})


@rule("Q-3", "C-1", "C-2", "C-5")
@pytest.mark.parametrize("cmd, field", each_field(lambda cmd, field: field.values.bad))
def test_a_field_out_of_its_range(asker, cmd, field):
    """Just past each boundary; lengths count bytes, not characters."""
    client = asker(cmd)
    for bad in field.values.bad:
        client.expect_bad(cmd, field.name, **{**ordinary(cmd, optional=True), field.name: bad})


@rule("Q-3", "C-1", "C-2", "C-5")
@pytest.mark.parametrize("cmd, field", each_field(lambda cmd, field: field.name != OWN_RULES.get(cmd)))
def test_a_field_at_its_boundary(asker, cmd, field):
    """Acceptable: whatever the answer is, it does not name this field."""
    client = asker(cmd)
    for good in field.values.good:
        fields = {**ordinary(cmd), field.name: good}
        if cmd == "login":
            fields["user"] = ordinary(cmd)["user"] if field.name == "passwd" else good
        reply = client.request(cmd, **fields)
        refused = reply.result == "bad_request" and reply["field"] == field.name
        assert not refused and reply.result not in ("bad_json", "server_error"), (
            f"{field.name}={good!r} is acceptable, and was answered {reply}")
        if reply.result == "success" and cmd == "login":
            client.ok("logout")


@rule("Q-3", "C-1")
@pytest.mark.parametrize("literal", [b"1.0", b"1e0", b"1E2", b"10e-1", b"0.0", b"-0.0", b"2.5"], ids=bytes.decode)
@pytest.mark.parametrize("cmd, field, rest", [
    marked("profile_set", "age", b"", ident="age"),
    marked("history", "limit", b'"user":"nobody",', ident="limit"),
    marked("history", "before", b'"user":"nobody",', ident="before"),
    marked("history", "after", b'"user":"nobody",', ident="after"),
    marked("read", "msg_id", b'"user":"nobody",', ident="msg_id"),
])
def test_a_number_with_fraction_or_exponent_is_no_integer(online, cmd, field, rest, literal):
    client = online()
    reply = client.reply(client.send_frame(cmd, b'{%s"%s":%s}' % (rest, field.encode(), literal)))
    client.must(reply, "bad_request", field=field)


@rule("Q-3")
@needs("accounts")
def test_minus_zero_is_an_integer(online):
    client = online()
    client.must(client.reply(client.send_frame("profile_set", b'{"age":-0}')), "success")
    assert client.ok("profile_get", user=client.user.name)["age"] == 0


# --- Q-3, which of several

@rule("Q-3", "C-5")
@pytest.mark.parametrize("cmd", with_fields())
def test_the_first_offender_is_named(asker, cmd):
    """All fields from the first, the second, … on are wrong; sent in turned order, which must not matter."""
    client = asker(cmd)
    fields = FIELDS[cmd]
    for first in range(len(fields)):
        values = ordinary(cmd, optional=True)
        values.update({field.name: None for field in fields[first:]})
        client.expect_bad(cmd, fields[first].name, **dict(reversed(values.items())))


@rule("Q-3", "C-5")
@pytest.mark.parametrize("cmd", with_fields())
def test_a_missing_field_before_a_wrong_one(asker, cmd):
    client = asker(cmd)
    required = [field for field in FIELDS[cmd] if not field.optional]
    for missing in required:
        place = FIELDS[cmd].index(missing)
        values = ordinary(cmd, optional=True)
        values.update({field.name: [] for field in FIELDS[cmd][place + 1:]})
        del values[missing.name]
        client.expect_bad(cmd, missing.name, **values)


@rule("Q-3")
@pytest.mark.parametrize("cmd", with_fields())
def test_unknown_fields_are_ignored(asker, cmd):
    """Of any type and name, before and after the known ones, names that only look like known ones too."""
    client = asker(cmd)
    plain = client.request(cmd, **ordinary(cmd))
    if cmd == "login" and plain.result == "success":
        client.ok("logout")
    extra = {"x": None, "": 1, "User": 1, "user ": 2, "usernames": [], "result": {"a": [1]}, "cmd": 7, "seq": "x",
             "é": 1.5, "user\x01": True}
    reply = client.reply(client.send_frame(cmd, {**extra, **ordinary(cmd), "zzz": [[[]]]}))
    accepted = {"failure"} if cmd in ("register", "group_create") else {plain.result}
    assert reply.result in accepted | {plain.result}


# --- C-3

TARGET_COMMANDS = [marked(cmd, {"msg_id": 1} if cmd == "read" else {}, ident="target") for cmd in TARGETS]


@rule("C-3", "Q-3")
@pytest.mark.parametrize("cmd, more", TARGET_COMMANDS)
def test_neither_user_nor_group(online, cmd, more):
    online().expect_bad(cmd, "user", **more)


@rule("C-3", "Q-3")
@pytest.mark.parametrize("cmd, more", TARGET_COMMANDS)
def test_both_user_and_group(online, cmd, more):
    client = online()
    client.expect_bad(cmd, "user", user="somebody", group="something", **more)
    client.expect_bad(cmd, "user", user=client.user.name, group="-", **more)
    client.expect_bad(cmd, "user", group="something", user=None, **more)


@rule("C-3", "Q-3", "C-1")
@pytest.mark.parametrize("cmd, more", TARGET_COMMANDS)
@needs("groups")
def test_a_group_that_is_no_name(online, cmd, more):
    """Then `group` is the offender."""
    client = online()
    for bad in (*KINDS["name"].bad, *KINDS["name"].wrong):
        client.expect_bad(cmd, "group", group=bad, **more)


@rule("C-3", "Q-3")
@pytest.mark.parametrize("cmd, more", TARGET_COMMANDS)
@needs("groups")
def test_a_group_in_place_of_a_user(online, name, cmd, more):
    client = online()
    client.expect(cmd, "group_not_exist", group=name("group"), **more)
    client.expect(cmd, "user_not_exist", user=name("user"), **more)


# --- C-1, C-2: names and profiles

@rule("C-1")
@needs("accounts")
def test_user_names_are_case_sensitive(connect, name):
    client = connect()
    lower = name("case")
    upper = lower.upper()
    client.ok("register", user=lower, passwd="lower")
    client.ok("register", user=upper, passwd="UPPER")
    client.expect("login", "passwd_error", user=upper, passwd="lower")
    assert client.ok("login", user=upper, passwd="UPPER")["user"] == upper


@rule("C-1")
@needs("groups")
def test_group_names_are_case_sensitive(users, group, name):
    (alice,) = users(1)
    lower = name("case")
    alice.ok("group_create", group=lower)
    alice.ok("group_create", group=lower.upper())
    alice.ok("group_dismiss", group=lower)
    alice.ok("group_info", group=lower.upper())


@rule("C-1")
@needs("accounts")
def test_a_password_of_128_bytes_counts_to_the_last(connect, name):
    client = connect()
    alice = name("alice")
    passwd = "é" * 63 + "ab"
    client.ok("register", user=alice, passwd=passwd)
    client.expect("login", "passwd_error", user=alice, passwd=passwd[:-1] + "c")
    client.expect("login", "passwd_error", user=alice, passwd=passwd[:-1])
    client.ok("login", user=alice, passwd=passwd)


@rule("C-2")
@needs("accounts")
def test_profile_fields_that_were_never_set(online):
    client = online()
    profile = client.ok("profile_get", user=client.user.name)
    assert {key: profile[key] for key in ("name", "sex", "age", "address", "email")} == {
        "name": "", "sex": "", "age": 0, "address": "", "email": ""}


@rule("C-2", "C-5")
@needs("accounts")
@pytest.mark.parametrize("field", FIELDS["profile_set"], ids=lambda field: field.name)
def test_profile_fields_come_back_as_they_were_set(online, connect, name, field):
    """Each good value, by profile_set and by register."""
    client = online()
    for good in field.values.good:
        client.ok("profile_set", **{field.name: good})
        assert client.ok("profile_get", user=client.user.name)[field.name] == good
        other = name("user")
        client.ok("register", user=other, passwd="kettle", **{field.name: good})
        with connect() as second:
            second.ok("login", user=other, passwd="kettle")
            assert second.ok("profile_get", user=other)[field.name] == good


# --- C-4

@rule("C-4", "C-1")
@needs("groups")
def test_groups_in_byte_order(users, name):
    """Byte order: capitals before small letters, digits before both, - and . before digits, _ between."""
    (alice,) = users(1)
    stem = name("g")
    names = [f"{stem}{end}" for end in ("b", "B", "a", "_", "9", "-", ".", "aa", "a-", "Z", "")]
    for one in names:
        alice.ok("group_create", group=one)
    listed = [entry["group"] for entry in alice.ok("group_list")["groups"]]
    assert listed == sorted(names, key=str.encode)


@rule("C-4")
@needs("groups")
def test_a_group_without_title(users, name):
    (alice,) = users(1)
    room = name("group")
    alice.ok("group_create", group=room)
    assert alice.ok("group_info", group=room)["title"] == ""
    assert alice.ok("group_list")["groups"] == [{"group": room, "title": ""}]


@rule("C-4", "P-1")
@needs("friends")
def test_a_friend_request_without_text(users):
    alice, bob = users(2)
    alice.ok("friend_add", user=bob.user.name)
    bob.push("friend_request", user=alice.user.name, text="")


@rule("C-4", "A-3", "P-1")
@needs("friends")
def test_friend_requests_are_oldest_first(users, connect):
    """And friends in byte order of the name."""
    bob, *askers = users(5)
    for asker in reversed(askers):
        asker.ok("friend_add", user=bob.user.name, text=f"I am {asker.label}")
    asked = [(asker.user.name, f"I am {asker.label}") for asker in reversed(askers)]
    reply = connect().login(bob.user)
    assert [(entry["user"], entry["text"]) for entry in reply["requests"]] == asked
    for asker in askers[2], askers[0], askers[3]:
        bob.ok("friend_answer", user=asker.user.name, accept=True)
    listed = [entry["user"] for entry in bob.ok("friend_list")["friends"]]
    assert listed == sorted([askers[0].user.name, askers[2].user.name, askers[3].user.name])


# --- C-5, C-6: what a reply or a push holds. The harness checks names and types of the fields of each that comes;
#     here each comes once, and what its values mean is looked at.

@rule("C-5")
def test_ping_tells_the_time(connect):
    """Unix milliseconds: later than 2024, and not going back by much."""
    client = connect()
    first, second = client.ok("ping")["time"], client.ok("ping")["time"]
    assert 1_704_067_200_000 < first < 32_503_680_000_000
    assert second >= first - 1000


@rule("C-5")
@pytest.mark.parametrize("cmd", ["register", "logout", "passwd", "profile_set"])
@needs("accounts")
def test_a_reply_without_fields(online, name, cmd):
    """Nothing but the result is asked for; no password comes back (A-10)."""
    client = online()
    fields = {"register": {"user": name(), "passwd": "a secret"},
              "passwd": {"old": client.user.passwd, "new": "a secret"}}
    reply = client.ok(cmd, **fields.get(cmd, {}))
    assert "secret" not in json.dumps(reply.payload)


@rule("C-5", "G-1")
@needs("groups")
def test_group_info(users, name, group):
    alice, bob = users(2)
    before = alice.ok("ping")["time"]
    room = group(alice, bob, title="Tea \"break\" ☕")
    info = alice.ok("group_info", group=room)
    assert before - 1000 <= info["created"] <= alice.ok("ping")["time"] + 1000
    del info.payload["created"]
    assert info.payload == {"result": "success", "group": room, "title": "Tea \"break\" ☕", "owner": alice.user.name,
                            "count": 2, "members": sorted([alice.user.name, bob.user.name])}


@rule("C-6", "M-4")
@needs("messages")
def test_the_push_of_a_private_message(users):
    """Has the very msg_id and time of the reply, and no id of the sender's."""
    alice, bob = users(2)
    reply = alice.ok("private_chat", user_to=bob.user.name, text="hi", id="an-id", user_from=alice.user.name)
    push = bob.push("private_chat_recv")
    assert push.payload == {"user_from": alice.user.name, "user_to": bob.user.name, "text": "hi",
                            "msg_id": reply["msg_id"], "time": reply["time"]}


@rule("C-6", "M-4")
@needs("groups", "messages")
def test_the_push_of_a_group_message(users, group):
    alice, bob = users(2)
    room = group(alice, bob)
    reply = alice.ok("group_chat", group=room, text="hi", id="an-id")
    push = bob.push("group_chat_recv")
    assert push.payload == {"group": room, "user_from": alice.user.name, "text": "hi", "msg_id": reply["msg_id"],
                            "time": reply["time"]}


@rule("C-6", "G-5")
@needs("groups")
def test_the_push_of_a_group_event(users, group):
    alice, bob = users(2)
    room = group(alice)
    bob.ok("group_join", group=room)
    assert alice.push("group_event").payload == {"group": room, "user": bob.user.name, "event": "joined"}


@rule("C-6", "M-10")
@needs("groups", "messages")
def test_the_push_of_typing(users, group):
    alice, bob = users(2)
    room = group(alice, bob)
    alice.ok("typing", user=bob.user.name)
    assert bob.push("typing_event").payload == {"user": alice.user.name}
    alice.ok("typing", group=room)
    assert bob.push("typing_event").payload == {"user": alice.user.name, "group": room}


@rule("C-6", "P-1", "P-2")
@needs("friends")
def test_the_pushes_of_friends(users):
    alice, bob = users(2)
    alice.ok("friend_add", user=bob.user.name, text="hi")
    assert bob.push("friend_request").payload == {"user": alice.user.name, "text": "hi"}
    bob.ok("friend_answer", user=alice.user.name, accept=True)
    assert alice.push("friend_event").payload == {"user": bob.user.name, "event": "accepted"}
    bob.ok("logout")
    assert alice.push("presence").payload == {"user": bob.user.name, "online": False}


@rule("C-6", "M-9")
@needs("messages", "history", "groups")
def test_the_push_of_a_read_mark(users, group):
    """`peer` is the other user of the conversation, seen from the one whose mark it is: here alice herself."""
    alice, bob = users(2)
    alice.ok("private_chat", user_to=bob.user.name, text="hi")
    bob.push("private_chat_recv")
    bob.ok("read", user=alice.user.name, msg_id=1)
    assert alice.push("read_event").payload == {"user": bob.user.name, "peer": alice.user.name, "msg_id": 1}


@rule("C-6", "L-1", "L-2")
@needs("limits")
def test_the_pushes_heartbeat_and_bye(start_server, online):
    """A heartbeat holds nothing; a bye that is no protocol error has no error."""
    server = start_server("--heartbeat", "0.2", "--idle-timeout", "1")
    client = online("alice", server, keep_heartbeats=True)
    assert client.push("heartbeat").payload == {}
    client.keep_heartbeats = False
    client.pushes.clear()
    assert client.expect_bye("idle_timeout").payload == {"reason": "idle_timeout"}
