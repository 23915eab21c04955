"""Numbers about predictions: metrics, intervals, calibration, audit, ablation, cross-generator."""

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from features_store.table import Table
from heads.data.sides import Data, by_id
from heads.errors import BadTable
from heads.figures import charts
from heads.head import make_head
from heads.judging import ablation, evaluation, tables
from heads.judging.cross import NOTHING, Cell, CrossTable, cross
from heads.judging.released import official_id
from heads.measuring import calibration, intervals, metrics
from tests.test_heads.tables import CLASSES, table


def random_case(seed: int, videos: int = 60) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    labels = random.permutation(np.arange(videos) % 4)
    scores = random.dirichlet(np.ones(4), videos).round(2) + 1e-3
    return (scores / scores.sum(1, keepdims=True)).astype(np.float32), labels


@given(st.integers(0, 10_000))
@settings(max_examples=25)
def test_metrics_are_scikit_learns(seed: int) -> None:
    probabilities, labels = random_case(seed)
    found = metrics.measure(probabilities, labels, CLASSES)
    onehot = np.eye(4)[labels]
    expected = roc_auc_score(onehot, probabilities, average="macro")
    assert found.auc == pytest.approx(expected, abs=1e-12)
    assert found.f1 == pytest.approx(f1_score(labels, probabilities.argmax(1), average="macro"))
    expected = average_precision_score(onehot, probabilities, average="macro")
    assert found.average_precision == pytest.approx(expected, abs=1e-12)
    order = np.random.default_rng(seed).permutation(len(labels))
    again = metrics.measure(probabilities[order], labels[order], CLASSES)
    assert again.numbers() == pytest.approx(found.numbers())


def test_a_source_of_one_class_has_an_accuracy_and_no_auc() -> None:
    probabilities, _ = random_case(1)
    found = metrics.measure(probabilities, np.full(60, 3), CLASSES)
    assert math.isnan(found.auc)
    assert "no video is appearance, spatial, motion" in found.undefined["auc"]
    assert "all videos are real" in found.undefined["binary_auc"]
    assert 0 <= found.accuracy <= 1


def test_temperature_undoes_overconfidence() -> None:
    true, _ = random_case(3, 2000)  # labels are drawn by these: they are calibrated
    labels = (np.random.default_rng(0).uniform(size=(2000, 1)) > true.cumsum(1)).sum(1).clip(0, 3)
    sharp = calibration.tempered(true[:, None], 0.3)
    found = calibration.fit_temperature(sharp, labels)
    assert 2 < found < 5
    before = calibration.reliability(sharp[:, 0], labels).error
    after = calibration.reliability(calibration.tempered(sharp, found)[:, 0], labels).error
    assert after < before
    assert calibration.fit_temperature(np.full((8, 1, 4), 0.25, np.float32), labels[:8]) == 1.0


def predictions(seed: int) -> evaluation.Predictions:
    probabilities, labels = random_case(seed)
    return evaluation.Predictions(
        ids=[f"a/{i}.mp4" for i in range(60)],
        labels=labels,
        sources=["<b>odd</b>" if i % 3 else "plain" for i in range(60)],
        classes=CLASSES,
        means=probabilities,
    )


def test_an_evaluation_averages_over_sources() -> None:
    found = predictions(4)
    result = evaluation.evaluate(found, {"0.1": 0.05})
    assert result.averaged["auc"] == 2
    assert result.sources["plain"].reals == (found.labels[::3] == 3).sum()
    each = [result.sources[name].metrics.accuracy for name in ("<b>odd</b>", "plain")]
    assert result.average["accuracy"] == pytest.approx(np.mean(each))
    assert "<b>odd</b>" in tables.text_table(result)
    json.dumps(result.to_json(), allow_nan=False)
    difference = evaluation.compare(found, predictions(4))["accuracy"]
    assert difference.interval.value == 0


def test_reals_of_their_own_source_join_every_generator() -> None:
    """Each generator has an AUC, and says how many reals it was measured with."""
    found = predictions(4)
    names = np.array(["pika" if i % 2 else "kling" for i in range(60)], dtype=object)
    names[found.labels == 3] = "k400"
    found = replace(found, sources=names.tolist())
    result = evaluation.evaluate(found)
    assert list(result.sources) == ["kling", "pika", evaluation.ALL]
    assert result.reals == ("k400",)
    reals = int((found.labels == 3).sum())
    for name in ("kling", "pika"):
        one = result.sources[name]
        assert (one.reals, one.fakes) == (reals, int((names == name).sum()))
        assert not math.isnan(one.metrics.binary_auc)
        assert one.detection is not None
        assert one.detection.auc.n == one.reals + one.fakes
    said = tables.text_table(result)
    assert "k400 in every column" in said
    assert f"{reals}+" in said
    json.dumps(result.to_json(), allow_nan=False)


def test_a_source_of_one_video_does_not_pass_for_an_average() -> None:
    found = predictions(4)
    alone = int(np.flatnonzero(found.labels != 3)[0])
    sources = ["one" if i == alone else "many" for i in range(60)]
    found = replace(found, sources=sources)
    result = evaluation.evaluate(found)
    assert result.averaged["accuracy"] == 2
    assert result.averaged["auc"] == 1
    assert "of 2 / 1" in tables.text_table(result)


def test_few_reals_promise_nothing_at_a_thousandth() -> None:
    found = evaluation.evaluate(predictions(4)).sources[evaluation.ALL].detection
    assert found is not None
    said = "\n".join(found.lines())
    assert "found at 0.1% false alarms - (n = 60; too few reals to say, 15 of 3,000)" in said


def test_confusion_has_the_shares_of_each_row() -> None:
    said = tables.confusion_text(np.array([[3, 1], [0, 0]]), ("fake", "real"))
    assert "3 (75%)" in said
    assert "1 (25%)" in said
    assert "0 (0%)" in said.splitlines()[2]


def test_what_does_not_exist_is_null_in_json() -> None:
    found = replace(predictions(4), labels=np.full(60, 3))
    document = evaluation.evaluate(found).to_json()
    json.dumps(document, allow_nan=False)


def test_videos_are_paired_by_source_and_id() -> None:
    labels = np.array([0, 3])
    perfect = evaluation.Predictions(
        ids=["A", "A"],
        labels=labels,
        sources=["one", "other"],
        classes=CLASSES,
        means=np.eye(4, dtype=np.float32)[labels],
    )
    assert evaluation.compare(perfect, perfect)["accuracy"].interval.value == 0


def test_official_ids_are_cut() -> None:
    assert official_id("x/A person is clapping-0.mp4") == "A"
    assert official_id("Vchitect-2.0_001.mp4") == "Vchitect-2"


def test_cross_generator_tables_tell_who_travels() -> None:
    found = table(160, seed=1, video_signal=3)
    reals = found.labels == 3
    names = ["camera" if real else str(s) for real, s in zip(reals, found.sources, strict=True)]
    sources = np.array(names, np.dtypes.StringDType())
    whole = replace(found, sources=sources)
    twice = Data(train=whole, validation=whole)
    result = cross(twice, lambda: make_head("linear", {}, CLASSES))
    assert (result.rows, result.columns) == (("kappa", "lambda"), ("kappa", "lambda"))
    assert np.isnan(np.diag(result.values("accuracy"))).all()
    assert (result.values("accuracy")[~np.eye(2, dtype=bool)] > 0.7).all()
    tested = result.cells[0][1]
    assert tested.accuracy.n == tested.reals + tested.fakes
    assert tested.accuracy.brackets in result.text("accuracy")
    left = cross(twice, lambda: make_head("linear", {}, CLASSES), leave_one_out=True)
    assert left.rows == ("all but kappa", "all but lambda")
    assert (left.values("accuracy") > 0.7).all()
    one = found.take(found.sources == "kappa")
    with pytest.raises(BadTable, match="2 generators or more"):
        cross(Data(train=one, validation=one), lambda: make_head("linear", {}, CLASSES))


def data(seed: int = 1, **signal: float) -> tuple[Data, Table]:
    whole = table(160, seed=seed, **signal)  # type: ignore[arg-type]
    judging = by_id(whole.ids, 0.3)
    made = Data(train=whole.take(~judging), validation=whole.take(judging))
    return made, table(200, seed=seed + 50, **signal)  # type: ignore[arg-type]


PLAN = ablation.Plan(
    head="fusion", rows=ablation.TABLE_3, seeds=3, settings={"epochs": "15", "lr": "3e-3"}
)


def test_an_ablation_finds_what_carries_the_label_and_resumes(tmp_path: Path) -> None:
    made, test = data(video_signal=0.2, depth_signal=1.5)
    runs = ablation.ablate(PLAN, made, test, tmp_path)
    for _ in range(5):
        next(runs)
    with (tmp_path / "runs.jsonl").open("a") as log:
        log.write('{"key": "torn')
    before = (tmp_path / "runs.jsonl").read_text().count('"row"')
    list(ablation.ablate(PLAN, made, test, tmp_path))
    assert before == 5
    assert (tmp_path / "runs.jsonl").read_text().count('"row"') == 12
    result = ablation.collected(PLAN, made, test, tmp_path)
    gain = result.gains["+ depth"]["auc"]
    assert gain.value > 0.1
    assert 0 < gain.p < 0.2
    assert result.against["+ depth"] == "+ cat"
    assert "n = 200 videos x 3 seeds" in result.text()
    assert "+ depth" in result.text()
    assert result.latex().startswith(r"\begin{tabular}")
    assert len(result.csv().splitlines()) == 13
    assert charts.ablation(result).startswith("<svg")
    fresh = ablation.ablate(PLAN, *data(seed=2), tmp_path)
    next(fresh)  # other videos: nothing of the old runs is used
    assert (tmp_path / "runs.jsonl").read_text().count('"row"') == 13


def test_grids() -> None:
    rows = ablation.grid({"depth": ["true", "false"], "alpha": ["free", "sigmoid"]})
    assert len(rows) == 4
    assert rows["depth=true alpha=free"] == {"depth": "true", "alpha": "free"}


def crossed(name: str) -> CrossTable:
    """Two generators; what a head learnt from it is not asked about."""
    cell = Cell(
        accuracy=intervals.wilson(30, 40), auc=intervals.wilson(36, 40), reals=10, fakes=30,
        commonest=0.625,
    )  # fmt: skip
    return CrossTable(
        rows=("kling", name), columns=("kling", name), cells=((NOTHING, cell), (cell, NOTHING)),
        unknown={},
    )  # fmt: skip


def test_a_cross_table_is_drawn_with_counts_means_and_what_needs_no_look() -> None:
    drawn = charts.cross(crossed("pika"))
    texts = re.findall(r">([^<>]+)</(?:text|tspan)>", drawn)
    assert texts.count("75") == 4  # two cells, two means
    assert texts.count("90") == 4
    assert texts.count("10+30") == 4
    assert texts.count("62") == 2
    assert texts.count("50") == 2
    assert {"mean", "without looking", "accuracy, %", "AUC, %"} <= set(texts)


def test_figures_are_svg_and_hostile_names_are_text() -> None:
    probabilities, labels = random_case(5)
    found = metrics.measure(probabilities, labels, CLASSES)
    hostile = ("<script>alert(1)</script>", "b & c", "motion", "real")
    pictures = [
        charts.confusion(found.confusion, hostile),
        charts.roc(probabilities, labels, hostile),
        charts.precision_recall(probabilities, labels, hostile),
        charts.reliability_curve(calibration.reliability(probabilities, labels)),
        charts.cross(crossed(hostile[0])),
        charts.lines({"a": [1, 2], "b": [2, 1]}, "epoch", "auc"),
    ]
    for picture in pictures:
        assert picture.startswith("<svg")
        assert "<script" not in picture


def test_each_class_has_its_numbers_and_curves() -> None:
    document = evaluation.evaluate(predictions(4)).to_json()
    whole = document["sources"]["all videos"]  # type: ignore[index]
    right = round(60 * whole["binary_accuracy"])
    sure = intervals.wilson(right, 60)
    assert whole["binary_accuracy interval"] == [sure.low, sure.high]
    assert whole["binary_auc interval"][0] < whole["binary_auc"] < whole["binary_auc interval"][1]
    classes = document["classes"]
    assert isinstance(classes, dict)
    assert set(classes) == {*CLASSES, "generated"}
    for name, one in classes.items():
        assert one["auc"]["n"] == 60, name
        (x, y), (recall, precision) = one["curves"].values()
        assert (x[0], y[0], x[-1], y[-1]) == (0, 0, 1, 1)
        assert np.trapezoid(y, x) == pytest.approx(one["auc"]["value"], abs=1e-3)
        assert len(recall) == len(precision) <= 200
    only_real = evaluation.evaluate(replace(predictions(4), labels=np.full(60, 3)))
    assert only_real.classes["real"].roc is None
    assert "every video is real" in only_real.classes["real"].auc.why
