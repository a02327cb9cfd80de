import pytest
import torch

from dae_sampler import DenoisingAutoencoder, InputError, Recipe, fit, load, save
from dae_sampler.noise import StepNoise

RANGE = "gaussian(0.05..5)"
NETS = ["unet(8, 16)", "conv(width=8, code=8)", "dense(32)"]


def random(net):
    """A model of 8x8 images in which every weight counts."""
    torch.manual_seed(0)
    dae = DenoisingAutoencoder(net, RANGE, (1, 8, 8))
    for weight in dae.parameters():
        torch.nn.init.normal_(weight, std=0.2)
    return dae


@pytest.fixture(scope="module")
def two_points():
    """A DAE trained on two images, all 0.2 and all 0.8, for which everything is known exactly."""
    torch.manual_seed(0)
    images = torch.tensor([0.2, 0.8]).reshape(2, 1, 1, 1).expand(2, 1, 2, 2).repeat(64, 1, 1, 1)
    dae = DenoisingAutoencoder("dense(64, 64, 64)", "gaussian(0.15..1)", (1, 2, 2))
    return fit(dae, images, Recipe(steps=500, batch=96, lr=5e-3, every=500))


def exact_score(x, sigma):
    """Gradient of log(N(x; 0.2, sigma^2 I) + N(x; 0.8, sigma^2 I)) by autograd."""
    x = x.clone().requires_grad_()
    distances = torch.stack([(x - p).flatten(1).square().sum(1) for p in (0.2, 0.8)], 1)
    torch.logsumexp(-distances / (2 * sigma**2), 1).sum().backward()
    return x.grad


@pytest.mark.parametrize("sigma", [0.2, 0.4, 0.8])
def test_score_identity(two_points, sigma):
    clean = torch.tensor([0.2, 0.8]).repeat(500).reshape(-1, 1, 1, 1).expand(-1, 1, 2, 2)
    x = two_points.corruption(clean, torch.tensor(sigma), StepNoise(1, 1))
    exact, learned = exact_score(x, sigma), two_points.score(x, sigma)
    assert ((learned - exact).norm() / exact.norm()).item() < 0.1
    assert torch.cosine_similarity(learned.flatten(), exact.flatten(), dim=0).item() > 0.99


def test_level_takes_every_usual_form():
    dae = DenoisingAutoencoder("dense(16)", RANGE, (1, 4, 4))
    x = torch.rand(3, 1, 4, 4)
    one, each = dae(x, 0.5), dae(x, torch.full((3,), 0.5))
    assert torch.equal(dae(x, torch.tensor(0.5)), one)
    assert torch.equal(dae(x, torch.full((3, 1, 1, 1), 0.5)), each)
    torch.testing.assert_close(each, one)  # a matrix product may round one row and three differently


@pytest.mark.parametrize("net", NETS)
def test_one_level_for_all_is_that_level_for_each(net):
    dae, x = random(net), torch.rand(3, 1, 8, 8)
    torch.testing.assert_close(dae(x, torch.full((3,), 0.5)), dae(x, 0.5))


@pytest.mark.parametrize("net", NETS)
def test_gradients_or_not_the_reconstruction_is_the_same(net):
    dae = random(net).requires_grad_(False)
    x = torch.rand(3, 1, 8, 8)
    before, followed = x.clone(), x.clone().requires_grad_()
    assert torch.equal(dae(x, 0.5), dae(followed, 0.5))
    assert torch.equal(x, before)


def test_each_image_has_its_own_level():
    dae = DenoisingAutoencoder("dense(16)", RANGE, (1, 4, 4))
    x = torch.rand(2, 1, 4, 4)
    both = dae(x, torch.tensor([0.1, 3.0]))
    torch.testing.assert_close(both[1:], dae(x[1:], 3.0))
    assert not torch.equal(both[:1], dae(x[:1], 3.0))


def test_one_level_is_blind_and_needs_no_telling():
    dae = DenoisingAutoencoder("dense(16)", "gaussian(0.5)", (1, 4, 4))
    x = torch.rand(2, 1, 4, 4)
    assert dae.embed is None
    assert torch.equal(dae(x), dae(x, 0.5))
    with pytest.raises(InputError, match="say at which level"):
        DenoisingAutoencoder("dense(16)", RANGE, (1, 4, 4))(x)


def test_score_is_refused_where_there_is_none():
    x = torch.rand(1, 1, 4, 4)
    for corruption, loss in (
        ("salt-pepper(0.3)", "bce"),
        ("masking(0.1)+gaussian(0.3)", "bce"),
        ("gaussian(0.5)", "mae"),
    ):
        with pytest.raises(InputError, match="no score"):
            DenoisingAutoencoder("dense(16)", corruption, (1, 4, 4), loss).score(x)


@pytest.mark.parametrize("net", ["unet(16, 32)", "conv(width=8, code=8)", "dense(32)"])
def test_bfloat16_keeps_logits_near_and_unrounded(net):
    torch.manual_seed(0)
    dae = DenoisingAutoencoder(net, RANGE, (1, 16, 16)).eval()
    x = torch.rand(4, 1, 16, 16)
    exact = dae.logits(x, 0.3)
    dae.precision = "bfloat16"
    rough = dae.logits(x, 0.3)
    assert (rough - exact).abs().max() < 0.05
    assert not torch.equal(rough, rough.bfloat16().float())
    assert (dae.train().logits(x, 0.3) - exact).abs().max() < 0.05  # may be rounded


def test_gradients_flow_through_denoising():
    dae = DenoisingAutoencoder("unet(8)", RANGE, (1, 8, 8))
    x = torch.rand(1, 1, 8, 8, requires_grad=True)
    dae(x, 0.3).sum().backward()
    assert x.grad.abs().sum() > 0


def test_unknown_loss_gets_a_hint():
    with pytest.raises(InputError, match="did you mean 'bce'"):
        DenoisingAutoencoder("dense(16)", RANGE, (1, 4, 4), "bec")


@pytest.mark.parametrize("net", NETS)
def test_a_compiled_model_computes_trains_and_is_saved_as_the_model_it_is(net, tmp_path):
    dae = random(net)
    compiled = torch.compile(dae, backend="aot_eager")
    x = torch.rand(3, 1, 8, 8)
    torch.testing.assert_close(compiled(x, 0.5), dae(x, 0.5))
    compiled.train()(x, 0.5).sum().backward()
    assert all(weight.grad is not None for weight in dae.parameters())
    save(compiled, tmp_path / "m.safetensors")
    torch.testing.assert_close(load(tmp_path / "m.safetensors", precision="float32")(x, 0.5), dae.eval()(x, 0.5))


def test_one_seed_is_one_model_whatever_was_drawn_before():
    images = torch.randint(256, (40, 1, 4, 4), dtype=torch.uint8)
    found = []
    for _ in range(2):
        torch.rand(7)
        before = torch.random.get_rng_state()
        dae = DenoisingAutoencoder("dense(8)", RANGE, (1, 4, 4))
        assert torch.equal(torch.random.get_rng_state(), before)
        found.append(fit(dae, images, Recipe(steps=3, batch=8, seed=7)))
    other = DenoisingAutoencoder("dense(8)", RANGE, (1, 4, 4), seed=1)
    assert all(torch.equal(a, b) for a, b in zip(found[0].parameters(), found[1].parameters(), strict=True))
    assert not torch.equal(
        next(other.parameters()), next(DenoisingAutoencoder("dense(8)", RANGE, (1, 4, 4)).parameters())
    )


@pytest.mark.parametrize(("shape", "cure"), [((32, 32, 3), r"\(3, 32, 32\)"), ((28, 28, 1), r"\(1, 28, 28\)")])
def test_channels_given_last_get_the_cure(shape, cure):
    with pytest.raises(InputError, match=cure):
        DenoisingAutoencoder("dense(8)", RANGE, shape)
