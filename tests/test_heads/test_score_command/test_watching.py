"""A folder that is watched: what comes is scored once, whatever becomes of the command."""

import json
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from extract.manifest.manifest import Manifest
from extract.running.cutting import Cut
from heads.commands.main import main
from tests.test_heads.archives import fill, rows


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
