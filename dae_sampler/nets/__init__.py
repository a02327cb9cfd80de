"""Networks: ``net(x_in, c) -> logits``, with x_in the scaled x_tilde and c an embedding of the level, or None.

c has a row for each image, or one where all of them have one level.
``net.outer`` are the layers from or to pixels and from c, if the :mod:`~dae_sampler.optimizer` is to treat them apart.
"""

from __future__ import annotations

from torch import nn

from .. import spec
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
    return spec.parse_one(text).build("net", NETS, shape, conditional, extra)
