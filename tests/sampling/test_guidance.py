"""Labels, and guidance towards them, against their closed forms."""

import pytest
import torch

import dae_sampler
from dae_sampler import DenoisingAutoencoder, InputError, Recipe
from dae_sampler.data.dataset import Dataset
from dae_sampler.data.labels import Labels
from dae_sampler.noise import ImageNoise
from dae_sampler.sampling.guidance import Guided, drawn_classes

NAMES = ("dark", "bright")


def model(corruption="gaussian(0.05..5)", labels=NAMES, net="dense(16)"):
    """A model with weights at random, in which labels matter."""
    dae = DenoisingAutoencoder(net, corruption, (1, 4, 4), labels=labels).eval().requires_grad_(False)
    for name, weight in dae.named_parameters():
        torch.nn.init.normal_(weight, std=1.0 if "label" in name else 0.3)
    return dae


def test_a_model_that_learns_labels_begins_as_the_one_without():
    plain, told = (
        DenoisingAutoencoder("unet(8)", "gaussian(0.05..5)", (1, 8, 8), labels=n).eval() for n in ((), NAMES)
    )
    x = torch.rand(3, 1, 8, 8)
    for label in (None, 1, torch.tensor([0, -1, 1])):
        assert torch.equal(told(x, 0.5, label), plain(x, 0.5))


@pytest.mark.parametrize("text", ["gaussian(0.05..5)", "gaussian(0.5)", "erasure(0..1)", "gaussian(0.1..1, told=0)"])
@pytest.mark.parametrize("net", ["dense(16)", "conv(width=8, code=8)", "unet(8)"])
def test_each_image_has_its_own_label_and_none_is_any(text, net, tmp_path):
    dae, level = model(text, net=net), 0.5
    x = dae.corruption.draw(torch.rand(3, 1, 4, 4).round(), torch.tensor(level), ImageNoise(0, 0, 3)).x_tilde
    together = dae(x, level, torch.tensor([0, 1, -1]))
    alone = torch.cat([dae(x[i : i + 1], level, label) for i, label in enumerate((0, 1, None))])
    torch.testing.assert_close(together, alone)
    assert (dae(x, level, 0) - dae(x, level, 1)).abs().max() > 1e-3
    dae_sampler.save(dae, tmp_path / "m.safetensors")
    again = dae_sampler.load(tmp_path / "m.safetensors", precision="float32")
    assert again.card.labels == NAMES
    assert torch.equal(again(x, level, 1), dae(x, level, 1))


@pytest.mark.parametrize("weight", [0.5, 1.5, 4.0])
def test_under_erasure_guidance_is_the_product_of_bernoullis(weight):
    dae = model("erasure(0..1)")
    x = dae.corruption.draw(torch.rand(5, 1, 4, 4).round(), torch.tensor(0.6), ImageNoise(0, 0, 5)).x_tilde
    free, told = (torch.sigmoid(dae.logits(x, 0.6, label).double()) for label in (None, 1))
    one = free ** (1 - weight) * told**weight
    zero = (1 - free) ** (1 - weight) * (1 - told) ** weight
    erased = x[:, 1:] == 0
    guided = Guided(dae, 1, weight)(x, 0.6)
    torch.testing.assert_close(guided[erased].double(), (one / (one + zero))[erased], atol=1e-5, rtol=0)
    assert torch.equal(guided[~erased], x[:, :1][~erased])


@pytest.mark.parametrize("space", ["logits", "pixels"])
def test_weights_0_and_1_are_the_model_itself_and_logits_stay_inside(space):
    dae, x = model(), 3 * torch.randn(5, 1, 4, 4)
    label = torch.tensor([0, 1, 1, 0, 1])
    torch.testing.assert_close(Guided(dae, label, 0, space)(x, 0.5), dae(x, 0.5))
    torch.testing.assert_close(Guided(dae, label, 1, space)(x, 0.5), dae(x, 0.5, label))
    near = Guided(dae, label, 1 + 1e-6, space)(x, 0.5)
    torch.testing.assert_close(near, dae(x, 0.5, label), atol=1e-4, rtol=0)
    far = Guided(dae, label, 100, space)(x, 0.5)
    assert ((far >= 0) & (far <= 1)).all() == (space == "logits")


def test_every_task_takes_a_label_by_name_or_number():
    dae, x = model(), torch.rand(2, 1, 4, 4)
    keep = torch.arange(16).view(4, 4) < 8
    for task, options in (
        ("sample", {}),
        ("refine", {"images": x}),
        ("denoise", {"images": x, "level": 0.5}),
        ("inpaint", {"images": x, "keep": keep}),
    ):
        run = getattr(dae_sampler, task)
        options |= {"steps": 2} | ({"n": 2} if task == "sample" else {})
        named = run(dae, **options, label="bright", guidance=2)
        assert torch.equal(run(dae, **options, label=1, guidance=2), named)
        assert not torch.equal(run(dae, **options), named)


def test_a_sample_depends_on_its_own_label_alone():
    dae = model()
    mixed = dae_sampler.sample(dae, 5, label=["bright", "dark", 1, 0, "dark"], steps=2, batch=2, guidance=1.5)
    for number in (0, 1):
        same = dae_sampler.sample(dae, 5, label=number, steps=2, guidance=1.5)
        rows = [i for i, label in enumerate((1, 0, 1, 0, 0)) if label == number]
        torch.testing.assert_close(mixed[rows], same[rows])


def test_without_a_label_each_image_is_drawn_as_its_class_is_and_minus_one_is_told_none():
    dae = model()
    drawn = drawn_classes(dae, 400, 0, 0)
    assert drawn.double().mean().item() == pytest.approx(0.5, abs=0.1)
    assert torch.equal(drawn_classes(dae, 100, 0, 300), drawn[300:])
    samples = dae_sampler.sample(dae, 6, steps=2, batch=4, guidance=2)
    torch.testing.assert_close(samples, dae_sampler.sample(dae, 6, label=drawn[:6], steps=2, guidance=2))
    none = dae_sampler.sample(dae, 6, label=[-1] * 6, steps=2)
    torch.testing.assert_close(none, dae_sampler.sample(Guided(dae, 0, 0.0), 6, steps=2))


def test_what_has_no_meaning_is_refused_in_a_sentence():
    dae, plain = model(), model(labels=())
    for arguments, words in (
        ({"label": "green"}, "knows no `label` green: it knows dark, bright"),
        ({"label": 2}, "knows no `label` 2"),
        ({"label": [0, 1]}, "2 labels for 3 images"),
        ({"label": 0, "guidance": -1}, "0 or more"),
    ):
        with pytest.raises(InputError, match=words):
            dae_sampler.sample(dae, 3, steps=1, **arguments)
    with pytest.raises(InputError, match="needs a `label`"):
        dae_sampler.sample(plain, 3, guidance=2)
    for ask in (lambda: dae_sampler.sample(plain, 3, label="dark"), lambda: plain(torch.rand(1, 1, 4, 4), 1, 0)):
        with pytest.raises(InputError, match="train one with `labels`"):
            ask()
    with pytest.raises(InputError, match="from 0 to 1"):
        dae(torch.rand(1, 1, 4, 4), 1, 2)


def test_training_with_labels_makes_a_model_that_knows_them_and_one_that_does_not_need_them():
    x = torch.tensor([0.1, 0.9]).repeat(100).view(200, 1, 1, 1).expand(-1, 1, 4, 4).contiguous()
    data = Dataset(x, "greys", (0.0, 1.0), labels=Labels(torch.arange(200) % 2, NAMES))
    dae = DenoisingAutoencoder("dense(32)", "gaussian(3..5)", (1, 4, 4), labels=NAMES)
    dae_sampler.fit(dae, data, Recipe(steps=200, batch=32, lr=0.02, label_dropout=0.3, every=200))
    noisy = 0.5 + 4 * torch.randn(300, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    means = [dae(noisy, 4.0, label).mean().item() for label in (0, 1, None)]
    assert means == pytest.approx([0.1, 0.9, 0.5], abs=0.1)
    with pytest.raises(InputError, match="labels dark, bright"):
        dae_sampler.fit(dae, x, Recipe(steps=1))


def test_a_guided_model_that_leaves_the_range_reveals_its_surest_pixels():
    class Sure(DenoisingAutoencoder):
        def logits(self, x_tilde, level=None, label=None):
            return torch.full_like(x_tilde[:, :-1], 3.0 if label is not None else 0.0)

    dae = Sure("dense(4)", "erasure(0..1)", (1, 4, 4), labels=NAMES).eval()
    for space in ("logits", "pixels"):
        assert (dae_sampler.sample(Guided(dae, 1, 2.5, space), 4) == 1).double().mean() > 0.95


def test_labels_are_whole_numbers_and_seeds_are_not_negative():
    with pytest.raises(InputError, match="whole numbers"):
        dae_sampler.sample(model(), 2, label=torch.tensor([0.5, 1.7]))
    for dae in (model(), model(labels=())):
        with pytest.raises(InputError, match="`seed` must be 0 or more"):
            dae_sampler.sample(dae, 2, seed=-1)
