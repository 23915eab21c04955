"""A member of a population ends where it would have ended alone."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch._dynamo.exc import TorchDynamoException

from heads.errors import BadSetting, BadTable
from heads.measuring.metrics import macro_auc, macro_aucs
from heads.parts.fusion_gradient import Thin, gradients
from heads.parts.fusion_net import NOT_DECAYED, SIGMOID, AlphaMode, BatchStatistics, passed
from heads.parts.space import Range
from heads.tuning.adamw_moves import Move, Moves
from heads.tuning.population import Finished, Member, Population
from heads.tuning.population_size import largest, population_size
from heads.tuning.stacked_adamw import StackedAdamW
from heads.zoo.fusion import Fusion, FusionConfig
from tests.test_heads.tables import CLASSES, table

TRAIN, VALIDATION = table(70, seed=1), table(40, seed=2)

CONFIGS = st.fixed_dictionaries(
    {
        "epochs": st.integers(1, 20),
        "lr": st.floats(1e-4, 1e-2),
        "min_lr": st.floats(0, 1),
        "warmup": st.floats(0, 0.5),
        "weight_decay": st.floats(0, 0.5),
        "smoothing": st.floats(0, 0.4),
        "rank_loss": st.booleans(),
        "rank_within_class": st.booleans(),
        "mixup": st.sampled_from([0.0, 0.0, 0.4]),
        "dropout": st.sampled_from([0.0, 0.0, 0.3]),
        "alpha_start": st.floats(0.1, 0.9),
        "patience": st.sampled_from([0, 0, 3]),
        "select": st.sampled_from(["loss", "loss", "auc"]),
        "alpha": st.sampled_from(["free", "sigmoid", "fixed"]),
        "batch": st.sampled_from([16, 23, 32]),
    }
)
SHARED = st.fixed_dictionaries(
    {
        "depth": st.booleans(),
        "vector": st.sampled_from(["cat", "avg+attn", "attn"]),
        "down_norm": st.sampled_from(["bn", "ln", "none"]),
        "views": st.sampled_from(["random", "all"]),
        "hidden": st.just(12),
    }
)


@given(SHARED, st.lists(CONFIGS, min_size=1, max_size=5), st.integers(1, 3))
@settings(max_examples=6)
def test_members_end_as_they_would_alone(
    shared: dict[str, object], own: list[dict[str, object]], size: int
) -> None:
    configs = [FusionConfig(**{**shared, **each}) for each in own]  # type: ignore[arg-type]
    members = [Member(number=n, config=c, seed=n + 3) for n, c in enumerate(configs)]
    population = Population(TRAIN, VALIDATION, CLASSES, size, "cpu")
    finished = {one.member.number: one for one in population.run(members)}
    assert set(finished) == set(range(len(members)))
    for member in members:
        alone = Fusion(member.config, CLASSES)
        report = alone.fit(TRAIN, VALIDATION, seed=member.seed)
        found = finished[member.number]
        assert found.report.metric == report.metric
        (ours, our_loss), (theirs, their_loss) = (
            one.history.values() for one in (found.report, report)
        )
        assert our_loss[:2] == pytest.approx(their_loss[:2], rel=1e-3)
        tolerance = 1e-4 if "log" in report.metric else 0.02  # an AUC moves by pairs of videos
        assert ours[:1] == pytest.approx(theirs[:1], rel=tolerance)
        if member.config.patience == 0 or "log" not in report.metric:
            count = min(len(ours), len(theirs))
            assert ours[:count] == pytest.approx(theirs[:count], rel=tolerance)
        if "log" in report.metric and found.report.best_epoch == report.best_epoch:
            difference = found.head.predict(VALIDATION) - alone.predict(VALIDATION)
            assert np.abs(difference).max() < 1e-3


@given(
    SHARED, st.sampled_from(["free", "sigmoid", "fixed"]),
    st.sampled_from(["alone", "stacked", "stacked and filled up"]),
)  # fmt: skip
@settings(max_examples=20)
def test_the_gradient_in_closed_form_is_autograds(
    shared: dict[str, object], alpha: AlphaMode, lying: str
) -> None:
    config = FusionConfig(**{**shared, "alpha": alpha})  # type: ignore[arg-type]
    head, random = Fusion(config, CLASSES), torch.Generator().manual_seed(5)
    model, x = head.new_model(TRAIN, 3), head.samples(TRAIN, "cpu").x[:9, 0]
    own, layout = {name: t.detach() for name, t in model.tensors.items()}, model.layout
    present = None
    if lying != "alone":
        own = {n: t + 0.1 * torch.randn(3, *t.shape, generator=random) for n, t in own.items()}
        own = {n: t.abs() if "running" in n else t for n, t in own.items()}
        own[SIGMOID] = torch.tensor([[True], [False], [True]])
        x = x[torch.randint(9, (3, 9), generator=random)]
        if "filled" in lying:
            present = (torch.arange(9) < torch.tensor([9, 5, 7])[:, None]).float()
    keep = (torch.rand(x.shape, generator=random) > 0.3) / 0.7
    learning = {n: t for n, t in own.items() if "running" not in n and t.is_floating_point()}
    if not layout.depth:
        del learning["alpha"]
    for tensor in learning.values():
        tensor.requires_grad = True
    batch = passed(own, x, layout, BatchStatistics(own, present), keep=keep)
    wanted = torch.randn(batch.logits.shape, generator=random)
    if present is not None:
        wanted = wanted * present[..., None]  # what fills up has no loss
    theirs = torch.autograd.grad(batch.logits, list(learning.values()), wanted)
    ours = gradients(own, layout, batch, wanted)
    assert ours.keys() == learning.keys()
    for name, expected in zip(learning, theirs, strict=True):
        found = ours[name]
        found = found.whole() if isinstance(found, Thin) else found
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_a_compiled_step_is_one_program_and_moves_alike() -> None:
    random = torch.Generator().manual_seed(0)
    members = [
        {"a": torch.randn(5, 7, generator=random), "b.bias": torch.randn(4)} for _ in range(3)
    ]
    stacks = []
    for compiler in (None, torch.compile(backend="aot_eager", dynamic=True, fullgraph=True)):
        optimiser = StackedAdamW(NOT_DECAYED, 3, compiler)
        optimiser.make(members[0], ("a", "b.bias"))
        for place, member in enumerate(members):
            kept = {name: t.clone().requires_grad_(place != 1) for name, t in member.items()}
            optimiser.put(place, kept)
        random.manual_seed(1)
        for _ in range(3):
            left, right = (torch.randn(3, 2, n, generator=random) for n in (5, 7))
            told: dict[str, torch.Tensor | Thin] = {
                "a": Thin(left=left, right=right),
                "b.bias": torch.randn(3, 4, generator=random),
            }
            rates = torch.tensor([1e-2, 1e-3, 1e-1], dtype=torch.float64)
            optimiser.step(told, rates, torch.tensor([0.1, 0.2, 0.3]))
        stacks.append(optimiser.stack)
    for name in stacks[0]:
        torch.testing.assert_close(stacks[0][name], stacks[1][name])
        assert torch.equal(stacks[1][name][1], members[1][name]), "it does not learn"


MIXED = [
    FusionConfig(epochs=2, batch=16, alpha="free", dropout=0.3, hidden=12),
    FusionConfig(epochs=3, batch=23, alpha="sigmoid", mixup=0.4, hidden=12),
    FusionConfig(epochs=1, batch=64, alpha="fixed", alpha_start=0.3, hidden=12),
    FusionConfig(epochs=2, batch=69, weight_decay=0.5, hidden=12),
    FusionConfig(epochs=4, batch=32, alpha="fixed", hidden=12),
    FusionConfig(epochs=2, batch=16, lr=3e-3, smoothing=0.3, hidden=12),
    FusionConfig(epochs=3, batch=70, alpha="free", hidden=12),
]


@pytest.mark.parametrize("size", [2, 4, 9])
def test_batches_of_other_sizes_and_other_alphas_lie_side_by_side(size: int) -> None:
    """Places are taken over, filled-up batches count for nothing, and the emptied half goes."""
    members = [Member(number=n, config=config, seed=n + 3) for n, config in enumerate(MIXED)]
    taken = []

    def queue() -> Iterator[Member]:
        for member in members:
            taken.append(member.number)
            yield member

    population = Population(TRAIN, VALIDATION, CLASSES, size, "cpu")
    finished: dict[int, Finished] = {}
    for one in population.run(queue()):
        assert len(taken) <= len(finished) + size, "a member was taken before there was a place"
        finished[one.member.number] = one
    for member in members:
        alone = Fusion(member.config, CLASSES)
        report = alone.fit(TRAIN, VALIDATION, seed=member.seed)
        found = finished[member.number]
        assert found.report.best_epoch == report.best_epoch
        assert found.report.history["auc"] == pytest.approx(report.history["auc"], abs=1e-6)
        losses = [one.history["training loss"] for one in (found.report, report)]
        assert losses[0] == pytest.approx(losses[1], rel=1e-4)
        difference = found.head.predict(VALIDATION) - alone.predict(VALIDATION)
        assert np.abs(difference).max() < 1e-4
        ours, theirs = (head.model.tensors for head in (found.head, alone) if head.model)
        assert ours.keys() == theirs.keys()
        if member.config.alpha == "fixed":
            assert torch.equal(ours["alpha"], theirs["alpha"])


def test_members_that_are_told_to_stop_make_room() -> None:
    members = [Member(number=n, config=FusionConfig(epochs=10), seed=n) for n in range(6)]
    at_work: list[set[int]] = [set()]

    def stop(member: Member, epoch: int, value: float) -> bool:
        at_work[-1].add(member.number)
        assert 0 <= value <= 1
        return member.number % 2 == 0 and epoch == 1

    population = Population(TRAIN, VALIDATION, CLASSES, 2, "cpu")
    lengths = {}
    for one in population.run(members, stop):
        history = one.report.history["auc"]
        lengths[one.member.number] = len(history)
    assert lengths == {0: 2, 1: 10, 2: 2, 3: 10, 4: 2, 5: 10}


def test_what_cannot_be_stacked_is_refused() -> None:
    other = [
        Member(number=0, config=FusionConfig(epochs=1), seed=0),
        Member(number=1, config=FusionConfig(epochs=1, depth=False), seed=0),
    ]
    with pytest.raises(BadSetting, match="agree in their switches"):
        list(Population(TRAIN, VALIDATION, CLASSES, 2, "cpu").run(other))
    focal = [Member(number=0, config=FusionConfig(epochs=1, strategy="focal"), seed=0)]
    with pytest.raises(BadSetting, match="strategy=focal learns alone"):
        list(Population(TRAIN, VALIDATION, CLASSES, 2, "cpu").run(focal))
    with pytest.raises(BadSetting, match="1 or more"):
        Population(TRAIN, VALIDATION, CLASSES, 0, "cpu")
    from dataclasses import replace

    without = replace(TRAIN, ranks=TRAIN.ranks * np.nan)
    with pytest.raises(BadTable, match="no rank"):
        list(Population(without, VALIDATION, CLASSES, 1, "cpu").run(other[:1]))


def test_cpus_train_one_at_a_time() -> None:
    assert population_size("cpu", 3840, 1024, 64) == 1


def test_a_place_is_as_large_as_any_trial_may_want_it() -> None:
    assert largest("batch", {}, Fusion.SPACE) == 128
    assert largest("batch", {"batch": "512"}, {}) == 512
    assert largest("hidden", {}, {"hidden": Range(low=64, high=2048, whole=True)}) == 2048
    assert largest("hidden", {}, {}) == FusionConfig().hidden


@pytest.mark.gpu
def test_a_gpu_holds_many() -> None:
    assert population_size("cuda", 3840, 1024, 64) > 16
    members = [Member(number=n, config=FusionConfig(epochs=3), seed=n) for n in range(20)]
    found = list(Population(TRAIN, VALIDATION, CLASSES, 16, "cuda").run(members))
    assert len(found) == 20


def test_many_aucs_at_once_are_each_one() -> None:
    random = np.random.default_rng(0)
    scores = random.uniform(size=(5, 40, 4)).round(1).astype(np.float32)
    labels = random.integers(0, 4, 40)
    expected = [macro_auc(each, labels) for each in scores]
    np.testing.assert_allclose(macro_aucs(scores, labels), expected, rtol=1e-12)
    assert torch.get_num_threads() >= 1


def test_a_step_that_cannot_be_compiled_is_made_and_one_that_broke_off_is_not_made_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def moves() -> list[Move]:
        start, still, rates = torch.ones(2, 3), torch.zeros(2, 3), torch.full((2, 1), 0.1)
        return [Move(start, still, still.clone(), start.clone(), None, rates, rates, rates)]

    def failing(error: Exception) -> Moves:
        def step(_: object) -> None:
            raise error

        return Moves(lambda _: step)

    plain, fallen = moves(), moves()
    Moves(None).make(plain)
    failing(TorchDynamoException("no compiler")).make(fallen)
    assert torch.equal(fallen[0].parameter, plain[0].parameter)
    assert "populations learn without a compiled step" in caplog.text
    with pytest.raises(BadSetting, match=r"broke off .out of resource.; .*TELLTALE_COMPILE=never"):
        failing(RuntimeError("out of resource")).make(moves())
