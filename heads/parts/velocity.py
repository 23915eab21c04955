"""V-PVP's readout: what a video's patch tokens do from one time to the next.

Legend: b clips, p patches, t times, d channels, e half of the readout's channels.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional


class Gate(nn.Module):
    """Which patches matter at each step: a token and how fast it moves → weights over patches."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(width + 1, hidden), nn.GELU(), nn.Linear(hidden, 1))

    def forward(self, tokens_bptd: Tensor, speed_bpt1: Tensor) -> Tensor:
        """The gated sum (b, t, d) of the earlier tokens of each step."""
        weights_bpt1 = self.mlp(torch.cat([tokens_bptd, speed_bpt1], -1)).softmax(1)
        context_btd: Tensor = (weights_bpt1 * tokens_bptd).sum(1)
        return context_btd


class VelocityReadout(nn.Module):
    """Context and magnitude of every step → logits; parameters have the released names."""

    def __init__(self, width: int, channels: int, gate: int, classes: int) -> None:
        super().__init__()
        self.agg = Gate(width, gate)
        self.proj_z = nn.Linear(width, channels // 2)
        self.proj_r = nn.Linear(width, channels // 2)
        self.conv = nn.Conv1d(channels, channels, 3, padding=1)
        self.fc = nn.Linear(channels, classes)

    def forward(self, tokens_bptd: Tensor, kept_be: Tensor | None = None) -> Tensor:
        """`kept_be` multiplies the pooled channels: dropout."""
        hidden_bet = self.hidden(self.context(tokens_bptd), magnitude(tokens_bptd))
        return self.answer(hidden_bet, kept_be)

    def context(self, tokens_bptd: Tensor) -> Tensor:
        speed_bpt1 = velocity(tokens_bptd).norm(dim=-1, keepdim=True)
        context: Tensor = self.agg(tokens_bptd[:, :, :-1], speed_bpt1)
        return context

    def hidden(self, context_btd: Tensor, magnitude_btd: Tensor) -> Tensor:
        both = torch.cat([self.proj_z(context_btd), self.proj_r(magnitude_btd)], -1)
        return functional.gelu(both).mT

    def answer(self, hidden_bet: Tensor, kept_be: Tensor | None) -> Tensor:
        pooled_be = functional.gelu(self.conv(hidden_bet)).mean(-1)
        logits: Tensor = self.fc(pooled_be if kept_be is None else pooled_be * kept_be)
        return logits


class MagnitudeReadout(nn.Module):
    """The same without context: it needs the cached magnitudes alone."""

    def __init__(self, width: int, channels: int, classes: int) -> None:
        super().__init__()
        self.proj_r = nn.Linear(width, channels)
        self.conv = nn.Conv1d(channels, channels, 3, padding=1)
        self.fc = nn.Linear(channels, classes)

    def forward(self, magnitude_btd: Tensor, kept_be: Tensor | None = None) -> Tensor:
        hidden_bet = functional.gelu(self.proj_r(magnitude_btd)).mT
        pooled_be = functional.gelu(self.conv(hidden_bet)).mean(-1)
        logits: Tensor = self.fc(pooled_be if kept_be is None else pooled_be * kept_be)
        return logits


def velocity(tokens_bptd: Tensor) -> Tensor:
    """(b, p, t - 1, d)."""
    return tokens_bptd[:, :, 1:] - tokens_bptd[:, :, :-1]


def magnitude(tokens_bptd: Tensor) -> Tensor:
    """(b, t - 1, d): how much each channel changes in a step, the mean of the patches."""
    return velocity(tokens_bptd).abs().mean(1)
