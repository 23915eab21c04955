"""A store against a dict: any sequence of writing, growing, dying, breaking, healing, sharing."""

import contextlib
import random
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from features_store import ArraySpec, BranchSpec, Status, Store, check, hdf5
from features_store.branch_arrays import BranchArrays
from features_store.chunks import Array
from features_store.place import Buffers, LocalPlace
from features_store.sweep import leftovers, remove_branch

SPEC = BranchSpec(
    name="internvideo2",
    preset="tiny",
    fingerprint="3f9c1a2b",
    arrays={"cls": ArraySpec(shape=(3,)), "depth": ArraySpec(shape=(2,), compression="zstd")},
)
PROTOCOL = "val"
SHARD_ROWS = 3


class Killed(BaseException):
    """Stands for kill -9: nothing may catch it."""


class MortalPlace(LocalPlace):
    """Dies before or after a chosen write."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.writes_left = -1
        self.before = False

    def put(self, key: str, buffers: Buffers) -> None:
        self.writes_left -= 1
        if self.writes_left == 0 and self.before:
            (self.root / key).parent.mkdir(parents=True, exist_ok=True)
            (self.root / f"{key}.1.ab.partial").write_bytes(b"half")
            raise Killed
        super().put(key, buffers)
        if self.writes_left == 0:
            raise Killed


class StoreMachine(RuleBasedStateMachine):
    """`ids`, `good` and `bad` are what the store must say."""

    @initialize()
    def create(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="telltale-state-"))
        self.place = MortalPlace(self.folder / "store-0")
        self.serial = 0
        self.ids: list[str] = []
        self.good: dict[int, bytes] = {}
        self.bad: dict[int, str] = {}
        Store.create(self.place, scheme="hfv2", classes=("forgery", "real"))

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            shutil.rmtree(self.folder)

    @property
    def store(self) -> Store:
        return Store.open(self.place)

    @rule(count=st.integers(1, 7))
    def grow(self, count: int) -> None:
        new = [f"clip {len(self.ids) + i}" for i in range(count)]
        self.store.add_videos({"id": new})
        self.ids += new

    @rule(count=st.integers(1, 7), after=st.integers(1, 30), before=st.booleans())
    def die_while_growing(self, count: int, after: int, *, before: bool) -> None:
        new = [f"clip {len(self.ids) + i}" for i in range(count)]
        store = self.store
        with self._dying(after, before=before):
            store.add_videos({"id": new})
        if self.store.videos.count > len(self.ids):
            self.ids += new

    @precondition(lambda self: self.ids)
    @rule(data=st.data(), seed=st.integers(0, 99), retry=st.booleans())
    def write(self, data: st.DataObject, seed: int, *, retry: bool) -> None:
        shard = data.draw(st.integers(0, (len(self.ids) - 1) // SHARD_ROWS))
        self._write(shard, seed, retry=retry)
        self._remember(shard, seed, retry=retry)

    @precondition(lambda self: self.ids)
    @rule(data=st.data(), seed=st.integers(0, 99), after=st.integers(1, 5), before=st.booleans())
    def die_while_writing(
        self, data: st.DataObject, seed: int, after: int, *, before: bool
    ) -> None:
        shard = data.draw(st.integers(0, (len(self.ids) - 1) // SHARD_ROWS))
        self.store.branch(PROTOCOL, SPEC, shard_rows=SHARD_ROWS)
        known = len(self.good) + len(self.bad)
        with self._dying(after, before=before):
            self._write(shard, seed, retry=False)
        status = self._branch().read_status(shard)
        if (status != Status.MISSING).all() and known < self._count_known(status, shard):
            self._remember(shard, seed, retry=False)

    @precondition(lambda self: self.good)
    @rule(chooser=st.randoms(use_true_random=False))
    def break_and_repair(self, chooser: random.Random) -> None:
        files = sorted((self.place.root / PROTOCOL).rglob("c.*"))
        chosen = chooser.choice([f for f in files if f.is_file() and "partial" not in f.name])
        content = bytearray(chosen.read_bytes())
        content[chooser.randrange(len(content))] ^= 1 << chooser.randrange(8)
        chosen.write_bytes(content)
        findings = check.verify(self.place)
        if not findings:  # the chunk of a shard that is not committed
            return
        assert {finding.place for finding in findings} == {str(chosen)}
        assert check.repair(self.place, findings) == []
        shard = findings[0].shard
        assert shard is not None
        for row in self._branch().rows(shard):
            self.good.pop(row, None)
            self.bad.pop(row, None)

    @precondition(lambda self: self.good)
    @rule(chooser=st.randoms(use_true_random=False), seed=st.integers(0, 99))
    def change_numbers(self, chooser: random.Random, seed: int) -> None:
        """The one way to other numbers: forget rows, then write them anew."""
        shard = chooser.choice(sorted(self.good)) // SHARD_ROWS
        rows = [row for row in self.good if row // SHARD_ROWS == shard]
        forgotten = chooser.sample(rows, chooser.randint(1, len(rows)))
        self._branch().forget_rows(np.array(forgotten))
        for row in forgotten:
            del self.good[row]
        self.says_what_was_written()
        self._write(shard, seed, retry=False)
        self._remember(shard, seed, retry=False)

    @rule()
    def sweep(self) -> None:
        for key in leftovers(self.place, older_than=0):
            self.place.delete(key)
        assert not list(self.place.root.rglob("*.partial"))

    @precondition(lambda self: self.good or self.bad)
    @rule()
    def remove_the_branch(self) -> None:
        remove_branch(self.store, f"{PROTOCOL}/{SPEC.group}")
        self.good.clear()
        self.bad.clear()

    @rule()
    def export_and_import(self) -> None:
        self.serial += 1
        file = self.folder / f"{self.serial}.h5"
        hdf5.export_store(self.store, file)
        copy = MortalPlace(self.folder / f"store-{self.serial}")
        hdf5.import_store(file, copy)
        shutil.rmtree(self.place.root)
        file.unlink()
        self.place = copy

    @invariant()
    def says_what_was_written(self) -> None:
        store = self.store
        assert store.videos.column("id").tolist() == self.ids
        if PROTOCOL not in store.protocols() or not store.branches(PROTOCOL):
            assert not self.good
            return
        branch = store.open_branch(PROTOCOL, "internvideo2")
        assert branch.errors() == self.bad
        status = branch.status()
        assert set(np.flatnonzero(status == Status.OK).tolist()) == set(self.good)
        missing = {row // SHARD_ROWS for row in np.flatnonzero(status == 0).tolist()}
        assert branch.missing_shards() == sorted(missing)
        assert check.verify(self.place) == []
        if self.good:
            table = store.table(["internvideo2/cls", "internvideo2/depth"], allow_missing=True)
            read = dict(zip(table.rows.tolist(), _bytes(table.arrays), strict=True))
            assert read == self.good

    @contextlib.contextmanager
    def _dying(self, after: int, *, before: bool) -> Iterator[None]:
        self.place.writes_left, self.place.before = after, before
        try:
            yield
        except Killed:
            pass
        finally:
            self.place.writes_left = -1

    def _branch(self) -> BranchArrays:
        return self.store.open_branch(PROTOCOL, "internvideo2")

    def _plan(self, rows: range, seed: int) -> tuple[dict[str, Array], Array, dict[int, str]]:
        random_ = np.random.default_rng([seed, rows.start])
        arrays = {
            name: random_.normal(size=(SHARD_ROWS, *spec.shape)).astype(np.float16)[: len(rows)]
            for name, spec in SPEC.arrays.items()
        }
        failed = np.random.default_rng([seed, rows.start, 1]).random(SHARD_ROWS) < 0.3
        status = np.where(failed[: len(rows)], 2, 1).astype(np.uint8)
        return arrays, status, dict.fromkeys(np.flatnonzero(status == 2).tolist(), f"failed {seed}")

    def _keep(self, rows: range, status: Array, *, retry: bool) -> Array:
        kept = [row in self.good or (row in self.bad and not retry) for row in rows]
        return np.where(kept, 0, status).astype(np.uint8)

    def _write(self, shard: int, seed: int, *, retry: bool) -> None:
        branch = self.store.branch(PROTOCOL, SPEC, shard_rows=SHARD_ROWS)
        arrays, status, errors = self._plan(branch.rows(shard), seed)
        status = self._keep(branch.rows(shard), status, retry=retry)
        branch.write_shard(
            shard, arrays, status, {i: text for i, text in errors.items() if status[i] == 2}
        )

    def _remember(self, shard: int, seed: int, *, retry: bool) -> None:
        rows = self._branch().rows(shard)
        arrays, status, errors = self._plan(rows, seed)
        status = self._keep(rows, status, retry=retry)
        for i, (row, numbers) in enumerate(zip(rows, _bytes(arrays), strict=True)):
            if status[i] == Status.OK:
                self.good[row] = numbers
                self.bad.pop(row, None)
            elif status[i] == Status.FAILED:
                self.bad[row] = errors[i]

    def _count_known(self, status: Array, shard: int) -> int:
        others = [r for r in (*self.good, *self.bad) if r // SHARD_ROWS != shard]
        return len(others) + int((status != Status.MISSING).sum())


def _bytes(arrays: Mapping[str, Array]) -> list[bytes]:
    return [b"".join(row.tobytes() for row in rows) for rows in zip(*arrays.values(), strict=True)]


TestStore = StoreMachine.TestCase
TestStore.settings = settings(max_examples=30, stateful_step_count=20)


def test_the_machine_notices_a_store_that_says_something_else() -> None:
    machine = StoreMachine()
    machine.create()
    machine.grow(3)
    machine._write(0, 5, retry=False)
    machine._remember(0, 5, retry=False)
    machine.says_what_was_written()
    machine.good[next(iter(machine.good))] = b"other"
    with pytest.raises(AssertionError):
        machine.says_what_was_written()
    machine.teardown()
