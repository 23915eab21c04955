"""Archives that change while they are scored: every row is of one version of one file."""

import os
import shutil
from pathlib import Path

import pytest

from features_store.claim import claimed
from features_store.errors import InUse, OutputExists
from heads.scoring import archive, output
from heads.scoring.formats import read_blocks, write_blocks
from heads.scoring.output import read_scores
from tests.test_heads.archives import FakeRun, fill, rows, score

SUFFIXES = (".parquet", ".csv", ".jsonl")
FIRST = {f"{name}.mp4": name for name in "abcdefg"}


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    fill(tmp_path / "inbox", FIRST)
    return tmp_path / "inbox"


@pytest.fixture(params=SUFFIXES)
def out(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tmp_path / f"scores{request.param}"


def fresh(inbox: Path, like: Path) -> dict[str, dict[str, object]]:
    """What a run without a past says; products of other sizes are rounded otherwise."""
    out = like.with_name(f"fresh{like.suffix}")
    score(inbox, out, FakeRun(), overwrite=True)
    return {name: near(row) for name, row in rows(out).items()}


def near(row: dict[str, object]) -> dict[str, object]:
    return {
        name: pytest.approx(value, abs=1e-6) if isinstance(value, float) else value
        for name, value in row.items()
    }


def test_the_same_again_does_nothing(inbox: Path, out: Path) -> None:
    first, run = score(inbox, out, FakeRun()), FakeRun()
    before = out.read_bytes()
    again = score(inbox, out, run)
    assert run.computed == []
    assert out.read_bytes() == before
    assert again.counts is not None
    assert str(again.counts) == str(first.counts)
    assert not out.with_name(f"{out.name}.parts").exists()


def test_a_replaced_file_is_scored_again_and_it_is_said(inbox: Path, out: Path) -> None:
    score(inbox, out, FakeRun())
    old = rows(out)
    (inbox / "b.mp4").write_text("another")
    run = FakeRun()
    result = score(inbox, out, run)
    assert run.computed == ["b.mp4"]
    assert result.notes == ["6 rows still hold; 1 videos were replaced and are scored again"]
    assert rows(out) == fresh(inbox, out)
    assert rows(out)["b.mp4"]["p_real"] != old["b.mp4"]["p_real"]
    assert rows(out)["a.mp4"] == old["a.mp4"]


def test_a_file_of_the_same_size_and_another_time_is_another(inbox: Path, out: Path) -> None:
    score(inbox, out, FakeRun())
    (inbox / "c.mp4").write_text("C")
    run = FakeRun()
    score(inbox, out, run)
    assert run.computed == ["c.mp4"]


def test_a_replaced_file_is_not_judged_by_features_that_were_kept(
    inbox: Path, tmp_path: Path
) -> None:
    out, keep = tmp_path / "s.csv", str(tmp_path / "kept.zarr")
    score(inbox, out, FakeRun(), keep=keep)
    (inbox / "b.mp4").write_text("another")
    fill(inbox, {"new.mp4": "new"})
    score(inbox, out, FakeRun(), keep=keep)
    assert rows(out) == fresh(inbox, out)


def test_new_files_are_added_and_removed_ones_disappear(inbox: Path, out: Path) -> None:
    score(inbox, out, FakeRun())
    fill(inbox, {"aa.mp4": "new", "z/z.mp4": "too"})
    (inbox / "c.mp4").unlink()
    run = FakeRun()
    assert score(inbox, out, run).notes == ["6 rows still hold; 2 are new; 1 are gone"]
    assert sorted(run.computed) == ["aa.mp4", "z/z.mp4"]
    assert rows(out) == fresh(inbox, out)
    assert list(rows(out)) == sorted([*(FIRST.keys() - {"c.mp4"}), "aa.mp4", "z/z.mp4"])


@pytest.mark.parametrize("a_part", [1, 3, 1000])
def test_an_inbox_that_grows_does_not_block_going_on(
    inbox: Path, out: Path, a_part: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "VIDEOS_A_PART", a_part)
    first = FakeRun(stop_after=5)
    stopped = score(inbox, out, first)
    assert stopped.counts is None
    assert stopped.left == 2
    assert not out.exists()
    fill(inbox, {"aa.mp4": "new"})
    (inbox / "b.mp4").write_text("another")
    (inbox / "d.mp4").unlink()
    monkeypatch.setattr(archive, "VIDEOS_A_PART", 4)  # another version of the program
    run = FakeRun()
    score(inbox, out, run)
    assert sorted(run.computed) == ["aa.mp4", "b.mp4", "f.mp4", "g.mp4"]
    assert rows(out) == fresh(inbox, out)
    assert not out.with_name(f"{out.name}.parts").exists()


def test_what_failed_for_the_time_being_is_tried_again_by_the_same_command(
    inbox: Path, out: Path
) -> None:
    fill(inbox, {"b.mp4": "busy", "c.mp4": "broken"})
    score(inbox, out, FakeRun())
    assert rows(out)["b.mp4"]["error"] == "temporary: the worker was lost"
    stat = (inbox / "b.mp4").stat()
    (inbox / "b.mp4").write_text("good")
    os.utime(inbox / "b.mp4", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    run = FakeRun()
    result = score(inbox, out, run)
    assert run.computed == ["b.mp4"]
    assert result.notes == ["6 rows still hold; 1 that failed are tried again"]
    assert rows(out)["b.mp4"]["error"] is None


@pytest.mark.parametrize("kept", ["", "kept.zarr"])
def test_what_failed_for_good_is_tried_again_on_request(
    inbox: Path, tmp_path: Path, kept: str
) -> None:
    out, keep = tmp_path / "s.parquet", str(tmp_path / kept) if kept else None
    fill(inbox, {"c.mp4": "broken"})
    score(inbox, out, FakeRun(), keep=keep)
    run = FakeRun()
    score(inbox, out, run, keep=keep)
    assert run.computed == []
    score(inbox, out, run, keep=keep, retry_failed=True)
    assert run.computed == ["c.mp4"]


def test_a_missing_file_that_appears_is_scored(inbox: Path, tmp_path: Path) -> None:
    listed = tmp_path / "inbox" / "list.txt"
    listed.write_text("a.mp4\nlate.mp4\n")
    out = tmp_path / "s.csv"
    score(listed, out, FakeRun())
    assert "No such file" in str(rows(out)["late.mp4"]["error"])
    fill(inbox, {"late.mp4": "late"})
    score(listed, out, FakeRun())
    assert rows(out)["late.mp4"]["error"] is None


def test_rows_of_files_that_are_still_there_are_not_dropped(inbox: Path, tmp_path: Path) -> None:
    listed, out = tmp_path / "inbox" / "list.txt", tmp_path / "s.csv"
    listed.write_text("a.mp4\nb.mp4\n")
    score(listed, out, FakeRun())
    before = out.read_bytes()
    listed.write_text("a.mp4\n")
    with pytest.raises(OutputExists, match=r"rows of 1 more videos that are still there .'b.mp4'"):
        score(listed, out, FakeRun())
    assert out.read_bytes() == before
    score(listed, out, FakeRun(), overwrite=True)
    assert list(rows(out)) == ["a.mp4"]


def test_another_folder_or_bundle_under_the_same_name_is_refused(
    inbox: Path, tmp_path: Path
) -> None:
    out = tmp_path / "s.parquet"
    score(inbox, out, FakeRun())
    fill(tmp_path / "other", {"x.mp4": "x"})
    with pytest.raises(OutputExists, match="with another place"):
        score(tmp_path / "other", out, FakeRun())
    score(tmp_path / "other", out, FakeRun(), overwrite=True)
    assert list(rows(out)) == ["x.mp4"]


def test_unfinished_rows_of_another_run_are_left_to_it(inbox: Path, out: Path) -> None:
    stopped = FakeRun(stop_after=3)
    score(inbox, out, stopped)
    other = inbox.with_name("other")
    fill(other, {"x.mp4": "x"})
    score(other, out, FakeRun())
    assert list(rows(out)) == ["x.mp4"]
    out.unlink()
    run = FakeRun()
    score(inbox, out, run)
    assert len(run.computed) == 4
    assert rows(out) == fresh(inbox, out)


def test_a_name_that_is_taken_is_not_overwritten(inbox: Path, out: Path) -> None:
    out.write_text("precious")
    with pytest.raises(OutputExists, match="--overwrite"):
        score(inbox, out, FakeRun())
    assert out.read_text() == "precious"
    if out.suffix != ".parquet":
        out.unlink()
        about = out.with_name(f"{out.name}.about.json")
        about.write_text("precious")
        with pytest.raises(OutputExists, match=r"about\.json"):
            score(inbox, out, FakeRun())
        assert about.read_text() == "precious"


def test_two_at_once_are_told_apart(inbox: Path, out: Path) -> None:
    with claimed(out), pytest.raises(InUse, match="another process writes this"):
        score(inbox, out, FakeRun())
    score(inbox, out, FakeRun())


AWKWARD = ("a\u2028b.mp4", "c\x85d.mp4", "new\nline.mp4", "=cmd.mp4", "'=quoted.mp4", 'q"u,o.mp4')


def test_any_name_comes_back_from_any_format(tmp_path: Path, out: Path) -> None:
    inbox = tmp_path / "names"
    fill(inbox, dict.fromkeys(AWKWARD, "text"))
    (inbox / os.fsdecode(b"bad\xff.mp4")).write_text("text")
    (inbox / "bad\\xff.mp4").write_text("text")
    score(inbox, out, FakeRun())
    found = rows(out)
    assert set(found) == {*AWKWARD, "bad\\xff.mp4", "bad\\x5cxff.mp4"}
    assert {row["error"] for row in found.values()} == {None}
    run = FakeRun()
    fill(inbox, {"one more.mp4": "text"})
    score(inbox, out, run)
    assert run.computed == ["one more.mp4"]
    assert rows(out).keys() == found.keys() | {"one more.mp4"}
    if out.suffix == ".jsonl":
        lines = out.read_text().splitlines()  # what ends a line for others ends none here
        assert len(lines) == len(found) + 1
    if out.suffix == ".csv":
        assert "\n\"'=cmd" in out.read_text()


def test_numbers_come_back_to_the_bit(inbox: Path, out: Path) -> None:
    scored = out.with_name("scored.parquet")
    fill(inbox, {"c.mp4": "broken"})
    score(inbox, scored, FakeRun())
    write_blocks(out, read_blocks(scored), {})
    assert read_scores(out).to_pylist() == read_scores(scored).to_pylist()


STEPS = ("_write", "mark_begun", "write", "finish", "_remove")


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", STEPS)
def test_killed_at_any_step_it_goes_on_to_the_same(
    inbox: Path, out: Path, step: str, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "VIDEOS_A_PART", 2)
    whole = fresh(inbox, out)
    real, calls = getattr(output.Output, step), []

    def killed(self: output.Output, *arguments: object) -> object:
        calls.append(step)
        if when == "after":
            real(self, *arguments)
        if when == "after" or len(calls) > 1 or step in ("finish", "_remove"):
            raise KeyboardInterrupt
        return real(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(output.Output, step, killed)
        with pytest.raises(KeyboardInterrupt):
            score(inbox, out, FakeRun())
    assert calls
    score(inbox, out, FakeRun())
    assert rows(out) == whole
    assert not out.with_name(f"{out.name}.parts").exists()


@pytest.mark.parametrize("removed", range(4))
def test_killed_while_parts_are_removed_nothing_old_is_gone_on_with(
    inbox: Path, out: Path, removed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever files of a run are left, a later run with another plan takes none of them."""

    def killed(folder: Path, **_: object) -> None:
        for path in sorted(Path(folder).iterdir())[:removed]:
            path.unlink() if path.is_file() else None
        raise KeyboardInterrupt

    monkeypatch.setattr(archive, "VIDEOS_A_PART", 2)
    with monkeypatch.context() as patch:
        patch.setattr("shutil.rmtree", _only_last(killed, inbox))
        with pytest.raises(KeyboardInterrupt):
            score(inbox, out, FakeRun())
    run = FakeRun()
    score(inbox, out, run)
    assert run.computed == []
    other = inbox.with_name("other")
    fill(other, {name: f"{text} too" for name, text in FIRST.items()})
    score(other, out, FakeRun(), overwrite=True)
    assert rows(out) == fresh(other, out)


def _only_last(killed: object, inbox: Path) -> object:
    real = shutil.rmtree

    def remove(folder: Path, **how: object) -> None:
        if Path(folder).name.startswith(".gone"):
            killed(folder, **how)  # type: ignore[operator]
        else:
            real(folder, **how)  # type: ignore[arg-type]

    return remove


def test_what_made_the_scores_stands_in_the_file(inbox: Path, out: Path) -> None:
    fill(inbox, {"c.mp4": "broken"})
    score(inbox, out, FakeRun())
    about = output.read_about(out)
    assert about["a"] == 1
    assert (about["rows"], about["failed"]) == (7, 1)
    assert about["error rate"] == pytest.approx(1 / 7)
    assert len(about["inputs"]) == 64


def test_what_a_kill_left_of_renamed_parts_goes_with_the_same_command(
    inbox: Path, out: Path
) -> None:
    """Killed between renaming the parts and removing them: the file is whole, the rest goes."""
    score(inbox, out, FakeRun())
    left = out.with_name(f"{out.name}.parts") / ".gone-0123-abcd"
    left.mkdir(parents=True)
    (left / "part.parquet").write_bytes(b"x")
    score(inbox, out, FakeRun())
    assert not left.parent.exists()
