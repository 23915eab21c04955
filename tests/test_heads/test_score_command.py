"""`telltale score` as people type it: what may be named, where rows go, what is said."""

import json
import os
import signal
import time
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import pytest

from extract.manifest.manifest import Manifest
from extract.running.cutting import Cut
from extract.running.extraction import Extraction
from heads.bundle import Bundle
from heads.commands.main import main
from heads.parts.model_card import MADE_UP
from heads.scoring import archive
from heads.scoring import run as run_module
from heads.scoring.output import read_about
from tests.test_heads.archives import FakeRun, branches, fill, rows, scorer
from tests.test_heads.archives import score as score_all
from tests.test_heads.tables import CLASSES


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = scorer().bundle
    about = replace(
        made.about, config={"epochs": 1},
        branches={name: f"{name}=tiny" for name in ("internvideo2", "depthpro")},
    )  # fmt: skip
    place = tmp_path_factory.mktemp("bundle") / "b"
    Bundle(made.head, about).save(place)
    return place


@pytest.fixture(autouse=True)
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeRun:
    """Files are texts here, and no network runs."""
    run = FakeRun()
    monkeypatch.setattr(run_module, "runner", lambda *_, **__: run)
    monkeypatch.setattr("heads.scoring.watch.runner", lambda *_, **__: run)
    monkeypatch.setattr(run_module, "find_branches", lambda *_: branches())
    return run


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    fill(tmp_path / "in", {"a.mp4": "a", "b.mp4": "b", "sub/c.mp4": "c"})
    return tmp_path / "in"


def score(*arguments: object, expect: int = 0) -> None:
    assert main(["score", *map(str, arguments)]) == expect


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


def test_an_interrupted_run_says_how_many_are_left(
    inbox: Path,
    bundle: Path,
    tmp_path: Path,
    fake: FakeRun,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fake.stop_after = 1
    score(inbox, "--bundle", bundle, "--out", tmp_path / "s.csv", expect=130)
    assert "stopped with 2 videos left; run the same command again" in capsys.readouterr().out
    fake.stop_after = None
    score(inbox, "--bundle", bundle, "--out", tmp_path / "s.csv")
    assert sorted(fake.computed) == ["a.mp4", "b.mp4", "sub/c.mp4"]


def watch(
    inbox: Path, bundle: Path, out: Path, monkeypatch: pytest.MonkeyPatch, steps: list[object],
    *more: str,
) -> int:  # fmt: skip
    """One round after another, a step between each; then ctrl-C."""
    left = iter(steps)

    def sleep(_: float) -> None:
        step = next(left, None)
        if step is None:
            signal.raise_signal(signal.SIGINT)
        elif callable(step):
            step()

    monkeypatch.setattr("heads.scoring.watch.sleep", sleep)  # no other module's
    place = ["--bundle", str(bundle), "--out", str(out), "--watch", "1"]
    return main(["score", str(inbox), *place, *more])


def lines(out: Path) -> list[tuple[str, int]]:
    found = [json.loads(line) for line in out.read_text().split("\n") if line]
    return [(row["id"], row["size"]) for row in found]


def test_a_watched_folder(
    inbox: Path,
    bundle: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "w.jsonl"

    def arrive() -> None:
        fill(inbox, {"d\u2028.mp4": "dd"})

    def replaced() -> None:
        fill(inbox, {"a.mp4": "another"})

    steps: list[object] = [0, 0, arrive, 0, 0, replaced, 0, 0]
    assert watch(inbox, bundle, out, monkeypatch, steps) == 0
    first = [("a.mp4", 1), ("b.mp4", 1), ("sub/c.mp4", 1), ("d\u2028.mp4", 2), ("a.mp4", 7)]
    assert lines(out) == first
    said = capsys.readouterr().out
    assert "d\\u2028.mp4: " in said
    assert "4 rows; stopped" in said
    assert len(rows(out)) == 4  # the last line of a video counts

    with out.open("ab") as file:
        file.write(b'{"id": "torn')
    fill(inbox, {"e.mp4": "e"})
    assert watch(inbox, bundle, out, monkeypatch, [0, 0]) == 0
    assert lines(out) == [*first, ("e.mp4", 1)]


def test_a_watched_folders_files_are_cut_and_a_line_that_is_missing_is_made_again(
    inbox: Path,
    bundle: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Files are texts here: each letter is a segment of a second."""

    def cut_texts(manifest: Manifest, *_: object) -> Cut:
        videos = []
        for video in manifest.videos:
            letters = Path(video.path).read_text()
            names = [f"{video.id}#t={n}.0,{n + 1}.0" for n in range(len(letters))]
            videos += [replace(video, id=name) for name in names] if "!" not in letters else [video]
        return Cut(manifest=replace(manifest, videos=tuple(videos)), videos=len(videos))

    monkeypatch.setattr("heads.scoring.watch.cut", cut_texts)
    out, cutting = tmp_path / "w.jsonl", ("--segments", "windows=1s")
    fill(inbox, {"a.mp4": "aaa", "b.mp4": "!"})
    steps: list[object] = [0, 0, lambda: fill(inbox, {"a.mp4": "zz"}), 0, 0]
    assert watch(inbox, bundle, out, monkeypatch, steps, *cutting) == 0
    first = [f"a.mp4#t={n}.0,{n + 1}.0" for n in range(3)]
    assert [name for name, _ in lines(out)] == [*first, "b.mp4", "sub/c.mp4#t=0.0,1.0", *first[:2]]
    said = capsys.readouterr().out
    assert "a.mp4: " in said
    assert "of 0:03" in said
    assert "3 rows; stopped" in said  # videos
    assert list(rows(out)) == ["b.mp4", "sub/c.mp4#t=0.0,1.0", *first[:2]]  # none of the old file
    assert [row["part"] for row in rows(out).values()] == ["1/1", "1/1", "1/2", "2/2"]

    kept = out.read_text().splitlines(keepends=True)
    out.write_text("".join(kept[:-1]) + kept[-1][:20])  # a kill in the middle of the last line
    assert watch(inbox, bundle, out, monkeypatch, [0, 0], *cutting) == 0
    assert [name for name, _ in lines(out)][-3:] == [first[0], *first[:2]]
    assert len(rows(out)) == 4


def test_a_watched_file_that_is_replaced_while_it_is_cut_is_cut_again(
    inbox: Path, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files are texts here: each letter is a segment of a second."""

    def cut_texts(manifest: Manifest, *_: object) -> Cut:
        videos = []
        for video in manifest.videos:
            count = len(Path(video.path).read_text())
            names = [f"{video.id}#t={n}.0,{n + 1}.0" for n in range(count)]
            videos += [replace(video, id=name) for name in names]
        if Path(inbox / "a.mp4").read_text() == "a":
            fill(inbox, {"a.mp4": "zzz"})
        return Cut(manifest=replace(manifest, videos=tuple(videos)), videos=len(videos))

    monkeypatch.setattr("heads.scoring.watch.cut", cut_texts)
    fill(inbox, {"a.mp4": "a"})
    out = tmp_path / "w.jsonl"
    steps: list[object] = [0, 0, 0, 0]
    assert watch(inbox, bundle, out, monkeypatch, steps, "--segments", "windows=1s") == 0
    parts = [row["part"] for name, row in rows(out).items() if name.startswith("a.mp4")]
    assert parts == ["1/3", "2/3", "3/3"]


def test_a_watched_folder_that_goes_and_comes_back(
    inbox: Path,
    bundle: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    away = tmp_path / "away"
    steps: list[object] = [0, lambda: inbox.rename(away), 0, lambda: away.rename(inbox), 0]
    assert watch(inbox, bundle, tmp_path / "w.jsonl", monkeypatch, steps) == 0
    said = capsys.readouterr().out
    assert f"{inbox} is gone; waiting for it" in said
    assert f"{inbox} is there again" in said
    assert len(lines(tmp_path / "w.jsonl")) == 3


def test_a_command_gets_each_row_once_and_what_it_did_not_take_again(
    inbox: Path,
    bundle: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out, got, refuse = tmp_path / "w.jsonl", tmp_path / "got", tmp_path / "refuse"
    refuse.touch()
    (tmp_path / "take").write_text(
        f'#!/bin/sh\nread -r line\ncase "$line" in *b.mp4*) [ -e {refuse} ] && '
        f"{{ echo no room >&2; exit 3; }};; esac\nprintf '%s\\n' \"$line\" >> {got}\n"
    )
    (tmp_path / "take").chmod(0o755)
    command = ("--exec", f"{tmp_path / 'take'} ';touch {tmp_path / 'shell'}'")

    def replaced() -> None:
        fill(inbox, {"a.mp4": "another"})

    assert watch(inbox, bundle, out, monkeypatch, [0, 0, replaced, 0, 0], *command) == 0
    said = capsys.readouterr().out
    assert "--exec failed for b.mp4: it ended with 3: no room; the next start hands it on" in said
    assert lines(got) == [("a.mp4", 1), ("sub/c.mp4", 1), ("a.mp4", 7)]
    assert len(lines(out)) == 4  # a command that fails costs no row
    refuse.unlink()
    assert watch(inbox, bundle, out, monkeypatch, [0], *command) == 0
    assert lines(got)[3:] == [("b.mp4", 1)]
    assert watch(inbox, bundle, out, monkeypatch, [0], *command) == 0
    assert len(lines(got)) == 4
    assert not (tmp_path / "shell").exists()


def test_lines_of_another_watch_are_not_gone_on_with(
    inbox: Path,
    bundle: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "w.jsonl"
    out.write_text("mine\n")
    assert watch(inbox, bundle, out, monkeypatch, []) == 1
    assert "did not make it" in capsys.readouterr().err
    assert out.read_text() == "mine\n"
    assert watch(inbox, bundle, tmp_path / "v.jsonl", monkeypatch, [0]) == 0
    fill(tmp_path / "other", {"x.mp4": "x"})
    assert watch(tmp_path / "other", bundle, tmp_path / "v.jsonl", monkeypatch, []) == 1
    assert "with another place" in capsys.readouterr().err


def score_in_child(inbox: str, out: str) -> None:
    archive.VIDEOS_A_PART = 3
    score_all(Path(inbox), Path(out), FakeRun())


def test_killed_after_the_first_part_was_seen(tmp_path: Path) -> None:
    """SIGKILL, again and again, each time when one to three more parts are on the disk."""
    inbox, out = tmp_path / "in", tmp_path / "s.csv"
    fill(inbox, {f"{number:03}.mp4": str(number) for number in range(60)})
    context = get_context("forkserver")
    context.set_forkserver_preload([__name__])
    killed = 0
    for number in range(5):
        before = parts(out)
        process = context.Process(target=score_in_child, args=(str(inbox), str(out)))
        process.start()
        while process.is_alive() and len(parts(out) - before) <= number % 3:
            time.sleep(0.001)
        process.kill()
        process.join()
        killed += process.exitcode == -signal.SIGKILL
        if out.exists():
            break
    assert killed >= 3
    score_all(inbox, out, FakeRun())
    whole = tmp_path / "whole.csv"
    score_all(inbox, whole, FakeRun())
    assert list(rows(out)) == list(rows(whole))
    assert len(rows(out)) == 60
    assert {row["error"] for row in rows(out).values()} == {None}
    assert not out.with_name(f"{out.name}.parts").exists()


def parts(out: Path) -> set[str]:
    return {path.name for path in out.with_name(f"{out.name}.parts").glob("*/*.parquet")}


def test_extraction_is_asked_for_nothing_when_all_is_done(
    inbox: Path, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    score(inbox, "--bundle", bundle, "--out", tmp_path / "s.csv")

    def never(*_: object) -> Extraction:
        raise AssertionError

    monkeypatch.setattr(run_module, "find_branches", never)
    score(inbox, "--bundle", bundle, "--out", tmp_path / "s.csv")
