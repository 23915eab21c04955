"""`telltale train`. Mounted by `heads.commands.main`."""

import argparse
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from extract.commands.data import add_overwrite_option
from heads.commands import adapting
from heads.commands.device import DEVICE_HELP, one_device
from heads.commands.results import data_state

if TYPE_CHECKING:
    from collections.abc import Callable

    from features_store import Store
    from heads.bundle import Bundle
    from heads.data.sides import Data
    from heads.data.splits import Choice
    from heads.head import Head, OnEpoch

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]


def add_commands(commands: "Commands") -> None:
    """Add the command to the `telltale` parser."""
    train = commands.add_parser(
        "train",
        help="train a head on a store's features",
        description="Trains on split `train`, decides by split `val`, calibrates by what heads "
        "trained on the other folds say of each labelled video, and writes a bundle. "
        "`telltale heads` lists heads and what can be set.",
    )
    add_data_options(train)
    next(a for a in train._actions if a.dest == "store").required = False  # --data makes one
    train.add_argument(
        "--head", default="fusion", type=head_name, help="a name, or a file of your own: FILE.py"
    )
    train.add_argument(
        "--detector", metavar="NAME",
        help="a recipe, or FILE.toml of your own: fills in head, settings and protocol; --set and "
        "--protocol go before it",
    )  # fmt: skip
    adapting.add_options(train)
    train.add_argument("--out", required=True, type=Path, help="the bundle's folder")
    train.add_argument(
        "--every-split", action="store_true",
        help="with --validation: learn from the videos of every split, those of `test` too",
    )  # fmt: skip
    add_head_options(train)
    train.add_argument("--seeds", type=int, default=1, help="how many; the best is kept")
    train.add_argument("--seed", type=int, default=0, help="the first of them (default: 0)")
    train.add_argument(
        "--ensemble", action="store_true", help="keep all seeds: probabilities are averaged"
    )
    add_stop_option(train)
    train.add_argument(
        "--folds", type=int, default=5,
        help="train so often more, for numbers and calibration out of fold; 0: not (default: 5)",
    )  # fmt: skip
    train.add_argument(
        "--calibrate-on", metavar="SPLIT|STORE",
        help="calibrate by these videos instead, which nothing was learnt from or decided by",
    )  # fmt: skip
    train.add_argument("--device", default="auto", help=DEVICE_HELP)
    train.add_argument("--tensorboard", type=Path, metavar="DIR", help="log every epoch there")
    add_overwrite_option(train)
    train.set_defaults(run=_train)


def add_store_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--store", required=True, help="folder or URL")
    parser.add_argument("--protocol", help="default: the store's only one, or its train-V")
    parser.add_argument(
        "--validation-protocol", metavar="PROTOCOL",
        help="default: val where the store has it, else the same",
    )  # fmt: skip


def add_data_options(parser: argparse.ArgumentParser) -> None:
    add_store_options(parser)
    parser.add_argument(
        "--also", action="append", default=[], metavar="PROTOCOL",
        help="learn from these views of the same videos too, perturbed ones say; repeatable",
    )  # fmt: skip
    parser.add_argument(
        "--validation", type=float, metavar="SHARE",
        help="take this share of the training videos, chosen by id, instead of split `val`; 0: "
        "learn from all of them, which a head without epochs can (linear, knn)",
    )  # fmt: skip
    parser.add_argument(
        "--source", action="append", default=[], help="only this source; repeatable"
    )
    parser.add_argument(
        "--group-by", metavar="REGEX",
        help="videos whose ids share what its bracket finds (a prompt, a person, an original) are "
        "never on both sides of a split or fold; `group` takes the manifest's column",
    )  # fmt: skip


def add_stop_option(parser: argparse.ArgumentParser, default: float | None = None) -> None:
    parser.add_argument(
        "--stop", type=float, metavar="SHARE", default=default,
        help="this share of the videos learnt from decides when to stop, so that the validation "
        "videos only judge" + (f" (default: {default:g}; 0: they do both)" if default else ""),
    )  # fmt: skip


def add_set_option(parser: argparse.ArgumentParser, whose: str = "the head") -> None:
    """`--set`, for settings that `heads.config.build` checks."""
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help=f"a setting of {whose}"
    )


def add_head_options(parser: argparse.ArgumentParser) -> None:
    """A head's settings; `settings_of` gives them back."""
    add_set_option(parser)
    parser.add_argument(
        "--arrays", metavar="NAME,NAME",
        help="arrays of the store that a linear, knn or gbdt head looks at: clip-b32/x, …",
    )  # fmt: skip


def head_name(text: str) -> str:
    """What `--head` means: a name, several with commas, or a file with a head of one's own."""
    from extract.plugins import is_file

    names = []
    for each in text.split(","):
        path, _, which = each.partition(":")
        if is_file(path):
            from features_store.errors import TelltaleError
            from heads.head import use_head

            try:
                each = use_head(path, which or "HEAD").name
            except TelltaleError as error:
                raise argparse.ArgumentTypeError(str(error)) from error
        names.append(each)
    return ",".join(names)


def settings_of(arguments: argparse.Namespace) -> "dict[str, str]":
    """What `--set` and `--arrays` ask for."""
    from heads.config import assignments

    arrays = [] if arguments.arrays is None else [f"arrays={arguments.arrays}"]
    return assignments([*arguments.set, *arrays])


def choice(arguments: argparse.Namespace) -> "Choice":
    from heads.data.splits import Choice

    return Choice(
        protocol=arguments.protocol,
        also=arguments.also,
        judging=arguments.validation_protocol,
        validation=arguments.validation,
        every=getattr(arguments, "every_split", False),
        sources=arguments.source,
        stopping=getattr(arguments, "stop", None) or None,
        group_by=arguments.group_by,
    )


def _train(arguments: argparse.Namespace) -> int:
    from tqdm import tqdm

    from features_store import Store
    from features_store.outputs import Folder, finished
    from heads.commands.detectors import fill_in, named
    from heads.detectors.features import preferred
    from heads.detectors.recipe import read_recipe
    from heads.errors import BadSetting
    from heads.fitting.seeds import best_bundle, train_seeds
    from heads.head import make_head
    from heads.parts.model_card import calibration_line, warning

    device = arguments.device = one_device(arguments.device)
    if arguments.detector:
        fill_in(arguments)
    start = adapting.fill_in(arguments)
    if arguments.seeds < 1:
        raise BadSetting(f"{arguments.seeds} seeds: give 1 or more.")
    folder = Folder(arguments.out, "train", overwrite=arguments.overwrite)
    store = Store.open(arguments.store)
    if arguments.detector:
        store = preferred(store, read_recipe(arguments.detector))
    settings = settings_of(arguments)

    def make() -> "Head":
        return adapting.begin(make_head(arguments.head, settings, store.classes), start)

    chosen = choice(arguments)
    data = chosen.load(store, make())
    print(data)
    adapting.checked(start, data)
    made_from = {"head": arguments.head, "settings": settings, "seeds": arguments.seeds,
                 "videos": data_state(data), **adapting.made_from(start)}  # fmt: skip
    if folder.check(made_from) and not arguments.overwrite:
        print(f"bundle: {arguments.out} (there already, of these settings and videos)")
        return 0
    if crossing := chosen.crossing(store):
        print(crossing)
    trained = []
    seeds = range(arguments.seed, arguments.seed + arguments.seeds)
    log = partial(_epoch_log, arguments.tensorboard, arguments.head)
    found = train_seeds(make, data, seeds, device, log)
    for one in tqdm(found, total=len(seeds), unit="seed", disable=None):
        trained.append(one)
        best = f"{one.report.metric} {one.report.best:.4f}" if len(data.validation) else "trained"
        print(
            f"seed {one.seed}: {best} (epoch {one.report.best_epoch + 1}, "
            f"{one.report.seconds:.1f} s)"
        )
        print("".join(f"  {note}\n" for note in one.report.notes), end="")
    bundle = best_bundle(store, trained, data, ensemble=arguments.ensemble)
    bundle = named(adapting.with_past(bundle, start), arguments.detector)
    _say_validation(data, bundle)
    bundle = _calibrated(arguments, store, chosen, bundle, make)
    bundle = bundle.save(arguments.out, finished("train", made_from))
    print(calibration_line(bundle.about))
    if words := warning(bundle.about.branches.values()):
        print(words)
    print(f"bundle: {arguments.out}")
    return 0


def _say_validation(data: "Data", bundle: "Bundle") -> None:
    if not len(data.validation):
        print("every video was learnt from; what this is worth is said out of fold alone")
        return
    what = "judged" if data.stopping is not None else "which also chose epoch and seed"
    print(f"on {len(data.validation)} validation videos, {what}:")
    for name in ("accuracy", "auc", "f1", "binary_auc"):
        print(f"validation {name + ':':16} {bundle.about.metrics[f'validation {name}']:.4f}")


def _calibrated(
    arguments: argparse.Namespace,
    store: "Store",
    chosen: "Choice",
    bundle: "Bundle",
    make: "Callable[[], Head]",
) -> "Bundle":
    """By other videos, or out of fold; then the cross-validated numbers are printed too."""
    from heads.commands.calibrate import calibrated_on
    from heads.data.folds import groups_of
    from heads.fitting.out_of_fold import most_folds, out_of_fold
    from heads.judging.evaluation import Predictions
    from heads.judging.papers import calibrated
    from heads.judging.tables import out_of_fold_lines
    from heads.measuring.metrics import averaged, has_result

    if arguments.calibrate_on:
        return calibrated_on(bundle, store, arguments.calibrate_on)
    learning, deciding = chosen.masks(store)
    labels = store.videos.column("label")
    sides = [mask for mask in (learning, deciding) if mask.any()]
    folds = min(most_folds(labels[mask], arguments.folds) for mask in sides)
    if arguments.folds and folds < 2:
        print("not calibrated: a class has one video to learn from or to decide by.")
    if not arguments.folds or folds < 2:
        return bundle
    whole = chosen.load_sides(store, bundle.head, learning, learning | deciding)
    found = out_of_fold(
        make, whole, deciding, folds=folds, device=arguments.device,
        groups=groups_of(store, chosen.group_by),
    )  # fmt: skip
    said = Predictions(
        ids=[str(name) for name in found.ids], labels=found.labels,
        sources=[str(name) or "none" for name in found.sources], classes=bundle.classes,
        means=averaged(found.probabilities),
    )  # fmt: skip
    said = said.take(has_result(said.means))
    print("\n".join(out_of_fold_lines(said, folds)))
    together = " that keep groups together" if chosen.group_by else ""
    what = f"each judged by a head trained on the other {folds - 1} of {folds} folds{together}"
    return calibrated(bundle, found.probabilities, found.labels, found.ids.tolist(), what)


def _epoch_log(folder: Path | None, head: str, seed: int) -> "OnEpoch | None":
    """Writes the validation metric of each epoch for TensorBoard."""
    from heads.errors import BadSetting

    if folder is None:
        return None
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise BadSetting("--tensorboard needs TensorBoard: pip install tensorboard.") from error
    writer = SummaryWriter(str(folder / f"{head}-seed{seed}"))

    def log(epoch: int, value: float) -> bool:
        writer.add_scalar("validation", value, epoch)
        writer.flush()
        return False

    return log
