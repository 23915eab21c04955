"""Views say which revision of their pixels they are, and pixels never change without a new one."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from extract.errors import BadSetting
from extract.running.extraction import Extraction
from extract.views import revisions
from extract.views.protocol import Protocol
from features_store import Store
from tests.data import make_pixels
from tests.data.make_store_one_group import STORE
from tests.test_extract.extractions import extract, settings, tiny, write_videos


@pytest.mark.parametrize("name", make_pixels.PROTOCOLS)
def test_pixels_are_what_they_were(name: str) -> None:
    kept = json.loads(make_pixels.FILE.read_text())
    assert make_pixels.described(name) == kept[name], make_pixels.ADVICE.format(name)


def test_every_part_is_among_the_pixels_that_are_watched() -> None:
    parts = [
        part for name in make_pixels.PROTOCOLS for part in make_pixels.described(name)["revisions"]
    ]
    assert set(parts) == set(revisions.REVISIONS)


def test_new_pixels_without_a_new_number_are_not_written_down() -> None:
    old = {"val": {"revisions": {"views": 1}, "sha256": "a"}}
    new = {"val": {"revisions": {"views": 1}, "sha256": "b"}}
    assert make_pixels.changed(old, new) == ["val"]
    new["val"]["revisions"] = {"views": 2}
    assert make_pixels.changed(old, new) == []


def test_a_protocol_says_the_revisions_of_what_it_uses() -> None:
    said = Protocol.parse("train-8:drop0.3:blend0.1+jpeg50").describe()["revisions"]
    assert said == {"views": 1, "drop": 1, "blend": 1, "augmentation": 1, "jpeg": 1}
    assert Protocol.parse("val").describe()["revisions"] == {"views": 1}


def test_old_and_new_pixels_never_mix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = write_videos(tmp_path / "videos", 8)
    few = replace(manifest, videos=manifest.videos[:2])
    for name in ("val", "val+blur3"):
        extract(few, tmp_path / "s", settings(protocol=name), workers=1)
    said = Store.open(tmp_path / "s").protocol_details("val+blur3")
    assert said is not None
    assert said["revisions"] == {"views": 1, "blur": 1}
    monkeypatch.setitem(revisions.REVISIONS, "blur", 2)
    extract(few, tmp_path / "s", settings(protocol="val"), workers=1)
    with pytest.raises(BadSetting, match=r"another revisions: .*'blur': 1.*'blur': 2"):
        Extraction.begin(few, tmp_path / "s", tiny("depthpro"), settings(protocol="val+blur3"))


def test_a_store_from_before_revisions_holds_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from extract.running.targets import check_details

    said = Store.open(STORE).protocol_details("val")
    assert said is not None
    assert "revisions" not in said
    check_details(STORE, "val", settings().protocol_details())
    monkeypatch.setitem(revisions.REVISIONS, "views", 2)
    with pytest.raises(BadSetting, match=r"another revisions: .*'views': 1.*'views': 2"):
        check_details(STORE, "val", settings().protocol_details())
