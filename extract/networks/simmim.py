"""The vision transformer that SimMIM pre-trains and VBench-2.0 fine-tunes to find anomalies.

There is no position embedding: every block adds a bias of its own to its attention, by how far
apart two patches are. The vector is the mean of the patches (the class token takes part in the
blocks and is left out of the mean), then a norm; one linear layer makes two logits of it.
Parameters have the names of the official checkpoints. Legend: b pictures, n tokens, d channels,
h heads, c colour.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from scipy.interpolate import RectBivariateSpline
from torch import Tensor, nn

from extract.errors import BadWeights
from extract.networks import weights
from extract.networks.attention import attention
from extract.networks.vit import BlockConfig, LayerNorm, Mlp

EPS = 1e-6
PATCH = 16
FILES = "SimMIM's simmim_pretrain__vit_base__img224__800ep.pth or a ckptN.pth of its fine-tuning"
_TABLE, _INDEX = "relative_position_bias_table", "relative_position_index"
_OWN_ROWS = 3
"""Of the class token: to any, from any, to itself."""
NOT_DECAYED = ("cls_token",)
"""Of what is no vector; tables of positions are decayed, as released."""
_NEW = ("fc_norm.weight", "fc_norm.bias", "head.weight", "head.bias")
_LEFT_OUT = ("mask_token", "norm.weight", "norm.bias")
"""Of a pre-training file; its last norm is not used by what is fine-tuned from it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """Sizes of the network."""

    image: int = 224
    width: int = 768
    depth: int = 12
    heads: int = 12
    classes: int = 2

    @property
    def side(self) -> int:
        """Patches along an edge."""
        return self.image // PATCH

    @property
    def table_rows(self) -> int:
        return (2 * self.side - 1) ** 2 + _OWN_ROWS


B = Architecture()


class Attention(nn.Module):
    """Self-attention without a bias of keys, with one of relative positions."""

    relative_position_index: Tensor

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        width, self.heads = architecture.width, architecture.heads
        self.q_bias = nn.Parameter(torch.zeros(width))
        self.v_bias = nn.Parameter(torch.zeros(width))
        table = torch.zeros(architecture.table_rows, architecture.heads)
        self.relative_position_bias_table = nn.Parameter(table)
        index = relative_positions(architecture.side)
        self.register_buffer(_INDEX, index, persistent=False)  # it follows from the size
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.proj = nn.Linear(width, width)

    def forward(self, x_bnd: Tensor) -> Tensor:
        bias = torch.cat([self.q_bias, torch.zeros_like(self.q_bias), self.v_bias])
        qkv = self.qkv(x_bnd) + bias
        split = (*x_bnd.shape[:2], self.heads, -1)
        q, k, v = (part.reshape(split) for part in qkv.chunk(3, dim=-1))
        apart_hnn = self.relative_position_bias_table[self.relative_position_index].permute(2, 0, 1)
        projected: Tensor = self.proj(attention(q, k, v, apart_hnn).flatten(2))
        return projected


class Block(nn.Module):
    """Attention and MLP, each behind a norm and scaled by a learned factor a channel."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        width = architecture.width
        self.gamma_1 = nn.Parameter(torch.full((width,), 0.1))
        self.gamma_2 = nn.Parameter(torch.full((width,), 0.1))
        self.norm1 = LayerNorm(width, eps=EPS)
        self.attn = Attention(architecture)
        self.norm2 = LayerNorm(width, eps=EPS)
        self.mlp = Mlp(BlockConfig(width=width, heads=architecture.heads, hidden=4 * width))

    def forward(self, x_bnd: Tensor, keep: Tensor | None = None) -> Tensor:
        """(2, b) factors multiply what the two halves add: stochastic depth."""
        first, second = (1.0, 1.0) if keep is None else (one[:, None, None] for one in keep)
        x_bnd = x_bnd + self.gamma_1.float() * self.attn(self.norm1(x_bnd)) * first
        added_bnd: Tensor = self.gamma_2.float() * self.mlp(self.norm2(x_bnd)) * second
        return x_bnd + added_bnd


class PatchEmbed(nn.Module):
    """One vector a patch, row by row."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, PATCH, PATCH)

    def forward(self, images_bchw: Tensor) -> Tensor:
        patches: Tensor = self.proj(images_bchw)
        return patches.flatten(2).transpose(1, 2)


class SimMim(nn.Module):
    """The fine-tuned network."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        width = architecture.width
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.patch_embed = PatchEmbed(width)
        self.blocks = nn.ModuleList(Block(architecture) for _ in range(architecture.depth))
        self.fc_norm = LayerNorm(width, eps=EPS)
        self.head = nn.Linear(width, architecture.classes)

    def layer_of(self, name: str) -> int:
        """0 makes the first block's input, i + 1 is block i, the last one is norm and head."""
        part, _, rest = name.partition(".")
        if part in ("cls_token", "patch_embed"):
            return 0
        return int(rest.partition(".")[0]) + 1 if part == "blocks" else len(self.blocks) + 1

    def embed(self, images_bchw: Tensor) -> Tensor:
        patches_bnd = self.patch_embed(images_bchw)
        return torch.cat([self.cls_token.expand(len(patches_bnd), -1, -1), patches_bnd], 1)

    def pooled(self, tokens_bnd: Tensor) -> Tensor:
        """What stands behind the last block → the vector."""
        vector: Tensor = self.fc_norm(tokens_bnd[:, 1:].mean(1))
        return vector

    def feature(self, images_bchw: Tensor, keep: Tensor | None = None) -> Tensor:
        """(b, d); `keep` (blocks, 2, b) are factors of stochastic depth."""
        tokens_bnd = self.embed(images_bchw)
        for number, block in enumerate(self.blocks):
            tokens_bnd = block(tokens_bnd, None if keep is None else keep[number])
        return self.pooled(tokens_bnd)

    def forward(self, images_bchw: Tensor) -> Tensor:
        """(b, classes) logits."""
        logits: Tensor = self.head(self.feature(images_bchw))
        return logits

    def start(self, seed: int) -> None:
        """Random numbers as the released training begins with."""
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for name, parameter in self.named_parameters():
                if name.endswith(("bias", _TABLE)):
                    parameter.zero_()
                elif name == "cls_token" or parameter.ndim > 1:
                    parameter.normal_(0, 0.02, generator=generator)
            for number in range(len(self.blocks)):
                for part in ("attn.proj", "mlp.fc2"):
                    weight = self.get_parameter(f"blocks.{number}.{part}.weight")
                    weight.div_(math.sqrt(2 * (number + 1)))
            self.head.weight *= 0.001


def relative_positions(side: int) -> Tensor:
    """(n, n): which row of the table a query (row) takes for a key (column); token 0 is the class
    token. On the CPU even where networks are made without numbers."""
    steps = torch.arange(side, device="cpu")
    rows, columns = (x.flatten() for x in torch.meshgrid(steps, steps, indexing="ij"))
    down = rows[:, None] - rows[None] + side - 1
    across = columns[:, None] - columns[None] + side - 1
    count = (2 * side - 1) ** 2
    index = torch.empty((side**2 + 1, side**2 + 1), dtype=torch.int64, device="cpu")
    index[1:, 1:] = down * (2 * side - 1) + across
    index[0, :], index[:, 0], index[0, 0] = count, count + 1, count + 2
    return index


def architecture_of(state: Mapping[str, Tensor], image: int | None = None) -> Architecture:
    """What a file's shapes say; for pictures of another size than it was trained on, if given."""
    tables = [value for name, value in state.items() if name.endswith(_TABLE)]
    if not tables or "cls_token" not in state:
        raise BadWeights(f"These weights are not SimMIM's transformer; give {FILES}.")
    rows, heads = tables[0].shape
    side = (math.isqrt(max(0, rows - _OWN_ROWS)) + 1) // 2
    blocks = {name.split(".")[1] for name in state if name.startswith("blocks.")}
    head = state.get("head.weight")
    return Architecture(
        image=image or side * PATCH, width=state["cls_token"].shape[-1], depth=len(blocks),
        heads=heads, classes=2 if head is None else len(head),
    )  # fmt: skip


def from_state(state: Mapping[str, Tensor], image: int | None = None) -> tuple[SimMim, list[str]]:
    """The network of a file, and which of its weights the file does not have.

    A pre-training file has no norm and head; these begin as the released training has them.
    """
    pretrained = any(name.startswith("encoder.") for name in state)
    found = _without_pretraining(state) if pretrained else dict(state)
    architecture = architecture_of(found, image)
    _check_indices(found)
    found = {name: weights.float32(value) for name, value in found.items() if _INDEX not in name}
    model = SimMim(architecture)
    lacking = [name for name in _NEW if name not in found] if pretrained else []
    if lacking:
        model.start(0)
        found |= {name: value for name, value in model.state_dict().items() if name in lacking}
    for name, value in found.items():
        if name.endswith(_TABLE) and len(value) != architecture.table_rows:
            found[name] = resized_table(value, architecture.side)
    weights.fill(model, found, model="SimMIM's transformer", hint=f" Give {FILES}.")
    return model, lacking


def resized_table(table: Tensor, side: int) -> Tensor:
    """A table for pictures of another size, by a bicubic spline over distances that grow
    geometrically, as released; the class token's rows stay."""
    before, after = math.isqrt(len(table) - _OWN_ROWS), 2 * side - 1
    known = _distances(before, _growth(before // 2, after // 2))
    wanted = np.arange(-(after // 2), after // 2 + 0.1)
    columns = []
    for head in table[:-_OWN_ROWS].T:
        grid = head.reshape(before, before).double().numpy()
        spline = RectBivariateSpline(known, known, grid, kx=3, ky=3, s=0)
        columns.append(torch.from_numpy(spline(wanted, wanted)).flatten())
    grown = torch.stack(columns, 1).to(table.dtype)
    return torch.cat([grown, table[-_OWN_ROWS:]])


def _growth(steps: int, reach: int) -> float:
    """By how much each distance is longer than the one before, so that so many reach so far."""
    low, high = 1.01, 1.5
    middle = low
    while high - low > 1e-6:
        middle = (low + high) / 2
        if (1 - middle**steps) / (1 - middle) > reach:
            high = middle
        else:
            low = middle
    return middle  # the last one that was tried, as released


def _distances(count: int, growth: float) -> list[float]:
    far: list[float] = []
    step = 1.0
    for number in range(count // 2):
        far.append((far[-1] if far else 0.0) + step)
        step = growth ** (number + 1)
    return [*(-one for one in reversed(far)), 0.0, *far]


def _without_pretraining(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The encoder of a pre-training file, whose one table becomes every block's."""
    encoder = {
        name.removeprefix("encoder."): value
        for name, value in state.items()
        if name.startswith("encoder.")
    }
    shared = encoder.pop(f"rel_pos_bias.{_TABLE}", None)
    encoder.pop(f"rel_pos_bias.{_INDEX}", None)
    if shared is not None:
        blocks = {name.split(".")[1] for name in encoder if name.startswith("blocks.")}
        encoder |= {f"blocks.{block}.attn.{_TABLE}": shared for block in blocks}
    return {name: value for name, value in encoder.items() if name not in _LEFT_OUT}


def _check_indices(state: Mapping[str, Tensor]) -> None:
    """An index that a file brings must be the one that is computed here."""
    for name, value in state.items():
        if name.endswith(_INDEX):
            side = math.isqrt(len(value) - 1) if value.ndim == 2 and len(value) else 0
            if not torch.equal(value.long(), relative_positions(side)):
                raise BadWeights(f"{name} is another than SimMIM's for {side} x {side} patches.")
