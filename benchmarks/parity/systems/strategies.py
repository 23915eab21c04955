"""What strategies of training compute: LSDA's augmentations with the released code's draws."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.parity.rows import EXACT, Kind, Row, compare, tensors
from heads.training.strategies import lsda, ucf

_LSDA, _UCF = 1e-5, 1e-5


def kind_of(path: Path, described: dict[str, Any]) -> Kind | None:
    del described
    return _KINDS.get(path.stem)


def _lsda_rows(path: Path, described: dict[str, Any]) -> Iterator[Row]:
    """Members of a generator are samples of vectors (`vec`), or, as released, channels of maps."""
    del described
    golden = tensors(path)
    for what, f in (("vec", golden["vec.f"]), ("aug", golden["f_outputs"].flatten(3))):
        prefix = "vec.aug" if what == "vec" else "aug"
        groups, count, members, size = f.shape
        z_nd = f.reshape(-1, size)
        cells = torch.arange(count).repeat(groups).repeat_interleave(members)
        mean_nd, hard = lsda.centres(z_nd, cells)
        rows = torch.arange(count) * members  # of the first group
        yield compare(
            path.name, f"{what}.domain_mean", mean_nd[rows],
            golden[f"{what}.domain_mean"].reshape(count, -1), _LSDA,
        )  # fmt: skip
        theirs = golden[f"{what}.hard_index"]  # among a generator's members, group by group
        picked = (theirs // members * count + torch.arange(count)) * members + theirs % members
        yield compare(path.name, f"{what}.hard_index", hard[rows], picked, EXACT)
        ways = {"out": golden[f"{prefix}.choice"].flatten().repeat_interleave(members)}
        for way, name in enumerate(("interpolate", "extrapolate", "noise", "difference")):
            ways[f"only_{name}"] = torch.full_like(cells, way)
        for name, way_n in ways.items():
            if f"{what}.{name}" in golden:
                draws = _draws(golden, prefix, way_n, members)
                found = lsda.augmented(z_nd, cells, draws)
                theirs = golden[f"{what}.{name}"].reshape(found.shape)
                yield compare(path.name, f"{what}.{name}", found, theirs, _LSDA)
    f, perm = golden["f_outputs"], golden["mix.perm"]
    partners = (torch.arange(len(f))[:, None] * f.shape[1] + perm).flatten()
    share = golden["mix.lam"].repeat_interleave(f.shape[1])
    flat = f.flatten(0, 1).flatten(1)
    found = lsda.mixed(flat, flat[partners], share).reshape(f.shape)
    yield compare(path.name, "mix.out", found, golden["mix.out"], _LSDA)


def _draws(golden: dict[str, Tensor], prefix: str, way: Tensor, members: int) -> lsda.Draws:
    eps = golden[f"{prefix}.eps"]
    sigma = golden[f"{prefix}.sigma"].reshape(-1, 1)
    place = torch.arange(len(way))
    first = place - place % members
    return lsda.Draws(
        way=way, length=golden[f"{prefix}.lam"].flatten(), first=first, second=first + 1,
        noise_kd=(sigma * eps.reshape(len(way), -1))[way == lsda.NOISE],
    )  # fmt: skip


def _ucf_rows(path: Path, described: dict[str, Any]) -> Iterator[Row]:
    """The contrastive term with given pairs, and its gradients."""
    del described
    golden = tensors(path)
    common, specific = (golden[f"vec.{n}"].requires_grad_() for n in ("common", "specific"))
    half = len(common) // 2
    real, fake = slice(0, half), slice(half, None)
    like = specific[golden["vec.spe_index"]]
    terms = {}
    for margin in (ucf.UcfOptions().margin, 1.0):
        (real_like, fake_like) = common[golden["vec.real"]], common[golden["vec.fake"]]
        terms[margin] = torch.stack([
            ucf.contrast(common[real], real_like, fake_like, margin).mean(),
            ucf.contrast(common[fake], fake_like, real_like, margin).mean(),
            ucf.contrast(specific[real], like[real], like[fake], margin).mean(),
            ucf.contrast(specific[fake], like[fake], like[real], margin).mean(),
        ])  # fmt: skip
    mine, one = terms.values()
    grads = torch.autograd.grad(mine.sum(), [common, specific], retain_graph=True)
    found = {"terms": mine, "terms_margin1": one[:2], "loss": mine.sum()}
    found |= dict(zip(("grad_common", "grad_specific"), grads, strict=True))
    for name, ours in found.items():
        yield compare(path.name, f"vec.{name}", ours, golden[f"vec.{name}"], _UCF)


_KINDS: dict[str, Kind] = {"lsda": _lsda_rows, "ucf": _ucf_rows}
