"""What the public functions take and give back, and how the tasks behave between two batches."""

import numpy as np
import pytest
import torch
from conftest import GaussianData

import dae_sampler
from dae_sampler import DenoisingAutoencoder, InputError
from dae_sampler.card import Card
from dae_sampler.sampling import tasks
from dae_sampler.sampling.plan import resolve

KEEP = torch.arange(16).reshape(4, 4) < 8


@pytest.fixture
def dae():
    return DenoisingAutoencoder("dense(8)", "gaussian(0.02..5)", (1, 4, 4)).eval().requires_grad_(False)


def every_task(dae, x):
    yield dae_sampler.sample(dae, 2, steps=2)
    yield dae_sampler.refine(dae, x, steps=2)
    yield dae_sampler.denoise(dae, x, level=0.5, steps=2)
    yield dae_sampler.inpaint(dae, x, KEEP, steps=2)


def test_results_can_be_changed_trained_on_and_differentiated(dae):
    for made in every_task(dae, torch.rand(2, 1, 4, 4)):
        assert not made.is_inference()
        assert not made.requires_grad
        made.mul_(0.5)
        made.requires_grad_().sum().backward()
        dae_sampler.fit(DenoisingAutoencoder("dense(4)", shape=(1, 4, 4)), made, dae_sampler.Recipe(steps=1, batch=2))


@pytest.mark.parametrize("mode", [True, False])
def test_the_mode_of_gradients_is_the_callers_between_batches(dae, mode):
    plan = resolve("sample", dae, steps=2)
    x = torch.rand(4, 1, 4, 4)
    batches = x.split(2)
    with torch.set_grad_enabled(mode):
        for task in (
            tasks.sample(dae, 4, plan, batch=2),
            tasks.refine(dae, batches, plan.at(0.5)),
            tasks.denoise(dae, batches, plan.at(0.5)),
            tasks.inpaint(dae, [(some, KEEP) for some in batches], resolve("inpaint", dae, steps=2)),
        ):
            for _ in task:
                assert torch.is_grad_enabled() == mode


def test_gradients_reach_the_images_where_they_are_asked_for(dae):
    x = torch.rand(2, 1, 4, 4, requires_grad=True)
    dae_sampler.denoise(dae, x, level=0.5, steps=2, sampler="heun", grad=True).sum().backward()
    assert x.grad.abs().sum() > 0
    assert not dae_sampler.denoise(dae, x, level=0.5, steps=2).requires_grad


def test_an_exception_between_steps_ends_a_task(dae):
    class CancelledError(Exception):
        pass

    seen = []

    def cancel(state):
        seen.append(state.level)
        if len(seen) == 3:
            raise CancelledError

    with pytest.raises(CancelledError):
        dae_sampler.sample(dae, 4, steps=10, batch=2, on_step=cancel)
    assert len(seen) == 3
    assert torch.is_grad_enabled()


def test_tasks_read_as_they_write(dae):
    read = []

    def batches():
        for i in range(1000):
            read.append(i)
            yield torch.rand(2, 1, 4, 4)

    made = tasks.refine(dae, batches(), resolve("refine", dae, steps=1))
    for _ in range(3):
        next(made)
    assert read == [0, 1, 2]


@pytest.mark.parametrize("kind", ["uint8", "bool", "float64", "float16", "numpy", "numpy uint8"])
def test_every_form_of_the_same_images_gives_the_same(dae, kind):
    x = torch.randint(2, (3, 1, 4, 4)).float()
    same = {
        "uint8": (255 * x).byte(),
        "bool": x.bool(),
        "float64": x.double(),
        "float16": x.half(),
        "numpy": x.numpy(),
        "numpy uint8": (255 * x).byte().numpy(),
    }[kind]
    for made, expected in zip(every_task(dae, same), every_task(dae, x), strict=True):
        assert torch.equal(made, expected)
    if "bool" not in kind:
        assert torch.equal(dae(same, 0.5), dae(x, 0.5))


def test_what_has_no_one_meaning_is_refused(dae):
    x = torch.rand(2, 1, 4, 4)
    for bad in (255 * x, x.long(), x * torch.nan, x[0], x[:, :, :3], torch.rand(2, 4, 4, 1), x.int().numpy(), x - 9):
        with pytest.raises(InputError):
            dae_sampler.denoise(dae, bad, level=0.5)
        with pytest.raises(InputError):
            dae_sampler.inpaint(dae, bad, KEEP)
    for bad in (x.long(), x[0], torch.rand(2, 3, 4, 4)):
        with pytest.raises(InputError):
            dae(bad, 0.5)
    for level in (0, -1, float("nan"), float("inf"), torch.zeros(2)):
        with pytest.raises(InputError):
            dae(x, level)


def test_no_images_are_no_images(dae):
    none = torch.empty(0, 1, 4, 4)
    for made in list(every_task(dae, none))[1:]:
        assert made.shape == (0, 1, 4, 4)
    assert dae(none, 0.5).shape == (0, 1, 4, 4)


def test_each_image_may_have_its_own_level():
    dae, x = GaussianData(corruption="gaussian(0.02..5)"), torch.rand(4, 1, 4, 4)
    levels = [0.3, 1.0, 1.0, 0.1]
    together = dae_sampler.denoise(dae, x, level=torch.tensor(levels), steps=1)
    alone = torch.cat([dae_sampler.denoise(dae, x[i : i + 1], level=v, steps=1) for i, v in enumerate(levels)])
    torch.testing.assert_close(together, alone)
    noisy = dae_sampler.refine(dae, x, level=np.full(4, 0.5), steps=3, seed=2)
    torch.testing.assert_close(noisy, dae_sampler.refine(dae, x, level=0.5, steps=3, seed=2))
    with pytest.raises(InputError, match="3 levels for 4 images"):
        dae_sampler.denoise(dae, x, level=torch.ones(3))


def test_denoising_over_a_range_without_a_score_has_to_be_told_the_level(dae):
    masked = DenoisingAutoencoder("dense(8)", "masking(0.1..0.9)", (1, 4, 4))
    with pytest.raises(InputError, match="say how strong"):
        dae_sampler.denoise(masked, torch.rand(1, 1, 4, 4))
    with pytest.raises(InputError, match="'auto'"):
        dae_sampler.denoise(dae, torch.rand(1, 1, 4, 4), level="strong")
    dae.card = Card(plans={"denoise": {"sampler": "euler", "steps": 1, "level": 0.5}})
    x = torch.rand(1, 1, 4, 4)
    torch.testing.assert_close(dae_sampler.denoise(dae, x), dae(x, 0.5))


def test_a_network_that_is_not_told_the_level_needs_none():
    dae = DenoisingAutoencoder("dense(8)", "gaussian(0.02..0.4, told=0)", (1, 4, 4)).eval()
    x = torch.rand(2, 1, 4, 4)
    assert dae.embed is None
    assert torch.equal(dae(x), dae(x, 0.1))
    torch.testing.assert_close(dae.score(x, 0.1), (dae(x) - x) / 0.01)
    with pytest.raises(InputError, match="say at which sigma"):
        dae.score(x)
