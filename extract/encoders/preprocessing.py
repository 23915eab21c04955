"""How a Hugging Face folder wants its pictures: read from there, checked against its processor.

Where transformers can make the folder's own image processor, what it says of itself counts and what
it makes of made-up pictures must be what the look makes. Where it cannot (some need torchvision),
the folder's file counts, and must say everything.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from extract.errors import BadSetting, BadWeights
from extract.networks.hugging_face import quiet
from extract.views.looks import Look, Resample, looked

_FILES = ("preprocessor_config.json", "video_preprocessor_config.json", "processor_config.json")
_INSIDE = ("image_processor", "video_processor")
_RESAMPLE: dict[int, Resample] = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}
_LEVEL = 1 / 255
"""Another resizer may be off by one level."""
_PICTURES = ((90, 161), (131, 97))


def read_look(folder: Path) -> tuple[Look, str]:
    """The look, and how it is known."""
    said = _said(folder)
    processor = _processor(folder)
    if processor is None:
        return _look(folder, said), "the folder's file, not checked: its processor cannot be made"
    look = _look(folder, {**said, **_plain(processor)})
    _check(folder, look, processor)
    return look, "the folder's processor, checked"


def _said(folder: Path) -> dict[str, Any]:
    for name in _FILES:
        path = folder / name
        if path.is_file():
            try:
                found = json.loads(path.read_text(encoding="utf-8"))
                inside = next((found[key] for key in _INSIDE if key in found), found)
                return dict(inside)
            except (OSError, ValueError, TypeError) as error:
                raise BadWeights(f"{path} cannot be read ({error}); get it again.") from error
    raise BadWeights(
        f"{folder} does not say how pictures are prepared: it has none of {', '.join(_FILES)}. "
        f"Get the file from where the weights are from, or name a look: ?look=short."
    )


def _processor(folder: Path) -> Any:  # noqa: ANN401
    """transformers' own; none where this installation cannot make it."""
    from transformers import AutoImageProcessor

    try:
        with quiet():
            return AutoImageProcessor.from_pretrained(folder, local_files_only=True)
    except Exception:
        return None


def _plain(processor: Any) -> dict[str, Any]:  # noqa: ANN401
    return {key: value for key, value in processor.to_dict().items() if value is not None}


def _look(folder: Path, said: Mapping[str, Any]) -> Look:
    """What a processor's settings mean."""
    try:
        height, width, short, resize = _sizes(said)
        resample = _RESAMPLE[int(said.get("resample", 3))]
        normal = said.get("do_normalize", True)
        mean = tuple(map(float, said["image_mean"])) if normal else (0.0,) * 3
        std = tuple(map(float, said["image_std"])) if normal else (1.0,) * 3
    except (KeyError, TypeError, ValueError) as error:
        raise BadWeights(
            f"{folder} prepares pictures in a way that Telltale does not know ({error!r}); name a "
            f"look instead: ?look=short."
        ) from error
    try:
        return Look(
            height=height, width=width, short=short, resize=resize, resample=resample,
            crop="down", mean=mean, std=std,
        )  # fmt: skip
    except BadSetting as error:
        raise BadWeights(f"{folder}: {error}") from error


def _sizes(said: Mapping[str, Any]) -> tuple[int, int, int, Any]:
    size = said["size"]
    size = {"shortest_edge": size} if isinstance(size, int) else _plain_size(size)
    cropped = said.get("crop_size") if said.get("do_center_crop") else None
    if isinstance(cropped, int):
        cropped = {"height": cropped, "width": cropped}
    if "shortest_edge" in size:
        short = int(size["shortest_edge"])
        box = cropped or {"height": short, "width": short}
        return int(box["height"]), int(box["width"]), short, "short"
    height, width = int(size["height"]), int(size["width"])
    if cropped and (int(cropped["height"]), int(cropped["width"])) != (height, width):
        raise ValueError("a crop of another size behind a resize to a fixed one")
    return height, width, height, "whole"


def _plain_size(size: Any) -> dict[str, Any]:  # noqa: ANN401
    """Some processors keep sizes in records of their own."""
    named = size if isinstance(size, Mapping) else vars(size)
    return {key: value for key, value in named.items() if value is not None}


def _check(folder: Path, look: Look, processor: Any) -> None:  # noqa: ANN401
    """The processor's output for made-up pictures must be the look's."""
    random = np.random.default_rng(0)
    for height, width in _PICTURES:
        coarse = random.integers(0, 256, (height // 8, width // 8, 3), np.uint8)
        picture = np.kron(coarse, np.ones((9, 9, 1), np.uint8))[:height, :width]
        theirs = np.asarray(_processed(processor, picture), np.float32)
        ours = normalised(looked(picture, look), look)
        if theirs.shape != ours.shape:
            raise BadWeights(
                f"{folder} prepares a picture of {width}x{height} as {list(theirs.shape)}, the "
                f"look read from it as {list(ours.shape)}; name a look instead: ?look=short."
            )
        worst = float(np.abs(theirs - ours).max())
        if worst > 1.01 * _LEVEL / min(look.std):
            raise BadWeights(
                f"{folder} prepares pictures otherwise than the look read from it, by up to "
                f"{worst:.3g}; name a look instead: ?look=short."
            )


def _processed(processor: Any, picture: NDArray[np.uint8]) -> Any:  # noqa: ANN401
    """(c, h, w); a video's processor takes a list of frames."""
    with quiet():
        found = processor(images=[picture], return_tensors="np")["pixel_values"]
    while found.ndim > 3:
        found = found[0]
    return found


def normalised(picture_hwc: NDArray[np.uint8], look: Look) -> NDArray[np.float32]:
    """(c, h, w) as the network takes it."""
    scaled = picture_hwc.astype(np.float32) / np.float32(255)
    normal = (scaled - np.asarray(look.mean, np.float32)) / np.asarray(look.std, np.float32)
    return np.ascontiguousarray(normal.transpose(2, 0, 1))
