"""What a run looks at and how, and the part of it that holds the networks.

A `Pipeline` fills one store's arrays for one protocol: it is given pieces of work, and may be given
pieces again and again. What is in the store is skipped, so running again is resuming.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from extract.branch import Branch
from extract.decoding.containers import Limits
from extract.decoding.job import Job, Outcome, Output, Plan, slot_bytes
from extract.errors import BadSetting
from extract.offer import Offer, group_specs
from extract.running import seen
from extract.running.device import Device
from extract.running.failures import check_failures
from extract.running.flow import WRITES_AHEAD, Decode, Flow, Stop
from extract.running.lane import staging_bytes
from extract.running.lanes import Batchers, Lanes
from extract.running.open_shards import OpenShards
from extract.running.progress import Progress
from extract.running.targets import Targets, open_targets
from extract.running.workload import Piece
from extract.views.protocol import Protocol
from features_store import facts, frame_hashes
from features_store.branch_arrays import BranchArrays
from features_store.schema import BranchSpec
from features_store.store import Store

_STRAGGLERS = 4
"""Shards that wait for a slow video, at a guess; each worker could hold one up."""
Changed = Literal["say", "recompute", "ignore"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How videos are looked at, and when to give up."""

    protocol: str
    seed: int = 0
    """Of train views."""
    decoder: str = "pyav"
    limits: Limits = field(default_factory=Limits)
    batch: int | None = None
    """Views that go to the device at once; None: as many as fit."""
    retry_failed: bool = False
    changed: Changed = "say"
    """What becomes of videos whose files changed since they were extracted; see `seen`."""
    max_failed: float = 0.2
    """Share of failed videos, after the first 100, that stops the run."""
    shard_rows: int | None = None
    """Videos that are written together; None: 64 MiB of them, at most 256."""

    def __post_init__(self) -> None:
        Protocol.parse(self.protocol)
        if not 0 < self.max_failed <= 1:
            raise BadSetting(f"max_failed {self.max_failed:g}: give more than 0, at most 1.")
        if self.batch is not None and self.batch < 1:
            raise BadSetting(f"A batch of {self.batch} views: give 1 or more.")
        if self.changed not in get_args(Changed):
            known = ", ".join(get_args(Changed))
            raise BadSetting(f"changed={self.changed!r} unknown; have: {known}.")

    @property
    def views(self) -> int:
        return Protocol.parse(self.protocol).view_count

    def protocol_details(self) -> dict[str, object]:
        """What the store remembers of the protocol, as JSON gives it back; other details never mix
        with these."""
        protocol = Protocol.parse(self.protocol)
        seed = {"seed": self.seed} if protocol.kind == "train" else {}
        details: dict[str, object] = json.loads(json.dumps({**protocol.describe(), **seed}))
        return details


class Pipeline:
    """The networks of a run, and the arrays that they fill."""

    def __init__(self, targets: Targets, branches: Sequence[Branch], settings: Settings) -> None:
        self.settings = settings
        self.targets = targets
        self._networks = [
            Batchers(branch, own_targets(branch.offer, targets), settings.batch)
            for branch in branches
        ]

    def run(
        self,
        pieces: Iterable[Piece],
        decode: Decode,
        progress: Progress,
        stop: Stop = lambda: False,
    ) -> None:
        """Do the pieces; `stop` is asked between videos."""
        kinds = {network.branch.device for network in self._networks}
        devices = {kind: Device(kind) for kind in kinds}
        shards = {
            name: OpenShards(arrays, self.settings.views) for name, arrays in self.targets.items()
        }
        lanes = [
            Lanes(network, shards, devices[network.branch.device], progress.clock)
            for network in self._networks
        ]
        files = {
            seen.spec().group: seen.encode,
            facts.spec().group: lambda info: facts.encode(info.facts()),
            frame_hashes.spec().group: lambda info: frame_hashes.encode(info.hashes),
        }
        flow = Flow(lanes, shards, files, list(devices.values()), progress)

        def checked(jobs: Iterable[Job]) -> Iterator[Outcome]:
            for outcome in decode(jobs):
                yield outcome
                check_failures(progress, self.settings.max_failed)

        flow.through(pieces, checked, stop)


def open_arrays(store: Store, offers: Sequence[Offer], settings: Settings) -> Targets:
    """The arrays of these branches, and of the files."""
    details = settings.protocol_details()
    specs = branch_specs(store, offers, settings)
    return open_targets(store, settings.protocol, details, specs, settings.shard_rows)


def branch_specs(
    store: Store | None, offers: Sequence[Offer], settings: Settings
) -> list[BranchSpec]:
    """The groups that these branches fill, those that are yet to be made too."""
    return group_specs(offers, store, settings.protocol, settings.views, settings.decoder)


def own_targets(offer: Offer, targets: Targets) -> dict[str, BranchArrays]:
    """Those that a branch fills."""
    return {group: arrays for group, arrays in targets.items() if offer.made(arrays.spec)}


def offers_of(branches: Sequence[Branch], settings: Settings) -> list[Offer]:
    """What branches give; refuses those that cannot be run together."""
    check_fit(branches, settings.protocol)
    return [branch.offer for branch in branches]


def decode_plan(branches: Sequence[Branch], settings: Settings, root: str) -> Plan:
    """What decode workers have to know."""
    check_fit(branches, settings.protocol)
    return Plan(
        protocol=settings.protocol, outputs=_outputs(branches), root=root, seed=settings.seed,
        decoder=settings.decoder, hashed=True, limits=settings.limits,
    )  # fmt: skip


def check_fit(branches: Sequence[Branch], name: str) -> None:
    """Refuse branches that cannot be run together, or that this protocol's views do not suit."""
    protocol = Protocol.parse(name)
    for output in _outputs(branches):
        if not output.suits(protocol):
            names = [branch.name for branch in branches if branch.prepare == output]
            raise BadSetting(
                f"Branch {' and '.join(names)} needs {output.wants}; {name} was asked for."
            )


def buffer_bytes(branches: Sequence[Branch], settings: Settings, workers: int) -> int:
    """Memory of decoded views and batches, beside the networks."""
    slots = 2 * workers * slot_bytes(_outputs(branches), settings.views)
    return slots + sum(staging_bytes(branch) for branch in branches)


def open_shard_bytes(shard_bytes: int, workers: int) -> int:
    """Memory of shards that are being filled or written, where one of each branch has so many."""
    return shard_bytes * (WRITES_AHEAD + min(workers, _STRAGGLERS))


def _outputs(branches: Sequence[Branch]) -> tuple[Output, ...]:
    """What workers make: one array where several branches prepare videos alike."""
    outputs = {branch.prepare.name: branch.prepare for branch in branches}
    for branch in branches:
        if outputs[branch.prepare.name] != branch.prepare:
            raise BadSetting(
                f"Two branches prepare videos differently under one name, "
                f"{branch.prepare.name!r}; extract them one after the other."
            )
    return tuple(outputs.values())
