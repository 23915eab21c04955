"""What changes weights: one optimiser, or two that take turns.

AltFreezing's released construction is two: one has the temporal kernels and all that is neither,
the other the spatial kernels and the same rest. A step belongs to one of them. What only the other
one has stays as it is to the last bit, without decay and without momentum; what both have, has two
momentum buffers.
"""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from extract.trainable import Trainable
from heads.errors import BadSetting
from heads.finetuning.adapter_turns import by_kind, forget
from heads.finetuning.checkpoints import optimiser_state, restore_optimiser
from heads.finetuning.config import FinetuneConfig
from heads.finetuning.layer_decay import BACKBONE, parameter_groups
from heads.training.alternate import Alternation

_ALONE = "optimiser"
_SCALER = "scaler"
_WHOLE = ("growth_interval", "_growth_tracker")
"""The scaler's numbers that are no floats."""
State = dict[str, Tensor]


class Optimisers:
    """Those of one training; parameters by name, as in `FinetuneNet`."""

    def __init__(
        self,
        named: Mapping[str, Tensor],
        network: Trainable,
        config: FinetuneConfig,
        steps_an_epoch: int,
        device: str = "cpu",
    ) -> None:
        self._config = config
        self._names = {tensor: name for name, tensor in named.items()}
        self._turns, parts = None, {_ALONE: dict(named)}
        if config.alternate is not None:
            self._turns = Alternation.parse(config.alternate)
            parts = _two(named, network)
        self._each = {
            what: _made(list(parameter_groups(part.items(), config, network)), config)
            for what, part in parts.items()
        }
        text = config.adapter_turns
        self._adapter_turns = None if text is None else Alternation.parse(text)
        self._adapter = by_kind(named.items())
        half = config.computes_in(device) == "float16"
        self.scaler = torch.amp.GradScaler(torch.device(device).type, enabled=half)
        scales = {group["lr_scale"] for one in self._each.values() for group in one.param_groups}
        self._rates = {scale: config.rates_of(steps_an_epoch, scale) for scale in scales}

    def step(self, step: int) -> None:
        """Use the gradients that there are, and forget them."""
        config, optimiser = self._config, self._each[self._whose(step)]
        for group in optimiser.param_groups:
            group["lr"] = float(self._rates[group["lr_scale"]][step])
        if self._adapter_turns is not None:
            forget(self._adapter_turns, step, self._adapter)
        if config.clip:
            self.scaler.unscale_(optimiser)
            learning = [p for group in optimiser.param_groups for p in group["params"]]
            torch.nn.utils.clip_grad_norm_(learning, config.clip)
        self.scaler.step(optimiser)
        self.scaler.update()
        for parameter in self._names:
            parameter.grad = None

    def names(self, kind: str) -> set[str]:
        """Parameters that the steps of a kind change, where two optimisers take turns."""
        groups = self._each[kind].param_groups
        return {self._names[tensor] for group in groups for tensor in group["params"]}

    def decays(self, kind: str) -> set[float]:
        """Their weight decays."""
        return {group["weight_decay"] for group in self._each[kind].param_groups}

    def moments(self) -> Iterator[Tensor]:
        """All that is kept of earlier gradients."""
        for optimiser in self._each.values():
            for state in optimiser.state.values():
                yield from (tensor for tensor in state.values() if tensor.ndim)

    def state(self) -> dict[str, State]:
        """For a checkpoint."""
        numbers = self.scaler.state_dict()
        return {
            _SCALER: {name: torch.tensor(float(value)) for name, value in numbers.items()},
            **{what: optimiser_state(one, self._names) for what, one in self._each.items()},
        }

    def restore(self, found: Mapping[str, State]) -> None:
        for what, optimiser in self._each.items():
            restore_optimiser(optimiser, self._names, found.get(what, {}))
        if _SCALER in found:
            numbers = {name: float(value) for name, value in found[_SCALER].items()}
            self.scaler.load_state_dict(
                {name: int(v) if name in _WHOLE else v for name, v in numbers.items()}
            )

    def _whose(self, step: int) -> str:
        return _ALONE if self._turns is None else self._turns.learning(step)


def _two(named: Mapping[str, Tensor], network: Trainable) -> dict[str, dict[str, Tensor]]:
    """Kind → what its optimiser has."""
    kinds = {name: _kind(name, network) for name in named}
    found = set(kinds.values())
    if None in found:
        raise BadSetting(
            "alternate: this network has no spatial and no temporal kernels to freeze in turns. A "
            "video transformer can have an adapter that does: --set adapter_turns=… takes the same "
            "text (and is what --alternate did to InternVideo2 before)."
        )
    missing = [kind for kind in ("spatial", "temporal") if kind not in found]
    if missing:
        raise BadSetting(
            f"alternate: among the layers that learn there is no {' and no '.join(missing)} "
            f"kernel; let more of them learn (--depth end-to-end)."
        )
    return {
        kind: {name: named[name] for name, own in kinds.items() if own in (kind, "both")}
        for kind in ("spatial", "temporal")
    }


def _kind(name: str, network: Trainable) -> str | None:
    return network.kind_of(name.removeprefix(BACKBONE)) if name.startswith(BACKBONE) else "both"


def _made(groups: list[dict[str, object]], config: FinetuneConfig) -> torch.optim.Optimizer:
    if config.optimiser == "sgd":
        return torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum)
    return torch.optim.AdamW(groups, lr=config.lr, fused=True)
