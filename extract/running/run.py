"""What was asked of one run, in one record, whoever carries it out.

A process that runs everything itself, the processes of several devices and Ray's actors are all
handed a `Run`; nothing else tells them what to do.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path

from extract.branch import Branch, BranchRequest, for_protocol, load_branch
from extract.manifest.manifest import Manifest
from extract.running.pipeline import Settings
from extract.running.workload import Part
from extract.views.protocol import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Which Ray, and how much of it."""

    address: str | None = None
    """None: a Ray of our own on this machine."""
    runners: int = 1
    """Actors that hold the networks, each with a device."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Everything that decides what is extracted, where it goes, and who does it."""

    manifest: Manifest
    store: str
    branches: tuple[BranchRequest, ...]
    settings: Settings
    devices: tuple[str, ...] = ("cpu",)
    """A process for each, where there are several."""
    workers: int | None = None
    """Decode workers: of all devices together, of one runner on Ray; None: by the cores."""
    part: Part = field(default_factory=Part)
    threads: int | None = None
    """Of torch, since the sums of a CPU's networks depend on them; None: as many as torch likes."""
    log: Path | None = None
    cluster: Cluster | None = None

    def share(self, device: str, workers: int, threads: int) -> "Run":
        """What one of several processes is told. Videos come to it piece by piece."""
        return replace(
            self,
            manifest=replace(self.manifest, videos=()),
            store=self.store if "://" in self.store else str(Path(self.store).resolve()),
            branches=tuple(request.with_whole_paths() for request in self.branches),
            devices=(device,),
            workers=workers,
            threads=threads,
            log=None,
            cluster=None,
        )

    def load_branches(self) -> list[Branch]:
        """The networks, on the first device; one that is asked for under several protocols is
        there once."""
        loaded: list[tuple[BranchRequest, Branch]] = []
        for request in self.requests():
            wanted = replace(request, device=self.devices[0])
            alike = replace(wanted, protocol="")
            known = next((branch for other, branch in loaded if other == alike), None)
            loaded.append((alike, load_branch(wanted) if known is None else known.under(wanted)))
        return [branch for _, branch in loaded]

    def requests(self) -> list[BranchRequest]:
        """The branches, each with its protocol and as many frames as that one's views have."""
        asked = [
            request.under(request.protocol or self.settings.protocol) for request in self.branches
        ]
        return [for_protocol(request, Protocol.parse(request.protocol)) for request in asked]
