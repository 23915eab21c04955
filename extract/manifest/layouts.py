"""How other benchmarks lie on a disk: `--layout NAME`, or `NAME:VERSION` where there are several.

What is read is what their descriptions and released code say; no list of theirs lies beside this
code. Labels are `forgery` and `real` (scheme hfv2). What a published count says is missing, and a
benchmark's half that is not part of its own files, are said as notes.

    deepfakebench   a data set's JSON: data set > label > split (> compression) > video > frames
    genvideo        CSVs with content_path, label, …; frames of GenVideo/real|fake/SOURCE/…
    genvidbench     Pair1_labels.txt, Pair2_labels.txt (path, blank, number), or the folders
    synthforensics  T2V|I2V/videos/VERSION/GENERATOR/…; versions raw, canonical, crf23, crf40
    aigvdbench      a folder per source, those called real being real; train, val, test inside
    clips           clips.csv: file, label (real, generated), generator, source_repo, pair, split
"""

import csv
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from extract.errors import BadManifest, BadSetting
from extract.manifest.clips_table import TABLE, read_clips
from extract.manifest.labels import label_scheme
from extract.manifest.rows import Row, Source
from extract.manifest.scan import VIDEO_SUFFIXES, scan_videos

REAL, FORGERY = "real", "forgery"
SPLITS = ("train", "val", "test")
FF_COUNTS = {"train": 720, "val": 140, "test": 140}
GENVIDEO_TEST = {
    "modelscope": 700, "morph": 700, "moonvalley": 626, "hotshot": 700, "show1": 700, "sora": 56,
    "wild": 926, "videocrafter": 1400, "lavies": 1400, "gen2": 1380, "msrvtt": 10_000,
}  # fmt: skip
GENVIDEO_TRAIN = {
    "zeroscope": 133_169, "i2vgenxl": 61_975, "svd": 149_026, "videocrafter": 39_485,
    "pika": 98_377, "dynamicrafter": 46_205, "sd": 200_720, "seine": 24_737, "latte": 149_979,
    "opensora": 177_410, "k400": 260_232, "youku": 953_279,
}  # fmt: skip
GENVIDBENCH = {
    "ms": "train", "modelscope": "train", "pika": "train", "t2vz": "train", "vc2": "train",
    "vript": "train", "cogvideo": "test", "mora": "test", "musev": "test", "svd": "test",
    "hdvg130m": "test", "hgvg130m": "test", "hdvg": "test",
}  # fmt: skip
_GENVIDBENCH_REALS = ("vript", "hdvg130m", "hgvg130m", "hdvg")
SYNTH_VERSIONS = ("raw", "canonical", "crf23", "crf40")
SYNTH_EACH, SYNTH_GENERATORS, AIGVD_GENERATORS = 1_363, 15, 31
Reader = Callable[[Source, Path, str], None]


def read(layout: str, name: str, root: Path | None) -> Source:
    """Rows of a place in that layout; notes say what of the benchmark is not there."""
    kind, _, version = layout.partition(":")
    if kind not in LAYOUTS:
        raise BadSetting(f"Layout {kind!r} unknown; have: {', '.join(LAYOUTS)}.")
    place = Path(os.path.abspath(name))  # noqa: PTH100, `resolve` would follow links
    if not place.exists():
        raise BadManifest(name, ["no such file or folder"])
    base = place if place.is_dir() else place.parent
    root = base if root is None else Path(os.path.abspath(root))  # noqa: PTH100
    source = Source(root=root, scheme=label_scheme("hfv2"), scanned=place.is_dir())
    LAYOUTS[kind](source, place, version)
    source.notes += _halves(source.rows)
    return source


def recognised(name: str) -> str | None:
    """A layout that nothing else looks like."""
    place = Path(name)
    if place.suffix.lower() == ".json" and place.is_file():
        return "deepfakebench"
    if place.suffix.lower() == ".csv" and place.is_file():
        with place.open(encoding="utf-8-sig", errors="replace") as lines:
            header = {cell.strip().lower() for cell in lines.readline().split(",")}
        return "genvideo" if {"content_path", "label"} <= header else None
    if any((place / task / "videos").is_dir() for task in ("T2V", "I2V")):
        return "synthforensics"
    return "clips" if (place / TABLE).is_file() else None


def _deepfakebench(source: Source, place: Path, version: str) -> None:
    for path in sorted(place.glob("*.json")) if place.is_dir() else [place]:
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            entries = list(_entries(document, version, path.name))
        except (ValueError, AttributeError, TypeError, KeyError) as error:
            source.problems.append(f"{path.name}: not a JSON of DeepfakeBench ({error})")
            continue
        kept: dict[str, Row] = {}
        for data_set, label, split, video, frames in entries:
            file = _video_of_frames(source.root, data_set, frames)
            row = Row(
                where=f"{path.name}: {label}/{split}/{video}", folder=os.fspath(source.root),
                file=file, label=_ending_real(label), source=label, split=split,
            )  # fmt: skip
            before = kept.setdefault(file, row)
            if SPLITS.index(split) > SPLITS.index(before.split):
                kept[file] = row
        source.rows += kept.values()
        if len(entries) > len(kept):
            source.notes.append(
                f"{path.name}: {len(entries) - len(kept)} entries name a video that another split "
                f"has too; it is kept in the later one of train, val, test"
            )
        counts = Counter((row.source, row.split) for row in kept.values())
        for (label, split), count in sorted(counts.items()):
            if label.startswith("FF-") and count != FF_COUNTS[split]:
                source.notes.append(f"{label}: {count} of {FF_COUNTS[split]} videos in {split}")


def _entries(
    document: Mapping[str, Any], version: str, name: str
) -> Iterator[tuple[str, str, str, str, list[str]]]:
    for data_set, labels in document.items():
        for label, splits in labels.items():
            for split, videos in splits.items():
                if split not in SPLITS:
                    raise ValueError(f"split {split!r} is none of {', '.join(SPLITS)}")
                first: Mapping[str, Any] = next(iter(videos.values()), {})
                if "frames" not in first and videos:
                    chosen = version or (next(iter(videos)) if len(videos) == 1 else "")
                    if chosen not in videos:
                        have = ", ".join(videos)
                        raise ValueError(f"it has {have}; choose by --layout deepfakebench:c23")
                    videos = videos[chosen]
                for video, about in videos.items():
                    yield data_set, label, split, video, about["frames"]


def _video_of_frames(root: Path, data_set: str, frames: list[str]) -> str:
    """…/frames/VIDEO/000.png → …/videos/VIDEO.mp4, from the data set's own folder on."""
    parts = frames[0].replace("\\", "/").split("/")[:-1] if frames else []
    if data_set in parts:
        parts = parts[parts.index(data_set) :]
    parts = ["videos" if part == "frames" else part for part in parts if part not in ("", ".")]
    return _with_any_suffix(root, "/".join(parts))


def _genvideo(source: Source, place: Path, version: str) -> None:
    del version
    for path in sorted(place.glob("*.csv")) if place.is_dir() else [place]:
        split = {"train": "train", "val_id": "val", "val_ood": "test"}.get(path.stem, "")
        with path.open(encoding="utf-8-sig", newline="") as lines:
            for line, cells in enumerate(csv.DictReader(lines), start=2):
                _genvideo_row(source, f"{path.name}:{line}", cells, split)
    for counts, split in ((GENVIDEO_TRAIN, "train"), (GENVIDEO_TEST, "test")):
        _short_of(source, counts, split)


def _genvideo_row(source: Source, where: str, cells: Mapping[str, str], split: str) -> None:
    content, label = cells.get("content_path") or "", (cells.get("label") or "").strip()
    parts = content.strip("/").split("/")
    kind = {"0": REAL, "1": FORGERY}.get(label.partition(".")[0])
    if len(parts) < 3 or kind is None:
        source.problems.append(f"{where}: give content_path real/… or fake/…, and label 0 or 1")
    elif {REAL: REAL, "fake": FORGERY}.get(parts[-3], kind) != kind:
        source.problems.append(f"{where}: {content!r} is labelled {label}")
    else:
        file = _with_any_suffix(source.root, content)
        source.rows.append(
            Row(where=where, folder=os.fspath(source.root), file=file, label=kind,
                source=parts[-2], split=split)
        )  # fmt: skip


def _short_of(source: Source, counts: Mapping[str, int], split: str) -> None:
    """Sources of a split that are there in part; a split that is not there at all says nothing."""
    found = Counter(_plain(row.source) for row in source.rows if row.split == split)
    for name, count in counts.items() if found else ():
        if found[name] != count:
            source.notes.append(f"{name}: {found[name]:,} of {count:,} published videos in {split}")


def _genvidbench(source: Source, place: Path, version: str) -> None:
    del version
    lists = sorted(place.glob("Pair*_labels.txt")) if place.is_dir() else [place]
    kinds: dict[str, set[str]] = {}
    for where, file, number in _listed(lists) if lists else _scanned(place):
        known = next((p for p in map(_plain, file.split("/")[:-1]) if p in GENVIDBENCH), None)
        if known is None:
            have = ", ".join(GENVIDBENCH)
            source.problems.append(f"{where}: no folder of {file!r} is one of {have}")
            continue
        kind = REAL if known in _GENVIDBENCH_REALS else FORGERY
        kinds.setdefault(number, set()).add(kind)
        source.rows.append(
            Row(where=where, folder=os.fspath(source.root), file=file, label=kind,
                source=known, split=GENVIDBENCH[known])
        )  # fmt: skip
    mixed = sorted(number for number, found in kinds.items() if number and len(found) > 1)
    if mixed:
        source.problems.append(f"label {', '.join(mixed)} stands beside real and generated folders")
    there = {row.source for row in source.rows}
    for split, names in (("train", "ms pika t2vz vc2"), ("test", "cogvideo mora musev svd")):
        lacking = [name for name in names.split() if name not in there]
        if "modelscope" in there and "ms" in lacking:
            lacking.remove("ms")
        if lacking:
            source.notes.append(f"no videos of {', '.join(lacking)} ({split})")


def _listed(lists: list[Path]) -> Iterator[tuple[str, str, str]]:
    for path in lists:
        for line, text in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1):
            file, _, number = text.strip().rpartition(" ")
            if text.strip():
                yield f"{path.name}:{line}", file.strip() or number, number if file else ""


def _scanned(place: Path) -> Iterator[tuple[str, str, str]]:
    for path in scan_videos(os.fspath(place)):
        inside = Path(path).relative_to(place).as_posix()
        yield inside, inside, ""


def _synthforensics(source: Source, place: Path, version: str) -> None:
    chosen = version or "canonical"
    if chosen not in SYNTH_VERSIONS:
        raise BadSetting(f"Version {chosen!r} unknown; have: {', '.join(SYNTH_VERSIONS)}.")
    for where, file, _ in _scanned(place):
        parts = file.split("/")
        if len(parts) < 5 or parts[1] != "videos" or chosen not in parts[2:-1]:
            continue
        generator = next(part for part in parts[2:-1] if part not in SYNTH_VERSIONS)
        source.rows.append(
            Row(where=where, folder=os.fspath(place), file=file, label=FORGERY,
                source=f"{parts[0]}-{generator}")
        )  # fmt: skip
    counts = Counter(row.source for row in source.rows)
    source.notes.append(
        f"version {chosen}; {len(counts)} of {SYNTH_GENERATORS} generators. Its real videos are "
        f"those of FaceForensics++ and DFD ({SYNTH_EACH:,}), which are not part of it"
    )
    source.notes += [
        f"{name}: {count:,} of {SYNTH_EACH:,} videos"
        for name, count in sorted(counts.items())
        if count != SYNTH_EACH
    ]


def _aigvdbench(source: Source, place: Path, version: str) -> None:
    del version
    for where, file, _ in _scanned(place):
        parts = file.split("/")[:-1]
        split = next((part.lower() for part in parts if part.lower() in SPLITS), "")
        names = [part for part in parts if part.lower() not in (*SPLITS, "fake", "videos")]
        real = any(part.lower().startswith(REAL) for part in names)
        if not names:
            source.problems.append(f"{where}: not in a folder of a source")
            continue
        source.rows.append(
            Row(where=where, folder=os.fspath(place), file=file, split=split,
                label=REAL if real else FORGERY, source=names[-1])
        )  # fmt: skip
    generators = {row.source for row in source.rows if row.label == FORGERY}
    if len(generators) != AIGVD_GENERATORS:
        source.notes.append(f"{len(generators)} of {AIGVD_GENERATORS} generators")


def _halves(rows: list[Row]) -> list[str]:
    """Splits in which nothing is real, or nothing generated: nothing can be judged there."""
    found: dict[str, set[str]] = {}
    for row in rows:
        found.setdefault(row.split, set()).add(row.label)
    return [
        f"{f'split {split}' if split else 'this list'} has no {missing} videos"
        for split, labels in sorted(found.items())
        for missing in (REAL, FORGERY)
        if missing not in labels
    ]


def _ending_real(label: str) -> str:
    return REAL if REAL in label.lower() else FORGERY


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _with_any_suffix(root: Path, file: str) -> str:
    """The file as it lies there, else .mp4."""
    if Path(file).suffix.lower() in VIDEO_SUFFIXES:
        return file
    there = (f"{file}{suffix}" for suffix in sorted(VIDEO_SUFFIXES))
    return next((name for name in there if (root / name).is_file()), f"{file}.mp4")


LAYOUTS: Mapping[str, Reader] = {
    "deepfakebench": _deepfakebench,
    "genvideo": _genvideo,
    "genvidbench": _genvidbench,
    "synthforensics": _synthforensics,
    "aigvdbench": _aigvdbench,
    "clips": read_clips,
}
