"""What damage does to verdicts, for whatever damage a store has."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from features_store import Store
from heads.bundle import Bundle
from heads.commands.main import main
from heads.errors import BadTable
from heads.figures import charts
from heads.judging import paper
from heads.judging.robustness import Robustness, perturbed, robustness
from heads.reporting.page import write_report
from tests.test_heads.stores import write_features
from tests.test_heads.tables import CLASSES, table

VIDEOS = 160
DAMAGE = {"jpeg90": 0.2, "jpeg50": 1.0, "jpeg20": 4.0, "blur3": 0.5, "mixed": 30.0}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store whose perturbed features are the plain ones and noise, and a bundle."""
    folder = tmp_path_factory.mktemp("robust")
    found = table(VIDEOS, seed=5, video_signal=4.0)
    store = Store.create(folder / "s", scheme="hfv4", classes=CLASSES)
    names = (paper.DAMAGE_SOURCE, "pika_1_human_dim", "K400")
    real = found.labels == CLASSES.index("real")
    sources = [names[2] if real[n] else names[n // 4 % 2] for n in range(VIDEOS)]
    splits = [("train", "val", "test", "test")[n // 8 % 4] for n in range(VIDEOS)]
    store.add_videos(
        {
            "id": [str(name) for name in found.ids], "label": found.labels,
            "rank": found.ranks, "source": sources, "split": splits,
        }
    )  # fmt: skip
    write_features(store, found)
    for name, strength in DAMAGE.items():
        random = np.random.default_rng(len(name))
        noisy = {
            key: (array + strength * random.normal(size=array.shape)).astype(np.float16)
            for key, array in found.arrays.items()
        }
        write_features(store, replace(found, arrays=noisy), f"val+{name}")
    write_features(store, found, "val+blur9", fingerprint="b" * 64)
    arguments = ("train", "--store", folder / "s", "--head", "linear", "--protocol", "val")
    assert main([str(a) for a in (*arguments, "--out", folder / "b")]) == 0
    return folder


@pytest.fixture(scope="module")
def judged(place: Path) -> Robustness:
    store = Store.open(place / "s")
    mask = store.videos.column("split") == "test"
    return robustness(Bundle.load(place / "b"), store, "val", mask)


def test_every_perturbed_form_is_a_column_by_kind_and_strength(judged: Robustness) -> None:
    assert list(judged.columns) == ["", "blur3", "jpeg20", "jpeg50", "jpeg90", "mixed"]
    assert [why.partition(":")[0] for why in judged.left_out] == ["val+blur9"]
    plain = judged.columns[""]
    assert (plain.flips.value, plain.flipped) == (0.0, ())
    assert plain.accuracy.value > 0.9
    worse = [judged.columns[f"jpeg{n}"].accuracy.value for n in (90, 50, 20)]
    assert worse == sorted(worse, reverse=True)
    assert judged.columns["jpeg20"].change["accuracy"].p < 0.01
    assert judged.columns["mixed"].change["auc"].interval.value < -0.2


def test_flips_name_the_videos(judged: Robustness) -> None:
    mixed = judged.columns["mixed"]
    assert len(mixed.flipped) == round(mixed.flips.value * mixed.flips.n)
    assert mixed.flips.n == 80
    flips = judged.flips()
    counts = [len(damage) for damage in flips.values()]
    assert counts == sorted(counts, reverse=True)
    assert {name for name, damage in flips.items() if "mixed" in damage} == set(mixed.flipped)


def test_table_5_is_printed_beside_its_own_generator(judged: Robustness) -> None:
    plain = judged.columns[""].table_5
    assert plain is not None
    assert plain.n == 30 + 20  # the generator's videos, and all real ones
    text = judged.text()
    assert "as in Table 5" in text
    assert "paper 92.1" in text
    assert "paper 91.8" in text
    beside = {n: one["paper, table 5"] for n, one in judged.to_json()["columns"].items()}
    assert beside["jpeg20"] is None
    json.dumps(judged.to_json(), allow_nan=False)


def test_curves_have_an_amount_and_an_interval(judged: Robustness) -> None:
    ((kind, points),) = judged.curves().items()
    assert kind == "jpeg"
    assert [amount for amount, _ in points] == [20, 50, 90]


def test_the_command_writes_all_of_it(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("robustness", place / "b", "--store", place / "s", "--protocol", "val")
    assert main([str(a) for a in (*arguments, "--out", tmp_path / "r")]) == 0
    assert "verdicts that flip" in capsys.readouterr().out
    assert {path.name for path in (tmp_path / "r").glob("[!.]*")} == {
        "robustness.json", "robustness.txt", "robustness.svg", "flips.csv"
    }  # fmt: skip
    rows = list(csv.DictReader((tmp_path / "r/flips.csv").read_text().splitlines()))
    assert int(rows[0]["flips"]) == len(rows[0]["under"].split())
    assert (tmp_path / "r/robustness.svg").read_text().startswith("<svg")


def test_a_store_without_damage_says_what_to_extract(place: Path) -> None:
    store = Store.open(place / "s")
    with pytest.raises(BadTable, match=r"--protocol val\+jpeg50\+jpeg50"):
        robustness(Bundle.load(place / "b"), store, "val+jpeg50", np.ones(VIDEOS, bool))
    assert [name for name, _ in perturbed(store, "test-4x3")] == []


def test_a_report_shows_it(tmp_path: Path, judged: Robustness) -> None:
    (tmp_path / "robustness.json").write_text(json.dumps(judged.to_json()))
    (tmp_path / "robustness.svg").write_text(
        charts.strengths(judged.curves(), judged.columns[""].auc)
    )
    written = write_report(tmp_path)
    assert written.sections == ["Robustness"]
    assert written.problems == []
    page = written.page.read_text()
    for said in ("verdicts that flip, %", "jpeg50", "91.8", "data:image/svg+xml"):
        assert said in page
