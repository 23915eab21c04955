"""`telltale audit`. Mounted by `heads.commands.main`."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from extract.commands.data import add_overwrite_option
from heads.commands.results import product, write_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from features_store import Store

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]


def add_commands(commands: "Commands") -> None:
    """Add this module's command to the `telltale` parser."""
    audit = commands.add_parser(
        "audit",
        help="what codec, size, … alone give away, and which videos are there twice",
        description="Reads facts about the files, never the pictures: all together, each by "
        "itself, within each source and between real sources, each against chance. With "
        "--features it also runs VidAudit's protocol on an array: trained without one generator, "
        "judged on it.",
    )
    audit.add_argument("store")
    audit.add_argument(
        "--features", action="append", default=[], metavar="KEY",
        help="an array such as internvideo2/cls; repeatable",
    )  # fmt: skip
    audit.add_argument("--protocol", help="of those features (default: the only one, or val)")
    audit.add_argument("--out", type=Path, help="also write the text here")
    add_overwrite_option(audit)
    audit.set_defaults(run=_audit)


def _audit(arguments: argparse.Namespace) -> int:
    from features_store import Store
    from heads.judging.audit import audit

    out = product(arguments, "audit")
    store = Store.open(arguments.store)
    lines = audit(store).lines()
    for key in arguments.features:
        lines += _features(store, key, arguments.protocol)
    text = "\n".join(lines)
    print(text)
    made_from = {
        "store": store.place.name, "videos": store.videos.count, "features": arguments.features,
        "protocol": arguments.protocol,
    }  # fmt: skip
    write_text(out, text + "\n", made_from)
    return 0


def _features(store: "Store", key: str, protocol: str | None) -> "Iterator[str]":
    import numpy as np

    from heads.errors import BadTable
    from heads.judging import vidaudit
    from heads.measuring.metrics import REAL

    if REAL not in store.classes:
        raise BadTable(f"VidAudit's protocol needs a class {REAL!r}.")
    names = store.protocols()
    chosen = protocol or ("val" if "val" in names and len(names) > 1 else None)
    table = store.table([key], protocol=chosen, where=store.videos.column("label") >= 0)
    array = np.asarray(table.arrays[key], np.float64)
    vectors = array.reshape(len(table), -1, array.shape[-1]).mean(1)
    real = table.labels == store.classes.index(REAL)
    found = vidaudit.audit_features(vectors, [str(name) or "none" for name in table.sources], real)
    yield f"{key} ({table.protocol}), logistic regression, one generator left out at a time:"
    for name, one in found.generators.items():
        yield (
            f"  {name}: unseen AUC {one.auc:.3f}, seen {one.seen_auc:.3f} ({one.videos} generated "
            f"and {one.reals} real videos judged)"
        )
    reals = min(one.reals for one in found.generators.values())
    rate = f"{found.tpr_01:.1%} of generated videos at 0.1% false alarms"
    if reals < vidaudit.FEWEST_REALS:
        rate = f"rates at 0.1% false alarms: {reals} real videos are too few to say"
    yield f"  mean: unseen {found.unseen:.3f}, seen {found.seen:.3f}; {rate}"
    margin = found.margin()
    if found.reals_apart is None or margin is None:
        yield "  real against real: not to be had, there is one real source"
        return
    apart = max(found.reals_apart, 1 - found.reals_apart)
    yield (
        f"  real against real {apart:.3f} (folded), margin {margin:+.3f}: "
        f"{vidaudit.verdict(found.unseen, apart)}"
    )
