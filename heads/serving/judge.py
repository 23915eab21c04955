"""The judge: a bundle, its networks in memory, and one file after another.

Rows are made by the very functions that `telltale score` calls, so they have the same numbers.
"""

import argparse
import hashlib
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from extract.decoding.cuts import Cutting
from extract.decoding.spare import Spare
from extract.errors import is_temporary
from extract.manifest.manifest import Manifest, Video
from extract.running.cutting import cut
from extract.running.extraction import Extraction
from extract.running.summary import Report
from heads.bundle import Bundle
from heads.scoring import run as running
from heads.scoring.about import plan
from heads.scoring.archive import VideoRun, score_videos
from heads.scoring.formats import plain_rows
from heads.scoring.output import Output, read_scores
from heads.scoring.scorer import Scorer
from heads.scoring.stress import DAMAGES
from heads.serving.answer import Looked, Row, answered
from heads.serving.messages import (
    WHOLE,
    Answer,
    Identity,
    Progress,
    Task,
    Tell,
    Unfinished,
    Unscorable,
    stamp_of,
)
from heads.serving.naming import NAME
from heads.shipped.places import bundle_folder


class BundleJudge:
    """One bundle, by the options of `telltale serve`."""

    def __init__(self, arguments: argparse.Namespace, work: Path) -> None:
        """`work`: a folder for what comes and goes."""
        self._arguments = arguments
        self._folder = bundle_folder(arguments.bundle)
        self._work = work
        self._identity: Identity | None = None
        if arguments.segments:
            Cutting.parse(arguments.segments).check()
        self._spare = Spare()
        self.identity()
        self._spare.start()

    def identity(self) -> Identity:
        stamp = stamp_of(self._folder)
        if self._identity is None or self._identity.stamp != stamp:
            self._identity = None
            self._bundle = Bundle.load(self._arguments.bundle)
            self._branches = running.load_branches(self._arguments, self._bundle)
            self._settings = running.extract_settings(
                self._arguments, self._bundle.scoring_protocol
            )
            plan_of_all = self._plan(Scorer(bundle=self._bundle), WHOLE)
            text = json.dumps(plan_of_all, sort_keys=True, default=str)
            self._identity = Identity(
                key=hashlib.sha256(text.encode()).hexdigest(), bundle=self._bundle.content,
                stamp=stamp,
            )  # fmt: skip
        return self._identity

    def judge(self, task: Task, tell: Tell) -> Answer:
        identity = self.identity()
        with self._spare.used():
            return self._answer(task, tell, identity.key)

    def _answer(self, task: Task, tell: Tell, key: str) -> Answer:
        """By one decode worker that looks at this file alone; another where the file breaks it."""
        video = Video(id=task.id, path=task.path)
        manifest = Manifest(root=Path(task.root), scheme=None, videos=(video,))
        manifest = self._cut(manifest, task.segments, tell)
        scorer = Scorer(bundle=self._bundle)
        rows = self._rows(scorer, manifest, tell)
        _check(rows)
        rows = [row | {"id": NAME + row["id"].removeprefix(task.id)} for row in rows]
        looked = Looked(
            bundle=self._bundle, branches=self._branches, settings=self._settings, scorer=scorer,
            plan=self._plan(scorer, task.segments), name=self._folder.name, id=task.id,
            manifest=manifest, rows=rows, tell=tell,
        )  # fmt: skip
        return answered(looked, key)

    def close(self) -> None:
        """The worker that waits for the next file ends; it would end with this process too."""
        self._spare.close()

    def _plan(self, scorer: Scorer, segments: str) -> dict[str, Any]:
        stress = list(DAMAGES) if self._arguments.stress else None
        return plan(
            scorer, self._bundle.scoring_protocol, "telltale serve", None,
            segments=None if segments == WHOLE else segments, stress=stress,
        )  # fmt: skip

    def _cut(self, manifest: Manifest, segments: str, tell: Tell) -> Manifest:
        if segments == WHOLE:
            return manifest
        tell(Progress(step="cutting"))
        return cut(manifest, Cutting.parse(segments), self._settings.limits).manifest

    def _rows(self, scorer: Scorer, manifest: Manifest, tell: Tell) -> list[dict[str, Any]]:
        total = len(manifest.videos)
        tell(Progress(step="looking", of=total))

        def run(extraction: Extraction) -> bool:
            done = 0

            def count(report: Report) -> None:
                nonlocal done
                done += report.ok + len(report.failures)
                tell(Progress(step="looking", done=done, of=total))

            workers = self._arguments.workers
            return not extraction.run(workers=workers, bar=False, tell=count).stopped

        videos = VideoRun(
            manifest=manifest, branches=lambda: self._branches, settings=self._settings, run=run,
            cut=any(video.segment for video in manifest.videos), stress=self._arguments.stress,
        )  # fmt: skip
        with tempfile.TemporaryDirectory(dir=self._work) as work:
            output = Output(Path(work) / "rows.parquet", {})
            score_videos(scorer, videos, output)
            return plain_rows(read_scores(output.out))


def _check(rows: Sequence[Row]) -> None:
    """A file of which nothing could be scored has failed, for the first reason."""
    errors = [str(row["error"]) for row in rows if row["error"]]
    if len(errors) < len(rows):
        return
    if is_temporary(errors[0]):
        raise Unfinished(errors[0])
    raise Unscorable(errors[0])
