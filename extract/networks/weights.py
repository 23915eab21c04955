"""Checkpoints in, state dicts out: safely, with every key accounted for.

This is the only module that calls `torch.load`, with `weights_only=True`: a pickle cannot run
code here, nor can a TorchScript archive. Nothing is downloaded.
"""

import argparse
import hashlib
import pickle
import re
import warnings
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from extract.errors import BadWeights
from extract.networks import settings_archive, torchscript

State = dict[str, Tensor]

_WRAPPERS = ("model", "module", "state_dict", "netC")
_SHOWN = 6
_UNREADABLE = (
    RuntimeError, EOFError, OSError, ValueError, KeyError, AttributeError, TypeError, IndexError,
    zipfile.BadZipFile,
)  # fmt: skip
_TEXT_STARTS = (b"<", b"{", b"version https://git-lfs")
_ZIP, _PICKLE = b"PK\x03\x04", b"\x80"


def read_state(path: Path) -> State:
    """The tensors of a checkpoint, whatever wrapper they are in."""
    found = _unwrapped(_read(path))
    tensors = {key: value for key, value in found.items() if isinstance(value, Tensor)}
    if not tensors or len(tensors) != len(found):
        other = sorted(str(key) for key in found if key not in tensors)[:_SHOWN]
        raise BadWeights(
            f"{path} holds no state dict of tensors (found {', '.join(other) or 'nothing'}). Give "
            f"the checkpoint that the model's authors published."
        )
    return tensors


def without_prefix(state: Mapping[str, Tensor], prefixes: Iterable[str]) -> State:
    """Keys with the first prefix that fits taken off; two keys that become one are refused."""
    shorter: State = {}
    for key, value in state.items():
        prefix = next((prefix for prefix in prefixes if key.startswith(prefix)), "")
        name = key.removeprefix(prefix)
        if name in shorter:
            raise BadWeights(f"Checkpoint key {key!r} and another one both mean {name!r}.")
        shorter[name] = value
    return shorter


def joined_qkv(state: Mapping[str, Tensor], pattern: re.Pattern[str]) -> State:
    """Queries, keys and values that are apart in one `attn.qkv`, as the official files have them.

    The pattern's groups: `block`, `part` (begins with q, k or v) and `what` (weight or bias).
    """
    joined: State = {}
    apart: dict[str, dict[str, Tensor]] = {}
    for key, value in state.items():
        found = pattern.fullmatch(key)
        if found is None:
            joined[key] = value
        else:
            name = f"{found['block']}.attn.qkv.{found['what']}"
            apart.setdefault(name, {})[found["part"][0]] = value
    for key, parts in apart.items():
        if set(parts) == set("qkv"):  # anything less is reported as missing
            joined[key] = torch.cat([parts[part] for part in "qkv"])
    return joined


def float32(value: Tensor) -> Tensor:
    """In memory of its own: a checkpoint's tensors are views of the file, which may change."""
    return value.to(torch.float32, copy=True)


def unfilled() -> torch.device:
    """`with unfilled():` makes networks without numbers, for `fill`: nothing is drawn at random
    only to be thrown away, and there is no second copy."""
    return torch.device("meta")


def fill(module: nn.Module, state: Mapping[str, Tensor], *, model: str, hint: str = "") -> None:
    """Load exactly what the module has: nothing missing, nothing left, every shape right.

    Numbers are cast and copied once, a tensor at a time, into memory of the module's own: what the
    state's tensors share with each other or with a file that may change is not shared any more.
    """
    wanted = module.state_dict()
    missing = sorted(set(wanted) - set(state))
    unexpected = sorted(set(state) - set(wanted))
    shapes = [
        f"{key} is {list(state[key].shape)} instead of {list(value.shape)}"
        for key, value in wanted.items()
        if key in state and state[key].shape != value.shape
    ]
    problems = [
        f"{what}: {_listed(keys)}"
        for what, keys in (("missing", missing), ("unexpected", unexpected), ("shapes", shapes))
        if keys
    ]
    if problems:
        raise BadWeights(f"These weights are not {model}. {'; '.join(problems)}.{hint}")
    unfilled = any(value.is_meta for value in wanted.values())
    own = {
        key: _own(state[key], value) if unfilled else state[key] for key, value in wanted.items()
    }
    broken = sorted(key for key, value in own.items() if not _finite(value))
    if broken:
        raise BadWeights(
            f"These weights of {model} hold numbers that are not finite: {_listed(broken)}. The "
            f"file is damaged; get it again."
        )
    module.load_state_dict(own, assign=unfilled)
    left = [name for name, value in module.named_buffers() if value.is_meta]
    if left:
        raise RuntimeError(f"{model} makes {_listed(left)} itself, so it cannot be made unfilled.")


def _finite(value: Tensor) -> bool:
    """Without a copy: the least and the largest number are NaN where any number is."""
    if not value.is_floating_point() or not value.numel():
        return True
    return bool(torch.stack(torch.aminmax(value.float())).isfinite().all())


def _own(value: Tensor, wanted: Tensor) -> Tensor:
    """With the type and the layout that the module's tensor has."""
    return torch.empty_like(wanted, device="cpu").copy_(value)


def content_hash(state: Mapping[str, Tensor]) -> str:
    """The sha256 of names, shapes, types and numbers: equal weights in any file format agree."""
    digest = hashlib.sha256()
    for key in sorted(state):
        tensor = state[key].detach().cpu().contiguous()
        digest.update(f"{key} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


RANDOM = "random numbers (tiny preset), no training"
"""Where such weights are from, for people."""
MADE_UP = "trained on made-up people; knows nothing of real ones"
"""The same of the weights that the package has for `tiny` presets."""
_SHIPPED = Path(__file__).parent / "tiny"


def given_or_shipped(branch: str, preset: str, given: Path | None) -> tuple[Path | None, str]:
    """The file of weights that a branch loads, if there is one, and where they are from.

    For `tiny` presets the package has a file, made by `python -m benchmarks.train_tiny`.
    """
    if given is not None:
        return given, given.name
    return (_SHIPPED / f"{branch}-tiny.safetensors", MADE_UP) if preset == "tiny" else (None, "")


def seeded(module: nn.Module, seed: int) -> None:
    """Random weights of a sensible scale, the same on every machine."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in sorted(module.named_parameters()):
        with torch.no_grad():
            if name == "pos_embed":
                continue  # sine and cosine as they are
            if parameter.ndim > 1 and "token" not in name:
                fan_in = parameter[0].numel()
                parameter.normal_(0, fan_in**-0.5, generator=generator)
            elif "gamma" in name:
                parameter.fill_(0.5)
            elif "norm" in name and name.endswith("weight"):
                parameter.fill_(1)
            else:
                parameter.normal_(0, 0.2, generator=generator)


def _read(path: Path) -> object:
    if not path.is_file():
        raise BadWeights(f"{path} is not a file; give the path of a checkpoint.")
    with path.open("rb") as file:
        start = file.read(64)
    if not start:
        raise BadWeights(f"{path} is empty; get it again.")
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    if start.lstrip().startswith(_TEXT_STARTS):
        raise BadWeights(
            f"{path} is text ({start[:40].decode(errors='replace')!r}…), not weights: an error "
            f"page or a pointer was saved in place of the file. Get it again."
        )
    if not start.startswith((_ZIP, _PICKLE)):
        raise BadWeights(f"{path} is no checkpoint: it starts with {start[:8]!r}. Get it again.")
    try:
        if torchscript.is_archive(path):
            return torchscript.read_tensors(path)
        return _read_saved(path, mapped=start.startswith(_ZIP))
    except pickle.UnpicklingError as error:
        reason = str(error).split("\n")[0]
        raise BadWeights(
            f"{path} was refused: it holds more than tensors, or is damaged ({reason}). Telltale "
            f"never runs code from a checkpoint; get the file from its authors, or as safetensors."
        ) from error
    except _UNREADABLE as error:
        reason = str(error).split("\n")[0]
        raise BadWeights(
            f"{path} cannot be read ({reason}). It may be cut off; compare its size with the "
            f"original and get it again."
        ) from error


def _read_saved(path: Path, *, mapped: bool) -> object:
    """What `torch.save` wrote."""
    try:
        with (
            torch.serialization.safe_globals([argparse.Namespace]),
            warnings.catch_warnings(action="ignore"),  # on pickle protocols; errors say enough
        ):
            return torch.load(  # noqa: TID251 (the checkpoint module)
                path, map_location="cpu", weights_only=True, mmap=mapped
            )
    except pickle.UnpicklingError as error:
        if not settings_archive.is_refused_for(str(error)):
            raise
        return settings_archive.read_model(path)


def _read_safetensors(path: Path) -> State:
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise BadWeights(
            f"{path} is no safetensors file, or cut off ({error}). Get it again."
        ) from error


def _unwrapped(found: object) -> dict[str, object]:
    while isinstance(found, dict):
        inner = next((found[key] for key in _WRAPPERS if isinstance(found.get(key), dict)), None)
        if inner is None:
            return {str(key): value for key, value in found.items()}
        found = inner
    return {}


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
