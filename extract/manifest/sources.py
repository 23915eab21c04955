"""Where a manifest's rows come from: HFV folders, tables, lists, folders of videos, a video.

Every reader yields `Row`s of plain text with the place each came from ("train_4.csv:12"), and
lists what it could not read as problems. What the texts mean is checked in `manifest.py`.
"""

import csv
import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TextIO

from extract.errors import BadManifest, BadSetting
from extract.manifest.columns import names_files, rows_of, wrong_names
from extract.manifest.labels import LabelScheme, label_scheme
from extract.manifest.rows import Row, Source
from extract.manifest.scan import PICTURE_SUFFIXES, is_named_like_a_video, is_text, scan_videos

LIST_SUFFIXES = frozenset({"", ".txt", ".list", ".lst"})
SIDECAR = "labels.json"
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
HFV_PARTS = ("train_data", "eval_data")
HFV_SPLITS = ("train", "val", "test")
_LISTED = ("path", "label", "score")
_PARQUET_ROWS = 65536


def read(
    name: str,
    scheme: LabelScheme | None,
    root: Path | None,
    listing: TextIO | None,
    *,
    labels: bool = True,
) -> Source:
    """`labels`: an HFV layout's lists are of no use without their scheme."""
    if _URL.match(name):
        raise BadManifest(name, ["it is a URL; copy the videos to a disk and name them there"])
    if name == "-":
        if listing is None:
            raise BadSetting("Manifest '-' means a list on standard input; none was given.")
        return _from_list(listing, "standard input", _absolute(root or Path()))
    place = _absolute(Path(name))
    if place.is_dir():
        return _from_folder(place, scheme, root, labels=labels)
    if not place.is_file():
        raise BadManifest(
            name,
            ["no such file or folder; give a video, a folder, a .csv, .parquet, .jsonl or .txt"],
        )
    return _from_file(place, scheme, root)


def _from_file(place: Path, scheme: LabelScheme | None, root: Path | None) -> Source:
    suffix = place.suffix.lower()
    base = _absolute(root or place.parent)
    source = Source(root=base, scheme=_sidecar(base) or _sidecar(place.parent))
    try:
        if suffix == ".csv":
            source.more = _csv_rows(source, place, _whole_text(place))
        elif suffix in (".parquet", ".pq"):
            _read_parquet(source, place)
        elif suffix in (".jsonl", ".ndjson"):
            source.more = _json_rows(source, place.name, _whole_text(place))
        elif suffix in LIST_SUFFIXES and is_text(place):
            with place.open(encoding="utf-8", errors="surrogateescape", newline="\n") as lines:
                return _from_list(_lines(lines.read()), place.name, base)
        elif suffix in PICTURE_SUFFIXES:
            source.problems.append("it is a still picture; one frame says too little, give a video")
        elif suffix and not is_named_like_a_video(place.name):
            source.problems.append(
                f"suffix {suffix!r} is none of .csv, .parquet, .jsonl, .txt, and no video's"
            )
        else:  # a video: what it is its bytes say when it is opened
            source.rows.append(
                Row(where=place.name, folder=os.fspath(place.parent), file=place.name)
            )
    except UnicodeDecodeError as error:
        source.problems.append(f"byte {error.start} is not UTF-8; save the manifest as UTF-8")
    except OSError as error:
        source.problems.append(f"it cannot be read: {error.strerror}")
    return source


def _from_folder(
    place: Path, scheme: LabelScheme | None, root: Path | None, *, labels: bool
) -> Source:
    if any((place / part).is_dir() for part in HFV_PARTS):
        folders = [
            folder
            for part in HFV_PARTS
            if (place / part).is_dir()
            for folder in sorted((place / part).iterdir())
            if folder.is_dir()
        ]
        return _from_hfv(place, folders, scheme, labels=labels)
    if any(_hfv_files(place, suffix) for suffix in ("2", "4")):
        return _from_hfv(_absolute(root or place), [place], scheme, labels=labels)
    source = Source(root=_absolute(root or place), scanned=True)
    for path in scan_videos(os.fspath(place)):
        where = os.path.relpath(path, place)
        if where == os.curdir:
            raise BadManifest(str(place), ["the folder cannot be looked into; may you read it?"])
        source.rows.append(Row(where=where, folder=os.fspath(place), file=path))
    return source


def _from_hfv(
    root: Path, folders: Sequence[Path], scheme: LabelScheme | None, *, labels: bool
) -> Source:
    source = Source(root=root, scheme=_sidecar(root) or _sidecar(root.parent))
    known = scheme or source.scheme
    if known is None and labels:
        source.problems.append(
            "an HFV layout needs its label scheme: --scheme hfv4 (the released order) or "
            "hfv4-paper for the *_4.csv lists, --scheme hfv2 for the *_2.csv lists"
        )
        return source
    found: list[Iterator[Row]] = []
    suffixes = ("4", "2") if known is None else (str(len(known.classes)),)
    for folder in folders:
        lists = next(filter(None, (_hfv_files(folder, suffix) for suffix in suffixes)), [])
        if not lists:
            names = " or ".join(f"test_{suffix}.csv" for suffix in suffixes)
            source.problems.append(f"{folder.name}: no train_, val_ or {names} in it")
        found += [_hfv_rows(source, path, _whole_text(path)) for path in lists]
    source.more = chain.from_iterable(found)
    return source


def _hfv_files(folder: Path, suffix: str) -> list[Path]:
    paths = [folder / f"{split}_{suffix}.csv" for split in HFV_SPLITS]
    return [path for path in paths if path.is_file()]


def _hfv_rows(source: Source, path: Path, text: str) -> Iterator[Row]:
    """Header-less: file name with or without extension, label, optional rank."""
    where = os.path.relpath(path, source.root)
    split = path.stem.partition("_")[0]
    for line, cells in _csv_lines(text):
        if len(cells) not in (2, 3):
            source.problems.append(
                f"{where}:{line}: {len(cells)} columns; an HFV list has file, label and "
                f"optionally rank, separated by commas"
            )
            continue
        yield Row(
            where=f"{where}:{line}",
            folder=os.fspath(path.parent),
            file=_with_suffix(path.parent, cells[0]),
            label=cells[1],
            rank=cells[2] if len(cells) == 3 else "",
            source=path.parent.name,
            split=split if split in HFV_SPLITS else "",
        )


def _with_suffix(folder: Path, name: str) -> str:
    """HFV lists often leave `.mp4` out, and names may hold dots of their own."""
    if is_named_like_a_video(name) or not name or os.path.isfile(folder / name):  # noqa: PTH113
        return name
    return f"{name}.mp4"


def _csv_rows(source: Source, place: Path, text: str) -> Iterator[Row]:
    lines = _csv_lines(text)
    header = tuple(cell.strip().lower() for cell in next(lines, (0, []))[1])
    if not header:
        return
    if not names_files(header):
        yield from _hfv_rows(source, place, text)
        return
    source.problems += [f"header: {problem}" for problem in wrong_names(header)]
    row_of, name = rows_of(header, os.fspath(source.root)), place.name
    for line, cells in lines:
        if len(cells) == len(header):
            yield row_of(f"{name}:{line}", cells)
        else:
            source.problems.append(
                f"{name}:{line}: {len(cells)} columns, the header has {len(header)}"
            )


def _csv_lines(text: str) -> Iterator[tuple[int, list[str]]]:
    """Line numbers and stripped cells; blank lines are skipped."""
    reader = csv.reader(_lines(text))
    for cells in reader:
        stripped = [cell.strip() for cell in cells]
        if any(stripped):
            yield reader.line_num, stripped


def _whole_text(place: Path) -> str:
    return place.read_text(encoding="utf-8-sig")


def _lines(text: str) -> Iterator[str]:
    """With their ends, one after another: a list of a million takes more than the text."""
    start = 0
    while start < len(text):
        end = text.find("\n", start) + 1 or len(text)
        yield text[start:end]
        start = end


def _read_parquet(source: Source, place: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(place)
    except (pyarrow.ArrowException, OSError) as error:
        source.problems.append(f"not a Parquet file: {str(error).splitlines()[0]}")
        return
    names = tuple(name.lower() for name in table.column_names)
    source.problems += [f"header: {problem}" for problem in wrong_names(names)]
    row_of, parts = rows_of(names, os.fspath(source.root)), table.to_batches(_PARQUET_ROWS)
    columns = ([column.to_pylist() for column in part.columns] for part in parts)
    cells = chain.from_iterable(zip(*part, strict=True) for part in columns)
    source.more = (
        row_of(f"{place.name} row {number}", list(map(_text, one)))
        for number, one in enumerate(cells, start=1)
    )


def _json_rows(source: Source, name: str, text: str) -> Iterator[Row]:
    """One object per line, or VBench-2.0's `["file", label, score]`."""
    folder = os.fspath(source.root)
    for number, line in enumerate(_lines(text), start=1):
        if not line.strip():
            continue
        where = f"{name}:{number}"
        try:
            found = json.loads(line)
        except json.JSONDecodeError as error:
            source.problems.append(f"{where}: not JSON ({error.msg})")
            continue
        if isinstance(found, list) and 1 <= len(found) <= 3:
            yield rows_of(_LISTED[: len(found)], folder)(where, list(map(_text, found)))
        elif isinstance(found, dict):
            names = tuple(str(name).lower() for name in found)
            source.problems += [f"{where}: {problem}" for problem in wrong_names(names)]
            yield rows_of(names, folder)(where, list(map(_text, found.values())))
        else:
            source.problems.append(f'{where}: give an object or ["file", label, score]')


def _from_list(lines: Iterable[str], name: str, base: Path) -> Source:
    return Source(root=base, more=_listed_rows(lines, name, base))


def _listed_rows(lines: Iterable[str], name: str, base: Path) -> Iterator[Row]:
    """One path a line. `# …` is a comment, unless a file of that name is there."""
    folder = os.fspath(base)
    for number, line in enumerate(lines, start=1):
        file = line.rstrip("\r\n")
        comment = file.startswith("#") and not os.path.isfile(base / file)  # noqa: PTH113
        if file.strip() and not comment:
            yield Row(where=f"{name}:{number}", folder=folder, file=file)


def _sidecar(folder: Path) -> LabelScheme | None:
    path = folder / SIDECAR
    if not path.is_file():
        return None
    try:
        named = json.loads(path.read_text(encoding="utf-8"))["scheme"]
    except (ValueError, KeyError, TypeError) as error:
        raise BadManifest(str(path), ['give {"scheme": "hfv4"}, or remove the file']) from error
    return label_scheme(str(named))


def _text(value: object) -> str:
    """A cell of a typed table; None and NaN mean that nothing is given."""
    if value is None or value != value:
        return ""
    return str(value)


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path))  # noqa: PTH100, `resolve` would follow links
