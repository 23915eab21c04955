"""Frames by time, all the way into a store: one pass for several branches, short videos said."""

from pathlib import Path

import numpy as np
import pytest

from extract.branch import BranchRequest, for_protocol, load_branch
from extract.errors import BadSetting
from extract.manifest.manifest import Manifest, ManifestOptions, read_manifest
from extract.running.extraction import Extraction
from extract.views.protocol import Protocol
from features_store import Store
from tests.test_extract.clips import write_clip
from tests.test_extract.extractions import settings

CLIPS = {"long.mp4": (40, 25), "short.mp4": (9, 25), "slow.mp4": (20, 4)}
"""Frames, and frames a second."""


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    folder = tmp_path / "videos"
    folder.mkdir()
    for name, (frames, rate) in CLIPS.items():
        write_clip(folder / name, frames=frames, times=[100 // rate * n for n in range(frames)])
    return read_manifest(folder, ManifestOptions(scheme="hfv4"))


def filled(manifest: Manifest, where: Path, protocol: str, *asked: str) -> Store:
    parsed = [for_protocol(BranchRequest.parse(text), Protocol.parse(protocol)) for text in asked]
    branches = [load_branch(request) for request in parsed]
    extraction = Extraction.begin(manifest, where, branches, settings(protocol=protocol))
    summary = extraction.run(workers=1, bar=False)
    assert not summary.failures
    return Store.open(where)


def test_several_branches_get_frames_by_time_from_one_pass(
    manifest: Manifest, tmp_path: Path
) -> None:
    asked = ("image=dinov2-tiny?outputs=cls,steps", "image=xclip-tiny", "internvideo2=tiny")
    store = filled(manifest, tmp_path / "s", "frames-8@8", *asked)
    keys = ["image-dinov2-tiny/cls", "image-dinov2-tiny/present", "image-dinov2-tiny/steps",
            "image-xclip-tiny/cls", "internvideo2/cls"]  # fmt: skip
    table = store.table(keys, protocol="frames-8@8")
    present = dict(zip(table.ids.tolist(), table.arrays[keys[1]][:, 0], strict=True))
    assert {name: int(mask.sum()) for name, mask in present.items()} == {
        "long.mp4": 8, "short.mp4": 3, "slow.mp4": 4,
    }  # fmt: skip
    assert all(np.isfinite(table.arrays[key]).all() for key in keys)
    assert table.arrays[keys[0]].shape == (3, 1, 8, 16)


def test_a_rule_may_find_nothing_which_is_no_failure(manifest: Manifest, tmp_path: Path) -> None:
    store = filled(manifest, tmp_path / "s", "frames-8@8:stall", "image=dinov2-tiny")
    table = store.table(["image/present"], protocol="frames-8@8:stall")
    found = dict(zip(table.ids.tolist(), table.arrays["image/present"].sum((1, 2)), strict=True))
    assert found == {"long.mp4": 8, "short.mp4": 0, "slow.mp4": 0}


def test_windows_are_views_of_their_own(manifest: Manifest, tmp_path: Path) -> None:
    store = filled(manifest, tmp_path / "s", "windows-3x8", "image=dinov2-tiny")
    table = store.table(["image/present"], protocol="windows-3x8")
    found = dict(
        zip(table.ids.tolist(), table.arrays["image/present"].sum(-1).tolist(), strict=True)
    )
    assert found == {"long.mp4": [8, 8, 8], "short.mp4": [8, 0, 0], "slow.mp4": [8, 8, 0]}


def test_branches_that_the_views_do_not_suit_are_refused(
    manifest: Manifest, tmp_path: Path
) -> None:
    for protocol, branch, said in (
        ("frames-16@8", "internvideo2=tiny", "needs protocol val"),
        ("train-2", "image=dinov2-tiny", "needs a protocol with 8 frames a view"),
        ("frames-16@8", "image=dinov2-tiny?frames=8", "needs a protocol with 8 frames a view"),
    ):
        with pytest.raises(BadSetting, match=said):
            filled(manifest, tmp_path / "s", protocol, branch)
