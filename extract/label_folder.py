"""A labelled data set in HFV's own layout, so that the released code can train on it too.

OUT/train_data/SOURCE/… holds the videos (hard links where the file system allows, copies
elsewhere) and the lists train_4.csv, val_4.csv and, of two classes, train_2.csv, val_2.csv. Beside
them: labels.json (the scheme), prior_scores.csv (every score, rank and doubt), provenance.json,
review.html. Lists are written whole or not at all, one after the other.
"""

import csv
import io
import json
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from extract.errors import BadManifest, BadSetting
from extract.labelling import REAL, SCHEME, Labelled, Scored
from extract.labels import SCHEMES
from extract.manifest import Manifest, Video, read_manifest
from extract.manifest_sources import SIDECAR
from extract.prior import SCORERS

PART = "train_data"
SCORES_FILE = "prior_scores.csv"
PROVENANCE_FILE = "provenance.json"
_FORGERY = SCHEMES["hfv2"].classes.index("forgery")
_COLUMNS = (
    "id", "source", "real", "proposed", "label", "decided", "rank", "split", "doubt", "anomalies",
    *(f"{name}_score" for name in SCORERS), *(f"{name}_rank" for name in SCORERS),
)  # fmt: skip


def gather(folders: Sequence[Path], out: Path) -> Manifest:
    """Bring every folder's videos below OUT, a source each. Done already is left alone."""
    names = [folder.resolve().name for folder in folders]
    if len(set(names)) < len(names):
        raise BadSetting(
            f"Folders are named {', '.join(names)}; a folder's name is its generator's, so give "
            f"each another name."
        )
    videos = [
        _place(video, name, out)
        for folder, name in zip(folders, names, strict=True)
        for video in read_manifest(_directory(folder)).videos
    ]
    return Manifest(root=out, scheme=None, videos=tuple(videos))


def _directory(folder: Path) -> str:
    if not folder.is_dir():
        raise BadManifest(str(folder), ["not a folder; give the folder of a generator's videos"])
    return str(folder)


def _place(video: Video, source: str, out: Path) -> Video:
    video_id = f"{PART}/{source}/{video.id}"
    path, origin = out / PART / source / video.id, os.path.realpath(video.path)
    if not path.exists() and Path(origin).is_file():  # what is no file fails as a video
        path.parent.mkdir(parents=True, exist_ok=True)
        _link(origin, path)
    return Video(id=video_id, path=str(path), source=source)


def _link(origin: str, path: Path) -> None:
    try:
        os.link(origin, path)
    except OSError:  # another file system, or one without hard links
        unfinished = path.with_name(f"{path.name}.partial")
        shutil.copyfile(origin, unfinished)
        unfinished.replace(path)


def write_folder(
    out: Path, labelled: Sequence[Labelled], provenance: Mapping[str, object]
) -> list[Path]:
    """The lists and what belongs to them; the paths written."""
    texts = {**_lists(labelled), SIDECAR: json.dumps({"scheme": SCHEME.name}) + "\n"}
    texts[SCORES_FILE] = _table([_COLUMNS, *map(_row, labelled)])
    texts[PROVENANCE_FILE] = json.dumps({**provenance, **summary(labelled)}, indent=1) + "\n"
    return [write_text(out / name, text) for name, text in texts.items()]


def write_text(path: Path, text: str) -> Path:
    """All of it or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.partial")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(path)
    return path


def summary(labelled: Sequence[Labelled]) -> dict[str, object]:
    """Counts, and the videos whose label is in doubt by the rules themselves."""
    return {
        "scheme": SCHEME.name,
        "classes": dict(Counter(each.label for each in labelled)),
        "splits": dict(Counter(each.split for each in labelled)),
        "ties": [each.video.id for each in labelled if each.tie],
        "several_anomalies": {
            each.video.id: list(each.anomalies) for each in labelled if len(each.anomalies) > 1
        },
        "decided_by_hand": {each.video.id: each.label for each in labelled if each.decided},
    }


def read_scores(out: Path) -> tuple[list[Scored], dict[str, str]]:
    """The videos of a labelled folder, and what was decided by hand."""
    path = out / SCORES_FILE
    if not path.is_file():
        raise BadManifest(str(out), [f"no {SCORES_FILE}; give a folder that `telltale label` made"])
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    try:
        videos = [
            Scored(
                id=row["id"],
                source=row["source"],
                real=row["real"] == "yes",
                scores={name: float(row[f"{name}_score"]) for name in SCORERS},
            )
            for row in rows
        ]
        decided = {row["id"]: row["label"] for row in rows if row["decided"] == "yes"}
    except (KeyError, ValueError, TypeError) as error:
        raise BadManifest(str(path), [f"damaged ({error}); run `telltale label` again"]) from error
    return videos, decided


def read_decisions(path: Path, known: Iterable[str]) -> dict[str, str]:
    """id → class, as the review page saves them: columns `id` and `label`."""
    if not path.is_file():
        raise BadManifest(str(path), ["no such file; save decisions.csv from the review page"])
    ids, problems, decisions = set(known), [], dict[str, str]()
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        if not {"id", "label"} <= set(reader.fieldnames or ()):
            raise BadManifest(str(path), ["give a CSV with the columns id and label"])
        for row in reader:
            where, video_id, text = f"line {reader.line_num}", row["id"], row["label"] or ""
            if video_id not in ids:
                problems.append(f"{where}: {video_id!r} is not among the labelled videos")
                continue
            try:
                label = SCHEME.classes[SCHEME.index(text)]
            except ValueError as error:
                problems.append(f"{where}: {error}")
                continue
            if decisions.setdefault(video_id, label) != label:
                problems.append(f"{where}: {video_id!r} was decided as {decisions[video_id]}")
    if problems:
        raise BadManifest(str(path), problems)
    return decisions


def _lists(labelled: Sequence[Labelled]) -> dict[str, str]:
    """Every source gets all four lists, so that none is left over from an earlier run."""
    rows: dict[str, list[tuple[str, ...]]] = {}
    for each in labelled:
        folder = f"{PART}/{each.video.source}"
        for split in ("train", "val"):
            for suffix in ("4", "2"):
                rows.setdefault(f"{folder}/{split}_{suffix}.csv", [])
        four = SCHEME.classes.index(each.label)
        two = 1 - _FORGERY if each.label == REAL else _FORGERY
        for suffix, label in (("4", four), ("2", two)):
            file = each.video.id.removeprefix(f"{folder}/")
            cells = (file, str(label), repr(each.rank))
            rows[f"{folder}/{each.split}_{suffix}.csv"].append(cells)
    return {name: _table(cells) for name, cells in rows.items()}


def _row(each: Labelled) -> tuple[str, ...]:
    video = each.video
    yes = {True: "yes", False: ""}
    return (
        video.id, video.source, yes[video.real], each.proposed, each.label, yes[each.decided],
        repr(each.rank), each.split, repr(each.doubt), "+".join(each.anomalies),
        *(repr(video.scores[name]) for name in SCORERS),
        *(repr(each.ranks[name]) if each.ranks else "" for name in SCORERS),
    )  # fmt: skip


def _table(rows: Iterable[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
