"""The one place where attention is computed.

flash-attn is used where it is installed and the tensors are half precision on CUDA, torch's
scaled_dot_product_attention elsewhere. Both give the same numbers within half precision, so the
choice is no part of a fingerprint. Legend: b batch, n tokens, h heads, d channels of a head.
"""

import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional

from extract.errors import BadSetting
from features_store.installing import how_to_install

Backend = Literal["auto", "flash", "sdpa"]
_HALF = (torch.float16, torch.bfloat16)
_forced: ContextVar[Backend] = ContextVar("attention_backend", default="auto")


def attention(q_bnhd: Tensor, k_bnhd: Tensor, v_bnhd: Tensor) -> Tensor:
    """softmax(q kᵀ / √d) v, head by head; returns (b, n, h, d)."""
    if _use_flash(q_bnhd):
        from flash_attn import flash_attn_func

        result: Tensor = flash_attn_func(q_bnhd, k_bnhd, v_bnhd)
        return result
    q_bhnd, k_bhnd, v_bhnd = (x.transpose(1, 2) for x in (q_bnhd, k_bnhd, v_bnhd))
    return functional.scaled_dot_product_attention(q_bhnd, k_bhnd, v_bhnd).transpose(1, 2)


@contextmanager
def attention_backend(backend: Backend) -> Iterator[None]:
    """Force a backend within a `with` block; `TELLTALE_ATTENTION` does it for a whole process."""
    _checked(backend)
    token = _forced.set(backend)
    try:
        yield
    finally:
        _forced.reset(token)


def flash_installed() -> bool:
    return importlib.util.find_spec("flash_attn") is not None


def _use_flash(q_bnhd: Tensor) -> bool:
    backend = _forced.get()
    if backend == "auto":
        backend = _checked(os.environ.get("TELLTALE_ATTENTION", "auto"))
    if backend == "sdpa":
        return False
    fits = q_bnhd.is_cuda and q_bnhd.dtype in _HALF
    if backend == "flash" and not (fits and flash_installed()):
        raise BadSetting(
            f"flash-attn was asked for and cannot be used: tensors are {q_bnhd.dtype} on "
            f"{q_bnhd.device}, flash-attn is {'' if flash_installed() else 'not '}installed. It "
            f"needs half precision on CUDA and flash-attn: {how_to_install('gpu')}."
        )
    return fits and flash_installed()


def _checked(backend: str) -> Backend:
    if backend not in get_args(Backend):
        raise BadSetting(f"Attention {backend!r} unknown; have: {', '.join(get_args(Backend))}.")
    return backend  # type: ignore[return-value]
