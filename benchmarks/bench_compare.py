"""Ten detectors from one pass over the videos, against ten passes: decoding is counted.

    python -m benchmarks.bench_compare [--clips 12] [--runs 3] [--memory 20 200]

- `telltale extract` with ten detectors that need no download, under three protocols: in one run,
  in ten runs that share a store (each adds what is missing in it), and in ten runs with a store
  each, as ten repositories would do it. Features are the same to the bit (a test holds that);
- `--memory A B`: peak memory of the process that drives one pass, for A and for B videos.

720p clips; the networks are small, so decoding weighs as much as it can. Training is in none of it.
"""

import argparse
import contextlib
import io
import resource
import shutil
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from benchmarks import measure
from benchmarks.bench_decode import make_clips
from extract.synthesis.data_set import SyntheticOptions, write_data_set
from heads.commands.main import main as telltale
from heads.detectors.recipe import read_recipe

DETECTORS = (
    "tiny-humansam", "tiny-video", "tiny-depth", "tiny-vpvp", "efficientnet-lite0", "lite0-knn",
    "tiny-demamba", "lite0-d3", "lite0-vpvp", "priors",
)  # fmt: skip
WORKERS = 1


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--clips", type=int, default=12)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--memory", type=int, nargs=2, default=(20, 200), metavar=("A", "B"))
    parser.add_argument("--child", nargs=2, metavar=("DATA", "STORE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(*map(Path, arguments.child))
        return
    with tempfile.TemporaryDirectory() as folder:
        rows = [
            *passes(Path(folder), arguments.clips, arguments.runs),
            *memory(Path(folder), arguments.memory),
        ]
    measure.report("compare", rows, ("torch", "av", "numpy"))


def extract(data: Path, store: Path, detectors: Sequence[str]) -> None:
    """As typed, in this process."""
    line = ["extract", str(data), "--store", str(store), "--detector", ",".join(detectors)]
    with contextlib.redirect_stdout(io.StringIO()) as said:
        status = telltale([*line, "--workers", str(WORKERS), "--device", "cpu"])
    if status:
        raise RuntimeError(f"{' '.join(line)} ended with {status}: {said.getvalue()}")


def passes(folder: Path, clips: int, runs: int) -> list[measure.Row]:
    """The three ways, in turns."""
    (folder / "clips").mkdir()
    make_clips(folder / "clips", clips)
    stores = folder / "stores"

    def one_pass() -> None:
        shutil.rmtree(stores, ignore_errors=True)
        extract(folder / "clips", stores / "one", DETECTORS)

    def one_store() -> None:
        shutil.rmtree(stores, ignore_errors=True)
        for name in DETECTORS:
            extract(folder / "clips", stores / "one", [name])

    def own_stores() -> None:
        shutil.rmtree(stores, ignore_errors=True)
        for name in DETECTORS:
            extract(folder / "clips", stores / name, [name])

    ways = {
        "ten passes, a store each": own_stores, "ten passes, one store": one_store,
        "one pass": one_pass,
    }  # fmt: skip
    seconds = measure.interleaved(ways, runs=runs, warm_up=int(runs > 1))
    baseline = "ten passes, a store each"
    ratios = measure.against(seconds, baseline)
    protocols = Counter(read_recipe(name).protocol for name in DETECTORS)
    under = f"{len(DETECTORS)} detectors under {len(protocols)} protocols"
    return [
        {
            "what": f"{under}: {name}", "s": value, "videos": clips, "runs": runs,
            f"speed against {baseline}": ratios[name],
        }
        for name, value in seconds.items()
    ]  # fmt: skip


def child(data: Path, store: Path) -> None:
    extract(data, store, DETECTORS)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)


def memory(folder: Path, counts: Sequence[int]) -> list[measure.Row]:
    """The same small clips under many names."""
    for _ in write_data_set(folder / "few", SyntheticOptions(videos=8, seed=0, difficulty=0.3)):
        pass
    clips = sorted((folder / "few").rglob("*.mp4"))
    rows: list[measure.Row] = []
    for count in counts:
        data = folder / f"many{count}"
        measure.many_names(clips, data, count)
        said, seconds = measure.alone(
            "benchmarks.bench_compare", "--child", data, folder / f"m{count}"
        )
        rows.append(
            {"what": f"memory: one pass over {count} videos", "peak MB": int(said[-1]),
             "s": seconds}
        )  # fmt: skip
    return rows


if __name__ == "__main__":
    main()
