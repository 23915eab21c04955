"""Every branch has fingerprints that follow what decides its numbers, and nothing else."""

import copy
import json
from collections.abc import Iterable, Mapping
from typing import Any

import pytest
import torch

from extract.branch import Branch
from extract.networks.attention import attention_backend
from extract.running.batching import Batcher
from tests.contracts.branches import asked, load, queries_of
from tests.data import make_fingerprints


def test_the_fingerprint_follows_what_decides_the_numbers(branch: Branch) -> None:
    own = branch.offer.fingerprint
    assert load(asked(branch)).offer.fingerprint == own
    others = [load(asked(branch), query).offer.fingerprint for query in queries_of(branch)]
    assert len({own, *others}) == len(others) + 1


def leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:  # noqa: ANN401
    """Paths to everything in a description that is no mapping or list."""
    parts: Iterable[tuple[Any, Any]] = ()
    if isinstance(value, Mapping):
        parts = value.items()
    elif isinstance(value, list | tuple):
        parts = enumerate(value)
    else:
        return [path]
    return [found for key, part in parts for found in leaves(part, (*path, key))]


def changed_at(value: Any, path: tuple[Any, ...]) -> Any:  # noqa: ANN401
    """A copy that is different at one leaf."""
    if not path:
        return f"not {value}"
    copied = dict(value) if isinstance(value, Mapping) else dict(enumerate(value))
    return {**copied, path[0]: changed_at(copied[path[0]], path[1:])}


def test_every_part_of_what_decides_the_numbers_is_in_every_fingerprint(branch: Branch) -> None:
    paths = leaves(branch.decides)
    assert len(paths) > 1
    for path in paths:
        other = copy.copy(branch)
        other.decides = changed_at(branch.decides, path)
        for output, before in branch.offer.fingerprints.items():
            assert other.offer.fingerprints[output] != before, (output, path)


@pytest.mark.parametrize("asked", make_fingerprints.ASKED)
def test_stores_know_the_branches_by_the_same_fingerprints_as_before(asked: str) -> None:
    kept = json.loads(make_fingerprints.FILE.read_text())
    assert make_fingerprints.fingerprints(asked) == kept[asked], (
        f"What decides the numbers of {asked} is described in other words, or with a part more or "
        f"less: stores written before are not gone on with. Where the numbers themselves changed, "
        f"raise the branch's REVISION and run `python -m tests.data.make_fingerprints`."
    )


def test_networks_name_their_weights_precision_and_revision(network: Branch) -> None:
    assert {"weights", "preprocessing", "precision", "revision"} <= set(network.decides)


def test_a_fingerprint_belongs_to_a_family_whatever_else_is_asked_for() -> None:
    pooled = load("internvideo2=tiny")
    more = load("internvideo2=tiny", "outputs=tokens@2,tokens,cls,avg,attn")
    assert {more.offer.fingerprints[name] for name in pooled.outputs} == {pooled.offer.fingerprint}
    assert len(set(more.offer.fingerprints.values())) == 3
    assert load("internvideo2=tiny", "outputs=tokens").offer.fingerprints == {
        "tokens": more.offer.fingerprints["tokens"]
    }


def test_a_part_of_a_family_brings_the_whole() -> None:
    part = load("internvideo2=tiny", "outputs=avg")
    assert part.asked == ("avg",)
    assert tuple(part.outputs) == ("cls", "avg", "attn")
    assert part.offer.fingerprints == load("internvideo2=tiny").offer.fingerprints


def test_some_of_the_outputs_are_the_same_numbers_as_all_of_them() -> None:
    branch = load("internvideo2=tiny", "outputs=cls,tokens,tokens@2,tokens:4x4")
    views = branch.example(2)
    every = branch.forward(views)
    for names in (["tokens@2"], ["tokens", "tokens@2"], ["cls", "avg", "attn"], ["tokens:4x4"]):
        narrow = branch.filling([branch.offer.spec(names, 1)])
        found = narrow.forward(views)
        assert list(found) == names
        for name, numbers in found.items():
            assert torch.equal(numbers, every[name])


def test_the_fingerprint_follows_one_weight(network: Branch) -> None:
    from extract.networks.weights import content_hash

    model = network.model  # type: ignore[attr-defined]
    assert content_hash(model.state_dict()) == network.decides["weights"]
    with torch.no_grad():
        next(iter(model.parameters())).view(-1)[0] += 1e-3
    assert content_hash(model.state_dict()) != network.decides["weights"]


def test_neither_batch_size_nor_attention_backend_is_in_the_fingerprint(branch: Branch) -> None:
    with attention_backend("sdpa"):
        assert load(asked(branch)).offer.fingerprint == branch.offer.fingerprint
    assert Batcher(branch, 3).branch.offer.fingerprint == branch.offer.fingerprint
