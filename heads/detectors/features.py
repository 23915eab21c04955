"""Which features of a store are a detector's: made by the networks that its recipe names, fed as it
says.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from extract.branch import PATH_OPTIONS, BranchRequest
from features_store.schema import BranchSpec
from features_store.store import Store
from heads.detectors.recipe import Recipe

_FREE = ("outputs", "dtype", "frames", "quantise", "precision", "random", *PATH_OPTIONS)
"""Options of a branch that a recipe leaves to whoever extracts."""


def narrowed(store: Store, recipe: Recipe) -> tuple[Store, list[str]]:
    """What goes by a recipe's name must be of the networks that it names, fed as it says: the store
    without the others, and why they are others."""
    _, others = _sorted_out(store, recipe)
    reasons = [why for (protocol, _), why in others.items() if protocol == recipe.protocol]
    return store.without(others), reasons


def preferred(store: Store, recipe: Recipe) -> Store:
    """The store as if a branch's name meant the features that are as the recipe says, where there
    are such; where there are none, others may do."""
    own, others = _sorted_out(store, recipe)
    return store.without(group for group in others if _branch(group) in {_branch(g) for g in own})


Group = tuple[str, str]


def _branch(group: Group) -> Group:
    protocol, name = group
    return protocol, name.partition("-")[0]


def _sorted_out(store: Store, recipe: Recipe) -> tuple[list[Group], dict[Group, str]]:
    """Groups as the recipe has them, and why others are not."""
    given = {name: Path("FILE") for name in recipe.weights}
    asked = [BranchRequest.parse(text) for text in recipe.requests(given)]
    own: list[Group] = []
    others: dict[Group, str] = {}
    for protocol in store.protocols():
        for group in store.branches(protocol):
            spec = store.open_branch(protocol, group).spec
            requests = [each for each in asked if each.name == spec.name]
            if why := _differs(spec, requests):
                others[protocol, group] = f"{group} {why}"
            elif requests:
                own.append((protocol, group))
    return own, others


def _differs(spec: BranchSpec, asked: Sequence[BranchRequest]) -> str:
    """In what from each of these; nothing where there are none: it was computed elsewhere."""
    presets = [each for each in asked if each.preset == spec.preset]
    if not presets:
        wanted = " or ".join(f"{each.name}={each.preset}" for each in asked)
        return f"is of {spec.name}={spec.preset}; it reads {wanted}." if asked else ""
    made = _fixed(spec.provenance.get("options", {}))
    wishes = [_fixed(each.options) for each in presets]
    if made in wishes:
        return ""
    return f"was made with {_said(made)}; it reads {' or '.join(map(_said, wishes))}."


def _fixed(options: Mapping[str, str]) -> dict[str, str]:
    """Those that a recipe does not leave to whoever extracts."""
    return {name: value for name, value in options.items() if name not in _FREE}


def _said(options: Mapping[str, str]) -> str:
    return " and ".join(f"{k}={options[k]}" for k in sorted(options)) or "no option"
