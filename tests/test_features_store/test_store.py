"""Creating, growing, writing and reading a store, and every way of asking wrongly."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from features_store import (
    AmbiguousKey,
    ArraySpec,
    BadInput,
    BranchSpec,
    NotAStore,
    NotComputed,
    SpecMismatch,
    Status,
    Store,
    StoreError,
    StoreExists,
    UnknownKey,
    check,
    documents,
    fingerprint,
    selection,
)
from features_store.chunks import Array
from features_store.schema import COLUMNS
from features_store.table import Where
from tests.test_features_store import samples
from tests.test_features_store.samples import PROTOCOL, SPEC


def other_spec(**changes: object) -> BranchSpec:
    values: dict[str, Any] = {**SPEC.to_json(), "arrays": SPEC.arrays, **changes}
    return BranchSpec(**values)


def test_a_table_holds_what_was_written_and_leaves_failures_out(tmp_path: Path) -> None:
    samples.full_store(tmp_path / "s", videos=11)
    table = Store.open(tmp_path / "s").table(["internvideo2/cls", "internvideo2-tiny/depth"])
    assert table.rows.tolist() == [0, 1, 2, 4, 5, 6, 7, 8, 9]
    assert table.failed == 2
    assert table.labels.tolist() == [row % 4 for row in table.rows]
    assert table.ranks.tolist() == [(row % 10) / 10 for row in table.rows]
    assert table.ids[3] == "generator 1/clip é4.mp4"
    assert table.fingerprints["internvideo2/cls"] == SPEC.fingerprint
    for i, row in enumerate(table.rows.tolist()):
        assert np.array_equal(table.arrays["internvideo2/cls"][i], samples.numbers("cls", row))
        depth = table.arrays["internvideo2-tiny/depth"][i]
        assert np.array_equal(depth, samples.numbers("depth", row))
    assert "Table(test-2x1, 9 videos, 2 failed" in repr(table)


@pytest.mark.parametrize(
    ("where", "rows"),
    [
        ({"split": "val"}, [0, 5]),
        ({"label": ["real", "motion"]}, [2, 6, 7]),
        ({"source": "generator 1", "split": ["train"]}, [1, 4, 7]),
        ({"id": "generator 2/clip é8.mp4"}, [8]),
        (np.arange(11) > 8, [9]),
    ],
)
def test_where_selects_videos(tmp_path: Path, where: Where, rows: list[int]) -> None:
    store = samples.full_store(tmp_path / "s")
    for verify in (True, False):
        table = store.table(["internvideo2/cls"], where=where, verify=verify)
        assert table.rows.tolist() == rows
        for i, row in enumerate(rows):
            assert np.array_equal(table.arrays["internvideo2/cls"][i], samples.numbers("cls", row))


def test_plain_zarr_reads_the_store(tmp_path: Path) -> None:
    samples.full_store(tmp_path / "s", videos=11)
    group: Any = zarr.open_group(tmp_path / "s", mode="r")
    branch = f"{PROTOCOL}/{SPEC.group}"
    for row in (0, 1, 4, 10):
        if not samples.failed(row):
            assert np.array_equal(group[f"{branch}/cls"][row], samples.numbers("cls", row))
            assert np.array_equal(group[f"{branch}/depth"][row], samples.numbers("depth", row))
    assert group[f"{branch}/status"][:].tolist() == [
        2 if samples.failed(r) else 1 for r in range(11)
    ]
    assert group[f"{branch}/error"][3] == "clip 3 has no frames"
    assert group["videos/id"][4] == "generator 1/clip é4.mp4"
    assert group["videos/rank"].dtype == np.float64
    assert {name for name, _ in group.members()} == {"videos", PROTOCOL}
    # Nothing of ours lies where others look for arrays: they would warn of it.
    assert {name for name, _ in group[branch].members()} == {"cls", "depth", "error", "status"}
    assert {name for name, _ in group["videos"].members()} == set(COLUMNS)


@pytest.mark.parametrize("compression", ["none", "zstd"])
@pytest.mark.parametrize("quantise", ["none", "int8"])
def test_layouts_read_back_and_open_in_plain_zarr(
    tmp_path: Path, compression: str, quantise: str
) -> None:
    shape = (2, 9, 4)
    array = ArraySpec(shape=shape, compression=compression, quantise=quantise)
    spec = other_spec(arrays={"tokens": array})
    store = samples.new_store(tmp_path / "s", 5)
    branch = store.branch(PROTOCOL, spec, shard_rows=2)
    data = np.random.default_rng(0).normal(size=(5, *shape)).astype(np.float16)
    data[1, 0, :, 2] = 0  # a silent channel has scale 0
    for shard in range(3):
        branch.write_shard(shard, {"tokens": data[2 * shard : 2 * shard + 2]})
    read = store.table(["internvideo2/tokens"]).arrays["internvideo2/tokens"]
    plain: Any = zarr.open_group(tmp_path / "s", mode="r")[f"{PROTOCOL}/{spec.group}"]
    if quantise == "none":
        assert np.array_equal(read, data)
        assert np.array_equal(plain["tokens"][:], data)
        return
    largest = np.abs(data.astype(np.float32)).max(axis=-2, keepdims=True)
    bound = largest / 254 + np.spacing(largest.astype(np.float16)).astype(np.float32)
    assert (np.abs(read.astype(np.float32) - data) <= bound).all()
    assert (read[1, 0, :, 2] == 0).all()
    by_hand = plain["tokens"][:] * plain["tokens.scale"][:][:, :, None, :]
    assert np.array_equal(by_hand.astype(np.float16), read)


def test_a_store_grows_and_keeps_what_it_had(tmp_path: Path) -> None:
    store = samples.full_store(tmp_path / "s", videos=6, shard_rows=4)
    before = store.table(["internvideo2/cls"])
    store.add_videos(samples.video_columns(6, 9))
    branch = Store.open(tmp_path / "s").branch(PROTOCOL, SPEC)
    assert branch.missing_shards() == [1, 2]
    with pytest.raises(NotComputed, match=r"lacks 3 of 9 videos.*telltale extract"):
        store.table(["internvideo2/cls"])
    assert store.table(["internvideo2/cls"], allow_missing=True).missing == 3

    new = {name: np.stack([samples.numbers(name, r) for r in range(4, 8)]) for name in SPEC.arrays}
    poison = {name: np.full_like(rows, 7) for name, rows in new.items()}
    for name in new:
        poison[name][2:] = new[name][2:]
    branch.write_shard(1, poison, np.array([0, 0, 1, 1], np.uint8))  # rows 4, 5 stay as they are
    after = store.table(["internvideo2/cls"], allow_missing=True)
    assert after.rows.tolist() == [0, 1, 2, 4, 5, 6, 7]
    kept = before.arrays["internvideo2/cls"]
    assert np.array_equal(after.arrays["internvideo2/cls"][: len(kept)], kept)
    assert np.array_equal(after.arrays["internvideo2/cls"][-1], samples.numbers("cls", 7))
    assert branch.errors() == {3: "clip 3 has no frames"}


def test_a_writer_that_does_not_know_of_new_videos_loses_none_of_them(tmp_path: Path) -> None:
    stale = samples.full_store(tmp_path / "s", videos=6, shard_rows=4).branch(PROTOCOL, SPEC)
    grown = Store.open(tmp_path / "s")
    grown.add_videos(samples.video_columns(6, 8))
    for shard in grown.branch(PROTOCOL, SPEC).missing_shards():
        samples.write(grown.branch(PROTOCOL, SPEC), shard)
    before = samples.contents(Store.open(tmp_path / "s"))
    samples.write(stale, 1)
    assert samples.contents(Store.open(tmp_path / "s")) == before


def test_failed_rows_are_retried_without_touching_the_others(tmp_path: Path) -> None:
    store = samples.full_store(tmp_path / "s", videos=4)
    branch = store.branch(PROTOCOL, SPEC)
    assert branch.missing_shards() == []
    assert branch.missing_shards(retry_failed=True) == [0]
    arrays = {name: np.stack([samples.numbers(name, r) for r in range(4)]) for name in SPEC.arrays}
    branch.write_shard(0, arrays, np.array([0, 0, 0, 1], np.uint8))
    assert branch.status().tolist() == [Status.OK] * 4
    assert np.array_equal(
        store.table(["internvideo2/cls"]).arrays["internvideo2/cls"], arrays["cls"]
    )
    assert branch.errors() == {}


def test_a_kept_failure_keeps_its_reason(tmp_path: Path) -> None:
    branch = samples.new_store(tmp_path / "s", 4).branch(PROTOCOL, SPEC)
    arrays = {name: np.stack([samples.numbers(name, r) for r in range(4)]) for name in SPEC.arrays}
    branch.write_shard(0, arrays, np.array([1, 2, 0, 2], np.uint8), {1: "bad", 3: "worse"})
    branch.write_shard(0, arrays, np.array([0, 2, 1, 0], np.uint8), {1: "now \ud800\0"})
    assert branch.status().tolist() == [1, 2, 1, 2]
    assert branch.errors() == {1: "now ?\N{SYMBOL FOR NULL}", 3: "worse"}


def test_what_is_ok_stays_whatever_comes_later(tmp_path: Path) -> None:
    store = samples.full_store(tmp_path / "s", videos=4)
    branch = store.branch(PROTOCOL, SPEC)
    before = samples.contents(store)
    poison = {name: np.full((4, *a.shape), 7, a.dtype) for name, a in SPEC.arrays.items()}
    for status in ([1, 1, 1, 0], [0, 0, 0, 0], [2, 0, 1, 0]):
        errors = {i: "late" for i, state in enumerate(status) if state == 2}
        branch.write_shard(0, poison, np.array(status, np.uint8), errors)
        assert samples.contents(store) == before


def test_numbers_change_after_they_were_forgotten(tmp_path: Path) -> None:
    store = samples.full_store(tmp_path / "s", videos=6)
    branch = store.branch(PROTOCOL, SPEC)
    new = {name: np.full((4, *a.shape), 7, a.dtype) for name, a in SPEC.arrays.items()}
    branch.forget_rows(np.array([1, 5]))
    assert branch.status().tolist() == [1, 0, 1, 2, 1, 0]
    assert branch.missing_shards() == [0, 1]
    branch.write_shard(0, new, np.array([1, 1, 0, 0], np.uint8))
    table = store.table(["internvideo2/depth"], allow_missing=True)
    assert table.rows.tolist() == [0, 1, 2, 4]
    assert (table.arrays["internvideo2/depth"][1] == 7).all()
    for i, row in ((0, 0), (2, 2), (3, 4)):
        kept = samples.numbers("depth", row)
        assert np.array_equal(table.arrays["internvideo2/depth"][i], kept)


def test_videos_are_added_once(tmp_path: Path) -> None:
    store = samples.new_store(tmp_path / "s", 3)
    with pytest.raises(BadInput, match="Already in the store"):
        store.add_videos(samples.video_columns(2, 5))
    rows = store.add_videos(samples.video_columns(1, 5), keep_existing=True)
    assert rows.tolist() == [1, 2, 3, 4]
    changed = samples.video_columns(4, 5) | {"label": [3]}
    with pytest.raises(BadInput, match=r"label of .* differs from the store's"):
        store.add_videos(changed, keep_existing=True)
    assert Store.open(tmp_path / "s").videos.count == 5


def test_many_videos_cross_chunks_of_the_table(tmp_path: Path) -> None:
    store = samples.new_store(tmp_path / "s", 16_380)
    store.add_videos(samples.video_columns(16_380, 33_000))
    column = Store.open(tmp_path / "s").videos.column("id")
    assert column.tolist() == [f"generator {r % 3}/clip é{r}.mp4" for r in range(33_000)]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"label": [1]}, "'id' is needed"),
        ({"id": ["a"], "colour": [1]}, "'id' is needed"),
        ({"id": ["a", "b", "a"]}, "given twice: 'a'"),
        ({"id": ["../a"]}, "not a relative path"),
        ({"id": ["a/../b"]}, "not a relative path"),
        ({"id": ["/etc/passwd"]}, "not a relative path"),
        ({"id": ["a//b"]}, "not a relative path"),
        ({"id": [""]}, "non-empty"),
        ({"id": ["a\0b"]}, "NUL"),
        ({"id": ["a\udcff"]}, "not valid Unicode"),
        ({"id": ["x" * 5000]}, "5000 bytes"),
        ({"id": [7]}, "non-empty text"),
        ({"id": ["a"], "label": [4]}, "classes are 0 appearance"),
        ({"id": ["a"], "label": [-2]}, "classes are"),
        ({"id": ["a"], "label": [0.5]}, "do not fit int16"),
        ({"id": ["a"], "label": ["real"]}, "no int16"),
        ({"id": ["a"], "rank": [1.5]}, r"not in \[0, 1\]"),
        ({"id": ["a"], "label": [0, 1]}, "2 values for 1 videos"),
        ({"id": ["a"], "source": ["\ud800"]}, "not valid Unicode"),
        ({"id": ["a"], "source": ["x\0y"]}, "NUL"),
    ],
)
def test_bad_videos_are_refused_and_change_nothing(
    tmp_path: Path, columns: dict[str, Any], message: str
) -> None:
    store = samples.new_store(tmp_path / "s", 2)
    with pytest.raises(BadInput, match=message):
        store.add_videos(columns)
    assert Store.open(tmp_path / "s").videos.count == 2


@pytest.mark.parametrize(
    ("ask", "error", "message"),
    [
        (lambda s: s.table(["internvideo2/nope"]), UnknownKey, "have: cls, depth"),
        (lambda s: s.table(["depthpro/cls"]), UnknownKey, "have: internvideo2-tiny@3f9c1a2b"),
        (lambda s: s.table(["cls"]), BadInput, "BRANCH/ARRAY"),
        (lambda s: s.table([]), BadInput, "list of different keys"),
        (lambda s: s.table("internvideo2/cls"), BadInput, "list of different keys"),
        (lambda s: s.table(["internvideo2/cls"], protocol="val"), UnknownKey, "have: test-2x1"),
        (lambda s: s.table(["internvideo2/cls"], protocol="../x"), BadInput, "Protocol name"),
        (lambda s: s.table(["internvideo2/cls"], where={"rank": "1"}), BadInput, "have: id, label"),
        (lambda s: s.table(["internvideo2/cls"], where={"label": "fake"}), BadInput, "appearance"),
        (lambda s: s.table(["internvideo2/cls"], where=np.ones(3, bool)), BadInput, r"bool\[11\]"),
        (lambda s: s.table(["internvideo2/cls"], where={"split": "x"}), NotComputed, "0 selected"),
        (lambda s: s.open_branch(PROTOCOL, "x"), UnknownKey, "internvideo2-tiny"),
        (lambda s: s.branch("videos", SPEC), BadInput, "taken by the store"),
        (lambda s: s.branch("a/b", SPEC), BadInput, "Protocol name"),
        (lambda s: s.branch(PROTOCOL, SPEC, shard_rows=0), BadInput, "shard_rows 0"),
        (lambda s: s.branch(PROTOCOL, SPEC, shard_rows=5), SpecMismatch, "has 4 rows a shard"),
        (lambda s: s.branch(PROTOCOL, SPEC).rows(3), BadInput, "it has 0 to 2"),
        (lambda s: s.stream(["internvideo2/cls"], hold=1), BadInput, "at least 2"),
        (lambda s: s.stream(["internvideo2/cls"], batch=0), BadInput, "batch 0"),
        (lambda s: s.videos.column("colour"), BadInput, "have: id, path"),
    ],
)
def test_wrong_questions_get_typed_answers(
    tmp_path: Path,
    ask: Callable[[Store], object],
    error: type[StoreError],
    message: str,
) -> None:
    store = samples.full_store(tmp_path / "s")
    with pytest.raises(error, match=message):
        ask(store)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fingerprint": "3f9c1a2b" + "1" * 56}, "another fingerprint"),
        ({"arrays": {"cls": ArraySpec(shape=(2, 6))}}, "another arrays"),
    ],
)
def test_a_branch_made_differently_is_refused(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    store = samples.full_store(tmp_path / "s")
    with pytest.raises(SpecMismatch, match=message):
        store.branch(PROTOCOL, other_spec(**changes))
    provenance = other_spec(provenance={"machine": "another"})
    assert store.branch(PROTOCOL, provenance).missing_shards() == []


def test_two_fingerprints_are_told_apart_by_name_only_in_full(tmp_path: Path) -> None:
    store = samples.full_store(tmp_path / "s")
    other = other_spec(fingerprint="aaaaaaaa" + "0" * 56)
    branch = store.branch(PROTOCOL, other)
    samples.write(branch, 0)
    with pytest.raises(AmbiguousKey, match="@3f9c1a2b and internvideo2-tiny@aaaaaaaa") as caught:
        store.table(["internvideo2/cls"])
    assert "aaaaaaaa" in str(caught.value)
    table = store.table(["internvideo2-tiny@aaaaaaaa/cls"])
    assert table.fingerprints["internvideo2-tiny@aaaaaaaa/cls"] == other.fingerprint
    store.branch("val", SPEC)
    with pytest.raises(AmbiguousKey, match="test-2x1, val"):
        store.table(["internvideo2/cls"])


def test_arrays_of_a_branch_may_lie_in_several_groups(tmp_path: Path) -> None:
    """Each group has its own fingerprint; only the same array in two of them is ambiguous."""
    store = samples.full_store(tmp_path / "s", videos=4)
    tokens = other_spec(fingerprint="bbbbbbbb", arrays={"tokens": ArraySpec(shape=(2, 3))})
    samples.write(store.branch(PROTOCOL, tokens), 0)
    table = store.table(["internvideo2/cls", "internvideo2/tokens", "internvideo2-tiny/depth"])
    assert table.fingerprints["internvideo2/cls"] == SPEC.fingerprint
    assert table.fingerprints["internvideo2/tokens"] == "bbbbbbbb"
    with pytest.raises(UnknownKey, match=r"@3f9c1a2b and .*@bbbbbbbb; have: cls, depth, tokens"):
        store.table(["internvideo2/avg"])
    again = other_spec(fingerprint="cccccccc", arrays={"tokens": ArraySpec(shape=(2, 3))})
    samples.write(store.branch(PROTOCOL, again), 0)
    with pytest.raises(AmbiguousKey, match="@bbbbbbbb and internvideo2-tiny@cccccccc"):
        store.table(["internvideo2/tokens"])
    full = store.table(["internvideo2-tiny@cccccccc/tokens", "internvideo2/cls"])
    assert len(full) == 3


def test_numbers_as_keys_in_a_provenance_are_text_from_the_start(tmp_path: Path) -> None:
    """JSON knows no others; sorted as numbers and as text they have different orders."""
    store = samples.new_store(tmp_path / "s", 1)
    spec = other_spec(provenance={"layers": {2: "a", 10: "b"}})
    branch = store.branch(PROTOCOL, spec, protocol_details={"views": {3: 1, 20: 2}})
    assert branch.spec.provenance == {"layers": {"2": "a", "10": "b"}}
    assert check.verify(store.place) == []
    assert store.branch(PROTOCOL, spec).missing_shards() == [0]


def test_a_lazy_key_that_was_not_asked_for_is_refused(tmp_path: Path) -> None:
    store = samples.full_store(tmp_path / "s")
    with pytest.raises(BadInput, match="'internvideo2/tokens' is not among the keys"):
        store.table(["internvideo2/cls"], lazy=["internvideo2/tokens"])


@pytest.mark.timeout(60)
def test_many_ids_are_looked_up_among_many() -> None:
    """300,000 x 100,000: each with each would be half an hour."""
    ids = np.array([f"generator/{row:06}.mp4" for row in range(300_000)], np.dtypes.StringDType())
    found = selection._among(ids, ids[::3].tolist())
    assert np.flatnonzero(found).tolist() == list(range(0, 300_000, 3))


def test_an_array_over_all_videos_is_filled_where_there_is_none(tmp_path: Path) -> None:
    store = samples.full_store(tmp_path / "s", videos=6, shard_rows=4)
    store.add_videos(samples.video_columns(6, 9))
    found = store.open_branch(PROTOCOL, "internvideo2").over_all_videos("depth", np.nan)
    for row in range(9):
        if row >= 6 or samples.failed(row):
            assert np.isnan(found[row]).all()
        else:
            assert np.array_equal(found[row], samples.numbers("depth", row))


def test_videos_have_groups_to_select_by(tmp_path: Path) -> None:
    store = samples.new_store(tmp_path / "s", 0)
    store.add_videos({"id": ["a", "b", "c"], "group": ["p1", "p2", "p1"]})
    samples.write(store.branch(PROTOCOL, SPEC), 0)
    assert store.table(["internvideo2/cls"], where={"group": "p1"}).rows.tolist() == [0, 2]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.pop("depth"), r"got \['cls'\], needs \['cls', 'depth'\]"),
        (lambda a: a.update(extra=a["cls"]), "needs"),
        (lambda a: a.update(cls=a["cls"].tolist()), "must be a NumPy array"),
        (lambda a: a.update(cls=a["cls"][:2]), r"float16\[2, 2, 6\], must be float16\[4, 2, 6\]"),
        (lambda a: a.update(cls=a["cls"].astype("f4")), "float32.*must be float16"),
    ],
)
def test_a_shard_that_does_not_fit_is_refused(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    branch = samples.new_store(tmp_path / "s", 4).branch(PROTOCOL, SPEC)
    arrays = {name: np.stack([samples.numbers(name, r) for r in range(4)]) for name in SPEC.arrays}
    change(arrays)
    with pytest.raises(BadInput, match=message):
        branch.write_shard(0, arrays)
    assert branch.missing_shards() == [0]


@pytest.mark.parametrize(
    ("status", "errors"),
    [
        (np.ones(3, np.uint8), {}),
        (np.full(4, 3, np.uint8), {}),
        (np.array([1, 1, 2, 1], np.uint8), {}),
        (np.array([1, 1, 2, 1], np.uint8), {2: ""}),
        (np.array([1, 1, 1, 1], np.uint8), {2: "why"}),
    ],
)
def test_statuses_and_reasons_belong_together(
    tmp_path: Path, status: Array, errors: dict[int, str]
) -> None:
    branch = samples.new_store(tmp_path / "s", 4).branch(PROTOCOL, SPEC)
    arrays = {name: np.stack([samples.numbers(name, r) for r in range(4)]) for name in SPEC.arrays}
    with pytest.raises(BadInput, match="shard 0"):
        branch.write_shard(0, arrays, status, errors)
    assert branch.missing_shards() == [0]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ArraySpec(shape=()), "one or more sizes"),
        (lambda: ArraySpec(shape=(0, 3)), "one or more sizes"),
        (lambda: ArraySpec(shape=(3,), dtype="complex64"), "have: float16"),
        (lambda: ArraySpec(shape=(3,), compression="lz4"), "have: none, zstd"),
        (lambda: ArraySpec(shape=(3,), quantise="int4"), "have: none, int8"),
        (lambda: ArraySpec(shape=(3,), quantise="int8"), "needs float tokens"),
        (lambda: other_spec(name="Intern-Video"), "lower-case"),
        (lambda: other_spec(preset="a/b"), "Preset"),
        (lambda: other_spec(fingerprint="xyz"), "hex digits"),
        (lambda: other_spec(arrays={}), "no arrays"),
        (lambda: other_spec(arrays={"status": ArraySpec(shape=(1,))}), "taken by the store"),
        (lambda: other_spec(arrays={"../x": ArraySpec(shape=(1,))}), "Array name"),
    ],
)
def test_bad_specs_are_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        make()


def test_int8_refuses_what_it_cannot_hold(tmp_path: Path) -> None:
    spec = other_spec(arrays={"tokens": ArraySpec(shape=(3, 2), quantise="int8")})
    branch = samples.new_store(tmp_path / "s", 1).branch(PROTOCOL, spec)
    with pytest.raises(BadInput, match="not finite"):
        branch.write_shard(0, {"tokens": np.full((1, 3, 2), np.inf, np.float16)})


def test_what_is_not_a_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotAStore, match=r"has no zarr\.json"):
        Store.open(tmp_path / "nowhere")
    (tmp_path / "file").write_text("x")
    with pytest.raises(NotAStore, match=r"has no zarr\.json"):
        Store.open(tmp_path / "file")
    samples.full_store(tmp_path / "s")
    with pytest.raises(NotAStore, match="part of a store"):
        Store.open(tmp_path / "s" / PROTOCOL)
    with pytest.raises(StoreExists, match="not empty"):
        samples.new_store(tmp_path / "s", 0)
    with pytest.raises(BadInput, match="Classes"):
        Store.create(tmp_path / "t", scheme="x", classes=["a", "a"])
    with pytest.raises(StoreError, match="nonsense"):
        Store.open("nonsense://bucket/x")


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    store = samples.new_store(tmp_path / "s", 1)
    document = documents.read(store.place, "")
    assert document is not None
    documents.attributes(document)["format"] = 3
    documents.write(store.place, "", document)
    with pytest.raises(NotAStore, match=r"has format 3.*reads up to 2.*pip install"):
        Store.open(tmp_path / "s")


def test_a_killed_create_is_finished_by_the_next(tmp_path: Path) -> None:
    samples.new_store(tmp_path / "s", 0)
    (tmp_path / "s" / "zarr.json").unlink()
    assert samples.new_store(tmp_path / "s", 2).videos.count == 2


def test_shards_are_sized_by_bytes() -> None:
    tokens = other_spec(arrays={"tokens": ArraySpec(shape=(1, 2049, 1024))})
    assert tokens.default_shard_rows() == 8  # a power of two: shards of branches end together
    assert SPEC.default_shard_rows() == 256
    huge = other_spec(arrays={"tokens": ArraySpec(shape=(100, 2049, 1024))})
    assert huge.default_shard_rows() == 1


def test_fingerprints_depend_on_content_alone() -> None:
    assert fingerprint({"a": 1, "b": [2.0]}) == fingerprint({"b": [2.0], "a": 1})
    assert fingerprint({"a": 1}) != fingerprint({"a": 2})
