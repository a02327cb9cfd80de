import itertools
import math
from dataclasses import replace

import pytest
import torch
from conftest import GaussianData

from dae_sampler import DenoisingAutoencoder, InputError
from dae_sampler.corruption import parse
from dae_sampler.evaluation.likelihood import bound, ensemble, flow, log_density
from dae_sampler.noise import ImageNoise

PIXELS = 9
EVERY = torch.tensor(list(itertools.product([0.0, 1.0], repeat=PIXELS))).view(-1, 1, 3, 3)


class Table(DenoisingAutoencoder):
    """The exact conditionals of a distribution over all binary 3x3 images, plus ``error`` in the logits."""

    def __init__(self, p, error=0.0):
        super().__init__("dense(1)", "erasure(0..1)", (1, 3, 3))
        self.p, self.error = p, error
        self.card = replace(self.card, binarise="threshold")

    def logits(self, x_tilde, level=None):
        x, keep = x_tilde[:, :1].flatten(1), x_tilde[:, 1:].flatten(1)
        agrees = ((x[:, None] - EVERY.flatten(1)) * keep[:, None] == 0).all(2)
        weights = agrees * self.p
        mean = (weights @ EVERY.flatten(1).double()) / weights.sum(1, keepdim=True)
        logits = torch.logit(mean.clamp(1e-9, 1 - 1e-9)).float()
        wrong = torch.sin(7 * keep.sum(1, keepdim=True) + 3 * x.sum(1, keepdim=True) + torch.arange(PIXELS))
        return (logits + self.error * wrong).view_as(x_tilde[:, :1])


@pytest.fixture(scope="module")
def p():
    """A distribution in which every pixel depends on every other."""
    g = torch.Generator().manual_seed(0)
    flat = EVERY.flatten(1).double()
    coupling = torch.randn(PIXELS, PIXELS, generator=g, dtype=torch.float64)
    return torch.softmax((flat @ coupling * flat).sum(1), 0)


def test_bound_of_exact_conditionals_is_the_exact_likelihood(p):
    x = torch.multinomial(p, 4000, replacement=True, generator=torch.Generator().manual_seed(1))
    found = bound(Table(p), EVERY[x], draws=8)
    error = found.values + p[x].log()
    assert abs(error.mean()) < 4 * error.std() / len(x) ** 0.5
    assert found.standard_error == pytest.approx((found.values.std() / len(x) ** 0.5).item())


def test_every_order_of_exact_conditionals_has_the_exact_likelihood(p):
    x = EVERY[::40]
    tighter, single = ensemble(Table(p), x, orders=3)
    torch.testing.assert_close(tighter.values, -p[::40].log(), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(single.values, -p[::40].log(), atol=1e-4, rtol=1e-4)


def test_ensemble_is_a_distribution_tighter_than_the_bound(p):
    model = Table(p, error=0.5)
    tighter, single = ensemble(model, EVERY, orders=16)
    assert (tighter.values <= single.values + 1e-9).all()
    assert (-tighter.values).exp().sum().item() == pytest.approx(1, abs=0.05)
    cross_entropy = (p * bound(model, EVERY, draws=100).values).sum()
    assert cross_entropy == pytest.approx((p * single.values).sum().item(), rel=0.03)
    assert -(p * p.log()).sum() < (p * tighter.values).sum() < cross_entropy


def test_likelihood_does_not_depend_on_the_batch(p, monkeypatch):
    whole = bound(Table(p), EVERY[:50], draws=2, seed=3).values
    monkeypatch.setattr("dae_sampler.evaluation.likelihood.batch_size", lambda shape: 7)
    torch.testing.assert_close(bound(Table(p), EVERY[:50], draws=2, seed=3).values, whole)


@pytest.mark.parametrize("text", ["gaussian(0.02..20)", "masking(0..1)", "erasure(0..0.5)", "erasure(1)"])
def test_other_models_have_no_order_agnostic_likelihood(text):
    with pytest.raises(InputError, match=r"erasure\(0..1\)"):
        bound(DenoisingAutoencoder("dense(4)", text, (1, 3, 3)), EVERY)


@pytest.mark.parametrize("probes", [0, 4])
def test_flow_gives_the_density_of_a_gaussian(probes):
    dae = GaussianData(mean=0.4, variance=0.04, corruption="gaussian(0.001..100)")
    x = 0.4 + 0.2 * torch.randn(64, *dae.shape, generator=torch.Generator().manual_seed(0))
    found = log_density(dae, x, ImageNoise(0, 0, 64), steps=100, probes=probes)
    d, variance = x[0].numel(), 0.04 + 0.001**2
    exact = -0.5 * (x.double() - 0.4).square().flatten(1).sum(1) / variance - d / 2 * math.log(2 * math.pi * variance)
    bits = (found - exact).abs().max().item() / d / math.log(2)
    assert bits < 0.01


def test_flow_of_8_bit_images_is_the_density_in_grey_levels():
    dae = GaussianData(mean=0.5, variance=0.01, corruption="gaussian(0.001..100)")
    v = (255 * (0.5 + 0.1 * torch.randn(500, *dae.shape, generator=torch.Generator().manual_seed(0)))).round().byte()
    entropy = math.log(255 * 0.1 * (2 * math.pi * math.e) ** 0.5)
    assert flow(dae, v, steps=60).mean / v[0].numel() == pytest.approx(entropy, abs=0.02)


def test_flow_refuses_what_has_no_bits():
    with pytest.raises(InputError, match="1/512"):
        flow(GaussianData(corruption="gaussian(0.02..20)"), torch.zeros(1, 1, 4, 4, dtype=torch.uint8))
    with pytest.raises(InputError, match="8-bit"):
        flow(GaussianData(corruption="gaussian(0.001..20)"), torch.zeros(1, 1, 4, 4))


def test_order_of_draws_is_uniform_over_sets_of_each_size():
    q = parse("erasure(0..1)")
    x_tilde = q.draw(torch.ones(20_000, 1, 1, 3), torch.tensor(2 / 3), ImageNoise(0, 0, 20_000)).x_tilde
    kept = x_tilde[:, 1].flatten(1)
    assert (kept.sum(1) == 1).all()
    torch.testing.assert_close(kept.mean(0), torch.full((3,), 1 / 3), atol=0.015, rtol=0)


def test_images_of_another_shape_are_refused():
    dae = DenoisingAutoencoder("unet(8)", "erasure(0..1)", (1, 8, 8))
    for x in (torch.zeros(2, 1, 16, 16), torch.zeros(2, 3, 8, 8)):
        with pytest.raises(InputError, match="the model takes"):
            bound(dae, x)


def test_an_untrained_model_counts_each_binary_pixel_as_a_coin():
    dae = DenoisingAutoencoder("dense(4)", "erasure(0..1)", (3, 2, 2))
    with torch.no_grad():
        for weight in dae.parameters():
            weight.zero_()
    x = torch.rand(5, 3, 2, 2)
    torch.testing.assert_close(bound(dae, x).values, torch.full((5,), 12 * math.log(2)).double())
    torch.testing.assert_close(ensemble(dae, x, orders=2)[0].values, torch.full((5,), 12 * math.log(2)).double())
