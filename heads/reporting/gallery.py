"""Videos worth a look: the surest, the most wrong, the least sure, with frames and probabilities.

Frames come from the files that the scores name, decoded in a guarded process, since nobody knows
whose files they are; one that has moved, broken or hangs costs its frames, never the report.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import cv2
import numpy as np
from numpy.typing import NDArray

from extract.decoding.containers import Limits
from extract.decoding.job import SCANNED, Job, Plan
from extract.decoding.pool import DecodePool
from extract.decoding.stills import Stills, jpeg_url
from extract.manifest.names import unescaped
from extract.manifest.segments import segment_of
from extract.people.spots import Spot
from heads.measuring.metrics import REAL
from heads.reporting.parts import percent
from heads.reporting.safe import text
from heads.reporting.scores import PROBABILITY, Scores
from heads.scoring.timelines import clock, seconds_of

EACH = 4
STILLS = Stills()
_SECONDS = 30.0
"""That a video may take."""
_RED = (208, 48, 48)
Progress = Callable[[], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Some rows, best example first."""

    title: str
    about: str
    rows: tuple[int, ...]


def groups(scores: Scores) -> list[Group]:
    """By right and wrong where truth is known, else by what was said. No row comes twice."""
    usable = ~np.isnan(scores.confidence) & ~scores.failed
    judged = usable & scores.judged & (scores.verdicts >= 0)
    if judged.any():
        right = judged & (scores.labels == scores.verdicts)
        plans = [
            ("Surest and wrong", "The mistakes that were made with most confidence.",
             judged & ~right, -scores.confidence),
            ("Surest and right", "What it knows best.", right, -scores.confidence),
        ]  # fmt: skip
    else:
        real = np.array([verdict == REAL for verdict in scores.texts["verdict"]], bool)
        known = usable & ~np.isnan(scores.forgery)
        plans = [
            ("Surest forgeries", "Highest probability of being generated.",
             known & ~real, -scores.forgery),
            ("Surest real ones", "Lowest probability of being generated.",
             known & real, scores.forgery),
        ]  # fmt: skip
    plans.append(("Least sure", "Where a person should look.", usable, scores.confidence))
    taken = np.zeros(len(scores), bool)
    found = []
    for title, about, mask, order in plans:
        rows = _first(mask & ~taken, order)
        taken[list(rows)] = True
        if rows:
            found.append(Group(title=title, about=about, rows=rows))
    return found


def gallery(scores: Scores, found: list[Group], folder: Path, done: Progress) -> str:
    """`folder`: where relative paths start, after the current one. `done` after each card."""
    parts = []
    with Shown(folder) as shown:
        for group in found:
            cards = []
            for row in group.rows:
                cards.append(_card(scores, row, shown))
                done()
            parts.append(
                f'<h3>{text(group.title)}</h3><p class="note">{text(group.about)}</p>'
                f'<div class="cards">{"".join(cards)}</div>'
            )
    return "".join(parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Still:
    """A frame as a page shows it."""

    url: str
    """A JPEG in a data URL."""
    at: str
    """When it is shown, as players say it."""
    words: str = ""
    """What it is of, beside that."""


class Shown:
    """Frames of videos, as long as it is open."""

    def __init__(self, folder: Path) -> None:
        """`folder`: where relative paths start, after the current one."""
        self._folder = folder
        limits = Limits(time_limit=_SECONDS)
        self._pool = DecodePool(Plan(looks=(), stills=STILLS, limits=limits))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.close()

    def frames(self, path: str, video_id: str = "", spot: Spot | None = None) -> list[Still]:
        """A few over the whole length, of the segment where the id names one; none where the file
        cannot be read. Before them the frame of the spot, with its box."""
        segment = segment_of(video_id, path)
        path = unescaped(path)
        places = [Path(path), self._folder / path] if path else []
        place = next((str(place) for place in places if _is_file(place)), None)
        if place is None:
            return []
        name = f"{place}{segment or ''}"
        besides = (spot.frame,) if spot else ()
        (outcome,) = self._pool.run([Job(index=0, id=name, path=place, besides=besides)])
        if outcome.failure is not None or outcome.info is None:
            return []
        info, start = outcome.info, segment.start if segment else 0.0
        numbers = STILLS.numbers(info, besides)
        times = [clock(start + second) for second in seconds_of(info, numbers)]
        images = list(np.asarray(outcome.arrays[SCANNED], np.uint8))
        words = [""] * len(images)
        if spot is not None and len(images) > STILLS.count:
            scale = max(images[0].shape[:2]) / max(info.width, info.height)
            images[0], words[0] = _marked(images[0], spot, scale), "where it looks worst, "
        made = zip(images, times, words, strict=True)
        return [Still(url=jpeg_url(image), at=at, words=said) for image, at, said in made]


def _marked(small_hwc: NDArray[np.uint8], spot: Spot, scale: float) -> NDArray[np.uint8]:
    """A copy of the frame with the box on it; `scale`: of the small frame to the video's."""
    left, top, right, bottom = (round(each * scale) for each in spot.box)
    copy = small_hwc.copy()
    cv2.rectangle(copy, (left, top), (right, bottom), _RED, 2)
    return copy


def _first(mask: NDArray[np.bool_], order: NDArray[np.float64]) -> tuple[int, ...]:
    rows = np.flatnonzero(mask)
    return tuple(rows[np.argsort(order[rows], kind="stable")[:EACH]].tolist())


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # too long, or a null byte
        return False


def _card(scores: Scores, row: int, shown: Shown) -> str:
    found = {name: values[row] for name, values in scores.texts.items()}
    spot = spot_of(scores, row)
    pictures = shown.frames(found.get("path") or found["id"], found["id"], spot)
    strip = "".join(map(_still, pictures))
    strip = strip or "<p>No frames: the file is not here or cannot be read.</p>"
    worst = " worst" if len(pictures) > STILLS.count else ""
    source = f'<span class="source">{text(found["source"])}</span>' if found.get("source") else ""
    return (
        f'<article class="card"><header><bdi class="name">{text(found["id"])}</bdi>{source}'
        f'</header><div class="strip{worst}">{strip}</div><div class="said">'
        f"{_verdict(scores, row, spot)}{_bars(scores, row)}</div>{_nearest(scores, row)}</article>"
    )


def _still(one: Still) -> str:
    return (
        f'<span class="still"><img alt="{text(one.words)}frame at {text(one.at)}" src="{one.url}">'
        f'<span class="at" aria-hidden="true">{text(one.at)}</span></span>'
    )


def spot_of(scores: Scores, row: int) -> Spot | None:
    """Where somebody looks worst, where scores say that."""
    texts = {name: column[row] for name, column in scores.texts.items()}
    return Spot.of(texts | {name: column[row] for name, column in scores.numbers.items()})


def _verdict(scores: Scores, row: int, spot: Spot | None) -> str:
    said = scores.texts["verdict"][row] or "no verdict"
    label = scores.texts.get("label", [""] * len(scores))[row]
    truth = ""
    if label:
        kind, words = "right", "it is" if label == said else "labelled"
        if label != said and said in scores.classes:
            kind, words = "wrong", "but it is labelled"
        truth = f'<p class="{kind}">{words} <b>{text(label)}</b></p>'
    details = []
    if scores.texts.get("set", [""] * len(scores))[row]:
        details.append(f"set: {text(scores.texts['set'][row].replace('|', ', '))}")
    spread = scores.numbers.get("spread")
    if spread is not None and np.nan_to_num(spread).any() and not np.isnan(spread[row]):
        details.append(f"views differ by {percent(float(spread[row]))}%")
    stress = scores.texts.get("stress", [""] * len(scores))[row]
    if stress:
        details.append(f"damaged as on its way: {text(stress)}")
    if scores.copies[row]:
        details.append(f"one of {scores.copies[row]:,.0f} copies")
    if scores.strange[row]:
        details.append("like nothing that was learnt")
    if spot is not None and spot.part:
        details.append(f"looks worst: {text(spot.part)}, frame {spot.frame}")
    more = f'<p class="note">{" · ".join(details)}</p>' if details else ""
    sure = percent(float(scores.confidence[row]))
    return (
        f'<div class="verdict"><p><b>{text(said)}</b> <span class="sure">{sure}%</span></p>'
        f"{truth}{more}</div>"
    )


def _bars(scores: Scores, row: int) -> str:
    lines = "".join(_bar(scores, row, name) for name in scores.classes)
    return f'<dl class="bars">{lines}</dl>'


def _bar(scores: Scores, row: int, name: str) -> str:
    value = float(scores.numbers[f"{PROBABILITY}{name}"][row])
    width = 0.0 if np.isnan(value) else 100 * min(max(value, 0.0), 1.0)
    kind = ' class="chosen"' if name == scores.texts["verdict"][row] else ""
    return (
        f'<div{kind}><dt>{text(name)}</dt><dd><svg viewBox="0 0 100 6" preserveAspectRatio="none" '
        f'aria-hidden="true"><rect width="100" height="6"/><rect class="share" '
        f'width="{width:.2f}" height="6"/></svg><span>{percent(value)}</span></dd></div>'
    )


def _nearest(scores: Scores, row: int) -> str:
    def of(name: str) -> str:
        return scores.texts[name][row] if name in scores.texts else ""

    if not of("nearest_id"):
        return ""
    alike = scores.numbers.get("nearest_similarity", np.full(len(scores), np.nan))[row]
    facts = [text(of("nearest_source"))] if of("nearest_source") else []
    facts += [] if np.isnan(alike) else [f"similarity {alike:.3f}"]
    return (
        f'<p class="nearest">nearest known example <bdi class="name">{text(of("nearest_id"))}</bdi>'
        f" <span>{' · '.join(facts)}</span></p>"
    )
