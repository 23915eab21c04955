"""The same over Ray: two CPU nodes on this machine, workers and a node killed in the middle.

Everything that needs a cluster is tried here, on one: a cluster takes longer to start than most
tests take.
"""

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from extract.branch import BranchRequest, load_branch
from extract.branches.internvideo2 import PRESETS, InternVideo2
from extract.manifest.manifest import Manifest
from extract.networks import weights
from extract.running.carry_out import carry_out
from extract.running.cluster import signals_kept
from extract.running.extraction import Extraction
from extract.running.run import Cluster, Run
from extract.running.summary import Summary
from features_store import Store
from heads.parts.arrays import save_tensors
from tests.test_extract.extractions import (
    assert_equal_stores,
    extract,
    settings,
    tiny,
    write_videos,
)
from tests.test_features_store.test_cli import here
from tests.test_heads.bundles import by_id, train_bundle

ray = pytest.importorskip("ray", reason="Ray is not installed (extra `ray`)")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
MEMORY = 200 * 2**20


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return write_videos(tmp_path_factory.mktemp("videos") / "data")


@pytest.fixture(scope="module")
def reference(manifest: Manifest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = tmp_path_factory.mktemp("reference") / "s"
    extract(manifest, store)
    return store


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Started once; a test that takes something away puts another in its place."""
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 2, "object_store_memory": MEMORY, "include_dashboard": False}
    with pytest.MonkeyPatch.context() as patch, signals_kept():
        patch.setenv("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
        cluster: Any = Cluster(initialize_head=True, head_node_args=head)
        cluster.second = cluster.add_node(num_cpus=2, object_store_memory=MEMORY)
        cluster.wait_for_nodes()
        yield cluster
        ray.shutdown()
        cluster.shutdown()


def asked(manifest: Manifest, store: Path, address: str) -> Run:
    return Run(
        manifest=manifest,
        store=str(store),
        branches=(BranchRequest.parse("internvideo2=tiny"),),
        settings=settings(),
        workers=1,
        cluster=Cluster(address=address, runners=2),
    )


def run(manifest: Manifest, store: Path, address: str) -> Summary:
    _, summary = carry_out(asked(manifest, store, address))
    return summary


def run_and_disturb(
    manifest: Manifest, store: Path, address: str, disturb: Callable[[], object]
) -> None:
    """Disturb the run once its first shard is committed."""
    with ThreadPoolExecutor(1) as thread:
        running = thread.submit(run, manifest, store, address)
        deadline = time.monotonic() + 60
        while not any(store.glob("val/*/status/c.*")):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        disturb()
        running.result(timeout=120)


def test_ray_and_local_runs_continue_each_other(
    cluster: Any,  # noqa: ANN401
    manifest: Manifest,
    reference: Path,
    tmp_path: Path,
) -> None:
    asked = iter([False] * 10 + [True] * 100)
    extraction = Extraction.begin(manifest, tmp_path / "s", tiny("internvideo2"), settings())
    extraction.run(workers=1, bar=False, stop=lambda: next(asked))
    ours = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    summary = run(manifest, tmp_path / "s", cluster.address)
    assert signal.signal(signal.SIGTERM, ours) == signal.SIG_IGN  # Ray has not taken it over
    assert summary.done == 14
    assert_equal_stores(reference, tmp_path / "s")


def test_killed_workers_are_replaced(
    cluster: Any,  # noqa: ANN401
    manifest: Manifest,
    reference: Path,
    tmp_path: Path,
) -> None:
    def kill_actors() -> None:
        for process in Path("/proc").iterdir():
            with contextlib.suppress(OSError):  # it has ended meanwhile
                if (process / "cmdline").read_bytes().startswith((b"ray::Runner", b"ray::Decoder")):
                    os.kill(int(process.name), signal.SIGKILL)

    run_and_disturb(manifest, tmp_path / "s", cluster.address, kill_actors)
    assert_equal_stores(reference, tmp_path / "s")


def test_a_lost_node_is_survived(
    cluster: Any,  # noqa: ANN401
    manifest: Manifest,
    reference: Path,
    tmp_path: Path,
) -> None:
    def lose() -> None:
        cluster.remove_node(cluster.second, allow_graceful=False)
        cluster.second = cluster.add_node(num_cpus=2, object_store_memory=MEMORY)

    run_and_disturb(manifest, tmp_path / "s", cluster.address, lose)
    assert_equal_stores(reference, tmp_path / "s")


def test_scores_come_from_weights_that_are_found_by_their_fingerprint(
    cluster: Any,  # noqa: ANN401
    manifest: Manifest,
    tmp_path: Path,
) -> None:
    model = InternVideo2(PRESETS["tiny"])
    weights.seeded(model, 3)
    save_tensors(tmp_path / "w" / "video.safetensors", dict(model.state_dict()))
    texts = (f"internvideo2=tiny:{tmp_path / 'w' / 'video.safetensors'}", "depthpro=tiny")
    branches = [load_branch(BranchRequest.parse(text)) for text in texts]
    Extraction.begin(manifest, tmp_path / "s", branches, settings()).run(bar=False)
    train_bundle(Store.open(tmp_path / "s"), tmp_path / "bundle", "val", epochs="1")
    for engine in ("local", "ray"):
        here(  # one file is broken
            "score", manifest.root, "--bundle", tmp_path / "bundle", "--weights",
            tmp_path / "w", "--workers", "1", "--engine", engine, "--address", cluster.address,
            "--out", tmp_path / f"{engine}.jsonl", expect=3,
        )  # fmt: skip
    assert by_id(tmp_path / "ray.jsonl") == by_id(tmp_path / "local.jsonl")
