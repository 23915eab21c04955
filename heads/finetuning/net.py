"""The network that is fine-tuned: a part of InternVideo2, the pool, and the fusion head.

It takes tokens (the cached input of the first block that learns) or uint8 clips. From clips it
computes what lies below without gradients, as the branch would, so that both ways give the same
numbers. Legend: b batch, t frames, h height, w width, c colour, n tokens, d channels.
"""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from extract.branches.internvideo2 import InternVideo2
from extract.networks.vit import Block
from extract.views.transforms import IMAGENET_MEAN, IMAGENET_STD
from heads.finetuning.config import FinetuneConfig, Reach
from heads.finetuning.processes import Processes, SharedStatistics
from heads.parts.fusion_net import BatchStatistics, Layout, logits


class FinetuneNet(nn.Module):
    """Parameters are `backbone.…` as in official checkpoints, and `head.…` with `/` for dots."""

    def __init__(
        self,
        backbone: InternVideo2,
        layout: Layout,
        head: Mapping[str, Tensor],
        reach: Reach,
        config: FinetuneConfig,
        processes: Processes,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.layout = layout
        self.reach = reach
        self.checkpointing = config.checkpointing
        self.shard = config.shard
        self.computes_in = config.computes_in
        self.head = nn.Module()
        for name, tensor in head.items():
            if "running" in name:
                self.head.register_buffer(_inner(name), tensor.clone())
            else:
                learns = name != "alpha" or (bool(layout.depth) and layout.alpha != "fixed")
                parameter = nn.Parameter(tensor.detach().clone(), requires_grad=learns)
                self.head.register_parameter(_inner(name), parameter)
        mean, std = torch.tensor(IMAGENET_MEAN), torch.tensor(IMAGENET_STD)
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", mean.view(3, 1, 1, 1), persistent=False)
        self.register_buffer("std", std.view(3, 1, 1, 1), persistent=False)
        self._statistics = SharedStatistics if processes.count > 1 else BatchStatistics
        self._freeze()

    def forward(self, inputs: Tensor, depth: Tensor, keep: Tensor | None = None) -> Tensor:
        """Tokens (b, n, d) or clips (b, t, h, w, c), depth vectors (b, d) → (b, classes).

        `keep` (blocks, 2, b) are the factors of what blocks add, for drop path.
        """
        device = inputs.device.type
        precision = self.computes_in(device)
        half = precision != "float32"
        with torch.autocast(device, getattr(torch, precision), enabled=half):
            tokens_bnd = self.first_input(inputs) if inputs.dtype == torch.uint8 else inputs.float()
            for index in range(self.reach.first, len(self.backbone.blocks)):
                factors = None if keep is None else keep[index]
                tokens_bnd = self._block(index, tokens_bnd, factors)
            vectors = self.backbone.vectors(self.backbone.adapted(tokens_bnd))
        names = ("cls", "avg", "attn")[2 - self.layout.pooled if self.layout.width else 2 :]
        with torch.autocast(device, enabled=False):
            columns = [vectors[name].float() for name in names]
            x = torch.cat([*columns, depth] if self.layout.depth else columns, -1)
            head = self.head_state()
            statistics = self._statistics(head) if self.training else None
            return logits(head, x, self.layout, statistics)

    def first_input(self, clips_bthwc: Tensor) -> Tensor:
        """The input of the first part that learns; what lies below is computed as branches do."""
        if self.reach.kind == "end-to-end":
            return self._below(clips_bthwc)
        with torch.no_grad():
            if clips_bthwc.device.type != "cpu" or self.shard:
                return self._below(clips_bthwc)  # shards: as often here as in other processes
            return torch.cat([self._below(clip[None]) for clip in clips_bthwc])

    def _below(self, clips_bthwc: Tensor) -> Tensor:
        clips_bcthw = clips_bthwc.permute(0, 4, 1, 2, 3).float() / 255
        tokens_bnd = self.backbone.embed((clips_bcthw - self.mean) / self.std)
        return self.backbone.run(tokens_bnd, 0, self.reach.first)

    def head_state(self) -> dict[str, Tensor]:
        """The head's tensors under the fusion head's names, live."""
        named = [*self.head.named_parameters(), *self.head.named_buffers()]
        return {name.replace("/", "."): tensor for name, tensor in named}

    def learnt(self) -> dict[str, Tensor]:
        """All that training changes, live: what a checkpoint has to hold."""
        learning = {name: p for name, p in self.named_parameters() if p.requires_grad}
        return {**learning, **{f"head.{name}": b for name, b in self.head.named_buffers()}}

    def _block(self, index: int, tokens_bnd: Tensor, factors: Tensor | None) -> Tensor:
        block = self.backbone.blocks[index]
        assert isinstance(block, Block)
        again = self.checkpointing and self.training
        result: Tensor = (
            checkpoint(block, tokens_bnd, factors, use_reentrant=False)
            if again
            else block(tokens_bnd, factors)
        )
        return result

    def _freeze(self) -> None:
        kind = self.reach.kind
        for name, parameter in self.backbone.named_parameters():
            part, _, rest = name.partition(".")
            if part == "blocks":
                learns = int(rest.partition(".")[0]) >= self.reach.first
            else:
                learns = kind == "end-to-end" or part in ("clip_projector", "adapter")
            parameter.requires_grad_(learns)


def drop_path_factors(rate: float, blocks: int, samples: int, seed: tuple[int, ...]) -> Tensor:
    """0 where a sample skips, 1 / (1 - rate) elsewhere; the rate grows from 0 to the last block."""
    rates = torch.linspace(0, rate, blocks)[:, None, None]
    drawn = torch.from_numpy(np.random.default_rng(seed).random((blocks, 2, samples)))
    return (drawn >= rates).float() / (1 - rates)


def _inner(name: str) -> str:
    return name.replace(".", "/")
