"""What strategies of training compute: LSDA's augmentations with the released code's draws."""

import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.parity.rows import EXACT, Kind, Row, compare, tensors, weights_of
from extract.networks import weights
from heads.training.strategies import awp, lsda, qad, ucf

_LSDA, _UCF, _HSIC, _AWP = 1e-5, 1e-5, 2e-5, 1e-5
_HSIC_INPUTS = {"x": "x", "y": "y", "i": "independent"}


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


def _qad_rows(path: Path, described: dict[str, Any]) -> Iterator[Row]:
    """HSIC and perturbed weights as their usual sources have them; QAD's own code is not known."""
    del described
    golden, name = tensors(path), path.name
    given = {letter: golden[f"hsic.{word}"] for letter, word in _HSIC_INPUTS.items()}
    for sigma in (1.0, 0.5, 6.0):
        kernels = {letter: qad.kernel(z_md, sigma) for letter, z_md in given.items()}
        end = f"sigma{sigma:g}"
        found = qad.centred(kernels["x"])
        key = f"hsic.kernel_right_centred_x.{end}"
        yield compare(name, key, found, golden[key], _HSIC)
        for pair in ("xy", "xi", "xx"):
            k, m = kernels[pair[0]], kernels[pair[1]]
            for what, ours in (
                ("regular", qad.hsic(k, m)),
                ("normalized", qad.normalised_hsic(k, m)),
            ):
                key = f"hsic.{what}.{pair}.{end}"
                largest = float(golden[key])
                tolerance = 1e-3 * largest if what == "regular" else _HSIC
                yield compare(name, key, ours, golden[key], tolerance)
    x, y = (given[letter].clone().requires_grad_() for letter in "xy")
    grads = torch.autograd.grad(qad.hsic(qad.kernel(x, 1), qad.kernel(y, 1)), [x, y])
    for letter, ours in zip("xy", grads, strict=True):
        key = f"hsic.grad_{letter}.sigma1"
        yield compare(name, key, ours, golden[key], 1e-3 * float(golden[key].abs().max()))
    for kind in ("linear", "gauss_dim"):
        k, m = (
            z @ z.T if kind == "linear" else qad.kernel(z, 1.0) for z in (given["x"], given["y"])
        )
        for what, ours in (
            ("unbiased", qad.unbiased_hsic(k, m)), ("cka", qad.normalised_hsic(k, m)),
        ):  # fmt: skip
            key = f"formula.{what}.{kind}"
            large = kind == "linear" and what == "unbiased"
            tolerance = 1e-6 * float(golden[key]) if large else _HSIC
            yield compare(name, key, ours, golden[key], tolerance)
    qualities = [qad.kernel(golden[f"quality.{each}"], 1.0) for each in ("raw", "c23", "c40")]
    pairs = torch.stack([qad.hsic(k, m) for k, m in itertools.combinations(qualities, 2)])
    key = "quality.pairs_regular_sigma1"
    yield compare(name, key, pairs, golden[key], 1e-3 * float(golden[key].min()))
    yield from _awp_rows(path)


def _awp_rows(path: Path) -> Iterator[Row]:
    """A step at perturbed weights, taken back afterwards."""
    golden = tensors(path)
    net = nn.Sequential(nn.Linear(10, 8), nn.ReLU(), nn.BatchNorm1d(8), nn.Linear(8, 3))
    weights.fill(net, {k.removeprefix("awp."): v for k, v in weights_of(path).items()}, model="AWP")
    named = dict(net.named_parameters())
    matrices = {n: p for n, p in named.items() if p.ndim > 1}

    def loss() -> Tensor:
        return functional.cross_entropy(net(golden["awp.x"]), golden["awp.y"])

    before = loss()
    yield compare(path.name, "awp.loss_before", before, golden["awp.loss_before"], _AWP)
    moves = awp.worse(list(matrices.values()), torch.autograd.grad(before, list(matrices.values())))
    for key, move in zip(matrices, moves, strict=True):
        yield compare(path.name, f"awp.diff.{key}", move, golden[f"awp.diff.{key}"], 10 * _AWP)
    with torch.no_grad():
        torch._foreach_add_(list(matrices.values()), moves, alpha=0.01)
    yield from _each(path, "perturbed", named, golden)
    perturbed = loss()
    yield compare(path.name, "awp.loss_perturbed", perturbed, golden["awp.loss_perturbed"], _AWP)
    perturbed.backward()  # type: ignore[no-untyped-call]
    grads = {n: p.grad for n, p in named.items() if p.grad is not None}
    yield from _each(path, "grad_at_perturbed", grads, golden)
    torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4).step()
    with torch.no_grad():
        torch._foreach_add_(list(matrices.values()), moves, alpha=-0.01)
    yield from _each(path, "after", named, golden)


def _each(
    path: Path, what: str, found: Mapping[str, Tensor], golden: Mapping[str, Tensor]
) -> Iterator[Row]:
    for name, ours in found.items():
        key = f"awp.{what}.{name}"
        yield compare(path.name, key, ours, golden[key], _AWP)


_KINDS: dict[str, Kind] = {"lsda": _lsda_rows, "ucf": _ucf_rows, "qad": _qad_rows}
