"""Run the prior scorers over videos and read back what they said.

The scores lie in a feature store, so a second call computes what is missing only. A video without
every score cannot be ranked; it is left out with its reason.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from extract.branch import Branch, BranchRequest, load_branch
from extract.errors import BadSetting
from extract.extraction import Extraction
from extract.failures import failure_reasons
from extract.manifest import Manifest
from extract.pipeline import Settings
from extract.prior import PROTOCOL, SCORERS
from features_store.branch_arrays import BranchArrays
from features_store.schema import Status

DEFAULTS = {"spatial": "rigidity", "appearance": "palette", "motion": "dis"}
Curves = Mapping[str, Sequence[float]]
"""Anomaly → its score for each pair of adjacent frames."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PriorScores:
    """What the scorers said of a manifest's videos."""

    scores: Mapping[str, Mapping[str, float]]
    """Video id → anomaly → score."""
    curves: Mapping[str, Curves]
    failures: Mapping[str, str]
    """Video id → why it has no scores."""
    scorers: Mapping[str, Mapping[str, object]]
    """Anomaly → what decided its numbers."""


def load_scorers() -> list[Branch]:
    """One for each anomaly, none of which needs weights."""
    return [load_branch(BranchRequest(name=name, preset=DEFAULTS[name])) for name in SCORERS]


def score_videos(
    manifest: Manifest, store: Path, *, workers: int | None = None, bar: bool = True
) -> PriorScores:
    """Compute what is missing, then read everything."""
    if not manifest.videos:
        raise BadSetting("No videos to score; give a folder that has some.")
    scorers = load_scorers()
    extraction = Extraction.begin(manifest, store, scorers, Settings(protocol=PROTOCOL))
    extraction.run(workers=workers, bar=bar)
    arrays = {
        scorer.name: extraction.pipeline.targets[group]
        for group, scorer in extraction.pipeline.branches.items()
    }
    rows = extraction.rows.tolist()
    failed = failure_reasons(extraction.pipeline.targets.values(), rows)
    columns = {name: _read(branch) for name, branch in arrays.items()}
    good = {
        row: video.id for row, video in zip(rows, manifest.videos, strict=True) if row not in failed
    }
    return PriorScores(
        scores={
            id_: {name: float(columns[name]["score"][row, 0]) for name in SCORERS}
            for row, id_ in good.items()
        },
        curves={
            id_: {name: columns[name]["curve"][row].tolist() for name in SCORERS}
            for row, id_ in good.items()
        },
        failures={extraction.video(row).id: reason for row, reason in failed.items()},
        scorers={
            scorer.name: {
                "branch": f"{scorer.name}={scorer.preset}",
                "fingerprint": scorer.fingerprint,
                **scorer.decides,
                **scorer.provenance,
            }
            for scorer in scorers
        },
    )


def _read(branch: BranchArrays) -> dict[str, NDArray[np.float32]]:
    """Whole arrays, a row per video of the store; NaN where there is nothing."""
    status = branch.status()
    out = {
        name: np.full((len(status), *array.shape[1:]), np.nan, np.float32)
        for name, array in branch.spec.arrays.items()
    }
    for shard in range(branch.shards):
        rows = np.asarray(branch.rows(shard))
        ok = status[rows] == Status.OK
        if ok.any():
            parts = branch.read_shard(shard).parts
            for name, column in out.items():
                column[rows[ok]] = parts[name][ok][:, 0]
    return out
