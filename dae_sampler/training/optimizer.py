"""The optimiser: Muon for weight matrices, torch's AdamW for the rest.

Muon orthogonalises the momentum of a matrix, so that no direction dominates its update; how it compares with AdamW is
in docs/dev/log.md. A convolution's weight (O,I,h,w) is the matrix (O, h w I).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from ..nets import declared
from .muon import Muon

if TYPE_CHECKING:
    from ..dae import DenoisingAutoencoder

OPTIMIZERS = ("muon", "adamw")


class Optimizer:
    """One optimiser over all weights of a model.

    Muon takes the matrices inside the network; the layers between pixels and features are better off with AdamW. The
    small embedding of the level, with the layers that take it, trains as well by AdamW, which is faster.

    Args:
        dae: the model.
        name: one of ``OPTIMIZERS``; ``"adamw"`` is AdamW on the matrices too.
        weight_decay: decoupled weight decay.
    """

    STATE: ClassVar[dict[type[torch.optim.Optimizer], tuple[str, ...]]] = {
        torch.optim.AdamW: ("exp_avg", "exp_avg_sq", "step"),
        Muon: ("momentum_buffer",),
    }

    def __init__(self, dae: DenoisingAutoencoder, name: str, weight_decay: float) -> None:
        self.weights = dict(dae.named_parameters())
        outer = {weight for layer in declared(dae.net, "outer", ()) for weight in layer.parameters()}
        self.matrices = {
            k: _channels_last(w.detach()).view(len(w), -1)  # a view, to change the weight itself
            for k, w in self.weights.items()
            if name == "muon" and k.startswith("net.") and w.ndim > 1 and w not in outer
        }
        rest = {k: w for k, w in self.weights.items() if k not in self.matrices}
        adamw = torch.optim.AdamW(rest.values(), betas=(0.9, 0.99), weight_decay=weight_decay, fused=True)
        self.parts: list[tuple[torch.optim.Optimizer, Mapping[str, Tensor]]] = [(adamw, rest)]
        if self.matrices:
            self.parts.append((Muon(self.matrices.values(), weight_decay=weight_decay), self.matrices))

    def step(self, rate: float) -> None:
        """One step against the gradients at learning rate ``rate``; the gradients are dropped."""
        for name, matrix in self.matrices.items():
            grad = self.weights[name].grad
            matrix.grad = None if grad is None else _channels_last(grad).reshape(matrix.shape)
        for part, _ in self.parts:
            for group in part.param_groups:
                group["lr"] = rate
            part.step()
            part.zero_grad()
        for name in self.matrices:
            self.weights[name].grad = None

    def state(self) -> dict[str, Tensor]:
        """Everything needed to go on, to save."""
        return {
            f"{key}.{name}": part.state[weight][key]
            for part, weights in self.parts
            for name, weight in weights.items()
            for key in self.STATE[type(part)]
        }

    def restore(self, saved: dict[str, Tensor]) -> None:
        """Undo :meth:`state`.

        Raises:
            KeyError, RuntimeError: it belongs to other weights.
        """
        for part, weights in self.parts:
            for name, weight in weights.items():
                for key in self.STATE[type(part)]:
                    like = weight.new_zeros(()) if key == "step" else torch.zeros_like(weight)
                    part.state[weight][key] = like.copy_(saved[f"{key}.{name}"])


def _channels_last(weight: Tensor) -> Tensor:
    """(O,I,h,w) -> (O,h,w,I); others as they are."""
    return weight.permute(0, 2, 3, 1) if weight.ndim == 4 else weight
