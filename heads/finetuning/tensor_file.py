"""Safetensors files written one tensor at a time.

For tensors that are more than one process can hold: each is put together, written and forgotten
before the next one. All processes come along, and one writes. What comes out is what safetensors'
own `save` makes, up to the order of the tensors; a killed writer leaves the old file.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

from features_store.commit import TEMPORARY_SUFFIX, make_directory, publish
from features_store.errors import WriteFailed
from heads.finetuning.sharding import whole

_DTYPES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16",
    torch.int64: "I64", torch.int32: "I32", torch.uint8: "U8", torch.bool: "BOOL",
}  # fmt: skip


def write_tensors(
    path: Path,
    tensors: Mapping[str, Tensor],
    about: Mapping[str, str] | None = None,
    *,
    writes: bool = True,
) -> None:
    """`about` is the file's metadata. With `writes=False`, take part in putting together only."""
    names = sorted(tensors, key=lambda name: -tensors[name].itemsize)  # keeps numbers aligned
    with _draft(path) if writes else nullcontext() as file:
        if file is not None:
            file.write(_header({name: tensors[name] for name in names}, about or {}))
        for name in names:
            tensor = whole(tensors[name])
            if file is not None:
                flat = tensor.cpu().contiguous().flatten()
                file.write(flat.view(torch.uint8).numpy().data)


def _header(tensors: Mapping[str, Tensor], about: Mapping[str, str]) -> bytes:
    """Eight bytes of length, then JSON; spaces at its end let numbers begin at a multiple of 8."""
    entries: dict[str, object] = {"__metadata__": dict(about)} if about else {}
    start = 0
    for name, tensor in tensors.items():
        end = start + tensor.numel() * tensor.itemsize
        entries[name] = {
            "dtype": _DTYPES[tensor.dtype], "shape": list(tensor.shape),
            "data_offsets": [start, end],
        }  # fmt: skip
        start = end
    text = json.dumps(entries).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


@contextmanager
def _draft(path: Path) -> Iterator[BinaryIO]:
    """A file under another name, that gets its own when it is complete."""
    temporary = path.with_name(f".{path.name}{TEMPORARY_SUFFIX}")  # a killed writer's is taken over
    make_directory(path.parent)
    try:
        with temporary.open("wb") as file:
            yield file
        publish(temporary, path)
    except OSError as error:
        raise WriteFailed(f"{path}: {error.strerror or error}. Make room and try again.") from error
    finally:
        temporary.unlink(missing_ok=True)
