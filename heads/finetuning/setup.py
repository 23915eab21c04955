"""From a store, a backbone and settings to a fine-tuner; from a fine-tuner to files.

What is written: the tuned backbone as a branch's weights, so that its features can be extracted
and cached in turn, and a fusion bundle that goes with exactly those features.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from extract.branch import BranchRequest, load_branch
from extract.branches.internvideo2 import Architecture, InternVideo2, InternVideo2Branch
from extract.decoding.job import CLIPS, Look, Plan
from extract.manifest.manifest import Manifest
from extract.networks import weights
from features_store.schema import fingerprint
from features_store.store import Store
from heads import bundle
from heads.bundle import Bundle
from heads.data.rows import Rows
from heads.data.sides import Mask
from heads.data.splits import Choice, training_protocol
from heads.errors import BadSetting, BadTable, WrongFeatures
from heads.finetuning.checks import check_same_depth, check_same_pixels, check_start, same_network
from heads.finetuning.config import POOL, FinetuneConfig, Reach
from heads.finetuning.data import CachedSource, ClipSource, Source
from heads.finetuning.loop import Finetuner, Run
from heads.finetuning.net import FinetuneNet
from heads.finetuning.processes import Processes
from heads.finetuning.sharding import check_several, whole
from heads.finetuning.tensor_file import write_tensors
from heads.head import Probabilities
from heads.measuring.metrics import averaged, measure
from heads.parts.about import About
from heads.parts.arrays import ATTN, AVG, CLS, DEPTH
from heads.parts.fusion_net import Layout, initial
from heads.zoo.fusion import Fusion, FusionConfig, FusionModel, pooled_of

BACKBONE, HEAD = "backbone.safetensors", "head"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is to be fine-tuned, on what."""

    store: Store
    backbone: BranchRequest
    reach: str
    """pool, blocks=K or end-to-end."""
    config: FinetuneConfig
    choice: Choice = field(default_factory=Choice)
    head: FusionConfig = field(default_factory=FusionConfig)
    """Without a bundle to start from."""
    start: Path | None = None
    """A fusion bundle trained on this backbone's cached features."""
    videos: Manifest | None = None
    """Decode these instead of reading what is cached."""
    workers: int = 1
    memory: int = 2 * 2**30
    """Bytes of decoded clips that are kept."""
    seed: int = 0
    out: Path | None = None

    @property
    def protocols(self) -> tuple[str, str]:
        """Of training and of validation."""
        train = self.choice.protocol or training_protocol(self.store)
        default = "val" if "val" in self.store.protocols() else train
        return train, self.choice.judging or default


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A fine-tuner and what it was made of."""

    request: Request
    finetuner: Finetuner
    branch: InternVideo2Branch
    head: FusionConfig

    def source(self, mask: Mask, store: Store | None = None) -> Source:
        """Other videos, by a mask over all of a store, to be judged; close it after use."""
        request = replace(self.request, store=store or self.request.store)
        return _source(request, self.branch, self.finetuner.net.reach, self.head, mask)

    def save(self, folder: Path) -> Bundle | None:
        """The network as it is now: a backbone and a bundle. All processes judge, one writes."""
        net, first = self.finetuner.net, self.finetuner.run.processes.first
        probabilities = self.finetuner.probabilities(self.finetuner.run.validation)
        path = folder / BACKBONE
        state = net.backbone.state_dict()
        write_tensors(path, {name: t.float() for name, t in state.items()}, writes=first)
        head = {name: whole(tensor).cpu().clone() for name, tensor in net.head_state().items()}
        return self._bundle(path, head, probabilities).save(folder / HEAD) if first else None

    def _bundle(
        self, backbone: Path, tensors: dict[str, Tensor], probabilities: Probabilities
    ) -> Bundle:
        request, run = self.request, self.finetuner.run
        net, table = self.finetuner.net, run.validation.table
        head = Fusion(self.head, table.classes)
        head.model = FusionModel(self.head, net.layout, tensors)
        found = measure(averaged(probabilities), table.labels, head.classes)
        tuned = tuned_branch(request.backbone, backbone)
        made = {f"{tuned.name}/{name}": one for name, one in tuned.offer.fingerprints.items()}
        prints = {key: made[key] for key in (CLS, AVG, ATTN) if key in head.keys}
        asked = {**tuned.request.options, "precision": tuned.precision}
        options = "&".join(f"{name}={value}" for name, value in asked.items())
        branches = {"internvideo2": f"internvideo2={tuned.preset}?{options}"}
        if DEPTH in head.keys:
            prints[DEPTH] = table.fingerprints[DEPTH]
            branches |= {"depthpro": bundle.branch_requests(request.store, table)["depthpro"]}
        about = About(
            head="fusion",
            config=asdict(self.head),
            scheme=request.store.scheme,
            classes=head.classes,
            protocol=table.protocol,
            fingerprints=prints,
            branches=branches,
            metrics={f"validation {name}": value for name, value in found.numbers().items()},
            provenance={
                **bundle.provenance(request.store, [request.seed], "train"),
                "finetuned": request.reach,
                "backbone": f"{BACKBONE}, beside this folder",
                "steps": self.finetuner.step,
            },
        )
        learnt = run.train.table.ids.tolist()
        rows = Rows.made(learnt=learnt, decided=table.ids.tolist())
        curves = {self.finetuner.metric: self.finetuner.history, "loss": self.finetuner.losses}
        learning = {"seed": request.seed, **{name: list(one) for name, one in curves.items()}}
        return Bundle(head, about, rows, [learning])


@contextmanager
def prepared(request: Request, processes: Processes | None = None) -> Iterator[Prepared]:
    """Everything loaded and checked; decode workers end with it."""
    processes = processes or Processes()
    if request.config.shard:
        check_several(processes)
    branch = _backbone(request.backbone)
    reach = Reach.parse(request.reach, branch.model.architecture.depth)
    start = None if request.start is None else Bundle.load(request.start)
    head = request.head if start is None else _fusion_config(start)
    sources = [
        _source(request, branch, reach, head, mask, judge=judge)
        for judge, mask in zip((False, True), request.choice.masks(request.store), strict=True)
    ]
    try:
        learn, decide = sources
        check_same_depth(learn.table, decide.table)
        if start is not None:
            check_start(start, request.store, learn.table, branch)
        layout = _layout(head, branch.model.architecture, learn.samples.x.shape[-1])
        state = _head_state(start, head, layout, request)
        facts = {
            "reach": request.reach,
            "backbone": branch.decides["weights"],
            "head": weights.content_hash(state),
            "head config": asdict(head),
            "videos": fingerprint({s.table.protocol + str(i): s.table.ids.tolist()
                                   for i, s in enumerate(sources)}),
            "depth": learn.table.fingerprints.get(DEPTH),
        }  # fmt: skip
        _adapt(branch.model, reach, request)
        net = FinetuneNet(branch.model, layout, state, reach, request.config, processes)
        run = Run(
            config=request.config, train=learn, validation=decide, seed=request.seed,
            processes=processes, folder=request.out, facts=facts,
        )  # fmt: skip
        finetuner = Finetuner(net, run)
        yield Prepared(request=request, finetuner=finetuner, branch=branch, head=head)
    finally:
        for source in sources:
            source.close()


_NOT_OF_TUNED = ("outputs", "random")


def tuned_branch(request: BranchRequest, path: Path) -> InternVideo2Branch:
    """The branch that extracts a tuned backbone's pooled features, in the request's precision."""
    options = {name: value for name, value in request.options.items() if name not in _NOT_OF_TUNED}
    found = load_branch(
        replace(request, weights=path, options=options, device="cpu", precision=request.computes_in)
    )
    assert isinstance(found, InternVideo2Branch)
    return found


def _cached(store: Store, protocol: str, reach: Reach, branch: InternVideo2Branch) -> str:
    """The key of the views' frames, or of the tokens that exactly this network made of them."""
    frames = reach.kind == "end-to-end"
    array = CLIPS.name if frames else reach.array
    for group in store.branches(protocol):
        found = store.open_branch(protocol, group)
        ours = found.spec.name == "frames" if frames else same_network(found, branch)
        if ours and array in found.spec.arrays:
            return f"{group}/{array}"
    tokens = f"internvideo2={branch.preset}…?outputs=cls,avg,attn,{array}"
    raise BadTable(
        f"{store.place.name} has no {'frames' if frames else f'{array} of this backbone'} under "
        f"{protocol}. Make them: telltale extract … --protocol {protocol} --branch "
        f"'{'frames=rgb' if frames else tokens}', or train from raw video with --videos."
    )


def _backbone(request: BranchRequest) -> InternVideo2Branch:
    """In main memory: a network that is shared out need not fit a device."""
    branch = load_branch(replace(request, device="cpu", precision=request.computes_in))
    if not isinstance(branch, InternVideo2Branch):
        raise BadSetting(f"Branch {request.name!r} cannot be fine-tuned; have: internvideo2.")
    return branch


def _source(
    request: Request,
    branch: InternVideo2Branch,
    reach: Reach,
    head: FusionConfig,
    mask: Mask,
    *,
    judge: bool = True,
) -> Source:
    protocol = request.protocols[judge]
    rank_loss = request.config.rank_loss
    keys = [DEPTH] if head.depth else []
    if request.videos is None:
        keys.append(_cached(request.store, protocol, reach, branch))
        table = request.store.table(keys, protocol=protocol, where=mask, lazy=keys[-1:])
        return CachedSource(table, keys[-1], judge=judge, rank_loss=rank_loss)
    if not keys:
        raise BadSetting("depth=false goes from cached tokens only; from raw video give depth.")
    table = request.store.table(keys, protocol=protocol, where=mask)
    cached, _ = request.store.find(protocol, DEPTH)
    details, root = cached.groups["protocol"]["details"], str(request.videos.root)
    check_same_pixels(details, protocol)
    plan = Plan(looks=(Look(protocol=protocol),), root=root, seed=int(details.get("seed", 0)))
    paths = {video.id: video.path for video in request.videos.videos}
    return ClipSource(
        table, paths, plan, workers=request.workers, memory=request.memory // 2, judge=judge,
        rank_loss=rank_loss,
    )  # fmt: skip


def _adapt(model: InternVideo2, reach: Reach, request: Request) -> None:
    """Give the network the adapter that is asked for, unless it has one."""
    channels = request.config.adapter_channels
    if model.adapter is None:
        if channels:
            model.add_adapter(channels, request.seed)
        return
    if reach.kind == POOL and request.videos is None:
        raise BadSetting(
            "This backbone has an adapter, which its cached tokens have been through; give "
            "--depth blocks=1 or more."
        )
    if request.config.adapter not in (0, model.adapter.channels):
        raise BadSetting(
            f"adapter={request.config.adapter}: this backbone has one of {model.adapter.channels} "
            f"channels already; leave the setting out."
        )


def _fusion_config(start: Bundle) -> FusionConfig:
    if not isinstance(start.head, Fusion):
        raise BadSetting(f"Fine-tuning starts from a fusion bundle; this is {start.about.head!r}.")
    return start.head.config


def _layout(head: FusionConfig, a: Architecture, depth: int) -> Layout:
    return Layout(
        width=0 if head.vector == "attn" else a.width, attn=a.pool_width, depth=depth,
        hidden=depth or head.hidden, down_norm=head.down_norm, alpha=head.alpha_mode,
        pooled=pooled_of(head),
    )  # fmt: skip


def _head_state(
    start: Bundle | None, head: FusionConfig, layout: Layout, request: Request
) -> Mapping[str, Tensor]:
    if start is not None:
        assert isinstance(start.head, Fusion)
        model = start.head.model
        assert model is not None
        if model.layout != layout:
            raise WrongFeatures(f"The bundle's head is {model.layout}, here it must be {layout}.")
        return {name: tensor.detach().clone() for name, tensor in model.tensors.items()}
    classes = len(request.store.classes)
    state = initial(layout, classes, torch.Generator().manual_seed(request.seed))
    alpha = head.alpha_start
    state["alpha"].fill_(
        float(np.log(alpha / (1 - alpha))) if head.alpha_mode == "sigmoid" else alpha
    )
    return state
