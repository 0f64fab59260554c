"""Requests and replies: one each, in order, and what is judged before what (section Q)."""

import pytest

from harness import needs, rule
from harness.protocol import BEFORE_LOGIN, CAPABILITIES, COUNTERS, REPLY, REQUESTS, command_needs

UNKNOWN = [0x0000, 0x0004, 0x0100, 0x0107, 0x0205, 0x0308, 0x0400, 0x0407, 0x0501, 0x1001, 0x7fff]
PUSH_NUMBERS = [0x4001, 0x4002, 0x4301, 0x4401]


def commands(*rules, without=()):
    """Every command of section C as a parameter, with the capability that it needs."""
    return [pytest.param(cmd, marks=[rule(*rules), needs(*command_needs(cmd))])
            for cmd in REQUESTS if cmd not in without]


# ---

@rule("Q-1", "F-2")
@pytest.mark.parametrize("seq", [0, 1, 0x7fffffff, 0x80000000, 0xffffffff])
def test_the_reply_has_the_seq_of_the_request(connect, seq):
    client = connect()
    client.send_frame("ping", b"", seq)
    client.must(client.reply(seq), "success")


@rule("Q-1")
def test_one_seq_used_twice_is_answered_twice(connect):
    """seq is the client's affair: the server does not look at it."""
    client = connect()
    for _ in range(3):
        client.send_frame("ping", b"", 7)
    for _ in range(3):
        client.must(client.reply(7), "success")


@rule("Q-1", "Q-5")
@pytest.mark.parametrize("cmd", [*UNKNOWN, *PUSH_NUMBERS], ids=hex)
def test_a_number_that_is_no_request(connect, cmd):
    client = connect()
    client.must(client.reply(client.send_frame(cmd, {})), "unknown_cmd")
    client.ok("ping")


@rule("Q-1")
@pytest.mark.parametrize("cmd", [REPLY | 0x0001, REPLY | 0x0102, REPLY | 0x0401, 0x8000, 0xffff], ids=hex)
def test_a_number_with_the_bit_of_a_reply(connect, cmd):
    client = connect()
    client.must(client.reply(client.send_frame(cmd, {})), "unknown_cmd")
    client.ok("ping")


@rule("Q-1")
@needs("accounts")
def test_unknown_commands_of_one_who_is_logged_in(online):
    client = online()
    for cmd in (0x0000, 0x0407, 0x4401, 0x8401):
        client.must(client.reply(client.send_frame(cmd, {})), "unknown_cmd")


@rule("Q-2")
@needs("accounts")
def test_replies_come_in_order_when_requests_come_without_waiting(connect):
    """Every kind of quick answer mixed; the harness demands the order of the replies."""
    client = connect()
    expected = []
    for number in range(50):
        kind = number % 5
        if kind == 0:
            expected.append((client.send("ping"), "success"))
        elif kind == 1:
            expected.append((client.send_frame("ping", b"{"), "bad_json"))
        elif kind == 2:
            expected.append((client.send_frame(0x7000, {}), "unknown_cmd"))
        elif kind == 3:
            expected.append((client.send("profile_set"), "not_logged_in"))
        else:
            expected.append((client.send("hello", client=1), "bad_request"))
    for seq, result in expected:
        client.must(client.reply(seq), result)


@rule("Q-2")
@needs("accounts")
def test_what_follows_a_slow_request_waits_for_it(connect, name):
    """register and login take long (a hash). What was sent behind them sees their effect, and is answered after."""
    client = connect()
    alice = name("alice")
    seqs = client.send_many([
        ("profile_get", {"user": alice}),
        ("register", {"user": alice, "passwd": "kettle"}),
        ("register", {"user": alice, "passwd": "kettle"}),
        ("login", {"user": alice, "passwd": "wrong one"}),
        ("ping", {}),
        ("login", {"user": alice, "passwd": "kettle"}),
        ("profile_get", {"user": alice}),
        ("logout", {}),
        ("profile_get", {"user": alice}),
    ])
    results = ["not_logged_in", "success", "failure", "passwd_error", "success", "success", "success", "success",
               "not_logged_in"]
    for seq, result in zip(seqs, results):
        client.must(client.reply(seq), result)


@rule("Q-2")
@needs("groups", "messages")
def test_requests_take_effect_in_order(online, name):
    """Create, write, dismiss, create again, all in one piece."""
    client = online("alice")
    group = name("group")
    seqs = client.send_many([
        ("group_chat", {"group": group, "text": "too early"}),
        ("group_create", {"group": group}),
        ("group_chat", {"group": group, "text": "one"}),
        ("group_chat", {"group": group, "text": "two"}),
        ("group_dismiss", {"group": group}),
        ("group_chat", {"group": group, "text": "too late"}),
        ("group_create", {"group": group}),
        ("group_chat", {"group": group, "text": "one again"}),
    ])
    replies = [client.reply(seq) for seq in seqs]
    assert [reply.result for reply in replies] == [
        "group_not_exist", "success", "success", "success", "success", "group_not_exist", "success", "success"]
    assert [reply.get("msg_id") for reply in replies] == [None, None, 1, 2, None, None, None, 1]


# ---

@pytest.mark.parametrize("cmd", commands("Q-4", "Q-9", without=BEFORE_LOGIN))
def test_a_command_before_login(connect, cmd):
    """Whatever its fields are: none, and those of another command."""
    client = connect()
    client.expect(cmd, "not_logged_in")
    client.expect(cmd, "not_logged_in", user="nobody", group="nothing", text="x", user_to="nobody", msg_id=1)


@pytest.mark.parametrize("cmd", commands("Q-4", "A-6", without=BEFORE_LOGIN))
def test_a_command_after_logout(online, cmd):
    client = online()
    client.ok("logout")
    client.expect(cmd, "not_logged_in")


@rule("Q-4")
@needs("accounts")
def test_what_is_served_before_login(connect, name):
    client = connect()
    client.ok("ping")
    client.ok("hello")
    client.ok("register", user=name(), passwd="kettle")
    client.expect("login", "user_not_exist", user=name(), passwd="kettle")


@rule("Q-4")
@needs("accounts")
def test_a_failed_login_serves_nothing(connect, user):
    alice = user("alice")
    client = connect()
    client.expect("login", "passwd_error", user=alice.name, passwd="not the one")
    client.expect("profile_get", "not_logged_in", user=alice.name)


# --- are looked at in every reply; here one of each that is easily had

@rule("Q-5", "Q-6")
@needs("accounts")
def test_each_refusal_has_a_sentence(users, name):
    """The harness checks every reply for `message`, a result of Q-6, and its field; here several kinds meet."""
    (alice,) = users(1)
    refusals = [
        (alice.request("register", user=alice.user.name, passwd="kettle"), "failure"),
        (alice.request("profile_get", user=name()), "user_not_exist"),
        (alice.request("login", user=name(), passwd="kettle"), "already_logged_in"),
        (alice.request("passwd", old="not the one", new="kettle"), "passwd_error"),
        (alice.request("profile_get"), "bad_request"),
    ]
    for reply, result in refusals:
        alice.must(reply, result)
        assert reply["message"].strip(), "a sentence for people is not empty"


# ---

@rule("Q-7", "C-5")
def test_hello(connect):
    reply = connect().ok("hello", client="conformance suite")
    assert reply["protocol"] == 1
    assert reply["server"], "name and version of the server"
    unknown = set(reply["capabilities"]) - CAPABILITIES
    assert not unknown, f"capabilities that Q-7 does not name: {unknown}"
    assert len(set(reply["capabilities"])) == len(reply["capabilities"])


@rule("Q-7")
@needs("accounts")
def test_hello_says_the_same_to_one_who_is_logged_in(connect, online):
    assert online().ok("hello")["capabilities"] == connect().ok("hello")["capabilities"]


@rule("Q-7")
def test_the_stages_have_all_capabilities(program, server, start_server, leave_out):
    """But `durable` with the store in memory. (Section W counts as not claimed while they do not name websocket.)"""
    if not program.strict:
        leave_out("is about the stages of this repository")
    every = CAPABILITIES - {"websocket"}
    assert set(server.hello()["capabilities"]) - {"websocket"} == every
    memory = start_server("--store", "memory")
    assert set(memory.hello()["capabilities"]) - {"websocket"} == every - {"durable"}


# ---

@rule("Q-8")
@needs("messages")
def test_what_a_replied_request_caused_comes_before_the_next_reply(users):
    """Again and again, with a fresh ping each time: a push must never come late."""
    alice, bob = users(2)
    for number in range(50):
        alice.ok("private_chat", user_to=bob.user.name, text=f"message {number}")
        texts = [push["text"] for push in bob.barrier()]
        assert texts == [f"message {number}"]


@rule("Q-8")
@needs("groups", "messages")
def test_every_member_has_it_once_the_sender_has_the_reply(users, group):
    members = users(5)
    room = group(*members)
    for number in range(10):
        sender = members[number % 5]
        sender.ok("group_chat", group=room, text=f"message {number}")
        for member in members:
            pushes = [(push.name, push["text"]) for push in member.barrier()]
            assert pushes == ([] if member is sender else [("group_chat_recv", f"message {number}")])


@rule("Q-10")
@needs("groups")
def test_a_reply_is_a_snapshot_at_its_place(users, group, connect, online):
    """Others join while the owner asks for the members again and again: each reply has exactly those whose event
    came before it."""
    owner, *others = users(6)
    room = group(owner)
    seqs = []
    for other in others:
        other.send("group_join", group=room)
        seqs.append(owner.send("group_info", group=room))
    for other in others:
        other.must(other.reply(), "success")
    replies = [owner.reply(seq) for seq in seqs]
    replies.append(owner.ok("group_info", group=room))
    joined = [(push.position, push["user"]) for push in owner.pushes if push.name == "group_event"]
    for reply in replies:
        expected = {owner.user.name} | {user for position, user in joined if position < reply.position}
        assert set(reply["members"]) == expected and reply["count"] == len(expected)


@rule("Q-10", "A-3")
@needs("messages", "history")
def test_unread_of_a_login_and_the_pushes_after_it_are_exact(users, connect):
    """Messages are on their way while bob logs in again: each is in the reply, or comes as a push, never both."""
    alice, bob = users(2)
    for _ in range(5):
        seqs = alice.send_many([("private_chat", {"user_to": bob.user.name, "text": "x"})] * 10)
        second = connect(label="bob, second session")
        reply = second.login(bob.user)
        latest = max(alice.reply(seq)["msg_id"] for seq in seqs)
        known = max((entry["latest"] for entry in reply["unread"]), default=0)
        came = [push["msg_id"] for push in second.barrier() if push.name == "private_chat_recv"]
        assert came == list(range(known + 1, latest + 1))
        second.ok("logout")
        second.close()


# --- Q-9, by pairs: two faults at once, the earlier one in the order is the answer

@rule("Q-9")
def test_bad_json_before_unknown_command(connect):
    client = connect()
    for cmd in (0x7000, 0x8001, 0xffff):
        client.must(client.reply(client.send_frame(cmd, b"{")), "bad_json")


@rule("Q-9")
def test_bad_json_before_not_logged_in(connect):
    client = connect()
    client.must(client.reply(client.send_frame("group_list", b"[]")), "bad_json")


@rule("Q-9")
@needs("accounts")
def test_bad_json_before_already_logged_in(online):
    client = online()
    client.must(client.reply(client.send_frame("login", b"null")), "bad_json")


@rule("Q-9")
def test_unknown_command_before_not_logged_in(connect):
    client = connect()
    client.must(client.reply(client.send_frame(0x0308, {})), "unknown_cmd")


@rule("Q-9")
@needs("accounts")
def test_not_logged_in_before_bad_request(connect):
    client = connect()
    client.expect("profile_get", "not_logged_in", user=1)
    client.expect("passwd", "not_logged_in")


@rule("Q-9")
@needs("accounts")
def test_already_logged_in_before_bad_request(online, name):
    client = online()
    client.expect("login", "already_logged_in")
    client.expect("login", "already_logged_in", user=1, passwd="")
    client.expect("login", "already_logged_in", user=name(), passwd="kettle")


@rule("Q-9")
@needs("accounts")
def test_bad_request_before_the_rules_of_the_command(online, name):
    client = online()
    client.expect_bad("register", "passwd", user=client.user.name, passwd="abc")    # the name is taken, too
    client.expect_bad("register", "email", user=client.user.name, passwd="abcd", email="@")


@rule("Q-9")
@needs("friends")
def test_bad_field_before_unknown_user(online, name):
    client = online()
    client.expect_bad("friend_add", "text", user=name(), text=1)
    client.expect_bad("friend_answer", "accept", user=name())


@rule("Q-9")
@needs("groups", "messages")
def test_bad_field_before_unknown_group(online, name):
    client = online()
    client.expect_bad("group_chat", "text", group=name())
    client.expect_bad("group_info", "after", group=name(), after="")
    client.expect_bad("group_kick", "user", group=name(), user="-")


@rule("Q-9")
@needs("groups")
def test_existence_before_permission(users, group, name):
    """The user or group first, then whether the asker may."""
    alice, bob = users(2)
    room = group(alice)
    bob.expect("group_kick", "group_not_exist", group=name(), user=alice.user.name)
    bob.expect("group_kick", "not_owner", group=room, user=name())
    bob.expect("group_kick", "not_owner", group=room, user=alice.user.name)     # and not: the owner is not kicked
    alice.expect("group_kick", "not_member", group=room, user=bob.user.name)
    alice.expect_bad("group_kick", "user", group=room, user=alice.user.name)


@rule("Q-9", "M-9")
@needs("groups", "history")
def test_membership_before_possible_arguments(users, group, name):
    alice, bob = users(2)
    room = group(alice)
    bob.expect("read", "group_not_exist", group=name(), msg_id=10)
    bob.expect("read", "not_member", group=room, msg_id=10)
    bob.expect("read", "user_not_exist", user=name(), msg_id=10)
    alice.expect_bad("read", "msg_id", group=room, msg_id=10)


@rule("Q-9", "L-5")
@needs("limits")
@pytest.mark.parametrize("cmd, payload", [("ping", b"{"), (0x7000, b"{}"), ("group_list", b"{}"),
                                          ("hello", b'{"client":1}')],
                         ids=["bad_json", "unknown_cmd", "not_logged_in", "bad_request"])
def test_rate_limit_before_everything(start_server, connect, cmd, payload):
    """Far over the burst of a limit of 5 a second, whatever is wrong with the request besides."""
    client = connect(start_server("--rate-limit", "5"))
    seqs = client.send_many([("ping", {})] * 60)
    last = client.send_frame(cmd, payload)
    results = [client.reply(seq).result for seq in seqs]
    assert results[0] == "success" and results[-1] == "rate_limited"
    client.must(client.reply(last), "rate_limited")


# --- stats is a request like others

@rule("C-5", "S-7")
@needs("accounts", "limits")
def test_stats_names_every_counter(online):
    reply = online().ok("stats")
    negative = [counter for counter in COUNTERS if reply[counter] < 0]
    assert not negative
