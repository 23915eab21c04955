"""Verdicts of damaged videos beside those of the videos."""

from pathlib import Path

import pyarrow as pa
import pytest

from extract.running.extraction import Extraction
from extract.running.pipeline import Settings
from heads.errors import BadSetting
from heads.scoring.archive import VideoRun, score_videos
from heads.scoring.inputs import read_inputs
from heads.scoring.output import Output
from heads.scoring.rows import schema
from heads.scoring.scorer import Scorer
from heads.scoring.stress import DAMAGES, protocols, with_stress
from tests.test_extract.clips import write_clip
from tests.test_heads.archives import branches, rows, scorer
from tests.test_heads.tables import CLASSES


def run(extraction: Extraction) -> bool:
    return not extraction.run(workers=1, bar=False).stopped


def scored(folder: Path, out: Path, protocol: str, *, stress: bool) -> dict[str, dict[str, object]]:
    videos = VideoRun(
        manifest=read_inputs([str(folder)], None, None), branches=branches,
        settings=Settings(protocol=protocol, max_failed=1.0), run=run, stress=stress,
    )  # fmt: skip
    score_videos(scorer(), videos, Output(out, {"protocol": protocol, "stress": stress}))
    return rows(out)


def test_what_is_said_of_a_damaged_video_is_what_its_protocol_says(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    write_clip(tmp_path / "in" / "a.mp4")
    (tmp_path / "in" / "b.mp4").write_text("no video")
    found = scored(tmp_path / "in", tmp_path / "s.csv", "val", stress=True)
    alone = scored(tmp_path / "in", tmp_path / "t.csv", "val+jpeg50", stress=False)
    assert found["a.mp4"]["forgery_jpeg50"] == pytest.approx(alone["a.mp4"]["forgery"])
    assert {f"forgery_{name}" for name in DAMAGES} <= found["a.mp4"].keys()
    assert found["a.mp4"]["forgery_h264crf32"] != found["a.mp4"]["forgery"]
    assert found["a.mp4"]["stress"]
    assert found["b.mp4"]["stress"] is None
    assert found["b.mp4"]["forgery_jpeg50"] is None


@pytest.mark.parametrize(
    ("own", "flags", "damaged", "said"),
    [
        ("real", None, ["real"] * 4, "steady"),
        ("motion", None, ["spatial"] * 4, "steady"),  # generated, whatever is wrong with it
        ("real", None, ["real", "motion", "real", "real"], "unsure: resize0.7 says motion"),
        ("motion", True, ["motion"] * 4, "unsure: jpeg50 says not flagged"),
        (None, None, ["real"] * 4, None),
    ],
)
def test_a_verdict_is_steady_while_it_stays_on_one_side(
    own: str | None,
    flags: bool | None,  # noqa: FBT001, a column's value
    damaged: list[str],
    said: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def row(verdict: str | None, flagged: bool | None) -> pa.Table:  # noqa: FBT001
        share = None if verdict is None else 0.6
        known = {"verdict": verdict, "flagged": flagged, "confidence": share, "forgery": share}
        empty: dict[str, object] = dict.fromkeys(schema(CLASSES).names)
        return pa.Table.from_pylist([empty | known], schema=schema(CLASSES))

    answers = dict(zip(protocols("val").values(), damaged, strict=True))

    def from_store(asked: Scorer, _: object, protocol: str, __: object) -> pa.Table:
        assert not asked.parts  # which of them looks worst is said of the video as it is
        flagged = None if flags is None else not protocol.endswith("jpeg50")
        return row(answers[protocol], flagged)

    monkeypatch.setattr(Scorer, "from_store", from_store)
    block = with_stress(row(own, flags), scorer(), None, "val", None)  # type: ignore[arg-type]
    assert block["stress"].to_pylist() == [said]


def test_what_is_damaged_is_not_damaged_again() -> None:
    with pytest.raises(BadSetting, match=r"protocol val\+blur3 does so already"):
        protocols("val+blur3")
    assert protocols("val+canonical")["jpeg50"] == "val+canonical+jpeg50"
