"""Which detectors a store can judge: whether it holds what each reads, made by the very networks
that its recipe names.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from extract.networks.weights import RANDOM as RANDOM_SOURCE
from features_store.branch_arrays import BranchArrays
from features_store.errors import TelltaleError, UnknownKey
from features_store.schema import BranchSpec, Status
from features_store.store import Store
from heads.comparing.comparison import MADE_UP, RANDOM
from heads.data.splits import testing_protocols, usable
from heads.detectors.features import narrowed
from heads.detectors.recipe import Recipe
from heads.errors import BadSetting, WrongFeatures
from heads.head import Head
from heads.parts import model_card
from heads.parts.model_card import warning

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Contestant:
    """A detector whose features are there."""

    recipe: Recipe
    head: Head
    """Not trained: it says which arrays are read."""
    store: Store
    """As if it had, of the networks that the recipe names, only what is made as it says."""
    judging: str
    """Protocol of the views that are judged."""
    has: Mask = field(repr=False)
    """Over all videos of the store: those with everything that it reads."""
    cached: int
    """Bytes of a video."""
    marks: tuple[str, ...]


def contestants(store: Store, recipes: Iterable[Recipe]) -> tuple[list[Contestant], dict[str, str]]:
    """Those that can run, and why others cannot."""
    found, missing = [], dict[str, str]()
    for recipe in recipes:
        try:
            found.append(_contestant(store, recipe))
        except TelltaleError as error:
            missing[recipe.name] = f"{error} {_to_do(store, recipe)}"
    if not found:
        lines = "".join(f"\n  {name}: {why}" for name, why in missing.items())
        raise BadSetting(f"None of these detectors can run on {store.place.name}:{lines}")
    return found, missing


def _contestant(store: Store, recipe: Recipe) -> Contestant:
    head = recipe.make(store.classes)
    protocols = store.protocols()
    if recipe.protocol not in protocols:
        have = ", ".join(protocols) or "none"
        raise WrongFeatures(f"It reads views of {recipe.protocol}; the store has {have}.")
    store, others = narrowed(store, recipe)
    try:
        groups = _groups(store, recipe.protocol, head.keys)
    except UnknownKey as error:
        if others:
            raise WrongFeatures(" ".join(others)) from error
        raise
    has = _complete(groups.values())
    if not has.any():
        raise WrongFeatures(f"No video has all of {', '.join(head.keys)}.")
    prints = {key: arrays.spec.fingerprint for key, arrays in groups.items()}
    judging = recipe.protocol
    if judging == "val":  # a method's own frames are not to be changed for others
        judging = usable(store, testing_protocols(store, judging), prints, has) or judging
    seen = _groups(store, judging, head.keys)
    return Contestant(
        recipe=recipe, head=head, store=store, judging=judging, has=has & _complete(seen.values()),
        cached=_bytes(seen), marks=_marks(groups.values()),
    )  # fmt: skip


def _groups(store: Store, protocol: str, keys: Sequence[str]) -> dict[str, BranchArrays]:
    return {key: store.find(protocol, key)[0] for key in keys}


def _complete(groups: Iterable[BranchArrays]) -> Mask:
    found: Mask = np.logical_and.reduce([arrays.status() == Status.OK for arrays in groups])
    return found


def _bytes(groups: Mapping[str, BranchArrays]) -> int:
    return sum(
        arrays.spec.arrays[key.rpartition("/")[2]].row_bytes for key, arrays in groups.items()
    )


def _marks(groups: Iterable[BranchArrays]) -> tuple[str, ...]:
    specs = [arrays.spec for arrays in groups]
    if any(_is_random(spec) for spec in specs):
        return (RANDOM,)
    asked = [f"{spec.name}={spec.preset}" for spec in specs]
    return (MADE_UP,) if warning(asked) == model_card.MADE_UP else ()


def _is_random(spec: BranchSpec) -> bool:
    options = spec.provenance.get("options", {})
    source = str(spec.provenance.get("source", ""))
    return source == RANDOM_SOURCE or options.get("random") == "true"


def _to_do(store: Store, recipe: Recipe) -> str:
    """What to type for it."""
    if recipe.imports:
        wanted = [f"{name}, {what}" for name, what in recipe.imports.items()]
        return f"Bring in: {'; '.join(wanted)}"
    weights = "".join(f" --weights {name}=PATH" for name in recipe.weights)
    place = store.place.name
    return f"Type: telltale extract VIDEOS --store {place} --detector {recipe.name}{weights}"
