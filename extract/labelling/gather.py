"""Puts the videos of several folders under one root, in the places where HFV's layout has them.

Hard links where the file system can, copies elsewhere: no video is changed, and none outside the
folders that were named is taken. What cannot be taken is reported with its reason.
"""

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from extract.errors import BadSetting, one_line
from extract.manifest.manifest import Video
from extract.manifest.scan import scan_videos
from extract.manifest.sources import HFV_PARTS
from features_store.commit import publish

PART = HFV_PARTS[0]


@dataclass(slots=True, kw_only=True)
class Gathered:
    """What was put in place, and why other files were not."""

    videos: list[Video] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    """Path as it was given → reason."""


def gather(folders: Sequence[Path], out: Path) -> Gathered:
    """Every video of the folders as `out/train_data/FOLDER/…`. The same again does nothing."""
    root = Path(os.path.abspath(out))  # noqa: PTH100, links stay links
    sources = source_names(folders)
    found = Gathered()
    for source, folder in sources.items():
        if root.resolve().is_relative_to(folder.resolve()):
            raise BadSetting(f"--out {out} lies inside {folder}; give a folder outside it.")
        for path in scan_videos(os.fspath(folder)):
            name = os.path.relpath(path, folder)
            problem = _problem(name, path, folder)
            if problem:
                found.refused[one_line(path)] = problem
                continue
            place = root / PART / source / name
            _put(Path(path), place)
            video_id = f"{PART}/{source}/{name.replace(os.sep, '/')}"
            found.videos.append(Video(id=video_id, path=os.fspath(place), source=source))
    if not found.videos:
        raise BadSetting(
            f"No videos in {', '.join(map(str, folders))}; give folders that have some."
        )
    return found


def source_names(folders: Sequence[Path]) -> dict[str, Path]:
    """Each folder's own name is its generator's."""
    names: dict[str, Path] = {}
    for folder in folders:
        if not folder.is_dir():
            raise BadSetting(f"{folder} is no folder; give folders of videos, one a generator.")
        name = folder.resolve().name
        if not name or name in names:
            raise BadSetting(
                f"{folder}: {'no name' if not name else f'{names[name]} has the name {name!r} too'}"
                f"; the folder's name is the generator's, so rename one."
            )
        names[name] = folder
    return names


def _problem(name: str, path: str, folder: Path) -> str:
    """Why a file is not taken; empty when it is."""
    if not name.isprintable() or name != name.strip():
        return "its name cannot be written in an HFV list (control characters or outer spaces)"
    resolved = os.path.realpath(path)
    if not Path(resolved).is_relative_to(os.path.realpath(folder)):
        return "a link that leaves its folder"
    if not os.path.isfile(resolved):  # noqa: PTH113, a name may be any bytes
        return "not a file"
    return ""


def _put(video: Path, place: Path) -> None:
    source = video.resolve()
    if place.exists():
        there, given = place.stat(), source.stat()
        if (there.st_size, there.st_mtime_ns) != (given.st_size, given.st_mtime_ns):
            raise BadSetting(
                f"{place} is there already and is not {video}; give another --out, or remove it."
            )
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    try:
        place.hardlink_to(source)
    except OSError:  # another file system, or one without links
        temporary = place.with_name(f".{place.name}.copying")
        shutil.copy2(source, temporary)
        publish(temporary, place)
