"""Detectors side by side on one store: who can run, who is ranked, and what is written."""

import csv
import io
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest

from extract.networks.weights import RANDOM as RANDOM_SOURCE
from features_store import ArraySpec, BranchSpec, Store
from features_store.schema import Status
from heads import compare_detectors
from heads.commands.main import main
from heads.comparing.comparison import Comparison
from heads.comparing.layout import number
from heads.errors import BadSetting
from heads.head import FitReport, Head, head_class
from heads.judging.evaluation import ALL
from heads.measuring.metrics import measure
from heads.reporting.page import write_report
from heads.scoring.output import read_scores
from tests.test_heads.stores import write_store

VIDEOS, FAILED = 240, 3
RANDOM = """
title = "An untrained network"
paper = "none"
licence = "none"
protocol = "frames-4@8"
branches = ["image=clip-tiny"]
head = "knn"

[settings]
arrays = "image-clip-tiny/cls"

[[published]]
what = "AUC"
value = ".99"
source = "a leaflet; not checked"
"""
BOTH = "tiny-depth,tiny-knn"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trained networks that tell little, a random one that happens to tell everything."""
    place = tmp_path_factory.mktemp("compare") / "s"
    store = write_store(place, VIDEOS, video_signal=1.0, depth_signal=0.3)
    labels = store.videos.column("label")
    spec = BranchSpec(
        name="image", preset="clip-tiny", fingerprint="b" * 64,
        arrays={"cls": ArraySpec(shape=(1, 4, 4), dtype="float32")},
        provenance={"source": RANDOM_SOURCE},
    )  # fmt: skip
    branch = store.branch("frames-4@8", spec)
    cls = np.eye(4, dtype=np.float32)[labels][:, None, None].repeat(4, 2)
    status = np.full(VIDEOS, Status.OK, np.uint8)
    status[np.flatnonzero(store.videos.column("split") == "test")[:FAILED]] = Status.FAILED
    errors = {int(row): "short" for row in np.flatnonzero(status == Status.FAILED)}
    branch.write_shard(0, {"cls": cls}, status, errors)
    (place.parent / "random.toml").write_text(RANDOM)
    return place


def typed(place: Path, out: Path, detectors: str, *options: str) -> tuple[int, str, str]:
    line = ["compare", "--detectors", detectors, "--store", str(place), "--out", str(out)]
    said, wrong = io.StringIO(), io.StringIO()
    with redirect_stdout(said), redirect_stderr(wrong):
        status = main([*line, "--device", "cpu", *options])
    return status, said.getvalue(), wrong.getvalue()


def test_of_one_network_fed_in_two_ways_each_detector_reads_its_own(
    place: Path, tmp_path: Path
) -> None:
    """The same names, two groups: the recipe says which; what nobody asked for is another's."""
    shutil.copytree(place, tmp_path / "s")
    store = Store.open(tmp_path / "s")
    labels = store.videos.column("label")
    for look, seen in (("whole", labels), ("d3", labels * 0)):
        spec = BranchSpec(
            name="image", preset="dinov2-tiny", fingerprint=look.encode().hex().ljust(16, "0"),
            arrays={"cls": ArraySpec(shape=(1, 4, 4), dtype="float32")},
            provenance={"options": {"look": look, "precision": "float32"}},
        )  # fmt: skip
        cls = np.eye(4, dtype=np.float32)[seen][:, None, None].repeat(4, 2)
        store.branch("frames-4@8", spec).write_shard(0, {"cls": cls})
    names = []
    for look in ("whole", "d3", ""):
        names.append(str(tmp_path / f"look-{look}.toml"))
        preset = f"dinov2-tiny?look={look}" if look else "dinov2-tiny"
        text = RANDOM.replace("image=clip-tiny", f"image={preset}")
        Path(names[-1]).write_text(text.replace("image-clip-tiny", "image-dinov2-tiny"))
    found = compare_detectors(store, names, out=tmp_path / "c", seeds=1)
    aucs = {
        one.name: measure(one.runs[0], found.judged.labels, found.judged.classes).auc
        for one in found.entries
    }
    assert aucs == {"look-whole": 1.0, "look-d3": 0.5}
    assert "was made with look=" in found.missing["look-"]
    assert "it reads no option" in found.missing["look-"]
    trained = str(tmp_path / "bundle")
    typed = ["--store", store.place.name, "--detector", names[0], "--folds", "0", "--out", trained]
    assert main(["train", *typed]) == 0  # reads those that its recipe names, too
    assert main(["evaluate", trained, "--store", store.place.name]) == 0
    out = str(tmp_path / "scores.csv")
    assert main(["score", store.place.name, "--bundle", trained, "--out", out]) == 0
    verdicts = {row["id"]: row["verdict"] for row in read_scores(Path(out)).to_pylist()}
    right = [store.classes[label] for label in labels.tolist()]
    assert verdicts == dict(zip(store.videos.column("id").tolist(), right, strict=True))


@contextmanager
def fits() -> Iterator[list[str]]:
    """Names of the heads that are trained."""
    trained: list[str] = []
    kinds = [head_class(name) for name in ("linear", "knn")]
    originals = {kind: kind.fit for kind in kinds}

    def noted(head: Head, *given: Any, **options: Any) -> FitReport:  # noqa: ANN401
        trained.append(head.name)
        return originals[type(head)](head, *given, **options)

    with mock.patch.object(kinds[0], "fit", noted), mock.patch.object(kinds[1], "fit", noted):
        yield trained


def test_as_typed_with_a_random_network_and_one_that_is_not_there(
    place: Path, tmp_path: Path
) -> None:
    own = str(place.parent / "random.toml")
    status, out, err = typed(place, tmp_path / "c", f"{own},{BOTH},d3,humansam", "--seeds", "1")
    assert status == 0, err
    assert "3 detectors on the same videos" in out
    assert f"{VIDEOS // 4 - FAILED} test videos judged" in out
    assert f"left out: {FAILED} test videos that random has no features or result of" in out
    assert "not compared, d3: It reads views of frames-16@8:d3; the store has" in out
    assert "not compared, humansam: depthpro-tiny@" in out
    assert " is of internvideo2=tiny; it reads internvideo2=" in out
    assert "published, random: AUC: .99 (a leaflet; not checked)" in out
    assert "against tiny-depth" in out  # never a random one, unless nothing else is there
    with (tmp_path / "c" / "comparison.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert {line["classes"] for line in lines} == {"4", "2"}
    found = {(x["classes"], x["detector"], x["column"], x["metric"]): x for x in lines}
    assert len(found) == len(lines) == 2 * 3 * 3 * 2
    best = found["4", "random", "all videos", "auc"]
    assert (float(best["value"]), best["rank"], best["marks"]) == (1.0, "", "random weights")
    others = [found["4", name, "all videos", "auc"] for name in BOTH.split(",")]
    assert sorted(line["rank"] for line in others) == ["1", "2"]
    assert all(float(x["low"]) <= float(x["value"]) <= float(x["high"]) for x in others)
    assert {line["n"] for line in others} == {str(VIDEOS // 4 - FAILED)}
    assert others[1]["test"]
    assert others[1]["against"] == "tiny-depth"
    assert not best["p"]


def test_latex_and_the_report(place: Path, tmp_path: Path) -> None:
    own = str(place.parent / "random.toml")
    typed(place, tmp_path / "c", f"{BOTH},{own}", "--seeds", "1")
    tex = (tmp_path / "c" / "comparison.tex").read_text()
    assert tex.count(r"\begin{tabular}") == tex.count(r"\end{tabular}") == 2
    assert tex.count("{") == tex.count("}")
    rows = [line for line in tex.splitlines() if line.endswith(r"\\")]
    assert {row.count("&") for row in rows} == {3}
    untrained = [row for row in rows if row.startswith("random")]
    assert len(untrained) == 2
    assert all(r"$^\dagger$" in row and "textbf" not in row for row in untrained)
    assert tex.count("textbf") >= 12  # each column's best, of both numbers
    written = write_report(tmp_path)
    assert written.sections == ["Detectors compared"]
    page = (tmp_path / "report.html").read_text()
    assert "random (random weights)" in page
    assert "a leaflet; not checked" in page
    document = json.loads((tmp_path / "c" / "comparison.json").read_text())
    assert document["layouts"][0]["rows"]["random"]["rank"] is None


def test_what_was_trained_is_not_trained_again(place: Path, tmp_path: Path) -> None:
    with fits() as trained:
        typed(place, tmp_path / "c", "tiny-depth", "--seeds", "2")
    assert trained == ["linear"] * 2
    with fits() as trained:
        status, out, _ = typed(place, tmp_path / "c", BOTH, "--seeds", "2")
    assert (status, trained) == (0, ["knn"] * 2)
    assert "no interval: 2 seeds; 3 or more are needed" in out
    assert out.count("no interval: 2 seeds") == 2  # once a table
    with fits() as trained:
        again, said, _ = typed(place, tmp_path / "c", BOTH, "--seeds", "2")
    assert (again, trained, said) == (0, [], out)
    log = tmp_path / "c" / "runs.jsonl"
    log.write_text(log.read_text()[:-9])  # killed while it wrote
    with fits() as trained:
        typed(place, tmp_path / "c", BOTH, "--seeds", "2")
    assert trained == ["knn"]
    status, _, err = typed(place, tmp_path / "c", BOTH, "--validation", "0.3")
    assert status == 1
    assert "another validation" in err


def test_a_folder_of_something_else_is_left_alone(place: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    status, _, err = typed(place, tmp_path / "mine", BOTH)
    assert (status, [p.name for p in (tmp_path / "mine").iterdir()]) == (1, ["notes.txt"])
    assert "--overwrite" in err


def test_where_none_can_run_it_says_what_to_do(place: Path, tmp_path: Path) -> None:
    status, _, err = typed(place, tmp_path / "c", "d3,dire")
    assert status == 1
    assert "None of these detectors can run" in err
    assert "telltale extract VIDEOS" in err
    assert "--detector d3 --weights xclip-b16=PATH" in err
    assert "Bring in: dire, the classifier's" in err
    assert not (tmp_path / "c").exists()


def test_nothing_is_tested_against_random_weights(place: Path, tmp_path: Path) -> None:
    own = str(place.parent / "random.toml")
    status, _, err = typed(place, tmp_path / "c", f"{BOTH},{own}", "--against", "random")
    assert status == 1
    assert "random has random weights: nothing is tested against it" in err
    with pytest.raises(BadSetting, match="give one of tiny-depth, tiny-knn"):
        compare_detectors(place, BOTH.split(","), out=tmp_path / "c", against="d3")


@pytest.fixture(scope="module")
def three_seeds(place: Path, tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    out = tmp_path_factory.mktemp("three")
    return compare_detectors(place, BOTH.split(","), out=out, against="tiny-knn")


def test_both_layouts_have_the_numbers_that_evaluate_has(three_seeds: Comparison) -> None:
    four, two = three_seeds.layouts
    entry = three_seeds.entry("tiny-depth")
    labels, classes = three_seeds.judged.labels, three_seeds.judged.classes
    wanted = measure(entry.runs[0], labels, classes)
    for layout, accuracy, auc in (
        (four, wanted.accuracy, wanted.auc),
        (two, wanted.binary_accuracy, wanted.binary_auc),
    ):
        found = [layout.cell("tiny-depth", ALL, metric) for metric in ("accuracy", "auc")]
        assert [one.value for one in found] == pytest.approx([accuracy, auc])
        assert all(one.low < one.value < one.high and not one.why for one in found)
    reals, fakes = two.counts(ALL)
    assert (reals, fakes) == (int((labels == 3).sum()), int((labels != 3).sum()))


def test_a_class_of_one_video_gives_a_number_and_no_interval() -> None:
    labels = np.array([0, 0, 0, 1])
    runs = [np.eye(2, dtype=np.float32)[[0, 0, 1, 1]] for _ in range(3)]
    for metric, value in (("accuracy", 0.75), ("auc", 5 / 6)):
        cell = number(metric, runs, labels, ("generated", "real"))
        assert cell.value == pytest.approx(value)
        assert cell.n == 4
        assert "1 of real" in cell.why
    none = number("auc", runs, labels[:3] * 0, ("generated", "real"))
    assert np.isnan(none.value)
    assert none.why == "no video is real"


def test_tests_are_the_row_minus_the_chosen_one(three_seeds: Comparison) -> None:
    four, _ = three_seeds.layouts
    tests = four.tests("tiny-depth", "tiny-knn")
    mine, other = (four.cell(name, ALL, "auc").value for name in ("tiny-depth", "tiny-knn"))
    assert tests.auc.interval.value == pytest.approx(mine - other)
    assert tests.over_seeds["auc"].value == pytest.approx(mine - other)
    assert tests.accuracy.test.startswith("McNemar")


def test_all_learn_from_what_all_have(place: Path, tmp_path: Path) -> None:
    store = Store.open(shutil.copytree(place, tmp_path / "s"))
    rows = np.flatnonzero(store.videos.column("split") == "train")[:7]
    branch = store.open_branch("frames-4@8", "image")
    branch.forget_rows(rows)
    own = str(place.parent / "random.toml")
    found = compare_detectors(store, [own, "tiny-knn"], out=tmp_path / "c", seeds=1)
    assert found.judged.learnt == int((store.videos.column("split") == "train").sum()) - 7
