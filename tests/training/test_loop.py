import math

import pytest
import torch

from dae_sampler import DenoisingAutoencoder, InputError, Recipe, Run, fit, load
from dae_sampler.noise import StepNoise
from dae_sampler.training.progress import TrainingInterrupted
from dae_sampler.training.validation import validate

RECIPE = Recipe(steps=30, batch=16, every=7, held_out=20)


def images(n=200):
    generator = torch.Generator().manual_seed(0)
    return (torch.rand(n, 1, 8, 8, generator=generator) * 255).to(torch.uint8)


def model(loss="bce", net="unet(8)", corruption="gaussian(0.05..5)"):
    torch.manual_seed(0)
    return DenoisingAutoencoder(net, corruption, (1, 8, 8), loss)


def weights(dae):
    return torch.cat([p.flatten() for p in dae.parameters()])


def stop_at(step):
    calls = iter(range(1, 10**6))
    return lambda: next(calls) == step


@pytest.mark.parametrize("corruption", ["gaussian(0.05..5)", "gaussian(0.5)"])
@pytest.mark.parametrize("stops", [[5], [7], [1, 11, 3]])
def test_resumed_run_is_bit_identical(tmp_path, stops, corruption):
    whole, parts = Run(tmp_path / "whole"), Run(tmp_path / "parts")
    expected = fit(model(corruption=corruption), images(), RECIPE, run=whole)
    for stop in stops:
        with pytest.raises(TrainingInterrupted):
            fit(model(corruption=corruption), images(), RECIPE, run=parts, should_stop=stop_at(stop))
    dae = fit(model(corruption=corruption), images(), RECIPE, run=parts)
    assert torch.equal(weights(dae), weights(expected))
    for name in ("model.safetensors", "last.safetensors"):
        assert (parts.folder / name).is_file()
    expected_rows, rows = (
        [{k: v for k, v in row.items() if k != "seconds"} for row in r.read_metrics()] for r in (whole, parts)
    )
    assert rows == expected_rows
    assert [int(row["step"]) for row in rows] == [7, 14, 21, 28, 30]


def test_run_stopped_before_any_validation_ends_with_what_it_learned(tmp_path):
    run, recipe = Run(tmp_path), Recipe(steps=10, batch=16, every=50)
    with pytest.raises(TrainingInterrupted):
        fit(model(), images(), Recipe(steps=20, batch=16, every=50), run=run, should_stop=stop_at(10))
    dae = fit(model(), images(), recipe, run=run)
    assert torch.equal(weights(dae), weights(load(tmp_path / "last.safetensors")))
    assert not torch.equal(weights(dae), weights(model()))


def test_extended_run_counts_every_step_once(tmp_path):
    run = Run(tmp_path)
    fit(model(), images(), Recipe(steps=10, batch=16, every=7), run=run)
    losses = []
    fit(
        model(),
        images(),
        Recipe(steps=20, batch=16, every=7),
        run=run,
        on_progress=lambda p: losses.append(p.loss.item()),
    )
    rows = run.read_metrics()
    assert [int(row["step"]) for row in rows] == [7, 10, 14, 20]
    assert float(rows[2]["loss"]) == pytest.approx(sum(losses[:4]) / 4, rel=1e-5)


def test_same_seed_same_weights_and_another_seed_others():
    first, second = (weights(fit(model(), images(), RECIPE)) for _ in range(2))
    other = weights(fit(model(), images(), Recipe(**{**RECIPE.__dict__, "seed": 1})))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("loss", ["bce", "mse", "mae"])
@pytest.mark.parametrize("net", ["dense(64, 16, 64)", "conv(width=8, code=16)", "unet(8)"])
def test_training_lowers_the_held_out_loss(loss, net):
    stripes = (torch.arange(8) % 2 * 255).to(torch.uint8).expand(200, 1, 8, 8).clone()
    stripes[::2] = 255 - stripes[::2]
    dae = model(loss, net)
    before = validate(dae, stripes).loss
    fit(dae, stripes, Recipe(steps=120, batch=16, every=120, lr=0.01))
    assert validate(dae, stripes).loss < 0.6 * before


def test_validation_splits_bce_into_floor_and_excess():
    x = torch.full((50, 1, 8, 8), 0.25)
    checked = validate(model(), x)
    assert checked.floor == pytest.approx(-0.25 * math.log(0.25) - 0.75 * math.log(0.75), rel=1e-5)
    assert checked.excess == pytest.approx(checked.loss - checked.floor)
    assert sum(loss for _, loss in checked.by_level) / len(checked.by_level) == pytest.approx(checked.excess, rel=0.1)
    levels = [level for level, _ in checked.by_level]
    assert levels == sorted(levels)
    assert validate(model("mse"), x).floor == 0


def test_learning_rate_warms_up_and_falls_to_nothing():
    recipe = Recipe(steps=1000, warmup=100, lr=0.5)
    rates = [recipe.rate(step) for step in range(1001)]
    assert rates[0] == pytest.approx(0.005)
    assert max(rates) == pytest.approx(0.5)
    assert rates.index(max(rates)) in (99, 100)
    assert rates[550] == pytest.approx(0.25)
    assert rates[-1] == pytest.approx(0, abs=1e-12)


def test_patience_stops_early():
    steps = []
    recipe = Recipe(steps=400, batch=16, every=5, held_out=20, lr=1e-12, patience=2)
    fit(model(), images(), recipe, on_progress=lambda p: steps.append(p.step))
    assert len(steps) < 100


@pytest.mark.parametrize(("augment", "difference"), [(None, 1), ("mirror", 0)])
def test_mirrored_training_sees_both_sides(augment, difference):
    bright_left = torch.zeros(100, 1, 8, 8)
    bright_left[..., :4] = 1
    recipe = Recipe(steps=200, lr=0.05, optimizer="adamw", augment=augment)
    dae = fit(model(net="dense(32)", corruption="gaussian(20)"), bright_left, recipe)
    mean = dae(dae.corruption(bright_left, torch.tensor(20.0), StepNoise(0, 0))).mean((0, 1, 2))
    assert (mean[:4] - mean[4:]).mean().item() == pytest.approx(difference, abs=0.2)


def test_float_images_train_too():
    fit(model(), images().float() / 255, Recipe(steps=2, batch=8, every=2))


def test_targets_outside_the_unit_interval_are_refused():
    with pytest.raises(InputError, match=r"from -1 to 1: if black is -1, give \(x \+ 1\) / 2"):
        fit(model(), torch.linspace(-1, 1, 6400).reshape(100, 1, 8, 8), RECIPE)


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match="the model takes"):
        fit(model(), torch.zeros(10, 1, 9, 9, dtype=torch.uint8), RECIPE)


@pytest.mark.parametrize("step", [8, 10, 13])
@pytest.mark.parametrize("value", [math.nan, math.inf, 1e30])
def test_exploding_loss_stops_with_a_cure_and_keeps_the_last_good_state(tmp_path, step, value):
    run = Run(tmp_path)
    dae = model()

    def spoil(progress):
        if progress.step == step:
            next(dae.parameters()).data.fill_(value)

    with pytest.raises(InputError, match="lower `lr`"):
        fit(dae, images(), RECIPE, run=run, on_progress=spoil)
    tensors, facts = run.load_state()
    assert facts["step"] == 7
    assert all(torch.isfinite(t).all() for t in tensors.values())


@pytest.mark.parametrize(
    "bad", [{"steps": 0}, {"batch": 0}, {"lr": 0}, {"lr": math.nan}, {"weight_decay": -1}, {"every": 0}]
)
def test_recipes_that_make_no_sense_are_refused(bad):
    with pytest.raises(InputError):
        Recipe(**bad)


def test_held_out_loss_that_explodes_stops_too(tmp_path):
    run, dae = Run(tmp_path), model(net="dense(8)")

    def spoil(progress):
        if progress.step == 7:
            dae.net.layers[-1].bias.data.fill_(1e6)

    with pytest.raises(InputError, match=r"held-out loss is .* lower `lr`"):
        fit(dae, images(), RECIPE, run=run, on_progress=spoil)
    assert run.load_state()[1]["step"] == 7


def test_stopping_does_not_save_what_is_not_finite(tmp_path):
    run, dae = Run(tmp_path), model()

    def spoil(progress):
        next(dae.parameters()).data.fill_(math.nan)

    with pytest.raises(InputError, match="lower `lr`"):
        fit(dae, images(), RECIPE, run=run, on_progress=spoil, should_stop=stop_at(3))
    assert run.load_state() is None


def test_run_resumes_only_with_as_many_images(tmp_path):
    run = Run(tmp_path)
    with pytest.raises(TrainingInterrupted):
        fit(model(), images(), RECIPE, run=run, should_stop=stop_at(3))
    with pytest.raises(InputError, match="200 images, now there are 150"):
        fit(model(), images(150), RECIPE, run=run)


def test_damaged_state_is_refused(tmp_path):
    run = Run(tmp_path)
    with pytest.raises(TrainingInterrupted):
        fit(model(), images(), RECIPE, run=run, should_stop=stop_at(3))
    run.state_file.write_bytes(run.state_file.read_bytes()[:1000])
    with pytest.raises(InputError, match="damaged"):
        fit(model(), images(), RECIPE, run=run)
