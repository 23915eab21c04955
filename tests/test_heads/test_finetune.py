"""Fine-tuning: exact from the cache, warm, resumable, and the same in two processes."""

import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from extract.branch import BranchRequest, load_branch
from extract.manifest.manifest import Manifest
from extract.people.boxes_file import file_bytes
from extract.people.boxes_table import boxes_table
from extract.running.extraction import Extraction
from extract.running.pipeline import Settings
from extract.synthesis.true_boxes import true_boxes
from features_store import Store
from features_store.outputs import RECORD
from heads.bundle import Bundle
from heads.commands.main import main
from heads.errors import BadCheckpoint, BadTable, WrongFeatures
from heads.finetuning import step_memory
from heads.finetuning.checkpoints import Checkpoint
from heads.finetuning.data import CachedSource
from heads.finetuning.loop import CHECKPOINT, Finetuner
from heads.finetuning.setup import BACKBONE, HEAD
from heads.scoring.branches import find_branches
from heads.training.config import epoch_order
from heads.training.losses import smoothed_losses
from heads.training.model import Batch
from heads.zoo.fusion import Fusion
from tests.test_heads import finetunes, ranks
from tests.test_heads.finetunes import config, finetuning


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return finetunes.write_store(tmp_path_factory.mktemp("finetune"))


@pytest.fixture
def folder(manifest: Manifest) -> Iterator[Path]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield Path(manifest.root).parent
    torch.set_num_threads(threads)


@pytest.mark.parametrize("reach", ["pool", "blocks=1", "blocks=2"])
def test_the_cache_is_exact(folder: Path, manifest: Manifest, reach: str) -> None:
    with finetuning(folder, reach) as cached:
        cached.finetuner.fit()
    with finetuning(folder, reach, videos=manifest) as decoded:
        decoded.finetuner.fit()
    a, b = cached.finetuner, decoded.finetuner
    assert len(a.losses) == a.step > 3
    np.testing.assert_allclose(a.losses, b.losses, rtol=1e-5)
    np.testing.assert_allclose(a.history, b.history, rtol=1e-5)


def test_cached_frames_are_the_decoded_ones(
    folder: Path, manifest: Manifest, tmp_path: Path
) -> None:
    copy = shutil.copytree(folder / "store.zarr", tmp_path / "store.zarr")
    settings = Settings(protocol=finetunes.PROTOCOL, seed=finetunes.SEED)
    frames = load_branch(BranchRequest.parse("frames=rgb"))
    Extraction.begin(manifest, copy, [frames], settings).run(workers=2, bar=False)
    with finetuning(folder, "end-to-end", videos=manifest) as decoded:
        decoded.finetuner.fit(stop_after=3)
    with finetuning(folder, "end-to-end", store=Store.open(copy)) as cached:
        cached.finetuner.fit(stop_after=3)
    assert cached.finetuner.losses == decoded.finetuner.losses
    assert len(cached.finetuner.losses) == 3


def test_cached_frames_of_persons_are_not_taken_for_whole_ones(
    folder: Path, manifest: Manifest, tmp_path: Path
) -> None:
    """Nor are features of a person's network for those of whole frames."""
    people = true_boxes(Path(manifest.root), every=8)
    found = {video.id: people.boxes_of(video.id, video.path) for video in manifest.videos}
    boxes = tmp_path / "people.parquet"
    boxes.write_bytes(file_bytes(boxes_table(found), people.identity))
    query = f"crop=person&boxes={boxes}"
    settings = Settings(protocol=finetunes.PROTOCOL, seed=finetunes.SEED)
    frames = load_branch(BranchRequest.parse(f"frames=rgb?{query}"))
    copy = shutil.copytree(folder / "store.zarr", tmp_path / "store.zarr")
    Extraction.begin(manifest, copy, [frames], settings).run(workers=2, bar=False)
    store = Store.open(copy)
    with (
        pytest.raises(BadTable, match="has no frames"),
        finetuning(folder, "end-to-end", store=store),
    ):
        pass
    person = BranchRequest.parse(f"internvideo2=tiny?{query}")
    with (
        pytest.raises(BadTable, match="of this backbone"),
        finetuning(folder, "pool", store=store, backbone=person),
    ):
        pass
    with finetuning(folder, "end-to-end", store=store, backbone=person) as run:
        assert isinstance(run.finetuner.run.train, CachedSource)


def test_a_warm_start_begins_where_the_cached_head_ended(folder: Path) -> None:
    store = Store.open(folder / "store.zarr")
    bundle = finetunes.train_head(folder, store)
    assert isinstance(bundle.head, Fusion)
    with finetuning(folder, "blocks=2", start=folder / "head") as ready:
        run = ready.finetuner.run
        features = bundle.table(store, protocol=finetunes.PROTOCOL)
        rows = np.flatnonzero(np.isin(features.ids, run.validation.table.ids))
        assert isinstance(run.train, CachedSource)
        np.testing.assert_allclose(
            ready.finetuner.probabilities(run.validation),
            bundle.head.predict(features.take(rows)), atol=1e-5,
        )  # fmt: skip
        ready.finetuner.fit(stop_after=1)
        first = ready.finetuner.losses[0]
        order = epoch_order(run.config, 0, 0, run.train.samples.videos, run.train.samples.views)
        batch = slice(0, run.config.batch)
        table = features.take(np.flatnonzero(np.isin(features.ids, run.train.table.ids)))
        samples = bundle.head.samples(table, "cpu")
        rows, views = order.rows[batch], order.views[batch]
        assert bundle.head.model is not None
        logits = bundle.head.model.training_logits(
            Batch(x=samples.x[rows, views], rows=rows, views=views)
        )
        losses = smoothed_losses(logits, samples.targets[rows], run.config.smoothing)
        expected = float((losses * samples.weights[rows]).mean().detach())
        assert first == pytest.approx(expected, abs=1e-5)


def test_killed_and_resumed_gives_the_same_curve(folder: Path, tmp_path: Path) -> None:
    how = config(epochs=3, save_every=2, drop_path=0.2, ema=0.9)
    with finetuning(folder, config=how) as whole:
        whole.finetuner.fit()
    steps = []
    for stop in (1, 3, 4, None):  # 1 and 3 are lost again: nothing was saved since
        with finetuning(folder, config=how, out=tmp_path) as ready:
            steps.append(ready.finetuner.step)
            ready.finetuner.fit(stop_after=stop)
            parts = ready.finetuner
    assert steps == [0, 0, 2, 4]
    assert parts.losses == whole.finetuner.losses
    assert parts.history == whole.finetuner.history
    for name, tensor in parts.net.learnt().items():
        assert torch.equal(tensor, whole.finetuner.net.learnt()[name]), name
    with (
        pytest.raises(BadCheckpoint, match=r"lr=0.001 there, 0.1 here"),
        finetuning(folder, config=config(**{**asdict(how), "lr": 0.1}), out=tmp_path),
    ):
        pass
    (tmp_path / CHECKPOINT).write_bytes(b"no")
    with (
        pytest.raises(BadCheckpoint, match="remove it"),
        finetuning(folder, config=how, out=tmp_path),
    ):
        pass


def test_checkpoints_take_a_twentieth_of_the_time_at_most(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, saved = [0.0], list[int]()
    update = Finetuner._update

    def second(finetuner: Finetuner, *given: Any) -> None:  # noqa: ANN401 (as the step has it)
        now[0] += 1
        update(finetuner, *given)

    def write(checkpoint: Checkpoint, *_: object, **__: object) -> None:
        now[0] += 0.09
        saved.append(checkpoint.step)

    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(Finetuner, "_update", second)
    monkeypatch.setattr(Checkpoint, "save", write)
    how = config(epochs=2, batch=2, save_every=1)
    with finetuning(folder, config=how, out=tmp_path) as ready:
        ready.finetuner.fit()
    assert saved == [1, 3, 4, 6, 8]  # four steps an epoch, each with one at its end


def test_two_processes_take_the_steps_of_one(folder: Path, tmp_path: Path) -> None:
    """Both compute blocks twice where one of them has to; each may cut its share into parts."""
    with finetuning(folder, "blocks=2", config=config(drop_path=0.2)) as one:
        one.finetuner.fit()
    ranks.wait(ranks.start("tests.test_heads.finetune_rank", folder, tmp_path))
    for rank in range(2):
        found = json.loads((tmp_path / f"{rank}.json").read_text())
        assert found["twice"]
        for how in ("", " in parts"):
            np.testing.assert_allclose(found[f"losses{how}"], one.finetuner.losses, rtol=1e-5)
            np.testing.assert_allclose(found[f"history{how}"], one.finetuner.history, rtol=1e-4)


def test_end_to_end_learns_and_its_backbone_is_a_new_branch(
    folder: Path, manifest: Manifest, tmp_path: Path
) -> None:
    how = config(epochs=1, official=True, select="accuracy", adapter_turns="spatial:temporal=1:1")
    with finetuning(folder, "end-to-end", videos=manifest, config=how) as ready:
        before = {name: t.clone() for name, t in ready.finetuner.net.named_parameters()}
        report = ready.finetuner.fit(stop_after=2)
        after = dict(ready.finetuner.net.named_parameters())
        still = [name for name, t in before.items() if torch.equal(t, after[name])]
        assert [name for name in still if not name.endswith("k_bias")] == []
        assert len(report.history["loss"]) == 2
        bundle = ready.save(tmp_path / "out")
        probabilities = ready.finetuner.probabilities(ready.finetuner.run.validation)
        ids = ready.finetuner.run.validation.table.ids
    assert bundle is not None
    request = BranchRequest.parse(f"internvideo2=tiny:{tmp_path / 'out' / BACKBONE}")
    tuned = load_branch(request)
    assert tuned.offer.fingerprint != ready.branch.offer.fingerprint
    store = tmp_path / "store.zarr"
    settings = Settings(protocol=finetunes.PROTOCOL, seed=finetunes.SEED)
    branches = [tuned, load_branch(BranchRequest.parse("depthpro=tiny"))]
    Extraction.begin(manifest, store, branches, settings).run(workers=2, bar=False)
    loaded = Bundle.load(tmp_path / "out" / HEAD)
    found = find_branches(loaded, [tmp_path / "out"], "cpu")
    assert [branch.offer.fingerprint for branch in found] == [
        one.offer.fingerprint for one in branches
    ]
    table = loaded.table(Store.open(store))
    rows = [table.ids.tolist().index(video) for video in ids.tolist()]
    np.testing.assert_allclose(loaded.head.predict(table)[rows], probabilities, atol=2e-3)


def test_the_command_does_it_and_goes_on(
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = ["--store", str(folder / "store.zarr"), "--protocol", finetunes.PROTOCOL]
    command = [
        "finetune", *store, "--validation", "0.3", "--branch", "internvideo2=tiny", "--out",
        str(tmp_path / "out"), "--set", "epochs=1", "--set", "batch=4", "--official",
        "--head-set", "down_norm=ln",
    ]  # fmt: skip
    with finetuning(folder, "pool", config=config(), head_settings={"down_norm": "ln"}) as ready:
        assert ready.finetuner.memory is not None
        too_little = int(ready.finetuner.memory.needed / 0.8) - 2
    monkeypatch.setattr(step_memory, "free_bytes", lambda _: 2**30)
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "from step 0" in said
    assert "GiB of 1.00 GiB free\n" in said
    (tmp_path / "out" / CHECKPOINT).unlink()  # a run without one may begin in another way
    monkeypatch.setattr(step_memory, "free_bytes", lambda _: too_little)
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "batches are cut into 2 (accumulate=2), which changes numbers by" in said
    assert "computed twice" not in said  # no block learns
    monkeypatch.undo()
    record = json.loads((tmp_path / "out" / RECORD).read_text())
    record["made_from"] |= {"accumulate": 1, "checkpointing": False}  # as older ones have it
    (tmp_path / "out" / RECORD).write_text(json.dumps(record))
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "from step 0" not in said
    assert f"internvideo2=tiny:{tmp_path / 'out' / BACKBONE}" in said
    made = Bundle.load(tmp_path / "out" / HEAD).about.provenance
    assert (made["finetuned"], made["accumulate"], made["checkpointing"]) == ("pool", 2, False)
    for changes, says in (
        (["--depth", "end-to-end"], "no frames under train-2. Make them"),
        (["--depth", "blocks=4"], "no tokens@0 of this backbone under train-2"),
        (["--branch", "internvideo2=tiny?gelu=erf"], "no tokens of this backbone"),
        (["--branch", "depthpro=tiny"], "depthpro=tiny cannot be fine-tuned; have: "),
        (["--start", str(folder), "--head-set", "alpha=fixed"], "leave --head-set and --head out"),
        (["--alternate", "spatial:temporal=1:1"], "--set adapter_turns=… takes the same text"),
        (["--set", "layerdecay=1"], "Did you mean 'layer_decay'"),
    ):
        assert main([*command, *changes]) == 1
        assert says in capsys.readouterr().err


def test_a_tuned_bundle_promises_by_videos_that_are_named_for_it(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Out of fold is not to be had; without other videos it says that it promises nothing."""
    out = tmp_path / "out"
    command = [
        "finetune", "--store", str(folder / "store.zarr"), "--protocol", finetunes.PROTOCOL,
        "--source", "aurora", "--branch", "internvideo2=tiny", "--out", str(out),
        "--set", "epochs=1", "--set", "batch=4", "--calibrate-on",
    ]  # fmt: skip
    assert main([*command, "test"]) == 1  # before anything is trained
    assert "4 videos of 'test' are left to calibrate by, 0 were" in capsys.readouterr().err
    assert not (out / BACKBONE).exists()
    assert main(command[:-1]) == 0
    said = capsys.readouterr().out
    assert "No calibration" in said
    assert f"telltale calibrate {out / HEAD} --reals" in said
    assert main([*command, "all"]) == 0
    said = capsys.readouterr().out
    assert "left out: 8 videos" in said
    assert "Calibrated by 12 videos (split all of " in said
    assert "; 3 appearance, 3 spatial, 3 motion, 3 real)" in said
    bundle = Bundle.load(out / HEAD)
    assert set(bundle.about.conformal["0.2"]) == set(bundle.classes)
    assert bundle.rows.counts() == {"learnt": 4, "decided": 4, "calibrated": 12}
    data = str(folder / "data")  # its own videos again, looked at by its own networks
    calibrate = ["calibrate", str(out / HEAD), "--reals", data, "--scheme", "hfv4", "--fpr", "0.5"]
    assert main([*calibrate, "--out", str(tmp_path / "c"), "--workers", "1"]) == 0
    said = capsys.readouterr().out
    assert "left out: 15 videos whose label is not real" in said
    assert "left out: 2 videos that the bundle learnt from or was decided by" in said
    assert "from 3 reals)" in said
    assert Bundle.load(tmp_path / "c").about.operating[0]["reals"] == 3


def test_a_start_of_other_features_is_refused(folder: Path, tmp_path: Path) -> None:
    bundle = finetunes.train_head(folder, Store.open(folder / "store.zarr"))
    for key in ("internvideo2/attn", "depthpro/depth"):
        prints = {**bundle.about.fingerprints, key: "f" * 64}
        Bundle(bundle.head, replace(bundle.about, fingerprints=prints)).save(tmp_path / "other")
        with (
            pytest.raises(WrongFeatures, match=key),
            finetuning(folder, "pool", start=tmp_path / "other"),
        ):
            pass


def test_a_video_that_went_away_is_named(folder: Path, manifest: Manifest) -> None:
    with finetuning(folder, "pool") as ready:
        video = str(ready.finetuner.run.train.table.ids[0])
    moved = [
        replace(one, path=f"{one.path}.gone") if one.id == video else one for one in manifest.videos
    ]
    lost = replace(manifest, videos=tuple(moved))
    with (
        finetuning(folder, "pool", videos=lost) as ready,
        pytest.raises(BadTable, match=f"'{video}' was extracted and cannot be decoded now"),
    ):
        ready.finetuner.fit()
    without = replace(manifest, videos=tuple(v for v in manifest.videos if v.id != video))
    with (
        pytest.raises(BadTable, match=f"no video '{video}'"),
        finetuning(folder, "pool", videos=without),
    ):
        pass
