"""The level of noise in an image, against data of which the likelihood is known."""

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import GaussianData
from PIL import Image

import dae_sampler
from dae_sampler import DenoisingAutoencoder, InputError, load, save
from dae_sampler.corruption import parse
from dae_sampler.noise import ImageNoise
from dae_sampler.sampling.estimate import _crops, estimate_level, expected_error

CHELSEA = Path(__file__).parents[2] / "docs" / "images" / "chelsea.png"


def noisy(dae, sigma, seed):
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(2, *dae.shape, generator=generator)
    return dae.mean + dae.variance**0.5 * noise[0] + sigma * noise[1]


@pytest.mark.parametrize("sigma", [0.1, 0.4, 2.0])
def test_the_estimate_is_that_of_maximum_likelihood(sigma):
    """For N(mean, s) the likelihood is highest where s + sigma^2 is the mean square of x - mean."""
    dae = GaussianData(mean=0.5, variance=0.0025, corruption="gaussian(0.01..10)", shape=(1, 16, 16))
    for seed in range(5):
        x = noisy(dae, sigma, seed)
        exact = ((x - 0.5).square().mean().item() - 0.0025) ** 0.5
        assert estimate_level(dae, x) == pytest.approx(exact, rel=5e-3)
        assert exact == pytest.approx(sigma, rel=0.2)


def test_what_is_cut_off_at_black_and_white_is_not_asked():
    """Half the pixels of a saved picture lie near black, where half of the noise is missing."""
    generator = torch.Generator().manual_seed(0)
    clean = torch.zeros(1, 64, 64)
    clean[:, :, 32:] = 0.5
    x = clean + 0.1 * torch.randn(clean.shape, generator=generator)

    class Knows(GaussianData):
        def __call__(self, x, level):
            return clean + 1e-3 * x  # a denoiser that is all but certain

    dae = Knows(mean=0.5, variance=0.25, corruption="gaussian(0.01..1)", shape=(1, 64, 64))
    assert estimate_level(dae, x) == pytest.approx(0.1, rel=0.03)
    assert estimate_level(dae, x.clamp(0, 1)) == pytest.approx(0.1, rel=0.03)


def test_estimates_stay_inside_what_the_model_knows():
    dae = GaussianData(mean=0.5, variance=0.01, corruption="gaussian(0.1..1)", shape=(1, 16, 16))
    assert estimate_level(dae, torch.full((1, 16, 16), 0.5)) == 0.1
    assert estimate_level(dae, 9 * torch.randn(1, 16, 16)) == 1
    for end in (0.1, 1):  # also where they are kept in float32, which is a little beyond
        x = torch.full((2, 1, 16, 16), 0.5)
        assert dae_sampler.denoise(dae, x, level=torch.tensor([end, end]), steps=1).shape == x.shape
    assert dae_sampler.denoise(dae, torch.full((2, 1, 16, 16), 0.5), steps=1).shape == (2, 1, 16, 16)


def test_denoising_estimates_the_level_of_each_image():
    dae = GaussianData(mean=0.5, variance=0.0025, corruption="gaussian(0.01..10)", shape=(1, 16, 16))
    x = torch.stack([noisy(dae, sigma, 3) for sigma in (0.1, 0.5)])
    levels = [estimate_level(dae, image) for image in x]
    for level in ("auto", None):
        made = dae_sampler.denoise(dae, x, level=level, steps=1, sampler="euler")
        expected = dae_sampler.denoise(dae, x, level=torch.tensor(levels), steps=1, sampler="euler")
        torch.testing.assert_close(made, expected)
        torch.testing.assert_close(dae_sampler.denoise(dae, x[:1], level=level, steps=1, sampler="euler"), expected[:1])


def test_noise_that_a_jpeg_file_blurred_is_found(tmp_path):
    with Image.open(CHELSEA) as picture:
        x = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[:, 60:156, 100:196].float() / 255
    photo = load("photo-colour")
    assert estimate_level(photo, x) < 5 / 255  # what fur looks like is no noise
    noisy = (x + 25 / 255 * ImageNoise(0, 0, 1).normal((1, *x.shape))[0]).clamp(0, 1)
    Image.fromarray((noisy * 255).round().byte().permute(1, 2, 0).numpy()).save(tmp_path / "noisy.jpg", quality=90)
    with Image.open(tmp_path / "noisy.jpg") as picture:
        saved = torch.from_numpy(np.array(picture)).permute(2, 0, 1).float() / 255
    assert estimate_level(photo, saved) == pytest.approx(25 / 255, rel=0.3)


@pytest.mark.parametrize("text", ["gaussian(0.5)", "masking(0.1..0.9)", "masking(0.2)+gaussian(0.1..1)"])
def test_models_without_a_score_over_a_range_estimate_nothing(text):
    with pytest.raises(InputError, match="give `level`"):
        estimate_level(DenoisingAutoencoder("dense(4)", text, (1, 4, 4)), torch.rand(1, 4, 4))


def test_the_command_says_what_it_estimated_and_takes_fractions(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save(DenoisingAutoencoder("unet(8)", "gaussian(1/255..1)", (1, None, None)), "any.safetensors")
    pixels = np.random.default_rng(0).integers(256, size=(30, 40), dtype=np.uint8)
    Image.fromarray(pixels).save("a.png")
    Image.fromarray(np.stack([pixels] * 2 + [pixels[::-1]], 2)).save("b.png")
    text = command("denoise", "any.safetensors", "a.png", "--steps", 1, "--out", "c.png")
    assert "estimated level: " in text
    assert Image.open("c.png").size == (40, 30)
    text = command("denoise", "any.safetensors", "b.png", "--level", "25/255", "--out", "d.png")
    assert "from level 0.0980392" in text
    assert Image.open("d.png").mode == "RGB"
    assert "no number" in command("denoise", "any.safetensors", "a.png", "--level", "25/", "--out", "e.png", code=2)


def test_the_expected_error_is_the_posterior_deviation_of_gaussian_data(gaussian_data):
    data = gaussian_data(0.4, 0.04, shape=(1, 6, 5))
    made = expected_error(data, torch.rand(2, 1, 6, 5), 0.3, probes=2)
    torch.testing.assert_close(made, torch.full((2, 1, 6, 5), (0.04 * 0.09 / 0.13) ** 0.5))


def test_the_expected_error_of_a_large_picture_goes_in_tiles(gaussian_data, monkeypatch):
    data, seen = gaussian_data(0.4, 0.04, shape=(1, 0, 0)), []
    monkeypatch.setattr(type(data), "__call__", lambda self, x, level: seen.append(x.shape) or 0.25 * x)
    made = expected_error(data, torch.rand(1, 1, 9, 1100), 0.3, probes=1)
    torch.testing.assert_close(made, torch.full((1, 1, 9, 1100), 0.3 * 0.5))
    assert len(seen) == 3


def test_the_expected_error_of_correlated_pixels_is_the_diagonal_of_their_covariance():
    class Pair:  # two equal pixels of N(0, 1)
        corruption, device, shape = parse("gaussian(0.01..20)"), torch.device("cpu"), (1, 1, 2)

        def __call__(self, x, sigma):
            return x.sum(3, keepdim=True).expand(x.shape) / (2 + sigma**2)

    made = expected_error(Pair(), torch.rand(1, 1, 1, 2), 0.5, probes=4000)
    torch.testing.assert_close(made, torch.full((1, 1, 1, 2), (0.25 / 2.25) ** 0.5), atol=0.01, rtol=0)


def test_crops_reach_every_side_of_a_picture_between_one_and_two_of_them():
    seen = torch.zeros(1, 150, 191)
    for i in range(150):
        seen[0, i] = i * 191 + torch.arange(191)
    found = _crops(seen).unique()
    assert len(found) == seen.numel()
