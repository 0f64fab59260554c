#!/usr/bin/env python3
"""A small chat server in Python: the protocol of docs/protocol.md without friends, history or a store.

It is here to be read beside the protocol, and to try the conformance suite on:

    docs/examples/server.py --port 8000
    python3 -m pytest tests/conformance --server docs/examples/server.py

One asyncio loop does everything, so the state needs no locks. All is forgotten at the end, nothing bounds what
waits for a slow reader, and passwords are hashed by scrypt (A-10 asks for Argon2id, which Python does not bring):
for a server to use, take a stage of this repository.
"""

import argparse
import asyncio
import hashlib
import hmac
import ipaddress
import json
import os
import re
import signal
import struct
import sys
import time
import zlib
from dataclasses import dataclass, field

HEAD = struct.Struct(">HBBHHII")
TAIL = struct.Struct(">IH")
PAYLOAD_LIMIT = 65536
REPLY = 0x8000
PUSHES = {"bye": 0x4002, "group_event": 0x4301, "private_chat_recv": 0x4401, "group_chat_recv": 0x4402,
          "typing_event": 0x4403}
LINGER_S = 2.0              # L-9
LOCKOUT = 10, 30 * 60       # wrong passwords, seconds
SESSIONS = 8
GROUPS, MEMBERS = 256, 10000


class Refuse(Exception):
    """Ends a request with this result."""

    def __init__(self, result, message, **fields):
        super().__init__(message)
        self.payload = {"result": result, "message": message, **fields}


class Broken(Exception):
    """A frame that ends the connection (F-4)."""


# --- Frames

def encode(cmd, seq, payload):
    body = json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()
    frame = HEAD.pack(0xC4A7, 1, 0, cmd, 0, seq, len(body)) + body
    return frame + TAIL.pack(zlib.crc32(frame), 0x0D0A)


def judge_head(head):
    """Raise Broken for the first fault in as much of a head as has come."""
    for offset, right, error in ((0, 0xC4, "bad_head"), (1, 0xA7, "bad_head"), (2, 1, "bad_version"),
                                 (3, 0, "bad_flags"), (6, 0, "bad_flags"), (7, 0, "bad_flags")):
        if len(head) > offset and head[offset] != right:
            raise Broken(error)
    shown = head[12:16]
    if int.from_bytes(shown, "big") << 8 * (4 - len(shown)) > PAYLOAD_LIMIT:
        raise Broken("too_long")


async def read_frame(reader, head):
    """(cmd, seq, payload bytes); `head` is what has been read of it."""
    judge_head(head)
    while len(head) < HEAD.size:
        head += await reader.readexactly(1)
        judge_head(head)
    _, _, _, cmd, _, seq, length = HEAD.unpack(head)
    rest = await reader.readexactly(length + TAIL.size)
    crc, tail_flag = TAIL.unpack(rest[length:])
    if tail_flag != 0x0D0A:
        raise Broken("bad_tail")
    if crc != zlib.crc32(head + rest[:length]):
        raise Broken("bad_crc")
    return cmd, seq, rest[:length]


def parse(body):
    """The payload as a dict; ValueError for all that F-5 refuses."""
    def whole(digits):
        if len(digits) > 20 or not -2 ** 63 <= int(digits) < 2 ** 63:
            raise ValueError("integer out of range")
        return int(digits)

    def real(digits):
        if abs(float(digits)) == float("inf"):
            raise ValueError("number out of range")
        return float(digits)

    def constant(word):
        raise ValueError(f"{word} is no JSON")

    def unique(pairs):
        if len(dict(pairs)) != len(pairs):
            raise ValueError("a key twice")
        return dict(pairs)

    payload = json.loads((body or b"{}").decode(), parse_int=whole, parse_float=real, parse_constant=constant,
                         object_pairs_hook=unique)
    if not isinstance(payload, dict):
        raise ValueError("no object")
    judge_value(payload, 1)
    return payload


def judge_value(value, level):
    """Depth, NUL and lone surrogates, which json.loads lets pass."""
    if isinstance(value, str):
        value.encode()
        if "\0" in value:
            raise ValueError("a NUL character")
    elif isinstance(value, (dict, list)):
        if level > 8:
            raise ValueError("more than 8 levels")
        for item in [*value, *value.values()] if isinstance(value, dict) else value:
            judge_value(item, level + 1)


# --- Fields: each kind says whether a value is acceptable

def text_of(least, most, control=False):
    return lambda value: (isinstance(value, str) and least <= len(value.encode()) <= most
                          and (control or not re.search(r"[\x00-\x1f\x7f]", value)))


def is_name(value):
    return isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}", value) is not None


def is_email(value):
    return text_of(0, 254)(value) and (value == "" or re.fullmatch(r"[^@]+@[^@]+", value) is not None)


PASSWORD = text_of(4, 128)
PROFILE = {"name?": text_of(0, 64), "sex?": lambda value: value in ("male", "female", "other", ""),
           "age?": lambda value: type(value) is int and 0 <= value <= 150,
           "address?": text_of(0, 256), "email?": is_email}
NO_PROFILE = {"name": "", "sex": "", "age": 0, "address": "", "email": ""}
COMMANDS = {}               # number -> (name, fields, method)


def command(number, **fields):
    """Registers a method of Connection for a command. `user_or_group` stands for exactly one of them."""
    def register(method):
        COMMANDS[number] = method.__name__, fields, method
        return method
    return register


def judge_fields(payload, fields):
    for key, good in fields.items():
        if key == "user_or_group":
            if ("user" in payload) == ("group" in payload):
                raise bad_field("user")
            key = "user" if "user" in payload else "group"
        elif key.endswith("?"):
            key = key[:-1]
            if key not in payload:
                continue
        if key not in payload or not good(payload[key]):
            raise bad_field(key)


def bad_field(key):
    return Refuse("bad_request", f"The field {key} is missing or not acceptable.", field=key)


# --- The state

@dataclass
class Account:
    name: str
    salt: bytes
    hash: bytes
    profile: dict
    sessions: list = field(default_factory=list)
    groups: set = field(default_factory=set)
    wrong: dict = field(default_factory=dict)       # client address -> times of wrong passwords
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)        # held while a password of it is checked


@dataclass
class Conversation:
    latest: int = 0
    time: int = 0
    ids: dict = field(default_factory=dict)         # (sender, id) -> (msg_id, time)


@dataclass
class Group(Conversation):
    name: str = ""
    title: str = ""
    owner: str = ""
    created: int = 0
    members: set = field(default_factory=set)


class Chat:
    def __init__(self, password_cost):
        self.password_cost = password_cost
        self.accounts, self.groups, self.pairs = {}, {}, {}
        self.connections = set()
        self.stopping = False

    async def hash(self, passwd, salt):
        cost = 2 ** (4 if self.password_cost == "min" else 14)
        derive = lambda: hashlib.scrypt(passwd.encode(), salt=salt, n=cost, r=8, p=1)
        return await asyncio.get_running_loop().run_in_executor(None, derive)

    def sessions_of(self, names):
        return [session for name in names for session in self.accounts[name].sessions]


def now_ms():
    return time.time_ns() // 1_000_000


# --- A connection and its commands

class Connection:
    def __init__(self, chat, reader, writer):
        self.chat, self.reader, self.writer = chat, reader, writer
        self.account = None
        address = ipaddress.ip_address(writer.get_extra_info("peername")[0])
        self.address = address if address.version == 4 else ipaddress.ip_network((address, 64), strict=False)

    async def serve(self):
        self.chat.connections.add(self)
        bye = None
        try:
            if not await self.is_http():
                while True:
                    await self.serve_frame()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        except Broken as fault:
            bye = {"reason": "protocol_error", "error": str(fault)}
        except asyncio.CancelledError:
            bye = {"reason": "shutdown"}
        self.detach()
        self.chat.connections.discard(self)
        await self.close(bye)

    async def is_http(self):
        self.head = await self.reader.readexactly(1)
        if not self.head.isalpha():
            return False
        answer = b"This port speaks the chat protocol (docs/protocol.md). Use its client, bin/chat.\n"
        while b"\n" not in self.head and len(self.head) < 8192:
            more = await self.reader.read(4096)
            if not more:
                break
            self.head += more
        self.writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n"
                          b"Connection: close\r\n\r\n%s" % (len(answer), answer))
        return True

    async def serve_frame(self):
        head, self.head = self.head or await self.reader.readexactly(1), b""
        cmd, seq, body = await read_frame(self.reader, head)
        try:
            payload = await self.answer(cmd, body)
        except Refuse as refusal:
            payload = refusal.payload
        self.writer.write(encode(cmd | REPLY, seq, payload))
        if self.reader.at_eof():
            await self.writer.drain()

    async def answer(self, cmd, body):
        """The order of judgement is Q-9's."""
        try:
            payload = parse(body)
        except (ValueError, RecursionError) as error:
            raise Refuse("bad_json", f"The payload is not acceptable: {error}.") from None
        if cmd not in COMMANDS:
            raise Refuse("unknown_cmd", f"There is no request 0x{cmd:04x} here.")
        name, fields, method = COMMANDS[cmd]
        if not self.account and name not in ("ping", "hello", "register", "login"):
            raise Refuse("not_logged_in", "Log in first.")
        if self.account and name == "login":
            raise Refuse("already_logged_in", f"This connection is logged in as {self.account.name}.")
        judge_fields(payload, fields)
        reply = method(self, payload)
        if asyncio.iscoroutine(reply):
            reply = await reply
        return {"result": "success", **(reply or {})}

    def push(self, name, **payload):
        self.writer.write(encode(PUSHES[name], 0, payload))

    def detach(self):
        if self.account:
            self.account.sessions.remove(self)
            self.account = None

    async def close(self, bye):
        """Bye, FIN, then read and discard, so that no reset overtakes the bye (L-9)."""
        try:
            if bye:
                self.push("bye", **bye)
            self.writer.write_eof()
            async with asyncio.timeout(LINGER_S):
                while await self.reader.read(65536):
                    pass
        except (OSError, TimeoutError, asyncio.CancelledError):
            pass
        self.writer.close()

    # --- Section C

    @command(0x0001)
    def ping(self, _):
        return {"time": now_ms()}

    @command(0x0003, **{"client?": text_of(0, 64)})
    def hello(self, _):
        return {"protocol": 1, "server": "example.py 1.0", "capabilities": ["accounts", "groups", "messages"]}

    @command(0x0101, user=is_name, passwd=PASSWORD, **PROFILE)
    async def register(self, request):
        taken = Refuse("failure", "There is a user of this name.", reason="user_exists")
        if request["user"] in self.chat.accounts:
            raise taken
        salt = os.urandom(16)
        key = await self.chat.hash(request["passwd"], salt)
        if request["user"] in self.chat.accounts:       # somebody else's, while the hash was made
            raise taken
        profile = {key: request.get(key, NO_PROFILE[key]) for key in NO_PROFILE}
        self.chat.accounts[request["user"]] = Account(request["user"], salt, key, profile)

    @command(0x0102, user=is_name, passwd=PASSWORD)
    async def login(self, request):
        account = self.find_user(request["user"])
        async with account.lock:
            await self.check_password(account, request["passwd"])
            if len(account.sessions) >= SESSIONS:
                raise Refuse("too_many_sessions", f"{account.name} has {SESSIONS} sessions.")
            account.sessions.append(self)
            self.account = account
        return {"user": account.name, "friends": [], **self.group_list(request), "unread": [], "requests": []}

    async def check_password(self, account, passwd):
        """A-4. One at a time for each account, so that many at once do not pass the limit."""
        wrong = account.wrong.setdefault(self.address, [])
        wrong[:] = [then for then in wrong if then > time.monotonic() - LOCKOUT[1]]
        if len(wrong) >= LOCKOUT[0]:
            raise Refuse("too_many_attempts", "Too many wrong passwords; wait.")
        if not hmac.compare_digest(await self.chat.hash(passwd, account.salt), account.hash):
            wrong.append(time.monotonic())
            raise Refuse("passwd_error", "The password is wrong.")
        wrong.clear()

    @command(0x0103)
    def logout(self, _):
        self.detach()

    @command(0x0104, old=PASSWORD, new=PASSWORD)
    async def passwd(self, request):
        async with self.account.lock:
            await self.check_password(self.account, request["old"])
            salt = os.urandom(16)
            self.account.hash, self.account.salt = await self.chat.hash(request["new"], salt), salt

    @command(0x0105, user=is_name)
    def profile_get(self, request):
        account = self.find_user(request["user"])
        profile = dict(account.profile)
        if account is not self.account:                 # no friends here: only oneself sees these
            profile.update(address="", email="")
        return {"user": account.name, **profile, "online": bool(account.sessions)}

    @command(0x0106, **PROFILE)
    def profile_set(self, request):
        self.account.profile.update({key: request[key] for key in NO_PROFILE if key in request})

    @command(0x0301, group=is_name, **{"title?": text_of(0, 64)})
    def group_create(self, request):
        if request["group"] in self.chat.groups:
            raise Refuse("failure", "There is a group of this name.", reason="group_exists")
        group = Group(name=request["group"], title=request.get("title", ""), owner=self.account.name, created=now_ms())
        self.enter(group)
        self.chat.groups[group.name] = group

    @command(0x0302, group=is_name)
    def group_join(self, request):
        group = self.find_group(request, member=False)
        if self.account.name not in group.members:
            self.enter(group)

    def enter(self, group):
        if len(self.account.groups) >= GROUPS or len(group.members) >= MEMBERS:
            raise Refuse("failure", "Too many groups, or too many members.", reason="too_many")
        group.members.add(self.account.name)
        self.account.groups.add(group.name)
        self.tell(group.members, "group_event", group=group.name, user=self.account.name, event="joined")

    @command(0x0303, group=is_name)
    def group_leave(self, request):
        group = self.find_group(request)
        if group.owner == self.account.name:
            raise Refuse("failure", "The owner cannot leave; dismiss the group.", reason="owner")
        self.remove(group, self.account.name, "left")

    @command(0x0304, group=is_name, **{"after?": text_of(1, 32)})
    def group_info(self, request):
        group = self.find_group(request)
        names = sorted(name for name in group.members if name > request.get("after", ""))
        return {"group": group.name, "title": group.title, "owner": group.owner, "created": group.created,
                "count": len(group.members), "members": names[:1000]}

    @command(0x0305)
    def group_list(self, _):
        groups = (self.chat.groups[name] for name in sorted(self.account.groups))
        return {"groups": [{"group": group.name, "title": group.title} for group in groups]}

    @command(0x0306, group=is_name, user=is_name)
    def group_kick(self, request):
        group = self.find_group(request, owner=True)
        if request["user"] not in group.members:
            raise Refuse("not_member", f"{request['user']} is not in this group.")
        if request["user"] == group.owner:
            raise bad_field("user")
        self.remove(group, request["user"], "kicked")

    @command(0x0307, group=is_name)
    def group_dismiss(self, request):
        group = self.find_group(request, owner=True)
        self.tell(group.members, "group_event", group=group.name, user=group.owner, event="dismissed")
        for name in group.members:
            self.chat.accounts[name].groups.discard(group.name)
        del self.chat.groups[group.name]

    def remove(self, group, name, event):
        self.tell(group.members, "group_event", group=group.name, user=name, event=event)
        group.members.discard(name)
        self.chat.accounts[name].groups.discard(group.name)

    @command(0x0401, user_to=is_name, text=text_of(1, 8192, control=True), **{"id?": text_of(1, 64),
                                                                              "user_from?": is_name})
    def private_chat(self, request):
        if request.get("user_from", self.account.name) != self.account.name:
            raise bad_field("user_from")
        other = self.find_user(request["user_to"])
        pair = frozenset((self.account.name, other.name))
        sent = self.store(self.chat.pairs.setdefault(pair, Conversation()), request, pair, "private_chat_recv",
                          user_from=self.account.name, user_to=other.name)
        return {"result": "success" if other.sessions else "offline", **sent}

    @command(0x0402, group=is_name, text=text_of(1, 8192, control=True), **{"id?": text_of(1, 64)})
    def group_chat(self, request):
        group = self.find_group(request)
        return self.store(group, request, group.members, "group_chat_recv", group=group.name,
                          user_from=self.account.name)

    def store(self, conversation, request, names, push, **about):
        """Number the message and pass it on; one that repeats an id gets the first one's number (M-6)."""
        key = self.account.name, request.get("id")
        if request.get("id") in (None, "") or key not in conversation.ids:
            conversation.latest += 1
            conversation.time = max(conversation.time, now_ms())
            sent = {"msg_id": conversation.latest, "time": conversation.time}
            self.tell(names, push, **about, text=request["text"], **sent)
            if "id" not in request:
                return sent
            conversation.ids[key] = sent
        return conversation.ids[key]

    @command(0x0406, user_or_group=is_name)
    def typing(self, request):
        if "group" in request:
            group = self.find_group(request)
            self.tell(group.members - {self.account.name}, "typing_event", user=self.account.name, group=group.name)
        else:
            other = self.find_user(request["user"])
            self.tell({other.name} - {self.account.name}, "typing_event", user=self.account.name)

    def tell(self, names, push, **payload):
        """Push to each session of these users but this one."""
        for session in self.chat.sessions_of(names):
            if session is not self:
                session.push(push, **payload)

    def find_user(self, name):
        if name not in self.chat.accounts:
            raise Refuse("user_not_exist", f"There is no user {name}.")
        return self.chat.accounts[name]

    def find_group(self, request, member=True, owner=False):
        group = self.chat.groups.get(request["group"])
        if not group:
            raise Refuse("group_not_exist", f"There is no group {request['group']}.")
        if owner and group.owner != self.account.name:
            raise Refuse("not_owner", "Only the owner may do this.")
        if member and self.account.name not in group.members:
            raise Refuse("not_member", "You are not in this group.")
        return group


# --- The program

async def run(options):
    chat = Chat(options.password_cost)
    tasks = set()

    async def accepted(reader, writer):
        tasks.add(asyncio.current_task())
        await Connection(chat, reader, writer).serve()
        tasks.discard(asyncio.current_task())

    server = await asyncio.start_server(accepted, str(options.host), options.port, limit=2 ** 20)
    host, port = server.sockets[0].getsockname()[:2]
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    print(f"listening on {f'[{host}]' if ':' in host else host}:{port}", flush=True)
    await stop.wait()
    server.close()
    for task in list(tasks):        # L-7, as far as a request is answered in one step
        task.cancel()
    if tasks:
        await asyncio.wait(list(tasks), timeout=5)


def port_number(word):
    if not re.fullmatch(r"[0-9]{1,5}", word) or int(word) > 65535:
        raise ValueError(word)
    return int(word)


def main():
    parser = argparse.ArgumentParser(description="A small chat server; see the head of this file.")
    parser.add_argument("--host", type=ipaddress.ip_address, default="127.0.0.1")
    parser.add_argument("--port", type=port_number, default=8000)
    parser.add_argument("--store", choices=["memory"], default="memory")
    parser.add_argument("--password-cost", choices=["interactive", "min"], default="interactive")
    parser.add_argument("--rate-limit", choices=["0"], default="0", help="there is none")
    parser.add_argument("--version", action="version", version="example.py 1.0")
    try:
        asyncio.run(run(parser.parse_args()))
    except OSError as error:
        sys.exit(f"cannot listen: {error}")     # exit status 1


if __name__ == "__main__":
    main()
