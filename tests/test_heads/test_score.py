"""Scoring: from videos and stores alike, one row each, whatever happens on the way."""

import random
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pytest

from features_store import Store
from heads.bundle import Bundle
from heads.commands.main import main
from heads.errors import BadRun, BadSetting, WrongFeatures
from heads.head import make_head
from heads.scoring import archive, neighbours
from heads.scoring import output as output_module
from heads.scoring.archive import score_store
from heads.scoring.branches import find_branches
from heads.scoring.neighbours import Neighbours
from heads.scoring.output import Output
from heads.scoring.scorer import Scorer
from heads.zoo.fusion import Fusion
from tests.test_extract.extractions import extract, settings, write_videos
from tests.test_heads.bundles import by_id, train_bundle
from tests.test_heads.stores import write_features, write_store
from tests.test_heads.tables import CLASSES, table

KILLS = 20
BRANCHES = ("internvideo2", "depthpro")


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real files, one of them broken, with their store and a bundle."""
    folder = tmp_path_factory.mktemp("videos")
    manifest = write_videos(folder / "data", 24)
    extract(manifest, folder / "s", settings(), branches=BRANCHES)
    train_bundle(Store.open(folder / "s"), folder / "bundle", "val")
    return folder


Run = Callable[..., "Done"]


class Done(NamedTuple):
    status: int
    stdout: str
    stderr: str


@pytest.fixture
def telltale(capsys: pytest.CaptureFixture[str]) -> Run:
    """The command in this process, which saves starting one."""

    def call(*arguments: object) -> Done:
        return Done(main([str(argument) for argument in arguments]), *capsys.readouterr())

    return call


def test_scores_from_videos_are_those_from_the_store(
    telltale: Run, videos: Path, tmp_path: Path
) -> None:
    done = telltale("score", videos / "data", "--bundle", videos / "bundle",
                    "--out", tmp_path / "a.parquet", "--workers", 2)  # fmt: skip
    assert done.status == 3, done.stderr
    assert "24 rows" in done.stdout
    assert "1 failed" in done.stdout
    done = telltale(
        "score", videos / "s", "--bundle", videos / "bundle", "--out", tmp_path / "b.csv"
    )
    assert done.status == 3, done.stderr
    from_videos, from_store = by_id(tmp_path / "a.parquet"), by_id(tmp_path / "b.csv")
    assert from_videos.keys() == from_store.keys()
    for name, row in from_videos.items():
        other = from_store[name]
        if row["error"]:
            assert row["error"] == other["error"]
            assert row["verdict"] is None
            continue
        assert row["verdict"] == other["verdict"] in CLASSES
        for column in ("p_real", "forgery", "confidence"):
            assert float(str(row[column])) == pytest.approx(float(str(other[column])), abs=1e-6)
        assert float(str(row["forgery"])) == pytest.approx(1 - float(str(row["p_real"])), abs=1e-6)
    assert not list(tmp_path.glob("*.parts"))
    again = telltale(
        "score", videos / "s", "--bundle", videos / "bundle", "--out", tmp_path / "b.csv"
    )
    assert again.stdout == done.stdout


def test_one_video_on_one_screen_with_a_picture(
    telltale: Run, videos: Path, tmp_path: Path
) -> None:
    clip = sorted((videos / "data").rglob("*.mp4"))[-1]
    done = telltale("score", clip, "--bundle", videos / "bundle", "--explain", tmp_path / "why.png",
                    "--reference", videos / "s")  # fmt: skip
    assert done.status == 0, done.stderr
    assert "these networks know nothing of real ones" in done.stdout
    assert "most like" in done.stdout
    assert (tmp_path / "why.png").read_bytes().startswith(b"\x89PNG")
    lines = done.stdout.splitlines()
    start = next(i for i, line in enumerate(lines) if "shares of the logit" in line)
    numbers = np.array(
        [[float(v) for v in line.split()[-4:]] for line in lines[start + 2 : start + 8]]
    )
    np.testing.assert_allclose(numbers[:5].sum(0), numbers[5], atol=0.004)
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    done = telltale("score", broken, "--bundle", videos / "bundle")
    assert done.status == 3
    assert "cannot be scored" in done.stdout


def test_shares_add_up_to_the_logit_exactly() -> None:
    head = make_head("fusion", {"epochs": "3"}, CLASSES)
    assert isinstance(head, Fusion)
    head.fit(table(seed=1), table(40, seed=2))
    found = table(12, seed=3)
    parts = head.contributions(found, slice(None))
    total = sum(part.double() for part in parts.values())
    logits = head._scorer(found)(slice(None)).double()
    logits = logits - logits.mean(-1, keepdim=True)  # what all classes share says nothing
    assert float((total - logits).abs().max()) < 1e-6


def _score_in_child(store: str, bundle: str, out: str) -> None:
    archive.ROWS_A_PART = 16
    output_module.DURABLE_AFTER = 0.0
    scorer = Scorer(bundle=Bundle.load(Path(bundle)))
    output = Output(Path(out), {"test": 1}, about={"fixed": "date"})
    score_store(scorer, Store.open(store), "val", output)


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl"])
def test_killed_at_random_moments_and_resumed(tmp_path: Path, suffix: str) -> None:
    store = write_store(tmp_path / "s", 160)
    train_bundle(store, tmp_path / "bundle", "val")
    arguments = (str(tmp_path / "s"), str(tmp_path / "bundle"))
    _score_in_child(*arguments, str(tmp_path / f"whole{suffix}"))
    whole = by_id(tmp_path / f"whole{suffix}")
    context = get_context("forkserver")
    context.set_forkserver_preload([__name__])
    rng = random.Random(3)
    out = tmp_path / f"killed{suffix}"
    for _ in range(KILLS // 3 + 1):
        process = context.Process(target=_score_in_child, args=(*arguments, str(out)))
        process.start()
        process.join(rng.uniform(0.02, 0.4))
        process.kill()
        process.join()
    _score_in_child(*arguments, str(out))
    assert by_id(out) == whole
    assert len(whole) == 160
    assert not (tmp_path / f"{out.name}.parts").exists()


def test_another_suffix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match=r"end it in \.parquet, \.csv, \.jsonl"):
        Output(tmp_path / "a.txt", {})


def test_names_are_no_formulas_and_missing_features_have_a_row(tmp_path: Path) -> None:
    store = write_store(tmp_path / "s", 80)
    made = train_bundle(store, tmp_path / "bundle", "val")
    store.add_videos({"id": ["=cmd|' /C calc'!A0", "late.mp4"]})
    output = Output(tmp_path / "a.csv", {})
    score_store(Scorer(bundle=made), Store.open(tmp_path / "s"), "val", output)
    text = (tmp_path / "a.csv").read_text()
    assert "\n'=cmd" in text
    found = by_id(tmp_path / "a.csv")
    assert found["late.mp4"]["error"] == "its features are not in the store"
    assert len(found) == 82


def test_nearest_examples_leave_the_video_itself_out(tmp_path: Path) -> None:
    store = write_store(tmp_path / "s", 60, video_signal=4.0)
    known = Neighbours(store, "val")
    found = known.of(store.table(["internvideo2/attn"]))
    own = [str(name) for name in store.videos.column("id")]
    assert all(a != b for a, b in zip(own, found.ids, strict=True))
    labels = dict(zip(own, store.videos.column("label").tolist(), strict=True))
    same = np.mean([labels[a] == labels[b] for a, b in zip(own, found.ids, strict=True)])
    assert same > 0.6


def test_branches_are_found_by_fingerprint_or_refused(videos: Path, tmp_path: Path) -> None:
    bundle = Bundle.load(videos / "bundle")
    assert {branch.name for branch in find_branches(bundle, [], "cpu")} == set(BRANCHES)
    from dataclasses import replace

    prints = dict.fromkeys(bundle.about.fingerprints, "0" * 64)
    other = Bundle(bundle.head, replace(bundle.about, fingerprints=prints))
    with pytest.raises(WrongFeatures, match=r"No weights for .*--weights FILE_OR_FOLDER"):
        find_branches(other, [tmp_path], "cpu")


def test_a_store_scored_before_its_extraction_ended_picks_up_the_rest(tmp_path: Path) -> None:
    store = write_store(tmp_path / "s", 160)
    made = Scorer(bundle=train_bundle(store, tmp_path / "bundle", "val"))
    found = table(160, 1, seed=7)
    write_features(store, found, "test-2x1", shards=1)
    out = tmp_path / "o.csv"
    first = score_store(made, store, "test-2x1", Output(out, {"plan": 1}))
    assert first.counts is not None
    assert first.counts.failed == 128
    write_features(store, found, "test-2x1")
    second = score_store(made, store, "test-2x1", Output(out, {"plan": 1}))
    assert second.counts is not None
    assert second.counts.failed == 0
    before = out.read_bytes()
    score_store(made, store, "test-2x1", Output(out, {"plan": 1}))
    assert out.read_bytes() == before


@pytest.mark.parametrize("a_part", [1, 16, 4096])
def test_another_part_size_loses_no_row(
    tmp_path: Path, a_part: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = write_store(tmp_path / "s", 80)
    made = Scorer(bundle=train_bundle(store, tmp_path / "bundle", "val"))
    asked = []

    def stop() -> bool:
        asked.append(1)
        return len(asked) > 2

    monkeypatch.setattr(archive, "ROWS_A_PART", 16)
    out = tmp_path / "o.parquet"
    stopped = score_store(made, store, "val", Output(out, {"plan": 1}), stop)
    assert (stopped.counts, stopped.left) == (None, 48)
    monkeypatch.setattr(archive, "ROWS_A_PART", a_part)
    score_store(made, store, "val", Output(out, {"plan": 1}))
    assert len(by_id(out)) == 80
    whole = tmp_path / "whole.parquet"
    score_store(made, store, "val", Output(whole, {"plan": 1}))
    assert list(by_id(out)) == list(by_id(whole))


def test_rows_out_are_inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever goes wrong with parts, a file with rows missing is not called done."""
    store = write_store(tmp_path / "s", 40)
    made = Scorer(bundle=train_bundle(store, tmp_path / "bundle", "val"))
    monkeypatch.setattr(archive, "ROWS_A_PART", 64)
    real = Output.read

    def short(self: Output, name: str, columns: None = None) -> pa.Table:
        return real(self, name, columns)[1:]

    monkeypatch.setattr(Output, "read", short)
    with pytest.raises(BadRun, match="39 rows for 40 inputs; nothing was replaced"):
        score_store(made, store, "val", Output(tmp_path / "o.csv", {}))
    assert not (tmp_path / "o.csv").exists()


def test_neighbours_are_the_same_block_by_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = write_store(tmp_path / "s", 60)
    found = store.table(["internvideo2/attn"])
    whole = Neighbours(store, "val").of(found)
    monkeypatch.setattr(neighbours, "BLOCK", 7)
    blocks = Neighbours(store, "val").of(found)
    assert blocks.ids == whole.ids
    np.testing.assert_allclose(blocks.similarity, whole.similarity, atol=1e-6)
