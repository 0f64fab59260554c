"""Frames: how a connection begins, how its bytes are cut, and what a broken frame leads to (F-1 to F-4, F-6)."""

import socket
import time

import pytest

from harness import encode_frame, needs, note, rule
from harness.clock import scaled
from harness.measure import asleep
from harness.protocol import CLIENT_LIMIT

PING = encode_frame("ping", b"{}", 1)


# --- F-1

@rule("F-1", "F-4")
@pytest.mark.parametrize("first", [0x00, 0x0a, 0x20, 0x30, 0x39, 0x40, 0x5b, 0x60, 0x7b, 0x7f, 0x80, 0xc3, 0xc5, 0xa7,
                                   0xff], ids=lambda byte: f"{byte:#04x}")
def test_a_first_byte_that_is_neither_frame_nor_text(connect, first):
    """The neighbours of the letters and of the head flag among them; one byte is enough to judge."""
    client = connect()
    client.send_raw(bytes([first]))
    client.expect_bye("protocol_error", "bad_head")


@rule("F-1")
@pytest.mark.parametrize("text", [b"A\n", b"Z\r\n", b"a\r\n", b"z\n", b"hello\r\n", b"hello there, who are you?\r\n",
                                  b"GET\r\n", b"GET /\r\n", b"GET / HTTP/1.1 more\r\n", b"GET HTTP/1.1\r\n",
                                  b"GET / HTTP/1.x\r\n", b"GET / HTTP/x.1\r\n", b"GET / HTTP/111\r\n",
                                  b"GET / HTTP1/.1\r\n", b"{}\n".replace(b"{", b"x")],
                         ids=repr)
def test_text_is_answered_in_words(connect, text):
    client = connect()
    client.send_raw(text)
    read_refusal(client)


@rule("F-1", "L-8")
@pytest.mark.parametrize("text", [b"h", b"hello", b"GET / HTTP/1.1"], ids=repr)
def test_text_without_end_of_line_is_judged_when_the_peer_has_ended(connect, text):
    client = connect()
    client.send_raw(text)
    client.half_close()
    read_refusal(client)


@rule("F-1", "L-9")
@pytest.mark.parametrize("length", [8192, 8193, 30000])
def test_text_without_end_of_line_is_judged_after_8192_bytes(connect, length):
    client = connect()
    client.send_raw(b"x" * length)
    read_refusal(client)


@rule("F-1")
@pytest.mark.parametrize("text", [b"h", b"hello there", b"x" * 8191], ids=["1 byte", "11 bytes", "8191 bytes"])
def test_text_is_not_judged_before_its_line_is_complete(connect, text):
    """Another connection is served in between, so this one's text has been read."""
    client, other = connect(), connect()
    client.send_raw(text)
    other.ok("ping")
    assert not client.wait_readable(0), "it was answered before its line was complete"
    client.send_raw(b"\n")
    read_refusal(client)


@rule("F-1", "F-3")
def test_text_in_small_pieces(connect):
    client = connect(chop=1)
    client.send_raw(b"who is there?\r\n")
    read_refusal(client)


@rule("F-1")
@pytest.mark.parametrize("end", [b"\r\n", b"\n"], ids=repr)
def test_http_where_there_is_no_websocket(connect, server, leave_out, end):
    """Also where people write the head, and end its lines as they do (RFC 9112, 2.2)."""
    if "websocket" in server.hello()["capabilities"]:
        leave_out("is about servers that do not claim websocket")
    client = connect()
    client.send_raw(end.join([b"GET / HTTP/1.1", b"Host: localhost", b"", b""]))
    read_refusal(client)


def read_refusal(client):
    """HTTP 400 with a sentence, then FIN."""
    answer = client.read_bytes()
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 "), f"the answer begins with {answer[:40]!r}"
    assert client.ended == "fin"
    assert b"chat" in body, "the body says what this port speaks, and which client to use"
    lengths = [line.split(b":")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
    assert not lengths or int(lengths[0]) == len(body)


@rule("F-1", "F-4")
@pytest.mark.parametrize("text", [b"GET / HTTP/1.1\r\n\r\n", b"h", b"\n"], ids=repr)
def test_text_after_a_frame_is_a_bad_head(connect, text):
    """Only the first byte of the connection chooses."""
    client = connect()
    client.ok("ping")
    client.send_raw(text)
    client.expect_bye("protocol_error", "bad_head")


# --- F-2

@rule("F-2")
def test_an_empty_payload_is_an_empty_object(connect):
    client = connect()
    client.must(client.reply(client.send_frame("ping", b"")), "success")
    client.must(client.reply(client.send_frame("hello", b"")), "success")


@rule("F-2", "Q-9")
def test_an_empty_payload_has_no_fields(connect):
    client = connect()
    reply = client.reply(client.send_frame("register", b""))
    client.must(reply, "bad_request", field="user")


@rule("F-2")
@pytest.mark.parametrize("length", [2, 3, 255, 256, 257, 4095, 4096, 4097, 16384, 65535, CLIENT_LIMIT])
def test_payloads_up_to_the_limit(connect, length):
    """A payload may be that long; two of them on one connection, with a short frame between and after."""
    client = connect()
    body = b"{" + b" " * (length - 2) + b"}"
    for _ in range(2):
        client.must(client.reply(client.send_frame("ping", body)), "success")
        client.ok("ping")


@rule("F-2", "F-4")
def test_a_payload_over_the_limit(connect):
    client = connect()
    client.send_raw(encode_frame("ping", b"{" + b" " * (CLIENT_LIMIT - 1) + b"}", 1))
    client.expect_bye("protocol_error", "too_long")


# --- F-3

@rule("F-3", "L-2")
def test_urgent_data_ends_nothing(connect):
    """TCP's urgent byte stands outside of the stream (tcp(7), MSG_OOB): it is no end, no error, and no part of a frame."""
    client = connect()
    client.ok("ping")
    for _ in range(3):
        client.socket.send(b"!", socket.MSG_OOB)
        client.ok("ping")
    client.socket.send(b"!", socket.MSG_OOB)
    client.expect_nothing()


@rule("F-3")
def test_a_frame_cut_at_every_place(connect):
    """Between the parts another connection is served, so the first part has surely been read."""
    client, other = connect(), connect()
    length = len(encode_frame("hello", b'{"client":"cut"}', 1))
    for cut in range(1, length):
        seq, data = client.prepare_frame("hello", b'{"client":"cut"}')
        client.send_raw(data[:cut])
        other.ok("ping")
        client.send_raw(data[cut:])
        client.must(client.reply(seq), "success")


@rule("F-3")
def test_two_frames_cut_at_every_place(connect):
    """The first part may hold a whole frame and the beginning of the next one."""
    client, other = connect(), connect()
    for cut in range(1, 2 * len(PING)):
        first, one = client.prepare_frame("ping", b"{}")
        second, two = client.prepare_frame("ping", b"{}")
        client.send_raw((one + two)[:cut])
        other.ok("ping")
        client.send_raw((one + two)[cut:])
        client.must(client.reply(first), "success")
        client.must(client.reply(second), "success")


@rule("F-3")
@needs("messages")
def test_a_conversation_byte_by_byte(users):
    alice, bob = users(2, chop=1)
    for number in range(3):
        text = f"message {number} "
        reply = alice.ok("private_chat", user_to=bob.user.name, text=text * 5)
        bob.push("private_chat_recv", text=text * 5, msg_id=reply["msg_id"])
    bob.expect_nothing()


@rule("F-3", "Q-2")
@pytest.mark.parametrize("count", [2, 3, 1000])
def test_many_frames_in_one_piece(connect, burst, count):
    client = connect()
    for seq in client.send_many([("ping", {})] * burst(count)):
        client.must(client.reply(seq), "success")


@rule("F-3", "Q-2")
@needs("groups", "messages")
def test_a_thousand_messages_in_one_piece(users, group, burst):
    """All are numbered in their order, and come to the other in it."""
    alice, bob = users(2)
    room = group(alice, bob)
    count = burst(1000)
    seqs = alice.send_many([("group_chat", {"group": room, "text": f"{n}"}) for n in range(count)])
    assert [alice.reply(seq)["msg_id"] for seq in seqs] == list(range(1, count + 1))
    came = bob.barrier()
    assert [(push["msg_id"], push["text"]) for push in came] == [(n + 1, f"{n}") for n in range(count)]


@rule("F-3")
def test_cuts_that_drift_over_frames(connect):
    """Frames of 22 to 24 bytes sent 7 at a time: in the end every place of head, payload and tail has been a cut."""
    client = connect(chop=7)
    seqs = []
    for number in range(60):
        seq, data = client.prepare_frame("ping", [b"", b"{}"][number % 2])
        client.send_raw(data)
        seqs.append(seq)
    for seq in seqs:
        client.must(client.reply(seq), "success")


@rule("F-3")
def test_urgent_data_is_passed_over(start_server, connect):
    """An urgent byte (MSG_OOB) stands between two requests, and all three are there before the server looks. A read
    ends before such a byte, although more has come: who takes a short read for an empty socket never reads the rest."""
    server = start_server()
    client = connect(server)
    client.ok("ping")
    with asleep(server):
        first = client.send("ping")
        client.socket.send(b"!", socket.MSG_OOB)
        second = client.send("ping")
    client.must(client.reply(first), "success")
    client.must(client.reply(second), "success")


# --- F-4. A fault is (name, the bytes, how many of them show it, the error)

def broken(*, cut=None, **faults):
    data = encode_frame("ping", b"{}", 99, **faults)
    return data[:cut] if cut else data


def at(offset, value):
    """A ping of which one byte is wrong, cut just behind that byte."""
    data = bytearray(PING)
    data[offset] = value
    return bytes(data[:offset + 1])


def length_bytes(*shown):
    return PING[:12] + bytes(shown)


IN_HEAD = {
    "first byte of the flag": (at(0, 0xC5), "bad_head"),
    "second byte of the flag": (at(1, 0xA6), "bad_head"),
    "flag turned round": (b"\xa7", "bad_head"),
    "version 0": (at(2, 0), "bad_version"),
    "version 2": (at(2, 2), "bad_version"),
    "version 255": (at(2, 255), "bad_version"),
    "flags 1": (at(3, 1), "bad_flags"),
    "flags 0x80": (at(3, 0x80), "bad_flags"),
    "first reserved byte": (at(6, 1), "bad_flags"),
    "second reserved byte": (at(7, 1), "bad_flags"),
    "length in its first byte": (length_bytes(1), "too_long"),
    "length in the sign": (length_bytes(0x80), "too_long"),
    "length in its second byte": (length_bytes(0, 2), "too_long"),
    "length in its third byte": (length_bytes(0, 1, 1), "too_long"),
    "length 65537": (length_bytes(0, 1, 0, 1), "too_long"),
    "length 0xffffffff": (length_bytes(255, 255, 255, 255), "too_long"),
}
IN_TAIL = {
    "first byte of the tail flag": (broken(tail_flag=0x0C0A), "bad_tail"),
    "second byte of the tail flag": (broken(tail_flag=0x0D0B), "bad_tail"),
    "tail flag turned round": (broken(tail_flag=0x0A0D), "bad_tail"),
    "checksum 0": (broken(crc=0), "bad_crc"),
    "one bit of the checksum": (PING[:-3] + bytes([PING[-3] ^ 1]) + PING[-2:], "bad_crc"),
    "one bit of the payload": (PING[:16] + b"{|" + PING[18:], "bad_crc"),
    "one bit of the seq": (PING[:8] + b"\x80" + PING[9:], "bad_crc"),
    "another cmd": (PING[:5] + b"\x03" + PING[6:], "bad_crc"),
    "bytes of the checksum turned round": (PING[:-6] + PING[-6:-2][::-1] + PING[-2:], "bad_crc"),
}
FAULTS = {**IN_HEAD, **IN_TAIL}
every_fault = pytest.mark.parametrize("data, error", FAULTS.values(), ids=FAULTS)


@rule("F-4")
@every_fault
def test_a_fault_is_told_by_the_bytes_that_show_it(connect, data, error):
    """No byte behind them is sent."""
    client = connect()
    client.ok("ping")
    client.send_raw(data)
    client.expect_bye("protocol_error", error)


@rule("F-4")
@every_fault
def test_a_fault_in_the_first_frame(connect, data, error):
    client = connect()
    client.send_raw(data)
    client.expect_bye("protocol_error", error)


@rule("F-4", "F-3")
@every_fault
def test_a_fault_byte_by_byte(connect, data, error):
    client = connect(chop=1)
    client.send_raw(data)
    client.expect_bye("protocol_error", error)


@rule("F-4", "F-3")
@every_fault
def test_requests_before_a_fault_are_answered_first(connect, data, error):
    """All in one segment: three requests, the broken frame, and a good frame that nobody may look at any more."""
    client = connect()
    prepared = [client.prepare("ping"), client.prepare("hello"), client.prepare("ping")]
    client.send_raw(b"".join(bytes_ for _, bytes_ in prepared) + data + PING * 3)
    for seq, _ in prepared:
        client.must(client.reply(seq), "success")
    client.expect_bye("protocol_error", error)


@rule("F-4", "F-3")
@pytest.mark.parametrize("data, error", IN_HEAD.values(), ids=IN_HEAD)
def test_the_head_before_the_fault_is_no_fault(connect, data, error):
    """What comes before the byte that shows it is well: completed rightly, it is an ordinary request."""
    client, other = connect(), connect()
    seq, good = client.prepare_frame("ping", b"{}")
    client.send_raw(good[:len(data) - 1])
    other.ok("ping")
    client.send_raw(good[len(data) - 1:])
    client.must(client.reply(seq), "success")


@rule("F-4")
@pytest.mark.parametrize("faults, error", [
    ({"head_flag": 0xC4A6, "version": 2}, "bad_head"),
    ({"version": 2, "flags": 1}, "bad_version"),
    ({"version": 2, "length": 65537}, "bad_version"),
    ({"flags": 1, "length": 65537}, "bad_flags"),
    ({"reserved": 1, "length": 65537}, "bad_flags"),
    ({"flags": 1, "crc": 0, "tail_flag": 0}, "bad_flags"),
    ({"crc": 0, "tail_flag": 0}, "bad_tail"),
    ({"crc": 0, "tail_flag": 0x0D0B}, "bad_tail"),
], ids=lambda value: value if isinstance(value, str) else "+".join(value))
def test_of_two_faults_the_first_is_told(connect, faults, error):
    """In the order of the bytes; but the tail before the checksum."""
    client = connect()
    client.send_raw(broken(**faults))
    client.expect_bye("protocol_error", error)


@rule("F-4", "F-5")
def test_a_bad_checksum_before_bad_json(connect):
    client = connect()
    client.send_raw(encode_frame("ping", b"{", 1, crc=1))
    client.expect_bye("protocol_error", "bad_crc")


@rule("F-4", "Q-9")
def test_a_bad_checksum_before_an_unknown_command(connect):
    client = connect()
    client.send_raw(encode_frame(0x7000, b"{}", 1, crc=1))
    client.expect_bye("protocol_error", "bad_crc")


@rule("F-4")
@needs("accounts")
def test_what_came_before_the_fault_has_taken_effect(connect, name):
    """A slow request (a hash) stands before the fault: it is answered first, and is done."""
    alice = name("alice")
    client = connect()
    seq, data = client.prepare("register", user=alice, passwd="kettle")
    client.send_raw(data + b"\xc4\xa7\x02")
    client.must(client.reply(seq), "success")
    client.expect_bye("protocol_error", "bad_version")
    connect().ok("login", user=alice, passwd="kettle")


@rule("F-4")
@needs("accounts")
def test_a_fault_ends_the_session(online, connect):
    """The user is not online any more once the connection has ended."""
    alice, bob = online("alice"), online("bob")
    assert bob.ok("profile_get", user=alice.user.name)["online"] is True
    alice.send_raw(b"\xff")
    alice.expect_bye("protocol_error", "bad_head")
    alice.close()
    assert bob.ok("profile_get", user=alice.user.name)["online"] is False


@rule("F-4", "L-9")
@pytest.mark.parametrize("rest", [1, 70000, 3_000_000])
def test_the_bye_arrives_although_bytes_are_still_unread(connect, rest):
    """The client reads only after it has sent everything: a reset would have thrown away the bye by then."""
    client = connect()
    client.stop_reading()
    client.send_raw(b"\xc4\xa7\x01\x01" + bytes(rest))
    client.resume_reading()
    client.expect_bye("protocol_error", "bad_flags")


@rule("F-4", "M-4")
@needs("groups")
def test_nothing_follows_the_bye(start_server, users, group):
    """Messages to alice come just before her fault, at the same moment for the server: what it has not sent before the
    bye is not for her any more."""
    server = start_server("--store", "memory")
    alice, bob = users(2, server)
    room = group(alice, bob)
    with asleep(server):
        bob.send_many([("private_chat", {"user_to": alice.user.name, "text": "hi"}),
                       ("group_chat", {"group": room, "text": "hi"})] * 5)
        alice.send_raw(b"\xc4\xa7\x01\x01")
    alice.take_until(lambda: alice.pushes and alice.pushes[-1].name == "bye", "bye")
    while len(alice.pushes) > 1:
        alice.pushes.popleft()
    alice.expect_bye("protocol_error", "bad_flags")


@rule("F-4")
def test_a_fault_of_one_does_not_touch_another(connect):
    one, other = connect(), connect()
    seq, data = other.prepare("ping")
    other.send_raw(data[:10])
    one.send_raw(b"\x00")
    one.expect_bye("protocol_error", "bad_head")
    other.send_raw(data[10:])
    other.must(other.reply(seq), "success")


# --- F-6

TIMEOUT_S = 0.4
SLACK_S = 1.5           # timers may be rounded


@pytest.fixture
def impatient(start_server):
    return start_server("--frame-timeout", str(TIMEOUT_S), "--login-timeout", "60", "--idle-timeout", "60")


def within_time(started):
    took = time.monotonic() - started
    assert took >= TIMEOUT_S * 0.9, f"the bye came after {took:.2f} s, before the frame timeout of {TIMEOUT_S} s"
    assert took <= TIMEOUT_S + scaled(SLACK_S), f"the bye came only after {took:.2f} s"


@rule("F-6")
@pytest.mark.parametrize("part", [1, 2, 15, 16, 17, len(PING) - 1])
def test_a_frame_that_is_not_completed(impatient, connect, part):
    client = connect(impatient)
    client.ok("ping")
    started = time.monotonic()
    client.send_raw(PING[:part])
    client.expect_bye("frame_timeout")
    within_time(started)


@rule("F-6")
def test_a_frame_timeout_counts_from_the_beginning_of_the_frame(impatient, connect):
    """One byte at a time, each well within the timeout, does not help."""
    client = connect(impatient)
    started = time.monotonic()
    for byte in PING[:-1]:
        client.send_raw(bytes([byte]))
        if client.wait_readable(TIMEOUT_S / 4):
            break
    client.expect_bye("frame_timeout")
    within_time(started)


@rule("F-6", "F-3")
def test_whole_frames_before_the_incomplete_one_are_answered(impatient, connect):
    client = connect(impatient)
    one, two = client.prepare("ping"), client.prepare("hello")
    client.send_raw(one[1] + two[1] + PING[:5])
    client.must(client.reply(one[0]), "success")
    client.must(client.reply(two[0]), "success")
    client.expect_bye("frame_timeout")


@rule("F-6")
def test_no_frame_timeout_between_frames(impatient, connect):
    """Another connection's timeout is the clock: when it has passed, those without a started frame still live."""
    silent, spoken, clock = connect(impatient), connect(impatient), connect(impatient)
    spoken.chop = 3
    spoken.ok("ping")
    clock.send_raw(PING[:4])
    clock.expect_bye("frame_timeout")
    note("one frame timeout has passed")
    silent.ok("ping")
    spoken.ok("ping")


@rule("F-6")
@needs("accounts")
def test_a_frame_timeout_of_one_who_is_logged_in(impatient, online):
    client = online("alice", impatient)
    started = time.monotonic()
    client.send_raw(PING[:20])
    client.expect_bye("frame_timeout")
    within_time(started)


@rule("F-6")
def test_the_frame_timeout_is_judged_before_the_login_timeout(start_server, connect):
    server = start_server("--frame-timeout", "0.3", "--login-timeout", "3")
    client = connect(server)
    client.send_raw(PING[:4])
    client.expect_bye("frame_timeout")


@rule("F-6")
@pytest.mark.parametrize("text", [b"G", b"GET /", b"GET / HTTP/1.1\r\nHost: x\r\n"], ids=repr)
def test_an_http_head_that_is_not_completed(impatient, connect, text):
    if b"\n" in text and "websocket" not in impatient.hello()["capabilities"]:
        text = b"GET / "
    client = connect(impatient)
    started = time.monotonic()
    client.send_raw(text)
    answer = client.read_bytes()
    assert answer.startswith(b"HTTP/1.1 408 "), f"the answer begins with {answer[:40]!r}"
    within_time(started)
