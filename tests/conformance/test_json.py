"""Which payloads are acceptable JSON (F-5). A refused one is answered, and the connection goes on."""

import random

import pytest

from harness import needs, rule
from harness.protocol import CLIENT_LIMIT
from harness.strict_json import acceptable


def nested(levels, opening=b"[", closing=b"]"):
    """An object with arrays (or objects) in it, `levels` deep in all."""
    if opening == b"[":
        return b'{"a":' + b"[" * (levels - 1) + b"]" * (levels - 1) + b"}"
    return b'{"a":' * (levels - 1) + b"{}" + b"}" * (levels - 1)


def value(text):
    return b'{"a":' + (text if isinstance(text, bytes) else text.encode()) + b"}"


def string(content):
    return value(b'"' + content + b'"')


GOOD = [
    b"{}", b" \t\r\n{ \t\r\n} \t\r\n", b'{"a":1}', b'{ "a" : 1 , "b" : 2 }', b'{"":""}', b'{"a":{"a":{"a":1}}}',
    b'{"a":[{"b":1},{"b":1}]}', b'{"a":1,"A":1,"a ":1}', value("[]"), value("[ ]"), value("[1, 2 ,3]"),
    value("true"), value("false"), value("null"),
    value("0"), value("-0"), value("-1"), value("9223372036854775807"), value("-9223372036854775808"),
    value("9223372036854775808.0"), value("1e19"), value("123456789012345678901234567890e0"),
    value("0.5"), value("-0.0"), value("1e5"), value("1E5"), value("1e+5"), value("1e-5"), value("0e0"),
    value("0.0e-0"),
    value("1e308"), value("1.7976931348623157e308"), value("-1.7976931348623157e308"), value("1e-400"),
    value("0e99999"),
    value("0." + "0" * 400 + "1e400"), value("1" + "0" * 400 + "e-400"), value("1.00000000000000000000000000000001"),
    string(b""), string(b"\\\"\\\\\\/\\b\\f\\n\\r\\t"), string(b"\\u0041\\u00e9\\u20AC"), string(b"\\ud83d\\ude00"),
    string(b"\\uD800\\uDC00"), string(b"\\uDBFF\\uDFFF"), string(b"\\u0001"), string(b"\\u001f"), string(b"\x7f"),
    string(b"\\u007f"), string(b"\\\\u0000"), string(b"\\uffff"), string(b"\\ufeff"),
    string("é€😀".encode()), string(b"\xc2\x80"), string(b"\xdf\xbf"), string(b"\xe0\xa0\x80"),
    string(b"\xed\x9f\xbf"),
    string(b"\xee\x80\x80"), string(b"\xef\xbf\xbf"), string(b"\xef\xbb\xbf"), string(b"\xf0\x90\x80\x80"),
    string(b"\xf4\x8f\xbf\xbf"), string(b"// no comment"), string(b"{[}],:"),
    nested(8), nested(8, b"{"), nested(7), b'{"a":[[[[[[{}]]]]]],"b":[[[[[[[]]]]]]]}',
    b'{"k":"' + b"x" * 60000 + b'"}', b'{"' + b"k" * 60000 + b'":1}',
    b"{" + b",".join(b'"%d":%d' % (n, n) for n in range(4000)) + b"}", value(b"[" + b"1," * 20000 + b"1]"),
    b'{"\\u0061":1,"b":2}', b'{"a\\u0062":1,"ab ":2}',
]
BAD = [
    # no object
    b" ", b"\n", b"[]", b"[{}]", b'"text"', b"1", b"-1.5", b"true", b"null", b'""',
    # syntax
    b"{", b"}", b"{{}", b"{}}", b"{]", b'{"a"}', b'{"a":}', b'{"a" 1}', b'{"a"=1}', b"{a:1}", b"{'a':1}", b"{1:1}",
    b"{null:1}", b'{"a":1,}', b"{,}", b'{,"a":1}', b'{"a":1,,"b":1}', b'{"a":1 "b":1}', b'{"a":1;"b":1}', b'{"a":1',
    b'{"a',
    b'{"a":"b', b'{"a":"b}', value("["), value("]"), value("[1,]"), value("[,1]"), value("[,]"), value("[1 2]"),
    value("[1,,2]"),
    value("[1}"), value("{]"), value("[[]"), value("(1)"),
    value("True"), value("TRUE"), value("tru"), value("truee"), value("nul"), value("nulll"), value("fals"),
    value("undefined"),
    value("nan"), value("NaN"), value("Infinity"), value("-Infinity"), value("inf"), value("x"), value("'x'"),
    # numbers
    value("+1"), value("-"), value("--1"), value("- 1"), value("00"), value("01"), value("-01"), value("0123"),
    value(".5"),
    value("-.5"), value("1."), value("1.e5"), value("1e"), value("1e+"), value("1E-"), value("1e5.5"),
    value("1.2.3"), value("0x10"),
    value("0b1"), value("1_000"), value("1,000.0"), value("1f"), value("1L"), value("1 0"), value("٣"),
    value("9223372036854775808"), value("-9223372036854775809"), value("18446744073709551615"),
    value("18446744073709551616"),
    value("1" + "0" * 30), value("-" + "9" * 5000), value("1e309"), value("-1e309"), value("1.8e308"),
    value("1e99999999999"),
    value("1.7976931348623159e308"), value("1" + "0" * 309 + ".0"), value("0.1e310"),
    # strings
    string(b"\n"), string(b"\t"), string(b"\r"), string(b"\x01"), string(b"\x1f"), string(b"\0"), string(b"\\"),
    string(b"\\x41"),
    string(b"\\a"), string(b"\\'"), string(b"\\0"), string(b"\\U0041"), string(b"\\u"), string(b"\\u12"),
    string(b"\\u123"),
    string(b"\\u12G4"), string(b"\\u-123"), string(b"\\u+123"), string(b"\\u 123"), string(b'\\u00"'), b'{"a\nb":1}',
    b'{"\\x":1}',
    string(b"\\u0000"), string(b"x\\u0000y"), b'{"\\u0000":1}', b'{"a\\u0000":1}', b'{"a\0":1}',
    # surrogates
    string(b"\\ud800"), string(b"\\udbff"), string(b"\\udc00"), string(b"\\udfff"), string(b"\\ud800x"),
    string(b"\\ud800\\n"),
    string(b"\\ud800\\u0041"), string(b"\\ud800\\ud800"), string(b"\\udc00\\ud800"), string(b"\\ud83d\\ude00\\ude00"),
    b'{"\\ud800":1}',
    # UTF-8
    string(b"\x80"), string(b"\xbf"), string(b"\xc0\x80"), string(b"\xc1\xbf"), string(b"\xc2"),
    string(b"\xc2\xc2\x80"),
    string(b"\xe0\x80\x80"), string(b"\xe0\x9f\xbf"), string(b"\xe2\x82"), string(b"\xed\xa0\x80"),
    string(b"\xed\xbf\xbf"),
    string(b"\xed\xa0\xbd\xed\xb8\x80"), string(b"\xf0\x80\x80\x80"), string(b"\xf0\x8f\xbf\xbf"),
    string(b"\xf0\x9f\x98"),
    string(b"\xf4\x90\x80\x80"), string(b"\xf5\x80\x80\x80"), string(b"\xf8\x88\x80\x80\x80"), string(b"\xfe"),
    string(b"\xff"),
    string("é".encode("latin-1")), b'{"\xff":1}', b"{\xc3\xa9}", b"\xff{}", b"{}\xff", '{"a":1}'.encode("utf-16-le"),
    # before and after the object
    b"\xef\xbb\xbf{}", b"\xfe\xff{}", b"{}\0", b"\0{}", b"{} \0", b"{}x", b"{} {}", b"{}{}", b"{},", b"{};", b"x{}",
    b"{}\x0b", b"\x0c{}",
    b"{\x0b}", b"{}\x85", b"{}\xc2\xa0", b"{}\xe2\x80\xa8", b"/**/{}", b"{}//", b"{/**/}", b'{}"', b"{}1",
    # a key twice
    b'{"a":1,"a":1}', b'{"a":1,"b":2,"a":3}', b'{"":1,"":1}', b'{"a":1,"\\u0061":1}', b'{"\\u0061":1,"a":1}',
    b'{"\\n":1,"\\u000a":1}',
    b'{"/":1,"\\/":1}', '{"é":1,"\\u00e9":1}'.encode(), '{"😀":1,"\\ud83d\\ude00":1}'.encode(), b'{"x":{"a":1,"a":1}}',
    b'{"x":[1,{"a":1,"b":{},"a":1}]}', b"{" + b",".join(b'"%d":1' % n for n in range(4000)) + b',"0":1}',
    b'{"text":"hi","text":"hi"}', b'{"' + b"k" * 300 + b'":1,"' + b"k" * 300 + b'":2}',
    # too deep
    nested(9), nested(9, b"{"), nested(10), nested(1000), nested(4000, b"{"), b"[" * 60000, b'{"a":' * 10000,
    b'{"a":[[[[[[[[1]]]]]]]]}', b'{"b":1,"a":{"a":{"a":{"a":{"a":{"a":{"a":[1]}}}}}}}}'.replace(b"[1]", b"[{}]"),
]


def cases(bodies):
    names = [f"{number}-{repr(body[:30])[2:-1]}" for number, body in enumerate(bodies)]
    return pytest.mark.parametrize("body", bodies, ids=names)


@rule("F-5")
@cases(GOOD)
def test_acceptable(connect, body):
    """In the payload of a ping, which has no fields: what it does not know is ignored (Q-3), but must be JSON."""
    assert acceptable(body), "the table itself"
    client = connect()
    client.must(client.reply(client.send_frame("ping", body)), "success")


@rule("F-5")
@cases(BAD)
def test_not_acceptable(connect, body):
    assert not acceptable(body), "the table itself"
    client = connect()
    client.must(client.reply(client.send_frame("ping", body)), "bad_json")
    client.ok("ping")


@rule("F-5")
@needs("accounts")
def test_a_refused_request_has_no_effect(connect, name):
    """The good part of the payload is not taken, though it stands before the fault."""
    alice = name("alice")
    client = connect()
    body = f'{{"user":"{alice}","passwd":"kettle"'.encode()
    for rest in (b"", b"}x", b',"passwd":"kettle"}', b',"x":1e999}', b',"x":"\xff"}'):
        client.must(client.reply(client.send_frame("register", body + rest)), "bad_json")
    client.expect("login", "user_not_exist", user=alice, passwd="kettle")


@rule("F-5", "M-7")
@needs("messages")
def test_escapes_mean_their_characters(users):
    """In a field that the server looks into and passes on, not only in one that it skips."""
    alice, bob = users(2)
    escaped = {b'\\u0041\\u00e9': "Aé", b'\\ud83d\\ude00': "😀", b'\\"\\\\\\/': '"\\/', b'\\b\\f\\n\\r\\t': "\b\f\n\r\t",
               b'\\\\u0041': "\\u0041", b'\\uD83D\\uDE00!': "😀!", b'\\u0001\\u001F\\u007f': "\x01\x1f\x7f",
               b'\\uFFFF\\ufeff': "\uffff\ufeff"}
    for body, text in escaped.items():
        payload = b'{"user_to":"%s","text":"%s"}' % (bob.user.name.encode(), body)
        alice.must(alice.reply(alice.send_frame("private_chat", payload)), "success")
        bob.push("private_chat_recv", text=text)


@rule("F-5", "Q-3")
@needs("accounts")
def test_escapes_in_keys_and_names(connect, name):
    """A key is what it means, not how it is written."""
    alice = name("alice")
    client = connect()
    payload = b'{"\\u0075ser":"%s","pass\\u0077d":"\\u006bettle"}' % alice.encode().replace(b"a", b"\\u0061")
    client.must(client.reply(client.send_frame("register", payload)), "success")
    client.ok("login", user=alice, passwd="kettle")


SEEDS = [body for body in GOOD + BAD if len(body) < 200]
PIECES = [b"{", b"}", b"[", b"]", b":", b",", b'"', b"\\", b"\\u", b"d800", b"\\udc00", b"0", b"1", b"-", b".", b"e",
b"E5", b"+",
          b" ", b"\n", b"true", b"null", b'"a":1', b"\xc3", b"\xa9", b"\xed\xa0", b"\xf0\x9f\x98\x80", b"\0",
          b"\x1f", b"9" * 18]


def mutate(chance, body):
    """One to three small changes somewhere."""
    body = bytearray(body)
    for _ in range(chance.randint(1, 3)):
        place = chance.randint(0, len(body))
        kind = chance.randrange(4)
        if kind == 0:
            body[place:place] = chance.choice(PIECES)
        elif kind == 1:
            del body[place:place + chance.randint(1, 3)]
        elif kind == 2:
            body[place:place + 1] = bytes([chance.randrange(256)])
        else:
            other = chance.choice(SEEDS)
            start = chance.randrange(len(other))
            body[place:place] = other[start:start + chance.randint(1, 12)]
    return bytes(body[:CLIENT_LIMIT])


@rule("F-5")
@pytest.mark.parametrize("seed", range(8))
def test_many_mutations_of_these(connect, seed):
    """200 a seed, judged by the oracle too (harness/strict_json.py); the same ones in every run."""
    chance = random.Random(seed)
    client = connect()
    bodies = [mutate(chance, chance.choice(SEEDS)) for _ in range(200)]
    seqs = [client.send_frame("ping", body) for body in bodies]
    for seq, body in zip(seqs, bodies):
        reply = client.reply(seq)
        wanted = "success" if acceptable(body) else "bad_json"
        assert reply.result == wanted, f"{body!r} should be answered {wanted}, was {reply.result}"
