"""A few tests of each kind, for the reports. The wrong servers fail them."""

from harness import needs, note, rule


@rule("Q-1")
def test_ping(connect):
    """A ping and its reply."""
    connect(label="alice").ok("ping")


@rule("Q-2")
def test_order(connect):
    client = connect(label="alice")
    first, second = client.send_many([("ping", {}), ("hello", {"client": "a suite"})])
    client.must(client.reply(first), "success")
    client.must(client.reply(second), "success")


@rule("M-4", "Q-1")
def test_message(users):
    """The recipient gets it, once, and the sender does not."""
    alice, bob = users(2)
    reply = alice.ok("private_chat", user_to=bob.user.name, text="hi")
    bob.push("private_chat_recv", user_from=alice.user.name, text="hi", msg_id=reply["msg_id"])
    bob.expect_nothing()
    alice.expect_nothing()


@rule("M-4")
def test_three_messages(users):
    """They come one after the other, each of them."""
    alice, bob = users(2)
    for text in ("one", "two", "three"):
        alice.ok("private_chat", user_to=bob.user.name, text=text)
    for text in ("one", "two", "three"):
        bob.push("private_chat_recv", text=text)


@rule("M-4")
def test_numbers(users):
    (alice,) = users(1)
    numbers = [alice.ok("private_chat", user_to=alice.user.name, text="hi")["msg_id"] for _ in range(3)]
    note("three notes are written")
    assert numbers == [1, 2, 3], "numbers without gaps"


@rule("F-4", "L-9")
def test_broken_frame(connect):
    client = connect(label="alice")
    client.send_raw(b"\xc4\xa7\x02")
    client.expect_bye("protocol_error", "bad_version")


@rule("S-3")
def test_stop(start_server):
    start_server().stop()


@rule("S-1", "F-2")
def test_option(start_server):
    start_server("--idle-timeout", "1")


@rule("P-1", "Q-7")
def test_friends(users):
    users(2)


@rule("Q-7")
@needs("accounts")
def test_long_story(users):
    (alice,) = users(1)
    for number in range(60):
        alice.send("ping", number=number)
    for _ in range(60):
        alice.must(alice.reply(), "success")
    alice.expect("profile_get", "user_not_exist", user="nobody")
