"""Every sampler against its own closed form for Gaussian data N(mean, variance), where r is known exactly."""

import itertools
import math

import pytest
import torch

import dae_sampler
from dae_sampler import DenoisingAutoencoder
from dae_sampler.corruption import parse
from dae_sampler.errors import InputError
from dae_sampler.noise import ImageNoise
from dae_sampler.sampling import samplers

SHAPE = (1, 4, 4)


def run(sampler, dae, x, levels, seed=0, **options):
    noise = ImageNoise(seed, 0, len(x))
    return list(samplers.SAMPLERS[sampler].function(dae, x, torch.as_tensor(levels), noise, **options))[-1].x


def constant(level, steps):
    return torch.full((steps + 1,), level, dtype=torch.float64)


@pytest.mark.parametrize("eta", [0.3, 1.0, 1.7])
def test_iterate_contracts_to_the_mode(gaussian_data, eta):
    dae, sigma, steps = gaussian_data(mean=0.4, variance=0.04), 0.3, 7
    x = torch.rand(2, *SHAPE, dtype=torch.float64)
    factor = 1 - eta * sigma**2 / (0.04 + sigma**2)
    expected = 0.4 + factor**steps * (x - 0.4)
    torch.testing.assert_close(run("iterate", dae, x, constant(sigma, steps), eta=eta), expected)


@pytest.mark.parametrize("eta", [0.5, 1.0, 1.9])
def test_iterate_climbs_at_least_as_promised(eta):
    points = torch.rand(6, 1, 1, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    sigma = 0.15

    def log_density(x):
        return torch.logsumexp(-(x - points.squeeze(1).squeeze(1)).square().sum(-1) / (2 * sigma**2), -1)

    class Points:
        corruption = parse("gaussian(0.15)")

        def __call__(self, x, level):
            distances = (x - points.transpose(0, 1).squeeze(0).reshape(1, 6, 1, 2)).square().sum((-1, -2))
            weights = (-distances / (2 * sigma**2)).softmax(1)
            return (weights @ points.reshape(6, 2)).reshape(x.shape)

    x = torch.rand(20, 1, 1, 2, dtype=torch.float64) * 2 - 0.5
    for _ in range(15):
        after = run("iterate", Points(), x, constant(sigma, 1), eta=eta)
        r = x + (after - x) / eta
        gain = log_density(after.flatten(1).unsqueeze(1)) - log_density(x.flatten(1).unsqueeze(1))
        promise = eta * (1 - eta / 2) * (r - x).flatten(1).square().sum(1) / sigma**2
        assert (gain >= promise - 1e-9).all()
        x = after


def test_mean_walk_has_its_stationary_variance(gaussian_data):
    variance, sigma = 0.04, 0.3
    dae = gaussian_data(variance=variance, corruption="gaussian(0.3)")
    x = run("walk", dae, torch.full((4000, *SHAPE), 0.9), constant(sigma, 40).float())
    assert x.mean().item() == pytest.approx(0.4, abs=0.005)
    assert x.var().item() == pytest.approx(variance**2 / (2 * variance + sigma**2), rel=0.05)


@pytest.mark.parametrize("eta", [0.1, 0.5])
def test_langevin_has_its_stationary_variance(gaussian_data, eta):
    variance, sigma = 0.04, 0.3
    dae, v = gaussian_data(variance=variance), variance + sigma**2
    x = run("langevin", dae, torch.full((2000, *SHAPE), 0.9), constant(sigma, 80).float(), eta=eta)
    assert x.mean().item() == pytest.approx(0.4, abs=0.01)
    assert x.var().item() == pytest.approx(v / (1 - eta * sigma**2 / (2 * v)), rel=0.05)


def flow(variance, start, end):
    """The probability flow of Gaussian data shrinks deviations from the mean by this factor."""
    return math.sqrt((variance + end**2) / (variance + start**2))


@pytest.mark.parametrize(("sampler", "order"), [("euler", 1), ("heun", 2), ("dpm", 2), ("unipc", 3)])
def test_order_of_convergence(gaussian_data, sampler, order):
    dae, x = gaussian_data(variance=0.04), torch.full((1, *SHAPE), 1.0, dtype=torch.float64)
    exact = 0.4 + flow(0.04, 2.0, 0.1) * 0.6
    errors = []
    for steps in (40, 80, 160) if order == 3 else (160, 320, 640):  # beyond, rounding is the error
        levels = torch.linspace(math.log(2.0), math.log(0.1), steps + 1, dtype=torch.float64).exp()
        errors.append((run(sampler, dae, x, levels) - exact).abs().max().item())
    rates = [math.log2(a / b) for a, b in itertools.pairwise(errors)]
    assert rates == pytest.approx([order, order], abs=0.25)


def test_churn_leaves_the_distribution_alone(gaussian_data):
    dae = gaussian_data(variance=0.04)
    x = 0.4 + math.sqrt(0.04 + 4) * torch.randn(4000, *SHAPE, generator=torch.Generator().manual_seed(0))
    out = run("heun", dae, x, dae.corruption.schedule(60, 2.0), churn=0.1)
    assert out.var().item() == pytest.approx(0.04, rel=0.05)


@pytest.mark.parametrize("high", [4, 6, 12, 16, 20, 25, 40])
def test_churn_does_not_leave_the_levels_of_the_model(gaussian_data, high):
    dae = gaussian_data(corruption=f"gaussian(0.02..{high})")
    assert dae_sampler.sample(dae, 2, sampler="heun(churn=0.1)", steps=3).isfinite().all()


@pytest.mark.parametrize(
    ("sampler", "steps"),
    [("euler", 200), ("heun", 40), ("dpm", 40), ("unipc", 40), ("dpm(eta=1)", 60), ("ancestral", 200)],
)
def test_samples_have_the_mean_and_variance_of_the_data(gaussian_data, sampler, steps):
    dae = gaussian_data(mean=0.4, variance=0.01)
    images = dae_sampler.sample(dae, 2000, sampler=sampler, steps=steps)
    assert images.mean().item() == pytest.approx(0.4, abs=0.005)
    assert images.var().item() == pytest.approx(0.01, rel=0.08)


@pytest.mark.parametrize("sampler", ["langevin", "euler", "heun", "dpm", "unipc", "ancestral", "consistency"])
def test_one_step_is_the_posterior_mean(gaussian_data, sampler):
    dae, x = gaussian_data(), torch.rand(3, *SHAPE)
    out = dae_sampler.denoise(dae, x, level=0.5, sampler=sampler, steps=1)
    torch.testing.assert_close(out, dae(x, 0.5).clamp(0, 1))


def test_refine_corrupts_and_denoise_does_not(gaussian_data):
    dae, x = gaussian_data(), torch.rand(3, *SHAPE)
    noisy = dae.corruption(x, torch.tensor(0.5), ImageNoise(4, 0, 3))
    refined = dae_sampler.refine(dae, x, level=0.5, sampler="heun", steps=6, seed=4)
    torch.testing.assert_close(refined, dae_sampler.denoise(dae, noisy, level=0.5, sampler="heun", steps=6))
    plain = dae_sampler.refine(dae, x, level=0.5, sampler="iterate", steps=6)
    torch.testing.assert_close(plain, dae_sampler.denoise(dae, x, level=0.5, sampler="iterate", steps=6))


@pytest.mark.parametrize(
    "sampler",
    [
        "walk(draw=1)",
        "ancestral(resample=2)",
        "dpm(eta=1)",
        *sorted(set(samplers.SAMPLERS) - {"hqs", "reveal", "reconstruct"}),
    ],
)
def test_an_image_depends_on_seed_and_index_alone(gaussian_data, sampler):
    dae = gaussian_data()
    whole = dae_sampler.sample(dae, 10, sampler=sampler, steps=5, seed=3)
    torch.testing.assert_close(dae_sampler.sample(dae, 10, sampler=sampler, steps=5, seed=3, batch=4), whole)
    part = dae_sampler.sample(dae, 3, sampler=sampler, steps=5, seed=3, first=6, batch=2)
    torch.testing.assert_close(part, whole[6:9])
    assert torch.equal(
        dae_sampler.sample(dae, 10, sampler=sampler, steps=5, seed=3),
        dae_sampler.sample(dae, 10, sampler=sampler, steps=5, seed=3),
    )


def test_contract_holds_for_a_network_too():
    torch.manual_seed(0)
    dae = DenoisingAutoencoder("unet(16)", "gaussian(0.02..20)", (1, 8, 8)).eval()
    whole = dae_sampler.sample(dae, 7, steps=6)
    torch.testing.assert_close(dae_sampler.sample(dae, 7, steps=6, batch=3), whole, atol=1e-4, rtol=0)


def test_a_model_of_one_level_restores_by_one_reconstruction(gaussian_data):
    dae, x = gaussian_data(corruption="gaussian(0.3)"), torch.rand(3, *SHAPE)
    torch.testing.assert_close(dae_sampler.denoise(dae, x), dae(x, 0.3))


def test_on_step_sees_every_step(gaussian_data):
    seen = []
    dae_sampler.sample(gaussian_data(), 2, sampler="heun", steps=5, on_step=seen.append)
    assert len(seen) == 5
    assert [s.level for s in seen] == sorted((s.level for s in seen), reverse=True)
    assert seen[-1].level == 0


@pytest.mark.parametrize("text", ["gaussian(0.5)", "salt-pepper(0.3)", "masking(0..0.9)"])
def test_samplers_that_follow_sigma_refuse_other_models(gaussian_data, text):
    with pytest.raises(InputError, match="walk or iterate"):
        dae_sampler.sample(gaussian_data(corruption=text), 2, sampler="heun")


@pytest.mark.parametrize(
    "arguments",
    [
        {"sampler": "hoin"},
        {"steps": 0},
        {"n": 0},
        {"sampler": "heun(eta=1)"},
        {"sampler": "heun(0.1)"},
        {"sampler": "heun(churn=low)"},
        {"sampler": "heun(churn=2)"},
        {"sampler": "iterate(eta=2)"},
        {"sampler": "langevin(eta=1)"},
        {"sampler": "ancestral(resample=0)"},
        {"sampler": "dpm(eta=2)"},
        {"sampler": "unipc(order=4)"},
    ],
)
def test_arguments_out_of_range_are_refused(gaussian_data, arguments):
    with pytest.raises(InputError):
        dae_sampler.sample(gaussian_data(), **{"n": 2} | arguments)


def test_levels_out_of_range_are_refused(gaussian_data):
    for level in (0, 21, -1, math.nan):
        with pytest.raises(InputError, match="outside"):
            dae_sampler.refine(gaussian_data(), torch.rand(1, *SHAPE), level=level)


def test_dpm_with_all_its_noise_is_ancestral_to_second_order(gaussian_data):
    """Variance of the samples, against that of the data: the error of ancestral falls like 1/steps, dpm's faster."""
    dae = gaussian_data(mean=0.5, variance=0.02)
    x = 0.5 + math.sqrt(0.02 + 4) * torch.randn(8_000, *SHAPE, generator=torch.Generator().manual_seed(0))
    error = {}
    for sampler, options in (("ancestral", {}), ("dpm", {"eta": 1.0})):
        out = run(sampler, dae, x, dae.corruption.schedule(20, 2.0), **options)
        error[sampler] = abs(out.var().item() / 0.02 - 1)
    assert error["dpm"] < error["ancestral"] / 3
    first = samplers.dpm(dae, x[:5], dae.corruption.schedule(1, 2.0), ImageNoise(0, 0, 5), eta=1.0)
    other = samplers.ancestral(dae, x[:5], dae.corruption.schedule(1, 2.0), ImageNoise(0, 0, 5))
    torch.testing.assert_close(next(first).x, next(other).x)
