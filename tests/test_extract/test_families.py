"""Outputs that are asked for later: what is there stays, what is not is computed, in one pass."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from torch import Tensor

from extract.branch import Branch, BranchRequest, load_branch
from extract.branches.internvideo2 import InternVideo2Branch
from extract.errors import BadSetting
from extract.manifest.manifest import Manifest, Video
from extract.running.estimate import estimate
from extract.running.extraction import Extraction
from extract.running.run import Run
from features_store import Store
from features_store.schema import BranchSpec
from tests.data.make_store_one_group import IDS, OLD, STORE, Levels
from tests.test_extract.clips import write_clip
from tests.test_extract.extractions import extract, settings, write_videos

VIDEOS = 10
POOLED = ("cls", "avg", "attn")


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return write_videos(tmp_path_factory.mktemp("videos"), VIDEOS)


@pytest.fixture(scope="module")
def pooled(manifest: Manifest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with the pooled vectors of all videos."""
    where = tmp_path_factory.mktemp("pooled") / "s"
    extract(manifest, where)
    return where


def asked(outputs: str) -> Branch:
    return load_branch(BranchRequest.parse(f"internvideo2=tiny?outputs={outputs}"))


def begin(manifest: Manifest, where: Path, outputs: str) -> Extraction:
    return Extraction.begin(manifest, where, [asked(outputs)], settings())


def groups(where: Path) -> dict[str, tuple[str, ...]]:
    """Group → what it holds, of internvideo2."""
    store = Store.open(where)
    names = [name for name in store.branches("val") if name.startswith("internvideo2")]
    return {name: tuple(store.read_branch("val", name).spec.arrays) for name in names}


def arrays(where: Path, *names: str) -> dict[str, np.ndarray]:
    keys = [f"internvideo2/{name}" for name in names]
    return dict(Store.open(where).table(keys).arrays)


def watched(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """What the network was made to compute, view by view."""
    seen: list[tuple[str, ...]] = []
    compute = InternVideo2Branch.compute

    def noted(self: InternVideo2Branch, batch: Tensor) -> dict[str, Tensor]:
        seen.extend([tuple(self.outputs)] * len(batch))
        return compute(self, batch)

    monkeypatch.setattr(InternVideo2Branch, "compute", noted)
    return seen


def test_every_family_has_a_group_of_its_own(
    manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = watched(monkeypatch)
    begin(manifest, tmp_path / "s", "tokens,cls,avg,attn,tokens@2").run(workers=2, bar=False)
    assert sorted(groups(tmp_path / "s").values()) == sorted([POOLED, ("tokens",), ("tokens@2",)])
    assert len(seen) == VIDEOS - 1  # one is damaged; each is computed once, for all groups
    assert set(seen[0]) == {*POOLED, "tokens", "tokens@2"}
    found = arrays(tmp_path / "s", "cls", "tokens", "tokens@2")
    np.testing.assert_array_equal(
        found["internvideo2/cls"][:, 0], found["internvideo2/tokens"][:, 0, 0]
    )


def test_tokens_asked_for_later_are_all_that_is_computed(
    manifest: Manifest, pooled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = Path(shutil.copytree(pooled, tmp_path / "s"))
    before, numbers = groups(where), arrays(where, *POOLED)
    seen = watched(monkeypatch)
    begin(manifest, where, "cls,avg,attn,tokens").run(workers=2, bar=False)
    assert seen == [("tokens",)] * (VIDEOS - 1)
    assert {name: groups(where)[name] for name in before} == before
    assert len(groups(where)) == 2
    for key, array in arrays(where, *POOLED).items():  # and no key has become ambiguous
        np.testing.assert_array_equal(array, numbers[key])
    again = begin(manifest, where, "cls,avg,attn,tokens")
    assert len(again.work) == 0


def test_videos_that_lack_different_families_are_decoded_once_each(
    manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = replace(manifest, videos=manifest.videos[:4])
    begin(few, tmp_path / "s", "cls").run(workers=2, bar=False)
    seen = watched(monkeypatch)
    extraction = begin(manifest, tmp_path / "s", "cls,tokens")
    assert len(extraction.work) == VIDEOS
    extraction.run(workers=2, bar=False)
    assert seen.count(("tokens",)) == 4
    assert seen.count((*POOLED, "tokens")) == VIDEOS - 4 - 1
    assert len(seen) == VIDEOS - 1
    begin(manifest, tmp_path / "at once", "cls,tokens").run(workers=2, bar=False)
    expected = arrays(tmp_path / "at once", *POOLED, "tokens")
    for key, array in arrays(tmp_path / "s", *POOLED, "tokens").items():
        np.testing.assert_array_equal(array, expected[key])


def test_an_estimate_counts_what_is_lacking(manifest: Manifest, pooled: Path) -> None:
    request = BranchRequest.parse("internvideo2=tiny?outputs=cls,tokens")
    run = Run(manifest=manifest, store=str(pooled), branches=(request,), settings=settings())
    found = estimate(run)
    lacking = {target.name: int(found.work.needs[target.name].sum()) for target in found.targets}
    (there,) = groups(pooled)
    assert lacking[f"val/{there}"] == 0
    assert [n for name, n in lacking.items() if "/internvideo2" in name] == [0, VIDEOS]
    assert list(groups(pooled)) == [there]


def one_group(branch: Branch, *names: str) -> BranchSpec:
    """As stores were written before there were families: whatever was asked for, in one group."""
    assert set(names) <= set(branch.outputs)
    return branch.offer.spec(names, 1)


@pytest.mark.parametrize(
    ("there", "wanted", "expected"),
    [
        ([("cls", "avg", "attn", "tokens")], "cls,avg,attn,tokens", []),
        ([("cls", "avg", "attn", "tokens")], "cls", []),
        ([("cls",)], "cls", []),
        ([("cls",)], "cls,attn", [("avg", "attn")]),
        ([("cls", "tokens")], "attn,tokens,tokens@2", [("avg", "attn"), ("tokens@2",)]),
        ([("cls", "avg", "attn"), ("cls", "avg", "attn", "tokens")], "cls", []),
        ([], "tokens", [("tokens",)]),
        ([], "avg", [POOLED]),
    ],
)
def test_groups_that_hold_more_or_less_than_a_family_are_gone_on_with(
    there: list[tuple[str, ...]], wanted: str, expected: list[tuple[str, ...]]
) -> None:
    every = asked("cls,tokens,tokens@2")
    old = [one_group(every, *names) for names in there]
    found = asked(wanted).offer.specs(1, old)
    assert [tuple(spec.arrays) for spec in found if spec not in old] == expected
    held = [name for spec in found for name in spec.arrays]
    assert set(wanted.split(",")) <= set(held)
    again = asked(wanted).offer.specs(1, [*old, *found])  # another process, a moment later
    assert {spec.group for spec in again} == {spec.group for spec in found}


def test_of_two_old_groups_the_one_that_was_asked_for_is_gone_on_with() -> None:
    every = asked("cls,tokens")
    three, four = one_group(every, *POOLED), one_group(every, *POOLED, "tokens")
    assert asked("cls,avg,attn").offer.specs(1, [four, three]) == [three]
    assert asked("cls,avg,attn,tokens").offer.specs(1, [three, four]) == [four]


def test_another_networks_groups_are_left_alone() -> None:
    erf = load_branch(BranchRequest.parse("internvideo2=tiny?gelu=erf"))
    other = one_group(erf, *POOLED)
    (found,) = asked("cls").offer.specs(1, [other])
    assert found.group != other.group


def test_one_network_is_not_given_twice(manifest: Manifest, tmp_path: Path) -> None:
    twice = [asked("cls"), asked("avg")]
    with pytest.raises(BadSetting, match=r"given twice.*in one: \?outputs="):
        Extraction.begin(manifest, tmp_path / "s", twice, settings())
    assert not (tmp_path / "s").exists()


def test_groups_say_how_they_can_be_made_again(manifest: Manifest, tmp_path: Path) -> None:
    begin(replace(manifest, videos=manifest.videos[:1]), tmp_path / "s", "cls,tokens")
    store = Store.open(tmp_path / "s")
    for name, held in groups(tmp_path / "s").items():
        said = store.read_branch("val", name).spec.provenance
        assert said["options"] == {"outputs": ",".join(held), "precision": "float32"}
        assert said["decoder"] == "pyav"
        assert said["libraries"]["ffmpeg"]["libavcodec"].count(".") == 2


def test_a_committed_store_from_before_families_is_gone_on_with(tmp_path: Path) -> None:
    """Everything in one group, by the name that asking for both gave it; one video is missing."""
    where = Path(shutil.copytree(STORE, tmp_path / "s"))
    videos = [write_clip(tmp_path / id_, frames=9) for id_ in IDS]
    manifest = Manifest(
        root=tmp_path,
        scheme=None,
        videos=tuple(Video(id=path.name, path=str(path)) for path in videos),
    )
    (old,) = Store.open(where).branches("val")
    for wanted in (("mean", "levels"), ("mean",), ("mean", "levels", "sizes")):
        Extraction.begin(manifest, where, [Levels(*wanted)], settings()).run(workers=1, bar=False)
    store = Store.open(where)
    names = [name for name in store.branches("val") if name.startswith("levels")]
    assert len(names) == 2
    (new,) = set(names) - {old}
    assert list(store.read_branch("val", new).spec.arrays) == ["sizes"]
    table = store.table(["levels/mean", "levels/levels", "levels/sizes"])
    assert len(table) == len(IDS)
    assert table.fingerprints["levels/mean"] == table.fingerprints["levels/levels"]
    assert table.arrays["levels/mean"][:2].tolist() == [[[OLD]], [[OLD]]]  # as they were
    mean, levels = (table.arrays[f"levels/{name}"][2, 0] for name in ("mean", "levels"))
    assert mean[0] == pytest.approx(levels.mean())
    assert mean[0] > 1


def test_tokens_can_be_kept_in_half_the_bytes(manifest: Manifest, tmp_path: Path) -> None:
    few = replace(manifest, videos=manifest.videos[:3])
    begin(few, tmp_path / "whole", "cls,tokens").run(workers=1, bar=False)
    begin(few, tmp_path / "half", "cls,tokens&quantise=int8").run(workers=1, bar=False)
    whole, half = (
        Store.open(tmp_path / name).find("val", "internvideo2/tokens")[0]
        for name in ("whole", "half")
    )
    assert 2 * half.spec.arrays["tokens"].row_bytes == whole.spec.arrays["tokens"].row_bytes
    assert half.spec.fingerprint != whole.spec.fingerprint
    exact, near = (arrays(tmp_path / name, "cls", "tokens") for name in ("whole", "half"))
    np.testing.assert_array_equal(near["internvideo2/cls"], exact["internvideo2/cls"])
    tokens, other = (found["internvideo2/tokens"].astype(np.float32) for found in (exact, near))
    largest = np.abs(tokens).max(axis=-2, keepdims=True)
    assert np.abs(tokens - other).max() > 0
    assert (np.abs(tokens - other) <= largest / 254 + np.abs(tokens) * 2**-10 + 1e-6).all()
