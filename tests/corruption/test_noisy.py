"""Learning from noisy images alone, against what is known exactly."""

import math

import pytest
import torch

from dae_sampler import InputError, denoise
from dae_sampler.corruption import blindspot, parse
from dae_sampler.losses import bce
from dae_sampler.noise import ImageNoise, StepNoise

ZERO = torch.tensor(0.0)


class Exact:
    """A denoiser that computes ``r`` of what it sees."""

    shape, device = (1, 0, 0), torch.device("cpu")

    def __init__(self, text, r):
        self.corruption, self.r, self.calls = parse(text), r, 0

    def __call__(self, x, level):
        self.calls += 1
        return self.r(x)


def test_bce_has_its_minimum_at_the_mean_of_targets_outside_the_unit_interval():
    targets = 0.3 + 2 * torch.randn(20_000, dtype=torch.float64)
    mean = targets.mean()
    z = torch.linspace(-6, 6, 121, dtype=torch.float64).requires_grad_()
    losses = torch.stack([bce(one.expand_as(targets), targets).mean() for one in z])
    (slope,) = torch.autograd.grad(losses.sum(), z)
    torch.testing.assert_close(slope, torch.sigmoid(z.detach()) - mean)  # 0 where sigmoid(z) is the mean, rising
    assert losses.argmin() == (torch.sigmoid(z) - mean).abs().argmin()
    assert bce(torch.tensor(30.0), torch.tensor(3.0)) < 0  # and it may be negative


def test_blind_spots_hide_a_share_and_weigh_it_alone():
    x = torch.rand(50, 3, 40, 40)
    x_tilde, target, weight = parse("blindspot(0.05)").draw(x, ZERO, StepNoise(0, 0))
    hidden = weight[:, :1] > 0
    assert torch.equal(target, x)
    assert hidden.float().mean().item() == pytest.approx(0.05, abs=0.003)
    torch.testing.assert_close(weight.mean((1, 2, 3)), torch.ones(50))
    assert torch.equal(x_tilde[~hidden.expand_as(x)], x[~hidden.expand_as(x)])
    assert (x_tilde != x)[hidden.expand_as(x)].all()  # never by itself, at the edges too
    assert (parse("blindspot(0.001)").draw(x[..., :4, :4], ZERO, StepNoise(0, 0)).weight.sum((1, 2, 3)) > 0).all()


def test_a_hidden_pixel_becomes_one_of_its_neighbours():
    place = torch.arange(12.0)[:, None] * 100 + torch.arange(9.0)
    where = torch.ones(1, 1, 12, 9, dtype=torch.bool)
    made = blindspot.hide(place.expand(2000, 1, 12, 9), where, StepNoise(0, 0))
    rows, columns = (made // 100 - place // 100), (made % 100 - place % 100)
    assert rows.abs().max() == columns.abs().max() == 2
    inner = (rows * 5 + columns)[:, 0, 5, 4]
    assert torch.bincount((inner + 12).long(), minlength=25).tolist() == pytest.approx(
        [2000 / 24] * 12 + [0] + [2000 / 24] * 12, abs=50
    )


def test_restored_pixels_do_not_depend_on_their_own_value():
    blur = Exact("blindspot(0.02)", lambda x: torch.nn.functional.avg_pool2d(x, 3, 1, 1))
    x = torch.rand(1, 1, 17, 13)
    before = denoise(blur, x, seed=3)
    assert blur.calls == 16
    for row, column in [(0, 0), (8, 6), (16, 12), (9, 0)]:
        other = x.clone()
        other[0, 0, row, column] += 0.5
        after = denoise(blur, other, seed=3)
        assert after[0, 0, row, column] == before[0, 0, row, column]
        assert (after != before).any()


def test_with_known_noise_the_pixels_own_value_is_used_exactly():
    """Pixels that are N(1/2, s) whatever the others are: mu = 1/2, and x_hat the posterior mean."""
    s, sigma = 0.01, 0.07
    x = 0.5 + math.sqrt(s) * torch.randn(1, 1, 64, 64) + sigma * torch.randn(1, 1, 64, 64)
    flat = Exact("blindspot(0.02)", lambda x: torch.full_like(x, 0.5))
    expected = 0.5 + s / (s + sigma**2) * (x - 0.5)
    torch.testing.assert_close(denoise(flat, x, noise=sigma), expected.clamp(0, 1), atol=0.02, rtol=0)
    assert (denoise(flat, x) == 0.5).all()
    torch.testing.assert_close(denoise(flat, x, noise=5.0), torch.full_like(x, 0.5))  # no more variance than noise


def test_the_variance_left_is_that_of_each_place_and_none_where_there_is_noise_alone():
    sigma, z = 0.1, torch.randn(1, 1, 90, 180, generator=torch.Generator().manual_seed(0))
    noise_alone = blindspot.variance_left((sigma * z).square(), sigma)
    assert noise_alone.mean() < 0.05 * sigma**2
    s = torch.where(torch.arange(180) < 90, 0.0, 0.04)
    v = blindspot.variance_left(((s + sigma**2).sqrt() * z).square(), sigma)
    assert v[..., :80].mean() < 0.2 * sigma**2
    assert v[..., 100:].mean().item() == pytest.approx(0.04, rel=0.1)
    squares = (sigma * z).square()
    squares[..., 45, 90] = 100  # a dead pixel says nothing of its neighbours
    assert blindspot.variance_left(squares, sigma).max() < sigma**2


def test_noised_again_input_and_target_have_independent_noises():
    sigma, tau = 0.3, 0.5
    x_tilde = 0.4 + sigma * torch.randn(100, 1, 50, 50)
    seen, target, weight = parse("renoise(0.3, 0.5)").draw(x_tilde, ZERO, StepNoise(0, 0))
    a, b = (seen - 0.4).double().flatten(), (target - 0.4).double().flatten()
    n, scale = len(a), sigma**2 * math.sqrt((1 + tau**2) * (1 + 1 / tau**2))
    assert (a * b).mean().item() == pytest.approx(0, abs=5 * scale / math.sqrt(n))
    assert a.var().item() == pytest.approx(sigma**2 * (1 + tau**2), rel=0.02)
    assert b.var().item() == pytest.approx(sigma**2 * (1 + 1 / tau**2), rel=0.02)
    assert weight == 1


def test_restoring_averages_the_noise_that_was_added_out():
    q = parse("renoise(0.4, 0.5)")
    exact = Exact("renoise(0.4, 0.5)", lambda x: x)  # what is left is the mean of the z
    x = torch.zeros(1, 1, 100, 100)
    left = q.reconstruct(lambda some: exact(some, 0), x, ImageNoise(0, 0, 1))
    assert left.std().item() == pytest.approx(0.4 * 0.5 / math.sqrt(exact.calls), rel=0.05)
    assert exact.calls > 1


@pytest.mark.parametrize("text", ["given", "renoise(0.1, 0.5)"])
def test_noise_is_refused_where_it_is_of_no_use(text):
    with pytest.raises(InputError, match="leave out `noise`"):
        denoise(Exact(text, lambda x: x), torch.rand(1, 1, 8, 8), noise=0.1)


def test_noise_is_the_level_of_a_model_of_gaussian_noise(gaussian_data):
    x = torch.rand(2, 1, 4, 4)
    assert torch.equal(denoise(gaussian_data(), x, noise=0.5), denoise(gaussian_data(), x, level=0.5))
    with pytest.raises(InputError, match="`noise`"):
        denoise(gaussian_data(), x, noise=0.5, level=0.5)
    with pytest.raises(InputError, match="above 0"):
        denoise(Exact("blindspot(0.02)", lambda x: x), x, noise=-1.0)
