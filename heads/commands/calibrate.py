"""`telltale calibrate` and `ensemble`: a bundle's promises, and bundles put together."""

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from extract.commands.data import add_limit_options, add_overwrite_option
from heads.commands.device import DEVICE_HELP, one_device

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from features_store import Store
    from heads.bundle import Bundle

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]


def add_commands(commands: "Commands") -> None:
    """Add this module's commands to the `telltale` parser."""
    parser = commands.add_parser(
        "calibrate",
        help="give a bundle promises from videos of your own",
        description="With --reals and --fpr: a threshold that so few of your own real videos "
        "pass. With --store and --on: temperature and sets of classes with a promised error rate, "
        "from labelled videos. Neither takes videos that the bundle learnt from or was decided by.",
    )
    parser.add_argument("bundle", type=Path)
    parser.add_argument(
        "--reals", help="a store (its videos labelled real), a folder or manifest of real videos, "
        "or the scores of such as `telltale score` with this bundle wrote them",
    )  # fmt: skip
    parser.add_argument("--fpr", type=float, default=0.01, help="false alarms (default: 0.01)")
    parser.add_argument("--store", help="labelled videos, with --on")
    parser.add_argument("--on", metavar="SPLIT", help="of that store; `all` for every video")
    parser.add_argument("--out", type=Path, help="write the bundle here (default: in its place)")
    add_overwrite_option(parser)
    parser.add_argument("--protocol", help="default: the bundle's own, val for a training one")
    parser.add_argument("--weights", type=Path, action="append", default=[],
                        help="file or folder with the branches' weights; repeatable")  # fmt: skip
    parser.add_argument(
        "--branch", action="append", help="NAME=PRESET:WEIGHTS, instead of --weights"
    )
    parser.add_argument("--scheme", help="of labels in the folder or manifest of reals: hfv4, …")
    parser.add_argument("--root", type=Path, help="where the paths in a manifest start")
    parser.add_argument("--device", default="auto", help=DEVICE_HELP)
    parser.add_argument("--workers", type=int, help="decode processes")
    add_limit_options(parser)
    parser.set_defaults(run=_calibrate)
    ensemble = commands.add_parser(
        "ensemble",
        help="put bundles together: their probabilities are averaged",
        description="Bundles of the same classes and features, each with its own temperature. The "
        "new one has no calibration until `telltale calibrate` gives it one.",
    )
    ensemble.add_argument("bundles", type=Path, nargs="+")
    ensemble.add_argument("--out", type=Path, required=True, help="the new bundle's folder")
    add_overwrite_option(ensemble)
    ensemble.set_defaults(run=_ensemble)


def _calibrate(arguments: argparse.Namespace) -> int:
    from features_store import Store
    from heads.bundle import Bundle
    from heads.errors import BadSetting
    from heads.parts.model_card import calibration_line

    arguments.device = one_device(arguments.device)
    bundle = Bundle.load(arguments.bundle)
    if (arguments.on is None) != (arguments.store is None):
        raise BadSetting("--store and --on belong together: --store hfv.zarr --on test.")
    if arguments.on is None and arguments.reals is None:
        raise BadSetting("Give --reals STORE|FOLDER for a threshold, or --store STORE --on SPLIT.")
    elsewhere = arguments.out not in (None, arguments.bundle)
    record = _record(arguments, "calibrate", [bundle]) if elsewhere else None
    if arguments.on is not None:
        store = Store.open(arguments.store)
        bundle = calibrated_on(bundle, store, arguments.on, arguments.protocol)
        print(calibration_line(bundle.about))
    if arguments.reals is not None:
        bundle = _with_point(arguments, bundle)
    bundle.save(arguments.out or arguments.bundle, record)
    print(f"bundle: {arguments.out or arguments.bundle}")
    return 0


def calibrated_on(
    bundle: "Bundle", store: "Store", where: str, protocol: str | None = None
) -> "Bundle":
    """By the labelled videos of a split, or of another store; those that the bundle learnt from or
    was decided by are left out, and it says so."""
    from heads.data.splits import split_or_store
    from heads.functions import split_table
    from heads.judging.papers import calibrated, check_calibrating

    store, where = split_or_store(store, where)
    table = split_table(bundle, store, protocol, where)
    ids = table.ids.tolist()
    new = check_calibrating(bundle.rows, bundle.classes, ids, table.classes, where)
    say_left_out(int((~new).sum()))
    table = table.take(new)
    probabilities = bundle.head.predict(table)
    what = f"split {where} of {store.place.name}"
    labels = table.labels.astype("int64")
    return calibrated(bundle, probabilities, labels, table.ids.tolist(), what)


def say_left_out(count: int) -> None:
    """Of videos that were to calibrate."""
    if count:
        print(f"left out: {count} videos that the bundle learnt from or was decided by")


def _with_point(arguments: argparse.Namespace, bundle: "Bundle") -> "Bundle":
    """With a threshold more, which counts from now on."""
    from dataclasses import replace

    from heads.judging.papers import operating_point

    forgeries, ids = _reals(arguments, bundle)
    new = ~bundle.rows.knows(ids)
    say_left_out(int((~new).sum()))
    point = operating_point(forgeries[new], arguments.fpr, str(arguments.reals))
    print(point)
    about = replace(bundle.about, operating=[*bundle.about.operating, point.to_json()])
    kept = [name for name, keep in zip(ids, new, strict=True) if keep]
    return replace(bundle, about=about, rows=bundle.rows.joined(calibrated=kept))


def _reals(
    arguments: argparse.Namespace, bundle: "Bundle"
) -> "tuple[NDArray[np.floating], list[str]]":
    """What the bundle says of them, and their ids."""
    from features_store import Store
    from heads.errors import BadBundle
    from heads.judging.evaluation import real_means
    from heads.measuring.detection import forgery
    from heads.measuring.metrics import REAL
    from heads.scoring.output import read_scores

    if REAL not in bundle.classes:
        raise BadBundle(f"The bundle has no class {REAL!r}: it cannot say what is generated.")
    place = Path(arguments.reals)
    if "://" in arguments.reals or (place / "zarr.json").exists():
        means, ids = real_means(bundle, Store.open(arguments.reals), arguments.protocol)
        return forgery(means, bundle.classes), ids
    if place.is_file() and place.suffix in (".parquet", ".csv", ".jsonl"):
        found = read_scores(place)
        if "forgery" in found.column_names:
            return _of_rows(found)
    with tempfile.TemporaryDirectory() as folder:
        return _of_rows(_scored(arguments, bundle, Path(folder) / "scores.parquet"))


def _of_rows(found: "object") -> "tuple[NDArray[np.floating], list[str]]":
    import numpy as np
    import pyarrow as pa

    from heads.measuring.metrics import REAL

    assert isinstance(found, pa.Table)
    scored = [row for row in found.to_pylist() if row["forgery"] is not None]
    rows = [row for row in scored if not row["label"] or row["label"] == REAL]
    if len(rows) < len(scored):
        print(f"left out: {len(scored) - len(rows)} videos whose label is not {REAL}")
    return np.array([row["forgery"] for row in rows], np.float64), [row["id"] for row in rows]


def _scored(arguments: argparse.Namespace, bundle: "Bundle", out: Path) -> "object":
    """Videos of a folder or manifest, extracted and scored."""
    import sys

    from extract.running.interrupt import Interrupt
    from heads.errors import BadSetting
    from heads.scoring.archive import VideoRun, score_videos
    from heads.scoring.inputs import read_inputs
    from heads.scoring.output import Output, read_scores
    from heads.scoring.run import NOTICE, extract_settings, load_branches, runner
    from heads.scoring.scorer import Scorer

    arguments.engine = "local"
    with Interrupt(NOTICE) as interrupt:
        videos = VideoRun(
            manifest=read_inputs([arguments.reals], arguments.scheme, arguments.root, sys.stdin),
            branches=lambda: load_branches(arguments, bundle),
            settings=extract_settings(arguments, arguments.protocol or bundle.scoring_protocol),
            run=runner(arguments, interrupt),
        )
        result = score_videos(Scorer(bundle=bundle), videos, Output(out, {}))
    if result.counts is None:
        raise BadSetting("Interrupted: no threshold was set.")
    return read_scores(out)


def _record(arguments: argparse.Namespace, command: str, bundles: Sequence["Bundle"]) -> bytes:
    """What `--out` will know itself by; refuses a folder of something else before any work."""
    from features_store.outputs import Folder, finished

    made_from = {"bundles": [bundle.content for bundle in bundles]}
    Folder(arguments.out, command, overwrite=arguments.overwrite).check(made_from)
    return finished(command, made_from)


def _ensemble(arguments: argparse.Namespace) -> int:
    from heads.bundle import Bundle
    from heads.errors import BadSetting
    from heads.fitting.seeds import put_together
    from heads.parts.model_card import calibration_line

    if len(arguments.bundles) < 2:
        raise BadSetting("An ensemble needs two bundles or more.")
    bundles = [Bundle.load(folder) for folder in arguments.bundles]
    record = _record(arguments, "ensemble", bundles)
    bundle = put_together(bundles)
    bundle.save(arguments.out, record)
    print(calibration_line(bundle.about))
    print(f"bundle of {len(arguments.bundles)} members: {arguments.out}")
    return 0
