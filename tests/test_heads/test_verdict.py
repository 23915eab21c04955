"""What a row means, from the file of scores alone."""

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from extract.running.pipeline import Settings
from heads.bundle import Bundle
from heads.commands.main import main
from heads.errors import BadRun
from heads.judging.papers import OperatingPoint
from heads.parts.model_card import warning
from heads.scoring.about import about, plan
from heads.scoring.archive import VideoRun, score_videos
from heads.scoring.inputs import read_inputs
from heads.scoring.meaning import Meaning, rows_of
from heads.scoring.output import Output, about_file, read_about
from heads.scoring.scorer import Scorer
from heads.scoring.screen import verdict
from tests.test_heads.archives import FakeRun, branches, fill, rows, scorer

POINT = OperatingPoint(
    false_alarms=0.01, threshold=0.2, reals=200, low=0.002, high=0.031, source="my_reals"
)


def scored(folder: Path, out: Path, *, random: bool = False) -> Path:
    """Two videos and a broken one, by a bundle with an operating point."""
    fill(folder, {"a.mp4": "a", "b.mp4": "b", "c.mp4": "broken"})
    made = scorer().bundle
    request = f"internvideo2=tiny{'?random=true' if random else ''}"
    papers = replace(
        made.about, operating=[POINT.to_json()], branches={"internvideo2": request},
        provenance={"detector": "humansam"},
    )  # fmt: skip
    who = Scorer(bundle=Bundle(made.head, papers))
    made_from = plan(who, "val", str(folder), None)
    videos = VideoRun(
        manifest=read_inputs([str(folder)], None, None), branches=branches,
        settings=Settings(protocol="val", max_failed=1.0), run=FakeRun(),
    )  # fmt: skip
    score_videos(who, videos, Output(out, made_from, about=about(who, made_from, "b")))
    return out


def told(capsys: pytest.CaptureFixture[str], *arguments: object, expect: int = 0) -> str:
    assert main(["verdict", *map(str, arguments)]) == expect
    said = capsys.readouterr()
    return said.out + said.err


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl"])
def test_a_row_is_explained_from_its_file_alone(
    tmp_path: Path, suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = scored(tmp_path / "in", tmp_path / f"s{suffix}")
    fill(tmp_path / "in", {"a.mp4": "gone since"})
    said = told(capsys, out, "a.mp4")
    row = rows(out)["a.mp4"]
    first = said.splitlines()[0]
    assert first.startswith(f"a.mp4: {row['forgery']:.0%} generated (")
    assert "says humansam; " in first
    assert first.endswith("on 200 reals like my_reals this threshold flags 1% [0.2, 3.1]")
    assert ("; flagged" in first) == row["flagged"]
    assert "these networks know nothing of real ones" in said
    assert "No calibration" in said
    assert f"bundle {read_about(out)['bundle'][:8]} (fusion), val, 20" in said
    assert f"in/a.mp4, 1 bytes, changed last {row['modified']}" in said
    assert "c.mp4: cannot be scored: no video container" in told(capsys, out, "c.mp4")
    assert "Evidence" not in said
    said = told(capsys, out, "a.mp4", "--evidence")
    assert "Evidence beside the networks. What the file says of itself." in said
    assert "a.mp4 is another file than the one that was scored" in said


def test_a_file_says_what_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = scored(tmp_path / "in", tmp_path / "s.parquet")
    said = told(capsys, out)
    assert said.startswith("humansam: 3 rows; ")
    assert "1 failed" in said
    assert f"hash of the list of inputs: {read_about(out)['inputs']}" in said
    assert "has no row 'b.mp'. Do you mean 'b.mp4'?" in told(capsys, out, "b.mp", expect=1)
    found = read_about(out)
    assert found["views"]["revisions"]
    assert found["operating"] == [POINT.to_json()]
    assert Meaning.read(out).point == POINT


def test_what_says_nothing_of_itself_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = scored(tmp_path / "in", tmp_path / "s.csv")
    about_file(out).unlink()
    assert "or s.csv.about.json beside it" in told(capsys, out, "a.mp4", expect=1)
    about_file(out).write_text("{}")
    assert "does not say what made it (it lacks head" in told(capsys, out, "a.mp4", expect=1)
    assert "give a file that ends in .parquet" in told(capsys, tmp_path / "x.txt", expect=1)


def test_random_weights_give_no_verdict(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = scored(tmp_path / "in", tmp_path / "s.jsonl", random=True)
    said = told(capsys, out, "a.mp4")
    assert said.startswith("a.mp4: no verdict, these networks have random weights\n")
    assert "the networks have random weights" in read_about(out)["note"]


def test_without_a_threshold_nothing_is_said_of_one(tmp_path: Path) -> None:
    out = scored(tmp_path / "in", tmp_path / "s.csv")
    meaning = replace(Meaning.read(out), about=replace(Meaning.read(out).about, operating=()))
    row = {**rows(out)["a.mp4"], "verdict": "real", "forgery": 0.6}
    line = verdict(row, meaning)
    assert line == "a.mp4: 60% generated (real is the likeliest class), says humansam"


def test_small_networks_that_nobody_trained_are_not_said_to_know_made_up_people() -> None:
    assert "made-up people" in warning(["internvideo2=tiny?precision=float32"])
    said = warning(["npr=tiny?precision=float32"])
    assert said.startswith("npr=tiny: ")
    assert "random unless somebody trained them" in said
    assert not warning(["npr=residual"])


def test_a_video_that_was_cut_is_found_by_its_segments(tmp_path: Path) -> None:
    table = pa.table({"id": ["a.mp4#t=0.0,9.5", "a.mp3"]})
    pq.write_table(table, out := tmp_path / "s.parquet")
    with pytest.raises(BadRun, match=r"Do you mean 'a.mp4#t=0.0,9.5'\?"):
        rows_of(out, ["a.mp4"])
