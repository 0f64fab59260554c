"""The fields of every request (section C) with values that are just acceptable and just not."""

from dataclasses import dataclass

E_ACUTE = "é"           # 2 bytes, so that a limit counted in characters shows
LONGEST_NAME = "n" * 32


@dataclass(frozen=True)
class Kind:
    good: tuple                 # acceptable, at the boundaries
    bad: tuple                  # of the right type, and just not acceptable
    wrong: tuple                # of a wrong type
    ordinary: object            # what a request has when another of its fields is looked at


NO_STRING = (0, 1.5, True, [], ["text"], {}, None)
NO_INTEGER = ("1", "", 1.0, 1.5, True, False, [], {}, None)
NO_BOOL = (0, 1, "true", "", [], {}, None)
CONTROLS = ("ab\ncd", "ab\x01cd", "\x1fabcd", "abcd\x7f")


def string(least, most, ordinary, controls=False):
    """A string of `least` to `most` bytes."""
    good = ["x" * max(least, 1), "x" * most, E_ACUTE * (most // 2), "\U0001f600" * (most // 4), '"\\/', "\x80\u2028~~"]
    bad = ["x" * (most + 1), E_ACUTE * (most // 2 + 1)]
    if least == 0:
        good.append("")
    else:
        bad += ["", "x" * (least - 1)] if least > 1 else [""]
    (good if controls else bad).extend(CONTROLS)
    return Kind(tuple(one for one in good if least <= len(one.encode()) <= most), tuple(bad), NO_STRING, ordinary)


def integer(least, most, ordinary):
    bad = [least - 1, -2 ** 63]
    if most < 2 ** 63 - 1:
        bad += [most + 1, 2 ** 32 + least, 2 ** 63 - 1]     # 2^32 + x: one that is cut to 32 bits
    return Kind((least, most), tuple(bad), NO_INTEGER, ordinary)


KINDS = {
    "name": Kind(("a", "Z", "0", "a.", "a_", "a-", "9.-_", LONGEST_NAME, "A.b_c-9"),
                 ("", LONGEST_NAME + "n", ".a", "_a", "-a", "a b", " a", "a ", "a/b", "a@b", "é", "aé", "a\n",
                  "a\x7f", "a\\", "a'b", "a%", "a*", "\u0430"),       # the last is a Cyrillic a
                 NO_STRING, "nobody-of-this-name"),
    "passwd": string(4, 128, "a password"),
    "display": string(0, 64, "A Name"),
    "sex": Kind(("male", "female", "other", ""), ("Male", "m", "none", " ", "others"), NO_STRING, "other"),
    "age": integer(0, 150, 30),
    "address": string(0, 256, "1 Some Street"),
    "email": Kind(("", "a@b", "a" * 252 + "@b", "a b@c.d"),
                  ("a", "@", "@b", "a@", "a@b@c", "@@", "a@@b", "a" * 253 + "@b", "a@\x01"), NO_STRING, "a@b.c"),
    "text": string(1, 8192, "a text", controls=True),
    "friend text": string(0, 128, "let us be friends"),
    "title": string(0, 64, "A Title"),
    "client": string(0, 64, "a client 1.0"),
    "id": string(1, 64, "an-id"),
    "bool": Kind((True, False), (), NO_BOOL, True),
    "number": integer(0, 2 ** 63 - 1, 0),
    "limit": integer(1, 100, 10),
    "member after": string(1, 32, "somebody"),
}


@dataclass(frozen=True)
class Field:
    name: str
    kind: str
    optional: bool = False

    @property
    def values(self):
        return KINDS[self.kind]


def _fields(text):
    """`user name, title? title` as Fields: name, kind; `?` marks an optional one."""
    fields = []
    for part in text.split(","):
        if part.strip():
            name, _, kind = part.strip().partition(" ")
            fields.append(Field(name.rstrip("?"), kind, name.endswith("?")))
    return fields


PROFILE = "name? display, sex? sex, age? age, address? address, email? email"

# "user or group" (C-3) stands here as `user`; TARGETS says where a group may take its place.
FIELDS = {cmd: _fields(text) for cmd, text in {
    "ping": "", "stats": "", "hello": "client? client",
    "register": "user name, passwd passwd, " + PROFILE, "login": "user name, passwd passwd", "logout": "",
    "passwd": "old passwd, new passwd", "profile_get": "user name", "profile_set": PROFILE,
    "friend_add": "user name, text? friend text", "friend_answer": "user name, accept bool",
    "friend_remove": "user name", "friend_list": "",
    "group_create": "group name, title? title", "group_join": "group name", "group_leave": "group name",
    "group_info": "group name, after? member after", "group_list": "", "group_kick": "group name, user name",
    "group_dismiss": "group name",
    "private_chat": "user_to name, text text, id? id, user_from? name", "group_chat": "group name, text text, id? id",
    "history": "user name, before? number, after? number, limit? limit", "unread": "",
    "read": "user name, msg_id number", "typing": "user name",
}.items()}
TARGETS = ("history", "read", "typing")


def ordinary(cmd, optional=False):
    """The fields of an acceptable request; with all its optional ones, or none."""
    return {field.name: field.values.ordinary for field in FIELDS[cmd] if optional or not field.optional}
