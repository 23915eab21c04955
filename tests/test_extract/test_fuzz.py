"""Three hundred broken files; `make fuzz` breaks ten thousand."""

from pathlib import Path

import pytest

from tests.test_extract.clips import write_clip
from tests.test_extract.fuzz import mutations
from tests.test_extract.fuzz.opened import Watch
from tests.test_extract.fuzz.run import Report, fuzz
from tests.test_extract.fuzz.seeds import CODECS, made_up

FILES = 300


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return made_up(tmp_path_factory.mktemp("seeds"))


@pytest.fixture(scope="module")
def report(clips: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory) -> Report:
    return fuzz(tmp_path_factory.mktemp("fuzz"), clips, range(FILES), seed=1)


def test_the_clips_are_videos_before_they_are_broken(
    clips: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = {"whole": lambda data, *_: data}
    monkeypatch.setattr(mutations, "MUTATIONS", whole)
    report = fuzz(tmp_path, clips, range(60), seed=1)
    assert report.ok == report.files == 60, list(report.lines())
    assert len(clips) == len(CODECS)


def test_every_broken_file_ends_as_ok_or_as_failed_with_a_reason(report: Report) -> None:
    said = "\n".join(report.lines())
    assert report.held, said
    assert report.files == FILES
    assert report.ok > FILES // 20, said
    assert report.failed["NotAVideo"] > FILES // 20, said
    assert report.failed["DamagedVideo"] > FILES // 20, said


def test_a_file_that_nobody_gave_would_have_been_seen(tmp_path: Path) -> None:
    """The watch is not blind: a decoder that opens a neighbour through C is noticed."""
    import av

    decoy = write_clip(tmp_path / "decoy.mp4", frames=9)
    watch = Watch([tmp_path])
    assert watch.take() == []
    with av.open(str(decoy)):
        pass
    assert str(decoy) in watch.take()
    watch.close()


def test_mutations_follow_from_seed_and_number(clips: dict[str, bytes]) -> None:
    from tests.test_extract.fuzz.run import broken_file

    one = [broken_file(number, 1, clips, {}) for number in range(40)]
    assert one == [broken_file(number, 1, clips, {}) for number in range(40)]
    assert len({data for _, _, data in one}) == 40
    assert one != [broken_file(number, 2, clips, {}) for number in range(40)]
