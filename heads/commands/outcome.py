"""What `telltale score` says at its end: a screen about one video, a line for each of a few, or the
file where the rows are.
"""

import argparse
from typing import TYPE_CHECKING

from extract.exit_codes import INTERRUPTED, SOME_FAILED

if TYPE_CHECKING:
    from collections.abc import Callable

    from extract.manifest.manifest import Manifest
    from heads.parts.novelty import Drift
    from heads.scoring.archive import Result
    from heads.scoring.meaning import Meaning
    from heads.scoring.output import Output
    from heads.scoring.scorer import Scorer


def one_video(
    arguments: argparse.Namespace,
    scorer: "Scorer",
    manifest: "Manifest",
    protocol: str,
    output: "Output",
    score: "Callable[[], Result]",
) -> int:
    """One screen about one video, and a picture where one is wanted."""
    from features_store.outputs import Product
    from heads.scoring.meaning import Meaning
    from heads.scoring.output import read_scores
    from heads.scoring.run import extract_settings, load_branches
    from heads.scoring.screen import caption, screen

    meaning = Meaning.of(scorer.bundle, arguments.bundle.name)
    picture = None
    if arguments.explain is not None:
        from heads.scoring.explain import check_picture, explain  # brings matplotlib

        check_picture(arguments.explain)
        picture = Product(arguments.explain, "score", overwrite=arguments.overwrite)
    result = score()
    if result.counts is None:
        return end(output, result)
    (row,) = read_scores(output.out).to_pylist()
    made_from = {"video": [row["path"], row["size"], row["modified"]], "protocol": protocol,
                 "bundle": scorer.bundle.content}  # fmt: skip
    if picture is not None:
        picture.check(made_from)
    print("\n".join(screen(row, meaning)))
    if picture is not None and row["error"] is None:
        branches = load_branches(arguments, scorer.bundle)
        settings, kind = extract_settings(arguments, protocol), picture.path.suffix[1:]
        said = explain(scorer.bundle, branches, manifest, settings, caption(row, meaning), kind)
        picture.write([said.picture], made_from)
        print("\n".join([*said.lines, f"  picture: {picture.path}"]))
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
