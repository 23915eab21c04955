"""What a branch gives, without its network: enough to say what a run will write, and where.

Outputs come in families: what is computed together, kept in one group of a store and committed as
one. A fingerprint belongs to a family, and does not depend on which other families were asked for:
whoever asks for more outputs later computes those alone.

Where a store has features of this very network, its groups are gone on with as they were made: one
that holds more than a family, or less, keeps its name and its arrays, and only what no group holds
gets a group of its own. A group is this network's when its fingerprint is what the network gives
for the group's own arrays.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from extract.errors import BadSetting
from features_store.schema import ArraySpec, BranchSpec, fingerprint
from features_store.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A branch for whoever plans a run."""

    name: str
    preset: str
    outputs: Mapping[str, ArraySpec]
    """Per view."""
    families: Sequence[Sequence[str]]
    asked: Sequence[str]
    """Outputs that were named; families may hold more."""
    decides: Mapping[str, Any]
    """All that decides the numbers of every output."""
    types_decide: bool = True
    """Whether names and types of the outputs are hashed too."""
    provenance: Mapping[str, Any]
    options: Mapping[str, str]
    protocol: str = ""
    """Whose views it looks at; empty: those of the run."""

    def fingerprint_of(self, arrays: Mapping[str, ArraySpec]) -> str:
        """Of these arrays, made by this network and kept together."""
        types = {name: _type(array) for name, array in arrays.items()}
        return fingerprint(
            {**self.decides, "outputs": types} if self.types_decide else self.decides
        )

    @property
    def fingerprint(self) -> str:
        """Of all that was asked for, as if it were kept together."""
        return self.fingerprint_of({name: self.outputs[name] for name in self.asked})

    @property
    def fingerprints(self) -> dict[str, str]:
        """Output → the fingerprint of its family."""
        return {
            name: self.fingerprint_of({member: self.outputs[member] for member in family})
            for family in self.families
            for name in family
        }

    def known_as(self, output: str) -> set[str]:
        """Fingerprints by which bundles may know an output: its family's, and that of all that was
        asked for together, which was one group before there were families."""
        if output not in self.outputs:
            return set()
        return {self.fingerprints[output], self.fingerprint}

    def made(self, spec: BranchSpec) -> bool:
        """Whether this very network makes a group's arrays."""
        mine = (spec.name, spec.preset) == (self.name, self.preset)
        return mine and self.fingerprint_of(spec.arrays) == spec.fingerprint

    def spec(self, names: Sequence[str], views: int) -> BranchSpec:
        """A group of its own for these outputs."""
        arrays = {
            name: replace(self.outputs[name], shape=(views, *self.outputs[name].shape))
            for name in names
        }
        options = dict(self.options)
        if "outputs" in options:
            options["outputs"] = ",".join(names)
        return BranchSpec(
            name=self.name,
            preset=self.preset,
            fingerprint=self.fingerprint_of(arrays),
            arrays=arrays,
            provenance={
                **self.decides,
                "outputs": {name: _type(array) for name, array in arrays.items()},
                **self.provenance,
                "options": options,
            },
        )

    def specs(self, views: int, there: Sequence[BranchSpec] = ()) -> list[BranchSpec]:
        """The groups that hold what was asked for; `there` are those that a store has already."""
        wanted = list(self.asked)
        found = []
        for spec in sorted(filter(self.made, there), key=lambda one: _fit(one, wanted)):
            if set(wanted) & set(spec.arrays):
                found.append(spec)
                wanted = [name for name in wanted if name not in spec.arrays]
        held = {name for spec in found for name in spec.arrays}
        lacking = [family for family in self.families if set(family) & set(wanted)]
        new = [[name for name in family if name not in held] for family in lacking]
        return [*found, *(self.spec(names, views) for names in new)]


def group_specs(
    offers: Sequence[Offer], store: Store | None, protocol: str, views: int, decoder: str
) -> list[BranchSpec]:
    """All groups that these branches fill under a protocol, new ones with what decodes for them."""
    there: list[BranchSpec] = []
    if store is not None and protocol in store.protocol_folders():
        starts = tuple(f"{offer.name}-{offer.preset}@" for offer in offers)
        names = [name for name in store.branch_folders(protocol) if name.startswith(starts)]
        there = [store.read_branch(protocol, name).spec for name in names]
    found = [spec for offer in offers for spec in offer.specs(views, there)]
    if len({spec.group for spec in found}) < len(found):
        raise BadSetting(
            "A branch was given twice, with the same weights and options. Several outputs are "
            "asked for in one: ?outputs=cls,avg,attn,tokens."
        )
    return [replace(s, provenance={"decoder": decoder, **s.provenance}) for s in found]


def _type(array: ArraySpec) -> str:
    """How numbers are kept: what is lost on the way is a part of what they are."""
    return array.dtype if array.quantise == "none" else f"{array.dtype} as {array.quantise}"


def _fit(spec: BranchSpec, wanted: Sequence[str]) -> tuple[int, int, str]:
    """Groups without what nobody asked for come first, then those with the most of the rest."""
    own = set(spec.arrays)
    return len(own - set(wanted)), -len(own & set(wanted)), spec.group
