"""Scoring archives: videos, or the features of a store, part by part.

From videos each part is extracted into a store of its own, scored, and dropped, unless a store is
given to keep features in; so disk and memory stay flat however many videos there are, and a run
that is killed does again at most the part it was in.
"""

import hashlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from extract.branch import Branch, BranchRequest, load_branch
from extract.errors import ExtractError
from extract.manifest.manifest import Manifest
from extract.running.extraction import Extraction
from extract.running.pipeline import Settings, Stop
from features_store.store import Store
from features_store.table import Table
from heads.bundle import Bundle
from heads.errors import WrongFeatures
from heads.judging.conformal import rate_of
from heads.scoring.neighbours import Neighbours
from heads.scoring.output import Output
from heads.scoring.rows import Inputs, Scored, rows

VIDEOS_A_PART = 1024
ROWS_A_PART = 65_536
_STREAMED = 8192
_WEIGHTS = (".safetensors", ".pt", ".pth", ".bin")

Run = Callable[[Extraction], bool]
"""Extract what is missing; False when the user wants to stop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scorer:
    """A bundle, and how its verdicts are put."""

    bundle: Bundle
    rate: str | None = None
    """Error rate of the conformal sets; None: 0.1 where the bundle has it."""
    neighbours: Neighbours | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "rate", rate_of(self.bundle.about.conformal, self.rate))

    def from_store(self, store: Store, protocol: str, wanted: np.ndarray) -> pa.Table:
        """Rows of a store's videos (a range of row numbers), failed and missing ones too."""
        inputs = store_inputs(store, wanted)
        probabilities, positions, near = [], [], []
        status = _status(store, protocol, self.bundle, wanted)
        if (status == 1).any():
            mask = np.zeros(store.videos.count, bool)
            mask[wanted] = True
            for table in self._tables(store, protocol, mask):
                probabilities.append(self.bundle.predict(table))
                positions.append(np.searchsorted(wanted, table.rows))
                if self.neighbours is not None:
                    near.append(self.neighbours.of(table))
        scored = Scored(
            positions=np.concatenate([np.empty(0, np.int64), *positions]),
            probabilities=np.concatenate(probabilities) if probabilities else _none(self.bundle),
            nearest=self.neighbours.joined(near) if self.neighbours is not None and near else None,
        )
        errors = _reasons(store, protocol, self.bundle, wanted, status)
        return rows(inputs, scored, errors, self.bundle, self.rate)

    def _tables(self, store: Store, protocol: str, mask: np.ndarray) -> Iterator[Table]:
        head = self.bundle.head
        if head.lazy:
            yield store.table(
                head.keys, protocol=protocol, where=mask, allow_missing=True, lazy=head.lazy
            )
            return
        yield from store.stream(
            head.keys, protocol=protocol, where=mask, allow_missing=True, batch=_STREAMED
        )


def score_store(scorer: Scorer, store: Store, protocol: str, output: Output, stop: Stop) -> bool:
    """All videos of a store. False when stopped before the end."""
    output.begin()
    parts = range(0, store.videos.count, ROWS_A_PART)
    for number, start in enumerate(parts):
        if stop():
            return False
        if not output.has(number):
            wanted = np.arange(start, min(start + ROWS_A_PART, store.videos.count))
            output.write(number, scorer.from_store(store, protocol, wanted))
    output.finish(len(parts))
    return True


def score_videos(  # noqa: PLR0913
    scorer: Scorer,
    manifest: Manifest,
    branches: Sequence[Branch],
    settings: Settings,
    output: Output,
    run: Run,
    keep: str | None = None,
) -> bool:
    """All videos of a manifest; features stay in the store `keep` where one is given."""
    output.begin()
    starts = range(0, len(manifest.videos), VIDEOS_A_PART)
    for number, start in enumerate(starts):
        if output.has(number):
            continue
        part = replace(manifest, videos=manifest.videos[start : start + VIDEOS_A_PART])
        where = keep or str(output.folder / f"{number:08}.zarr")
        extraction = Extraction.begin(part, where, branches, settings)
        if not run(extraction):
            return False
        order = np.argsort(extraction.rows)
        table = scorer.from_store(extraction.store, settings.protocol, extraction.rows[order])
        output.write(number, table.take(pa.array(np.argsort(order))))
        if keep is None:
            shutil.rmtree(where, ignore_errors=True)
    output.finish(len(starts))
    return True


def find_branches(bundle: Bundle, weights: Sequence[Path], device: str) -> list[Branch]:
    """The bundle's branches; weights are looked for by fingerprint, in folders or files."""
    found = []
    for name, request in bundle.about.branches.items():
        (expected, *_) = {
            fingerprint
            for key, fingerprint in bundle.about.fingerprints.items()
            if key.startswith(f"{name}/")
        }
        found.append(_branch(request, expected, weights, device))
    return found


def check_branches(bundle: Bundle, branches: Sequence[Branch]) -> None:
    """Branches that the user named must be the bundle's."""
    made = {branch.name: branch.fingerprint for branch in branches}
    for key, expected in bundle.about.fingerprints.items():
        name = key.partition("/")[0]
        if made.get(name) != expected:
            raise WrongFeatures(
                f"Branch {name} has fingerprint {made.get(name)}, the bundle was trained on "
                f"{expected}: other weights, preprocessing or precision."
            )


def _branch(request: str, expected: str, weights: Sequence[Path], device: str) -> Branch:
    preset, question, options = request.partition("?")
    tried = []
    for path in [None, *_candidates(weights)]:
        text = f"{preset}{'' if path is None else f':{path}'}{question}{options}"
        try:
            asked = replace(BranchRequest.parse(text), device=device)
            branch = load_branch(asked)
        except ExtractError:
            continue
        if branch.fingerprint == expected:
            return branch
        tried.append(f"{path or 'no file'} ({branch.fingerprint[:8]})")
    raise WrongFeatures(
        f"No weights for {preset} with fingerprint {expected[:8]} found; looked at "
        f"{', '.join(tried) or 'no fitting file'}. Give --weights FILE_OR_FOLDER, or --branch "
        f"{preset}:FILE{question}{options}."
    )


def _candidates(places: Sequence[Path]) -> Iterator[Path]:
    for place in places:
        if place.is_file():
            yield place
        elif place.is_dir():
            yield from sorted(p for p in place.iterdir() if p.suffix in _WEIGHTS and p.is_file())


def store_inputs(store: Store, wanted: np.ndarray) -> Inputs:
    column = store.videos.column
    labels = column("label")[wanted]
    names = [*store.classes, ""]
    return Inputs(
        ids=column("id")[wanted].tolist(),
        paths=column("path")[wanted].tolist(),
        sources=column("source")[wanted].tolist(),
        labels=[names[label] for label in labels.tolist()],
    )


def input_hash(ids: Sequence[str]) -> str:
    """What a run's parts were made of."""
    return hashlib.sha256("\n".join(ids).encode("utf-8", "surrogateescape")).hexdigest()


def _status(store: Store, protocol: str, bundle: Bundle, wanted: np.ndarray) -> np.ndarray:
    """Per video the worst of its branches: 0 missing, 2 failed, 1 ok."""
    names = {key.partition("/")[0] for key in bundle.head.keys}
    worst = np.ones(len(wanted), np.uint8)
    for name in sorted(names):
        status = store.open_branch(protocol, name).status(wanted)
        worst = np.where(status == 1, worst, status).astype(np.uint8)
    return worst


def _reasons(
    store: Store,
    protocol: str,
    bundle: Bundle,
    wanted: np.ndarray,
    status: np.ndarray,
) -> dict[int, str]:
    """Position → why it has no scores."""
    if (status == 1).all():
        return {}
    known: dict[int, str] = {}
    for name in {key.partition("/")[0] for key in bundle.head.keys}:
        known |= store.open_branch(protocol, name).errors(wanted)
    return {
        position: known.get(int(wanted[position]), "its features are not in the store")
        for position in np.flatnonzero(status != 1).tolist()
    }


def _none(bundle: Bundle) -> np.ndarray:
    return np.empty((0, 1, len(bundle.classes)), np.float32)
