"""Detectors as recipes: every file is whole, says what is missing, and can be typed."""

import argparse
import importlib.util
import shlex
from pathlib import Path

import pytest

from extract.branch import BranchRequest, for_protocol, load_branch
from extract.views.protocol import Protocol
from heads.commands.detectors import fill_in, fill_in_branches
from heads.commands.main import build_parser, main
from heads.detectors.recipe import OWN, Recipe, joined, read_recipe, read_recipes, recipe_names
from heads.errors import BadSetting
from tests.contracts.branches import FRAME_DETECTORS

FOUR = ("appearance", "spatial", "motion", "real")
WANTED = {
    "humansam", "unifd", "demamba", "timesformer", "d3", "stall", "restrav", "split", "vpvp",
    "sora-experts", "dire", "mm-det", "hifi-net", "efficientnet-lite0", "everyday",
    "npr", "cnndet", "patchcraft", "f3net", "genconvit", "npr-residual", "f3net-lfs",
    "altfreezing", "ftcn-like",
}  # fmt: skip


def test_the_fields_detectors_are_there() -> None:
    assert set(recipe_names()) >= WANTED


def test_one_network_sees_a_protocol_in_one_way() -> None:
    """Else a store of all that is ready would hold its features twice, and no head knew which."""
    ways: dict[tuple[str, str, str], set[str]] = {}
    for recipe in read_recipes("ready"):
        for text in recipe.requests({}):
            request = BranchRequest.parse(text)
            others = {f"{k}={v}" for k, v in request.options.items() if k != "outputs"}
            place = (request.name, request.preset, recipe.protocol)
            ways.setdefault(place, set()).add("&".join(sorted(others)))
    assert {place: len(found) for place, found in ways.items()} == dict.fromkeys(ways, 1)


@pytest.mark.parametrize("name", sorted(WANTED - {"humansam"}))
def test_rank_weights_are_humansams_own(name: str) -> None:
    config = read_recipe(name).make(FOUR).config
    assert not getattr(config, "rank_loss", False)


@pytest.mark.parametrize("name", recipe_names())
def test_a_recipe_is_whole(name: str) -> None:
    found = read_recipe(name)
    head = found.make(FOUR)
    asked = [
        BranchRequest.parse(text)
        for text in found.requests(dict.fromkeys(found.weights, Path("x")))
    ]
    named = {name for each in asked for name in (each.name, f"{each.name}-{each.preset}")}
    made = named | set(found.imports)
    assert {key.partition("/")[0] for key in head.keys} <= made
    assert found.title
    assert found.paper
    assert found.licence
    assert found.protocol == OWN or Protocol.parse(found.protocol).name == found.protocol
    needed = [line for line in found.missing({}) if "pip install" not in line]
    assert len(needed) == len(found.weights) + len(found.imports)
    there = {each: Path("x") for each in found.weights}
    assert len(found.requests(there)) == len(found.branches)
    for line in found.commands({}):
        build_parser().parse_args(shlex.split(line)[1:])


def test_what_a_recipes_head_reads_its_branches_give() -> None:
    """With small networks in place of the published ones."""
    small = {
        "xclip-b16": "xclip-tiny", "dinov2-s14": "dinov2-tiny", "dinov2-l14": "dinov2-tiny",
        "clip-l14": "clip-tiny",
    }  # fmt: skip
    tried = 0
    for name in recipe_names():
        found = read_recipe(name)
        for text in found.branches:
            asked = BranchRequest.parse(text.replace("{", "").replace("}", ""))
            if asked.name in FRAME_DETECTORS:
                tiny = asked.preset if not found.weights else "tiny"
            elif asked.name == "image" and asked.preset in small:
                tiny = small[asked.preset]
            else:
                continue
            request = BranchRequest(name=asked.name, preset=tiny, options=asked.options)
            branch = load_branch(for_protocol(request, Protocol.parse(found.protocol)))
            read = {
                key.partition("/")[2]
                for key in found.make(FOUR).keys
                if key.startswith(f"{asked.name}-{asked.preset}/")
            }
            assert read
            assert read <= set(branch.outputs), name
            assert branch.prepare.suits(Protocol.parse(found.protocol))
            tried += 1
    assert tried >= 14


def test_weights_are_asked_for_by_name(tmp_path: Path) -> None:
    d3 = read_recipe("d3")
    with pytest.raises(BadSetting, match=r"--weights xclip-b16=PATH, model\.safetensors of micro"):
        d3.requests({})
    assert d3.requests({"xclip-b16": tmp_path}) == [f"image=xclip-b16:{tmp_path}?look=d3"]
    assert d3.missing({"xclip-b16": tmp_path}) == []


def test_a_package_that_is_not_installed_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_recipe("efficientnet-lite0").missing({}) == []
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    (line,) = read_recipe("efficientnet-lite0").missing({})
    assert "[mini]" in line
    assert "[priors]" in read_recipe("vpvp").missing({})[-1]


def own(folder: Path, **changes: str) -> str:
    fields = {
        "title": '"Mine"', "paper": '"none"', "licence": '"none"', "protocol": '"val"',
        "branches": '["image=efficientnet-lite0"]', "head": '"linear"', **changes,
    }  # fmt: skip
    path = folder / "mine.toml"
    path.write_text("\n".join(f"{name} = {text}" for name, text in fields.items() if text))
    return str(path)


def test_a_recipe_of_ones_own_works_the_same(tmp_path: Path) -> None:
    found = read_recipe(own(tmp_path, settings='{ arrays = "image/cls", rank_loss = false }'))
    assert isinstance(found, Recipe)
    assert found.name == "mine"
    assert found.settings == {"arrays": "image/cls", "rank_loss": "false"}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"head": '"nobody"'}, "Head 'nobody' unknown"),
        ({"protocol": '"frames-16"'}, "Protocol 'frames-16' unknown"),
        ({"branches": '["nothing=tiny"]'}, "branch 'nothing' unknown"),
        ({"branches": '["image=xclip-b16:{x}"]'}, "must be the same"),
        ({"branches": "[]"}, "give branches, or imports"),
        ({"settings": "{ depht = true }"}, "Did you mean 'depth'"),
        ({"author": '"me"'}, "has no author; have: branches"),
        ({"title": ""}, "is no recipe"),
        ({"title": "Mine"}, "is no recipe"),
    ],
)
def test_what_is_no_recipe_is_refused(tmp_path: Path, changes: dict[str, str], said: str) -> None:
    from extract.errors import ExtractError

    with pytest.raises((BadSetting, ExtractError), match=said):
        read_recipe(own(tmp_path, **changes))


def test_the_command_lists_them_and_tells_of_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["detectors"]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in WANTED)
    groups = {"published detectors": "d3", "ready:": "lite0-knn", "made-up people": "tiny-knn"}
    places = [listed.index(each) for pair in groups.items() for each in pair]
    assert places == sorted(places)
    assert main(["detectors", "d3", "--weights", f"xclip-b16={tmp_path}"]) == 0
    told = capsys.readouterr().out
    assert "missing" not in told
    assert f"--branch 'image=xclip-b16:{tmp_path}?look=d3'" in told
    assert main(["detectors", "nobody"]) == 1
    assert "d3, demamba, dire" in capsys.readouterr().err
    assert main(["detectors", "d3", "--weights", "xclip-b16=/no/such/file"]) == 1
    assert "no such file" in capsys.readouterr().err


def test_detectors_on_one_encoder_ask_for_it_once() -> None:
    both = ["image=a:F?look=d3", "image=a:F?outputs=roughness&look=d3", "depthpro=tiny"]
    assert joined(both) == ["image=a:F?outputs=cls,roughness&look=d3", "depthpro=tiny"]
    assert joined(["image=a?outputs=cls,tokens", "image=a?outputs=tokens,steps", "image=b"]) == [
        "image=a?outputs=cls,tokens,steps", "image=b",
    ]  # fmt: skip
    assert joined(["image=a?look=d3", "image=a?look=stall"]) == [
        "image=a?look=d3", "image=a?look=stall",
    ]  # fmt: skip


def parsed(*texts: str) -> argparse.Namespace:
    return build_parser().parse_args([*texts])


def test_extract_fills_in_branches_and_protocol(tmp_path: Path) -> None:
    file = tmp_path / "xclip.safetensors"
    file.touch()
    both = parsed(
        "extract", "videos", "--store", "s", "--detector", "d3,split", "--weights",
        f"xclip-b16={file}",
    )  # fmt: skip
    fill_in_branches(both)
    assert both.protocol == "frames-16@8:d3"
    assert both.branch == [f"image=xclip-b16:{file}?outputs=cls,roughness&look=d3"]
    other = parsed(
        "extract", "videos", "--store", "s", "--detector", "efficientnet-lite0,d3", "--weights",
        f"xclip-b16={file}", "--branch", "internvideo2=tiny",
    )  # fmt: skip
    fill_in_branches(other)
    assert other.protocol == "val"
    assert other.branch == [
        "internvideo2=tiny",
        "image=efficientnet-lite0?look=visible&protocol=frames-16@8",
        f"image=xclip-b16:{file}?look=d3&protocol=frames-16@8:d3",
    ]
    with pytest.raises(BadSetting, match="nothing to extract"):
        fill_in_branches(parsed("extract", "videos", "--store", "s", "--detector", "dire"))
    with pytest.raises(BadSetting, match="Give --branch"):
        fill_in_branches(parsed("extract", "videos", "--store", "s"))
    plain = parsed("extract", "videos", "--store", "s", "--branch", "frames=rgb")
    fill_in_branches(plain)
    assert (plain.branch, plain.protocol) == (["frames=rgb"], "val")


def test_train_fills_in_what_is_not_said() -> None:
    asked = parsed(
        "train", "--store", "s", "--out", "o", "--detector", "d3", "--set", "distance=cos",
        "--set", "method=stall",
    )  # fmt: skip
    fill_in(asked)
    assert asked.head == "trajectory"
    assert asked.set == ["branch=image-xclip-b16", "method=stall", "distance=cos"]
    assert asked.protocol == "frames-16@8:d3"
