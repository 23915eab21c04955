"""What `telltale score` does where rows are segments: their scores, and each video's from them."""

import argparse
from typing import TYPE_CHECKING

from heads.commands.outcome import end

if TYPE_CHECKING:
    from heads.commands.picture import Picture
    from heads.parts.novelty import Drift
    from heads.scoring.archive import Result
    from heads.scoring.meaning import Meaning
    from heads.scoring.output import Output
    from heads.scoring.timelines import Timeline

_SHOWN = 20
"""Time lines that fit a screen."""


def say_segments(
    arguments: argparse.Namespace,
    output: "Output",
    result: "Result",
    meaning: "Meaning",
    picture: "Picture | None",
    drift: "Drift | None",
) -> int:
    """To the screen, and where rows go to a file into a second one, a row for each video."""
    import itertools

    from features_store.outputs import Product
    from heads.scoring.screen import papers
    from heads.scoring.timelines import timelines_of, videos_file, write_videos

    if result.counts is None:
        return end(output, result)
    if arguments.out is not None:
        place = videos_file(output.out)
        product = Product(place, "score", overwrite=arguments.overwrite)
        count = write_videos(output.out, product, {"scores": output.out.name})
        print(f"{place}: {count} videos that were cut")
    shown = itertools.islice(timelines_of(output.out), _SHOWN)
    for timeline in shown:
        print("\n".join(said_of(timeline, meaning)))
    if picture is not None:
        print("\n".join(_explained(output, meaning, picture)))
    if arguments.out is not None:
        return end(output, result, drift)
    print("\n".join(papers(meaning)))
    return 3 if result.counts.failed else 0


def said_of(timeline: "Timeline", meaning: "Meaning") -> list[str]:
    """A video's verdict, and its chapters; nothing of what random networks say."""
    from heads.scoring.screen import NO_VERDICT

    return [f"{timeline.id}: {NO_VERDICT}"] if meaning.no_verdict else timeline.lines()


def _explained(output: "Output", meaning: "Meaning", picture: "Picture") -> list[str]:
    """Of the one video's worst segment, with the video's time line."""
    from heads.scoring.meaning import rows_of
    from heads.scoring.timelines import timelines_of

    timeline = next(timelines_of(output.out))
    if timeline.worst is None:
        return ["no segment could be scored: there is nothing to explain"]
    (row,) = rows_of(output.out, [f"{timeline.id}{timeline.worst.segment}"])
    picture.check(row)
    return picture.write(row, meaning, timeline)
