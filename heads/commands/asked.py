"""What `telltale score` does only where it is asked to: segments, damage, near-duplicates."""

import argparse

from extract.commands.cutting import add_segments_option


def add_more_options(parser: argparse.ArgumentParser) -> None:
    add_segments_option(parser)
    parser.add_argument(
        "--stress", action="store_true",
        help="damage each video in a few ways that happen on the way (JPEG, size, encoding, rate), "
        "score it again, and say `unsure` where the verdict does not outlast them",
    )  # fmt: skip
    parser.add_argument(
        "--groups", action="store_true",
        help="say which rows look like copies of one another, re-encoded or resized (of 4 frames "
        "at the same places, at most 4 of 64 bits differ on average): column `group`, the first "
        "id of each such group",
    )  # fmt: skip


def asked(arguments: argparse.Namespace, protocol: str) -> dict[str, object]:
    """What decides rows and is not asked for in every run."""
    from heads.judging.duplicates import RULE
    from heads.scoring.groups import check_protocol
    from heads.scoring.stress import DAMAGES

    if arguments.groups:
        check_protocol(protocol)
    return {
        "segments": arguments.segments, "stress": list(DAMAGES) if arguments.stress else None,
        "groups": RULE if arguments.groups else None,
    }  # fmt: skip
