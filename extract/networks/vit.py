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
        result: Tensor = self.fc2(self._bent(x_bnd))
        return result

    def _bent(self, x_bnd: Tensor) -> Tensor:
        half_on_a_gpu = x_bnd.is_cuda and torch.is_autocast_enabled("cuda")
        if self.gelu == "tanh" and half_on_a_gpu and not torch.is_grad_enabled():
            return linear_gelu(x_bnd, self.fc1, torch.get_autocast_dtype("cuda"))
        middle: Tensor = self.fc1(x_bnd)
        if self.gelu == "quick":
            return middle * torch.sigmoid(1.702 * middle)
        return functional.gelu(middle, approximate="tanh" if self.gelu == "tanh" else "none")


def linear_gelu(x_bnd: Tensor, layer: nn.Linear, dtype: torch.dtype) -> Tensor:
    """GELU, in tanh's form, of a linear layer, in the one kernel that CUDA's library has for both;
    the middle is never written down. It has no gradient."""
    weight_hd, bias_h = layer.weight.to(dtype), layer.bias.to(dtype)
    flat_nd = x_bnd.to(dtype).flatten(0, -2)
    bent_nh = torch._addmm_activation(bias_h, flat_nd, weight_hd.T, use_gelu=True)
    bent: Tensor = bent_nh.reshape(*x_bnd.shape[:-1], -1)
    return bent


def patches(pixels_bcthw: Tensor, layer: nn.Conv2d | nn.Conv3d) -> Tensor:
    """Frames cut into squares, each a vector (b, n, d): the layer's convolution, whose steps are as
    wide as its squares, as one matrix product, which CUDA has a far quicker kernel for."""
    side = layer.kernel_size[-1]
    rows, columns = (length // side for length in pixels_bcthw.shape[-2:])
    whole = pixels_bcthw[..., : rows * side, : columns * side]
    cut = whole.reshape(*whole.shape[:3], rows, side, columns, side)
    flat = cut.permute(0, 2, 3, 5, 1, 4, 6).flatten(4).flatten(1, 3)
    return functional.linear(flat, layer.weight.flatten(1), layer.bias)


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
    """One query looks at all tokens; the names are those of the official checkpoints.

    Tokens are never projected to keys and values: with one query it is far less work to take the
    keys' matrix to the query, and the values' matrix to what the query gathers.
    """

    def __init__(self, width: int, heads: int, out: int) -> None:
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v = (nn.Linear(width, width, bias=False) for _ in range(3))
        self.q_bias, self.k_bias, self.v_bias = (nn.Parameter(torch.zeros(width)) for _ in range(3))
        self.proj = nn.Linear(width, out)

    def question(self, query_bd: Tensor) -> tuple[Tensor, Tensor]:
        """(b, h, d) and (b, h): what each head multiplies a token with and adds, to score it."""
        asked_bd = functional.linear(query_bd, self.q.weight, self.q_bias)
        asked_bhe = self._by_head(asked_bd) / (asked_bd.shape[-1] // self.heads) ** 0.5
        keys_hed = self.k.weight.reshape(self.heads, -1, self.k.in_features)
        factors_bhd = torch.einsum("bhe,hed->bhd", asked_bhe, keys_hed)
        return factors_bhd, (asked_bhe * self._by_head(self.k_bias)).sum(-1)

    def answer(self, gathered_bhd: Tensor) -> Tensor:
        """Tokens as each head has averaged them → the output."""
        values_hed = self.v.weight.reshape(self.heads, -1, self.v.in_features)
        values_bd = torch.einsum("bhd,hed->bhe", gathered_bhd, values_hed).flatten(1)
        answer: Tensor = self.proj(values_bd + self.v_bias)
        return answer

    def _by_head(self, x: Tensor) -> Tensor:
        return x.reshape(*x.shape[:-1], self.heads, -1)


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
            weights_bhn, normed_bnd = self._looked(tokens_bnd.float())
            gathered_bhd = weights_bhn @ normed_bnd * self.norm1_v.weight + self.norm1_v.bias
            return self.cross_attn.answer(gathered_bhd)

    def weights(self, tokens_bnd: Tensor) -> Tensor:
        """(b, n): how much the pool takes from each token, the mean of the heads."""
        return self._looked(tokens_bnd)[0].mean(1)

    def _looked(self, tokens_bnd: Tensor) -> tuple[Tensor, Tensor]:
        """(b, h, n) what each head takes from each token, and the tokens normed: keys and values
        differ in their scale and shift alone."""
        factors_bhd, added_bh = self.cross_attn.question(self.norm1_q(tokens_bnd.mean(1)))
        normed_bnd = functional.layer_norm(
            tokens_bnd, self.norm1_k.normalized_shape, eps=self.norm1_k.eps
        )
        added_bh = added_bh + factors_bhd @ self.norm1_k.bias
        scores_bhn = factors_bhd * self.norm1_k.weight @ normed_bnd.mT + added_bh[..., None]
        return scores_bhn.softmax(-1), normed_bnd
