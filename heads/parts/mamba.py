"""DeMamba's Mamba block: a selective state space read twice over each sequence.

Both readings run forward in time; the second sees the channels in reverse order, as the released
code has it. Parameters have the released names, without its `conv1d_b`, which nothing reads.
Legend: b sequences, l places in a sequence, d channels, e inner channels (2 d), n states.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from extract.networks.vit import RMSNorm

STATES = 16
KERNEL = 4
EPS = 1e-5
_STEPS = (1e-3, 1e-1)


def scan(
    u_ble: Tensor, step_ble: Tensor, a_en: Tensor, b_bln: Tensor, c_bln: Tensor, d_e: Tensor
) -> Tensor:
    """h = exp(step · a) h + step · b · u, and what c reads of it, plus d · u."""
    state = u_ble.new_zeros(len(u_ble), *a_en.shape)
    read = []
    for place in range(u_ble.shape[1]):
        step_be1 = step_ble[:, place, :, None]
        added = step_be1 * u_ble[:, place, :, None] * b_bln[:, place, None]
        state = (step_be1 * a_en).exp() * state + added
        read.append((state * c_bln[:, place, None]).sum(-1))
    return torch.stack(read, 1) + u_ble * d_e


class Mixer(nn.Module):
    """The gated mixer inside the block."""

    def __init__(self, width: int) -> None:
        super().__init__()
        inner, self.rank = 2 * width, math.ceil(width / 16)
        self.in_proj = nn.Linear(width, 2 * inner, bias=False)
        self.conv1d = nn.Conv1d(inner, inner, KERNEL, groups=inner, padding=KERNEL - 1)
        self.x_proj = nn.Linear(inner, self.rank + 2 * STATES, bias=False)
        self.dt_proj = nn.Linear(self.rank, inner)
        self.x_proj_b = nn.Linear(inner, self.rank + 2 * STATES, bias=False)
        self.dt_proj_b = nn.Linear(self.rank, inner)
        states = torch.arange(1, STATES + 1).float().log().repeat(inner, 1)
        self.A_log, self.A_b_log = nn.Parameter(states), nn.Parameter(states.clone())
        self.D, self.D_b = nn.Parameter(torch.ones(inner)), nn.Parameter(torch.ones(inner))
        self.out_proj = nn.Linear(inner, width, bias=False)
        self._start()

    def forward(self, x_bld: Tensor) -> Tensor:
        u_ble, gate_ble = self.in_proj(x_bld).chunk(2, -1)
        u_ble = functional.silu(self.conv1d(u_ble.mT)[..., : x_bld.shape[1]].mT)
        y_ble = self.read(u_ble, "", self.A_log, self.D)
        reversed_ble = self.read(u_ble.flip(-1), "_b", self.A_b_log, self.D_b)
        mixed: Tensor = self.out_proj((y_ble + reversed_ble.flip(-1)) * functional.silu(gate_ble))
        return mixed

    def read(self, u_ble: Tensor, end: str, a_log_en: Tensor, d_e: Tensor) -> Tensor:
        """One of the two readings; `end` is what its layers' names end with."""
        sizes = (self.rank, STATES, STATES)
        step_blr, b_bln, c_bln = getattr(self, f"x_proj{end}")(u_ble).split(sizes, -1)
        step_ble = functional.softplus(getattr(self, f"dt_proj{end}")(step_blr))
        return scan(u_ble, step_ble, -a_log_en.exp(), b_bln, c_bln, d_e)

    @torch.no_grad()
    def _start(self) -> None:
        """The first reading's steps begin as Mamba's do; all else as torch's layers do."""
        projection: nn.Linear = self.dt_proj
        bound = self.rank**-0.5
        projection.weight.uniform_(-bound, bound)
        step_e = projection.bias.uniform_(*map(math.log, _STEPS)).exp()
        projection.bias.copy_(step_e + torch.log(-torch.expm1(-step_e)))


class MambaBlock(nn.Module):
    """x + mixer(norm(x)), where a sequence's mixer may be dropped in training."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = RMSNorm(width, EPS)
        self.mixer = Mixer(width)

    def forward(self, x_bld: Tensor, kept_b: Tensor | None = None) -> Tensor:
        """`kept_b` multiplies what the mixer adds: drop path."""
        added_bld: Tensor = self.mixer(self.norm(x_bld))
        return x_bld + (added_bld if kept_b is None else added_bld * kept_b[:, None, None])


def sequences(side: int, frames: int, fusing: int, *, over_time: bool) -> Tensor:
    """(sequences, places): which token, counted frame by frame and row by row, stands where.

    As released the tokens are laid out quadrant by quadrant (`fusing` x `fusing` of them), then
    cut into (side / fusing)² sequences wherever a sequence is full. With `over_time` a sequence is
    what the text describes: a region of `fusing` x `fusing` neighbours followed through all frames.
    """
    parts = side // fusing
    tokens = torch.arange(frames * side**2).reshape(frames, side, side)
    places = snake(fusing)
    if over_time:
        split = tokens.reshape(frames, parts, fusing, parts, fusing).permute(1, 3, 2, 4, 0)
        found = split.reshape(parts**2, fusing**2, frames)[:, places]
    else:
        split = tokens.reshape(frames, fusing, parts, fusing, parts).permute(1, 3, 0, 2, 4)
        found = split.reshape(parts**2, frames, fusing**2).mT[:, places]
    return found.reshape(parts**2, -1)


def snake(size: int) -> Tensor:
    """Columns of a square one after the other, down and up in turns."""
    columns = torch.arange(size**2).reshape(size, size).T.clone()
    columns[1::2] = columns[1::2].flip(-1)
    return columns.flatten()
