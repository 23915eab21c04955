"""No command replaces what it did not make; what it made it goes on with, or says what differs."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from heads.commands.main import main
from tests.test_heads.stores import write_store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a bundle beside it."""
    folder = tmp_path_factory.mktemp("results")
    write_store(folder / "s", 80)
    assert main(["train", "--store", str(folder / "s"), "--head", "linear",
                 "--out", str(folder / "bundle")]) == 0  # fmt: skip
    return folder / "s"


FILES = {
    "evaluate": ["BUNDLE", "--store", "STORE", "--out"],
    "cross": ["--store", "STORE", "--head", "linear", "--out"],
    "audit": ["STORE", "--out"],
    "store export": ["STORE"],
    "report": ["RUN", "--out"],
}
FOLDERS = {
    "train": ["--store", "STORE", "--head", "linear", "--out"],
    "ablate": [
        "--store",
        "STORE",
        "--head",
        "linear",
        "--grid",
        "c=0.1,1",
        "--seeds",
        "1",
        "--out",
    ],
    "tune": ["--store", "STORE", "--head", "linear", "--trials", "8", "--seeds", "1", "--out"],
    "robustness": ["BUNDLE", "--store", "STORE", "--out"],
}


def command(name: str, arguments: Sequence[str], store: Path, out: Path, *more: str) -> list[str]:
    places = {"STORE": store, "BUNDLE": store.with_name("bundle"), "RUN": store.parent}
    found = [str(places.get(text, text)) for text in arguments]
    return [*name.split(), *found, str(out), *more]


@pytest.mark.parametrize("name", [name for name in FILES if name not in ("audit", "robustness")])
def test_a_file_of_somebody_elses_stays(
    name: str, store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "result.json"
    line = command(name, FILES[name], store, out)
    assert main(line) == 0, capsys.readouterr().err
    assert main(line) == 0
    out.write_text("corrected by hand")
    assert main(line) == 1
    assert f"telltale {name}` did not make it, or it was changed since" in capsys.readouterr().err
    assert out.read_text() == "corrected by hand"
    assert main([*line, "--overwrite"]) == 0
    assert out.read_bytes() != b"corrected by hand"


@pytest.mark.filterwarnings("ignore:.*importances will be equal")
@pytest.mark.parametrize("name", [name for name in FOLDERS if name != "robustness"])
def test_a_folder_of_somebody_elses_stays(
    name: str, store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    assert main(command(name, FOLDERS[name], store, tmp_path / "mine")) == 1
    assert "did not make it" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]
    out = tmp_path / "out"
    assert main(command(name, FOLDERS[name], store, out)) == 0
    assert main(command(name, FOLDERS[name], store, out)) == 0, capsys.readouterr().err
    assert main(command(name, FOLDERS[name], store, out, "--set", "depth=false")) == 1
    error = capsys.readouterr().err
    assert "with another" in error
    assert "settings" in error
    again = ("--set", "depth=false", "--overwrite")
    assert main(command(name, FOLDERS[name], store, out, *again)) == 0, capsys.readouterr().err


def test_a_bundle_of_another_head_is_not_replaced(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "bundle"
    assert main(command("train", FOLDERS["train"], store, out)) == 0
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    other = ["train", "--store", str(store), "--head", "knn", "--out", str(out)]
    assert main(other) == 1
    assert "with another head" in capsys.readouterr().err
    assert main(command("train", FOLDERS["train"], store, out)) == 0
    assert "there already, of these settings and videos" in capsys.readouterr().out
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert main([*other, "--overwrite"]) == 0


def test_numbers_of_another_split_are_not_replaced(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "evaluation.json"
    assert main(command("evaluate", FILES["evaluate"], store, out)) == 0
    before = out.read_bytes()
    assert main(command("evaluate", FILES["evaluate"], store, out, "--split", "all")) == 1
    assert "with another bundles and videos, split" in capsys.readouterr().err
    assert out.read_bytes() == before


@pytest.mark.parametrize("name", ["train", "tune"])
def test_a_device_that_is_not_there_is_said(
    name: str, store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = command(name, FOLDERS[name], store, tmp_path / "out", "--device", "cuda:77")
    assert main(line) == 1
    assert "is not there; this machine has" in capsys.readouterr().err


def test_ranks_are_not_written_over_something_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "scores.jsonl").write_text('["a.mp4", 2, 7.5]\n["b.mp4", 2, 30]\n')
    out = tmp_path / "ranks.csv"
    line = ["manifest", "rank", str(tmp_path / "scores.jsonl"), "--scheme", "hfv4", "--out"]
    assert main([*line, str(out)]) == 0
    assert main([*line, str(out)]) == 0
    assert main([*line, str(out), "--obvious", "low"]) == 1
    assert "with another obvious" in capsys.readouterr().err
    assert main([*line, str(tmp_path / "scores.jsonl")]) == 1
    assert "did not make it" in capsys.readouterr().err


def test_a_labelled_set_is_not_put_into_a_folder_of_something_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("gen", "out"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file.mp4").write_text("")
    assert main(["label", str(tmp_path / "gen"), "--out", str(tmp_path / "out")]) == 1
    assert "did not make it" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["file.mp4"]
