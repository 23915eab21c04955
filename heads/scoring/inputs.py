"""What a user names to be scored, several of anything, as one manifest."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TextIO

from extract.manifest.manifest import Manifest, ManifestOptions, Video, read_manifest
from extract.manifest.names import escaped
from extract.manifest.video_table import VideoTable
from heads.errors import BadSetting


def read_inputs(
    names: Sequence[str], scheme: str | None, root: Path | None, listing: TextIO | None = None
) -> Manifest:
    """Videos, folders, lists and tables; labels are taken along where their scheme is known."""
    options = ManifestOptions(scheme=scheme, root=root, labels=False)
    found = [read_manifest(name, options, listing=listing) for name in names]
    return found[0] if len(found) == 1 else _joined(found)


def _joined(found: Sequence[Manifest]) -> Manifest:
    """Ids are relative to the folder that has all of them; a video that is named twice is one."""
    schemes = {manifest.scheme for manifest in found if manifest.scheme is not None}
    if len(schemes) > 1:
        names = ", ".join(sorted(scheme.name for scheme in schemes))
        raise BadSetting(f"The inputs have labels of several schemes ({names}); score them apart.")
    base = os.path.commonpath([manifest.root for manifest in found])
    videos = VideoTable.of(base, _videos(found, base))
    return Manifest(root=Path(base), scheme=next(iter(schemes), None), videos=videos)


def _videos(found: Sequence[Manifest], base: str) -> Iterator[Video]:
    seen = set()
    for manifest in found:
        for video in manifest.videos:
            if video.path not in seen:
                seen.add(video.path)
                name = escaped(os.path.relpath(video.path, base).replace(os.sep, "/"))
                yield replace(video, id=name)
