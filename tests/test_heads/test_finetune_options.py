"""What fine-tuning can be told: each option does what it says, and nothing else."""

import weakref
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from extract.branch import BranchRequest, load_branch
from extract.branches.internvideo2 import (
    PRESETS,
    InternVideo2,
    InternVideo2Branch,
    InternVideo2Training,
    from_state,
)
from extract.networks import weights
from extract.views.revisions import REVISIONS
from heads.errors import BadSetting, BadTable, WrongFeatures
from heads.finetuning.adapter_turns import by_kind, forget
from heads.finetuning.chance import drop_path_factors
from heads.finetuning.checks import check_same_beside, check_same_pixels
from heads.finetuning.config import FinetuneConfig, Reach
from heads.finetuning.data import CachedSource, Feeding
from heads.finetuning.loop import Finetuner
from heads.finetuning.net import FinetuneNet
from heads.finetuning.processes import Processes
from heads.finetuning.readout import FusionReadout
from heads.finetuning.run import Run
from heads.finetuning.shares import most_samples, own_shares, step_slices
from heads.parts.fusion_net import Layout, initial
from heads.scoring.explain import attention_map
from heads.training.alternate import Alternation
from heads.zoo.fusion import FusionConfig
from tests.test_heads.tables import DEPTH, TOKENS, WIDTH, table

KEY, CLIPS = "internvideo2/tokens", "frames/rgb"
SMALL = replace(
    PRESETS["tiny"],
    width=WIDTH,
    heads=4,
    hidden=32,
    depth=2,
    image=28,
    pool_width=16,
    separate_positions=True,
)


def source(seed: int, *, judge: bool = False, videos: int = 24, raw: bool = False) -> CachedSource:
    made = table(videos=videos, seed=seed, depth_signal=0.5)
    if raw:
        shape = (videos, 2, SMALL.frames, SMALL.image, SMALL.image, 3)
        clips = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
        made = replace(made, arrays={**made.arrays, CLIPS: clips})
    return CachedSource(made, CLIPS if raw else KEY, Feeding(judge=judge, rank_loss=True), raw=raw)


def finetuner(down_norm: str = "bn", folder: Path | None = None, **changes: object) -> Finetuner:
    reach = str(changes.pop("reach", "blocks=2"))
    plain = {"epochs": 2, "batch": 8, "lr": 1e-3, "select": "loss"}
    config = FinetuneConfig(**{**plain, **changes})  # type: ignore[arg-type]
    torch.set_num_threads(1)
    backbone = InternVideo2(SMALL)
    weights.seeded(backbone, 1)
    layout = Layout(
        width=WIDTH, attn=16, depth=DEPTH, hidden=DEPTH, down_norm=down_norm,  # type: ignore[arg-type]
    )  # fmt: skip
    if config.adapter_channels:
        backbone.add_adapter(config.adapter_channels)
    head = initial(layout, 4, torch.Generator().manual_seed(0))
    network, readout = InternVideo2Training(backbone), FusionReadout(FusionConfig(), layout, head)
    net = FinetuneNet(network, readout, Reach.parse(reach, 2), config, Processes())
    raw = reach == "end-to-end"
    learn, decide = source(1, raw=raw), source(2, judge=True, raw=raw)
    run = Run(config=config, train=learn, validation=decide, folder=folder, example=learn.first)
    return Finetuner(net, run)


def losses(down_norm: str = "bn", **changes: object) -> list[float]:
    made = finetuner(down_norm, None, **changes)
    made.fit()
    return made.losses


def test_it_learns() -> None:
    made = finetuner(epochs=12, lr=5e-3)
    report = made.fit()
    assert made.losses[-1] < 0.7 * made.losses[0]
    assert report.best > made.history[0]
    assert SMALL.tokens == TOKENS


def test_checkpointing_changes_nothing() -> None:
    """To the bit: a run may go on with it or without."""
    assert losses(checkpointing=True) == losses()
    dropped = losses(drop_path=0.3)
    assert losses(drop_path=0.3, checkpointing=True) == dropped
    assert abs(dropped[0] - losses()[0]) > 1e-4


@pytest.mark.parametrize(
    ("reach", "changes"),
    [
        ("blocks=2", {"drop_path": 0.3, "clip": 0.5}),
        ("blocks=2", {"batch": 7}),  # three samples are left over: a batch of at most three parts
        ("pool", {"checkpointing": True}),  # cls and avg stay as they are
        ("end-to-end", {"drop_path": 0.3, "mixup": 0.8, "cutmix": 1.0}),
    ],
)
def test_cutting_batches_changes_numbers_by_rounding_alone(
    reach: str, changes: dict[str, object]
) -> None:
    """The head's batch statistics are those of whole batches, and what is drawn is drawn once."""
    made = {
        parts: finetuner(
            "bn", None, reach=reach, optimiser="sgd", lr=0.05, accumulate=parts, **changes
        )
        for parts in (1, 2, 4)
    }
    for each in made.values():
        each.fit(stop_after=8)  # into the second epoch; the last weights stay
    whole = made.pop(1)
    for cut in made.values():
        np.testing.assert_allclose(cut.losses, whole.losses, rtol=1e-5)
        np.testing.assert_allclose(cut.history, whole.history, rtol=1e-5)
        for name, tensor in cut.net.learnt().items():
            torch.testing.assert_close(tensor, whole.net.learnt()[name], rtol=1e-5, atol=1e-6)


def noted(
    alive: list[int],
    found: list["weakref.ref[torch.UntypedStorage]"],
    _block: torch.nn.Module,
    _inputs: object,
    output: torch.Tensor,
) -> None:
    """How many of a block's earlier outputs are held, in training; and this one."""
    if output.requires_grad:
        alive.append(sum(each() is not None for each in found))
        found.append(weakref.ref(output.untyped_storage()))


def test_parts_pass_again_one_by_one_where_the_head_reads_them_whole() -> None:
    """What the first block made of a part is let go before the next part passes."""
    expected = losses("ln")
    for down_norm, parts, times in (("ln", 4, 4), ("bn", 1, 1), ("bn", 4, 8)):
        made = finetuner(down_norm, accumulate=parts, checkpointing=False)
        alive, found = list[int](), list[weakref.ref[torch.UntypedStorage]]()
        made.net.network.blocks[0].register_forward_hook(partial(noted, alive, found))
        made.fit()
        assert alive == [0] * times * made.step
        if down_norm == "ln":
            np.testing.assert_allclose(made.losses, expected, rtol=1e-5)


def test_spatial_and_temporal_weights_learn_in_turns() -> None:
    made = finetuner(adapter_turns="temporal:spatial=1:2", adapter=8, epochs=3)
    made.fit(stop_after=1)  # the adapter adds nothing yet, so nothing tells it anything
    turns = {}
    for step in range(1, 7):
        before = {name: tensor.clone() for name, tensor in made.net.learnt().items()}
        made.fit(stop_after=step + 1)
        changed = {
            name for name, tensor in made.net.learnt().items()
            if not torch.equal(tensor, before[name])
        }  # fmt: skip
        turns[step] = "".join(
            kind[0] for kind in ("spatial", "temporal")
            if f"backbone.adapter.layer.{kind}.weight" in changed
        )  # fmt: skip
        assert {"backbone.adapter.expand.weight", "backbone.blocks.1.attn.qkv.weight"} <= changed
    assert turns == {1: "s", 2: "s", 3: "t", 4: "s", 5: "s", 6: "t"}


def test_whose_turn_it_is_goes_by_name() -> None:
    names = {
        "backbone.patch_embed.proj.weight": "temporal",
        "backbone.pos_embed_spatial": "temporal",
        "backbone.adapter.layer.spatial.weight": "temporal",
        "backbone.pos_embed_temporal": "spatial",
        "backbone.adapter.layer.temporal.weight": "spatial",
        "backbone.pos_embed": None,
        "backbone.blocks.0.attn.qkv.weight": None,
        "head.head/weight": None,
    }
    for step, turn in enumerate(("spatial", "temporal")):
        named = [(name, torch.ones(1, requires_grad=True)) for name in names]
        for _, tensor in named:
            tensor.grad = torch.ones(1)
        forget(Alternation.parse("spatial:temporal=1:1"), step, by_kind(named))
        silenced = [name for name, tensor in named if tensor.grad is None]
        assert silenced == [name for name, silent in names.items() if silent == turn]


def test_an_adapter_adds_nothing_at_first_and_is_part_of_the_weights() -> None:
    tokens_bnd = torch.randn(2, SMALL.tokens, SMALL.width)
    backbone = InternVideo2(SMALL)
    weights.seeded(backbone, 1)
    backbone.add_adapter(8)
    assert torch.equal(backbone.adapted(tokens_bnd), tokens_bnd)
    assert backbone.adapter is not None
    torch.nn.init.normal_(backbone.adapter.expand.weight)
    adapted = backbone.adapted(tokens_bnd)
    assert torch.equal(adapted[:, 0], tokens_bnd[:, 0])
    assert not torch.allclose(adapted, tokens_bnd)
    again, _ = from_state(backbone.state_dict(), SMALL, "small")
    assert torch.equal(again.adapted(tokens_bnd), adapted)


def test_an_adapter_sees_neighbours_in_space_and_then_in_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A change of one token reaches the 27 around it, and no other."""
    backbone = InternVideo2(replace(SMALL, image=84, patch=14))
    backbone.add_adapter(SMALL.width)
    adapter = backbone.adapter
    assert adapter is not None
    monkeypatch.setattr(adapter.layer, "norm", torch.nn.Identity())  # it sees the whole clip
    for parameter in adapter.parameters():
        torch.nn.init.uniform_(parameter, 0.1, 0.2)
    frames, side = SMALL.frames, 6
    one_bnd = torch.randn(1, 1 + frames * side**2, SMALL.width)
    other_bnd = one_bnd.clone()
    other_bnd[0, 1 + 3 * side**2 + 2 * side + 4] += 1 + torch.arange(SMALL.width)
    differs = (adapter(other_bnd) != adapter(one_bnd)).any(-1)[0, 1:].unflatten(0, (8, 6, 6))
    expected = torch.zeros(frames, side, side, dtype=torch.bool)
    expected[2:5, 1:4, 3:6] = True
    assert torch.equal(differs, expected)


def test_explaining_looks_through_the_adapter() -> None:
    branch = load_branch(BranchRequest.parse("internvideo2=tiny?precision=float32"))
    assert isinstance(branch, InternVideo2Branch)
    clips = branch.example(1)
    plain = attention_map(branch, clips)
    branch.model.add_adapter(8)
    np.testing.assert_array_equal(attention_map(branch, clips), plain)
    assert branch.model.adapter is not None
    torch.nn.init.normal_(branch.model.adapter.expand.weight)
    assert not np.allclose(attention_map(branch, clips), plain, rtol=0.01)


def test_depth_of_two_networks_is_refused() -> None:
    learn = table(8, depth_signal=0.5)
    other = {**learn.fingerprints, "depthpro/depth": "f" * 64}
    check_same_beside(learn, learn)
    with pytest.raises(WrongFeatures, match="different networks; give --validation-protocol val"):
        check_same_beside(learn, replace(learn, fingerprints=other))


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_stays_near(precision: str) -> None:
    found = losses(precision=precision)
    np.testing.assert_allclose(found, losses(), rtol=0.05)
    assert found != losses()


def test_clipping_limits_what_a_step_does() -> None:
    whole, little = losses(), losses(clip=1e-9)  # far below AdamW's epsilon: nearly no step
    assert whole[0] == little[0]
    assert abs(whole[-1] - little[-1]) > 1e-3
    assert losses(clip=1e6) == losses(clip=0)


def test_the_average_is_judged_and_kept() -> None:
    plain, averaged = finetuner(), finetuner(ema=0.9)
    plain.fit(), averaged.fit()
    assert plain.losses == averaged.losses
    assert plain.history[0] == averaged.history[0]
    assert plain.history[1:] != averaged.history[1:]


def test_it_stops_when_there_is_no_more_to_hope_for() -> None:
    made = finetuner("ln", epochs=9, patience=2, lr=0.0)
    report = made.fit()
    assert len(made.history) == 3
    assert report.best == max(made.history)


def test_drop_path_keeps_the_mean_and_grows_with_depth() -> None:
    factors = drop_path_factors(0.5, 3, 4000, (1, 2))
    assert (factors[0] == 1).all()
    np.testing.assert_allclose(factors.mean((1, 2)), 1, atol=0.05)
    zeros = (factors == 0).float().mean((1, 2)).tolist()
    np.testing.assert_allclose(zeros, [0, 0.25, 0.5], atol=0.03)
    assert torch.equal(factors, drop_path_factors(0.5, 3, 4000, (1, 2)))


def test_a_batch_is_shared_by_all() -> None:
    assert step_slices(10, 4, 1) == [slice(0, 4), slice(4, 8), slice(8, 10)]
    assert step_slices(10, 4, 4) == [slice(0, 4), slice(4, 10)]
    with pytest.raises(BadTable, match="cannot be shared"):
        step_slices(3, 4, 4)


@pytest.mark.parametrize("mixup", [0.0, 0.4])
def test_the_most_samples_that_a_process_has_at_once(mixup: float) -> None:
    config = FinetuneConfig(batch=8, mixup=mixup)
    for samples in (8, 19, 21):
        for accumulate in (1, 2, 3):
            cut = replace(config, accumulate=accumulate)
            parts = step_slices(samples, 8, accumulate)
            shares = [len(own) for part in parts for own in own_shares(part, cut, Processes())]
            assert most_samples(samples, config, accumulate) == max(shares)


def test_judging_takes_no_more_samples_at_once_than_training(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made, whole = finetuner(accumulate=4), finetuner()
    expected = whole.probabilities(whole.run.validation)
    sizes = list[int]()
    forward = FinetuneNet.forward

    def counted(net: FinetuneNet, inputs: torch.Tensor, *rest: Any, **how: Any) -> object:  # noqa: ANN401 (as the network has it)
        sizes.append(len(inputs))
        return forward(net, inputs, *rest, **how)

    monkeypatch.setattr(FinetuneNet, "forward", counted)
    np.testing.assert_allclose(made.probabilities(made.run.validation), expected, atol=1e-6)
    assert max(sizes) == 2


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"cutmix": -1.0}, "cutmix=-1: give 0"),
        ({"alternate": "spatial:spatial=1:1"}, "spatial:temporal=1:20"),
        ({"layer_decay": 0.0}, "layer_decay=0: give 0.01 to 1"),
        ({"accumulate": 0}, "accumulate=0"),
        ({"drop_path": 1.0}, "drop_path=1"),
    ],
)
def test_settings_that_cannot_be_are_refused(changes: dict[str, float], says: str) -> None:
    with pytest.raises(BadSetting, match=says):
        FinetuneConfig(**changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["", "blocks=0", "blocks=5", "blocks", "all"])
def test_unknown_depths_are_refused(text: str) -> None:
    with pytest.raises(BadSetting, match=r"pool, blocks=1 … blocks=4"):
        Reach.parse(text, 4)
    assert Reach.parse("blocks=4", 4).layer == 1
    assert Reach.parse("pool", 4).layer == 5


def test_views_decoded_now_must_be_of_the_revision_that_depth_was_made_of(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    check_same_pixels({}, "train-8")  # from before revisions: the first
    check_same_pixels({"revisions": {"views": 1, "augmentation": 1}}, "train-8")
    monkeypatch.setitem(REVISIONS, "augmentation", 2)
    with pytest.raises(WrongFeatures, match=r"views of revision .*'augmentation': 1"):
        check_same_pixels({}, "train-8")
    check_same_pixels({}, "val")
