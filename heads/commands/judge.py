"""`telltale evaluate`, `ablate` and `cross`. Mounted by `heads.commands.main`."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from extract.commands.data import add_overwrite_option
from heads.commands.results import (
    data_state,
    product,
    table_state,
    write_text,
)
from heads.commands.train import (
    add_data_options,
    add_head_options,
    add_store_options,
    choice,
    head_name,
    settings_of,
)
from heads.commands.unseen import ablate_strategies

if TYPE_CHECKING:
    from features_store.table import Table
    from heads.bundle import Bundle
    from heads.judging.evaluation import Evaluation, Predictions

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]


def add_commands(commands: "Commands") -> None:
    """Add this module's commands to the `telltale` parser."""
    evaluate = commands.add_parser(
        "evaluate",
        help="judge a bundle on labelled videos of a store",
        description="Per source and on average, as the paper's tables; with a second bundle, a "
        "paired test of the two.",
    )
    evaluate.add_argument("bundle", type=Path)
    evaluate.add_argument("second", type=Path, nargs="?", help="a bundle to compare with")
    evaluate.add_argument("--store", required=True)
    evaluate.add_argument("--protocol", help="default: the test-SxC with the most views, else val")
    evaluate.add_argument("--split", default="test", help="default: test; 'all' for every video")
    evaluate.add_argument(
        "--official-ids",
        action="store_true",
        help="merge videos whose names the released code cuts",
    )
    evaluate.add_argument(
        "--matched", action="store_true", help="only pairs of a real and a generated video that "
        "are alike in duration, rate and size, so that these give nothing away",
    )  # fmt: skip
    evaluate.add_argument("--out", type=Path, help="also write JSON here")
    add_overwrite_option(evaluate)
    evaluate.set_defaults(run=_evaluate)
    ablate = commands.add_parser(
        "ablate",
        help="what each switch of a head is worth, over several seeds",
        description="The paper's Table 3, or every combination of --grid. Writes text, CSV, LaTeX "
        "and a figure; run again, it does what is missing.",
    )
    add_data_options(ablate)
    ablate.add_argument("--head", default="fusion", type=head_name)
    add_head_options(ablate)
    ablate.add_argument(
        "--grid", action="append", default=[], metavar="NAME=A,B", help="repeatable"
    )
    ablate.add_argument(
        "--strategies", nargs="?", const="all", metavar="NAME,NAME",
        help="instead: which strategy helps on generators that are left out in turn, against plain "
        "training (default: all that the head can take; telltale heads --strategies)",
    )  # fmt: skip
    ablate.add_argument("--seeds", type=int, default=5)
    ablate.add_argument("--out", type=Path, default=Path("runs/ablation"), help="%(default)s")
    add_overwrite_option(ablate)
    ablate.set_defaults(run=_ablate)
    cross = commands.add_parser("cross", help="train on each generator, test on every other")
    add_store_options(cross)
    cross.add_argument("--head", default="linear", type=head_name)
    add_head_options(cross)
    cross.add_argument("--leave-one-out", action="store_true", help="train on all but one instead")
    cross.add_argument("--out", type=Path, help="also write the heat map here, as SVG")
    add_overwrite_option(cross)
    cross.set_defaults(run=_cross)


def _evaluate(arguments: argparse.Namespace) -> int:
    from features_store import Store
    from heads.bundle import Bundle
    from heads.errors import BadSetting
    from heads.functions import split_table
    from heads.judging import paper
    from heads.judging.evaluation import ALL, AVERAGE, evaluate, predictions
    from heads.judging.floors import floors
    from heads.judging.matched import matched
    from heads.judging.papers import operating_lines
    from heads.judging.tables import parts_lines, text_table
    from heads.parts.model_card import calibration_line

    out, judged = product(arguments, "evaluate"), []
    store = Store.open(arguments.store)
    found, protocols, document = [], set(), dict[str, dict[str, object]]()
    for folder in filter(None, (arguments.bundle, arguments.second)):
        bundle = Bundle.load(folder)
        table = split_table(bundle, store, arguments.protocol, arguments.split)
        if arguments.matched:
            pairs = matched(store, table.rows, table.labels, table.classes)
            table = table.take(pairs.rows)
            print(f"judged on {pairs}")
        judged.append([bundle.content, table_state(table)])
        said = predictions(bundle, table, official_ids=arguments.official_ids)
        result = evaluate(said, bundle.about.conformal)
        left_out = f"{table.failed} failed ones{_nothing(said)} left out"
        known = _say_rows(bundle, table)
        print(f"{folder}: {bundle.about.head}, {len(said.ids)} videos ({table.protocol}), "
              f"{left_out}; ACC / AUC in percent")  # fmt: skip
        printed = paper.rows(len(said.classes), result.sources.keys() - {ALL}, AVERAGE)
        print(text_table(result, printed))
        for note in paper.notes(len(said.classes)) if printed else ():
            print(f"paper: {note}")
        _details(result)
        for line in parts_lines(bundle.head, table):
            print(line)
        print(calibration_line(bundle.about))
        for line in operating_lines(said, bundle.about.operating):
            print(line)
        found.append((folder, said, result))
        document[str(folder)] = {
            "protocol": table.protocol, "rows": known, **result.to_json(),
        }  # fmt: skip
        if len(said.ids) == len(table):  # with cut ids it is not known which video is which
            floor = floors(store, table.rows, said.labels, said.means, said.classes)
            print("\n".join(floor.lines()))
            document[str(folder)] |= {"floors": floor.to_json()}
        protocols.add(table.protocol)
    if len(protocols) == 2:
        raise BadSetting(
            f"Views of {' and '.join(sorted(protocols))} cannot be compared; choose by --protocol."
        )
    if len(found) == 2:
        document["difference"] = _compare(found[0][1], found[1][1])
    made_from = {
        "bundles and videos": judged, "split": arguments.split, "matched": arguments.matched,
        "official ids": arguments.official_ids,
    }  # fmt: skip
    if write_text(out, json.dumps(document, indent=1) + "\n", made_from):
        print(f"all numbers: {arguments.out}")
    return 0


def _nothing(said: "Predictions") -> str:
    return f" and {said.nothing} with nothing to look at" if said.nothing else ""


def _say_rows(bundle: "Bundle", table: "Table") -> dict[str, object]:
    """First of all: how many judged videos the bundle knows already."""
    rows, seen = bundle.rows, bundle.rows.seen(table.ids.tolist())
    if not rows:
        print("the bundle does not say which videos it learnt from; some may be among these")
        return {"judged": len(table)}
    if seen:
        print(f"careful: {seen}; these numbers are no measure of new videos")
    said = ", ".join(f"{count:,} {name}" for name, count in rows.counts().items())
    print(f"videos: {said}, {len(table):,} judged")
    return {**rows.counts(), "judged": len(table), "known": dict(seen.counts)}


def _details(result: "Evaluation") -> None:
    from heads.judging.evaluation import ALL
    from heads.judging.tables import confusion_text
    from heads.measuring.by_class import GENERATED, lines_of

    whole = result.sources[ALL]
    print(f"all videos, {whole.counts}, with 95% intervals:")
    print(f"  accuracy {whole.accuracy}\n  AUC {whole.auc}\n  F1 {whole.f1}")
    counts = whole.metrics.confusion.sum(1)
    each = zip(whole.metrics.class_f1.items(), counts, strict=True)
    print("  ".join(f"F1 {name} {100 * f1:.1f} (n = {n:,})" for (name, f1), n in each))
    print("each class against the rest:")
    print("\n".join(lines_of({n: c for n, c in result.classes.items() if n != GENERATED})))
    print(confusion_text(whole.metrics.confusion, list(whole.metrics.class_f1)))
    if whole.detection is not None:
        print("\n".join(whole.detection.lines()))
    error, n = 100 * result.calibration_error, whole.metrics.videos
    print(f"calibration error {error:.1f}% (n = {n:,})")
    for rate, found in result.conformal.items():
        print(f"sets at {float(rate):.0%} errors: promised {found.promised:.0%} coverage, "
              f"measured {found.measured}, {found.size:.2f} classes a set")  # fmt: skip
    for name, source in result.sources.items():
        for what, why in source.metrics.undefined.items():
            if name != ALL or len(result.sources) == 2:
                print(f"{name}: {what} is not defined, {why}")


def _compare(first: object, second: object) -> dict[str, object]:
    from heads.judging.evaluation import Predictions, compare

    assert isinstance(first, Predictions)
    assert isinstance(second, Predictions)
    document: dict[str, object] = {}
    for name, difference in compare(first, second).items():
        print(f"second minus first, {name}: {difference}")
        document[name] = difference.to_json()
    return document


def _ablate(arguments: argparse.Namespace) -> int:
    from tqdm import tqdm

    from features_store import Store
    from features_store.commit import write_file
    from features_store.outputs import Folder
    from heads.config import assignments
    from heads.data.generators import sources_of_table
    from heads.data.splits import held_out
    from heads.errors import BadSetting
    from heads.figures import charts
    from heads.head import make_head
    from heads.judging import paper
    from heads.judging.ablation import TABLE_3, Plan, ablate, collected, grid
    from heads.judging.evaluation import AVERAGE

    if arguments.strategies:
        return ablate_strategies(arguments)
    folder = Folder(arguments.out, "ablate", overwrite=arguments.overwrite)
    store = Store.open(arguments.store)
    rows = TABLE_3
    if arguments.grid:
        rows = grid({k: v.split(",") for k, v in assignments(arguments.grid).items()})
    if arguments.seeds < 1:
        raise BadSetting(f"{arguments.seeds} seeds: give 1 or more.")
    settings = settings_of(arguments)
    plan = Plan(head=arguments.head, rows=rows, seeds=arguments.seeds, settings=settings)
    for row in rows.values():  # a wrong setting is known before the first run
        make_head(arguments.head, {**settings, **row}, store.classes)
    head = make_head(arguments.head, settings, store.classes)
    data = choice(arguments).load(store, head)
    test = held_out(store, head, data.train)
    name, test = ("validation", data.validation) if test is None else ("test", test)
    folder.begin(
        {"head": arguments.head, "settings": settings, "rows": rows, "videos": data_state(data),
         "judged": table_state(test)}
    )  # fmt: skip
    runs = ablate(plan, data, test, arguments.out)
    for _ in tqdm(runs, total=len(plan.runs()), unit="run", disable=None):
        pass
    result = collected(plan, data, test, arguments.out)
    print(result.text())
    for line in paper.ablation_lines(sources_of_table(test).generators, AVERAGE):
        print(line)
    texts = {
        "txt": result.text() + "\n", "csv": result.csv(), "tex": result.latex(),
        "svg": charts.ablation(result),
    }  # fmt: skip
    for suffix, text in texts.items():
        write_file(arguments.out / f"ablation.{suffix}", [text.encode()])
    print(
        f"on {len(test)} {name} videos ({test.protocol}); text, CSV, LaTeX, figure: {arguments.out}"
    )
    return 0


def _cross(arguments: argparse.Namespace) -> int:
    from features_store import Store
    from heads.data.splits import Choice
    from heads.figures import charts
    from heads.head import make_head
    from heads.judging.cross import cross

    out = product(arguments, "cross")
    store = Store.open(arguments.store)
    settings = settings_of(arguments)
    head = make_head(arguments.head, settings, store.classes)
    choice = Choice(protocol=arguments.protocol, judging=arguments.validation_protocol)
    whole = choice.load_twice(store, head, store.videos.column("label") >= 0)
    print(f"views learnt from: {whole.train.protocol}, judged by: {whole.validation.protocol}")
    found = cross(
        whole,
        lambda: make_head(arguments.head, settings, store.classes),
        leave_one_out=arguments.leave_one_out,
    )
    print(found.text())
    print(found.text("auc"))
    print("\n".join(found.unknown_lines()))
    picture = charts.cross(found)
    made_from = {
        "head": arguments.head, "settings": settings, "one left out": arguments.leave_one_out,
        "videos": data_state(whole),
    }  # fmt: skip
    if write_text(out, picture, made_from):
        print(f"heat map: {arguments.out}")
    return 0
