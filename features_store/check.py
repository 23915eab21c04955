"""Verify every byte of a store, and mark damage so that the next extract heals it.

`verify` reads everything and changes nothing. `repair` deletes the commit records of damaged
shards and restores metadata from its second copies. Neither can bring back a damaged chunk of the
videos table: for that there is no second copy.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from features_store import documents, second_copies
from features_store.branch_arrays import BranchArrays
from features_store.errors import Damaged, NotAStore
from features_store.places import Place
from features_store.schema import COLUMNS
from features_store.store import Store
from features_store.videos import CHUNK_ROWS, column_array
from features_store.videos import PREFIX as VIDEOS

Progress = Callable[[int, int], None]
_READERS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One damaged thing."""

    place: str
    reason: str
    prefix: str
    """The group or array whose document is damaged, or the branch whose shard is."""
    shard: int | None = None
    repairable: bool = True

    def __str__(self) -> str:
        shard = "" if self.shard is None else f" (shard {self.shard})"
        return f"{self.place}: {self.reason}{shard}"


def verify(place: Place, progress: Progress | None = None) -> list[Finding]:
    """Read every byte; name everything that is not what was written."""
    if place.size("zarr.json") is None and place.size(f"{VIDEOS}/zarr.json") is None:
        raise NotAStore(f"{place.name} is not a feature store: it has no zarr.json.")
    findings = [*_document(place, ""), *_videos(place)]
    if findings:
        return findings  # without these nothing else has a length
    store = Store.open(place)
    branches: list[BranchArrays] = []
    for protocol in store.protocol_folders():
        findings += _document(place, protocol)
        for group in store.branch_folders(protocol):
            broken = _document(place, f"{protocol}/{group}")
            findings += broken
            if not broken and not _document(place, protocol):
                branches.append(store.read_branch(protocol, group))
    for branch in branches:
        findings += [_documented(place, damage) for damage in branch.document_damage()]
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
            documents.write(place, finding.prefix, copy)
    shards = [finding for finding in repairable if finding.shard is not None]
    store = Store.open(place) if shards else None
    for finding in shards:
        assert store is not None
        assert finding.shard is not None
        store.read_branch(*finding.prefix.split("/")).forget(finding.shard)
    return [finding for finding in findings if not finding.repairable]


def _document(place: Place, prefix: str) -> list[Finding]:
    where = f"{place.name}/{documents.document_key(prefix)}"
    try:
        found = documents.read(place, prefix)
    except Damaged as damage:
        return [_documented(place, damage, prefix)]
    return [] if found else [_documented(place, Damaged(where, "the file is missing"), prefix)]


def _documented(place: Place, damage: Damaged, prefix: str | None = None) -> Finding:
    if prefix is None:
        prefix = damage.place.removeprefix(f"{place.name}/").removesuffix("/zarr.json")
    return Finding(
        place=damage.place,
        reason=damage.reason,
        prefix=prefix,
        repairable=second_copies.find(place, prefix) is not None,
    )


def _videos(place: Place) -> Iterator[Finding]:
    broken = _document(place, VIDEOS)
    yield from broken
    for name in COLUMNS:
        yield from _document(place, f"{VIDEOS}/{name}")
    if broken:
        return
    document = documents.read(place, VIDEOS)
    assert document is not None
    count = int(documents.attributes(document)["count"])
    for name in COLUMNS:
        array = column_array(place, name)
        for chunk in range(-(-count // CHUNK_ROWS)):
            try:
                array.read(chunk)
            except Damaged as damage:
                yield Finding(
                    place=damage.place,
                    reason=damage.reason,
                    prefix=array.prefix,
                    shard=chunk,
                    repairable=False,
                )


def _shard(job: tuple[BranchArrays, int]) -> list[Finding]:
    branch, shard = job
    findings: list[Finding] = []
    try:
        status = branch.committed(shard)
        for array in [] if status is None else branch.chunks_of(status):
            try:
                array.read(shard)
            except Damaged as damage:
                findings.append(_lost(branch, shard, damage))
    except Damaged as damage:
        findings.append(_lost(branch, shard, damage))
    return findings


def _lost(branch: BranchArrays, shard: int, damage: Damaged) -> Finding:
    return Finding(place=damage.place, reason=damage.reason, prefix=branch.prefix, shard=shard)
