"""`telltale demo`: the main job end to end on a small made-up data set, on a CPU.

Every step is an ordinary command, printed before it runs. A step whose product is there is
skipped, so that the same command goes on after an interruption.
"""

import argparse
import shlex
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from extract.exit_codes import SOME_FAILED
from extract.manifest.manifest import read_manifest
from extract.synthesis.data_set import SyntheticOptions, write_data_set
from heads.scoring.output import read_scores

HELD_OUT = "dahlia"
"""The generator that no head learns from."""
ABOUT = (
    "Made-up people; these networks know nothing of real ones: the figures hold for such videos "
    "as `telltale synth` makes, and for no others."
)

Command = Callable[[Sequence[str]], int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A command, and the file or folder that says it was done."""

    product: Path
    arguments: Sequence[str]


def run(arguments: argparse.Namespace, command: Command) -> int:
    """`command` runs a command line as the user would."""
    folder: Path = arguments.out
    print(ABOUT)
    made_up_videos(folder / "data", arguments.videos)
    for step in steps(folder):
        status = done(step, command)
        if status not in (0, SOME_FAILED):
            return status
    print(f"\n{ABOUT}\nlook at {folder / 'report.html'} and {folder / 'why.png'}\ntry next:")
    print(f"  telltale store info {folder / 'features.zarr'}")
    print(f"  telltale score {folder / 'data'} --bundle {folder / 'fusion'} --out scores.csv")
    return 0


def done(step: Step, command: Command) -> int:
    """The step's exit status; what is there already is not made again."""
    line = f"telltale {shlex.join(step.arguments)}"
    if step.product.exists():
        print(f"\n$ {line}\n(done before)")
        return 0
    print(f"\n$ {line}", flush=True)
    return command(step.arguments)


def made_up_videos(folder: Path, count: int) -> None:
    """Clips of four generators; one file is cut off, as files in the wild are."""
    if folder.exists():
        return
    unfinished = folder.with_name("data.partial")
    shutil.rmtree(unfinished, ignore_errors=True)
    print(f"\n$ telltale synth --out {folder} --videos {count}    (and one file is cut off)")
    for _ in write_data_set(unfinished, SyntheticOptions(videos=count, seed=0)):
        pass
    broken = Path(read_manifest(str(unfinished)).videos[0].path)
    broken.write_bytes(broken.read_bytes()[: broken.stat().st_size // 2])
    unfinished.rename(folder)


def steps(folder: Path) -> Iterator[Step]:
    """All of them, in order; the last but one looks at what those before it left."""
    data, store = str(folder / "data"), str(folder / "features.zarr")
    branches = ["--branch", "internvideo2=tiny", "--branch", "depthpro=tiny"]

    def step(product: str, *arguments: str) -> Step:
        return Step(product=folder / product, arguments=arguments)

    labelled = ["--store", store]
    yield from [
        # The failures' list is written at the end of a run, and one file fails on purpose.
        step(
            "failures.csv", "extract", data, *labelled, *branches, "--failures",
            str(folder / "failures.csv"),
        ),
        step("fusion", "train", *labelled, "--seeds", "3", "--out", str(folder / "fusion")),
        step("linear", "train", *labelled, "--head", "linear", "--out", str(folder / "linear")),
        step(
            "evaluation.json", "evaluate", str(folder / "fusion"), str(folder / "linear"),
            *labelled, "--out", str(folder / "evaluation.json"),
        ),
        step(
            "ablation/ablation.svg", "ablate", *labelled, "--seeds", "3", "--out",
            str(folder / "ablation"),
        ),
        step(
            "cross.svg", "cross", *labelled, "--leave-one-out", "--out", str(folder / "cross.svg")
        ),
        step(
            "tune/tune.json", "tune", *labelled, "--head", "linear", "--trials", "50", "--out",
            str(folder / "tune"),
        ),
        step(
            "tuned/head", "finetune", *labelled, "--branch", "internvideo2=tiny", "--depth",
            "end-to-end", "--videos", data, "--start", str(folder / "fusion"), "--set", "epochs=2",
            "--out", str(folder / "tuned"),
        ),
        step(
            "compare/comparison.json", "compare", *labelled, "--detectors",
            "tiny-humansam,tiny-video,tiny-depth,tiny-knn,tiny-gbdt", "--out",
            str(folder / "compare"),
        ),
        step("audit.txt", "audit", store, "--out", str(folder / "audit.txt")),
        step(
            "scores.parquet", "score", data, "--bundle", str(folder / "fusion"),
            "--reference", store, "--out", str(folder / "scores.parquet"),
        ),
    ]  # fmt: skip
    yield explained(folder)
    yield step("report.html", "report", str(folder))


def explained(folder: Path) -> Step:
    """One video explained: of the held-out generator's, the one that most surely has a fault."""
    rows = read_scores(folder / "scores.parquet").to_pylist()
    surest = max(
        (row for row in rows if row["source"] == HELD_OUT and row["verdict"] not in (None, "real")),
        key=lambda row: float(row["confidence"]),
        default=rows[-1],
    )
    picture = folder / "why.png"
    return Step(
        product=picture,
        arguments=(
            "score", str(surest["path"]), "--bundle", str(folder / "fusion"), "--explain",
            str(picture),
        ),
    )  # fmt: skip
