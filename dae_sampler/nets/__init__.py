"""Networks: ``net(x_in, c) -> logits``, with x_in the scaled x_tilde and c one embedding of level and label, or None.

c has a row for each image, or one where all of them have one level and label. A network, also one of yours, is a
``torch.nn.Module`` that is made by ``Net(shape, conditional, extra, ...)``: shape (C, H, W) of the images, whether
there is a c, and how many channels x_in has beyond C; what follows comes from its text. It may have attributes:

- ``any_size`` (of the class): whether it takes a shape of (C, 0, 0), which is images of any size; then it also has
  ``stride`` and ``radius``: it is equivariant to shifts by the one, and no pixel depends on others farther than the
  other;
- ``embedding``: the length of c, 0 (or none) without one;
- ``outer``: layers from or to pixels and from c, which the :mod:`~dae_sampler.training.optimizer` treats apart;
- ``stages``: names of its inner activations, and ``inner(x_in, c)``, which yields them in that order, (B, features) or
  (B, features, H', W'); ``code`` is a bottleneck, which all that the network knows of an image passes through.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor, nn

from .. import spec
from ..errors import InputError
from .conv import Conv
from .dense import Dense
from .unet import UNet

NETS: dict[str, type[nn.Module]] = {"dense": Dense, "conv": Conv, "unet": UNet}


def build(text: str, shape: tuple[int, int, int], conditional: bool = True, extra: int = 0) -> nn.Module:
    """The network that ``text`` describes, for images of ``shape`` (C, H, W), freshly initialised.

    Its input has ``extra`` channels more. A network that is not ``conditional`` has no weights for c, and an
    ``embedding`` of 0.

    Examples of texts: ``unet``, ``unet(32, 64, 128)``, ``dense(128, 64, 28, 64, 128)``, ``conv(code=64)``.

    Raises:
        InputError: the text does not parse, or names an unknown network or argument.
    """
    part = spec.parse_one(text)
    if ":" in part.name and part.name not in NETS:
        raise InputError(
            f"{part.name} is not a built-in network: if you trust it, name it by `net`, "
            "or in Python by dae_sampler.nets.import_own"
        )
    if not all(shape) and not declared(NETS.get(part.name), "any_size", part.name not in NETS):
        raise InputError(f"{part.name} takes images of one size: choose unet for pictures of any size")
    net = part.build("net", NETS, shape, conditional, extra)
    weights = dict(net.named_parameters())
    if kept := next((name for name in net.state_dict() if name not in weights), None):
        raise InputError(
            f"{part.name} keeps {kept} beside its weights, which training does not average: take layers without, "
            "such as GroupNorm in place of BatchNorm, or register it with persistent=False"
        )
    if conditional and not embedding_of(net):
        raise InputError(f"{text} takes no level and no label: set its attribute embedding, or train it at one level")
    return net


def embedding_of(net: nn.Module) -> int:
    """The length of the c that a network takes, 0 without one."""
    return declared(net, "embedding", 0)


def stages_of(net: nn.Module) -> tuple[str, ...]:
    """Names of the inner activations that a network shows, none without any."""
    return declared(net, "stages", ())


def inner_of(net: nn.Module) -> Callable[..., Iterator[Tensor]]:
    """What yields the inner activations of x and c, in the order of :func:`stages_of`."""
    return declared(net, "inner", None)


def declared(net: object, name: str, default: Any) -> Any:
    """An attribute that networks may have, or the default."""
    return getattr(net, name, default)


def import_own(text: str) -> None:
    """Import the networks that ``text`` names as ``module:Class``; see :func:`.spec.import_own`."""
    spec.import_own(text, "net", nn.Module, NETS)
