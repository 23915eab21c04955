"""Bundles and groups of outputs: which networks are the bundle's, whatever else was asked for."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from extract.branch import Branch, BranchRequest, load_branch
from extract.manifest.manifest import Manifest, Video
from extract.running.extraction import Extraction
from extract.running.pipeline import Settings
from extract.views.protocol import Protocol
from features_store import Store
from features_store.schema import BranchSpec
from heads.bundle import Bundle, branch_requests
from heads.data.splits import usable
from heads.errors import WrongFeatures
from heads.parts.about import About
from heads.parts.arrays import ATTN, AVG, CLS, TOKENS
from heads.scoring.branches import as_extracted, check_branches, find_branches
from heads.zoo.linear import HEAD as LINEAR

POOLED = ("cls", "avg", "attn")
FOUR = (*POOLED, "tokens")
IDS = ["a.mp4", "b.mp4"]


def network(*outputs: str) -> Branch:
    asked = f"?outputs={','.join(outputs)}" if outputs else ""
    return load_branch(BranchRequest.parse(f"internvideo2=tiny{asked}"))


def together(branch: Branch, outputs: Sequence[str]) -> BranchSpec:
    """One group for all, as they were made before there were families."""
    return branch.offer.spec(outputs, 1)


def bundle_of(fingerprints: dict[str, str], request: str) -> Bundle:
    head = LINEAR(LINEAR.Config(), ("real", "forgery"))
    about = About(
        head="linear", config={}, scheme="hfv2", classes=("real", "forgery"), protocol="val",
        fingerprints=fingerprints, branches={"internvideo2": request},
    )  # fmt: skip
    return Bundle(head, about)


def filled(where: Path, protocols: dict[str, Sequence[BranchSpec]]) -> Store:
    """A store with zeros for two videos."""
    store = Store.create(where, scheme="hfv2", classes=("real", "forgery"))
    store.add_videos({"id": IDS, "path": IDS})
    for protocol, specs in protocols.items():
        for spec in specs:
            arrays = {n: np.zeros((2, *a.shape), a.dtype) for n, a in spec.arrays.items()}
            made = store.branch(
                protocol, spec, shard_rows=2, protocol_details=Protocol.parse(protocol).describe()
            )
            made.write_shard(0, arrays)
    return store


def test_good_views_are_not_dropped_because_more_was_kept_of_others(tmp_path: Path) -> None:
    """Tokens under val, none under test-2x1: the pooled vectors are the same network's."""
    store = filled(
        tmp_path / "s",
        {"val": network(*FOUR).offer.specs(1), "test-2x1": network().offer.specs(2)},
    )
    table = store.table([CLS, AVG, ATTN], protocol="val")
    everything = np.ones(2, bool)
    assert usable(store, ["test-2x1"], table.fingerprints, everything) == "test-2x1"
    tokens = store.table([TOKENS], protocol="val").fingerprints
    assert usable(store, ["test-2x1"], tokens, everything) is None


def test_a_bundle_asks_for_what_its_head_needs(tmp_path: Path) -> None:
    store = filled(tmp_path / "s", {"val": network(*FOUR).offer.specs(1)})
    asked = {
        tuple(keys): branch_requests(store, store.table(keys, protocol="val"))["internvideo2"]
        for keys in ([CLS], [TOKENS], [CLS, TOKENS])
    }
    assert asked[(CLS,)] == "internvideo2=tiny?outputs=cls,avg,attn&precision=float32"
    assert asked[(TOKENS,)] == "internvideo2=tiny?outputs=tokens&precision=float32"
    assert asked[CLS, TOKENS] == ("internvideo2=tiny?outputs=cls,avg,attn,tokens&precision=float32")


def test_a_bundle_from_before_families_finds_its_network() -> None:
    """It knows `cls` by the fingerprint of all four outputs, which it asks for."""
    old = together(network(*FOUR), FOUR)
    request = "internvideo2=tiny?outputs=cls,avg,attn,tokens&precision=float32"
    bundle = bundle_of({CLS: old.fingerprint}, request)
    (found,) = find_branches(bundle, [], "cpu")
    check_branches(bundle, [found])
    assert found.offer.fingerprints["cls"] != old.fingerprint
    with pytest.raises(WrongFeatures, match="other weights, preprocessing or precision"):
        check_branches(bundle_of({CLS: "f" * 64}, request), [found])
    with pytest.raises(WrongFeatures, match=f"with fingerprint {'f' * 8} found"):
        find_branches(bundle_of({CLS: "f" * 64}, request), [], "cpu")


def test_every_array_is_checked_and_what_is_lacking_is_said() -> None:
    four, three = network(*FOUR), network()
    prints = four.offer.fingerprints
    bundle = bundle_of(
        {CLS: prints["cls"], TOKENS: prints["tokens"]}, "internvideo2=tiny?outputs=…"
    )
    check_branches(bundle, [four])
    with pytest.raises(WrongFeatures, match=r"trained on internvideo2/tokens.*outputs=…"):
        check_branches(bundle, [three])
    wrong = bundle_of({CLS: prints["cls"], TOKENS: prints["cls"]}, "internvideo2=tiny?outputs=…")
    with pytest.raises(WrongFeatures, match="internvideo2/tokens has fingerprint"):
        check_branches(wrong, [four])


@pytest.mark.parametrize("old_store", [True, False])
def test_a_store_may_know_the_bundles_network_by_another_fingerprint(
    tmp_path: Path, *, old_store: bool
) -> None:
    """A bundle from before families beside a new store, and the other way round."""
    four = network(*FOUR)
    old = together(four, FOUR)
    if old_store:
        filled(tmp_path / "s", {"val": [old]})
    videos = tuple(Video(id=name, path=str(tmp_path / name)) for name in IDS)
    manifest = Manifest(root=tmp_path, scheme=None, videos=videos)
    own = four.offer.fingerprints["cls"] if old_store else old.fingerprint
    bundle = bundle_of({CLS: own}, "internvideo2=tiny")
    extraction = Extraction.begin(manifest, tmp_path / "s", [four], Settings(protocol="val"))
    there = as_extracted(bundle, extraction).about.fingerprints[CLS]
    assert there != own
    assert there == extraction.store.find("val", CLS)[0].spec.fingerprint
    assert replace(bundle, about=bundle.about).about.fingerprints[CLS] == own
