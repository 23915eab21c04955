"""`telltale label`. Mounted by `heads.cli`."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from extract.labelling import Labelled
    from extract.prior_scores import Curves

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

SOME_FAILED = 3


def add_commands(commands: "Commands") -> None:
    """Add the command to the `telltale` parser."""
    parser = commands.add_parser(
        "label",
        help="label, rank and split raw videos of generators, as HFV was made",
        description="Scores every video for three anomalies without any weights, ranks them "
        "inside each generator, and writes HFV's layout with a review page. The spatial score is "
        "a weak stand-in: review the labels by hand, then give the page's CSV to --apply. Exit "
        "status: 0 all ok, 3 some videos failed, 1 nothing could be done.",
    )
    parser.add_argument("folders", nargs="*", type=Path, metavar="FOLDER", help="one a generator")
    parser.add_argument("--real", action="append", type=Path, default=[], metavar="FOLDER",
                        help="real videos; may be given again")  # fmt: skip
    parser.add_argument("--out", required=True, type=Path, help="the labelled data set's folder")
    parser.add_argument("--store", type=Path, help="of the scores (default: OUT/priors.zarr)")
    parser.add_argument("--seed", type=int, help="of the real videos' split (default: 0)")
    parser.add_argument("--workers", type=int, help="decode processes (default: one a core, ≤ 16)")
    parser.add_argument("--apply", type=Path, metavar="CSV", help="decisions of the review page")
    parser.set_defaults(run=_label)


def _label(arguments: argparse.Namespace) -> int:
    from extract.errors import BadSetting

    folders = [*arguments.folders, *arguments.real]
    if arguments.apply is not None:
        if folders or arguments.store is not None or arguments.seed is not None:
            raise BadSetting(
                "--apply changes the labels of a folder that is there: give --out and --apply only."
            )
        return _apply(arguments)
    if not folders:
        raise BadSetting("Nothing to label; give the folder of a generator's videos.")
    return _from_folders(arguments, folders)


def _from_folders(arguments: argparse.Namespace, folders: "Sequence[Path]") -> int:
    from extract.label_folder import SCORES_FILE, gather, read_scores, write_folder
    from extract.labelling import Scored, label_videos
    from extract.prior_scores import score_videos

    out: Path = arguments.out
    manifest = gather(folders, out)
    found = score_videos(manifest, arguments.store or out / "priors.zarr",
                         workers=arguments.workers)  # fmt: skip
    real = {folder.resolve().name for folder in arguments.real}
    scored = [
        Scored(id=video.id, source=video.source, scores=found.scores[video.id],
               real=video.source in real)
        for video in manifest.videos
        if video.id in found.scores
    ]  # fmt: skip
    known = {video.id for video in scored}
    before = read_scores(out)[1] if (out / SCORES_FILE).exists() else {}
    decisions = {video_id: label for video_id, label in before.items() if video_id in known}
    seed = arguments.seed or 0
    labelled = label_videos(scored, decisions, seed=seed)
    provenance = {
        "made_by": "telltale label",
        "seed": seed,
        "scorers": found.scorers,
        "sources": {folder.resolve().name: "real" if folder.resolve().name in real else "generated"
                    for folder in folders},
        "failed": dict(found.failures),
    }  # fmt: skip
    write_folder(out, labelled, provenance)
    _write_review(out, labelled, found.curves)
    _report(out, labelled)
    for video_id, reason in found.failures.items():
        print(f"failed  {video_id}: {reason}")
    return SOME_FAILED if found.failures else 0


def _apply(arguments: argparse.Namespace) -> int:
    import json

    from extract.label_folder import PROVENANCE_FILE, read_decisions, read_scores, write_folder
    from extract.labelling import label_videos
    from extract.review import read_curves

    out: Path = arguments.out
    videos, before = read_scores(out)
    new = read_decisions(arguments.apply, (video.id for video in videos))
    provenance = json.loads((out / PROVENANCE_FILE).read_text(encoding="utf-8"))
    labelled = label_videos(videos, {**before, **new}, seed=int(provenance["seed"]))
    write_folder(out, labelled, provenance)
    _write_review(out, labelled, read_curves(out))
    changed = sum(each.decided and each.label != each.proposed for each in labelled)
    print(f"{len(new)} decisions read; {changed} labels differ from what was proposed")
    _report(out, labelled)
    return 0


def _write_review(
    out: Path, labelled: "Sequence[Labelled]", curves: "Mapping[str, Curves]"
) -> None:
    from extract.label_folder import write_text
    from extract.review import REVIEW_FILE, review_page

    write_text(out / REVIEW_FILE, review_page(labelled, curves))


def _report(out: Path, labelled: "Sequence[Labelled]") -> None:
    from collections import Counter

    from extract.review import REVIEW_FILE

    counts = Counter((each.label, each.split) for each in labelled)
    for label in sorted({label for label, _ in counts}):
        print(f"{label:11} {counts[label, 'train']:6} train {counts[label, 'val']:6} val")
    several = sum(len(each.anomalies) > 1 for each in labelled)
    ties = sum(each.tie for each in labelled)
    print(f"{ties} ties, {several} with several anomalies; look at {out / REVIEW_FILE}")
