"""A store for fine-tuning networks that are no transformer: made-up videos, real or forged, what
EfficientNet-Lite0 and the tests' own `cube.py` say of them, and their pixels."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from extract.branch import BranchRequest, load_branch
from extract.manifest.manifest import Manifest, ManifestOptions, read_manifest
from extract.running.extraction import Extraction
from extract.running.pipeline import Settings
from extract.synthesis.data_set import SyntheticOptions, write_data_set
from features_store import Store
from heads.data.splits import Choice
from heads.finetuning.config import FinetuneConfig
from heads.finetuning.processes import Processes
from heads.finetuning.setup import Prepared, Request, prepared
from tests.test_extract import faces

PROTOCOL = "val"
CUBE = f"{Path(__file__).with_name('cube.py')}=tiny"
LITE = "image=efficientnet-lite0?size=32"
WINDOWS = "windows-2x8"
CHOICE = Choice(protocol=PROTOCOL, validation=0.25)
VIDEOS = 12
TURNS: Mapping[str, object] = {
    "alternate": "spatial:temporal=1:2", "optimiser": "sgd", "lr": 0.02, "decay_all": True,
    "norms": "batch",
}  # fmt: skip


def write_store(folder: Path) -> None:
    """Videos in `data`, their list in `videos.csv`, features in `store.zarr`."""
    for _ in write_data_set(folder / "data", SyntheticOptions(videos=VIDEOS, difficulty=0.0)):
        pass
    found = read_manifest(str(folder / "data"))
    assert found.scheme is not None
    real = found.scheme.classes.index("real")
    rows = [f"{v.path},{'real' if v.label == real else 'forgery'}" for v in found.videos]
    (folder / "videos.csv").write_text("\n".join(["path,label", *rows]) + "\n")
    requests = (LITE, CUBE, "frames=rgb")
    branches = [load_branch(BranchRequest.parse(text)) for text in requests]
    settings = Settings(protocol=PROTOCOL, shard_rows=8)
    run = Extraction.begin(manifest(folder), folder / "store.zarr", branches, settings)
    run.run(workers=1, bar=False)


def manifest(folder: Path) -> Manifest:
    return read_manifest(str(folder / "videos.csv"), ManifestOptions(scheme="hfv2"))


def config(**changes: object) -> FinetuneConfig:
    plain = {"epochs": 2, "batch": 4, "lr": 1e-3, "select": "loss", "rank_loss": False}
    return FinetuneConfig(**{**plain, **changes})  # type: ignore[arg-type]


@contextmanager
def finetuning(
    folder: Path, branch: str, processes: Processes | None = None, **changes: object
) -> Iterator[Prepared]:
    """End to end unless told; `changes` are fields of Request, and `config` among them."""
    plain = {
        "store": Store.open(folder / "store.zarr"),
        "backbone": BranchRequest.parse(branch),
        "reach": "end-to-end",
        "config": config(),
        "choice": CHOICE,
    }
    with prepared(Request(**{**plain, **changes}), processes) as ready:  # type: ignore[arg-type]
        yield ready


@contextmanager
def finetuning_cube(
    folder: Path, processes: Processes | None = None, **changes: object
) -> Iterator[Prepared]:
    with finetuning(folder, CUBE, processes, **changes) as ready:
        yield ready


def write_faces(folder: Path) -> str:
    """Of the same videos: boxes of faces in `boxes.parquet`, windows of them in `faces.zarr`. The
    first video has no face; that is its id."""
    videos = manifest(folder)
    faceless, *others = [video.id for video in videos.videos]
    found = {faceless: faces.moving(range(0)), **dict.fromkeys(others, faces.moving(range(16)))}
    faces.written(folder / "boxes.parquet", found)
    kept = load_branch(BranchRequest.parse(f"faces=rgb?{_boxes(folder)}&side=64&frames=8"))
    settings = Settings(protocol=WINDOWS)
    Extraction.begin(videos, folder / "faces.zarr", [kept], settings).run(workers=1, bar=False)
    return faceless


@contextmanager
def finetuning_faces(
    folder: Path, processes: Processes | None = None, **changes: object
) -> Iterator[Prepared]:
    """A small 3D ResNet on those windows."""
    own = {
        "store": Store.open(folder / "faces.zarr"),
        "choice": Choice(protocol=WINDOWS, validation=0.25),
    }
    branch = f"altfreezing=tiny?{_boxes(folder)}"
    with finetuning(folder, branch, processes, **{**own, **changes}) as ready:
        yield ready


IN_TURNS = {"cube": finetuning_cube, "faces": finetuning_faces}


@contextmanager
def in_turns(folder: Path, network: str, processes: Processes | None = None) -> Iterator[Prepared]:
    """With kernels in turns, batch norms over all processes, mixed pictures and dropout."""
    how = config(**TURNS, mixup=0.4, dropout=0.2)
    with IN_TURNS[network](folder, processes, config=how) as ready:
        yield ready


def _boxes(folder: Path) -> str:
    return f"boxes={folder / 'boxes.parquet'}&warp=opencv5"
