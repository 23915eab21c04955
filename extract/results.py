"""What a network found, on its way from the device to the store."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from extract.errors import DoesNotFit
from features_store.schema import ArraySpec

Outputs = Mapping[str, ArraySpec]


def fetched(
    results: Mapping[str, Tensor], outputs: Outputs, device: torch.device
) -> dict[str, Tensor]:
    """Results in host memory. What is stored in half precision comes so from a GPU, where casting
    and looking for infinities costs nothing; where there are any, it comes whole."""
    results = {name: results[name] for name in outputs}
    if device.type == "cpu":
        return {name: _whole(numbers) for name, numbers in results.items()}
    halves = {
        name: numbers.half()
        for name, numbers in results.items()
        if outputs[name].dtype == "float16" and numbers.is_floating_point()
    }
    fit = {name: half.isfinite().all() for name, half in halves.items()}
    rest = {name: _whole(results[name]) for name in results if name not in halves}
    host, fits = (_copied(each) for each in ({**rest, **halves}, fit))
    if device.type == "cuda":
        torch.cuda.current_stream(device).synchronize()
    unfit = [name for name, fitting in fits.items() if not fitting]
    return {**host, **{name: _whole(results[name]).cpu() for name in unfit}}


def stored(results: Mapping[str, Tensor], outputs: Outputs, branch: str) -> dict[str, NDArray[Any]]:
    """Results as they are stored. A number too large for its type is an error, not infinity."""
    found: dict[str, NDArray[Any]] = {}
    for name, array in outputs.items():
        result = results[name].cpu()
        numbers = result.numpy() if result.dtype == torch.float16 else _whole(result).numpy()
        with np.errstate(over="ignore", invalid="ignore"):
            found[name] = numbers.astype(array.dtype, copy=False)
        whole = np.issubdtype(array.dtype, np.integer)
        fits = found[name] == numbers if whole else _finite(found[name])
        if not fits.all():
            hint = "" if whole else " Store it with ?dtype=float32."
            largest = np.max(np.abs(numbers), where=~np.isnan(numbers), initial=0)
            raise DoesNotFit(
                f"Branch {branch}: {name} holds numbers that do not fit {array.dtype} "
                f"(largest {largest:g}).{hint}"
            )
    return found


def _whole(numbers: Tensor) -> Tensor:
    return numbers.float() if numbers.is_floating_point() else numbers


def _copied(numbers: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """In host memory once the stream is done."""
    return {name: each.to("cpu", non_blocking=True) for name, each in numbers.items()}


def _finite(numbers: NDArray[Any]) -> NDArray[np.bool_]:
    """NumPy looks at half precision by way of floats; its exponents tell it several times as
    fast."""
    if numbers.dtype != np.float16:
        finite: NDArray[np.bool_] = np.isfinite(numbers)
        return finite
    exponents = np.uint16(0x7C00)
    below: NDArray[np.bool_] = (numbers.view(np.uint16) & exponents) != exponents
    return below
