"""The page of benchmarks says what the results say, and nothing else."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from benchmarks import cost, measure, page
from benchmarks.measure import RESULTS
from benchmarks.recorded import BadResult, newest, read

ROOT = Path(__file__).parent.parent


def write(folder: Path, theme: str, rows: list[dict[str, object]], **more: str) -> Path:
    document = {"theme": theme, "date": "2026-01-02", "commit": "abc", "machine": "cpu2", **more}
    path = folder / f"{theme}_{document['machine']}_{document['date']}.json"
    path.write_text(json.dumps({**document, "rows": rows}))
    return path


def test_the_page_is_what_the_results_make() -> None:
    assert page.PAGE.read_text() == page.page(newest(RESULTS)), "run python -m benchmarks.page"


def test_a_row_becomes_figure_baseline_and_ratio(tmp_path: Path) -> None:
    row: dict[str, object] = {
        "what": "load", "way": "table", "seconds": 0.51, "MB": 123456, "speed against memmap": 0.5,
        "of it waiting": 0.1,
    }  # fmt: skip
    (figure,) = read(write(tmp_path, "store", [row])).figures
    assert (figure.name, figure.baseline, figure.ratio) == ("load, table", "memmap", "speed 0.5")
    assert figure.measured == "0.51 seconds, 123,456 MB, 0.1 of it waiting"
    text = page.page(newest(tmp_path))
    assert (
        "| load, table | 0.51 seconds, 123,456 MB, 0.1 of it waiting | memmap | speed 0.5 |" in text
    )
    assert "Measured 2026-01-02, commit abc." in text


def test_the_newest_of_a_theme_and_machine_counts_and_trial_runs_do_not(tmp_path: Path) -> None:
    for date, seconds in (("2026-01-03", 3.0), ("2026-01-12", 4.0), ("2025-12-31", 5.0)):
        write(tmp_path, "store", [{"what": "write", "s": seconds}], date=date)
    write(tmp_path, "store", [{"what": "write", "s": 1.0}], machine="h200")
    write(tmp_path, "branches_quick", [{"what": "tiny", "s": 1.0}])
    found = newest(tmp_path)
    assert [(each.theme, each.machine, each.date) for each in found] == [
        ("store", "cpu2", "2026-01-12"), ("store", "h200", "2026-01-02"),
    ]  # fmt: skip
    assert found[0].figures[0].numbers == {"s": 4.0}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot be read as JSON"),
        ("[]", "no benchmark result: theme, date, commit, machine, rows missing"),
        ('{"theme": "x", "date": "d", "rows": []}', "commit, machine missing"),
        (
            '{"benchmark": "decode", "val/1 core": {"bare": 1}}',
            "lacks a decoding rate or a machine",
        ),
        (
            '{"theme": "x", "date": "d", "commit": "c", "machine": "cpu2", "rows": 3}',
            "a list of rows missing",
        ),
        (
            '{"theme": "x", "date": "d", "commit": "c", "machine": "cpu2", "rows": [{"s": 1}]}',
            "a row without 'what'",
        ),
    ],
)
def test_an_unknown_file_is_named_with_what_to_do(
    tmp_path: Path, content: str, message: str
) -> None:
    (tmp_path / "new_cpu2_x.json").write_text(content)
    with pytest.raises(BadResult, match=rf"new_cpu2_x\.json.*{message}.*run the benchmark again"):
        newest(tmp_path)


def test_the_command_writes_the_page_and_refuses_what_it_does_not_know(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "page.md"
    arguments = ["page", "--results", str(tmp_path), "--out", str(out), "--gpu-tflops", "600"]
    monkeypatch.setattr("sys.argv", arguments)
    assert page.main() == 0
    assert "600 TFLOP/s | **given by the user, not measured**" in out.read_text()
    (tmp_path / "x.json").write_text("?")
    assert page.main() == 1
    assert "x.json cannot be read" in capsys.readouterr().err
    monkeypatch.setattr("sys.argv", [*arguments[:-1], "-3"])
    with pytest.raises(SystemExit):
        page.main()
    assert "give a number above 0" in capsys.readouterr().err


def test_what_has_no_result_is_shown_as_not_measured() -> None:
    text = page.page([])
    for benchmark in page.benchmarks():
        (line,) = re.findall(rf"^\| {benchmark.theme} \|.*$", text, re.MULTILINE)
        assert "not measured" in line
    assert text.count("from the store: not measured") == 2
    assert text.count("| not measured → not measured |") == 6
    assert "**assumed, not measured**" in text


def test_the_parts_are_those_of_the_measured_facts() -> None:
    assert cost.video_tflop() == pytest.approx(1.65, abs=0.005)
    assert cost.view_tflop(cost.RELEASED_PASSES) == pytest.approx(29.1, abs=0.05)
    assert cost.view_tflop(cost.NEEDED_PASSES) == pytest.approx(3.18, abs=0.01)
    sizes = cost.view_bytes()
    assert sizes["pooled"] == 2 * (1024 + 1024 + 768 + 2 * 1024)
    assert sizes["tokens"] == 2 * 2049 * 1024
    assert sizes["tokens:4x4"] == 2 * (1 + 8 * 16) * 1024


def test_hours_disk_and_minutes_are_arithmetic(tmp_path: Path) -> None:
    rates = {"bare": 4.0, "clips": 4.0, "clips+depth": 2.0, "released": 0.5}
    ratios = {"clips_vs_released": 8.0, "bare_vs_clips+depth": 2.0}
    decode = {"benchmark": "decode", "date": "2026-01-02", "val/1 core": {**rates, **ratios}}
    (tmp_path / "decode_cpu2_2026-01-02.json").write_text(json.dumps(decode))
    trained: dict[str, object] = {"what": f"train, {cost.OUR_EPOCHS // 2} epochs: ours", "s": 1.0}
    write(tmp_path, "heads", [trained, {"what": "ablation, 4 rows x 5 seeds", "s": 60.0}])
    results = newest(tmp_path)
    one = cost.Pass(protocol="val", videos=7200, rate=cost.given(100))
    assert one.decode_core_hours(results, "clips+depth") == 1.0
    assert one.decode_core_hours(results, "released") == 4.0
    assert one.gpu_hours(36) == pytest.approx(7200 * 29.09 / 100 / 3600, rel=1e-3)
    twelve = cost.Pass(protocol="test-4x3", videos=7200, rate=cost.given(100))
    assert twelve.decode_core_hours(results, "released") is None
    assert twelve.gpu_hours(2) == pytest.approx(12 * one.gpu_hours(2))
    assert twelve.gigabytes("tokens") == pytest.approx(12 * 7200 * 4196352 / 1e9)
    ablation = cost.Ablation(videos=5000, rate=cost.given(100))
    assert ablation.our_minutes(results) == 10.0  # 5 times the videos, twice the epochs
    # 5 seeds, 20 epochs, 2 views; four rows train the backbone, two run the depth network too
    tflop = 5000 * 5 * 20 * 2 * (4 * 3 * 1.6503 + 2 * 27.43)
    assert ablation.released_gpu_hours() == pytest.approx(tflop / 100 / 3600, rel=1e-3)
    # the same trainings; the depth network looks once at each of eight kept views
    tflop = 5000 * 5 * 20 * 2 * 4 * 3 * 1.6503 + 5000 * 8 * 1.5236
    assert ablation.cached_gpu_hours() == pytest.approx(tflop / 100 / 3600, rel=2e-3)


def test_only_like_is_compared_with_like() -> None:
    """Fine-tuning with fine-tuning; what trains less, or nothing of the backbone, has no ratio."""
    text = page.page(newest(RESULTS))
    less = [n for n in text.splitlines() if n.startswith(("| L14, pool", "| L14, blocks="))]
    assert len(less) == 2
    assert all(line.endswith("|  |  |") for line in less)
    assert "Table 3 with the backbone fine-tuned" in text
    assert "Another experiment, which changes no backbone" in text
    few = [line for line in text.splitlines() if "| 1 seeds," in line]
    assert bool(few) == ("Fewer than 3 seeds" in text)


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("NVIDIA H100 80GB HBM3", "h100"), ("NVIDIA A100-SXM4-80GB", "a100"), ("Tesla T4", "t4"),
        ("NVIDIA GeForce RTX 4090", "rtx4090"), ("NVIDIA H200", "h200"),
        ("AMD Instinct MI300X", "mi300x"),
    ],
)  # fmt: skip
def test_a_card_is_named_by_its_model(name: str, short: str) -> None:
    assert measure.card(name) == short


def test_a_recorded_gpu_rate_replaces_the_assumption(tmp_path: Path) -> None:
    write(
        tmp_path, "gpu", [{"what": "both branches", "batch": 32, "views/s": 50.0}], machine="h200"
    )
    text = page.page(newest(tmp_path))
    assert "assumed" not in text
    assert "measured on h200, 2026-01-02, commit abc: both branches, 50 views/s" in text
    assert page.page(newest(tmp_path), cost.given(300)).count("given by the user") == 1


def test_make_bench_runs_every_benchmark_and_then_writes_the_page() -> None:
    make = shutil.which("make")
    if make is None:
        pytest.skip("no make here")
    done = subprocess.run(
        [make, "--dry-run", "bench"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    modules = re.findall(r"-m (benchmarks\.\w+)", done.stdout)
    expected = [each.module for each in page.benchmarks() if each.theme not in page.OTHERS]
    assert modules == [*expected, "benchmarks.page"]
