"""One network at work for all the groups that it fills: what a video lacks is computed in one pass.

Videos that lack the same groups share a lane, which computes these groups' outputs and no others.
Nearly always there is one lane: only where a run goes on with groups that hold different videos are
there more.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from extract.branch import Branch
from extract.decoding.job import Seen
from extract.running.batching import Batcher
from extract.running.clock import Clock
from extract.running.device import Device
from extract.running.lane import Lane
from extract.running.open_shards import OpenShards
from extract.running.summary import Failure
from extract.running.workload import Workload
from features_store.branch_arrays import BranchArrays

Groups = tuple[str, ...]


class Batchers:
    """A network's batchers, by the groups that they compute for.

    They are kept from run to run: measuring takes time, and so does running out of memory.
    """

    def __init__(
        self, branch: Branch, targets: Mapping[str, BranchArrays], size: int | None
    ) -> None:
        """`targets` are all that the network fills; `size` is measured where it is None."""
        self.branch = branch
        self.groups: Groups = tuple(targets)
        self._specs = {group: arrays.spec for group, arrays in targets.items()}
        self._size = size
        self._found: dict[Groups, Batcher] = {}

    def of(self, groups: Groups, in_flight: int) -> Batcher:
        if groups not in self._found:
            branch, size = self.branch.filling([self._specs[group] for group in groups]), self._size
            if size is None and groups != self.groups:
                size = self.of(self.groups, in_flight).size  # measured once, with everything
            self._found[groups] = Batcher(branch, size, in_flight=in_flight)
        return self._found[groups]


class Lanes:
    """Views in, rows of open shards out. Used by one thread."""

    def __init__(
        self, batchers: Batchers, shards: Mapping[str, OpenShards], device: Device, clock: Clock
    ) -> None:
        """`shards` of every target of the run."""
        self.groups = batchers.groups
        self.output = batchers.branch.prepare.name
        self._batchers = batchers
        self._shards = shards
        self._device = device
        self._clock = clock
        self._lanes: dict[Groups, Lane] = {}
        batchers.of(batchers.groups, device.in_flight)  # measured before anything is under way

    def add(
        self,
        row: int,
        video: str,
        seen: Mapping[str, Seen],
        wanting: Sequence[str],
    ) -> None:
        """Take what decoding made of a video, by protocol, that these targets lack."""
        groups = tuple(group for group in self.groups if group in wanting)
        if not groups:
            return
        if groups not in self._lanes:
            batcher = self._batchers.of(groups, self._device.in_flight)
            shards = [self._shards[group] for group in groups]
            self._lanes[groups] = Lane(batcher, shards, self._device, self._clock)
        arrays = seen[self._shards[groups[0]].target.protocol].arrays
        self._lanes[groups].add(row, video, arrays[self.output])

    def collect(self) -> None:
        """Deal out the results that are there."""
        for lane in self._lanes.values():
            lane.collect()

    def flush(self) -> None:
        """Send off what is gathered, and wait for everything."""
        for lane in self._lanes.values():
            lane.flush()

    def take_failures(self) -> list[Failure]:
        """Videos that were decoded and failed on the device; they are forgotten here."""
        return [failure for lane in self._lanes.values() for failure in lane.take_failures()]


def lane_counts(groups: Sequence[str], work: Workload) -> dict[Groups, int]:
    """The lanes that a run needs for a network's groups, and how many videos go through each."""
    lacks = np.stack([work.needs[group] for group in groups], axis=1)
    sets, counts = np.unique(lacks, axis=0, return_counts=True)
    return {
        tuple(group for group, lacking in zip(groups, row, strict=True) if lacking): count
        for row, count in zip(sets.tolist(), counts.tolist(), strict=True)
        if any(row)
    }
