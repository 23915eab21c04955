"""Verify every byte of a store, and mark damage so that the next extract heals it.

`verify` reads everything and changes nothing; what the disk refuses is a finding like any other,
and the rest is read. `repair` marks damaged shards missing and restores metadata from its second
copies. Neither can bring back a damaged chunk of the videos table: for that there is no second
copy. Writers may be at work meanwhile.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np

from features_store import documents, second_copies, shard_writer
from features_store.branch_arrays import BranchArrays
from features_store.documents import Json
from features_store.errors import Damaged, NotAStore, ReadFailed, WriteFailed
from features_store.place import Place
from features_store.schema import Layout
from features_store.shard_files import ShardFiles
from features_store.store import Store
from features_store.video_files import CHUNK_ROWS, VideoFiles
from features_store.video_files import PREFIX as VIDEOS
from features_store.videos import Videos

Progress = Callable[[int, int], None]
_READERS = 4
_LOOKS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One damaged thing."""

    place: str
    reason: str
    prefix: str
    """The group or array whose document is damaged, or the branch whose shard is."""
    shard: int | None = None
    repairable: bool = True
    videos: int = 0
    """Of the shard, known to be OK or failed: what is lost until it is extracted again."""

    def __str__(self) -> str:
        shard = "" if self.shard is None else f" (shard {self.shard})"
        return f"{self.place}: {self.reason}{shard}"


def verify(place: Place, progress: Progress | None = None) -> list[Finding]:
    """Read every byte; name everything that is not what was written."""
    if place.size("zarr.json") is None and place.size(f"{VIDEOS}/zarr.json") is None:
        raise NotAStore(f"{place.name} is not a feature store: it has no zarr.json.")
    findings = _videos_documents(place)
    if findings:
        return findings  # without these nothing else has a length
    store = Store.open(place)
    findings += _videos_chunks(store.videos)
    branches: list[BranchArrays] = []
    for protocol in store.protocol_folders():
        findings += _document(place, protocol)
        for group in store.branch_folders(protocol):
            broken = _document(place, f"{protocol}/{group}")
            findings += broken
            if not broken and not _document(place, protocol):
                branches.append(store.read_branch(protocol, group))
    for branch in branches:
        findings += _arrays_documents(branch)
    jobs = [(branch, shard) for branch in branches for shard in range(branch.shards)]
    with ThreadPoolExecutor(_READERS) as pool:
        for done, found in enumerate(pool.map(_shard, jobs), start=1):
            findings += found
            if progress:
                progress(done, len(jobs))
    return findings


def repair(place: Place, findings: Sequence[Finding]) -> list[Finding]:
    """Act on what `verify` found; what it could do nothing about comes back.

    Restoring a group's document brings its shards into sight: verify again afterwards.
    """
    repairable = [finding for finding in findings if finding.repairable]
    for finding in repairable:
        if finding.shard is None:
            copy = second_copies.find(place, finding.prefix)
            assert copy is not None  # verify has looked
            _restore(place, finding.prefix, copy)
    shards = {(f.prefix, f.shard) for f in repairable if f.shard is not None}
    store = Store.open(place) if shards else None
    for prefix, shard in sorted(shards):
        assert store is not None
        files = store.read_branch(*prefix.split("/")).files
        shard_writer.forget_damaged(files, shard, partial(_damaged_keys, files, shard))
    return [finding for finding in findings if not finding.repairable]


def _document(place: Place, prefix: str) -> list[Finding]:
    where = f"{place.name}/{documents.document_key(prefix)}"
    try:
        found = documents.read(place, prefix)
    except Damaged as damage:
        return [_documented(place, damage, prefix)]
    except ReadFailed as error:
        return [Finding(place=where, reason=str(error), prefix=prefix, repairable=False)]
    return [] if found else [_documented(place, Damaged(where, "the file is missing"), prefix)]


def _arrays_documents(branch: BranchArrays) -> Iterator[Finding]:
    try:
        for damage in branch.document_damage():
            yield _documented(branch.place, damage)
    except ReadFailed as error:
        where = f"{branch.place.name}/{branch.prefix}"
        yield Finding(place=where, reason=str(error), prefix=branch.prefix, repairable=False)


def _restore(place: Place, prefix: str, document: Json) -> None:
    try:
        documents.write(place, prefix, document)
    except WriteFailed:  # a folder in the place of the file
        place.delete(documents.document_key(prefix))
        documents.write(place, prefix, document)


def _documented(place: Place, damage: Damaged, prefix: str | None = None) -> Finding:
    if prefix is None:
        prefix = damage.place.removeprefix(f"{place.name}/").removesuffix("/zarr.json")
    return Finding(
        place=damage.place,
        reason=damage.reason,
        prefix=prefix,
        repairable=second_copies.find(place, prefix) is not None,
    )


def _videos_documents(place: Place) -> list[Finding]:
    broken = [*_document(place, ""), *_document(place, VIDEOS)]
    root = None if broken else documents.read(place, "")
    if root is None:
        return broken
    layout = Layout(format=int(documents.attributes(root)["format"]))
    return [f for name in layout.columns for f in _document(place, f"{VIDEOS}/{name}")]


def _videos_chunks(videos: Videos) -> Iterator[Finding]:
    for name in videos.layout.columns:
        array = VideoFiles(videos.place, videos.layout).array(name)
        for chunk in range(-(-videos.count // CHUNK_ROWS)):
            try:
                videos.read_chunk(name, chunk, mapped=False)
            except (Damaged, ReadFailed) as error:
                yield Finding(
                    place=array.where(chunk),
                    reason=_reason(error),
                    prefix=array.prefix,
                    shard=chunk,
                    repairable=False,
                )


def _shard(job: tuple[BranchArrays, int]) -> list[Finding]:
    branch, shard = job
    return [
        Finding(
            place=f"{branch.place.name}/{key}",
            reason=_reason(error),
            prefix=branch.prefix,
            shard=shard,
            repairable=isinstance(error, Damaged),
            videos=len(branch.rows(shard)) if known is None else known,
        )
        for key, error, known in _damage(branch.files, shard)
    ]


def _damaged_keys(files: ShardFiles, shard: int) -> list[str]:
    return [key for key, error, _ in _damage(files, shard) if isinstance(error, Damaged)]


def _damage(files: ShardFiles, shard: int) -> list[tuple[str, Damaged | ReadFailed, int | None]]:
    """Chunks of a shard that are not what was committed: key, what is wrong, videos concerned.

    A writer may replace chunks at this moment: what a second look does not find is none.
    """
    found: list[tuple[str, Damaged | ReadFailed, int | None]] = []
    for _ in range(_LOOKS):
        found = _look(files, shard)
        if not found:
            break
    return found


def _look(files: ShardFiles, shard: int) -> list[tuple[str, Damaged | ReadFailed, int | None]]:
    try:
        record = files.record(shard)
    except (Damaged, ReadFailed) as error:
        return [(files.records.key(shard), error, None)]
    if record is None:
        return []
    found: list[tuple[str, Damaged | ReadFailed, int | None]] = []
    known = int(np.count_nonzero(record.status))
    for name, array in files.needed(record.status).items():
        try:
            array.read(shard, record.named(name), mapped=False)
        except (Damaged, ReadFailed) as error:
            found.append((array.key(shard), error, known))
    return found


def _reason(error: Damaged | ReadFailed) -> str:
    return error.reason if isinstance(error, Damaged) else str(error)
