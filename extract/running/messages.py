"""What the processes of one run say to each other, beside a `Run`, `Piece`s and `Report`s."""

from collections.abc import Sequence
from dataclasses import dataclass

from extract.branch import Branch
from extract.offer import Offer
from extract.running.pipeline import Settings, buffer_bytes, offers_of

AHEAD = 2
"""Pieces that a process has at a time: one in the works, one to go on with."""
NEXT = "next"
"""To the one that deals: a piece is begun, another one may come."""
STOP = "stop"
"""From the one that deals: finish what is begun."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """The first word of a process that has its networks."""

    offers: Sequence[Offer]
    """What its networks give."""
    buffers: int
    """Bytes that it will take beside the networks and the shards."""

    @staticmethod
    def of(branches: Sequence[Branch], settings: Settings, workers: int) -> "Ready":
        offers = offers_of(branches, settings)
        return Ready(offers=offers, buffers=buffer_bytes(branches, settings, workers))


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """The last word of a process."""

    error: str | None = None
    """What ended it early."""
