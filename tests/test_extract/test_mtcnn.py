"""MTCNN: the networks' numbers, the cascade on networks that see brightness, its weights."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmarks.parity.checking import kind_of
from extract.errors import BadSetting, BadWeights
from extract.networks.mtcnn import Narrow, Sliding, Wide
from extract.people import mtcnn
from extract.people.mtcnn import Mtcnn, MtcnnSettings

GOLDEN = Path("tests/golden/altfreezing/mtcnn.json")
POINTS_X, POINTS_Y = (0.3, 0.7, 0.5, 0.35, 0.65), (0.4, 0.4, 0.6, 0.8, 0.8)


class BrightCells(Sliding):
    """A cell is a face if it is bright throughout."""

    def forward(self, x_nchw: Tensor) -> tuple[Tensor, Tensor]:
        least = -torch.nn.functional.max_pool2d(-x_nchw[:, :1], 12, 2)
        likely = ((least + 1) / 2).clamp(0, 1)
        return torch.zeros_like(likely).repeat(1, 4, 1, 1), torch.cat([1 - likely, likely], 1)


class BrightPictures(Narrow):
    """The brighter, the likelier."""

    def forward(self, x_nchw: Tensor) -> tuple[Tensor, Tensor]:
        likely = ((x_nchw.mean((1, 2, 3)) + 1) / 2)[:, None]
        return likely.new_zeros(len(likely), 4), torch.cat([1 - likely, likely], 1)


class BrightFaces(Wide):
    def forward(self, x_nchw: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        likely = ((x_nchw.mean((1, 2, 3)) + 1) / 2)[:, None]
        points = likely.new_tensor([*POINTS_X, *POINTS_Y]).repeat(len(likely), 1)
        return likely.new_zeros(len(likely), 4), points, torch.cat([1 - likely, likely], 1)


@pytest.fixture(scope="module")
def cascade() -> Mtcnn:
    return Mtcnn(BrightCells(), BrightPictures(), BrightFaces(), MtcnnSettings(smallest=32))


def test_networks_give_the_released_numbers() -> None:
    described = json.loads(GOLDEN.read_text())
    rows = kind_of(GOLDEN, described)
    assert rows is not None
    checked = list(rows(GOLDEN, described))
    assert {"pnet.out0", "pnet.out1"} <= {row.quantity for row in checked}
    assert [row.quantity for row in checked if not row.ok] == []


def test_each_bright_square_is_one_face_and_the_brightest_comes_first(cascade: Mtcnn) -> None:
    frame_hwc = np.zeros((96, 128, 3), np.uint8)
    frame_hwc[10:44, 8:42] = 225
    frame_hwc[40:76, 70:106] = 250
    brighter, darker = cascade.faces(frame_hwc, number=7)
    assert brighter.score > darker.score
    assert (brighter.frame, brighter.kind) == (7, "face")
    for face, (left, top, side) in ((brighter, (70, 40, 36)), (darker, (8, 10, 34))):
        x1, y1, x2, y2 = face.box
        assert left - 4 <= x1 < x2 <= left + side + 4
        assert top - 4 <= y1 < y2 <= top + side + 4
        assert face.points is not None
        x, y = face.points[2]
        assert x == pytest.approx(x1 + 0.5 * (x2 - x1 + 1) - 1, abs=1e-3)
        assert y == pytest.approx(y1 + 0.6 * (y2 - y1 + 1) - 1, abs=1e-3)


def test_a_face_smaller_than_asked_for_is_not_seen(cascade: Mtcnn) -> None:
    frame_hwc = np.zeros((96, 128, 3), np.uint8)
    frame_hwc[10:24, 8:22] = 250
    assert cascade.faces(frame_hwc) == []
    finer = Mtcnn(cascade.first, cascade.second, cascade.third, MtcnnSettings(smallest=12))
    assert len(finer.faces(frame_hwc)) == 1


def test_a_frame_without_room_or_light_has_no_faces(cascade: Mtcnn) -> None:
    assert cascade.faces(np.zeros((96, 128, 3), np.uint8)) == []
    assert cascade.faces(np.full((8, 128, 3), 255, np.uint8)) == []


def test_who_found_the_faces_depends_on_weights_and_settings(cascade: Mtcnn) -> None:
    other = Mtcnn(cascade.first, cascade.second, cascade.third, MtcnnSettings(smallest=40))
    twin = Mtcnn(cascade.first, cascade.second, cascade.third, MtcnnSettings(smallest=32))
    assert cascade.identity == twin.identity != other.identity
    assert cascade.identity.weights == other.identity.weights
    fresh = Mtcnn(BrightCells(), cascade.second, cascade.third, MtcnnSettings(smallest=32))
    assert fresh.identity.weights != cascade.identity.weights


def test_weights_come_from_a_folder(cascade: Mtcnn, tmp_path: Path) -> None:
    for name, network in zip(mtcnn.FILES, (Sliding(), Narrow(), Wide()), strict=True):
        torch.save(network.state_dict(), tmp_path / name)
    found = mtcnn.read(tmp_path)
    assert found.identity == mtcnn.read(tmp_path).identity
    (tmp_path / "onet.pt").unlink()
    with pytest.raises(BadWeights, match=r"onet\.pt"):
        mtcnn.read(tmp_path)


def test_what_cannot_be_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadSetting, match="12 pixels or more"):
        MtcnnSettings(smallest=8)
    monkeypatch.setattr(mtcnn, "PACKAGE", "no_such_package_of_faces")
    with pytest.raises(BadWeights, match="--no-deps"):
        mtcnn.read()
