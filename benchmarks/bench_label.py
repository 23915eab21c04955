"""What the weight-free priors are worth on the made-up set, and how fast `telltale label` is.

    python -m benchmarks.bench_label [--videos 400] [--seed 3] [--difficulty 0.3] [--runs 3]

- AUC of each score: videos of its own anomaly against those of each other class, over all
  generators: of raw scores, with a 95% interval bootstrapped over videos, and of ranks inside
  the generators, which is what labels follow from;
- how often the proposed label is the true one, among generated videos, where chance is a third;
- videos/s of labelling against bare decoding of the same frames, with as many workers;
- seconds of the motion score by RAFT's network (weights are random, which costs the same) against
  the one by DIS, without decoding, each in one thread.

The scores were tuned on seeds 0 to 2; the default seed is none of them.
"""

import argparse
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from benchmarks import measure
from extract.branch import BranchRequest, load_branch
from extract.branches.motion import WarpingScorer
from extract.decoding.job import Job, Look, Plan
from extract.decoding.pool import DecodePool
from extract.labelling.label import Labelling, LabelOptions, label, scorers
from extract.labelling.prior_labels import PRIORS, REAL
from extract.manifest.manifest import Manifest, read_manifest
from extract.networks import raft, weights
from extract.priors.flow import flow_measures
from extract.priors.pair_scorer import PAIRS
from extract.synthesis.data_set import SyntheticOptions, write_data_set
from extract.views.protocol import Protocol

WORKERS = 2
PROTOCOL = f"pairs-{PAIRS}"
FEW = 8
_BOOTSTRAPS = 500


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--videos", type=int, default=400)
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--difficulty", type=float, default=0.3)
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    options = SyntheticOptions(
        videos=arguments.videos, seed=arguments.seed, difficulty=arguments.difficulty
    )
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        for _ in write_data_set(place / "data", options):
            pass
        manifest = read_manifest(str(place / "data"))
        rows = quality(place, manifest)
        rows += throughput(manifest, arguments.runs)
    rows += networks(arguments.runs)
    measure.report("label", rows, ("opencv-python-headless", "numpy", "torch"))


def quality(folder: Path, manifest: Manifest) -> list[measure.Row]:
    """Each generator's clips are labelled, real ones among the others; truths are kept aside."""
    assert manifest.scheme is not None
    truth: dict[str, str] = {}
    for video in manifest.videos:
        name = f"{video.source}/{Path(video.path).name}"
        link = folder / "raw" / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.hardlink_to(video.path)
        truth[f"train_data/{name}"] = manifest.scheme.classes[video.label]
    folders = tuple(sorted((folder / "raw").iterdir()))
    options = LabelOptions(folders=folders, out=folder / "labelled", workers=WORKERS)
    made = label(options, bar=False)
    true = np.array([truth[entry.id] for entry in made.made.entries])
    rows: list[measure.Row] = []
    for prior in PRIORS:
        scores = np.array([entry.scores[prior] for entry in made.made.entries])
        ranks = np.array(
            [e.ranked.normalised(prior) if e.ranked else 1.0 for e in made.made.entries]
        )
        rows += [
            {
                "what": f"AUC {prior} against {other}",
                **auc(scores, true, prior, other),
                "by rank": auc(-ranks, true, prior, other)["auc"],
            }
            for other in (REAL, *PRIORS)
            if other != prior
        ]
    return [*rows, *agreement(made, true)]


def auc(
    scores: NDArray[np.float64], true: NDArray[np.str_], own: str, other: str
) -> Mapping[str, float]:
    positive, negative = scores[true == own], scores[true == other]
    random = np.random.default_rng(0)
    found = [
        _auc(random.choice(positive, len(positive)), random.choice(negative, len(negative)))
        for _ in range(_BOOTSTRAPS)
    ]
    low, high = np.quantile(found, (0.025, 0.975))
    return {"auc": _auc(positive, negative), "low": float(low), "high": float(high)}


def _auc(positive: NDArray[np.float64], negative: NDArray[np.float64]) -> float:
    labels = np.repeat([1, 0], [len(positive), len(negative)])
    return float(roc_auc_score(labels, np.concatenate([positive, negative])))


def agreement(found: Labelling, true: NDArray[np.str_]) -> list[measure.Row]:
    """Proposed against true labels: all generated videos, and the least doubtful half."""
    entries = found.made.entries
    right = np.array([e.proposed == t for e, t in zip(entries, true, strict=True)])
    doubt = np.array([entry.ranked.doubt if entry.ranked else 0.0 for entry in entries])
    generated = true != REAL
    sure = generated & (doubt <= np.median(doubt[generated]))
    return [
        {"what": "proposed label is the true one", "share": float(right[generated].mean())},
        {"what": "the same, less doubtful half", "share": float(right[sure].mean())},
    ]


def throughput(manifest: Manifest, runs: int) -> list[measure.Row]:
    """The first 64 videos through a pool of workers: decoding alone, then with each prior."""
    few = manifest.videos[:64]
    branches = {branch.name: branch for branch in scorers(PAIRS)}
    branches["raft"] = load_branch(BranchRequest.parse("motion=raft-tiny"))
    jobs = [Job(index=index, id=video.id, path=video.path) for index, video in enumerate(few)]

    def decode(*names: str) -> None:
        outputs = tuple(
            {branches[name].prepare.name: branches[name].prepare for name in names}.values()
        )
        plan = Plan(looks=(Look(protocol=PROTOCOL, outputs=outputs),), root=str(manifest.root))
        with DecodePool(plan, workers=WORKERS) as pool:
            for _ in pool.run(jobs):
                pass

    seconds = measure.interleaved(
        {
            "decoding alone": decode,
            "motion and spatial": lambda: decode("motion", "spatial"),
            "appearance": lambda: decode("appearance"),
            "all three": lambda: decode(*PRIORS),
            "pictures for RAFT": lambda: decode("raft"),
        },
        runs=runs,
    )
    ratios = measure.against(seconds, "decoding alone")
    return [
        {
            "what": f"{PAIRS} pairs: {name}",
            "videos/s": len(few) / value,
            "of decoding": ratios[name],
        }
        for name, value in seconds.items()
    ]


def networks(runs: int) -> list[measure.Row]:
    """A few pairs of wide frames, scaled to 256 pixels as the scorer has it by default."""
    random = np.random.default_rng(0)
    frames = dict(enumerate(random.integers(0, 256, (2 * FEW, 360, 640, 3), np.uint8)))
    views = Protocol.parse(f"pairs-{FEW}").views("clip.mp4", 2 * FEW)
    request = BranchRequest(name="motion", preset="raft", options={"pairs": str(FEW)})
    model = raft.Raft(raft.LARGE).eval()
    weights.seeded(model, 0)
    scorer = WarpingScorer(request, model, "random numbers")
    pictures = torch.from_numpy(scorer.prepare.load()(frames, views))
    torch.set_num_threads(1)
    seconds = measure.interleaved(
        {
            "DIS": lambda: flow_measures(frames, views),
            "RAFT, 20 iterations": lambda: scorer.forward(pictures),
        },
        runs=runs,
    )
    ratios = measure.against(seconds, "DIS")
    return [
        {
            "what": f"{name}, pairs of 640x360, one thread",
            "seconds a pair": value / FEW,
            "of DIS": ratios[name],
        }
        for name, value in seconds.items()
    ]


if __name__ == "__main__":
    main()
