"""`telltale detectors`. Mounted by `heads.commands.main`."""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from heads.bundle import Bundle
    from heads.detectors.recipe import Recipe

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

_WIDE = 20
_GROUPS = (
    "published detectors, of which something is missing here:",
    "ready:",
    "ready, for made-up people alone (their networks know no others):",
)


def add_commands(commands: "Commands") -> None:
    """Add this module's commands to the `telltale` parser."""
    detectors = commands.add_parser(
        "detectors",
        help="list detectors as recipes, and what is missing here for each",
        description="Without a name: every detector, and whether it can be used as it is. With "
        "one: what it is, what its authors report, and what to type.",
    )
    detectors.add_argument("name", nargs="?", help="a detector, or FILE.toml of your own")
    add_weights_option(detectors)
    detectors.set_defaults(run=_detectors)


def add_weights_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--weights", action="append", default=[], metavar="NAME=PATH",
        help="a file or folder of weights that a detector asks for; repeatable",
    )  # fmt: skip


def weights_of(texts: list[str]) -> dict[str, Path]:
    """`--weights` as names and paths that are there."""
    from heads.config import assignments
    from heads.errors import BadSetting

    found = {name: Path(text).expanduser() for name, text in assignments(texts).items()}
    for name, path in found.items():
        if not path.exists():
            raise BadSetting(f"--weights {name}={path}: there is no such file or folder.")
    return found


def fill_in(arguments: argparse.Namespace) -> None:
    """Head, settings and protocol of `--detector`, where nothing else was said."""
    from heads.config import assignments
    from heads.detectors.recipe import read_recipe

    recipe = read_recipe(arguments.detector)
    own = assignments(arguments.set)
    arguments.head = recipe.head
    arguments.set = [f"{name}={value}" for name, value in {**recipe.settings, **own}.items()]
    arguments.protocol = arguments.protocol or recipe.protocol


def named(bundle: "Bundle", detector: str | None) -> "Bundle":
    """It remembers which detector it is."""
    if not detector:
        return bundle
    provenance = {**bundle.about.provenance, "detector": Path(detector).stem}
    return replace(bundle, about=replace(bundle.about, provenance=provenance))


def add_to_extract(extract: argparse.ArgumentParser) -> None:
    """`--detector` for a command that knows nothing of detectors: fills in what it does know."""
    extract.add_argument(
        "--detector", metavar="NAME,NAME",
        help="recipes, or FILE.toml of your own: fills in branches, each with its protocol; one "
        "decode a video for all of them",
    )  # fmt: skip
    add_weights_option(extract)
    branch = next(action for action in extract._actions if action.dest == "branch")
    branch.required, branch.default = False, []
    run = extract.get_default("run")

    def filled_in(arguments: argparse.Namespace) -> int:
        fill_in_branches(arguments)
        found: int = run(arguments)
        return found

    extract.set_defaults(run=filled_in)


def fill_in_branches(arguments: argparse.Namespace) -> None:
    """Branches of `--detector`, each with its protocol; an encoder is asked for once under each,
    with all outputs. A branch of the user's own goes with the detectors where these agree."""
    from heads.detectors.recipe import joined, read_recipes
    from heads.errors import BadSetting

    if not arguments.detector:
        if not arguments.branch:
            raise BadSetting("Give --branch NAME=PRESET:WEIGHTS, or --detector NAME.")
        return
    weights = weights_of(arguments.weights)
    recipes = read_recipes(arguments.detector)
    looking = [recipe for recipe in recipes if recipe.branches]
    if not looking and not arguments.branch:
        wanted = "; ".join(f"{name}: {what}" for r in recipes for name, what in r.imports.items())
        raise BadSetting(
            f"{arguments.detector}: nothing to extract, its features are computed elsewhere and "
            f"brought in by `telltale features import`: {wanted}."
        )
    protocols = {recipe.protocol for recipe in looking}
    alone = len(protocols) == 1
    if alone:
        arguments.protocol = protocols.pop()
    asked = [
        text
        for recipe in looking
        for text in (recipe.requests(weights) if alone else recipe.requests_under(weights))
    ]
    arguments.branch = joined([*arguments.branch, *asked])


def _detectors(arguments: argparse.Namespace) -> int:
    from heads.detectors.recipe import read_recipe, recipe_names

    weights = weights_of(arguments.weights)
    if arguments.name:
        _tell(read_recipe(arguments.name), weights)
        return 0
    recipes = [read_recipe(name) for name in recipe_names()]
    groups: dict[str, list[Recipe]] = {title: [] for title in _GROUPS}
    for recipe in recipes:
        ready = not recipe.missing(weights)
        place = 0 if not ready else 2 if recipe.is_for_made_up_people else 1
        groups[_GROUPS[place]].append(recipe)
    for title, members in groups.items():
        print(title)
        for recipe in members:
            missing = recipe.missing(weights)
            lacks = f"; needs {len(missing)}: {missing[0]}" if missing else ""
            print(f"  {recipe.name:{_WIDE}} {recipe.title}")
            print(f"  {'':{_WIDE}} {recipe.head} on {recipe.protocol}{lacks}"
                  f"{' …' if len(missing) > 1 else ''}")  # fmt: skip
    print("`telltale detectors NAME` says what each needs, and what to type.")
    return 0


def _tell(recipe: "Recipe", weights: dict[str, Path]) -> None:
    print(f"{recipe.name}: {recipe.title}")
    for what, text in (("paper", recipe.paper), ("licence", recipe.licence)):
        print(f"  {what}: {text}")
    for branch in recipe.branches:
        print(f"  branch: {branch}")
    settings = ", ".join(f"{name}={value}" for name, value in recipe.settings.items())
    print(f"  protocol: {recipe.protocol}")
    print(f"  head: {recipe.head}{f' ({settings})' if settings else ''}")
    for line in recipe.missing(weights):
        print(f"  missing: {line}")
    for number in recipe.published:
        print(f"  published: {number.what}: {number.value} ({number.source})")
    if recipe.note:
        print(f"  note: {' '.join(recipe.note.split())}")
    print("what to type:")
    for line in recipe.commands(weights):
        print(f"  {line}")
