"""The protocol as data (docs/protocol.md, sections F, Q and C), and frames to and from bytes.

The decoder trusts nothing: what a server sends is checked as strictly as a server checks its clients.
"""

import json
import struct
import zlib
from dataclasses import dataclass, field

from .failure import Malformed

HEAD_FLAG = 0xC4A7
TAIL_FLAG = 0x0D0A
VERSION = 1
HEAD = struct.Struct(">HBBHHII")        # flag, version, flags, cmd, reserved, seq, length
TAIL = struct.Struct(">IH")             # crc32, tail flag
CLIENT_LIMIT = 65536                    # F-2: payload bytes from a client
SERVER_LIMIT = 262144                   # F-2: payload bytes from the server
REPLY = 0x8000

REQUESTS = {
    "ping": 0x0001, "stats": 0x0002, "hello": 0x0003,
    "register": 0x0101, "login": 0x0102, "logout": 0x0103, "passwd": 0x0104,
    "profile_get": 0x0105, "profile_set": 0x0106,
    "friend_add": 0x0201, "friend_answer": 0x0202, "friend_remove": 0x0203, "friend_list": 0x0204,
    "group_create": 0x0301, "group_join": 0x0302, "group_leave": 0x0303, "group_info": 0x0304,
    "group_list": 0x0305, "group_kick": 0x0306, "group_dismiss": 0x0307,
    "private_chat": 0x0401, "group_chat": 0x0402, "history": 0x0403, "unread": 0x0404,
    "read": 0x0405, "typing": 0x0406,
}
PUSHES = {
    "heartbeat": 0x4001, "bye": 0x4002,
    "friend_request": 0x4201, "friend_event": 0x4202, "presence": 0x4203,
    "group_event": 0x4301,
    "private_chat_recv": 0x4401, "group_chat_recv": 0x4402, "typing_event": 0x4403, "read_event": 0x4404,
}
NAMES = {number: name for table in (REQUESTS, PUSHES) for name, number in table.items()}

PUSH_NUMBERS = frozenset(PUSHES.values())

RESULTS = frozenset("""
    success offline failure user_not_exist passwd_error too_many_attempts too_many_sessions already_logged_in
    not_logged_in group_not_exist not_member not_owner not_friends already_friends no_request rate_limited
    bad_json bad_request unknown_cmd server_error""".split())
WITHOUT_MESSAGE = frozenset(["success", "offline"])
BEFORE_LOGIN = frozenset(["ping", "hello", "register", "login"])

CAPABILITIES = frozenset("accounts friends groups messages history durable limits websocket".split())
COUNTERS = """uptime_ms connections sessions accepted_total requests_total messages_total deliveries_total
    bytes_in_total bytes_out_total read_calls_total write_calls_total wakeups_total slow_consumers_total
    protocol_errors_total store_commits_total store_queue""".split()            # S-7, beside `stage`

# Which capability a command belongs to; the others are served by every server.
COMMAND_NEEDS = {
    "accounts": ["register", "login", "logout", "passwd", "profile_get", "profile_set"],
    "friends": ["friend_add", "friend_answer", "friend_remove", "friend_list"],
    "groups": ["group_create", "group_join", "group_leave", "group_info", "group_list", "group_kick",
               "group_dismiss", "group_chat"],
    "messages": ["private_chat", "group_chat", "typing"],
    "history": ["history", "unread", "read"],
    "limits": ["stats"],            # Q-7 names no capability for it: who counts is who has limits
}


def command_needs(cmd):
    """The capabilities a server needs to serve `cmd` at all."""
    needs = {capability for capability, commands in COMMAND_NEEDS.items() if cmd in commands}
    return needs | {"accounts"} if needs else needs


# --- The shapes of what a server sends (section C). A key that ends in "?" may be missing; a list holds
#     any number of its one element; ONE_OF names two keys of which exactly one is there.

ONE_OF = "one of"
_FRIEND = {"user": str, "name": str, "online": bool}
_GROUP = {"group": str, "title": str}
_UNREAD = {ONE_OF: ("user", "group"), "count": int, "latest": int}
_MESSAGE = {"msg_id": int, "user_from": str, "text": str, "time": int}
_SENT = {"msg_id": int, "time": int}

REPLY_SHAPES = {
    "ping": {"time": int},
    "stats": {"stage": str, **{counter: int for counter in COUNTERS}},
    "hello": {"protocol": int, "server": str, "capabilities": [str]},
    "login": {"user": str, "friends": [_FRIEND], "groups": [_GROUP], "unread": [_UNREAD],
              "requests": [{"user": str, "text": str}]},
    "profile_get": {"user": str, "name": str, "sex": str, "age": int, "address": str, "email": str,
                    "online": bool},
    "friend_list": {"friends": [_FRIEND]},
    "group_info": {"group": str, "title": str, "owner": str, "created": int, "count": int, "members": [str]},
    "group_list": {"groups": [_GROUP]},
    "private_chat": _SENT,
    "group_chat": _SENT,
    "history": {"messages": [_MESSAGE], "more": bool},
    "unread": {"unread": [_UNREAD]},
}
PUSH_SHAPES = {
    "heartbeat": {},
    "bye": {"reason": str, "error?": str},
    "friend_request": {"user": str, "text": str},
    "friend_event": {"user": str, "event": ("accepted", "rejected", "removed")},
    "presence": {"user": str, "online": bool},
    "group_event": {"group": str, "user": str, "event": ("joined", "left", "kicked", "dismissed")},
    "private_chat_recv": {"user_from": str, "user_to": str, "text": str, "msg_id": int, "time": int},
    "group_chat_recv": {"group": str, "user_from": str, "text": str, "msg_id": int, "time": int},
    "typing_event": {"user": str, "group?": str},
    "read_event": {"user": str, ONE_OF: ("peer", "group"), "msg_id": int},
}


def shape_fault(value, shape, where="payload"):
    """What is wrong with `value`, as a sentence; None when it has the shape."""
    if isinstance(shape, dict):
        return _object_fault(value, shape, where)
    if isinstance(shape, list):
        if not isinstance(value, list):
            return f"{where} is no array"
        faults = (shape_fault(item, shape[0], f"{where}[{i}]") for i, item in enumerate(value))
        return next((fault for fault in faults if fault), None)
    if isinstance(shape, tuple):
        return None if value in shape else f"{where} is {value!r}, not one of {', '.join(shape)}"
    if type(value) is not shape:
        return f"{where} is {value!r}, no {shape.__name__}"
    return None


def _object_fault(value, shape, where):
    if not isinstance(value, dict):
        return f"{where} is no object"
    for key, inner in shape.items():
        if key == ONE_OF:
            present = [name for name in inner if name in value]
            if len(present) != 1:
                return f"{where} has {' and '.join(present) or 'neither'} of {' or '.join(inner)}"
            key, inner = present[0], str
        elif key.endswith("?"):
            key = key[:-1]
            if key not in value:
                continue
        elif key not in value:
            return f"{where} has no field {key}"
        fault = shape_fault(value[key], inner, f"{where}.{key}" if where != "payload" else key)
        if fault:
            return fault
    return None


# --- Frames

@dataclass
class Frame:
    cmd: int
    seq: int = 0
    payload: dict = field(default_factory=dict)
    data: bytes = b""           # the whole frame as it was on the wire
    position: int = 0           # the how-manieth frame of its connection
    at: float = 0.0             # time.monotonic() when it was read

    def __getitem__(self, key):
        return self.payload[key]

    def get(self, key, default=None):
        return self.payload.get(key, default)

    @property
    def result(self):
        return self.payload.get("result")

    @property
    def is_reply(self):
        return bool(self.cmd & REPLY)

    @property
    def name(self):
        return command_name(self.cmd)

    def __str__(self):
        return f"{self.name}{f' seq={self.seq}' if self.seq else ''} {compact(self.payload)}"


def command_name(cmd):
    """`login`, `login_reply`, `presence`, or `cmd 0x7777`."""
    if cmd & REPLY and cmd & ~REPLY in NAMES:
        return NAMES[cmd & ~REPLY] + "_reply"
    return NAMES.get(cmd, f"cmd 0x{cmd:04x}")


def compact(value, limit=160):
    text = json.dumps(value, ensure_ascii=False, separators=(", ", ": "))
    return text if len(text) <= limit else f"{text[:limit - 20]}… ({len(text)} characters)"


def encode_payload(payload):
    """`payload` as bytes: bytes stay as they are, so that a test can send what is no JSON."""
    if isinstance(payload, (bytes, bytearray)):
        return bytes(payload)
    if isinstance(payload, str):
        return payload.encode()
    return json.dumps(payload, ensure_ascii=False).encode()


def encode_frame(cmd, payload=b"", seq=1, *, head_flag=HEAD_FLAG, version=VERSION, flags=0, reserved=0,
                 length=None, crc=None, tail_flag=TAIL_FLAG):
    """One frame; every field of head and tail can be made wrong. `cmd` is a name or a number."""
    number = REQUESTS[cmd] if isinstance(cmd, str) else cmd
    body = encode_payload(payload)
    head = HEAD.pack(head_flag, version, flags, number, reserved, seq, len(body) if length is None else length)
    checksum = zlib.crc32(head + body) if crc is None else crc
    return head + body + TAIL.pack(checksum, tail_flag)


class Decoder:
    """Bytes of the server in, frames out; raises Malformed at the first byte that a frame may not have."""

    def __init__(self):
        self.buffer = bytearray()
        self.count = 0

    def feed(self, data):
        self.buffer += data

    def next(self):
        """The next frame, or None while it is not complete."""
        self._check_head()
        if len(self.buffer) < HEAD.size:
            return None
        _, _, _, cmd, _, seq, length = HEAD.unpack_from(self.buffer)
        end = HEAD.size + length + TAIL.size
        if len(self.buffer) < end:
            return None
        data = bytes(self.buffer[:end])
        self._check_tail(data, length)
        if not cmd & REPLY and cmd not in PUSH_NUMBERS:
            raise Malformed(f"cmd 0x{cmd:04x} has not the bit of a reply, and is no push", data, 4, rule="Q-1")
        if not cmd & REPLY and seq:
            raise Malformed(f"a push ({command_name(cmd)}) with seq {seq}, must be 0", data, 8)
        payload = parse_payload(data[HEAD.size:HEAD.size + length], data)
        del self.buffer[:end]
        self.count += 1
        return Frame(cmd, seq, payload, data, self.count)

    def _check_head(self):
        """Every byte of the head that has come, so that HTTP or garbage is told at once."""
        buffer = self.buffer
        fixed = ((0, 0xC4, "head flag"), (1, 0xA7, "head flag"), (2, VERSION, "version"), (3, 0, "flags"),
                 (6, 0, "reserved"), (7, 0, "reserved"))
        for offset, value, what in fixed:
            if len(buffer) > offset and buffer[offset] != value:
                fault = f"{what}: byte {offset} is 0x{buffer[offset]:02x}, must be 0x{value:02x}"
                raise Malformed(fault + _looks_like(buffer), bytes(buffer), offset)
        if len(buffer) >= HEAD.size:
            length = int.from_bytes(buffer[12:16], "big")
            if length > SERVER_LIMIT:
                raise Malformed(f"length {length}, more than {SERVER_LIMIT}", bytes(buffer), 12)

    @staticmethod
    def _check_tail(data, length):
        crc, flag = TAIL.unpack_from(data, HEAD.size + length)
        if flag != TAIL_FLAG:
            raise Malformed(f"tail flag 0x{flag:04x}, must be 0x{TAIL_FLAG:04x}", data, HEAD.size + length + 4)
        right = zlib.crc32(data[:HEAD.size + length])
        if crc != right:
            raise Malformed(f"crc32 0x{crc:08x}, must be 0x{right:08x}", data, HEAD.size + length)


def _looks_like(buffer):
    text = bytes(buffer[:8])
    return f" (this is text, {text.decode()!r}: no frames)" if text.isascii() and text.decode().isprintable() else ""


class _BadPayload(ValueError):
    pass


def _unique(pairs):
    result = dict(pairs)
    if len(result) != len(pairs):
        raise _BadPayload("a key twice")
    return result


def _constant(name):
    raise _BadPayload(f"{name} is no JSON")


def parse_payload(body, data=b""):
    """The payload as a dict; `data` is the frame it stands in, for the report."""
    if not body:
        return {}
    try:
        text = body.decode("utf-8")
        payload = json.loads(text, object_pairs_hook=_unique, parse_constant=_constant)
        json.dumps(payload, ensure_ascii=False).encode()        # a lone surrogate fails here
    except UnicodeDecodeError as error:
        raise Malformed(f"payload is no UTF-8: {error.reason}", data, HEAD.size + error.start) from None
    except json.JSONDecodeError as error:
        offset = HEAD.size + len(text[:error.pos].encode())
        raise Malformed(f"payload is no JSON: {error.msg}", data, offset) from None
    except UnicodeEncodeError:
        raise Malformed("payload has a lone surrogate", data, HEAD.size) from None
    except _BadPayload as error:
        raise Malformed(f"payload is no good JSON: {error}", data, HEAD.size) from None
    if not isinstance(payload, dict):
        raise Malformed("payload is no JSON object", data, HEAD.size)
    return payload


def describe_bytes(data):
    """Bytes that a client sent, in words: each whole frame, or that they are none."""
    parts = []
    while len(data) >= HEAD.size + TAIL.size and int.from_bytes(data[:2], "big") == HEAD_FLAG:
        _, _, _, cmd, _, seq, length = HEAD.unpack_from(data)
        end = HEAD.size + length + TAIL.size
        if len(data) < end:
            break
        body = data[HEAD.size:HEAD.size + length].decode("utf-8", "replace")
        parts.append(f"{command_name(cmd)} seq={seq} {body[:160]}{'…' if len(body) > 160 else ''}")
        data = data[end:]
        if len(parts) == 4 and data:
            break
    if data:
        parts.append(f"{len(data)} more bytes" if parts else f"{len(data)} bytes, no whole frame")
    return "; ".join(parts)
