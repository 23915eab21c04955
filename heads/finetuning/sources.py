"""Where a run's inputs come from: cached inputs of a layer, cached views, or raw video.

Forged views are learnt from and judged one by one, with the labels of `heads.data.forged`.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from extract.decoding.job import Look, Plan
from extract.people.person_view import CROP
from extract.views.protocol import Protocol
from features_store.schema import BranchSpec, fingerprint
from features_store.store import Store
from features_store.table import Table
from heads.data.forged import by_view, is_forged
from heads.data.sides import Mask
from heads.errors import BadSetting, BadTable
from heads.finetuning.backbone import Backbone
from heads.finetuning.checks import check_same_pixels
from heads.finetuning.config import Reach
from heads.finetuning.data import CachedSource, ClipSource, Feeding, Source
from heads.finetuning.request import Request
from heads.parts.present import PRESENT


def source_of(
    request: Request,
    backbone: Backbone,
    reach: Reach,
    beside: tuple[str, ...],
    mask: Mask,
    *,
    judge: bool = True,
) -> Source:
    """Some videos of the store, as they are learnt from or judged by; close it after use."""
    protocol, store = request.protocols[judge], request.store
    group, key, raw = "", "", True
    if request.videos is None:
        group, key, raw = _cached(store, protocol, reach, backbone)
        if is_forged(protocol):
            table = _forged(store, protocol, group, [*beside, key], mask)
            how = Feeding(judge=judge, rank_loss=request.config.rank_loss, beside=beside)
            return CachedSource(table, key, how, raw=raw)
    elif is_forged(protocol):
        raise BadSetting(
            f"Views of {protocol} are learnt from one by one, from the cache; leave --videos out."
        )
    elif PRESENT in backbone.branch.outputs:
        group = _own(store, protocol, backbone)
    mask, present = _something(store, protocol, group, mask)
    how = Feeding(judge=judge, rank_loss=request.config.rank_loss, beside=beside, present=present)
    if request.videos is not None:
        return _decoded(request, backbone, how, mask, protocol)
    table = store.table([*beside, key], protocol=protocol, where=mask, lazy=[key])
    return CachedSource(table, key, how, raw=raw)


def _something(
    store: Store, protocol: str, group: str, mask: Mask
) -> tuple[Mask, NDArray[np.bool_] | None]:
    """The videos with something to look at, and which views of them have it, where the group says
    so; without it all of them."""
    if not group or PRESENT not in store.open_branch(protocol, group).spec.arrays:
        return mask, None
    key = f"{group}/{PRESENT}"
    table = store.table([key], protocol=protocol, where=mask)
    there = np.asarray(table.arrays[key]).astype(bool)
    views: NDArray[np.bool_] = np.any(there.reshape(*there.shape[:2], -1), axis=2)
    seen: NDArray[np.bool_] = np.any(views, axis=1)
    some = np.zeros_like(mask)
    some[table.rows[seen]] = True
    return some, views[seen]


def _forged(store: Store, protocol: str, group: str, keys: Sequence[str], mask: Mask) -> Table:
    """A row for each view with something to look at."""
    there = f"{group}/{PRESENT}"
    known = PRESENT in store.open_branch(protocol, group).spec.arrays
    wanted = [*keys, there] if known else list(keys)
    table = by_view(store.table(wanted, protocol=protocol, where=mask, lazy=keys[-1:]))
    if not known:
        return table
    arrays = dict(table.arrays)
    seen: Mask = np.any(arrays.pop(there).reshape(len(table), -1), axis=1)
    return replace(table, arrays=arrays).take(seen)


def _own(store: Store, protocol: str, backbone: Backbone) -> str:
    """The group of this very network; empty where there is none."""
    groups = [store.open_branch(protocol, group) for group in store.branches(protocol)]
    return next((one.spec.group for one in groups if backbone.made(one)), "")


def _decoded(
    request: Request, backbone: Backbone, how: Feeding, mask: Mask, protocol: str
) -> ClipSource:
    store, output = request.store, backbone.branch.prepare
    assert request.videos is not None
    if not output.suits(Protocol.parse(protocol)):
        raise BadSetting(
            f"{backbone.branch.name}={backbone.branch.preset} does not look at views of "
            f"{protocol}; give {output.wants}."
        )
    # Which videos there are is said by something that was extracted, be it never read.
    known = list(how.beside) or [_any(store, protocol, backbone)]
    lazy = [] if how.beside else known
    table = store.table(known, protocol=protocol, where=mask, lazy=lazy)
    details = store.protocol_details(protocol) or {}
    root = str(request.videos.root)
    check_same_pixels(details, protocol)
    look = Look(protocol=protocol, outputs=(output,))
    plan = Plan(looks=(look,), root=root, seed=int(details.get("seed", 0)))
    paths = {video.id: video.path for video in request.videos.videos}
    return ClipSource(table, paths, plan, how, workers=request.workers, memory=request.memory // 2)


def _any(store: Store, protocol: str, backbone: Backbone) -> str:
    """An array of the protocol; of this network, if there is one."""
    groups = [store.open_branch(protocol, group) for group in store.branches(protocol)]
    if not groups:
        branch = backbone.branch
        raise BadTable(
            f"{store.place.name} knows no features under {protocol}, which say what videos there "
            f"are: telltale extract … --protocol {protocol} --branch {branch.name}={branch.preset}"
        )
    first = next((one for one in groups if backbone.made(one)), groups[0])
    return f"{first.spec.group}/{next(iter(first.spec.arrays))}"


def _cached(store: Store, protocol: str, reach: Reach, backbone: Backbone) -> tuple[str, str, bool]:
    """The group and key of what the first cut is fed by, and whether that is rows of `prepare` or
    what the network takes in their place."""
    network, branch = backbone.network, backbone.branch
    name = network.cached(backbone.cut(reach))
    array = name or branch.prepare.whole or branch.prepare.name
    for group in store.branches(protocol):
        found = store.open_branch(protocol, group)
        if name:
            wanted = array if backbone.made(found) else None
        else:
            wanted = _kept(found.spec, array, backbone)
        if wanted is not None and wanted in found.spec.arrays:
            return group, f"{group}/{wanted}", name is None
    if name is None:
        persons = "?crop=person&boxes=FILE" if branch.prepare.whole else ""
        what, make = "frames", f"frames=rgb{persons}"
        if array != "clips":
            what = f"views as {branch.name}={branch.preset} takes them"
            raise BadTable(
                f"{store.place.name} has no {what} under {protocol}; train from raw video with "
                f"--videos."
            )
    else:
        what = f"{array} of this backbone"
        pooled = ",".join(network.pooled)
        make = f"{branch.name}={branch.preset}…?outputs={pooled},{array}"
    raise BadTable(
        f"{store.place.name} has no {what} under {protocol}. Make them: telltale extract … "
        f"--protocol {protocol} --branch '{make}', or train from raw video with --videos."
    )


def _kept(spec: BranchSpec, array: str, backbone: Backbone) -> str | None:
    """The array of another branch that keeps what this network looks at, if that one has it: of
    whole frames, or of the same persons."""
    branch = backbone.branch
    theirs, ours = ({CROP: found.get(CROP)} for found in (spec.provenance, branch.decides))
    if fingerprint(theirs) != fingerprint(ours):
        return None
    own = array if spec.name != branch.name else None
    return backbone.network.takes(spec.name, spec.provenance) or own
