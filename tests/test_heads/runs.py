"""Made-up results as a run's folder holds them, in milliseconds."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from heads.judging.evaluation import Predictions, evaluate
from tests.test_heads.tables import CLASSES

HOSTILE = (
    "<script>window.broken = 1</script>.mp4",
    "</script><script>window.broken = 1</script>.mp4",
    "\"'><img src=x onerror='window.broken = 1'>.mp4",
    "safe\u202egpj.4pm",
    "<!--<script>.mp4",
    "&lt;b&gt; & {{x}} ${y} \\u003c.mp4",
)
Columns = Mapping[str, Sequence[object]]


def score_columns(
    videos: int = 60, *, labels: bool = True, seed: int = 0
) -> dict[str, list[object]]:
    """What `telltale score` writes: the last two failed, the first are named to do harm."""
    random = np.random.default_rng(seed)
    truth = np.arange(videos) % len(CLASSES)
    logits = random.normal(size=(videos, len(CLASSES))) * 2
    logits[np.arange(videos), truth] += 2
    shares = np.exp(logits)
    shares /= shares.sum(1, keepdims=True)
    failed = [number >= videos - 2 for number in range(videos)]
    said = [CLASSES[place] for place in shares.argmax(1)]
    names = [f"kling/{number:06d}.mp4" for number in range(videos)]
    names[: len(HOSTILE)] = HOSTILE[:videos]
    found: dict[str, list[object]] = {
        "id": list(names),
        "path": [f"/gone/{name}" for name in names],
        "source": [("kling", "pika & co")[number % 2] for number in range(videos)],
        "label": [CLASSES[place] if labels else "" for place in truth],
        "verdict": ["" if bad else name for name, bad in zip(said, failed, strict=True)],
        "confidence": _known(shares.max(1), failed),
        "set": ["" if bad else f"{name}|real" for name, bad in zip(said, failed, strict=True)],
        "forgery": _known(1 - shares[:, -1], failed),
    }
    for place, name in enumerate(CLASSES):
        found[f"p_{name}"] = _known(shares[:, place], failed)
    found["spread"] = _known(random.uniform(0, 0.1, videos), failed)
    found["nearest_id"] = [f"hfv/<i>{number}.mp4" for number in range(videos)]
    found["nearest_source"] = ["hfv"] * videos
    found["nearest_similarity"] = _known(random.uniform(-1, 1, videos), failed)
    found["error"] = ["DamagedVideo: <b>cut off</b>" if bad else "" for bad in failed]
    return found


def write_scores(path: Path, columns: Columns) -> None:
    """In the format that the suffix names."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    if path.suffix == ".parquet":
        parquet.write_table(pa.table(dict(columns)), path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    else:
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(columns))
            writer.writeheader()
            writer.writerows(rows)


def write_run(run: Path) -> None:
    """Everything that a report shows, but scores."""
    random = np.random.default_rng(1)
    labels = np.arange(80) % len(CLASSES)
    means = random.dirichlet(np.ones(len(CLASSES)), 80) + 0.5 * np.eye(len(CLASSES))[labels]
    sources = [("Kling_human_dim", "<b>pika")[number // 4 % 2] for number in range(80)]
    found = evaluate(
        Predictions(
            ids=[str(number) for number in range(80)], labels=labels, sources=sources,
            classes=CLASSES, means=means / means.sum(1, keepdims=True),
        ),
        {"0.1": 0.2},
    )  # fmt: skip
    document = {"bundle": found.to_json()}
    for name in ("ablation", "tune", "bundle"):
        (run / name).mkdir(parents=True)
    (run / "evaluation.json").write_text(json.dumps(document))
    (run / "bundle/bundle.json").write_text(json.dumps(ABOUT))
    (run / "ablation/ablation.csv").write_text(ABLATION)
    for name in ("ablation/ablation", "tune/history", "cross"):
        (run / f"{name}.svg").write_text(PICTURE)
    tuned = {"head": "fusion", "settings": {"lr": 0.01}, "metric": "auc", "test": [0.5, 0.25]}
    (run / "tune/tune.json").write_text(json.dumps(tuned))
    (run / "audit.txt").write_text("file facts alone: accuracy 31.0% <script>window.broken = 1")


def _known(
    values: np.ndarray[tuple[int], np.dtype[np.float64]], failed: list[bool]
) -> list[object]:
    pairs = zip(values.tolist(), failed, strict=True)
    return [None if bad else value for value, bad in pairs]


ABOUT = {
    "format": 1, "head": "fusion", "config": {"lr": 0.001}, "scheme": "hfv4", "classes": CLASSES,
    "protocol": "val", "fingerprints": {"internvideo2/cls": "a" * 64},
    "branches": {"internvideo2": "internvideo2=tiny", "depthpro": "depthpro=vitl"},
    "temperature": 1.25, "metrics": {"validation auc": 0.875}, "files": {},
    "provenance": {"date": "2026-11-21", "packages": {"torch": "2.13.0"}},
}  # fmt: skip
ABLATION = """row,metric,mean,low,high,gain,p,values,gain_low,gain_high,against,videos,seeds
"<b>backbone",accuracy,0.500000,0.490000,0.510000,nan,nan,0.5 0.5,nan,nan,"",80,2
"<b>backbone",auc,0.600000,nan,nan,nan,nan,0.6 0.6,nan,nan,"",80,2
"+ cat",accuracy,0.550000,0.540000,0.560000,0.050000,0.010000,0.5 0.6,0.01,0.09,"<b>backbone",80,2
"+ cat",auc,0.700000,0.690000,0.715000,0.100000,0.012000,0.7 0.7,0.04,0.15,"<b>backbone",80,2
"""
PICTURE = """<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" width="90" height="50"
 viewBox="0 0 90 50"><script>window.broken = 1</script><image href="http://example.invalid/x.png"
 width="5" height="5"/><text x="5" y="25" fill="#808890">vector</text></svg>"""
