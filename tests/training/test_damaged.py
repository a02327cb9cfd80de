"""Training where the damage is in the data."""

import numpy as np
import pytest
import torch

from dae_sampler import DenoisingAutoencoder, InputError, Recipe, Run, fit, load
from dae_sampler.training.progress import TrainingInterrupted
from dae_sampler.training.validation import validate

RECIPE = Recipe(steps=60, batch=16, every=30, lr=0.05)


def model(corruption="given", loss="bce"):
    return DenoisingAutoencoder("dense(32)", corruption, (1, 4, 4), loss)


def pairs(n=300):
    """Stripes of either kind, and their negatives."""
    stripes = (torch.arange(4) % 2).float().expand(n, 1, 4, 4).clone()
    stripes[::2] = 1 - stripes[::2]
    return stripes, 1 - stripes


@pytest.mark.parametrize("kind", [torch.Tensor.float, lambda x: (255 * x).byte(), lambda x: x.numpy()])
def test_pairs_are_learned_whatever_the_damage(kind):
    clean, damaged = pairs()
    dae = fit(model(), kind(clean), RECIPE, damaged=kind(damaged))
    assert (dae(damaged) - clean).abs().mean() < 0.1
    assert dae.card.target == "clean"
    assert dae.card.excess == dae.card.squared_error == ()  # there is no level to put them at


def test_both_of_a_pair_are_varied_alike():
    x = torch.rand(200, 1, 4, 4)
    dae = fit(model(), x, Recipe(steps=120, batch=32, every=120, lr=0.06, augment="turn"), damaged=x)
    assert (dae(x) - x).abs().mean() < 0.12  # what is turned apart could only be learned as its mean, at 0.25


def test_the_loss_splits_into_floor_and_excess_for_clean_targets_alone(tmp_path):
    clean, damaged = pairs()
    clean = 0.2 + 0.6 * clean
    fit(model(), clean, RECIPE, damaged=damaged, run=Run(tmp_path / "clean"))
    noisy = clean + torch.randn(clean.shape)
    dae = fit(model(), noisy, RECIPE, damaged=damaged, target="noisy", run=Run(tmp_path / "noisy"))
    (first, *_), (second, *_) = (Run(tmp_path / name).read_metrics() for name in ("clean", "noisy"))
    assert float(first["valid_floor"]) == pytest.approx(0.5004, abs=1e-3)
    assert {"valid_floor", "valid_excess"} & set(second) == set()
    assert not [name for name in {**first, **second} if name.startswith("excess@")]
    assert dae.card.target == load(tmp_path / "noisy").card.target == "noisy"
    assert validate(dae, damaged, targets=noisy).by_level == []


def test_noisy_targets_teach_the_clean_mean():
    clean, damaged = pairs(2000)
    clean = 0.2 + 0.6 * clean
    noisy = clean + 0.7 * torch.randn(clean.shape)
    assert noisy.min() < -1
    assert noisy.max() > 2
    dae = fit(model(), noisy, Recipe(steps=120, batch=64, every=120, lr=0.05), damaged=damaged, target="noisy")
    assert (dae(damaged[:2]) - clean[:2]).abs().max() < 0.1


def test_blind_spots_teach_the_mean_of_the_others_from_noisy_images_alone():
    """Images of one grey each: every pixel tells of the others."""
    clean = torch.rand(3000, 1, 1, 1).expand(-1, 1, 4, 4) * 0.6 + 0.2
    noisy = clean + 0.2 * torch.randn(clean.shape)
    dae = fit(model("blindspot(0.1)"), noisy, Recipe(steps=150, batch=64, every=150, lr=0.05))
    assert dae.card.target == "self"
    others = (noisy.mean((2, 3), keepdim=True) * 16 - noisy) / 15
    made = dae.corruption.reconstruct(dae, noisy, StepNoise0)
    assert (made - clean).square().mean() < 0.35 * (noisy - clean).square().mean()
    assert torch.corrcoef(torch.stack([made.flatten(), others.flatten()]))[0, 1] > 0.9


class StepNoise0:
    """Noise that needs no seed."""

    uniform = staticmethod(torch.rand)


def test_a_run_on_pairs_resumes_with_the_same_pairs_alone(tmp_path):
    clean, damaged = pairs()
    calls = iter(range(1, 1000))
    whole = fit(model(), clean, RECIPE, damaged=damaged, run=Run(tmp_path / "whole"))
    with pytest.raises(TrainingInterrupted):
        fit(model(), clean, RECIPE, damaged=damaged, run=Run(tmp_path / "part"), should_stop=lambda: next(calls) == 40)
    with pytest.raises(InputError, match="other images"):
        fit(model(), clean, RECIPE, damaged=clean, run=Run(tmp_path / "part"))
    resumed = fit(model(), clean, RECIPE, damaged=damaged, run=Run(tmp_path / "part"))
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), resumed.parameters(), strict=True))


def test_what_does_not_go_together_is_refused():
    clean, damaged = pairs()
    with pytest.raises(InputError, match="given does not go with images without partners"):
        fit(model(), clean, RECIPE)
    with pytest.raises(InputError, match="does not go with pairs"):
        fit(model("gaussian(0.5)"), clean, RECIPE, damaged=damaged)
    with pytest.raises(InputError, match="one shape"):
        fit(model(), clean, RECIPE, damaged=damaged[:5])
    with pytest.raises(InputError, match="`binarise`"):
        fit(model(), clean, Recipe(binarise="threshold"), damaged=damaged)
    with pytest.raises(InputError, match="not finite"):
        fit(model(), clean, RECIPE, damaged=np.full(damaged.shape, np.nan, np.float32))
