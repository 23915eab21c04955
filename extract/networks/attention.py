"""The one place where attention is computed.

flash-attn is used where it is installed and the tensors are half precision on a CUDA card before
Hopper, torch's scaled_dot_product_attention elsewhere: on Hopper its cuDNN kernel is the quicker
one (`python -m benchmarks.gpu --parts attention`). Both give the same numbers within half
precision, so the choice is no part of a fingerprint. Legend: b batch, n tokens, h heads, d channels
of a head.
"""

import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional

from extract.errors import BadSetting
from features_store.installing import how_to_install

Backend = Literal["auto", "flash", "sdpa"]
_HALF = (torch.float16, torch.bfloat16)
_FLASH_INSTALLED = importlib.util.find_spec("flash_attn") is not None
_chosen: str = os.environ.get("TELLTALE_ATTENTION", "auto")
"""For the whole process: the threads that feed a device have no contexts of their own, and what is
chosen before a network runs does not interrupt its compilation."""


def attention(
    q_bnhd: Tensor, k_bnhd: Tensor, v_bnhd: Tensor, bias_hnn: Tensor | None = None
) -> Tensor:
    """softmax(q kᵀ / √d + bias) v, head by head; returns (b, n, h, d). flash-attn takes no bias."""
    if bias_hnn is None and _use_flash(q_bnhd):
        from flash_attn import flash_attn_func

        result: Tensor = flash_attn_func(q_bnhd, k_bnhd, v_bnhd)
        return result
    q_bhnd, k_bhnd, v_bhnd = (x.transpose(1, 2) for x in (q_bnhd, k_bnhd, v_bnhd))
    mixed_bhnd = functional.scaled_dot_product_attention(
        q_bhnd, k_bhnd, v_bhnd, attn_mask=None if bias_hnn is None else bias_hnn.to(q_bhnd.dtype)
    )
    return mixed_bhnd.transpose(1, 2)


@contextmanager
def attention_backend(backend: Backend) -> Iterator[None]:
    """Force a backend within a `with` block, in all threads; `TELLTALE_ATTENTION` does it from the
    start."""
    global _chosen
    before, _chosen = _chosen, _checked(backend)
    try:
        yield
    finally:
        _chosen = before


def flash_installed() -> bool:
    return _FLASH_INSTALLED


def _use_flash(q_bnhd: Tensor) -> bool:
    backend = _checked(_chosen)
    if backend == "sdpa":
        return False
    fits = q_bnhd.is_cuda and q_bnhd.dtype in _HALF
    if backend == "flash" and not (fits and _FLASH_INSTALLED):
        raise BadSetting(
            f"flash-attn was asked for and cannot be used: tensors are {q_bnhd.dtype} on "
            f"{q_bnhd.device}, flash-attn is {'' if _FLASH_INSTALLED else 'not '}installed. It "
            f"needs half precision on CUDA and flash-attn: {how_to_install('gpu')}."
        )
    return fits and _FLASH_INSTALLED and (backend == "flash" or before_hopper(q_bnhd.device))


@cache
def before_hopper(device: torch.device) -> bool:
    return torch.cuda.get_device_capability(device) < (9, 0)


def _checked(backend: str) -> Backend:
    if backend not in get_args(Backend):
        raise BadSetting(f"Attention {backend!r} unknown; have: {', '.join(get_args(Backend))}.")
    return backend  # type: ignore[return-value]
