"""`telltale people`. Mounted by `heads.commands.main`."""

import argparse
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from extract.commands.data import add_limit_options, add_manifest_options, add_overwrite_option
from extract.exit_codes import INTERRUPTED, SOME_FAILED

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from extract.people.search import Source

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

NOTICE = "telltale: finishing a video; run the same command again to go on."


def add_commands(commands: "Commands") -> None:
    """Add the command to the `telltale` parser."""
    parser = commands.add_parser(
        "people",
        help="find persons, faces and hands, for branches that look at them",
        description="Looks in every frame, or every K-th, and writes one file of boxes that "
        "branches read (?boxes=FILE). The same command goes on where it was interrupted, and adds "
        "new videos. Detectors: yolo-world:FOLDER (persons.onnx and parts.onnx, exported by you; "
        "extra people), owlv2:FOLDER or grounding-dino:FOLDER (Hugging Face folders; extra "
        "priors), mtcnn or mtcnn:FOLDER "
        "(faces with five points), made-up (the true boxes of a set that `telltale synth` made). "
        "Exit status: 0 all ok, 3 some videos failed, 1 nothing could be done, 130 interrupted.",
    )
    add_manifest_options(parser)
    parser.add_argument(
        "--detector", required=True, metavar="NAME[:PATH][?SETTINGS]",
        help="who looks: yolo-world:FOLDER, owlv2:FOLDER?threshold=0.2, "
        "grounding-dino:FOLDER, mtcnn, made-up",
    )  # fmt: skip
    parser.add_argument("--out", required=True, type=Path, help="the file of boxes, .parquet")
    parser.add_argument(
        "--every", type=int, default=1, metavar="K", help="look in every K-th frame (default: 1)"
    )
    parser.add_argument(
        "--device", default="auto", help="of the networks: cpu, cuda or cuda:1 (default: a GPU if "
        "there is one)",
    )  # fmt: skip
    add_limit_options(parser)
    add_overwrite_option(parser)
    parser.set_defaults(run=_people)


def _people(arguments: argparse.Namespace) -> int:
    from tqdm import tqdm

    from extract.commands.data import read
    from extract.errors import BadSetting
    from extract.people.search import search
    from extract.running.failures import write_failures
    from extract.running.interrupt import Interrupt

    if arguments.out.suffix != ".parquet":
        raise BadSetting(f"--out {arguments.out.name}: end it in .parquet.")
    if arguments.every < 1:
        raise BadSetting(f"--every {arguments.every}: give 1 or more.")
    manifest = read(arguments)
    videos = [(video.id, video.path) for video in manifest.videos]
    with (
        _source(arguments, str(manifest.root)) as source,
        Interrupt(NOTICE) as interrupt,
        tqdm(total=len(videos), unit="video", disable=None) as progress,
    ):
        found = search(
            source, videos, arguments.out, overwrite=arguments.overwrite,
            told=progress.update, stop=lambda: interrupt.asked,
        )  # fmt: skip
    if found.stopped:
        return INTERRUPTED
    print(
        f"boxes: {arguments.out} ({found.boxes} boxes in {found.found} videos, {found.looked} of "
        f"them looked at now, by {source.identity.name})"
    )
    failures = arguments.out.with_name(f"{arguments.out.name}.failures.csv")
    failures.unlink(missing_ok=True)
    if found.failures:
        write_failures(failures, found.failures)
        print(f"{len(found.failures)} videos have no boxes: {failures}")
    return SOME_FAILED if found.failures else 0


def _source(arguments: argparse.Namespace, root: str) -> "AbstractContextManager[Source]":
    from extract.commands.data import limits
    from extract.commands.extract import device_names
    from extract.decoding.scanning import Scan
    from extract.people.detector import DetectorRequest, load_detector
    from extract.people.search import Looking
    from extract.synthesis.true_boxes import NAME, true_boxes

    if arguments.detector == NAME:
        return nullcontext(true_boxes(Path(arguments.manifest), arguments.every))
    device = device_names(arguments.device)[0]
    detector = load_detector(DetectorRequest.parse(arguments.detector, device))
    return Looking(detector, Scan(every=arguments.every), limits=limits(arguments), root=root)
