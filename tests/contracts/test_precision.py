"""In which precision branches compute: as asked for, on CUDA too."""

from collections.abc import Iterator

import pytest
import torch

from extract.branch import Branch
from extract.networks.exact import exact_float32
from tests.contracts.branches import asked, load


@pytest.fixture
def tf32() -> Iterator[None]:
    """A process that has TF32 on."""
    before = torch.backends.cuda.matmul.fp32_precision
    torch.backends.cuda.matmul.fp32_precision = "tf32"
    yield
    torch.backends.cuda.matmul.fp32_precision = before


@pytest.mark.usefixtures("tf32")
def test_float32_is_float32_on_cuda_too(branch: Branch) -> None:
    """The switches are the process's; networks see them off, everybody else as they were."""
    matmul, conv = torch.backends.cuda.matmul, torch.backends.cudnn.conv  # type: ignore[attr-defined]
    seen = []
    compute = branch.compute

    def watched(batch: torch.Tensor) -> dict[str, torch.Tensor]:
        seen.append((matmul.fp32_precision, conv.fp32_precision))
        return compute(batch)

    branch.compute = watched  # type: ignore[method-assign]
    branch.forward(branch.example(1))
    assert seen == [("ieee", "ieee")]
    assert (matmul.fp32_precision, conv.fp32_precision) == ("tf32", "tf32")


@pytest.mark.usefixtures("tf32")
def test_half_precision_leaves_the_switches_alone() -> None:
    branch = load("depthpro=tiny", "precision=bfloat16")
    branch.outputs = {}
    seen = []

    def watched(batch: torch.Tensor) -> dict[str, torch.Tensor]:
        seen.append(torch.backends.cuda.matmul.fp32_precision)
        assert len(batch) == 1
        return {}

    branch.compute = watched  # type: ignore[method-assign]
    branch.forward(branch.example(1))
    assert seen == ["tf32"]


def test_float32_stays_exact_until_the_last_thread_is_done() -> None:
    conv = torch.backends.cudnn.conv  # type: ignore[attr-defined]
    before = conv.fp32_precision
    with exact_float32():
        with exact_float32():
            assert conv.fp32_precision == "ieee"
        assert conv.fp32_precision == "ieee"
        with exact_float32(wanted=False):
            assert conv.fp32_precision == "ieee"
    assert conv.fp32_precision == before == "tf32"


def test_half_precision_is_near(network: Branch) -> None:
    views = network.example(1)
    exact = network.forward(views)
    half = load(asked(network), "precision=bfloat16").forward(views)
    for name, numbers in half.items():
        if not numbers.is_floating_point():
            continue  # which frames are there is a matter of yes and no
        error = (numbers - exact[name]).norm() / exact[name].norm()
        assert float(error) < 0.03
