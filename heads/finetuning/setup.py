"""From a store, a backbone and settings to a fine-tuner; from a fine-tuner to files.

What is written: the tuned network as its branch's weights, so that its features can be extracted
and cached in turn, and a bundle that goes with exactly those features.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from torch import Tensor

from extract.branch import Branch
from extract.networks import weights
from features_store.schema import fingerprint
from features_store.store import Store
from heads import bundle
from heads.bundle import Bundle
from heads.data.forged import plain
from heads.data.rows import Rows
from heads.data.sides import Mask
from heads.errors import BadSetting
from heads.finetuning.backbone import Backbone
from heads.finetuning.checks import check_same_beside, check_start
from heads.finetuning.data import Source
from heads.finetuning.loop import Finetuner
from heads.finetuning.net import FinetuneNet
from heads.finetuning.processes import Processes
from heads.finetuning.request import HeadConfig, Request
from heads.finetuning.run import Run
from heads.finetuning.sharding import check_several, whole
from heads.finetuning.sources import source_of
from heads.finetuning.starting import config_of, keys_of, own_head, readout_of
from heads.finetuning.step_memory import LESS, explained
from heads.finetuning.tensor_file import write_tensors
from heads.head import Head, Probabilities
from heads.measuring.metrics import averaged, measure
from heads.parts.about import About
from heads.parts.arrays import DEPTH

__all__ = ["BACKBONE", "HEAD", "Prepared", "Request", "prepared"]
BACKBONE, HEAD = "backbone.safetensors", "head"


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A fine-tuner and what it was made of."""

    request: Request
    finetuner: Finetuner
    backbone: Backbone
    head: HeadConfig

    @property
    def branch(self) -> Branch:
        return self.backbone.branch

    @property
    def keys(self) -> tuple[str, ...]:
        """Arrays that the bundle's head will read."""
        return keys_of(self.head, self.request.store.classes)

    @property
    def beside(self) -> tuple[str, ...]:
        """Those of them that are other networks'."""
        return self.backbone.beside(self.keys)

    def source(self, mask: Mask, store: Store | None = None) -> Source:
        """Other videos, by a mask over all of a store, to be judged; close it after use."""
        request = replace(self.request, store=store or self.request.store)
        return source_of(request, self.backbone, self.finetuner.net.reach, self.beside, mask)

    def save(self, folder: Path) -> Bundle | None:
        """The network as it is now: a backbone and a bundle. All processes judge, one writes."""
        net, first = self.finetuner.net, self.finetuner.run.processes.first
        classes = self.request.store.classes
        probabilities = self.finetuner.probabilities(self.finetuner.run.validation)
        tensors = {name: whole(t).cpu().clone() for name, t in net.head.state().items()}
        path = folder / BACKBONE
        state = {**self.backbone.network.weights()}
        state |= own_head(self.backbone, net.head, tensors, classes)
        write_tensors(path, {name: _float32(t) for name, t in state.items()}, writes=first)
        if not first:
            return None
        return self._bundle(path, net.head.head(tensors, classes), probabilities).save(
            folder / HEAD
        )

    def _bundle(self, path: Path, head: Head, probabilities: Probabilities) -> Bundle:
        request, run = self.request, self.finetuner.run
        table = run.validation.table
        found = measure(averaged(probabilities), table.labels, head.classes)
        own = {key: key.partition("/")[2] for key in head.keys if self.backbone.is_own(key)}
        tuned = self.backbone.tuned(path, tuple(own.values()))
        made = tuned.offer.fingerprints
        prints = {
            key: made[own[key]] if key in own else table.fingerprints[key] for key in head.keys
        }
        asked = {**tuned.request.options, "precision": tuned.precision}
        options = "&".join(f"{name}={value}" for name, value in asked.items())
        branches = {tuned.name: f"{tuned.name}={tuned.preset}?{options}"}
        if self.beside:
            others = bundle.branch_requests(request.store, table)
            branches |= {key.partition("/")[0]: others[key.partition("/")[0]]
                         for key in self.beside}  # fmt: skip
        about = About(
            head=head.name,
            config=asdict(self.head),
            scheme=request.store.scheme,
            classes=head.classes,
            protocol=plain(table.protocol),
            fingerprints=prints,
            branches=branches,
            metrics={f"validation {name}": value for name, value in found.numbers().items()},
            provenance={
                **bundle.provenance(request.store, [request.seed], "train"),
                "finetuned": request.reach,
                "backbone": f"{BACKBONE}, beside this folder",
                "steps": self.finetuner.step,
                "accumulate": run.config.parts,
                "checkpointing": self.finetuner.net.twice,
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
    backbone = Backbone.load(request.backbone, request.protocols[0])
    reach = backbone.reach(request.reach)
    backbone.check(request.config, reach)
    start = None if request.start is None else Bundle.load(request.start)
    head = config_of(request, backbone, start)
    beside = backbone.beside(keys_of(head, request.store.classes))
    sources = [
        source_of(request, backbone, reach, beside, mask, judge=judge)
        for judge, mask in zip((False, True), request.choice.masks(request.store), strict=True)
    ]
    try:
        learn, decide = sources
        check_same_beside(learn.table, decide.table, beside)
        if start is not None:
            check_start(start, request.store, learn.table, backbone)
        readout = readout_of(request, backbone, head, start, learn.table, processes)
        if request.config.dropout and not readout.width:
            raise BadSetting("dropout is for a linear head; fuse without it, or use drop_path.")
        others = {key: learn.table.fingerprints[key] for key in beside if key != DEPTH}
        facts = {
            "reach": request.reach,
            "backbone": backbone.branch.decides["weights"],
            "head": weights.content_hash(readout.state()),
            "head config": asdict(head),
            "videos": fingerprint({s.table.protocol + str(i): s.table.ids.tolist()
                                   for i, s in enumerate(sources)}),
            "depth": learn.table.fingerprints.get(DEPTH),
            **({"beside": others} if others else {}),
        }  # fmt: skip
        backbone.adapt(request.config, reach, request.seed, cached=request.videos is None)
        net = FinetuneNet(backbone.network, readout, reach, request.config, processes)
        run = Run(
            config=request.config, train=learn, validation=decide, seed=request.seed,
            processes=processes, folder=request.out, facts=facts,
            example=backbone.branch.example if learn.raw else learn.first,
        )  # fmt: skip
        with explained(lambda: f"The network does not fit {processes.device}. {LESS}"):
            finetuner = Finetuner(net, run)
        yield Prepared(request=request, finetuner=finetuner, backbone=backbone, head=head)
    finally:
        for source in sources:
            source.close()


def _float32(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor
