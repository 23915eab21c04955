"""DeepfakeBench's numbers, as its code gives them and as they ought to be.

Scores are of frames (or clips), the probability of *fake*; a video is the folder that a frame lies
in. The released code takes the folder's bare name for the video, so that videos of one name in
several folders become one, cuts a mean label of 0.9 down to 0, and reads the equal error rate at
the nearest kept point of the ROC curve, which is 0 for a constant score. Here a video is its
whole folder, and the rate is where the two error rates cross.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from heads.measuring.curves import equal_error_rate
from heads.measuring.metrics import Floats

Name = str | Sequence[str]
"""A frame's path, or the paths of a clip's frames."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameNumbers:
    """NaN where a number does not exist; `undefined` says why."""

    accuracy: float
    """At 0.5, which itself counts as real."""
    auc: float
    eer: float
    average_precision: float
    video_auc: float
    undefined: str = ""


def frame_numbers(
    scores: Floats, labels: NDArray[np.integer], names: Sequence[Name], *, released: bool = False
) -> FrameNumbers:
    """Everything from frames. Labels above 0 are fake."""
    said = np.asarray(scores).reshape(len(names)).astype(np.float64)
    fake = np.asarray(labels) >= 1
    accuracy = float(((said > 0.5) == fake).mean())
    if fake.all() or not fake.any():
        why = f"all frames are {'fake' if fake.any() else 'real'}"
        nothing = math.nan
        return FrameNumbers(
            accuracy=accuracy, auc=nothing, eer=nothing, average_precision=nothing,
            video_auc=nothing, undefined=why,
        )  # fmt: skip
    right = float(equal_error_rate(said[~fake], said[fake]))
    return FrameNumbers(
        accuracy=accuracy,
        auc=float(roc_auc_score(fake, said)),
        eer=released_eer(said, fake) if released else right,
        average_precision=float(average_precision_score(fake, said)),
        video_auc=_video_auc(said, fake, names, released=released),
    )


def released_eer(scores: Floats, positive: NDArray[np.bool_]) -> float:
    """The false-alarm rate at the kept ROC point where the errors are nearest to each other."""
    false, true, _ = roc_curve(positive, scores)
    return float(false[np.abs(1 - true - false).argmin()])


def video_of(name: str, *, released: bool = False) -> str:
    """The folder of a frame; as released, that folder's name alone."""
    folder = name.replace("\\", "/").rpartition("/")[0]
    return folder.rpartition("/")[2] if released else folder


def _video_auc(
    said: Floats, fake: NDArray[np.bool_], names: Sequence[Name], *, released: bool
) -> float:
    if not isinstance(names[0], str):
        return float(roc_auc_score(fake, said))  # clips are not put together
    videos = [video_of(str(name), released=released) for name in names]
    inverse = np.unique(videos, return_inverse=True)[1]
    counts = np.bincount(inverse)
    means, share = np.bincount(inverse, said) / counts, np.bincount(inverse, fake) / counts
    truth = share == 1 if released else share >= 0.5
    if truth.all() or not truth.any():
        return math.nan
    return float(roc_auc_score(truth, means))
