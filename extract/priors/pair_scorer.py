"""What the weight-free scorers share: a curve over pairs of adjacent frames, and a total.

A scorer is a branch like any other, so that decoding, shards, fingerprints, resuming and failures
are the pipeline's. Its arithmetic is OpenCV's and runs in the decode workers, one video a core;
the branch gets a row of numbers for each pair, and says how they become a curve and a score.
Outputs: `curve` (pairs) and `score` (1); larger is more anomalous. Use them with the protocol
`pairs-N`, N as in `?pairs=N`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from extract.branch import Branch, BranchRequest
from extract.decoding.job import Output
from extract.errors import BadSetting
from features_store.schema import ArraySpec

PAIRS = 32
"""A jump lasts one pair: 16 pairs of a clip miss half of them."""
MAX_PAIRS = 256
OPTIONS = ("pairs", "dtype")


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """One way to score pairs of frames without weights."""

    preset: str
    function: str
    """Makes the measures in the decode worker; see `decoding.job.Output`."""
    measures: int
    """Numbers per pair."""
    column: int
    """Which of them is the curve."""
    worst: float
    """The score is the mean of this share of the curve, the highest part of it."""
    decides: Mapping[str, object]
    """Parameters and revision of the function."""
    meaning: str
    """For people."""


class PairScorer(Branch):
    """A scorer without weights."""

    def __init__(self, request: BranchRequest, method: Method) -> None:
        request.check_options(OPTIONS)
        if request.weights is not None:
            raise BadSetting(
                f"Branch {request.name}={method.preset} uses no weights; leave {request.weights} "
                f"out."
            )
        self.outputs = scorer_outputs(request)
        (pairs,) = self.outputs["curve"].shape
        self.name = request.name
        self.preset = method.preset
        self.device = torch.device(request.device)
        self.precision = request.precision or "float32"
        if self.precision != "float32":
            raise BadSetting(f"Branch {request.name} computes in float32, not {self.precision}.")
        self.method = method
        self.prepare = Output(
            name=method.function.partition(":")[2],
            function=method.function,
            shape=(pairs, method.measures),
            dtype="float32",
            pairs=pairs,
        )
        self.decides = {
            "method": method.preset,
            "column": method.column,
            "worst": method.worst,
            "pairs": pairs,
            **method.decides,
        }
        self.provenance = {"source": "no weights", "meaning": method.meaning}

    def compute(self, batch: Tensor) -> dict[str, Tensor]:
        curve_bp = batch[:, :, self.method.column].float()
        worst = max(1, round(self.method.worst * curve_bp.shape[1]))
        highest_bp = curve_bp.double().sort(dim=1, descending=True).values[:, :worst]
        return {"curve": curve_bp, "score": highest_bp.mean(1, keepdim=True).float()}

    def example(self, count: int) -> Tensor:
        return torch.rand(count, *self.prepare.shape, device=self.device)


def scorer_outputs(request: BranchRequest) -> dict[str, ArraySpec]:
    """What every scorer gives, by `?pairs=N` and `?dtype=`."""
    pairs = request.whole_number("pairs", PAIRS, MAX_PAIRS)
    dtype = request.option("dtype", "float32", ("float16", "float32"))
    return {
        "curve": ArraySpec(shape=(pairs,), dtype=dtype),
        "score": ArraySpec(shape=(1,), dtype=dtype),
    }


def load_scorer(request: BranchRequest, *methods: Method, others: Sequence[str] = ()) -> PairScorer:
    """The scorer of one of these methods, by its preset; `others` need weights."""
    for method in methods:
        if method.preset == request.preset:
            return PairScorer(request, method)
    have = ", ".join([*(method.preset for method in methods), *others])
    raise BadSetting(f"Branch {request.name}: preset {request.preset!r} unknown; have: {have}.")
