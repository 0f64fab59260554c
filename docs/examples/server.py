#!/usr/bin/env python3
"""A small chat server in Python: accounts and private messages of docs/protocol.md, without friends, groups or a store.

It is here to be read beside the protocol, and to try the conformance suite on:

    docs/examples/server.py --port 8000
    python3 -m pytest tests/conformance --server docs/examples/server.py

One asyncio loop does everything, so the state needs no locks. All is forgotten at the end, nothing bounds what waits
for a slow reader, and passwords are hashed by scrypt (A-10 asks for Argon2id, which Python does not bring): for a
server to use, take a stage of this repository.
"""

import argparse
import asyncio
import hashlib
import hmac
import ipaddress
import json
import math
import os
import re
import signal
import struct
import sys
import time
import zlib

HEAD, TAIL = struct.Struct(">HBBHHII"), struct.Struct(">IH")         # F-2
REPLY, BYE, PRIVATE_CHAT_RECV, TYPING_EVENT = 0x8000, 0x4002, 0x4401, 0x4403
SERVER = "example.py 1.0"
LINGER_S = 2                            # L-9
LOCKOUT_FAILURES, LOCKOUT_S = 10, 1800
SESSIONS_MAX = 8
HTTP_ANSWER = (b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n"
               b"This port speaks the chat protocol (docs/protocol.md). Use its client, bin/chat.\n")


class Broken(Exception):
    """A frame that ends the connection (F-4)."""


class Refuse(Exception):
    """Ends a request with this result."""

    def __init__(self, result, message, **fields):
        super().__init__(message)
        self.payload = {"result": result, "message": message, **fields}


# --- Frames

def encode(cmd, seq, payload):
    body = json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()
    frame = HEAD.pack(0xC4A7, 1, 0, cmd, 0, seq, len(body)) + body
    return frame + TAIL.pack(zlib.crc32(frame), 0x0D0A)


async def read_frame(reader, head):
    """(cmd, seq, payload bytes) of the frame that begins with the byte `head`. Each fault is told by the byte that
    shows it, so a head is read byte by byte."""
    while True:
        for offset, right, error in ((0, 0xC4, "bad_head"), (1, 0xA7, "bad_head"), (2, 1, "bad_version"),
                                     (3, 0, "bad_flags"), (6, 0, "bad_flags"), (7, 0, "bad_flags")):
            if len(head) > offset and head[offset] != right:
                raise Broken(error)
        if int.from_bytes(head[12:].ljust(4, b"\0"), "big") > 65536:
            raise Broken("too_long")
        if len(head) == HEAD.size:
            break
        head += await reader.readexactly(1)
    _, _, _, cmd, _, seq, length = HEAD.unpack(head)
    body = await reader.readexactly(length + TAIL.size)
    crc, tail_flag = TAIL.unpack(body[length:])
    if tail_flag != 0x0D0A:
        raise Broken("bad_tail")
    if crc != zlib.crc32(head + body[:length]):
        raise Broken("bad_crc")
    return cmd, seq, body[:length]


# --- Payloads (F-5)

def unique(pairs):
    if len(dict(pairs)) != len(pairs):
        raise ValueError("a key stands twice")
    return dict(pairs)


def judge_value(value, level=1):
    """ValueError for what json.loads() lets pass, and F-5 does not."""
    if isinstance(value, str):
        value.encode()                  # which a lone surrogate does not survive
        if "\0" in value:
            raise ValueError("a NUL character")
    elif isinstance(value, (int, float)):
        if not (math.isfinite(value) if isinstance(value, float) else -2 ** 63 <= value < 2 ** 63):
            raise ValueError("a number is too large")
    elif value is not None:
        if level > 8:
            raise ValueError("more than 8 levels")
        for item in [*value, *value.values()] if isinstance(value, dict) else value:
            judge_value(item, level + 1)


def parse(body):
    payload = json.loads((body or b"{}").decode(), object_pairs_hook=unique)
    if not isinstance(payload, dict):
        raise ValueError("no object")
    judge_value(payload)
    return payload


# --- Fields (Q-3, C-1, C-2): a function for each kind says whether a value is acceptable

def text(least, most, control=r"[\x00-\x1f\x7f]"):
    return lambda value: (isinstance(value, str) and least <= len(value.encode()) <= most
                          and not re.search(control, value))


NAME = lambda value: isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}", value)
PASSWORD = text(4, 128)
MESSAGE = text(1, 8192, control=r"(?!)")                # which matches nowhere: any character is good
PROFILE = {"name?": text(0, 64), "sex?": lambda value: value in ("male", "female", "other", ""),
           "age?": lambda value: type(value) is int and 0 <= value <= 150, "address?": text(0, 256),
           "email?": lambda value: text(0, 254)(value) and re.fullmatch(r"|[^@]+@[^@]+", value)}
NO_PROFILE = {"name": "", "sex": "", "age": 0, "address": "", "email": ""}


def bad_field(key):
    return Refuse("bad_request", f"The field {key} is missing or not acceptable.", field=key)


def judge_fields(payload, fields):
    for name, acceptable in fields.items():
        key = name.rstrip("?")          # `?` marks an optional one
        if key in payload and not acceptable(payload[key]) or key not in payload and key == name:
            raise bad_field(key)


COMMANDS = {}                           # number -> (name, fields, method)


def command(number, **fields):
    """Registers a method of Connection for a request of section C."""
    def register(method):
        COMMANDS[number] = method.__name__, fields, method
        return method
    return register


# --- The state

class Account:
    def __init__(self, name, salt, key, profile):
        self.name, self.salt, self.key, self.profile = name, salt, key, profile
        self.sessions = []
        self.failures = {}              # client address -> times of wrong passwords
        self.lock = asyncio.Lock()      # held while a password of it is checked


class Conversation:
    latest, time = 0, 0                 # of the newest message

    def __init__(self):
        self.ids = {}                   # (sender, id) -> the first answer


class Chat:
    def __init__(self, cost):
        self.cost = cost                # of a hash
        self.accounts = {}              # by name
        self.conversations = {}         # by the two accounts

    async def hash(self, passwd, salt):
        derive = lambda: hashlib.scrypt(passwd.encode(), salt=salt, n=self.cost, r=8, p=1)
        return await asyncio.get_running_loop().run_in_executor(None, derive)       # L-11


def now_ms():
    return time.time_ns() // 1_000_000


# --- A connection and its commands

class Connection:
    def __init__(self, chat, reader, writer):
        self.chat, self.reader, self.writer = chat, reader, writer
        self.account = None             # of the session
        address = ipaddress.ip_address(writer.get_extra_info("peername")[0])
        self.address = address if address.version == 4 else ipaddress.ip_network((address, 64), strict=False)

    async def serve(self):
        bye = None
        try:
            first = await self.reader.readexactly(1)
            if first.isalpha():
                await self.answer_text(first)
            while not first.isalpha():
                await self.serve_frame(first or await self.reader.readexactly(1))
                first = b""
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        except Broken as fault:
            bye = {"reason": "protocol_error", "error": str(fault)}
        finally:
            self.logout({})
        await self.close(bye)

    async def answer_text(self, text):
        """F-1. Somebody with a browser, most likely."""
        while b"\n" not in text and len(text) < 8192 and (more := await self.reader.read(4096)):
            text += more
        self.writer.write(HTTP_ANSWER)

    async def serve_frame(self, head):
        cmd, seq, body = await read_frame(self.reader, head)
        try:
            reply = {"result": "success", **(await self.answer(cmd, body) or {})}
        except Refuse as refusal:
            reply = refusal.payload
        self.writer.write(encode(cmd | REPLY, seq, reply))

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
        return await reply if asyncio.iscoroutine(reply) else reply

    async def close(self, bye):
        """Bye, FIN, then read and discard, so that no reset overtakes the bye (L-9)."""
        try:
            if bye:
                self.writer.write(encode(BYE, 0, bye))
            self.writer.write_eof()
            async with asyncio.timeout(LINGER_S):
                while await self.reader.read(65536):
                    pass
        except (OSError, TimeoutError):
            pass
        self.writer.close()

    @command(0x0001)
    def ping(self, _):
        return {"time": now_ms()}

    @command(0x0003, **{"client?": text(0, 64)})
    def hello(self, _):
        return {"protocol": 1, "server": SERVER, "capabilities": ["accounts", "messages"]}

    @command(0x0101, user=NAME, passwd=PASSWORD, **PROFILE)
    async def register(self, request):
        name, salt = request["user"], os.urandom(16)
        key = await self.chat.hash(request["passwd"], salt)
        if name in self.chat.accounts:  # asked after the hash: somebody else may register meanwhile
            raise Refuse("failure", "There is a user of this name.", reason="user_exists")
        profile = {field: request.get(field, NO_PROFILE[field]) for field in NO_PROFILE}
        self.chat.accounts[name] = Account(name, salt, key, profile)

    @command(0x0102, user=NAME, passwd=PASSWORD)
    async def login(self, request):
        account = self.find_user(request["user"])
        await self.check_password(account, request["passwd"])
        if len(account.sessions) >= SESSIONS_MAX:
            raise Refuse("too_many_sessions", f"{account.name} has {SESSIONS_MAX} sessions.")
        account.sessions.append(self)
        self.account = account
        return {"user": account.name, "friends": [], "groups": [], "unread": [], "requests": []}

    async def check_password(self, account, passwd):
        """A-4. One at a time for each account, so that many at once do not pass the limit."""
        async with account.lock:
            recent = [then for then in account.failures.get(self.address, ()) if then > time.monotonic() - LOCKOUT_S]
            if len(recent) >= LOCKOUT_FAILURES:
                raise Refuse("too_many_attempts", "Too many wrong passwords; wait.")
            if not hmac.compare_digest(await self.chat.hash(passwd, account.salt), account.key):
                account.failures[self.address] = [*recent, time.monotonic()]
                raise Refuse("passwd_error", "The password is wrong.")
            account.failures.pop(self.address, None)

    @command(0x0103)
    def logout(self, _):
        if self.account:
            self.account.sessions.remove(self)
        self.account = None

    @command(0x0104, old=PASSWORD, new=PASSWORD)
    async def passwd(self, request):
        salt = os.urandom(16)
        key = await self.chat.hash(request["new"], salt)    # first: between check and change, nobody else may have a turn
        await self.check_password(self.account, request["old"])
        self.account.key, self.account.salt = key, salt

    @command(0x0105, user=NAME)
    def profile_get(self, request):
        account = self.find_user(request["user"])
        hidden = {} if account is self.account else {"address": "", "email": ""}        # there are no friends
        return {"user": account.name, **account.profile, **hidden, "online": bool(account.sessions)}

    @command(0x0106, **PROFILE)
    def profile_set(self, request):
        self.account.profile.update({field: request[field] for field in NO_PROFILE if field in request})

    @command(0x0401, user_to=NAME, text=MESSAGE, **{"id?": text(1, 64), "user_from?": NAME})
    def private_chat(self, request):
        if request.get("user_from", self.account.name) != self.account.name:
            raise bad_field("user_from")
        other = self.find_user(request["user_to"])
        return {"result": "success" if other.sessions else "offline", **self.store(other, request)}

    def store(self, other, request):
        """Number the message and pass it on; one that repeats an id gets the first one's number (M-6)."""
        key = self.account.name, request.get("id")
        conversation = self.chat.conversations.setdefault(frozenset((self.account, other)), Conversation())
        if key in conversation.ids:
            return conversation.ids[key]
        conversation.latest += 1
        conversation.time = max(conversation.time, now_ms())            # M-1
        sent = {"msg_id": conversation.latest, "time": conversation.time}
        if "id" in request:
            conversation.ids[key] = sent
        self.tell({self.account, other}, PRIVATE_CHAT_RECV, user_from=self.account.name, user_to=other.name,
                  text=request["text"], **sent)
        return sent

    @command(0x0406, **{"user?": NAME})
    def typing(self, request):
        if ("user" in request) == ("group" in request):         # C-3
            raise bad_field("user")
        if "group" in request:
            raise Refuse("group_not_exist", "There are no groups here.")
        self.tell({self.find_user(request["user"])} - {self.account}, TYPING_EVENT, user=self.account.name)

    def tell(self, accounts, push, **payload):
        """Push to each session of these users but this one (M-4)."""
        for session in [session for account in accounts for session in account.sessions if session is not self]:
            session.writer.write(encode(push, 0, payload))

    def find_user(self, name):
        if name not in self.chat.accounts:
            raise Refuse("user_not_exist", f"There is no user {name}.")
        return self.chat.accounts[name]


# --- The program

async def run(options):
    chat, stop = Chat(2 ** 4 if options.password_cost == "min" else 2 ** 14), asyncio.Event()
    server = await asyncio.start_server(lambda *streams: Connection(chat, *streams).serve(), str(options.host),
                                        options.port)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    host, port = server.sockets[0].getsockname()[:2]
    print(f"listening on {f'[{host}]' if ':' in host else host}:{port}", flush=True)
    await stop.wait()


def port_number(word):
    if not re.fullmatch(r"[0-9]{1,5}", word) or int(word) > 65535:
        raise ValueError(word)
    return int(word)


def main():
    parser = argparse.ArgumentParser(description="A small chat server; see the head of this file.")
    parser.add_argument("--host", type=ipaddress.ip_address, default="127.0.0.1")
    parser.add_argument("--port", type=port_number, default=8000)
    parser.add_argument("--store", choices=["memory"], help="there is no other")
    parser.add_argument("--rate-limit", choices=["0"], help="there is none")
    parser.add_argument("--password-cost", choices=["interactive", "min"], default="interactive")
    parser.add_argument("--version", action="version", version=SERVER)
    try:
        asyncio.run(run(parser.parse_args()))
    except OSError as error:
        sys.exit(f"cannot listen: {error}")     # exit status 1


if __name__ == "__main__":
    main()
