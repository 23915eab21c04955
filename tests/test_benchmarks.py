"""The benchmarks run and tell right from wrong; what they measure is not a matter of tests."""

import json
import shutil
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from benchmarks import bench_branches, gpu, measure
from benchmarks.parity import __main__ as parity
from benchmarks.parity.checking import check
from extract.branches import depthpro
from extract.networks import weights

GOLDEN = Path(__file__).parent / "golden"


def test_every_golden_quantity_is_within_its_tolerance() -> None:
    rows, _ = check(GOLDEN)
    assert {row.file for row in rows} >= {
        "internvideo2_tiny_a.json", "internvideo2_tiny_b.json", "internvideo2_posembed.json",
        "depthpro_tiny.json", "fusion.json", "sampling.json", "transforms.json",
    }  # fmt: skip
    assert [row for row in rows if not row.ok] == []
    assert sum("train.grad" in row.quantity for row in rows) > 50


def test_parity_notices_one_wrong_weight(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in GOLDEN.glob("depthpro_tiny*"):
        shutil.copy(path, tmp_path)
    state = load_file(tmp_path / "depthpro_tiny_weights.safetensors")
    state["encoder.patch_encoder.blocks.1.ls2.gamma"] *= 1.01
    save_file(state, tmp_path / "depthpro_tiny_weights.safetensors")
    monkeypatch.setattr(sys, "argv", ["parity", str(tmp_path)])
    assert parity.main() == 1
    assert json.loads(capsys.readouterr().out)["exceeded"] >= 2
    (tmp_path / "empty").mkdir()
    monkeypatch.setattr(sys, "argv", ["parity", str(tmp_path / "empty")])
    assert parity.main() == 2


@torch.inference_mode()
def test_two_passes_are_the_thirty_six() -> None:
    model = depthpro.DepthProEncoder(depthpro.PRESETS["tiny"]).eval()
    weights.seeded(model, 0)
    pixels = torch.rand(1, 3, 1536, 1536) * 2 - 1
    small = torch.nn.functional.interpolate(pixels, scale_factor=0.25, mode="bilinear")
    released = bench_branches.thirty_six_passes(model, pixels)
    assert float((model(small) - released).norm() / released.norm()) < 1e-5


def test_the_gpu_benchmarks_parts_run_on_a_cpu_and_the_whole_refuses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gpu, "WARM_UP", 0)
    monkeypatch.setattr(gpu, "RUNS", 1)
    device = torch.device("cpu")
    assert gpu.matrix_rate(device, 64, torch.float32) > 0
    ways = [gpu.Way(name="eager", backend="sdpa", compiled=False)]
    (row,) = gpu.video("tiny", device, ways, (2,), peak=1e12)
    assert float(str(row["views/s"])) > 0
    assert len(list(gpu.depth("tiny", device, ways, (1,), peak=1e12))) == 2
    (both,) = gpu.together("tiny", "tiny", device, batch=1)
    assert float(str(both["views/s"])) > 0
    if torch.cuda.is_available():
        pytest.skip("there is a GPU, so it would not refuse")
    assert gpu.main([]) == 1


def test_medians_and_ratios() -> None:
    seconds = measure.interleaved({"a": lambda: None, "b": lambda: sum(range(20_000))}, runs=3)
    assert set(seconds) == {"a", "b"}
    assert measure.against({"base": 2.0, "fast": 1.0}, "base") == {"base": 1.0, "fast": 2.0}
