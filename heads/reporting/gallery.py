"""Videos worth a look: the surest, the most wrong, the least sure, with frames and probabilities.

Frames are decoded here, from the files that the scores name; a file that has moved or broken costs
its frames, never the report.
"""

import base64
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from extract.decoding.video import open_video
from extract.errors import ExtractError
from extract.manifest.names import unescaped
from extract.manifest.segments import segment_of
from heads.measuring.metrics import REAL
from heads.reporting.parts import percent, text
from heads.reporting.scores import PROBABILITY, Scores

FRAMES, LONG_SIDE, EACH = 8, 176, 4
_QUALITY = 80
_RED = (208, 48, 48)
_FAR_AWAY = 2**20
"""Pixels; no frame is so large."""
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
    for group in found:
        cards = []
        for row in group.rows:
            cards.append(_card(scores, row, folder))
            done()
        parts.append(
            f'<h3>{text(group.title)}</h3><p class="note">{text(group.about)}</p>'
            f'<div class="cards">{"".join(cards)}</div>'
        )
    return "".join(parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spot:
    """Where something looks worst, as scores say it."""

    frame: int
    box: tuple[int, int, int, int]

    @staticmethod
    def of(scores: Scores, row: int) -> "Spot | None":
        """None where scores do not say it, or what they say is no box."""
        boxes, numbers = scores.texts.get("worst_box"), scores.numbers.get("worst_frame")
        if boxes is None or numbers is None or not numbers[row] >= 0:
            return None
        try:
            left, top, right, bottom = (round(float(each)) for each in boxes[row].split())
        except (ValueError, OverflowError):
            return None
        if max(map(abs, (left, top, right, bottom))) > _FAR_AWAY:
            return None
        return Spot(frame=int(numbers[row]), box=(left, top, right, bottom))

    def drawn(self, image_hwc: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """A copy of the frame, with the box on it as thick as is seen when it is small."""
        left, top, right, bottom = self.box
        copy = image_hwc.copy()
        thick = max(1, round(2 * max(copy.shape[:2]) / LONG_SIDE))
        cv2.rectangle(copy, (left, top), (right, bottom), _RED, thick)
        return copy


def frames(path: str, folder: Path, video_id: str = "", spot: Spot | None = None) -> list[str]:
    """Eight frames over the whole length, of the segment where the id names one, as JPEG data URLs;
    none where the file cannot be read. Before them the frame of the spot, with its box."""
    segment = segment_of(video_id, path)
    path = unescaped(path)
    places = [Path(path), folder / path] if path else []
    place = next((place for place in places if _is_file(place)), None)
    if place is None:
        return []
    try:
        with open_video(str(place), reread=segment is not None) as video:
            shown = segment.frames(video.times) if segment else range(video.info.frames)
            numbers = np.linspace(shown[0], shown[-1], FRAMES).astype(int).tolist()
            worst = [] if spot is None else list(shown[spot.frame :][:1])
            images = video.read([*numbers, *worst])
            pictures = [images[number] for number in numbers]
            if spot is not None:
                pictures = [*(spot.drawn(images[number]) for number in worst), *pictures]
            return [_jpeg(picture) for picture in pictures]
    except (ExtractError, KeyError):
        return []


def _first(mask: NDArray[np.bool_], order: NDArray[np.float64]) -> tuple[int, ...]:
    rows = np.flatnonzero(mask)
    return tuple(rows[np.argsort(order[rows], kind="stable")[:EACH]].tolist())


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # too long, or a null byte
        return False


def _jpeg(image_hwc: NDArray[np.uint8]) -> str:
    height, width = image_hwc.shape[:2]
    scale = min(1.0, LONG_SIDE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(image_hwc, size, interpolation=cv2.INTER_AREA)
    _, encoded = cv2.imencode(".jpg", small[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    return f"data:image/jpeg;base64,{base64.b64encode(encoded.tobytes()).decode()}"


def _card(scores: Scores, row: int, folder: Path) -> str:
    found = {name: values[row] for name, values in scores.texts.items()}
    spot = Spot.of(scores, row)
    pictures = frames(found.get("path") or found["id"], folder, found["id"], spot)
    strip = "".join(f'<img alt="" src="{one}">' for one in pictures)
    strip = strip or "<p>No frames: the file is not here or cannot be read.</p>"
    source = f'<span class="source">{text(found["source"])}</span>' if found.get("source") else ""
    return (
        f'<article class="card"><header><bdi class="name">{text(found["id"])}</bdi>{source}'
        f'</header><div class="strip">{strip}</div><div class="said">{_verdict(scores, row)}'
        f"{_bars(scores, row)}</div>{_nearest(scores, row)}</article>"
    )


def _verdict(scores: Scores, row: int) -> str:
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
    if Spot.of(scores, row) is not None and scores.texts.get("worst_part", [""] * len(scores))[row]:
        frame = int(scores.numbers["worst_frame"][row])
        details.append(f"looks worst: {text(scores.texts['worst_part'][row])}, frame {frame}")
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
