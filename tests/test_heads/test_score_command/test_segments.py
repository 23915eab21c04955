"""A long video's verdict from those of its segments."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from features_store.outputs import Product
from heads.commands.main import main
from heads.scoring.formats import read_blocks
from heads.scoring.timelines import clock, timelines, timelines_of, videos_file, write_videos
from tests.test_heads.archives import fill, rows


def row(name: str, verdict: str | None, forgery: float | None, **more: object) -> dict[str, object]:
    path = f"/in/{name.partition('#')[0]}"
    return {
        "id": name, "path": path, "verdict": verdict, "forgery": forgery, "confidence": forgery,
        "error": None, **more,
    }  # fmt: skip


ROWS: list[Mapping[str, object]] = [
    row("a.mp4#t=0.0,10.0", "real", 0.1),
    row("a.mp4#t=10.0,20.0", "motion", 0.6),
    row("a.mp4#t=20.0,30.0", "motion", 0.9),
    row("a.mp4#t=30.0,50.0", "nothing", None),
    row("a.mp4#t=50.0,60.0", None, None, error="broken"),
    row("whole.mp4", "motion", 0.99),
    row("b.mp4#t=0.0,10.0", "real", 0.2),
]


def test_the_worst_the_share_and_the_first_time() -> None:
    a, b = timelines(ROWS)
    assert (a.id, a.path, a.verdict) == ("a.mp4", "/in/a.mp4", "motion")
    assert a.worst is not None
    assert (str(a.worst.segment), a.worst.forgery) == ("#t=20.0,30.0", 0.9)
    assert a.share == pytest.approx(20 / 30)  # of what could be scored
    assert a.first == 10
    assert a.row()["chapters"] == "0:00 real; 0:10 motion; 0:30 nothing; 0:50 failed"
    assert (b.verdict, b.share, b.first) == ("real", 0, None)
    assert "66.7% of 1:00 counts as generated, first at 0:10; worst at 0:20 (90%" in a.lines()[0]


def test_where_a_threshold_is_it_decides() -> None:
    flags = [False, True, False, None, None]
    (a,) = timelines([{**one, "flagged": f} for one, f in zip(ROWS[:5], flags, strict=True)])
    assert a.first == 10
    assert a.share == pytest.approx(10 / 30)
    (a,) = timelines([{**one, "flagged": False} for one in ROWS[:3]])
    assert (a.verdict, a.share) == ("real", 0)


def test_a_clock() -> None:
    assert [clock(s) for s in (0, 59.96, 65.5, 7322)] == ["0:00", "1:00", "1:05.5", "2:02:02"]


def test_videos_have_a_file_of_their_own(
    bundle: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    inbox, out = tmp_path / "in", tmp_path / "s.csv"
    fill(inbox, {"a.mp4": "a", "b.mp4": "broken"})
    names = ["a.mp4#t=0,10", "a.mp4#t=10,15", "b.mp4#t=0,10"]
    (inbox / "list.txt").write_text("".join(f"{name}\n" for name in names))
    command = ["score", str(inbox / "list.txt"), "--bundle", str(bundle), "--out", str(out)]
    assert main(command) == 3
    assert list(rows(out)) == ["a.mp4#t=0.0,10.0", "a.mp4#t=10.0,15.0", "b.mp4#t=0.0,10.0"]
    said = capsys.readouterr().out
    assert f"{videos_file(out)}: 2 videos that were cut" in said
    assert "a.mp4: " in said
    assert "b.mp4: failed in all 1 segments" in said
    (block,) = read_blocks(videos_file(out))
    a, b = block.to_pylist()
    assert (a["id"], a["segments"], a["failed"], a["seconds"]) == ("a.mp4", "2", "0", "15")
    assert (b["verdict"], b["failed"]) == ("failed", "1")
    assert main(command) == 3  # what it made itself it makes again
    assert write_videos(out, Product(tmp_path / "v.parquet", "score"), {}) == 2
    assert len(list(timelines_of(out))) == 2
