"""What a step of fine-tuning takes is counted, and decides how it is taken; running out is told."""

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, distributed
from torch.autograd.graph import saved_tensors_hooks

from heads.errors import BadCheckpoint, BadSetting, TooLittleMemory
from heads.finetuning import step_memory
from heads.finetuning.checkpoints import Checkpoint
from heads.finetuning.counting import Counter, Passes
from heads.finetuning.loop import CHECKPOINT, Finetuner
from heads.finetuning.processes import Processes
from heads.finetuning.sharding import share_out
from heads.finetuning.step_memory import StepMemory, explained, standing
from heads.training import free_memory
from heads.training.free_memory import free_bytes, of_groups
from tests.test_heads.tables import DEPTH, WIDTH
from tests.test_heads.test_finetune_options import finetuner

PLENTY = 2**40
Forward = Callable[[int], Tensor]


def forward_of(made: Finetuner) -> Forward:
    train = made.run.train

    def forward(samples: int) -> Tensor:
        beside = train.samples.x[:samples, 0]
        logits: Tensor = made.net(train.first(samples), beside, raw=train.raw)
        return logits

    return forward


def held(made: Finetuner, forward: Forward, samples: int) -> int:
    """Bytes of all that a pass really keeps: here it does."""
    weights = {each.untyped_storage().data_ptr() for each in made.net.state_dict().values()}
    kept: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        forward(samples)
    found = {each.untyped_storage().data_ptr(): each.untyped_storage().nbytes() for each in kept}
    return sum(size for place, size in found.items() if place not in weights)


def counted(made: Finetuner, forward: Forward, samples: int) -> int:
    counter = Counter(made.net)
    with counter.counting():
        forward(samples)
    return counter.bytes


@pytest.mark.parametrize("twice", [False, True])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_counted_is_what_is_held(precision: str, *, twice: bool) -> None:
    made = finetuner(precision=precision, checkpointing=twice)
    forward = forward_of(made)
    made.net.train()
    for samples in (2, 5):
        assert counted(made, forward, samples) == held(made, forward, samples) > 0


def test_passes_are_told_from_two_numbers_of_samples() -> None:
    """Beside what is held stands a quarter of a block, and one block where they are made again."""
    made = finetuner()
    forward = forward_of(made)
    passes = Passes(made.net, forward)
    plain, twice = passes.take(twice=False), passes.take(twice=True)
    for samples in (4, 11):
        again = twice.of(samples) - held_in_training(made, forward, samples, twice=True)
        passing = plain.of(samples) - held_in_training(made, forward, samples, twice=False)
        assert again == pytest.approx(5 * passing, rel=1e-3)
        assert passing > 0
    assert twice.each < plain.each


def held_in_training(made: Finetuner, forward: Forward, samples: int, *, twice: bool) -> int:
    made.net.train()
    made.net.twice = twice
    return held(made, forward, samples)


def test_counting_leaves_no_trace() -> None:
    made = finetuner()
    before = {name: tensor.clone() for name, tensor in made.net.learnt().items()}
    passes = Passes(made.net, forward_of(made))
    passes.take(twice=True)
    assert passes.take(twice=False).each > 0
    assert "head.down_norm/running_mean" in before
    for name, tensor in made.net.learnt().items():
        assert torch.equal(tensor, before[name]), name
    assert not made.net.twice


def test_of_a_network_that_is_shared_out_blocks_are_not_kept_whole(tmp_path: Path) -> None:
    made, shared = (finetuner(checkpointing=False, accumulate=1) for _ in range(2))
    forward = forward_of(shared)
    where = (tmp_path / "meeting").as_uri()
    distributed.init_process_group("gloo", init_method=where, rank=0, world_size=1)
    try:
        share_out(shared.net, Processes())
        found = Passes(shared.net, forward).take(twice=False)
    finally:
        distributed.destroy_process_group()
    assert found.each == Passes(made.net, forward_of(made)).take(twice=False).each
    assert found.fixed < 0.1 * nbytes(made.net.parameters())


def nbytes(tensors: Iterable[Tensor]) -> int:
    return sum(each.nbytes for each in tensors)


@pytest.mark.parametrize("changes", [{}, {"ema": 0.9}, {"optimiser": "sgd"}])
def test_what_stands_beside_a_step_is_there_after_it(changes: dict[str, object]) -> None:
    made = finetuner("bn", None, **changes)
    foreseen = standing(made.net, made.run)
    made.fit(stop_after=1)
    versions = made.versions.state()
    gradients = nbytes(each for each in made.net.parameters() if each.requires_grad)
    copies = nbytes(versions["best"].values()) + 2 * nbytes(versions["average"].values())
    assert foreseen == gradients + nbytes(made.optimisers.moments()) + copies


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets what the device has left."""

    def give(count: float) -> None:
        monkeypatch.setattr(step_memory, "free_bytes", lambda _: int(count))

    give(PLENTY)
    return give


def memory(made: Finetuner) -> StepMemory:
    assert made.memory is not None
    return made.memory


def chosen(made: Finetuner) -> tuple[bool, int]:
    assert made.run.config.checkpointing == made.net.twice
    return made.net.twice, made.run.config.parts


def just_too_little(made: Finetuner) -> float:
    """A fifth of what is free stays free."""
    return memory(made).needed / 0.8 - 2


def test_the_first_way_that_fits_is_taken(free: Callable[[float], None]) -> None:
    ways, told = [], []
    made = finetuner()
    take = Passes(made.net, forward_of(made)).take(twice=False)
    assert memory(made).needed == standing(made.net, made.run) + take.of(made.run.config.batch)
    for _ in range(3):
        ways.append(chosen(made))
        told.append(str(memory(made)))
        free(just_too_little(made))
        made = finetuner()
    assert [*ways, chosen(made)] == [(False, 1), (True, 1), (True, 2), (True, 4)]
    passes, batch = Passes(made.net, forward_of(made)), made.run.config.batch
    parts = passes.take(twice=True).of(2) + made.run.train.first(batch - 2).nbytes
    parts += 3 * passes.head.of(batch)
    assert memory(made).needed == standing(made.net, made.run) + parts
    assert passes.head.each >= 4 * (2 * WIDTH + DEPTH)  # of what it reads it keeps this at least
    assert told[0] == f"memory: a step takes 0.00 GiB of {2**10}.00 GiB free"
    assert told[1].endswith("; blocks are computed twice (checkpointing=true), which changes no "
                            "number")  # fmt: skip
    assert told[2].endswith("cut into 2 (accumulate=2), which changes numbers by rounding alone")
    free(1)
    with pytest.raises(TooLittleMemory, match=r"with 1 samples at once and blocks computed twice"):
        finetuner()


def test_without_batch_statistics_a_part_may_be_one_sample(free: Callable[[float], None]) -> None:
    made = finetuner("ln", checkpointing=True)
    free(just_too_little(finetuner("ln", checkpointing=True, accumulate=None)))
    for parts in (2, 4, 8):
        made = finetuner("ln", checkpointing=True)
        assert chosen(made) == (True, parts)
        free(just_too_little(made))
    assert "by rounding alone" in str(memory(made))
    with pytest.raises(TooLittleMemory, match="with 1 samples at once"):
        finetuner("ln", checkpointing=True)


def test_what_is_given_is_not_chosen(free: Callable[[float], None]) -> None:
    whole = finetuner()
    free(just_too_little(whole))
    assert chosen(finetuner(checkpointing=False)) == (False, 2)
    twice = finetuner(accumulate=1)
    assert chosen(twice) == (True, 1)
    free(just_too_little(twice))
    with pytest.raises(TooLittleMemory, match="Let fewer layers learn"):
        finetuner(accumulate=1)
    assert finetuner(checkpointing=False, accumulate=1).memory is None
    with pytest.raises(BadSetting, match="accumulate=0"):
        finetuner(accumulate=0)


def test_what_is_chosen_is_what_can_be_given(free: Callable[[float], None]) -> None:
    plain, given = finetuner(), finetuner(checkpointing=True, accumulate=2)
    free(just_too_little(plain))
    twice = finetuner()
    free(just_too_little(twice))
    cut = finetuner()
    for made in (plain, given, twice, cut):
        made.fit()
    assert chosen(cut) == chosen(given)
    assert twice.losses == plain.losses
    assert cut.losses == given.losses
    np.testing.assert_allclose(cut.losses, plain.losses, rtol=1e-5)


def test_a_run_that_goes_on_cuts_batches_as_it_did(
    free: Callable[[float], None], tmp_path: Path
) -> None:
    free(just_too_little(finetuner()))
    free(just_too_little(finetuner()))
    begun = finetuner(folder=tmp_path)
    begun.fit(stop_after=3)
    assert chosen(begun) == (True, 2)
    free(PLENTY)
    gone_on, whole = finetuner(folder=tmp_path), finetuner(accumulate=2)
    assert gone_on.step == 3
    assert chosen(gone_on) == (False, 2)  # blocks computed once or twice are the same
    gone_on.fit(), whole.fit()
    assert gone_on.losses == whole.losses
    told = finetuner(folder=tmp_path, accumulate=1)
    assert told.step > 3
    assert chosen(told) == (False, 1)
    free(1)
    with pytest.raises(TooLittleMemory, match="4 samples at once"):
        finetuner(folder=tmp_path)


def test_old_checkpoints_are_gone_on_from(free: Callable[[float], None], tmp_path: Path) -> None:
    """They name both settings. Of those whose parts had statistics of their own none is."""
    made = finetuner(folder=tmp_path)
    made.fit()
    path = tmp_path / CHECKPOINT
    found = Checkpoint.load(path, made.run.describe())
    assert found.step == made.step
    found.save(path, {**made.run.describe(), "checkpointing": False})
    free(just_too_little(made))
    again = finetuner(folder=tmp_path)
    assert again.step == made.step
    assert chosen(again) == (True, 1)
    cut = {**made.run.describe(), "accumulate": 2}
    found.save(path, cut)
    with pytest.raises(BadCheckpoint, match="accumulate=2 there, 1 here"):
        finetuner(folder=tmp_path, accumulate=2)


def test_a_step_that_runs_out_of_memory_says_what_to_give(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = finetuner(folder=tmp_path, checkpointing=False)
    made.fit(stop_after=3)

    def update(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    with monkeypatch.context() as patched:
        patched.setattr(Finetuner, "_update", update)
        with pytest.raises(
            TooLittleMemory,
            match=r"Step 3 ran out of memory on cpu, with 8 samples at once and "
            r"checkpointing=false. .* --set checkpointing=true .*; --set accumulate=2 halves .* is "
            r"whole\.",
        ):
            finetuner(folder=tmp_path, checkpointing=False).fit()
    gone_on = finetuner(folder=tmp_path, checkpointing=True)
    assert gone_on.step == 3
    gone_on.fit()
    whole = finetuner()
    whole.fit()
    assert gone_on.losses == whole.losses


def test_only_memory_that_ran_out_is_explained() -> None:
    with pytest.raises(TooLittleMemory, match="less"), explained(lambda: "less"):
        torch.empty(2**60)
    with pytest.raises(TooLittleMemory), explained(lambda: "less"):
        raise RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate")
    with pytest.raises(RuntimeError, match="shapes") as found, explained(lambda: "less"):
        torch.ones(2, 3) @ torch.ones(2, 3)
    assert not isinstance(found.value, TooLittleMemory)


def group(folder: Path, files: dict[str, object]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_text(f"{content}\n")


def test_control_groups_say_what_is_left(tmp_path: Path) -> None:
    second, first = tmp_path / "second", tmp_path / "first"
    listed = tmp_path / "listed"
    listed.write_text("0::/jobs/one\n")
    stat = "anon 5\ninactive_file 30"
    group(second / "jobs", {"memory.max": 100, "memory.current": 50, "memory.stat": stat})
    group(second / "jobs/one", {"memory.max": "max", "memory.current": 20, "memory.stat": stat})
    assert list(of_groups(listed, second)) == [80]
    listed.write_text("5:cpu:/other\n4:memory:/of/the/host\n0::/\n")
    group(first / "memory", {
        "memory.limit_in_bytes": 1000, "memory.usage_in_bytes": 1200,
        "memory.stat": "total_inactive_file 300",
    })  # fmt: skip
    assert list(of_groups(listed, first)) == [100]  # the container's own, which it sees as the top
    assert list(of_groups(tmp_path / "none", first)) == []


def test_the_least_that_a_cpu_has_is_shared_by_its_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "machine").write_text("MemTotal: 9000 kB\nMemAvailable:    600 kB\n")
    monkeypatch.setattr(free_memory, "_MEMORY", tmp_path / "machine")
    monkeypatch.setattr(free_memory, "_GROUPS", tmp_path / "none")
    assert free_bytes("cpu") == 600 * 1024
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert free_bytes("cpu") == 300 * 1024
    monkeypatch.setattr(free_memory, "_MEMORY", tmp_path / "none")
    assert free_bytes("cpu") is None


def test_what_torch_holds_unused_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (
        ("mem_get_info", (100, 1000)), ("memory_reserved", 50), ("memory_allocated", 20),
    ):  # fmt: skip
        monkeypatch.setattr(torch.cuda, name, lambda _, value=value: value)
    assert free_bytes("cuda:0") == 130
