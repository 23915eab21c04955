"""Time lines of long videos in the report."""

from collections.abc import Sequence
from pathlib import Path

from heads.reporting.gallery import Shown
from heads.reporting.page import write_report
from heads.reporting.scores import read_scores
from heads.reporting.table import pack
from heads.reporting.time_lines import time_lines
from tests.test_extract.clips import write_clip
from tests.test_heads.runs import write_scores

NAMES = ["a<b>.mp4#t=0.0,10.0", "a<b>.mp4#t=10.0,20.0", "a<b>.mp4#t=20.0,40.0", "c.mp4#t=0.0,10.0"]


def columns() -> dict[str, Sequence[object]]:
    return {
        "id": NAMES, "path": [f"/in/{name.partition('#')[0]}" for name in NAMES],
        "verdict": ["real", "motion", "", "real"], "confidence": [0.9, 0.8, None, 0.7],
        "p_motion": [0.1, 0.8, None, 0.3], "p_real": [0.9, 0.2, None, 0.7],
        "flagged": [False, True, None, False], "error": ["", "", "broken", ""],
    }  # fmt: skip


def test_bars_say_when_and_how_surely(tmp_path: Path) -> None:
    write_scores(tmp_path / "scores.parquet", columns())
    page = write_report(tmp_path).page.read_text()
    assert '<h2 id="time-title">Long videos</h2>' in page
    body = time_lines(read_scores(tmp_path / "scores.parquet"))
    assert body.index("a&lt;b&gt;.mp4") < body.index("c.mp4")  # the worst first
    assert "50.0% of 0:40 counts as generated, first at 0:10; worst at 0:10 (80%" in body
    assert 'class="generated" x="250.00" y="0" width="250.00"' in body
    assert '<rect class="nothing" x="500.00" y="0" width="500.00"' in body
    assert "<title>0:10 to 0:20: motion, 80% generated</title>" in body
    assert "<b>" not in body


def test_guesses_are_counted_and_are_in_table_and_gallery(tmp_path: Path) -> None:
    stressed: dict[str, Sequence[object]] = {
        **columns(),
        "stress": ["steady", "unsure: jpeg75 says <real>", None, "steady"],
        "unlike": [0.5, 0.995, None, 0.2],
        "forgery_jpeg75": [0.1, 0.4, None, 0.3],
    }
    write_scores(tmp_path / "scores.parquet", stressed)
    page = write_report(tmp_path).page.read_text()
    assert "Damaged as on their way, 1 of 3 (33.3% [" in page
    assert "Like nothing that was learnt are 1 of 3 (33.3% [" in page
    assert "4 rows are segments of long videos" in page
    assert "damaged as on its way: unsure: jpeg75 says &lt;real&gt; · like nothing" in page
    packed = {one.key: one for one in pack(read_scores(tmp_path / "scores.parquet"), 10)}
    assert list(packed["unlike"].values) == [0.5, 0.995, None, 0.2]
    assert list(packed["forgery_jpeg75"].values) == [1000, 4000, -1, 3000]
    assert packed["forgery_jpeg75"].document()["title"] == "forgery under jpeg75"
    assert packed["stress"].values[1] == "unsure: jpeg75 says <real>"


def test_no_segments_no_time_lines(tmp_path: Path) -> None:
    whole: dict[str, Sequence[object]] = {
        **columns(),
        "id": [f"{number}.mp4" for number in range(4)],
    }
    write_scores(tmp_path / "scores.parquet", whole)
    assert time_lines(read_scores(tmp_path / "scores.parquet")) == ""


def test_a_card_shows_the_frames_of_its_segment(tmp_path: Path) -> None:
    clip = str(write_clip(tmp_path / "v.mp4", frames=50))
    with Shown(tmp_path) as shown:
        first, last = (shown.frames(clip, f"v.mp4#t={span}") for span in ("0.0,0.4", "1.6,2.0"))
        whole = shown.frames(clip)
    assert (first[0], last[-1]) == (whole[0], whole[-1])
    assert first[-1] != whole[-1]
