"""Which frames a clip is made of, in numbers of frames alone: the released HumanSAM code's choice.

`rates.py` has the choices that go by seconds.
"""

from collections.abc import Iterable
from typing import Protocol

CLIP_FRAMES = 8


class IntegerDraw(Protocol):
    """What `train_frames` needs of a random generator: `numpy.random.Generator` has it."""

    def integers(self, low: int, high: int, size: int) -> Iterable[int]: ...


def validation_frames(count: int, clip: int = CLIP_FRAMES) -> tuple[int, ...]:
    """The middle of each of `clip` equal parts."""
    step = count // clip
    if step == 0:
        return _short(count, clip)
    return tuple(part * step + step // 2 for part in range(clip))


def train_frames(count: int, rng: IntegerDraw, clip: int = CLIP_FRAMES) -> tuple[int, ...]:
    """A random frame of each of `clip` equal parts."""
    step = count // clip
    if step == 0:
        return _short(count, clip)
    drawn = rng.integers(0, step, size=clip)
    return tuple(part * step + int(offset) for part, offset in enumerate(drawn))


def interleaved_frames(
    count: int, segments: int, clip: int = CLIP_FRAMES
) -> tuple[tuple[int, ...], ...]:
    """`segments` interleaved clips: all frames are sorted first and dealt out afterwards."""
    tick = count / clip
    frames = sorted(
        int(segment * tick / segments + tick * part)
        for segment in range(segments)
        for part in range(clip)
    )
    return tuple(tuple(frames[start::segments]) for start in range(segments))


def adjacent_frames(count: int, pairs: int) -> tuple[int, ...]:
    """Two frames that follow each other in the middle of each of `pairs` equal parts.

    A video with fewer pairs has some of them twice; one of a single frame has it beside itself.
    """
    starts = [(2 * part + 1) * (count - 1) // (2 * pairs) for part in range(pairs)]
    return tuple(frame for start in starts for frame in (start, min(start + 1, count - 1)))


def _short(count: int, clip: int) -> tuple[int, ...]:
    """Fewer frames than asked for: the first one is repeated in front."""
    return (0,) * (clip - count) + tuple(range(count))


def spread_frames(count: int, frames: int) -> tuple[int, ...]:
    """Equally far apart from the first frame to the last; a shorter video's last one is repeated.

    As V-PVP takes them: the longer a file, the longer each step."""
    if count < frames:
        return tuple(range(count)) + (count - 1,) * (frames - count)
    return tuple(int(part * (count - 1) / (frames - 1)) for part in range(frames))


def window_frames(
    count: int, windows: int, frames: int, step: int = 0
) -> tuple[tuple[int, ...], ...]:
    """Runs of consecutive frames that do not overlap, spread evenly over the video; with a `step`,
    one that begins every so many frames, from the first frame on.

    As many of the `windows` as fit; a video that is shorter than one run is one short run.
    """
    if step:
        last = max(0, count - frames)
        begun = range(0, last + 1, step)[:windows]
        return tuple(tuple(range(start, min(start + frames, count))) for start in begun)
    fitting = max(1, min(windows, count // frames))
    spare = max(0, count - fitting * frames)
    starts = [run * frames + (spare * (2 * run + 1)) // (2 * fitting) for run in range(fitting)]
    return tuple(tuple(range(start, min(start + frames, count))) for start in starts)


def filled_up(frames: tuple[int, ...], wanted: int) -> tuple[int, ...]:
    """The last frame again where there are too few, the first of the video where there is none."""
    return frames + (frames[-1] if frames else 0,) * (wanted - len(frames))
