"""Densities against numerical integration, and a small DAE against a density."""

import math

import pytest
import torch

from dae_sampler.corruption import parse
from dae_sampler.theory.densities import NAMED, Boxes, Exact, Gaussians, Points
from dae_sampler.theory.verify import agreement, climb, limit, verify


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("name", NAMED)
def test_draws_stay_in_the_cube_and_follow_the_density(name):
    density = NAMED[name]()
    x = density.sample(200_000, generator())
    assert x.min() >= 0
    assert x.max() <= 1
    side = torch.linspace(-1.5, 2.5, 401, dtype=torch.float64)
    grid = torch.cartesian_prod(side, side)
    for sigma in (0.05, 0.3):
        mass = density.log_p(grid, sigma).exp() * 0.01**2
        assert mass.sum().item() == pytest.approx(1, abs=1e-4)
        torch.testing.assert_close(mass @ grid, x.mean(0), atol=3e-3, rtol=0)
        spread = x.var(0) + sigma**2
        torch.testing.assert_close(mass @ grid.square() - (mass @ grid) ** 2, spread, atol=3e-3, rtol=0)


@pytest.mark.parametrize("name", NAMED)
@pytest.mark.parametrize("sigma", [0.05, 0.5])
def test_posterior_mean_is_that_of_bayes(name, sigma):
    density = NAMED[name]()
    x, x_tilde = density.sample(400_000, generator()), density.sample(5, generator(1)) + sigma / 2
    weights = torch.softmax(-torch.cdist(x_tilde, x).square() / (2 * sigma**2), 1)
    torch.testing.assert_close(density.posterior_mean(x_tilde, sigma), weights @ x, atol=5e-3, rtol=0)


def test_a_box_far_away_still_has_a_score():
    density = Boxes(torch.tensor([[0.4]]), torch.tensor([[0.6]]))
    x = torch.tensor([[-2.0], [3.0]], dtype=torch.float64)
    torch.testing.assert_close(
        density.posterior_mean(x, 0.05), torch.tensor([[0.4], [0.6]]).double(), atol=2e-3, rtol=0
    )


def test_points_are_their_own_posterior_mean():
    points = torch.rand(6, 20, generator=generator(), dtype=torch.float64)
    torch.testing.assert_close(Points(points).posterior_mean(points, 0.02), points, atol=1e-6, rtol=0)
    middle = Points(points).posterior_mean(points[:1], 100.0)
    torch.testing.assert_close(middle[0], points.mean(0), atol=1e-3, rtol=0)


def test_score_of_the_smoothed_density_tends_to_that_of_the_density():
    errors = limit(NAMED["gaussians"](), [0.05, 0.02, 0.005])
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.02


def test_score_of_one_gaussian_shrinks_as_it_is_smoothed():
    density = Gaussians(torch.tensor([[0.5]]), torch.tensor([0.05]))
    assert limit(density, [0.05])[0] == pytest.approx(0.5, abs=1e-6)


@pytest.mark.parametrize("name", NAMED)
@pytest.mark.parametrize("eta", [0.5, 1.0, 1.9])
def test_every_exact_step_climbs_by_the_bound(name, eta):
    density = NAMED[name]()
    exact = Exact(density, parse("gaussian(0.01..1)"), (1, 1, 2))
    start = torch.rand(200, 2, generator=generator(), dtype=torch.float64)
    for sigma in (0.05, 0.2):
        found = climb(exact, density, start, sigma, eta=eta)
        assert found.steps > 100
        assert found.reaching == 1


def test_iteration_ends_where_the_score_is_zero():
    density = NAMED["gaussians"]()
    exact = Exact(density, parse("gaussian(0.01..1)"), (1, 1, 2))
    end = climb(exact, density, density.sample(20, generator()), 0.05, steps=500).paths[-1]
    assert density.score(end, 0.05).abs().max() < 1e-3


def test_a_dae_trained_by_bce_points_up_the_density():
    found = verify(NAMED["boxes"](), (1, 1, 2), [0.5, 0.3, 0.2], "dense(64, 64)", steps=500)
    for a, b in zip(found.agreements["bce"], found.agreements["mse"], strict=True):
        assert a.cosine > 0.99
        assert a.relative_error < 0.1
        assert a.relative_error < b.relative_error + 0.02
        assert 0 < a.relative_error_interval < a.relative_error
    assert found.climbs["exact"].reaching == 1
    assert found.climbs["bce"].reaching > 0.97
    assert found.climbs["bce"].rising >= found.climbs["bce"].reaching


def test_agreement_of_the_truth_with_itself_is_perfect():
    density = NAMED["gaussians"]()
    found = agreement(Exact(density, parse("gaussian(0.01..1)"), (1, 1, 2)), density, 0.1, n=2000)
    assert found.relative_error < 1e-5
    assert found.cosine == pytest.approx(1, abs=1e-9)
    assert math.isfinite(found.cosine_interval)
