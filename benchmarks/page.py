"""Write `benchmarks/README.md` from the results: `python -m benchmarks.page [--gpu-tflops 300]`.

Everything on the page follows from the files in `benchmarks/results/` and from arithmetic in
`cost.py`, so the same results make the same page. What has no result is shown as not measured.
For a GPU of your own give its rate, and `--out` so that the page that is kept stays as it is.
"""

import argparse
import ast
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import cost, measure
from benchmarks.cost import Ablation, Pass, Rate
from benchmarks.recorded import BadResult, Result, newest, short

PAGE = Path(__file__).parent / "README.md"
NOT_MEASURED = "not measured"
FEWEST_SEEDS = 3
"""Below it a difference says nothing about the way, see `heads.judging`."""


OTHERS = ("ablations", "class_sets", "coverage", "gpu", "strategies", "tiny_worth")
"""Themes that `make bench` does not measure: they say whether numbers hold what they promise, what
strategies gain and what the `tiny` networks see, which no machine changes; one needs a GPU."""
ON_A_GPU = ("finetune", "gpu", "heads", "population", "shard")
"""Themes that a GPU has something to say about; `gpu` only a GPU."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """A benchmark that there is: `bench_THEME.py`, or one of `OTHERS`."""

    theme: str
    module: str
    about: str
    """The first sentence of its file."""


def benchmarks(folder: Path = PAGE.parent) -> list[Benchmark]:
    found = []
    for path in [*sorted(folder.glob("bench_*.py")), *(folder / f"{name}.py" for name in OTHERS)]:
        said = " ".join((ast.get_docstring(ast.parse(path.read_text())) or "").split())
        about = said.partition(": `python")[0].partition(". ")[0].rstrip(".")
        theme = path.stem.removeprefix("bench_")
        found.append(Benchmark(theme=theme, module=f"benchmarks.{path.stem}", about=about))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--gpu-tflops", type=float, help="sustained bf16 TFLOP/s for the cost model (default: "
        f"measured where a GPU result has it, else {cost.ASSUMED.tflops:g}, assumed)",
    )  # fmt: skip
    parser.add_argument("--results", type=Path, default=measure.RESULTS)
    parser.add_argument("--out", type=Path, default=PAGE)
    given = parser.parse_args()
    if given.gpu_tflops is not None and not 0 < given.gpu_tflops < float("inf"):
        parser.error(f"--gpu-tflops {given.gpu_tflops:g}: give a number above 0, such as 300")
    try:
        results = newest(given.results)
    except BadResult as error:
        print(error, file=sys.stderr)
        return 1
    rate = None if given.gpu_tflops is None else cost.given(given.gpu_tflops)
    given.out.write_text(page(results, rate))
    print(given.out)
    return 0


def page(results: Sequence[Result], rate: Rate | None = None) -> str:
    """The whole page."""
    rate = rate or cost.measured_rate(results) or cost.ASSUMED
    parts = [*_head(results), *_measured(results), *_cost_model(results, rate)]
    return "\n".join(parts) + "\n"


def _head(results: Sequence[Result]) -> Iterator[str]:
    yield "# Benchmarks"
    yield ""
    yield (
        "Written by `python -m benchmarks.page` from `benchmarks/results/`; `make bench` measures "
        "speed, all that needs no GPU, and writes it anew. The machines are shared and noisy: "
        "trust the ratios, which were taken in the same run as their baseline, and not the "
        "absolute figures. `cpu2` is two CPU cores."
    )
    yield ""
    yield from _table(
        ("theme", "what", "on a CPU", "on a GPU", "command"),
        [
            (
                each.theme,
                each.about,
                "" if each.theme == "gpu" else _runs(results, each.theme, on_gpu=False),
                _runs(results, each.theme, on_gpu=True) if each.theme in ON_A_GPU else "",
                f"`python -m {each.module}`",
            )
            for each in benchmarks()
        ],
    )


def _runs(results: Sequence[Result], theme: str, *, on_gpu: bool) -> str:
    runs = (run for run in results if (run.theme, run.on_gpu) == (theme, on_gpu))
    return ", ".join(f"{run.machine}, {run.date}" for run in runs) or NOT_MEASURED


def _measured(results: Sequence[Result]) -> Iterator[str]:
    """A table for each theme and machine."""
    for result in results:
        yield from ("", f"## {result.theme} on {result.machine}", "")
        yield f"Measured {result.date}, commit {result.commit}."
        yield ""
        yield from _table(
            ("figure", "measured", "baseline", "ratio"),
            [(each.name, each.measured, each.baseline, each.ratio) for each in result.figures],
        )
        if any(each.numbers.get("seeds", FEWEST_SEEDS) < FEWEST_SEEDS for each in result.figures):
            yield ""
            yield (
                f"Fewer than {FEWEST_SEEDS} seeds: none of these is shown to be better than "
                f"another."
            )


def _cost_model(results: Sequence[Result], rate: Rate) -> Iterator[str]:
    yield from ("", "## What a data set costs", "")
    yield (
        "Not measured: arithmetic over measured parts. Only the two networks count as GPU work "
        "(InternVideo2-L14 and Depth Pro's encoder, every view by both); reading and waiting are "
        "left out for both ways. The released way pays for a pass **in every epoch and every "
        "evaluation**; ours pays once and reads the features afterwards."
    )
    yield ""
    yield from _table(("part", "value", "origin"), _origins(results, rate))
    for videos in (cost.HFV, cost.MILLION):
        yield from ("", f"### {videos:,} videos{' (HFV)' if videos == cost.HFV else ''}", "")
        yield "One pass over all of them, released way → ours:"
        yield ""
        yield from _table(
            ("protocol", "views", "GPU hours", "decode, core hours", "store, pooled",
             "tokens 4x4", "all tokens"),
            [_pass_row(Pass(protocol=name, videos=videos, rate=rate), results)
             for name in cost.PROTOCOLS],
        )  # fmt: skip
        yield ""
        yield from _ablation(Ablation(videos=videos, rate=rate), results)


def _origins(results: Sequence[Result], rate: Rate) -> Iterator[tuple[str, str, str]]:
    needed, released = cost.NEEDED_PASSES, cost.RELEASED_PASSES
    yield "GPU, bf16, sustained", f"{rate.tflops:.4g} TFLOP/s", rate.origin
    yield (
        "InternVideo2-L14, a view", f"{cost.video_tflop():.3g} TFLOP",
        "`internvideo2.view_flops`; multiply and add count as 2",
    )  # fmt: skip
    yield (
        "depth, a view of 2 frames",
        f"{cost.depth_tflop(released):.3g} → {cost.depth_tflop(needed):.3g} TFLOP",
        f"{released} → {needed} ViT-L/16 passes a frame at 384², "
        f"{cost.depth_tflop(1) / 2:.3g} TFLOP each",
    )
    sizes = ", ".join(f"{name} {size / 1e3:,.1f} kB" for name, size in cost.view_bytes().items())
    yield "store, a view", sizes, "the branches' array specs, fp16, uncompressed"
    yield "decoding", "videos/s on one core, below in core hours", _origin(
        results, "decode",
        "720p, 121 frames, H.264; released: without depth images; ours: with them",
    )  # fmt: skip
    yield (
        "released training",
        f"{cost.EPOCHS} epochs, {cost.SAMPLES} views a video",
        "its schedule in `tests/golden/optim.json`; a backward pass counted as two forward ones, "
        "the depth network forward only",
    )
    said = f"the same ablation of {cost.BENCH_VIDEOS:,} videos, in proportion to videos and epochs"
    yield "our training", f"{cost.OUR_EPOCHS} epochs, the default", _origin(results, "heads", said)


def _origin(results: Sequence[Result], theme: str, said: str) -> str:
    for result in results:
        if result.theme == theme and not result.on_gpu:
            return f"{theme} on {result.machine}, {result.date}, commit {result.commit}: {said}"
    return NOT_MEASURED


def _pass_row(one: Pass, results: Sequence[Result]) -> tuple[str, ...]:
    hours = (one.gpu_hours(passes) for passes in (cost.RELEASED_PASSES, cost.NEEDED_PASSES))
    decode = (one.decode_core_hours(results, way) for way in ("released", "clips+depth"))
    return (
        one.protocol,
        f"{one.views:,}",
        " → ".join(_number(value) for value in hours),
        " → ".join(_number(value) for value in decode),
        *(_size(one.gigabytes(kept)) for kept in ("pooled", "tokens:4x4", "tokens")),
    )


def _ablation(one: Ablation, results: Sequence[Result]) -> Iterator[str]:
    """Fine-tuning against fine-tuning; heads on frozen features are an experiment of their own."""
    minutes = one.our_minutes(results)
    heads = NOT_MEASURED if minutes is None else f"{short(minutes)} minutes on two CPU cores"
    once = Pass(protocol=cost.TRAIN_VIEWS, videos=one.videos, rate=one.rate)
    yield (
        f"Table 3 with the backbone fine-tuned ({one.trainings} trainings, as if every video were "
        f"for training): {short(one.released_gpu_hours())} GPU hours with the depth network in "
        f"every step, as released; {short(one.cached_gpu_hours())} with depth vectors of "
        f"{cost.TRAIN_VIEWS} from the store."
    )
    yield ""
    yield (
        f"Another experiment, which changes no backbone: the same rows as heads on frozen "
        f"features, from the store: {heads}, once {cost.TRAIN_VIEWS} is in it "
        f"({short(once.gpu_hours(cost.NEEDED_PASSES))} GPU hours)."
    )


def _number(value: float | None) -> str:
    return NOT_MEASURED if value is None else short(value)


def _size(gigabytes: float) -> str:
    return f"{_number(gigabytes)} GB" if gigabytes < 1000 else f"{_number(gigabytes / 1000)} TB"


def _table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(titles)} |"
    yield f"|{' --- |' * len(titles)}"
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', '/') for cell in row)} |"


if __name__ == "__main__":
    sys.exit(main())
