"""What is to be fine-tuned, on what."""

from dataclasses import dataclass, field
from pathlib import Path

from extract.branch import BranchRequest
from extract.manifest.manifest import Manifest
from features_store.store import Store
from heads.config import Settings
from heads.data.forged import is_forged
from heads.data.splits import Choice, training_protocol
from heads.finetuning.config import FinetuneConfig
from heads.zoo.fusion import FusionConfig
from heads.zoo.linear import LinearConfig

HeadConfig = FusionConfig | LinearConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """All of it."""

    store: Store
    backbone: BranchRequest
    reach: str
    """pool, blocks=K or end-to-end."""
    config: FinetuneConfig
    choice: Choice = field(default_factory=Choice)
    head: str | None = None
    """fusion or linear, without a bundle to start from; none: fusion on a network that has its
    vectors, else linear on what the network gives."""
    head_settings: Settings = field(default_factory=dict)
    start: Path | None = None
    """A fusion or linear bundle trained on this backbone's cached features."""
    videos: Manifest | None = None
    """Decode these instead of reading what is cached."""
    workers: int = 1
    memory: int = 2 * 2**30
    """Bytes of decoded views that are kept."""
    seed: int = 0
    out: Path | None = None

    @property
    def protocols(self) -> tuple[str, str]:
        """Of training and of validation."""
        train = self.choice.protocol or training_protocol(self.store)
        own = is_forged(train) or "val" not in self.store.protocols()
        default = train if own else "val"
        return train, self.choice.judging or default
