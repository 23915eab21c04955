"""`telltale train` and `telltale heads`. Mounted by `heads.commands.main`."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from heads.data.splits import Choice
    from heads.head import OnEpoch

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]


def add_commands(commands: "Commands") -> None:
    """Add this module's commands to the `telltale` parser."""
    train = commands.add_parser(
        "train",
        help="train a head on a store's features",
        description="Trains on split `train`, decides by split `val`, calibrates, and writes a "
        "bundle. `telltale heads` lists heads and what can be set.",
    )
    add_data_options(train)
    train.add_argument(
        "--head", default="fusion", type=head_name, help="a name, or a file of your own: FILE.py"
    )
    train.add_argument("--out", required=True, type=Path, help="the bundle's folder")
    add_head_options(train)
    train.add_argument("--seeds", type=int, default=1, help="how many; the best is kept")
    train.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")
    train.add_argument("--tensorboard", type=Path, metavar="DIR", help="log every epoch there")
    train.set_defaults(run=_train)
    heads = commands.add_parser("heads", help="list heads and their settings")
    heads.add_argument("name", nargs="?", type=head_name, help="only this one")
    heads.set_defaults(run=_heads)


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
        "--validation", type=float, metavar="SHARE",
        help="take this share of the training videos, chosen by id, instead of split `val`",
    )  # fmt: skip
    parser.add_argument(
        "--source", action="append", default=[], help="only this source; repeatable"
    )


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
        judging=arguments.validation_protocol,
        validation=arguments.validation,
        sources=arguments.source,
    )


def _train(arguments: argparse.Namespace) -> int:
    from tqdm import tqdm

    from features_store import Store
    from heads.bundle import warning
    from heads.errors import BadSetting
    from heads.head import make_head
    from heads.training.seeds import best_bundle, train_seeds

    if arguments.seeds < 1:
        raise BadSetting(f"{arguments.seeds} seeds: give 1 or more.")
    store = Store.open(arguments.store)
    settings = settings_of(arguments)
    head = make_head(arguments.head, settings, store.classes)
    data = choice(arguments).load(store, head)
    print(data)
    trained = []
    for seed in tqdm(range(arguments.seeds), unit="seed", disable=None):
        trained += train_seeds(
            lambda: make_head(arguments.head, settings, store.classes), data, [seed],
            arguments.device, _epoch_log(arguments.tensorboard, arguments.head, seed),
        )  # fmt: skip
        one = trained[-1]
        print(
            f"seed {seed}: {one.report.metric} {one.report.best:.4f} "
            f"(epoch {one.report.best_epoch + 1}, {one.report.seconds:.1f} s)"
        )
    bundle = best_bundle(store, trained, data).save(arguments.out)
    for name in ("accuracy", "auc", "f1", "binary_auc"):
        print(f"validation {name + ':':16} {bundle.about.metrics[f'validation {name}']:.4f}")
    if words := warning(bundle.about.branches.values()):
        print(words)
    print(f"bundle: {arguments.out}")
    return 0


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


def _heads(arguments: argparse.Namespace) -> int:
    import inspect
    import sys

    from heads.config import described, documented
    from heads.head import head_class, head_names

    for name in [arguments.name] if arguments.name else head_names():
        kind = head_class(name)
        about = inspect.getdoc(sys.modules[kind.__module__]) or ""
        print(f"{name}: {about.splitlines()[0]}")
        texts = documented(kind.Config)
        for setting, default, allowed in described(kind.Config):
            print(f"    {setting}={default}  ({allowed})  {texts.get(setting, '')}".rstrip())
    return 0
