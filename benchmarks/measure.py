"""How every benchmark here measures: warm up, interleave with the baseline, report medians.

These machines are shared and noisy, so figures are ratios to a baseline of the same run. A result
is one JSON line on standard output and one file in `benchmarks/results/`.
"""

import gc
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

Row = dict[str, object]
Work = Callable[[], object]
RESULTS = Path(__file__).parent / "results"
_MAKERS = ("nvidia", "tesla", "geforce", "quadro", "amd", "instinct")


def interleaved(work: Mapping[str, Work], *, runs: int, warm_up: int = 1) -> dict[str, float]:
    """Median seconds of each piece of work, taken in turns so that noise hits all alike."""
    times: dict[str, list[float]] = {name: [] for name in work}
    for run in range(warm_up + runs):
        for name, function in work.items():
            gc.collect()
            start = time.perf_counter()
            function()
            elapsed = time.perf_counter() - start
            if run >= warm_up:
                times[name].append(elapsed)
    return {name: statistics.median(values) for name, values in times.items()}


def against(seconds: Mapping[str, float], baseline: str) -> dict[str, float]:
    """Speed of each relative to the baseline: 2.0 is twice as fast."""
    return {name: seconds[baseline] / value for name, value in seconds.items()}


def hardware() -> str:
    """`cpu2` or `h200`, for file names."""
    try:
        import torch

        if torch.cuda.is_available():
            return card(torch.cuda.get_device_name(0))
    except ImportError:
        pass
    return f"cpu{os.cpu_count()}"


def card(name: str) -> str:
    """`NVIDIA H100 80GB HBM3` → `h100`, `NVIDIA A100-SXM4-80GB` → `a100`: the model, without maker
    and memory."""
    words = [word for word in re.split(r"[\s-]+", name.lower()) if word not in _MAKERS]
    model = words[0] if any(letter.isdigit() for letter in words[0]) else "".join(words[:2])
    return re.sub(r"[^a-z0-9]", "", model) or "gpu"


def many_names(clips: Sequence[Path], folder: Path, count: int) -> None:
    """The same few clips as so many files."""
    folder.mkdir()
    for number in range(count):
        (folder / f"{number}.mp4").hardlink_to(clips[number % len(clips)])


def alone(module: str, *arguments: str | Path) -> tuple[list[str], float]:
    """What a module prints in a process of its own, so that its peak is its own; and seconds."""
    start = time.perf_counter()
    command = [sys.executable, "-m", module, *map(str, arguments)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return done.stdout.split(), time.perf_counter() - start


def report(theme: str, rows: list[Row], packages: tuple[str, ...] = ("numpy",)) -> None:
    """Print a table and one JSON line, and keep the result."""
    for row in rows:
        print(line(row))
    print(json.dumps(keep(theme, rows, packages)))


def line(row: Row) -> str:
    return "  ".join(f"{key}={_short(value)}" for key, value in row.items())


def keep(theme: str, rows: list[Row], packages: tuple[str, ...] = ("numpy",)) -> dict[str, object]:
    """Write the result's file; again and again, where rows come one by one."""
    now = datetime.now(UTC)
    result: dict[str, object] = {
        "theme": theme,
        "date": now.date().isoformat(),
        "commit": _commit(),
        "machine": hardware(),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in packages},
        "rows": rows,
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{theme}_{hardware()}_{now.date().isoformat()}.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    return result


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _commit() -> str:
    command = ["git", "-C", str(RESULTS.parent), "rev-parse", "--short", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
