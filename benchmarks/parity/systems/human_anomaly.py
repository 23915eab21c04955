"""VBench-2.0's human anomaly: its letterbox, crops and preprocessing."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from benchmarks.parity.rows import Kind, Row, compare, exact, tensors
from extract.people.crops import crop_look, square_around
from extract.people.letterbox import Letterbox
from extract.views.looks import looked

FOLDER = "human-anomaly"
SIZE = 224
_BACK = 1e-3
_CORNER = 8


def kind_of(path: Path, described: dict[str, Any]) -> Kind | None:
    del described
    return _KINDS.get(path.stem) if path.parent.name == FOLDER else None


def _letterbox_rows(path: Path, described: dict[str, Any]) -> Iterator[Row]:
    golden = tensors(path)
    for number, case in enumerate(described["cases"]):
        height, width = case["frame_hw"]
        box = Letterbox(width=width, height=height)
        left, top = box.corner
        geometry = [*box.resized[::-1], top, left]
        pad = case["pad_top_bottom_left_right"]
        yield exact(path.name, f"{number}", geometry, [*case["resized_hw"], pad[0], pad[2]])
        back = torch.from_numpy(box.back(golden["boxes_on_canvas"].numpy()))
        name = f"{number}.boxes_back"
        yield compare(path.name, name, back, golden[name], _BACK)
        if f"{number}.frame" in golden:
            canvas = box.canvas(golden[f"{number}.frame"].numpy())[::5, ::5]
            expected = golden[f"{number}.canvas_every_5th"].numpy()
            yield exact(path.name, f"{number}.canvas", _wide(canvas), _wide(expected))


def _crops_rows(path: Path, described: dict[str, Any]) -> Iterator[Row]:
    golden = tensors(path)
    found = []
    for (height, width), box in zip(
        golden["frame_hw"].tolist(), golden["box_xyxy"].tolist(), strict=True
    ):
        square = square_around(tuple(box), width, height)
        corners = (-1,) * 4
        if square is not None:
            corners = (square.left, square.top, square.right, square.bottom)
        found.append(corners)
    yield exact(path.name, "crop_xyxy", found, golden["crop_xyxy"].numpy())
    errors = sum(case["error"] is not None for case in described["cases"])
    yield exact(path.name, "no crop", sum(corners[0] < 0 for corners in found), errors)


def _preprocess_rows(path: Path, described: dict[str, Any]) -> Iterator[Row]:
    golden, look = tensors(path), crop_look(SIZE)
    tolerance = described["tolerance_absolute"]["tensor, tensor_corner"]
    pictures = {
        name: golden[name].numpy() for name in golden if name.removeprefix("crop").isdigit()
    }
    with Image.open(path.with_name("sample.png")) as sample:
        pictures["sample.png"] = np.asarray(sample.convert("RGB"))
    for name, picture in pictures.items():
        seen = looked(picture, look)
        yield exact(
            path.name, f"{name}.centre224", _wide(seen), _wide(golden[f"{name}.centre224"].numpy())
        )
        levels = torch.from_numpy(seen.copy()).permute(2, 0, 1).float() / 255
        mean, std = (torch.tensor(x)[:, None, None] for x in (look.mean, look.std))
        corner = ((levels - mean) / std)[:, :_CORNER, :_CORNER]
        name = f"{name}.tensor_corner"
        yield compare(path.name, name, corner, golden[name], tolerance)
    for size, short in described["image_sizes"].items():
        yield exact(path.name, f"short side of {size}", crop_look(int(size)).short, short)


def _wide(picture: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Levels whose differences do not wrap round."""
    return picture.astype(np.int64)


_KINDS: dict[str, Callable[[Path, dict[str, Any]], Iterator[Row]]] = {
    "letterbox": _letterbox_rows,
    "crops": _crops_rows,
    "preprocess": _preprocess_rows,
}
