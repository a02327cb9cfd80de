"""The model that training begins from."""

import math

import pytest
import torch

from dae_sampler import DenoisingAutoencoder, InputError, load, save
from dae_sampler.training.recipe import Job
from dae_sampler.training.start import completed, for_channels, load_weights

TEXT = "gaussian(1/255..100/255)"


def random(net="unet(8, 8)", corruption=TEXT, shape=(1, None, None)):
    dae = DenoisingAutoencoder(net, corruption, shape, seed=1).eval().requires_grad_(False)
    for weight in dae.parameters():
        torch.nn.init.normal_(weight, std=0.2)
    return dae


@pytest.fixture
def source(tmp_path):
    """A model with random weights, and its file."""
    dae = random()
    save(dae, tmp_path / "m.safetensors")
    return dae, str(tmp_path / "m.safetensors")


def test_network_and_corruption_are_those_of_the_source_unless_given(source):
    job = Job(start=source[1])
    assert (completed(job, set()).net, completed(job, set()).corruption) == ("unet(8, 8)", TEXT)
    assert completed(job, {"net"}).net == job.net
    assert completed(Job(), set()) == Job()


def test_of_a_pair_the_model_for_the_channels_of_the_pictures_is_taken():
    job = completed(Job(start="photo"), set())
    for channels, name in ((1, "photo-grey"), (3, "photo-colour")):
        card = load(name).card
        fitting = for_channels(job, channels)
        assert (fitting.net, fitting.corruption) == (card.net, card.corruption)
        load_weights(DenoisingAutoencoder(card.net, card.corruption, (channels, None, None)), "photo")
    assert for_channels(completed(Job(start="photo", net="unet(8)"), {"net"}), 1).net == "unet(8)"


def test_a_network_that_is_not_told_the_level_begins_as_the_source_is_at_one(source):
    dae, path = source
    blind = DenoisingAutoencoder("unet(8, 8)", TEXT.replace(")", ", told=0)"), (1, None, None)).eval()
    note = load_weights(blind, path)
    level = math.sqrt(1 / 255 * 100 / 255)
    assert f"{level:.3g}" in note
    x = torch.rand(2, 1, 16, 24)
    scaled = dae.corruption.scale(x, torch.tensor(level))  # what the source's network sees at that level
    with torch.no_grad():
        torch.testing.assert_close(torch.sigmoid(blind.net(scaled, None)), dae(x, level))


def test_what_does_not_fit_is_refused_with_what_would(source):
    with pytest.raises(InputError, match=r"unet\(8, 8\).*same `net`"):
        load_weights(DenoisingAutoencoder("unet(16, 8)", TEXT, (1, None, None)), source[1])


def test_classes_of_the_same_names_keep_their_vectors_in_any_order(tmp_path):
    source = DenoisingAutoencoder("unet(8)", TEXT, (1, None, None), labels=("cat", "dog", "owl")).eval()
    for weight in source.parameters():
        torch.nn.init.normal_(weight, std=0.2)
    save(source, tmp_path / "m.safetensors")
    other = DenoisingAutoencoder("unet(8)", TEXT, (1, None, None), labels=("owl", "cat", "dog")).eval()
    assert load_weights(other, str(tmp_path / "m.safetensors")) == ""
    x = torch.rand(1, 1, 8, 8)
    with torch.no_grad():
        for ours, theirs in ((0, 2), (1, 0), (2, 1), (None, None)):
            torch.testing.assert_close(other(x, 0.1, ours), source(x, 0.1, theirs))
    new = DenoisingAutoencoder("unet(8)", TEXT, (1, None, None), labels=("a", "b", "c"))
    assert "others than those" in load_weights(new, str(tmp_path / "m.safetensors"))


@pytest.mark.parametrize("net", ["unet(8)", "dense(8)"])
@pytest.mark.parametrize("known", [(), ("a", "b")])
@pytest.mark.parametrize("text", ["gaussian(0.2)", "gaussian(0.1..0.4)"])
def test_without_a_sense_of_the_level_classes_begin_as_the_source_is(tmp_path, net, known, text):
    source = DenoisingAutoencoder(net, text, (1, 8, 8), labels=known).eval()
    for weight in source.parameters():
        torch.nn.init.normal_(weight, std=0.2)
    save(source, tmp_path / "m.safetensors")
    if net == "dense(8)" and source.corruption.ranged:
        return  # what the level adds can be folded into the biases of residual blocks alone
    new = DenoisingAutoencoder(net, "gaussian(0.2)", (1, 8, 8), labels=("a", "b")).eval()
    load_weights(new, str(tmp_path / "m.safetensors"))
    x = torch.rand(2, 1, 8, 8)
    with torch.no_grad():
        for label in (None, *range(len(known))):
            torch.testing.assert_close(new(x, 0.2, label), source(x, 0.2, label))
