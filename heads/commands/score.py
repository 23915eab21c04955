"""`telltale score`. Mounted by `heads.commands.main`."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from extract.commands.data import SOME_FAILED, add_limit_options, add_manifest_options, read
from extract.running.interrupt import INTERRUPTED, Interrupt

if TYPE_CHECKING:
    from extract.manifest.manifest import Manifest
    from extract.running.extraction import Extraction
    from features_store import Store
    from heads.bundle import Bundle
    from heads.scoring.archive import Scorer
    from heads.scoring.output import Output

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]


def add_commands(commands: "Commands") -> None:
    """Add the command to the `telltale` parser."""
    parser = commands.add_parser(
        "score",
        help="say of videos whether they are generated, and what is wrong with them",
        description="Scores a video, a folder, a manifest or a store with a bundle. One row per "
        "input, also for those that fail. The same command goes on after an interruption. Exit "
        "status: 0 all scored, 3 some failed, 1 nothing could be done, 130 interrupted.",
    )
    add_manifest_options(parser)
    parser.add_argument("--bundle", required=True, type=Path, help="what `telltale train` wrote")
    parser.add_argument(
        "--out", type=Path, help=".parquet, .csv or .jsonl; one video may go without"
    )
    parser.add_argument("--protocol", help="default: the bundle's own, val for a training one")
    parser.add_argument("--weights", type=Path, action="append", default=[],
                        help="file or folder with the branches' weights; repeatable")  # fmt: skip
    parser.add_argument(
        "--branch", action="append", help="NAME=PRESET:WEIGHTS, instead of --weights"
    )
    parser.add_argument("--store", help="keep features here")
    parser.add_argument("--reference", help="a store: name each video's nearest example in it")
    parser.add_argument("--error-rate", default="0.1", help="of the conformal sets (default: 0.1)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")
    parser.add_argument("--workers", type=int, help="decode processes (default: one a core, ≤ 16)")
    parser.add_argument("--engine", choices=("local", "ray"), default="local")
    parser.add_argument("--address", help="of the Ray cluster")
    parser.add_argument(
        "--watch", type=float, metavar="SECONDS",
        help="a folder: look for new files again and again; --out must be .jsonl",
    )  # fmt: skip
    parser.add_argument("--explain", type=Path, metavar="PICTURE", help="one video: why, as a .png")
    add_limit_options(parser)
    parser.set_defaults(run=_score)


def _score(arguments: argparse.Namespace) -> int:
    from features_store import Store
    from heads.bundle import Bundle
    from heads.errors import BadSetting
    from heads.scoring.archive import Scorer
    from heads.scoring.neighbours import Neighbours

    bundle = Bundle.load(arguments.bundle)
    protocol = arguments.protocol or _scoring_protocol(bundle)
    neighbours = None
    if arguments.reference:
        reference = Store.open(arguments.reference)
        names = reference.protocols()
        known = protocol if protocol in names else names[0]
        neighbours = Neighbours(reference, known)
    scorer = Scorer(bundle=bundle, rate=arguments.error_rate, neighbours=neighbours)
    if _is_store(arguments.manifest):
        if arguments.out is None:
            raise BadSetting("A store's scores go to a file: give --out scores.parquet.")
        return _from_store(arguments, scorer, Store.open(arguments.manifest))
    if arguments.watch:
        from heads.scoring.watch import watch

        count = watch(arguments, scorer, protocol)
        print(f"{arguments.out}: {count} rows; stopped. The same command goes on.")
        return 0
    if arguments.out is None or arguments.explain is not None:
        return _one_video(arguments, scorer, protocol)
    return _from_videos(arguments, scorer, read(arguments), protocol)


def _scoring_protocol(bundle: "Bundle") -> str:
    name = bundle.about.protocol
    return "val" if name.startswith("train-") else name


def _is_store(name: str) -> bool:
    return "://" in name or (Path(name) / "zarr.json").exists()


def _from_store(arguments: argparse.Namespace, scorer: "Scorer", store: "Store") -> int:
    from heads.scoring.archive import input_hash, score_store
    from heads.scoring.output import Output
    from heads.scoring.run import NOTICE

    names = store.protocols()
    protocol = arguments.protocol or (
        names[0] if len(names) == 1 else _scoring_protocol(scorer.bundle)
    )
    ids = store.videos.column("id").tolist()
    output = Output(arguments.out, _plan(scorer, protocol, input_hash(ids), arguments))
    if output.is_done:
        return _end(output)
    with Interrupt(NOTICE) as interrupt:
        done = score_store(scorer, store, protocol, output, lambda: interrupt.asked)
    return _end(output) if done else INTERRUPTED


def _from_videos(
    arguments: argparse.Namespace, scorer: "Scorer", manifest: "Manifest", protocol: str
) -> int:
    from heads.scoring.archive import input_hash, score_videos
    from heads.scoring.output import Output
    from heads.scoring.run import NOTICE, extract_settings, load_branches, runner

    ids = [video.id for video in manifest.videos]
    output = Output(arguments.out, _plan(scorer, protocol, input_hash(ids), arguments))
    if output.is_done:
        return _end(output)
    branches = load_branches(arguments, scorer.bundle)
    settings = extract_settings(arguments, protocol)
    with Interrupt(NOTICE) as interrupt:
        run = runner(arguments, interrupt)
        done = score_videos(scorer, manifest, branches, settings, output, run, arguments.store)
    return _end(output) if done else INTERRUPTED


def _one_video(arguments: argparse.Namespace, scorer: "Scorer", protocol: str) -> int:
    """One screen about one video."""
    import tempfile

    from heads.errors import BadSetting
    from heads.scoring.archive import score_videos
    from heads.scoring.output import Output, read_scores
    from heads.scoring.run import NOTICE, extract_settings, load_branches

    manifest = (
        one_file(Path(arguments.manifest))
        if Path(arguments.manifest).is_file()
        else read(arguments)
    )
    if len(manifest.videos) != 1:
        raise BadSetting(
            f"{len(manifest.videos)} videos: give --out scores.parquet for their rows."
        )
    branches = load_branches(arguments, scorer.bundle)
    settings = extract_settings(arguments, protocol)
    with tempfile.TemporaryDirectory() as folder, Interrupt(NOTICE) as interrupt:
        output = Output(Path(folder) / "scores.parquet", {})

        def quietly(extraction: "Extraction") -> bool:
            return not extraction.run(workers=1, bar=False, stop=lambda: interrupt.asked).stopped

        if not score_videos(scorer, manifest, branches, settings, output, quietly):
            return INTERRUPTED
        (row,) = read_scores(output.out).to_pylist()
    print("\n".join(_screen(row, scorer.bundle)))
    if arguments.explain is not None and row["error"] is None:
        from heads.scoring.explain import explain

        print("\n".join(explain(scorer.bundle, branches, manifest, settings, arguments.explain)))
    return SOME_FAILED if row["error"] else 0


def one_file(path: Path) -> "Manifest":
    """A single video as a manifest."""
    from extract.manifest.manifest import Manifest, Video
    from extract.manifest.sources import VIDEO_SUFFIXES

    if path.suffix.lower() not in VIDEO_SUFFIXES:
        from extract.manifest.manifest import read_manifest

        return read_manifest(str(path))
    path = path.absolute()
    return Manifest(root=path.parent, scheme=None, videos=(Video(id=path.name, path=str(path)),))


def _screen(row: dict[str, object], bundle: "Bundle") -> list[str]:
    from heads.bundle import warning

    if row["error"]:
        return [f"{row['id']}: cannot be scored: {row['error']}"]
    lines = [f"{row['id']}: {row['verdict']}, confidence {row['confidence']:.0%}", ""]
    for name in bundle.classes:
        share = row[f"p_{name}"]
        assert isinstance(share, float)
        lines.append(f"  {name:12} {share:6.1%}  {'█' * round(share * 40)}")
    lines += ["", f"  answer at the chosen error rate: {row['set']}"]
    if row["forgery"] is not None:
        lines.append(f"  generated with probability {row['forgery']:.1%}")
    if row["nearest_id"]:
        lines.append(f"  most like {row['nearest_id']} ({row['nearest_source']}, "
                     f"similarity {row['nearest_similarity']:.2f})")  # fmt: skip
    if words := warning(bundle.about.branches.values()):
        lines.append(f"  {words}")
    return lines


def _plan(
    scorer: "Scorer", protocol: str, inputs: str, arguments: argparse.Namespace
) -> dict[str, object]:
    return {
        "inputs": inputs, "protocol": protocol, "rate": scorer.rate,
        "bundle": dict(scorer.bundle.about.files), "head": scorer.bundle.about.head,
        "temperature": scorer.bundle.about.temperature, "reference": arguments.reference,
    }  # fmt: skip


def _end(output: "Output") -> int:
    import pyarrow.compute as pc

    from heads.scoring.output import read_scores

    table = read_scores(output.out)
    failed = sum(bool(error) for error in table["error"].drop_null().to_pylist())
    counts = pc.value_counts(table["verdict"]).to_pylist()
    said = {str(each["values"]): each["counts"] for each in counts if each["values"]}
    listed = ", ".join(f"{name} {count}" for name, count in sorted(said.items()))
    print(f"{output.out}: {len(table)} rows; {listed or 'none scored'}; {failed} failed")
    return SOME_FAILED if failed else 0
