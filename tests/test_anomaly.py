"""Anomaly scores: what they are zero for, what raises them, and what their threshold promises."""

import math
from dataclasses import replace

import pytest
import torch
from conftest import GaussianData
from torchvision.datasets import MNIST

import dae_sampler
from dae_sampler import DenoisingAutoencoder, InputError, Recipe, anomaly, fit
from dae_sampler.card import Card


class Known(GaussianData):
    """The exact denoiser of grey pictures with little grain, as the excess wants it."""

    card = Card(size=(32, 32))


def spotted(grain=0.02, brightness=0.4):
    """A grainy picture, and the same with a spot."""
    x = brightness + grain * torch.randn(1, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    y = x.clone()
    y[..., 8:14, 20:26] += 0.2
    return x, y


def test_the_excess_is_highest_where_a_picture_is_not_what_was_expected():
    scorer = anomaly.Excess(Known(mean=0.4, variance=4e-4, shape=(1, 32, 32)))
    plain, spot = spotted()
    maps = scorer(spot)
    assert maps.shape == (1, 32, 32)
    row, column = divmod(int(maps.argmax()), 32)
    assert 8 <= row < 14
    assert 20 <= column < 26
    assert anomaly.Excess.score(maps) > 2 * anomaly.Excess.score(scorer(plain))


def test_the_border_does_not_count_and_a_defect_within_does():
    plain, edge, inside = (torch.ones(1, 64, 64) for _ in range(3))
    edge[:, :8] = edge[:, :, -8:] = 9.0  # an eighth of the side
    inside[:, 8:13, 51:56] = 9.0
    assert anomaly.Excess.score(edge) == anomaly.Excess.score(plain)
    assert anomaly.Excess.score(inside) == 9


def test_a_picture_is_judged_against_itself():
    plain, _ = spotted()
    maps = torch.rand(2, 9, 9) + 0.1
    torch.testing.assert_close(anomaly.excess.relative(3 * maps), anomaly.excess.relative(maps))
    scorer = anomaly.Excess(Known(mean=0.4, variance=4e-4, shape=(1, 32, 32)))
    torch.testing.assert_close(scorer(plain.repeat(2, 1, 1, 1))[1], scorer(plain)[0])  # whatever the batch


def test_on_an_empty_ground_others_set_the_scale():
    maps = torch.zeros(1, 9, 9)
    maps[..., 4, 4] = 0.5
    assert anomaly.excess.relative(maps, expected=0.1).max() == pytest.approx(5)
    dae = DenoisingAutoencoder("dense(4)", "gaussian(0.1..1)", (1, 8, 8)).eval()
    maps = anomaly.Excess(dae)(torch.rand(1, 1, 8, 8))
    dae.card = replace(dae.card, excess=((0.1, 1e3), (1.0, 1e3)))
    assert (anomaly.Excess(dae)(torch.rand(1, 1, 8, 8)) < maps.min()).all()


def test_a_picture_that_is_odd_everywhere_is_not_its_own_excuse():
    even = torch.full((1, 9, 9), 0.1)
    assert anomaly.excess.relative(even, expected=0.1).max() == pytest.approx(0.5)
    most = anomaly.excess.CAP * 0.1
    assert anomaly.excess.relative(100 * even, expected=0.1).max() == pytest.approx(10 / (most + 0.1))


def test_the_threshold_of_the_model_of_digits_holds_for_test_digits(data_root):
    dae = dae_sampler.load("mnist")
    digits = MNIST(data_root, train=False).data[:200, None] / 255
    scores = anomaly.Excess.score(anomaly.Excess(dae)(digits))
    above = (scores > anomaly.threshold(dae.card.anomaly, 0.1)).float().mean()
    assert 0.04 < above < 0.18  # 0.1 of many; here 200, by a threshold of 100 others
    assert anomaly.Excess.score(anomaly.Excess(dae)(1 - digits[:1])) > scores.max()


def test_the_memory_holds_so_much_whatever_the_number_of_pictures(monkeypatch):
    dae = DenoisingAutoencoder("unet(8, 16)", "gaussian(0.02..1)", (1, None, None)).eval()
    good = [torch.rand(1, 24, 32, generator=torch.Generator().manual_seed(i)) for i in range(6)]
    every = anomaly.Neighbours(dae, good)
    monkeypatch.setattr(anomaly.neighbours, "MEMORY", 40)
    some = anomaly.Neighbours(dae, good)
    assert len(some.memory) == len(some.owner) == 40
    assert len(some.owner.unique()) == 6
    torch.testing.assert_close(some.scale, every.scale)
    torch.testing.assert_close(every.scale * every.memory.std(0), every.scale, rtol=1e-4, atol=1e-5)
    there = {tuple(row) for row in every.memory.tolist()}
    assert {tuple(row) for row in some.memory.tolist()} <= there


def test_the_memory_finds_what_no_good_picture_holds():
    dae = DenoisingAutoencoder("unet(8, 16)", "gaussian(0.02..1)", (1, None, None)).eval()
    good = [torch.rand(1, 24 + 4 * i, 32, generator=torch.Generator().manual_seed(i)) / 2 for i in range(6)]
    memory = anomaly.Neighbours(dae, good)
    assert memory(good[0][None]).shape == (1, 24, 32)
    assert memory(good[0][None], 0).mean() > memory(good[0][None]).mean()
    odd = good[1].clone()
    odd[:, 8:16, 8:16] = 1
    place = int(memory(odd[None], 1).argmax())
    assert 4 <= place // 32 < 20
    assert 4 <= place % 32 < 20
    scorer, known = anomaly.fit(dae, good)
    assert isinstance(scorer, anomaly.Neighbours)
    assert len(known) == 6
    with pytest.raises(InputError, match="good"):
        anomaly.Neighbours(dae, good[:1])


def test_aligned_pictures_are_compared_as_wholes(monkeypatch):
    dae = DenoisingAutoencoder("unet(8, 16)", "gaussian(0.02..1)", (1, 16, 16)).eval()
    good = list(torch.rand(8, 1, 16, 16, generator=torch.Generator().manual_seed(0)))
    scorer, known = anomaly.fit(dae, good)
    assert isinstance(scorer, anomaly.Aligned)
    assert len(known) == 8
    x = good[0][None]
    assert scorer.score(scorer(x, 0)) > scorer.score(scorer(x))
    monkeypatch.setattr(anomaly.neighbours, "K", 1)
    assert scorer(x).max() < 1e-10  # itself
    elsewhere = x.roll(8, -1)  # what it shows, at other places
    wanted = torch.stack(
        [
            (dae.encode(elsewhere, pool=0, stage="down2") - dae.encode(y[None], pool=0, stage="down2")).square().mean()
            for y in good
        ]
    ).min()
    torch.testing.assert_close(scorer.score(scorer(elsewhere))[0], wanted)
    with pytest.raises(InputError, match="one size"):
        anomaly.Aligned(dae, [*good, torch.rand(1, 16, 20)])
    monkeypatch.setattr(anomaly.neighbours, "ALIGNED", 1)
    assert len(anomaly.Aligned(dae, good).memory) == anomaly.neighbours.K + 1


def test_the_threshold_keeps_the_rate_of_false_alarms():
    scores = torch.rand(400, 49, generator=torch.Generator().manual_seed(0))
    new = torch.rand(400, 200, generator=torch.Generator().manual_seed(1))
    for rate in (0.02, 0.1, 0.5):
        limits = torch.tensor([anomaly.threshold(anomaly.quantiles(some.tolist()), rate) for some in scores])
        found = (new > limits[:, None]).double().mean().item()
        exact = 1 - math.ceil(50 * (1 - rate)) / 50  # the mean of a uniform order statistic
        assert abs(found - exact) < 0.01
        assert exact <= rate + 1e-9
    with pytest.raises(InputError, match="99 or more"):
        anomaly.threshold(anomaly.quantiles(scores[0].tolist()), 0.01)


def test_many_scores_are_kept_as_a_few_quantiles():
    kept = anomaly.quantiles([float(i) for i in range(5000)])
    assert len(kept) == anomaly.QUANTILES
    assert kept[-1] == (5000 / 5001, 4999.0)
    assert anomaly.threshold(kept, 0.05) == pytest.approx(0.95 * 5000, rel=0.01)


def test_training_leaves_quantiles_on_the_card_where_the_model_gives_scores():
    images = torch.rand(40, 1, 8, 8)
    recipe = Recipe(steps=2, batch=8, every=1)
    dae = fit(DenoisingAutoencoder("dense(4)", "gaussian(0.02..1)", (1, 8, 8)), images, recipe)
    assert len(dae.card.anomaly) == 4
    assert dae.card.anomaly[-1][0] == 4 / 5
    without = fit(DenoisingAutoencoder("dense(4)", "gaussian(0.5)", (1, 8, 8)), images, replace(recipe, held_out=0))
    assert without.card.anomaly == ()
    median = fit(DenoisingAutoencoder("dense(4)", "gaussian(0.5)", (1, 8, 8), "mae"), images, recipe)
    assert median.card.anomaly == ()
    with pytest.raises(InputError, match="bce"):
        anomaly.Excess(median)
