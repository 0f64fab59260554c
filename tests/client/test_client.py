"""bin/chat, driven as people and scripts drive it.

    /usr/bin/python3 -m pytest tests/client

CHAT_CLIENT and CHAT_SERVER name other programs than bin/chat and bin/03-epoll. Nothing sleeps: every wait is for
something to be seen, with a deadline.
"""

import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from servers import ROOT, Proxy, Server
from terminal import DEADLINE_S, Terminal

CLIENT = os.environ.get("CHAT_CLIENT", str(ROOT / "bin" / "chat"))
PASSWORD = "kettle-and-cup"
GROUP_CHAT_REPLY = 0x8402
LOGIN_REPLY = 0x8102


@pytest.fixture
def server():
    server = Server()
    yield server
    server.close()


@pytest.fixture
def people(server):
    """A server that knows alice, bob and carol, with alice and bob in #tea."""
    made = chat(server, "/register alice", "/register bob", "/register carol", "/login alice", "/group create tea Tea break",
                "/logout", "/login bob", "/group join tea")
    assert made.returncode == 0, made
    return server


@pytest.fixture
def terminal():
    """terminal(at, user, ...): a client in a terminal, logged in."""
    opened = []

    def open_terminal(at, user=None, **how):
        command = [CLIENT, *(["--user", user] if user else []), at.address]
        opened.append(Terminal(command, env={"CHAT_PASSWORD": PASSWORD, "NO_COLOR": "1"}, **how))
        if user:
            opened[-1].see_last(f"{user}> ")
        return opened[-1]

    yield open_terminal
    for one in opened:
        one.close()


def chat(server, *lines, options=(), env=None, password=PASSWORD):
    """Run lines through a pipe."""
    return subprocess.run([CLIENT, *options, server.address], input="\n".join(lines).encode() + b"\n",
                          capture_output=True, timeout=DEADLINE_S * 2,
                          env={**os.environ, **({"CHAT_PASSWORD": password} if password else {}), **(env or {})})


def shown(result):
    """What was shown, without the time of messages."""
    return [re.sub(r"^\d\d:\d\d ", "", line) for line in result.stdout.decode().splitlines()]


def to_tea(terminal, user):
    terminal.type("/to #tea\r")
    terminal.see_last(f"{user} #tea> ")


# --- Scripts

def test_a_pipe_is_run_and_succeeds(people):
    result = chat(people, "hello", "/msg bob hi", options=["--user", "alice", "--to", "#tea"])
    assert result.returncode == 0, result
    assert "#tea alice: hello" in shown(result)
    assert "-> bob: hi" in shown(result)
    assert "* bob is offline and gets it at the next login" in shown(result)


def test_a_script_file_has_comments(people, tmp_path):
    script = tmp_path / "script"
    script.write_text("# says hello\n\n/to #tea\nhello\n/history\n")
    result = chat(people, options=["--user", "alice", "--script", str(script)])
    assert result.returncode == 0, result
    assert shown(result).count("#tea alice: hello") == 2


def test_a_failed_line_ends_a_script_with_1(people):
    result = chat(people, "/msg nobody hi", "/msg bob hi", options=["--user", "alice"])
    assert result.returncode == 1
    assert b"user_not_exist" in result.stderr
    assert "-> bob: hi" not in shown(result)


def test_keep_going_runs_the_rest_and_still_fails(people):
    result = chat(people, "/msg nobody hi", "/msg bob hi", options=["--user", "alice", "--keep-going"])
    assert result.returncode == 1
    assert "-> bob: hi" in shown(result)


def test_expect_turns_a_refusal_into_success(people):
    result = chat(people, "/expect user_not_exist /msg nobody hi", "/expect not_owner /group dismiss tea",
                  "/expect success /msg bob hi there", options=["--user", "bob"])
    assert result.returncode == 0, result
    assert chat(people, "/expect not_member /msg bob hi", options=["--user", "alice"]).returncode == 1


def test_a_wrong_password_is_a_failed_command(people):
    assert chat(people, options=["--user", "alice"], password="not this one").returncode == 1


def test_a_password_file(people, tmp_path):
    (tmp_path / "password").write_text(PASSWORD + "\n")
    result = chat(people, "/profile", options=["--user", "alice", "--password-file", str(tmp_path / "password")], password=None)
    assert result.returncode == 0, result


@pytest.mark.parametrize("arguments", [["--no-such"], ["a", "b"], ["[::1"], ["--retry", "soon"], ["--user"],
                                       ["127.0.0.1:x"], ["127.0.0.1:65536"], ["127.0.0.1:0"]])
def test_wrong_usage_is_2(arguments):
    assert subprocess.run([CLIENT, *arguments], stdin=subprocess.DEVNULL, capture_output=True).returncode == 2


def test_registering_says_how_to_go_on(server):
    """README: an account is made, then logged in to (A-1)."""
    result = chat(server, "/register alice", "/login alice", "/group create tea", "/to #tea", "The kettle is on.")
    assert result.returncode == 0, result
    assert b"/login alice" in result.stdout


def test_a_refused_field_is_named(people):
    """Q-3."""
    result = chat(people, "/login alice", "/to #tea", "x" * 8193)
    assert result.returncode == 1
    assert b"bad_request: text: " in result.stderr


def test_a_line_with_nul_is_not_sent_in_part(people):
    """M-7: as typed, or not at all."""
    result = chat(people, "/login alice", "/to #tea", "one\0two")
    assert result.returncode == 1, result
    assert b"one" not in chat(people, "/login alice", "/history #tea").stdout


def test_a_script_that_cannot_be_read_is_a_failure(people, tmp_path):
    """A directory opens, and fails at the first read."""
    result = chat(people, options=["--script", str(tmp_path)])
    assert result.returncode == 1
    assert b"Is a directory" in result.stderr


def test_no_connection_is_3(server):
    server.stop()
    result = chat(server, "/ping")
    assert result.returncode == 3
    assert b"Connection refused" in result.stderr


def test_help_and_version():
    for option in "--help", "--version":
        result = subprocess.run([CLIENT, option], capture_output=True)
        assert result.returncode == 0 and result.stdout


def test_wait_gets_a_push_and_fails_after_its_time(people):
    waiting = subprocess.Popen([CLIENT, "--user", "bob", people.address], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               env={**os.environ, "CHAT_PASSWORD": PASSWORD})
    while b"logged in as bob" not in waiting.stdout.readline():
        assert waiting.poll() is None
    waiting.stdin.write(b"/wait login\n/wait group_chat_recv 20 two\n/wait private_chat_recv 20 three\n")
    waiting.stdin.flush()
    chat(people, "/to #tea", "one", "two", "/msg bob three", options=["--user", "alice"])
    out, _ = waiting.communicate(timeout=DEADLINE_S)
    assert waiting.returncode == 0, out
    assert chat(people, "/wait presence 0.1", options=["--user", "bob"]).returncode == 1


def test_friends(people):
    result = chat(people, "/friend add bob we met at tea", options=["--user", "alice"])
    assert result.returncode == 0, result
    result = chat(people, "/friend accept alice", "/friends", "/friend remove alice",
                  "/expect not_friends /friend remove alice", options=["--user", "bob"])
    assert result.returncode == 0, result
    assert any("alice asks to be your friend: we met at tea" in line for line in shown(result))
    assert "* 1 friends" in shown(result)


def test_groups(people):
    result = chat(people, "/group create den A quiet place", "/groups", "/group info tea", "/group leave den",
                  options=["--user", "alice"])
    assert result.returncode == 1           # an owner cannot leave
    assert any("#den" in line and "A quiet place" in line for line in shown(result))
    assert "* #tea: Tea break" in shown(result) and "  bob" in shown(result)
    result = chat(people, "/group kick #tea bob", "/group dismiss tea", "/expect group_not_exist /group join tea",
                  options=["--user", "alice"])
    assert result.returncode == 0, result


def test_profile_and_password(people):
    result = chat(people, "/set name Bob Smith", "/set age 42", "/passwd", "/profile", "/logout", "/expect passwd_error /login bob",
                  options=["--user", "bob"], env={"CHAT_NEW_PASSWORD": "milk-no-sugar"})
    assert result.returncode == 0, result
    assert any(re.fullmatch(r"  name +Bob Smith", line) for line in shown(result))
    assert any(re.fullmatch(r"  age +42", line) for line in shown(result))
    assert chat(people, options=["--user", "bob"], password="milk-no-sugar").returncode == 0


def test_history_of_several_pages(people):
    chat(people, "/to #tea", *[f"line {number}" for number in range(230)], options=["--user", "alice"])
    result = chat(people, "/history #tea 220", options=["--user", "bob"])
    lines = [line for line in shown(result) if line.startswith("#tea alice")]
    assert lines == [f"#tea alice: line {number}" for number in range(10, 230)]


def test_unread_messages_are_shown_when_they_are_chosen(people):
    chat(people, "/msg bob one", "/msg bob two", options=["--user", "alice"])
    result = chat(people, "/to alice", "/read", "/unread", options=["--user", "bob"])
    assert result.returncode == 0, result
    assert "* 2 unread from alice   (/to alice)" in shown(result)
    assert [line for line in shown(result) if line.startswith("alice: ")] == ["alice: one", "alice: two"]
    assert "* nothing is unread" in shown(result)


# --- Text of others

def test_control_characters_are_shown_and_not_sent(people):
    evil = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202egnp.exe\u2066\x7f \u00e9\u4e16\U0001f600"
    sent = chat(people, "/msg bob " + evil, options=["--user", "alice"])
    assert sent.returncode == 0, sent
    result = chat(people, "/to alice", options=["--user", "bob"])
    for text in sent.stdout.decode(), result.stdout.decode():
        assert "^[]0;owned^G^[[2J<U+009B>31m<U+202E>gnp.exe<U+2066>^? \u00e9\u4e16\U0001f600" in text
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e\u2066]", text)


def test_a_line_break_does_not_make_a_line_of_its_own(people):
    import json, socket, struct, zlib

    def frame(cmd, seq, payload):
        payload = json.dumps(payload).encode()
        body = struct.pack(">HBBHHII", 0xC4A7, 1, 0, cmd, 0, seq, len(payload)) + payload
        return body + struct.pack(">IH", zlib.crc32(body), 0x0D0A)

    with socket.create_connection(("127.0.0.1", people.port), timeout=DEADLINE_S) as alice:
        alice.sendall(frame(0x0102, 1, {"user": "alice", "passwd": PASSWORD}) +
                      frame(0x0401, 2, {"user_to": "bob", "text": "hi\n09:00 carol: I hate tea"}))
        alice.shutdown(socket.SHUT_WR)
        while alice.recv(65536):
            pass
    result = chat(people, "/to alice", options=["--user", "bob"])
    assert "      | 09:00 carol: I hate tea" in result.stdout.decode().splitlines()


# --- A person at a terminal

def test_a_line_that_arrives_keeps_what_is_typed(people, terminal):
    bob = terminal(people, "bob")
    to_tea(bob, "bob")
    bob.type("half a sent")
    bob.see_last("bob #tea> half a sent")
    chat(people, "/to #tea", "hello bob", options=["--user", "alice"])
    bob.see("#tea alice: hello bob")
    bob.see_last("bob #tea> half a sent")
    assert bob.count("half a sent") == 1
    bob.type("ence\r")
    bob.see("#tea bob: half a sentence")
    bob.see_last("bob #tea> ")
    assert bob.count("half a sent") == 1        # the line typed gave place to the message


def test_a_long_line_over_several_rows_is_kept(people, terminal):
    bob = terminal(people, "bob", columns=40)
    to_tea(bob, "bob")
    typed = "wide \u4e16\u754c " + "0123456789" * 9
    bob.type(typed)
    bob.see("789")
    bob.wait(lambda screen: typed in "".join(screen.lines()), "all that was typed")
    chat(people, "/to #tea", "one", "two", options=["--user", "alice"])
    bob.see("#tea alice: two")
    bob.wait(lambda screen: typed in "".join(screen.lines()), "all that was typed")
    assert "".join(bob.screen.lines()).count("wide") == 1
    bob.type("\r")
    bob.see("#tea bob: wide")
    bob.see_last("bob #tea> ")
    assert "".join(bob.screen.lines()).count("wide") == 1


def test_the_line_is_kept_when_the_window_changes(people, terminal):
    bob = terminal(people, "bob")
    bob.type("/msg alice something")
    bob.see_last("bob> /msg alice something")
    bob.resize(30, 100)
    bob.process.send_signal(signal.SIGWINCH)
    chat(people, "/msg bob hello", options=["--user", "alice"])
    bob.see("alice: hello")
    bob.see_last("bob> /msg alice something")


def test_completion(people, terminal):
    bob = terminal(people, "bob")
    bob.type("/gr\t")
    bob.see_last("bob> /group")
    bob.type("\t")
    bob.see("/groups   /group")
    bob.type(" j\t")
    bob.see_last("bob> /group join")
    bob.type("\x15/to #t\t")
    bob.see_last("bob> /to #tea")
    bob.type("\r")
    bob.see_last("bob #tea> ")
    chat(people, "/msg bob hello", options=["--user", "alice"])
    bob.see("alice: hello")
    bob.type("/msg al\tback to you\r")
    bob.see("-> alice: back to you")


def test_lines_come_back(people, terminal):
    bob = terminal(people, "bob")
    bob.type("/unread\r")
    bob.see("nothing is unread")
    bob.type("/profile\r")
    bob.see("online")
    bob.see_last("bob> ")
    bob.type("\x1b[A\x1b[A")
    bob.see_last("bob> /unread")


def test_interrupt_clears_the_line_and_the_end_quits(people, terminal):
    bob = terminal(people, "bob")
    bob.type("not to be sent")
    bob.see_last("bob> not to be sent")
    bob.type("\x03")
    bob.see_last("bob> ")
    bob.type("/unread\r")
    bob.see("nothing is unread")
    bob.see_last("bob> ")
    bob.type("\x04")
    assert bob.end() == 0
    assert bob.echoes()


def test_quit_and_sigterm_leave_the_terminal_in_order(people, terminal):
    bob = terminal(people, "bob")
    bob.type("/quit\r")
    assert bob.end() == 0
    alice = terminal(people, "alice")
    alice.process.terminate()
    assert alice.end() == 0
    assert bob.echoes() and alice.echoes()


def test_a_stop_gives_the_terminal_back_and_takes_it_again(people, terminal):
    bob = terminal(people, "bob")
    bob.type("half a sent")
    bob.see_last("bob> half a sent")
    assert not bob.echoes()
    bob.type("\x1a")
    os.waitid(os.P_PID, bob.process.pid, os.WSTOPPED)
    bob.see_last("")
    assert bob.echoes()
    bob.process.send_signal(signal.SIGCONT)
    bob.see_last("bob> half a sent")
    assert not bob.echoes()


def test_a_password_is_asked_for_without_echo(people, terminal):
    bob = Terminal([CLIENT, people.address], env={"NO_COLOR": "1"})
    try:
        bob.see_last("(not logged in)> ")
        bob.type("/login bob\r")
        bob.see_last("Password: ")
        assert not bob.echoes()
        bob.type(PASSWORD + "\r")
        bob.see("logged in as bob")
        bob.see_last("bob> ")
        bob.type("\x1b[A")
        bob.see_last("bob> /login bob")
        assert PASSWORD.encode() not in bob.raw
    finally:
        bob.close()


def test_lines_that_arrive_while_a_password_is_asked_for(people, terminal):
    bob = terminal(people, "bob")
    bob.type("/passwd\r")               # CHAT_PASSWORD stands for the old one
    bob.see_last("New password: ")
    chat(people, "/msg bob hello", options=["--user", "alice"])
    bob.see("alice: hello")
    bob.see_last("New password: ")
    bob.type("\x03")
    bob.see_last("bob> ")
    assert bob.process.poll() is None


def test_colour_only_where_it_is_wanted(people):
    plain = chat(people, "/msg bob hi", options=["--user", "alice"])
    assert b"\x1b" not in plain.stdout + plain.stderr
    coloured = Terminal([CLIENT, "--user", "bob", people.address], env={"CHAT_PASSWORD": PASSWORD})
    uncoloured = Terminal([CLIENT, "--no-color", "--user", "bob", people.address], env={"CHAT_PASSWORD": PASSWORD})
    try:
        for one in coloured, uncoloured:
            one.see_last("bob> ")
        assert re.search(rb"\x1b\[3\dm", coloured.raw)
        assert not re.search(rb"\x1b\[3\dm", uncoloured.raw)
    finally:
        coloured.close()
        uncoloured.close()


# --- The connection is lost

def test_a_killed_server_is_come_back_to_and_what_was_missed_is_shown_once(people, terminal):
    proxy = Proxy(people)
    bob = terminal(proxy, "bob")
    to_tea(bob, "bob")
    chat(people, "/to #tea", "before", options=["--user", "alice"])
    bob.see("#tea alice: before")
    bob.type("half a sent")
    proxy.block()
    bob.see_last("bob (offline) #tea> half a sent")
    people.stop(signal.SIGKILL)
    people.start()
    chat(people, "/to #tea", *[f"missed {number}" for number in range(150)], "/msg bob private one",
         options=["--user", "alice"])
    proxy.unblock()
    bob.see("#tea alice: missed 149")
    bob.see("alice: private one")
    bob.see_last("bob #tea> half a sent")
    chat(people, "/to #tea", "after", options=["--user", "alice"])
    bob.see("#tea alice: after")
    text = bob.screen.lines()
    messages = [line.split(": ", 1)[1] for line in text if "#tea alice: " in line]
    assert messages == ["before", *[f"missed {number}" for number in range(150)], "after"]
    assert bob.count("private one") == 1
    proxy.close()


def test_a_group_of_the_same_name_is_another_one(people, terminal):
    proxy = Proxy(people)
    bob = terminal(proxy, "bob")
    to_tea(bob, "bob")
    chat(people, "/to #tea", "old 1", "old 2", "old 3", options=["--user", "alice"])
    bob.see("old 3")
    proxy.block()
    bob.see_last("bob (offline) #tea> ")
    chat(people, "/group dismiss tea", "/group create tea", options=["--user", "alice"])
    chat(people, "/group join tea", options=["--user", "bob"])
    chat(people, "/to #tea", "new 1", "new 2", options=["--user", "alice"])
    proxy.unblock()
    bob.see("new 2")
    assert bob.count("new 1") == 1
    proxy.close()


def test_an_unacknowledged_message_is_sent_again_and_stored_once(people, terminal):
    proxy = Proxy(people, cut_at=GROUP_CHAT_REPLY)      # the server has stored it; the client does not know
    bob = terminal(proxy, "bob")
    to_tea(bob, "bob")
    bob.type("only once\r")
    bob.see("#tea bob: only once")
    assert proxy.cuts == 1
    bob.type("and another\r")
    bob.see("#tea bob: and another")
    assert bob.count("only once") == 1
    result = chat(people, "/history #tea", options=["--user", "alice"])
    assert [line for line in shown(result) if line.startswith("#tea")] == ["#tea bob: only once", "#tea bob: and another"]
    proxy.close()


def test_a_script_goes_on_after_a_lost_connection(people):
    proxy = Proxy(people, cut_at=GROUP_CHAT_REPLY)
    result = chat(proxy, "/to #tea", "one", "two", "/history", options=["--user", "alice"])
    assert result.returncode == 0, result
    assert proxy.cuts == 1
    assert shown(result).count("#tea alice: one") == 2      # when it was acknowledged, and in the history
    proxy.close()


def test_messages_typed_without_a_connection_are_sent_later(people, terminal):
    proxy = Proxy(people)
    bob = terminal(proxy, "bob")
    to_tea(bob, "bob")
    proxy.block()
    bob.see_last("bob (offline) #tea> ")
    bob.type("one\r")
    bob.see("waits for the connection: -> #tea: one")
    bob.type("two\r")
    bob.see("waits for the connection: -> #tea: two")
    proxy.unblock()
    bob.see("#tea bob: two")
    result = chat(people, "/history #tea", options=["--user", "alice"])
    assert [line for line in shown(result) if line.startswith("#tea")] == ["#tea bob: one", "#tea bob: two"]
    proxy.close()


def test_a_script_without_a_connection_gives_up(people):
    proxy = Proxy(people)
    waiting = subprocess.Popen([CLIENT, "--user", "bob", "--retry", "0.3", proxy.address], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, "CHAT_PASSWORD": PASSWORD})
    assert b"connected" in waiting.stdout.readline()
    assert b"logged in" in waiting.stdout.readline()
    proxy.block()
    _, errors = waiting.communicate(b"/unread\n", timeout=DEADLINE_S)
    assert waiting.returncode == 3, errors
    assert b"not connected" in errors


def test_what_was_unread_before_is_not_taken_for_missed(people, terminal):
    chat(people, "/msg bob old one", options=["--user", "alice"])
    proxy = Proxy(people)
    bob = terminal(proxy, "bob")
    bob.see("* 1 unread from alice   (/to alice)")
    proxy.block()
    bob.see_last("bob (offline)> ")
    chat(people, "/msg bob new one", options=["--user", "alice"])
    proxy.unblock()
    bob.see("alice: new one")
    assert bob.count("old one") == 0
    bob.type("/to alice\r")
    bob.see("alice: old one")
    bob.see_last("bob alice> ")
    assert bob.count("new one") == 1
    proxy.close()


def test_a_paste_beyond_the_rate_limit_keeps_its_order(terminal):
    server = Server("--rate-limit", "20")
    try:
        assert chat(server, "/register bob").returncode == 0
        bob = terminal(server, "bob")
        bob.type("/to bob\r")
        bob.see_last("bob bob> ")
        bob.type("".join(f"line {number}\r" for number in range(100)))
        bob.see("-> bob: line 99")
        messages = [line.split(": ")[1] for line in bob.screen.lines() if "-> bob: " in line]
        assert messages == [f"line {number}" for number in range(100)]
    finally:
        server.close()


# --- What the server says at the end, and before

def test_a_shutdown_is_told_in_words(people, terminal):
    bob = terminal(people, "bob")
    people.stop()
    bob.see("* not connected: the server is shutting down; trying again")
    people.start()
    bob.see("* connected again")
    bob.see_last("bob> ")


def test_a_login_timeout_is_told_and_the_next_command_connects_again(terminal):
    server = Server("--login-timeout", "0.2")
    try:
        nobody = terminal(server)
        nobody.see("nobody logged in; the next command connects again")
        nobody.see_last("(not logged in) (offline)> ")
        nobody.type("/register dora\r")
        nobody.see("* there is an account dora now")
    finally:
        server.close()


def test_an_idle_client_stays(terminal):
    server = Server("--idle-timeout", "1", "--heartbeat", "0.25")
    try:
        assert chat(server, "/register alice", "/register bob").returncode == 0
        result = chat(server, *["/wait heartbeat"] * 8, "/expect timeout /wait lost 0", "/unread", options=["--user", "bob"])
        assert result.returncode == 0, result
        assert "* nothing is unread" in shown(result)
    finally:
        server.close()


def test_what_is_no_chat_server_is_told(terminal):
    import socket
    import threading
    with socket.create_server(("127.0.0.1", 0)) as listener:
        def answer():
            while True:
                other, _ = listener.accept()
                other.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
                other.close()
        threading.Thread(target=answer, daemon=True).start()
        result = subprocess.run([CLIENT, f"127.0.0.1:{listener.getsockname()[1]}"], input=b"/ping\n", capture_output=True,
                                timeout=DEADLINE_S)
    assert b"what answers there is no chat server" in result.stderr
    assert result.returncode in (1, 3)
