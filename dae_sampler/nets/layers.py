"""Layers that the networks share. Images are (B,C,H,W) in channels_last memory, so a channel is contiguous and
normalising or mixing channels needs no copy."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import InputError
from .amx import Convolution


def check_sizes(net: str, **sizes: tuple[int, int, int]) -> None:
    """Refuse arguments of a network that are not whole numbers within bounds, given as (value, least, most).

    Raises:
        InputError: naming the first that is out.
    """
    for name, (value, least, most) in sizes.items():
        if type(value) is not int or not least <= value <= most:
            raise InputError(f"{net} takes a whole number from {least} to {most} as {name}, got {value}")


def pad_to_multiple(x: Tensor, multiple: int) -> Tensor:
    """Repeat the right and lower edges of (B,C,H,W) until height and width are multiples."""
    below, right = (-side % multiple for side in x.shape[-2:])
    with torch.autocast(x.device.type, enabled=False):  # which would have it copied to float32 and back
        if torch.compiler.is_exporting() or below or right:  # what is exported pads, if by nothing, whatever the size
            return F.pad(x, (0, right, 0, below), mode="replicate")
    return x


def in_float32(layer: nn.Module, h: Tensor) -> Tensor:
    """``layer(h)`` outside autocast: bfloat16 logits would be off by more than r - x_tilde at small sigma.

    While training, that is little beside the noise of a batch, and float32 would take 2 % longer.
    """
    if layer.training:
        return layer(h)
    with torch.autocast(h.device.type, enabled=False):
        return layer(h.float())


class LevelEmbedding(nn.Module):
    """Fourier features of the corruption's condition, through a small MLP: (B,) -> (B, dim).

    The features' wavelengths run from 4 down to 1/4 in units of the condition, which is of order one.
    """

    def __init__(self, dim: int, features: int = 32) -> None:
        super().__init__()
        # On the CPU: checkpoints are first built on the meta device, where logspace imports torch's compiler for 1.2 s.
        octaves = torch.logspace(-2, 2, features // 2, base=2, device="cpu")
        self.register_buffer("frequencies", 2 * math.pi * octaves, persistent=False)
        self.mlp = nn.Sequential(nn.Linear(features, dim), nn.SiLU(), nn.Linear(dim, dim), nn.SiLU())

    def forward(self, condition: Tensor) -> Tensor:
        angles = condition[:, None].float() * self.frequencies
        return self.mlp(torch.cat([angles.cos(), angles.sin()], 1))


class LabelEmbedding(nn.Embedding):
    """A vector for each of ``n`` classes, and a last one for -1, any class: int64 (B,) -> (B, dim).

    They are added to the level's and begin at 0, so that a model that learns labels begins as the one without.
    """

    def __init__(self, n: int, dim: int) -> None:
        super().__init__(n + 1, dim)
        nn.init.zeros_(self.weight)

    def forward(self, label: Tensor) -> Tensor:
        return super().forward(label % self.num_embeddings)


class ChannelNorm(nn.LayerNorm):
    """LayerNorm over the channels of (B,C,H,W): several times cheaper on a CPU than GroupNorm."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ResidualBlock(nn.Module):
    """x + conv(silu(conv(norm(x)) + linear(c))), 3x3 convolutions (after He et al. 2016; Ho et al. 2020).

    One normalisation and one activation per block: the elementwise work costs as much as a convolution here, and a
    second pair of them bought nothing at equal training time.
    """

    def __init__(self, channels: int, embedding: int) -> None:
        super().__init__()
        self.norm = ChannelNorm(channels)
        self.conv1 = Convolution(channels)
        self.conv2 = Convolution(channels)
        self.condition = nn.Linear(embedding, channels) if embedding else None
        nn.init.zeros_(self.conv2.weight)  # each block starts as the identity

    def forward(self, x: Tensor, c: Tensor | None) -> Tensor:
        h = self.conv1(self.norm(x))
        if self.condition is not None:
            h += self.condition(c)[:, :, None, None]
        h = self.conv2(F.silu(h, inplace=not h.requires_grad))
        h += x
        return h


def conditions(net: nn.Module) -> list[nn.Linear]:
    """The layers of ``net``'s residual blocks that take c."""
    return [m.condition for m in net.modules() if isinstance(m, ResidualBlock) and m.condition]


class Downsample(nn.Conv2d):
    """Half the side, 2x2 pixels making one: (B,C,H,W) -> (B,C',H/2,W/2), odd sides rounded up.

    The convolution of stride 2, as the one matrix product that it is: forth and back it takes two thirds of the time of
    torch's on a CPU.
    """

    def __init__(self, channels: int, to: int) -> None:
        super().__init__(channels, to, 2, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        patches = pad_to_multiple(x, 2).permute(0, 2, 3, 1).unflatten(2, (-1, 2)).unflatten(1, (-1, 2))
        matrix = self.weight.permute(0, 2, 3, 1).flatten(1)
        return F.linear(patches.transpose(2, 3).flatten(3), matrix, self.bias).permute(0, 3, 1, 2)


class Upsample(nn.ConvTranspose2d):
    """Twice the side, each pixel making 2x2 (after Shi et al. 2016): (B,C,H,W) -> (B,C',2H,2W).

    The transposed convolution of stride 2, as the one matrix product that it is: twice as fast on a CPU as torch's.
    """

    def __init__(self, channels: int, to: int) -> None:
        super().__init__(channels, to, 2, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        b, _, height, width = x.shape
        matrix, bias = self.weight.permute(2, 3, 1, 0).flatten(0, 2), self.bias
        assert bias is not None
        patches = F.linear(x.permute(0, 2, 3, 1), matrix, bias.repeat(4)).unflatten(-1, (2, 2, -1))
        return patches.transpose(2, 3).reshape(b, 2 * height, 2 * width, -1).permute(0, 3, 1, 2)


class Attention(nn.Module):
    """x + self-attention over the pixels of (B,C,H,W), in heads of about 64 channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.heads = math.gcd(channels, max(1, channels // 64))
        self.norm = nn.LayerNorm(channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.out = nn.Linear(channels, channels)
        nn.init.zeros_(self.out.weight)

    def forward(self, x: Tensor) -> Tensor:
        b, c, height, width = x.shape
        tokens = self.norm(x.permute(0, 2, 3, 1))
        q, k, v = self.qkv(tokens).reshape(b, height * width, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        if x.is_cuda:
            mixed = F.scaled_dot_product_attention(q, k, v)
        else:  # at some 50 tokens the fused CPU kernel's backward takes a sixth of the whole step; this a fiftieth
            mixed = (q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])).softmax(-1).to(v.dtype) @ v
        return x + self.out(mixed.transpose(1, 2).reshape(b, height, width, c)).permute(0, 3, 1, 2)
