"""Checkpoints of a run: one safetensors file, written atomically, with everything to go on from.

All that is random in fine-tuning follows from (seed, epoch, step), so tensors, the optimiser's
state and a count of steps are enough: a resumed run takes the same steps as one that was never
stopped. A file that belongs to another run is refused.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from features_store.schema import fingerprint
from heads.errors import BadCheckpoint
from heads.finetuning.run import NO_NUMBER
from heads.finetuning.sharding import share_of
from heads.finetuning.tensor_file import write_tensors

Facts = Mapping[str, object]
_ABOUT = "telltale"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A run at the end of a step."""

    step: int
    """Updates done."""
    tensors: dict[str, dict[str, Tensor]]
    """What → name → tensor; `live`, `best`, `average` and the optimiser's."""
    history: list[float] = field(default_factory=list)
    """The validation metric, before training and after every epoch."""
    losses: list[float] = field(default_factory=list)
    """Of every step."""
    parts: int = 1
    """That batches were cut into."""

    def save(self, path: Path, run: Facts, *, writes: bool = True) -> None:
        """Processes that share tensors out all come here, and one writes."""
        about = {"run": dict(run), "step": self.step, "history": self.history,
                 "losses": self.losses, "parts": self.parts}  # fmt: skip
        flat = {
            f"{what}|{name}": tensor
            for what, named in self.tensors.items()
            for name, tensor in named.items()
        }
        write_tensors(path, flat, {_ABOUT: json.dumps(about)}, writes=writes)

    @staticmethod
    def parts_of(path: Path) -> int:
        """That the run which wrote it cut batches into; older files say so as a setting."""
        with _readable(path), safe_open(path, "pt") as file:
            about = json.loads(file.metadata()[_ABOUT])
            return int(about.get("parts") or about["run"]["accumulate"])

    @staticmethod
    def load(path: Path, run: Facts) -> "Checkpoint":
        """Refuses what another run wrote."""
        with _readable(path), safe_open(path, "pt") as file:
            about = json.loads(file.metadata()[_ABOUT])
            flat = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        there = {name: value for name, value in about["run"].items() if name not in NO_NUMBER}
        if fingerprint(there) != fingerprint(run):
            raise BadCheckpoint(f"{path} is of another run: {_differences(there, run)}. "
                                f"Give the same settings, or another --out.")  # fmt: skip
        tensors: dict[str, dict[str, Tensor]] = {}
        for key, tensor in flat.items():
            what, _, name = key.partition("|")
            tensors.setdefault(what, {})[name] = tensor
        return Checkpoint(
            step=about["step"], tensors=tensors, history=about["history"],
            losses=about["losses"], parts=about.get("parts", 1),
        )  # fmt: skip


def optimiser_state(
    optimiser: torch.optim.Optimizer, names: Mapping[Tensor, str]
) -> dict[str, Tensor]:
    """Per parameter's name."""
    return {
        f"{names[parameter]}|{what}": tensor
        for parameter, state in optimiser.state.items()
        for what, tensor in state.items()
    }


def restore_optimiser(
    optimiser: torch.optim.Optimizer, names: Mapping[Tensor, str], state: Mapping[str, Tensor]
) -> None:
    """The reverse; moments go where their parameters are."""
    for parameter, name in names.items():
        found = {
            key.rpartition("|")[2]: tensor
            for key, tensor in state.items()
            if key.rpartition("|")[0] == name
        }
        if found:
            optimiser.state[parameter] = {
                what: share_of(tensor, parameter)
                if tensor.shape == parameter.shape
                else tensor.to(parameter.device)  # the count of steps
                for what, tensor in found.items()
            }


def copy_into(live: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> None:
    if live.keys() != found.keys():
        raise BadCheckpoint("The checkpoint holds other parameters; remove it to begin anew.")
    with torch.no_grad():
        for name, tensor in live.items():
            tensor.copy_(share_of(found[name], tensor))


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise BadCheckpoint(f"{path} cannot be read ({error}); remove it to begin anew.") from error


def _differences(there: Facts, here: Facts) -> str:
    names = [name for name in {*there, *here} if there.get(name) != here.get(name)]
    return ", ".join(f"{n}={there.get(n)} there, {here.get(n)} here" for n in sorted(names))
