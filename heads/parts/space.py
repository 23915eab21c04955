"""Search spaces: what tuning may choose, beside each head as `SPACE`, and from the command line.

`lr=1e-5..1e-1:log`, `dropout=0..0.5`, `leaves=4..64`, `depth=true|false`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from heads.errors import BadSetting
from heads.head import head_class, make_head


class Chooser(Protocol):
    """What an Optuna trial can do."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = ...) -> float: ...
    def suggest_int(self, name: str, low: int, high: int, *, log: bool = ...) -> int: ...
    def suggest_categorical(self, name: str, choices: Sequence[str]) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """Numbers between two ends."""

    low: float
    high: float
    log: bool = False
    whole: bool = False

    def __post_init__(self) -> None:
        ends = math.isfinite(self.low) and math.isfinite(self.high)
        if not ends or not self.low < self.high or (self.log and self.low <= 0):
            raise BadSetting(
                f"Range {self.low:g}..{self.high:g}{':log' if self.log else ''}: give LOW..HIGH "
                f"with LOW < HIGH, above 0 where it is logarithmic."
            )

    def choose(self, chooser: Chooser, name: str) -> str:
        if self.whole:
            return str(chooser.suggest_int(name, int(self.low), int(self.high), log=self.log))
        return repr(chooser.suggest_float(name, self.low, self.high, log=self.log))


@dataclass(frozen=True, slots=True)
class OneOf:
    """One of several values, as text."""

    choices: tuple[str, ...]

    def choose(self, chooser: Chooser, name: str) -> str:
        return str(chooser.suggest_categorical(name, list(self.choices)))

    @property
    def high(self) -> float:
        """The largest, where they are numbers."""
        return max(map(float, self.choices))


Space = Mapping[str, Range | OneOf]


def parse(text: str) -> Range | OneOf:
    """LOW..HIGH[:log], or values joined by |."""
    ends, _, scale = text.partition(":")
    low, dots, high = ends.partition("..")
    if not dots:
        return OneOf(tuple(text.split("|")))
    if scale not in ("", "log"):
        raise BadSetting(f"Space {text!r}: after ':' only 'log' is known.")
    try:
        numbers = float(low), float(high)
    except ValueError as error:
        raise BadSetting(f"Space {text!r}: {low!r} or {high!r} is not a number.") from error
    whole = low.lstrip("-").isdecimal() and high.lstrip("-").isdecimal()
    return Range(low=numbers[0], high=numbers[1], log=scale == "log", whole=whole)


def space_of(head: str, own: Mapping[str, str]) -> Space:
    """A head's space with some of it replaced; a whole range for a number stays a number."""
    kind = head_class(head)
    space = dict(kind.SPACE)
    for name, text in own.items():
        if name not in kind.Config.__dataclass_fields__:
            known = ", ".join(sorted(kind.Config.__dataclass_fields__))
            raise BadSetting(f"Head {head} has no setting {name!r} to search; have: {known}.")
        found = parse(text)
        if isinstance(found, Range) and kind.Config.__dataclass_fields__[name].type is float:
            found = Range(low=found.low, high=found.high, log=found.log)
        for choice in found.choices if isinstance(found, OneOf) else ():
            make_head(head, {name: choice}, ("a", "b"))  # refuses what the setting cannot be
        space[name] = found
    return space
