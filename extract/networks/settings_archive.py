"""The network of a checkpoint that holds its training's settings too, as a record of yacs.

SimMIM's code saves such files, and whoever fine-tunes with it: beside `model` lie the optimizer's
state and a `yacs.config.CfgNode`, which torch's own safe reader refuses. Here the record becomes a
plain dict that nobody looks at, every other class is refused, and only the numbers of `model` are
read from the file.
"""

import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

_SETTINGS = "yacs.config.CfgNode"
_MODEL = "model"


def is_refused_for(reason: str) -> bool:
    """Whether torch's reader stumbled over the settings, and nothing worse."""
    return f"GLOBAL {_SETTINGS}" in reason


def read_model(path: Path) -> dict[str, object]:
    """What `model` holds, by name."""
    if not zipfile.is_zipfile(path):
        raise pickle.UnpicklingError(f"with {_SETTINGS} only files in torch's zip format are read")
    with zipfile.ZipFile(path) as archive:
        root = archive.namelist()[0].split("/")[0]
        with archive.open(f"{root}/data.pkl") as file:
            found = _Unpickler(file).load()
        model = found.get(_MODEL) if isinstance(found, Mapping) else None
        if not isinstance(model, Mapping):
            raise pickle.UnpicklingError(f"there is no {_MODEL!r} in it")
        return {
            str(name): value.read(archive, f"{root}/data") if isinstance(value, _Numbers) else value
            for name, value in model.items()
        }


class _Settings(dict[str, object]):
    """In the place of the record; what it would set up is forgotten."""

    def __setstate__(self, state: object) -> None:
        del state


@dataclass(frozen=True, slots=True)
class _Storage:
    """Where a tensor's bytes lie in the archive."""

    dtype: torch.dtype
    key: str
    count: int


@dataclass(frozen=True, slots=True)
class _Numbers:
    """A tensor that is read when it is wanted."""

    storage: _Storage
    offset: int
    size: Sequence[int]
    stride: Sequence[int]

    def read(self, archive: zipfile.ZipFile, folder: str) -> Tensor:
        storage = self.storage
        if not storage.count:
            return torch.empty(tuple(self.size), dtype=storage.dtype)
        bytes_ = bytearray(archive.read(f"{folder}/{storage.key}"))
        flat = torch.frombuffer(bytes_, dtype=storage.dtype, count=storage.count)
        return flat.as_strided(self.size, self.stride, self.offset)  # torch refuses what is outside


def _numbers(
    storage: _Storage, offset: int, size: Sequence[int], stride: Sequence[int], *_: object
) -> _Numbers:
    return _Numbers(storage, offset, size, stride)


_KNOWN: Mapping[str, object] = {
    _SETTINGS: _Settings,
    "torch._utils._rebuild_tensor_v2": _numbers,
    "torch.FloatStorage": torch.float32,
    "torch.HalfStorage": torch.float16,
    "torch.BFloat16Storage": torch.bfloat16,
    "torch.DoubleStorage": torch.float64,
    "torch.LongStorage": torch.int64,
    "torch.IntStorage": torch.int32,
    "torch.BoolStorage": torch.bool,
    "collections.OrderedDict": OrderedDict,
    "__builtin__.set": set,
    "builtins.set": set,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> object:
        if f"{module}.{name}" not in _KNOWN:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return _KNOWN[f"{module}.{name}"]

    def persistent_load(self, pid: tuple[str, torch.dtype, str, str, int]) -> _Storage:
        _, dtype, key, _, count = pid
        return _Storage(dtype, str(key), count)
