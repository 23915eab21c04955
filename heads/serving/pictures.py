"""The frames that a verdict rests on, small, with their times; decoded in a guarded worker."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from extract.decoding.info import VideoInfo
from extract.decoding.job import Job, Look, Output, Plan
from extract.decoding.pool import DecodePool
from extract.decoding.stills import jpeg_url
from extract.manifest.manifest import Manifest
from extract.running.pipeline import Settings
from extract.views.protocol import Protocol
from heads.scoring.explain import frame_times
from heads.serving.small import SIDE, fitted

MOST = 8
_MOST_BYTES = 2**28
"""Of all views' frames together, however many a protocol has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """A frame, and when it is shown."""

    time: str
    data_url: str
    """As a JPEG."""


def moments(manifest: Manifest, settings: Settings) -> list[Moment]:
    """Of the first view of the manifest's one row; none where they cannot be had any more."""
    (video,) = manifest.videos
    protocol = Protocol.parse(settings.protocol)
    wanted = Output(
        name="small", function="heads.serving.small:small_frames",
        shape=(protocol.view_frames, SIDE, SIDE, 3), dtype="uint8", frames=protocol.view_frames,
    )  # fmt: skip
    plan = Plan(
        looks=(Look(protocol=settings.protocol, outputs=(wanted,)),), root=str(manifest.root),
        seed=settings.seed, decoder=settings.decoder, limits=settings.limits,
    )  # fmt: skip
    if plan.slot_bytes > _MOST_BYTES:
        return []
    with DecodePool(plan) as pool:
        for outcome in pool.run([Job(index=0, id=video.id, path=video.path)]):
            if outcome.failure is None and outcome.info is not None and outcome.arrays:
                frames_thwc = outcome.arrays["small"][0]
                times = frame_times(video, outcome.info, settings)
                return _chosen(frames_thwc, times, outcome.info)
    return []


def _chosen(
    frames_thwc: NDArray[np.generic], times: Sequence[str], info: VideoInfo
) -> list[Moment]:
    width, height = fitted(info.width, info.height)
    count = min(MOST, len(times))
    found: dict[str, Moment] = {}
    for place in np.linspace(0, len(times) - 1, count).astype(int).tolist():
        frame_hwc = np.asarray(frames_thwc[place, :height, :width], np.uint8)
        found.setdefault(times[place], Moment(time=times[place], data_url=jpeg_url(frame_hwc)))
    return list(found.values())
