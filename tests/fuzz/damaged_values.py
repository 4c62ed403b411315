"""Damage to values rather than to bytes: numbers, names and kinds that nobody expects, wherever they stand."""

from __future__ import annotations

import re
from random import Random
from typing import Any

TELLING = (0, 1, -1, 2, 255, 65_536, 10**9, 2**31, 2**63, 10**30, 0.5, 1e300, float("nan"), float("inf"))
_OTHERS = (None, True, "", "x", "../x", "/etc/passwd", "a\0b", "\x1b[31m", "=1", [], [1], {}, {"x": 1})
_NUMBER = re.compile(rb"-?\d+")


def changed_value(value: Any, random: Random) -> Any:
    """JSON with something in it replaced, left out or repeated."""
    if isinstance(value, dict) and value and random.random() < 0.9:
        key = random.choice(list(value))
        rest = {**value, key: changed_value(value[key], random)}
        if random.random() < 0.05:
            del rest[key]
        return rest
    if isinstance(value, list) and value and random.random() < 0.9:
        place = random.randrange(len(value))
        again = random.random() < 0.05
        return [*value[:place], changed_value(value[place], random), *value[place + (0 if again else 1) :]]
    return random.choice((*TELLING, *_OTHERS))


def changed_number(text: bytes, random: Random) -> bytes:
    """A text in which one number is another one."""
    found = list(_NUMBER.finditer(text))
    if not found:
        return text
    one = random.choice(found)
    return text[: one.start()] + str(random.choice(TELLING)).encode() + text[one.end() :]
