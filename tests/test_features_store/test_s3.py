"""Processes that write one store on an S3 server at the same time."""

import contextlib
import multiprocessing
import random
import signal
from collections.abc import Iterator

import numpy as np
import pytest

from features_store import Damaged, NotAStore, Status, Store, StoreExists, check
from features_store.place import open_place
from tests.test_features_store import samples
from tests.test_features_store.s3_server import Bucket, new_bucket, open_bucket, s3_server

SPAWN = multiprocessing.get_context("spawn")  # obstore's threads do not survive a fork
VIDEOS = 11


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with s3_server() as url:
        yield url


def write_some(url: str, bucket: str, seed: int) -> None:
    """Like a run that was stopped and begun again: some rows of every shard, in some order."""
    chooser = random.Random(seed)
    place = open_place(open_bucket(url, bucket))
    place.patience = 0.2
    try:
        store = Store.open(place)
    except NotAStore:
        with contextlib.suppress(StoreExists):  # another process was quicker
            samples.new_store(place, 0)
    for stop in (7, VIDEOS):
        store = Store.open(place)
        store.add_videos(samples.video_columns(0, stop), keep_existing=True)
        branch = store.branch(samples.PROTOCOL, samples.SPEC, shard_rows=4)
        for shard in chooser.sample(range(branch.shards), branch.shards):
            rows = branch.rows(shard)
            samples.write(branch, shard, only=chooser.sample(rows, min(2, len(rows))))


def as_written(store: Store) -> None:
    """Every row that is OK holds its own numbers."""
    branch = store.open_branch(samples.PROTOCOL, "internvideo2")
    for shard in range(branch.shards):
        content = branch.read_shard(shard)
        for position, row in enumerate(branch.rows(shard)):
            assert (content.status[position] == Status.FAILED) <= samples.failed(row)
            if content.status[position] == Status.OK:
                for name in samples.SPEC.arrays:
                    expected = samples.numbers(name, row)
                    assert np.array_equal(content.parts[name][position], expected)


def name_of(bucket: Bucket) -> str:
    return str(bucket.store.config["bucket"])


def test_three_processes_write_the_same_shards(server: str) -> None:
    bucket = new_bucket(server)
    arguments = [(server, name_of(bucket), seed) for seed in range(3)]
    processes = [SPAWN.Process(target=write_some, args=given) for given in arguments]
    for process in processes:
        process.start()
    for process in processes:
        process.join(200)
        assert process.exitcode == 0
    store = Store.open(bucket)
    assert check.verify(store.place) == []
    assert sorted(store.videos.column("label").tolist()) == sorted(r % 4 for r in range(VIDEOS))
    as_written(store)
    # What each of them committed is there: done again by one alone, it changes nothing.
    before = samples.contents(store)
    for given in arguments:
        write_some(*given)
    assert samples.contents(Store.open(bucket)) == before


@pytest.mark.slow
def test_a_killed_process_keeps_nobody_out(server: str) -> None:
    bucket = new_bucket(server)
    samples.new_store(bucket, 0)
    chooser = random.Random(0)
    kills = 0
    while kills < 4:
        process = SPAWN.Process(target=write_some, args=(server, name_of(bucket), kills))
        process.start()
        while not list(open_place(bucket).walk(samples.PROTOCOL)) and process.is_alive():
            process.join(0.05)
        process.join(chooser.uniform(0, 0.4))
        process.kill()
        process.join(60)
        kills += process.exitcode == -signal.SIGKILL
        kills += process.exitcode == 0
        as_written(Store.open(bucket))
    write_some(server, name_of(bucket), 0)
    assert check.verify(open_place(bucket)) == []
    as_written(Store.open(bucket))


def test_damage_is_found_and_repaired(server: str) -> None:
    bucket = new_bucket(server)
    store = samples.full_store(bucket)
    expected = samples.contents(store)
    branch = store.open_branch(samples.PROTOCOL, "internvideo2")
    key = branch.stored("cls")["cls"].key(1)
    content = store.place.get(key)
    assert content is not None
    store.place.put(key, [content[:-5] + b"x" + content[-4:]])
    with pytest.raises(Damaged, match="checksum"):
        samples.contents(Store.open(bucket))
    findings = check.verify(store.place)
    assert [finding.shard for finding in findings] == [1]
    assert check.repair(store.place, findings) == []
    branch = Store.open(bucket).branch(samples.PROTOCOL, samples.SPEC)
    assert branch.missing_shards() == [1]
    samples.write(branch, 1)
    assert samples.contents(Store.open(bucket)) == expected
