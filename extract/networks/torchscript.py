"""The tensors of a TorchScript archive, without running or compiling anything in it.

OpenAI published CLIP as such archives: programs with their weights. Here the program is never
looked at. Its data are one pickle, read by an unpickler that knows tensors, lists and empty
records, and refuses every other name; the numbers lie beside it as plain bytes.
"""

import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

import torch
from torch import Tensor

_MARK = "constants.pkl"
"""What an archive of `torch.save` has not."""


def is_archive(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.split("/")[1:] == [_MARK] for name in archive.namelist())


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Parameters, buffers and other tensors by their names, as `state_dict` has them."""
    with zipfile.ZipFile(path) as archive:
        root = archive.namelist()[0].split("/")[0]
        with archive.open(f"{root}/data.pkl") as file:
            return dict(_tensors(_Unpickler(file, archive, f"{root}/data").load(), ""))


class _Module:
    """In the place of any class of the program: attributes, no behaviour."""


def _tensors(found: object, name: str) -> Iterator[tuple[str, Tensor]]:
    if isinstance(found, Tensor):
        yield name, found
    elif isinstance(found, _Module):
        for key, value in vars(found).items():
            yield from _tensors(value, f"{name}.{key}" if name else key)


def _tensor(
    storage: Tensor, offset: int, size: Sequence[int], stride: Sequence[int], *_: object
) -> Tensor:
    return storage.as_strided(size, stride, offset)  # torch refuses what lies outside


def _same(value: object, *_: object) -> object:
    return value


_KNOWN: dict[str, object] = {
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch.DoubleStorage": torch.float64,
    "torch.FloatStorage": torch.float32,
    "torch.HalfStorage": torch.float16,
    "torch.BFloat16Storage": torch.bfloat16,
    "torch.LongStorage": torch.int64,
    "torch.IntStorage": torch.int32,
    "torch.BoolStorage": torch.bool,
    "torch.jit._pickle.build_intlist": _same,
    "torch.jit._pickle.build_doublelist": _same,
    "torch.jit._pickle.build_boollist": _same,
    "torch.jit._pickle.build_tensorlist": _same,
    "torch.jit._pickle.restore_type_tag": _same,
    "collections.OrderedDict": OrderedDict,
}


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: IO[bytes], archive: zipfile.ZipFile, folder: str) -> None:
        super().__init__(file)
        self._archive, self._folder = archive, folder

    def find_class(self, module: str, name: str) -> object:
        if module.split(".")[0] == "__torch__":
            return _Module
        if f"{module}.{name}" not in _KNOWN:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return _KNOWN[f"{module}.{name}"]

    def persistent_load(self, pid: tuple[str, torch.dtype, str, str, int]) -> Tensor:
        _, dtype, key, _, count = pid
        if count == 0:
            return torch.empty(0, dtype=dtype)
        numbers = bytearray(self._archive.read(f"{self._folder}/{key}"))
        return torch.frombuffer(numbers, dtype=dtype, count=count)
