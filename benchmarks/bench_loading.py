"""Loading InternVideo2-L14: made without numbers and filled, against built first.

    python -m benchmarks.bench_loading [--runs 3] [--preset L14]

A seeded checkpoint (1.2 GB in float32) lies in a temporary folder as safetensors and as `.pt`, in
single and in half precision. Each way runs in a process of its own and ends with the same content
hash. Time is the process's CPU time in one thread. Memory is anonymous memory at most, sampled 200
times a second, above what the process had before: pages of a mapped file are the kernel's to drop,
and are not counted. The way before: the network with its random numbers, `torch.load` of the whole
file, a float32 copy, a look for numbers that are not finite, `load_state_dict`.
"""

import argparse
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from benchmarks import measure
from extract.branches.internvideo2 import PRESETS, InternVideo2, from_state
from extract.networks import weights

BEFORE, NOW = "built first", "filled"
FILES = {
    "safetensors, float32": "single.safetensors", "pt, float32": "single.pt",
    "safetensors, float16": "half.safetensors", "pt, float16": "half.pt",
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--preset", default="L14", choices=sorted(PRESETS))
    parser.add_argument("--child", nargs=2, metavar=("WAY", "FILE"), help=argparse.SUPPRESS)
    parser.add_argument("--make", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.make:
        make(arguments.make, arguments.preset)
    elif arguments.child:
        child(arguments.child[0], Path(arguments.child[1]), arguments.preset)
    else:
        with tempfile.TemporaryDirectory() as folder:
            measure.alone(
                "benchmarks.bench_loading", "--make", folder, "--preset", arguments.preset
            )
            rows = loading(Path(folder), arguments.preset, arguments.runs)
        measure.report("loading", rows, ("torch", "safetensors"))


def make(folder: Path, preset: str) -> None:
    """Every file, of the same numbers as far as half precision has them."""
    with torch.no_grad():
        model = InternVideo2(PRESETS[preset])
        weights.seeded(model, seed=1)
        half = {key: value.half() for key, value in model.state_dict().items()}
        single = {key: value.float() for key, value in half.items()}
    for name, state in (("single", single), ("half", half)):
        save_file(state, folder / f"{name}.safetensors")
        torch.save(state, folder / f"{name}.pt")


def loading(folder: Path, preset: str, runs: int) -> list[measure.Row]:
    """Both ways of each file in turns."""
    rows: list[measure.Row] = []
    for what, name in FILES.items():
        found: dict[str, list[tuple[float, float]]] = {BEFORE: [], NOW: []}
        hashes = set()
        for _ in range(runs):
            for way, figures in found.items():
                (seconds, megabytes, content), _ = measure.alone(
                    "benchmarks.bench_loading", "--child", way, folder / name, "--preset", preset
                )
                figures.append((float(seconds), float(megabytes)))
                hashes.add(content)
        if len(hashes) != 1:
            raise RuntimeError(f"The two ways load {name} differently.")
        medians = {way: np.median(np.array(one), axis=0) for way, one in found.items()}
        base = medians[BEFORE]
        rows += [
            {
                "what": f"{preset}, {what}, {way}", "CPU s": seconds, "MB": megabytes,
                "speed against built first": base[0] / seconds, "n": runs,
            }
            for way, (seconds, megabytes) in medians.items()
        ]  # fmt: skip
    return rows


def child(way: str, path: Path, preset: str) -> None:
    """Prints CPU seconds, megabytes at most, and the hash of what was loaded."""
    torch.set_num_threads(1)
    before = _anonymous()
    start = time.process_time()
    with _sampled() as peak:
        model = built_first(path, preset) if way == BEFORE else filled(path, preset)
        seconds = time.process_time() - start
    print(seconds, (peak[0] - before) / 1024, weights.content_hash(model.state_dict())[:16])


def built_first(path: Path, preset: str) -> nn.Module:
    """Random numbers, then those of the file."""
    model = InternVideo2(PRESETS[preset])
    if path.suffix == ".safetensors":
        state = load_file(path)
    else:
        state = torch.load(path, weights_only=True)  # noqa: TID251 (as it was done before)
    copied = {key: value.float() for key, value in state.items()}
    if not all(torch.isfinite(value).all() for value in copied.values()):
        raise RuntimeError(f"{path} is damaged")
    model.load_state_dict(copied)
    return model


def filled(path: Path, preset: str) -> nn.Module:
    """As branches load."""
    model, _ = from_state(weights.read_state(path), PRESETS[preset], preset)
    return model


@contextmanager
def _sampled() -> Iterator[list[int]]:
    """The most anonymous memory until the end, in kilobytes."""
    peak, over = [_anonymous()], threading.Event()

    def sample() -> None:
        while not over.wait(0.005):
            peak[0] = max(peak[0], _anonymous())

    thread = threading.Thread(target=sample)
    thread.start()
    yield peak
    over.set()
    thread.join()
    peak[0] = max(peak[0], _anonymous())


def _anonymous() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))


if __name__ == "__main__":
    main()
