"""A terminal that a program can be run in, and that says what a person would see on its screen.

Only what TERM=xterm makes libedit and bin/chat send is understood; anything else is an error of the test, so that
no escape sequence goes unnoticed.
"""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
import unicodedata

DEADLINE_S = 20
SEQUENCE = re.compile(r"\x1b(?:\[([?0-9;]*)([@-~])|([78=>]))")


class Screen:
    """Rows of characters, and a cursor."""

    def __init__(self, rows, columns):
        self.rows, self.columns = rows, columns
        self.cells = [[]for _ in range(rows)]
        self.row = self.column = 0
        self.scrolled = []              # rows that left at the top
        self.pending = ""
        self.bells = 0

    def feed(self, text):
        text = self.pending + text
        self.pending = ""
        while text:
            if text[0] != "\x1b":
                self.put(text[0])
                text = text[1:]
                continue
            match = SEQUENCE.match(text)
            if match is None:
                if len(text) < 12 and re.fullmatch(r"\x1b(\[[?0-9;]*)?", text):
                    self.pending = text
                    return
                raise AssertionError(f"the program sent {text[:20]!r} to the terminal")
            self.sequence(match[1] or "", match[2] or match[3])
            text = text[match.end():]

    def put(self, character):
        if character == "\r":
            self.column = 0
        elif character == "\n":
            self.down()
        elif character == "\b":
            self.column = max(0, min(self.column, self.columns) - 1)
        elif character == "\t":
            self.column = min(self.columns - 1, (self.column // 8 + 1) * 8)
        elif character == "\a":
            self.bells += 1
        else:
            assert ord(character) >= 0x20 and not 0x7f <= ord(character) < 0xa0, f"{character!r} reached the terminal"
            self.draw(character)

    def draw(self, character):
        width = 2 if unicodedata.east_asian_width(character) in "WF" else 1
        if self.column + width > self.columns:          # the cursor waits behind the last column, as xterm's does
            self.column = 0
            self.down()
        row = self.cells[self.row]
        row.extend(" " * (self.column + width - len(row)))
        row[self.column:self.column + width] = [character] + [""] * (width - 1)
        self.column += width

    def down(self):
        self.row += 1
        if self.row == self.rows:
            self.scrolled.append(self.line(0))
            del self.cells[0]
            self.cells.append([])
            self.row -= 1

    def sequence(self, parameters, final):
        count = int(parameters) if parameters.isdigit() else 1
        row = self.cells[self.row]
        if final == "A":
            self.row = max(0, self.row - count)
        elif final == "B":
            self.row = min(self.rows - 1, self.row + count)
        elif final == "C":
            self.column = min(self.columns - 1, self.column + count)
        elif final == "D":
            self.column = max(0, min(self.column, self.columns - 1) - count)
        elif final == "G":
            self.column = count - 1
        elif final == "K":
            del row[self.column:]
        elif final == "J":
            assert parameters in ("", "0"), parameters
            del row[self.column:]
            self.cells[self.row + 1:] = [[] for _ in self.cells[self.row + 1:]]
        elif final == "P":
            del row[self.column:self.column + count]
        elif final == "@":
            row.extend(" " * (self.column - len(row)))
            row[self.column:self.column] = [" "] * count
        else:
            assert final in "mhl=>", f"the program sent CSI {parameters}{final} to the terminal"

    def line(self, row):
        return "".join(self.cells[row]).rstrip()

    def lines(self):
        """All that was ever shown and not erased, the line with the cursor last."""
        return self.scrolled + [self.line(row) for row in range(self.row + 1)]

    def text(self):
        return "\n".join(self.lines())


class Terminal:
    """`command` in a terminal of its own."""

    def __init__(self, command, rows=24, columns=80, env=None):
        master, slave = pty.openpty()
        self.master = master
        self.screen = Screen(rows, columns)
        self.raw = b""
        self.undecoded = b""
        self.resize(rows, columns)
        self.process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, close_fds=True,
            preexec_fn=lambda: (os.setsid(), fcntl.ioctl(0, termios.TIOCSCTTY, 0)),
            env={**os.environ, "TERM": "xterm", "EDITRC": "/dev/null", "HOME": "/nonexistent", **(env or {})})
        os.close(slave)

    def resize(self, rows, columns):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.screen.rows = rows
        self.screen.columns = columns

    def type(self, text):
        os.write(self.master, text.encode())

    def echoes(self):
        return bool(termios.tcgetattr(self.master)[3] & termios.ECHO)

    def _read(self, left):
        if not select.select([self.master], [], [], left)[0]:
            return False
        try:
            got = os.read(self.master, 65536)
        except OSError:                 # EIO: the program has ended
            return False
        self.raw += got
        self.undecoded += got
        text = self.undecoded.decode("utf-8", "ignore")
        self.undecoded = self.undecoded[len(text.encode()):]
        self.screen.feed(text)
        return bool(got)

    def wait(self, condition, what):
        """Read until condition(screen) holds."""
        deadline = time.monotonic() + DEADLINE_S
        while not condition(self.screen):
            left = deadline - time.monotonic()
            if left <= 0 or not self._read(left):
                raise AssertionError(f"waited in vain for {what}; the screen:\n{self.screen.text()}")

    def see(self, text):
        self.wait(lambda screen: text in screen.text(), repr(text))

    def see_last(self, line):
        """The line with the cursor reads so."""
        self.wait(lambda screen: screen.lines()[-1] == line.rstrip(), f"the last line {line!r}")

    def count(self, text):
        return sum(text in line for line in self.screen.lines())

    def end(self):
        """The exit status."""
        deadline = time.monotonic() + DEADLINE_S
        while self.process.poll() is None and time.monotonic() < deadline:
            self._read(0.05)
        while self._read(0):
            pass
        return self.process.poll()

    def close(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        os.close(self.master)
