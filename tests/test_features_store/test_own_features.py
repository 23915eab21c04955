"""Features computed elsewhere: every file kind the same branch, checked, never mixed."""

from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import save_file

from features_store.errors import BadInput
from features_store.own_features import import_own_features, read_own_features
from features_store.schema import Status
from features_store.store import Store

IDS = [f"a/{number}.mp4" for number in range(7)]
X = np.random.default_rng(1).normal(size=(7, 5)).astype(np.float32)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store.create(tmp_path / "s.zarr", scheme="hfv2", classes=("forgery", "real"))
    made.add_videos({"id": IDS, "path": IDS, "label": [0, 1, 0, 1, 0, 1, 0]})
    return made


def files(folder: Path) -> list[Path]:
    """The same features, in every kind of file."""
    ids = folder / "ids.txt"
    ids.write_text("".join(f"{each}\n" for each in IDS))
    np.save(folder / "x.npy", X)
    np.savez(folder / "x.npz", x=X, id=np.array(IDS))
    save_file({"x": X}, folder / "x.safetensors")
    with h5py.File(folder / "x.h5", "w") as file:
        file["x"], file["id"] = X, IDS
    lists = pa.FixedSizeListArray.from_arrays(pa.array(X.ravel()), 5)
    pq.write_table(pa.table({"id": IDS, "x": lists}), folder / "lists.parquet")
    columns = {f"f{number}": X[:, number] for number in range(5)}
    pq.write_table(pa.table({"id": IDS, **columns}), folder / "columns.parquet")
    return [
        folder / name
        for name in ("x.npy", "x.npz", "x.safetensors", "x.h5", "lists.parquet", "columns.parquet")
    ]


def test_every_kind_of_file_is_the_same_branch(tmp_path: Path, store: Store) -> None:
    prefixes = set()
    for path in files(tmp_path):
        own = tmp_path / "ids.txt" if path.suffix in (".npy", ".safetensors") else None
        features = read_own_features(path, own)
        branch, unknown = import_own_features(store, features, name="clip-b32", protocol="own")
        assert not unknown
        prefixes.add(branch.prefix)
        table = store.table(["clip-b32/x"], protocol="own")
        assert np.array_equal(table.arrays["clip-b32/x"][:, 0], X)
    assert len(prefixes) == 1
    assert prefixes.pop().startswith("own/clip-b32@")


def test_rows_go_by_their_ids_and_changed_numbers_are_another_branch(
    tmp_path: Path, store: Store
) -> None:
    order = [4, 0, 6, 2]
    np.savez(tmp_path / "x.npz", x=X[order], id=np.array([IDS[i] for i in order] + ["b.mp4"])[:4])
    features = read_own_features(tmp_path / "x.npz")
    branch, _ = import_own_features(store, features, name="clip", protocol="own")
    assert branch.status().tolist() == [1, 0, 1, 0, 1, 0, 1]
    found = store.table(["clip/x"], protocol="own", allow_missing=True).arrays["clip/x"]
    assert np.array_equal(found[:, 0], X[[0, 2, 4, 6]])
    np.savez(tmp_path / "y.npz", x=X[order] + 1, id=np.array([IDS[i] for i in order]))
    other = read_own_features(tmp_path / "y.npz")
    second, _ = import_own_features(store, other, name="clip", protocol="own")
    assert second.prefix != branch.prefix


def test_unknown_ids_are_left_out_and_numbers_that_are_not_finite_fail(
    tmp_path: Path, store: Store
) -> None:
    spoilt = X.copy()
    spoilt[2, 3] = np.nan
    np.savez(tmp_path / "x.npz", x=spoilt, id=np.array([*IDS[:6], "elsewhere.mp4"]))
    branch, unknown = import_own_features(
        store, read_own_features(tmp_path / "x.npz"), name="clip", protocol="own"
    )
    assert unknown == ["elsewhere.mp4"]
    assert branch.status()[2] == Status.FAILED
    assert branch.errors() == {2: "its x is not finite"}
    assert branch.status()[6] == Status.MISSING


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"x": X}, "no array 'id'"),
        ({"x": X, "id": np.array(IDS[:3])}, "7 rows, there are 3 ids"),
        ({"x": X, "id": np.array([*IDS[:6], IDS[0]])}, "stands twice"),
        ({"id": np.array(IDS)}, "nothing to import"),
        ({"x": np.array(IDS), "id": np.array(IDS)}, "numbers are needed"),
    ],
)
def test_what_does_not_fit_is_refused(
    tmp_path: Path, arrays: dict[str, np.ndarray], said: str
) -> None:
    np.savez(tmp_path / "x.npz", **arrays)  # type: ignore[arg-type]
    with pytest.raises(BadInput, match=said):
        read_own_features(tmp_path / "x.npz")


def test_files_that_are_no_features(tmp_path: Path, store: Store) -> None:
    (tmp_path / "x.npy").write_bytes(b"junk")
    with pytest.raises(BadInput, match="cannot be read as npy"):
        read_own_features(tmp_path / "x.npy")
    with pytest.raises(BadInput, match=r"suffix '.mat' unknown"):
        read_own_features(tmp_path / "x.mat")
    np.savez(tmp_path / "x.npz", x=X, id=np.array([f"no{i}" for i in range(7)]))
    with pytest.raises(BadInput, match=r"has none of the 7 ids, 'no0'.*first is 'a/0.mp4'"):
        import_own_features(
            store, read_own_features(tmp_path / "x.npz"), name="clip", protocol="own"
        )
