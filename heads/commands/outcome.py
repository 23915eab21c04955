"""What `telltale score` says at its end: a screen about one video, a line for each of a few, or the
file where the rows are.
"""

import argparse
from typing import TYPE_CHECKING

from extract.exit_codes import INTERRUPTED, SOME_FAILED

if TYPE_CHECKING:
    from collections.abc import Callable

    from extract.manifest.manifest import Manifest
    from heads.commands.picture import Picture
    from heads.parts.novelty import Drift
    from heads.scoring.archive import Result
    from heads.scoring.meaning import Meaning
    from heads.scoring.output import Output


def one_video(
    arguments: argparse.Namespace,
    meaning: "Meaning",
    output: "Output",
    score: "Callable[[], Result]",
    picture: "Picture | None",
) -> int:
    """One screen about one video, and a picture where one is wanted."""
    from heads.scoring.output import read_scores
    from heads.scoring.screen import screen

    result = score()
    if result.counts is None:
        return end(output, result)
    (row,) = read_scores(output.out).to_pylist()
    if picture is not None:
        picture.check(row)
    print("\n".join(screen(row, meaning)))
    if picture is not None and row["error"] is None:
        print("\n".join(picture.write(row, meaning)))
    return end(output, result) if arguments.out else (SOME_FAILED if row["error"] else 0)


def a_line_each(
    meaning: "Meaning", manifest: "Manifest", output: "Output", result: "Result"
) -> int:
    """The verdicts of a few videos, in their order."""
    from heads.scoring.output import read_scores
    from heads.scoring.screen import papers, verdict

    if result.counts is None:
        return end(output, result)
    rows = {row["id"]: row for row in read_scores(output.out).to_pylist()}
    print("\n".join(verdict(rows[video.id], meaning) for video in manifest.videos))
    print("\n".join(papers(meaning)))
    return SOME_FAILED if result.counts.failed else 0


def end(output: "Output", result: "Result", drift: "Drift | None" = None) -> int:
    """Say what came of it; the exit status."""
    for note in result.notes:
        print(note)
    if result.counts is None:
        print(f"stopped with {result.left} videos left; run the same command again to go on.")
        return INTERRUPTED
    print(f"{output.out}: {result.counts}")
    if drift is not None and drift.enough:
        print(drift.line())
    if output.note:
        print(output.note)
    if output.folder.parent.exists():
        print(f"{output.folder.parent} holds unfinished work of another run of this name.")
    return SOME_FAILED if result.counts.failed else 0
