"""Five detectors of single frames from one decode, against five passes.

    python -m benchmarks.bench_small [--clips 12] [--runs 3]

`telltale extract` with `tiny` presets of npr, cnndet, patchcraft, f3net and genconvit, 16 frames of
each 720p clip: in one run, and in five that share a store. The networks are small, so decoding
weighs as much as it can; features are the same.
"""

import argparse
import contextlib
import io
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks import measure
from benchmarks.bench_decode import make_clips
from heads.commands.main import main as telltale

BRANCHES = ("npr=tiny", "cnndet=tiny", "patchcraft=tiny", "f3net=tiny", "genconvit=tiny")
PROTOCOL = "frames-16@8"
WORKERS = 1


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--clips", type=int, default=12)
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = passes(Path(folder), arguments.clips, arguments.runs)
    measure.report("small", rows, ("torch", "av", "numpy"))


def extract(data: Path, store: Path, branches: Sequence[str]) -> None:
    """As typed, in this process."""
    line = ["extract", str(data), "--store", str(store), "--protocol", PROTOCOL]
    line += [text for branch in branches for text in ("--branch", branch)]
    with contextlib.redirect_stdout(io.StringIO()) as said:
        status = telltale([*line, "--workers", str(WORKERS), "--device", "cpu"])
    if status:
        raise RuntimeError(f"{' '.join(line)} ended with {status}: {said.getvalue()}")


def passes(folder: Path, clips: int, runs: int) -> list[measure.Row]:
    """Both ways in turns."""
    (folder / "clips").mkdir()
    make_clips(folder / "clips", clips)
    stores = folder / "stores"

    def run(*groups: Sequence[str]) -> None:
        shutil.rmtree(stores, ignore_errors=True)
        for branches in groups:
            extract(folder / "clips", stores / "one", branches)

    ways: dict[str, measure.Work] = {
        "five passes": lambda: run(*([branch] for branch in BRANCHES)),
        "one pass": lambda: run(BRANCHES),
    }
    seconds = measure.interleaved(ways, runs=runs, warm_up=int(runs > 1))
    ratios = measure.against(seconds, "five passes")
    return [
        {
            "what": name, "s": value, "videos": clips, "runs": runs,
            "speed against five passes": ratios[name],
        }
        for name, value in seconds.items()
    ]  # fmt: skip


if __name__ == "__main__":
    main()
