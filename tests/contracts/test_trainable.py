"""Every branch that can be trained keeps the same contract."""

from collections.abc import Iterator

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from extract.branch import Branch
from extract.encoders.branch_parts import PRESENT
from extract.trainable import Trainable
from tests.contracts.branches import NETWORKS, TRAINABLE, asked, load


@pytest.fixture(params=TRAINABLE, scope="module")
def branch(request: pytest.FixtureRequest) -> Iterator[Branch]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield load(request.param, TRAINABLE[request.param])
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def rows(branch: Branch) -> Tensor:
    torch.manual_seed(0)
    return branch.example(2)


def trained(branch: Branch) -> Trainable:
    found = branch.trainable()
    assert found is not None
    return found


@pytest.mark.parametrize("text", [text for text in NETWORKS if "=hf:" not in text])
def test_those_that_can_be_trained_are_in_the_list(text: str) -> None:
    network = load(text)
    assert (network.trainable() is not None) == (asked(network) in TRAINABLE)


def test_what_it_learns_from_is_what_the_branch_says(branch: Branch, rows: Tensor) -> None:
    """From the pixels, and from the input of every layer that it can be cut at."""
    found, said = trained(branch), branch.forward(rows)
    assert found.cuts[0] == 0
    assert set(found.pooled) <= set(branch.outputs)
    for cut in found.cuts:
        with torch.no_grad():
            vectors = found.vectors(found.enter(rows, cut), cut)
        assert set(found.pooled) == {*vectors} - {PRESENT}
        for name, numbers in vectors.items():
            torch.testing.assert_close(numbers.float(), said[name].float(), rtol=1e-4, atol=1e-5)


def test_what_is_cached_of_a_cut_is_its_input(branch: Branch, rows: Tensor) -> None:
    found = trained(branch)
    cached = {cut: name for cut in found.cuts if (name := found.cached(cut)) is not None}
    assert found.cached(0) is None
    if not cached:
        return
    query = f"{TRAINABLE[asked(branch)]}&outputs={','.join(cached.values())}"
    other = load(asked(branch), query)
    said = other.forward(rows)
    for cut, name in cached.items():
        with torch.no_grad():
            entered = found.enter(rows, cut)
        torch.testing.assert_close(entered, said[name], rtol=1e-4, atol=1e-5)


def test_every_parameter_has_a_layer_and_gets_a_gradient(branch: Branch, rows: Tensor) -> None:
    found = trained(branch)
    names = [name for name, _ in found.model.named_parameters()]
    assert {found.layer_of(name) for name in names} == set(range(found.layers))
    assert not found.not_decayed or set(found.not_decayed) & set(names)
    own = found.own_head
    heads = () if own is None else (own.weight, own.bias)
    assert set(heads) <= set(names)
    found.model.requires_grad_()
    try:
        vectors = found.vectors(found.enter(rows, 0), 0)
        total = sum(x.float().sin().sum() for x in vectors.values() if x.requires_grad)
        assert isinstance(total, Tensor)
        total.backward()  # type: ignore[no-untyped-call]
        without = [name for name, p in found.model.named_parameters() if p.grad is None]
        assert sorted(without) == sorted(heads)
    finally:
        found.model.requires_grad_(requires_grad=False)
        found.model.zero_grad()


def test_a_network_cut_off_below_a_layer_does_without_what_is_below(
    branch: Branch, rows: Tensor
) -> None:
    """A cut's input is all that its upper part sees: weights below it are not touched."""
    found = trained(branch)
    top = found.cuts[-1]
    with torch.no_grad():
        entered = found.enter(rows, top)
    below = [p for n, p in found.model.named_parameters() if found.layer_of(n) < top]
    found.model.requires_grad_()
    try:
        vectors = found.vectors(entered, top)
        sum(x.float().sum() for x in vectors.values() if x.requires_grad).backward()  # type: ignore[union-attr]
        assert all(p.grad is None for p in below)
    finally:
        found.model.requires_grad_(requires_grad=False)
        found.model.zero_grad()


def test_its_weights_make_the_same_branch(
    branch: Branch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("weights") / "tuned.safetensors"
    state = {name: t.contiguous() for name, t in trained(branch).weights().items()}
    save_file(state, path)
    again = load(f"{branch.name}={branch.preset}:{path}", TRAINABLE[asked(branch)])
    assert again.offer.fingerprint == branch.offer.fingerprint
