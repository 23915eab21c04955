"""The branch whose network is fine-tuned: loaded before, and again with what was learnt."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from extract.branch import Branch, BranchRequest, for_protocol, load_branch, trainable_names
from extract.people.person_view import CROP
from extract.trainable import Trainable
from extract.views.protocol import Protocol
from features_store.branch_arrays import BranchArrays
from features_store.schema import fingerprint
from heads.errors import BadSetting
from heads.finetuning.config import POOL, FinetuneConfig, Reach

_DECIDES = ("weights", "architecture", "preprocessing", "revision")
"""What makes a network the same, whatever its precision; and a crop, if there is one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backbone:
    """A branch, and its network as it can be trained."""

    branch: Branch
    network: Trainable

    @staticmethod
    def load(request: BranchRequest, protocol: str) -> "Backbone":
        """In main memory: a network that is shared out need not fit a device."""
        request = for_protocol(request, Protocol.parse(protocol))
        request = replace(request, device="cpu", precision=request.computes_in)
        branch = load_branch(_plain(request))
        network = branch.trainable()
        if network is None:
            have = f"{', '.join(trainable_names())}, and branches of your own that are `trainable`"
            why = f": {branch.frozen}." if branch.frozen else f"; have: {have}."
            raise BadSetting(f"Branch {request.name}={request.preset} cannot be fine-tuned{why}")
        if not set(network.pooled) <= set(branch.outputs):
            branch = load_branch(_plain(request, network.pooled))
            network = branch.trainable()
            assert network is not None
        return Backbone(branch=branch, network=network)

    def is_own(self, key: str) -> bool:
        """Whether an array, as a head names it, is one of this branch's."""
        name, _, _ = key.partition("/")
        branch = self.branch
        full = f"{branch.name}-{branch.preset}"
        return name in (branch.name, full) or name.startswith(f"{full}@")

    def made(self, found: BranchArrays) -> bool:
        """Whether these arrays are of this very network, in whatever precision."""
        there, decides = found.spec.provenance, self.branch.decides
        names = [CROP, *(name for name in _DECIDES if name in decides)]
        theirs, ours = ({name: one.get(name) for name in names} for one in (there, decides))
        return found.spec.name == self.branch.name and fingerprint(theirs) == fingerprint(ours)

    def beside(self, keys: Sequence[str]) -> tuple[str, ...]:
        """Of a head's arrays, those of other networks."""
        return tuple(key for key in keys if not self.is_own(key))

    def reach(self, text: str) -> Reach:
        return Reach.parse(text, self.network.layers - 2)

    def cut(self, reach: Reach) -> int:
        """The layer whose input is what such a run is fed."""
        return max(cut for cut in self.network.cuts if cut <= reach.layer)

    def check(self, config: FinetuneConfig, reach: Reach) -> None:
        """What this network can be asked for."""
        if config.mixes and self.cut(reach):
            raise BadSetting(
                "mixup and cutmix mix pictures, and this run begins above them; give --depth "
                "end-to-end, or leave them out."
            )
        if config.drop_path and not self.network.paths:
            raise BadSetting(
                f"drop_path={config.drop_path:g}: {self.branch.name}={self.branch.preset} has no "
                f"residual blocks that it could skip; leave it out."
            )

    def adapt(self, config: FinetuneConfig, reach: Reach, seed: int, *, cached: bool) -> None:
        """Give the network the adapter that is asked for, unless it has one."""
        channels, network = config.adapter_channels, self.network
        if not network.adapter:
            if channels:
                network.adapt(channels, seed)
            return
        if reach.kind == POOL and cached:
            raise BadSetting(
                "This backbone has an adapter, which its cached tokens have been through; give "
                "--depth blocks=1 or more."
            )
        if config.adapter not in (0, network.adapter):
            raise BadSetting(
                f"adapter={config.adapter}: this backbone has one of {network.adapter} channels "
                f"already; leave the setting out."
            )

    def tuned(self, path: Path, wanted: Sequence[str]) -> Branch:
        """The branch that extracts the tuned network's vectors, from a file of its weights."""
        request = replace(self.branch.request, weights=path)
        branch = load_branch(_plain(request))
        if not set(wanted) <= set(branch.outputs):
            branch = load_branch(_plain(request, wanted))
        return branch


def _plain(request: BranchRequest, outputs: Sequence[str] = ()) -> BranchRequest:
    """With these outputs, or those that a branch has without being asked. With weights from a file
    nothing is random."""
    left_out = ("outputs",) if request.weights is None else ("outputs", "random")
    options = {name: value for name, value in request.options.items() if name not in left_out}
    if outputs:
        options["outputs"] = ",".join(outputs)
    return replace(request, options=options)
