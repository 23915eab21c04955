"""What a run looks at and how, and the part of it that holds the networks.

A `Pipeline` fills one store's arrays, for all protocols of a run: it is given pieces of work, and
may be given pieces again and again. What is in the store is skipped, so running again is resuming.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

from extract.branch import Branch
from extract.decoding.containers import Limits
from extract.decoding.job import Job, Look, Outcome, Plan
from extract.errors import BadSetting
from extract.offer import Offer, group_specs
from extract.running import seen
from extract.running.device import Device
from extract.running.failures import check_failures
from extract.running.flow import WRITES_AHEAD, Decode, Encode, Flow, Stop
from extract.running.lane import staging_bytes
from extract.running.lanes import Batchers, Lanes
from extract.running.open_shards import OpenShards
from extract.running.progress import Progress
from extract.running.targets import Targets, open_targets, own_targets
from extract.running.workload import Piece
from extract.views.protocol import Protocol
from features_store import facts, frame_hashes
from features_store.schema import BranchSpec
from features_store.store import Store

_STRAGGLERS = 4
"""Shards that wait for a slow video, at a guess; each worker could hold one up."""
Changed = Literal["say", "recompute", "ignore"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How videos are looked at, and when to give up."""

    protocol: str
    """Of the branches that have none of their own."""
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

    def protocol_details(self, name: str = "") -> dict[str, object]:
        """What the store remembers of a protocol, as JSON gives it back; other details never mix
        with these."""
        protocol = Protocol.parse(name or self.protocol)
        seed = {"seed": self.seed} if protocol.is_drawn else {}
        details: dict[str, object] = json.loads(json.dumps({**protocol.describe(), **seed}))
        return details


class Pipeline:
    """The networks of a run, and the arrays that they fill."""

    def __init__(self, targets: Targets, branches: Sequence[Branch], settings: Settings) -> None:
        self.settings = settings
        self.targets = targets
        self._networks = [
            Batchers(branch, own_targets(offer_of(branch, settings), targets), settings.batch)
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
            name: OpenShards(arrays, Protocol.parse(arrays.protocol).view_count)
            for name, arrays in self.targets.items()
        }
        lanes = [
            Lanes(network, shards, devices[network.branch.device], progress.clock)
            for network in self._networks
        ]
        encoders: dict[str, Encode] = {
            seen.spec().group: lambda info, _: seen.encode(info),
            facts.spec().group: lambda info, _: facts.encode(info.facts()),
            frame_hashes.spec().group: lambda _, found: frame_hashes.encode(found.hashes),
        }
        files = {
            name: encoders[arrays.spec.group]
            for name, arrays in self.targets.items()
            if arrays.spec.group in encoders
        }
        flow = Flow(lanes, shards, files, list(devices.values()), progress)

        def checked(jobs: Iterable[Job]) -> Iterator[Outcome]:
            for outcome in decode(jobs):
                yield outcome
                check_failures(progress, self.settings.max_failed)

        flow.through(pieces, checked, stop)


def open_arrays(store: Store, offers: Sequence[Offer], settings: Settings) -> Targets:
    """The arrays of these branches, and of the files."""
    found: Targets = {}
    for protocol, specs in branch_specs(store, offers, settings).items():
        details = settings.protocol_details(protocol)
        found = {**found, **open_targets(store, protocol, details, specs, settings.shard_rows)}
    return found


def branch_specs(
    store: Store | None, offers: Sequence[Offer], settings: Settings
) -> dict[str, list[BranchSpec]]:
    """By protocol: the groups that these branches fill, those that are yet to be made too."""
    found = {}
    for protocol, own in by_protocol(offers, settings).items():
        views = Protocol.parse(protocol).view_count
        found[protocol] = group_specs(own, store, protocol, views, settings.decoder)
    return found


def by_protocol(offers: Sequence[Offer], settings: Settings) -> dict[str, list[Offer]]:
    """What is given under each of a run's protocols."""
    found: dict[str, list[Offer]] = {}
    for offer in offers:
        found.setdefault(offer.protocol or settings.protocol, []).append(offer)
    return found or {settings.protocol: []}


def offer_of(branch: Branch, settings: Settings) -> Offer:
    """What a branch gives, and under which of the run's protocols."""
    return replace(branch.offer, protocol=protocol_of(branch, settings))


def protocol_of(branch: Branch, settings: Settings) -> str:
    return branch.request.protocol or settings.protocol


def offers_of(branches: Sequence[Branch], settings: Settings) -> list[Offer]:
    """What branches give; refuses those that cannot be run together."""
    looks_of(branches, settings)
    return [offer_of(branch, settings) for branch in branches]


def decode_plan(branches: Sequence[Branch], settings: Settings, root: str) -> Plan:
    """What decode workers have to know."""
    return Plan(
        looks=looks_of(branches, settings), root=root, seed=settings.seed,
        decoder=settings.decoder, hashed=True, limits=settings.limits,
    )  # fmt: skip


def looks_of(branches: Sequence[Branch], settings: Settings) -> tuple[Look, ...]:
    """What workers make of a video under each protocol; refuses branches that do not suit it."""
    found: dict[str, list[Branch]] = {}
    for branch in branches:
        found.setdefault(protocol_of(branch, settings), []).append(branch)
    return tuple(_look(own, protocol) for protocol, own in found.items()) or (
        Look(protocol=settings.protocol, outputs=()),
    )


def buffer_bytes(branches: Sequence[Branch], settings: Settings, workers: int) -> int:
    """Memory of decoded views and batches, beside the networks."""
    slots = 2 * workers * sum(look.nbytes for look in looks_of(branches, settings))
    return slots + sum(staging_bytes(branch) for branch in branches)


def open_shard_bytes(shard_bytes: int, workers: int) -> int:
    """Memory of shards that are being filled or written, where one of each branch has so many."""
    return shard_bytes * (WRITES_AHEAD + min(workers, _STRAGGLERS))


def _look(branches: Sequence[Branch], name: str) -> Look:
    """One array where several branches prepare videos alike."""
    protocol = Protocol.parse(name)
    outputs = {branch.prepare.name: branch.prepare for branch in branches}
    for branch in branches:
        if outputs[branch.prepare.name] != branch.prepare:
            raise BadSetting(
                f"Two branches prepare videos differently under one name, "
                f"{branch.prepare.name!r}; extract them one after the other."
            )
    for output in outputs.values():
        if not output.suits(protocol):
            names = [branch.name for branch in branches if branch.prepare == output]
            raise BadSetting(
                f"Branch {' and '.join(names)} needs {output.wants}; {name} was asked for. A "
                f"branch may have a protocol of its own: '…?protocol={output.fitting}'."
            )
    return Look(protocol=name, outputs=tuple(outputs.values()))
