"""Features: what they are, that gradients reach them, and what is taken if nothing is said."""

from dataclasses import replace

import pytest
import torch

from dae_sampler import Card, DenoisingAutoencoder, InputError, Recipe, fit, load, save

X = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
NETS = ["dense(16, 4, 16)", "conv(width=8, code=6)", "unet(8, 16)"]
CORRUPTIONS = ["gaussian(0.02..20)", "gaussian(0.5)", "masking(0..1)", "erasure(0..1)", "gaussian(0.1..1, told=0)"]


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("corruption", CORRUPTIONS)
def test_every_network_under_every_corruption_has_features(net, corruption):
    dae = DenoisingAutoencoder(net, corruption, (1, 8, 8)).eval()
    for stage in dae.net.stages:
        features = dae.encode(X, stage=stage)
        assert features.ndim == 2
        assert len(features) == 3
        torch.testing.assert_close(dae.encode(X[1:2], stage=stage), features[1:2])  # whatever the batch
    assert dae.encode((255 * X).byte().numpy()).shape == dae.encode(X).shape


def test_a_code_and_the_last_stage_are_all_that_the_output_depends_on():
    for net, stage in (("dense(16, 4, 16)", "code"), ("conv(width=8, code=6)", "code")):
        dae = DenoisingAutoencoder(net, "gaussian(0.5)", (1, 8, 8)).eval()
        layer = dae.net.layers[1] if net.startswith("dense") else dae.net.to_code
        seen = []
        layer.register_forward_hook(lambda m, i, out, seen=seen: seen.append(out))
        dae.logits(X, 0.5)
        code = torch.relu(seen[0]) if net.startswith("dense") else seen[0]
        torch.testing.assert_close(dae.encode(X, stage=stage), code)


def test_maps_are_pooled_to_their_means():
    dae = DenoisingAutoencoder("unet(8, 16)", "gaussian(0.02..20)", (1, None, None)).eval()
    x = torch.rand(1, 1, 24, 40)
    maps = dae.encode(x, stage="down2", pool=0)
    assert maps.shape == (1, 16, 6, 10)
    torch.testing.assert_close(dae.encode(x, stage="down2", pool=1), maps.mean((2, 3)))
    halves = torch.stack([maps[..., :3, :5], maps[..., :3, 5:], maps[..., 3:, :5], maps[..., 3:, 5:]], 2)
    torch.testing.assert_close(dae.encode(x, stage="down2", pool=2), halves.mean((3, 4)).flatten(1))


@pytest.mark.parametrize("stage", ["down1", "down2", "up1"])
def test_a_large_picture_is_encoded_in_tiles_as_the_whole_would_be(stage, monkeypatch):
    dae = DenoisingAutoencoder("unet(8, 16)", "gaussian(0.02..20)", (1, None, None)).eval()
    x, seen = torch.rand(1, 1, 21, 701), []
    inner = dae.net.inner
    monkeypatch.setattr(dae.net, "inner", lambda x_in, c: seen.append(x_in.shape[-1]) or inner(x_in, c))
    in_tiles = dae.encode(x, stage=stage, pool=0)
    assert max(seen) < 701
    monkeypatch.setattr("dae_sampler.tiles.Tiled.each", lambda self, function, x: function(x))
    whole = dae.encode(x, stage=stage, pool=0)
    assert max(seen) == 701
    torch.testing.assert_close(in_tiles, whole, atol=1e-5, rtol=1e-4)


def test_gradients_reach_the_encoder_and_leave_the_model(tmp_path):
    save(DenoisingAutoencoder("unet(8)", "gaussian(0.02..20)", (1, 8, 8)), tmp_path / "m.safetensors")
    dae = load(tmp_path / "m.safetensors")
    before = dae.encode(X, stage="down1")
    encoder = dae.encoder(stage="down1")
    head = torch.nn.Linear(encoder(X).shape[1], 2)
    torch.nn.functional.cross_entropy(head(encoder(X)), torch.tensor([0, 1, 0])).backward()
    with torch.no_grad():
        for weight in encoder.parameters():
            if weight.grad is not None:  # those after the stage have none
                weight -= weight.grad
    assert not torch.allclose(encoder(X), before)
    assert torch.equal(dae.encode(X, stage="down1"), before)


def test_what_is_asked_for_comes_before_the_card_and_the_card_before_what_is_usual():
    dae = DenoisingAutoencoder("unet(8, 16)", "gaussian(0.02..20)", (1, 8, 8))
    plan = {"stage": "up2", "level": 0.3, "pool": 1}
    dae.card = replace(dae.card, plans={"encode": plan})
    assert vars(dae.encoder().encoding) == plan
    assert vars(dae.encoder(stage="down1", level=1).encoding) == plan | {"stage": "down1", "level": 1}
    for wrong in ({"stage": "down9"}, {"level": 50.0}, {"pool": -1}):
        with pytest.raises(InputError):
            dae.encode(X, **wrong)
    with pytest.raises(InputError, match="plans"):
        Card(plans={"encode": {"sampler": "euler", "steps": 3}})


def test_l1_makes_codes_small_and_needs_a_code():
    images = torch.rand(64, 1, 8, 8)
    recipe = Recipe(steps=60, batch=16, held_out=0)
    codes = []
    for l1 in (0.0, 1.0):
        dae = DenoisingAutoencoder("dense(16, 4, 16)", "gaussian(0.5)", (1, 8, 8))
        codes.append(fit(dae, images, replace(recipe, l1=l1)).encode(images).abs().mean())
    assert codes[1] < codes[0] / 2
    with pytest.raises(InputError, match="l1"):
        fit(DenoisingAutoencoder("unet(8)", "gaussian(0.5)", (1, 8, 8)), images, replace(recipe, l1=1.0))
