"""Transformer blocks that the branches, and heads that train tokens, share.

Parameters have the names of the official checkpoints (`norm1`, `attn.qkv`, `ls1.gamma`, `mlp.fc1`,
…). Norms and layer scales compute in float32 whatever surrounds them. Legend: b batch, n tokens,
d channels.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from extract.networks.attention import attention

Gelu = Literal["erf", "tanh", "quick"]
"""`quick` is CLIP's x · sigmoid(1.702 x)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockConfig:
    """What a transformer block is made of."""

    width: int
    heads: int
    hidden: int
    """Width of the MLP's middle."""
    gelu: Gelu = "erf"
    norm: Literal["layer", "rms"] = "layer"
    norm_eps: float = 1e-6
    qkv_bias: bool = True
    qk_norm: bool = False
    """RMS norm of queries and keys, over the full width, before the split into heads."""
    layer_scale: bool = True


class RMSNorm(nn.Module):
    """x / rms(x) · weight, in float32."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        normed = functional.rms_norm(x.float(), (x.shape[-1],), self.weight.float(), self.eps)
        return normed.to(x.dtype)


class LayerNorm(nn.LayerNorm):
    """Layer norm in float32, result in the input's precision."""

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = self.weight.float(), self.bias.float()
        normed = functional.layer_norm(x.float(), self.normalized_shape, weight, bias, self.eps)
        return normed.to(x.dtype)


class LayerScale(nn.Module):
    """A learned factor per channel."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((width,), 1e-5))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma.float()


class Attention(nn.Module):
    """Multi-head self-attention."""

    def __init__(self, config: BlockConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.qkv = nn.Linear(config.width, 3 * config.width, bias=config.qkv_bias)
        self.proj = nn.Linear(config.width, config.width)
        self.q_norm = RMSNorm(config.width, config.norm_eps) if config.qk_norm else nn.Identity()
        self.k_norm = RMSNorm(config.width, config.norm_eps) if config.qk_norm else nn.Identity()

    def forward(self, x_bnd: Tensor) -> Tensor:
        q, k, v = self.qkv(x_bnd).chunk(3, dim=-1)
        split = (*x_bnd.shape[:2], self.heads, -1)
        q, k = self.q_norm(q), self.k_norm(k)
        mixed = attention(q.reshape(split), k.reshape(split), v.reshape(split))
        projected: Tensor = self.proj(mixed.flatten(2))
        return projected


class Mlp(nn.Module):
    """Two linear layers around a GELU."""

    def __init__(self, config: BlockConfig) -> None:
        super().__init__()
        self.fc1 = nn.Linear(config.width, config.hidden)
        self.fc2 = nn.Linear(config.hidden, config.width)
        self.gelu = config.gelu

    def forward(self, x_bnd: Tensor) -> Tensor:
        result: Tensor = self.fc2(self._bent(self.fc1(x_bnd)))
        return result

    def _bent(self, x_bnd: Tensor) -> Tensor:
        if self.gelu == "quick":
            return x_bnd * torch.sigmoid(1.702 * x_bnd)
        return functional.gelu(x_bnd, approximate="tanh" if self.gelu == "tanh" else "none")


class Block(nn.Module):
    """Attention and MLP, each with a norm before, a layer scale after (or none), and a shortcut."""

    def __init__(self, config: BlockConfig) -> None:
        super().__init__()
        self.norm1 = _norm(config)
        self.attn = Attention(config)
        self.ls1 = _scale(config)
        self.norm2 = _norm(config)
        self.mlp = Mlp(config)
        self.ls2 = _scale(config)

    def forward(self, x_bnd: Tensor, factors: Tensor | None = None) -> Tensor:
        """(2, b) factors multiply what the two halves add: drop path."""
        first, second = (None, None) if factors is None else factors
        x_bnd = x_bnd + _kept(self.ls1(self.attn(self.norm1(x_bnd))), first)
        return x_bnd + _kept(self.ls2(self.mlp(self.norm2(x_bnd))), second)


def _kept(added_bnd: Tensor, factors_b: Tensor | None) -> Tensor:
    return added_bnd if factors_b is None else added_bnd * factors_b[:, None, None]


def _norm(config: BlockConfig) -> nn.Module:
    if config.norm == "rms":
        return RMSNorm(config.width, config.norm_eps)
    return LayerNorm(config.width, eps=config.norm_eps)


def _scale(config: BlockConfig) -> nn.Module:
    return LayerScale(config.width) if config.layer_scale else nn.Identity()


class CrossAttention(nn.Module):
    """One query looks at all tokens; the names are those of the official checkpoints."""

    def __init__(self, width: int, heads: int, out: int) -> None:
        super().__init__()
        self.heads = heads
        for name in ("q", "k", "v"):
            setattr(self, name, nn.Linear(width, width, bias=False))
            setattr(self, f"{name}_bias", nn.Parameter(torch.zeros(width)))
        self.proj = nn.Linear(width, out)

    def forward(self, q_bnd: Tensor, k_bnd: Tensor, v_bnd: Tensor) -> Tensor:
        parts = [self._projected(*part) for part in (("q", q_bnd), ("k", k_bnd), ("v", v_bnd))]
        mixed: Tensor = self.proj(attention(*parts).flatten(2))
        return mixed

    def weights(self, q_bnd: Tensor, k_bnd: Tensor) -> Tensor:
        """(b, queries, keys): how much is taken from each key, the mean of the heads."""
        q_bhnd, k_bhnd = (
            self._projected(*part).transpose(1, 2) for part in (("q", q_bnd), ("k", k_bnd))
        )
        scores = q_bhnd @ k_bhnd.mT / k_bhnd.shape[-1] ** 0.5
        weights: Tensor = scores.softmax(-1).mean(1)
        return weights

    def _projected(self, name: str, x_bnd: Tensor) -> Tensor:
        projected = functional.linear(
            x_bnd, getattr(self, name).weight, getattr(self, f"{name}_bias")
        )
        return projected.reshape(*x_bnd.shape[:2], self.heads, -1)


class AttentionPool(nn.Module):
    """InternVideo2's pool: the mean of all tokens asks, all tokens answer. Computed in float32."""

    def __init__(self, width: int, heads: int, out: int) -> None:
        super().__init__()
        self.norm1_q = LayerNorm(width, eps=1e-5)
        self.norm1_k = LayerNorm(width, eps=1e-5)
        self.norm1_v = LayerNorm(width, eps=1e-5)
        self.cross_attn = CrossAttention(width, heads, out)

    def forward(self, tokens_bnd: Tensor) -> Tensor:
        with torch.autocast(tokens_bnd.device.type, enabled=False):
            tokens_bnd = tokens_bnd.float()
            query = self.norm1_q(tokens_bnd.mean(1, keepdim=True))
            keys, values = self.norm1_k(tokens_bnd), self.norm1_v(tokens_bnd)
            pooled: Tensor = self.cross_attn(query, keys, values)
            return pooled[:, 0]

    def weights(self, tokens_bnd: Tensor) -> Tensor:
        """(b, n): how much the pool takes from each token."""
        query = self.norm1_q(tokens_bnd.mean(1, keepdim=True))
        return self.cross_attn.weights(query, self.norm1_k(tokens_bnd))[:, 0]
