"""Pictures of any size: shifts, tiles, crops."""

import pytest
import torch

import dae_sampler
from dae_sampler import DenoisingAutoencoder, InputError, Recipe, fit, load, save
from dae_sampler.tiles import GreyOrColour, Tiled, for_pictures, tiled

ANY = (1, None, None)
NETS = ["unet(8)", "unet(8, 8)", "unet(8, 8, blocks=2, patch=1)"]


def random(net="unet(8, 8)", corruption="gaussian(0.01..0.4)", shape=ANY):
    dae = DenoisingAutoencoder(net, corruption, shape).eval().requires_grad_(False)
    for name, weight in dae.named_parameters():
        if weight.ndim > 1:
            torch.nn.init.normal_(weight, std=0.2)
        elif "bias" in name:
            torch.nn.init.normal_(weight, std=0.1)
    return dae


@pytest.mark.parametrize("net", NETS)
def test_no_pixel_sees_farther_than_the_radius_and_some_see_as_far(net):
    dae = random(net).train().double()  # in evaluation the last layer is float32
    stride, radius = dae.card.stride, dae.card.radius
    middle, side = 4 * radius, 8 * radius
    x = torch.rand(1, 1, side, side, dtype=torch.float64)
    farthest = 0
    for at in range(middle, middle + stride):
        x.requires_grad_()
        out = dae.net(x, torch.zeros(1, dae.net.embedding).double())[0, 0, at, at]
        (gradient,) = torch.autograd.grad(out, x)
        farthest = max(farthest, (torch.nonzero(gradient[0, 0]) - at).abs().max().item())
    assert radius - stride <= farthest <= radius


@pytest.mark.parametrize("net", NETS)
def test_the_network_shifts_with_its_input_by_its_stride(net):
    dae = random(net)
    stride, radius = dae.card.stride, dae.card.radius
    x = torch.rand(1, 1, 4 * radius, 4 * radius + stride)
    inside = slice(radius, 3 * radius)
    left, right = dae(x[..., :-stride], 0.1), dae(x[..., stride:], 0.1)
    torch.testing.assert_close(
        left[:, :, inside, radius + stride : 3 * radius], right[:, :, inside, radius : 3 * radius - stride]
    )


@pytest.mark.parametrize("size", [(70, 131), (64, 64), (1, 200), (97, 5)])
def test_tiles_give_what_the_whole_picture_gives(size):
    dae = random()
    x = torch.rand(2, 1, *size)
    torch.testing.assert_close(Tiled(dae, tile=16, halo=dae.card.radius)(x, 0.1), dae(x, 0.1), atol=1e-5, rtol=0)
    assert (Tiled(dae, tile=16, halo=0)(x, 0.1) - dae(x, 0.1)).abs().max() > 1e-4 or max(size) <= 64


@pytest.mark.parametrize(("precision", "bound"), [("float32", 1e-5), ("bfloat16", 0.01)])
def test_one_seed_gives_one_result_however_it_is_computed(precision, bound):
    dae = random()
    dae.precision = precision
    x, plan = torch.rand(3, 1, 40, 56), {"level": 0.1, "sampler": "walk", "steps": 3, "seed": 1}
    together = dae_sampler.refine(dae, x, **plan)
    for one, options in ((dae, {"batch": 1}), (dae, {"batch": 2}), (Tiled(dae, tile=16, halo=dae.card.radius), {})):
        made = dae_sampler.refine(one, x, **plan, **options)
        assert (made - together).square().mean().sqrt() < bound
    other = dae_sampler.refine(dae, x, **plan | {"seed": 2})
    assert (other - together).square().mean().sqrt() > 2 * bound


def test_tiles_of_something_simple_are_the_whole():
    x = torch.rand(1, 2, 33, 50)
    for tile in (4, 8, 64):
        assert torch.equal(tiled(lambda some: 2 * some, x, tile, 4), 2 * x)


@pytest.mark.parametrize("task", ["refine", "denoise"])
@pytest.mark.parametrize("sampler", ["iterate", "walk", "heun", "dpm(eta=1)"])
def test_every_sampler_restores_pictures_of_any_size_in_tiles(task, sampler):
    dae, x = random(), torch.rand(2, 1, 70, 33)
    options = {"sampler": sampler, "steps": 2, "level": 0.1}
    whole = getattr(dae_sampler, task)(dae, x, **options)
    assert whole.shape == x.shape
    torch.testing.assert_close(getattr(dae_sampler, task)(Tiled(dae, 16), x, **options), whole, atol=1e-4, rtol=0)


def test_sampling_needs_noise_that_hides_and_a_size():
    with pytest.raises(InputError, match="too weak to begin from"):
        dae_sampler.sample(random(), 1, size=(20, 10))
    texture = random(corruption="gaussian(0.01..20)")
    with pytest.raises(InputError, match="give the one you want"):
        dae_sampler.sample(texture, 1)
    assert dae_sampler.sample(texture, 2, size=(20, 10), steps=2).shape == (2, 1, 10, 20)
    with pytest.raises(InputError, match="leave out `size`"):
        dae_sampler.sample(DenoisingAutoencoder("dense(8)", shape=(1, 8, 8)), 1, size=(20, 10))


def test_networks_that_see_the_whole_picture_have_one_size():
    for net in ("dense(8)", "conv(code=8)", "unet(8, attention=1)"):
        with pytest.raises(InputError, match="size"):
            DenoisingAutoencoder(net, shape=ANY)


def test_a_model_of_any_size_is_saved_and_trained_on_images_of_one(tmp_path):
    dae = DenoisingAutoencoder("unet(8)", "gaussian(1/255..100/255)", ANY)
    fit(dae, torch.randint(256, (20, 1, 12, 12), dtype=torch.uint8), Recipe(steps=2, batch=4))
    save(dae, tmp_path / "m.safetensors")
    again = load(tmp_path / "m.safetensors", precision="float32")
    assert (again.card.size, again.card.stride, again.card.radius) == (None, 2, 13)
    x = torch.rand(1, 1, 9, 17)
    assert torch.equal(again(x, 0.1), dae(x, 0.1))


def test_grey_pictures_go_through_the_grey_model_and_colour_through_the_other():
    grey, colour = random(), random(shape=(3, None, None))
    both = for_pictures(colour, grey)
    assert isinstance(both, GreyOrColour)
    x = torch.rand(2, 3, 20, 28)
    assert torch.equal(both(x, 0.1), colour(x, 0.1))
    assert torch.equal(both(x[:, :1], 0.1), grey(x[:, :1], 0.1))
    torch.testing.assert_close(both(x[:, :2], 0.1)[:, 1:], grey(x[:, 1:2], 0.1))


@pytest.mark.parametrize("name", ["photo-grey", "photo-colour"])
def test_the_usual_halo_is_wide_enough_for_the_models_that_ship(name):
    dae = load(name)
    x = torch.rand(1, dae.shape[0], 40, 300, generator=torch.Generator().manual_seed(0))
    x = torch.nn.functional.avg_pool2d(x, 9, 1, 4) + 0.1 * torch.randn(
        x.shape, generator=torch.Generator().manual_seed(1)
    )
    with torch.no_grad():
        difference = Tiled(dae, tile=64)(x, 0.1) - dae(x, 0.1)
    assert 0 < difference.abs().max() < 1 / 255
