"""Any branch that names its layers is fine-tuned by the same loop: EfficientNet-Lite0, and a small
network of spatial and temporal kernels whose branch is a file of the user's."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from extract.branch import BranchRequest, load_branch
from extract.decoding.job import Job, Look, Output, Plan
from extract.decoding.pool import DecodePool
from extract.errors import BadSetting as AdapterRefused
from extract.networks import resnet3d
from extract.running.extraction import Extraction
from extract.running.pipeline import Settings
from extract.trainable import Trainable
from features_store import Store
from heads.bundle import Bundle
from heads.errors import BadCheckpoint, BadSetting, BadTable
from heads.finetuning.data import Pick
from heads.finetuning.optimisers import Optimisers
from heads.finetuning.setup import BACKBONE, HEAD
from heads.fitting.seeds import best_bundle, train_seeds
from heads.head import make_head
from heads.parts.arrays import load_tensors
from heads.scoring.branches import find_branches
from tests.test_features_store.test_cli import here
from tests.test_heads import networks, ranks
from tests.test_heads.networks import (
    CHOICE,
    CUBE,
    LITE,
    PROTOCOL,
    TURNS,
    WINDOWS,
    config,
    finetuning,
    finetuning_faces,
    in_turns,
)

LINEAR = {"arrays": "image/cls,image/present", "rank_loss": "false"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("networks")
    networks.write_store(folder)
    yield folder
    torch.set_num_threads(threads)


def test_the_command_trains_lite0_on_raw_video(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    said = here(
        "finetune", "--store", folder / "store.zarr", "--branch", LITE, "--depth", "pool",
        "--videos", folder / "videos.csv", "--validation", "0.25", "--workers", "1", "--device",
        "cpu", "--out", out, "--set", "epochs=1", "--set", "batch=4", "--set", "rank_loss=false",
    )  # fmt: skip
    assert "9 videos to learn from (val), 3 to decide by (val); from step 0" in said
    assert f"--branch 'image=efficientnet-lite0:{out / BACKBONE}?frames=8&size=32'" in said
    bundle = Bundle.load(out / HEAD)
    assert (bundle.about.head, bundle.head.keys) == ("linear", ("image/cls", "image/present"))
    (branch,) = find_branches(bundle, [out], "cpu")
    assert branch.offer.fingerprints["cls"] == bundle.about.fingerprints["image/cls"]


def test_lite0_goes_on_from_a_cached_head_and_becomes_a_new_branch(
    folder: Path, tmp_path: Path
) -> None:
    store = Store.open(folder / "store.zarr")
    data = CHOICE.load(store, make_head("linear", LINEAR, store.classes))
    trained = train_seeds(lambda: make_head("linear", LINEAR, store.classes), data, [0])
    cached = best_bundle(store, trained, data).save(tmp_path / "cached")
    how, out = config(lr=1e-5), tmp_path / "out"
    videos = networks.manifest(folder)
    with finetuning(
        folder, LITE, reach="blocks=3", start=tmp_path / "cached", config=how, videos=videos
    ) as ready:
        judged = ready.finetuner.run.validation
        np.testing.assert_allclose(
            ready.finetuner.probabilities(judged), cached.head.predict(data.validation), atol=1e-5
        )
        ready.finetuner.fit(stop_after=99)  # the last weights stay, best or not
        bundle = ready.save(out)
        expected = ready.finetuner.probabilities(judged)
        losses, ids = ready.finetuner.losses, judged.table.ids
    assert bundle is not None
    assert losses[-1] < 0.9 * losses[0]

    after, old = load_tensors(out / BACKBONE), load_lite().weights()
    moved = {name.split(".")[1] for name in after if name.startswith("blocks.")
             and not torch.equal(after[name], old[name])}  # fmt: skip
    assert moved == {"13", "14", "15"}  # the last three of sixteen
    assert not torch.equal(after["bn1.weight"], old["bn1.weight"])
    assert torch.equal(after["bn1.running_mean"], old["bn1.running_mean"])  # norms=kept

    (branch,) = find_branches(bundle, [out], "cpu")
    settings = Settings(protocol=PROTOCOL)
    again = tmp_path / "store.zarr"
    Extraction.begin(videos, again, [branch], settings).run(workers=1, bar=False)
    table = bundle.table(Store.open(again), where=np.isin(videos_of(again), ids))
    assert table.ids.tolist() == ids.tolist()
    np.testing.assert_allclose(bundle.head.predict(table), expected, atol=1e-4)


def videos_of(store: Path) -> np.ndarray[tuple[int], np.dtype[np.str_]]:
    found: np.ndarray[tuple[int], np.dtype[np.str_]] = Store.open(store).videos.column("id")
    return found


def test_killed_and_resumed_gives_the_same_weights_and_statistics(
    folder: Path, tmp_path: Path
) -> None:
    how = config(**TURNS, epochs=3, save_every=2, ema=0.9, dropout=0.3, mixup=0.4, cutmix=1.0)
    with finetuning(folder, CUBE, config=how) as whole:
        whole.finetuner.fit()
    steps = []
    for stop in (1, 5, None):  # 1 is lost again: nothing was saved since
        with finetuning(folder, CUBE, config=how, out=tmp_path) as ready:
            steps.append(ready.finetuner.step)
            ready.finetuner.fit(stop_after=stop)
            parts = ready.finetuner
    assert steps == [0, 0, 4]
    assert parts.losses == whole.finetuner.losses
    learnt = whole.finetuner.net.learnt()
    assert "backbone.time_bn.running_var" in learnt
    for name, tensor in parts.net.learnt().items():
        assert torch.equal(tensor, learnt[name]), name


def test_a_network_with_batch_norms_learns_otherwise_from_parts(
    folder: Path, tmp_path: Path
) -> None:
    """Which is said, and a run keeps to what it began with."""
    how = config(norms="batch", accumulate=2)
    with finetuning(folder, CUBE, config=config(norms="batch")) as whole:
        whole.finetuner.fit(stop_after=1)
    with finetuning(folder, CUBE, config=how, out=tmp_path) as ready:
        assert "each with batch statistics of its own" in str(ready.finetuner.memory)
        ready.finetuner.fit()
    assert abs(ready.finetuner.losses[0] / whole.finetuner.losses[0] - 1) > 1e-4
    with (
        pytest.raises(BadCheckpoint, match="accumulate=2 there, 1 here"),
        finetuning(folder, CUBE, config=config(norms="batch", accumulate=1), out=tmp_path),
    ):
        pass
    with finetuning(folder, CUBE, config=config(norms="batch"), out=tmp_path) as ready:
        assert ready.finetuner.run.config.parts == 2


@pytest.fixture(scope="module")
def faceless(folder: Path) -> str:
    """Windows of faces beside the rest; the video that has none."""
    return networks.write_faces(folder)


def test_two_processes_take_the_steps_of_one(folder: Path, faceless: str, tmp_path: Path) -> None:
    """With batch norms over both, kernels in turns, mixed pictures and dropout: a small network,
    and the 3D ResNet, where a process may have no window in its share of a batch. That one's losses
    move by 3e-4 when its weights do by 1e-7, so less can be asked of it."""
    assert faceless
    ranks.wait(ranks.start("tests.test_heads.network_rank", folder, tmp_path))
    found = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)]
    for network, close in (("cube", 1e-5), ("faces", 3e-3)):
        with in_turns(folder, network) as one:
            one.finetuner.fit(stop_after=99)  # the last weights stay, best or not
        assert one.finetuner.step >= 4
        for told in (each[network] for each in found):
            np.testing.assert_allclose(told["losses"], one.finetuner.losses, rtol=close)
            for name, tensor in one.finetuner.net.learnt().items():
                np.testing.assert_allclose(
                    told["learnt"][name], tensor.detach(), rtol=close, atol=close, err_msg=name
                )


def test_its_own_logit_learns_in_the_heads_place(folder: Path, tmp_path: Path) -> None:
    """One logit of being forged, in the network's file and in the bundle."""
    with finetuning(folder, CUBE, config=config(lr=0.02)) as ready:
        ready.finetuner.fit()
        bundle = ready.save(tmp_path)
        judged = ready.finetuner.run.validation
        expected = ready.finetuner.probabilities(judged)
        rows = np.arange(len(judged.table))
        (clips,) = judged.stream([Pick(rows=rows, views=np.zeros_like(rows))])
    assert bundle is not None
    tuned = load_branch(BranchRequest.parse(f"{CUBE}:{tmp_path / BACKBONE}"))
    logit = tuned.forward(clips)["logit"][:, 0]
    forged = bundle.classes.index("forgery")
    np.testing.assert_allclose(logit.sigmoid(), expected[:, 0, forged], atol=1e-5)


def test_altfreezing_learns_from_kept_windows_as_from_video(
    folder: Path, faceless: str, tmp_path: Path
) -> None:
    """From the branch `faces` or decoded, the same steps; who has no face is not learnt from."""
    videos = networks.manifest(folder)
    others = {video.id for video in videos.videos} - {faceless}
    how = config(**TURNS, epochs=1, layer_decay=1.0)
    with finetuning_faces(folder, config=how) as ready:
        run = ready.finetuner.run
        assert {*run.train.table.ids.tolist(), *run.validation.table.ids.tolist()} == others
        ready.finetuner.fit(stop_after=99)
        bundle = ready.save(tmp_path / "out")
        kernels = ("resnet.s2.pathway0_res0.branch2.b.weight",
                   "resnet.s2.pathway0_res0.branch2.a.weight")  # fmt: skip
        old = resnet3d.random(6, width=8, frames=8, image=64)
        for name in kernels:
            new = ready.finetuner.net.backbone.get_parameter(name)
            assert not torch.equal(old.get_parameter(name), new)
        rows = np.arange(2)
        (windows,) = run.train.stream([Pick(rows=rows, views=rows * 0)])
        names = [str(run.train.table.ids[row]) for row in rows]
    paths = {video.id: video.path for video in videos.videos}
    network = ready.backbone.network
    for window, name in zip(network.enter(windows, 0), names, strict=True):
        job = Job(index=0, id=name, path=paths[name])
        decoded = looked_at(ready.branch.prepare, job, WINDOWS)[:1]
        assert torch.equal(network.enter(decoded, 0)[0], window)
    assert bundle is not None
    assert bundle.head.keys == ("altfreezing/vector", "altfreezing/present")
    (branch,) = find_branches(bundle, [tmp_path / "out"], "cpu")
    assert branch.provenance["source"] == BACKBONE


def looked_at(output: Output, job: Job, protocol: str) -> Tensor:
    """What a worker makes of a video."""
    look = Look(protocol=protocol, outputs=(output,))
    with DecodePool(Plan(looks=(look,)), workers=1) as pool:
        (outcome,) = pool.run([job])
        return torch.from_numpy(outcome.arrays[output.name].copy())


def test_what_a_network_has_not_cannot_be_asked_of_it(folder: Path) -> None:
    whole = config(alternate="spatial:temporal=1:1")
    for branch, changes, says in (
        (CUBE, {"config": config(drop_path=0.1)}, "no residual blocks"),
        (CUBE, {"config": config(checkpointing=True)}, "names no blocks"),
        (CUBE, {"config": whole, "reach": "pool"}, "no spatial kernel"),
        (CUBE, {"head": "fusion"}, "give --head linear"),
        (CUBE, {"head": "linear", "head_settings": {"root": "true"}}, "no gradient"),
        (LITE, {"reach": "blocks=17"}, "blocks=16"),
    ):
        with pytest.raises(BadSetting, match=says), finetuning(folder, branch, **changes):
            pass
    with pytest.raises(BadTable, match="train from raw video"), finetuning(folder, LITE):
        pass
    with pytest.raises(BadSetting, match="no spatial and no temporal"):
        Optimisers({"backbone.x": torch.ones(1)}, load_lite(), whole, 1)
    with pytest.raises(AdapterRefused, match="takes no adapter"):
        load_lite().adapt(8, 0)


def load_lite() -> Trainable:
    found = load_branch(BranchRequest.parse(LITE)).trainable()
    assert found is not None
    return found
