"""Fine-tuning on forged views of faces: each view is learnt from and judged for itself."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from extract.branch import BranchRequest, load_branch
from extract.manifest.manifest import Manifest, ManifestOptions, read_manifest
from extract.people.detections import Canvas, detections
from extract.running.extraction import Extraction
from extract.running.pipeline import Settings
from extract.views.forgeries import ANOMALIES, WHOLE, kind_of_view
from features_store import Store
from heads.data.splits import Choice
from heads.errors import BadSetting
from heads.finetuning.data import Pick
from tests.test_extract import faces
from tests.test_extract.clips import write_clip
from tests.test_heads.networks import config, finetuning

PROTOCOL, VIEWS, FRAMES = "forged-8x8", 8, 20
CHOICE = Choice(protocol=PROTOCOL, validation=0.5)
NAMES = ("a.mp4", "b.mp4", "c.mp4", "none.mp4", "short.mp4")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Real videos: three with a face, one without, and one with a face in its beginning."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("forged")
    for name in NAMES:
        write_clip(folder / name, frames=FRAMES)
    found = {name: faces.moving(range(FRAMES)) for name in NAMES}
    nobody = detections([], Canvas(frames=tuple(range(FRAMES)), width=160, height=90))
    found |= {"none.mp4": nobody, "short.mp4": faces.moving(range(12))}
    faces.written(folder / "boxes.parquet", found)
    (folder / "videos.csv").write_text(
        "\n".join(["path,label", *(f"{name},real" for name in NAMES)]) + "\n"
    )
    kept = load_branch(
        BranchRequest.parse(f"faces=rgb?boxes={folder / 'boxes.parquet'}&side=64&frames=8")
    )
    run = Extraction.begin(
        manifest(folder), folder / "store.zarr", [kept], Settings(protocol=PROTOCOL)
    )
    assert not run.run(workers=1, bar=False).failures
    yield folder
    torch.set_num_threads(threads)


def manifest(folder: Path) -> Manifest:
    return read_manifest(str(folder / "videos.csv"), ManifestOptions(scheme="hfv2"))


def test_a_network_learns_from_reals_alone_view_by_view(folder: Path, tmp_path: Path) -> None:
    store = Store.open(folder / "store.zarr")
    branch = f"altfreezing=tiny?boxes={folder / 'boxes.parquet'}"
    how = config(epochs=1, norms="batch", layer_decay=1.0, select="auc")
    with finetuning(folder, branch, store=store, choice=CHOICE, config=how) as ready:
        run = ready.finetuner.run
        sources = (run.train, run.validation)
        cached = store.table(["faces/clips", "faces/present"], protocol=PROTOCOL)
        clips, there = cached.arrays["faces/clips"], cached.arrays["faces/present"][..., 0] > 0
        seen = 0
        for source in sources:
            table, samples = source.table, source.samples
            assert (samples.views, len(table)) == (1, samples.videos)
            real = table.classes.index("real")
            rows = np.arange(len(table))
            (inputs,) = source.stream([Pick(rows=rows, views=rows * 0)])
            for row, (name, label, kind) in enumerate(
                zip(table.ids.tolist(), samples.targets.tolist(), table.sources, strict=True)
            ):
                kind = str(kind).removeprefix("forged:")
                assert (label == real) == (kind not in ANOMALIES)
                place = cached.ids.tolist().index(name)
                view = [kind_of_view(n) for n in range(VIEWS)].index(
                    kind if kind in ANOMALIES else WHOLE
                )
                assert there[place, view]
                np.testing.assert_array_equal(inputs[row].numpy(), clips[place, view])
                seen += 1
        assert seen == there.sum()
        assert 0 < there[NAMES.index("short.mp4")].sum() < VIEWS
        ready.finetuner.fit(stop_after=99)
        assert ready.finetuner.step > 1
        said = ready.finetuner.probabilities(run.validation)
        assert np.isfinite(said).all()
        bundle = ready.save(tmp_path / "out")
    assert bundle is not None
    assert bundle.about.protocol == "windows-4x8"  # never forged again


def test_forged_views_are_not_decoded_under_their_videos_label(folder: Path) -> None:
    branch = f"altfreezing=tiny?boxes={folder / 'boxes.parquet'}"
    with (
        pytest.raises(BadSetting, match="leave --videos out"),
        finetuning(
            folder,
            branch,
            store=Store.open(folder / "store.zarr"),
            choice=CHOICE,
            videos=manifest(folder),
        ),
    ):
        pass
