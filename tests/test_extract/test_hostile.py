"""A folder of awful files through the command: each ends as ok or as failed with a reason."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_extract.clips import write_audio, write_clip

OK = {
    "one frame.mp4",
    "three.mp4",
    "odd.mp4",
    "portrait.mp4",
    "tiny.mp4",
    "wide.mp4",
    "with spaces (1).mp4",
    "ünïcödé-视频.mp4",
    "-dash.mp4",
    "new\\nline.mp4",
    "<script>alert(1)<|script>.mp4",
    "pipe:0.mp4",
    "plain.mp4",
}
FAILED = {
    "truncated.mp4": "",
    "empty.mp4": "the file is empty",
    "text.mp4": "no video container",
    "header.mp4": "",
    "middle.mp4": "",
    "offsets.mp4": "",
    "audio.mp4": "no video stream",
    "playlist.mp4": "HLS playlist",
    "neighbour.mp4": "ffconcat",
    "outside.mp4": "leaves the manifest's root",
    "fifo.mp4": "FIFO",
    "folder.mp4": "directory",
    "dangling.mp4": "No such file",
}


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("hostile")
    root = base / "videos"
    root.mkdir()
    plain = write_clip(root / "plain.mp4", frames=40)
    whole = plain.read_bytes()
    for name, frames, size in (
        ("one frame.mp4", 1, (96, 64)),
        ("three.mp4", 3, (96, 64)),
        ("odd.mp4", 9, (131, 77)),
        ("portrait.mp4", 9, (64, 96)),
        ("tiny.mp4", 9, (1, 1)),
        ("wide.mp4", 2, (4096, 16)),
    ):
        _write(root / name, frames, size)
    for name in OK:
        path = root / name.replace("\\n", "\n")
        if not path.exists():
            path.write_bytes(whole)
    (root / "truncated.mp4").write_bytes(whole[: len(whole) // 2])
    (root / "empty.mp4").touch()
    (root / "text.mp4").write_text("This is no video.\n" * 100)
    (root / "header.mp4").write_bytes(bytes(64) + whole[64:])
    broken = bytearray(whole)
    middle = broken.index(b"mdat") + 4
    broken[middle : middle + len(whole) // 2] = bytes(len(whole) // 2)
    (root / "middle.mp4").write_bytes(broken)
    shifted = bytearray(whole)
    place = shifted.index(b"stco") + 12
    shifted[place : place + 4] = (2**31 - 1).to_bytes(4, "big")
    (root / "offsets.mp4").write_bytes(shifted)
    write_audio(root / "audio.mp4")
    (root / "playlist.mp4").write_text("#EXTM3U\n#EXTINF:1,\nplain.mp4\n")
    (root / "neighbour.mp4").write_text("ffconcat version 1.0\nfile plain.mp4\n")
    (base / "secret.mp4").write_bytes(whole)
    (root / "outside.mp4").symlink_to(base / "secret.mp4")
    (root / "dangling.mp4").symlink_to(root / "gone.mp4")
    os.mkfifo(root / "fifo.mp4")
    (root / "folder.mp4").mkdir()
    return root


def _write(path: Path, frames: int, size: tuple[int, int]) -> None:
    """H.264 has no pictures of 1x1; a lossless codec in an AVI does, whatever its name says."""
    if size == (1, 1):
        other = path.with_suffix(".avi")
        write_clip(other, frames=frames, size=size, codec="ffv1", options={}).rename(path)
    else:
        write_clip(path, frames=frames, size=size)


def probe(root: Path, *more: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "heads", "probe", str(root), "--workers", "2", *more],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("more", [(), ("--decoder", "decord"), ("--protocol", "test-4x3")])
def test_every_file_ends_as_ok_or_failed(hostile: Path, more: tuple[str, ...]) -> None:
    done = probe(hostile, *more)
    lines = done.stdout.splitlines()
    summary = lines.pop()
    state = {}
    for line in lines:
        word, rest = line.split(maxsplit=1)
        for name in sorted(OK | set(FAILED), key=len, reverse=True):
            if rest.startswith(f"{name}: "):
                state[name] = (word, rest.removeprefix(f"{name}: "))
                break
    assert len(lines) == len(OK) + len(FAILED) == len(state), done.stdout
    for name in OK:
        assert state[name][0] == "ok", (name, state[name])
    for name, reason in FAILED.items():
        word, said = state[name]
        assert word == "failed", (name, said)
        assert reason in said
        assert len(said) > 8
    total = len(OK) + len(FAILED)
    assert summary == f"{total} videos: {len(OK)} ok, {len(FAILED)} failed"
    assert done.returncode == 3
    assert "Traceback" not in done.stdout + done.stderr
    assert done.stderr == ""


def test_no_process_is_left(hostile: Path) -> None:
    probe(hostile)
    left = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes()
                parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            except (OSError, ValueError):
                continue
            if b"extract.decoding.worker" in command and parent == 1:
                left.append(entry.name)
    assert left == []


def test_nothing_to_do_is_an_error(tmp_path: Path) -> None:
    done = probe(tmp_path)
    assert done.returncode == 1
    assert "no videos found" in done.stderr
    assert "Traceback" not in done.stderr
