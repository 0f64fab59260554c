"""Does a payload count as acceptable JSON (F-5)? The oracle of the tests, in Python's own parser plus what it lets
pass."""

import json

LEVELS = 8


def acceptable(body):
    if not body:
        return True         # F-2: length 0 means {}
    try:
        value = json.loads(body.decode("utf-8"), parse_int=_integer, parse_float=_double, parse_constant=_refuse,
                           object_pairs_hook=_unique)
        return isinstance(value, dict) and _fits(value, 1)
    except (ValueError, RecursionError):        # UnicodeError is a ValueError
        return False


def _integer(digits):
    if len(digits) > 20 or not -2 ** 63 <= int(digits) < 2 ** 63:
        raise ValueError("integer out of range")
    return int(digits)


def _double(digits):
    if float(digits) in (float("inf"), float("-inf")):
        raise ValueError("number out of range")
    return float(digits)


def _refuse(word):
    raise ValueError(word)


def _unique(pairs):
    if len(dict(pairs)) != len(pairs):
        raise ValueError("a key twice")
    return dict(pairs)


def _fits(value, level):
    if isinstance(value, str):
        value.encode("utf-8")       # a lone surrogate fails
        return "\0" not in value
    if isinstance(value, dict):
        return level <= LEVELS and all(_fits(key, level) and _fits(item, level + 1) for key, item in value.items())
    if isinstance(value, list):
        return level <= LEVELS and all(_fits(item, level + 1) for item in value)
    return True
