"""The load generator is to be believed: it notices each fault, and its counts are those of the messages that were sent.

    /usr/bin/python3 -m pytest tests/bench
"""

import json
import pathlib
import subprocess

import pytest

from faulty_server import FaultyServer

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHATBENCH = ROOT / "bin" / "chatbench"
SMALL = ["--workload", "fan-100", "--members", "5", "--window", "4", "--messages", "40"]


def chatbench(port, *options):
    run = subprocess.run([CHATBENCH, "--port", str(port), *options], capture_output=True, text=True, timeout=60)
    return run, json.loads(run.stdout) if run.stdout else None


def test_a_right_server_passes():
    with FaultyServer("right") as server:
        run, line = chatbench(server.port, *SMALL)
    assert (run.returncode, run.stderr) == (0, "")
    assert (line["messages"], line["deliveries"], line["lost"]) == (40, 40 * 5, 0)


@pytest.mark.parametrize("fault,told", [
    ("lose", "1 lost, 0 doubled, 0 out of order"),
    ("double", "0 lost, 1 doubled, 0 out of order"),
    ("swap", "0 lost, 0 doubled, 1 out of order"),
    ("mute", "1 lost, 0 doubled, 0 out of order"),
])
def test_a_fault_is_told_and_fails_the_run(fault, told):
    """Also when the message that is lost is one that others wait for: then nothing moves, and after five seconds of
    that the run ends."""
    with FaultyServer(fault) as server:
        run, line = chatbench(server.port, *SMALL)
    assert told in run.stderr
    assert run.returncode == 1
    assert line["lost"] + line["doubled"] + line["out_of_order"] == 1


def test_a_text_that_nobody_sent_ends_the_run():
    with FaultyServer("garble") as server:
        run, line = chatbench(server.port, *SMALL)
    assert run.returncode == 1 and line is None
    assert "a text that nobody sent" in run.stderr


def test_a_server_that_is_not_there_ends_the_run():
    run, line = chatbench(1, *SMALL)
    assert run.returncode == 1 and line is None
    assert "cannot connect: Connection refused" in run.stderr


@pytest.fixture(scope="module")
def stage():
    command = [ROOT / "bin" / "03-epoll", "--port", "0", "--store", "memory", "--password-cost", "min",
               "--rate-limit", "0", "--idle-timeout", "3600", "--heartbeat", "3600",
               "--outbox-limit", str(16 << 20)]     # a busy machine may hold up a reader for as long as a whole burst
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        yield server.pid, int(server.stdout.readline().rsplit(":", 1)[1])
        server.terminate()


@pytest.mark.parametrize("workload,each", [
    (["fan-100", "--members", "30"], 30),
    (["fan-100", "--members", "30", "--window", "512", "--text-bytes", "8192"], 30),
    (["slow", "--members", "30", "--stalled", "3"], 27),
    (["groups", "--groups", "7"], 10),
    (["groups-all", "--groups", "7"], 10),
    (["pairs", "--groups", "7"], 2),
    (["pairs", "--groups", "7", "--idle", "20"], 2),
    (["groups", "--groups", "7", "--rate", "2000"], 10),
], ids=lambda value: "-".join(value) if isinstance(value, list) else "")
def test_the_counts_are_those_of_the_messages(stage, workload, each):
    """`each` is a message's copies: its receivers', and the sender's reply."""
    pid, port = stage
    run, line = chatbench(port, "--pid", str(pid), "--workload", *workload, "--messages", "600")
    assert (run.returncode, run.stderr) == (0, "")
    assert (line["messages"], line["deliveries"]) == (600, 600 * each)
    assert line["server_cpu_seconds"] > 0 and line["pss_bytes"] > 0
    assert line["writes_per_message"] > 0 and line["reads_per_message"] <= 1.1


def test_at_a_rate_the_time_is_that_of_the_clock(stage):
    """500 messages at 1000 a second end after half a second, and each latency counts from its own time."""
    pid, port = stage
    run, line = chatbench(port, "--pid", str(pid), "--workload", "pairs", "--groups", "2", "--rate", "1000",
                          "--messages", "500")
    assert run.returncode == 0, run.stderr
    assert line["seconds"] >= 0.499
    assert 0 < line["latency_p50_us"] <= line["latency_p99_us"] <= line["latency_max_us"]


def test_a_storm_logs_in_and_goes(stage):
    pid, port = stage
    run, line = chatbench(port, "--pid", str(pid), "--workload", "storm", "--seconds", "0.5", "--warmup", "0.1")
    assert run.returncode == 0, run.stderr
    assert line["logins_per_second"] > 0 and line["logins_per_cpu_second"] > 0


def test_a_stalled_server_makes_late_messages_late():
    """No coordinated omission: while the server stands still, messages go on being due, and wait all the longer. It does
    so for one of two seconds; a generator that waited for it would report one slow message."""
    with FaultyServer("stall") as server:
        run, line = chatbench(server.port, "--workload", "fan-100", "--members", "2", "--rate", "100", "--messages", "200")
    assert run.returncode == 0, run.stderr
    assert line["latency_p50_us"] < 1_000_000 <= line["latency_max_us"]
    assert line["latency_p90_us"] > 500_000


@pytest.mark.parametrize("options,told", [
    (["--workload", "nonsense"], "no such workload"),
    (["--protocol", "smtp"], "no such protocol"),
    (["--text-bytes", "12"], "text of a size that cannot be"),
    (["--members", "1"], "two members that read"),
    (["--pin", "0,1"], "--pin needs --pid"),
    (["--seconds", "soon"], "not a number"),
])
def test_a_wrong_option_is_told(options, told):
    run, _ = chatbench(1, *options)
    assert run.returncode == 2 and told in run.stderr
