"""Sampling under erasure and with known pixels, against distributions that are known exactly."""

import itertools
from dataclasses import replace

import pytest
import torch
from conftest import GaussianData

import dae_sampler
from dae_sampler import DenoisingAutoencoder, InputError, Recipe, fit
from dae_sampler.card import Card
from dae_sampler.corruption import parse
from dae_sampler.sampling.plan import resolve


class Ring:
    """Binary 1x4 images that are 0011, 0110, 1100 or 1001, equally often; their exact posterior means."""

    images = torch.tensor([[0, 0, 1, 1], [0, 1, 1, 0], [1, 1, 0, 0], [1, 0, 0, 1]]).float()
    shape, device = (1, 1, 4), torch.device("cpu")
    card = Card(binarise="threshold")

    def __init__(self, text="erasure(0..1)"):
        self.corruption = parse(text)

    def __call__(self, x_tilde, level):
        x, keep = x_tilde[:, :1].flatten(1), x_tilde[:, 1:].flatten(1)
        agrees = (((x[:, None] - self.images) * keep[:, None]).abs().sum(2) == 0).float()
        return ((agrees @ self.images) / agrees.sum(1, keepdim=True).clamp(min=1)).view(-1, 1, 1, 4)


def share_of_data(images):
    """How often images (n,1,1,4) are each of the four of the ring, and how often none."""
    same = (images.view(-1, 1, 4) == Ring.images).all(2).float().mean(0)
    return same, 1 - same.sum().item()


def test_revealing_pixel_by_pixel_draws_from_the_distribution():
    same, none = share_of_data(dae_sampler.sample(Ring(), 4000, steps=4))
    assert none == 0
    torch.testing.assert_close(same, torch.full((4,), 0.25), atol=0.03, rtol=0)


def test_revealing_all_at_once_knows_no_neighbours():
    same, _ = share_of_data(dae_sampler.sample(Ring(), 4000, steps=1))
    torch.testing.assert_close(same, torch.full((4,), 1 / 16), atol=0.02, rtol=0)


def test_temperature_sharpens_and_means_are_what_was_drawn_from():
    cold = dae_sampler.sample(Ring(), 1000, sampler="reveal(temperature=0.01)", steps=4)
    assert share_of_data(cold)[1] == 0
    means = dae_sampler.sample(Ring(), 50, sampler="reveal(means=1)", steps=1)
    assert (means == 0.5).all()


def test_walk_that_draws_has_the_data_as_its_stationary_law():
    same, none = share_of_data(dae_sampler.sample(Ring("erasure(0.5)"), 4000, sampler="walk(draw=1)", steps=100))
    assert none < 0.5  # r has no correlations between pixels that are erased together
    torch.testing.assert_close(same / same.sum(), torch.full((4,), 0.25), atol=0.03, rtol=0)


def test_erasure_inpaints_from_the_conditional_distribution():
    keep = torch.tensor([[True, False, False, False]])
    filled = dae_sampler.inpaint(Ring(), torch.ones(4000, 1, 1, 4), keep, steps=4)
    same, none = share_of_data(filled)
    assert none == 0
    torch.testing.assert_close(same, torch.tensor([0, 0, 0.5, 0.5]), atol=0.03, rtol=0)


class Pair:
    """The exact denoiser of two equal pixels, N(mean, variance): what is known of one tells all of the other."""

    shape, device, mean, variance = (1, 1, 2), torch.device("cpu"), 0.5, 0.02

    def __init__(self):
        self.corruption = parse("gaussian(0.01..20)")

    def __call__(self, x, level):
        sigma = torch.as_tensor(level)
        middle = x.mean((1, 2, 3), keepdim=True)
        return (self.mean + self.variance / (self.variance + sigma**2 / 2) * (middle - self.mean)).expand_as(x)


def test_held_pixels_pull_the_others_along():
    x = torch.tensor([0.3, 0.7]).repeat(500).view(-1, 1, 1, 1).expand(-1, 1, 1, 2)
    keep = torch.tensor([[True, False]])
    off = []
    for resample in (1, 8):
        filled = dae_sampler.inpaint(Pair(), x, keep, sampler=f"ancestral(resample={resample})", steps=30)
        torch.testing.assert_close(filled[..., 0], x[..., 0])
        off.append((filled[..., 1] - x[..., 1]).abs().mean().item())
    assert off[1] < 0.04
    assert off[1] < off[0]


@pytest.mark.parametrize("text", ["gaussian(0.5)", "masking(0..1)", "erasure(0.5)"])
def test_other_models_do_not_inpaint(text):
    with pytest.raises(InputError, match="inpainting needs"):
        dae_sampler.inpaint(GaussianData(corruption=text), torch.ones(1, 1, 4, 4), torch.ones(4, 4))


def test_a_mask_of_another_size_is_refused():
    with pytest.raises(InputError, match="mask"):
        dae_sampler.inpaint(Ring(), torch.ones(1, 1, 1, 4), torch.ones(4, 4))


def test_erasure_needs_a_mask_to_restore():
    with pytest.raises(InputError, match="inpaint"):
        dae_sampler.denoise(Ring(), torch.ones(1, 1, 1, 4))


def test_training_under_erasure_learns_the_distribution():
    images = (255 * torch.tensor(list(itertools.product([0, 1], repeat=2)))[[0, 3]]).byte().repeat(200, 1)
    dae = DenoisingAutoencoder("dense(32, 32)", "erasure(0..1)", (1, 1, 2))
    fit(dae, images.view(-1, 1, 1, 2), Recipe(steps=400, batch=64, every=400, lr=0.01))
    known = torch.tensor([[[[1.0, 0.0]], [[1.0, 0.0]]]])
    assert dae(known, 0.5)[0, 0, 0, 1] > 0.95
    assert dae(torch.zeros(1, 2, 1, 2), 1.0).flatten().tolist() == pytest.approx([0.5, 0.5], abs=0.1)
    assert dae.card.binarise == "dynamic"


def test_erasure_of_a_part_only_does_not_sample_from_nothing():
    with pytest.raises(InputError, match=r"erasure\(0\.\.1\)"):
        dae_sampler.sample(DenoisingAutoencoder("dense(8)", "erasure(0..0.5)", (1, 2, 2)), 2)


def test_denoise_leaves_grey_values_alone_and_refine_makes_them_binary():
    dae = GaussianData()
    x = torch.full((4, 1, 4, 4), 0.3)
    plain = dae_sampler.denoise(dae, x, level=0.5, steps=1, sampler="euler")
    dae.card = Card(binarise="threshold")
    torch.testing.assert_close(dae_sampler.denoise(dae, x, level=0.5, steps=1, sampler="euler"), plain)
    dark = dae_sampler.refine(dae, x, level=0.5, steps=5)
    torch.testing.assert_close(dark, dae_sampler.refine(dae, 0 * x, level=0.5, steps=5))


def test_one_pixel_a_step_is_one_pixel_a_step():
    class Half(Ring):
        shape = (1, 28, 28)

        def __call__(self, x_tilde, level):
            return torch.full_like(x_tilde[:, :1], 0.5)

    revealed = []
    watch = lambda state: revealed.append(state.x[:, 1:].sum((1, 2, 3)).tolist())  # noqa: E731
    dae_sampler.sample(Half(), 2, steps=784, on_step=watch)
    assert revealed == [[k, k] for k in range(1, 785)]


@pytest.mark.parametrize("sampler", ["walk", "walk(draw=1)"])
def test_inpainting_by_a_sampler_that_forgets_the_mask_is_refused(sampler):
    with pytest.raises(InputError, match="forgets"):
        dae_sampler.inpaint(Ring(), torch.ones(1, 1, 1, 4), torch.ones(1, 4), sampler=sampler)


@pytest.mark.parametrize("sampler", ["heun", "dpm", "langevin", "walk", "iterate(eta=0.1)"])
def test_known_pixels_end_as_they_were_given(sampler):
    x, keep = torch.rand(3, 1, 4, 4), torch.rand(4, 4) > 0.5
    filled = dae_sampler.inpaint(GaussianData(), x, keep, sampler=sampler, steps=4)
    assert torch.equal(filled[..., keep], x[..., keep])


def test_best_sampler_of_a_checkpoint_keeps_its_steps():
    dae = GaussianData()
    dae.card = Card(plans={"sample": {"sampler": "heun(churn=0.1)", "steps": 9}})
    plan, other = resolve("sample", dae), resolve("sample", dae, "dpm")
    assert (str(plan), plan.steps) == ("heun(churn=0.1)", 9)
    assert (str(other), other.steps) == ("dpm", 20)


def test_what_is_added_leads_from_denoising_to_refining():
    dae, x = GaussianData(variance=0.02), torch.rand(50, 1, 4, 4)
    options = {"level": 0.5, "sampler": "dpm", "steps": 6, "seed": 2}
    refined = dae_sampler.refine(dae, x, **options)
    assert torch.equal(dae_sampler.refine(dae, x, added=0, **options), dae_sampler.denoise(dae, x, **options))
    assert torch.equal(dae_sampler.refine(dae, x, added=0.5, **options), refined)
    mild = dae_sampler.refine(dae, x, added=0.25, **options)
    assert mild.var() < refined.var()
    for added in (-0.1, 0.6, float("nan")):
        with pytest.raises(InputError, match="added"):
            dae_sampler.refine(dae, x, added=added, **options)


def test_a_consistency_model_of_any_size_denoises_by_its_own_sampler():
    dae = DenoisingAutoencoder("unet(8)", "gaussian(0.02..20)", (1, None, None))
    dae.card = replace(dae.card, objective="consistency")
    assert str(resolve("denoise", dae, level=0.3)) == "consistency"
