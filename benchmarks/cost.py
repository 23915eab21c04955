"""What a data set costs in GPU hours, cores and disk: measured parts, and arithmetic over them.

Nothing here is measured; every part says where it comes from. GPU hours are operations over one
sustained rate, the same for both ways; reading, decoding that the GPU waits for and everything
but the two networks are left out, for both ways.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.gpu import DEPTH_FLOPS_A_FRAME
from benchmarks.recorded import Result
from extract.branch import BranchRequest
from extract.branches import depthpro, internvideo2
from extract.views.protocol import Protocol
from extract.views.view import DEPTH_POSITIONS
from features_store.schema import ArraySpec
from heads.judging.ablation import TABLE_3
from heads.training.config import TrainConfig

HFV, MILLION = 7_290, 1_000_000
PROTOCOLS = ("val", "test-4x3", "train-8")
NEEDED_PASSES, RELEASED_PASSES = 2, 36
"""Of Depth Pro's transformers, for each frame."""
BACKWARD = 2
"""A backward pass counts as two forward ones."""
SEEDS, EPOCHS, SAMPLES = 5, 20, 2
"""The released training: 20 epochs, 2 views of each video; `tests/golden/optim.json`."""
TRAIN_VIEWS = "train-8"
"""Views that are kept to learn from."""
OUR_EPOCHS = TrainConfig().epochs
BENCH_VIDEOS = 1_000
"""Of the heads' benchmark, 2 views each."""
_VIDEO = internvideo2.PRESETS["L14"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """Operations that a GPU does in a second, sustained."""

    tflops: float
    origin: str


ASSUMED = Rate(tflops=300, origin="**assumed, not measured**")


def given(tflops: float) -> Rate:
    return Rate(tflops=tflops, origin="**given by the user, not measured**")


def measured_rate(results: Sequence[Result]) -> Rate | None:
    """From a recorded run of both branches together, where there is one."""
    for result in results:
        both = result.figure("both branches") if result.theme == "gpu" else None
        if both is not None:
            tflops = both.numbers["views/s"] * view_tflop(NEEDED_PASSES)
            return Rate(
                tflops=tflops,
                origin=f"measured on {result.machine}, {result.date}, commit {result.commit}: "
                f"both branches, {both.numbers['views/s']:.3g} views/s",
            )
    return None


def video_tflop() -> float:
    return internvideo2.view_flops(_VIDEO) / 1e12


def depth_tflop(passes: int) -> float:
    """A view's two frames."""
    one_pass = DEPTH_FLOPS_A_FRAME / NEEDED_PASSES / 1e12
    return len(DEPTH_POSITIONS) * passes * one_pass


def view_tflop(passes: int) -> float:
    return video_tflop() + depth_tflop(passes)


def view_bytes() -> dict[str, int]:
    """Of one view in a store, by what is kept."""
    depth = ArraySpec(shape=(len(DEPTH_POSITIONS), depthpro.PRESETS["L16"].out))
    kept = {"pooled": ",".join(internvideo2.POOLED), "tokens:4x4": "tokens:4x4", "tokens": "tokens"}
    found = {}
    for name, outputs in kept.items():
        request = BranchRequest(name="internvideo2", preset="L14", options={"outputs": outputs})
        arrays = internvideo2.stored_outputs(request, _VIDEO)
        found[name] = sum(array.row_bytes for array in arrays.values())
    return found | {"pooled": found["pooled"] + depth.row_bytes}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """One pass over all videos with one protocol."""

    protocol: str
    videos: int
    rate: Rate

    @property
    def views(self) -> int:
        return self.videos * Protocol.parse(self.protocol).view_count

    def gpu_hours(self, passes: int) -> float:
        return self.views * view_tflop(passes) / self.rate.tflops / 3600

    def gigabytes(self, kept: str) -> float:
        return self.views * view_bytes()[kept] / 1e9

    def decode_core_hours(self, results: Sequence[Result], way: str) -> float | None:
        """None where one core's rate was not measured for the protocol."""
        for result in results:
            figure = result.figure(f"{self.protocol}, 1 core: {way}")
            if result.theme == "decode" and figure is not None:
                return self.videos / figure.numbers["videos/s"] / 3600
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ablation:
    """The paper's Table 3, each row with several seeds, as if every video were for training."""

    videos: int
    rate: Rate

    @property
    def trainings(self) -> int:
        return SEEDS * len(TABLE_3)

    def released_gpu_hours(self) -> float:
        """The backbone forward and backward, the depth network forward, in every step."""
        views = self.videos * SAMPLES * EPOCHS * SEEDS
        with_depth = sum(settings["depth"] == "true" for settings in TABLE_3.values())
        tflop = len(TABLE_3) * (1 + BACKWARD) * video_tflop()
        tflop += with_depth * depth_tflop(RELEASED_PASSES)
        return views * tflop / self.rate.tflops / 3600

    def cached_gpu_hours(self) -> float:
        """The same trainings of the backbone, with depth vectors from the store: the depth network
        looks once at each kept view, and never in a step."""
        views = self.videos * SAMPLES * EPOCHS * SEEDS
        tflop = views * len(TABLE_3) * (1 + BACKWARD) * video_tflop()
        kept = self.videos * Protocol.parse(TRAIN_VIEWS).view_count
        return (tflop + kept * depth_tflop(NEEDED_PASSES)) / self.rate.tflops / 3600

    def our_minutes(self, results: Sequence[Result]) -> float | None:
        """Of heads on frozen features, another experiment: from the measured ablation, in
        proportion to videos and epochs."""
        for result in results:
            whole, part = result.figure("ablation, 4 rows x 5 seeds"), result.figure("train, ")
            if result.theme != "heads" or result.on_gpu or whole is None or part is None:
                continue
            epochs = int(part.name.split()[1])  # train, N epochs: …
            measured = whole.numbers["s"] / 60
            return measured * self.videos / BENCH_VIDEOS * OUR_EPOCHS / epochs
        return None
