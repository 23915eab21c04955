"""One row per input: probabilities turned into verdicts, as an Arrow table."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from heads.bundle import Bundle
from heads.head import Probabilities
from heads.judging.evaluation import view_spread
from heads.measuring.conformal import sets
from heads.measuring.detection import forgery
from heads.measuring.metrics import REAL, averaged, has_result

UNSURE = "unsure"
FAR = 0.99
"""`unlike` from which a row is like nothing that was learnt."""
NOTHING = "nothing"
"""The verdict where there was nothing to look at: too few frames, no face, no person."""


Version = tuple[int | None, str | None]
"""A file's size, and when it was changed last; None where it cannot be looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What was to be scored, in order."""

    ids: Sequence[str]
    paths: Sequence[str]
    sources: Sequence[str]
    labels: Sequence[str]
    """Class names; empty where none is known."""
    versions: pa.Table | None = None
    """Which files they were, `size` and `modified`; None where features were scored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Nearest:
    """The most similar known video of each scored one."""

    ids: Sequence[str]
    sources: Sequence[str]
    similarity: NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """What the bundle said about some of the inputs."""

    positions: NDArray[np.int64]
    """Of the inputs that have probabilities."""
    probabilities: Probabilities
    """(len(positions), V, C)"""
    nearest: Nearest | None = None
    unlike: NDArray[np.float32] | None = None
    """Of what was learnt, how much lies nearer than each."""


WORST_PART = pa.schema(
    [
        ("worst_frame", pa.int32()), ("worst_part", pa.string()), ("worst_person", pa.int32()),
        ("worst_box", pa.string()), ("worst_score", pa.float32()),
    ]
)  # fmt: skip
"""More columns, of bundles that look at persons; the box is x1 y1 x2 y2 in pixels of the frame."""


def schema(classes: Sequence[str]) -> pa.Schema:
    """The columns of every output."""
    text, number = pa.string(), pa.float32()
    return pa.schema(
        [
            ("id", text), ("path", text), ("size", pa.int64()), ("modified", text),
            ("source", text), ("label", text), ("verdict", text),
            ("confidence", number), ("set", text), ("forgery", number),
            ("flagged", pa.bool_()),
            *((f"p_{name}", number) for name in classes),
            ("spread", number), ("unlike", number), ("nearest_id", text), ("nearest_source", text),
            ("nearest_similarity", number), ("error", text),
        ]
    )  # fmt: skip


def rows(
    inputs: Inputs, scored: Scored, errors: Mapping[int, str], bundle: Bundle, rate: str | None
) -> pa.Table:
    """Every input has exactly one row, also when it failed: position → reason in `errors`.

    `set` is null without calibration, `flagged` without an operating point (the last one counts).
    """
    count = len(inputs.ids)
    scored, nothing = _seen(scored)
    means = averaged(scored.probabilities) if len(scored.positions) else np.zeros((0, 1))
    classes = bundle.classes
    found = _Spread(count, scored.positions)
    columns = {
        "id": pa.array(inputs.ids, pa.string()),
        "path": pa.array(inputs.paths, pa.string()),
        "source": pa.array(inputs.sources, pa.string()),
        "label": pa.array(inputs.labels, pa.string()),
        "error": pa.array(
            [errors.get(i) for i in range(count)] if errors else [None] * count, pa.string()
        ),
    }
    if len(scored.positions):
        columns |= _verdicts(found, means, bundle, rate)
        columns["spread"] = found.numbers(view_spread(scored.probabilities))
    if scored.unlike is not None:
        columns["unlike"] = found.numbers(scored.unlike)
    if len(nothing):
        columns["verdict"] = _with_nothing(
            columns.get("verdict", pa.nulls(count, pa.string())), nothing
        )
    if scored.nearest is not None:
        columns["nearest_id"] = found.texts(scored.nearest.ids)
        columns["nearest_source"] = found.texts(scored.nearest.sources)
        columns["nearest_similarity"] = found.numbers(scored.nearest.similarity)
    wanted = schema(classes)
    return pa.table(
        [columns.get(f.name, pa.nulls(count, f.type)).cast(f.type) for f in wanted], schema=wanted
    )


def _seen(scored: Scored) -> tuple[Scored, NDArray[np.int64]]:
    """What has a result, and the positions of what has none: there was nothing to look at."""
    if not np.isnan(scored.probabilities).any():
        return scored, scored.positions[:0]
    there = has_result(averaged(scored.probabilities))
    nearest = scored.nearest
    if nearest is not None:
        rows = np.flatnonzero(there).tolist()
        nearest = Nearest(
            ids=[nearest.ids[i] for i in rows], sources=[nearest.sources[i] for i in rows],
            similarity=nearest.similarity[rows],
        )  # fmt: skip
    seen = Scored(
        positions=scored.positions[there], probabilities=scored.probabilities[there],
        nearest=nearest, unlike=None if scored.unlike is None else scored.unlike[there],
    )  # fmt: skip
    return seen, scored.positions[~there]


def _with_nothing(verdicts: pa.Array, positions: NDArray[np.int64]) -> pa.Array:
    mask = np.zeros(len(verdicts), bool)
    mask[positions] = True
    return pc.if_else(pa.array(mask), NOTHING, verdicts)


def _verdicts(
    found: "_Spread", means: NDArray[np.floating], bundle: Bundle, rate: str | None
) -> dict[str, pa.Array]:
    classes = bundle.classes
    columns = {
        "verdict": found.chosen(means.argmax(1), classes),
        "confidence": found.numbers(means.max(1)),
    }
    for place, name in enumerate(classes):
        columns[f"p_{name}"] = found.numbers(means[:, place])
    if REAL in classes:
        columns["forgery"] = found.numbers(forgery(means, classes))
        if bundle.about.operating:
            limit = bundle.about.operating[-1]["threshold"]
            columns["flagged"] = found.chosen(forgery(means, classes) > limit, (False, True))
    if len(classes) <= 8 and rate is not None:
        inside = sets(means, bundle.about.conformal[rate], classes)
        codes = inside @ (1 << np.arange(len(classes)))
        columns["set"] = found.chosen(codes, _set_names(classes))
    return columns


def _set_names(classes: Sequence[str]) -> list[str]:
    """Bit mask → the set's name; empty and full sets say nothing."""
    names = []
    for mask in itertools.product((False, True), repeat=len(classes)):
        inside = [name for name, bit in zip(classes, reversed(mask), strict=True) if bit]
        names.append("|".join(inside) if 0 < len(inside) < len(classes) else UNSURE)
    return names


class _Spread:
    """Puts values of the scored inputs where they belong among all, the rest null."""

    def __init__(self, count: int, positions: NDArray[np.int64]) -> None:
        self._whole = len(positions) == count and bool((positions == np.arange(count)).all())
        self._take = np.full(count, -1, np.int64)
        self._take[positions] = np.arange(len(positions))
        self._absent = self._take < 0

    def numbers(self, values: NDArray[np.floating]) -> pa.Array:
        values = values.astype(np.float32)
        if self._whole:
            return pa.array(values)
        return pa.array(np.append(values, np.float32(0))[self._take], mask=self._absent)

    def chosen(
        self, indices: NDArray[np.integer] | NDArray[np.bool_], names: Sequence[str | bool]
    ) -> pa.Array:
        spread = np.append(indices, 0)[self._take].astype(np.int32)
        codes = pa.array(spread, mask=self._absent)
        return pa.DictionaryArray.from_arrays(codes, pa.array(list(names))).dictionary_decode()

    def texts(self, values: Sequence[str]) -> pa.Array:
        return pa.array([None if i < 0 else values[i] for i in self._take.tolist()], pa.string())
