"""Whatever happens to a store's files: it is named, it raises, and no wrong number comes out."""

import errno
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from features_store import Damaged, NotComputed, Store, StoreError, check
from features_store.place import LocalPlace
from tests.test_features_store import samples

BRANCH = f"{samples.PROTOCOL}/{samples.SPEC.group}"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("damage") / "s"
    samples.full_store(path, videos=11, shard_rows=4)
    return path


@pytest.fixture
def copy(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "s"))


def read_everything(path: Path) -> object:
    store = Store.open(path)
    table = store.table(["internvideo2/cls", "internvideo2/depth"])
    columns = {name: store.videos.column(name).tolist() for name in ("id", "label", "source")}
    arrays = {key: array.tobytes() for key, array in table.arrays.items()}
    branch = store.open_branch(samples.PROTOCOL, "internvideo2")
    return columns, table.rows.tolist(), arrays, branch.errors()


def flip_bit(path: Path, chooser: random.Random) -> None:
    content = bytearray(path.read_bytes())
    content[chooser.randrange(len(content))] ^= 1 << chooser.randrange(8)
    path.write_bytes(content)


def cut_off(path: Path, chooser: random.Random) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: chooser.randrange(len(content))])


def empty(path: Path, chooser: random.Random) -> None:
    path.write_bytes(b"")


def lengthen(path: Path, chooser: random.Random) -> None:
    path.write_bytes(path.read_bytes() + chooser.randbytes(chooser.randrange(1, 9)))


def files(store: Path) -> list[Path]:
    """Every file but the locks, which hold nothing."""
    found = (path for path in store.rglob("*") if path.is_file())
    return sorted(path for path in found if not path.name.startswith(".lock"))


@pytest.mark.parametrize("harm", [flip_bit, cut_off, empty, lengthen])
def test_every_file_of_a_store_is_guarded(
    copy: Path, harm: Callable[[Path, random.Random], None]
) -> None:
    expected = read_everything(copy)
    chooser = random.Random(harm.__name__)
    for path in files(copy):
        for _ in range(3 if harm is flip_bit else 1):
            intact = path.read_bytes()
            harm(path, chooser)
            if path.read_bytes() == intact:
                continue
            name = path.relative_to(copy)
            findings = _findings(copy)
            assert any(str(path) in finding for finding in findings), f"{name} not named"
            try:
                seen = read_everything(copy)
            except StoreError:
                pass  # refused, as it should be
            else:
                assert seen == expected, f"{name}: wrong numbers without an error"
            path.write_bytes(intact)
    assert check.verify(LocalPlace(copy)) == []


def _findings(path: Path) -> list[str]:
    return [str(finding) for finding in check.verify(LocalPlace(path))]


@pytest.mark.parametrize("name", ["cls/c.1.0.0", "depth/c.2.0", "error/c.0", "status/c.1"])
@pytest.mark.parametrize("harm", [flip_bit, cut_off])
def test_reading_damage_raises_and_repair_lets_it_be_computed_again(
    copy: Path, name: str, harm: Callable[[Path, random.Random], None]
) -> None:
    expected = samples.contents(Store.open(copy))
    damaged = copy / BRANCH / name
    harm(damaged, random.Random(0))
    with pytest.raises(Damaged, match=r"store verify.*store repair") as caught:
        samples.contents(Store.open(copy))
    assert caught.value.place == str(damaged)

    place = LocalPlace(copy)
    findings = check.verify(place)
    assert [finding.place for finding in findings] == [str(damaged)]
    assert check.repair(place, findings) == []
    assert check.verify(place) == []
    branch = Store.open(copy).branch(samples.PROTOCOL, samples.SPEC)
    assert branch.missing_shards() == [findings[0].shard]
    for shard in branch.missing_shards():
        samples.write(branch, shard)
    assert samples.contents(Store.open(copy)) == expected


@pytest.mark.parametrize("name", ["cls/c.1.0.0", "depth/c.0.0", "error/c.2"])
def test_a_deleted_chunk_is_an_error_not_zeros(copy: Path, name: str) -> None:
    (copy / BRANCH / name).unlink()
    assert [str(copy / BRANCH / name) in text for text in _findings(copy)] == [True]
    with pytest.raises(Damaged, match="the file is missing"):
        read_everything(copy)


def test_a_deleted_status_is_a_missing_shard(copy: Path) -> None:
    (copy / BRANCH / "status/c.1").unlink()
    with pytest.raises(NotComputed, match="lacks 4 of 11 videos"):
        read_everything(copy)
    assert Store.open(copy).branch(samples.PROTOCOL, samples.SPEC).missing_shards() == [1]


def documents_of(store: Path) -> list[str]:
    return sorted(path.relative_to(store).as_posix() for path in store.rglob("zarr.json"))


@pytest.mark.parametrize("remove", [False, True])
def test_any_one_document_is_restored_from_its_second_copy(copy: Path, *, remove: bool) -> None:
    expected = samples.contents(Store.open(copy))
    assert len(documents_of(copy)) == 20
    for name in documents_of(copy):
        intact = (copy / name).read_bytes()
        if remove:
            (copy / name).unlink()
        else:
            flip_bit(copy / name, random.Random(name))
        place = LocalPlace(copy)
        findings = check.verify(place)
        assert str(copy / name) in {finding.place for finding in findings}
        assert check.repair(place, findings) == []
        assert check.verify(place) == []
        assert (copy / name).read_bytes() == intact
    assert samples.contents(Store.open(copy)) == expected


def test_the_videos_table_cannot_be_repaired_and_repair_says_so(copy: Path) -> None:
    chunk = copy / "videos/label/c.0"
    flip_bit(chunk, random.Random(0))
    place = LocalPlace(copy)
    left = check.repair(place, check.verify(place))
    assert [finding.place for finding in left] == [str(chunk)]
    with pytest.raises(Damaged, match=r"label/c\.0"):
        read_everything(copy)


def test_a_document_of_another_array_is_noticed(copy: Path) -> None:
    branch = copy / BRANCH
    shutil.copy(branch / "depth/zarr.json", branch / "cls/zarr.json")
    assert any("does not fit its branch" in text for text in _findings(copy))
    with pytest.raises(Damaged, match="does not fit its branch"):
        read_everything(copy)


def test_a_branch_under_another_name_is_noticed(copy: Path) -> None:
    (copy / BRANCH).rename(copy / samples.PROTOCOL / "internvideo2-tiny@ffffffff")
    with pytest.raises(Damaged, match="belongs to"):
        read_everything(copy)


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("cls/c.0.0.0", "cls/c.1.0.0"),
        ("depth/c.1.0", "depth/c.0.0"),
        ("error/c.0", "error/c.2"),
        ("status/c.0", "status/c.1"),
    ],
)
def test_a_whole_chunk_in_another_place_is_noticed(copy: Path, source: str, target: str) -> None:
    branch = copy / BRANCH
    shutil.copy(branch / source, branch / target)
    assert any(str(branch / target) in text for text in _findings(copy))
    with pytest.raises(Damaged, match="another"):
        samples.contents(Store.open(copy))


def test_a_chunk_in_another_place_is_noticed_by_those_who_trust_the_disk_too(copy: Path) -> None:
    branch = copy / BRANCH
    shutil.copy(branch / "cls/c.0.0.0", branch / "cls/c.1.0.0")
    with pytest.raises(Damaged, match="another"):
        Store.open(copy).table(["internvideo2/cls"], verify=False)


def test_an_older_chunk_than_the_record_names_is_noticed(tmp_path: Path) -> None:
    """Whole, sound, in its place, and from before the last commit: a restored backup, say."""
    store = samples.new_store(tmp_path / "s", 4)
    branch = store.branch(samples.PROTOCOL, samples.SPEC, shard_rows=4)
    chunk = tmp_path / "s" / BRANCH / "cls/c.0.0.0"
    samples.write(branch, 0, only=[0])
    older = chunk.read_bytes()
    samples.write(branch, 0)
    chunk.write_bytes(older)
    assert [finding.place for finding in check.verify(store.place)] == [str(chunk)]
    with pytest.raises(Damaged, match="another chunk than the one that was committed"):
        store.table(["internvideo2/cls"])


def test_columns_of_videos_that_changed_places_are_noticed(copy: Path) -> None:
    source, split = copy / "videos/source/c.0", copy / "videos/split/c.0"
    source.rename(copy / "aside")
    split.rename(source)
    (copy / "aside").rename(split)
    assert len(_findings(copy)) == 2
    with pytest.raises(Damaged, match="another chunk"):
        Store.open(copy).videos.column("source")


@pytest.mark.parametrize("name", ["cls/c.1.0.0", "error/c.0", "status/c.1"])
def test_verify_names_a_folder_in_a_chunks_place_and_repair_takes_it_away(
    copy: Path, name: str
) -> None:
    expected = samples.contents(Store.open(copy))
    chunk = copy / BRANCH / name
    chunk.unlink()
    (chunk / "inside").mkdir(parents=True)
    flip_bit(copy / BRANCH / "depth/c.2.0", random.Random(0))
    place = LocalPlace(copy)
    findings = check.verify(place)
    assert [finding.place for finding in findings if finding.place != str(chunk)] == [
        str(copy / BRANCH / "depth/c.2.0")
    ]
    assert any("directory" in str(finding) for finding in findings)
    assert check.repair(place, findings) == []
    branch = Store.open(copy).branch(samples.PROTOCOL, samples.SPEC)
    for shard in branch.missing_shards():
        samples.write(branch, shard)
    assert samples.contents(Store.open(copy)) == expected


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.EACCES])
def test_verify_goes_on_behind_what_the_disk_refuses(
    copy: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = copy / BRANCH / "cls/c.0.0.0"
    flip_bit(copy / BRANCH / "cls/c.2.0.0", random.Random(0))
    real = Path.read_bytes

    def read_bytes(path: Path) -> bytes:
        if path == refused:
            raise OSError(number, os.strerror(number), str(path))
        return real(path)

    monkeypatch.setattr(Path, "read_bytes", read_bytes)
    found = {finding.place: finding for finding in check.verify(LocalPlace(copy))}
    assert set(found) == {str(refused), str(copy / BRANCH / "cls/c.2.0.0")}
    assert os.strerror(number) in found[str(refused)].reason
    # Lost bytes are computed again; what a right or a server refuses is not lost.
    assert found[str(refused)].repairable == (number == errno.EIO)


@pytest.mark.parametrize("name", ["zarr.json", "cls/zarr.json", "status/zarr.json"])
@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES])
def test_verify_goes_on_behind_a_document_that_cannot_be_read(
    copy: Path, name: str, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Store.open(copy).branch("val", samples.SPEC, shard_rows=4)
    samples.write(other, 0)
    flip_bit(copy / other.prefix / "cls/c.0.0.0", random.Random(0))
    refused = copy / BRANCH / name
    real = Path.read_bytes

    def read_bytes(path: Path) -> bytes:
        if path == refused:
            raise OSError(number, os.strerror(number), str(path))
        return real(path)

    monkeypatch.setattr(Path, "read_bytes", read_bytes)
    findings = _findings(copy)
    assert any(os.strerror(number) in text for text in findings)
    assert any(str(copy / other.prefix / "cls/c.0.0.0") in text for text in findings)


def test_verify_goes_on_behind_a_folder_that_cannot_be_listed(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Store.open(copy).branch("val", samples.SPEC, shard_rows=4)
    samples.write(other, 0)
    flip_bit(copy / other.prefix / "cls/c.0.0.0", random.Random(0))
    listdir, read_bytes = os.listdir, Path.read_bytes

    def refuse(path: Path) -> None:
        if path.is_relative_to(copy / BRANCH):
            raise OSError(errno.EACCES, "Permission denied", str(path))

    def list_(path: Path) -> list[str]:
        refuse(path)
        return listdir(path)

    def read(path: Path) -> bytes:
        refuse(path)
        return read_bytes(path)

    monkeypatch.setattr(os, "listdir", list_)
    monkeypatch.setattr(Path, "read_bytes", read)
    findings = _findings(copy)
    assert any(BRANCH in text and "Permission denied" in text for text in findings)
    assert any(str(copy / other.prefix / "cls/c.0.0.0") in text for text in findings)


@pytest.mark.parametrize("name", ["cls/zarr.json", "zarr.json"])
def test_a_folder_in_a_documents_place_is_replaced(copy: Path, name: str) -> None:
    expected = samples.contents(Store.open(copy))
    document = copy / BRANCH / name
    document.unlink()
    (document / "inside").mkdir(parents=True)
    place = LocalPlace(copy)
    findings = check.verify(place)
    assert str(document) in {finding.place for finding in findings}
    assert check.repair(place, findings) == []
    assert check.verify(place) == []
    assert samples.contents(Store.open(copy)) == expected


def test_verify_never_maps_a_file(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mapped file that goes bad ends the process (SIGBUS), a read one raises."""

    def mapped(*arguments: object) -> None:
        raise AssertionError(f"mapped {arguments}")

    monkeypatch.setattr(LocalPlace, "view", mapped)
    assert check.verify(LocalPlace(copy)) == []
