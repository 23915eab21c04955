"""Scoring archives: videos, or the features of a store, part by part.

From videos each part is extracted into a store of its own, scored, and dropped, unless a store is
given to keep features in; so disk and memory stay flat however many videos there are, and a run
that is killed does again at most the videos that were in the works. A row is of one version of one
file (its size and time): rows that still hold are taken over, whatever else has changed.
"""

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from extract.branch import Branch
from extract.manifest.labels import UNLABELLED
from extract.manifest.manifest import Manifest
from extract.manifest.names import escaped, unescaped
from extract.manifest.texts import Names, Texts
from extract.running.extraction import Extraction
from extract.running.flow import Stop
from extract.running.pipeline import Settings
from features_store.errors import OutputExists
from features_store.store import Store
from heads.errors import BadSetting
from heads.scoring.branches import as_extracted
from heads.scoring.formats import Block, Counts
from heads.scoring.groups import with_groups, with_looks
from heads.scoring.kept import KeptRows, is_settled
from heads.scoring.output import Output
from heads.scoring.rows import Inputs
from heads.scoring.scorer import Scorer
from heads.scoring.stress import under_stress, with_stress
from heads.scoring.versions import digest, keys, versions

VIDEOS_A_PART = 1024
ROWS_A_PART = 65_536

Run = Callable[[Extraction], bool]
"""Extract what is missing; False when the user wants to stop."""
Positions: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of a run."""

    counts: Counts | None
    """None where it was stopped before the end."""
    left: int = 0
    """Inputs that are still to be scored."""
    notes: Sequence[str] = ()
    """What became of the rows of an earlier run, for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoRun:
    """Videos that are to be scored, and how they are looked at."""

    manifest: Manifest
    branches: Callable[[], Sequence[Branch]]
    """Asked only when there is something to do: weights take time to load."""
    settings: Settings
    run: Run
    keep: str | None = None
    """A store in which features stay."""
    retry_failed: bool = False
    stress: bool = False
    """Whether each is damaged in a few ways and scored again."""
    groups: bool = False
    """Whether near-duplicates are found."""
    cut: bool = False
    """Rows are segments that were found anew: where a file changed, others may be gone."""


def score_store(
    scorer: Scorer,
    store: Store,
    protocol: str,
    output: Output,
    stop: Stop = lambda: False,
    *,
    groups: bool = False,
) -> Result:
    """All videos of a store; `groups`: near-duplicates are found too."""
    count = store.videos.count
    if not count:
        raise BadSetting(f"{store.place.name} has no videos; `telltale extract` puts some in.")
    with output.claimed():
        every = np.arange(count)
        status = scorer.status(store, protocol, every)
        ids = store.videos.column("id")
        inputs = digest(ids.tolist(), [status.tobytes()])
        if output.is_done(inputs):
            return Result(counts=output.counts())
        output.begin()
        names = []
        for start in range(0, count, ROWS_A_PART):
            wanted = every[start : start + ROWS_A_PART]
            name = digest(ids[wanted].tolist(), [status[wanted].tobytes()])[:32]
            if not output.has(name):
                if stop():
                    return Result(counts=None, left=count - start)
                block = scorer.from_store(store, protocol, wanted, status[wanted])
                block = with_looks(block, store, protocol, wanted) if groups else block
                output.hold(name, block)
            names.append(name)

        def blocks() -> Iterator[Block]:
            return map(output.read, names)

        rows = with_groups(blocks) if groups else blocks()
        return Result(counts=output.finish(rows, count, inputs))


def score_videos(scorer: Scorer, videos: VideoRun, output: Output) -> Result:
    """All videos of a manifest."""
    with output.claimed():
        inputs = _inputs(videos.manifest)
        made_of = keys(inputs)
        whole = digest(made_of, inputs.paths, inputs.sources, inputs.labels)
        if is_settled(output, whole, retry_failed=videos.retry_failed):
            return Result(counts=output.counts())
        output.begin()
        output.take_over()
        kept = KeptRows(output, made_of, inputs.ids, retry_failed=videos.retry_failed)
        _check_none_is_dropped(output, kept, set(inputs.paths) if videos.cut else set())
        job = _Job(scorer, videos, output, inputs, kept)
        if not job.run():
            return Result(counts=None, left=job.left, notes=kept.notes)
        blocks = with_groups(job.blocks) if videos.groups else job.blocks()
        counts = output.finish(blocks, len(made_of), whole)
        return Result(counts=counts, notes=kept.notes)


def _inputs(manifest: Manifest) -> Inputs:
    table = manifest.table
    classes = manifest.scheme.classes if manifest.scheme else ()
    return Inputs(
        ids=table.ids,
        paths=Texts(map(escaped, table.paths())),
        sources=table.sources,
        labels=Names("" if n == UNLABELLED else classes[n] for n in table.labels.tolist()),
        versions=versions(table.paths()),
    )


def _check_none_is_dropped(output: Output, kept: KeptRows, own: set[str]) -> None:
    """Rows go with their files; rows of files that are there were asked for by somebody. `own`:
    files that have other rows now."""
    there = [
        name
        for name, path in kept.gone.items()
        if path not in own and os.path.exists(unescaped(path))  # noqa: PTH110
    ]
    if there and not output.overwrites:
        raise OutputExists(
            f"{output.out} has rows of {len(there)} more videos that are still there "
            f"({there[0]!r}, …). Give them too, choose another --out, or let them go with "
            f"--overwrite."
        )


class _Job:
    """What is left to be scored of one run."""

    def __init__(
        self, scorer: Scorer, videos: VideoRun, output: Output, inputs: Inputs, kept: KeptRows
    ) -> None:
        self.scorer = scorer
        self.videos = videos
        self.output = output
        self.inputs = inputs
        self.kept = kept
        self.left = len(kept.left)

    def run(self) -> bool:
        """Part by part; False when stopped before the end."""
        if not self.left:
            return True
        branches = self.videos.branches()
        if self.videos.stress:
            branches = under_stress(branches, self.videos.settings.protocol)
        for name, positions, fresh in self._parts():
            again = bool(self.kept.failed[positions].any())
            settings = replace(self.videos.settings, retry_failed=again)
            manifest = self._manifest(positions)
            where = str(self.output.folder / f"{name}.zarr")
            keep = None if fresh else self.videos.keep
            self.output.mark_begun(name, self.kept.names_of(positions))
            extraction = Extraction.begin(manifest, keep or where, branches, settings)
            if not self.videos.run(extraction):
                protocol = self.videos.settings.protocol
                status = self.scorer.status(extraction.store, protocol, extraction.rows)
                self.left -= int((status != 0).sum())
                return False
            self.output.write(name, self._rows(extraction, positions))
            shutil.rmtree(where, ignore_errors=True)
            self.kept.take(name, positions)
            self.left -= len(positions)
        return True

    def blocks(self) -> Iterator[Block]:
        """All rows in the order of the inputs, with what the manifest says of them now."""
        texts = {
            "id": self.inputs.ids, "path": self.inputs.paths,
            "source": self.inputs.sources, "label": self.inputs.labels,
        }  # fmt: skip
        for start, block in self.kept.blocks():
            rows = slice(start, start + len(block))
            for name, column in texts.items():
                place = block.schema.get_field_index(name)
                block = block.set_column(place, name, pa.array(column[rows], pa.string()))
            yield block

    def _parts(self) -> Iterator[tuple[str, Positions, bool]]:
        """Name, positions, and whether kept features are of older files: parts that were begun
        come first, with those of their videos that are still wanted."""
        stale = self.kept.changed if self.videos.keep else np.zeros(len(self.inputs.ids), bool)
        taken = np.zeros(len(self.inputs.ids), bool)
        for name, begun in self.output.begun().items():
            positions = self.kept.positions_of(begun)
            if len(positions):
                taken[positions] = True
                yield name, positions, bool(stale[positions].any())
        for fresh in (False, True):
            rest = self.kept.left[~taken[self.kept.left] & (stale[self.kept.left] == fresh)]
            for start in range(0, len(rest), VIDEOS_A_PART):
                positions = rest[start : start + VIDEOS_A_PART]
                yield digest(self.kept.names_of(positions))[:32], positions, fresh

    def _manifest(self, positions: Positions) -> Manifest:
        manifest = self.videos.manifest
        return replace(manifest, videos=tuple(manifest.videos[i] for i in positions.tolist()))

    def _rows(self, extraction: Extraction, positions: Positions) -> Block:
        order = np.argsort(extraction.rows)
        protocol = self.videos.settings.protocol
        scorer = replace(self.scorer, bundle=as_extracted(self.scorer.bundle, extraction))
        found = scorer.from_store(extraction.store, protocol, extraction.rows[order], unlike=True)
        if self.videos.stress:
            found = with_stress(found, scorer, extraction.store, protocol, extraction.rows[order])
        if self.videos.groups:
            found = with_looks(found, extraction.store, protocol, extraction.rows[order])
        found = found.take(pa.array(np.argsort(order)))
        assert self.inputs.versions is not None
        mine = self.inputs.versions.take(pa.array(positions))
        for name in mine.column_names:
            found = found.set_column(found.schema.get_field_index(name), name, mine[name])
        return found
