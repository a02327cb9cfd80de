"""Corruptions q(x_tilde | x, level): how training images are damaged, and what the network learns to undo.

Each owns what only it knows: how its damage is scaled for the network, how its levels are drawn in training and passed
through in sampling, what the loss counts, where sampling begins, how a damaged image is shown. A level is sigma for
Gaussian noise, the damaged fraction (rate) for others, see each; it is one number, or a range ``(low, high)`` over
which a model is trained.

    gaussian(0.5)                               x + 0.5 eps, never clipped: the paper's blind DAE
    gaussian(0.02..20)                          a range, ln sigma uniform
    gaussian(0.02..20, lognormal(-0.5, 1.2))    a range with its training density
    gaussian(1/255..50/255, told=0)             a range, of which the network is not told the level
    salt-pepper(0.3)                            30 % of the pixels become 0 or 1
    masking(0.25)                               a quarter of the pixels become 0, silently (Vincent et al. 2008)
    masking(0.25)+gaussian(0.3)                 a chain, at most one part a range
    erasure(0..1)                               pixels of a binary image hidden, and the network told which
    poisson(0.001..0.1)                         photons, by gain; poisson-gaussian(0.01, 0.02) read out with noise
    speckle(0.1..0.5)                           x (1 + sigma eps)
    blur(1.5)+gaussian(0.01..0.1)               blur, then noise
    jpeg(5..50)                                 artefacts, by quality
    dead-lines(0.05)                            rows and columns that become 0

Some have no level, because the damage is in the data:

    given                                       pairs of damaged and clean images
    blindspot(1/16)                             noisy images alone: a sixteenth of the pixels hidden and predicted
    renoise(25/255, 0.5)                        noisy images of known sigma: noised again, by half of it
"""

from __future__ import annotations

from ..lazy import exports

DEFAULT = "gaussian(0.02..20, lognormal(-0.5, 1.2))"
"""What a model is trained under if nothing else is said."""

DEFAULT_OF_CROPS = "gaussian(1/255..100/255)"
"""The same on crops of pictures: the noise that photographs have."""

GIVEN = "given"
"""The same on pairs."""

__getattr__, __dir__, __all__ = exports(
    __name__,
    {
        "CORRUPTIONS": "base",
        "Corrupted": "base",
        "Corruption": "base",
        "Gaussian": "gaussian",
        "Erasure": "erasure",
        "Masking": "impulse",
        "SaltAndPepper": "impulse",
        "BlindSpot": "blindspot",
        "Blur": "blur",
        "DeadLines": "impulse",
        "Given": "given",
        "Jpeg": "jpeg",
        "Poisson": "photons",
        "PoissonGaussian": "photons",
        "Renoise": "renoise",
        "Speckle": "photons",
        "Chain": "chain",
        "import_own": "chain",
        "parse": "chain",
    },
)
