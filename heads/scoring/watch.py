"""A folder that is watched: new files are scored as they come, one JSON line each.

A file is taken once its size and time have stood still for a round. What has a line already is
not scored again, so the same command goes on where it was stopped or killed; a torn last line is
dropped and its video scored again.
"""

import argparse
import json
import os
import shutil
import tempfile
import time
from pathlib import Path

from extract.manifest.manifest import Manifest, Video
from extract.manifest.sources import VIDEO_SUFFIXES
from extract.running.interrupt import Interrupt
from heads.errors import BadSetting
from heads.scoring.archive import Scorer, score_videos
from heads.scoring.output import Output
from heads.scoring.run import NOTICE, extract_settings, load_branches, runner

State = dict[str, tuple[int, int]]


def watch(arguments: argparse.Namespace, scorer: Scorer, protocol: str) -> int:
    """Until interrupted, which is the way it ends well; how many rows there are."""
    folder, out = Path(arguments.manifest), arguments.out
    if not folder.is_dir() or out is None or out.suffix != ".jsonl" or arguments.watch <= 0:
        raise BadSetting("--watch needs a folder, --out FILE.jsonl, and more than 0 seconds.")
    branches = load_branches(arguments, scorer.bundle)
    settings = extract_settings(arguments, protocol)
    done = _scored(out)
    before: State = {}
    with Interrupt(NOTICE) as interrupt:
        run = runner(arguments, interrupt)
        while not interrupt.asked:
            now = _files(folder)
            still = sorted(n for n, s in now.items() if before.get(n) == s and n not in done)
            if still:
                videos = tuple(Video(id=name, path=str(folder / name)) for name in still)
                manifest = Manifest(root=folder.absolute(), scheme=None, videos=videos)
                with tempfile.TemporaryDirectory() as work:
                    part = Output(Path(work) / "part.jsonl", {})
                    if not score_videos(scorer, manifest, branches, settings, part, run):
                        break
                    _append(out, part.out)
                done |= set(still)
            before = now
            time.sleep(arguments.watch)
    return len(done)


def _files(folder: Path) -> State:
    found = {}
    for path in folder.rglob("*"):
        if path.suffix.lower() in VIDEO_SUFFIXES and path.is_file():
            status = path.stat()
            found[path.relative_to(folder).as_posix()] = (status.st_size, status.st_mtime_ns)
    return found


def _scored(out: Path) -> set[str]:
    """Ids that have a line; a torn last line is cut off."""
    if not out.exists():
        return set()
    content = out.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if len(whole) < len(content):
        with out.open("rb+") as file:
            file.truncate(len(whole))
    return {json.loads(line)["id"] for line in whole.decode().splitlines()}


def _append(out: Path, part: Path) -> None:
    with out.open("ab") as file, part.open("rb") as new:
        shutil.copyfileobj(new, file)
        file.flush()
        os.fsync(file.fileno())
