"""The contract that every branch keeps, and how one is asked for by name.

A branch is one file in `extract/branches/`; the file's name is its name, and it has a function
`load(request) -> Branch`. Asking is `NAME=PRESET[:WEIGHTS][?option=value&…]`, for example
`internvideo2=L14:/weights/internvideo2-L14-k400.bin?outputs=cls,avg,attn,tokens`. Where a run has
several protocols, a branch says which is its own: `image=efficientnet-lite0?protocol=frames-16@8`.

What a branch writes into a store, by families of outputs with a fingerprint each, is said in
`extract.offer`; what it offers to be trained, in `extract.trainable`.
"""

import copy
import importlib
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, get_args

import torch
from numpy.typing import NDArray
from torch import Tensor

from extract import branches, plugins
from extract.decoding.job import Output
from extract.errors import BadSetting
from extract.libraries import library_versions
from extract.networks.exact import exact_float32
from extract.offer import Offer
from extract.people import person_view
from extract.people.person_view import CROP, PersonView
from extract.results import fetched, stored
from extract.trainable import Trainable
from extract.views.protocol import Protocol
from features_store.schema import ArraySpec, BranchSpec

PRESENT = "present"
"""The output by which a branch says what of a view is there."""
PATH_OPTIONS = ("boxes", "clip", "raft")
"""Options that name another file: of boxes, or a second one of weights."""
Precision = Literal["float32", "bfloat16", "float16"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BranchRequest:
    """What was asked for."""

    name: str
    preset: str
    weights: Path | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    """Each branch says which it knows."""
    device: str = "cpu"
    precision: Precision | None = None
    """None: float32 on a CPU, bfloat16 on CUDA. Part of the fingerprint."""
    protocol: str = ""
    """Whose views it looks at; empty: those of the run. No part of the fingerprint."""

    def __post_init__(self) -> None:
        if self.precision is not None and self.precision not in get_args(Precision):
            known = ", ".join(get_args(Precision))
            raise BadSetting(f"Precision {self.precision!r} unknown; have: {known}.")

    @staticmethod
    def parse(text: str) -> "BranchRequest":
        name, equals, rest = text.partition("=")
        place, _, query = rest.partition("?")
        preset, colon, weights = place.partition(":")
        if not equals or not name or not preset or (colon and not weights):
            raise BadSetting(
                f"Branch {text!r}: give NAME=PRESET:WEIGHTS, such as "
                f"internvideo2=L14:/weights/internvideo2-L14-k400.bin, or internvideo2=tiny."
            )
        options: dict[str, str] = {}
        for part in query.split("&") if query else []:
            key, equals, value = part.partition("=")
            if not equals or not key or not value or key in options:
                raise BadSetting(f"Branch {text!r}: after '?' give option=value, joined by '&'.")
            options[key] = value
        precision = options.pop("precision", None)
        path = Path(weights).expanduser() if weights else None
        return BranchRequest(
            name=name, preset=preset, weights=path, options=options, precision=precision,  # type: ignore[arg-type]
        )  # fmt: skip

    def under(self, protocol: str) -> "BranchRequest":
        """With a protocol: what `?protocol=` says, else this one."""
        options = dict(self.options)
        return replace(self, protocol=options.pop("protocol", protocol), options=options)

    @property
    def computes_in(self) -> Precision:
        if self.precision is not None:
            return self.precision
        return "bfloat16" if torch.device(self.device).type == "cuda" else "float32"

    def option(self, name: str, default: str, allowed: Sequence[str]) -> str:
        value = self.options.get(name, default)
        if value not in allowed:
            raise BadSetting(
                f"Branch {self.name}: {name}={value!r} unknown; have: {', '.join(allowed)}."
            )
        return value

    def wants_random(self, preset: str) -> bool:
        """`random=true`: weights drawn at random, for tests; of that preset only."""
        wanted = self.option("random", "false", ("true", "false")) == "true"
        if wanted and (self.preset != preset or self.weights is not None):
            raise BadSetting(
                f"Branch {self.name}: random=true is for {self.name}={preset} without a path."
            )
        return wanted

    def whole_number(self, name: str, default: int, largest: int) -> int:
        text = self.options.get(name, str(default))
        if not (text.isascii() and text.isdecimal() and 1 <= int(text) <= largest):
            raise BadSetting(f"Branch {self.name}: {name}={text}: give 1 to {largest}.")
        return int(text)

    def with_whole_paths(self) -> "BranchRequest":
        """The same from any working directory."""
        weights = None if self.weights is None else self.weights.absolute()
        paths = {
            name: str(Path(value).expanduser().absolute())
            for name, value in self.options.items()
            if name in PATH_OPTIONS and Path(value).expanduser().exists()
        }
        name = str(Path(self.name).absolute()) if plugins.is_file(self.name) else self.name
        return replace(self, name=name, weights=weights, options={**self.options, **paths})

    def check_options(self, known: Sequence[str]) -> None:
        for name in self.options:
            if name not in known:
                more = () if "boxes" in known else (CROP,)
                have = ", ".join((*known, "precision", *more))
                raise BadSetting(f"Branch {self.name} has no option {name!r}; have: {have}.")


class Branch(ABC):
    """A frozen network that says something about views.

    On a CPU a view gets the same bits whatever else is in its batch, since views are computed one
    by one (they are large enough to keep the cores busy). On CUDA they agree to rounding.
    """

    name: str
    preset: str
    device: torch.device
    precision: Precision
    outputs: Mapping[str, ArraySpec]
    """Per view: name → shape and dtype of what `forward` gives, as it is stored. Families are
    whole: more than `asked` where only a part of one was asked for."""
    families: Sequence[Sequence[str]] = ()
    """The outputs, by what is kept together; empty: they are one family."""
    asked: Sequence[str] = ()
    """Outputs that somebody named; empty: all of them."""
    prepare: Output
    """What decode workers make of a video's frames for this branch, a row per view. It names its
    function, so that workers need not load torch."""
    decides: Mapping[str, Any]
    """All that decides the numbers of all outputs: architecture, weights' hash, preprocessing,
    precision, revision. With a family's names and types it is the family's fingerprint."""
    types_decide = True
    """Whether names and types of the outputs are hashed too."""
    provenance: Mapping[str, Any]
    """For people: where the weights are from."""
    frozen = ""
    """Why its network cannot be trained, where that is not plain: what comes after a colon."""
    request: BranchRequest
    """How another process gets the very same branch; `load_branch` notes it."""

    @property
    def offer(self) -> Offer:
        """The same without the network, for whoever plans a run."""
        return Offer(
            name=self.name,
            preset=self.preset,
            outputs=self.outputs,
            families=self.families or [tuple(self.outputs)],
            asked=self.asked or tuple(self.outputs),
            decides=self.decides,
            types_decide=self.types_decide,
            provenance={**self.provenance, "libraries": library_versions()},
            options={**self.request.options, "precision": self.precision},
            protocol=self.request.protocol,
        )

    def under(self, request: BranchRequest) -> "Branch":
        """The same network for another protocol's views."""
        other = copy.copy(self)
        other.request = replace(self.request, protocol=request.protocol)
        return other

    def filling(self, groups: Sequence[BranchSpec]) -> "Branch":
        """The same network, which computes what these groups hold and no more."""
        narrow = copy.copy(self)
        narrow.outputs = {
            name: replace(array, shape=array.shape[1:])
            for group in groups
            for name, array in group.arrays.items()
        }
        narrow.families = tuple(tuple(group.arrays) for group in groups)
        narrow.asked = ()
        return narrow

    def trainable(self) -> Trainable | None:
        """Its network as `telltale finetune` trains it; None: it stays frozen, see `frozen`."""
        return None

    @torch.inference_mode()
    def forward(self, batch: Tensor) -> dict[str, Tensor]:
        """Rows of `prepare`, on the branch's device → outputs, without gradient."""
        half = self.precision != "float32"
        kind = self.device.type
        with (
            exact_float32(wanted=not half),
            torch.autocast(kind, getattr(torch, self.precision), enabled=half),
        ):
            if kind != "cpu":
                return self.compute(batch)
            parts = [self.compute(batch[row : row + 1]) for row in range(len(batch))]
        return {name: torch.cat([part[name] for part in parts]) for name in self.outputs}

    @abstractmethod
    def compute(self, batch: Tensor) -> dict[str, Tensor]:
        """The network itself; `forward` sees to precision and gradients."""

    @abstractmethod
    def example(self, count: int) -> Tensor:
        """Random input of the right shape and type, for measuring memory and speed."""

    def fetched(self, results: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Results in host memory."""
        return fetched(results, self.outputs, self.device)

    def numpy(self, results: Mapping[str, Tensor]) -> dict[str, NDArray[Any]]:
        """Results as they are stored. A number too large for its type is an error, not infinity."""
        return stored(results, self.outputs, self.name)


def branch_names() -> list[str]:
    return sorted(module.name for module in pkgutil.iter_modules(branches.__path__))


def trainable_names() -> list[str]:
    """What each of our branches that can be trained says of itself, in `TRAINABLE`."""
    ours = (importlib.import_module(f"extract.branches.{name}") for name in branch_names())
    return sorted(name for one in ours for name in getattr(one, "TRAINABLE", ()))


def for_protocol(request: BranchRequest, protocol: Protocol) -> BranchRequest:
    """With as many frames as the protocol's views have, where a branch takes any number of them
    and none was asked for."""
    if "frames" not in getattr(_module(request.name), "OPTIONS", ()):
        return request
    return replace(request, options={"frames": str(protocol.view_frames), **request.options})


def load_branch(request: BranchRequest) -> Branch:
    """Find a branch by its file's name and load it; with `crop=person` it looks at a person."""
    module = _module(request.name)
    if CROP not in request.options:
        return _loaded(module, request, request)
    if "boxes" in getattr(module, "OPTIONS", ()):
        raise BadSetting(f"Branch {request.name} looks at people already; leave crop= out.")
    look = PersonView.asked(request.options)
    plain = {name: v for name, v in request.options.items() if name not in person_view.OPTIONS}
    branch = _loaded(module, replace(request, options=plain), request)
    branch.prepare = look.prepared(branch.prepare, says_present=PRESENT in branch.outputs)
    branch.decides = {**branch.decides, CROP: look.decides()}
    return branch


def _loaded(module: ModuleType, plain: BranchRequest, request: BranchRequest) -> Branch:
    branch: Branch = module.load(plain)
    branch.request = replace(request.with_whole_paths(), precision=branch.precision)
    return branch


ENTRY_POINTS = "telltale.branches"
"""Where another distribution offers branches: name → a module with a function `load`."""


def _module(name: str) -> ModuleType:
    """Ours by its file's name, another distribution's, or one out of a file: `my_branch.py`."""
    if plugins.is_file(name):
        return _checked(name, plugins.module_of(name))
    if name in branch_names():
        return importlib.import_module(f"extract.branches.{name}")
    others = plugins.offered_names(ENTRY_POINTS)
    if name in others:
        return _checked(name, plugins.offered(ENTRY_POINTS, name))
    have = ", ".join([*branch_names(), *others])
    raise BadSetting(f"Branch {name!r} unknown; have: {have}. One of your own: FILE.py=PRESET.")


def _checked(where: str, found: object) -> ModuleType:
    if not (isinstance(found, ModuleType) and callable(getattr(found, "load", None))):
        raise BadSetting(f"{where} gives {found!r}; a module with a function `load` is needed.")
    return found
