"""What a key such as `internvideo2/cls` means among the groups of a protocol."""

from collections.abc import Sequence

from features_store.branch_arrays import BranchArrays
from features_store.errors import AmbiguousKey, BadInput, UnknownKey


def parted(key: str) -> tuple[str, str]:
    """A branch's name and an array's."""
    name, slash, array = key.partition("/")
    if not slash or not name or not array:
        raise BadInput(f"Key {key!r}: give BRANCH/ARRAY, such as 'internvideo2/cls'.")
    return name, array


def the_only(protocols: Sequence[str], store: str) -> str:
    """The protocol that is meant where none is named."""
    if not protocols:
        raise UnknownKey(f"{store} holds no features yet; run `telltale extract`.")
    if len(protocols) > 1:
        raise AmbiguousKey(f"Which protocol? The store has {', '.join(protocols)}; name one.")
    return protocols[0]


def meant(groups: Sequence[str], name: str) -> list[str]:
    """The groups that a branch's name may mean: in full, or without fingerprint, or preset too."""
    return [g for g in groups if name in (g, g.split("@", 1)[0], g.split("-", 1)[0])]


def fitting(groups: Sequence[str], name: str, protocol: str) -> list[str]:
    """The same; at least one."""
    found = meant(groups, name)
    if not found:
        raise UnknownKey(
            f"Branch {name!r} unknown under {protocol}; have: {', '.join(groups) or 'none'}."
        )
    return found


def holder(branches: Sequence[BranchArrays], key: str, array: str) -> BranchArrays:
    """The one of these that holds the array.

    A branch's arrays may lie in several groups, each with a fingerprint of its own; only two
    groups that hold the same array are ambiguous.
    """
    holding = [branch for branch in branches if array in branch.spec.arrays]
    if not holding:
        have = ", ".join(name for branch in branches for name in branch.spec.arrays)
        where = " and ".join(branch.prefix for branch in branches)
        raise UnknownKey(f"Array {array!r} unknown in {where}; have: {have}.")
    if len(holding) > 1:
        groups = " and ".join(branch.spec.group for branch in holding)
        raise AmbiguousKey(
            f"{key!r} fits {groups} under {holding[0].protocol}; give one in full, as in "
            f"'{holding[0].spec.group}/{array}'."
        )
    return holding[0]
