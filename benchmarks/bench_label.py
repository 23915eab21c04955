"""How well the prior scores without weights tell anomalies apart, and how fast they are.

    python -m benchmarks.bench_label [--videos 160] [--seed 2] [--workers 2]

On the made-up set, whose truth is known. AUC: a video of the score's own anomaly is ranked above
one of another class, ranks taken inside each generator as labelling does. The measures were chosen
on seeds 0 and 1; measure on another one. `label agreement` is how many forged videos get their
true label by equation 2. Throughput is of `score_videos`, decoding and store included.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score

from benchmarks.measure import Row, report
from extract.labelling import REAL, Scored, label_videos
from extract.manifest import Manifest, read_manifest
from extract.prior import SCORERS
from extract.prior_scores import PriorScores, score_videos
from extract.ranks import rank_scores
from extract.synthetic import CLASSES, SyntheticOptions, write_data_set


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--videos", type=int, default=160)
    parser.add_argument("--seed", type=int, default=2)
    parser.add_argument("--difficulty", type=float, default=0.3)
    parser.add_argument("--workers", type=int, default=2)
    asked = parser.parse_args()
    options = SyntheticOptions(videos=asked.videos, seed=asked.seed, difficulty=asked.difficulty)
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        for _ in write_data_set(data, options):
            pass
        manifest = read_manifest(data)
        start = time.perf_counter()
        found = score_videos(
            manifest, Path(folder) / "store.zarr", workers=asked.workers, bar=False
        )
        seconds = time.perf_counter() - start
    rows = [*separation(manifest, found), agreement(manifest, found)]
    speed: Row = {
        "what": "throughput",
        "videos/s": asked.videos / seconds,
        "workers": asked.workers,
        "seed": asked.seed,
        "videos": asked.videos,
        "difficulty": asked.difficulty,
    }
    report("label", [*rows, speed], ("numpy", "opencv-python-headless"))


def separation(manifest: Manifest, found: PriorScores) -> list[Row]:
    """AUC of each score's own class against each other class."""
    videos = [video for video in manifest.videos if video.id in found.scores]
    truth = np.array([CLASSES[video.label] for video in videos])
    sources = sorted({video.source for video in videos})
    groups = [sources.index(video.source) for video in videos]
    rows: list[Row] = []
    for name in SCORERS:
        ranks = rank_scores([found.scores[video.id][name] for video in videos], groups)
        anomalous = -np.asarray(ranks)
        row: Row = {"what": "AUC", "score": name}
        for other in CLASSES:
            if other != name:
                both = (truth == name) | (truth == other)
                row[f"against {other}"] = float(roc_auc_score(truth[both] == name, anomalous[both]))
        rows.append(row)
    return rows


def agreement(manifest: Manifest, found: PriorScores) -> Row:
    """Forged videos whose proposed label is the true one; a third would be chance."""
    truth = {video.id: CLASSES[video.label] for video in manifest.videos}
    forged = [
        Scored(id=video.id, source=video.source, scores=found.scores[video.id])
        for video in manifest.videos
        if video.id in found.scores and truth[video.id] != REAL
    ]
    labelled = label_videos(forged)
    row: Row = {"what": "label agreement"}
    for name in SCORERS:
        own = [each for each in labelled if truth[each.video.id] == name]
        row[name] = sum(each.label == name for each in own) / len(own)
    row["all"] = sum(each.label == truth[each.video.id] for each in labelled) / len(labelled)
    return row


if __name__ == "__main__":
    main()
