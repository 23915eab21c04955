"""From a file of features to a verdict, without a video: as a user types it."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from heads.commands.main import main

COUNT = 120


def write(folder: Path) -> None:
    """Two arrays, of which the first tells the label, and the table of their videos."""
    rng = np.random.default_rng(5)
    labels = np.arange(COUNT) % 2
    ids = [f"{number:03}.mp4" for number in range(COUNT)]
    signal = rng.normal(size=(COUNT, 6)).astype(np.float32)
    signal[:, 0] += 6 * labels
    noise = rng.normal(size=(COUNT, 3, 4)).astype(np.float32)
    np.savez(folder / "own.npz", signal=signal, noise=noise[:, :1], id=np.array(ids))
    splits = ["train", "train", "val", "test"]
    rows = [
        f"{name},{('forgery', 'real')[label]},0.5,{splits[number // 2 % 4]}"
        for number, (name, label) in enumerate(zip(ids, labels, strict=True))
    ]
    (folder / "videos.csv").write_text("\n".join(["path,label,rank,split", *rows]) + "\n")


@pytest.mark.parametrize("head", ["linear", "knn", "gbdt"])
def test_heads_learn_from_imported_arrays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], head: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path)
    assert main(
        ["features", "import", "own.npz", "--name", "mine-v1", "--store", "s.zarr", "--videos",
         "videos.csv", "--scheme", "hfv2"]
    ) == 0  # fmt: skip
    said = "signal float32[1, 6], noise float32[1, 4]; 120 videos"
    assert said in capsys.readouterr().out
    arrays = ["--arrays", "mine-v1/signal,mine/noise"]
    train = ["train", "--store", "s.zarr", "--head", head, *arrays, "--out", "bundle"]
    assert main(train) == 0
    assert main(["evaluate", "bundle", "--store", "s.zarr"]) == 0
    assert "ACC / AUC" in capsys.readouterr().out
    assert main(["score", "s.zarr", "--bundle", "bundle", "--out", "scores.csv"]) == 0
    lines = (tmp_path / "scores.csv").read_text().splitlines()
    assert len(lines) == 1 + COUNT


def test_a_name_that_is_not_there_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path)
    load = ["features", "import", "own.npz", "--name", "mine", "--store", "s.zarr"]
    assert main([*load, "--videos", "videos.csv", "--scheme", "hfv2"]) == 0
    train = ["train", "--store", "s.zarr", "--head", "linear", "--out", "b"]
    assert main([*train, "--arrays", "mine/nothing"]) == 1
    assert "'nothing' unknown" in capsys.readouterr().err
    assert main(["train", "--store", "s.zarr", "--arrays", "mine/signal", "--out", "b"]) == 1
    assert "arrays" in capsys.readouterr().err


def test_big_libraries_load_only_where_they_are_used(tmp_path: Path) -> None:
    write(tmp_path)
    commands = [
        ["features", "import", "own.npz", "--name", "own", "--store", "s.zarr", "--videos",
         "videos.csv", "--scheme", "hfv2"],
        ["train", "--store", "s.zarr", "--head", "linear", "--arrays", "own/signal", "--out", "b"],
        ["evaluate", "b", "--store", "s.zarr"],
        ["score", "s.zarr", "--bundle", "b", "--out", "s.csv"],
    ]  # fmt: skip
    code = (
        "import sys; from heads.commands.main import main\n"
        f"for each in {commands!r}: assert main(each) == 0\n"
        "heavy = ('decord', 'lightgbm', 'h5py', 'optuna', 'matplotlib', 'ray', 'transformers')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip
    assert done.stdout.splitlines()[-1:] == ["[]"], done.stderr
