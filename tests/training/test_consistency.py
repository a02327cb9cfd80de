"""Consistency models: two greys, of which the probability flow ends in the nearer one, are told in one call."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

import dae_sampler
from dae_sampler import DenoisingAutoencoder, InputError, Recipe
from dae_sampler.evaluation.likelihood import flow
from dae_sampler.noise import StepNoise
from dae_sampler.sampling.guidance import Guided
from dae_sampler.sampling.plan import resolve
from dae_sampler.training.consistency import ConsistencyLoss, check, earlier


def model(objective="consistency", corruption="gaussian(0.02..20)", loss="bce"):
    dae = DenoisingAutoencoder("dense(8)", corruption, (1, 4, 4), loss).eval().requires_grad_(False)
    dae.card = replace(dae.card, objective=objective)
    return dae


def test_the_gap_shrinks_by_stages_and_ends_at_0_where_levels_end():
    t = torch.tensor([0.021, 0.1, 1.0, 20.0])
    gaps = [t - earlier(t, stage, 0.02) for stage in range(9)]
    assert torch.equal(gaps[0], t)
    assert all((b <= a).all() and (b > 0).all() for a, b in itertools.pairwise(gaps))
    later = earlier(t, 8, 0.02)
    assert ((later == 0) | (later >= 0.02)).all()
    assert (later[:2] == 0).all()  # low levels stay tied to the images
    assert (later[2:] > 0.9 * t[2:]).all()


def test_where_the_trajectory_has_ended_it_is_the_loss_of_the_autoencoder():
    dae, x, level = model(), torch.rand(3, 1, 4, 4), torch.tensor([0.1, 0.5, 0.9])
    loss = ConsistencyLoss(dae, None)(x, level, StepNoise(0, 0), None, None, 0.0)
    torch.testing.assert_close(loss, dae.loss(x, level, StepNoise(0, 0)).mean())


def test_no_gradient_goes_through_the_target():
    dae, x, level = model().requires_grad_(True), torch.rand(2, 1, 4, 4), torch.tensor([2.0, 5.0])
    ConsistencyLoss(dae, None)(x, level, StepNoise(0, 0), None, None, 0.5).backward()
    mine = [weight.grad.clone() for weight in dae.parameters()]
    noise, t = StepNoise(0, 0), level.view(-1, 1, 1, 1)
    s = earlier(t, 5, 0.02)
    e = noise.normal(x.shape)
    fixed = dae(x + s * e, s).detach()
    dae.zero_grad()
    losses = torch.nn.functional.binary_cross_entropy(dae(x + t * e, t), fixed, reduction="none")
    (losses.mean((1, 2, 3)) * (t / (t - s)).flatten()).mean().backward()
    torch.testing.assert_close(mine, [weight.grad for weight in dae.parameters()], atol=1e-5, rtol=1e-3)


def test_it_samples_in_a_few_calls_by_its_own_sampler():
    dae, calls = model(), []
    dae.register_forward_hook(lambda module, arguments, output: calls.append(float(arguments[1])))
    assert resolve("sample", dae).sampler.name == "consistency"
    for steps in (1, 2, 4):
        calls.clear()
        dae_sampler.sample(dae, 3, steps=steps)
        assert len(calls) == steps
        assert calls[0] == pytest.approx(20)
        assert min(calls) > 0.1
    x, keep = torch.rand(2, 1, 4, 4), torch.arange(16).view(4, 4) < 8
    assert torch.equal(dae_sampler.inpaint(dae, x, keep, steps=2)[..., :2, :], x[..., :2, :])
    assert dae_sampler.refine(dae, x, level=0.5, steps=2).shape == x.shape


def test_what_needs_a_mean_refuses_it_in_a_sentence():
    dae, x = model(), torch.rand(2, 1, 4, 4)
    for sampler in ("dpm", "heun", "euler", "unipc", "ancestral", "langevin"):
        with pytest.raises(InputError, match=f"{sampler} does not go with a consistency model: use consistency"):
            dae_sampler.sample(dae, 2, sampler=sampler)
    with pytest.raises(InputError, match="consistency model has no score"):
        dae.score(x, 0.5)
    with pytest.raises(InputError, match="likelihood"):
        flow(dae, torch.zeros(1, 1, 4, 4, dtype=torch.uint8))
    with pytest.raises(InputError, match="say how strong"):
        dae_sampler.denoise(dae, x)


@pytest.mark.parametrize(
    "dae", [model(), model("mean", "gaussian(0.5)"), model("mean", "masking(0..1)"), model("median", loss="mae")]
)
def test_only_what_has_trajectories_is_tuned(dae):
    with pytest.raises(InputError, match="is tuned from"):
        check(dae, dae.card)


def test_a_model_whose_noise_never_hides_a_picture_is_not_tuned():
    with pytest.raises(InputError, match=r"up to 0\.4, too weak to begin from"):
        check((dae := model("mean", "gaussian(0.01..0.4)")), dae.card)


def test_tuning_is_a_run_that_resumes_and_leaves_a_consistency_model(tmp_path, command):
    x = torch.tensor([0.0, 1.0]).repeat(50).view(100, 1, 1).expand(-1, 4, 4)
    np.save(tmp_path / "x.npy", x.numpy())
    start = DenoisingAutoencoder("dense(32)", "gaussian(0.05..5)", (1, 4, 4))
    dae_sampler.fit(start, x[:, None], Recipe(steps=200, batch=32, lr=0.01, every=200))
    dae_sampler.save(start, tmp_path / "start.safetensors")
    tune = ["distil", tmp_path / "start.safetensors", "--data", tmp_path / "x.npy", "--out", tmp_path / "run"]
    command(*tune, "--steps", 100, "--batch", 32, "--lr", 0.01)
    command(*tune, code=2)  # there is a run
    assert "resuming" in command(*tune, "--resume", "--steps", 300)
    tuned = dae_sampler.load(tmp_path / "run", precision="float32")
    assert tuned.card.objective == "consistency"
    assert (tuned.card.excess, tuned.card.squared_error, tuned.card.start) == ((), (), "start")
    assert "consistency model" in command("info", tmp_path / "run")
    once = dae_sampler.sample(tuned, 60, steps=1)
    grey = dae_sampler.sample(start, 60, sampler="euler", steps=1)
    assert (once - 0.5).abs().mean() > 1.5 * (grey - 0.5).abs().mean()  # an image, not the mean of both
    said = command("distil", tmp_path / "run", "--data", tmp_path / "x.npy", "--out", tmp_path / "again", code=2)
    assert "is tuned from" in said
    assert not (tmp_path / "again").exists()


def test_it_may_be_told_a_label():
    dae = DenoisingAutoencoder("dense(8)", "gaussian(0.05..5)", (1, 4, 4), labels=("a", "b"))
    x, level = torch.rand(2, 1, 4, 4), torch.tensor([0.5, 2.0])
    loss = ConsistencyLoss(dae, None)(x, level, StepNoise(0, 0), None, torch.tensor([0, -1]), 0.5)
    loss.backward()
    assert dae.label.weight.grad.abs().sum(1).tolist()[1] == 0
    assert Guided(dae.eval(), 1)(x, level).shape == x.shape


def test_images_are_made_binary_as_in_the_training_before():
    dae, x, level = model(), torch.rand(3, 1, 4, 4), torch.tensor([2.0, 5.0, 9.0])
    made = ConsistencyLoss(dae, "threshold")(x, level, StepNoise(0, 0), None, None, 0.5)
    plain = ConsistencyLoss(dae, None)((x > 0.5).float(), level, StepNoise(0, 0), None, None, 0.5)
    torch.testing.assert_close(made, plain)
