"""A folder that is watched: files are scored as they come or are replaced, one JSON line each.

A file is taken once its size and time have stood still for a round. Every line names the version
of the file that it is about, so the same command goes on where it was stopped or killed, and a
replaced file gets a new line; the last line of a video counts. A torn last line is dropped and its
video scored again.

With `--segments` a file has a line for each segment, which says the how-manieth of how many it is
(`part`): a file of which lines are missing is scored again.
"""

import argparse
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from time import sleep
from typing import Any

from extract.decoding.containers import Limits
from extract.decoding.cuts import Cutting
from extract.manifest.manifest import Manifest, Video
from extract.manifest.names import escaped
from extract.manifest.scan import scan_videos
from extract.manifest.segments import segment_of
from extract.running.cutting import cut
from extract.running.interrupt import Interrupt
from features_store.claim import claimed
from features_store.outputs import Log, Product
from heads.scoring.archive import VideoRun, score_videos
from heads.scoring.formats import json_line, json_rows, plain_rows
from heads.scoring.handing_on import HandingOn
from heads.scoring.output import Output, about_file, about_text, read_scores
from heads.scoring.rows import Version
from heads.scoring.run import NOTICE, extract_settings, load_branches, runner
from heads.scoring.scorer import Scorer
from heads.scoring.timelines import Timeline, timelines
from heads.scoring.versions import version

PART = "part"
State = dict[str, Version]
Event = Mapping[str, Any] | Timeline | str
"""A row, a file's segments, or something to tell the user."""


class Watch:
    """One folder, and the lines about its videos."""

    def __init__(
        self,
        folder: Path,
        out: Path,
        made_from: Mapping[str, Any],
        about: Mapping[str, Any],
        *,
        overwrite: bool,
        command: str | None = None,
    ) -> None:
        """`about`: what made the lines, for their readers; it stands beside them. `command` gets
        each row."""
        self._next = (
            HandingOn(command, out, made_from, overwrite=overwrite) if command is not None else None
        )
        self.folder = folder
        self._log = Log(out, "score", made_from, overwrite=overwrite)
        self._beside = Product(about_file(out), "score", overwrite=overwrite)
        self._about = about
        self._made_from = made_from
        self._cutting: Cutting | None = None
        self._done: State = {}

    @property
    def count(self) -> int:
        """Videos that have a line."""
        return len(self._done)

    def run(self, arguments: argparse.Namespace, scorer: Scorer, protocol: str) -> Iterator[Event]:
        """Until interrupted, which is the way it ends well; what happens, as it happens."""
        if arguments.segments is not None:
            self._cutting = Cutting.parse(arguments.segments)
            self._cutting.check()
        branches = load_branches(arguments, scorer.bundle)
        settings = extract_settings(arguments, protocol)
        before: State = {}
        with claimed(self._log.path), Interrupt(NOTICE) as interrupt:
            self._done = self._scored()
            if self._next is not None:
                self._next.begin()
                yield from self._next.catch_up(self._log.path)
            run = runner(arguments, interrupt, bar=False)
            there = True
            while not interrupt.asked:
                if self.folder.is_dir() != there:
                    there = not there
                    yield f"{self.folder} is {'there again' if there else 'gone; waiting for it'}"
                now = self._files()
                still = sorted(
                    name for name, which in now.items()
                    if before.get(name) == which and self._done.get(_id(name)) != which
                )  # fmt: skip
                if still:
                    asked = VideoRun(
                        manifest=self._manifest(still, settings.limits),
                        branches=lambda: branches,
                        settings=settings,
                        run=run,
                        stress=arguments.stress,
                        cut=self._cutting is not None,
                    )
                    yield from self._lines(scorer, asked, now)
                before = now
                if not interrupt.asked:
                    sleep(arguments.watch)

    def _manifest(self, names: Sequence[str], limits: Limits) -> Manifest:
        """Of files, or of their segments; one that cannot be cut stays whole."""
        videos = tuple(Video(id=_id(name), path=str(self.folder / name)) for name in names)
        manifest = Manifest(root=self.folder.absolute(), scheme=None, videos=videos)
        return manifest if self._cutting is None else cut(manifest, self._cutting, limits).manifest

    def _lines(self, scorer: Scorer, asked: VideoRun, now: State) -> Iterator[Event]:
        """`now`: the files as they were before they were cut; one that was replaced since comes
        again, and nothing is said of it with another's segments."""
        with tempfile.TemporaryDirectory() as work:
            output = Output(Path(work) / "part.parquet", {})
            if score_videos(scorer, asked, output).counts is None:
                return
            rows = plain_rows(read_scores(output.out))
        if self._cutting is not None:
            cut_as = {escaped(str(self.folder / name)): which for name, which in now.items()}
            rows = list(_counted([row for row in rows if cut_as[row["path"]] == _version(row)]))
        self._log.append("".join(map(json_line, rows)).encode())
        self._done |= _whole(rows)
        yield from (row for row in rows if not _is_part(row))
        yield from timelines(filter(_is_part, rows))
        if self._next is not None:
            for row in rows:
                yield from self._next.hand_on(row)

    def _files(self) -> State:
        found = {}
        for path in scan_videos(os.fspath(self.folder)):
            if os.path.isfile(path):  # noqa: PTH113, a name may be any bytes
                found[os.path.relpath(path, self.folder)] = version(path)
        return found

    def _scored(self) -> State:
        """Ids that have a line, and of which version."""
        self._log.begin()
        if not self._beside.check(self._made_from):
            self._beside.write([about_text(self._about)], self._made_from)
        return _whole(json_rows(self._log.path))


def _counted(rows: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Each with its place among the rows of its file."""
    for _, same in groupby(rows, lambda row: row["path"]):
        mine = list(same)
        for place, row in enumerate(mine, 1):
            yield {**row, PART: f"{place}/{len(mine)}"}


def _whole(rows: Iterable[Mapping[str, Any]]) -> State:
    """Files of which no line is missing: id → the version that the last of them are about."""
    found: State = {}
    seen: dict[tuple[str, Version], set[str]] = {}
    for row in rows:
        name = row["id"].rpartition("#t=")[0] if _is_part(row) else row["id"]
        which = _version(row)
        part = row.get(PART, "1/1")
        parts = seen.setdefault((name, which), set())
        parts.add(part)
        if len(parts) == int(part.rpartition("/")[2]):
            found[name] = which
    return found


def _version(row: Mapping[str, Any]) -> Version:
    return row["size"], row["modified"]


def _is_part(row: Mapping[str, Any]) -> bool:
    return segment_of(row["id"], row["path"]) is not None


def _id(name: str) -> str:
    return escaped(name.replace(os.sep, "/"))
