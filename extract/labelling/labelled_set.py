"""A labelled, ranked, split data set on the disk: HFV's own lists, a ledger, and where it is from.

    labels.json           the label scheme, hfv4
    labels.csv            the ledger: every video's scores, ranks, proposal, decision
    provenance.json       what scored the videos, with fingerprints, and how labels follow
    failures.csv          videos without a label, and why
    train_data/SOURCE/    the videos; train_4.csv, val_4.csv (4 classes), train_2.csv, val_2.csv

The ledger is what decisions are applied to; everything else follows from it. Files are replaced
one by one, the ledger first, so running the same command again finishes what was interrupted.
"""

import csv
import io
import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from extract.errors import BadManifest, BadSetting
from extract.labelling.gather import PART
from extract.labelling.prior_labels import (
    CLASSES,
    PRIORS,
    REAL,
    Ranked,
    split_generated,
    split_real,
)
from extract.manifest.labels import SCHEMES
from extract.manifest.sources import SIDECAR
from features_store.commit import write_file

LEDGER = "labels.csv"
PROVENANCE = "provenance.json"
REAL_RANK = 1.0
"""Real videos show no anomaly: the least obvious rank."""
SPLITS = ("train", "val")
_COLUMNS = (
    "id", "source", "split", "label", "rank", "proposed", "decided", "doubt", "tied", "also",
    "count", *(f"score_{prior}" for prior in PRIORS), *(f"rank_{prior}" for prior in PRIORS),
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One video of the ledger."""

    id: str
    source: str
    scores: Mapping[str, float]
    """Per prior; larger is more anomalous."""
    ranked: Ranked | None
    """None for the videos of the real folder."""
    decided: str = ""
    """What a person said; empty where nobody did."""
    split: str = ""

    @property
    def proposed(self) -> str:
        return REAL if self.ranked is None else self.ranked.proposed

    @property
    def label(self) -> str:
        return self.decided or self.proposed

    @property
    def rank(self) -> float:
        """The third column of HFV's lists."""
        if self.label == REAL:
            return REAL_RANK
        return REAL_RANK if self.ranked is None else self.ranked.normalised(self.label)


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledSet:
    """All entries, and what is known of their making."""

    entries: tuple[Entry, ...]
    provenance: Mapping[str, object] = field(default_factory=dict)

    def with_splits(self) -> "LabelledSet":
        """Splits as they follow from labels and ranks."""
        chosen = {entry.id: split_real(entry.id) for entry in self.entries}
        made = [entry for entry in self.entries if entry.label != REAL]
        splits = split_generated(
            [entry.id for entry in made], [entry.source for entry in made],
            [entry.label for entry in made], [entry.rank for entry in made],
        )  # fmt: skip
        chosen |= {entry.id: split for entry, split in zip(made, splits, strict=True)}
        entries = tuple(replace(entry, split=chosen[entry.id]) for entry in self.entries)
        return replace(self, entries=entries)

    def with_decisions(self, decisions: Mapping[str, str]) -> "LabelledSet":
        """Labels that a person gave; later ones replace earlier ones. Splits follow anew."""
        known = {entry.id for entry in self.entries}
        problems = [f"{id_!r} is no video of this set" for id_ in decisions if id_ not in known] + [
            f"{id_!r}: label {label!r} unknown; have: {', '.join(CLASSES)}"
            for id_, label in decisions.items()
            if label not in CLASSES
        ]
        if problems:
            raise BadManifest("decisions", problems)
        entries = tuple(
            replace(entry, decided=decisions.get(entry.id, entry.decided)) for entry in self.entries
        )
        return replace(self, entries=entries).with_splits()

    def summary(self) -> list[str]:
        """Counts for people, one line each."""
        labels = Counter(entry.label for entry in self.entries)
        splits = Counter(entry.split for entry in self.entries)
        ranked = [entry.ranked for entry in self.entries if entry.ranked is not None]
        decided = sum(bool(entry.decided) for entry in self.entries)
        return [
            f"labels: {', '.join(f'{name} {labels[name]}' for name in CLASSES)}",
            f"splits: {', '.join(f'{name} {splits[name]}' for name in SPLITS)}",
            f"ties: {sum(bool(each.tied) for each in ranked)}; several anomalies: "
            f"{sum(bool(each.also) for each in ranked)}; decided by hand: {decided}",
        ]


def write(out: Path, made: LabelledSet) -> None:
    """The ledger, the lists and the provenance."""
    rows = [_COLUMNS, *(_row(entry) for entry in made.entries)]
    write_file(out / LEDGER, [_csv(rows)])
    for source in sorted({entry.source for entry in made.entries}):
        mine = [entry for entry in made.entries if entry.source == source]
        for split in SPLITS:
            for suffix in ("4", "2"):
                chosen = [entry for entry in mine if entry.split == split]
                _write_list(out / PART / source / f"{split}_{suffix}.csv", chosen, suffix)
    write_file(out / SIDECAR, [b'{"scheme": "hfv4"}\n'])
    write_file(out / PROVENANCE, [_json(made.provenance)])


def read(out: Path) -> LabelledSet:
    """A set as it was written."""
    try:
        text = (out / LEDGER).read_text(encoding="utf-8")
        provenance = json.loads((out / PROVENANCE).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise BadSetting(
            f"{out} is no labelled set: no {Path(error.filename).name} in it. Make one with "
            f"`telltale label FOLDER… --out {out}`."
        ) from error
    rows = csv.DictReader(io.StringIO(text))
    if tuple(rows.fieldnames or ()) != _COLUMNS:
        raise BadSetting(f"{out / LEDGER} has other columns than {', '.join(_COLUMNS)}.")
    try:
        return LabelledSet(entries=tuple(map(_entry, rows)), provenance=provenance)
    except (ValueError, TypeError) as error:
        raise BadSetting(f"{out / LEDGER} was changed by hand: {error}.") from error


def read_decisions(path: Path) -> dict[str, str]:
    """`id,label` as the review page saves it; the last row of a video counts."""
    try:
        rows = csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig")))
        if not {"id", "label"} <= set(rows.fieldnames or ()):
            raise BadManifest(str(path), ["give a CSV with the columns id and label"])
        return {str(row["id"]): str(row["label"]).strip().lower() for row in rows}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadManifest(str(path), [f"cannot be read: {error}"]) from error


def _write_list(path: Path, entries: Sequence[Entry], suffix: str) -> None:
    """Header-less: file, class number, normalised rank. A list of nothing is no file."""
    if not entries:
        path.unlink(missing_ok=True)
        return
    classes = SCHEMES[f"hfv{suffix}"].classes
    rows = []
    for entry in entries:
        name = entry.id.removeprefix(f"{PART}/{entry.source}/")
        label = entry.label if suffix == "4" or entry.label == REAL else "forgery"
        rows.append((name, classes.index(label), repr(entry.rank)))
    write_file(path, [_csv(rows)])


def _row(entry: Entry) -> tuple[object, ...]:
    ranked = entry.ranked
    details: tuple[object, ...] = ("", "", "", "")
    ranks: tuple[object, ...] = ("",) * len(PRIORS)
    if ranked is not None:
        details = (repr(ranked.doubt), "+".join(ranked.tied), "+".join(ranked.also), ranked.count)
        ranks = tuple(repr(ranked.ranks[prior]) for prior in PRIORS)
    scores = tuple(repr(float(entry.scores[prior])) for prior in PRIORS)
    return (
        entry.id, entry.source, entry.split, entry.label, repr(entry.rank), entry.proposed,
        entry.decided, *details, *scores, *ranks,
    )  # fmt: skip


def _entry(row: Mapping[str, str]) -> Entry:
    ranked = None
    if row["count"]:
        ranks = {prior: float(row[f"rank_{prior}"]) for prior in PRIORS}
        ranked = Ranked(ranks=ranks, count=int(row["count"]))
    scores = {prior: float(row[f"score_{prior}"]) for prior in PRIORS}
    if row["decided"] not in ("", *CLASSES) or any(map(math.isinf, scores.values())):
        raise ValueError(f"row of {row['id']!r}")
    return Entry(
        id=row["id"], source=row["source"], scores=scores, ranked=ranked, decided=row["decided"],
        split=row["split"],
    )  # fmt: skip


def _csv(rows: Iterable[Sequence[object]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def _json(value: object) -> bytes:
    return (json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()
