"""`telltale score` as people type it: what may be named, where rows go, what is said."""

import json
import os
from pathlib import Path

import pytest

from extract.running.extraction import Extraction
from heads.bundle import Bundle
from heads.parts.model_card import MADE_UP
from heads.scoring import run as run_module
from heads.scoring.output import read_about
from tests.test_heads.archives import fill, rows
from tests.test_heads.tables import CLASSES
from tests.test_heads.test_score_command.typed import score


def test_several_videos_are_taken(
    inbox: Path, bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "s.csv"
    score(inbox / "a.mp4", inbox / "sub" / "c.mp4", "--bundle", bundle, "--out", out)
    assert list(rows(out)) == ["a.mp4", "sub/c.mp4"]
    score(inbox / "a.mp4", inbox / "b.mp4", inbox, "--bundle", bundle, "--out", tmp_path / "t.csv")
    assert sorted(rows(tmp_path / "t.csv")) == ["a.mp4", "b.mp4", "sub/c.mp4"]


def test_the_verdicts_of_a_few_videos_need_no_file(
    inbox: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    score(inbox / "b.mp4", inbox / "a.mp4", "--bundle", bundle)
    said = capsys.readouterr().out.splitlines()
    verdicts = [line.partition(":")[0] for line in said if ".mp4: " in line]
    assert verdicts == ["b.mp4", "a.mp4"]
    fill(inbox, {f"{number}.mp4": "d" for number in range(20)})
    score(inbox, "--bundle", bundle, expect=1)
    assert "23 videos: give --out scores.parquet for their rows." in capsys.readouterr().err


def test_one_video_goes_to_the_screen_and_to_a_file(
    inbox: Path, bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    score(inbox / "a.mp4", "--bundle", bundle)
    assert "these networks know nothing of real ones" in capsys.readouterr().out
    score(inbox / "a.mp4", "--bundle", bundle, "--out", tmp_path / "one.csv")
    assert list(rows(tmp_path / "one.csv")) == ["a.mp4"]
    (inbox / "noext").write_bytes(b"\0\0\0 ftypisom")
    score(inbox / "noext", "--bundle", bundle, "--out", tmp_path / "two.csv")
    assert list(rows(tmp_path / "two.csv")) == ["noext"]


def test_explain_writes_rows_and_picture_and_overwrites_neither(
    inbox: Path,
    bundle: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from heads.scoring import explain

    captions = []

    def drawn(*arguments: object) -> explain.Explanation:
        captions.append(arguments[4])
        return explain.Explanation(picture=b"picture", lines=["lines"])

    monkeypatch.setattr(explain, "explain", drawn)
    out, why = tmp_path / "one.csv", tmp_path / "why.png"
    command = (inbox / "a.mp4", "--bundle", bundle, "--out", out, "--explain", why)
    score(*command)
    assert list(rows(out)) == ["a.mp4"]
    assert why.read_bytes() == b"picture"
    assert "title='a.mp4'" in str(captions[0])
    assert "KNOW NOTHING" in str(captions[0])
    score(*command)
    (tmp_path / "mine.png").write_text("mine")
    score(inbox / "a.mp4", "--bundle", bundle, "--explain", tmp_path / "mine.png", expect=1)
    assert (tmp_path / "mine.png").read_text() == "mine"
    score(inbox / "a.mp4", "--bundle", bundle, "--explain", tmp_path / "why.txt", expect=1)
    assert "end it in .png" in capsys.readouterr().err
    score(inbox, "--bundle", bundle, "--out", out, "--explain", why, expect=1)
    assert "--explain takes one video" in capsys.readouterr().err


def test_lists_have_comments_and_folders_hidden_files(
    inbox: Path, bundle: Path, tmp_path: Path
) -> None:
    fill(inbox, {".hidden.mp4": "h", "._a.mp4": "h", ".trash/x.mp4": "x", "#1.mp4": "one"})
    (inbox / "list.txt").write_text("# what came on Monday\na.mp4\n#1.mp4\n")
    score(inbox / "list.txt", "--bundle", bundle, "--out", tmp_path / "s.csv")
    assert list(rows(tmp_path / "s.csv")) == ["a.mp4", "#1.mp4"]
    score(inbox, "--bundle", bundle, "--out", tmp_path / "t.csv")
    assert sorted(rows(tmp_path / "t.csv")) == ["#1.mp4", "a.mp4", "b.mp4", "sub/c.mp4"]


def test_a_folder_laid_out_as_hfv_needs_no_scheme(
    inbox: Path, bundle: Path, tmp_path: Path
) -> None:
    fill(tmp_path / "hfv/train_data/gen", {"a.mp4": "a", "b.mp4": "b"})
    (tmp_path / "hfv/train_data/gen/train_4.csv").write_text("a,0,0.5\nb,3,1\n")
    score(tmp_path / "hfv", "--bundle", bundle, "--out", tmp_path / "s.csv")
    assert {row["label"] for row in rows(tmp_path / "s.csv").values()} == {""}
    score(tmp_path / "hfv", "--bundle", bundle, "--scheme", "hfv4", "--out", tmp_path / "t.csv")
    assert {row["label"] for row in rows(tmp_path / "t.csv").values()} == {CLASSES[0], "real"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["http://example.com/a.mp4"], "is a URL; copy the videos to a disk"),
        (["IN", "--out", "s3://bucket/x.csv"], "is a URL; results go to a disk"),
        (["IN", "--out", "x.csv", "--weights", "/nope"], "--weights /nope: no such file"),
        (["IN", "--out", "x.csv", "--device", "cuda:77"], "is not there; this machine has"),
        (["IN", "--out", "x.csv", "--device", "cpu,cpu"], "uses one device"),
        (["IN", "--out", "/proc/x.csv"], "/proc"),
        (["IN", "--out", "x.jsonl", "--exec", "cat"], "give --watch SECONDS"),
        (
            ["IN", "--out", "x.jsonl", "--watch", "1", "--exec", "no-such-program x"],
            "'no-such-program' is no program here",
        ),
        (["IN/missing", "--out", "x.jsonl", "--watch", "1"], "missing does not exist"),
        (["IN/a.mp4", "--out", "x.jsonl", "--watch", "1"], "a.mp4 is no folder"),
        (["IN", "--out", "x.jsonl", "--watch", "1", "--groups"], "a group may change"),
        (["IN", "--out", "x.csv", "--groups", "--protocol", "train-8"], "train-8 draws them"),
        (["IN", "--out", "x.csv", "--watch", "1"], "--watch needs one folder, --out FILE.jsonl"),
    ],
)
def test_what_cannot_be_is_refused_with_a_sentence(  # noqa: PLR0913
    inbox: Path,
    bundle: Path,
    tmp_path: Path,
    arguments: list[str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    score(*[text.replace("IN", str(inbox)) for text in arguments], "--bundle", bundle, expect=1)
    error = capsys.readouterr().err
    assert said in error
    assert "not an error that Telltale expects" not in error
    assert {path.name for path in tmp_path.iterdir()} == {"in"}


def test_a_folder_that_cannot_be_read_has_a_row(
    inbox: Path, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.scandir

    def locked(place: str) -> object:
        if str(place).endswith("sub"):
            raise PermissionError(13, "Permission denied")
        return real(place)

    monkeypatch.setattr("extract.manifest.scan.os.scandir", locked)
    score(inbox, "--bundle", bundle, "--out", tmp_path / "s.csv", expect=3)
    found = rows(tmp_path / "s.csv")
    assert list(found) == ["a.mp4", "b.mp4", "sub"]
    assert found["sub"]["error"]


def test_made_up_people_are_said_of_folders_and_stand_in_the_file(
    inbox: Path, bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for suffix in (".parquet", ".csv"):
        out = tmp_path / f"s{suffix}"
        score(inbox, "--bundle", bundle, "--out", out)
        assert "these networks know nothing of real ones" in capsys.readouterr().out
        about = read_about(out)
        assert about["note"] == MADE_UP
        assert about["bundle"] == Bundle.load(bundle).content
        assert about["protocol"] == "val"
        assert about["fingerprints"]["internvideo2/cls"]
        assert about["packages"]["torch"]
        assert about["rows"] == 3
    document = json.loads((tmp_path / "s.csv.about.json").read_text())
    assert document["verdicts"]


def test_extraction_is_asked_for_nothing_when_all_is_done(
    inbox: Path, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    score(inbox, "--bundle", bundle, "--out", tmp_path / "s.csv")

    def never(*_: object) -> Extraction:
        raise AssertionError

    monkeypatch.setattr(run_module, "find_branches", never)
    score(inbox, "--bundle", bundle, "--out", tmp_path / "s.csv")
