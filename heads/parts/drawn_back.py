"""Logistic regression that begins with given weights and is drawn back to them.

The penalty is on what weights and biases are changed by, so that few samples change little and
none change nothing.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

_TOLERANCE = 1e-7


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """Classes' weights (C, d) and biases (C)."""

    weight: Tensor
    bias: Tensor


def adapted(start: Trained, x_nd: Tensor, labels_n: Tensor, weights_n: Tensor, c: float) -> Trained:
    """The one optimum of the weighted cross-entropy, `c` times, and half the squared change."""
    weight_dc = torch.zeros(start.weight.T.shape, dtype=torch.float64, requires_grad=True)
    bias_c = torch.zeros(start.bias.shape, dtype=torch.float64, requires_grad=True)
    x_nd, before_nc = x_nd.double(), (x_nd @ start.weight.T + start.bias).double()
    optimiser = torch.optim.LBFGS(
        [weight_dc, bias_c], max_iter=500, tolerance_grad=_TOLERANCE, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        optimiser.zero_grad()
        logits_nc = before_nc + x_nd @ weight_dc + bias_c
        missed_n = torch.nn.functional.cross_entropy(logits_nc, labels_n, reduction="none")
        total = c * (weights_n.double() * missed_n).sum()
        total = total + (weight_dc.square().sum() + bias_c.square().sum()) / 2
        total.backward()  # type: ignore[no-untyped-call]
        return total

    optimiser.step(loss)  # type: ignore[no-untyped-call]
    return Trained(
        weight=start.weight + weight_dc.detach().T.float(),
        bias=start.bias + bias_c.detach().float(),
    )
