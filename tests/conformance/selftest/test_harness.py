"""The harness's own parts: the decoder, the rules, what makes a run fail."""

import json

import pytest

from harness import rules
from harness.failure import Malformed
from harness.protocol import Decoder, encode_frame, shape_fault
from harness.strict_json import acceptable
from test_reports import HERE, run_suite, run_wrong

REPLY_FRAME = encode_frame(0x8001, b'{"result":"success"}', 5)


def decode(data):
    decoder = Decoder()
    decoder.feed(data)
    return decoder.next()


def test_a_whole_frame():
    frame = decode(REPLY_FRAME)
    assert (frame.name, frame.seq, frame.payload) == ("ping_reply", 5, {"result": "success"})


def test_a_frame_byte_by_byte():
    decoder = Decoder()
    for byte in REPLY_FRAME[:-1]:
        decoder.feed(bytes([byte]))
        assert decoder.next() is None
    decoder.feed(REPLY_FRAME[-1:])
    assert decoder.next().seq == 5


@pytest.mark.parametrize("data, offset, words", [
    (b"\x00", 0, "head flag"), (b"\xc4\x00", 1, "head flag"), (b"\xc4\xa7\x02", 2, "version"),
    (b"\xc4\xa7\x01\x01", 3, "flags"),
    (b"HTTP/1.1 400", 0, "text"), (encode_frame(1, b"", 1, reserved=1), 7, "reserved"),
    (encode_frame(1, b"", 1, length=262145), 12, "262145"), (encode_frame(0x8001, b"{}", 1, crc=0), 18, "crc32"),
    (encode_frame(0x8001, b"{}", 1, tail_flag=0), 22, "tail flag"), (encode_frame(0x4001, b"", 1), 8, "push"),
    (encode_frame(0x8001, b"[]", 1), 16, "no JSON object"), (encode_frame(0x8001, b'{"a" 1}', 1), 21, "no JSON"),
    (encode_frame(0x8001, b'{"a":"\xff"}', 1), 22, "UTF-8"),
    (encode_frame(0x8001, b'{"a":1,"a":2}', 1), 16, "a key twice"),
    (encode_frame(0x8001, b'{"a":"\\ud800"}', 1), 16, "surrogate"), (encode_frame(0x8001, b'{"a":NaN}', 1), 16, "NaN"),
], ids=lambda value: value if isinstance(value, str) else None)
def test_a_malformed_frame(data, offset, words):
    with pytest.raises(Malformed) as caught:
        decode(data)
    assert caught.value.offset == offset and words in caught.value.got


@pytest.mark.parametrize("value, shape, fault", [
    ({"a": 1}, {"a": int}, None), ({"a": True}, {"a": int}, "a is True, no int"),
    ({"a": 1.0}, {"a": int}, "a is 1.0, no int"),
    ({}, {"a": int}, "payload has no field a"), ({}, {"a?": int}, None), ({"a": 1, "b": 2}, {"a": int}, None),
    ({"a": [{"b": 1}, {}]}, {"a": [{"b": int}]}, "a[1] has no field b"),
    ({"a": "x"}, {"a": ("y", "z")}, "a is 'x', not one of y, z"),
])
def test_shapes(value, shape, fault):
    assert shape_fault(value, shape) == fault


@pytest.mark.parametrize("body, good", [
    (b"", True), (b"{}", True), (b"[]", False), (b'{"a":1,"a":1}', False), (b'{"a":"\\u0000"}', False)])
def test_the_oracle_of_json(body, good):
    assert acceptable(body) is good


def test_rules_are_read():
    texts = rules.load(HERE / "suite" / "protocol.md")
    assert texts["F-4"].split("\n") == ["A broken frame. The server sends `bye` and closes.",
                                        "- The head is judged byte by byte.",
                                        "- The tail is judged before the checksum."]
    assert texts["M-4"].endswith("A second paragraph belongs to the rule, too.")


def test_the_worst_result_counts():
    ledger = rules.Ledger()
    ledger.add(["F-1"], "one", "pass")
    ledger.add(["F-1"], "two", "left out")
    assert ledger.result("F-1") == "pass"
    ledger.add(["F-1"], "two", "FAIL")
    assert ledger.result("F-1") == "FAIL"


def write_suite(tmp_path, text, protocol="- **Q-1** One reply.\n"):
    """A suite of one file beside the real harness."""
    for name in ("conftest.py", "pytest.ini"):
        (tmp_path / name).write_text((HERE / "suite" / name).read_text().replace("../..", str(HERE.parent)))
    (tmp_path / "test_one.py").write_text("from harness import needs, rule\n\n\n" + text)
    (tmp_path / "protocol.md").write_text(protocol)
    return run_suite("--server", f"{HERE / 'wrong_server.py'} none", "--protocol", str(tmp_path / "protocol.md"),
                     suite=str(tmp_path))


def test_a_test_without_rule_is_an_error(tmp_path):
    ran = write_suite(tmp_path, "def test_it():\n    pass\n")
    assert ran.returncode != 0 and "no @rule" in ran.stderr + ran.stdout


def test_a_rule_that_does_not_exist_is_an_error(tmp_path):
    ran = write_suite(tmp_path, "@rule('Q-99')\ndef test_it():\n    pass\n")
    assert ran.returncode != 0 and "Q-99" in ran.stderr + ran.stdout


def test_a_capability_that_does_not_exist_is_an_error(tmp_path):
    ran = write_suite(tmp_path, "@rule('Q-1')\n@needs('flight')\ndef test_it():\n    pass\n")
    assert ran.returncode != 0 and "flight" in ran.stderr + ran.stdout


def test_a_rule_without_test_fails_the_run(tmp_path):
    ran = write_suite(tmp_path, "@rule('Q-1')\ndef test_it():\n    pass\n", "- **Q-1** One.\n- **Q-2** Two.\n")
    assert ran.returncode == 1 and "rule Q-2 has no test" in ran.stdout


def test_a_missing_text_of_the_rules_fails_the_run(tmp_path):
    ran = run_suite("--server", f"{HERE / 'wrong_server.py'} none", "--protocol", str(tmp_path / "none.md"))
    assert ran.returncode == 1 and "none.md is not there" in ran.stdout


def test_no_server_given_is_an_error():
    ran = run_suite()
    assert ran.returncode != 0 and "--stage" in ran.stderr


def test_the_ledger(tmp_path):
    path = tmp_path / "ledger.json"
    run_wrong("numbers_with_gaps", "--ledger", str(path))
    ledger = json.loads(path.read_text())
    results = {rule: entry["result"] for rule, entry in ledger["rules"].items()}
    assert results == {"F-2": "left out", "F-4": "pass", "L-9": "pass", "M-4": "FAIL", "P-1": "not claimed",
                       "Q-1": "pass", "Q-2": "pass", "Q-7": "pass", "S-1": "left out", "S-3": "pass",
                       "W-1": "not claimed"}
    assert ledger["capabilities"] == ["accounts", "messages"]


def test_one_rule_alone():
    ran = run_wrong("none", "--rule", "M-4")
    assert ran.returncode == 0 and "3 passed" in ran.stdout


def test_a_crash_is_not_the_next_tests_fault():
    """The shared server is started again: the others pass."""
    ran = run_wrong("crashes")
    assert "CRASH" in ran.stdout and "test_broken_frame" not in ran.stdout.partition("short test summary")[2]
