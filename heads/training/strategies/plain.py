"""Nothing beside the weighted loss: what every other strategy is measured against."""

from dataclasses import dataclass

from heads.training.strategy import Strategy


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainOptions:
    """There is nothing to set."""


class Plain(Strategy):
    """See the module."""

    name = "plain"
    Options = PlainOptions


STRATEGY = Plain
