"""The network that is fine-tuned: a branch's network from the first layer that learns, and a head.

It takes the cached input of that layer, or rows as decode workers make them. From those it computes
what lies below without gradients, as the branch would, so that both ways give the same numbers.
What the network is, only its `Trainable` knows. Legend: b samples.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint, set_checkpoint_early_stop

from extract.trainable import Trainable
from heads.errors import BadSetting
from heads.finetuning.batch_norm import learning_norms, running, why_once
from heads.finetuning.chance import Chance
from heads.finetuning.config import FinetuneConfig, Reach
from heads.finetuning.processes import Processes
from heads.finetuning.readout import Readout

_NOTHING = Chance()


class FinetuneNet(nn.Module):
    """Parameters are `backbone.…` as the network names them, and `head.…` with `/` for dots."""

    def __init__(
        self,
        network: Trainable,
        readout: Readout,
        reach: Reach,
        config: FinetuneConfig,
        processes: Processes,
    ) -> None:
        super().__init__()
        self.network = network
        self.reach = reach
        self.cut = max(cut for cut in network.cuts if cut <= reach.layer)
        """Where cached or computed inputs enter."""
        self.shard = config.shard
        self.computes_in = config.computes_in
        first = network.layers if config.norms == "kept" else reach.layer
        self._norms = learning_norms(network, first, processes)
        self.once = why_once(self._norms, network.blocks)
        """Why blocks cannot be computed twice; None: they can."""
        self.twice = bool(config.checkpointing)
        """Whether they are, for gradients, in place of keeping what is inside them."""
        if self.twice and self.once:
            raise BadSetting(f"checkpointing=true: {self.once}")
        for block in network.blocks:
            block.forward = self._perhaps_twice(block.forward)
        self.batch_statistics = bool(self._norms)
        """Whether in training a sample's vectors depend on the others of its batch."""
        self.joins = readout.batch_statistics and not self._norms
        """Whether a batch that is cut is whole for the head, which has batch statistics."""
        self.parts = 1
        """That it then passes the network in, for gradients."""
        self.backbone = network.model
        self.head = readout
        self._freeze()

    def forward(
        self, inputs: Tensor, beside_bd: Tensor, chance: Chance = _NOTHING, *, raw: bool = False
    ) -> Tensor:
        """Inputs of the cut, or with `raw` rows of the branch's `prepare`; cached vectors of other
        networks → (b, classes)."""
        device = inputs.device.type
        precision = self.computes_in(device)
        half = precision != "float32"
        with torch.autocast(device, getattr(torch, precision), enabled=half):
            vectors = self._vectors(inputs, chance.keep, raw=raw)
        with torch.autocast(device, enabled=False):
            logits: Tensor = self.head(vectors, beside_bd, chance.drop)
            return logits

    def _vectors(self, inputs: Tensor, keep: Tensor | None, *, raw: bool) -> dict[str, Tensor]:
        """Where they come in parts, nothing inside the network is kept: each part is computed again
        on the way back, alone, and to its end, so that no shards are left put together."""

        def once(inputs: Tensor, keep: Tensor | None) -> dict[str, Tensor]:
            x = self.first_input(inputs) if raw else inputs.float()
            return self.network.vectors(x, self.cut, keep)

        if self.parts == 1 or not torch.is_grad_enabled():
            return once(inputs, keep)
        keeps = [None] * self.parts if keep is None else keep.tensor_split(self.parts, -1)
        parts = zip(inputs.tensor_split(self.parts), keeps, strict=True)
        with set_checkpoint_early_stop(enable=False):
            found = [checkpoint(once, *part, use_reentrant=False) for part in parts]
        return {name: torch.cat([part[name] for part in found]) for name in found[0]}

    def first_input(self, rows: Tensor) -> Tensor:
        """The input of the cut; what lies below is computed as branches do."""
        with torch.no_grad():
            if rows.device.type != "cpu" or self.shard or self.cut == 0:
                # Shards: as often here as in other processes.
                return self.network.enter(rows, self.cut)
            return torch.cat([self.network.enter(row[None], self.cut) for row in rows])

    def train(self, mode: bool = True) -> "FinetuneNet":  # noqa: FBT001, FBT002 (torch's own)
        """Of the network, the batch norms that learn alone: its own dropout would follow from
        nothing that a resumed run knows."""
        super().train(mode)
        self.backbone.eval()
        for norm in self._norms.values():
            norm.train(mode)
        return self

    def learnt(self) -> dict[str, Tensor]:
        """All that training changes, live: what a checkpoint has to hold."""
        learning = {name: p for name, p in self.named_parameters() if p.requires_grad}
        buffers = {f"head.{name}": b for name, b in self.head.buffers_that_learn().items()}
        return {**learning, **buffers, **{f"backbone.{n}": b for n, b in running(self._norms)}}

    def _perhaps_twice(self, once: Callable[..., Tensor]) -> Callable[..., Tensor]:
        """With `twice`, forgets what is inside and computes it again for gradients."""

        def forward(*inputs: Tensor | None) -> Tensor:
            if not self.twice or not torch.is_grad_enabled():
                return once(*inputs)
            found: Tensor = checkpoint(once, *inputs, use_reentrant=False)
            return found

        return forward

    def _freeze(self) -> None:
        own = self.network.own_head
        heads = () if own is None else (own.weight, own.bias)  # the readout learns in its place
        for name, parameter in self.backbone.named_parameters():
            learns = self.network.layer_of(name) >= self.reach.layer and name not in heads
            parameter.requires_grad_(learns)
