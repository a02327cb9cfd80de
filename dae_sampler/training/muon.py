"""Muon (Jordan et al. 2024): momentum whose matrices are made nearly orthogonal before each step.

torch has the same as ``torch.optim.Muon``, in bfloat16 alone and a matrix at a time. A CPU that has to emulate bfloat16
takes twenty times as long for that as in float32, longer than for the network; and on a GPU the many small products
cost more to start than to compute.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from ..device import pick_precision

MOMENTUM = 0.95
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
STEPS = 3
"""Of the Newton-Schulz iteration. Five are usual; three take a third less time, and the losses do not show it."""


class Muon(torch.optim.Optimizer):
    """Muon over matrices, its updates as large as those of AdamW, so that one learning rate does for both.

    Args:
        matrices: (m,n) each.
        lr: learning rate.
        weight_decay: decoupled weight decay.
    """

    def __init__(self, matrices: Iterable[Tensor], lr: float = 1e-3, weight_decay: float = 0.0) -> None:
        super().__init__(matrices, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self) -> None:
        """One step against the gradients; matrices without one stay."""
        for group in self.param_groups:
            alike: dict[torch.Size, list[tuple[Tensor, Tensor]]] = {}
            for w in group["params"]:
                if (grad := w.grad) is not None:
                    alike.setdefault(w.shape, []).append((w, self._ahead(w, grad)))
            for shape, pairs in alike.items():
                rate = group["lr"] * 0.2 * max(shape) ** 0.5  # an entry of such a matrix is about 1/sqrt(max(shape))
                updates = orthogonalised(torch.stack([ahead for _, ahead in pairs]))
                for (w, _), update in zip(pairs, updates, strict=True):
                    w.mul_(1 - group["lr"] * group["weight_decay"]).sub_(update, alpha=rate)

    def _ahead(self, w: Tensor, grad: Tensor) -> Tensor:
        """The momentum with this step's gradient, as Nesterov takes it."""
        state = self.state[w]
        if not state:
            state["momentum_buffer"] = torch.zeros_like(w)
        momentum = state["momentum_buffer"].lerp_(grad, 1 - MOMENTUM)
        return grad.lerp(momentum, MOMENTUM)


def orthogonalised(matrices: Tensor) -> Tensor:
    """Matrices (B,m,n) with the same singular vectors, and singular values between about 0.7 and 1.2.

    Each singular value s, in units of the root of the sum of their squares, becomes p(p(p(s))) for
    p(s) = 3.4445 s - 4.775 s^3 + 2.0315 s^5; tiny ones are raised nearly 3.4445-fold each time. In bfloat16 where the
    hardware multiplies it, else in float32.
    """
    tall = matrices.shape[1] > matrices.shape[2]
    x = (matrices.mT if tall else matrices).to(getattr(torch, pick_precision("auto", matrices.device)))
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    a, b, c = COEFFICIENTS
    for _ in range(STEPS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x.mT if tall else x).to(matrices.dtype)
