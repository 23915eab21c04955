"""`telltale demo`: the main job end to end on a small made-up data set, on a CPU.

Every step is an ordinary command, printed before it runs. A step whose product is there is
skipped, so that the same command goes on after an interruption.
"""

import argparse
import shlex
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from extract.exit_codes import SOME_FAILED
from extract.manifest.manifest import read_manifest
from extract.synthesis.data_set import SyntheticOptions, write_data_set

VIDEOS = 64
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
    made_up_videos(folder / "data")
    for step in steps(folder):
        line = f"telltale {shlex.join(step.arguments)}"
        if step.product.exists():
            print(f"\n$ {line}\n(done before)")
            continue
        print(f"\n$ {line}", flush=True)
        status = command(step.arguments)
        if status not in (0, SOME_FAILED):
            return status
    print(f"\n{ABOUT}\nlook at {folder / 'report.html'}\ntry next:")
    print(f"  telltale store info {folder / 'features.zarr'}")
    print(
        f"  telltale evaluate {folder / 'fusion'} --store {folder / 'features.zarr'} --protocol val"
    )
    clip = read_manifest(str(folder / "data")).videos[-1].path
    print(f"  telltale score {clip} --bundle {folder / 'fusion'} --explain {folder / 'why.png'}")
    return 0


def made_up_videos(folder: Path) -> None:
    """Clips of four generators; one file is cut off, as files in the wild are."""
    if folder.exists():
        return
    unfinished = folder.with_name("data.partial")
    shutil.rmtree(unfinished, ignore_errors=True)
    print(f"\n$ telltale synth --out {folder} --videos {VIDEOS}    (and one file is cut off)")
    for _ in write_data_set(unfinished, SyntheticOptions(videos=VIDEOS, seed=0, difficulty=0.3)):
        pass
    broken = Path(read_manifest(str(unfinished)).videos[0].path)
    broken.write_bytes(broken.read_bytes()[: broken.stat().st_size // 2])
    unfinished.rename(folder)


def steps(folder: Path) -> list[Step]:
    """All of them, in order."""
    data, store = str(folder / "data"), str(folder / "features.zarr")
    branches = ["--branch", "internvideo2=tiny", "--branch", "depthpro=tiny"]

    def step(product: str, *arguments: str) -> Step:
        return Step(product=folder / product, arguments=arguments)

    def extract(protocol: str) -> Step:
        # The failures' list is written at the end of a run, and one file fails on purpose.
        failures = f"failures-{protocol}.csv"
        return step(
            failures, "extract", data, "--store", store, "--protocol", protocol, *branches,
            "--failures", str(folder / failures),
        )  # fmt: skip

    training = ["--store", store, "--protocol", "train-2"]
    return [
        extract("val"),
        extract("train-2"),
        extract("test-1x3"),
        step("fusion", "train", *training, "--seeds", "3", "--out", str(folder / "fusion")),
        step("linear", "train", *training, "--head", "linear", "--out", str(folder / "linear")),
        step(
            "evaluation.json", "evaluate", str(folder / "fusion"), str(folder / "linear"),
            "--store", store, "--protocol", "test-1x3", "--out", str(folder / "evaluation.json"),
        ),
        step(
            "ablation/ablation.svg", "ablate", *training, "--seeds", "3", "--set", "epochs=20",
            "--out", str(folder / "ablation"),
        ),
        step(
            "tune/tune.json", "tune", *training, "--head", "linear", "--trials", "50",
            "--out", str(folder / "tune"),
        ),
        step(
            "tuned/head", "finetune", *training, "--branch", "internvideo2=tiny", "--depth",
            "end-to-end", "--videos", data, "--start", str(folder / "fusion"), "--set", "epochs=2",
            "--out", str(folder / "tuned"),
        ),
        step(
            "compare/comparison.json", "compare", "--store", store, "--detectors",
            "tiny-humansam,tiny-video,tiny-depth,tiny-knn,tiny-gbdt", "--out",
            str(folder / "compare"),
        ),
        step("cross.svg", "cross", *training, "--out", str(folder / "cross.svg")),
        step("audit.txt", "audit", store, "--out", str(folder / "audit.txt")),
        step(
            "scores.parquet", "score", data, "--bundle", str(folder / "fusion"),
            "--reference", store, "--out", str(folder / "scores.parquet"),
        ),
        step("report.html", "report", str(folder)),
    ]  # fmt: skip
