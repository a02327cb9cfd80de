import math

import pytest
import torch

from dae_sampler.corruption import CORRUPTIONS, Chain, import_own, parse
from dae_sampler.errors import InputError
from dae_sampler.noise import StepNoise

TEXTS = [
    "gaussian(0.5)",
    "gaussian(0.02..20)",
    "gaussian(0.02..20, lognormal(-0.5, 1.2))",
    "gaussian(0.1, clip=1)",
    "gaussian(0.02..0.4, uniform, told=0, clip=1)",
    "salt-pepper(0.3)",
    "masking(0..0.9)",
    "masking(0.25)+gaussian(0.3)",
    "erasure(0..1)",
    "poisson-gaussian(0.001..0.1, 0.01)",
    "poisson(1/1000..1/10, told=0)",
    "blur(1.5)+gaussian(0.01..0.1)+jpeg(30)",
]


@pytest.mark.parametrize("text", TEXTS)
def test_text_form_is_a_round_trip(text):
    corruption = parse(text)
    assert str(corruption) == text
    assert parse(str(corruption)) == corruption


@pytest.mark.parametrize(
    ("text", "mean", "variance"),
    [
        ("gaussian(0.5)", lambda x: x, lambda x: 0.25),
        ("salt-pepper(0.3)", lambda x: 0.7 * x + 0.15, lambda x: 0.7 * x**2 + 0.15 - (0.7 * x + 0.15) ** 2),
        ("masking(0.25)", lambda x: 0.75 * x, lambda x: 0.75 * 0.25 * x**2),
        ("masking(0.25)+gaussian(0.3)", lambda x: 0.75 * x, lambda x: 0.75 * 0.25 * x**2 + 0.09),
        ("poisson(0.05)", lambda x: x, lambda x: 0.05 * x),
        ("poisson-gaussian(0.05, 0.2)", lambda x: x, lambda x: 0.05 * x + 0.04),
        ("speckle(0.3)", lambda x: x, lambda x: 0.09 * x**2),
        ("blur(1.5)+gaussian(0.3)", lambda x: x, lambda x: 0.09),
    ],
)
def test_mean_and_variance(text, mean, variance):
    corruption, x = parse(text), 0.8
    draws = corruption(torch.full((4000, 1, 8, 8), x), torch.tensor(corruption.high), StepNoise(0, 0)).double()
    error = 5 / math.sqrt(draws.numel())
    assert draws.mean().item() == pytest.approx(mean(x), abs=error)
    assert draws.var().item() == pytest.approx(variance(x), abs=error)


def test_gaussian_noise_is_never_clipped():
    draws = parse("gaussian(2.0)")(torch.rand(64, 1, 8, 8), torch.tensor(2.0), StepNoise(0, 0))
    assert draws.min() < -1
    assert draws.max() > 2


def test_noise_as_a_file_of_8_bits_holds_it():
    clipped = parse("gaussian(0.5, clip=1)")
    draws = clipped(torch.full((64, 1, 8, 8), 0.5), torch.tensor(0.5), StepNoise(0, 0))
    assert torch.equal(draws, (draws * 255).round() / 255)
    beyond = math.erfc(1 / math.sqrt(2)) / 2  # one sigma, on either side
    for end in (0, 1):
        assert (draws == end).float().mean().item() == pytest.approx(beyond, abs=0.02)
    assert clipped.overshoot(0.5) == 0
    assert not clipped.is_gaussian
    assert parse("gaussian(0.5)").is_gaussian


def test_damaged_pixels_lose_all_channels():
    x = torch.full((8, 3, 16, 16), 0.5)
    for text in ("salt-pepper(0.3)", "masking(0.3)"):
        damaged = parse(text)(x, torch.tensor(0.3), StepNoise(0, 0))
        assert torch.equal(damaged, damaged[:, :1].expand_as(damaged))


@pytest.mark.parametrize("density", ["", ", loguniform", ", uniform", ", lognormal(-0.5, 1.2)", ", lognormal(9, 1)"])
def test_quantile_function_rises_through_the_range(density):
    corruption = parse(f"gaussian(0.02..20{density})")
    levels = corruption.level(torch.linspace(0.001, 0.999, 999))
    assert (levels.diff() >= 0).all()
    assert levels.min() >= 0.02
    assert levels.max() <= 20


def test_lognormal_density_has_its_median():
    assert parse("gaussian(1e-4..1e4, lognormal(-0.5, 1.2))").level(torch.tensor(0.5)).log() == pytest.approx(
        -0.5, abs=1e-5
    )


def test_scaled_input_is_of_order_one_at_any_sigma():
    corruption = parse("gaussian(0.01..100)")
    x = torch.rand(64, 1, 8, 8).round()
    for sigma in (0.01, 1.0, 100.0):
        level = torch.tensor(sigma)
        assert corruption.scale(corruption(x, level, StepNoise(0, 0)), level).std() == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("text", TEXTS)
def test_sampling_levels_fall_from_the_start(text):
    corruption = parse(text)
    levels = corruption.schedule(10)
    assert len(levels) == 11
    assert levels[0] == pytest.approx(corruption.high)
    assert (levels.diff() < 0).all() if corruption.ranged else (levels == corruption.high).all()
    assert not corruption.ranged or levels[-1] == 0


@pytest.mark.parametrize("text", ["salt-pepper(0.2..0.8)", "gaussian(0.02..20)", "masking(0.1..0.9)+gaussian(0.3)"])
def test_sampling_asks_for_no_level_that_was_not_trained(text):
    corruption = parse(text)
    levels = corruption.schedule(10)[:-1]
    assert [levels.min().item(), levels.max().item()] == pytest.approx([corruption.low, corruption.high])


@pytest.mark.parametrize(
    "text",
    [
        "gausian(0.5)",
        "gaussian",
        "gaussian(1, 2, 3)",
        "gaussian(20..0.02)",
        "gaussian(0)",
        "gaussian(-1)",
        "gaussian(1e999)",
        "gaussian(0.5, lognormal(0, 1))",
        "gaussian(0.1..1, lognormal(0, 0))",
        "gaussian(0.1..1, lognormal(uniform, 1))",
        "gaussian(0.1..1, lognormal(0, 0..1))",
        "gaussian(" + "9" * 400 + ")",
        "gaussian(0.1..1, gaussian(1))",
        "gaussian(uniform)",
        "gaussian(0.1..1, 3)",
        "masking(1.5)",
        "masking(0..1)+gaussian(0.1..1)",
        "given(0.5)",
        "blindspot(0)",
        "blindspot(0..0.1)",
        "renoise(0, 0.5)",
        "renoise(0.1, masking)",
        "jpeg(0.5)",
        "poisson(0)",
        "poisson-gaussian(0.1, 0..1)",
    ],
)
def test_what_makes_no_sense_is_refused(text):
    with pytest.raises(InputError):
        parse(text)


def test_chain_uses_the_level_of_its_range():
    chain = parse("masking(0.5)+gaussian(0.1..9)")
    assert isinstance(chain, Chain)
    assert (chain.low, chain.high, chain.ranged) == (0.1, 9, True)
    draws = chain(torch.ones(2000, 1, 4, 4), torch.tensor(3.0), StepNoise(0, 0))
    assert draws.std().item() == pytest.approx(math.sqrt(9.25), rel=0.02)


def test_all_corruptions_leave_the_shape():
    for name, cls in CORRUPTIONS.items():
        x, level = torch.rand(3, 3, 5, 7), 50 if name == "jpeg" else 0.25
        damaged = (
            (cls() if name == "given" else cls(level)).draw(x, torch.full((3, 1, 1, 1), level), StepNoise(0, 0)).x_tilde
        )
        assert damaged.shape == (3, 3 + cls.extra, 5, 7)


def test_erasure_shows_what_it_keeps_and_weighs_what_it_hides():
    q, level = parse("erasure(0..1)"), torch.tensor([0.25, 0.5, 1.0, 0.001])
    x = (torch.rand(4, 3, 8, 8) > 0.5).float()
    x_tilde, target, weight = q.draw(x, level[:, None, None, None], StepNoise(0, 0))
    keep = x_tilde[:, 3:]
    assert torch.equal(target, x)
    assert (1 - keep).sum((1, 2, 3)).tolist() == [16, 32, 64, 1]
    assert torch.equal(x_tilde[:, :3], x * keep)
    torch.testing.assert_close(weight.mean((1, 2, 3)), torch.ones(4))
    assert (weight * keep == 0).all()
    assert torch.equal(q.complete(x_tilde, torch.full_like(x, 0.5)), torch.where(keep > 0, x, 0.5))
    assert q.scale(x_tilde, level).unique().tolist() == [-1, 0, 1]


def test_number_of_erased_pixels_is_uniform():
    q, n = parse("erasure(0..1)"), 16 * 500
    u = (torch.arange(n) + 0.5) / n
    x_tilde = q.draw(torch.zeros(n, 1, 4, 4), q.level(u)[:, None, None, None], StepNoise(0, 0)).x_tilde
    assert torch.bincount((1 - x_tilde[:, 1:]).sum((1, 2, 3)).long()).tolist() == [0] + [500] * 16


def test_erasure_is_no_part_of_a_chain():
    with pytest.raises(InputError, match="stands alone"):
        parse("erasure(0..1)+gaussian(0.1)")


OWN = """
import torch
from dae_sampler.corruption import Corruption

class Fade(Corruption):
    def __call__(self, x, level, noise):
        return x * (1 - level)
"""


def test_a_text_imports_own_corruptions_only_when_asked_to(tmp_path, monkeypatch):
    (tmp_path / "fading.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="`corruption`"):
        parse("fading:Fade(0.1..0.9)")
    import_own("masking(0.1)+fading:Fade(0.1..0.9)")
    q = parse("fading:Fade(0.1..0.9)")
    assert str(q) == "fading:Fade(0.1..0.9)"
    assert q(torch.ones(1, 1, 2, 2), torch.tensor(0.25), StepNoise(0, 0)).unique().item() == 0.75


@pytest.mark.parametrize("text", ["nowhere:Fade(1)", "math:Fade(1)", "math:sin(1)"])
def test_what_is_not_a_corruption_is_not_taken_for_one(text):
    with pytest.raises(InputError):
        import_own(text)
