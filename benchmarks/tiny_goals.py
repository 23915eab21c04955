"""What the tiny networks are taught, and how far they are from it.

Every token says which parts its fields show and what is wrong there; every frame's mean says what
the person is like in it, and how that differs from the first frame; the clip's three vectors say
the kind of fault and the class. The depth network's tokens say parts, distances and wrong orders,
its vector their sums. The readouts are thrown away after training.
Legend: b batch, t frames, n tokens, d channels, p pixels of a patch, f fields, k numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.tiny_clips import CLASSES, DEPTH_FIELDS, FIELD, NAMES, Sample
from extract.branches.depthpro import DepthProEncoder
from extract.branches.internvideo2 import InternVideo2
from extract.networks.vit import AttentionPool, Block
from extract.synthesis.shapes import PARTS
from extract.views.transforms import IMAGENET_MEAN, IMAGENET_STD

STATES, DEPTH_STATES = 28, 11
_OBJECT = PARTS.index("object")


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Samples with the tokens that are kept of each, as tensors."""

    patches_bnp: Tensor
    """uint8."""
    tokens_bn: Tensor
    """Their places among all tokens of the view, without the class token."""
    parts_bnf: Tensor
    wrong_bn: Tensor
    limb_bn: Tensor
    weights_bn: Tensor
    """How many tokens each stands for."""


def kept(
    wanted_bn: NDArray[np.bool_], keep: int, most: int, rng: np.random.Generator
) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Places of `keep` tokens a row, up to `most` of them wanted ones, and how many tokens each
    stands for: weighed so, what is kept speaks for the whole."""
    noise = rng.random(wanted_bn.shape)
    rank = np.argsort(np.argsort(np.where(wanted_bn, noise, 2), axis=1), axis=1)
    score = np.where(wanted_bn & (rank < most), 2, np.where(wanted_bn, 0, 1)) + noise
    places = np.sort(np.argpartition(-score, keep - 1, axis=1)[:, :keep], axis=1)
    chosen = np.take_along_axis(wanted_bn, places, 1)
    weights = np.zeros(places.shape, np.float32)
    for kind in (True, False):
        total = (wanted_bn == kind).sum(1, keepdims=True)
        found = (chosen == kind).sum(1, keepdims=True)
        weights += np.where(chosen == kind, total / np.maximum(found, 1), 0).astype(np.float32)
    return places, weights


def video_batch(samples: Sequence[Sample], keep: int, side: int, seed: tuple[int, ...]) -> Batch:
    """`keep` tokens of each frame of side x side."""
    rng = np.random.default_rng(seed)
    clips = np.stack([sample.clip_thwc for sample in samples])
    count, frames, size = clips.shape[:3]
    patch = size // side
    fields = patch // FIELD
    parts = _cut(np.stack([sample.parts_tgg for sample in samples]), side)
    wrong = _cut(np.stack([sample.wrong_tgg for sample in samples]), side).mean(-1)
    limb = _cut(np.stack([sample.limb_tgg for sample in samples]), side)
    wanted = ((parts >= _OBJECT).any(-1) | (wrong > 0)).reshape(count * frames, -1)
    places, weights = kept(wanted, keep, keep - keep // 4, rng)
    places = places.reshape(count, frames, keep)
    cut = clips.reshape(count, frames, side, patch, side, patch, 3)
    b, t = np.arange(count)[:, None, None], np.arange(frames)[None, :, None]
    patches = cut[b, t, places // side, :, places % side]
    return _batch(
        patches.reshape(count, frames * keep, -1),
        (places + t * side**2).reshape(count, -1),
        (parts[b, t, places].reshape(count, -1, fields**2),
         wrong[b, t, places].reshape(count, -1),
         _strongest(limb[b, t, places]).reshape(count, -1)),
        weights.reshape(count, -1),
    )  # fmt: skip


def depth_batch(samples: Sequence[Sample], keep: int, side: int, seed: tuple[int, ...]) -> Batch:
    """`keep` tokens of the picture."""
    import cv2

    rng = np.random.default_rng(seed)
    size = (side * 16, side * 16)
    images = np.stack([cv2.resize(sample.depth_hwc, size) for sample in samples])
    count, patch = len(samples), 16
    assert DEPTH_FIELDS % side == 0
    parts = _cut(np.stack([s.depth_maps.parts for s in samples])[:, None], side)[:, 0]
    wrong = _cut(np.stack([s.depth_maps.wrong for s in samples])[:, None], side)[:, 0].mean(-1)
    limb = _cut(np.stack([s.depth_maps.limb for s in samples])[:, None], side)[:, 0]
    wanted = (parts >= _OBJECT).any(-1) | (wrong > 0)
    places, weights = kept(wanted, keep, keep - keep // 4, rng)
    b = np.arange(count)[:, None]
    cut = images.reshape(count, side, patch, side, patch, 3)
    patches = cut[b, places // side, :, places % side]
    return _batch(
        patches.reshape(count, keep, -1),
        places,
        (parts[b, places], wrong[b, places], _strongest(limb[b, places])),
        weights,
    )


def _cut(maps_btgg: np.ndarray, side: int) -> np.ndarray:
    """(b, t, tokens, fields)."""
    b, t, grid = maps_btgg.shape[:3]
    each = grid // side
    cut = maps_btgg.reshape(b, t, side, each, side, each).swapaxes(3, 4)
    return cut.reshape(b, t, side**2, each**2)


def _strongest(limb: np.ndarray) -> np.ndarray:
    most, least = limb.max(-1), limb.min(-1)
    return np.asarray(np.where(most > -least, most, least))


def _batch(
    patches: np.ndarray,
    tokens: np.ndarray,
    maps: tuple[np.ndarray, np.ndarray, np.ndarray],
    weights: np.ndarray,
) -> Batch:
    parts, wrong, limb = maps
    return Batch(
        patches_bnp=torch.from_numpy(np.ascontiguousarray(patches)),
        tokens_bn=torch.from_numpy(tokens.astype(np.int64)),
        parts_bnf=torch.from_numpy(parts.astype(np.int64)),
        wrong_bn=torch.from_numpy(wrong.astype(np.float32)),
        limb_bn=torch.from_numpy(limb.astype(np.float32)),
        weights_bn=torch.from_numpy(weights),
    )


def _embedded(patches_bnp: Tensor, proj: nn.Conv2d | nn.Conv3d, statistics: Tensor) -> Tensor:
    """Patches (h w c) times the embedding's matrix (c h w), on normalised colours."""
    mean_c, std_c = statistics.to(patches_bnp.device)
    weight = proj.weight.flatten(2).transpose(1, 2) / std_c  # d, hw, c
    bias = proj.bias - (weight * mean_c).sum((1, 2))
    return functional.linear(patches_bnp.float() / 255, weight.flatten(1), bias)


def _weighed(block: Block, x_bnd: Tensor, bias_bn: Tensor) -> Tensor:
    """The block on tokens of which each stands for exp(bias) alike ones."""
    attn = block.attn
    q, k, v = attn.qkv(block.norm1(x_bnd)).chunk(3, dim=-1)
    shape = (*x_bnd.shape[:2], attn.heads, -1)
    q, k, v = (part.reshape(shape).transpose(1, 2) for part in (attn.q_norm(q), attn.k_norm(k), v))
    mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=bias_bn[:, None, None])
    x_bnd = x_bnd + block.ls1(attn.proj(mixed.transpose(1, 2).flatten(2)))
    result: Tensor = x_bnd + block.ls2(block.mlp(block.norm2(x_bnd)))
    return result


def _run(blocks: nn.ModuleList, tokens_bnd: Tensor, weights_bn: Tensor) -> Tensor:
    """All blocks on a class token and weighed ones."""
    bias_bn = functional.pad(weights_bn.log(), (1, 0))
    for block in blocks:
        assert isinstance(block, Block)
        tokens_bnd = _weighed(block, tokens_bnd, bias_bn)
    return tokens_bnd


def _pooled(pool: AttentionPool, tokens_bnd: Tensor, weights_bn: Tensor) -> Tensor:
    """InternVideo2's pool, on weighed tokens."""
    weights_bn = functional.pad(weights_bn, (1, 0), value=1.0)
    mean = (tokens_bnd * weights_bn[..., None]).sum(1) / weights_bn.sum(1)[:, None]
    cross = pool.cross_attn
    rows = (pool.norm1_q(mean[:, None]), pool.norm1_k(tokens_bnd), pool.norm1_v(tokens_bnd))
    parts: list[Tensor] = []
    for name, row in zip("qkv", rows, strict=True):
        made = functional.linear(row, getattr(cross, name).weight, getattr(cross, f"{name}_bias"))
        parts.append(made.reshape(*row.shape[:2], cross.heads, -1).transpose(1, 2))
    mask = weights_bn.log()[:, None, None]
    query, key, value = parts
    mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    result: Tensor = cross.proj(mixed.transpose(1, 2).flatten(2))[:, 0]
    return result


def _readout(width: int, out: int) -> nn.Sequential:
    return nn.Sequential(nn.LayerNorm(width), nn.Linear(width, out))


class VideoGoals(nn.Module):
    """InternVideo2 and its readouts."""

    def __init__(self, model: InternVideo2) -> None:
        super().__init__()
        a = model.architecture
        self.model = model
        self.fields = (a.patch // FIELD) ** 2
        self.local = _readout(a.width, self.fields * len(PARTS) + 2)
        self.states = _readout(a.width, 2 * STATES)
        self.kinds = nn.ModuleList(
            _readout(width, len(NAMES) + len(CLASSES)) for width in (a.width, a.width, a.pool_width)
        )

    def vectors(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        model = self.model
        statistics = torch.tensor([IMAGENET_MEAN, IMAGENET_STD])
        tokens = _embedded(batch.patches_bnp, model.patch_embed.proj, statistics)
        positions = model.positions()[0]
        tokens = tokens + positions[1 + batch.tokens_bn]
        first = (model.cls_token[0, 0] + positions[0]).expand(len(tokens), 1, -1)
        tokens = _run(model.blocks, torch.cat([first, tokens], 1), batch.weights_bn)
        shares = batch.weights_bn / batch.weights_bn.sum(1, keepdim=True)
        return tokens, {
            "cls": tokens[:, 0],
            "avg": (tokens[:, 1:] * shares[..., None]).sum(1),
            "attn": _pooled(model.clip_projector, tokens, batch.weights_bn),
        }

    def forward(
        self, batch: Batch, states_btk: Tensor, kind_b: Tensor, label_b: Tensor
    ) -> dict[str, Tensor]:
        tokens, vectors = self.vectors(batch)
        tokens = tokens[:, 1:]
        local = self.local(tokens)
        parts = local[..., 2:].reshape(*tokens.shape[:2], self.fields, len(PARTS))
        frames = states_btk.shape[1]
        weights = batch.weights_bn.reshape(len(tokens), frames, -1, 1)
        weighed = tokens.reshape(len(tokens), frames, -1, tokens.shape[-1]) * weights
        means = weighed.sum(2) / weights.sum(2)
        change = states_btk - states_btk[:, :1]
        said = [head(v) for head, v in zip(self.kinds, vectors.values(), strict=True)]
        kinds = [functional.cross_entropy(s[:, : len(NAMES)], kind_b) for s in said]
        classes = [functional.cross_entropy(s[:, len(NAMES) :], label_b) for s in said]
        return {
            "parts": functional.cross_entropy(parts.flatten(0, 2), batch.parts_bnf.flatten()),
            "wrong": 8 * functional.mse_loss(local[..., 0], batch.wrong_bn),
            "limb": 4 * functional.mse_loss(local[..., 1], batch.limb_bn),
            "states": functional.mse_loss(self.states(means), torch.cat([states_btk, change], -1)),
            "kinds": torch.stack(kinds).mean(),
            "classes": torch.stack(classes).mean(),
        }


class DepthGoals(nn.Module):
    """Depth Pro's encoder and its readouts."""

    def __init__(self, model: DepthProEncoder, width: int, out: int) -> None:
        super().__init__()
        self.model = model
        self.local = nn.ModuleList(nn.Linear(width, 4 * len(PARTS) + 2) for _ in range(2))
        self.state = nn.Linear(out, DEPTH_STATES)
        self.spatial = nn.Linear(out, 1)

    def forward(self, batch: Batch, state_bk: Tensor, wrong_b: Tensor) -> dict[str, Tensor]:
        statistics = torch.full((2, 3), 0.5)
        losses: dict[str, list[Tensor]] = {"parts": [], "wrong": [], "limb": []}
        means = []
        for encoder, local in zip(
            (self.model.patch_encoder, self.model.image_encoder), self.local, strict=True
        ):
            tokens = _embedded(batch.patches_bnp, encoder.patch_embed.proj, statistics)
            tokens = tokens + encoder.pos_embed[0][1 + batch.tokens_bn]
            first = (encoder.cls_token[0, 0] + encoder.pos_embed[0, 0]).expand(len(tokens), 1, -1)
            tokens = _run(encoder.blocks, torch.cat([first, tokens], 1), batch.weights_bn)
            tokens = encoder.norm(tokens)[:, 1:]
            said = local(tokens)
            parts = said[..., 2:].reshape(-1, len(PARTS))
            losses["parts"].append(functional.cross_entropy(parts, batch.parts_bnf.flatten()))
            losses["wrong"].append(8 * functional.mse_loss(said[..., 0], batch.wrong_bn))
            losses["limb"].append(4 * functional.mse_loss(said[..., 1], batch.limb_bn))
            weights = batch.weights_bn[..., None] / batch.weights_bn.sum(1)[:, None, None]
            means.append((tokens * weights).sum(1))
        vector = self.model.tail(*means)
        found = {name: torch.stack(values).mean() for name, values in losses.items()}
        found["state"] = functional.mse_loss(self.state(vector), state_bk)
        # Twice: the mean over all tokens forgets first what few of them know.
        found["spatial"] = 2 * functional.binary_cross_entropy_with_logits(
            self.spatial(vector)[:, 0], wrong_b
        )
        return found


def by_weight(losses: dict[str, Tensor]) -> Tensor:
    return torch.stack(list(losses.values())).sum()
