"""Many texts in little memory: one run of bytes, or a number for each of a few different ones."""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import overload

import numpy as np
from numpy.typing import NDArray

_ENCODING = ("utf-8", "surrogatepass")
_AT_ONCE = 65_536


class Texts(Sequence[str]):
    """Mostly different texts: a fifth of what a list of them takes."""

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self._bytes = bytearray()
        self._ends = array("q")
        self.extend(texts)

    def extend(self, texts: Iterable[str]) -> None:
        rest = iter(texts)
        while encoded := [text.encode(*_ENCODING) for text in islice(rest, _AT_ONCE)]:
            lengths = np.fromiter(map(len, encoded), np.int64, len(encoded))
            ends = np.cumsum(lengths) + len(self._bytes)
            self._bytes += b"".join(encoded)
            self._ends.frombytes(ends.tobytes())

    def __len__(self) -> int:
        return len(self._ends)

    @overload
    def __getitem__(self, place: int) -> str: ...

    @overload
    def __getitem__(self, place: slice) -> list[str]: ...

    def __getitem__(self, place: int | slice) -> str | list[str]:
        if isinstance(place, slice):
            return [self[one] for one in range(*place.indices(len(self)))]
        place = range(len(self))[place]
        start = self._ends[place - 1] if place else 0
        return self._bytes[start : self._ends[place]].decode(*_ENCODING)

    def __iter__(self) -> Iterator[str]:
        start = 0
        for end in self._ends:
            yield self._bytes[start:end].decode(*_ENCODING)
            start = end


class Names(Sequence[str]):
    """A few different texts, each many times."""

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self._names: list[str] = []
        self._numbers: dict[str, int] = {}
        self._codes = array("i")
        self.extend(texts)

    def extend(self, texts: Iterable[str]) -> None:
        some = list(texts)
        for text in dict.fromkeys(some):
            if text not in self._numbers:
                self._numbers[text] = len(self._names)
                self._names.append(text)
        self._codes.extend(map(self._numbers.__getitem__, some))

    def known(self) -> list[str]:
        """Those that are there, once each."""
        there = np.unique(np.frombuffer(self._codes, np.int32)) if self._codes else ()
        return [self._names[code] for code in there]

    def change(self, place: int, text: str) -> None:
        """One of them becomes another text."""
        self.extend([text])
        self._codes[place] = self._codes.pop()

    def among(self, wanted: Iterable[str]) -> NDArray[np.bool_]:
        """Which rows have one of these."""
        codes = [self._numbers[text] for text in wanted if text in self._numbers]
        return np.isin(np.array(self._codes, np.int32), codes)

    def __len__(self) -> int:
        return len(self._codes)

    @overload
    def __getitem__(self, place: int) -> str: ...

    @overload
    def __getitem__(self, place: slice) -> list[str]: ...

    def __getitem__(self, place: int | slice) -> str | list[str]:
        if isinstance(place, slice):
            return [self._names[code] for code in self._codes[place]]
        return self._names[self._codes[place]]

    def __iter__(self) -> Iterator[str]:
        return map(self._names.__getitem__, self._codes)
