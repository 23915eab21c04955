"""The contract of a network that `telltale finetune` can train, without knowing what it is.

A branch that has one gives it by `Branch.trainable()`. Layers are for rates that shrink with
depth, kinds for learning in turns, cuts for starting from what is cached of a layer's input.
Legend: b rows, d channels.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from extract.errors import BadSetting

Kind = Literal["spatial", "temporal", "both"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnHead:
    """The linear layer by which a network itself says forged or not: parameters of its model."""

    vector: str
    """The output that it reads."""
    weight: str
    """Name of a parameter (1, d), or (2, d)."""
    bias: str
    forged: int = 0
    """The row whose logit is larger for forgeries."""


class Trainable(ABC):
    """A branch's network in training; it shares the network with the branch."""

    model: nn.Module
    """Frozen until it is trained; parameters have the names that `layer_of` knows."""
    pooled: Sequence[str]
    """Outputs that `vectors` gives, `present` aside; a head sits on all of them unless told."""
    layers: int
    """How many there are: 0 sees the pixels, `layers - 1` is next to the head and has its rate."""
    blocks: Sequence[nn.Module] = ()
    """Parts that may be computed twice to save memory, or shared out over processes one by one."""
    paths: int = 0
    """Residual blocks that `keep` speaks of; 0: no drop path."""
    cuts: Sequence[int] = (0,)
    """Layers whose input can be had by itself, smallest first."""
    adapter: int = 0
    """Channels of the adapter that the network has; see `adapt`."""
    not_decayed: Sequence[str] = ()
    """Matrices that weight decay leaves alone, by name; vectors and biases it leaves alone too."""
    own_head: OwnHead | None = None

    @abstractmethod
    def layer_of(self, name: str) -> int:
        """Of a parameter of `model`."""

    def kind_of(self, name: str) -> Kind | None:
        """What a parameter compares: neighbours in space, in time, or both (or neither). None: the
        network has no parts that are one or the other."""
        del name
        return None

    def cached(self, layer: int) -> str | None:
        """The branch's output that is the input of a cut; None where `prepare`'s rows are."""
        del layer
        return None

    def takes(self, branch: str, decides: Mapping[str, object]) -> str | None:
        """The array of another branch, of which this is what decides its numbers, that `enter`
        takes in place of rows of `prepare`. None: none, but arrays of `prepare`'s own name."""
        del branch, decides
        return None

    @abstractmethod
    def enter(self, rows: Tensor, layer: int) -> Tensor:
        """Rows of `prepare` → the input of a cut; of cut 0 pictures, (b, …, h, w), so that they can
        be mixed. Constants go to the rows' device."""

    @abstractmethod
    def vectors(self, x: Tensor, layer: int, keep: Tensor | None = None) -> dict[str, Tensor]:
        """The input of a cut → the branch's pooled outputs by name, (b, …, d) as `compute` gives
        them, with gradient; `present` beside them where the branch has it. `keep` (paths, 2, b) are
        the factors of what residual blocks add. Nothing is random here: a network's own dropout
        stays in evaluation mode, batch norms in layers that learn do not."""

    def adapt(self, channels: int, seed: int) -> None:
        """Put an adapter of its own between the last block and the pool."""
        raise BadSetting(f"This network takes no adapter (of {channels} channels, seed {seed}).")

    def weights(self) -> Mapping[str, Tensor]:
        """All tensors, as the branch's `load` reads them from a file."""
        return self.model.state_dict()
