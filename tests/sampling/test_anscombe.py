"""Noise of sensors made Gaussian, and the way back."""

import numpy as np
import pytest
import torch

from dae_sampler import InputError
from dae_sampler.sampling.anscombe import PoissonGaussian, parse

WHITE = 4095.0


@pytest.fixture
def drawn():
    """Counts of a sensor at several brightnesses, (brightnesses, draws)."""
    generator = np.random.default_rng(0)
    brightness = torch.tensor([6.0, 30.0, 120.0, 600.0, 3000.0])

    def draw(q):
        photons = generator.poisson(brightness[:, None] / q.gain, (5, 200_000))
        return brightness, torch.from_numpy(q.gain * photons + q.read * generator.standard_normal(photons.shape))

    return draw


def test_the_noise_is_one_everywhere_but_in_the_dark(drawn):
    q = PoissonGaussian(3.0, 7.0)
    deviation = q.stabilise(drawn(q)[1]).std(1)
    torch.testing.assert_close(deviation[2:], torch.ones(3, dtype=torch.float64), atol=0.02, rtol=0)
    assert (deviation < 1.1).all()


@pytest.mark.parametrize("read", [0.0, 1.0, 7.0])
def test_the_mean_of_the_transform_leads_back_to_the_brightness(drawn, read):
    q = PoissonGaussian(3.0, read)
    brightness, z = drawn(q)
    error = (z.std(1) / z.shape[1] ** 0.5).float()
    back = q.to_counts(q.to_unit(z, WHITE).mean(1).float(), WHITE)
    assert ((back - brightness).abs() < 5 * error + 1e-3 * brightness).all()
    naive = ((q.to_unit(z, WHITE).mean(1) / q.level(WHITE) + q.stabilise(torch.zeros(()))) / 2).square() * 3
    assert ((naive - 0.375 * 3 - read**2 / 3 - brightness).abs() > 5 * error)[1:3].any()  # what the bias would be


def test_black_is_zero_and_white_is_one_and_texts_are_read():
    q = parse("poisson-gaussian(2, 3)")
    unit = q.to_unit(torch.tensor([0.0, WHITE]), WHITE)
    torch.testing.assert_close(unit, torch.tensor([0.0, 1.0]), atol=1e-6, rtol=1e-6)
    assert str(q) == "poisson-gaussian(2, 3)"
    assert parse("25/255") is None
    for text in (
        "poisson(2)",
        "poisson-gaussian(2)",
        "poisson-gaussian(0, 1)",
        "poisson-gaussian(1, -1)",
        "poisson-gaussian(a, 1)",
        "poisson-gaussian(1..2, 1)",
    ):
        with pytest.raises(InputError, match="poisson-gaussian"):
            parse(text)
