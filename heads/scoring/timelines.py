"""A long video's verdict from those of its segments: the worst, how much of it, since when.

A segment counts as generated where the operating point flags it; without one where its likeliest
class is not `real`. Rows of one file stand together, as `--segments` and `telltale manifest cut`
put them, so a file of scores is read once and memory stays flat.
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from extract.decoding.info import VideoInfo
from extract.manifest.segments import Segment, segment_of
from features_store.outputs import MadeFrom, Product
from heads.measuring.metrics import REAL
from heads.scoring.formats import Block, plain_rows, read_blocks, write_blocks
from heads.scoring.rows import NOTHING

FAILED = "failed"
"""In the place of a verdict."""
_VIDEOS_A_BLOCK = 1024
_SCHEMA = pa.schema(
    [
        ("id", pa.string()), ("path", pa.string()), ("segments", pa.int64()),
        ("failed", pa.int64()), ("seconds", pa.float64()), ("verdict", pa.string()),
        ("forgery", pa.float64()), ("worst", pa.string()), ("share", pa.float64()),
        ("first", pa.float64()), ("chapters", pa.string()),
    ]
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A stretch of a video, and what was said of it."""

    segment: Segment
    verdict: str
    forgery: float | None
    generated: bool

    @property
    def seconds(self) -> float:
        return self.segment.end - self.segment.start


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """One video, from its first segment to its last."""

    id: str
    path: str
    spans: Sequence[Span]

    @property
    def worst(self) -> Span | None:
        """The segment that is most probably generated; None where none could be scored."""
        scored = [span for span in self.spans if span.forgery is not None]
        return max(scored, key=lambda span: span.forgery or 0.0, default=None)

    @property
    def verdict(self) -> str:
        """The worst's where any segment counts as generated."""
        if self.worst is None:
            return next((s.verdict for s in self.spans if s.verdict != FAILED), FAILED)
        generated = [span for span in self.spans if span.generated]
        worst = max(generated, key=lambda span: span.forgery or 0.0, default=None)
        return REAL if worst is None else worst.verdict

    @property
    def share(self) -> float | None:
        """Of the seconds that were scored, those that count as generated."""
        scored = sum(span.seconds for span in self.spans if span.forgery is not None)
        return sum(s.seconds for s in self.spans if s.generated) / scored if scored else None

    @property
    def first(self) -> float | None:
        """When the first generated segment begins."""
        return next((span.segment.start for span in self.spans if span.generated), None)

    @property
    def chapters(self) -> list[tuple[Segment, str]]:
        """Neighbours of one verdict as one."""
        found = []
        for verdict, spans in itertools.groupby(self.spans, lambda span: span.verdict):
            same = list(spans)
            whole = Segment(start=same[0].segment.start, end=same[-1].segment.end)
            found.append((whole, verdict))
        return found

    def row(self) -> dict[str, Any]:
        """As a file has it."""
        worst = self.worst
        return {
            "id": self.id, "path": self.path, "segments": len(self.spans),
            "failed": sum(span.verdict == FAILED for span in self.spans),
            "seconds": sum(span.seconds for span in self.spans), "verdict": self.verdict,
            "forgery": None if worst is None else worst.forgery,
            "worst": None if worst is None else f"{self.id}{worst.segment}",
            "share": self.share, "first": self.first,
            "chapters": "; ".join(f"{clock(s.start)} {verdict}" for s, verdict in self.chapters),
        }  # fmt: skip

    def lines(self) -> list[str]:
        """On a screen."""
        worst, share = self.worst, self.share
        if worst is None or share is None:
            return [f"{self.id}: {self.verdict} in all {len(self.spans)} segments"]
        first = "" if self.first is None else f", first at {clock(self.first)}"
        length = clock(sum(span.seconds for span in self.spans))
        lines = [
            f"{self.id}: {self.verdict}; {share:.1%} of {length} counts as generated{first}; "
            f"worst at {clock(worst.segment.start)} ({worst.forgery:.0%} generated)"
        ]
        return lines + [
            f"  {clock(chapter.start):>8} to {clock(chapter.end):>8}  {verdict}"
            for chapter, verdict in self.chapters
        ]


def timelines(rows: Iterable[Mapping[str, Any]]) -> Iterator[Timeline]:
    """Of rows that are segments; others are left out."""
    cut = ((segment_of(row["id"], row["path"]), row) for row in rows)
    segments = ((segment, row) for segment, row in cut if segment is not None)
    for path, same in itertools.groupby(segments, lambda one: one[1]["path"]):
        spans, name = [], ""
        for segment, row in same:
            name = str(row["id"]).rpartition("#t=")[0]
            spans.append(_span(segment, row))
        spans.sort(key=lambda span: span.segment)
        yield Timeline(id=name, path=path, spans=spans)


def timelines_of(out: Path) -> Iterator[Timeline]:
    """Of a file of scores."""
    return timelines(row for block in read_blocks(out) for row in plain_rows(block))


def videos_file(out: Path) -> Path:
    """Beside the segments' scores: a row for each video."""
    return out.with_name(f"{out.stem}.videos{out.suffix}")


def write_videos(out: Path, product: Product, made_from: MadeFrom) -> int:
    """A row for each video that was cut; how many there are."""
    draft = product.path.with_name(f".{product.path.stem}.draft{product.path.suffix}")
    try:
        counts = write_blocks(draft, _blocks(timelines_of(out)), {})
        product.publish([draft], made_from)
    finally:
        draft.unlink(missing_ok=True)
    return counts.rows


def clock(seconds: float) -> str:
    """As players show it: 0:05, 1:02:03; tenths where there are any."""
    tenths = round(10 * seconds)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    text = f"{rest // 10:02}" + (f".{rest % 10}" if rest % 10 else "")
    return f"{hours}:{minutes:02}:{text}" if hours else f"{minutes}:{text}"


def seconds_of(info: VideoInfo, numbers: Iterable[int]) -> list[float]:
    """When frames of a video or a segment are shown, from its first one."""
    rate = info.frames / info.duration if info.duration > 0 else info.fps
    return [number / rate for number in numbers]


def _span(segment: Segment, row: Mapping[str, Any]) -> Span:
    flagged, verdict = row.get("flagged"), row["verdict"]
    there = row["confidence"] is not None
    generated = bool(flagged) if flagged is not None else there and verdict != REAL
    share = row["forgery"] if row["forgery"] is not None else row["confidence"]
    return Span(
        segment=segment, verdict=FAILED if row["error"] else str(verdict or NOTHING),
        forgery=share if there else None, generated=generated,
    )  # fmt: skip


def _blocks(found: Iterator[Timeline]) -> Iterator[Block]:
    while rows := [one.row() for one in itertools.islice(found, _VIDEOS_A_BLOCK)]:
        yield pa.Table.from_pylist(rows, schema=_SCHEMA)
