"""From folders of videos to a labelled set: gather, score by the pipeline, rank, split, write."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from extract.branch import Branch, BranchRequest, load_branch
from extract.errors import BadSetting
from extract.labelling import labelled_set
from extract.labelling.gather import Gathered, gather, source_names
from extract.labelling.labelled_set import Entry, LabelledSet
from extract.labelling.prior_labels import (
    MULTI_SHARE,
    PRIORS,
    REAL,
    VALIDATION_SHARE,
    rank_generators,
)
from extract.manifest.manifest import Manifest
from extract.priors.pair_scorer import PAIRS
from extract.running.extraction import Extraction
from extract.running.failures import failure_reasons, write_failures
from extract.running.flow import Stop
from extract.running.pipeline import Settings
from extract.running.summary import Summary
from extract.running.targets import own_targets
from features_store.schema import BranchSpec

STORE = "priors.zarr"
FAILURES = "failures.csv"
PRESETS = {"spatial": "dis", "appearance": "colours", "motion": "dis"}
"""Without weights: what scores where nothing else is asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelOptions:
    """What is labelled, and where it goes."""

    folders: tuple[Path, ...]
    """One a generator; the folder's name is the generator's."""
    out: Path
    real: Path | None = None
    """Real videos; they are split, not ranked."""
    store: str | None = None
    """Where scores are kept; None: `priors.zarr` in `out`."""
    pairs: int = PAIRS
    """How many pairs of adjacent frames of each video are scored."""
    workers: int | None = None
    scorers: tuple[BranchRequest, ...] = ()
    """In place of those without weights, each for the prior that it is named after."""
    device: str = "cpu"


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelling:
    """What came of it."""

    made: LabelledSet
    curves: Mapping[str, Mapping[str, NDArray[np.float64]]]
    """Video id → prior → curve."""
    failures: Mapping[str, str]
    summary: Summary
    root: Path
    scored_by: tuple[str, ...]
    """For people: each prior's preset, and where its weights are from."""


@dataclass(slots=True, kw_only=True)
class _Scores:
    """The store's numbers, by video id."""

    scores: dict[str, dict[str, float]] = field(default_factory=dict)
    curves: dict[str, dict[str, NDArray[np.float64]]] = field(default_factory=dict)


def label(options: LabelOptions, *, bar: bool = True, stop: Stop = lambda: False) -> Labelling:
    """Do it all. What the store has already is not computed again."""
    real = () if options.real is None else (options.real,)
    folders = [*options.folders, *real]
    _check_whole(options.out, set(source_names(folders)))
    branches = scorers(options.pairs, options.scorers, options.device)
    scored_by = tuple(f"{b.name}={b.preset} ({b.provenance['source']})" for b in branches)
    gathered = gather(folders, options.out)
    root = Path(os.path.abspath(options.out))  # noqa: PTH100, links stay links
    manifest = Manifest(root=root, scheme=None, videos=tuple(gathered.videos))
    settings = Settings(protocol=f"pairs-{options.pairs}")
    where = options.store or str(options.out / STORE)
    extraction = Extraction.begin(manifest, where, branches, settings)
    summary = extraction.run(workers=options.workers, bar=bar, stop=stop)
    reasons = failure_reasons(extraction.targets.values(), extraction.rows.tolist())
    failures = {extraction.video(row).id: why for row, why in reasons.items()}
    if summary.stopped:
        return Labelling(
            made=LabelledSet(entries=()), curves={}, failures=failures, summary=summary, root=root,
            scored_by=scored_by,
        )  # fmt: skip
    groups = _groups(extraction, branches)
    found = _read(extraction, groups)
    real_name = None if options.real is None else options.real.resolve().name
    entries = _entries(manifest, found, real_name)
    made = LabelledSet(entries=entries, provenance=_provenance(groups, settings, real_name))
    made = made.with_decisions(_decided_before(options.out, entries))
    labelled_set.write(options.out, made)
    _write_failures(options.out, gathered, failures)
    return Labelling(
        made=made, curves=found.curves, failures=failures | gathered.refused, summary=summary,
        root=root, scored_by=scored_by,
    )  # fmt: skip


def scorers(pairs: int, asked: Sequence[BranchRequest] = (), device: str = "cpu") -> list[Branch]:
    """The three priors' branches: those asked for, without weights where there is none."""
    chosen = {name: BranchRequest(name=name, preset=PRESETS[name]) for name in PRIORS}
    given = [request.name for request in asked]
    for name in given:
        if name not in PRIORS or given.count(name) > 1:
            raise BadSetting(
                f"Scorer {name!r}: give one of {', '.join(PRIORS)}, each at most once."
            )
    if any("pairs" in request.options for request in asked):
        raise BadSetting("All scorers look at the same pairs; give their number by --pairs.")
    chosen |= {request.name: request for request in asked}
    return [
        load_branch(
            replace(request, device=device, options={**request.options, "pairs": str(pairs)})
        )
        for request in chosen.values()
    ]


def _groups(extraction: Extraction, branches: Sequence[Branch]) -> dict[str, BranchSpec]:
    """Prior → the group of the store that holds its scores."""
    return {
        branch.name: arrays.spec
        for branch in branches
        for arrays in own_targets(branch.offer, extraction.targets).values()
    }


def _read(extraction: Extraction, specs: Mapping[str, BranchSpec]) -> _Scores:
    groups = {name: spec.group for name, spec in specs.items()}
    keys = [f"{group}/{what}" for group in groups.values() for what in ("score", "curve")]
    wanted = {video.id for video in extraction.manifest.videos}
    protocol = extraction.settings.protocol
    table = extraction.store.table(keys, protocol=protocol, allow_missing=True)
    found = _Scores()
    for position, id_ in enumerate(table.ids.tolist()):
        if id_ not in wanted:
            continue
        found.scores[id_] = {
            name: float(table.arrays[f"{group}/score"][position].reshape(()))
            for name, group in groups.items()
        }
        found.curves[id_] = {
            name: table.arrays[f"{group}/curve"][position, 0].astype(np.float64)
            for name, group in groups.items()
        }
    return found


def _entries(manifest: Manifest, found: _Scores, real: str | None) -> tuple[Entry, ...]:
    scored = [video for video in manifest.videos if video.id in found.scores]
    made = [video for video in scored if video.source != real]
    columns = {
        prior: np.array([found.scores[video.id][prior] for video in made]) for prior in PRIORS
    }
    ranked = rank_generators(columns, [video.source for video in made])
    by_id = {video.id: each for video, each in zip(made, ranked, strict=True)}
    return tuple(
        Entry(
            id=video.id, source=video.source, scores=found.scores[video.id],
            ranked=by_id.get(video.id),
        )
        for video in scored
    )  # fmt: skip


def _check_whole(out: Path, sources: set[str]) -> None:
    """A set is made of all its folders at once, or its ledger would forget some of its lists."""
    if not (out / labelled_set.LEDGER).exists():
        return
    left_out = {entry.source for entry in labelled_set.read(out).entries} - sources
    if left_out:
        raise BadSetting(
            f"{out} has videos of {', '.join(sorted(left_out))} too; give all its folders again, "
            f"or another --out."
        )


def _decided_before(out: Path, entries: Sequence[Entry]) -> dict[str, str]:
    """Decisions of an earlier run: a person's work is not lost by running again."""
    if not (out / labelled_set.LEDGER).exists():
        return {}
    now = {entry.id for entry in entries}
    before = labelled_set.read(out).entries
    return {entry.id: entry.decided for entry in before if entry.decided and entry.id in now}


def _provenance(
    specs: Mapping[str, BranchSpec], settings: Settings, real: str | None
) -> dict[str, object]:
    return {
        "scores": {
            name: {"branch": spec.group, "fingerprint": spec.fingerprint, **spec.provenance}
            for name, spec in specs.items()
        },
        "protocol": settings.protocol_details(),
        "ranking": "inside each generator, 1 for the highest score, equal scores share the mean",
        "label": f"the score of the smallest rank; ties go to the first of {', '.join(PRIORS)}",
        "rank": f"that rank by the generator's number of videos; {REAL} videos have 1",
        "validation": f"the best-ranked {VALIDATION_SHARE:g} of each generator's class; "
        f"of real videos {VALIDATION_SHARE:g} by the hash of their id",
        "several anomalies": f"another score ranks the video among its top {MULTI_SHARE:g} too",
        "real": real,
        "scheme": "hfv4",
    }


def _write_failures(out: Path, gathered: Gathered, failures: Mapping[str, str]) -> None:
    reasons = {**gathered.refused, **failures}
    if reasons:
        write_failures(out / FAILURES, reasons)
    else:
        (out / FAILURES).unlink(missing_ok=True)
