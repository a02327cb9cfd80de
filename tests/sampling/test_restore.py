"""Restoration guided by measurements: operators against dense algebra and Pillow, the posterior of Gaussian data."""

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import GaussianData
from PIL import Image

import dae_sampler
from dae_sampler import InputError, corruption
from dae_sampler.card import Card
from dae_sampler.evaluation.fidelity import psnr
from dae_sampler.sampling import Mask, Measured, Pair, tasks
from dae_sampler.sampling.guidance import squared_error
from dae_sampler.sampling.linear import conjugate_gradients, smoothest
from dae_sampler.sampling.operators import parse
from dae_sampler.sampling.plan import resolve
from dae_sampler.tiles import GreyOrColour

SHAPE = (3, 8, 12)
HOLES = torch.rand(1, *SHAPE[1:], generator=torch.Generator().manual_seed(0)) < 0.6
TEXTS = [
    "mask('holes')",
    "grey",
    "blur(1.5)",
    "blur(0.8, circular=1)",
    "downsample(2)",
    "downsample(4, circular=1)",
    "motion(5, 30)",
    "motion(4, 100, circular=1)",
    "blur(1)+downsample(2)+grey",
    "motion(3, 45)+mask('holes')",
]


def holes(name, shape):
    return HOLES


def operator(text):
    return parse(text, holes) if text != "own" else Pair(lambda x: 2 * x - x.flip(3), lambda y: 2 * y - y.flip(3))


def dense(a, shape=SHAPE):
    """The matrix of an operator."""
    n = int(np.prod(shape))
    return a.apply(torch.eye(n, dtype=torch.float64).view(n, *shape)).flatten(1).T


@pytest.mark.parametrize("text", [*TEXTS, "own"])
def test_adjoint_and_proximal_step_are_those_of_the_matrix(text):
    a, noise = operator(text), torch.Generator().manual_seed(1)
    x = torch.rand(1, *SHAPE, dtype=torch.float64, generator=noise)
    y = a.apply(torch.rand(1, *SHAPE, dtype=torch.float64, generator=noise))
    torch.testing.assert_close((a.apply(x) * y).sum(), (x * a.adjoint(y)).sum())
    matrix, tau = dense(a), 0.05
    best = torch.linalg.solve(
        matrix.T @ matrix + tau * torch.eye(x.numel()), matrix.T @ y.flatten() + tau * x.flatten()
    )
    torch.testing.assert_close(a.prox(x.float(), y.float(), tau).double(), best.view_as(x), atol=1e-3, rtol=0)


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_downsampling_is_pillows_away_from_the_edges(factor):
    x = torch.rand(1, 1, 48, 60)
    small = Image.fromarray(x[0, 0].numpy()).resize((60 // factor, 48 // factor), Image.Resampling.BICUBIC)
    made = parse(f"downsample({factor})").apply(x)[0, 0]
    torch.testing.assert_close(made[2:-2, 2:-2], torch.from_numpy(np.array(small))[2:-2, 2:-2], atol=1e-5, rtol=0)


@pytest.mark.parametrize("text", ["blur(1.5)", "motion(7, 30)", "downsample(2)"])
def test_edges_are_reflected_so_that_flat_pictures_stay_flat(text):
    flat = parse(text).apply(torch.full((1, 1, 16, 20), 0.3))
    torch.testing.assert_close(flat, torch.full_like(flat, 0.3))


def test_motion_is_a_line_of_its_length_at_its_angle():
    point = torch.zeros(1, 1, 15, 15)
    point[0, 0, 7, 7] = 1
    across, up = (parse(f"motion(5, {angle})").apply(point)[0, 0] for angle in (0, 90))
    torch.testing.assert_close(across[7, 5:10], torch.full((5,), 0.2), atol=1e-6, rtol=0)
    torch.testing.assert_close(up, across.T, atol=1e-6, rtol=0)
    slant = parse("motion(9, 45)").apply(point)[0, 0]
    assert slant[5, 9] > 0.05  # counter-clockwise from the right is up
    assert abs(slant[9, 9]) < 1e-6


@pytest.mark.parametrize("text", [*TEXTS, "own"])
def test_the_measured_denoiser_is_exact_for_gaussian_data(text):
    s, mu, sigma, noise = 0.04, 0.4, 0.3, 0.1
    data = GaussianData(mu, s, shape=SHAPE)
    a, draws = operator(text), torch.Generator().manual_seed(2)
    x_tilde = torch.randn(1, *SHAPE, generator=draws)
    y = a.apply(torch.rand(1, *SHAPE, generator=draws))
    made = Measured(data, y, a, noise, error=lambda v: s * v**2 / (s + v**2))(x_tilde, sigma)
    matrix, eye = dense(a), torch.eye(x_tilde.numel(), dtype=torch.float64)
    precision = matrix.T @ matrix / noise**2 + eye * (1 / sigma**2 + 1 / s)
    pull = matrix.T @ y.double().flatten() / noise**2 + x_tilde.double().flatten() / sigma**2 + mu / s
    exact = torch.linalg.solve(precision, pull).view_as(x_tilde)
    torch.testing.assert_close(made.double(), exact, atol=2e-3, rtol=0)


class Given:
    """Noise that is what it was given."""

    def __init__(self, z):
        self.z = z

    def normal(self, shape):
        return self.z.expand(shape)


def test_conjugate_gradients_do_not_depend_on_the_other_images():
    scale = torch.tensor([1.0, 30.0])[:, None] ** torch.linspace(0, 1, 20)
    b = torch.rand(2, 20)
    together = conjugate_gradients(lambda x: scale * x, b)
    for i in range(2):
        alone = conjugate_gradients(lambda x, i=i: scale[i] * x, b[i : i + 1])
        torch.testing.assert_close(together[i : i + 1], alone, atol=0, rtol=0)


@pytest.mark.parametrize("text", [*TEXTS, "own"])
def test_spread_makes_noise_of_sigma_in_every_direction(text):
    """Of that in y and of its own."""
    a, sigma, noise = operator(text), 0.2, 0.05
    guided = Measured(GaussianData(shape=SHAPE), torch.zeros_like(a.apply(torch.zeros(1, *SHAPE))), a, noise)
    n = int(np.prod(SHAPE))
    nothing = torch.zeros(n, *SHAPE)
    own = guided.spread(nothing, sigma, 1.0, Given(torch.eye(n).view(n, *SHAPE))).flatten(1).T.double()
    matrix = dense(a)
    tau = noise**2 / (2 * sigma) ** 2
    taken = matrix.T @ torch.linalg.inv(matrix @ matrix.T + tau * torch.eye(len(matrix)))
    covariance = own @ own.T + noise**2 * taken @ taken.T
    torch.testing.assert_close(covariance, sigma**2 * torch.eye(n, dtype=torch.float64), atol=1e-4, rtol=0)


def test_hqs_serves_to_restore_alone_and_begins_below_noise_that_hides_the_picture():
    dae = dae_sampler.load("photo-grey")
    assert resolve("restore", dae).sampler.name == "hqs"
    assert resolve("restore", dae, samples=2).sampler.name == "walk"
    assert resolve("restore", dae).level == resolve("restore", dae_sampler.load("mnist"), "hqs").level == 49 / 255
    for task in ("denoise", "refine"):
        with pytest.raises(InputError, match=f"hqs does not go with the task {task}"):
            resolve(task, dae, "hqs", level=0.1)


def test_much_noise_and_blur_leave_no_spots():
    cat = Image.open(Path(__file__).parents[2] / "docs" / "images" / "chelsea.png").convert("RGB")
    x = torch.from_numpy(np.array(cat.crop((140, 110, 204, 174)))).permute(2, 0, 1)[None] / 255
    a = parse("blur(4)")
    made = dae_sampler.restore(dae_sampler.load("photo-colour"), tasks.measure(a, x, 0.2), a, noise=0.2)
    assert psnr(made, x) > 22  # with spots 19


def test_samples_of_the_identity_have_the_posterior_mean_and_variance():
    s, mu, noise = 0.04, 0.4, 0.1
    data = GaussianData(mu, s, "gaussian(0.002..20)", (1, 16, 16))
    data.card = Card(squared_error=tuple((v, s * v**2 / (s + v**2)) for v in (0.001, 0.01, 0.1, 0.2, 0.5, 1, 30)))
    y = mu + 0.2 * torch.randn(1, 1, 16, 16)
    made = dae_sampler.restore(
        data, y, Pair(lambda x: x, lambda x: x), noise=noise, samples=400, sampler="ancestral", steps=100
    )
    inside = (data(y, noise) > 0.25) & (data(y, noise) < 0.75)  # where [0,1] cuts nothing off
    torch.testing.assert_close(made.mean(0, keepdim=True)[inside], data(y, noise)[inside], atol=0.025, rtol=0)
    assert abs(made.var(0)[inside[0]].mean().item() / (s * noise**2 / (s + noise**2)) - 1) < 0.1


def test_a_digit_drawn_from_strong_noise_errs_by_twice_as_much_as_the_posterior_mean():
    dae, same, noise = dae_sampler.load("mnist"), Pair(lambda v: v, lambda v: v), 0.4
    x = dae_sampler.sample(dae, 4, seed=5, steps=10)
    y = tasks.measure(same, x, noise)
    with torch.no_grad():
        least = (dae(y, noise) - x).square().mean()
    drawn = dae_sampler.restore(dae, y, same, noise=noise, sampler="walk", steps=20)
    assert 1.3 < (drawn - x).square().mean() / least < 3


def test_the_error_of_a_card_is_interpolated_in_logarithms_and_never_above_the_noise():
    card = Card(squared_error=((0.1, 0.001), (0.4, 0.004)))
    at = squared_error(card, torch.tensor([0.1, 0.2, 0.4, 1.6, 1e-4]))
    torch.testing.assert_close(at, torch.tensor([0.001, 0.002, 0.004, 0.016, 1e-8]))
    assert squared_error(Card(), torch.tensor(20.0)).item() == pytest.approx(1 / 12, rel=0.01)


@pytest.mark.parametrize(("text", "noise"), [("downsample(4)", 0.02), ("blur(1.5)", 0.01), ("mask('left')", 0.01)])
def test_restorations_agree_with_the_measurement_to_within_its_noise(text, noise):
    a = parse(text, lambda name, shape: (torch.arange(28) >= 14).expand(28, 28))
    dae = dae_sampler.load("mnist")
    x = dae_sampler.sample(dae, 3, seed=5, steps=10)
    y = tasks.measure(a, x, noise)
    for sampler, steps in (("iterate", 4), ("hqs", 4), ("dpm(eta=1)", 8)):
        made = dae_sampler.restore(dae, y, a, noise=noise, sampler=sampler, steps=steps)
        assert (a.misfit(made, y).sqrt() <= 1.1 * noise + 1e-6).all()


def test_a_restoration_is_nearer_than_the_pseudo_inverse_and_depends_on_its_index_alone():
    from dae_sampler.sampling.linear import smoothest

    dae, a = dae_sampler.load("mnist"), parse("downsample(2)")
    x = dae_sampler.sample(dae, 3, seed=5, steps=10)
    y = tasks.measure(a, x, 0.01)
    made = dae_sampler.restore(dae, y, a, noise=0.01, steps=6)
    alone = dae_sampler.restore(dae, y, a, noise=0.01, steps=6, batch=1)
    torch.testing.assert_close(made, alone, atol=1e-3, rtol=0)
    plain = (smoothest(a, y, 0.01) - x).square().mean()
    assert (made - x).square().mean() < 0.5 * plain


def test_large_holes_begin_from_their_edges():
    from dae_sampler.sampling.linear import smoothest

    x = torch.linspace(0.2, 0.8, 32).expand(1, 1, 24, 32)
    keep = torch.ones(24, 32, dtype=torch.bool)
    keep[8:16, 8:20] = False
    torch.testing.assert_close(smoothest(Mask(keep), x, 0.01), x, atol=0.02, rtol=0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("blur(0)", "blur takes a sigma from 0.1 to 100, got 0"),
        ("downsample(2.5)", "whole number"),
        ("motion(500, 0)", "length from 1 to 200"),
        ("mask(hole)", "in quotes"),
        ("mask('hole.png')", "give an operator"),
        ("haze(3)", "unknown operator"),
        ("blur(1.5", "expected"),
        ("downsample(2)", "is of a picture of 1x56x56, the model makes 1x28x28"),
        ("grey", "is of a picture of 3x28x28"),
    ],
)
def test_what_cannot_be_restored_is_said(text, message):
    with pytest.raises(InputError, match="(?s)" + message.replace("(", r"\(")):
        dae_sampler.restore(dae_sampler.load("mnist"), torch.zeros(1, 1, 28, 28), text)


def test_models_and_noises_that_do_not_go_are_said():
    x = torch.zeros(1, 1, 28, 28)
    with pytest.raises(InputError, match="over a range of levels"):
        dae_sampler.restore(dae_sampler.load("mnist-erasure"), x, "blur(1)")
    with pytest.raises(InputError, match="`noise` must be from"):
        dae_sampler.restore(dae_sampler.load("mnist"), x, "blur(1)", noise=0)
    with pytest.raises(InputError, match="cut it to a multiple"):
        parse("downsample(2)").apply(torch.zeros(1, 1, 7, 8))


class Same:
    """Takes everything for clean."""

    shape, device = (0, 0, 0), torch.device("cpu")

    def __init__(self, *errors):
        self.corruption = corruption.parse("gaussian(1/255..0.4)")
        self.card = Card(squared_error=errors)

    def __call__(self, x, level):
        return x


def test_each_picture_is_weighed_by_the_card_of_the_model_that_restores_it():
    grey, colour = (Same((0.01, v), (0.4, v)) for v in (1e-4, 2e-5))
    both = GreyOrColour(grey, colour)
    for channels, one in ((1, grey), (3, colour)):
        x, y = torch.full((1, channels, 4, 4), 0.5), torch.full((1, channels, 4, 4), 0.501)
        own, other = (
            Measured(dae, y, Mask(torch.ones(4, 4)), 0.01)(x, 0.1) for dae in (one, grey if one is colour else colour)
        )
        torch.testing.assert_close(Measured(both, y, Mask(torch.ones(4, 4)), 0.01)(x, 0.1), own, atol=0, rtol=0)
        assert (own - other).abs().min() > 1e-5


@pytest.mark.parametrize("noise", [1e-4, 0.01])
def test_the_smoothest_picture_fills_holes_from_their_edges(noise):
    ramp = torch.linspace(0.2, 0.8, 24).expand(1, 2, 16, 24)
    keep = torch.rand(16, 24, generator=torch.Generator().manual_seed(0)) < 0.5
    torch.testing.assert_close(smoothest(Mask(keep), ramp * keep, noise), ramp, atol=0.04, rtol=0)
    keep[:, 4:] = False
    flat = torch.tensor([0.3, 0.9]).reshape(1, 2, 1, 1).expand(1, 2, 16, 24)
    torch.testing.assert_close(smoothest(Mask(keep), flat * keep, noise), flat, atol=1e-3, rtol=0)


@pytest.mark.parametrize("text", ["grey", "blur(0.8)+grey"])
def test_the_smoothest_picture_of_a_grey_one_is_grey(text):
    x = torch.linspace(0.2, 0.8, 24).expand(1, 3, 16, 24)
    made = smoothest(parse(text), parse(text).apply(x), 0.01)
    torch.testing.assert_close(made, x, atol=0.03, rtol=0)
    torch.testing.assert_close(made[:, :1].expand_as(made), made, atol=1e-6, rtol=0)


@pytest.mark.parametrize(("high", "filled"), [(0.4, True), (20, False)])
def test_inpainting_begins_from_a_smooth_fill_where_noise_hides_no_picture(high, filled):
    dae, x, keep = Same(), torch.full((1, 3, 9, 12), 0.3), torch.ones(9, 12, dtype=torch.bool)
    dae.corruption = corruption.parse(f"gaussian(1/255..{high})")
    keep[2:5, 3:8] = False
    made = dae_sampler.inpaint(dae, x * keep, keep, sampler="iterate", steps=1)
    assert ((made - x).abs().max() < 1e-3) == filled
