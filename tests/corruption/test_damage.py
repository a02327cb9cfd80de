"""Damage whose effect is known exactly."""

import io
import math

import numpy as np
import pytest
import torch
from PIL import Image

from dae_sampler import DenoisingAutoencoder
from dae_sampler.corruption import parse
from dae_sampler.corruption.photons import counted
from dae_sampler.noise import ImageNoise, StepNoise
from dae_sampler.tiles import Tiled


def drawn(text, x, seed=0):
    corruption = parse(text)
    return corruption.draw(x, torch.tensor(corruption.high), StepNoise(seed, 0)).x_tilde


@pytest.mark.parametrize("rate", [0.3, 4.0, 1e5])
def test_counts_have_the_law_of_photons(rate):
    n = 200_000
    counts = counted(torch.full((4, 1, 100, n // 400), rate), StepNoise(0, 0)).double().flatten()
    assert torch.equal(counts, counts.round())
    assert counts.mean().item() == pytest.approx(rate, abs=5 * math.sqrt(rate / n))
    assert counts.var().item() == pytest.approx(rate, rel=0.03)
    below = torch.special.gammaincc(torch.tensor(math.floor(rate) + 1.0).double(), torch.tensor(rate).double())
    assert (counts <= math.floor(rate)).double().mean().item() == pytest.approx(below.item(), abs=0.005)


def test_counts_of_an_image_do_not_depend_on_its_batch():
    rate = torch.rand(6, 1, 4, 4) * 30
    whole = counted(rate, ImageNoise(0, 0, 6))
    assert torch.equal(counted(rate[4:], ImageNoise(0, 4, 2)), whole[4:])


def test_robbins_ratio_is_the_posterior_mean_of_photons():
    """E[x | k] = g (k+1) p(k+1)/p(k), for pixels that are 0.2 or 0.8, equally often."""
    gain, n = 0.1, 400_000
    x = torch.where(torch.rand(4, 1, 100, n // 400) < 0.5, 0.2, 0.8)
    counts = (drawn(f"poisson({gain})", x) / gain).round().long()
    p = torch.bincount(counts.flatten()).double() / n
    for k in range(9):
        ratio = gain * (k + 1) * p[k + 1] / p[k]
        posterior = x[counts == k].double().mean()
        assert ratio.item() == pytest.approx(posterior.item(), rel=0.05)


def test_a_blurred_point_has_the_variance_of_the_blur():
    x = torch.zeros(2, 1, 41, 31)
    x[:, :, 20, 15] = 1
    corruption = parse("blur(1..3)")
    blurred = corruption(x, torch.tensor([1.5, 2.5])[:, None, None, None], None)
    for width, image in zip((1.5, 2.5), blurred, strict=True):
        place = (torch.arange(41.0) - 20)[:, None].square(), (torch.arange(31.0) - 15).square()
        assert image.sum().item() == pytest.approx(1)
        assert [(image[0] * at).sum().item() for at in place] == pytest.approx([width**2] * 2, rel=0.01)
    assert torch.equal(corruption(x, torch.tensor(0.0), None), x)


def test_a_blur_leaves_flat_images_alone():
    flat = torch.full((1, 3, 9, 5), 0.3)
    torch.testing.assert_close(drawn("blur(4)", flat), flat)


def test_dead_lines_are_whole_rows_and_columns():
    x = torch.rand(400, 3, 16, 12) + 0.5
    damaged = drawn("dead-lines(0.2)", x)
    dead = damaged == 0
    lines = dead.all(3, keepdim=True).all(1, keepdim=True) | dead.all(2, keepdim=True).all(1, keepdim=True)
    assert torch.equal(dead, lines.expand_as(dead))
    assert torch.equal(damaged[~dead], x[~dead])
    assert dead.float().mean().item() == pytest.approx(1 - 0.8**2, abs=0.01)


@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_is_that_of_a_file(channels):
    x = torch.rand(1, channels, 24, 40)
    pixels = (x[0] * 255).round().byte().numpy()
    file = io.BytesIO()
    Image.fromarray(pixels[0] if channels == 1 else np.moveaxis(pixels, 0, 2)).save(file, "JPEG", quality=30)
    expected = np.asarray(Image.open(file), np.float32).reshape(24, 40, channels)
    torch.testing.assert_close(drawn("jpeg(30)", x)[0], torch.from_numpy(np.moveaxis(expected, 2, 0) / 255))


def test_jpeg_is_better_at_higher_quality_and_has_a_quality_for_each_image():
    x = (
        torch.nn.functional.interpolate(torch.rand(1, 1, 8, 8), size=64, mode="bicubic")
        .clamp(0, 1)
        .expand(3, 1, 64, 64)
    )
    made = parse("jpeg(5..95)")(x, torch.tensor([5.0, 30, 95])[:, None, None, None], None)
    errors = (made - x).square().mean((1, 2, 3)).tolist()
    assert errors == sorted(errors, reverse=True)
    assert torch.equal(made[1:2], drawn("jpeg(30)", x[1:2]))
    assert parse("jpeg(5..95)").schedule(9).tolist() == pytest.approx(np.linspace(5, 95, 10))


def test_tiles_keep_to_the_squares_of_a_jpeg():
    dae = DenoisingAutoencoder("unet(8, 8)", "gaussian(0.1)+jpeg(5..95)", (1, None, None))
    tiled = Tiled(dae, 40, 4)
    assert (tiled.tile, tiled.halo) == (48, 16)
    plain = Tiled(DenoisingAutoencoder("unet(8, 8)", "gaussian(0.1)", (1, None, None)), 40, 4)
    assert (plain.tile, plain.halo) == (40, 4)
