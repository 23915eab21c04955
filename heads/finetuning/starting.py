"""The head that fine-tuning begins with: a bundle's, the network's own, or a new one."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from features_store.table import Table
from heads.bundle import Bundle
from heads.config import build
from heads.errors import BadSetting, WrongFeatures
from heads.finetuning.backbone import Backbone
from heads.finetuning.processes import Processes
from heads.finetuning.readout import (
    FusionReadout,
    LinearReadout,
    Readout,
    one_row,
    reads_only,
    unstandardised,
    with_arrays,
)
from heads.finetuning.request import HeadConfig, Request
from heads.measuring.metrics import REAL
from heads.parts.arrays import ATTN, widths
from heads.parts.fusion_net import Layout, initial
from heads.parts.pooled import Standard
from heads.parts.present import PRESENT, is_mask
from heads.zoo.fusion import Fusion, FusionConfig, pooled_of
from heads.zoo.linear import Linear, LinearConfig

_KINDS: Mapping[str, type[HeadConfig]] = {"fusion": FusionConfig, "linear": LinearConfig}
_TWO = 2
_SPREAD = 0.01
"""Of a new linear head's weights."""


def config_of(request: Request, backbone: Backbone, start: Bundle | None) -> HeadConfig:
    """The head's settings, with the arrays that it reads."""
    if start is not None:
        if not isinstance(start.head, Fusion | Linear):
            raise BadSetting(
                f"Fine-tuning starts from a fusion or linear bundle; this is {start.about.head!r}."
            )
        return _checked(start.head.config, backbone)
    name = request.head or ("fusion" if backbone.is_own(ATTN) else "linear")
    if name not in _KINDS:
        raise BadSetting(f"Head {name!r} cannot be fine-tuned; have: {', '.join(_KINDS)}.")
    found: HeadConfig = build(_KINDS[name], request.head_settings, f"Head {name}")
    return _checked(found, backbone)


def keys_of(config: HeadConfig, classes: Sequence[str]) -> tuple[str, ...]:
    """Arrays that a head of these settings reads."""
    if isinstance(config, FusionConfig):
        return Fusion(config, classes).keys
    return Linear(config, classes).keys


def readout_of(
    request: Request,
    backbone: Backbone,
    config: HeadConfig,
    start: Bundle | None,
    table: Table,
    processes: Processes,
) -> Readout:
    """What begins to learn; `table` has the cached vectors beside the network's own."""
    if isinstance(config, FusionConfig):
        return _fusion(request, backbone, config, start, table, processes)
    return _linear(request, backbone, config, start, table)


def own_head(
    backbone: Backbone, readout: Readout, tensors: dict[str, Tensor], classes: Sequence[str]
) -> dict[str, Tensor]:
    """The network's own head after training, by the names of its parameters: what was learnt in
    its place, or zeros, which say nothing, where that was something else."""
    own = backbone.network.own_head
    if own is None:
        return {}
    rows_of, columns = backbone.network.model.get_parameter(own.weight).shape
    weight, bias = torch.zeros(rows_of, columns), torch.zeros(rows_of)
    if (
        isinstance(readout, LinearReadout)
        and reads_only(readout.columns, own.vector)
        and _two(classes)
    ):
        standard, rows, offsets = readout.head(tensors, classes).learnt
        plain = unstandardised(standard, rows, offsets)
        one = one_row(*plain, list(classes).index(REAL))
        at = own.forged if rows_of == _TWO else 0
        weight[at], bias[at] = one[0][0], one[1][0]
    return {own.weight: weight, own.bias: bias}


def _checked(config: HeadConfig, backbone: Backbone) -> HeadConfig:
    if isinstance(config, FusionConfig):
        if not backbone.is_own(ATTN):
            raise BadSetting(
                f"The fusion head is for {ATTN} and its like, which {backbone.branch.name} does "
                f"not make; give --head linear."
            )
        return config
    if config.root:
        raise BadSetting("root=true has no gradient at 0; fine-tune a linear head without it.")
    if config.arrays or backbone.is_own(ATTN):
        return config
    branch = backbone.branch
    own = backbone.network.own_head
    names = backbone.network.pooled if own is None else (own.vector,)
    present = (PRESENT,) if PRESENT in branch.outputs else ()
    return with_arrays(config, [f"{branch.name}/{name}" for name in (*names, *present)])


def _fusion(
    request: Request,
    backbone: Backbone,
    config: FusionConfig,
    start: Bundle | None,
    table: Table,
    processes: Processes,
) -> FusionReadout:
    sizes = {name: array.shape[-1] for name, array in backbone.branch.outputs.items()}
    depth = sum(widths(table, backbone.beside(keys_of(config, ()))).values())
    layout = Layout(
        width=0 if config.vector == "attn" else sizes["avg"], attn=sizes["attn"], depth=depth,
        hidden=depth or config.hidden, down_norm=config.down_norm, alpha=config.alpha_mode,
        pooled=pooled_of(config),
    )  # fmt: skip
    if start is not None:
        assert isinstance(start.head, Fusion)
        model = start.head.model
        assert model is not None
        if model.layout != layout:
            raise WrongFeatures(f"The bundle's head is {model.layout}, here it must be {layout}.")
        return FusionReadout(config, layout, model.tensors, processes)
    classes = len(request.store.classes)
    state = initial(layout, classes, torch.Generator().manual_seed(request.seed))
    alpha = config.alpha_start
    state["alpha"].fill_(
        float(np.log(alpha / (1 - alpha))) if config.alpha_mode == "sigmoid" else alpha
    )
    return FusionReadout(config, layout, state, processes)


def _linear(
    request: Request, backbone: Backbone, config: LinearConfig, start: Bundle | None, table: Table
) -> LinearReadout:
    classes = request.store.classes
    keys = keys_of(config, classes)
    beside = widths(table, backbone.beside(keys))
    columns = {
        key: None if backbone.is_own(key) else beside[key]
        for key in keys
        if backbone.is_own(key) or not is_mask(key)
    }
    outputs = backbone.branch.outputs
    size = sum(
        outputs[key.partition("/")[2]].shape[-1] if width is None else width
        for key, width in columns.items()
        if not is_mask(key)
    )
    if start is not None:
        assert isinstance(start.head, Linear)
        standard, weight, bias = start.head.learnt
        state = {**standard.tensors(), "weight": weight, "bias": bias}
        return LinearReadout(config, columns, state)
    plain = Standard(mean=torch.zeros(size), scale=torch.ones(size)).tensors()
    found = _own(backbone, columns, classes)
    if found is not None:
        state, forged = found
        return LinearReadout(config, columns, {**plain, **state}, forged)
    drawn = torch.randn(len(classes), size, generator=torch.Generator().manual_seed(request.seed))
    state = {**plain, "weight": drawn * _SPREAD, "bias": torch.zeros(len(classes))}
    return LinearReadout(config, columns, state)


def _own(
    backbone: Backbone, columns: Mapping[str, int | None], classes: Sequence[str]
) -> tuple[dict[str, Tensor], int | None] | None:
    """The network's own head in the order of the classes; none where it does not fit."""
    own = backbone.network.own_head
    if own is None or not _two(classes) or not reads_only(columns, own.vector):
        return None
    model = backbone.network.model
    weight, bias = (model.get_parameter(name).detach().clone() for name in (own.weight, own.bias))
    forged = 1 - list(classes).index(REAL)
    if len(weight) == 1:
        return {"weight": weight, "bias": bias}, forged
    if own.forged != forged:
        weight, bias = weight.flip(0), bias.flip(0)
    return {"weight": weight, "bias": bias}, None


def _two(classes: Sequence[str]) -> bool:
    """Whether they are real and forged and nothing else."""
    return len(classes) == _TWO and REAL in classes
