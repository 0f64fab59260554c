#!/usr/bin/env python3
"""docs/examples/server.py with one fault: wrong_server.py FAULT [options]. FAULT `none` is the right server.

The clock stands still, so that reports are the same in every run.
"""

import importlib.util
import os
import signal
import socket
import struct
import sys
from pathlib import Path

EXAMPLE = Path(__file__).resolve().parents[3] / "docs" / "examples" / "server.py"
spec = importlib.util.spec_from_file_location("example", EXAMPLE)
example = importlib.util.module_from_spec(spec)
sys.modules["example"] = example
spec.loader.exec_module(example)
Connection, encode = example.Connection, example.encode
example.now_ms = lambda: 1_700_000_000_000
FAULTS = {}


def fault(function):
    FAULTS[function.__name__] = function
    return function


def on_ping(act):
    """Replace what a ping does."""
    name, fields, _ = example.COMMANDS[1]
    example.COMMANDS[1] = name, fields, act


def on_frame(change):
    """Change each frame on its way out: change(cmd, seq, payload, frame) -> bytes."""
    example.encode = lambda cmd, seq, payload: change(cmd, seq, payload, encode(cmd, seq, payload))


@fault
def none():
    pass


@fault
def crashes():
    def crash(*_):
        print("assertion failed: connection->state == OPEN", file=sys.stderr, flush=True)
        os.abort()
    on_ping(crash)


@fault
def crashes_on_the_third_request():
    """Whatever they are: two may be answered, and the third ends the process."""
    answer, count = Connection.answer, 0

    async def count_and_answer(self, cmd, body):
        nonlocal count
        count += 1
        if count == 3:
            os.abort()
        return await answer(self, cmd, body)
    Connection.answer = count_and_answer


@fault
def exits():
    on_ping(lambda *_: os._exit(3))


@fault
def reports_a_sanitizer():
    def report(*_):
        print("==1==ERROR: AddressSanitizer: heap-use-after-free on address 0x1\n    #0 connection_read server.c:1",
              file=sys.stderr, flush=True)
        return {"time": example.now_ms()}
    on_ping(report)


@fault
def hangs_blocked():
    on_ping(lambda *_: signal.pause())


@fault
def hangs_spinning():
    def spin(*_):
        while True:
            pass
    on_ping(spin)


@fault
def never_answers_ping():
    """It goes on serving others: no hang, only no reply."""
    async def wait(*_):
        await example.asyncio.Event().wait()
    on_ping(wait)


@fault
def closes_at_once():
    async def close(self):
        await self.reader.read(100)         # with bytes unread it would be a reset, or not, as it happens
        self.writer.close()
    Connection.serve = close


@fault
def resets():
    async def reset(self, bye):
        if bye:
            self.writer.write(encode(example.BYE, 0, bye))
            await self.writer.drain()
        linger = struct.pack("ii", 1, 0)
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.writer.transport.abort()
    Connection.close = reset


@fault
def speaks_http():
    async def answer(self):
        await self.reader.read(100)
        self.writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        self.writer.write_eof()
    Connection.serve = answer


@fault
def wrong_checksum():
    on_frame(lambda cmd, seq, payload, frame: frame[:-6] + b"\0\0\0\0" + frame[-2:] if cmd == 0x8001 else frame)


@fault
def little_endian_length():
    def turn(cmd, seq, payload, frame):
        return frame[:12] + frame[12:16][::-1] + frame[16:] if cmd == 0x8001 else frame
    on_frame(turn)


@fault
def a_key_twice():
    def double(cmd, seq, payload, frame):
        body = frame[16:-6]
        return make(cmd, seq, body[:-1] + b',"time":1}') if cmd == 0x8001 else frame
    on_frame(double)


def make(cmd, seq, body):
    frame = example.HEAD.pack(0xC4A7, 1, 0, cmd, 0, seq, len(body)) + body
    return frame + example.TAIL.pack(example.zlib.crc32(frame), 0x0D0A)


@fault
def push_with_seq():
    on_frame(lambda cmd, seq, payload, frame: encode(cmd, 7, payload) if cmd == 0x4401 else frame)


@fault
def answers_twice():
    on_frame(lambda cmd, seq, payload, frame: frame * 2 if cmd == 0x8401 else frame)


@fault
def pushes_twice():
    on_frame(lambda cmd, seq, payload, frame: frame * 2 if cmd == 0x4401 else frame)


@fault
def never_pushes():
    on_frame(lambda cmd, seq, payload, frame: b"" if cmd == 0x4401 else frame)


@fault
def drops_a_push():
    """The second of all; the others come."""
    pushes = []

    def drop(cmd, seq, payload, frame):
        if cmd == 0x4401:
            pushes.append(payload)
        return b"" if cmd == 0x4401 and len(pushes) == 2 else frame
    on_frame(drop)


@fault
def wrong_seq():
    on_frame(lambda cmd, seq, payload, frame: encode(cmd, seq + 1, payload) if cmd == 0x8001 else frame)


@fault
def wrong_order():
    held = []

    def swap(cmd, seq, payload, frame):
        if cmd == 0x8001 and not held:
            held.append(frame)
            return b""
        return frame + held.pop() if held else frame
    on_frame(swap)


@fault
def field_missing():
    on_ping(lambda *_: {})


@fault
def no_message():
    def drop(cmd, seq, payload, frame):
        payload.pop("message", None)
        return encode(cmd, seq, payload)
    on_frame(drop)


@fault
def numbers_with_gaps():
    store = example.Connection.store

    def skip(self, other, request):
        sent = store(self, other, request)
        return {**sent, "msg_id": sent["msg_id"] + (sent["msg_id"] > 2)}
    example.Connection.store = skip


@fault
def wrong_status():
    run = example.run

    async def and_fail(options):
        await run(options)
        sys.exit(4)
    example.run = and_fail


@fault
def ignores_sigterm():
    async def run(options):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        listener = await example.asyncio.start_server(lambda r, w: Connection(chat, r, w).serve(), "127.0.0.1", 0)
        print(f"listening on 127.0.0.1:{listener.sockets[0].getsockname()[1]}", flush=True)
        await example.asyncio.Event().wait()
    chat = example.Chat(2)
    example.run = run


@fault
def does_not_start():
    print("cannot open the database: it is damaged", file=sys.stderr)
    sys.exit(1)


@fault
def says_nothing():
    signal.pause()


@fault
def wrong_first_line():
    print("Server ready.", flush=True)
    signal.pause()


if __name__ == "__main__":
    FAULTS[sys.argv.pop(1)]()
    example.main()
